//! Values of a target at the rows of chains.

use crate::data::{Condition, LogDensity, doubles, each_row};
use crate::{Error, Result};
use burn::tensor::Tensor;

/// The values of a target that a kernel needs at each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    LogDensity,
    Score,
    Both,
}

/// ln γ of each row and the scores, row after row; empty where they were not computed.
#[derive(Debug, Clone, Default)]
pub(super) struct TargetValues {
    pub(super) width: usize,
    pub(super) log_density: Vec<f64>,
    pub(super) score: Vec<f64>,
}

impl TargetValues {
    /// Computes the values `needs` of the target at the rows `x`; `tensor` turns rows into a batch.
    pub(super) fn of(
        target: &dyn LogDensity,
        x: &[f64],
        width: usize,
        needs: Needs,
        tensor: impl Fn(&[f64]) -> Tensor<2>,
    ) -> Result<Self> {
        if let Some(density) = target.by_row() {
            let (log_density, score) = each_row(density, x, width);
            return Ok(match needs {
                Needs::Nothing => Self { width, ..Self::default() },
                Needs::LogDensity => Self { width, log_density, score: Vec::new() },
                Needs::Score => Self { width, log_density: Vec::new(), score },
                Needs::Both => Self { width, log_density, score },
            });
        }
        let (batch, none) = (tensor(x), Condition::None);
        let (log, score) = match needs {
            Needs::Nothing => (None, None),
            Needs::LogDensity => (Some(target.log_density(batch.into(), &none)?.value), None),
            Needs::Score => (None, Some(target.score(batch, &none)?)),
            Needs::Both => {
                let (log, score) = target.with_score(batch, &none)?;
                (Some(log), Some(score))
            }
        };
        let n = x.len() / width;
        let host = |tensor: Option<Tensor<2>>, width: usize, what: &str| {
            let Some(tensor) = tensor else { return Ok(Vec::new()) };
            let (found, expected) = (tensor.dims(), [n, width]);
            if found != expected {
                return Err(Error::shape(what, format!("{found:?}"), format!("{expected:?}")));
            }
            doubles(&tensor.inner())
        };
        Ok(Self {
            width,
            log_density: host(log, 1, "the target's log densities")?,
            score: host(score, width, "the target's scores")?,
        })
    }

    pub(super) fn has_log_density(&self) -> bool {
        !self.log_density.is_empty()
    }

    pub(super) fn has_score(&self) -> bool {
        !self.score.is_empty()
    }

    /// Whether the values `needs` are present.
    pub(super) fn has(&self, needs: Needs) -> bool {
        let log = matches!(needs, Needs::LogDensity | Needs::Both);
        let score = matches!(needs, Needs::Score | Needs::Both);
        (self.has_log_density() || !log) && (self.has_score() || !score)
    }

    /// The values that are present; none if there are none.
    pub(super) fn needs(&self) -> Option<Needs> {
        match (self.has_log_density(), self.has_score()) {
            (true, true) => Some(Needs::Both),
            (true, false) => Some(Needs::LogDensity),
            (false, true) => Some(Needs::Score),
            (false, false) => None,
        }
    }

    /// A description of the value at row `i` that is not finite.
    pub(super) fn fault(&self, i: usize) -> Option<String> {
        let log = self.log_density.get(i).filter(|log| !log.is_finite());
        let score = || self.score_of(i).iter().find(|s| !s.is_finite());
        log.map(|log| format!("log density {log}"))
            .or_else(|| score().map(|s| format!("a score of {s}")))
    }

    /// The score of row `i`; empty if it was not computed.
    fn score_of(&self, i: usize) -> &[f64] {
        self.score.get(i * self.width..(i + 1) * self.width).unwrap_or_default()
    }

    /// The values after a step: those of `there` for the rows where `moved` is true, else the present ones. Values
    /// absent from `there` are dropped.
    pub(super) fn moved(self, there: TargetValues, moved: &[bool]) -> TargetValues {
        let choose = |here: Vec<f64>, mut there: Vec<f64>, width: usize| {
            let rows = here.chunks(width).zip(there.chunks_mut(width)).zip(moved);
            rows.filter(|(_, moved)| !**moved)
                .for_each(|((here, there), _)| there.copy_from_slice(here));
            there
        };
        TargetValues {
            width: self.width,
            log_density: choose(self.log_density, there.log_density, 1),
            score: choose(self.score, there.score, self.width),
        }
    }
}
