//! The discrete chain: its table, the process between its indices, Bayes' rule in its β, pure noise at its end.
//! Tables and timesteps are diffusers'; see `bench/chain_peer.py`.

use crate::oracle::{gap, gaussian, run};
use crate::support::*;
use serde::Deserialize;
use std::sync::Arc;
use tweedie::data::{Batch, Condition};
use tweedie::denoise::{Denoiser, NeuralDenoiser, Prediction};
use tweedie::family::diffusion::Diffusion;
use tweedie::nn::{Network, ResidualMlpConfig};
use tweedie::objective::{DenoisingScoreMatching, Noising, Objective, Weighting};
use tweedie::process::{
    AnySchedule, Betas, Chain, ChainConfig, Level, LevelDistribution, NoiseLevels, Schedule,
};
use tweedie::run::Recipe;
use tweedie::solve::grid::{
    AnyGrid, Grid, Karras, Leading, Linspace, LogSnr, Quadratic, Time, Trailing,
};
use tweedie::solve::{Ancestral, Context, Ddim, DormandPrince, DpmSolverPp2M, Euler, Heun, Solver};
use tweedie::tensor::Dual;
use tweedie::{Draws, Error};

#[derive(Deserialize)]
pub struct Fixture {
    tables: Vec<TableCase>,
    timesteps: Vec<GridCase>,
}

#[derive(Deserialize)]
struct TableCase {
    schedule: AnySchedule,
    indices: Vec<usize>,
    bars: Vec<f64>,
}

#[derive(Deserialize)]
struct GridCase {
    steps: usize,
    grid: AnyGrid,
    n: usize,
    indices: Vec<usize>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../fixtures/chain.json")).unwrap()
}

pub fn chain(betas: Betas, steps: usize, zero_terminal_snr: bool) -> Chain {
    let steps = Some(steps);
    Chain::new(ChainConfig { betas, steps, zero_terminal_snr, ..ChainConfig::default() }).unwrap()
}

/// β of each step, from the papers' formulas.
pub fn betas(kind: &Betas, n: usize) -> Vec<f64> {
    let line = |a: f64, b: f64, i: usize| a + (b - a) * i as f64 / (n as f64 - 1.0);
    let bar = |u: f64| (0.5 * std::f64::consts::PI * (u + 0.008) / 1.008).cos().powi(2);
    let beta = |i: usize| match kind {
        Betas::Linear => line(1e-4, 0.02, i),
        Betas::ScaledLinear => line(0.01, 0.02f64.sqrt(), i).powi(2),
        Betas::SquaredCos => {
            (1.0 - bar((i as f64 + 1.0) / n as f64) / bar(i as f64 / n as f64)).min(0.999)
        }
        Betas::Sigmoid => 1e-4 + 0.0199 * ln_sigmoid(line(-6.0, 6.0, i)).exp(),
        Betas::List(list) => list[i],
    };
    (0..n).map(beta).collect()
}

fn kinds() -> [Betas; 5] {
    let list = (0..1000).map(|i| 1e-3 + 2e-5 * f64::from(i % 17)).collect();
    [Betas::Linear, Betas::ScaledLinear, Betas::SquaredCos, Betas::Sigmoid, Betas::List(list)]
}

#[test]
fn levels_at_indices_are_products_of_the_table() {
    for kind in kinds() {
        let chain = chain(kind.clone(), 1000, false);
        let (mut kept, mut lost) = (1.0, 0.0);
        for (i, beta) in betas(&kind, 1000).into_iter().enumerate() {
            (kept, lost) = (kept * (1.0 - beta), lost + kept * beta);
            let level = chain.level(i as f64);
            let at = |what| format!("{what} of {kind:?} at {i}");
            // The cosine's β is a difference of near numbers in its paper's form.
            let digits = if kind == Betas::SquaredCos { 1e-9 } else { 1e-12 };
            close(at("ᾱ"), level.alpha.powi(2), kept, digits);
            close(at("1 − ᾱ"), level.sigma.powi(2), lost, digits);
            within(at("λ"), level.lambda, (kept / lost).ln(), digits);
        }
        assert_eq!(chain.level(-1.0), Level { t: -1.0, ..Level::clean(0.0) });
        assert_eq!((chain.steps(), chain.range()), (1000, (0.0, 999.0)));
    }
}

#[test]
fn tables_are_diffusers() {
    for case in fixture().tables {
        for (i, bar) in case.indices.iter().zip(&case.bars) {
            let level = case.schedule.level(*i as f64);
            // A thousand products in single precision.
            within(format!("ᾱ_{i} of {:?}", case.schedule), level.alpha.powi(2), *bar, 3e-6);
        }
    }
}

