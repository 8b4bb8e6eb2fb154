//! The registry of the bijections that recipes can name.

use super::{
    ActivationNorm, ActivationNormConfig, Continuous, ContinuousConfig, ConvolutionalCoupling,
    ConvolutionalCouplingConfig, Coupling, CouplingConfig, Logit, LogitConfig, MaskedLayer,
    MaskedLayerConfig, Pass, Permutation, PermutationConfig, Planar, PlanarConfig, Radial,
    RadialConfig, Residual, ResidualConfig, Take, TransformerLayer, TransformerLayerConfig,
    Triangular, TriangularConfig, training,
};
use crate::data::Condition;
use crate::registry::modules;
use crate::tensor::Dual;
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use std::fmt::Debug;

/// An invertible map between data x and noise z, both `[n, width]`. Each direction returns the log-determinant of its
/// own Jacobian, so that the two of a round trip add up to zero.
pub trait Bijection: Module {
    /// Maps data `x` to noise z; returns z and log|det ∂z/∂x|, `[n, 1]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if batch or condition do not fit.
    fn to_noise(&self, x: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)>;

    /// Maps noise `z` to data x; returns x and log|det ∂x/∂z|, `[n, 1]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if batch or condition do not fit.
    fn to_data(&self, z: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)>;

    /// Maps noise `z`, `[n, width]`, to data x alone; returns x and the number of evaluations of a velocity by all
    /// rows together, 0 without a differential equation.
    ///
    /// # Errors
    /// As [`Bijection::to_data`].
    fn rows(&self, z: Tensor<2>, condition: &Condition) -> Result<(Tensor<2>, u64)> {
        Ok((self.to_data(z.into(), condition)?.0.value, 0))
    }

    /// The bijection before the first step of training, whose first batch arrives as `x`, and the noise of that batch.
    /// Most bijections ignore the data.
    ///
    /// # Errors
    /// As [`Bijection::to_noise`].
    fn start(self, x: Tensor<2>, condition: &Condition) -> Result<(Self, Tensor<2>)> {
        let (z, _) = self.to_noise(x.into(), condition)?;
        Ok((self, z.value))
    }

    /// Maps data `x`, `[n, width]`, to noise z; returns z and `probes` independent and unbiased estimates of
    /// log|det ∂z/∂x| by random vectors from `draws`, `[n, probes]`, or that itself, `[n, 1]`.
    ///
    /// # Errors
    /// As [`Bijection::to_noise`].
    fn estimates(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        (probes, draws): (usize, &Draws),
    ) -> Result<(Tensor<2>, Tensor<2>)> {
        let _ = (probes, draws);
        let (z, log_det) = self.to_noise(x.into(), condition)?;
        Ok((z.value, log_det.value))
    }

    /// Maps data `x`, `[n, width]`, to noise in a step of training.
    ///
    /// # Errors
    /// As [`Bijection::to_noise`].
    fn pass(&self, x: Tensor<2>, condition: &Condition, draws: &Draws) -> Result<Pass> {
        let _ = draws;
        let (z, log_det) = self.to_noise(x.into(), condition)?;
        Ok(Pass { z: z.value, log_det: log_det.value, penalty: None })
    }

    /// Whether gradients come from [`Bijection::pull`] and not from reverse mode through [`Bijection::pass`].
    fn has_adjoint(&self) -> bool {
        false
    }

    /// Propagates gradients backwards through [`Bijection::pass`], from `by_z`, the gradient of the loss by the noise,
    /// `[n, width]`, where the loss also has `weight` · Σ (penalty − log-determinant) over the rows. Calls `take` with
    /// the gradients of the parameters, and returns the gradient by x, `[n, width]`. The arguments in brackets are x
    /// and z of the pass.
    ///
    /// # Errors
    /// As [`Bijection::pass`].
    fn pull(
        &self,
        [x, _]: [Tensor<2>; 2],
        condition: &Condition,
        draws: &Draws,
        (by_z, weight): (Tensor<2>, f64),
        take: Take,
    ) -> Result<Tensor<2>> {
        training::pull_by_graph(self, x, condition, draws, (by_z, weight), take)
    }
}

