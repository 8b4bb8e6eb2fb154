//! The variational bound: exact sums on a Gaussian, its limit, and its equality to log p under exact scores.

use crate::oracle::{OU, VP, gaussian, three_components};
use crate::support::*;
use std::sync::Arc;
use tweedie::data::{Batch, Condition};
use tweedie::denoise::{Denoiser, NeuralDenoiser, Prediction};
use tweedie::density::{Bound, Density, PfOde};
use tweedie::nn::Network;
use tweedie::objective::{Objective, VariationalBound};
use tweedie::process::{
    AnySchedule, Cosine, Edm, Level, LevelDistribution, Levels, NoiseLevels, Schedule, Straight, Ve,
};
use tweedie::tensor::Dual;
use tweedie::{Draws, Result};

const MEAN: f64 = 0.3;
const VARIANCE: f64 = 0.6;

/// The levels of `steps` equal steps.
fn grid(schedule: &AnySchedule, steps: usize) -> Vec<Level> {
    let (first, last) = schedule.range();
    let at = |i: usize| schedule.level(first + (last - first) * i as f64 / steps as f64);
    (0..=steps).map(at).collect()
}

/// E‖x − x̂‖² given x for data N(MEAN, VARIANCE), and its mean over the data.
fn squares(x: f64, level: &Level) -> [f64; 2] {
    let (a, s2) = (level.alpha, level.sigma.powi(2));
    let gain = a * VARIANCE / (a * a * VARIANCE + s2);
    let of = |square: f64| square * (1.0 - gain * a).powi(2) + gain * gain * s2;
    [of((x - MEAN).powi(2)), of(VARIANCE)]
}

/// E log p(path, x) − E log q(path | x) over data and paths, from the variances of pairs alone.
fn bound_by_the_chain(levels: &[Level], prior_sd: f64) -> f64 {
    let ln = |v: f64| (std::f64::consts::TAU * v).ln();
    let variance = |l: &Level| (l.alpha * l.alpha).mul_add(VARIANCE, l.sigma * l.sigma);
    let (first, last) = (levels[0], levels[levels.len() - 1]);
    // The decoder, of variance (σ₀/α₀)², and the first noising.
    let mut total = -0.5 * (ln((first.sigma / first.alpha).powi(2)) + 1.0);
    total += 0.5 * (ln(first.sigma.powi(2)) + 1.0);
    for pair in levels.windows(2) {
        let (s, t) = (pair[0], pair[1]);
        let (posterior, kernel) = (t.posterior(&s), t.given(&s));
        // p(x_s | x_t) is centred at a (x_t − α_t m) + its mean; the residual's variance from Var and Cov.
        let gain = t.alpha * VARIANCE / variance(&t);
        let a = posterior.from_x + posterior.from_data * gain;
        let covariance = kernel.alpha * variance(&s);
        let residual = variance(&s) - 2.0 * a * covariance + a * a * variance(&t);
        total -= 0.5 * (ln(posterior.variance) + residual / posterior.variance);
        total += 0.5 * (ln(kernel.variance) + 1.0);
    }
    let square = variance(&last) + (last.alpha * MEAN).powi(2);
    total - 0.5 * (ln(prior_sd * prior_sd) + square / prior_sd.powi(2))
}