#[test]
fn zero_terminal_snr_keeps_the_first_level_and_ends_in_noise() {
    for kind in kinds() {
        let (plain, zero) = (chain(kind.clone(), 1000, false), chain(kind.clone(), 1000, true));
        let root = |i: usize| plain.level(i as f64).alpha;
        let scale = root(0) / (root(0) - root(999));
        for i in 0..1000 {
            let level = zero.level(i as f64);
            let expected = (root(i) - root(999)) * scale;
            within(format!("√ᾱ_{i} of {kind:?}"), level.alpha, expected, 1e-12);
            let lost = (1.0 - expected) * (1.0 + expected);
            within(format!("1 − ᾱ_{i} of {kind:?}"), level.sigma.powi(2), lost, 1e-12);
        }
        close("first", zero.level(0.0).sigma, plain.level(0.0).sigma, 1e-14);
        let end = zero.level(999.0);
        assert_eq!((end.alpha, end.sigma, end.lambda), (0.0, 1.0, f64::NEG_INFINITY));
        assert_eq!((zero.time(f64::NEG_INFINITY), zero.time(f64::INFINITY)), (999.0, -1.0));
    }
}

#[test]
fn between_indices_the_process_is_variance_preserving_with_closed_forms() {
    for zero in [false, true] {
        let chain = chain(Betas::Linear, 1000, zero);
        for t in [-0.5, 0.25, 0.5, 17.3, 499.5, 998.4] {
            let (level, ends) = (chain.level(t), [chain.level(t.floor()), chain.level(t.ceil())]);
            let w = t - t.floor();
            let square =
                |f: fn(&Level) -> f64| (1.0 - w) * f(&ends[0]).powi(2) + w * f(&ends[1]).powi(2);
            close(format!("ᾱ({t})"), level.alpha.powi(2), square(|l| l.alpha), 1e-14);
            close(format!("1 − ᾱ({t})"), level.sigma.powi(2), square(|l| l.sigma), 1e-13);
            close(format!("t of λ({t})"), chain.time(level.lambda) + 1.0, t + 1.0, 1e-12);
            let d = |f: &dyn Fn(Level) -> f64| difference(|t| f(chain.level(t)), t, 0.02);
            close(format!("f({t})"), chain.drift(t), d(&|l| l.alpha.ln()), 1e-8);
            close(format!("dλ/dt({t})"), chain.lambda_rate(t), d(&|l| l.lambda), 1e-8);
            close(format!("g²({t})"), chain.diffusion_squared(t), -2.0 * chain.drift(t), 1e-13);
            close(format!("dα/dt({t})"), chain.rate(t).alpha, d(&|l| l.alpha), 1e-8);
            // σ near 1 loses the digits of its own differences.
            let change = d(&|l| l.sigma);
            within(format!("dσ/dt({t})"), chain.rate(t).sigma, change, 1e-8 * change + 1e-14);
        }
        // At an index the rates are those of the piece before it.
        close(
            "f",
            chain.drift(500.0),
            0.5 * (1.0 - (chain.level(499.0).alpha / chain.level(500.0).alpha).powi(2)),
            1e-10,
        );
    }
}

/// *An Introduction to Generative Modeling with Flows and Diffusion Models*, eqs. 6.39 and 6.46 (whose factor on the
/// noise, b²/σ, is right where 6.39 prints b²/σ²), and *Generative Modeling with Diffusion Models*, eqs. 8–9, in β
/// alone.
#[test]
fn posteriors_are_bayes_rule_in_beta() {
    for kind in kinds() {
        let (betas, chain) = (betas(&kind, 1000), chain(kind.clone(), 1000, false));
        let mut bar = 1.0 - betas[0];
        for (i, &beta) in betas.iter().enumerate().skip(1) {
            let before = bar;
            bar *= 1.0 - beta;
            let (s, t) = (chain.level(i as f64 - 1.0), chain.level(i as f64));
            let found = t.posterior(&s);
            let at = |what| format!("{what} of {kind:?} at {i}");
            let digits = if kind == Betas::SquaredCos { 1e-8 } else { 1e-9 };
            close(at("β"), t.given(&s).variance, beta, digits);
            close(at("√(1 − β)"), t.given(&s).alpha, (1.0 - beta).sqrt(), digits);
            let snr = |l: &Level| (-l.lambda).exp();
            close(at("α²(e^−ρ − e^−ρ')"), t.alpha.powi(2) * (snr(&t) - snr(&s)), beta, 1e-7);
            let rest = 1.0 - bar;
            close(at("variance"), found.variance, beta * (1.0 - before) / rest, digits);
            close(at("x₀"), found.from_data, before.sqrt() * beta / rest, digits);
            close(at("x"), found.from_x, (1.0 - beta).sqrt() * (1.0 - before) / rest, digits);
            // The mean in terms of the noise, eq. 6.46: (x − β ε/√(1 − ᾱ))/√(1 − β).
            let (x, noise) = (0.7, -1.3);
            let data = (x - t.sigma * noise) / t.alpha;
            let mean = (x - beta * noise / rest.sqrt()) / (1.0 - beta).sqrt();
            let size = 1.0 + data.abs() * found.from_data;
            within(at("mean"), found.from_x * x + found.from_data * data, mean, digits * size);
        }
        let first = chain.level(0.0).posterior(&chain.level(-1.0));
        assert_eq!((first.from_x, first.from_data, first.variance), (0.0, 1.0, 0.0));
    }
}

