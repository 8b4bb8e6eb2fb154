//! Time grids: exact ends, rising log-SNR, the spacing of each name, errors, and the cost of a step.

use crate::oracle::{COSINE, EDM, OU, VE, VP, eight_gaussians, gap, gaussian, host};
use crate::support::moments;
use std::sync::Arc;
use tweedie::burn::tensor::Device;
use tweedie::data::Condition;
use tweedie::data::Generate;
use tweedie::denoise::{Denoiser, Diffusing};
use tweedie::process::{
    AnySchedule, Level, LinearSde, OrnsteinUhlenbeck, Schedule, Straight, SubVp, VpLinear,
};
use tweedie::solve::grid::{
    AnyGrid, Grid, Karras, LogSnr, OptimisedGrid, Quadratic, Shifted, Time,
};
use tweedie::solve::{AnySolver, Last, Progress, Sampler};
use tweedie::{Draws, Error};

const GRID: [AnyGrid; 7] = [
    AnyGrid::Time(Time),
    AnyGrid::LogSnr(LogSnr),
    AnyGrid::Quadratic(Quadratic),
    AnyGrid::Karras(Karras { rho: 7.0 }),
    AnyGrid::Karras(Karras { rho: 1.0 }),
    AnyGrid::Optimised(OptimisedGrid { finest: 1.0 }),
    AnyGrid::Shifted(Shifted { shift: 3.0 }),
];

fn schedules() -> [AnySchedule; 7] {
    let (straight, sub_vp) = (Straight::default(), SubVp { beta: VpLinear::default() });
    [VP, OU, VE, COSINE, EDM, AnySchedule::Straight(straight), AnySchedule::SubVp(sub_vp)]
}

/// The variable in which a grid is uniform.
fn spaced(grid: AnyGrid, level: &Level) -> f64 {
    match grid {
        AnyGrid::Time(Time) => level.t,
        AnyGrid::LogSnr(LogSnr) => level.lambda,
        AnyGrid::Quadratic(Quadratic) => level.t.sqrt(),
        AnyGrid::Karras(Karras { rho }) => (level.sigma / level.alpha).powf(1.0 / rho),
        AnyGrid::Optimised(_) => level.sigma.atan2(level.alpha),
        AnyGrid::Shifted(Shifted { shift }) => level.sigma / (level.sigma + shift * level.alpha),
        _ => panic!("a grid of a chain"),
    }
}

#[test]
fn ends_are_exact_and_levels_are_uniform_in_the_right_variable() {
    for schedule in schedules() {
        let (first, last) = schedule.range();
        for grid in GRID {
            for steps in [1, 2, 7, 50, 1000] {
                let levels = grid.levels(&schedule, steps).unwrap();
                assert_eq!(levels.len(), steps + 1);
                assert_eq!(levels[0], schedule.level(last));
                assert_eq!(levels[steps], schedule.level(first));
                assert!(levels.windows(2).all(|p| p[1].lambda > p[0].lambda && p[1].t < p[0].t));
                let (a, b) = (spaced(grid, &levels[0]), spaced(grid, &levels[steps]));
                for (k, level) in levels.iter().enumerate() {
                    let right = a + (b - a) * k as f64 / steps as f64;
                    let found = spaced(grid, level);
                    let place = format!("{schedule:?} {grid:?}, {k} of {steps}");
                    let most = if matches!(grid, AnyGrid::Optimised(_)) { 1e-6 } else { 1e-9 };
                    assert!(
                        (found - right).abs() < most * (b - a).abs(),
                        "{place}: {found}, {right}"
                    );
                }
            }
        }
    }
}

#[test]
fn impossible_grids_are_errors() {
    let config = |found: tweedie::Result<Vec<Level>>, key: &str| match found {
        Err(Error::Config { key: found, .. }) => assert_eq!(found, key),
        other => panic!("{:?}", other.map(|levels| levels.len())),
    };
    for grid in GRID {
        config(grid.levels(&VP, 0), "steps");
        // Between two times four rounding errors apart there is no room for ten steps.
        let first = OrnsteinUhlenbeck::default().range().0;
        let t_max = f64::from_bits(first.to_bits() + 4);
        config(grid.levels(&OrnsteinUhlenbeck { theta: 1.0, t_max }, 10), "steps");
        config(grid.levels(&VP, usize::MAX), "steps");
    }
    for rho in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        config(Karras { rho }.levels(&VP, 10), "grid.rho");
    }
    for finest in [0.0, -1.0, f64::NAN, 1.5] {
        config(OptimisedGrid { finest }.levels(&VP, 10), "grid.finest");
    }
    for shift in [0.0, -1.0, f64::NAN, 1e4] {
        config(Shifted { shift }.levels(&VP, 10), "grid.shift");
    }
    // A square root of negative times.
    let around_zero = LinearSde::from_log_snr(|t| -10.0 * t, (-1.0, 1.0));
    config(Quadratic.levels(&around_zero, 10), "steps");
    assert!(Time.levels(&around_zero, 10).is_ok());
}

