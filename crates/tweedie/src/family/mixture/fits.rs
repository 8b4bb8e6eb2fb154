//! Fits by name, what a fit under way can do, and distributions as arrays.

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

/// How the names of what a fit needs to go on begin, beside the parameters that it has found.
pub(super) const STATE: &str = "state.";

/// The options of a fit.
pub trait Fit: Debug + Send + Sync {
    /// Fails, naming the key, unless every option makes sense.
    ///
    /// # Errors
    /// [`crate::Error::Config`].
    fn check(&self) -> Result<()>;

    /// The fit before its first step; `draws` are those of random starts.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for an option that does not fit the rows; [`crate::Error::Undefined`] if no distribution of
    /// the kind fits them.
    fn begin(&self, points: Arc<Points>, draws: &Draws) -> Result<Box<dyn Fitter>>;

    /// The distribution that [`AsArrays::put`] wrote under names that begin with `prefix`, on rows of `width` values;
    /// `origin` names the file, for errors.
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
    /// Writes its parameters under names that begin with `prefix`.
    fn put(&self, prefix: &str, into: &mut State);

    /// The mixture of Gaussians that it is, if it is one.
    fn mixture(&self) -> Option<&Mixture> {
        None
    }
}

/// A fit under way on some rows.
pub trait Fitter: Send {
    /// Takes a step unless the fit has converged; gives the mean log-likelihood in nats a row, of iterative fits that
    /// before the step.
    ///
    /// # Errors
    /// [`crate::Error::Undefined`] if the likelihood has no maximum; [`crate::Error::Diverged`] if a number is not finite.
    fn step(&mut self) -> Result<f64>;

    /// Whether further steps change nothing.
    fn converged(&self) -> bool;

    /// The distribution found so far; none before the only step of a fit that is done at once.
    fn found(&self) -> Option<&dyn AsArrays>;

    /// Writes what changes and is not among the parameters of [`Fitter::found`], under names that begin with `prefix`
    /// and `state.`.
    fn save(&self, prefix: &str, into: &mut State);

    /// Goes back to what [`Fitter::save`] and [`AsArrays::put`] wrote, and removes both; `origin` names the file, for
    /// errors.
    ///
    /// # Errors
    /// [`crate::Error::File`] naming the array that is missing or does not fit.
    fn load(&mut self, prefix: &str, from: &mut State, origin: &Path) -> Result<()>;
}
