//! Dropout (Srivastava et al. 2014, *Dropout: A Simple Way to Prevent Neural Networks from Overfitting*).

use crate::Draws;
use crate::tensor::Dual;
use burn::tensor::{Tensor, TensorData};

/// In training each value is 0 with probability `rate`, and otherwise divided by 1 − `rate`; elsewhere values stay as
/// they are.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::{Draws, nn::Dropout};
/// let x = Tensor::<2>::ones([4, 3], &Device::flex());
/// let dropout = Dropout::new(0.5);
/// assert_eq!(dropout.forward(x.clone().into()).value.to_data(), x.to_data());
/// let training = dropout.with_draws(Draws::new(7));
/// let y = training.forward(x.into()).value.into_data().try_to_vec::<f32>().unwrap();
/// assert!(y.iter().all(|y| [0.0, 2.0].contains(y)));
/// ```
#[derive(Debug, Clone)]
pub struct Dropout {
    rate: f64,
    /// The random numbers of training; none elsewhere.
    draws: Option<Draws>,
}

impl Dropout {
    /// Dropout outside of training, with probability `rate` from 0 to below 1.
    pub fn new(rate: f64) -> Self {
        Self { rate, draws: None }
    }

    /// Dropout in training: row i of a batch uses the random numbers of row i of `draws`.
    pub fn with_draws(&self, draws: Draws) -> Self {
        Self { rate: self.rate, draws: Some(draws) }
    }

    /// Whether values are dropped.
    pub fn acts(&self) -> bool {
        self.rate > 0.0 && self.draws.is_some()
    }

    /// Drops values of a batch `[n, …]`.
    pub fn forward<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        let (true, Some(draws)) = (self.acts(), &self.draws) else { return x };
        let shape = x.dims();
        let (rows, values) = (shape[0], shape.iter().product::<usize>());
        if values == 0 {
            return x;
        }
        let kept = (1.0 / (1.0 - self.rate)) as f32;
        let mut mask = draws.uniforms(0..rows as u64, values / rows);
        for value in mask.values_mut() {
            *value = if f64::from(*value) < self.rate { 0.0 } else { kept };
        }
        let (device, kind) = (x.value.device(), x.value.dtype());
        let data = TensorData::new(mask.values().to_vec(), shape).convert_dtype(kind);
        let mask = Tensor::<D>::from_data(data, (&device, kind));
        x.linear(|x| x * mask.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tensor};

    #[test]
    fn values_are_kept_on_average_and_rows_do_not_depend_on_the_batch() {
        let (rate, n, width) = (0.3, 400, 250);
        let dropout = Dropout::new(rate).with_draws(Draws::new(3));
        let of = |n: usize| {
            let ones = Tensor::<2>::ones([n, width], &Device::flex());
            dropout.forward(ones.into()).value.into_data().try_to_vec::<f32>().unwrap()
        };
        let all = of(n);
        assert_eq!(all[..7 * width], of(7));
        let count = (n * width) as f64;
        let kept = all.iter().filter(|v| **v > 0.0).count() as f64 / count;
        // 4.9 standard errors of a share.
        assert!((kept - 0.7).abs() < 4.9 * (rate * (1.0 - rate) / count).sqrt(), "{kept}");
        let mean = all.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        assert!((mean - kept / 0.7).abs() < 1e-6);
    }
}
