//! Restricted Boltzmann machines: visible units v and binary hidden units h, coupled to each other alone (Smolensky
//! 1986; Hinton, "Training products of experts by minimizing contrastive divergence", 2002).
//!
//! In natural parameters, with binary visible units or real ones of precisions λ,
//!
//! > E(v, h) = −b·v − c·h − hᵀ W v + ½ Σ_j λ_j v_j²,  the last for real units alone.
//!
//! Given the others, units are independent: p(h_i = 1 | v) = σ(c + W v), p(v_j = 1 | h) = σ(b + Wᵀ h), or v | h ~
//! N((b + Wᵀ h)/λ, 1/λ). Hidden units sum out of the free energy
//!
//! > E(v) = −b·v + ½ Σ_j λ_j v_j² − Σ_i ln(1 + exp(c + W v)_i),
//!
//! whose gradient by the weights is that of E(v, h) with the probabilities of h. Z is a sum over the states of the
//! smaller side, with a factor for each unit of the other.

use super::enumeration::{MOST_UNITS, log_sum};
use super::units::{Bits, check_width};
use super::{AnyEnergy, Energy, EnergyConfig, Moments};
use crate::data::Space;
use crate::error::{count, rows_of};
use crate::nn::layers::project;
use crate::nn::{Activation, Linear, LinearConfig};
use crate::registry::registry;
use crate::tensor::{Dual, host_column};
use crate::{Draws, Result};
use burn::module::{Module, Param};
use burn::tensor::activation::{sigmoid, softplus};
use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

/// The most hidden units.
const MOST_HIDDEN: u64 = 1 << 16;
/// A factor on the initial couplings: nearly independent units.
const GAIN: f64 = 0.1;

registry! {
    /// The values of visible units.
    pub word Visible = Bernoulli {
        "bernoulli" Bernoulli "zeros and ones",
        "gaussian" Gaussian "real numbers",
    }
}

/// Configuration of [`Restricted`].
///
/// ```
/// use tweedie::nn::energy::{EnergyConfig, RestrictedConfig};
/// assert_eq!(RestrictedConfig { hidden: 500, ..RestrictedConfig::default() }.parameters(784), 393_284);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestrictedConfig {
    /// The number of hidden units.
    pub hidden: usize,
    /// The values of visible units.
    pub visible: Visible,
}

impl Default for RestrictedConfig {
    fn default() -> Self {
        Self { hidden: 64, visible: Visible::default() }
    }
}

impl EnergyConfig for RestrictedConfig {
    fn check(&self) -> Result<()> {
        count("hidden", self.hidden as u64, MOST_HIDDEN)
    }

    fn is_discrete(&self) -> bool {
        self.visible == Visible::Bernoulli
    }

    fn init(&self, space: &Space, draws: &Draws, device: &Device) -> Result<AnyEnergy> {
        self.check()?;
        let bits = self.is_discrete().then(|| Bits::of(space)).transpose()?;
        let width = space.model_width();
        let hidden = LinearConfig::new(width, self.hidden).with_gain(GAIN);
        let zeros = || Param::from_tensor(Tensor::zeros([width], device));
        Ok(Restricted {
            hidden: hidden.init(&draws.purpose("hidden"), device),
            visible: zeros(),
            log_precision: bits.is_none().then(zeros),
            bits,
        }
        .into())
    }

    fn is_enumerable(&self, width: usize) -> bool {
        self.hidden <= MOST_UNITS || self.is_discrete() && width <= MOST_UNITS
    }

    fn parameters(&self, width: usize) -> u128 {
        let precisions = if self.is_discrete() { 0 } else { width as u128 };
        (width as u128 + 1) * self.hidden as u128 + width as u128 + precisions
    }

    fn activations(&self, width: usize) -> usize {
        2 * self.hidden + 2 * width
    }
}

/// A restricted Boltzmann machine; see the module's head.
#[derive(Module, Debug)]
pub struct Restricted {
    /// W, `[hidden, width]`, and c.
    hidden: Linear,
    /// b.
    visible: Param<Tensor<1>>,
    /// ln λ of real visible units.
    log_precision: Option<Param<Tensor<1>>>,
    /// The units of binary ones.
    #[module(skip)]
    bits: Option<Bits>,
}

