//! Families of generative models, and what every trained model can do.
//!
//! A family turns a recipe and data into a learner, and saved weights into a [`Model`]. Commands and evaluation use the
//! model alone: it generates rows, gives densities of rows, and draws pictures, or returns the reason why it cannot.

pub mod adversarial;
mod arrays;
pub mod autoregressive;
pub mod chains;
mod counter;
mod density;
pub mod diffusion;
pub mod energy;
pub mod flow;
pub mod latent;
mod likelihood;
pub mod mixture;
mod plan;
pub(crate) mod plane;

pub use plan::{Entry, Plan, family};

use crate::data::{Condition, Dataset, Generate, LogDensity, Rows, Space, Split};
use crate::density::RawDensity;
use crate::draw::Animation;
use crate::metric::judge::Score;
use crate::train::{Learner, State, Training};
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use image::RgbImage;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
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
    Entry::of::<autoregressive::AutoregressiveRecipe>(),
    Entry::of::<latent::LatentRecipe>(),
    Entry::of::<adversarial::AdversarialRecipe>(),
    Entry::of::<energy::EnergyRecipe>(),
    Entry::of::<mixture::MixtureRecipe>(),
    Entry::of::<chains::ChainsRecipe>(),
];

/// The progress of a computation.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The name of the computation, in a word or two.
    pub what: String,
    /// The unit of progress.
    pub unit: &'static str,
    /// The number of units done.
    pub done: u64,
    /// The total number of units.
    pub total: u64,
    /// A value of interest, such as a loss; may be empty.
    pub note: String,
}

/// A callback that receives the progress of a computation.
pub type Observe<'a> = dyn Fn(Task) + 'a;

/// A function that loads data, for models that need them only in some methods.
pub type Loader = Arc<dyn Fn() -> Result<Dataset> + Send + Sync>;

/// The device, the seed and the callback of a computation.
pub struct Setting<'a> {
    /// The device.
    pub device: &'a Device,
    /// The seed of noise, probes and fits.
    pub seed: u64,
    /// A callback for progress.
    pub observe: &'a Observe<'a>,
}

/// The treatment of integer columns by a density.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Integers {
    /// No columns are integers.
    None,
    /// Integers stay integers; a decoder recovers them from the cleanest level by its noise.
    Decoder,
    /// Integers stay integers; a decoder recovers them from the cleanest level by the network's mean.
    NetworkDecoder,
    /// Uniform noise is added to integers.
    Uniform,
    /// Noise from a small network, which is first fitted to the model, is added to integers.
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

/// The description of a density that a model offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DensityEntry {
    /// The name as an option.
    pub name: &'static str,
    /// A description in one line.
    pub about: &'static str,
    /// The possible treatments of integer columns, the default first.
    pub integers: Vec<Integers>,
}

/// A density of raw rows, ready to evaluate, and how it is computed.
pub struct Judge<'a> {
    /// The density.
    pub density: Box<dyn RawDensity + 'a>,
    /// The method of computation, in words.
    pub how: String,
    /// The number of network evaluations per row, approximately.
    pub evaluations: f64,
}

/// A still picture or an animation.
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
    /// A description in one line.
    pub about: &'static str,
    /// Draws the picture.
    pub draw: Box<dyn Fn() -> Result<Drawing> + 'a>,
}

/// The data, options and device with which pictures of a model are drawn.
pub struct PictureSetting<'a> {
    /// Overrides of the recipe's `sampling` table.
    pub sampling: &'a Table,
    /// The run's data, or the reason why they cannot be read.
    pub data: std::result::Result<&'a Dataset, String>,
    /// The seed of samples and noise.
    pub seed: u64,
    /// The device.
    pub device: &'a Device,
}

impl PictureSetting<'_> {
    /// Held-out rows, or training rows where none are held out, to draw beside generated ones.
    pub fn real(&self) -> Option<&Split> {
        self.data.as_ref().ok().map(|data| data.judged())
    }
}

/// A function that opens the trained model of another run, by its folder or by a file of weights that it kept: a
/// teacher, a frozen encoder, a weaker model, a target.
pub type Opener = Arc<dyn Fn(&Path) -> Result<Box<dyn Model>> + Send + Sync>;

