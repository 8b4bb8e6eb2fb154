//! Residual layers: the identity and a contraction.
//!
//! > z = x + g(x),  Lip(g) ≤ c < 1,  log|det ∂z/∂x| = log det(I + ∂g/∂x)
//!
//! (Behrmann et al. 2019, *Invertible residual networks*, theorem 1 and algorithm 1; Chen et al. 2019, *Residual flows
//! for invertible generative modeling*). g is a network of L affine maps with activations between them, whose
//! slopes do not pass 1 ([`network`]). Each weight is divided by max(1, ‖W‖/c^(1/L)), with ‖W‖ from above ([`norm`]). A
//! condition is added to the first map, so that it does not change the bound.
//!
//! The inverse is the limit of x ← z − g(x), which comes closer by a factor c at each step. A row is left as it is once
//! it has converged, so that it does not depend on the others. Two steps of Newton's method, with the Jacobian held
//! fixed, carry the derivatives of first and second order; rows wider than [`WIDEST_NEWTON`] repeat the iteration for
//! them.
//!
//! Densities compute log det(I + J) exactly ([`determinant`]), with all of J at once. In training it may be estimated.
//! The map starts as the identity.

mod determinant;
mod network;
mod norm;

pub use determinant::{AnyLogDet, Exact, LogDet, LogDetEstimate, Roulette, Series};
pub use norm::{convolution_norm, matrix_norm};

use super::{AnyBijection, Bijection, BijectionConfig, Pass, Place};
use crate::data::Condition;
use crate::error::{count, inside, rows_of, within};
use crate::nn::layers::constant;
use crate::nn::{ConditionEmbedding, ConditionEmbeddingConfig, Conv2dConfig, LinearConfig};
use crate::tensor::{Dual, host_column};
use crate::{Draws, Error, Result};
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, activation};
use determinant::{identity, inverse, log_det};
use network::{Contraction, Layer, SWISH_SLOPE};
use serde::{Deserialize, Serialize};

/// The most hidden layers, and the most units of each.
const MOST_LAYERS: u64 = 64;
const MOST_UNITS: u64 = 1 << 14;
/// The side of the kernels of the first and the last convolution; those between see one pixel each.
const KERNEL: usize = 3;
/// The least β of an activation.
const LEAST_BETA: f64 = 1e-3;
/// The least norm that initial weights are divided by.
const LEAST_NORM: f64 = 1e-6;
/// The widest rows for which the inverse has its derivatives by Newton's method.
const WIDEST_NEWTON: usize = 64;
/// The most values of a layer of g that exact log-determinants compute at once.
const MOST_VALUES: usize = 1 << 24;

/// The network of a [`Residual`] layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResidualNetwork {
    /// Matrices: every value of a row with every other.
    #[default]
    Mlp,
    /// Convolutions of pictures: 3 × 3, then of single pixels, and 3 × 3 at the end.
    Convolution,
}

/// Configuration of [`Residual`].
///
/// ```
/// use tweedie::nn::flow::{AnyBijectionConfig, FlowConfig, ResidualConfig};
/// let layer = ResidualConfig { hidden: vec![32, 32], ..ResidualConfig::default() };
/// let flow = FlowConfig::new(2).with_layers(vec![AnyBijectionConfig::Residual(layer)]);
/// assert!(flow.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResidualConfig {
    /// The widths of g's hidden layers: units of matrices, channels of convolutions.
    pub hidden: Vec<usize>,
    /// The layers of g.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub network: ResidualNetwork,
    /// The bound c on the Lipschitz constant of g, from 0.01 to 0.99.
    pub lipschitz: f64,
    /// β of the activations at the start, from 0.01 to 100: their bend is 1/β wide in model units.
    pub beta: f64,
    /// The log-determinant in training; densities are always exact.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub log_det: AnyLogDet,
}

impl Default for ResidualConfig {
    fn default() -> Self {
        Self {
            hidden: vec![64, 64],
            network: ResidualNetwork::default(),
            lipschitz: 0.97,
            beta: 10.0,
            log_det: AnyLogDet::default(),
        }
    }
}

