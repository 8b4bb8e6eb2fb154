//! Mixtures on the line by their cumulative distribution functions.
//!
//! A mixture of enough Gaussians comes close to any continuous cumulative distribution function f (*Introduction to
//! generative modeling*, Proposition 2.1 and equation 2.21, after C.-W. Huang, D. Krueger, A. Lacoste and A. Courville,
//! "Neural autoregressive flows", ICML 2018). Let S_n be the cumulative distribution function of n Gaussians of weight
//! 1/n and standard deviation σ, whose means are quantiles of f, and let L be the greatest slope of f. Then
//!
//! > |f(x) − S_n(x)| ≤ 3/(2n) + L r + Φ(−r/σ) for every x and every r > 0.
//!
//! The component means are the quantiles of f at the probabilities (i − ½)/n. The document's proof takes i/n, where the
//! last, at probability 1, is infinite for a distribution with unbounded support. With ε = 9/(2n), the choices
//! r = ε/(3L) and Φ(−r/σ) = ε/3 make each of the three terms ε/3 (equation 2.23).

use super::{Covariance, Mixture};
use crate::tensor::below_normal;
use crate::{Error, Result};
use statrs::distribution::{ContinuousCDF, Normal};

/// Halvings of a bracket of a quantile, after which it is at most a rounding error wide.
const HALVINGS: usize = 200;

impl Mixture {
    /// The mixture of `components` Gaussians of equal weight and standard deviation `deviation` at the quantiles
    /// `quantile(u)` of u = (i − ½)/n, on the line.
    ///
    /// ```
    /// use tweedie::density::fit::Mixture;
    /// // Of the uniform distribution on 0 to 1, whose distribution function is x there.
    /// let mixture = Mixture::of_quantiles(|u| u, 100, 0.01)?;
    /// assert!((mixture.cumulative(0.3) - 0.3).abs() < 0.01);
    /// # Ok::<(), tweedie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for no component; [`Error::Config`] if a quantile is not finite, or `deviation` is not a finite
    /// number above 0.
    pub fn of_quantiles(
        quantile: impl Fn(f64) -> f64,
        components: usize,
        deviation: f64,
    ) -> Result<Self> {
        let n = components as f64;
        let means: Vec<f64> = (0..components).map(|i| quantile((i as f64 + 0.5) / n)).collect();
        let variances = vec![deviation * deviation; components];
        Self::new(Covariance::Spherical, vec![1.0; components], means, variances, 1)
    }

    /// The probability of values of at most `x`, Σ_k w_k Φ((x − μ_k)/σ_k), of a mixture on the line; of the first
    /// column alone where there are several.
    pub fn cumulative(&self, x: f64) -> f64 {
        let below = |(k, weight): (usize, &f64)| {
            weight * below_normal((x - self.mean(k)[0]) / self.covariance(k)[0].sqrt())
        };
        self.weights().iter().enumerate().map(below).sum()
    }

    /// The value with the probability `u` of values of at most it, the inverse of [`Mixture::cumulative`].
    ///
    /// # Errors
    /// [`Error::Config`] unless `u` is between 0 and 1, both left out.
    pub fn quantile(&self, u: f64) -> Result<f64> {
        if !(u > 0.0 && u < 1.0) {
            return Err(Error::config("u", u.to_string(), "a number between 0 and 1"));
        }
        let z = normal_quantile(u);
        let ends =
            (0..self.components()).map(|k| self.mean(k)[0] + z * self.covariance(k)[0].sqrt());
        // The quantile of a mixture is between the least and the greatest of its components.
        let (mut low, mut high) =
            ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            if middle <= low || middle >= high {
                break;
            }
            if self.cumulative(middle) < u {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(0.5 * (low + high))
    }
}

/// The inverse of Φ.
pub(crate) fn normal_quantile(u: f64) -> f64 {
    Normal::standard().inverse_cdf(u)
}
