//! The distribution and the weights of noise levels in training; denoising score matching finds the oracle.

use crate::support::*;
use burn::module::{Module, Param};
use statrs::distribution::{ContinuousCDF, Normal};
use std::sync::Arc;
use tweedie::data::{Batch, Condition};
use tweedie::denoise::{Component, Denoiser, GaussianMixture, NeuralDenoiser, Prediction};
use tweedie::nn::{Network, ResidualMlpConfig};
use tweedie::objective::{DenoisingScoreMatching, Noising, Objective, Weighting};
use tweedie::process::{AnySchedule, Level, LevelDistribution, NoiseLevels, Schedule, Straight};
use tweedie::tensor::Dual;
use tweedie::train::AdamW;
use tweedie::{Draws, Error, Result};

fn normal_cdf(x: f64) -> f64 {
    Normal::standard().cdf(x)
}

type Cdf = Box<dyn Fn(f64) -> f64>;

/// Distributions with their distribution functions of t.
fn distributions(schedule: &AnySchedule) -> Vec<(LevelDistribution, Cdf)> {
    let (first, last) = schedule.range();
    let place = move |t: f64| (t - first) / (last - first);
    let schedule = Arc::new(schedule.clone());
    let lambda = move |t: f64| schedule.level(t).lambda;
    let (high, low) = (lambda(first), lambda(last));
    vec![
        (LevelDistribution::Uniform, Box::new(place)),
        (
            LevelDistribution::LogSnr,
            Box::new({
                let lambda = lambda.clone();
                move |t| (high - lambda(t)) / (high - low)
            }),
        ),
        (
            LevelDistribution::LogNormal { mean: -0.4, sd: 0.9 },
            // ln(σ/α) = −λ/2, cut to the schedule's range.
            Box::new(move |t| {
                let whole = |lambda: f64| normal_cdf((-0.5 * lambda + 0.4) / 0.9);
                (whole(lambda(t)) - whole(high)) / (whole(low) - whole(high))
            }),
        ),
        (
            LevelDistribution::LogitNormal { mean: 0.3, sd: 1.1 },
            Box::new(move |t| normal_cdf(((place(t) / (1.0 - place(t))).ln() - 0.3) / 1.1)),
        ),
    ]
}

#[test]
fn levels_follow_their_distributions() {
    let n = 4000;
    for (name, schedule) in schedules() {
        for (distribution, cdf) in distributions(&schedule) {
            let times = |low_discrepancy| {
                let levels =
                    NoiseLevels { distribution, low_discrepancy, ..NoiseLevels::default() };
                levels.times(n, &schedule, &Draws::new(23)).unwrap()
            };
            let (first, last) = schedule.range();
            assert!(times(true).iter().all(|t| *t >= first && *t <= last));
            // Even draws are within one n-th of the distribution, up to what the range cuts off of the logit.
            let what = format!("{distribution:?} on {name}");
            let even = kolmogorov(&times(true), &cdf);
            assert!(even < 1.0 / n as f64 + 1e-4, "{what}: {even}");
            // Independent ones exceed the bound with probability 1e-7.
            let free = kolmogorov(&times(false), &cdf) * (n as f64).sqrt();
            assert!(free < KOLMOGOROV, "{what}: {free}");
        }
    }
    let refused = NoiseLevels {
        distribution: LevelDistribution::LogNormal { mean: 0.0, sd: -1.0 },
        ..NoiseLevels::default()
    };
    let found = refused.times(3, &Straight::default(), &Draws::new(0));
    assert!(matches!(found, Err(Error::Config { .. })));
}

