//! The velocity network of continuous flows, with its Jacobian–vector products.
//!
//! The network is an MLP of x, bounded by [`REACH`] as by tanh, whose first layer also takes sines and cosines of the
//! time and the condition. With a_l = W_l h_{l−1} + b_l and h_l = σ(a_l), the products U_l = (∂h_l/∂x) V are
//!
//! > U_l = σ′(a_l) ⊙ (W_l U_{l−1}),
//!
//! for all vectors V of a row at once. They are written as operations on [`Dual`], so that the divergence has its own
//! derivatives along a path. Far from the data the velocity is constant: log p stays finite.

use super::scalar::bounded;
use super::{Place, REACH};
use crate::data::Condition;
use crate::nn::layers::project;
use crate::nn::{Activation, ConditionEmbedding, ConditionEmbeddingConfig, Linear, LinearConfig};
use crate::tensor::{Dual, Probes};
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use std::f64::consts::PI;

/// The frequencies of the time's sines and cosines: ½, 1, … per unit of time.
const FREQUENCIES: usize = 3;

/// The velocity v(x, t) of rows given their conditions; see the module's head.
#[derive(Module, Debug)]
pub(super) struct Velocity {
    /// The MLP's layers.
    linears: Vec<Linear>,
    /// The map of the time's sines and cosines, added to the first layer before its activation.
    time: Linear,
    /// The embedding of the condition, added to the first layer before its activation.
    condition: ConditionEmbedding,
    #[module(skip)]
    activation: Activation,
}

/// The velocity of a batch, and sums over its Jacobian J.
pub(super) struct Rates {
    /// v, `[n, width]`.
    pub velocity: Dual<2>,
    /// tr J, `[n, estimates]`: one column, the sum over the basis, or vᵀ J v of each random vector v.
    pub divergence: Dual<2>,
    /// ‖J‖² in Frobenius's norm, `[n, 1]`, of the same vectors: the sum or the mean of ‖J v‖².
    pub square: Dual<2>,
}

impl Velocity {
    /// The widths of the layers' inputs and outputs.
    fn sizes(hidden: &[usize], width: usize) -> Vec<(usize, usize)> {
        let widths: Vec<usize> =
            [width].into_iter().chain(hidden.iter().copied()).chain([width]).collect();
        widths.windows(2).map(|pair| (pair[0], pair[1])).collect()
    }

    /// A network that starts at velocity 0.
    pub fn new(
        (hidden, activation): (&[usize], Activation),
        place: &Place,
        draws: &Draws,
        device: &Device,
    ) -> Self {
        let (sizes, first) = (Self::sizes(hidden, place.width), hidden[0]);
        let last = sizes.len() - 1;
        let layer = |(k, (input, output)): (usize, (usize, usize))| {
            let gain = if k == last { 0.0 } else { 1.0 };
            let draws = draws.purpose("linears").at(k as u64);
            LinearConfig::new(input, output).with_gain(gain).init(&draws, device)
        };
        let condition = ConditionEmbeddingConfig::new(place.classes, place.vector, first);
        let time = LinearConfig::new(2 * FREQUENCIES, first).with_bias(false);
        Self {
            linears: sizes.into_iter().enumerate().map(layer).collect(),
            time: time.init(&draws.purpose("time"), device),
            condition: condition.init(&draws.purpose("condition"), device),
            activation,
        }
    }

    /// The number of values in the parameters.
    pub fn parameters(hidden: &[usize], place: &Place) -> u128 {
        let first = hidden.first().copied().unwrap_or(0);
        let linear = |(input, output): (usize, usize)| (input as u128 + 1) * output as u128;
        let condition = ConditionEmbeddingConfig::new(place.classes, place.vector, first);
        2 * FREQUENCIES as u128 * first as u128
            + condition.parameters()
            + Self::sizes(hidden, place.width).into_iter().map(linear).sum::<u128>()
    }