/// The position of a bijection in a flow, and the shapes of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The width of a row.
    pub width: usize,
    /// The channels, height and width of rows that are pictures, channel by channel.
    pub picture: Option<[usize; 3]>,
    /// The number of classes that rows are conditioned on; 0 for none.
    pub classes: usize,
    /// The length of vectors that rows are conditioned on; 0 for none.
    pub vector: usize,
    /// The repetition of the flow's layers, from 0.
    pub round: usize,
}

/// The configuration of a bijection as recipes write it.
pub trait BijectionConfig: Debug + Send + Sync {
    /// Fails, naming the key, unless every value is valid, whatever the data.
    ///
    /// # Errors
    /// [`crate::Error::Config`].
    fn check(&self) -> Result<()>;

    /// Fails, naming the key, if the bijection does not fit the place.
    ///
    /// # Errors
    /// [`crate::Error::Config`].
    fn fits(&self, place: &Place) -> Result<()> {
        let _ = place;
        Ok(())
    }

    /// Whether [`Bijection::estimates`] takes random vectors.
    fn takes_probes(&self) -> bool {
        false
    }

    /// The bijection at a place that it fits, with initial values from `draws`.
    ///
    /// # Errors
    /// [`crate::Error::Config`] if a value is invalid.
    fn init(&self, place: &Place, draws: &Draws, device: &Device) -> Result<AnyBijection>;

    /// The number of values in the parameters.
    fn parameters(&self, place: &Place) -> u128;

    /// The approximate number of activations per row.
    fn activations(&self, place: &Place) -> usize;
}

modules! {
    /// The configuration of any named bijection: `permutation`, or `{ name = "coupling", hidden = [64, 64] }`.
    configurations AnyBijectionConfig: BijectionConfig = Coupling, "layer";

    /// Any named bijection. Its parameters have the same names as in the bijection itself.
    #[allow(clippy::large_enum_variant, reason = "a flow has few, and they are moved rarely")]
    modules AnyBijection: Bijection {
        "coupling" Coupling(CouplingConfig => Coupling)
            "half of the columns determine the map of the others: NICE, RealNVP, spline couplings, Flow++",
        "convolutional-coupling" ConvolutionalCoupling(ConvolutionalCouplingConfig => ConvolutionalCoupling)
            "half of a picture determines the map of the other, by convolutions; mask = channels or checkerboard",
        "masked" Masked(MaskedLayerConfig => MaskedLayer)
            "the columns before a column determine its map: MAF, IAF, autoregressive splines",
        "transformer" Transformer(TransformerLayerConfig => TransformerLayer)
            "the patches of a picture before a patch determine its map (TarFlow); columns of other rows, one by one",
        "permutation" Permutation(PermutationConfig => Permutation) "columns in another order",
        "linear" Linear(TriangularConfig => Triangular)
            "a linear map of all columns, P L U: the mixing layer of Glow",
        "activation-norm" ActivationNorm(ActivationNormConfig => ActivationNorm)
            "a shift and a scale of each column, which start from the first batch (Glow)",
        "logit" Logit(LogitConfig => Logit)
            "the logit of values between −1 and 1, such as a picture's; for the flow's `first` layers",
        "planar" Planar(PlanarConfig => Planar)
            "a ridge across all columns: a planar flow; inverse = true turns it round",
        "radial" Radial(RadialConfig => Radial)
            "columns drawn towards a point or away from it: a radial flow; inverse = true turns it round",
        "residual" Residual(ResidualConfig => Residual)
            "the identity and a contraction of all columns, an MLP or convolutions: a residual flow",
        "continuous" Continuous(ContinuousConfig => Continuous)
            "rows carried along a velocity field: a neural ODE, FFJORD; gradient = \"adjoint\" saves memory",
    }

    fn to_noise(&self, x: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)>;
    fn to_data(&self, z: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)>;
    fn rows(&self, z: Tensor<2>, condition: &Condition) -> Result<(Tensor<2>, u64)>;
    fn start(self, x: Tensor<2>, condition: &Condition) -> Result<(Self, Tensor<2>)>;
    fn estimates(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        by: (usize, &Draws)
    ) -> Result<(Tensor<2>, Tensor<2>)>;
    fn pass(&self, x: Tensor<2>, condition: &Condition, draws: &Draws) -> Result<Pass>;
    fn has_adjoint(&self) -> bool;
    fn pull(
        &self,
        ends: [Tensor<2>; 2],
        condition: &Condition,
        draws: &Draws,
        by: (Tensor<2>, f64),
        take: Take
    ) -> Result<Tensor<2>>;
}