/// The data and settings that a family's part of a recipe is resolved and trained with.
pub struct Start<'a> {
    /// The meaning of a row's columns.
    pub space: &'a Space,
    /// The data; none for a family that learns without data.
    pub data: Option<&'a Dataset>,
    /// The settings of the training loop.
    pub training: &'a Training,
    /// The seed of everything random in training.
    pub seed: u64,
    /// The device.
    pub device: &'a Device,
    /// A function that opens other runs.
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

/// The record of a run that a model is opened with, beside its weights. Data are not required.
#[derive(Clone)]
pub struct Opening {
    /// The meaning of a row's columns.
    pub space: Space,
    /// The number of training rows of each class; empty without classes.
    pub classes: Vec<usize>,
    /// The training data of the run, loaded only if a method needs them.
    pub data: Loader,
    /// The device.
    pub device: Device,
    /// A function that opens other runs.
    pub open: Opener,
}

/// A family's own part of a recipe with `family = "NAME"`: all tables except the common ones (`data`, `evaluation`, and
/// the keys of `training` for the loop). The other keys of `training` are read into a field `training`.
pub trait Family:
    Serialize + DeserializeOwned + Clone + PartialEq + Default + Debug + Send + Sync + 'static
{
    /// The name in recipes.
    const NAME: &'static str;
    /// A description in one line.
    const ABOUT: &'static str;

    /// Fails, naming the key, unless every value is valid, whatever the data.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<()>;

    /// The meaning of a row's columns, for families that learn without data. `open` opens other runs.
    ///
    /// # Errors
    /// [`Error::Config`] for the key `data` by default: the family needs data.
    fn space(&self, open: &Opener) -> Result<Space> {
        let _ = open;
        let expected = format!("data to learn from: family `{}` needs them", Self::NAME);
        Err(Error::config("data", "absent", expected))
    }

    /// Whether rows must have a density in model units, so that no column has an indicator; by default not.
    fn needs_density(&self) -> bool {
        false
    }

    /// Fails, naming the key, unless a resolved recipe fits rows of `space`; by default it fits any.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check_space(&self, space: &Space) -> Result<()> {
        let _ = space;
        Ok(())
    }

    /// Resolves the recipe: sets every width and unit that it leaves to the data.
    ///
    /// # Errors
    /// [`Error::Config`] naming a key that does not fit.
    fn resolve(self, at: &Start) -> Result<Self>;

    /// The folders of the runs that a resolved recipe needs: a teacher, a frozen encoder, a weaker model, a target;
    /// none by default.
    fn inputs(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// The learner of a resolved recipe, before its first step.
    ///
    /// # Errors
    /// [`Error::Config`] naming a key that does not fit.
    fn learner(&self, at: &Start) -> Result<Box<dyn Learner>>;

    /// The weights to sample with, from a checkpoint of the learner; by default all of its arrays.
    ///
    /// # Errors
    /// [`Error::File`] if something is missing.
    fn weights(&self, checkpoint: State) -> Result<State> {
        Ok(checkpoint)
    }

    /// The model of a resolved recipe with its weights; `origin` is the name of their file in errors.
    ///
    /// # Errors
    /// [`Error::File`] if the weights do not fit.
    fn model(&self, at: &Opening, weights: &State, origin: &Path) -> Result<Box<dyn Model>>;
}

/// The trained model of a finished or unfinished run. All methods but the space's are optional: for a missing one the
/// result is [`Error::Undefined`] with the reason, or empty.
pub trait Model: Send + Sync {
    /// The meaning of a row's columns.
    fn space(&self) -> &Space;

    /// A generator of rows in model units; `sampling` overrides keys of the recipe's `sampling` table.
    ///
    /// # Errors
    /// [`Error::Config`] naming a key (as written in that table) that is unknown or whose value cannot be used;
    /// [`Error::Undefined`] for a model that cannot generate.
    fn generator(&self, sampling: &Table, at: &Setting) -> Result<Box<dyn Generate + '_>>;

