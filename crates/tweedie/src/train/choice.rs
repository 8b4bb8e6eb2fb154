//! The choice of the weights that a run samples with, by their loss on validation rows.

use super::Fit;
use crate::nn::State;
use crate::{Error, Result};
use burn::tensor::TensorData;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The beginning of names of the chosen weights in a checkpoint.
const PREFIX: &str = "chosen.";
/// The name of their loss.
const LOSS: &str = "chosen_loss";
/// The least number of rows, repeated ones included, behind a loss that decides.
const ROWS: usize = 1024;

/// The step whose weights a run samples with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// The last step.
    #[default]
    Last,
    /// The step with the lowest held-out loss (early stopping).
    Best,
}

/// The weights with the lowest held-out loss, among the averages of a step and, for [`Selection::Best`], among steps.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    selection: Selection,
    /// Whether there is more than one candidate.
    active: bool,
    chosen: Option<(f64, State)>,
}

impl Choice {
    /// A choice as a recipe asks for, before its first candidate. Without validation rows (`validation` false) there is
    /// nothing to choose by, and the last step's average remains.
    pub fn new(fit: &Fit, validation: bool) -> Self {
        Self { selection: fit.selection, active: fit.chooses() && validation, chosen: None }
    }

    /// The number of passes over this many held-out rows, each with random numbers of its own, for a loss that decides.
    pub fn passes(&self, rows: usize) -> u64 {
        if self.active { ROWS.div_ceil(rows.max(1)) as u64 } else { 1 }
    }

    /// Begins the candidates of a step.
    pub fn begin(&mut self) {
        if self.selection == Selection::Last {
            self.chosen = None;
        }
    }

    /// Whether a candidate with this held-out loss is the best so far.
    pub fn takes(&self, loss: f64) -> bool {
        self.active && loss < self.loss().unwrap_or(f64::INFINITY)
    }

    /// Chooses the weights of a candidate with its held-out loss.
    pub fn take(&mut self, loss: f64, weights: State) {
        self.chosen = Some((loss, weights));
    }

    /// The held-out loss of the chosen weights.
    pub fn loss(&self) -> Option<f64> {
        self.chosen.as_ref().map(|(loss, _)| *loss)
    }

    /// The chosen weights.
    pub fn weights(&self) -> Option<State> {
        self.chosen.as_ref().map(|(_, weights)| weights.clone())
    }

    /// Adds the chosen weights and their loss to a checkpoint.
    pub fn save(&self, into: &mut State) {
        let Some((loss, weights)) = &self.chosen else { return };
        into.insert(LOSS.to_string(), TensorData::new(vec![*loss], [1]));
        into.extend(weights.iter().map(|(name, data)| (format!("{PREFIX}{name}"), data.clone())));
    }

    /// Restores the arrays of [`Choice::save`], and removes them from `from`; `origin` names their file, for errors.
    ///
    /// # Errors
    /// [`Error::File`] if the loss is missing or no number.
    pub fn load(&mut self, from: &mut State, origin: &Path) -> Result<()> {
        let weights = chosen(from);
        from.retain(|name, _| !name.starts_with(PREFIX));
        self.chosen = match (weights, from.remove(LOSS)) {
            (None, None) => None,
            (Some(weights), Some(loss)) if self.active => match loss.as_slice::<f64>() {
                Ok(&[loss]) => Some((loss, weights)),
                _ => {
                    let problem = format!("type {:?}", loss.dtype());
                    return Err(Error::file(origin, LOSS, problem, "a number written by tweedie"));
                }
            },
            _ => return Err(Error::file(origin, LOSS, "a part", "a choice that a learner saved")),
        };
        Ok(())
    }
}

/// The chosen weights of a checkpoint, if it has any.
pub(crate) fn chosen(checkpoint: &State) -> Option<State> {
    let own = checkpoint.iter().filter_map(|(name, data)| {
        name.strip_prefix(PREFIX).map(|name| (name.to_string(), data.clone()))
    });
    Some(own.collect::<State>()).filter(|weights| !weights.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Training;

    fn offer(choice: &mut Choice, loss: f64, value: f32) {
        if choice.takes(loss) {
            let data = TensorData::new(vec![value], [1]);
            choice.take(loss, State::from([("w".to_string(), data)]));
        }
    }

    fn value(choice: &Choice) -> f32 {
        choice.weights().unwrap()["w"].as_slice::<f32>().unwrap()[0]
    }

    #[test]
    fn the_lowest_loss_is_chosen_among_steps_or_among_averages() {
        let steps = [[3.0, 2.0], [1.0, 1.5], [2.5, 2.0], [f64::NAN, 4.0]];
        for (selection, expected) in [(Selection::Best, 2.0), (Selection::Last, 7.0)] {
            let fit = Fit { selection, averages: vec![0.1], ..Fit::default() };
            let mut choice = Choice::new(&fit, true);
            for (k, losses) in steps.iter().enumerate() {
                choice.begin();
                for (j, loss) in losses.iter().enumerate() {
                    offer(&mut choice, *loss, (2 * k + j) as f32);
                }
            }
            assert_eq!(value(&choice), expected, "{selection:?}");
            let mut state = State::new();
            choice.save(&mut state);
            assert_eq!(chosen(&state).unwrap(), choice.weights().unwrap());
            let mut other = Choice::new(&fit, true);
            other.load(&mut state, Path::new("checkpoint")).unwrap();
            assert!(state.is_empty());
            assert_eq!((other.loss(), value(&other)), (choice.loss(), expected));
        }
    }

    #[test]
    fn without_losses_nothing_can_be_chosen() {
        let best = Fit { selection: Selection::Best, ..Fit::default() };
        for (fit, validation) in [(&Fit::default(), true), (&best, false)] {
            let mut choice = Choice::new(fit, validation);
            offer(&mut choice, 1.0, 1.0);
            assert_eq!((choice.loss(), choice.passes(10)), (None, 1));
        }
        assert_eq!(Choice::new(&best, true).passes(10), 103);
        let training = Training { held_out_every: 0, ..Training::default() };
        assert!(Fit::default().check_with(&training).is_ok());
        let error = best.check_with(&training).unwrap_err().to_string();
        assert!(error.contains("training.held_out_every: 0"), "{error}");
    }
}
