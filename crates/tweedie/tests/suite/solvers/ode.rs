//! Fixed-step solvers of the probability-flow ODE against exact end points.

use crate::oracle::{
    COSINE, EDM, Gaussian3, OU, VE, VP, gap, host, normals, orders, run, three_components,
};
use tweedie::burn::tensor::Tensor;
use tweedie::data::Condition;
use tweedie::denoise::Denoiser;
use tweedie::process::{AnySchedule, Level, Schedule};
use tweedie::solve::grid::{AnyGrid, Grid, Karras, LogSnr, Quadratic, Time};
use tweedie::solve::pndm::Start;
use tweedie::solve::{
    Context, Ddim, DormandPrince, DpmSolverPp2M, Euler, Heun, Last, Lms, Pndm, Solver, Tolerance,
    integrate,
};

const KARRAS: AnyGrid = AnyGrid::Karras(Karras { rho: 7.0 });

/// Solvers with their order, and a schedule and grid on which the step size is smooth.
fn cases() -> Vec<(Box<dyn Solver>, f64, AnySchedule, AnyGrid)> {
    vec![
        (Box::new(Euler {}), 1.0, VP, AnyGrid::Time(Time)),
        (Box::new(Euler {}), 1.0, COSINE, AnyGrid::LogSnr(LogSnr)),
        (Box::new(Euler {}), 1.0, EDM, KARRAS),
        (Box::new(Heun {}), 2.0, VP, AnyGrid::Time(Time)),
        (Box::new(Heun {}), 2.0, COSINE, AnyGrid::LogSnr(LogSnr)),
        (Box::new(Heun {}), 2.0, EDM, KARRAS),
        (Box::new(Heun {}), 2.0, OU, AnyGrid::Quadratic(Quadratic)),
        (Box::new(Ddim { eta: 0.0 }), 1.0, VP, AnyGrid::LogSnr(LogSnr)),
        (Box::new(Ddim { eta: 0.0 }), 1.0, COSINE, AnyGrid::LogSnr(LogSnr)),
        (Box::new(Ddim { eta: 0.0 }), 1.0, VE, AnyGrid::Time(Time)),
        (Box::new(DpmSolverPp2M::default()), 2.0, VP, AnyGrid::LogSnr(LogSnr)),
        (Box::new(DpmSolverPp2M::default()), 2.0, COSINE, AnyGrid::LogSnr(LogSnr)),
        (Box::new(DpmSolverPp2M::default()), 2.0, EDM, KARRAS),
        (Box::new(DpmSolverPp2M::default()), 2.0, VE, AnyGrid::Time(Time)),
        (Box::new(Pndm { start: Start::RungeKutta }), 2.0, VP, AnyGrid::LogSnr(LogSnr)),
        (Box::new(Pndm { start: Start::Heun }), 2.0, COSINE, AnyGrid::LogSnr(LogSnr)),
        (Box::new(Pndm { start: Start::Heun }), 2.0, EDM, KARRAS),
    ]
}

/// The largest error over the batch at each number of steps.
fn errors(
    solver: &dyn Solver,
    denoiser: &dyn Denoiser,
    schedule: &AnySchedule,
    grid: AnyGrid,
    start: &Tensor<2>,
    end: &[f64],
    steps: &[usize],
) -> Vec<f64> {
    let end_at = |&n: &usize| {
        let levels = grid.levels(schedule, n).unwrap();
        gap(&host(&run(solver, denoiser, schedule, start.clone(), &levels)), end)
    };
    steps.iter().map(end_at).collect()
}

fn ends(schedule: &AnySchedule) -> (Level, Level) {
    let (first, last) = schedule.range();
    (schedule.level(last), schedule.level(first))
}

fn assert_order(what: &str, order: f64, errors: &[f64]) {
    let orders = orders(errors);
    let right = orders.iter().all(|o| (o - order).abs() < 0.1);
    assert!(right, "{what}: {errors:?}, orders {orders:?}");
    assert!(
        errors[errors.len() - 1] < if order == 1.0 { 0.02 } else { 2e-4 },
        "{what}: {errors:?}"
    );
}

