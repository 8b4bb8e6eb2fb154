//! Noising and priors; samples and densities of processes with an offset against those of their centred processes.

use crate::oracle::{COSINE, VP, doubles, gap, gaussian, host, three_components};
use crate::process::beta;
use crate::support::{SIX_SIGMA, cpu, moments, within};
use std::sync::Arc;
use tweedie::data::{Batch, Condition, Generate};
use tweedie::denoise::Diffusing;
use tweedie::density::{Density, PfOde, ReverseSde};
use tweedie::process::{Corruption, Gaussian, Levels, LinearSde, Schedule};
use tweedie::solve::{AnySolver, Last, Moment, Sampler, Tolerance};
use tweedie::{Draws, Error};

/// dx = ½ β (c − x) dt + √β dW between times 0.3 and 1: m = c (1 − α).
fn around(c: f64) -> LinearSde {
    let h = move |t| 0.5 * c * beta(t);
    LinearSde::new(|t| -0.5 * beta(t), h, |t| beta(t).sqrt(), (0.3, 1.0)).unwrap()
}

fn process(schedule: impl Schedule + 'static, sigma_data: f64) -> Gaussian {
    Gaussian { schedule: Arc::new(schedule), sigma_data }
}

#[test]
fn rows_are_noised_and_started_by_their_own_numbers() {
    let (x, draws) = (doubles(&[0.3, -1.0, 2.0, 0.1, -0.4, 0.7], 2), Draws::new(3));
    let levels = [0.1, 0.5, 0.9].map(|t| COSINE.level(t));
    let batch = |x| Batch { x, condition: Condition::None };
    let process = process(COSINE, 1.0);
    let rows = [4, 0, 9];
    let all = batch(x.clone());
    let all = process.corrupt(&all, Levels::Rows(levels.to_vec()), &rows, &draws).unwrap();
    let noise = host(&all.noise);
    for (i, (level, row)) in levels.iter().zip(rows).enumerate() {
        let alone = batch(x.clone().narrow(0, i, 1));
        let alone = process.corrupt(&alone, (*level).into(), &[row], &draws).unwrap();
        assert_eq!(host(&alone.noise), noise[2 * i..2 * i + 2]);
        assert_eq!(host(&alone.x), host(&all.x)[2 * i..2 * i + 2]);
        for (j, noise) in noise.iter().enumerate().skip(2 * i).take(2) {
            let right = level.alpha * host(&x)[j] + level.sigma * noise;
            within("x_t", host(&all.x)[j], right, 1e-15);
        }
    }
    let start = host(&process.prior(&rows, 2, &draws, &cpu()));
    assert_eq!(start[2..4], host(&process.prior(&[0], 2, &draws, &cpu())));
    let few = process.corrupt(&batch(x), Levels::Rows(levels[..2].to_vec()), &rows, &draws);
    assert!(matches!(few, Err(Error::Shape { .. })));
}

/// Both have mean m(T) + α 0 and variance α² σ_data² + σ²: six standard errors.
#[test]
fn the_prior_has_the_moments_of_noised_data_at_the_last_time() {
    let (n, sigma_data, sde) = (40_000, 1.7, around(3.0));
    let rows: Vec<u64> = (0..n as u64).collect();
    let level = sde.level(1.0);
    let x: Vec<f64> = rows.iter().map(|i| sigma_data * Draws::new(5).normal_f64(*i, 0)).collect();
    let batch = Batch { x: doubles(&x, 1), condition: Condition::None };
    let process = process(sde.clone(), sigma_data);
    let noised = process.corrupt(&batch, level.into(), &rows, &Draws::new(6)).unwrap();
    let placed: Vec<f64> = host(&noised.x).iter().map(|x| x + sde.offset(1.0)).collect();
    let start = host(&process.prior(&rows, 1, &Draws::new(7), &cpu()));
    let right = (level.alpha * sigma_data).hypot(level.sigma);
    within("the prior's standard deviation", sde.prior_sd(sigma_data), right, 1e-15);
    for (what, x) in [("noised data", placed), ("the prior", start)] {
        let (mean, variance) = moments(&x);
        let each = 1.0 / n as f64;
        within(what, mean, 3.0 * (1.0 - level.alpha), SIX_SIGMA * right * each.sqrt());
        within(what, variance, right * right, SIX_SIGMA * right * right * (2.0 * each).sqrt());
    }
}

