//! A mixture as a model: generated rows, log p of batches, and its noised form as a mixture.

use super::{Component, GaussianMixture};
use crate::data::{Condition, Generate, LogDensity};
use crate::denoise::Denoiser;
use crate::process::{Level, Levels};
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::ops::Range;

impl GaussianMixture {
    /// The density of α x₀ + σ z at a level, a mixture of N(α μ_k, α² C_k + σ² I).
    ///
    /// ```
    /// use tweedie::denoise::{Component, GaussianMixture};
    /// use tweedie::process::Level;
    /// let data = GaussianMixture::new(vec![Component::isotropic(1.0, vec![2.0], 0.1)])?;
    /// assert_eq!(data.noised(&Level::new(0.5, 0.5, 1.0))?.components()[0].mean, [1.0]);
    /// # Ok::<(), tweedie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] if a variance would be zero or infinite.
    pub fn noised(&self, level: &Level) -> Result<Self> {
        let Level { alpha, sigma, .. } = *level;
        let at_level = |c: &Component| Component {
            mean: c.mean.iter().map(|m| alpha * m).collect(),
            variances: c.variances.iter().map(|v| alpha * alpha * v + sigma * sigma).collect(),
            ..c.clone()
        };
        Self::new(self.components.iter().map(at_level).collect())
    }

    /// Fails unless each of `rows` rows has no condition or a class of the mixture.
    pub(super) fn check_condition(&self, condition: &Condition, rows: usize) -> Result<()> {
        condition.check(rows)?;
        let labels = match condition {
            Condition::None => return Ok(()),
            Condition::Class(labels) => labels,
            other => return Err(Error::shape("condition", other.kind(), "none or a class")),
        };
        let known = |label: &&u32| self.components.iter().any(|c| c.class == Some(**label));
        match labels.iter().flatten().find(|label| !known(label)) {
            Some(label) => Err(Error::shape("class label", label, "a class of the mixture")),
            None => Ok(()),
        }
    }

    /// The logarithm of the total weight of each row's class, `[n, 1]`; 0 for rows without a label.
    fn log_shares(&self, labels: &[Option<u32>], device: &Device) -> Tensor<2> {
        let share = |label: &Option<u32>| {
            let own = self.components.iter().filter(|c| c.class == *label);
            label.map_or(0.0, |_| own.map(|c| c.weight).sum::<f64>().ln())
        };
        let data = TensorData::new(labels.iter().map(share).collect::<Vec<_>>(), [labels.len(), 1]);
        Tensor::from_data(data, (device, DType::F64))
    }

    /// log p(x | condition) from `parts`.
    pub(super) fn log_p(&self, parts: super::Parts, condition: &Condition) -> Dual<2> {
        let joint = parts.shifted.exp().sum_dim(1).log() + parts.max;
        match condition {
            Condition::Class(labels) => {
                let shares = self.log_shares(labels, &joint.value.device());
                joint - shares
            }
            _ => joint,
        }
    }
}

/// log p₀, the density of the data, in double precision; log p₀(x | class) for a row with a label.
impl LogDensity for GaussianMixture {
    fn width(&self) -> usize {
        Denoiser::width(self)
    }

    fn log_density(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        self.log_noised(x, &Level::clean(0.0).into(), condition)
    }

    fn with_score(&self, x: Tensor<2>, condition: &Condition) -> Result<(Tensor<2>, Tensor<2>)> {
        self.check_condition(condition, x.dims()[0])?;
        let (x, clean): (Dual<2>, Levels) =
            (x.inner().cast(DType::F64).into(), Level::clean(0.0).into());
        let parts = self.parts(&x, &clean, Some(condition))?;
        let score = self.score_of(&parts, &clean)?;
        Ok((self.log_p(parts, condition).value, score))
    }
}

impl Generate for GaussianMixture {
    /// Rows of [`GaussianMixture::sample`] in single precision; a row with a label belongs to that class.
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        let n = rows.end.saturating_sub(rows.start) as usize;
        self.check_condition(condition, n)?;
        let label = |i: usize| match condition {
            Condition::Class(labels) => labels[i],
            _ => None,
        };
        let width = Denoiser::width(self);
        let mut values = Vec::with_capacity(n * width);
        rows.enumerate().for_each(|(i, row)| self.point(row, label(i), draws, &mut values));
        let data = TensorData::new(values, [n, width]).convert_dtype(DType::F32);
        Ok(Tensor::from_data(data, (device, DType::F32)))
    }
}