impl ResidualConfig {
    /// The input and output widths or channels of g's maps, and the sides of their kernels.
    fn sizes(&self, place: &Place) -> Vec<(usize, usize, usize)> {
        let (ends, kernel) = match (self.network, place.picture) {
            (ResidualNetwork::Convolution, Some([channels, ..])) => (channels, KERNEL),
            _ => (place.width, 1),
        };
        let hidden = self.hidden.iter().copied();
        let widths: Vec<usize> = [ends].into_iter().chain(hidden).chain([ends]).collect();
        let last = widths.len() - 2;
        let size = |(k, pair): (usize, &[usize])| {
            (pair[0], pair[1], if k == 0 || k == last { kernel } else { 1 })
        };
        widths.windows(2).enumerate().map(size).collect()
    }

    /// The number of values that g computes at most in one map, and in all.
    fn values(&self, place: &Place) -> (usize, usize) {
        let pixels = match (self.network, place.picture) {
            (ResidualNetwork::Convolution, Some([_, h, w])) => h * w,
            _ => 1,
        };
        let hidden = || self.hidden.iter().map(|units| units * pixels);
        (hidden().max().unwrap_or(0).max(place.width), hidden().sum::<usize>() + place.width)
    }
}

impl BijectionConfig for ResidualConfig {
    fn check(&self) -> Result<()> {
        count("hidden", self.hidden.len() as u64, MOST_LAYERS)?;
        self.hidden.iter().try_for_each(|units| count("hidden", *units as u64, MOST_UNITS))?;
        within("lipschitz", self.lipschitz, 0.01, 0.99)?;
        within("beta", self.beta, 0.01, 100.0)?;
        self.log_det.check().map_err(|e| inside("log_det", e))
    }

    fn fits(&self, place: &Place) -> Result<()> {
        if self.network == ResidualNetwork::Convolution && place.picture.is_none() {
            let expected = "mlp: these rows are no pictures";
            return Err(Error::config("residual.network", "convolution", expected));
        }
        Ok(())
    }

    fn init(&self, place: &Place, draws: &Draws, device: &Device) -> Result<AnyBijection> {
        self.check()?;
        self.fits(place)?;
        let sizes = self.sizes(place);
        let last = sizes.len() - 1;
        let sides = place.picture.map_or([1, 1], |[_, h, w]| [h, w]);
        let layer = |(k, (input, output, kernel)): (usize, (usize, usize, usize))| {
            let draws = draws.purpose("layers").at(k as u64);
            let of_gain = |gain: f64| match self.network {
                ResidualNetwork::Mlp => {
                    let config = LinearConfig::new(input, output).with_gain(gain);
                    Layer::Linear(config.init(&draws, device))
                }
                ResidualNetwork::Convolution => {
                    let config = Conv2dConfig::new(input, output, kernel).with_gain(gain);
                    Layer::Convolution(config.init(&draws, device))
                }
            };
            // Weights begin at a norm of 1, and biases at the scale of what they are added to.
            let norm = host_column(&of_gain(1.0).norm(sides).reshape([1, 1]))?;
            Ok(of_gain(if k == last { 0.0 } else { 1.0 / norm[0].max(LEAST_NORM) }))
        };
        let layers = sizes.into_iter().enumerate().map(layer).collect::<Result<_>>()?;
        // softplus of ln(eᵝ − 1) is β.
        let beta = self.beta - LEAST_BETA;
        let beta = (beta + (-(-beta).exp()).ln_1p()) as f32;
        let condition = ConditionEmbeddingConfig::new(place.classes, place.vector, self.hidden[0]);
        Ok(Residual {
            layers,
            beta: constant(beta, [self.hidden.len()], device),
            condition: condition.with_gain(0.0).init(&draws.purpose("condition"), device),
            width: place.width,
            picture: place.picture.filter(|_| self.network == ResidualNetwork::Convolution),
            at_once: (MOST_VALUES / place.width.max(1) / self.values(place).0).max(1),
            lipschitz: self.lipschitz,
            log_det: self.log_det,
        }
        .into())
    }

