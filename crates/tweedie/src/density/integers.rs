//! The variational bound of the probabilities of integers, by a distribution over the values that each column can take.

use crate::data::{self, Condition, Rows, Space};
use crate::density::bound::ends;
use crate::density::{Bound, Measure, Terms};
use crate::process::{Level, Levels};
use crate::tensor::{addresses, log_below_normal};
use crate::{Error, Result};
use burn::tensor::Device;

/// The decoder p(x | x_0) of integers: how they are recovered at the cleanest level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decoder {
    /// The noise of x_0 alone, column by column: p(x | x_0) ∝ q(x_0 | x) (Kingma et al. 2021, eq. 12).
    #[default]
    Noise,
    /// The denoiser: a normal distribution around x̂(x_0) with standard deviation σ_0/α_0, integrated over each
    /// integer's bin; the outermost bins include the tails (Ho et al. 2020, eq. 13). Costs one more evaluation per
    /// probe.
    Network,
}

impl Bound {
    /// The bound of the probabilities of integers, `[n, width]` raw; [`Space::bits_per_dimension`] gives bits.
    ///
    /// # Errors
    /// As [`Density::log_prob`](super::Density::log_prob) and [`Space::encode`]; [`Error::Config`] unless every column
    /// is an integer between two limits.
    pub fn integers(
        &self,
        raw: &Rows,
        space: &Space,
        condition: &Condition,
        device: &Device,
    ) -> Result<Terms> {
        let columns = (0..space.width()).map(|j| Integers::new(space, j));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let (first, _) = ends(&*self.model.schedule, self.steps);
        let x = space.encode(raw)?.to_tensor(device);
        let noise = self.draws.purpose("reconstruction");
        let rows = addresses(&x)?;
        self.terms_with(x.clone(), condition, Measure::Counting, |probe| {
            let noise = noise.at(probe as u64).normals_for(&rows, space.width());
            let told = match self.decoder {
                Decoder::Noise => noise,
                Decoder::Network => {
                    let level = Levels::from(first);
                    let noised = level.noised(&x, &noise.to_tensor(device))?;
                    let mean = self.model.denoiser.denoise(noised.into(), &level, condition)?;
                    Rows::from_tensor(&(mean.value - x.clone()))?
                }
            };
            let row = |i: usize| {
                let all = columns.iter().zip(raw.row(i)).zip(told.row(i));
                all.map(|((column, v), by)| column.log_p(self.decoder, &first, *v, f64::from(*by)))
                    .sum()
            };
            Ok((0..rows.len()).map(row).collect())
        })
    }
}

/// One column's integers in model units.
struct Integers {
    low: i64,
    high: i64,
    /// The distance between two neighbouring integers.
    gap: f64,
}

impl Integers {
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

    /// log p(value | x_0), where `by` is the noise of x_0 or the network's mean less the value.
    fn log_p(&self, decoder: Decoder, level: &Level, value: f32, by: f64) -> f64 {
        match decoder {
            Decoder::Noise => self.by_noise(level, value, by),
            Decoder::Network => self.by_network(level, value, by),
        }
    }

    /// log p(value | α x + σ ε), a softmax over the integers of −(z − α x_v)²/(2σ²).
    fn by_noise(&self, level: &Level, value: f32, noise: f64) -> f64 {
        // In units of the noise's standard deviation: the value is at 0, the observation at ε, the integer k steps away
        // at k h.
        let h = level.alpha / level.sigma * self.gap;
        let own = f64::from(value) as i64;
        let (below, above) = (own - self.low, self.high - own);
        // Beyond 40 standard deviations from the observation the terms vanish.
        let reach = ((noise.abs() + 40.0) / h).ceil().min(i64::MAX as f64) as i64;
        let log = |k: i64| -0.5 * (noise - k as f64 * h).powi(2);
        let sum: f64 =
            (-below.min(reach)..=above.min(reach)).map(|k| (log(k) - log(0)).exp()).sum();
        -sum.ln()
    }

    /// log p(value | x̂) for a mean that is `off` above the value, in model units.
    fn by_network(&self, level: &Level, value: f32, off: f64) -> f64 {
        let spread = level.sigma / level.alpha;
        let own = f64::from(value) as i64;
        let edge = |side: f64, open: bool| match open {
            true => side * f64::INFINITY,
            false => (0.5 * side * self.gap - off) / spread,
        };
        ln_normal_between(edge(-1.0, own == self.low), edge(1.0, own == self.high))
    }
}

/// ln (Φ(b) − Φ(a)) for a < b, either of which may be infinite; without cancellation in the tails.
fn ln_normal_between(a: f64, b: f64) -> f64 {
    // By symmetry, `a` is made the end nearer to 0.
    let (a, b) = if a + b < 0.0 { (-b, -a) } else { (a, b) };
    let (of_a, of_b) = (log_below_normal(-a), log_below_normal(-b));
    if of_b == f64::NEG_INFINITY {
        return of_a;
    }
    of_a + (-(of_b - of_a).exp_m1()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    #[test]
    fn probabilities_of_integers_by_a_network_s_mean_add_up_to_one() {
        let column = Integers { low: -3, high: 8, gap: 0.2 };
        let at = |v: i64| 0.2 * v as f64;
        for sigma in [1e-3, 0.05, 0.4, 9.0] {
            let level = Level::new(0.0, 0.8, 0.8 * sigma);
            for mean in [-40.0, -0.61, 0.0, 0.1, 0.77, 1.6, 300.0] {
                let log_p = |v: i64| column.by_network(&level, v as f32, mean - at(v));
                let all: Vec<f64> = (-3..=8).map(log_p).collect();
                let sum: f64 = all.iter().map(|p| p.exp()).sum();
                assert!((sum - 1.0).abs() < 1e-12, "{sigma} {mean}: {sum}");
                assert!(all.iter().all(|p| p.is_finite() || *p < -1e4), "{all:?}");
            }
        }
    }

    #[test]
    fn tails_of_the_normal_distribution_keep_their_digits() {
        // The mass of a narrow interval is its density times its width.
        for x in [-30.0, -3.0, 0.0, 1.0, 12.0, 45.0] {
            let found = ln_normal_between(x - 5e-7, x + 5e-7);
            let right = -0.5 * (x * x + TAU.ln()) + 1e-6f64.ln();
            assert!((found - right).abs() < 1e-6, "{x}: {found} {right}");
        }
        assert_eq!(ln_normal_between(f64::NEG_INFINITY, f64::INFINITY), 0.0);
    }
}
