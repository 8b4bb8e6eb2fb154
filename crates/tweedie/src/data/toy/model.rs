//! Toys as generators of rows, and as log densities of batches.

use super::Toy;
use crate::data::{Condition, Generate, LogDensity, RowDensity, Rows, row_by_row};
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::tensor::{Device, Tensor};
use std::ops::Range;

impl RowDensity for Toy {
    fn log_p(&self, x: &[f64], score: &mut [f64]) -> f64 {
        let (log_p, slope) = super::density::with_score(*self, [x[0], x[1]]);
        score.copy_from_slice(&slope);
        log_p
    }
}

impl LogDensity for Toy {
    fn width(&self) -> usize {
        2
    }

    fn log_density(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        row_by_row(self, 2, x, condition)
    }

    fn by_row(&self) -> Option<&dyn RowDensity> {
        Some(self)
    }
}

impl Generate for Toy {
    /// Generates, for `Draws::new(s)`, the rows of [`Toy::sample`] with seed `s`, in single precision. A row with a
    /// label is a point of that class, other rows are of a random class.
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        condition.check(rows.end.saturating_sub(rows.start) as usize)?;
        let labels = match condition {
            Condition::None => None,
            Condition::Class(labels) => Some(labels),
            other => return Err(Error::shape("condition", other.kind(), "none or a class")),
        };
        let count = self.class_count();
        for label in labels.into_iter().flatten().flatten() {
            if u64::from(*label) >= count {
                let expected = format!("one of {count} classes of {}", self.name());
                return Err(Error::shape("class label", label, expected));
            }
        }
        let points: (Rows, _) = self.points(rows, draws, |i| labels.and_then(|l| l[i]));
        Ok(points.0.to_tensor(device))
    }
}
