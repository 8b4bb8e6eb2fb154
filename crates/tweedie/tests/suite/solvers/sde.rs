//! Stochastic solvers by exact recursion of moments.
//!
//! On Gaussian data a step is x ↦ a x + b + c z. The coefficients are read off the solver itself, so mean and variance
//! after any number of steps are known without sampling.

use crate::oracle::{
    COSINE, EDM, OU, VE, VP, doubles, gap, gaussian, host, normals, orders, run, three_components,
};
use tweedie::Draws;
use tweedie::data::{Condition, Rows};
use tweedie::denoise::GaussianMixture;
use tweedie::process::{AnySchedule, Level, Levels, Schedule, Ve};
use tweedie::solve::grid::{AnyGrid, Grid, Karras, LogSnr, Quadratic, Time};
use tweedie::solve::{
    Ancestral, Context, Ddim, DpmSolverPp2M, DpmSolverPp2S, DpmSolverPp3M, Euler, EulerMaruyama,
    Last, Noise, Solver, StochasticHeun, integrate,
};

const MEAN: f64 = 0.8;
const VARIANCE: f64 = 0.6;

#[derive(Debug, Clone, Copy)]
struct Affine {
    a: f64,
    b: f64,
    c: f64,
}

/// The coefficients of each step over `levels`: per step a row at 0, a row at 1 with the same noise, and a row at 0
/// with other noise.
fn coefficients(
    solver: &dyn Solver,
    denoiser: &GaussianMixture,
    schedule: &dyn Schedule,
    levels: &[Level],
) -> Vec<Affine> {
    let steps = levels.len() - 1;
    let rows = [0, 0, 1].repeat(steps);
    let each =
        |offset: usize| Levels::Rows((0..3 * steps).map(|i| levels[i / 3 + offset]).collect());
    let draws = Draws::new(5);
    let condition = &Condition::None;
    let context = Context { denoiser, schedule, condition, noise: &draws, rows: &rows, clip: None };
    let x = doubles(&[0.0, 1.0, 0.0].repeat(steps), 1);
    let z = host(&context.noise(0, &x));
    let (z, other) = (z[0], z[2]);
    assert!((z - other).abs() > 0.3);
    let y = host(&solver.step(solver.init(x), &each(0), &each(1), &context).unwrap().x);
    y.chunks(3)
        .map(|y| {
            let c = (y[2] - y[0]) / (other - z);
            Affine { a: y[1] - y[0], b: y[0] - c * z, c }
        })
        .collect()
}

fn moments(data: (f64, f64), level: &Level) -> (f64, f64) {
    (level.alpha * data.0, level.alpha.powi(2) * data.1 + level.sigma.powi(2))
}

/// Mean and variance after all steps, from the exact moments at the first level.
fn propagated(steps: &[Affine], start: (f64, f64)) -> (f64, f64) {
    steps
        .iter()
        .fold(start, |(mean, variance), s| (s.a * mean + s.b, s.a.powi(2) * variance + s.c.powi(2)))
}

/// Errors of mean and variance at the cleanest level for each number of steps, from data N(0.8, `variance`).
fn errors(
    solver: &dyn Solver,
    schedule: &AnySchedule,
    grid: AnyGrid,
    variance: f64,
    steps: &[usize],
) -> [Vec<f64>; 2] {
    let data = gaussian(MEAN, variance);
    let mut found = [Vec::new(), Vec::new()];
    for &n in steps {
        let levels = grid.levels(schedule, n).unwrap();
        let steps = coefficients(solver, &data, schedule, &levels);
        let end = propagated(&steps, moments((MEAN, variance), &levels[0]));
        let right = moments((MEAN, variance), &levels[n]);
        found[0].push((end.0 - right.0).abs());
        found[1].push((end.1 - right.1).abs());
    }
    found
}

const DOUBLING: [usize; 4] = [512, 1024, 2048, 4096];

fn assert_order_1(what: &str, errors: &[f64]) {
    let orders = orders(errors);
    assert!(orders.iter().all(|o| (o - 1.0).abs() < 0.1), "{what}: {errors:?}, orders {orders:?}");
}

