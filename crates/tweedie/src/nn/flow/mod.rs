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
mod scalar;
mod training;
mod transformer;
mod velocity;

pub use activation_norm::{ActivationNorm, ActivationNormConfig};
pub use any::{AnyBijection, AnyBijectionConfig, Bijection, BijectionConfig, Place};
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
pub use scalar::{Affine, AnyScalarMap, LogisticMixture, ScalarMap, Shift, Spline};
pub(super) use scalar::{bounded, soft_bounded};
pub use training::{Pass, Take};
pub use transformer::{TransformerLayer, TransformerLayerConfig};

use crate::data::{Condition, Generate, LogDensity, Rows};
use crate::error::{count, inside};
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::f64::consts::TAU;
use std::ops::Range;

/// The most resolutions of a picture.
const MOST_LEVELS: u64 = 16;
/// The bound on the input of a layer's network, in model units.
pub(super) const REACH: f64 = 10.0;

/// Configuration of [`Flow`].
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::Device;
/// use tweedie::nn::flow::FlowConfig;
/// let flow = FlowConfig::new(2).with_depth(4).init(&Draws::new(0), &Device::flex())?;
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowConfig {
    /// The width of a row; 0 means the width of the data.
    pub width: usize,
    /// The channels, height and width of rows that are pictures, channel by channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture: Option<[usize; 3]>,
    /// The number of classes that rows are conditioned on; 0 for none.
    pub classes: usize,
    /// The length of vectors that rows are conditioned on; 0 for none.
    pub vector: usize,
    /// The number of resolutions of a picture; 0 for a flow that knows no pixels. At each, every 2 × 2 pixels become
    /// one with four times the channels, the layers follow, and half of the channels are noise from there on.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub levels: usize,
    /// The number of repetitions of the layers, at each resolution, each with weights of its own.
    pub depth: usize,
    /// The bijections before the first round, the nearest to the data first.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub first: Vec<AnyBijectionConfig>,
    /// The bijections of one round, the nearest to the data first.
    pub layers: Vec<AnyBijectionConfig>,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self {
            width: 0,
            picture: None,
            classes: 0,
            vector: 0,
            levels: 0,
            depth: 8,
            first: Vec::new(),
            layers: vec![
                AnyBijectionConfig::Coupling(CouplingConfig::default()),
                AnyBijectionConfig::Permutation(PermutationConfig::default()),
            ],
        }
    }
}

impl FlowConfig {
    /// A flow on rows of `width` values: eight affine couplings with permutations between them.
    pub fn new(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    /// Sets the channels, height and width of rows that are pictures.
    pub fn with_picture(mut self, picture: [usize; 3]) -> Self {
        self.picture = Some(picture);
        self
    }

    /// Sets the number of classes to condition on.
    pub fn with_classes(mut self, classes: usize) -> Self {
        self.classes = classes;
        self
    }

    /// Sets the length of vectors to condition on.
    pub fn with_vector(mut self, vector: usize) -> Self {
        self.vector = vector;
        self
    }

    /// Sets the number of repetitions of the layers.
    pub fn with_depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// Sets the number of resolutions of a picture.
    pub fn with_levels(mut self, levels: usize) -> Self {
        self.levels = levels;
        self
    }

    /// Sets the bijections before the first round, the nearest to the data first.
    pub fn with_first(mut self, first: Vec<AnyBijectionConfig>) -> Self {
        self.first = first;
        self
    }

    /// Sets the bijections of one round, the nearest to the data first.
    pub fn with_layers(mut self, layers: Vec<AnyBijectionConfig>) -> Self {
        self.layers = layers;
        self
    }

    /// Fails, naming the key, unless every value is valid, whatever the data.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        count("depth", self.depth as u64, 1 << 10)?;
        if self.layers.is_empty() {
            return Err(Error::config("layers", "none", "at least one bijection"));
        }
        if self.levels as u64 > MOST_LEVELS {
            let expected = format!("from 0 to {MOST_LEVELS}");
            return Err(Error::config("levels", self.levels.to_string(), expected));
        }
        for (key, layers) in [("first", &self.first), ("layers", &self.layers)] {
            layers.iter().try_for_each(|layer| layer.check()).map_err(|e| inside(key, e))?;
        }
        Ok(())
    }