#[test]
fn in_discrete_time_it_is_the_exact_sum_of_divergences() {
    let steps = 6;
    let levels = grid(&VP, steps);
    let (first, last) = (levels[0], levels[steps]);
    let snr = |l: &Level| (l.alpha / l.sigma).powi(2);
    let weight = |i: usize| 0.5 * (snr(&levels[i]) - snr(&levels[i + 1]));
    let sum =
        |x: f64, k: usize| (0..steps).map(|i| weight(i) * squares(x, &levels[i + 1])[k]).sum();
    let prior_sd = last.alpha.hypot(last.sigma);
    let prior = |square: f64| {
        let ratio = (last.sigma / prior_sd).powi(2);
        0.5 * (ratio - 1.0 - ratio.ln() + (last.alpha / prior_sd).powi(2) * square)
    };
    let decoded = -0.5 * (std::f64::consts::TAU * (first.sigma / first.alpha).powi(2)).ln() - 0.5;
    // The sum of divergences is the bound of the joint Gaussian.
    let expected: f64 = decoded - prior(VARIANCE + MEAN * MEAN) - {
        let s: f64 = sum(0.0, 1);
        s
    };
    close("the joint Gaussian's", bound_by_the_chain(&levels, prior_sd), expected, 1e-9);
    // Every step once: the mean over rows is that of the closed form.
    let oracle = Arc::new(gaussian(MEAN, VARIANCE));
    let n = 4000;
    let x = oracle.sample(n, &Draws::new(1), &cpu());
    let bound = Bound::discrete(oracle, Arc::new(VP), steps).with_probes(steps);
    let terms = bound.terms(x.clone(), &Condition::None).unwrap();
    let mut gaps = Vec::new();
    for (i, x) in host(&x).into_iter().enumerate() {
        close("prior", terms.prior[i], prior(x * x), 1e-9);
        close("reconstruction", terms.reconstruction[i], decoded, 1e-12);
        gaps.push(
            terms.diffusion[i] - {
                let s: f64 = sum(x, 0);
                s
            },
        );
    }
    let (mean, variance) = moments(&gaps);
    within("diffusion", mean, 0.0, SIX_SIGMA * (variance / n as f64).sqrt());
    assert!(variance > 0.0);
}

/// tanh ¼λ, whatever x: its error is not random.
struct Blind;

impl Denoiser for Blind {
    fn denoise(&self, x: Dual<2>, levels: &Levels, _: &Condition) -> Result<Dual<2>> {
        let mean = levels.lambda(&x.value)?.mul_scalar(0.25).tanh();
        Ok((x.value.zeros_like() + mean).into())
    }
    fn width(&self) -> usize {
        1
    }
    fn evaluations(&self) -> u64 {
        0
    }
}

#[test]
fn more_steps_tend_to_continuous_time_at_the_rate_of_their_number() {
    let schedule = Cosine { lambda_min: -6.0, lambda_max: 6.0, side: 64.0 };
    let x = doubles(&[1.3], 1);
    let limit = simpson(-6.0, 6.0, 4000, |l| 0.5 * l.exp() * (1.3 - (0.25 * l).tanh()).powi(2));
    let diffusion = |bound: Bound| bound.terms(x.clone(), &Condition::None).unwrap();
    let gap = |steps: usize| {
        let bound = Bound::discrete(Arc::new(Blind), Arc::new(schedule), steps);
        (diffusion(bound.with_probes(steps)).diffusion[0] - limit).abs()
    };
    let gaps = [128, 256, 512, 1024].map(gap);
    for (order, gap) in crate::oracle::orders(&gaps).iter().zip(gaps) {
        within("order", *order, 1.0, 0.15);
        assert!(gap > 1e-6);
    }
    println!("orders {:?}", crate::oracle::orders(&gaps));
    for levels in [LevelDistribution::LogSnr, LevelDistribution::Uniform] {
        let bound = Bound::continuous(Arc::new(Blind), Arc::new(schedule));
        let terms = diffusion(bound.with_levels(levels).with_probes(4000));
        let allowed = SIX_SIGMA * terms.standard_error[0];
        within(format!("{levels:?}"), terms.diffusion[0], limit, allowed);
    }
}

#[test]
fn many_steps_lose_no_digits_in_single_precision() {
    // The sum of falls telescopes for an error that does not depend on the level.
    struct Zero;
    impl Denoiser for Zero {
        fn denoise(&self, x: Dual<2>, _: &Levels, _: &Condition) -> Result<Dual<2>> {
            Ok(x.value.zeros_like().into())
        }
        fn width(&self) -> usize {
            1
        }
        fn evaluations(&self) -> u64 {
            0
        }
    }
    let steps = 100_000;
    let schedule = Cosine::default();
    let one = singles(vec![1.0], [1, 1]);
    let exhaustive = Bound::discrete(Arc::new(Zero), Arc::new(schedule), 5000).with_probes(5000);
    let found = exhaustive.terms(one, &Condition::None).unwrap().diffusion[0];
    let snr = |l: f64| l.exp();
    close("telescoped", found, 0.5 * (snr(12.0) - snr(-12.0)), 1e-9);
    // The same draws in single and in double precision.
    let oracle = Arc::new(three_components());
    let x = oracle.sample(200, &Draws::new(4), &cpu()).cast(burn::tensor::DType::F32);
    let bound = Bound::discrete(oracle, Arc::new(schedule), steps).with_probes(100);
    let single = bound.terms(x.clone(), &Condition::None).unwrap().diffusion;
    let double = bound.terms(x.cast(burn::tensor::DType::F64), &Condition::None).unwrap();
    let [single, double] = [single, double.diffusion].map(|v| moments(&v).0);
    close("single precision", single, double, 1e-3);
}

