//! Boltzmann machines with all couplings: binary visible units v and a few hidden units h (Ackley, Hinton & Sejnowski,
//! "A learning algorithm for Boltzmann machines", 1985),
//!
//! > E(v, h) = −b·v − Σ_{i<j} V_ij v_i v_j − c·h − Σ_{i<j} J_ij h_i h_j − hᵀ W v.
//!
//! The states of hidden units are enumerated, so that the free energy −ln Σ_h exp(−E(v, h)) is exact; without hidden
//! units the machine is fully visible (an Ising model with fields). A Gibbs step draws h given v at once, then each v_j
//! given all others.

use super::enumeration::{MOST_UNITS, log_sum, log_sum_exp, states};
use super::restricted::values;
use super::units::Bits;
use super::{AnyEnergy, Energy, EnergyConfig, Moments};
use crate::data::{Rows, Space};
use crate::error::{count, rows_of};
use crate::nn::layers::{project, uniform};
use crate::tensor::{Dual, host_column};
use crate::{Draws, Error, Result};
use burn::module::{Module, Param};
use burn::tensor::activation::softplus;
use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

/// The most hidden units, whose states are enumerated for every row, and the most visible ones.
const MOST_HIDDEN: usize = 10;
const MOST_VISIBLE: u64 = 1 << 10;
/// The bound of the initial couplings between visible and hidden units: at zero hidden units would stay alike.
const BOUND: f64 = 0.1;

/// Configuration of [`Boltzmann`].
///
/// ```
/// use tweedie::nn::energy::{BoltzmannConfig, EnergyConfig};
/// assert_eq!(BoltzmannConfig { hidden: 2 }.parameters(6), 6 + 15 + 2 + 1 + 12);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BoltzmannConfig {
    /// The number of hidden units, at most 10; 0 for a fully visible machine.
    pub hidden: usize,
}

/// The number of pairs of units.
fn pairs(units: usize) -> usize {
    units * units.saturating_sub(1) / 2
}

impl EnergyConfig for BoltzmannConfig {
    fn check(&self) -> Result<()> {
        if self.hidden <= MOST_HIDDEN {
            return Ok(());
        }
        let expected =
            format!("at most {MOST_HIDDEN}, whose states are enumerated; `rbm` has more");
        Err(Error::config("hidden", self.hidden.to_string(), expected))
    }

    fn is_discrete(&self) -> bool {
        true
    }

    fn init(&self, space: &Space, draws: &Draws, device: &Device) -> Result<AnyEnergy> {
        self.check()?;
        let bits = Bits::of(space)?;
        let width = bits.width();
        count("data.columns", width as u64, MOST_VISIBLE)?;
        let zeros = |len: usize| Param::from_tensor(Tensor::zeros([len], device));
        let some = |len: usize| (len > 0).then(|| zeros(len));
        Ok(Boltzmann {
            visible: zeros(width),
            pairs: some(pairs(width)),
            hidden: some(self.hidden),
            hidden_pairs: some(pairs(self.hidden)),
            between: (self.hidden > 0)
                .then(|| uniform(&draws.purpose("between"), BOUND, [self.hidden * width], device)),
            bits,
        }
        .into())
    }

    fn is_enumerable(&self, width: usize) -> bool {
        width <= MOST_UNITS
    }

    fn parameters(&self, width: usize) -> u128 {
        let hidden = self.hidden + pairs(self.hidden) + self.hidden * width;
        (width + pairs(width) + hidden) as u128
    }

    fn activations(&self, width: usize) -> usize {
        2 * width + 2 * (1 << self.hidden)
    }
}

/// A Boltzmann machine; see the module's head.
#[derive(Module, Debug)]
pub struct Boltzmann {
    /// b.
    visible: Param<Tensor<1>>,
    /// V_ij for i < j, line after line.
    pairs: Option<Param<Tensor<1>>>,
    /// c.
    hidden: Option<Param<Tensor<1>>>,
    /// J_ij for i < j, line after line.
    hidden_pairs: Option<Param<Tensor<1>>>,
    /// W, line after line, `hidden × width`.
    between: Option<Param<Tensor<1>>>,
    #[module(skip)]
    bits: Bits,
}