/// The logarithm of DDIM's error on data of many scales, −Σ_c ln ∏ cos Δθ_c, measured by the solver itself.
fn logarithm_of_ddim_s_error(scales: &[f64], levels: &[Level]) -> f64 {
    let of = |&c: &f64| {
        let x = crate::oracle::doubles(&[1.0], 1);
        let solver = tweedie::solve::Ddim { eta: 0.0 };
        let end = host(&crate::oracle::run(&solver, &gaussian(0.0, c * c), &VP, x, levels))[0];
        let sd = |l: &Level| (l.alpha * c).hypot(l.sigma);
        -(end * sd(&levels[0]) / sd(&levels[levels.len() - 1])).ln()
    };
    scales.iter().map(of).sum()
}

#[test]
fn the_optimised_grid_has_ddim_s_least_error() {
    // For one scale against the closed form, and against every small change of a level; for many scales against the
    // other grids and against changes that are not small beside the error of the bound.
    let one = [1.0];
    let levels = OptimisedGrid { finest: 1.0 }.levels(&VP, 12).unwrap();
    let angle = |l: &Level| l.sigma.atan2(l.alpha);
    let right: f64 = levels.windows(2).map(|p| -(angle(&p[0]) - angle(&p[1])).cos().ln()).sum();
    let least = logarithm_of_ddim_s_error(&one, &levels);
    assert!((least - right).abs() < 1e-12, "{least} {right}");
    let moved = |levels: &[Level], k: usize, by: f64| {
        let mut moved = levels.to_vec();
        moved[k] = VP.level(VP.time(levels[k].lambda + by));
        moved
    };
    for k in 1..12 {
        for by in [-0.01, 0.01] {
            let other = logarithm_of_ddim_s_error(&one, &moved(&levels, k, by));
            assert!(other > least, "level {k} by {by}: {other} {least}");
        }
    }
    let scales: Vec<f64> = (0..41).map(|k| 0.05f64.powf((f64::from(k)) / 40.0)).collect();
    let levels = OptimisedGrid { finest: 0.05 }.levels(&VP, 40).unwrap();
    let least = logarithm_of_ddim_s_error(&scales, &levels);
    for grid in &GRID {
        let other = logarithm_of_ddim_s_error(&scales, &grid.levels(&VP, 40).unwrap());
        println!("{grid:?}: {other}, optimised {least}");
        assert!(other > 1.05 * least, "{grid:?}: {other} {least}");
    }
    for k in 1..40 {
        let step = levels[k + 1].lambda - levels[k].lambda;
        for by in [-0.3, 0.3] {
            let other = logarithm_of_ddim_s_error(&scales, &moved(&levels, k, by * step));
            assert!(other > least, "level {k} by {by} steps: {other} {least}");
        }
    }
}

#[test]
fn names_are_parsed_and_misspelt_ones_corrected() {
    for (name, _) in AnyGrid::NAMES {
        let parsed = AnyGrid::parse(name).unwrap();
        let json = serde_json::to_value(parsed).unwrap();
        assert_eq!(json["name"], **name);
    }
    for (name, _) in AnySolver::NAMES {
        let parsed = AnySolver::parse(name).unwrap();
        assert_eq!(serde_json::to_value(parsed).unwrap()["name"], **name);
    }
    let wrong = AnyGrid::parse("quadratc").unwrap_err().to_string();
    assert!(wrong.contains("quadratic"), "{wrong}");
    let wrong = AnySolver::parse("huen").unwrap_err().to_string();
    assert!(wrong.contains("heun"), "{wrong}");
}

fn generated(sampler: &Sampler) -> Vec<f64> {
    host(&sampler.generate(0..5, &Condition::None, &Draws::new(31), &Device::flex()).unwrap())
}

