//! The mixture of the posteriors of pseudo-inputs, as a prior.
//!
//! > p(z) = (1/K) Σ_k q(z | u_k)
//!
//! with pseudo-inputs u_k learnt with the model (Tomczak & Welling 2018, *VAE with a VampPrior*, eq. 10). The best
//! prior of a bound is the aggregate posterior, the mean of q(z | x) over all rows; the pseudo-inputs stand for the
//! rows. They start at training rows, drawn without repetition, and stay between the limits of their columns:
//!
//! > u = low + (high − low) σ(v), by free numbers v.

use super::mixture::{log_components, of_components};
use super::{AnyPrior, Encode, MOST_COMPONENTS, Prior, PriorConfig};
use crate::data::{Kind, Rows, Space};
use crate::error::count;
use crate::nn::flow::REACH;
use crate::{Draws, Error, Result};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData, activation};
use serde::{Deserialize, Serialize};

/// How near to a limit a pseudo-input starts, as a share of the distance between the limits.
const NEAR: f64 = 0.05;

/// Configuration of [`VampPrior`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VampPriorConfig {
    /// The number of pseudo-inputs, at most the number of training rows.
    pub components: usize,
}

impl Default for VampPriorConfig {
    fn default() -> Self {
        Self { components: 100 }
    }
}

impl PriorConfig for VampPriorConfig {
    fn check(&self) -> Result<()> {
        count("components", self.components as u64, MOST_COMPONENTS)
    }

    fn reads_encoder(&self) -> bool {
        true
    }

    fn parameters(&self, _: usize, space: &Space) -> u128 {
        self.components as u128 * space.model_width() as u128
    }

    fn init(&self, _: usize, space: &Space, draws: &Draws, device: &Device) -> Result<AnyPrior> {
        self.check()?;
        let limits = limits(space);
        let inputs = draws.purpose("inputs").normals(0..self.components as u64, limits.len());
        Ok(VampPrior { inputs: Param::from_tensor(inputs.to_tensor(device)), limits }.into())
    }
}

/// The limits of each value of a row in model units: the centres of its column's least and greatest bins, or ±10.
fn limits(space: &Space) -> Vec<[f64; 2]> {
    let mut limits = Vec::with_capacity(space.model_width());
    for column in (0..space.width()).map(|j| space.coordinate(j)) {
        let of = match &column.kind {
            Kind::Quantised { low: Some(low), high: Some(high) } if column.map.is_none() => {
                [*low, *high].map(|raw| (raw as f64 + 0.5 - column.shift) / column.scale)
            }
            _ => [-REACH, REACH],
        };
        let flags = column.model_width().saturating_sub(1);
        match column.kind {
            // A name is a vector with one 1; indicators are ±1.
            Kind::Category { .. } | Kind::Identifier { .. } => {
                limits.extend(std::iter::repeat_n([-1.0, 1.0], column.model_width()));
            }
            _ => limits.extend([of].into_iter().chain(std::iter::repeat_n([-1.0, 1.0], flags))),
        }
    }
    limits
}

/// The mixture of the posteriors of pseudo-inputs; see the module's head.
#[derive(Module, Debug)]
pub struct VampPrior {
    /// v, `[components, width of a row]`.
    inputs: Param<Tensor<2>>,
    #[module(skip)]
    limits: Vec<[f64; 2]>,
}

impl VampPrior {
    /// The pseudo-inputs u in model units, `[components, width of a row]`.
    pub fn inputs(&self) -> Tensor<2> {
        let v = self.inputs.val();
        let (device, kind, d) = (v.device(), v.dtype(), self.limits.len());
        let row = |of: fn(&[f64; 2]) -> f64| {
            let values: Vec<f64> = self.limits.iter().map(of).collect();
            let data = TensorData::new(values, [1, d]).convert_dtype(kind);
            Tensor::<2>::from_data(data, (&device, kind))
        };
        activation::sigmoid(v) * row(|[low, high]| high - low) + row(|[low, _]| *low)
    }
}

impl Prior for VampPrior {
    fn log_prob(&self, z: Tensor<2>, encode: &Encode<'_>) -> Result<Tensor<2>> {
        let ([n, _], [components, _]) = (z.dims(), self.inputs.dims());
        let of = encode(self.inputs())?;
        let each = log_components(z, of.mean, of.log_sd);
        let sum = tweedie_ops::log_sum_exp(each).reshape([n, 1]);
        Ok(sum.sub_scalar((components as f64).ln()))
    }

    fn draw(&self, noise: Tensor<2>, uniforms: &[f32], encode: &Encode<'_>) -> Result<Tensor<2>> {
        let [components, _] = self.inputs.dims();
        let of = encode(self.inputs())?;
        let choose = |u: &f32| (*u as f64 * components as f64) as usize;
        let chosen: Vec<usize> = uniforms.iter().map(|u| choose(u).min(components - 1)).collect();
        Ok(of_components(noise, of.mean, of.log_sd, &chosen))
    }

    fn start(mut self, count: usize, rows: &dyn Fn(&[usize]) -> Result<Rows>) -> Result<Self> {
        let [components, d] = self.inputs.dims();
        if components > count {
            let expected = format!("at most the {count} training rows");
            return Err(Error::config("prior.components", components.to_string(), expected));
        }
        let order = Draws::new(0).purpose("pseudo-inputs").permutation(count);
        let rows = rows(&order[..components])?;
        let free = rows.values().iter().enumerate().map(|(i, x)| {
            let [low, high] = self.limits[i % d];
            let share = ((f64::from(*x) - low) / (high - low)).clamp(NEAR, 1.0 - NEAR);
            (share / (1.0 - share)).ln() as f32
        });
        let data = TensorData::new(free.collect::<Vec<f32>>(), [components, d]);
        let device = self.inputs.val().device();
        self.inputs = Param::from_tensor(Tensor::from_data(data, &device));
        Ok(self)
    }
}