/// The upper triangle of a square matrix of `units` lines from its entries line after line; zero without any.
fn triangle(of: &Option<Param<Tensor<1>>>, units: usize, like: &Tensor<2>) -> Tensor<2> {
    let (device, kind) = (like.device(), like.dtype());
    let zeros = |lines, width| Tensor::<2>::zeros([lines, width], (&device, kind));
    let Some(of) = of else { return zeros(units, units) };
    let all = of.val().cast(kind);
    let mut from = 0;
    let line = |i: usize| {
        let len = units - 1 - i;
        let own = all.clone().slice(from..from + len).reshape([1, len]);
        from += len;
        Tensor::cat(vec![zeros(1, i + 1), own], 1)
    };
    let mut lines: Vec<Tensor<2>> = (0..units - 1).map(line).collect();
    lines.push(zeros(1, units));
    Tensor::cat(lines, 0)
}

impl Boltzmann {
    fn hidden_units(&self) -> usize {
        self.hidden.as_ref().map_or(0, |hidden| hidden.dims()[0])
    }

    /// b·v + Σ V_ij v_i v_j, `[n, 1]`.
    fn of_visible(&self, v: &Dual<2>) -> Dual<2> {
        let width = self.width();
        let line = self.visible.val().reshape([1, width]).cast(v.value.dtype());
        let pairs = triangle(&self.pairs, width, &v.value);
        let through = project(v.clone(), pairs, None);
        project(v.clone(), line, None) + (through * v.clone()).sum_dim(1)
    }

    /// The logarithms of the weights of the hidden states, up to what depends on v alone, `[n, 2^hidden]`.
    fn of_hidden(&self, v: &Dual<2>) -> Option<Dual<2>> {
        let (hidden, between) = (self.hidden.as_ref()?, self.between.as_ref()?);
        let (units, width, kind) = (self.hidden_units(), self.width(), v.value.dtype());
        let all = states(units, 0, 1 << units, &v.value.device()).cast(kind);
        let pairs = triangle(&self.hidden_pairs, units, &v.value);
        let own = (all.clone().matmul(pairs) * all.clone()).sum_dim(1)
            + all.clone().matmul(hidden.val().reshape([units, 1]).cast(kind));
        let weight = between.val().reshape([units, width]).cast(kind);
        let fields = project(v.clone(), weight, None);
        let bias = own.reshape([1usize << units]);
        Some(project(fields, all, Some(bias)))
    }

    /// −E(v) of units' own values, `[n, 1]`.
    fn log_weight(&self, v: Dual<2>) -> Dual<2> {
        let visible = self.of_visible(&v);
        match self.of_hidden(&v) {
            None => visible,
            Some(hidden) => visible + hidden.log_sum_exp(1),
        }
    }

    /// The fields V + Vᵀ between visible units, and W, on the host.
    fn host(&self, like: &Tensor<2>) -> Result<[Vec<f64>; 3]> {
        let width = self.width();
        let upper = triangle(&self.pairs, width, like);
        let both = upper.clone() + upper.swap_dims(0, 1);
        let flat = |of: Tensor<1>| {
            let [len] = of.dims();
            host_column(&of.inner().reshape([len, 1]))
        };
        let between = self.between.as_ref().map(|of| flat(of.val())).transpose()?;
        Ok([host_column(&both.inner())?, flat(self.visible.val())?, between.unwrap_or_default()])
    }

    /// Draws of the hidden states, as numbers, given visible units.
    fn hidden_states(&self, v: &Tensor<2>, rows: &[u64], draws: &Draws) -> Result<Vec<usize>> {
        let Some(logits) = self.of_hidden(&v.clone().into()) else {
            return Ok(vec![0; rows.len()]);
        };
        let logits = Rows::from_tensor(&logits.value.inner())?;
        let state = |(row, logits): (&u64, &[f32])| {
            let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let weight = |logit: &f32| f64::from(logit - most).exp();
            let mut rest = draws.uniform_f64(*row, 0) * logits.iter().map(weight).sum::<f64>();
            let within = |logit: &f32| {
                rest -= weight(logit);
                rest < 0.0
            };
            logits.iter().position(within).unwrap_or(logits.len() - 1)
        };
        Ok(rows.iter().zip(logits.iter()).map(state).collect())
    }
}

