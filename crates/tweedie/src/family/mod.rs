//! Families of generative models: what a trained run can do, whatever it was trained as.
//!
//! A family turns a recipe and data into a learner, and saved weights into a [`Model`]. Commands and the judge use the
//! model alone: it generates rows, gives densities of rows, and draws pictures, or says why it does not.

mod arrays;
pub mod chains;
mod density;
pub mod diffusion;
pub mod flow;
pub mod mixture;
mod plan;
mod plane;

pub use plan::{Entry, Plan, family};

use crate::data::{Condition, Dataset, Generate, LogDensity, Rows, Space, Split};
use crate::density::RawDensity;
use crate::draw::Animation;
use crate::metric::judge::Score;
use crate::train::{Learner, State, Training};
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use image::RgbImage;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::fmt::Debug;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Table;

/// Every family, the default first.
pub const FAMILIES: &[Entry] = &[
    Entry::of::<diffusion::Diffusion>(),
    Entry::of::<flow::Flow>(),
    Entry::of::<mixture::MixtureRecipe>(),
    Entry::of::<chains::ChainsRecipe>(),
];

/// How far a computation is: `done` of `total` units of `what`, with a `note` such as a loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The computation, in a word or two.
    pub what: String,
    /// The unit counted.
    pub unit: &'static str,
    /// Units done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
    /// A value of interest, or nothing.
    pub note: String,
}

/// A callback that hears how far a computation is.
pub type Observe<'a> = dyn Fn(Task) + 'a;

/// Data that a model reads only if it must, such as training rows to measure errors on.
pub type Loader = Arc<dyn Fn() -> Result<Dataset> + Send + Sync>;

/// What a computation of a density or a picture needs beside the model.
pub struct Setting<'a> {
    /// The device.
    pub device: &'a Device,
    /// The seed of noise, probes and fits.
    pub seed: u64,
    /// A callback for progress.
    pub observe: &'a Observe<'a>,
}

/// A treatment of integer columns by a density.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Integers {
    /// There are no integer columns.
    None,
    /// Integers stay integers, recovered from the cleanest level by its noise.
    Decoder,
    /// Integers stay integers, recovered from the cleanest level by the network's mean.
    NetworkDecoder,
    /// Uniform noise is added to integers.
    Uniform,
    /// Noise of a small network, fitted to the model first, is added to integers.
    Variational,
}

impl Integers {
    /// Every treatment by its name as an option.
    pub const NAMES: [(&'static str, Integers); 4] = [
        ("decoder", Integers::Decoder),
        ("network-decoder", Integers::NetworkDecoder),
        ("uniform", Integers::Uniform),
        ("variational", Integers::Variational),
    ];

    /// The name as an option; empty where there are no integers.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, way)| *way == self).map_or("", |(name, _)| name)
    }
}

/// A density that a model has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DensityEntry {
    /// The name as an option.
    pub name: &'static str,
    /// One line on what it is.
    pub about: &'static str,
    /// Its treatments of integer columns, the default first.
    pub integers: Vec<Integers>,
}

/// A density ready to judge rows, and how it is computed.
pub struct Judge<'a> {
    /// The density.
    pub judged: Box<dyn RawDensity + 'a>,
    /// How it is computed, in words.
    pub how: String,
    /// Network evaluations a row, about.
    pub evaluations: f64,
}

/// A picture: one that stands still, or one that moves.
pub enum Drawing {
    /// A still picture.
    Still(RgbImage),
    /// A moving picture.
    Moving(Animation),
}

/// A picture that a model can draw.
pub struct Picture<'a> {
    /// The name of its file.
    pub name: &'static str,
    /// One line on what it shows.
    pub about: &'static str,
    /// Draws it.
    pub draw: Box<dyn Fn() -> Result<Drawing> + 'a>,
}

/// What pictures of a model are drawn from.
pub struct Showing<'a> {
    /// Overrides of the recipe's `sampling` table.
    pub sampling: &'a Table,
    /// The run's data, or why they cannot be read.
    pub data: std::result::Result<&'a Dataset, String>,
    /// The seed of samples and noise.
    pub seed: u64,
    /// The device.
    pub device: &'a Device,
}