impl Restricted {
    /// b or ln λ as a line, `[1, width]`, of the type `kind`.
    fn line(of: &Param<Tensor<1>>, kind: DType) -> Tensor<2> {
        let [width] = of.dims();
        of.val().reshape([1, width]).cast(kind)
    }

    /// W and c, `[hidden, width]` and `[1, hidden]`, in double precision.
    fn couplings(&self) -> (Tensor<2>, Tensor<2>) {
        let weight = self.hidden.weight.val().cast(DType::F64);
        let [hidden, _] = weight.dims();
        let bias = match &self.hidden.bias {
            Some(bias) => bias.val().cast(DType::F64).reshape([1, hidden]),
            None => Tensor::zeros([1, hidden], (&weight.device(), DType::F64)),
        };
        (weight, bias)
    }

    /// The sum over v_j of exp(a v_j − ½ λ_j v_j²), as a logarithm summed over units, for fields a, `[m, width]`, in
    /// double precision; `[m, 1]`.
    fn log_sum_of_visible(&self, fields: Tensor<2>) -> Tensor<2> {
        let each = match &self.log_precision {
            None => softplus(fields, 1.0),
            Some(of) => {
                let log = Self::line(of, DType::F64);
                let square = fields.square() * log.clone().neg().exp();
                (square - log + TAU.ln()).mul_scalar(0.5)
            }
        };
        each.sum_dim(1)
    }

    /// As [`Energy::energy`], for units' own values.
    fn free_energy(&self, v: Dual<2>) -> Dual<2> {
        let kind = v.value.dtype();
        let linear = project(v.clone(), Self::line(&self.visible, kind), None);
        let hidden = Activation::Softplus.forward(self.hidden.forward(v.clone())).sum_dim(1);
        let rest = -(linear + hidden);
        match &self.log_precision {
            None => rest,
            Some(of) => {
                rest + project(v.square(), Self::line(of, kind).exp(), None).mul_scalar(0.5)
            }
        }
    }

    /// ln Z by the states of hidden units.
    fn over_hidden(&self) -> Result<Tensor<2>> {
        let (weight, bias) = self.couplings();
        let visible = Self::line(&self.visible, DType::F64);
        let [hidden, _] = weight.dims();
        log_sum(hidden, &weight.device(), |h| {
            let own = (h.clone() * bias.clone()).sum_dim(1);
            Ok(own + self.log_sum_of_visible(h.matmul(weight.clone()) + visible.clone()))
        })
    }

    /// ln Z by the states of binary visible units.
    fn over_visible(&self) -> Result<Tensor<2>> {
        let (weight, bias) = self.couplings();
        let visible = Self::line(&self.visible, DType::F64);
        let [_, width] = weight.dims();
        log_sum(width, &weight.device(), |v| {
            let own = (v.clone() * visible.clone()).sum_dim(1);
            Ok(own
                + softplus(v.matmul(weight.clone().swap_dims(0, 1)) + bias.clone(), 1.0).sum_dim(1))
        })
    }

    fn sizes(&self) -> [usize; 2] {
        self.hidden.weight.dims()
    }
}

/// Zeros and ones that are one where uniform numbers lie below probabilities, `[n, width]`.
pub(super) fn below(probabilities: Tensor<2>, rows: &[u64], draws: &Draws) -> Tensor<2> {
    let ([_, width], kind) = (probabilities.dims(), probabilities.dtype());
    let uniforms = draws.uniforms_for(rows, width).to_tensor(&probabilities.device()).cast(kind);
    uniforms.lower(probabilities).float().cast(kind)
}

impl Energy for Restricted {
    fn width(&self) -> usize {
        self.sizes()[1]
    }

    fn energy(&self, x: Dual<2>) -> Result<Dual<2>> {
        rows_of(x.dims(), self.width())?;
        Ok(self
            .free_energy(self.bits.as_ref().map_or_else(|| x.clone(), |bits| bits.bits(x.clone()))))
    }

    fn has_blocks(&self) -> bool {
        true
    }

