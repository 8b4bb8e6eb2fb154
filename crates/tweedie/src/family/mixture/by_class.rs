//! One distribution for each class.

use super::{AsArrays, Fit};
use crate::data::{
    Condition, Generate, LogDensity, RowDensity, Space, doubles, of_rows, with_score_of_rows,
};
use crate::denoise::{Component, GaussianMixture};
use crate::density::fit::{Covariance, Mixture};
use crate::density::{Density, Kind, LogProb, Measure, check_batch};
use crate::family::arrays::{none_left, take_shaped};
use crate::tensor::Dual;
use crate::train::State;
use crate::{Draws, Error, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rayon::prelude::*;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// The name of the class frequencies in a state, and the prefix of the names of class `class`.
pub(super) const SHARES: &str = "shares";
pub(super) fn prefix(class: usize) -> String {
    format!("{class}.")
}

/// A distribution p(x | c) for each class c, and p(x) = Σ_c π_c p(x | c) for rows without a label; a single
/// distribution for data without classes. Everything is in model units.
#[derive(Clone)]
pub struct ByClass {
    /// The frequency π_c with the distribution of each class; none for a class without training rows.
    classes: Vec<(f64, Option<Arc<dyn AsArrays>>)>,
    width: usize,
}

impl ByClass {
    /// Reads and removes the distributions from a learner's weights.
    pub(super) fn take(
        fit: &dyn Fit,
        space: &Space,
        from: &mut State,
        origin: &Path,
    ) -> Result<Self> {
        let (count, width) = (space.classes().len().max(1), space.model_width());
        let shares = take_shaped(from, SHARES, &[count], origin)?;
        let sum: f64 = shares.iter().sum();
        let sound = shares.iter().all(|share| *share >= 0.0) && (sum - 1.0).abs() < 1e-9;
        if !sound {
            let expected = "numbers of at least 0 that sum to 1";
            return Err(Error::file(origin, SHARES, format!("{shares:?}"), expected));
        }
        let of = |(class, share): (usize, &f64)| match *share {
            0.0 => Ok((0.0, None)),
            share => Ok((share, Some(fit.take(width, &prefix(class), from, origin)?))),
        };
        let classes = shares.iter().enumerate().map(of).collect::<Result<_>>()?;
        none_left(from, origin)?;
        Ok(Self { classes, width })
    }

    /// The classes that have a distribution, with their frequencies.
    fn present(&self) -> impl Iterator<Item = (usize, f64, &dyn AsArrays)> {
        let all = self.classes.iter().enumerate();
        all.filter_map(|(class, (share, of))| Some((class, *share, of.as_deref()?)))
    }

    /// The mixture of Gaussians of data without classes.
    pub(super) fn single(&self) -> Option<&Mixture> {
        match &self.classes[..] {
            [(_, Some(of))] => of.mixture(),
            _ => None,
        }
    }

    /// The distribution of a class.
    fn of_class(&self, class: u32) -> Option<&dyn AsArrays> {
        self.classes.get(class as usize)?.1.as_deref()
    }

    /// The distribution for each of `rows` rows; none for a row without a label.
    fn of_rows(&self, condition: &Condition, rows: usize) -> Result<Vec<Option<&dyn AsArrays>>> {
        condition.check(rows)?;
        let labels = match condition {
            Condition::None => return Ok(vec![None; rows]),
            Condition::Class(labels) => labels,
            other => return Err(Error::shape("condition", other.kind(), "none or a class")),
        };
        let of = |label: &Option<u32>| {
            let Some(label) = label else { return Ok(None) };
            let found = self.of_class(*label);
            let expected = "a class of the training rows";
            found.map(Some).ok_or_else(|| Error::shape("class label", label, expected))
        };
        labels.iter().map(of).collect()
    }

    /// log p of the row `x` under the distribution `of`, or under the mixture of all classes.
    fn log_p_of(&self, of: Option<&dyn AsArrays>, x: &[f64]) -> f64 {
        match of {
            Some(of) => of.log_density(x),
            None => self.mixed(|of| of.log_density(x)).0,
        }
    }

    /// log p as by `log_p_of`; writes ∇log p to `score`.
    fn with_score_of(&self, of: Option<&dyn AsArrays>, x: &[f64], score: &mut [f64]) -> f64 {
        if let Some(of) = of {
            of.score(x, score);
            return of.log_density(x);
        }
        let (log, shares) = self.mixed(|of| of.log_density(x));
        let mut own = vec![0.0; x.len()];
        score.fill(0.0);
        for ((_, _, of), share) in self.present().zip(shares) {
            of.score(x, &mut own);
            score.iter_mut().zip(&own).for_each(|(sum, own)| *sum += share * own);
        }
        log
    }

    /// log Σ_c π_c exp(log p_c), and the share in it of each class that has a distribution.
    fn mixed(&self, log_p: impl Fn(&dyn AsArrays) -> f64) -> (f64, Vec<f64>) {
        let logs: Vec<f64> = self.present().map(|(_, share, of)| share.ln() + log_p(of)).collect();
        let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if !largest.is_finite() {
            return (largest, vec![1.0 / logs.len() as f64; logs.len()]);
        }
        let sum: f64 = logs.iter().map(|log| (log - largest).exp()).sum();
        let log = largest + sum.ln();
        (log, logs.iter().map(|own| (own - log).exp()).collect())
    }

    /// The mixture of Gaussians with the components of all classes, whose noised densities and posterior means are
    /// exact.
    ///
    /// # Errors
    /// [`Error::Undefined`] if a distribution is not a mixture of Gaussians.
    pub fn gaussians(&self) -> Result<GaussianMixture> {
        let labelled = self.classes.len() > 1;
        let mut all = Vec::new();
        for (class, share, of) in self.present() {
            let mixture = of.mixture().ok_or_else(|| {
                let why = "the distribution of the run is no mixture of Gaussians";
                Error::undefined("the posterior mean of noised data in closed form", why)
            })?;
            for mut component in components(mixture)? {
                component.weight *= share;
                all.push(if labelled { component.of_class(class as u32) } else { component });
            }
        }
        GaussianMixture::new(all)
    }
}

/// The components of a fitted mixture, for [`GaussianMixture`].
fn components(mixture: &Mixture) -> Result<Vec<Component>> {
    let each = mixture.weights().iter().enumerate();
    let component = |(k, weight): (usize, &f64)| {
        let (weight, mean, covariance) = (*weight, mixture.mean(k).to_vec(), mixture.covariance(k));
        let width = mean.len();
        match mixture.kind() {
            Covariance::Full | Covariance::Tied => Component::full(weight, mean, &covariance),
            Covariance::Diagonal | Covariance::Spherical => {
                let variances = (0..width).map(|j| covariance[j * width + j]).collect();
                Ok(Component::diagonal(weight, mean, variances))
            }
        }
    };
    each.map(component).collect()
}

impl RowDensity for ByClass {
    fn log_p(&self, x: &[f64], score: &mut [f64]) -> f64 {
        self.with_score_of(None, x, score)
    }
}

/// log p(x | class) of rows with a label, log p(x) of others, in double precision on the host.
impl LogDensity for ByClass {
    fn width(&self) -> usize {
        self.width
    }

    fn log_density(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        let of = self.of_rows(condition, x.dims()[0])?;
        of_rows(&|i, x, score| self.with_score_of(of[i], x, score), self.width, x)
    }

    fn with_score(&self, x: Tensor<2>, condition: &Condition) -> Result<(Tensor<2>, Tensor<2>)> {
        let of = self.of_rows(condition, x.dims()[0])?;
        with_score_of_rows(&|i, x, score| self.with_score_of(of[i], x, score), self.width, &x)
    }

    fn by_row(&self) -> Option<&dyn RowDensity> {
        Some(self)
    }
}

impl Density for ByClass {
    fn log_prob(&self, x: Tensor<2>, condition: &Condition) -> Result<LogProb> {
        check_batch(self.width, &x, condition)?;
        let [n, d] = x.dims();
        let (of, x) = (self.of_rows(condition, n)?, doubles(&x)?);
        let rows = x.par_chunks_exact(d).zip(of);
        let value = rows.map(|(x, of)| self.log_p_of(of, x)).collect();
        let measure = Measure::Standardised;
        Ok(LogProb { value, kind: Kind::Exact, standard_error: None, measure })
    }
}

impl Generate for ByClass {
    /// Exact samples in single precision; a row without a label has a random class, with the frequencies of training.
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        let n = rows.end.saturating_sub(rows.start) as usize;
        let of = self.of_rows(condition, n)?;
        let mut values = vec![0.0; n * self.width];
        let each = values.par_chunks_exact_mut(self.width).zip(of).enumerate();
        each.for_each(|(i, (x, of))| {
            let row = rows.start + i as u64;
            if let Some(of) = of.or_else(|| self.drawn(draws.purpose("class").uniform_f64(row, 0)))
            {
                of.sample(draws, row, x);
            }
        });
        let data = TensorData::new(values, [n, self.width]).convert_dtype(DType::F32);
        Ok(Tensor::from_data(data, (device, DType::F32)))
    }

    fn rows_at_once(&self) -> u64 {
        ((1 << 20) / self.width).clamp(256, 1 << 16) as u64
    }
}

impl ByClass {
    /// The class at which the running sum of frequencies exceeds a uniform number.
    fn drawn(&self, uniform: f64) -> Option<&dyn AsArrays> {
        let mut rest = uniform;
        let found = self.present().find(|(_, share, _)| {
            rest -= share;
            rest < 0.0
        });
        found.or_else(|| self.present().last()).map(|(_, _, of)| of)
    }
}
