//! Dequantisation: integers as real numbers, so that a density bounds their probabilities.
//!
//! For integers v and any q(u | v) on [0, 1)^d (Ho et al. 2019, *Flow++*, eqs. 8–9; Song et al. 2021, *Maximum
//! Likelihood Training of Score-Based Diffusion Models*, sec. 5),
//!
//! > log P(v) = log ∫ p(v + u) du ≥ E_q[log p(v + u) − log q(u | v)],
//!
//! with equality where q is the density's own posterior p(v + u)/P(v). The uniform q (Theis et al. 2016, eq. 5) has log
//! q = 0. The learnt q treats each column j separately,
//!
//! > u_j = sigmoid(m_j(v) + s_j(v) ℓ_j),  ℓ_j logistic,  log q = Σ_j ln f(ℓ_j) − ln s_j − ln u_j(1 − u_j),
//!
//! f being the logistic density. The network starts at m = 0, s = 1, where u is exactly uniform: training starts from
//! uniform dequantisation, and stays there if the density is flat within bins. A normal in place of the logistic could
//! not be uniform.

use crate::data::{Layout, Rows, Space};
use crate::nn::{Activation, Conv2d, Conv2dConfig, Linear, LinearConfig, device_of, dtype_of, mlp};
use crate::tensor::{Dual, host_column};
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

/// A distribution q(u | row) of places in bins, which turns integer columns into real ones; other columns are
/// unchanged.
pub trait Dequantise {
    /// Encodes raw rows in model units with u ~ q(· | row) added to their integers. Returns the batch and ln q(u | row)
    /// of each row, in nats for u in raw units. Row i uses the random numbers of row `rows[i]`.
    ///
    /// # Errors
    /// As [`Space::encode_dequantised`].
    fn encode(
        &self,
        raw: &Rows,
        space: &Space,
        draws: &Draws,
        rows: &[u64],
    ) -> Result<(Rows, Vec<f64>)>;
}

/// Uniform dequantisation: u uniform on [0, 1)^d.
#[derive(Debug, Clone, Copy, Default)]
pub struct Uniform;

impl Dequantise for Uniform {
    fn encode(
        &self,
        raw: &Rows,
        space: &Space,
        draws: &Draws,
        rows: &[u64],
    ) -> Result<(Rows, Vec<f64>)> {
        Ok((space.encode_dequantised(raw, draws, rows)?, vec![0.0; raw.len()]))
    }
}

/// The bound on |m| and |ln s|, approached as by tanh.
const REACH: f64 = 8.0;

/// The least distance of a place from the ends 0 and 1 of its bin: half the distance between two uniform numbers.
const EDGE: f64 = 1.0 / 33_554_432.0;

/// A learnt q(u | v); see the module's head. Three convolutions compute m and s for pictures, three linear layers for
/// other rows.
///
/// ```
/// use tweedie::burn::tensor::Device;
/// use tweedie::data::{Rows, Space};
/// use tweedie::density::{Dequantise, Dequantiser};
/// use tweedie::Draws;
/// let space = Space::image(1, 2, 2, 16)?;
/// let untrained = Dequantiser::new(&space, 8, &Draws::new(0), &Device::flex())?;
/// let raw = Rows::new(vec![0.0, 15.0, 7.0, 8.0], 4)?;
/// let (x, log_q) = untrained.encode(&raw, &space, &Draws::new(1), &[0])?;
/// assert_eq!(space.decode(&x)?, raw);
/// assert!(log_q[0].abs() < 1e-4); // uniform
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct Dequantiser {
    layers: Layers,
    /// The width of a bin of each column in model units; 0 where a column holds no integers.
    #[module(skip)]
    bins: Vec<f32>,
}

#[derive(Module, Debug)]
enum Layers {
    Picture(Convolutions),
    Row(Vec<Linear>),
}

/// 3 × 3 convolutions over pictures of `shape`: channels, height, width.
#[derive(Module, Debug)]
struct Convolutions {
    layers: Vec<Conv2d>,
    #[module(skip)]
    shape: [usize; 3],
}

/// Places drawn by a dequantiser for a batch; gradients flow through every tensor.
#[derive(Debug, Clone)]
pub struct DequantisedBatch {
    /// Places in bins, strictly between 0 and 1, `[n, width]`.
    pub u: Tensor<2>,
    /// The rows there in model units, `[n, width]`.
    pub x: Tensor<2>,
    /// ln q(u | v), `[n, 1]`, nats for u in raw units.
    pub log_q: Tensor<2>,
}