    fn parameters(&self, place: &Place) -> u128 {
        let map = |(input, output, kernel): (usize, usize, usize)| {
            (input as u128 * (kernel * kernel) as u128 + 1) * output as u128
        };
        let first = self.hidden.first().copied().unwrap_or(0);
        let condition = ConditionEmbeddingConfig::new(place.classes, place.vector, first);
        let maps = self.sizes(place).into_iter().map(map).sum::<u128>();
        maps + condition.parameters() + self.hidden.len() as u128
    }

    fn activations(&self, place: &Place) -> usize {
        let (_, all) = self.values(place);
        match self.log_det {
            AnyLogDet::Exact(_) => all.saturating_mul(3 * (1 + place.width)),
            _ => 6 * all,
        }
    }
}

/// A residual layer; see the module's head.
#[derive(Module, Debug)]
pub struct Residual {
    /// The affine maps of g.
    layers: Vec<Layer>,
    /// β of each activation: its inverse by softplus, but for the least.
    beta: Param<Tensor<1>>,
    /// The embedding of the condition, added to the first map.
    condition: ConditionEmbedding,
    #[module(skip)]
    width: usize,
    /// Channels, height and width for convolutions.
    #[module(skip)]
    picture: Option<[usize; 3]>,
    /// The most rows whose Jacobians are computed at once.
    #[module(skip)]
    at_once: usize,
    #[module(skip)]
    lipschitz: f64,
    #[module(skip)]
    log_det: AnyLogDet,
}

impl Residual {
    /// g for the rows of a batch.
    fn contraction(&self, x: &Dual<2>, condition: &Condition) -> Result<Contraction> {
        let ([n, d], device) = (x.dims(), x.value.device());
        rows_of([n, d], self.width)?;
        let features = self.condition.forward(condition, n, &device)?;
        let limit = self.lipschitz.powf(1.0 / self.layers.len() as f64);
        let sides = self.picture.map_or([1, 1], |[_, h, w]| [h, w]);
        let beta = activation::softplus(self.beta.val(), 1.0).add_scalar(LEAST_BETA);
        let hidden = self.layers.len() - 1;
        let beta = |k: usize| (k < hidden).then(|| beta.clone().narrow(0, k, 1));
        let map = |(k, layer): (usize, &Layer)| {
            let before = k.checked_sub(1).and_then(beta);
            let before = before.map(|beta| beta.mul_scalar(SWISH_SLOPE).recip());
            layer.limited(sides, limit).scaled(before, beta(k))
        };
        let maps = self.layers.iter().enumerate().map(map).collect();
        let features = features.zip(beta(0)).map(|(f, beta)| f.value * beta.reshape([1, 1]));
        Ok(Contraction { maps, features, picture: self.picture })
    }

    /// g(x) and log det(I + ∂g/∂x), exactly.
    fn exact(&self, g: &Contraction, x: Dual<2>) -> (Dual<2>, Dual<2>) {
        let [n, d] = x.dims();
        let eye = identity(d, &x.value);
        let of = |g: &Contraction, x: Dual<2>| {
            let (y, jacobian) = g.with_jacobian(x);
            (y, log_det(jacobian + eye.clone()))
        };
        if n <= self.at_once {
            return of(g, x);
        }
        let parts = (0..n).step_by(self.at_once).map(|from| {
            let len = self.at_once.min(n - from);
            of(&g.rows(from, len), x.clone().linear(|x| x.narrow(0, from, len)))
        });
        let (values, log_dets) = parts.unzip();
        (Dual::cat(values, 0), Dual::cat(log_dets, 0))
    }

