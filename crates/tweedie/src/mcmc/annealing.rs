//! Annealed importance sampling (Neal, "Annealed importance sampling", 2001, eqs. 3–11): the ratio of the integrals of
//! two densities, by chains whose density changes slowly from one to the other.
//!
//! Along 0 = β_0 < β_1 < … < β_K = 1 lie densities γ_β, from γ_0, which can be drawn from, to γ_1. With x_1 ~ γ_0 and
//! x_{k+1} a step from x_k that leaves γ_{β_k} invariant,
//!
//! > w = ∏_k γ_{β_k}(x_k) / γ_{β_{k−1}}(x_k),  E[w] = Z_1/Z_0,
//!
//! whatever the steps: those that mix badly only spread the weights. From draws of γ_1 the same runs backwards, with
//! E[w] = Z_0/Z_1. By Jensen's inequality the mean of ln w lies below ln Z_1/Z_0 in the forward direction, and minus it
//! above in the backward one, so that the two enclose it (Burda, Grosse & Salakhutdinov, "Accurate and conservative
//! estimates of MRF log-likelihood using reverse annealing", 2015, sec. 3); the backward one needs exact draws of γ_1.

use super::Transition;
use crate::data::{Condition, LogDensity};
use crate::error::count;
use crate::path::Direction;
use crate::tensor::{Dual, host_column};
use crate::{Draws, Result};
use burn::tensor::{DType, Tensor};

/// A family of densities γ_β from γ_0 to γ_1.
pub trait AnnealingPath: Send + Sync {
    /// The density at β, from 0 to 1.
    ///
    /// # Errors
    /// Errors of the densities.
    fn at(&self, beta: f64) -> Result<Box<dyn LogDensity + '_>>;

    /// ln γ_to − ln γ_from of each row of `x`, `[n, width]`, in nats.
    ///
    /// # Errors
    /// Errors of the densities.
    fn log_ratio(&self, from: f64, to: f64, x: &Tensor<2>) -> Result<Vec<f64>> {
        let of = |beta| {
            let log = self.at(beta)?.log_density(x.clone().into(), &Condition::None)?;
            host_column(&log.value.inner())
        };
        let (to, from) = (of(to)?, of(from)?);
        Ok(to.iter().zip(from).map(|(to, from)| to - from).collect())
    }
}

/// The geometric path γ_β = γ_0^(1 − β) γ_1^β.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::Device;
/// use tweedie::data::{Condition, Generate};
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::divergence::Weights;
/// use tweedie::mcmc::{Annealing, GeometricPath, Mala};
/// use tweedie::path::Direction;
/// let normal = |mean, variance| GaussianMixture::new(vec![Component::isotropic(1.0, vec![mean], variance)]);
/// let (base, target) = (normal(0.0, 1.0)?, normal(1.0, 0.5)?);
/// let path = GeometricPath { base: &base, target: &target };
/// let annealing = Annealing { kernel: &Mala::default(), temperatures: 50, steps: 1 };
/// let start = base.generate(0..200, &Condition::None, &Draws::new(0), &Device::flex())?;
/// let (_, log_w) = annealing.run(&path, Direction::Forward, start, &Draws::new(1))?;
/// let log_z = Weights::new(log_w)?.log_mean(); // both integrate to one
/// assert!(log_z.value.abs() < 5.0 * log_z.standard_error);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct GeometricPath<'a> {
    /// ln γ_0.
    pub base: &'a dyn LogDensity,
    /// ln γ_1.
    pub target: &'a dyn LogDensity,
}

/// The density of a geometric path at one β.
struct Between<'a> {
    of: GeometricPath<'a>,
    beta: f64,
}

