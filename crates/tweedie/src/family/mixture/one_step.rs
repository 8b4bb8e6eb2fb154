//! Fits that take a single step: kernel estimates, and single densities in closed form or by inner iterations.

use super::em::take_mixture;
use super::fits::STATE;
use super::{AsArrays, Fit, Fitter};
use crate::density::fit::{
    Bandwidth, Covariance, Distribution, Kde, KernelShape, Laplace, Mixture, Points, StudentT,
};
use crate::family::arrays::{put_doubles, take_doubles, take_shaped};
use crate::train::{State, count, take_count};
use crate::{Draws, Error, Result};
use burn::tensor::{DType, TensorData};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

/// A fit that takes a single step.
pub trait OneStepFit: Debug + Clone + Send + Sync + 'static {
    /// The type of the fitted distribution.
    type Output: AsArrays + 'static;

    /// Fails unless every option is valid; without errors by default.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The distribution fitted to the rows.
    ///
    /// # Errors
    /// [`Error::Undefined`] if no distribution of the kind fits them.
    fn fit(&self, points: &Points) -> Result<Self::Output>;

    /// The mean log-likelihood of the fitted rows, in nats per row.
    fn log_p(&self, found: &Self::Output, points: &Points) -> f64 {
        found.log_densities(points.values()).iter().sum::<f64>() / points.len() as f64
    }

    /// Reads and removes the distribution, as by [`Fit::take`].
    ///
    /// # Errors
    /// [`Error::File`].
    fn take(
        &self,
        width: usize,
        prefix: &str,
        from: &mut State,
        origin: &Path,
    ) -> Result<Self::Output>;
}

impl<F: OneStepFit> Fit for F {
    fn check(&self) -> Result<()> {
        OneStepFit::check(self)
    }

    fn begin(&self, points: Arc<Points>, _: &Draws) -> Result<Box<dyn Fitter>> {
        Ok(Box::new(OneStepFitter { of: self.clone(), points, found: None }))
    }

    fn take(
        &self,
        width: usize,
        prefix: &str,
        from: &mut State,
        origin: &Path,
    ) -> Result<Arc<dyn AsArrays>> {
        Ok(Arc::new(OneStepFit::take(self, width, prefix, from, origin)?))
    }
}

/// The state of a fit before or after its step.
struct OneStepFitter<F: OneStepFit> {
    of: F,
    points: Arc<Points>,
    /// The distribution and the mean log-likelihood of its rows; none before the step.
    found: Option<(F::Output, f64)>,
}

/// The name of the array that marks the step as done, and holds its likelihood.
const DONE: &str = "done";
const LOG_P: &str = "log_p";

impl<F: OneStepFit> Fitter for OneStepFitter<F> {
    fn step(&mut self) -> Result<f64> {
        if let Some((_, log_p)) = &self.found {
            return Ok(*log_p);
        }
        let found = self.of.fit(&self.points)?;
        let log_p = self.of.log_p(&found, &self.points);
        self.found = Some((found, log_p));
        Ok(log_p)
    }

    fn converged(&self) -> bool {
        self.found.is_some()
    }

    fn found(&self) -> Option<&dyn AsArrays> {
        self.found.as_ref().map(|(found, _)| found as &dyn AsArrays)
    }

    fn save(&self, prefix: &str, into: &mut State) {
        into.insert(format!("{prefix}{STATE}{DONE}"), count(self.converged().into()));
        if let Some((_, log_p)) = &self.found {
            put_doubles(into, format!("{prefix}{STATE}{LOG_P}"), vec![*log_p], vec![1]);
        }
    }

    fn load(&mut self, prefix: &str, from: &mut State, origin: &Path) -> Result<()> {
        self.found = match take_count(from, &format!("{prefix}{STATE}{DONE}"), origin)? {
            0 => None,
            _ => {
                let found = self.of.take(self.points.width(), prefix, from, origin)?;
                let log_p = take_shaped(from, &format!("{prefix}{STATE}{LOG_P}"), &[1], origin)?[0];
                Some((found, log_p))
            }
        };
        Ok(())
    }
}

/// The error of a distribution's parameters that are not as expected.
fn damaged(origin: &Path, prefix: &str, what: &str) -> impl Fn(Error) -> Error {
    move |error| Error::file(origin, prefix, error.to_string(), what)
}

/// Options of a kernel density estimate. Its training likelihood is the leave-one-out likelihood, which takes time n².
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KdeFit {
    /// The choice of the kernel's factor: `"scott"`, `"silverman"`, `"loo"`, which takes time n², or a number.
    pub bandwidth: Bandwidth,
    /// The matrix that the kernel's covariance is a multiple of.
    pub shape: KernelShape,
}

impl OneStepFit for KdeFit {
    type Output = Kde;

