//! Targets by name: densities in closed form, and trained runs.

use super::toys::{
    Checkerboard, EightGaussians, Moons, MoonsTorchcfm, Pinwheel, SCurve, Spirals, SwissRoll,
};
use crate::data::{Condition, Generate, LogDensity, Space};
use crate::error::inside;
use crate::family::Opener;
use crate::mcmc::{Banana, Funnel};
use crate::registry::registry;
use crate::{Draws, Error, Result};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Table;

registry! {
    /// Any named target, as recipes write it: `funnel`, or `{ name = "funnel", width = 2 }`, or a trained run,
    /// `{ name = "run", path = "runs/points", level = 2.0 }`.
    pub enum AnyTarget: Target = Funnel, "target" {
        "funnel" Funnel(Funnel)
            "Neal's funnel: normal columns whose variance is eˣ of the first; the default",
        "banana" Banana(Banana)
            "a bent Gaussian in the plane",
        "8gaussians" EightGaussians(EightGaussians)
            "eight Gaussians on a circle",
        "moons" Moons(Moons)
            "two half circles with Gaussian noise",
        "moons-torchcfm" MoonsTorchcfm(MoonsTorchcfm)
            "two half circles with torchdyn's noise, whose density is infinite on four lines",
        "checkerboard" Checkerboard(Checkerboard)
            "eight squares, outside of which the density is zero",
        "swissroll" SwissRoll(SwissRoll)
            "a spiral of one and a half turns",
        "spirals" Spirals(Spirals)
            "two spirals from the origin",
        "pinwheel" Pinwheel(Pinwheel)
            "five bent blades",
        "scurve" SCurve(SCurve)
            "two half circles that make an S",
        "run" Run(TrainedRun)
            "a trained run: its density where it has one, or its score at a noise level",
    }
}

/// A target density of chains, as recipes name it.
pub trait Target: std::fmt::Debug + Send + Sync {
    /// Fails, naming the key, unless every option is valid.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<()>;

    /// The folder of the run that the target comes from; none for a density in closed form.
    fn run(&self) -> Option<&Path> {
        None
    }

    /// The meaning of a row's columns; `open` opens other runs.
    ///
    /// # Errors
    /// Errors of opening a run.
    fn space(&self, open: &Opener) -> Result<Space>;

    /// The target's log density ln γ of rows in model units.
    ///
    /// # Errors
    /// Errors of opening a run, and of [`Model::target`](crate::family::Model::target).
    fn density(&self, open: &Opener) -> Result<Arc<dyn LogDensity>>;

    /// `n` exact draws in model units, `[n, width]`; row i depends on `draws` and i alone.
    ///
    /// # Errors
    /// [`Error::Undefined`] where exact draws are not possible; errors of opening a run, and of sampling.
    fn exact(&self, n: u64, draws: &Draws, open: &Opener, device: &Device) -> Result<Tensor<2>>;
}

/// The space of `width` real columns x1, x2, … with equal raw and model units.
pub(super) fn plain(width: usize) -> Result<Space> {
    Space::vector(&(1..=width).map(|j| format!("x{j}")).collect::<Vec<_>>())
}

/// Implements [`Target`] for densities in closed form that have checks and exact draws.
macro_rules! in_closed_form {
    ($($type:ty)+) => {
        $(
            impl Target for $type {
                fn check(&self) -> Result<()> {
                    self.check()
                }

                fn space(&self, _: &Opener) -> Result<Space> {
                    plain(LogDensity::width(self))
                }

                fn density(&self, _: &Opener) -> Result<Arc<dyn LogDensity>> {
                    Ok(Arc::new(*self))
                }

                fn exact(&self, n: u64, draws: &Draws, _: &Opener, device: &Device) -> Result<Tensor<2>> {
                    self.generate(0..n, &Condition::None, draws, device)
                }
            }
        )+
    };
}

in_closed_form!(Funnel Banana);

/// A trained run as a target, in its model units: the density over all classes of a run with a density in closed form,
/// or the noised density of a diffusion run at one level, by its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainedRun {
    /// The run's folder.
    pub path: PathBuf,
    /// The log-SNR of the level of a noised density.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<f64>,
}

impl TrainedRun {
    /// The options of [`Model::target`](crate::family::Model::target) for this run.
    fn options(&self) -> Table {
        self.level.iter().map(|level| ("level".to_string(), (*level).into())).collect()
    }
}

impl Target for TrainedRun {
    fn check(&self) -> Result<()> {
        if self.path.as_os_str().is_empty() {
            return Err(Error::config("target.path", "empty", "the folder of a run"));
        }
        match self.level.filter(|level| !level.is_finite()) {
            None => Ok(()),
            Some(level) => {
                Err(Error::config("target.level", level.to_string(), "a finite log-SNR"))
            }
        }
    }

    fn run(&self) -> Option<&Path> {
        Some(&self.path)
    }

    /// The space of the run without its classes: the target is the density over all of them.
    fn space(&self, open: &Opener) -> Result<Space> {
        Ok(open(&self.path)?.space().clone().with_classes(Vec::new()))
    }

    fn density(&self, open: &Opener) -> Result<Arc<dyn LogDensity>> {
        open(&self.path)?.target(&self.options()).map_err(|error| inside("target", error))
    }

    fn exact(&self, n: u64, draws: &Draws, open: &Opener, device: &Device) -> Result<Tensor<2>> {
        if self.level.is_some() {
            let why = "a run has samples of the data, not of noised data";
            return Err(Error::undefined("exact draws of a run at a level", why));
        }
        let model = open(&self.path)?;
        let generator = model.exact()?;
        let at_once = generator.rows_at_once().max(1);
        let part = |start: u64| {
            let rows = start..(start + at_once).min(n);
            let labels = vec![None; (rows.end - rows.start) as usize];
            generator.generate(rows, &model.space().condition(labels)?, draws, device)
        };
        let parts = (0..n).step_by(at_once as usize).map(part).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(parts, 0))
    }
}
