//! Guidance: a denoiser that combines two denoisers, so that it works with every solver.

use super::Denoiser;
use crate::data::Condition;
use crate::process::{Level, Levels};
use crate::tensor::Dual;
use crate::{Error, Result};
use burn::tensor::Tensor;
use std::sync::Arc;

/// Classifier-free guidance (Ho & Salimans 2022) and autoguidance (Karras et al. 2024):
///
/// > D_w(x; c) = D_weak + w (D(x; c) − D_weak),
///
/// where the weak model is the same model without its condition, or a worse model with it. w = 1 is the plain
/// conditional model; w > 1 pushes samples towards the condition. Since the score is affine in the denoiser at a level,
/// this is the extrapolation s_weak + w (s − s_weak) of scores. Outside an interval of λ the plain model is used
/// (Kynkäänniemi et al. 2024), which also saves the second evaluation.
pub struct Guidance<D> {
    model: D,
    weak: Option<Arc<dyn Denoiser>>,
    weight: f64,
    interval: (f64, f64),
}

impl<D: Denoiser> Guidance<D> {
    /// Guidance of `model` by itself without its condition, with the given weight w.
    ///
    /// # Errors
    /// [`Error::Config`] if the weight is not finite.
    pub fn new(model: D, weight: f64) -> Result<Self> {
        if !weight.is_finite() {
            return Err(Error::config("guidance", format!("{weight}"), "a finite number"));
        }
        Ok(Self { model, weak: None, weight, interval: (f64::NEG_INFINITY, f64::INFINITY) })
    }

    /// Replaces the unconditional model by a worse model under the same condition.
    pub fn with_weak(mut self, weak: Arc<dyn Denoiser>) -> Self {
        self.weak = Some(weak);
        self
    }

    /// Limits guidance to log-SNRs in `[low, high]`.
    pub fn with_interval(mut self, low: f64, high: f64) -> Self {
        self.interval = (low, high);
        self
    }

    fn inside(&self, level: &Level) -> bool {
        level.lambda >= self.interval.0 && level.lambda <= self.interval.1
    }

    /// The guided mean, given the mean `strong` of the model.
    fn guided(
        &self,
        strong: Dual<2>,
        x: Dual<2>,
        levels: &Levels,
        condition: &Condition,
    ) -> Result<Dual<2>> {
        let weight_of = |l: &Level| if self.inside(l) { self.weight } else { 1.0 };
        let idle = match levels {
            Levels::All(level) => weight_of(level) == 1.0,
            Levels::Rows(rows) => rows.iter().all(|l| weight_of(l) == 1.0),
            Levels::Tracked { .. } => self.weight == 1.0,
        };
        if idle {
            return Ok(strong);
        }
        let weak = match &self.weak {
            Some(weak) => weak.denoise(x.clone(), levels, condition)?,
            None => self.model.denoise(x.clone(), levels, &condition.none())?,
        };
        let weight = levels.column(&x.value, weight_of)?;
        Ok(weak.clone() + (strong - weak) * weight)
    }
}

impl<D: Denoiser> Denoiser for Guidance<D> {
    fn denoise(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        let strong = self.model.denoise(x.clone(), levels, condition)?;
        self.guided(strong, x, levels, condition)
    }

    /// The variance is the model's own.
    fn denoise_with_variance(
        &self,
        x: Tensor<2>,
        levels: &Levels,
        condition: &Condition,
    ) -> Result<(Tensor<2>, Option<Tensor<2>>)> {
        let (strong, variance) = self.model.denoise_with_variance(x.clone(), levels, condition)?;
        let guided = self.guided(strong.into(), x.into(), levels, condition)?;
        Ok((guided.value, variance))
    }

    fn width(&self) -> usize {
        self.model.width()
    }

    fn evaluations(&self) -> u64 {
        self.model.evaluations() + self.weak.as_ref().map_or(0, |w| w.evaluations())
    }
}

/// Makes a reference to a denoiser a denoiser.
macro_rules! by_reference {
    ($reference:ty) => {
        impl<D: Denoiser + ?Sized> Denoiser for $reference {
            fn denoise(
                &self,
                x: Dual<2>,
                levels: &Levels,
                condition: &Condition,
            ) -> Result<Dual<2>> {
                (**self).denoise(x, levels, condition)
            }

            fn denoise_with_variance(
                &self,
                x: Tensor<2>,
                levels: &Levels,
                condition: &Condition,
            ) -> Result<(Tensor<2>, Option<Tensor<2>>)> {
                (**self).denoise_with_variance(x, levels, condition)
            }

            fn log_noised(
                &self,
                x: Dual<2>,
                levels: &Levels,
                condition: &Condition,
            ) -> Result<Dual<2>> {
                (**self).log_noised(x, levels, condition)
            }

            fn width(&self) -> usize {
                (**self).width()
            }

            fn evaluations(&self) -> u64 {
                (**self).evaluations()
            }
        }
    };
}

by_reference!(Arc<D>);
by_reference!(&D);
