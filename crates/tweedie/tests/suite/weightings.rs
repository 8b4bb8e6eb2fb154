//! Weights in one currency, and levels drawn by importance: published weights, unchanged expectations, variances saved.

use crate::support::*;
use std::sync::Arc;
use tweedie::Draws;
use tweedie::data::{Batch, Condition};
use tweedie::denoise::{NeuralDenoiser, Prediction};
use tweedie::nn::{ResidualMlp, ResidualMlpConfig};
use tweedie::objective::{DenoisingScoreMatching, Histogram, Noising, Objective, Weighting};
use tweedie::process::{
    AnySchedule, Cosine, Edm, Level, LevelDistribution, NoiseLevels, Schedule, Straight,
};

const SIGMOID: Weighting = Weighting::Sigmoid { bias: 2.0 };
const LOG_NORMAL: LevelDistribution = LevelDistribution::LogNormal { mean: -1.2, sd: 1.2 };

fn noising(
    schedule: &AnySchedule,
    weighting: Weighting,
    distribution: LevelDistribution,
) -> Noising {
    let levels = NoiseLevels { distribution, low_discrepancy: false, instead_of: None };
    Noising::from(Arc::new(schedule.clone())).with_weighting(weighting).with_levels(levels)
}

fn sech(x: f64) -> f64 {
    x.cosh().recip()
}

fn sigmoid(x: f64) -> f64 {
    ln_sigmoid(x).exp()
}

/// Kingma & Gao 2023, table 1, the first column; their λ is ours.
#[test]
fn implied_weights_are_the_published_ones() {
    let cosine = AnySchedule::Cosine(Cosine::default());
    let straight = AnySchedule::Straight(Straight::default());
    let edm = AnySchedule::Edm(Edm::default());
    let uniform = LevelDistribution::Uniform;
    let gauss = |l: f64| (-0.5 * ((l - 2.4) / 2.4).powi(2)).exp();
    type Published = Box<dyn Fn(f64) -> f64>;
    // Schedule, weighting, levels, the published weight, whether it falls everywhere.
    let table: Vec<(&AnySchedule, Weighting, LevelDistribution, Published, bool)> = vec![
        (&cosine, Weighting::Likelihood, uniform, Box::new(|_| 1.0), true),
        (&cosine, Weighting::Noise, uniform, Box::new(|l| sech(0.5 * l)), false),
        (&cosine, Weighting::V, uniform, Box::new(|l| (-0.5 * l).exp()), true),
        (&straight, Weighting::Velocity, uniform, Box::new(|l| (-0.5 * l).exp()), true),
        (
            &straight,
            Weighting::Data,
            uniform,
            Box::new(|l| (-l).exp() * sech(0.25 * l).powi(2)),
            true,
        ),
        (
            &edm,
            Weighting::Edm,
            LOG_NORMAL,
            Box::new(move |l| gauss(l) * ((-l).exp() + 0.25)),
            false,
        ),
        (
            &cosine,
            Weighting::MinSnr { gamma: 5.0 },
            uniform,
            Box::new(|l| sech(0.5 * l) * (5.0 * (-l).exp()).min(1.0)),
            false,
        ),
        (
            &cosine,
            Weighting::P2 { k: 1.0, gamma: 0.5 },
            uniform,
            Box::new(|l| sech(0.5 * l) / (1.0 + l.exp()).sqrt()),
            false,
        ),
        (&straight, SIGMOID, LOG_NORMAL, Box::new(|l| sigmoid(2.0 - l)), true),
    ];
    for (schedule, weighting, levels, published, falls) in table {
        let noising = noising(schedule, weighting, levels);
        for own in [Prediction::Noise, Prediction::Data, Prediction::V, Prediction::Edm] {
            let weight = |lambda: f64| {
                let level = schedule.level(schedule.time(lambda));
                noising.implied_weight(own, &level, 0.5).unwrap()
            };
            let unit = match weighting {
                Weighting::Likelihood | Weighting::Sigmoid { .. } => 1.0,
                _ => weight(0.0) / published(0.0),
            };
            for lambda in [-8.0, -3.0, -0.5, 0.0, 1.5, 2.0, 4.0, 8.0] {
                let what = format!("{weighting:?} by {own:?} at λ = {lambda}");
                close(what, weight(lambda), unit * published(lambda), 1e-9);
            }
            let what = format!("{weighting:?} by {own:?}");
            assert_eq!(noising.rises(own, 0.5).unwrap().is_none(), falls, "{what}");
        }
    }
}