impl LogDensity for Between<'_> {
    fn width(&self) -> usize {
        self.of.target.width()
    }

    fn log_density(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        let part = |of: &dyn LogDensity, share: f64| {
            let log = of.log_density(x.clone(), condition)?;
            Ok::<_, crate::Error>(log.linear(|log| log.cast(DType::F64).mul_scalar(share)))
        };
        Ok(part(self.of.base, 1.0 - self.beta)? + part(self.of.target, self.beta)?)
    }

    fn with_score(&self, x: Tensor<2>, condition: &Condition) -> Result<(Tensor<2>, Tensor<2>)> {
        let part = |of: &dyn LogDensity, share: f64| {
            let (log, score) = of.with_score(x.clone(), condition)?;
            let shared = |value: Tensor<2>| value.cast(DType::F64).mul_scalar(share);
            Ok::<_, crate::Error>((shared(log), shared(score)))
        };
        let (base, target) =
            (part(self.of.base, 1.0 - self.beta)?, part(self.of.target, self.beta)?);
        Ok((base.0 + target.0, base.1 + target.1))
    }

    fn log_z(&self) -> Option<f64> {
        None
    }
}

impl AnnealingPath for GeometricPath<'_> {
    fn at(&self, beta: f64) -> Result<Box<dyn LogDensity + '_>> {
        Ok(Box::new(Between { of: *self, beta }))
    }

    fn log_ratio(&self, from: f64, to: f64, x: &Tensor<2>) -> Result<Vec<f64>> {
        let of = |density: &dyn LogDensity| {
            host_column(&density.log_density(x.clone().into(), &Condition::None)?.value.inner())
        };
        let (base, target) = (of(self.base)?, of(self.target)?);
        Ok(target.iter().zip(base).map(|(target, base)| (to - from) * (target - base)).collect())
    }
}

/// Annealed importance sampling: its kernel, and the number of its steps.
#[derive(Debug, Clone, Copy)]
pub struct Annealing<'a> {
    /// The kernel, which leaves each density of the path invariant: one with an acceptance test and without warm-up, or
    /// Gibbs sampling.
    pub kernel: &'a dyn Transition,
    /// The number K of equal steps of β.
    pub temperatures: usize,
    /// The number of the kernel's steps at each β between 0 and 1.
    pub steps: usize,
}

impl Annealing<'_> {
    /// Fails, naming the key, unless every value is valid.
    ///
    /// # Errors
    /// [`crate::Error::Config`].
    pub fn check(&self) -> Result<()> {
        count("temperatures", self.temperatures as u64, 1 << 24)?;
        count("steps", self.steps as u64, 1 << 20)?;
        self.kernel.check()
    }

    /// Runs a chain from each row of `start`, `[n, width]`: draws of γ_0 for the forward direction, of γ_1 for the
    /// backward one. Returns the rows at the end, `[n, width]`, and ln w of each chain in nats. Chain i uses the
    /// random numbers of row i of `draws`.
    ///
    /// # Errors
    /// As [`Annealing::check`]; errors of the path and of the kernel.
    pub fn run(
        &self,
        path: &dyn AnnealingPath,
        direction: Direction,
        start: Tensor<2>,
        draws: &Draws,
    ) -> Result<(Tensor<2>, Vec<f64>)> {
        let rows: Vec<u64> = (0..start.dims()[0] as u64).collect();
        self.run_as(path, direction, start, &rows, draws)
    }

    /// As [`Annealing::run`], with the random numbers of row `rows[i]` of `draws` for chain i.
    ///
    /// # Errors
    /// As [`Annealing::run`].
    pub fn run_as(
        &self,
        path: &dyn AnnealingPath,
        direction: Direction,
        start: Tensor<2>,
        rows: &[u64],
        draws: &Draws,
    ) -> Result<(Tensor<2>, Vec<f64>)> {
        self.check()?;
        let last = self.temperatures;
        let beta = |k: usize| match direction {
            Direction::Forward => k as f64 / last as f64,
            Direction::Backward => 1.0 - k as f64 / last as f64,
        };
        let mut log_w = vec![0.0; start.dims()[0]];
        let mut x = start;
        for k in 1..=last {
            let ratios = path.log_ratio(beta(k - 1), beta(k), &x)?;
            log_w.iter_mut().zip(ratios).for_each(|(sum, ratio)| *sum += ratio);
            if k < last {
                let (target, draws) = (path.at(beta(k))?, draws.at(k as u64));
                let mut chains = self.kernel.init(x, &*target)?.with_rows(rows.to_vec())?;
                for _ in 0..self.steps {
                    chains = self.kernel.step(chains, &*target, &draws)?.0;
                }
                x = chains.x();
            }
        }
        Ok((x, log_w))
    }
}