#[test]
fn the_level_of_pure_noise_has_finite_posteriors_and_conversions() {
    let schedule = chain(Betas::ScaledLinear, 50, true);
    let end = schedule.level(49.0);
    let before = schedule.level(48.0);
    // q(x_s | x_t, x₀) = q(x_s | x₀): x_t knows nothing.
    let found = end.posterior(&before);
    assert_eq!((found.from_x, found.from_data), (0.0, before.alpha));
    close("variance", found.variance, before.sigma.powi(2), 1e-15);
    for (from, factor) in [(Prediction::V, -1.0), (Prediction::Edm, 0.5)] {
        let found = from.convert(Prediction::Data, &end, None, 0.5).unwrap();
        assert_eq!((found.of_x, found.of_prediction), (0.0, factor), "{from:?}");
    }
    assert!(Prediction::Noise.convert(Prediction::Data, &end, None, 1.0).is_err());
    // All solvers that know levels only start there; on Gaussian data they end near the data.
    let data = gaussian(0.4, 0.09);
    let solvers: [&dyn Solver; 4] =
        [&Ddim { eta: 0.0 }, &Ddim { eta: 1.0 }, &Ancestral::default(), &DpmSolverPp2M::default()];
    let x = doubles(&[-1.0, 0.2, 1.5], 1);
    for solver in solvers {
        for grid in [
            AnyGrid::Time(Time),
            AnyGrid::LogSnr(LogSnr),
            AnyGrid::Quadratic(Quadratic),
            AnyGrid::Karras(Karras { rho: 7.0 }),
        ] {
            let levels = grid.levels(&schedule, 25).unwrap();
            assert_eq!((levels[0], levels[25]), (end, schedule.level(0.0)));
            let found = host(&run(solver, &data, &schedule, x.clone(), &levels));
            assert!(
                found.iter().all(|v| (v - 0.4).abs() < 6.0 * 0.3),
                "{solver:?} {grid:?} {found:?}"
            );
        }
        for grid in [
            AnyGrid::Leading(Leading { offset: 0, open: false }),
            AnyGrid::Trailing(Trailing),
            AnyGrid::Linspace(Linspace { open: false }),
        ] {
            // The last level twice is no step.
            let levels = grid.levels(&schedule, 50).unwrap();
            assert_eq!(levels[49], levels[50]);
            let twice = host(&run(solver, &data, &schedule, x.clone(), &levels));
            let once = host(&run(solver, &data, &schedule, x.clone(), &levels[..50]));
            assert!(gap(&twice, &once) < 1e-12, "{solver:?} {grid:?}");
        }
    }
    // The velocity does not exist there.
    for solver in [&Euler {} as &dyn Solver, &Heun {}, &DormandPrince::default()] {
        let (draws, condition) = (Draws::new(3), &Condition::None);
        let (denoiser, rows) = (&data, &[0, 1, 2]);
        let context =
            Context { denoiser, schedule: &schedule, condition, noise: &draws, rows, clip: None };
        let found = solver.step(solver.init(x.clone()), &end.into(), &before.into(), &context);
        assert!(matches!(found, Err(Error::Undefined { .. })), "{solver:?}");
    }
    // A network sees a finite level.
    let network = ResidualMlpConfig::new(1).with_hidden(8).init(&Draws::new(1), &cpu());
    let denoiser = NeuralDenoiser::new(network, Prediction::V, schedule);
    let mean = denoiser.denoise(x.into(), &end.into(), &Condition::None).unwrap();
    assert!(host(&mean.value).iter().all(|v| v.is_finite()));
}