#[test]
fn with_exact_scores_every_schedule_s_bound_is_log_p() {
    let oracle = Arc::new(three_components());
    let n = 600;
    let x = oracle.sample(n, &Draws::new(5), &cpu());
    let exact = host(&oracle.log_density(x.clone(), &Level::clean(0.0).into()).unwrap());
    let ode = PfOde::new(oracle.clone(), Arc::new(VP)).log_prob(x.clone(), &Condition::None);
    let ode = ode.unwrap().value;
    for (what, schedule) in [
        ("linear", VP),
        ("cosine", AnySchedule::Cosine(Cosine::default())),
        ("EDM", AnySchedule::Edm(Edm::default())),
    ] {
        let bound = Bound::continuous(oracle.clone(), Arc::new(schedule)).with_probes(1500);
        let bound = bound.with_draws(Draws::new(8)).log_prob(x.clone(), &Condition::None).unwrap();
        let against = |other: &[f64]| {
            let gaps: Vec<f64> = bound.value.iter().zip(other).map(|(a, b)| a - b).collect();
            let (mean, variance) = moments(&gaps);
            (mean, SIX_SIGMA * (variance / n as f64).sqrt())
        };
        let (mean, allowed) = against(&exact);
        println!("{what}: {mean:.4} ± {:.4}", allowed / SIX_SIGMA);
        // The ends leave 5e-4: a prior of unit variance, and data flat over σ₀/α₀.
        within(what, mean, 0.0, allowed + 5e-4);
        let (mean, allowed) = against(&ode);
        within(format!("{what}, and the ODE"), mean, 0.0, allowed + 2e-3);
        // The error that is reported is that between rows.
        let errors = bound.standard_error.unwrap();
        let reported = errors.iter().map(|e| e * e).sum::<f64>().sqrt() / n as f64;
        assert!((0.8..1.25).contains(&(reported * SIX_SIGMA / allowed)), "{what}: {reported}");
    }
    // Few steps are a worse bound, by their divergence from the posterior.
    let few = Bound::discrete(oracle, Arc::new(VP), 10).with_probes(10);
    let few = moments(&few.terms(x, &Condition::None).unwrap().bound()).0;
    assert!(few < moments(&exact).0 - 0.1, "{few}");
}

#[test]
fn schedules_with_equal_ends_have_equal_losses() {
    let oracle = Arc::new(three_components());
    let n = 1000;
    let x = oracle.sample(n, &Draws::new(15), &cpu());
    // Log-SNRs from 5 to −5 at uniform t.
    let end = 5.0f64;
    let [sigma_min, sigma_max] = [-0.5 * end, 0.5 * end].map(f64::exp);
    let delta = 1.0 / (1.0 + (0.5 * end).exp());
    let schedules = [
        AnySchedule::Cosine(Cosine { lambda_min: -end, lambda_max: end, side: 64.0 }),
        AnySchedule::Edm(Edm { sigma_min, sigma_max }),
        AnySchedule::Straight(Straight { delta, noise_delta: None }),
        AnySchedule::Ve(Ve { sigma_min, sigma_max }),
    ];
    let of = |(k, schedule): (usize, AnySchedule)| {
        let (first, last) = schedule.range();
        close("first", schedule.level(first).lambda, end, 1e-9);
        close("last", schedule.level(last).lambda, -end, 1e-9);
        let bound = Bound::continuous(oracle.clone(), Arc::new(schedule));
        let bound = bound.with_levels(LevelDistribution::Uniform).with_probes(200);
        let bound = bound.with_draws(Draws::new(20 + k as u64));
        let terms = bound.terms(x.clone(), &Condition::None).unwrap();
        let errors = terms.standard_error.iter().map(|e| e * e).sum::<f64>().sqrt() / n as f64;
        (moments(&terms.diffusion).0, errors)
    };
    let losses: Vec<(f64, f64)> = schedules.into_iter().enumerate().map(of).collect();
    println!("{losses:.4?}");
    for (mean, error) in &losses {
        within("loss", *mean, losses[0].0, SIX_SIGMA * error.hypot(losses[0].1));
        assert!(*error < 0.02 * mean);
    }
}

