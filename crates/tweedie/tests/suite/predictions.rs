//! Every prediction converted into every other, against values from known data and noise.
//!
//! With P = p x₀ + q ε and Δ = α q₁ − σ p₁, rounding reaches P₂ = [(p₂ q₁ − q₂ p₁) x_t + (α q₂ − σ p₂) P₁]/Δ with at
//! most a few units in the last place of
//!
//! > [(|p₂ q₁| + |q₂ p₁|)(|α x₀| + |σ ε|) + (|α q₂| + |σ p₂|)(|p₁ x₀| + |q₁ ε|)] / |Δ|,
//!
//! the condition of the conversion times |P₂|. Δ itself never cancels: its two terms have one sign for every
//! prediction on every schedule here.

use crate::support::*;
use burn::module::Module;
use burn::tensor::Tensor;
use tweedie::data::Condition;
use tweedie::denoise::{Clock, Denoiser, NeuralDenoiser, Prediction};
use tweedie::nn::Network;
use tweedie::process::{Edm, Level, Levels, Rate, Schedule, Straight, VpLinear};
use tweedie::tensor::Dual;
use tweedie::{Error, Result};

const ALL: [Prediction; 6] = [
    Prediction::Noise,
    Prediction::Data,
    Prediction::Score,
    Prediction::V,
    Prediction::Velocity,
    Prediction::Edm,
];

/// Units in the last place that a bound allows: half a dozen operations on either side, and the coefficients' own.
const ULPS: f64 = 32.0 * f64::EPSILON;

/// Data, noise, and what surrounds them.
struct Case {
    level: Level,
    rate: Option<Rate>,
    sigma_data: f64,
    data: f64,
    noise: f64,
}

impl Case {
    fn x(&self) -> f64 {
        self.level.alpha * self.data + self.level.sigma * self.noise
    }

    /// (p, q) from the definitions, not from the library.
    fn mixture(&self, prediction: Prediction) -> (f64, f64) {
        let Level { alpha, sigma, .. } = self.level;
        let rate = self.rate.expect("the case has one");
        match prediction {
            Prediction::Noise => (0.0, 1.0),
            Prediction::Data => (1.0, 0.0),
            Prediction::Score => (0.0, -1.0 / sigma),
            Prediction::V => (-sigma, alpha),
            Prediction::Velocity => (rate.alpha, rate.sigma),
            Prediction::Edm => {
                // F = (x₀ − c_skip x)/c_out (Karras et al. 2022, eq. 7) at x/α, whose noise is σ/α.
                let (d, s) = (self.sigma_data, sigma / alpha);
                let skip = d * d / (s * s + d * d);
                let out = s * d / (s * s + d * d).sqrt();
                (skip * s * s / (d * d) / out, -skip * s / out)
            }
        }
    }

    fn value(&self, prediction: Prediction) -> f64 {
        let (p, q) = self.mixture(prediction);
        p * self.data + q * self.noise
    }

    fn convert(&self, from: Prediction, to: Prediction, value: f64) -> f64 {
        let found = from.convert(to, &self.level, self.rate, self.sigma_data).unwrap();
        found.of_x * self.x() + found.of_prediction * value
    }

    /// What rounding may do to `to` computed from `from`, and the factor by which an error in `from` grows.
    fn bound(&self, from: Prediction, to: Prediction) -> (f64, f64) {
        let Level { alpha, sigma, .. } = self.level;
        let ((p1, q1), (p2, q2)) = (self.mixture(from), self.mixture(to));
        let size = |p: f64, q: f64| (p * self.data).abs() + (q * self.noise).abs();
        let det = (alpha * q1).abs() + (sigma * p1).abs();
        let of_x = ((p2 * q1).abs() + (q2 * p1).abs()) / det;
        let of_value = ((alpha * q2).abs() + (sigma * p2).abs()) / det;
        (ULPS * (of_x * size(alpha, sigma) + of_value * size(p1, q1)), of_value)
    }
}

/// Known data and noise on every schedule at λ from 20 to −20.
fn cases() -> impl Iterator<Item = (&'static str, Case)> {
    schedules().flat_map(|(name, schedule)| {
        (-8..=8).flat_map(move |k| {
            let level = schedule.level(schedule.time(2.5 * f64::from(k)));
            let rate = Some(schedule.rate(level.t));
            [(1.0, 0.3, -1.1), (0.5, -0.7, 0.4), (0.1, 2.0, 1.0)].map(
                |(sigma_data, data, noise)| (name, Case { level, rate, sigma_data, data, noise }),
            )
        })
    })
}