impl Dequantiser {
    /// A dequantiser of the integers of `space`, uniform until trained, with `hidden` channels or units.
    ///
    /// # Errors
    /// [`Error::Config`] if no column holds integers, if one is a category, or if `hidden` is 0.
    pub fn new(space: &Space, hidden: usize, draws: &Draws, device: &Device) -> Result<Self> {
        let columns = || (0..space.width()).map(|j| space.coordinate(j));
        if space.model_width() != space.width() || !columns().any(|c| c.is_quantised()) {
            let expected = "at least one column of integers, and none of categories";
            return Err(Error::config("dequantise", "no column to dequantise", expected));
        }
        if hidden == 0 {
            return Err(Error::config("hidden", "0", "at least 1"));
        }
        let bin =
            |c: &crate::data::Coordinate| if c.is_quantised() { c.scale.recip() } else { 0.0 };
        let bins = columns().map(|c| bin(c) as f32).collect();
        let sizes =
            |width: usize| [(width, hidden, 1.0), (hidden, hidden, 1.0), (hidden, 2 * width, 0.0)];
        let draws = |k: u64| draws.purpose("dequantiser").at(k);
        let layers = match space.layout() {
            Layout::Image { channels, height, width } => {
                let layer = |(k, (input, output, gain))| {
                    Conv2dConfig::new(input, output, 3).with_gain(gain).init(&draws(k), device)
                };
                let layers = (0..).zip(sizes(channels)).map(layer).collect();
                Layers::Picture(Convolutions { layers, shape: [channels, height, width] })
            }
            Layout::Vector { width } => {
                let layer = |(k, (input, output, gain))| {
                    LinearConfig::new(input, output).with_gain(gain).init(&draws(k), device)
                };
                Layers::Row((0..).zip(sizes(width)).map(layer).collect())
            }
        };
        Ok(Self { layers, bins })
    }

    /// Draws u for the rows whose bins have their centres at `centres`, `[n, width]` in model units, on the network's
    /// own device. Row i uses the random numbers of row `rows[i]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the batch has another width, or `rows` another length.
    pub fn draw(
        &self,
        centres: &Tensor<2>,
        draws: &Draws,
        rows: &[u64],
    ) -> Result<DequantisedBatch> {
        let [n, d] = centres.dims();
        if d != self.bins.len() || n != rows.len() {
            let expected = format!("{} × {}", rows.len(), self.bins.len());
            return Err(Error::shape("batch", format!("{n} × {d}"), expected));
        }
        let device = centres.device();
        let row = |values: Vec<f32>, rows: usize| {
            Tensor::<2>::from_data(TensorData::new(values, [rows, d]), (&device, dtype_of(self)))
        };
        // ℓ and ln f(ℓ) = ln v(1 − v) for uniform v, both from double precision.
        let uniform = draws.uniforms_for(rows, d);
        let pairs = uniform.values().iter().map(|v| {
            let v = f64::from(*v) + EDGE;
            let (ln_v, ln_rest) = (v.ln(), (-v).ln_1p());
            ((ln_v - ln_rest) as f32, (ln_v + ln_rest) as f32)
        });
        let (logistic, log_f): (Vec<f32>, Vec<f32>) = pairs.unzip();
        let [shift, log_scale] = self.shift_and_log_scale(centres.clone());
        let y = shift + log_scale.clone().exp() * row(logistic, n);
        let steep = y.clone().abs();
        // −ln u(1 − u) = |y| + 2 ln(1 + exp(−|y|)).
        let volume = steep.clone() + steep.neg().exp().log1p().mul_scalar(2.0);
        let bins = row(self.bins.clone(), 1);
        let counted = row(self.bins.iter().map(|b| f32::from(*b > 0.0)).collect(), 1);
        let log_q = ((row(log_f, n) - log_scale + volume) * counted).sum_dim(1);
        let u = burn::tensor::activation::sigmoid(y).clamp(2.0 * EDGE, 1.0 - 2.0 * EDGE);
        let x = centres.clone() + u.clone().sub_scalar(0.5) * bins;
        Ok(DequantisedBatch { u, x, log_q })
    }

    /// m and ln s at the bins' centres `x`, `[n, width]` each.
    fn shift_and_log_scale(&self, x: Tensor<2>) -> [Tensor<2>; 2] {
        let [n, d] = x.dims();
        let both = match &self.layers {
            Layers::Row(layers) => {
                let last = layers.len().saturating_sub(1);
                let silu = |k: usize| (k < last).then_some(Activation::Silu);
                let layers: Vec<_> =
                    layers.iter().enumerate().map(|(k, layer)| (layer, silu(k))).collect();
                mlp(x.into(), &layers, None).value
            }
            Layers::Picture(Convolutions { layers, shape: [channels, height, width] }) => {
                let x = x.reshape([n, *channels, *height, *width]).permute([0, 2, 3, 1]);
                let mut y: Dual<4> = x.into();
                for (k, layer) in layers.iter().enumerate() {
                    y = layer.forward(if k > 0 { Activation::Silu.forward(y) } else { y });
                }
                y.value.permute([0, 3, 1, 2]).reshape([n, 2 * d])
            }
        };
        let part = |first| {
            let part = both.clone().narrow(1, first, d);
            part.div_scalar(REACH).tanh().mul_scalar(REACH)
        };
        [part(0), part(d)]
    }
}

impl Dequantise for Dequantiser {
    fn encode(
        &self,
        raw: &Rows,
        space: &Space,
        draws: &Draws,
        rows: &[u64],
    ) -> Result<(Rows, Vec<f64>)> {
        let frozen = self.clone().valid();
        let Some(device) = device_of(&frozen) else {
            return Err(Error::config("dequantise", "a network without weights", "weights"));
        };
        let centres = space.encode(raw)?.to_tensor(&device);
        let DequantisedBatch { u, log_q, .. } = frozen.draw(&centres, draws, rows)?;
        Ok((space.encode_at(raw, &Rows::from_tensor(&u)?)?, host_column(&log_q)?))
    }
}
