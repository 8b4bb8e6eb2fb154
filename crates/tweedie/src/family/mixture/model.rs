//! A fitted distribution as a model.

use super::{ByClass, EmFit, picture};
use crate::data::{Condition, Generate, LogDensity, Rows, Space};
use crate::denoise::GaussianMixture;
use crate::density::{Density, Measure};
use crate::family::density::{exact, judge_exact, no_keys};
use crate::family::plane::beside_data;
use crate::family::{
    DensityEntry, Drawing, Integers, Judge, Model, Picture, PictureSetting, Setting,
};
use crate::process::Level;
use crate::{Error, Result, registry};
use burn::tensor::Device;
use serde::Deserialize;
use std::any::Any;
use std::sync::Arc;
use toml::{Table, Value};

/// The name of the density.
const EXACT: &str = "exact";

/// A distribution in closed form, or one for each class, as a model.
pub struct MixtureModel {
    space: Space,
    of: Arc<ByClass>,
    /// The options of EM, if the distribution was fitted by it.
    fit: Option<EmFit>,
}

impl MixtureModel {
    /// The model with the distribution `of` on the model units of `space`.
    pub fn new(space: Space, of: ByClass) -> Self {
        Self { space, of: Arc::new(of), fit: None }
    }

    /// The model with the options of EM by which it was fitted, for a picture of its steps.
    pub fn with_fit(self, fit: EmFit) -> Self {
        Self { fit: Some(fit), ..self }
    }

    /// The distribution in model units.
    pub fn distribution(&self) -> &ByClass {
        &self.of
    }

    /// The mixture of Gaussians in model units, whose denoisers are exact.
    ///
    /// # Errors
    /// [`Error::Undefined`] if the run's distribution is not a mixture of Gaussians.
    pub fn oracle(&self) -> Result<GaussianMixture> {
        self.of.gaussians()
    }

    /// The densities p of raw rows.
    fn at(&self, raw: &Rows, device: &Device) -> Result<Vec<f64>> {
        let x = self.space.encode(raw)?;
        let log_p = self.of.log_prob(x.to_tensor(device), &Condition::None)?;
        let log_p = log_p.in_units_of(&self.space.log_volumes(&x)?, Measure::Raw);
        Ok(log_p.value.iter().map(|log_p| log_p.exp()).collect())
    }
}

/// The choice of a density as target.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    /// The log-SNR of the variance-preserving level at which the data are noised; none for the data themselves.
    level: Option<f64>,
}

impl Model for MixtureModel {
    fn space(&self) -> &Space {
        &self.space
    }

    fn generator(&self, sampling: &Table, _: &Setting) -> Result<Box<dyn Generate + '_>> {
        no_keys(sampling, "no key: samples of a distribution in closed form are exact")?;
        Ok(Box::new((*self.of).clone()))
    }

    fn densities(&self) -> Vec<DensityEntry> {
        exact(&self.space, EXACT, "log p in closed form")
    }

    fn density(&self, name: &str, options: &Table, _: Integers, at: &Setting) -> Result<Judge<'_>> {
        let density = Box::new((*self.of).clone());
        judge_exact(&self.densities(), (name, options), density, &self.space, at)
    }

    /// The density of the data over all classes; with `level`, the density of the data noised to that log-SNR by a
    /// variance-preserving process, which needs mixtures of Gaussians.
    fn target(&self, options: &Table) -> Result<Arc<dyn LogDensity>> {
        let Target { level } = registry::read(Value::Table(options.clone()), "")?;
        let Some(log_snr) = level else { return Ok(self.of.clone()) };
        if !log_snr.is_finite() {
            return Err(Error::config("level", log_snr.to_string(), "a finite log-SNR"));
        }
        let level = Level::variance_preserving(0.0, log_snr);
        Ok(Arc::new(self.oracle()?.noised(&level)?))
    }

    fn exact(&self) -> Result<Box<dyn Generate + '_>> {
        Ok(Box::new((*self.of).clone()))
    }

    fn pictures<'a>(&'a self, at: &'a PictureSetting<'a>) -> Vec<Picture<'a>> {
        let draw = move || {
            let picture =
                beside_data(&self.space, at, "Density of the model, in closed form", |raw| {
                    self.at(raw, at.device)
                });
            picture.map(Drawing::Still)
        };
        let about = "the data and the model's density";
        let density = Picture { name: "density", about, draw: Box::new(draw) };
        let Some(fit) = &self.fit else { return vec![density] };
        let draw = move || {
            let what = "a picture of the steps of EM";
            let why = "each class has a fit of its own";
            let found = self.of.single().ok_or_else(|| Error::undefined(what, why))?;
            picture::steps(fit, found, &self.space, at).map(Drawing::Still)
        };
        let about = "the components of the mixture over the steps of EM, with log p";
        vec![density, Picture { name: "em", about, draw: Box::new(draw) }]
    }

    fn any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