#[test]
fn every_pair_converts_and_comes_back() {
    assert_eq!(Prediction::NAMES.len(), ALL.len());
    for (name, case) in cases() {
        for from in ALL {
            let value = case.value(from);
            let (p1, q1) = case.mixture(from);
            let det = case.level.alpha * q1 - case.level.sigma * p1;
            let terms = (case.level.alpha * q1).abs() + (case.level.sigma * p1).abs();
            close(format!("Δ of {from:?} on {name}"), det.abs(), terms, 1e-12);
            for to in ALL {
                let what = format!("{from:?} to {to:?} on {name} at λ = {}", case.level.lambda);
                let (bound, _) = case.bound(from, to);
                let found = case.convert(from, to, value);
                within(&what, found, case.value(to), bound);
                let (back, growth) = case.bound(to, from);
                let cycle = case.convert(to, from, found);
                within(format!("{what} and back"), cycle, value, back + growth * bound);
            }
        }
    }
}

#[test]
fn predictions_mix_data_and_noise_as_defined() {
    for (name, case) in cases() {
        for prediction in ALL {
            let found = prediction.mixture(&case.level, case.rate, case.sigma_data).unwrap();
            let expected = case.mixture(prediction);
            let what = format!("{prediction:?} on {name} at λ = {}", case.level.lambda);
            all_close(what, &[found.0, found.1], &[expected.0, expected.1], 1e-13);
        }
    }
}

#[test]
fn undefined_predictions_are_errors() {
    let noise = Level::new(1.0, 0.0, 1.0);
    let clean = Level::clean(0.0);
    let undefined = |from: Prediction, to: Prediction, level: &Level| {
        matches!(from.convert(to, level, None, 1.0), Err(Error::Undefined { .. }))
    };
    assert!(undefined(Prediction::Noise, Prediction::Data, &noise));
    assert!(undefined(Prediction::Score, Prediction::Data, &noise));
    assert!(undefined(Prediction::Data, Prediction::Noise, &clean));
    assert!(undefined(Prediction::Data, Prediction::V, &clean));
    for other in ALL.into_iter().filter(|p| *p != Prediction::Score) {
        assert!(undefined(Prediction::Score, other, &clean), "{other:?} from a score at σ = 0");
        assert!(undefined(other, Prediction::Score, &clean), "a score from {other:?} at σ = 0");
    }
    // Without a rate there is no velocity.
    let level = Level::variance_preserving(0.5, 1.0);
    assert!(undefined(Prediction::Velocity, Prediction::Data, &level));
    assert!(undefined(Prediction::Data, Prediction::Velocity, &level));
}

#[test]
fn predictions_defined_at_the_ends_are_finite() {
    let (noise, clean) = (Level::new(1.0, 0.0, 1.0), Level::clean(0.0));
    let rate = Some(Rate { alpha: -1.0, sigma: 1.0 });
    for (level, data, epsilon) in [(noise, 0.4, -1.3), (clean, 0.4, -1.3)] {
        let x = level.alpha * data + level.sigma * epsilon;
        for from in ALL {
            for to in ALL {
                let Ok(found) = from.convert(to, &level, rate, 0.5) else { continue };
                let value = |prediction: Prediction| {
                    let (p, q) = prediction.mixture(&level, rate, 0.5).unwrap();
                    p * data + q * epsilon
                };
                if from == to {
                    assert_eq!((found.of_x, found.of_prediction), (0.0, 1.0));
                    continue;
                }
                let what = format!("{from:?} to {to:?} at α = {}", level.alpha);
                within(what, found.of_x * x + found.of_prediction * value(from), value(to), 1e-14);
            }
        }
    }
    // At pure noise the score is minus the noise, and the velocity still gives the data.
    let score = Prediction::Noise.convert(Prediction::Score, &noise, None, 1.0).unwrap();
    assert_eq!((score.of_x, score.of_prediction), (0.0, -1.0));
    let back = Prediction::Score.convert(Prediction::Noise, &noise, None, 1.0).unwrap();
    assert_eq!((back.of_x, back.of_prediction), (0.0, -1.0));
    let data = Prediction::Velocity.convert(Prediction::Data, &noise, rate, 1.0).unwrap();
    assert_eq!((data.of_x, data.of_prediction), (1.0, -1.0));
}