    /// x with x + g(x) = `z`, without derivatives, and the number of steps that it took.
    fn solve(&self, g: &Contraction, z: Tensor<2>) -> Result<(Tensor<2>, usize)> {
        let g = g.detached();
        let epsilon = if z.dtype() == DType::F64 { f64::EPSILON } else { f32::EPSILON.into() };
        let tolerance = 32.0 * epsilon;
        // Twice as many steps as the bound on g needs.
        let most = 10 + (2.0 * tolerance.ln() / self.lipschitz.ln()) as usize;
        let mut x = z.clone();
        let mut moving = x.clone().narrow(1, 0, 1).ones_like().greater_elem(0.0);
        for step in 1..=most {
            let next = z.clone() - g.forward(x.clone().into()).value;
            let change = (next.clone() - x.clone()).abs().max_dim(1);
            let scale = next.clone().abs().max_dim(1).clamp_min(1.0);
            let open = change.clone().lower_equal(scale.mul_scalar(tolerance)).bool_not();
            x = x.clone().mask_where(moving.clone().expand(x.dims()), next);
            moving = moving.bool_and(open);
            let rows = host_column(
                &x.clone().narrow(1, 0, 1).zeros_like().mask_fill(moving.clone(), 1.0),
            )?;
            match rows.iter().position(|moves| *moves != 0.0) {
                None => return Ok((x, step)),
                Some(row) if step == most => {
                    let what =
                        format!("the inverse of row {row} by x ← z − g(x) has not converged");
                    return Err(Error::Diverged { what, step: step as u64 });
                }
                Some(_) => {}
            }
        }
        Ok((x, most))
    }

    /// x with x + g(x) = `z`, with derivatives.
    fn inverse(&self, g: &Contraction, z: Dual<2>) -> Result<Dual<2>> {
        let [n, d] = z.dims();
        let (root, steps) = self.solve(g, z.value.clone().detach())?;
        if d > WIDEST_NEWTON {
            if z.tangent.is_none() && !z.value.is_tracked() && !g.tracked() {
                return Ok(root.into());
            }
            // Derivatives converge as the values did.
            let step = |x: Dual<2>, _| z.clone() - g.forward(x);
            return Ok((0..steps).fold(root.into(), step));
        }
        let (_, jacobian) = g.detached().with_jacobian(root.clone().into());
        let eye = identity(d, &root);
        let inverse = inverse(jacobian.value + eye.clone(), eye);
        // Each step adds an order to the derivatives that are those of the inverse.
        let step = |x: Dual<2>| {
            let off = z.clone() - x.clone() - g.forward(x.clone());
            let by =
                |off: Tensor<2>| off.reshape([n, 1, d]).matmul(inverse.clone()).reshape([n, d]);
            x + off.linear(by)
        };
        Ok(step(step(root.into())))
    }
}

impl Bijection for Residual {
    fn to_noise(&self, x: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        let g = self.contraction(&x, condition)?;
        let (y, log_det) = self.exact(&g, x.clone());
        Ok((x + y, log_det))
    }

    fn to_data(&self, z: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        let g = self.contraction(&z, condition)?;
        let x = self.inverse(&g, z)?;
        let (_, log_det) = self.exact(&g, x.clone());
        Ok((x, -log_det))
    }

    /// Unbiased with `roulette`.
    fn pass(&self, x: Tensor<2>, condition: &Condition, draws: &Draws) -> Result<Pass> {
        let g = self.contraction(&x.clone().into(), condition)?;
        let (plain, at) = (g.detached(), x.clone().detach());
        let slopes = plain.slopes(at.clone());
        let product = |v| plain.product(&slopes, v);
        let Some(found) = LogDetEstimate::new(&*self.log_det, product, &at, draws) else {
            let (z, log_det) = self.to_noise(x.into(), condition)?;
            return Ok(Pass { z: z.value, log_det: log_det.value, penalty: None });
        };
        let y = g.forward(Dual::new(x.clone(), found.direction));
        let along = y.tangent.unwrap_or_else(|| at.zeros_like());
        let gradient = (found.probe * along).sum_dim(1);
        let log_det = found.value + gradient.clone() - gradient.detach();
        Ok(Pass { z: x + y.value, log_det, penalty: None })
    }

    fn rows(&self, z: Tensor<2>, condition: &Condition) -> Result<(Tensor<2>, u64)> {
        let z = z.into();
        Ok((self.inverse(&self.contraction(&z, condition)?, z)?.value, 0))
    }

    fn start(self, x: Tensor<2>, condition: &Condition) -> Result<(Self, Tensor<2>)> {
        let x = x.into();
        let y = self.contraction(&x, condition)?.forward(x.clone());
        Ok((self, (x + y).value))
    }
}