#[test]
fn even_levels_are_each_uniform_and_together_better() {
    let schedule = Straight::default();
    let (first, last) = schedule.range();
    let (n, seeds) = (64, 4000);
    let place = |t: &f64| (t - first) / (last - first);
    let draw = |low_discrepancy, seed| {
        let levels = NoiseLevels { low_discrepancy, ..NoiseLevels::default() };
        let times = levels.times(n, &schedule, &Draws::new(seed)).unwrap();
        times.iter().map(place).collect::<Vec<_>>()
    };
    for row in [0, 1, 37, 63] {
        let values: Vec<f64> = (0..seeds).map(|seed| draw(true, seed)[row]).collect();
        // A false alarm in 1e7.
        assert!(kolmogorov(&values, |u| u) * (seeds as f64).sqrt() < KOLMOGOROV, "row {row}");
    }
    let variance = |low_discrepancy, f: fn(f64) -> f64| {
        let mean = |seed| draw(low_discrepancy, seed).into_iter().map(f).sum::<f64>() / n as f64;
        moments(&(0..seeds).map(mean).collect::<Vec<_>>()).1
    };
    // The mean of u itself varies over 1/n instead of with variance 1/(12 n): a factor n. Both estimates of a
    // variance have relative errors below √(2/4000) = 2.3%, so 20% is six of their joint errors.
    let gain = variance(false, |u| u) / variance(true, |u| u);
    close("gain for u", gain, n as f64, 0.2);
    // A periodic smooth function is integrated almost exactly.
    let wave = |u: f64| (std::f64::consts::TAU * u).cos();
    assert!(variance(true, wave) < 1e-20 && variance(false, wave) > 1e-3);
}

#[test]
fn weightings_are_their_closed_forms() {
    let all = [
        Weighting::Own,
        Weighting::Noise,
        Weighting::Data,
        Weighting::V,
        Weighting::Velocity,
        Weighting::Edm,
        Weighting::MinSnr { gamma: 5.0 },
        Weighting::P2 { k: 0.7, gamma: 0.5 },
        Weighting::Likelihood,
        Weighting::Sigmoid { bias: 2.0 },
    ];
    for (name, schedule) in schedules() {
        for lambda in [-8.0, -1.0, 0.0, 2.5, 9.0] {
            let level = schedule.level(schedule.time(lambda));
            let (a2, s2) = (level.alpha.powi(2), level.sigma.powi(2));
            let (d, rate) = (0.6f64, schedule.rate(level.t));
            // At equal x the error of x₀ is e, that of ε is −(α/σ) e, and so on: P = p x₀ + q ε has error
            // (p − q α/σ) e.
            let on_data = |weighting| match weighting {
                Weighting::Own | Weighting::Data => 1.0,
                Weighting::Noise => a2 / s2,
                Weighting::V => (a2 + s2).powi(2) / s2,
                Weighting::Velocity => {
                    (rate.alpha - rate.sigma * level.alpha / level.sigma).powi(2)
                }
                Weighting::Edm => (s2 + a2 * d * d) / (s2 * d * d),
                Weighting::MinSnr { gamma } => (a2 / s2).min(gamma),
                Weighting::P2 { k, gamma } => a2 / s2 / (k + a2 / s2).powf(gamma),
                Weighting::Likelihood => 0.5 * a2 / s2,
                Weighting::Sigmoid { bias } => 0.5 * a2 / (s2 + a2 * (-bias).exp()),
            };
            let factor =
                |weighting: Weighting, own| weighting.factor(own, &level, &schedule, d).unwrap();
            for weighting in all {
                let at = |what| format!("{what} of {weighting:?} on {name} at λ = {lambda}");
                let expected = on_data(weighting);
                close(at("on data"), factor(weighting, Prediction::Data), expected, 1e-9);
                if weighting != Weighting::Own {
                    close(
                        at("on noise"),
                        factor(weighting, Prediction::Noise),
                        expected * s2 / a2,
                        1e-9,
                    );
                    // On the score: ε = −σ s.
                    close(
                        at("on the score"),
                        factor(weighting, Prediction::Score),
                        expected * s2 * s2 / a2,
                        1e-9,
                    );
                }
            }
            // The error of the score is that of the noise over σ, whatever the network predicts.
            for own in [Prediction::Noise, Prediction::Data, Prediction::V, Prediction::Edm] {
                let found = Weighting::Noise.on_score(own, &level, &schedule, d).unwrap();
                close(format!("on the score, by {own:?} on {name}"), found, s2, 1e-9);
                let found = Weighting::Own.on_score(own, &level, &schedule, d).unwrap();
                let (p, q) = own.mixture(&level, None, d).unwrap();
                let right = (p * s2 / level.alpha - q * level.sigma).powi(2);
                close(format!("own on the score, {own:?} on {name}"), found, right, 1e-9);
            }
            for (weighting, own) in [
                (Weighting::Noise, Prediction::Noise),
                (Weighting::Data, Prediction::Data),
                (Weighting::V, Prediction::V),
                (Weighting::Velocity, Prediction::Velocity),
                (Weighting::Edm, Prediction::Edm),
                (Weighting::Own, Prediction::Score),
            ] {
                assert_eq!(factor(weighting, own), 1.0, "{weighting:?} in its own prediction");
            }
            if level.alpha == 1.0 {
                // Karras et al. 2022, Table 1.
                let s = level.sigma;
                let published = (s * s + d * d) / (s * d).powi(2);
                close("EDM's λ(σ)", factor(Weighting::Edm, Prediction::Data), published, 1e-12);
            }
        }
    }
}

