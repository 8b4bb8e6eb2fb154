//! What a denoiser is trained by: a loss, with what learns or remembers beside the network.

use crate::Draws;
use crate::Result;
use crate::data::Batch;
use crate::denoise::NeuralDenoiser;
use crate::nn::State;
use crate::objective::{Loss, Objective};
use burn::tensor::Gradients;
use std::path::Path;
use std::sync::Arc;

/// An objective for denoisers around networks of one type.
pub(crate) type Objectives<N> = Arc<dyn Objective<NeuralDenoiser<N>>>;

/// A loss in training and one on held-out rows, with a state of its own that most have none of.
pub(crate) trait Criterion<N>: Send {
    /// The loss of each row in training.
    fn training_loss(
        &mut self,
        model: &NeuralDenoiser<N>,
        batch: &Batch,
        draws: &Draws,
    ) -> Result<Loss>;

    /// The objective that held-out rows are judged by.
    fn held_out(&self) -> Result<Objectives<N>>;

    /// Takes in the backward pass of the last loss's mean.
    fn take_in(&mut self, _: &Gradients) -> Result<()> {
        Ok(())
    }

    /// Takes a step, at `factor` times the peak learning rate.
    fn step(&mut self, _factor: f64) -> Result<()> {
        Ok(())
    }

    /// Adds the state.
    fn save(&self, _: &mut State) -> Result<()> {
        Ok(())
    }

    /// Takes back what [`Criterion::save`] added, removing it from `from`.
    fn load(&mut self, _from: &mut State, _origin: &Path) -> Result<()> {
        Ok(())
    }

    /// The weights that are kept beside the network's.
    fn weights(&self) -> Result<State> {
        Ok(State::new())
    }
}

impl<N> Criterion<N> for Objectives<N> {
    fn training_loss(
        &mut self,
        model: &NeuralDenoiser<N>,
        batch: &Batch,
        draws: &Draws,
    ) -> Result<Loss> {
        (**self).loss(model, batch, draws)
    }

    fn held_out(&self) -> Result<Objectives<N>> {
        Ok(self.clone())
    }
}