#[test]
fn strong_orders_on_a_correlated_gaussian() {
    let data = Gaussian3::new();
    for (solver, order, schedule, grid) in cases() {
        let (from, to) = ends(&schedule);
        let x = normals(8, 3, schedule.prior_sd(1.0), 11);
        let end = data.flow(&host(&x), &from, &to);
        let found =
            errors(&*solver, &data.mixture, &schedule, grid, &x, &end, &[64, 128, 256, 512]);
        assert_order(&format!("{solver:?} {schedule:?} {grid:?}"), order, &found);
    }
}

#[test]
fn strong_orders_on_a_mixture() {
    let data = three_components();
    let exact = DormandPrince { tolerance: Tolerance { atol: 1e-12, rtol: 1e-12 } };
    for (solver, order, schedule, grid) in cases() {
        let (from, to) = ends(&schedule);
        let x = normals(8, 2, schedule.prior_sd(1.0), 12);
        let end = host(&run(&exact, &data, &schedule, x.clone(), &[from, to]));
        let found = errors(&*solver, &data, &schedule, grid, &x, &end, &[64, 128, 256, 512]);
        assert_order(&format!("{solver:?} {schedule:?} {grid:?}"), order, &found);
    }
}

/// x_s = (α_s/α_t) x_t + α_s (e^{−λ_s/2} − e^{−λ_t/2}) ε̂: the ODE d(x/α)/d(σ/α) = ε with ε held over the step.
fn exponential_euler(x: &[f64], data: &[f64], t: &Level, s: &Level) -> Vec<f64> {
    let run = (-0.5 * s.lambda).exp() - (-0.5 * t.lambda).exp();
    let one = |(x, data): (&f64, &f64)| {
        let noise = (x - t.alpha * data) / t.sigma;
        s.alpha / t.alpha * x + s.alpha * run * noise
    };
    x.iter().zip(data).map(one).collect()
}

#[test]
fn ddim_without_noise_and_the_first_multistep_step_are_the_exponential_euler_step() {
    let data = three_components();
    for schedule in [VP, COSINE, VE, OU, EDM] {
        let levels = LogSnr.levels(&schedule, 10).unwrap();
        for pair in levels.windows(2) {
            let sd = pair[0].sigma.hypot(pair[0].alpha);
            let x = normals(16, 2, sd, 13);
            let mean = data.denoise(x.clone().into(), &pair[0].into(), &Condition::None).unwrap();
            let right = exponential_euler(&host(&x), &host(&mean.value), &pair[0], &pair[1]);
            let solvers: [&dyn Solver; 2] = [&Ddim { eta: 0.0 }, &DpmSolverPp2M::default()];
            for solver in solvers {
                let found = host(&run(solver, &data, &schedule, x.clone(), pair));
                assert!(gap(&found, &right) < 1e-12 * (1.0 + sd), "{solver:?} at {pair:?}");
            }
        }
    }
}

#[test]
fn the_multistep_solver_remembers_one_step_and_forgets_the_rest() {
    // Cloning and selecting rows of a state half-way changes nothing.
    let data = three_components();
    let levels = LogSnr.levels(&VP, 12).unwrap();
    let x = normals(5, 2, 1.0, 14);
    let whole = host(&run(&DpmSolverPp2M::default(), &data, &VP, x.clone(), &levels));
    let draws = tweedie::Draws::new(3);
    let rows = [0, 1, 2, 3, 4];
    let condition = &Condition::None;
    let context = Context {
        denoiser: &data,
        schedule: &VP,
        condition,
        noise: &draws,
        rows: &rows,
        clip: None,
    };
    let mut state = DpmSolverPp2M::default().init(x);
    for (k, pair) in levels.windows(2).enumerate() {
        state = DpmSolverPp2M::default()
            .step(state, &pair[0].into(), &pair[1].into(), &context)
            .unwrap();
        assert_eq!(state.history.len(), 1);
        if k == 5 {
            state = state.clone().select(&[3, 1]).unwrap();
        }
    }
    let right: Vec<f64> = [&whole[6..8], &whole[2..4]].concat();
    assert!(gap(&host(&state.x), &right) < 1e-12);
}

