//! The pictures of a run: what `train` keeps and puts into its report, and what `show` draws.

use super::path::in_the_plane;
use super::samples::{PER_CLASS, UNLABELLED};
use super::{
    Kept, chosen_classes, error_by_level, loss_curves, panels, path, picture, progress, save_png,
    schedule, stacked,
};
use crate::data::{Dataset, Layout, Rows, Space, Split, npy};
use crate::denoise::{Denoiser, level_errors};
use crate::files::AtomicFile;
use crate::nn::Params;
use crate::solve::{Grid, Moment, Sampler};
use crate::tensor::select_rows;
use crate::train::{Run, curves};
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use image::RgbImage;
use std::path::PathBuf;
use std::sync::Arc;

/// The pictures of a run by name, with what each of them shows.
pub const PICTURES: [(&str, &str); 9] = [
    ("samples", "samples"),
    ("trajectory", "samples on their way from noise"),
    ("flow", "paths from noise to data, with and without noise on the way, over their density"),
    ("density", "the data and the model's density"),
    ("progress", "samples of the same noise over training"),
    ("schedule", "the noise schedule and the sampler's levels"),
    ("levels", "the error of E[x₀ | xₜ] by noise level"),
    ("solvers", "what solvers are off by, against network evaluations"),
    ("curves", "losses and gradient norms of training"),
];

/// Points or rows of a table in a picture.
const POINTS: usize = 1000;
/// Levels in a picture of the way from noise to images, and to points.
const COLUMNS: usize = 10;
const POINT_PANELS: usize = 6;
/// Rows of a picture of the way, and those kept at a step of training: about so many, whole rounds of the classes.
const PATHS: usize = 8;
const KEPT: usize = 10;
/// The error by noise level: so many levels, on at most so many rows, beside guesses made of at most so many.
const LEVELS: usize = 20;
const DENOISED: usize = 256;
const REFERENCE: usize = 4096;

/// A trained run about to be drawn.
pub struct Shown<'a> {
    /// The run.
    pub run: &'a Run,
    /// Its denoiser.
    pub denoiser: Arc<dyn Denoiser>,
    /// How samples are made of it.
    pub sampler: Sampler,
    /// The run's data, or why they cannot be read.
    pub data: std::result::Result<&'a Dataset, String>,
    /// The seed of samples and noise.
    pub seed: u64,
    /// Where to compute.
    pub device: &'a Device,
}

