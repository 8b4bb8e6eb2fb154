//! log p by importance sampling from the posterior.

use super::LatentVariable;
use crate::data::Condition;
use crate::tensor::{addresses, host_column, mean_and_error};
use crate::{Draws, Result};
use burn::tensor::Tensor;

/// The most values of a decoder's output at once.
const MOST_AT_ONCE: usize = 1 << 20;

/// An estimate of log p of a row by importance sampling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Importance {
    /// The logarithm of the mean weight, at most log p in expectation.
    pub log_p: f64,
    /// Its standard error, by the spread of the weights.
    pub standard_error: f64,
    /// The effective number of draws, (Σ w)²/Σ w².
    pub effective: f64,
    /// The mean logarithm of the weights, whose expectation is the evidence lower bound.
    pub mean_log_weight: f64,
    /// The standard error of `mean_log_weight`.
    pub mean_error: f64,
}

impl Importance {
    /// The estimate from the logarithms of a row's weights.
    pub(super) fn of(log_weights: &[f64]) -> Self {
        let k = log_weights.len() as f64;
        let most = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights = log_weights.iter().map(|w| (w - most).exp());
        let (sum, squares) =
            weights.fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
        // The variance of the mean weight over its square.
        let relative = (squares / (sum * sum) - 1.0 / k).max(0.0);
        let (mean_log_weight, mean_error) = mean_and_error(log_weights);
        if most == f64::NEG_INFINITY {
            // No draw has a weight.
            let (log_p, standard_error, effective) = (most, 0.0, 0.0);
            return Self { log_p, standard_error, effective, mean_log_weight, mean_error: 0.0 };
        }
        Self {
            log_p: most + (sum / k).ln(),
            standard_error: (relative * k / (k - 1.0).max(1.0)).sqrt(),
            effective: sum * sum / squares,
            mean_log_weight,
            mean_error,
        }
    }
}

impl LatentVariable {
    /// Estimates log p of each row of `x`, `[n, width]`, by importance sampling from the posterior with `count` draws.
    /// Equal rows have equal draws.
    ///
    /// # Errors
    /// As [`LatentVariable::log_weights`]; [`crate::Error::Device`] if a tensor cannot be read.
    pub fn importance(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        count: usize,
        draws: &Draws,
    ) -> Result<Vec<Importance>> {
        let ([n, _], device, kind) = (x.dims(), x.device(), x.dtype());
        let (rows, width) = (addresses(&x)?, self.inference_width());
        let values = self.product.parameters().iter().sum::<usize>().max(width);
        let at_once = (MOST_AT_ONCE / (values * n).max(1)).clamp(1, count);
        let mut all = vec![Vec::with_capacity(count); n];
        let mut done = 0;
        while done < count {
            let some = at_once.min(count - done);
            let noise: Vec<Tensor<2>> = (done..done + some)
                .map(|k| draws.at(k as u64).normals_for(&rows, width).to_tensor(&device))
                .collect();
            // The draws of a row below each other.
            let noise = Tensor::stack::<3>(noise, 1).reshape([n * some, width]).cast(kind);
            let found =
                host_column(&self.log_weights(&x, condition, some, noise)?.reshape([-1, 1]))?;
            all.iter_mut().zip(found.chunks(some)).for_each(|(all, some)| all.extend(some));
            done += some;
        }
        Ok(all.iter().map(|log_weights| Importance::of(log_weights)).collect())
    }
}
