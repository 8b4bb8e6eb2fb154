//! Normalising flows: a base density transformed by invertible maps.
//!
//! With z = f(x) for an invertible f, and z ~ N(0, I) (Dinh, Sohl-Dickstein & Bengio 2017, *Density estimation using
//! Real NVP*, eqs. 2–3),
//!
//! > log p(x) = log N(f(x); 0, I) + log|det ∂f/∂x|,  and x = f⁻¹(z) has log p(x) = log N(z; 0, I) − log|det ∂f⁻¹/∂z|.
//!
//! The log-determinant of a chain of maps is the sum of the log-determinants of the maps.

mod activation_norm;
mod any;
mod config;
mod continuous;
mod convolutional;
mod coupling;
mod linear;
mod logit;
mod masked;
mod parameters;
mod permutation;
mod pixels;
mod planar;
mod radial;
mod residual;
mod root;
mod scalar;
mod training;
mod transformer;
mod velocity;

pub use activation_norm::{ActivationNorm, ActivationNormConfig};
pub use any::{AnyBijection, AnyBijectionConfig, Bijection, BijectionConfig, Place};
pub use config::FlowConfig;
pub use continuous::{Continuous, ContinuousConfig, SolveGradient};
pub use convolutional::{ConvolutionalCoupling, ConvolutionalCouplingConfig, Mask};
pub use coupling::{Coupling, CouplingConfig};
pub use linear::{Triangular, TriangularConfig};
pub use logit::{Logit, LogitConfig};
pub use masked::{MaskedLayer, MaskedLayerConfig};
pub use permutation::{Permutation, PermutationConfig};
pub use planar::{Planar, PlanarConfig};
pub use radial::{Radial, RadialConfig};
pub use residual::{
    AnyLogDet, Exact, LogDet, LogDetEstimate, Residual, ResidualConfig, ResidualNetwork, Roulette,
    Series, convolution_norm, matrix_norm,
};
pub(super) use scalar::bounded;
pub(crate) use scalar::soft_bounded;
pub use scalar::{Affine, AnyScalarMap, LogisticMixture, NormalMixture, ScalarMap, Shift, Spline};
pub use training::{Pass, Take};
pub use transformer::{TransformerLayer, TransformerLayerConfig};

use crate::data::{Condition, Generate, LogDensity, Rows};
use crate::tensor::{Dual, in_blocks};
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use std::f64::consts::TAU;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// The least and the most rows that go through a flow together where no derivative is wanted.
const BLOCK: [usize; 2] = [64, 1024];

/// The bound on the input of a layer's network, in model units.
pub(crate) const REACH: f64 = 10.0;

/// A normalising flow: N(0, I) transformed by bijections. Its density is exact, and it generates rows in one pass.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::data::{Condition, LogDensity};
/// use tweedie::nn::flow::FlowConfig;
/// let device = Device::flex();
/// let flow = FlowConfig::new(2).init(&Draws::new(0), &device)?; // untrained: the normal distribution
/// let x = Tensor::<2>::from_floats([[3.0, 4.0]], &device);
/// let log_p = flow.log_density(x.into(), &Condition::None)?.value.into_scalar::<f32>();
/// assert!((log_p + 12.5 + std::f32::consts::TAU.ln()).abs() < 1e-5);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct Flow {
    /// The bijections, the nearest to the data first.
    layers: Vec<AnyBijection>,
    /// The number of columns, from the first on, that each bijection maps; the others are noise already.
    #[module(skip)]
    widths: Vec<usize>,
    #[module(skip)]
    width: usize,
    #[module(skip)]
    classes: usize,
    #[module(skip)]
    vector: usize,
}

impl Flow {
    /// Maps noise `z`, `[n, width]`, to rows; returns the rows and their log p, `[n, 1]`, from one pass. Both can be
    /// differentiated by the weights, the condition and `z`.
    ///
    /// # Errors
    /// As [`Bijection::to_data`].
    pub fn sample_with_log_prob(
        &self,
        z: Tensor<2>,
        condition: &Condition,
    ) -> Result<(Tensor<2>, Tensor<2>)> {
        let (x, log_det) = self.to_data(z.clone().into(), condition)?;
        Ok((x.value, (standard_normal(z.into()) - log_det).value))
    }