/// The weight g² on the score for each dt, whatever is predicted and on every schedule.
#[test]
fn likelihood_weights_the_score_by_the_diffusion() {
    for (name, schedule) in schedules() {
        let (first, last) = schedule.range();
        for place in [0.11, 0.37, 0.62, 0.93] {
            let t = first + place * (last - first);
            let level = schedule.level(t);
            for own in [Prediction::Noise, Prediction::Data, Prediction::V] {
                let weighting = Weighting::Likelihood;
                let on_score = weighting.on_score(own, &level, &schedule, 1.0).unwrap();
                let density = LevelDistribution::Uniform.density(&level, &schedule).unwrap();
                let of_dt = on_score / density / (last - first);
                close(name, of_dt, 0.5 * schedule.diffusion_squared(t), 1e-9);
            }
        }
    }
}

#[test]
fn densities_are_those_of_the_levels_drawn() {
    let distributions = [
        LevelDistribution::Uniform,
        LevelDistribution::LogSnr,
        LevelDistribution::LogNormal { mean: -0.4, sd: 1.9 },
        LevelDistribution::LogitNormal { mean: 0.3, sd: 1.1 },
    ];
    for (name, schedule) in schedules().filter(|(name, _)| *name != "chain") {
        for distribution in distributions {
            for u in [0.03, 0.2, 0.5, 0.81, 0.98] {
                let time = |u| distribution.quantile(u, &schedule).unwrap();
                let rate = -difference(|u| schedule.level(time(u)).lambda, u, 1e-3);
                let density = distribution.density(&schedule.level(time(u)), &schedule).unwrap();
                let what = format!("{distribution:?} on {name} at {u}");
                close(what, density * rate, 1.0, 1e-6);
            }
        }
    }
    for distribution in [LevelDistribution::Indices, LevelDistribution::Fixed { log_snr: 1.0 }] {
        let refused = distribution.density(&Level::new(0.5, 1.0, 1.0), &schedule("chain"));
        assert!(refused.unwrap_err().to_string().starts_with("levels.distribution: "));
        let instead_of = Some(distribution);
        let levels = NoiseLevels { instead_of, ..NoiseLevels::default() };
        let refused = levels.check(&schedule("chain")).unwrap_err().to_string();
        assert!(refused.starts_with("levels.instead_of: "), "{refused}");
    }
}

/// A network that says nothing in EDM's F is the exact denoiser of N(0, 1): the noise's mean squared error is α².
fn oracle(schedule: &AnySchedule) -> NeuralDenoiser<ResidualMlp> {
    let network =
        ResidualMlpConfig::new(1).with_hidden(4).with_blocks(1).init(&Draws::new(0), &cpu());
    NeuralDenoiser::new(network, Prediction::Edm, schedule.clone())
}

/// Losses of `n` rows of N(0, 1), and their levels.
fn losses(schedule: &AnySchedule, noising: &Noising, n: usize, seed: u64) -> Vec<(f64, Level)> {
    let draws = Draws::new(seed);
    let x = draws.purpose("data").normals(0..n as u64, 1).to_tensor(&cpu());
    let batch = Batch { x, condition: Condition::None };
    let objective = DenoisingScoreMatching::new(noising.clone());
    let loss = objective.loss(&oracle(schedule), &batch, &draws).unwrap();
    host(&loss.value).into_iter().zip(noising.levels(n, &draws).unwrap()).collect()
}

const ROWS: usize = 100_000;

/// Mean and variance of a loss, the mean asserted.
#[track_caller]
fn unbiased(what: &str, values: &[f64], expected: f64) -> f64 {
    let (mean, variance) = moments(values);
    within(what, mean, expected, SIX_SIGMA * (variance / values.len() as f64).sqrt());
    variance
}