#[test]
fn euler_maruyama_has_weak_order_1() {
    // Down to σ = 0.01 the variance-exploding process forgets its early errors and looks of order 2.
    let ve = AnySchedule::Ve(Ve { sigma_min: 0.3, sigma_max: 20.0 });
    for (schedule, grid) in [
        (VP, AnyGrid::Time(Time)),
        (OU, AnyGrid::Time(Time)),
        (OU, AnyGrid::Quadratic(Quadratic)),
        (COSINE, AnyGrid::LogSnr(LogSnr)),
        (ve, AnyGrid::Time(Time)),
        (EDM, AnyGrid::Karras(Karras { rho: 7.0 })),
    ] {
        let [mean, variance] =
            errors(&EulerMaruyama::default(), &schedule, grid, VARIANCE, &DOUBLING);
        assert_order_1(&format!("variance, {schedule:?} {grid:?}"), &variance);
        assert!(variance[3] < 2e-3);
        // Without a drift of its own the process keeps the mean exactly.
        match schedule {
            AnySchedule::Ve(_) | AnySchedule::Edm(_) => assert!(mean.iter().all(|e| *e < 1e-12)),
            _ => assert_order_1(&format!("mean, {schedule:?} {grid:?}"), &mean),
        }
    }
}

/// Every reverse process of the family has the data's marginals: mean and variance tend to them with order 1 at least
/// (where errors of first order cancel, 2), and what extrapolation leaves is of second order.
#[test]
fn every_churn_has_the_same_marginals() {
    for churn in [0.0, 0.25, 0.5, 0.75, 1.0] {
        for (schedule, grid) in [
            (VP, AnyGrid::Time(Time)),
            (OU, AnyGrid::Quadratic(Quadratic)),
            (COSINE, AnyGrid::LogSnr(LogSnr)),
        ] {
            let solver = EulerMaruyama { churn };
            let found = errors(&solver, &schedule, grid, VARIANCE, &DOUBLING);
            for errors in found {
                let orders = orders(&errors);
                let place = format!("churn {churn}, {schedule:?}: {errors:?}, orders {orders:?}");
                assert!(orders.iter().all(|o| (0.85..2.15).contains(o)), "{place}");
                let left = (2.0 * errors[3] - errors[2]).abs();
                assert!(left < 2e-4, "{place}: {left:e} is left");
            }
        }
    }
    // At one end the noise is gone, and the step is Euler's on the probability flow.
    let data = three_components();
    for schedule in [VP, COSINE, EDM] {
        let levels = LogSnr.levels(&schedule, 30).unwrap();
        let x = normals(16, 2, schedule.prior_sd(1.0), 1);
        let still = run(&EulerMaruyama { churn: 0.0 }, &data, &schedule, x.clone(), &levels);
        let euler = run(&Euler {}, &data, &schedule, x, &levels);
        assert!(gap(&host(&still), &host(&euler)) < 1e-10 * (1.0 + levels[0].sigma));
    }
}

#[test]
fn ancestral_sampling_and_ddim_keep_the_mean_and_have_order_1_in_the_variance() {
    let solvers: [&dyn Solver; 5] = [
        &Ancestral::default(),
        &Ddim { eta: 0.0 },
        &Ddim { eta: 0.3 },
        &Ddim { eta: 0.7 },
        &Ddim { eta: 1.0 },
    ];
    for solver in solvers {
        for (schedule, grid) in [
            (VP, AnyGrid::Time(Time)),
            (VP, AnyGrid::LogSnr(LogSnr)),
            (OU, AnyGrid::Quadratic(Quadratic)),
            (COSINE, AnyGrid::LogSnr(LogSnr)),
            (VE, AnyGrid::Time(Time)),
            (EDM, AnyGrid::Karras(Karras { rho: 7.0 })),
        ] {
            let [mean, variance] = errors(solver, &schedule, grid, VARIANCE, &DOUBLING);
            assert!(mean.iter().all(|e| *e < 1e-12), "{solver:?} {schedule:?}: {mean:?}");
            assert_order_1(&format!("{solver:?}, {schedule:?} {grid:?}"), &variance);
            assert!(variance[3] < 2.5e-3, "{solver:?} {schedule:?}: {variance:?}");
        }
    }
}