#[test]
fn batches_convert_alike_for_one_level_many_levels_and_tracked_levels() {
    let schedule = VpLinear::default();
    let lambdas = [-9.0, -2.0, 0.0, 3.0, 9.0];
    let rows = lambdas.map(|l| Level { t: schedule.time(l), ..Level::variance_preserving(0.0, l) });
    let data = [0.3, -1.0, 0.5, 2.0, -0.2];
    let noise = [1.0, 0.4, -0.8, -0.1, 1.5];
    let x: Vec<f64> = (0..5).map(|i| rows[i].alpha * data[i] + rows[i].sigma * noise[i]).collect();
    let tangent = [1.0, -2.0, 0.5, 3.0, 0.1];
    for from in ALL {
        for to in ALL {
            let case = |i: usize| Case {
                level: rows[i],
                rate: Some(schedule.rate(rows[i].t)),
                sigma_data: 0.5,
                data: data[i],
                noise: noise[i],
            };
            let value: Vec<f64> = (0..5).map(|i| case(i).value(from)).collect();
            let convert = |levels: &Levels, at: std::ops::Range<usize>| {
                // The prediction stays, x moves: the tangent is the factor on x.
                let x = Dual::new(doubles(&x[at.clone()], 1), doubles(&tangent[at.clone()], 1));
                let value = doubles(&value[at], 1).into();
                from.convert_batch(to, value, x, levels, &schedule, 0.5)
            };
            let by_row = convert(&Levels::Rows(rows.to_vec()), 0..5).unwrap();
            let found = host(&by_row.value);
            let moved = by_row.tangent.map(|t| host(&t));
            for i in 0..5 {
                let what = format!("{from:?} to {to:?} at λ = {}", lambdas[i]);
                within(&what, found[i], case(i).value(to), case(i).bound(from, to).0);
                let all = convert(&rows[i].into(), i..i + 1).unwrap();
                assert_eq!(host(&all.value), [found[i]], "{what}");
                let factor = from.convert(to, &rows[i], case(i).rate, 0.5).unwrap().of_x;
                match &moved {
                    Some(moved) => close(&what, moved[i], factor * tangent[i], 1e-14),
                    None => assert_eq!((from, factor), (to, 0.0)),
                }
            }
            let column = doubles(&lambdas, 1);
            let tracked = Levels::Tracked { t: column.clone(), lambda: column };
            match convert(&tracked, 0..5) {
                Ok(by_graph) => {
                    for (i, found) in host(&by_graph.value).into_iter().enumerate() {
                        let what = format!("tracked {from:?} to {to:?} at λ = {}", lambdas[i]);
                        within(what, found, case(i).value(to), 4.0 * case(i).bound(from, to).0);
                    }
                }
                Err(error) => {
                    assert!(from != to && [from, to].contains(&Prediction::Velocity));
                    assert!(matches!(error, Error::Undefined { .. }));
                }
            }
        }
    }
}

#[test]
fn a_batch_with_one_impossible_row_is_an_error() {
    let levels =
        Levels::Rows(vec![Level::variance_preserving(0.5, 0.0), Level::new(1.0, 0.0, 1.0)]);
    let batch = || doubles(&[1.0, 2.0], 1).into();
    let schedule = Straight::default();
    let found = Prediction::Noise.convert_batch(
        Prediction::Data,
        batch(),
        batch(),
        &levels,
        &schedule,
        1.0,
    );
    assert!(matches!(found, Err(Error::Undefined { .. })));
}

/// Hands back its input, or the noise level that it is told.
#[derive(Module, Debug)]
struct Echo {
    #[module(skip)]
    noise: bool,
}

impl Network for Echo {
    fn forward(&self, x: Dual<2>, noise: Dual<2>, _: &Condition) -> Result<Dual<2>> {
        Ok(if self.noise { noise } else { x })
    }
    fn width(&self) -> usize {
        1
    }
}