/// One solver, one seed: at every level on the way the samples differ by m(t), and clean data not at all.
#[test]
fn samples_of_a_process_with_an_offset_are_those_of_its_centred_process_moved() {
    let data = Arc::new(three_components());
    for name in ["ddim", "dpm++2m", "ancestral", "predictor-corrector"] {
        for last in [Last::Denoise, Last::Stop] {
            let path = |c: f64| -> (LinearSde, Vec<Moment>) {
                let sampler = Sampler::new(data.clone(), Arc::new(around(c))).with_last(last);
                let sampler = sampler.with_solver(AnySolver::parse(name).unwrap()).with_steps(12);
                let rows = 0..50;
                let path = sampler.path(rows.clone(), &Condition::None, &Draws::new(2), &cpu(), 99);
                let path = path.unwrap();
                // What generation observes and returns is the same.
                let (mut seen, ids) = (Vec::new(), rows.clone().collect::<Vec<_>>());
                let start = path[0].x.clone();
                let (draws, none) = (Draws::new(2), Condition::None);
                let end = sampler.generate_from(start, &ids, &none, &draws, |at| {
                    seen.push((at.level, host(at.x)));
                });
                assert_eq!(host(&end.unwrap()), seen[seen.len() - 1].1);
                for ((level, x), moment) in seen.into_iter().zip(&path) {
                    assert_eq!(level, moment.level);
                    assert!(gap(&x, &host(&moment.x)) < 1e-5);
                }
                (around(c), path)
            };
            let ((sde, there), (_, here)) = (path(3.0), path(0.0));
            assert_eq!(there.len(), 13);
            for (there, here) in there.iter().zip(&here) {
                let moved = if here.level.sigma > 0.0 { sde.offset(here.level.t) } else { 0.0 };
                let centred = there.x.clone().sub_scalar(moved);
                let place = format!("{name}, {last:?}, t = {}", here.level.t);
                assert!(gap(&host(&centred), &host(&here.x)) < 1e-4, "{place}");
                assert!(gap(&host(&there.mean), &host(&here.mean)) < 1e-4, "{place}");
            }
            assert!(sde.offset(1.0) > 2.9 && sde.offset(0.3) > 1.0);
        }
    }
}

/// Mean α μ + m and variance α² v + σ² of each coordinate of the mixture at the first time: six standard errors, and a
/// hundredth for the solver and for the prior, which does not know μ.
#[test]
fn samples_of_a_process_with_an_offset_have_its_moments() {
    let (data, sde, n) = (three_components(), around(3.0), 20_000);
    let exact = host(&data.sample(400_000, &Draws::new(1), &cpu()));
    let sampler = Sampler::new(Arc::new(data), Arc::new(sde.clone())).with_last(Last::Stop);
    let draws = Draws::new(9);
    let found = sampler.with_steps(60).generate(0..n, &Condition::None, &draws, &cpu()).unwrap();
    let (found, level) = (host(&found), sde.level(0.3));
    for j in 0..2 {
        let column = |x: &[f64]| x.iter().skip(j).step_by(2).copied().collect::<Vec<_>>();
        let ((mean, variance), right) = (moments(&column(&found)), moments(&column(&exact)));
        let right_variance = level.alpha.powi(2) * right.1 + level.sigma.powi(2);
        let each = 1.0 / n as f64;
        let off = SIX_SIGMA * (right_variance * each).sqrt() + 0.01;
        within("mean", mean, level.alpha * right.0 + 3.0 * (1.0 - level.alpha), off);
        // The kurtosis of a mixture within a few spreads is at most 4.
        let off = SIX_SIGMA * (3.0 * each).sqrt() + 0.01;
        within("variance", variance / right_variance, 1.0, off);
    }
}

#[test]
fn densities_of_a_process_with_an_offset_are_those_of_its_centred_process_moved() {
    let (sde, x) = (around(3.0), [-1.0, 0.2, 1.1, 2.5]);
    let (level, m) = (sde.level(0.3), sde.offset(0.3));
    let log_p = |x: f64, v: f64| -0.5 * ((x - m).powi(2) / v + (std::f64::consts::TAU * v).ln());
    let batch = doubles(&x, 1);
    for c in [0.25, 1.0] {
        let model = Diffusing::new(Arc::new(gaussian(0.0, c)), Arc::new(sde.clone()));
        let model = model.with_sigma_data(c.sqrt());
        let fine = Tolerance { atol: 1e-9, rtol: 1e-9 };
        let found = PfOde::from(model.clone()).with_tolerance(fine);
        let found = found.log_prob(batch.clone(), &Condition::None).unwrap().value;
        let v = level.alpha.powi(2) * c + level.sigma.powi(2);
        for (found, x) in found.iter().zip(x) {
            within("by the flow", *found, log_p(x, v), 1e-6);
        }
        // Steps with the exact score of unit data are the exact reverse: every path has the same weight.
        if c == 1.0 {
            let found = ReverseSde::from(model).log_prob(batch.clone(), &Condition::None).unwrap();
            for (found, x) in found.value.iter().zip(x) {
                within("by a path", *found, log_p(x, v), 1e-9);
            }
        }
    }
}

#[test]
fn schedules_without_an_offset_have_none() {
    assert_eq!(VP.offset(0.4), 0.0);
    let pointer: Arc<dyn Schedule> = Arc::new(around(3.0));
    assert_eq!(pointer.offset(0.4), around(3.0).offset(0.4));
}