#[test]
fn a_step_to_noise_free_data_is_the_posterior_mean() {
    // At σ = 0 nothing of x but E[x₀ | x] is left, in every solver that can get there.
    let data = three_components();
    let mut levels = LogSnr.levels(&COSINE, 8).unwrap();
    let x = normals(6, 2, 1.0, 15);
    let solvers: [&dyn Solver; 3] =
        [&Ddim { eta: 0.0 }, &tweedie::solve::Ancestral::default(), &DpmSolverPp2M::default()];
    for solver in solvers {
        let before = run(solver, &data, &COSINE, x.clone(), &levels);
        let mean = data.denoise(before.into(), &levels[8].into(), &Condition::None).unwrap();
        levels.push(Level::clean(0.0));
        let after = run(solver, &data, &COSINE, x.clone(), &levels);
        levels.pop();
        assert!(gap(&host(&after), &host(&mean.value)) < 1e-12, "{solver:?}");
    }
}

/// Along levels uniform in ρ = σ/α the mean noise of PNDM is a mean over ρ: its methods are the classical ones of order
/// 4, and LMS has the same weights.
#[test]
fn pndm_has_order_4_and_the_weights_of_lms_on_levels_uniform_in_sigma() {
    let data = three_components();
    let exact = DormandPrince { tolerance: Tolerance { atol: 1e-13, rtol: 1e-13 } };
    let schedule = AnySchedule::Edm(tweedie::process::Edm { sigma_min: 0.5, sigma_max: 4.5 });
    let (from, to) = ends(&schedule);
    let x = normals(8, 2, 4.5, 16);
    let end = host(&run(&exact, &data, &schedule, x.clone(), &[from, to]));
    let solver = Pndm { start: Start::RungeKutta };
    let grid = AnyGrid::Time(Time);
    let found = errors(&solver, &data, &schedule, grid, &x, &end, &[40, 80, 160]);
    let orders = orders(&found);
    println!("{found:?} {orders:?}");
    assert!(orders.iter().all(|o| (o - 4.0).abs() < 0.3), "{found:?} {orders:?}");
    // From the same history both take the same step.
    let levels = grid.levels(&schedule, 12).unwrap();
    let draws = tweedie::Draws::new(3);
    let rows: Vec<u64> = (0..8).collect();
    let condition = &Condition::None;
    let context = Context {
        denoiser: &data,
        schedule: &schedule,
        condition,
        noise: &draws,
        rows: &rows,
        clip: None,
    };
    let mut state = solver.init(x);
    for (k, pair) in levels.windows(2).enumerate() {
        let (from, to) = (pair[0].into(), pair[1].into());
        if k >= 3 {
            let other = Lms::default().step(state.clone(), &from, &to, &context).unwrap();
            let own = solver.step(state.clone(), &from, &to, &context).unwrap();
            assert!(gap(&host(&own.x), &host(&other.x)) < 1e-12, "step {k}");
        }
        state = solver.step(state, &from, &to, &context).unwrap();
    }
}

/// The last denoising of a multistep solver is its own step to clean data, of finite length in σ/α.
#[test]
fn multistep_solvers_in_sigma_end_by_their_own_step_to_clean_data() {
    let data = three_components();
    let levels = LogSnr.levels(&COSINE, 12).unwrap();
    let x = normals(6, 2, 1.0, 15);
    let draws = tweedie::Draws::new(3);
    let rows = [0, 1, 2, 3, 4, 5];
    let condition = &Condition::None;
    let context = Context {
        denoiser: &data,
        schedule: &COSINE,
        condition,
        noise: &draws,
        rows: &rows,
        clip: None,
    };
    let solvers: [&dyn Solver; 3] =
        [&Lms::default(), &Pndm { start: Start::Heun }, &Pndm { start: Start::RungeKutta }];
    for solver in solvers {
        let end = |levels: &[Level], last: Last| {
            host(&integrate(solver, x.clone(), levels, last, &context, |_| {}).unwrap())
        };
        let clean = [&levels[..], &[Level::clean(0.0)]].concat();
        let (own, denoised) = (end(&levels, Last::Denoise), end(&clean, Last::Stop));
        assert_eq!(own, denoised, "{solver:?}");
    }
    // Order 1 has the mean as its step.
    let one = Lms { order: 1 };
    let before = run(&one, &data, &COSINE, x.clone(), &levels);
    let mean = data.denoise(before.into(), &levels[12].into(), &Condition::None).unwrap();
    let found = integrate(&one, x, &levels, Last::Denoise, &context, |_| {}).unwrap();
    assert!(gap(&host(&found), &host(&mean.value)) < 1e-12);
}