impl Energy for Boltzmann {
    fn width(&self) -> usize {
        self.bits.width()
    }

    fn energy(&self, x: Dual<2>) -> Result<Dual<2>> {
        rows_of(x.dims(), self.width())?;
        Ok(-self.log_weight(self.bits.bits(x)))
    }

    fn has_blocks(&self) -> bool {
        true
    }

    fn sweep(&self, x: Tensor<2>, rows: &[u64], draws: &Draws) -> Result<Tensor<2>> {
        rows_of(x.dims(), self.width())?;
        let width = self.width();
        let v = self.bits.bits(x.into()).value;
        let hidden = self.hidden_states(&v, rows, &draws.purpose("hidden"))?;
        let [both, visible, between] = self.host(&v)?;
        let (device, kind, draws) = (v.device(), v.dtype(), draws.purpose("visible"));
        let mut bits = Rows::from_tensor(&v)?;
        let uniforms = draws.uniforms_for(rows, width);
        for (i, v) in bits.values_mut().chunks_exact_mut(width).enumerate() {
            for j in 0..width {
                let line = &both[j * width..(j + 1) * width];
                let others: f64 = line.iter().zip(&*v).map(|(w, v)| w * f64::from(*v)).sum();
                let on = |k: usize| hidden[i] >> k & 1 == 1;
                let above = (0..self.hidden_units()).filter(|k| on(*k));
                let field =
                    visible[j] + others + above.map(|k| between[k * width + j]).sum::<f64>();
                let probability = 1.0 / (1.0 + (-field).exp());
                v[j] = f32::from(u8::from(f64::from(uniforms.row(i)[j]) < probability));
            }
        }
        Ok(self.bits.model(bits.to_tensor(&device).cast(kind)))
    }

    fn is_enumerable(&self) -> bool {
        self.width() <= MOST_UNITS
    }

    fn log_z(&self) -> Result<Tensor<2>> {
        if !self.is_enumerable() {
            return Err(super::too_many_units(self.width()));
        }
        let device = self.visible.val().device();
        log_sum(self.width(), &device, |v| Ok(self.log_weight(v.into()).value))
    }

    fn log_z_uncoupled(&self) -> Result<f64> {
        let sum = |of: &Param<Tensor<1>>| {
            let [len] = of.dims();
            softplus(of.val().inner().cast(DType::F64).reshape([1, len]), 1.0).sum_dim(1)
        };
        let visible = sum(&self.visible);
        let all = match &self.hidden {
            None => visible,
            Some(hidden) => visible + sum(hidden),
        };
        Ok(host_column(&log_sum_exp(all))?[0])
    }

    fn heated(self, beta: f64, base: &Moments) -> Result<Self> {
        let logits = self.bits.logits(base)?;
        let scaled = |of: &Param<Tensor<1>>| Param::from_tensor(of.val().mul_scalar(beta));
        let own = self.visible.val();
        let share = values(logits.iter().map(|logit| (1.0 - beta) * logit), &own);
        let [pairs, hidden, hidden_pairs, between] =
            [&self.pairs, &self.hidden, &self.hidden_pairs, &self.between]
                .map(|of| of.as_ref().map(scaled));
        let visible = Param::from_tensor(own.mul_scalar(beta) + share);
        Ok(Self { visible, pairs, hidden, hidden_pairs, between, bits: self.bits })
    }

    fn start(self, base: &Moments) -> Result<Self> {
        let own = self.visible.val();
        let visible = Param::from_tensor(values(self.bits.logits(base)?.into_iter(), &own));
        Ok(Self { visible, ..self })
    }
}