    /// Sines and cosines of times, `[times, 2 · FREQUENCIES]`.
    fn waves(times: &[f64], like: &Tensor<2>) -> Tensor<2> {
        let wave = |t: &f64| {
            let phases = [*t; FREQUENCIES];
            let phases = phases.iter().zip(1..).map(|(t, k)| PI * f64::from(k) * t);
            phases.flat_map(|phase| [phase.sin(), phase.cos()]).collect::<Vec<f64>>()
        };
        let values: Vec<f64> = times.iter().flat_map(wave).collect();
        let data = TensorData::new(values, [times.len(), 2 * FREQUENCIES]);
        Tensor::from_data(data.convert_dtype(like.dtype()), (&like.device(), like.dtype()))
    }

    /// What the first layer adds at the time of each row, or at one time of all rows.
    fn features(&self, x: &Tensor<2>, times: &[f64], condition: &Condition) -> Result<Dual<2>> {
        let features = self.time.forward(Self::waves(times, x).into());
        let given = self.condition.forward(condition, x.dims()[0], &x.device())?;
        Ok(if let Some(given) = given { given + features } else { features })
    }

    /// The velocity of rows `x`, `[n, width]`, at the time of each row or at one time of all rows, and sums over its
    /// Jacobian by `probes`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the condition does not fit.
    pub fn rates(
        &self,
        x: Dual<2>,
        times: &[f64],
        condition: &Condition,
        probes: &Probes,
    ) -> Result<Rates> {
        let features = self.features(&x.value, times, condition)?;
        let vectors = Tensor::cat(probes.vectors().to_vec(), 0);
        let mut h = bounded(x, REACH);
        let slope = h.clone().mul_scalar(1.0 / REACH).square();
        let mut products = scaled(vectors.clone().into(), (-slope).add_scalar(1.0));
        let last = self.linears.len() - 1;
        for (k, linear) in self.linears.iter().enumerate() {
            let mut a = linear.forward(h);
            if k == 0 {
                a = a + features.clone();
            }
            products = project(products, linear.weight.val(), None);
            if k < last {
                let (value, slope) = self.activation.with_slope(a);
                products = scaled(products, slope);
                h = value;
            } else {
                h = a;
            }
        }
        let count = probes.vectors().len();
        let by_vector = |terms: Dual<2>| {
            let rows = terms.dims()[0] / count;
            terms.sum_dim(1).reshape([count, rows]).swap_dims(0, 1)
        };
        let mut divergence = by_vector(products.clone() * vectors);
        let mut square = by_vector(products.square()).sum_dim(1);
        if probes.is_basis() {
            divergence = divergence.sum_dim(1);
        } else {
            square = square.mul_scalar(1.0 / count as f64);
        }
        Ok(Rates { velocity: h, divergence, square })
    }

    /// The velocity alone, as in [`Velocity::rates`].
    ///
    /// # Errors
    /// As [`Velocity::rates`].
    pub fn forward(&self, x: Dual<2>, times: &[f64], condition: &Condition) -> Result<Dual<2>> {
        let features = self.features(&x.value, times, condition)?;
        let (mut h, last) = (bounded(x, REACH), self.linears.len() - 1);
        for (k, linear) in self.linears.iter().enumerate() {
            h = linear.forward(h);
            if k == 0 {
                h = h + features.clone();
            }
            if k < last {
                h = self.activation.forward(h);
            }
        }
        Ok(h)
    }
}

/// Vectors of rows, `[vectors · n, width]`, times a factor of each row's values, `[n, width]`.
fn scaled(vectors: Dual<2>, factor: Dual<2>) -> Dual<2> {
    let ([all, width], [n, _]) = (vectors.dims(), factor.dims());
    if all == n {
        return vectors * factor;
    }
    let each = vectors.reshape([all / n.max(1), n, width]);
    (each * factor.reshape([1, n, width])).reshape([all, width])
}