impl Shown<'_> {
    /// One of the [`PICTURES`] by name.
    ///
    /// # Errors
    /// [`Error::Undefined`] if the run has no such picture; [`Error::Config`] for an unknown name; those of sampling
    /// and reading.
    pub fn draw(&self, name: &str) -> Result<RgbImage> {
        match name {
            "samples" => self.samples(),
            "trajectory" => stacked(&self.trajectory()?),
            "flow" => self.flow(),
            "density" => self.density(),
            "solvers" => self.solvers(),
            "progress" => self.progress(),
            "schedule" => schedule(&*self.run.schedule()?, &self.sampler.levels()?),
            "levels" => self.levels(),
            "curves" if self.run.is_imported() => {
                Err(Error::undefined("a picture of training", "this run was trained elsewhere"))
            }
            "curves" => {
                let curves = loss_curves(&curves::read(self.run.file("curves.jsonl"))?);
                panels(&curves.into_iter().map(|(_, plot)| plot).collect::<Vec<_>>(), 1)
            }
            _ => {
                let expected = crate::error::one_of(name, &PICTURES.map(|(name, _)| name));
                Err(Error::config("picture", name, expected))
            }
        }
    }

    fn samples(&self) -> Result<RgbImage> {
        let space = &self.run.info.space;
        let n = sample_size(space) as u64;
        let split = sample(self.run, &self.sampler, n, self.seed, self.device)?;
        picture(space, &split, self.real())
    }

    /// The first of the samples on their way from noise, each picture with its heading.
    ///
    /// # Errors
    /// As [`Shown::draw`].
    pub fn trajectory(&self) -> Result<Vec<(&'static str, RgbImage)>> {
        let space = &self.run.info.space;
        let image = matches!(space.layout(), Layout::Image { .. });
        let (n, count) = match rows_in_turn(space, PATHS) {
            n if image => (n, COLUMNS),
            _ => (POINTS, POINT_PANELS),
        };
        if !image && !in_the_plane(space) {
            return Err(Error::undefined(
                "a picture of the way from noise to a table",
                "there are only those of images and of points in the plane",
            ));
        }
        let label = |row| label_of(space, row);
        let moments =
            self.run.path(&self.sampler, 0..n as u64, label, self.seed, self.device, count)?;
        let labels: Vec<Option<u32>> = (0..n as u64).map(label).collect();
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by_key(|&i| labels[i]);
        let ordered = |m: Moment| Moment {
            level: m.level,
            x: select_rows(&m.x, &order),
            mean: select_rows(&m.mean, &order),
        };
        let moments: Vec<Moment> = moments.into_iter().map(ordered).collect();
        let class = |&i: &usize| space.classes().get(labels[i]? as usize).cloned();
        let names: Vec<String> = order.iter().filter_map(class).collect();
        path(space, &moments, self.run.info.sigma_data, &names)
    }

    fn progress(&self) -> Result<RgbImage> {
        let kept = kept(self.run)?;
        if kept.is_empty() {
            return Err(Error::undefined(
                "a picture of samples over training",
                match rows_kept(&self.run.info.space) {
                    0 => "there are only those of images and of points in the plane",
                    _ => "this run has kept none (training.sample_every)",
                },
            ));
        }
        progress(&self.run.info.space, &kept, self.real())
    }

    fn levels(&self) -> Result<RgbImage> {
        let what = "the error by noise level";
        let data = self.data.as_ref().map_err(|why| Error::undefined(what, why))?;
        let space = &self.run.info.space;
        let (split, rows) = match data.held_out.is_empty() {
            false => (&data.held_out, "held-out rows"),
            true => (&data.train, "training rows"),
        };
        let draws = Draws::new(self.seed).purpose("levels");
        let encoded = |rows: &Rows, name: &str| {
            let ids: Vec<u64> = (0..rows.len() as u64).collect();
            let encoding = self.run.info.recipe.training.encoding();
            encoding.encode(space, rows, &draws.purpose(name), &ids)
        };
        let split = split.select(&spread(split.len(), DENOISED));
        let train = data.train.rows();
        let mut levels = Grid::LogSnr.levels(&*self.run.schedule()?, LEVELS - 1)?;
        levels.retain(|level| level.lambda.is_finite());
        let errors = level_errors(
            &*self.denoiser,
            &encoded(split.rows(), "dequantise")?,
            &split.labels().into(),
            &encoded(&train.select(&spread(train.len(), REFERENCE)), "reference")?,
            &levels,
            &draws.purpose("noise"),
            self.device,
        )?;
        error_by_level(&errors, &format!("{} {rows}", split.len()))
    }

    /// Real rows to draw beside generated ones.
    fn real(&self) -> Option<&Rows> {
        let data = self.data.as_ref().ok()?;
        let split = if data.held_out.is_empty() { &data.train } else { &data.held_out };
        Some(split.rows())
    }
}