#[test]
fn edm_preconditioning_is_the_published_one() {
    let schedule = Edm::default();
    for sigma_data in [0.5, 1.0, 2.0] {
        for sigma in [0.002f64, 0.1, 0.5, 1.0, 3.0, 80.0] {
            let at = |what| format!("{what} at σ = {sigma}, σ_d = {sigma_data}");
            let level = schedule.level(sigma);
            let total = sigma * sigma + sigma_data * sigma_data;
            // Karras et al. 2022, Table 1: D = c_skip x + c_out F(c_in x; c_noise).
            let c = Prediction::Edm.convert(Prediction::Data, &level, None, sigma_data).unwrap();
            close(at("c_skip"), c.of_x, sigma_data * sigma_data / total, 1e-13);
            close(at("c_out"), c.of_prediction, sigma * sigma_data / total.sqrt(), 1e-13);
            let seen = |noise: bool| {
                let denoiser = NeuralDenoiser::new(Echo { noise }, Prediction::Edm, schedule)
                    .with_sigma_data(sigma_data);
                let x = doubles(&[1.0], 1).into();
                let seen = denoiser.predict(x, &level.into(), &Condition::None).unwrap();
                host(&seen.value)[0]
            };
            let c_in = seen(false);
            close(at("c_in"), c_in, 1.0 / total.sqrt(), 1e-6);
            within(at("c_noise"), seen(true), 0.25 * sigma.ln(), 1e-6);
            // Input and training target have unit variance for data of standard deviation σ_d.
            close(at("variance of the input"), c_in * c_in * total, 1.0, 1e-6);
            let (p, q) = Prediction::Edm.mixture(&level, None, sigma_data).unwrap();
            close(at("variance of the target"), (p * sigma_data).powi(2) + q * q, 1.0, 1e-13);
        }
    }
}

/// A flow-matching network sees x_t itself and 1000 t, and its ε − x₀ is the velocity of the straight path: of the
/// exact posterior mean it makes the exact mean again.
#[test]
fn the_velocity_of_the_straight_path_is_noise_less_data_at_a_clock_of_thousandths() {
    let schedule = Straight { delta: 1e-3, noise_delta: Some(1e-6) };
    assert_eq!(schedule.range(), (1e-3, 1.0 - 1e-6));
    let data = crate::oracle::three_components();
    for t in [1e-3, 0.02, 0.3, 0.5, 0.9, 1.0 - 1e-6] {
        let level = schedule.level(t);
        within("1000 t", Clock::Straight.read(level.lambda, &schedule), 1e3 * t, 1e-6);
        let see = |noise: bool, levels: Levels| {
            let denoiser = NeuralDenoiser::new(Echo { noise }, Prediction::Velocity, schedule)
                .with_scaled_input(false)
                .with_clock(Clock::Straight);
            let x: Tensor<2> = doubles(&[1.5], 1);
            host(&denoiser.predict(x.into(), &levels, &Condition::None).unwrap().value)[0]
        };
        let lambda = doubles(&[level.lambda], 1);
        let tracked = Levels::Tracked { t: doubles(&[t], 1), lambda };
        for levels in [Levels::All(level), tracked] {
            close("x itself", see(false, levels.clone()), 1.5, 1e-6);
            close("1000 t", see(true, levels), 1e3 * t, 1e-5);
        }
        let x = doubles(&[0.4, -1.2], 2);
        let mean = data.denoise(x.clone().into(), &level.into(), &Condition::None).unwrap().value;
        // ε − x₀ = (x − x₀)/t, without the rates of the schedule.
        let flow = (x.clone() - mean.clone()).div_scalar(t);
        let found = Prediction::Velocity
            .convert_batch(Prediction::Data, flow.into(), x.into(), &level.into(), &schedule, 1.0)
            .unwrap();
        all_close(format!("the mean at {t}"), &host(&found.value), &host(&mean), 1e-9);
    }
}

#[test]
fn a_network_s_input_has_unit_variance_at_any_alpha_and_its_noise_is_a_quarter_log_ratio() {
    for (name, schedule) in schedules() {
        for lambda in [-8.0, 0.0, 8.0] {
            let level = schedule.level(schedule.time(lambda));
            let see = |noise: bool| {
                let denoiser = NeuralDenoiser::new(Echo { noise }, Prediction::V, schedule.clone())
                    .with_sigma_data(0.7);
                let x: Tensor<2> = doubles(&[1.0, -2.0], 1);
                let seen = denoiser.predict(x.into(), &level.into(), &Condition::None).unwrap();
                assert_eq!(denoiser.evaluations(), 2);
                host(&seen.value)
            };
            let sd = (level.alpha * 0.7).hypot(level.sigma);
            all_close(format!("input on {name}"), &see(false), &[1.0 / sd, -2.0 / sd], 1e-6);
            all_close(format!("noise on {name}"), &see(true), &[-0.125 * level.lambda], 1e-6);
        }
    }
}