    /// Fails, naming the key, unless the flow can be built for its width.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn fits(&self) -> Result<()> {
        self.check()?;
        if let Some(picture) = self.picture {
            let values = picture.iter().fold(1usize, |values, side| values.saturating_mul(*side));
            if values != self.width {
                let expected = format!("channels, height and width of {} values", self.width);
                return Err(Error::config("picture", format!("{picture:?}"), expected));
            }
        }
        let halves = |side: usize| side > 0 && side.is_multiple_of(1 << self.levels);
        match self.picture {
            Some([_, height, width]) if halves(height) && halves(width) => {}
            _ if self.levels == 0 => {}
            None => {
                let expected = "0: the rows are no pictures";
                return Err(Error::config("levels", self.levels.to_string(), expected));
            }
            Some([_, height, width]) => {
                let expected = format!("fewer: {height} × {width} pixels are halved at each");
                return Err(Error::config("levels", self.levels.to_string(), expected));
            }
        }
        self.plan()
            .iter()
            .try_for_each(|(key, layer, place)| layer.fits(place).map_err(|e| inside(key, e)))
    }

    /// All bijections from the data to the noise: the key of each, its configuration and its place.
    fn plan(&self) -> Vec<(&'static str, Cow<'_, AnyBijectionConfig>, Place)> {
        let Self { width, picture, classes, vector, .. } = *self;
        let mut place = Place { width, picture, classes, vector, round: 0 };
        let first = self.first.iter().map(|layer| ("first", Cow::Borrowed(layer), place));
        let mut plan: Vec<_> = first.collect();
        for level in 0..self.levels.max(1) {
            if let Some(sides) = place.picture.filter(|_| self.levels > 0) {
                let [channels, height, width] = sides;
                let order = AnyBijectionConfig::Permutation(pixels::squeeze(sides));
                plan.push(("levels", Cow::Owned(order), place));
                place.picture = Some([4 * channels, height / 2, width / 2]);
            }
            for _ in 0..self.depth {
                let layers = self.layers.iter().map(|l| ("layers", Cow::Borrowed(l), place));
                plan.extend(layers);
                place.round += 1;
            }
            if level + 1 < self.levels {
                place.width /= 2;
                place.picture = place.picture.map(|[channels, h, w]| [channels / 2, h, w]);
            }
        }
        plan
    }

    /// The number of values in the parameters.
    pub fn parameters(&self) -> u128 {
        self.plan().iter().map(|(_, layer, place)| layer.parameters(place)).sum()
    }

    /// The approximate number of activations per row.
    pub fn activations(&self) -> usize {
        self.plan().iter().map(|(_, layer, place)| layer.activations(place)).sum()
    }

    /// The number of layers whose log-determinants random vectors can estimate in evaluation.
    pub(crate) fn probed_layers(&self) -> usize {
        self.plan().iter().filter(|(_, layer, _)| layer.takes_probes()).count()
    }

    /// The flow with initial values from `draws`: the identity up to the order of columns.
    ///
    /// # Errors
    /// [`Error::Config`] naming a key that is invalid, or does not fit the width.
    pub fn init(&self, draws: &Draws, device: &Device) -> Result<Flow> {
        self.fits()?;
        let plan = self.plan();
        let (mut layers, mut widths) =
            (Vec::with_capacity(plan.len()), Vec::with_capacity(plan.len()));
        for (key, config, place) in plan {
            let draws = draws.purpose("layers").at(layers.len() as u64);
            layers.push(config.init(&place, &draws, device).map_err(|e| inside(key, e))?);
            widths.push(place.width);
        }
        Ok(Flow { layers, widths, width: self.width, classes: self.classes, vector: self.vector })
    }
}

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
            let mapped = layer.rows(mapped.value, condition)?;
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
        let x = self.rows(z, condition)?;
        let finite = |row: &[f32]| row.iter().all(|v| v.is_finite());
        match Rows::from_tensor(&x)?.iter().position(|row| !finite(row)) {
            None => Ok(x),
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

    fn rows(&self, z: Tensor<2>, condition: &Condition) -> Result<Tensor<2>> {
        self.check(&z.clone().into(), condition)?;
        self.steps().rev().try_fold(z, |z, (_, layer, width)| {
            let (mapped, noise) = parts(z.into(), width);
            Ok(whole(layer.rows(mapped.value, condition)?.into(), noise).value)
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
        let (z, log_det) = self.to_noise(x, condition)?;
        Ok(standard_normal(z) + log_det)
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