/// Which of the two is better depends on the data. Ancestral steps leave out the spread of x₀ given x_t: on data
/// concentrated in less than the noise of a step, as data near a manifold are, their error is at most the data's own
/// variance, and Euler–Maruyama leaves noise behind. On a wide Gaussian it is the other way round.
#[test]
fn ancestral_sampling_beats_euler_maruyama_on_concentrated_data() {
    let steps = [8, 16, 32, 64, 128, 256];
    for (schedule, grid) in [(VP, AnyGrid::Time(Time)), (OU, AnyGrid::Time(Time))] {
        let [_, ancestral] = errors(&Ancestral::default(), &schedule, grid, 1e-4, &steps);
        let [_, euler] = errors(&EulerMaruyama::default(), &schedule, grid, 1e-4, &steps);
        for (ours, theirs) in ancestral.iter().zip(&euler) {
            assert!(3.0 * ours < *theirs, "{schedule:?}: {ancestral:?}, {euler:?}");
        }
    }
    let [_, ancestral] = errors(&Ancestral::default(), &VP, AnyGrid::Time(Time), 1.0, &steps);
    let [_, euler] = errors(&EulerMaruyama::default(), &VP, AnyGrid::Time(Time), 1.0, &steps);
    assert!(ancestral.iter().zip(&euler).all(|(a, e)| 2.0 * e < *a), "{ancestral:?}, {euler:?}");
}

/// Noise that is 1 under the number before a row's own and else 0.
struct Impulses;

impl Noise for Impulses {
    fn normals(&self, step: u64, rows: &[u64], width: usize) -> Rows {
        let at = |row: u64| f32::from(u8::from(row == step + 1));
        let values = rows.iter().flat_map(|&row| (0..width).map(move |_| at(row)));
        Rows::new(values.collect(), width).unwrap()
    }
}

/// The errors of mean and variance at the end of a solver with a memory, or with up to two noises a step: its end is
/// affine in the start and in each noise, and a batch with one row for each gives the factors.
fn errors_with_memory(solver: &dyn Solver, schedule: &AnySchedule, levels: &[Level]) -> [f64; 2] {
    let data = gaussian(MEAN, VARIANCE);
    let steps = levels.len() - 1;
    let last = 2 * steps + 1;
    let rows: Vec<u64> = (0..=last as u64).collect();
    let condition = &Condition::None;
    let noise = &Impulses;
    let context = Context { denoiser: &data, schedule, condition, noise, rows: &rows, clip: None };
    let mut start = vec![0.0; last + 1];
    start[last] = 1.0;
    let x = doubles(&start, 1);
    let end = host(&integrate(solver, x, levels, Last::Stop, &context, |_| {}).unwrap());
    let from = moments((MEAN, VARIANCE), &levels[0]);
    let right = moments((MEAN, VARIANCE), &levels[steps]);
    let (a, b) = (end[last] - end[0], end[0]);
    let added: f64 = end[1..last].iter().map(|c| (c - b).powi(2)).sum();
    [(a * from.0 + b - right.0).abs(), (a * a * from.1 + added - right.1).abs()]
}

