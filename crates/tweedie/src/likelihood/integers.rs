//! The bound of the probabilities of integers, by the softmax over the values that each column can take.

use super::bound::ends;
use super::{Bound, Measure, Terms, addresses};
use crate::data::{self, Rows, Space};
use crate::denoise::Condition;
use crate::process::Level;
use crate::{Error, Result};
use burn::tensor::Device;

impl Bound {
    /// The bound of the probabilities of integers, `[n, width]` raw; [`Space::bits_per_dimension`] gives bits.
    ///
    /// # Errors
    /// As [`Density::log_prob`] and [`Space::encode`]; [`Error::Config`] unless every column is an integer between two limits.
    pub fn integers(
        &self,
        raw: &Rows,
        space: &Space,
        condition: &Condition,
        device: &Device,
    ) -> Result<Terms> {
        let decoders = (0..space.width()).map(|j| Decoder::new(space, j));
        let decoders = decoders.collect::<Result<Vec<_>>>()?;
        let (first, _) = ends(&*self.schedule, self.steps);
        let x = space.encode(raw)?;
        let noise = self.draws.purpose("reconstruction");
        let rows = addresses(&x.to_tensor(device))?;
        self.terms_with(x.to_tensor(device), condition, Measure::Counting, |row, probe| {
            let noise = noise.at(probe as u64).normals_for(&[rows[row]], space.width());
            let columns = decoders.iter().zip(raw.row(row)).zip(noise.row(0));
            columns.map(|((decoder, v), e)| decoder.log_p(&first, *v, f64::from(*e))).sum()
        })
    }
}

/// One column's integers in model units.
struct Decoder {
    low: i64,
    high: i64,
    /// The distance between two.
    gap: f64,
}

impl Decoder {
    fn new(space: &Space, column: usize) -> Result<Self> {
        let coordinate = space.coordinate(column);
        match coordinate.kind {
            data::Kind::Quantised { low: Some(low), high: Some(high) } => {
                Ok(Self { low, high, gap: coordinate.scale.recip() })
            }
            _ => Err(Error::config(
                format!("column '{}'", space.column_name(column)),
                "no integer between two limits",
                "integers with a least and a greatest value, or a bound of dequantised data",
            )),
        }
    }

    /// log p(value | α x + σ ε), a softmax over the integers of −(z − α x_v)²/(2σ²).
    fn log_p(&self, level: &Level, value: f32, noise: f64) -> f64 {
        // In units of the noise's spread: the value sits at 0, the observation at ε, another integer k places off at k h.
        let h = level.alpha / level.sigma * self.gap;
        let own = f64::from(value) as i64;
        let (below, above) = (own - self.low, self.high - own);
        // Beyond 40 spreads from the observation nothing is left.
        let reach = ((noise.abs() + 40.0) / h).ceil().min(i64::MAX as f64) as i64;
        let log = |k: i64| -0.5 * (noise - k as f64 * h).powi(2);
        let sum: f64 =
            (-below.min(reach)..=above.min(reach)).map(|k| (log(k) - log(0)).exp()).sum();
        -sum.ln()
    }
}