    /// The values on the way from noise `z`, `[n, width]`, to rows: the noise, then the result of each layer.
    ///
    /// # Errors
    /// As [`Bijection::to_data`].
    pub fn stages(&self, z: Tensor<2>, condition: &Condition) -> Result<Vec<Tensor<2>>> {
        self.check(&z.clone().into(), condition)?;
        let mut stages = vec![z];
        for (layer, width) in self.layers.iter().zip(&self.widths).rev() {
            let (mapped, noise) = parts(stages[stages.len() - 1].clone().into(), *width);
            let (mapped, _) = layer.rows(mapped.value, condition)?;
            stages.push(whole(mapped.into(), noise).value);
        }
        Ok(stages)
    }

    /// `probes` independent and unbiased estimates of log p of each row of `x`, `[n, probes]`, equal where no layer's
    /// log-determinant is estimated; random vectors are from `draws`.
    ///
    /// # Errors
    /// As [`Bijection::to_noise`].
    pub fn log_p_estimates(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        probes: usize,
        draws: &Draws,
    ) -> Result<Tensor<2>> {
        let (z, log_det) = self.estimates(x, condition, (probes, draws))?;
        Ok(standard_normal(z.into()).value + log_det)
    }

    /// Maps noise `z`, `[n, width]`, to rows of the same shape.
    ///
    /// # Errors
    /// As [`Generate::generate`].
    pub fn sample(&self, z: Tensor<2>, condition: &Condition) -> Result<Tensor<2>> {
        Ok(self.sample_with_evaluations(z, condition)?.0)
    }

    /// Maps noise `z`, `[n, width]`, to rows of the same shape; returns them and the number of network evaluations,
    /// summed over the rows. Without continuous layers it is one for each row; with them, every evaluation of a
    /// velocity network counts.
    ///
    /// # Errors
    /// As [`Generate::generate`].
    pub fn sample_with_evaluations(
        &self,
        z: Tensor<2>,
        condition: &Condition,
    ) -> Result<(Tensor<2>, u64)> {
        self.check(&z.clone().into(), condition)?;
        let ([n, _], device) = (z.dims(), z.device());
        let evaluations = AtomicU64::new(0);
        let block = |z: Tensor<2>, condition: &Condition| {
            let (x, own) = self.rows(z, condition)?;
            evaluations.fetch_add(own, Ordering::Relaxed);
            Ok(x)
        };
        let x = match z.is_autodiff() {
            true => block(z, condition)?,
            false => in_blocks(n, BLOCK, &device, |rows| {
                block(z.clone().narrow(0, rows.start, rows.len()), &condition.slice(rows))
            })?,
        };
        let evaluations = evaluations.into_inner().max(n as u64);
        let finite = |row: &[f32]| row.iter().all(|v| v.is_finite());
        match Rows::from_tensor(&x)?.iter().position(|row| !finite(row)) {
            None => Ok((x, evaluations)),
            Some(row) => {
                let what = format!("row {row} of a flow's sample became NaN or infinite");
                Err(Error::Diverged { what, step: self.layers.len() as u64 })
            }
        }
    }

    /// Fails unless the batch has the flow's width and every row has a condition of the kind that the flow takes.
    fn check(&self, x: &Dual<2>, condition: &Condition) -> Result<()> {
        let [n, d] = x.dims();
        if d != self.width {
            let expected = format!("n × {}", self.width);
            return Err(Error::shape("batch of a flow", format!("{n} × {d}"), expected));
        }
        condition.check(n)?;
        let expected = match (self.classes, self.vector) {
            (0, 0) => return Ok(()),
            (0, width) => format!("a vector of length {width} for every row"),
            (classes, _) => format!("one of {classes} classes for every row"),
        };
        let absent = match condition {
            Condition::None => n > 0,
            Condition::Class(labels) => labels.contains(&None),
            Condition::Vector { present, .. } => present.contains(&false),
        };
        match absent {
            true => Err(Error::shape("condition of a flow", "a row without one", expected)),
            false => Ok(()),
        }
    }
}

/// log N(z; 0, I) of each row, `[n, 1]`.
fn standard_normal(z: Dual<2>) -> Dual<2> {
    let [_, d] = z.dims();
    z.square().sum_dim(1).mul_scalar(-0.5).add_scalar(-0.5 * d as f64 * TAU.ln())
}

/// The first `width` columns, and the others if there are any.
fn parts(x: Dual<2>, width: usize) -> (Dual<2>, Option<Dual<2>>) {
    let [_, d] = x.dims();
    if d == width {
        return (x, None);
    }
    let part = |from, len| x.clone().linear(|x| x.narrow(1, from, len));
    (part(0, width), Some(part(width, d - width)))
}

/// The columns of both parts; see [`parts`].
fn whole(first: Dual<2>, others: Option<Dual<2>>) -> Dual<2> {
    match others {
        Some(others) => first.join(others),
        None => first,
    }
}