/// a x + b, the best that a network linear in x can do.
#[derive(Module, Debug)]
struct Affine {
    slope: Param<burn::tensor::Tensor<1>>,
    shift: Param<burn::tensor::Tensor<1>>,
}

impl Affine {
    fn new(slope: f64, shift: f64) -> Self {
        let param = |v: f64| Param::from_tensor(singles(vec![v as f32], [1]));
        Self { slope: param(slope), shift: param(shift) }
    }
}

impl Network for Affine {
    fn forward(&self, x: Dual<2>, _: Dual<2>, _: &Condition) -> Result<Dual<2>> {
        let row = |p: &Param<burn::tensor::Tensor<1>>| p.val().reshape([1, 1]);
        Ok(x * row(&self.slope) + row(&self.shift))
    }
    fn width(&self) -> usize {
        1
    }
}

const MEAN: f64 = 0.8;
const VARIANCE: f64 = 0.4;
const ROWS: usize = 20_000;

/// The slope and shift that minimise the loss on fixed draws: the loss is quadratic, so three gradients give them.
fn minimum(
    level: Level,
    prediction: Prediction,
    weighting: Weighting,
    batch: &Batch,
) -> NeuralDenoiser<Affine> {
    let noising = Noising::from(Arc::new(Still(level))).with_weighting(weighting);
    let objective = DenoisingScoreMatching::new(noising);
    let denoiser = |slope, shift| {
        let network = Affine::new(slope, shift).train();
        NeuralDenoiser::new(network, prediction, Still(level)).with_sigma_data(0.9)
    };
    let gradient = |slope, shift| {
        let model = denoiser(slope, shift);
        let loss = objective.loss(&model, batch, &Draws::new(6)).unwrap();
        let gradients = AdamW::gradients(&model.network, &loss.surrogate.mean().backward());
        [host(&gradients["slope"])[0], host(&gradients["shift"])[0]]
    };
    let [g0, g1] = gradient(0.0, 0.0);
    let [a0, a1] = gradient(1.0, 0.0);
    let [b0, b1] = gradient(0.0, 1.0);
    let (h00, h10, h01, h11) = (a0 - g0, a1 - g1, b0 - g0, b1 - g1);
    let det = h00 * h11 - h01 * h10;
    let network = denoiser((h01 * g1 - h11 * g0) / det, (h10 * g0 - h00 * g1) / det);
    network.valid()
}

