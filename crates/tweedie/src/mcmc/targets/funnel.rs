//! Neal's funnel ("Slice sampling", 2003, sec. 8): x₁ ~ N(0, s²) and x_i | x₁ ~ N(0, e^(x₁)) for the others, e^(x₁)
//! being a variance, so that
//!
//! > ln p = −½ x₁²/s² − ½ e^(−x₁) Σ x_i² − ½ (d − 1) x₁ − ln s − ½ d ln 2π.
//!
//! E x = 0, Var x₁ = s² and Var x_i = e^(s²/2). A kernel with one step size is too coarse for its neck or too fine for
//! its mouth.

use crate::data::{Condition, Generate, LogDensity, RowDensity, row_by_row};
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;
use std::ops::Range;

/// Neal's funnel in `width` dimensions: ln Z = 0, with exact samples.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::Device;
/// use tweedie::data::{Condition, Generate};
/// use tweedie::mcmc::Funnel;
/// let x = Funnel::default().generate(0..100, &Condition::None, &Draws::new(0), &Device::flex())?;
/// assert_eq!(x.dims(), [100, 10]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Funnel {
    /// d, at least 2; 10 in the paper.
    pub width: usize,
    /// s, the standard deviation of x₁; 3 in the paper, 1 in an easy variant.
    pub scale: f64,
}

impl Default for Funnel {
    fn default() -> Self {
        Self { width: 10, scale: 3.0 }
    }
}

impl Funnel {
    /// The name in recipes.
    pub const NAME: &'static str = "funnel";

    /// Fails, naming the key, unless every option is valid.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        if self.width < 2 {
            return Err(Error::config("target.width", self.width.to_string(), "at least 2"));
        }
        if !(self.scale > 0.0 && self.scale.is_finite()) {
            let expected = "a positive finite number";
            return Err(Error::config("target.scale", self.scale.to_string(), expected));
        }
        Ok(())
    }
}

impl RowDensity for Funnel {
    fn log_p(&self, x: &[f64], score: &mut [f64]) -> f64 {
        let [first, others @ ..] = x else { return 0.0 };
        let [slope, slopes @ ..] = score else { return 0.0 };
        let (count, variance) = (others.len() as f64, self.scale * self.scale);
        let precision = (-first).exp();
        let squares = precision * others.iter().map(|x| x * x).sum::<f64>();
        *slope = 0.5 * (squares - count) - first / variance;
        slopes.iter_mut().zip(others).for_each(|(slope, x)| *slope = -precision * x);
        let exponent = -0.5 * (first * first / variance + squares + count * first);
        exponent - self.scale.ln() - 0.5 * (count + 1.0) * TAU.ln()
    }
}

impl LogDensity for Funnel {
    fn width(&self) -> usize {
        self.width
    }

    fn log_density(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        row_by_row(self, self.width, x, condition)
    }

    fn by_row(&self) -> Option<&dyn RowDensity> {
        Some(self)
    }
}

impl Generate for Funnel {
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        self.check()?;
        let draws = draws.purpose(Self::NAME);
        super::rows(rows, self.width, condition, device, |row, values| {
            let first = self.scale * draws.normal_f64(row, 0);
            let spread = (0.5 * first).exp();
            values.push(first as f32);
            let others = (1..self.width as u64).map(|j| (spread * draws.normal_f64(row, j)) as f32);
            values.extend(others);
        })
    }
}
