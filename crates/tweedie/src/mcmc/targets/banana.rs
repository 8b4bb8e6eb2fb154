//! The banana: x₁ ~ N(0, s²) and x₂ | x₁ ~ N(b (x₁² − s²), 1) (Haario, Saksman & Tamminen, "Adaptive proposal
//! distribution for random walk Metropolis algorithm", 1999, sec. 5, in the form of two dimensions), so that
//!
//! > ln p = −½ x₁²/s² − ½ (x₂ − b (x₁² − s²))² − ln s − ln 2π.
//!
//! E x = 0, Var x₁ = s² and Var x₂ = 1 + 2 b² s⁴.

use crate::data::{Condition, Generate, LogDensity, RowDensity, row_by_row};
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;
use std::ops::Range;

/// A bent Gaussian in the plane: ln Z = 0, with exact samples.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::data::{Condition, LogDensity};
/// use tweedie::mcmc::Banana;
/// let banana = Banana::default();
/// let x = Tensor::<2>::from_floats([[10.0, 0.0], [10.0, 1.0]], &Device::flex());
/// let log_p = banana.log_density(x.into(), &Condition::None)?.value;
/// let log_p = log_p.into_data().try_into_vec::<f64>().unwrap();
/// assert!((log_p[0] - log_p[1] - 0.5).abs() < 1e-6);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Banana {
    /// s, the standard deviation of x₁; 10 by default.
    pub scale: f64,
    /// b, the strength of the bend; 0.03 by default.
    pub curvature: f64,
}

impl Default for Banana {
    fn default() -> Self {
        Self { scale: 10.0, curvature: 0.03 }
    }
}

impl Banana {
    /// The name in recipes.
    pub const NAME: &'static str = "banana";

    /// Fails, naming the key, unless every option is valid.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        if !(self.scale > 0.0 && self.scale.is_finite()) {
            let expected = "a positive finite number";
            return Err(Error::config("target.scale", self.scale.to_string(), expected));
        }
        if !self.curvature.is_finite() {
            let problem = self.curvature.to_string();
            return Err(Error::config("target.curvature", problem, "a finite number"));
        }
        Ok(())
    }

    /// b (x₁² − s²).
    fn bend(&self, first: f64) -> f64 {
        self.curvature * (first * first - self.scale * self.scale)
    }
}

impl RowDensity for Banana {
    fn log_p(&self, x: &[f64], score: &mut [f64]) -> f64 {
        let ([first, second], [slope, other]) = (x, score) else { return 0.0 };
        let (variance, off) = (self.scale * self.scale, second - self.bend(*first));
        *slope = 2.0 * off * self.curvature * first - first / variance;
        *other = -off;
        -0.5 * (first * first / variance + off * off) - self.scale.ln() - TAU.ln()
    }
}

impl LogDensity for Banana {
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

impl Generate for Banana {
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        self.check()?;
        let draws = draws.purpose(Self::NAME);
        super::rows(rows, 2, condition, device, |row, values| {
            let first = self.scale * draws.normal_f64(row, 0);
            let second = self.bend(first) + draws.normal_f64(row, 1);
            values.extend([first as f32, second as f32]);
        })
    }
}