#[test]
fn stochastic_exponential_integrators_and_churn_have_weak_order_2() {
    let steps = [256, 512, 1024];
    let mut wrong = Vec::new();
    for (schedule, grid) in [
        (VP, AnyGrid::LogSnr(LogSnr)),
        (COSINE, AnyGrid::LogSnr(LogSnr)),
        (EDM, AnyGrid::Karras(Karras { rho: 7.0 })),
    ] {
        let churn =
            |n: usize| StochasticHeun { churn: 4.0 / n as f64, ..StochasticHeun::default() };
        type Make<'a> = &'a dyn Fn(usize) -> Box<dyn Solver>;
        let cases: [(&str, Make); 4] = [
            ("2S", &|_| Box::new(DpmSolverPp2S { eta: 1.0 })),
            ("2M", &|_| Box::new(DpmSolverPp2M { eta: 1.0 })),
            ("3M", &|_| Box::new(DpmSolverPp3M { eta: 1.0 })),
            ("churn", &|n| Box::new(churn(n))),
        ];
        for (name, solver) in cases {
            let found = steps.map(|n| {
                let levels = grid.levels(&schedule, n).unwrap();
                errors_with_memory(&*solver(n), &schedule, &levels)
            });
            // x̂₀ is affine in x and its mean constant along the process.
            assert!(found.iter().all(|e| e[0] < 1e-12), "{name} {schedule:?}: {found:?}");
            let variance = orders(&found.map(|e| e[1]));
            println!("{name} {schedule:?}: {found:?} {variance:?}");
            if variance.iter().any(|o| (o - 2.0).abs() > 0.15) {
                wrong.push(format!("{name} {schedule:?}: {found:?} {variance:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn euler_maruyama_takes_the_reverse_drift_and_diffusion() {
    let data = gaussian(MEAN, VARIANCE);
    for schedule in [VP, OU, VE, COSINE, EDM] {
        let levels = LogSnr.levels(&schedule, 40).unwrap();
        let steps = coefficients(&EulerMaruyama::default(), &data, &schedule, &levels);
        for (s, pair) in steps.iter().zip(levels.windows(2)) {
            // dx = (f x + g² (x − α m)/v) dt + g dW̄.
            let (f, g2) = (schedule.drift(pair[0].t), schedule.diffusion_squared(pair[0].t));
            let (mean, variance) = moments((MEAN, VARIANCE), &pair[0]);
            let dt = pair[1].t - pair[0].t;
            let right =
                [1.0 + dt * (f + g2 / variance), -dt * g2 * mean / variance, (-dt * g2).sqrt()];
            let size = 1.0 + (dt * g2 / pair[0].sigma.powi(2)).abs();
            let found = gap(&[s.a, s.b, s.c], &right) / size;
            assert!(found < 1e-9, "{schedule:?} at {pair:?}: {s:?} against {right:?}");
        }
    }
}

#[test]
fn posteriors_are_bayes_rule() {
    for schedule in [VP, OU, VE, COSINE, EDM] {
        let levels = LogSnr.levels(&schedule, 12).unwrap();
        for (i, t) in levels.iter().enumerate() {
            for s in &levels[i + 1..] {
                let (kernel, posterior) = (t.given(s), t.posterior(s));
                let close = |a: f64, b: f64| (a - b).abs() <= 1e-10 * b.abs().max(1e-12);
                // x_t = α_{t|s} x_s + noise has q(x_t | x₀)'s moments.
                assert!(close(kernel.alpha * s.alpha, t.alpha));
                let variance = kernel.alpha.powi(2) * s.sigma.powi(2) + kernel.variance;
                assert!(close(variance, t.sigma.powi(2)));
                // Precisions add: 1/σ_s² from x₀, α²_{t|s}/σ²_{t|s} from x_t.
                let precision = s.sigma.powi(-2) + kernel.alpha.powi(2) / kernel.variance;
                assert!(close(posterior.variance, 1.0 / precision), "{t:?} {s:?}");
                assert!(close(posterior.from_x, kernel.alpha / kernel.variance / precision));
                assert!(close(posterior.from_data, s.alpha * s.sigma.powi(-2) / precision));
            }
        }
    }
}

#[test]
fn ddim_with_all_its_noise_is_ancestral_sampling() {
    let data = three_components();
    for schedule in [VP, COSINE, OU, VE, EDM] {
        let levels = LogSnr.levels(&schedule, 30).unwrap();
        let x = normals(16, 2, schedule.prior_sd(1.0), 1);
        let ancestral = run(&Ancestral::default(), &data, &schedule, x.clone(), &levels);
        let ddim = run(&Ddim { eta: 1.0 }, &data, &schedule, x.clone(), &levels);
        assert!(gap(&host(&ancestral), &host(&ddim)) < 1e-12 * (1.0 + levels[0].sigma));
        let other = run(&Ddim { eta: 0.5 }, &data, &schedule, x, &levels);
        assert!(gap(&host(&ancestral), &host(&other)) > 0.1);
    }
}

#[test]
fn each_step_has_its_own_noise() {
    // The whole integration is the composition of affine steps with the noise addressed by (step, row).
    let data = gaussian(MEAN, VARIANCE);
    let levels = LogSnr.levels(&COSINE, 20).unwrap();
    let solvers: [&dyn Solver; 3] =
        [&EulerMaruyama::default(), &Ancestral::default(), &Ddim { eta: 0.6 }];
    for solver in solvers {
        let steps = coefficients(solver, &data, &COSINE, &levels);
        let x = host(&run(solver, &data, &COSINE, doubles(&[0.3, -1.2, 2.0], 1), &levels));
        // `run` draws from seed 3.
        let noise = |k: usize| Draws::new(3).at(k as u64).normals(0..3, 1);
        for (row, start) in [0.3, -1.2, 2.0].into_iter().enumerate() {
            let end = steps
                .iter()
                .enumerate()
                .fold(start, |x, (k, s)| s.a * x + s.b + s.c * f64::from(noise(k).row(row)[0]));
            assert!((x[row] - end).abs() < 1e-9, "{solver:?}: {} against {end}", x[row]);
        }
    }
}