/// Pictures, or none where there are none to draw.
///
/// # Errors
/// All but [`Error::Undefined`].
pub fn if_any<T>(drawn: Result<T>) -> Result<Option<T>> {
    match drawn {
        Ok(drawn) => Ok(Some(drawn)),
        Err(Error::Undefined { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// At most `most` of `n` indices, evenly spread.
fn spread(n: usize, most: usize) -> Vec<usize> {
    let count = n.min(most);
    (0..count).map(|i| i * n / count.max(1)).collect()
}

/// The class of a row of a picture's samples: those that pictures show in turn, for tables all.
fn label_of(space: &Space, row: u64) -> Option<u32> {
    let classes = space.classes().len();
    let shown = match space.layout() {
        Layout::Image { .. } => chosen_classes(classes),
        Layout::Vector { .. } => (0..classes as u32).collect(),
    };
    shown.get((row % shown.len().max(1) as u64) as usize).copied()
}

/// About `wanted` rows: as many rounds of the classes shown as fit, at least one.
fn rows_in_turn(space: &Space, wanted: usize) -> usize {
    match chosen_classes(space.classes().len()).len() {
        0 => wanted,
        shown => (wanted / shown).max(1) * shown,
    }
}

/// How many samples a picture takes.
fn sample_size(space: &Space) -> usize {
    match (space.layout(), chosen_classes(space.classes().len()).len()) {
        (Layout::Image { .. }, 0) => UNLABELLED,
        (Layout::Image { .. }, shown) => PER_CLASS * shown,
        (Layout::Vector { .. }, _) => POINTS,
    }
}

/// How many of them are kept at a step of training.
fn rows_kept(space: &Space) -> usize {
    match space.layout() {
        Layout::Image { .. } => rows_in_turn(space, KEPT),
        Layout::Vector { .. } if in_the_plane(space) => POINTS,
        Layout::Vector { .. } => 0,
    }
}

/// The first `n` rows of the samples that pictures show, with their labels.
fn sample(run: &Run, sampler: &Sampler, n: u64, seed: u64, device: &Device) -> Result<Split> {
    let label = |row| label_of(&run.info.space, row);
    let rows = run.generate(sampler, 0..n, label, seed, device, |_| {})?;
    Split::new(rows, (0..n).map(label).collect())
}

/// Keeps what the model makes of the same noise after so many steps of training: a few rows in
/// `samples/step-….npy`, and, where the recipe asks for it, a picture in `samples/step-….png`.
///
/// # Errors
/// Those of sampling; [`Error::Io`] if a file cannot be written.
pub fn keep(run: &Run, data: &Dataset, weights: &Params, step: u64, device: &Device) -> Result<()> {
    let (space, recipe) = (&run.info.space, &run.info.recipe);
    let training = &recipe.training;
    let whole = step.is_multiple_of(training.sample_every) || step == training.steps;
    let few = rows_kept(space);
    if !whole && few == 0 {
        return Ok(());
    }
    let folder = run.file("samples");
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    let origin = run.file("checkpoint.safetensors");
    let denoiser = run.denoiser_with(weights, &origin, device)?;
    let schedule = run.schedule_with(weights, &origin)?;
    let sampler = run.sampler_on(schedule, denoiser, recipe.sampling.guidance)?;
    let n = if whole { sample_size(space) } else { few };
    let split = match sample(run, &sampler, n as u64, recipe.seed, device) {
        // A model hardly trained may do so, and there is nothing to see.
        Err(Error::Diverged { .. }) if !whole => return Ok(()),
        split => split?,
    };
    if few > 0 {
        let path = folder.join(format!("step-{step:06}.npy"));
        let out = AtomicFile::create(&path)?;
        let mut out = npy::NpyWriter::new(out, &path, few, space.layout())?;
        out.write(&split.rows().slice(0..few))?;
        out.finish()?.finish()?;
    }
    if whole {
        let picture = picture(space, &split, Some(data.held_out.rows()))?;
        save_png(&picture, folder.join(format!("step-{step:06}.png")))?;
    }
    Ok(())
}

/// What [`keep`] has kept, in the order of the steps.
///
/// # Errors
/// [`Error::File`] if a file holds something else; [`Error::Io`] if one cannot be read.
pub fn kept(run: &Run) -> Result<Vec<Kept>> {
    let (folder, space) = (run.file("samples"), &run.info.space);
    let mut files: Vec<(u64, PathBuf)> = Vec::new();
    if folder.is_dir() {
        for entry in std::fs::read_dir(&folder).map_err(|e| Error::io(&folder, e))? {
            let path = entry.map_err(|e| Error::io(&folder, e))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let step = name.strip_prefix("step-").and_then(|name| name.strip_suffix(".npy"));
            files.extend(step.and_then(|step| step.parse().ok()).map(|step| (step, path)));
        }
    }
    files.sort();
    let read = |(step, path): (u64, PathBuf)| {
        let (_, rows) = npy::read(&path)?;
        if (rows.len(), rows.width()) != (rows_kept(space), space.width()) {
            let found = format!("{} rows of {} values", rows.len(), rows.width());
            let expected = format!("{} rows of {} values", rows_kept(space), space.width());
            return Err(Error::file(&path, "shape", found, expected));
        }
        let labels = (0..rows.len() as u64).map(|row| label_of(space, row)).collect();
        Ok((step, Split::new(rows, labels)?))
    };
    files.into_iter().map(read).collect()
}

mod plane;
mod solvers;

#[cfg(test)]
mod tests;