#[test]
fn grids_visit_diffusers_timesteps() {
    for case in fixture().timesteps {
        let chain = chain(Betas::Linear, case.steps, false);
        let levels = case.grid.levels(&chain, case.n).unwrap();
        let expected: Vec<Level> =
            case.indices.iter().chain(&[0]).map(|i| chain.level(*i as f64)).collect();
        assert_eq!(levels, expected, "{:?}, {} of {}", case.grid, case.n, case.steps);
    }
}

#[test]
fn a_chain_s_grids_refuse_what_has_no_indices() {
    let chain = chain(Betas::Linear, 50, false);
    let key = |found: tweedie::Result<Vec<Level>>| match found {
        Err(Error::Config { key, .. }) => key,
        other => panic!("{:?}", other.map(|levels| levels.len())),
    };
    for grid in [
        AnyGrid::Leading(Leading { offset: 0, open: false }),
        AnyGrid::Trailing(Trailing),
        AnyGrid::Linspace(Linspace { open: false }),
    ] {
        assert_eq!(key(grid.levels(&schedule("cosine"), 10)), "grid");
        assert_eq!(key(grid.levels(&chain, 51)), "steps");
        assert_eq!(key(grid.levels(&chain, 0)), "steps");
    }
    for offset in [1, 50, usize::MAX] {
        assert_eq!(key(Leading { offset, open: false }.levels(&chain, 50)), "steps");
    }
    assert!(Leading { offset: 1, open: false }.levels(&chain, 25).is_ok());
}

#[test]
fn recipes_name_the_key_of_an_impossible_chain() {
    let recipe = |items: &[&str]| {
        let items: Vec<String> = items.iter().map(|i| i.to_string()).collect();
        Recipe::parse("[data]\nsource = \"moons\"\n[schedule]\nname = \"chain\"", &items)
    };
    let good =
        recipe(&["schedule.betas=[0.1,0.2,1.0]", "sampling.grid=trailing", "sampling.steps=3"])
            .unwrap();
    let AnySchedule::Chain(chain) = &good.of::<Diffusion>().unwrap().schedule else {
        panic!("a chain")
    };
    close("ᾱ", chain.level(1.0).alpha.powi(2), 0.72, 1e-15);
    assert_eq!(chain.level(2.0).alpha, 0.0);
    let again = Recipe::parse(&good.to_toml().unwrap(), &[]).unwrap();
    assert_eq!(again, good);
    let cases: [(&[&str], &str); 14] = [
        (&["schedule.betas=lineer"], "schedule.betas: lineer; expected `linear` perhaps"),
        (&["schedule.betas=3"], "schedule.betas: 3; expected a list of numbers or one of linear"),
        (
            &["schedule.betas=[0.1,1.5,0.2]"],
            "schedule.betas: 1.5 at index 1; expected numbers between 0 and 1",
        ),
        (&["schedule.betas=[]"], "schedule.betas: 0 steps; expected from 2 to 100000 steps"),
        (&["schedule.betas=[0.1,0.2]", "schedule.steps=3"], "schedule."),
        (&["schedule.steps=1"], "schedule.steps: 1 steps; expected from 2 to 100000 steps"),
        (&["schedule.steps=1000000000000"], "schedule.steps: 1000000000000 steps; expected from 2"),
        (
            &["schedule.beta_start=0.0"],
            "schedule.beta_start: 0.0; expected a number between 0 and 1",
        ),
        (&["schedule.beta_end=nan"], "schedule.beta_end: NaN; expected a number between 0 and 1"),
        (
            &["schedule.beta_end=0.9"],
            "schedule.betas: log-SNR -8.0338e1 at index 394; expected a log-SNR that falls",
        ),
        (&["schedule.step=9"], "schedule.step: unknown key; expected `steps` perhaps"),
        (&["sampling.clip.range=-1.0"], "sampling.clip.range: -1.0; expected a number"),
        (
            &["sampling.clip={dynamic={ratio=0.9,max=0.5}}"],
            "sampling.clip.dynamic.max: 0.5; expected a number from 1",
        ),
        (&["sampling.last=stopp"], "sampling.last: stopp; expected `stop` perhaps"),
    ];
    for (items, expected) in cases {
        let error = recipe(items).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{items:?}: {error}");
    }
    let other = Recipe::parse("[data]\nsource = \"moons\"", &["sampling.grid=leading".into()]);
    assert!(other.unwrap_err().to_string().starts_with("sampling.grid: "));
    let other = Recipe::parse(
        "[data]\nsource = \"moons\"",
        &["objective.levels.distribution=indices".into()],
    );
    assert!(other.unwrap_err().to_string().starts_with("objective.levels.distribution: "));
}