#[test]
fn importance_sampling_keeps_the_expected_loss_and_saves_variance() {
    let schedule = AnySchedule::Cosine(Cosine::default());
    // ½ ∫ α² dλ from −12 to 12, α² = sigmoid(λ).
    let bound = 0.5 * (ln_sigmoid(-12.0) - ln_sigmoid(12.0)).abs();
    let measure = |noising: &Noising, expected, what: &str| {
        let values = losses(&schedule, noising, ROWS, 7);
        unbiased(what, &values.iter().map(|v| v.0).collect::<Vec<_>>(), expected)
    };
    let of = |distribution| noising(&schedule, Weighting::Likelihood, distribution);
    let uniform = measure(&of(LevelDistribution::Uniform), bound, "uniform");
    let even = measure(&of(LevelDistribution::LogSnr), bound, "log-SNR");
    let wide = LevelDistribution::LogNormal { mean: -1.0, sd: 3.0 };
    measure(&of(wide), bound, "log-normal");
    // The error is a χ² with one degree of freedom: E[ℓ²] = ¾ α⁴.
    let second = |density: &dyn Fn(f64) -> f64| {
        simpson(-12.0, 12.0, 2000, |l| 0.75 * sigmoid(l).powi(2) / density(l)) - bound.powi(2)
    };
    // The relative error of a variance is √((κ − 1)/n): below 2 % for either of these.
    close("variance of the log-SNR's levels", even, second(&|_| 1.0 / 24.0), 0.1);
    let mut learnt = Histogram::new(&schedule, 24, 0.95).unwrap();
    for batch in 0..40 {
        let noising = of(LevelDistribution::LogSnr).drawn_from(Arc::new(learnt.clone()));
        let (lambdas, losses): (Vec<f64>, Vec<f64>) = losses(&schedule, &noising, 512, 100 + batch)
            .into_iter()
            .map(|(value, level)| (level.lambda, value * learnt.density(level.lambda)))
            .unzip();
        learnt.observe(&lambdas, &losses);
    }
    close("its integral", simpson(-12.0, 12.0, 24, |l| learnt.density(l + 1e-9)), 1.0, 0.1);
    let noising = of(LevelDistribution::LogSnr).drawn_from(Arc::new(learnt.clone()));
    let adapted = measure(&noising, bound, "adapted");
    close("variance when adapted", adapted, second(&|l| learnt.density(l)), 0.1);
    let (first, then) = (uniform / even, even / adapted);
    println!("variance: uniform {uniform:.1}, λ {even:.1}, adapted {adapted:.1}");
    assert!(first > 5.0 && then > 1.7, "{first} {then}");
}

#[test]
fn levels_drawn_in_place_of_others_have_their_expected_loss() {
    let schedule = AnySchedule::Cosine(Cosine::default());
    let alpha2 = |t: f64| schedule.level(t).alpha.powi(2);
    let logit = LevelDistribution::LogitNormal { mean: 0.5, sd: 1.0 };
    let of_logit = |u: f64| alpha2(logit.quantile(u, &schedule).unwrap());
    let cases: [(LevelDistribution, LevelDistribution, f64); 3] = [
        (LevelDistribution::LogSnr, LevelDistribution::Uniform, simpson(0.0, 1.0, 2000, alpha2)),
        (LevelDistribution::Uniform, logit, simpson(1e-9, 1.0 - 1e-9, 20_000, of_logit)),
        (
            LevelDistribution::LogNormal { mean: 0.0, sd: 2.0 },
            LevelDistribution::Uniform,
            simpson(0.0, 1.0, 2000, alpha2),
        ),
    ];
    for (distribution, other, expected) in cases {
        let instead_of = Some(other);
        let levels = NoiseLevels { distribution, low_discrepancy: false, instead_of };
        levels.check(&schedule).unwrap();
        let noising = Noising::from(Arc::new(schedule.clone()))
            .with_weighting(Weighting::Noise)
            .with_levels(levels);
        let values: Vec<f64> =
            losses(&schedule, &noising, ROWS, 11).into_iter().map(|v| v.0).collect();
        unbiased(&format!("{distribution:?} in place of {other:?}"), &values, expected);
    }
}

/// Kingma & Gao 2023, theorem 1: a weight that falls as λ grows averages the bounds of data with noise added.
#[test]
fn a_falling_weight_averages_the_bounds_of_noised_data() {
    let schedule = AnySchedule::Cosine(Cosine::default());
    // With the exact denoiser of N(0, 1) the bound down to λ is KL(q(x_λ | x) ‖ N(0, 1)), over the data −½ ln σ².
    let divergence = |l: f64| -0.5 * ln_sigmoid(-l);
    for bias in [-3.0, 0.0, 2.0] {
        let weight = |l: f64| sigmoid(bias - l);
        let fall = |l: f64| sigmoid(bias - l) * sigmoid(l - bias);
        let averaged = weight(12.0) * divergence(12.0) - weight(-12.0) * divergence(-12.0)
            + simpson(-12.0, 12.0, 4000, |l| fall(l) * divergence(l));
        for distribution in [LevelDistribution::LogSnr, LevelDistribution::Uniform] {
            let noising = noising(&schedule, Weighting::Sigmoid { bias }, distribution);
            let values: Vec<f64> =
                losses(&schedule, &noising, ROWS, 13).into_iter().map(|v| v.0).collect();
            unbiased(&format!("bias {bias}, {distribution:?}"), &values, averaged);
        }
    }
}