impl Showing<'_> {
    /// Held-out rows, or training rows where none are held out, to draw beside generated ones.
    pub fn real(&self) -> Option<&Split> {
        self.data.as_ref().ok().map(|data| data.judged())
    }
}

/// Opens the trained model of another run by its folder, or by a file of weights that it kept: a teacher, a frozen
/// encoder, a weaker model, a target.
pub type Opener = Arc<dyn Fn(&Path) -> Result<Box<dyn Model>> + Send + Sync>;

/// What a family's part of a recipe is resolved and trained on.
pub struct Start<'a> {
    /// What a row means.
    pub space: &'a Space,
    /// The data; none for a family that learns without.
    pub data: Option<&'a Dataset>,
    /// The loop.
    pub training: &'a Training,
    /// The seed of everything random in training.
    pub seed: u64,
    /// The device.
    pub device: &'a Device,
    /// Opens other runs.
    pub open: &'a Opener,
}

impl Start<'_> {
    /// The data, for a family that needs them.
    ///
    /// # Errors
    /// [`Error::Config`] if there are none.
    pub fn data(&self) -> Result<&Dataset> {
        self.data.ok_or_else(|| Error::config("data", "absent", "data to learn from"))
    }
}

/// What a model is opened with, beside its weights. No data are needed.
#[derive(Clone)]
pub struct Opening {
    /// What a row means.
    pub space: Space,
    /// How many training rows each class has; empty without classes.
    pub classes: Vec<usize>,
    /// The data that the run was trained on, read only if a method needs them.
    pub data: Loader,
    /// The device.
    pub device: Device,
    /// Opens other runs.
    pub open: Opener,
}

/// A family's own part of a recipe, `family = "NAME"`: every table but the common ones (`data`, `training`'s keys of
/// the loop, `evaluation`) is read into it. Keys of `training` that are not the loop's are its field `training`.
pub trait Family:
    Serialize + DeserializeOwned + Clone + PartialEq + Default + Debug + Send + Sync + 'static
{
    /// The name in recipes.
    const NAME: &'static str;
    /// One line on what it is.
    const ABOUT: &'static str;

    /// Fails, naming the key, unless every value makes sense, whatever the data.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<()>;

    /// What a row means where there are no data; families that need data have none. `open` opens other runs.
    ///
    /// # Errors
    /// [`Error::Config`] for the key `data`, which is then needed.
    fn space(&self, open: &Opener) -> Result<Space> {
        let _ = open;
        let expected = format!("data to learn from: family `{}` needs them", Self::NAME);
        Err(Error::config("data", "absent", expected))
    }

    /// Fails, naming the key, unless a resolved recipe fits rows of a space; anything fits by default.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check_space(&self, space: &Space) -> Result<()> {
        let _ = space;
        Ok(())
    }

    /// The same with every width and unit taken from what it is trained on.
    ///
    /// # Errors
    /// [`Error::Config`] naming a key that does not fit.
    fn resolve(self, at: &Start) -> Result<Self>;

    /// The folders of the runs that a resolved recipe needs: a teacher, a frozen encoder, a weaker model, a target;
    /// none by default.
    fn inputs(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// The learner of a resolved recipe, at its first step.
    ///
    /// # Errors
    /// [`Error::Config`] naming a key that does not fit.
    fn learner(&self, at: &Start) -> Result<Box<dyn Learner>>;

    /// The weights to sample with, out of a checkpoint of the learner; all of it by default.
    ///
    /// # Errors
    /// [`Error::File`] if something is missing.
    fn weights(&self, checkpoint: State) -> Result<State> {
        Ok(checkpoint)
    }

    /// The model of a resolved recipe with its weights; `origin` names them, for errors.
    ///
    /// # Errors
    /// [`Error::File`] if the weights do not fit.
    fn model(&self, at: &Opening, weights: &State, origin: &Path) -> Result<Box<dyn Model>>;
}

/// What a finished or half-finished run can do. All but the space is optional: what a model lacks is
/// [`Error::Undefined`] with the reason.
pub trait Model: Send + Sync {
    /// What a row means.
    fn space(&self) -> &Space;

