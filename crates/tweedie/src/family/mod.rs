//! Families of generative models: what a trained run can do, whatever it was trained as.
//!
//! A family turns a recipe and data into a learner, and saved weights into a [`Model`]. Commands and the judge use the
//! model alone: it generates rows, gives densities of rows, and draws pictures, or says why it does not.

pub mod diffusion;

use crate::data::{Dataset, Generate, Rows, Space, Split};
use crate::density::Judged;
use crate::draw::Animation;
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use image::RgbImage;
use serde::Serialize;
use std::any::Any;
use std::sync::Arc;
use toml::Table;

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
    pub judged: Box<dyn Judged + 'a>,
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

    /// The pictures that only this family has; none by default.
    fn pictures<'a>(&'a self, at: &'a Showing<'a>) -> Vec<Picture<'a>> {
        let _ = at;
        Vec::new()
    }

    /// The model itself, for exchange formats.
    fn any(&self) -> &dyn Any;
}

/// Rows `rows` of the endless sample of seed `seed`, in raw units; `label` gives each row's class, and `observe` hears how
/// many rows are done.
///
/// # Errors
/// As [`Generate::generate`]; [`Error::Config`] if a label is not one of the model's classes.
pub fn sample(
    model: &dyn Model,
    generator: &dyn Generate,
    rows: std::ops::Range<u64>,
    label: impl Fn(u64) -> Option<u32>,
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
        let condition = space.condition(part.clone().map(&label).collect())?;
        let x = generator.generate(part.clone(), &condition, &draws, device)?;
        all.extend(&space.decode(&Rows::from_tensor(&x)?)?)?;
        observe(part.end - rows.start);
    }
    Ok(all)
}
