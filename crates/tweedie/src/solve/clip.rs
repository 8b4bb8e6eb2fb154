//! Clipping of denoised batches to the range of the data.

use crate::{Error, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Clipping of x̂₀ = E[x₀ | x] to the range of the data, in model units: `{ range = 1.0 }` or
/// `{ dynamic = { ratio = 0.995, max = 1.5 } }`.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::solve::Clip;
/// let x = Tensor::<2>::from_data([[-4.0, 0.5, 2.0]], &Device::flex());
/// let held = |clip: Clip| clip.apply(x.clone()).into_data().try_into_vec::<f32>().unwrap();
/// assert_eq!(held(Clip::Range(1.0)), [-1.0, 0.5, 1.0]);
/// // The median of 4, 0.5 and 2 is 2.
/// assert_eq!(held(Clip::Dynamic { ratio: 0.5, max: 3.0 }), [-1.0, 0.25, 1.0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Clip {
    /// Cuts values to [−r, r], r in [1e-6, 1e6].
    Range(f64),
    /// Dynamic thresholding (Saharia et al. 2022, sec. 2.3): cuts each row to [−s, s] and divides it by s, where s is
    /// the quantile of the row's absolute values (linear between order statistics), held in [1, max].
    Dynamic {
        /// The quantile as a share in [0, 1]; 0.995 in common use.
        ratio: f64,
        /// The largest s, in [1, 1e6]; with 1, values are only cut to [−1, 1].
        max: f64,
    },
}

impl Clip {
    /// Fails, naming the key, unless every number is in its range.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        let within = |key: &str, value: f64, low: f64, high: f64| {
            if value >= low && value <= high {
                return Ok(());
            }
            let expected = format!("a number from {low:?} to {high:?}");
            Err(Error::config(format!("clip.{key}"), format!("{value:?}"), expected))
        };
        match *self {
            Clip::Range(range) => within("range", range, 1e-6, 1e6),
            Clip::Dynamic { ratio, max } => {
                within("dynamic.ratio", ratio, 0.0, 1.0)?;
                within("dynamic.max", max, 1.0, 1e6)
            }
        }
    }

    /// The clipped batch, of the same shape `[n, width]`. NaN stays NaN.
    pub fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        match *self {
            Clip::Range(range) => x.clamp(-range, range),
            Clip::Dynamic { ratio, max } => {
                let s = quantile(x.clone().abs(), ratio).clamp(1.0, max);
                (x / s).clamp(-1.0, 1.0)
            }
        }
    }
}

/// The `ratio` quantile of each row, `[n, 1]`.
fn quantile(x: Tensor<2>, ratio: f64) -> Tensor<2> {
    let last = x.dims()[1] - 1;
    let place = ratio * last as f64;
    let below = (place as usize).min(last);
    let sorted = x.sort(1);
    let low = sorted.clone().narrow(1, below, 1);
    let high = sorted.narrow(1, (below + 1).min(last), 1);
    low.clone() + (high - low).mul_scalar(place - below as f64)
}