#[test]
fn denoising_score_matching_finds_the_oracle_at_every_level() {
    let oracle = vec![Component::isotropic(1.0, vec![MEAN], VARIANCE)];
    let oracle = GaussianMixture::new(oracle).unwrap();
    let data = oracle.sample(ROWS, &Draws::new(2), &cpu());
    let single = singles(host(&data).iter().map(|v| *v as f32).collect(), [ROWS, 1]);
    let batch = Batch { x: single.autodiff(), condition: Condition::None };
    let cases = [
        (Prediction::Data, Weighting::Own),
        (Prediction::Data, Weighting::Noise),
        (Prediction::Noise, Weighting::Own),
        (Prediction::Noise, Weighting::Data),
        (Prediction::Score, Weighting::V),
        (Prediction::V, Weighting::Own),
        (Prediction::V, Weighting::Edm),
        (Prediction::Edm, Weighting::Own),
        (Prediction::Velocity, Weighting::Own),
        (Prediction::Data, Weighting::Velocity),
    ];
    let preserving = [-4.0, -1.0, 0.0, 2.0, 4.0].map(|l| Level::variance_preserving(0.5, l));
    let straight = Straight::default().level(0.3);
    for level in preserving.into_iter().chain([straight, Level::new(0.5, 1.0, 0.7)]) {
        // The mean at the marginal's centre and one standard deviation to either side.
        let sd = (level.alpha.powi(2) * VARIANCE + level.sigma.powi(2)).sqrt();
        let x = [-1.0, 0.0, 1.0].map(|k| level.alpha * MEAN + k * sd);
        let means = |d: &dyn Denoiser| {
            let x = doubles(&x, 1).into();
            host(&d.denoise(x, &level.into(), &Condition::None).unwrap().value)
        };
        let right = means(&oracle);
        // Least squares on n draws: the fitted line's value one standard deviation from the centre has standard
        // error √(2 Var(x₀|x)/n). Six of them: a false alarm in 5e8.
        let posterior = (1.0 / VARIANCE + (level.alpha / level.sigma).powi(2)).recip();
        let allowed = SIX_SIGMA * (2.0 * posterior / ROWS as f64).sqrt();
        let first = means(&minimum(level, cases[0].0, cases[0].1, &batch));
        for (prediction, weighting) in cases {
            let found = means(&minimum(level, prediction, weighting, &batch));
            for i in 0..3 {
                let what = format!("{prediction:?} by {weighting:?} at {level:?}, point {i}");
                within(&what, found[i], right[i], allowed);
                // On the same draws every prediction and weight has the same minimum, to single precision.
                within(&what, found[i], first[i], 0.05 * allowed);
            }
        }
    }
}

#[test]
fn the_loss_of_an_output_of_zeros_is_the_noise() {
    // Initial networks output zero, so that the loss of a row is the mean of ε² over the row, in any weighting.
    let draws = Draws::new(31);
    let (n, width) = (50, 3);
    let network = ResidualMlpConfig::new(width).with_hidden(8).init(&Draws::new(0), &cpu());
    let schedule = Straight::default();
    let model = NeuralDenoiser::new(network, Prediction::Noise, schedule);
    let x = draws.purpose("data").normals(0..n as u64, width).to_tensor(&cpu());
    let batch = Batch { x, condition: Condition::None };
    let objective = DenoisingScoreMatching::new(Arc::new(schedule));
    let loss = objective.loss(&model, &batch, &draws).unwrap();
    let noise = draws.purpose("noise").normals(0..n as u64, width);
    let expected: Vec<f64> = noise
        .iter()
        .map(|row| row.iter().map(|z| f64::from(*z).powi(2)).sum::<f64>() / width as f64)
        .collect();
    all_close("loss", &host(&loss.value), &expected, 1e-6);
    assert_eq!(host(&loss.value), host(&loss.surrogate));
    let (mean, variance) = moments(&expected);
    let (found, error) = loss.mean().unwrap();
    close("mean", found, mean, 1e-6);
    close("its standard error", error, (variance / n as f64).sqrt(), 1e-5);
    // In data prediction the same network's error is −x₀, and unit weight in noise multiplies it by α²/σ².
    let model = NeuralDenoiser::new(model.network, Prediction::Data, schedule);
    let noising = Noising::from(Arc::new(schedule)).with_weighting(Weighting::Noise);
    let weighted = DenoisingScoreMatching::new(noising);
    let loss = weighted.loss(&model, &batch, &draws).unwrap();
    let times = NoiseLevels::default().times(n, &schedule, &draws).unwrap();
    let expected: Vec<f64> = host(&batch.x)
        .chunks(width)
        .zip(times)
        .map(|(row, t)| {
            let level = schedule.level(t);
            let square = row.iter().map(|x| x * x).sum::<f64>() / width as f64;
            square * (level.alpha / level.sigma).powi(2)
        })
        .collect();
    all_close("weighted loss", &host(&loss.value), &expected, 1e-5);
}
