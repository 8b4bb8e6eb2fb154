//! A learned monotone schedule.
//!
//! γ = −λ is a network of one hidden layer with positive weights, normalised to given ends (*Demystifying Variational
//! Diffusion Models*, app. A.2; Kingma et al. 2021, app. H):
//!
//! > γ̃(t) = a t + Σ_k c_k sigmoid(w_k t + b_k), a, c, w > 0 by softplus,
//! > λ(t) = λ_max − (λ_max − λ_min) (γ̃(t) − γ̃(0))/(γ̃(1) − γ̃(0)), t ∈ [0, 1],
//!
//! so that λ falls for all weights, and dλ/dt is as explicit as λ. Variance preserving: α² = sigmoid(λ).

use super::level::softplus;
use super::{Level, Levels, MOST_LOG_SNR, Schedule};
use crate::tensor::detached;
use crate::{Draws, Error, Result};
use burn::module::{Module, Param};
use burn::tensor::activation::{log_sigmoid, sigmoid};
use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// A schedule with trainable weights; [`LearnedSchedule::fixed`] is its form for solvers and networks.
///
/// ```
/// use tweedie::burn::tensor::Device;
/// use tweedie::process::{LearnedSchedule, Schedule};
/// let learned = LearnedSchedule::new(-10.0, 10.0, 16, &tweedie::Draws::new(0), &Device::flex())?;
/// let schedule = learned.fixed()?;
/// assert!((schedule.level(0.0).lambda - 10.0).abs() < 1e-12);
/// assert!((schedule.level(1.0).lambda + 10.0).abs() < 1e-12);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct LearnedSchedule {
    slope: Param<Tensor<1>>,
    height: Param<Tensor<1>>,
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    lambda_min: f64,
    lambda_max: f64,
}

/// The configuration of a learned schedule, `{ name = "learned", lambda_min = -5, lambda_max = 13.3 }`. As a
/// [`Schedule`] its λ is linear in t between its ends, the start of training; results that depend on the ends alone
/// hold for the trained schedule too.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LearnedScheduleConfig {
    /// λ at t = 1.
    pub lambda_min: f64,
    /// λ at t = 0.
    pub lambda_max: f64,
    /// The number of hidden units.
    pub units: usize,
    /// The learning rate of the schedule's weights, with the warm-up and decay of the network's.
    pub learning_rate: f64,
}

impl Default for LearnedScheduleConfig {
    /// The ends of Kingma et al. (2021), app. B.
    fn default() -> Self {
        Self { lambda_min: -5.0, lambda_max: 13.3, units: 64, learning_rate: 0.01 }
    }
}

impl LearnedScheduleConfig {
    /// The schedule with initial weights.
    ///
    /// # Errors
    /// The errors of [`LearnedSchedule::new`].
    pub fn init(&self, draws: &Draws, device: &Device) -> Result<LearnedSchedule> {
        LearnedSchedule::new(self.lambda_min, self.lambda_max, self.units, draws, device)
    }
}

impl Schedule for LearnedScheduleConfig {
    fn check(&self) -> Result<()> {
        if !(1e-30..=10.0).contains(&self.learning_rate) {
            let found = format!("{:?}", self.learning_rate);
            let expected = "a number from 1e-30 to 10";
            return Err(Error::config("schedule.learning_rate", found, expected));
        }
        self.init(&Draws::new(0), &Device::flex()).map(drop).map_err(|error| match error {
            Error::Config { key, problem, expected } if key == "hidden" => {
                Error::config("schedule.units", problem, expected)
            }
            Error::Config { problem, expected, .. } => {
                Error::config("schedule.lambda_max", problem, expected)
            }
            other => other,
        })
    }
    fn level(&self, t: f64) -> Level {
        Level::variance_preserving(t, self.lambda_max + t * (self.lambda_min - self.lambda_max))
    }
    fn drift(&self, t: f64) -> f64 {
        0.5 * self.level(t).sigma.powi(2) * self.lambda_rate(t)
    }
    fn lambda_rate(&self, _t: f64) -> f64 {
        self.lambda_min - self.lambda_max
    }
    fn range(&self) -> (f64, f64) {
        (0.0, 1.0)
    }
    fn time(&self, lambda: f64) -> f64 {
        (self.lambda_max - lambda) / (self.lambda_max - self.lambda_min)
    }
}

/// The initial slope of the hidden units.
const STEEPNESS: f64 = 12.0;

/// The inverse of softplus.
fn inverse_softplus(y: f64) -> f64 {
    y + (-(-y).exp_m1()).ln()
}

