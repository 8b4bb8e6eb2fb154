//! Fits by name, their steps, and distributions as arrays.

use super::{EmFit, GaussianFit, KdeFit, LaplaceFit, StudentFit};
use crate::density::fit::{Distribution, Mixture, Points};
use crate::registry::registry;
use crate::train::State;
use crate::{Draws, Result};
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

registry! {
    /// Any named fit, as recipes write it: `kde`, or `{ name = "kde", bandwidth = "loo" }`.
    pub enum AnyFit: Fit = GaussianMixture, "mixture" {
        "gaussian-mixture" GaussianMixture(EmFit)
            "a mixture of Gaussians by expectation–maximisation; the default",
        "kde" Kde(KdeFit)
            "a kernel density estimate with a Gaussian kernel",
        "gaussian" Gaussian(GaussianFit)
            "one Gaussian, by maximum likelihood",
        "laplace" Laplace(LaplaceFit)
            "independent Laplace columns, by maximum likelihood",
        "student-t" StudentT(StudentFit)
            "independent columns of Student's t distribution, by maximum likelihood",
    }
}

/// The prefix of the names of a fit's state, beside the parameters of its distribution.
pub(super) const STATE: &str = "state.";

/// The options of a fit of a distribution.
pub trait Fit: Debug + Send + Sync {
    /// Fails, naming the key, unless every option is valid.
    ///
    /// # Errors
    /// [`crate::Error::Config`].
    fn check(&self) -> Result<()>;

    /// The fit to `points` before its first step; `draws` are the random numbers of its starts.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for an option that does not fit the rows; [`crate::Error::Undefined`] if no
    /// distribution of the kind fits them.
    fn begin(&self, points: Arc<Points>, draws: &Draws) -> Result<Box<dyn Fitter>>;

    /// Reads and removes the distribution that [`AsArrays::put`] wrote under names that begin with `prefix`, on rows of
    /// `width` values; `origin` is the name of the file in errors.
    ///
    /// # Errors
    /// [`crate::Error::File`] naming the array that is missing or does not fit.
    fn take(
        &self,
        width: usize,
        prefix: &str,
        from: &mut State,
        origin: &Path,
    ) -> Result<Arc<dyn AsArrays>>;
}

/// A distribution that can be written as arrays.
pub trait AsArrays: Distribution {
    /// Adds the parameters to a state, under names that begin with `prefix`.
    fn put(&self, prefix: &str, into: &mut State);

    /// The distribution as a mixture of Gaussians, if it is one.
    fn mixture(&self) -> Option<&Mixture> {
        None
    }
}

/// The state of a fit on some rows.
pub trait Fitter: Send {
    /// Takes a step unless the fit has converged; returns the mean log-likelihood in nats per row. For iterative fits
    /// it is the likelihood before the step.
    ///
    /// # Errors
    /// [`crate::Error::Undefined`] if the likelihood has no maximum; [`crate::Error::Diverged`] if a number is not
    /// finite.
    fn step(&mut self) -> Result<f64>;

    /// Whether further steps would change nothing.
    fn converged(&self) -> bool;

    /// The distribution so far; none before the step of a one-step fit.
    fn found(&self) -> Option<&dyn AsArrays>;

    /// What a user should know of the fit, each in a line; nothing by default.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Adds the state beyond the parameters of [`Fitter::found`], under names that begin with `prefix` and `state.`.
    fn save(&self, prefix: &str, into: &mut State);

    /// Restores and removes what [`Fitter::save`] and [`AsArrays::put`] wrote; `origin` is the name of the file in
    /// errors.
    ///
    /// # Errors
    /// [`crate::Error::File`] naming the array that is missing or does not fit.
    fn load(&mut self, prefix: &str, from: &mut State, origin: &Path) -> Result<()>;
}
