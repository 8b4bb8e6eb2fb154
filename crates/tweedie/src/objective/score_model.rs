//! The interface between score-based objectives and models, for predicting networks and for energies.

use super::{Loss, Objective};
use crate::data::{Batch, Condition};
use crate::denoise::{EnergyDenoiser, NeuralDenoiser, Prediction};
use crate::nn::Network;
use crate::objective::of_gradient;
use crate::process::Levels;
use crate::tensor::{Dual, jvp};
use crate::{Draws, Result};
use burn::tensor::Tensor;
use std::sync::Arc;

/// A function of a batch of vectors, `[n, d]` to `[n, 1]`.
pub type Functional<'a> = &'a dyn Fn(Tensor<2>) -> Tensor<2>;

/// The arguments of a model: a batch with its levels and conditions.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The batch, `[n, d]`.
    pub x: &'a Tensor<2>,
    /// One level for all rows or one per row.
    pub levels: &'a Levels,
    /// One condition per row.
    pub condition: &'a Condition,
}

/// A trainable score s(x, t), with the functions that objectives need. Every result is `[n, 1]` and differentiable by
/// the model's weights.
pub trait ScoreModel: Send + Sync {
    /// The prediction of the model.
    fn prediction(&self) -> Prediction;

    /// The standard deviation of the data in model units.
    fn sigma_data(&self) -> f64;

    /// Computes φ(P̂) for the prediction of each row.
    ///
    /// # Errors
    /// The errors of [`crate::denoise::Denoiser::denoise`].
    fn of_prediction(&self, at: Inputs, phi: Functional) -> Result<Loss>;

    /// Computes φ(s) for the score of each row.
    ///
    /// # Errors
    /// The errors of [`crate::denoise::Denoiser::denoise`]; [`crate::Error::Undefined`] at σ = 0.
    fn of_score(&self, at: Inputs, phi: Functional) -> Result<Loss>;

    /// Computes v·s and vᵀ ∇s v.
    ///
    /// # Errors
    /// As [`ScoreModel::of_score`].
    fn slice(&self, at: Inputs, v: Tensor<2>) -> Result<[Tensor<2>; 2]>;

    /// Computes v·s and vᵀ ∇s v by central differences, without derivatives, with a `step` for each row, `[n, 1]`. The
    /// error is of second order in the step.
    ///
    /// # Errors
    /// As [`ScoreModel::of_score`].
    fn slice_by_differences(
        &self,
        at: Inputs,
        v: Tensor<2>,
        step: Tensor<2>,
    ) -> Result<[Tensor<2>; 2]>;
}

impl<N: Network> ScoreModel for NeuralDenoiser<N> {
    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn sigma_data(&self) -> f64 {
        self.sigma_data
    }

    fn of_prediction(
        &self,
        Inputs { x, levels, condition }: Inputs,
        phi: Functional,
    ) -> Result<Loss> {
        Ok(phi(self.predict(x.clone().into(), levels, condition)?.value).into())
    }

    fn of_score(&self, Inputs { x, levels, condition }: Inputs, phi: Functional) -> Result<Loss> {
        Ok(phi(self.score(x.clone().into(), levels, condition)?.value).into())
    }

    fn slice(
        &self,
        Inputs { x, levels, condition }: Inputs,
        v: Tensor<2>,
    ) -> Result<[Tensor<2>; 2]> {
        let (s, along) = jvp(|x| self.score(x, levels, condition), x.clone(), v.clone())?;
        Ok([s, along].map(|part| (part * v.clone()).sum_dim(1)))
    }

    fn slice_by_differences(
        &self,
        Inputs { x, levels, condition }: Inputs,
        v: Tensor<2>,
        step: Tensor<2>,
    ) -> Result<[Tensor<2>; 2]> {
        let way = v.clone() * step.clone();
        let at = |x: Tensor<2>| Ok(self.score(x.into(), levels, condition)?.value);
        let [ahead, behind] = [at(x.clone() + way.clone())?, at(x.clone() - way)?]
            .map(|s: Tensor<2>| (s * v.clone()).sum_dim(1));
        let mean = (ahead.clone() + behind.clone()).mul_scalar(0.5);
        Ok([mean, (ahead - behind) / step.mul_scalar(2.0)])
    }
}

impl<N: Network> ScoreModel for EnergyDenoiser<N> {
    fn prediction(&self) -> Prediction {
        self.model.prediction
    }

    fn sigma_data(&self) -> f64 {
        self.model.sigma_data
    }

    fn of_prediction(
        &self,
        Inputs { x, levels, condition }: Inputs,
        phi: Functional,
    ) -> Result<Loss> {
        let frozen = self.valid();
        of_gradient(
            |x| frozen.potential(x, levels, condition),
            |x| self.potential(x, levels, condition),
            x.clone(),
            |g| phi(g.neg()),
        )
    }

    fn of_score(&self, Inputs { x, levels, condition }: Inputs, phi: Functional) -> Result<Loss> {
        let frozen = self.valid();
        of_gradient(
            |x| frozen.energy(x, levels, condition),
            |x| self.energy(x, levels, condition),
            x.clone(),
            |g| phi(g.neg()),
        )
    }

    fn slice(
        &self,
        Inputs { x, levels, condition }: Inputs,
        v: Tensor<2>,
    ) -> Result<[Tensor<2>; 2]> {
        let line = Dual::line(x.clone(), v);
        Ok(slice_along(self.energy(line, levels, condition)?))
    }

    fn slice_by_differences(
        &self,
        Inputs { x, levels, condition }: Inputs,
        v: Tensor<2>,
        step: Tensor<2>,
    ) -> Result<[Tensor<2>; 2]> {
        slice_of_energy(|x| Ok(self.energy(x.into(), levels, condition)?.value), x, v, step)
    }
}

/// v·s and vᵀ ∇s v of the score s = −∇E by central differences of an energy, as
/// [`ScoreModel::slice_by_differences`].
pub(crate) fn slice_of_energy(
    energy: impl Fn(Tensor<2>) -> Result<Tensor<2>>,
    x: &Tensor<2>,
    v: Tensor<2>,
    step: Tensor<2>,
) -> Result<[Tensor<2>; 2]> {
    let way = v * step.clone();
    let here = energy(x.clone())?;
    let (ahead, behind) = (energy(x.clone() + way.clone())?, energy(x.clone() - way)?);
    let slope = (behind.clone() - ahead.clone()) / step.clone().mul_scalar(2.0);
    Ok([slope, (here.mul_scalar(2.0) - ahead - behind) / step.square()])
}

/// v·s and vᵀ ∇s v of the score s = −∇E by the derivatives of E along x + t v, as [`ScoreModel::slice`].
pub(crate) fn slice_along(along: Dual<2>) -> [Tensor<2>; 2] {
    let Dual { value, tangent, second } = along;
    let minus = |part: Option<Tensor<2>>| part.map_or_else(|| value.zeros_like(), Tensor::neg);
    [minus(tangent), minus(second)]
}

/// Adapts an objective of an energy to an objective of its network, as learners need.
pub struct AsEnergy<N>(
    /// The objective of the energy.
    pub Arc<dyn Objective<EnergyDenoiser<N>>>,
);

impl<N: Network> Objective<NeuralDenoiser<N>> for AsEnergy<N> {
    fn loss(&self, model: &NeuralDenoiser<N>, batch: &Batch, draws: &Draws) -> Result<Loss> {
        self.0.loss(&EnergyDenoiser::new(model.clone()), batch, draws)
    }
}