impl LearnedSchedule {
    /// A schedule with `hidden` units, initially near λ linear in t; `draws` set the units' places.
    ///
    /// # Errors
    /// [`Error::Config`] unless −80 ≤ `lambda_min` < `lambda_max` ≤ 80 and `hidden` is 1 to 100,000.
    pub fn new(
        lambda_min: f64,
        lambda_max: f64,
        hidden: usize,
        draws: &Draws,
        device: &Device,
    ) -> Result<Self> {
        let inside = |l: f64| (-MOST_LOG_SNR..=MOST_LOG_SNR).contains(&l);
        if !(inside(lambda_min) && inside(lambda_max) && lambda_min < lambda_max) {
            let found = format!("from {lambda_max:?} to {lambda_min:?}");
            return Err(Error::config("log-SNR", found, "a fall within ±80"));
        }
        if !(1..=100_000).contains(&hidden) {
            return Err(Error::config("hidden", hidden.to_string(), "from 1 to 100000"));
        }
        let places = draws.purpose("schedule");
        let place = |k: usize| (k as f64 + places.uniform_f64(0, k as u64)) / hidden as f64;
        let param = |values: Vec<f64>| {
            let data = TensorData::new(values, [hidden]).convert_dtype(DType::F32);
            Param::from_tensor(Tensor::from_data(data, (device, DType::F32)))
        };
        let slope = Tensor::full([1], inverse_softplus(1.0), (device, DType::F32));
        Ok(Self {
            slope: Param::from_tensor(slope),
            height: param(vec![inverse_softplus(0.3 / hidden as f64); hidden]),
            weight: param(vec![inverse_softplus(STEEPNESS); hidden]),
            bias: param((0..hidden).map(|k| -STEEPNESS * place(k)).collect()),
            lambda_min,
            lambda_max,
        })
    }

    /// The levels at times `t`, `[n, 1]` in [0, 1], and dλ/dt, `[n, 1]`, both in the graph of the weights.
    pub fn tracked(&self, t: Tensor<2>) -> (Levels, Tensor<2>) {
        let row = |p: &Param<Tensor<1>>| p.val().unsqueeze::<2>();
        let positive = |p: &Param<Tensor<1>>| log_sigmoid(row(p).neg()).neg();
        let (slope, height) = (positive(&self.slope), positive(&self.height));
        let (weight, bias) = (positive(&self.weight), row(&self.bias));
        let before = sigmoid(bias.clone());
        let after = sigmoid(weight.clone() + bias.clone());
        let at = sigmoid(t.clone() * weight.clone() + bias);
        let bend = at.clone() * (at.ones_like() - at.clone()) * weight * height.clone();
        let rate = bend.sum_dim(1) + slope.clone();
        let rise = ((at - before.clone()) * height.clone()).sum_dim(1) + t.clone() * slope.clone();
        let all = ((after - before) * height).sum_dim(1) + slope;
        let fall = self.lambda_max - self.lambda_min;
        let lambda = (rise / all.clone()).mul_scalar(-fall).add_scalar(self.lambda_max);
        (Levels::Tracked { t, lambda }, (rate / all).mul_scalar(-fall))
    }

    /// The schedule at its present weights, in double precision on the host.
    ///
    /// # Errors
    /// [`Error::Device`] if the weights cannot be read.
    pub fn fixed(&self) -> Result<Monotone> {
        let read = |p: &Param<Tensor<1>>| {
            let tensor = p.val();
            let tensor = detached(tensor);
            crate::tensor::host_column(&tensor.reshape([-1, 1]))
        };
        let units = read(&self.height)?.into_iter().zip(read(&self.weight)?).zip(read(&self.bias)?);
        let unit = |((height, weight), bias)| Unit {
            height: softplus(height),
            weight: softplus(weight),
            bias,
        };
        Ok(Monotone {
            slope: read(&self.slope)?.into_iter().map(softplus).sum(),
            units: units.map(unit).collect(),
            lambda_min: self.lambda_min,
            lambda_max: self.lambda_max,
        })
    }
}

/// A hidden unit, c sigmoid(w t + b).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Unit {
    height: f64,
    weight: f64,
    bias: f64,
}

impl Unit {
    /// The rise of the unit from 0 to `t`.
    fn rise(&self, t: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        self.height * (sigmoid(self.weight * t + self.bias) - sigmoid(self.bias))
    }

    fn rate(&self, t: f64) -> f64 {
        let cosh = (0.5 * (self.weight * t + self.bias)).cosh();
        0.25 * self.height * self.weight / (cosh * cosh)
    }
}

/// A [`LearnedSchedule`] with fixed weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Monotone {
    slope: f64,
    units: Vec<Unit>,
    lambda_min: f64,
    lambda_max: f64,
}

impl Monotone {
    /// The rise γ̃(t) − γ̃(0).
    fn rise(&self, t: f64) -> f64 {
        self.slope * t + self.units.iter().map(|unit| unit.rise(t)).sum::<f64>()
    }
}

impl Schedule for Monotone {
    fn level(&self, t: f64) -> Level {
        let fall = (self.lambda_max - self.lambda_min) * self.rise(t) / self.rise(1.0);
        Level::variance_preserving(t, self.lambda_max - fall)
    }
    fn drift(&self, t: f64) -> f64 {
        // ln α = −½ softplus(−λ), so d ln α/dt = ½ σ² dλ/dt.
        0.5 * self.level(t).sigma.powi(2) * self.lambda_rate(t)
    }
    fn lambda_rate(&self, t: f64) -> f64 {
        let rate = self.slope + self.units.iter().map(|unit| unit.rate(t)).sum::<f64>();
        (self.lambda_min - self.lambda_max) * rate / self.rise(1.0)
    }
    fn range(&self) -> (f64, f64) {
        (0.0, 1.0)
    }
}