/// Levels at the chain's indices.
fn indices(low_discrepancy: bool) -> NoiseLevels {
    let distribution = LevelDistribution::Indices;
    NoiseLevels { distribution, low_discrepancy, ..NoiseLevels::default() }
}

#[test]
fn indices_are_drawn_uniformly() {
    let (schedule, continuous) = (chain(Betas::Linear, 100, false), schedule("vp-linear"));
    let draw = |n, low_discrepancy, seed| {
        let levels = indices(low_discrepancy);
        let times = levels.times(n, &schedule, &Draws::new(seed)).unwrap();
        let mut counts = vec![0.0f64; 100];
        times.iter().for_each(|t| counts[*t as usize] += 1.0);
        assert!(times.iter().all(|t| t.fract() == 0.0));
        counts
    };
    // Even draws take each index equally often; one may fall on either side of a border by rounding.
    for seed in 0..20 {
        let counts = draw(300, true, seed);
        assert!(counts.iter().all(|c| (c - 3.0).abs() <= 1.0), "{counts:?}");
    }
    // χ² with 99 degrees of freedom exceeds 178 with probability 2e-6 / 2.
    let statistic: f64 =
        draw(20_000, false, 3).iter().map(|c| (c - 200.0f64).powi(2) / 200.0).sum();
    assert!(statistic < 180.0, "{statistic}");
    let other = indices(true);
    let refused = other.times(3, &continuous, &Draws::new(0));
    assert!(matches!(refused, Err(Error::Config { .. })));
}

/// A network that outputs a fixed multiple of its input.
#[derive(burn::module::Module, Debug)]
struct Multiple {
    #[module(skip)]
    factor: f64,
}

impl Network for Multiple {
    fn forward(&self, x: Dual<2>, _: Dual<2>, _: &Condition) -> tweedie::Result<Dual<2>> {
        Ok(x.linear(|v| v.mul_scalar(self.factor)))
    }
    fn width(&self) -> usize {
        2
    }
}

/// Ho et al. 2020, eq. 14: E ‖ε − ε_θ(√ᾱ_t x₀ + √(1 − ᾱ_t) ε, t)‖² at uniform integers t, whatever the network
/// predicts.
#[test]
fn ddpm_s_simple_loss_is_that_of_the_noise_at_integer_times() {
    let schedule = chain(Betas::Linear, 1000, false);
    let (n, draws, device) = (64, Draws::new(12), cpu());
    let levels = indices(false);
    let times = levels.times(n, &schedule, &draws).unwrap();
    let x = draws.purpose("data").normals(0..n as u64, 2);
    let noise = draws.purpose("noise").normals(0..n as u64, 2);
    let batch = Batch { x: x.to_tensor(&device), condition: Condition::None };
    for prediction in [Prediction::Noise, Prediction::Data, Prediction::V] {
        let model = NeuralDenoiser::new(Multiple { factor: 0.3 }, prediction, schedule.clone());
        let noising = Noising::from(Arc::new(schedule.clone()));
        let noising = noising.with_weighting(Weighting::Noise).with_levels(levels);
        let objective = DenoisingScoreMatching::new(noising);
        let found = host(&objective.loss(&model, &batch, &draws).unwrap().value);
        let mut bars = vec![1.0];
        betas(&Betas::Linear, 1000)
            .iter()
            .for_each(|b| bars.push(bars[bars.len() - 1] * (1.0 - b)));
        for (i, t) in times.iter().enumerate() {
            let bar: f64 = bars[*t as usize + 1];
            let (a, s) = (bar.sqrt(), (1.0 - bar).sqrt());
            let error = |j: usize| {
                let (x, noise) = (f64::from(x.row(i)[j]), f64::from(noise.row(i)[j]));
                let noised = a * x + s * noise;
                let said = 0.3 * noised;
                let estimate = match prediction {
                    Prediction::Noise => said,
                    Prediction::Data => (noised - a * said) / s,
                    _ => a * said + s * noised,
                };
                (noise - estimate).powi(2)
            };
            let expected = 0.5 * (error(0) + error(1));
            // Single precision, amplified by α²/σ² up to 1e4.
            within(format!("{prediction:?} at {t}"), found[i], expected, 1e-3 * expected.max(1e-2));
        }
    }
}
