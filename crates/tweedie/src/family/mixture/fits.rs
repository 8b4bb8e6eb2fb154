//! Fits by name, what a fit under way can do, and distributions as arrays.

use super::{EmFit, GaussianFit, KdeFit, LaplaceFit, StudentFit};
use crate::density::fit::{Distribution, Mixture, Points};
use crate::registry::registry;
use crate::{Draws, Result};
use burn::tensor::TensorData;
use std::collections::BTreeMap;
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
        from: &mut BTreeMap<String, TensorData>,
        origin: &Path,
    ) -> Result<Arc<dyn AsArrays>>;
}

/// A distribution that can be written as arrays.
pub trait AsArrays: Distribution {
    /// Writes its parameters under names that begin with `prefix`.
    fn put(&self, prefix: &str, into: &mut BTreeMap<String, TensorData>);

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

    /// The distribution found so far.
    ///
    /// # Errors
    /// [`crate::Error::Undefined`] where there is none before the first step.
    fn found(&self) -> Result<&dyn AsArrays>;

    /// Writes everything that changes under names that begin with `prefix`.
    fn save(&self, prefix: &str, into: &mut BTreeMap<String, TensorData>);

    /// Goes back to what [`Fitter::save`] wrote; `origin` names the file, for errors.
    ///
    /// # Errors
    /// [`crate::Error::File`] naming the array that is missing or does not fit.
    fn load(
        &mut self,
        prefix: &str,
        from: &mut BTreeMap<String, TensorData>,
        origin: &Path,
    ) -> Result<()>;
}