impl Flow {
    /// The layers with their numbers and the number of columns that each maps, the nearest to the data first.
    fn steps(&self) -> impl DoubleEndedIterator<Item = (u64, &AnyBijection, usize)> {
        let numbered = self.layers.iter().zip(&self.widths).enumerate();
        numbered.map(|(k, (layer, width))| (k as u64, layer, *width))
    }
}

impl Bijection for Flow {
    fn to_noise(&self, x: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        self.check(&x, condition)?;
        let log_det = x.value.clone().narrow(1, 0, 1).zeros_like().into();
        self.steps().try_fold((x, log_det), |(x, sum), (_, layer, width)| {
            let (mapped, noise) = parts(x, width);
            let (z, log_det) = layer.to_noise(mapped, condition)?;
            Ok((whole(z, noise), sum + log_det))
        })
    }

    fn to_data(&self, z: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        self.check(&z, condition)?;
        let log_det = z.value.clone().narrow(1, 0, 1).zeros_like().into();
        self.steps().rev().try_fold((z, log_det), |(z, sum), (_, layer, width)| {
            let (mapped, noise) = parts(z, width);
            let (x, log_det) = layer.to_data(mapped, condition)?;
            Ok((whole(x, noise), sum + log_det))
        })
    }

    fn rows(&self, z: Tensor<2>, condition: &Condition) -> Result<(Tensor<2>, u64)> {
        self.check(&z.clone().into(), condition)?;
        self.steps().rev().try_fold((z, 0), |(z, evaluations), (_, layer, width)| {
            let (mapped, noise) = parts(z.into(), width);
            let (x, own) = layer.rows(mapped.value, condition)?;
            Ok((whole(x.into(), noise).value, evaluations + own))
        })
    }

    fn estimates(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        (probes, draws): (usize, &Draws),
    ) -> Result<(Tensor<2>, Tensor<2>)> {
        self.check(&x.clone().into(), condition)?;
        let sum = Tensor::zeros([x.dims()[0], probes], (&x.device(), x.dtype()));
        self.steps().try_fold((x, sum), |(x, sum), (k, layer, width)| {
            let (mapped, noise) = parts(x.into(), width);
            let by = (probes, &draws.at(k));
            let (z, log_det) = layer.estimates(mapped.value, condition, by)?;
            Ok((whole(z.into(), noise).value, sum + log_det))
        })
    }

    fn pass(&self, x: Tensor<2>, condition: &Condition, draws: &Draws) -> Result<Pass> {
        self.pass_layers(x, condition, draws)
    }

    fn has_adjoint(&self) -> bool {
        self.layers.iter().any(Bijection::has_adjoint)
    }

    fn pull(
        &self,
        [x, _]: [Tensor<2>; 2],
        condition: &Condition,
        draws: &Draws,
        by: (Tensor<2>, f64),
        take: Take,
    ) -> Result<Tensor<2>> {
        let stages = self.plain_stages(x, condition, draws)?;
        self.pull_layers(&stages, condition, draws, by, take)
    }

    /// Each layer starts from the batch as the layers before it leave it.
    fn start(mut self, mut x: Tensor<2>, condition: &Condition) -> Result<(Self, Tensor<2>)> {
        self.check(&x.clone().into(), condition)?;
        for (layer, width) in self.layers.iter_mut().zip(&self.widths) {
            let (mapped, noise) = parts(x.into(), *width);
            let (started, z) = layer.clone().start(mapped.value, condition)?;
            (*layer, x) = (started, whole(z.into(), noise).value);
        }
        Ok((self, x))
    }
}

impl LogDensity for Flow {
    fn width(&self) -> usize {
        self.width
    }

    fn log_density(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        let of = |x: Dual<2>, condition: &Condition| {
            let (z, log_det) = self.to_noise(x, condition)?;
            Ok(standard_normal(z) + log_det)
        };
        if x.value.is_autodiff() || x.tangent.is_some() {
            return of(x, condition);
        }
        self.check(&x, condition)?;
        let ([n, _], device) = (x.dims(), x.value.device());
        let value = in_blocks(n, BLOCK, &device, |rows| {
            let x = x.value.clone().narrow(0, rows.start, rows.len());
            Ok(of(x.into(), &condition.slice(rows))?.value)
        })?;
        Ok(value.into())
    }
}

impl Generate for Flow {
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        self.sample(draws.normals(rows, self.width).to_tensor(device), condition)
    }

    fn name(&self) -> String {
        "flow".into()
    }
}