#[test]
fn steps_are_evaluations_and_the_last_may_denoise() {
    for (name, _) in AnySolver::NAMES {
        let solver = AnySolver::parse(name).unwrap();
        let data = Arc::new(eight_gaussians());
        let sampler = |steps, last| {
            Sampler::new(data.clone(), Arc::new(COSINE))
                .with_solver(solver)
                .with_steps(steps)
                .with_last(last)
        };
        let cost = |steps, last| {
            let before = data.evaluations();
            let x = generated(&sampler(steps, last));
            ((data.evaluations() - before) as f64 / 5.0, x)
        };
        let (stop_cost, stop) = cost(9, Last::Stop);
        let (denoise_cost, denoised) = cost(10, Last::Denoise);
        match *name {
            "dopri5" => assert_eq!(denoise_cost, stop_cost + 1.0),
            // Three of PNDM's nine steps have four.
            "heun" | "edm" | "dpm" | "dpm++2s" | "predictor-corrector" | "pndm" => {
                assert_eq!((stop_cost, denoise_cost), (18.0, 19.0));
            }
            // Five at each of ten levels.
            "annealed-langevin" => assert_eq!((stop_cost, denoise_cost), (50.0, 51.0)),
            _ => assert_eq!((stop_cost, denoise_cost), (9.0, 10.0)),
        }
        // Denoising replaces the batch at the last level by its posterior mean, or by an extrapolation of it.
        let end = COSINE.level(0.0);
        let stop_batch = crate::oracle::doubles(&stop, 2);
        let mean = data.denoise(stop_batch.into(), &end.into(), &Condition::None).unwrap().value;
        let most = if ["lms", "pndm"].contains(name) { 8.0 * end.sigma } else { 1e-6 };
        assert!(gap(&denoised, &host(&mean)) < most, "{name}");
        assert!(gap(&denoised, &stop) > 1e-5, "{name}: nothing was denoised");
        // Too few steps.
        assert!(sampler(1, Last::Denoise).levels().is_err());
        assert!(sampler(0, Last::Stop).levels().is_err());
        assert_eq!(sampler(1, Last::Stop).levels().unwrap().len(), 2);
    }
}

#[test]
fn progress_is_reported_once_per_step() {
    for (last, steps) in [(Last::Stop, 6), (Last::Denoise, 6)] {
        let data = Arc::new(gaussian(0.3, 0.5));
        let sampler = Sampler::new(data, Arc::new(VP)).with_steps(steps).with_last(last);
        let levels = sampler.levels().unwrap();
        let mut seen = Vec::new();
        let observe = |p: Progress| seen.push((p.step, p.steps, p.level, host(p.x)));
        let draws = Draws::new(32);
        let device = Device::flex();
        let end =
            sampler.generate_observed(0..3, &Condition::None, &draws, &device, observe).unwrap();
        assert_eq!(seen.len(), steps + 1);
        for (k, (step, of, level, x)) in seen.iter().enumerate() {
            assert_eq!((*step, *of, x.len()), (k, steps, 3));
            assert_eq!(level.lambda, levels.get(k).map_or(f64::INFINITY, |l| l.lambda));
        }
        assert_eq!(seen[steps].3, host(&end));
    }
}

#[test]
fn samples_start_from_the_prior() {
    // √(α² σ_data² + σ²) at the last time, where the data still show.
    let schedule = OrnsteinUhlenbeck { theta: 1.0, t_max: 0.5 };
    let draws = Draws::new(33);
    let start = |sigma_data: f64| {
        let model = Diffusing::new(Arc::new(gaussian(0.0, 1.0)), Arc::new(schedule));
        let sampler = Sampler::from(model.with_sigma_data(sigma_data));
        let mut first = None;
        let observe = |p: Progress| _ = first.get_or_insert_with(|| host(p.x));
        sampler
            .generate_observed(0..20_000, &Condition::None, &draws, &Device::flex(), observe)
            .unwrap();
        first.unwrap()
    };
    let (alpha, variance) = ((-0.5f64).exp(), 1.0 - (-1.0f64).exp());
    for sigma_data in [1.0, 2.5] {
        let right = (alpha * sigma_data).hypot(variance.sqrt());
        let (mean, found) = moments(&start(sigma_data));
        // The variance of 20,000 normal numbers is known to 1%, their mean to 0.7%: six deviations.
        assert!(mean.abs() < 0.043 * right, "{mean}");
        assert!((found / right.powi(2) - 1.0).abs() < 0.06, "{found}, {}", right.powi(2));
    }
}