    /// The densities of rows, the default first; none by default.
    fn densities(&self) -> Vec<DensityEntry> {
        Vec::new()
    }

    /// The density `name`, one of [`Model::densities`], with its options (`probes`, `paths`, …) and one of its
    /// treatments of integers.
    ///
    /// # Errors
    /// [`Error::Config`] naming an option that is unknown or cannot be used; [`Error::Undefined`] for a model without
    /// densities.
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

    /// The log density ln γ of rows in model units, or its score alone, as a target of Markov chains. `options` choose
    /// among several, such as `level = 2.0`, the log-SNR of noised data.
    ///
    /// # Errors
    /// [`Error::Config`] naming an option that is missing, unknown or cannot be used; [`Error::Undefined`] if the
    /// model has neither, as by default.
    fn target(&self, options: &Table) -> Result<Arc<dyn LogDensity>> {
        let _ = options;
        Err(Error::undefined("a target of chains", "the model has neither a density nor a score"))
    }

    /// Metrics of the model that need no other rows, such as the convergence of chains; none by default.
    ///
    /// # Errors
    /// [`Error::Shape`] if the model's arrays are inconsistent.
    fn diagnostics(&self) -> Result<Vec<Score>> {
        Ok(Vec::new())
    }

    /// Reference rows for a model that learns without data: exact draws of its target distribution in raw units, `n` as
    /// held-out rows and `n` others as training rows. They depend on the seed alone. None by default.
    ///
    /// # Errors
    /// Errors of sampling.
    fn reference(&self, n: u64, at: &Setting) -> Result<Option<Dataset>> {
        let _ = (n, at);
        Ok(None)
    }

    /// A generator of exact draws, in model units, of the density of [`Model::target`] without options.
    ///
    /// # Errors
    /// [`Error::Undefined`] if the model has no exact draws, as by default.
    fn exact(&self) -> Result<Box<dyn Generate + '_>> {
        let why = "the model's samples are not exact draws of its density";
        Err(Error::undefined("exact draws of a run", why))
    }

    /// The pictures of this family; none by default.
    fn pictures<'a>(&'a self, at: &'a PictureSetting<'a>) -> Vec<Picture<'a>> {
        let _ = at;
        Vec::new()
    }

    /// The model as its own type, for exchange formats.
    fn any(&self) -> &dyn Any;

    /// The model as its own type, by value.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// Generates the rows `rows` of the endless sample with seed `seed`, in raw units. `condition` returns the condition of
/// a range of rows, and `observe` receives the number of rows done.
///
/// # Errors
/// As [`Generate::generate`]; errors of `condition`.
pub fn sample(
    model: &dyn Model,
    generator: &dyn Generate,
    rows: Range<u64>,
    condition: impl Fn(Range<u64>) -> Result<Condition>,
    seed: u64,
    device: &Device,
    mut observe: impl FnMut(u64),
) -> Result<Rows> {
    let space = model.space();
    let mut all = Rows::new(Vec::new(), space.width())?;
    let chunk = generator.rows_at_once().max(1);
    for start in rows.clone().step_by(chunk as usize) {
        let part = start..start.saturating_add(chunk).min(rows.end);
        let x = sample_encoded(generator, part.clone(), &condition, seed, device)?;
        all.extend(&space.decode(&x)?)?;
        observe(part.end - rows.start);
    }
    Ok(all)
}

/// The same rows in model units, `[rows, model width]`, as the generator gives them: neither rounded nor cut to the
/// limits of their columns.
///
/// # Errors
/// As [`sample`].
pub fn sample_encoded(
    generator: &dyn Generate,
    rows: Range<u64>,
    condition: impl Fn(Range<u64>) -> Result<Condition>,
    seed: u64,
    device: &Device,
) -> Result<Rows> {
    let draws = draws_of_samples(seed);
    Rows::from_tensor(&generator.generate(rows.clone(), &condition(rows)?, &draws, device)?)
}

/// The random numbers of the samples of a seed.
pub(crate) fn draws_of_samples(seed: u64) -> Draws {
    Draws::new(seed).purpose("sample")
}
