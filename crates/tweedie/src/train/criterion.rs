//! Criteria of denoisers: a loss in training, with a state of its own beside the network.

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

/// A loss in training and a loss on held-out rows, with a state of its own; most have none.
pub(crate) trait Criterion<N>: Send {
    /// The loss of each row in training.
    fn training_loss(
        &mut self,
        model: &NeuralDenoiser<N>,
        batch: &Batch,
        draws: &Draws,
    ) -> Result<Loss>;

    /// The objective on held-out rows.
    fn held_out(&self) -> Result<Objectives<N>>;

    /// Takes the gradients of the mean of the last loss.
    fn take_in(&mut self, _: &Gradients) -> Result<()> {
        Ok(())
    }

    /// Takes a step, at `factor` times the peak learning rate.
    fn step(&mut self, _factor: f64) -> Result<()> {
        Ok(())
    }

    /// Adds its arrays to a state.
    fn save(&self, _: &mut State) -> Result<()> {
        Ok(())
    }

    /// Restores the arrays of [`Criterion::save`], and removes them from `from`.
    fn load(&mut self, _from: &mut State, _origin: &Path) -> Result<()> {
        Ok(())
    }

    /// The weights to keep beside those of the network.
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