    fn sweep(&self, x: Tensor<2>, rows: &[u64], draws: &Draws) -> Result<Tensor<2>> {
        rows_of(x.dims(), self.width())?;
        let kind = x.dtype();
        let v =
            self.bits.as_ref().map_or_else(|| x.clone(), |bits| bits.bits(x.clone().into()).value);
        let up = sigmoid(self.hidden.forward(v.into()).value);
        let h = below(up, rows, &draws.purpose("hidden"));
        let fields = h.matmul(self.hidden.weight.val()) + Self::line(&self.visible, kind);
        let draws = draws.purpose("visible");
        match (&self.bits, &self.log_precision) {
            (Some(bits), _) => Ok(bits.model(below(sigmoid(fields), rows, &draws))),
            (None, Some(of)) => {
                let deviation = Self::line(of, kind).mul_scalar(-0.5).exp();
                let noise = draws.normals_for(rows, self.width()).to_tensor(&x.device()).cast(kind);
                Ok(fields * deviation.clone().square() + noise * deviation)
            }
            (None, None) => Ok(fields),
        }
    }

    fn is_enumerable(&self) -> bool {
        let [hidden, width] = self.sizes();
        hidden <= MOST_UNITS || self.bits.is_some() && width <= MOST_UNITS
    }

    fn log_z(&self) -> Result<Tensor<2>> {
        let [hidden, width] = self.sizes();
        match self.bits.is_some() && width < hidden {
            true if width <= MOST_UNITS => self.over_visible(),
            false if hidden <= MOST_UNITS => self.over_hidden(),
            _ => Err(super::too_many_units(hidden.min(width))),
        }
    }

    fn log_z_uncoupled(&self) -> Result<f64> {
        let (_, bias) = self.couplings();
        let visible = self.log_sum_of_visible(Self::line(&self.visible, DType::F64));
        let sum = host_column(&(visible + softplus(bias, 1.0).sum_dim(1)).inner())?;
        Ok(sum[0])
    }

    fn heated(self, beta: f64, base: &Moments) -> Result<Self> {
        let share = 1.0 - beta;
        let [fields, precisions] = self.base(base)?;
        let scaled = |of: Tensor<1>| of.mul_scalar(beta);
        let between = |own: Tensor<1>, base: &[f64]| {
            let base = values(base.iter().map(|of| share * of), &own);
            scaled(own) + base
        };
        let visible = between(self.visible.val(), &fields);
        let log_precision =
            self.log_precision.as_ref().map(|of| between(of.val().exp(), &precisions).log());
        let weight = self.hidden.weight.val().mul_scalar(beta);
        let bias = self.hidden.bias.as_ref().map(|bias| Param::from_tensor(scaled(bias.val())));
        Ok(Self {
            hidden: Linear { weight: Param::from_tensor(weight), bias },
            visible: Param::from_tensor(visible),
            log_precision: log_precision.map(Param::from_tensor),
            bits: self.bits,
        })
    }

    fn start(self, base: &Moments) -> Result<Self> {
        let [fields, precisions] = self.base(base)?;
        let like = self.visible.val();
        let log_precision = self
            .log_precision
            .as_ref()
            .map(|_| Param::from_tensor(values(precisions.iter().map(|of| of.ln()), &like)));
        let visible = Param::from_tensor(values(fields.into_iter(), &like));
        Ok(Self { visible, log_precision, ..self })
    }
}

impl Restricted {
    /// b and λ of independent columns; no λ for binary units.
    fn base(&self, base: &Moments) -> Result<[Vec<f64>; 2]> {
        if let Some(bits) = &self.bits {
            return Ok([bits.logits(base)?, Vec::new()]);
        }
        check_width(base, self.width())?;
        let fields = base.mean.iter().zip(&base.variance).map(|(mean, variance)| mean / variance);
        Ok([fields.collect(), base.variance.iter().map(|variance| 1.0 / variance).collect()])
    }
}

/// Values in the type and on the device of `like`.
pub(super) fn values(of: impl Iterator<Item = f64>, like: &Tensor<1>) -> Tensor<1> {
    let of: Vec<f64> = of.collect();
    let shape = [of.len()];
    let data = TensorData::new(of, shape).convert_dtype(like.dtype());
    Tensor::from_data(data, (&like.device(), like.dtype()))
}