    /// A generator of rows in model units; `sampling` overrides keys of the recipe's `sampling` table.
    ///
    /// # Errors
    /// [`Error::Config`] naming a key (as it stands in that table) that is unknown or whose value cannot be used;
    /// [`Error::Undefined`] for a model that cannot generate.
    fn generator(&self, sampling: &Table, at: &Setting) -> Result<Box<dyn Generate + '_>>;

    /// The densities of rows, the default first; none by default.
    fn densities(&self) -> Vec<DensityEntry> {
        Vec::new()
    }

    /// The density of a name, with its options (`probes`, `paths`, …) and a treatment of integers, one of its entry's.
    ///
    /// # Errors
    /// [`Error::Config`] naming an option that is unknown or cannot be used; [`Error::Undefined`] where there is none.
    fn density(
        &self,
        name: &str,
        options: &Table,
        integers: Integers,
        at: &Setting,
    ) -> Result<Judge<'_>> {
        let _ = (options, integers, at);
        Err(Error::undefined(format!("the density `{name}`"), "the model has no density"))
    }

    /// ln γ of rows in model units, or their score alone, as what chains walk on; `options` choose among several, such
    /// as `level = 2.0`, the log-SNR of noised data. None by default.
    ///
    /// # Errors
    /// [`Error::Config`] naming an option that is missing, unknown or cannot be used; [`Error::Undefined`] where the model
    /// has neither.
    fn target(&self, options: &Table) -> Result<Arc<dyn LogDensity>> {
        let _ = options;
        Err(Error::undefined("a target of chains", "the model has neither a density nor a score"))
    }

    /// Metrics of the model that need no other rows, such as the convergence of chains; none by default.
    ///
    /// # Errors
    /// [`Error::Shape`] if what the model holds does not fit together.
    fn diagnostics(&self) -> Result<Vec<Score>> {
        Ok(Vec::new())
    }

    /// Exact draws of the distribution that the model is to sample, in raw units, for a model without data to judge by:
    /// `n` of them as held-out rows, and as many others as training rows, which depend on the seed alone. None by
    /// default.
    ///
    /// # Errors
    /// Errors of drawing them.
    fn reference(&self, n: u64, at: &Setting) -> Result<Option<Dataset>> {
        let _ = (n, at);
        Ok(None)
    }

    /// A generator of exact draws of the density that [`Model::target`] gives without options, in model units.
    ///
    /// # Errors
    /// [`Error::Undefined`] where the model's samples are none.
    fn exact(&self) -> Result<Box<dyn Generate + '_>> {
        let why = "the model's samples are not exact draws of its density";
        Err(Error::undefined("exact draws of a run", why))
    }

    /// The pictures that only this family has; none by default.
    fn pictures<'a>(&'a self, at: &'a Showing<'a>) -> Vec<Picture<'a>> {
        let _ = at;
        Vec::new()
    }

    /// The model's own type, for exchange formats.
    fn any(&self) -> &dyn Any;

    /// The same by value.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// Rows `rows` of the endless sample of seed `seed`, in raw units; `condition` gives the condition of a range of them,
/// and `observe` hears how many rows are done.
///
/// # Errors
/// As [`Generate::generate`]; those of `condition`.
pub fn sample(
    model: &dyn Model,
    generator: &dyn Generate,
    rows: Range<u64>,
    condition: impl Fn(Range<u64>) -> Result<Condition>,
    seed: u64,
    device: &Device,
    mut observe: impl FnMut(u64),
) -> Result<Rows> {
    let draws = Draws::new(seed).purpose("sample");
    let space = model.space();
    let mut all = Rows::new(Vec::new(), space.width())?;
    let chunk = generator.rows_at_once().max(1);
    for start in rows.clone().step_by(chunk as usize) {
        let part = start..start.saturating_add(chunk).min(rows.end);
        let x = generator.generate(part.clone(), &condition(part.clone())?, &draws, device)?;
        all.extend(&space.decode(&Rows::from_tensor(&x)?)?)?;
        observe(part.end - rows.start);
    }
    Ok(all)
}