/// The score of N(0, 0.25) times 1.2.
struct Scaled;

const SCALE: f64 = 1.2;
const SCALED_VARIANCE: f64 = 0.25;

impl Denoiser for Scaled {
    fn denoise(&self, x: Dual<2>, levels: &Levels, _: &Condition) -> Result<Dual<2>> {
        // (x + σ² s)/α with s = −1.2 x/(α² v + σ²).
        let factor = levels.column(&x.value, |l| {
            let (a2, s2) = (l.alpha.powi(2), l.sigma.powi(2));
            (1.0 - SCALE * s2 / (a2 * SCALED_VARIANCE + s2)) / l.alpha
        })?;
        Ok(x * factor)
    }
    fn width(&self) -> usize {
        1
    }
    fn evaluations(&self) -> u64 {
        0
    }
}

#[test]
fn a_wrong_score_costs_half_g_squared_and_bounds_its_reverse_sde() {
    let (theta, v) = (1.0, SCALED_VARIANCE);
    let (first, last) = OU.range();
    let variance = |t: f64| (-2.0 * theta * t).exp() * v - (-2.0 * theta * t).exp_m1();
    // −H(data) − ½ ∫ g² E‖s − s*‖² dt − KL(p_T ‖ prior), g² = 2θ and the score's error 0.2 x/v_t.
    let entropy = 0.5 * (std::f64::consts::TAU * v).ln() + 0.5;
    let in_logs = |u: f64| u.exp() * (SCALE - 1.0).powi(2) / variance(u.exp());
    let cost = 0.5 * 2.0 * theta * simpson(first.ln(), last.ln(), 4000, in_logs);
    let at_end = variance(last);
    let expected = -entropy - cost - 0.5 * (at_end - 1.0 - at_end.ln());
    let oracle = gaussian(0.0, v);
    let n = 4000;
    let x = oracle.sample(n, &Draws::new(31), &cpu());
    let bound = Bound::continuous(Arc::new(Scaled), Arc::new(OU)).with_probes(400);
    let bound = bound.log_prob(x.clone(), &Condition::None).unwrap();
    let exact = host(&oracle.log_density(x, &Level::clean(0.0).into()).unwrap());
    // Against log p of the same rows, whose mean is −H.
    let gaps: Vec<f64> = bound.value.iter().zip(&exact).map(|(a, b)| a - b).collect();
    let (mean, spread) = moments(&gaps);
    let allowed = SIX_SIGMA * (spread / n as f64).sqrt();
    println!("{:.4} ± {:.4}, expected {expected:.4}", mean - entropy, allowed / SIX_SIGMA);
    within("the bound", mean - entropy, expected, allowed + 5e-4);
    // The reverse SDE is linear: dV/ds = 2 (θ − g² 1.2/v_t) V + g² from the prior's V = 1.
    let steps = 20_000;
    let h = (last - first) / f64::from(steps);
    let rate = |t: f64, w: f64| 2.0 * theta * (1.0 - 2.0 * SCALE / variance(t)) * w + 2.0 * theta;
    let step = |w: f64, k: i32| {
        let t = last - f64::from(k) * h;
        let k1 = rate(t, w);
        let k2 = rate(t - 0.5 * h, w + 0.5 * h * k1);
        let k3 = rate(t - 0.5 * h, w + 0.5 * h * k2);
        let k4 = rate(t - h, w + h * k3);
        w + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    };
    let model = (0..steps).fold(1.0, step);
    let of_sde = -0.5 * (std::f64::consts::TAU * model).ln() - 0.5 * v / model;
    println!("bound {expected:.4}, log p of the reverse SDE {of_sde:.4}, −H {:.4}", -entropy);
    assert!(expected < of_sde - 0.05 && of_sde < -entropy);
}