    fn check(&self) -> Result<()> {
        match self.bandwidth {
            Bandwidth::Factor(factor) if !(factor > 0.0 && factor.is_finite()) => {
                Err(Error::config("bandwidth", factor.to_string(), "a finite number above 0"))
            }
            _ => Ok(()),
        }
    }

    fn fit(&self, points: &Points) -> Result<Kde> {
        Kde::new(points, None, self.bandwidth, self.shape)
    }

    fn log_p(&self, found: &Kde, _: &Points) -> f64 {
        found.leave_one_out(found.factor())
    }

    fn take(&self, width: usize, prefix: &str, from: &mut State, origin: &Path) -> Result<Kde> {
        let damaged = damaged(origin, prefix, "a kernel density estimate");
        let (shape, values) = take_doubles(from, &format!("{prefix}rows"), origin)?;
        let factor = take_shaped(from, &format!("{prefix}factor"), &[1], origin)?[0];
        if shape.len() != 2 || shape[1] != width {
            let expected = format!("rows of {width} values");
            return Err(Error::file(
                origin,
                format!("{prefix}rows"),
                format!("{shape:?}"),
                expected,
            ));
        }
        let points = Points::new(values, width).map_err(&damaged)?;
        Kde::new(&points, None, Bandwidth::Factor(factor), self.shape).map_err(&damaged)
    }
}

impl AsArrays for Kde {
    fn put(&self, prefix: &str, into: &mut State) {
        let points = self.points();
        let rows = TensorData::new(points.values().to_vec(), [points.len(), points.width()]);
        // The rows had been encoded in single precision.
        into.insert(format!("{prefix}rows"), rows.convert_dtype(DType::F32));
        put_doubles(into, format!("{prefix}factor"), vec![self.factor()], vec![1]);
    }
}

/// Options of the fit of a single Gaussian.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianFit {
    /// The kind of covariance.
    pub covariance: Covariance,
}

impl OneStepFit for GaussianFit {
    type Output = Mixture;

    fn fit(&self, points: &Points) -> Result<Mixture> {
        Mixture::gaussian(points, self.covariance)
    }

    fn take(&self, width: usize, prefix: &str, from: &mut State, origin: &Path) -> Result<Mixture> {
        take_mixture(self.covariance, width, prefix, from, origin)
    }
}

/// Reads and removes arrays of a value for each of `width` columns, whose names follow `prefix`.
fn take_columns<const N: usize>(
    names: [&str; N],
    width: usize,
    prefix: &str,
    from: &mut State,
    origin: &Path,
) -> Result<[Vec<f64>; N]> {
    let mut arrays = names.map(|_| Vec::new());
    for (array, name) in arrays.iter_mut().zip(names) {
        *array = take_shaped(from, &format!("{prefix}{name}"), &[width], origin)?;
    }
    Ok(arrays)
}

/// Options of the fit of Laplace columns; there are none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LaplaceFit {}

impl OneStepFit for LaplaceFit {
    type Output = Laplace;

    fn fit(&self, points: &Points) -> Result<Laplace> {
        Laplace::fit(points)
    }

    fn take(&self, width: usize, prefix: &str, from: &mut State, origin: &Path) -> Result<Laplace> {
        let [locations, scales] =
            take_columns(["locations", "scales"], width, prefix, from, origin)?;
        Laplace::new(locations, scales).map_err(damaged(origin, prefix, "Laplace columns"))
    }
}

impl AsArrays for Laplace {
    fn put(&self, prefix: &str, into: &mut State) {
        for (name, values) in [("locations", self.locations()), ("scales", self.scales())] {
            put_doubles(into, format!("{prefix}{name}"), values.to_vec(), vec![values.len()]);
        }
    }
}

/// Options of the fit of columns of Student's t distribution; there are none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StudentFit {}

impl OneStepFit for StudentFit {
    type Output = StudentT;

    fn fit(&self, points: &Points) -> Result<StudentT> {
        StudentT::fit(points)
    }

    fn take(
        &self,
        width: usize,
        prefix: &str,
        from: &mut State,
        origin: &Path,
    ) -> Result<StudentT> {
        let names = ["locations", "scales", "degrees"];
        let [locations, scales, degrees] = take_columns(names, width, prefix, from, origin)?;
        let damaged = damaged(origin, prefix, "columns of Student's t distribution");
        StudentT::new(locations, scales, degrees).map_err(damaged)
    }
}

impl AsArrays for StudentT {
    fn put(&self, prefix: &str, into: &mut State) {
        let (locations, scales) = (self.locations(), self.scales());
        let all = [("locations", locations), ("scales", scales), ("degrees", self.degrees())];
        for (name, values) in all {
            put_doubles(into, format!("{prefix}{name}"), values.to_vec(), vec![values.len()]);
        }
    }
}
