//! log p of raw rows, whatever the model.

use super::{Density, Dequantise, Kind, LogProb, Measure};
use crate::data::{Condition, Rows, Space};
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use std::ops::Range;

/// A log-density of raw rows, in the data's own units.
pub trait RawDensity {
    /// log p of each row in nats; `condition` has an entry for each row, and `observe` receives the number of rows
    /// done.
    ///
    /// # Errors
    /// As [`Density::log_prob`] and [`Space::encode`]; [`Error::Shape`] if there are no rows.
    fn log_prob(
        &self,
        raw: &Rows,
        condition: &Condition,
        observe: &mut dyn FnMut(usize),
    ) -> Result<LogProb>;
}

/// log p of `len` rows in parts of at most `chunk` rows; `part` evaluates a range of row numbers.
pub(crate) fn in_parts(
    len: usize,
    chunk: usize,
    observe: &mut dyn FnMut(usize),
    mut part: impl FnMut(Range<usize>) -> Result<LogProb>,
) -> Result<LogProb> {
    let mut all: Option<LogProb> = None;
    for start in (0..len).step_by(chunk.max(1)) {
        let rows = start..(start + chunk.max(1)).min(len);
        let end = rows.end;
        let more = part(rows)?;
        all = Some(match all {
            None => more,
            Some(earlier) => earlier.followed_by(more)?,
        });
        observe(end);
    }
    all.ok_or_else(|| Error::shape("data", "0 rows", "at least one row"))
}

/// A density in model units as a density of raw rows, dequantised where they hold integers.
///
/// Integer columns are dequantised, with one draw per row. If every column is an integer the result is a lower bound of
/// the integers' log-probability (see [`Dequantise`]), against the counting measure; otherwise it is a density in raw
/// units.
///
/// ```
/// use tweedie::burn::tensor::Device;
/// use tweedie::data::{Condition, Coordinate, Layout, Rows, Space};
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::density::{InSpace, PfOde, RawDensity, Uniform};
/// use tweedie::Draws;
/// use tweedie::process::Cosine;
/// use std::sync::Arc;
/// // Metres, of which 10 are the unit of the model.
/// let column = Coordinate { shift: 0.0, scale: 10.0, ..Coordinate::real("height") };
/// let space = Space::new(Layout::Vector { width: 1 }, vec![column])?;
/// let unit = GaussianMixture::new(vec![Component::isotropic(1.0, vec![0.0], 1.0)])?;
/// let density = PfOde::new(Arc::new(unit), Arc::new(Cosine::default()));
/// let device = Device::flex();
/// let (draws, dequantise) = (Draws::new(0), &Uniform);
/// let raw = InSpace { density: &density, space: &space, dequantise, draws, device: &device, chunk: 64 };
/// let found = raw.log_prob(&Rows::new(vec![0.0], 1)?, &Condition::None, &mut |_| {})?;
/// let log_p = -0.5 * std::f64::consts::TAU.ln() - 10f64.ln();
/// assert!((found.value[0] - log_p).abs() < 1e-3);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct InSpace<'a> {
    /// The density in model units.
    pub density: &'a dyn Density,
    /// The meaning of a row's columns.
    pub space: &'a Space,
    /// The dequantisation of integers.
    pub dequantise: &'a dyn Dequantise,
    /// The random numbers of dequantisation.
    pub draws: Draws,
    /// The device of the computation.
    pub device: &'a Device,
    /// The number of rows computed at once.
    pub chunk: usize,
}

impl RawDensity for InSpace<'_> {
    fn log_prob(
        &self,
        raw: &Rows,
        condition: &Condition,
        observe: &mut dyn FnMut(usize),
    ) -> Result<LogProb> {
        condition.check(raw.len())?;
        in_parts(raw.len(), self.chunk, observe, |rows| self.part(raw, rows, condition))
    }
}

impl InSpace<'_> {
    fn part(&self, raw: &Rows, rows: Range<usize>, condition: &Condition) -> Result<LogProb> {
        let ids: Vec<u64> = rows.clone().map(|i| i as u64).collect();
        let noise = self.draws.purpose("dequantise");
        let (x, log_q) =
            self.dequantise.encode(&raw.slice(rows.clone()), self.space, &noise, &ids)?;
        let mut part = self.density.log_prob(x.to_tensor(self.device), &condition.slice(rows))?;
        let volumes = self.space.log_volumes(&x)?;
        part.value.iter_mut().zip(log_q).for_each(|(value, log_q)| *value -= log_q);
        let counting = self.space.bits_per_dimension(0.0).is_some();
        if counting && part.kind == Kind::Exact {
            part.kind = Kind::LowerBound;
        }
        let measure = if counting { Measure::Counting } else { Measure::Raw };
        Ok(part.in_units_of(&volumes, measure))
    }
}