/// The exact network of unit normal data under a variance-preserving process: E[p x₀ + q ε | x] = (p α + q σ) x.
#[derive(burn::module::Module, Debug)]
struct Unit {
    /// Trainable, as networks are.
    slope: burn::module::Param<burn::tensor::Tensor<1>>,
    kind: usize,
}

impl Network for Unit {
    fn forward(&self, x: Dual<2>, clock: Dual<2>, _: &Condition) -> Result<Dual<2>> {
        // The clock is −λ/8.
        let lambda = clock.value.mul_scalar(-8.0);
        let root = |l: burn::tensor::Tensor<2>| burn::tensor::activation::sigmoid(l).sqrt();
        let factor = match self.kind {
            0 => root(lambda),
            1 => root(lambda.neg()),
            2 => lambda.ones_like().neg(),
            _ => lambda.zeros_like(),
        };
        Ok(x * (factor + self.slope.val().unsqueeze::<2>()))
    }
    fn width(&self) -> usize {
        1
    }
}

#[test]
fn as_an_objective_it_is_the_same_in_every_prediction() {
    let schedule = AnySchedule::Cosine(Cosine { lambda_min: -10.0, lambda_max: 8.0, side: 64.0 });
    let n = 40_000;
    let draws = Draws::new(12);
    let x = draws.purpose("data").normals(0..n as u64, 1).to_tensor(&cpu());
    let batch = Batch { x, condition: Condition::None };
    let entropy = 0.5 * (std::f64::consts::TAU.ln() + 1.0);
    let predictions = [
        (Prediction::Data, 0),
        (Prediction::Noise, 1),
        (Prediction::Score, 2),
        (Prediction::V, 3),
        (Prediction::Edm, 3),
        (Prediction::Velocity, 3),
    ];
    for steps in [None, Some(400)] {
        let levels = NoiseLevels { distribution: LevelDistribution::LogSnr, ..Default::default() };
        let mut objective = VariationalBound::new(Arc::new(schedule.clone()));
        if let Some(steps) = steps {
            objective = objective.with_steps(steps);
        } else {
            objective = objective.with_levels(levels);
        }
        // E‖x − x̂‖² = σ² for unit data, E‖ε − ε̂‖² = α²; the ends as they are in closed form.
        let levels = grid(&schedule, steps.unwrap_or(1));
        let (first, last) = (levels[0], levels[levels.len() - 1]);
        let snr = |l: &Level| l.lambda.exp();
        let step = |p: &[Level]| 0.5 * (snr(&p[0]) - snr(&p[1])) * p[1].sigma.powi(2);
        let diffusion = match steps {
            Some(_) => levels.windows(2).map(step).sum::<f64>(),
            None => 0.5 * (ln_sigmoid(-last.lambda) - ln_sigmoid(-first.lambda)),
        };
        let expected = diffusion - last.sigma.ln() + entropy + (first.sigma / first.alpha).ln();
        let losses = predictions.map(|(prediction, kind)| {
            let slope = burn::module::Param::from_tensor(singles(vec![0.0], [1]));
            let model = NeuralDenoiser::new(Unit { slope, kind }, prediction, schedule.clone());
            host(&objective.loss(&model, &batch, &draws).unwrap().value)
        });
        for (loss, (prediction, _)) in losses.iter().zip(predictions) {
            let what = format!("{prediction:?} in {steps:?}");
            // Single precision of ε̂ from x̂ at λ = 8.
            all_close(&what, loss, &losses[1], 1e-3);
            let (mean, variance) = moments(loss);
            let allowed = SIX_SIGMA * (variance / n as f64).sqrt();
            within(&what, mean, expected, allowed + 1e-4);
        }
    }
}
