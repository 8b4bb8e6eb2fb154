//! The pictures of a diffusion model: the path from noise to data, its schedule, its errors, its solvers.

mod plane;
mod solvers;
#[cfg(test)]
mod tests;

use super::DiffusionModel;
use crate::data::{Layout, Rows};
use crate::denoise::level_errors;
use crate::draw::{
    POINTS, error_by_level, in_the_plane, label_of, path, rows_in_turn, schedule, spread, stacked,
};
use crate::family::{Drawing, Picture, PictureSetting};
use crate::solve::grid::{Grid, LogSnr};
use crate::solve::{Moment, Sampler};
use crate::tensor::select_rows;
use crate::{Draws, Error, Result};
use image::RgbImage;

/// The number of levels in a picture of the path from noise to images, and to points.
const COLUMNS: usize = 10;
const POINT_PANELS: usize = 6;
/// The number of rows of a picture of paths: about eight, each class equally often.
const PATHS: usize = 8;
/// The picture of errors by noise level: the number of levels, the most rows evaluated, and the most rows that guesses
/// without a network are fitted to.
const LEVELS: usize = 20;
const DENOISED: usize = 256;
const REFERENCE: usize = 4096;

/// A method of [`Pictures`] that draws a still picture.
type Draw = fn(&Pictures) -> Result<RgbImage>;

/// The still pictures: name, description and drawing function.
const PICTURES: [(&str, &str, Draw); 6] = [
    ("trajectory", "samples on their way from noise", |shown| stacked(&shown.trajectory()?)),
    (
        "flow",
        "paths from noise to data, with and without noise on the way, over their density",
        |shown| shown.flow(),
    ),
    ("density", "the data and the model's density", |shown| shown.density()),
    ("schedule", "the noise schedule and the sampler's levels", |shown| {
        schedule(&*shown.model.schedule, &shown.sampler.levels()?)
    }),
    ("levels", "the error of E[x₀ | xₜ] by noise level", |shown| shown.levels()),
    ("solvers", "what solvers are off by, against network evaluations", |shown| shown.solvers()),
];

/// Every picture of a model.
pub(super) fn all<'a>(model: &'a DiffusionModel, at: &'a PictureSetting<'a>) -> Vec<Picture<'a>> {
    let shown = move || Ok(Pictures { model, sampler: model.sampler_with(at.sampling)?, at });
    let still = PICTURES.into_iter().map(|(name, about, draw)| Picture {
        name,
        about,
        draw: Box::new(move || draw(&shown()?).map(Drawing::Still)),
    });
    let moving = Picture {
        name: "movement",
        about: "points on their way from noise to data over their density; it moves",
        draw: Box::new(move || shown()?.movement().map(Drawing::Moving)),
    };
    still.chain([moving]).collect()
}

/// The pictures of a model with its sampler.
struct Pictures<'a> {
    model: &'a DiffusionModel,
    /// The sampler with the requested options.
    sampler: Sampler,
    at: &'a PictureSetting<'a>,
}

impl Pictures<'_> {
    /// The samples `rows` on their path from noise to data, at `count` levels.
    fn path(&self, sampler: &Sampler, rows: u64, count: usize) -> Result<Vec<Moment>> {
        let space = &self.model.space;
        let condition = space.condition((0..rows).map(|row| label_of(space, row)).collect())?;
        let draws = Draws::new(self.at.seed).purpose("sample");
        sampler.path(0..rows, &condition, &draws, self.at.device, count)
    }

    /// Pictures of the first samples on their path from noise, each with its heading.
    ///
    /// # Errors
    /// [`Error::Undefined`] if such rows cannot be drawn; errors of sampling.
    pub fn trajectory(&self) -> Result<Vec<(&'static str, RgbImage)>> {
        let space = &self.model.space;
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
        let moments = self.path(&self.sampler, n as u64, count)?;
        let labels: Vec<Option<u32>> = (0..n as u64).map(|row| label_of(space, row)).collect();
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
        path(space, &moments, self.model.sigma_data, &names)
    }

    fn levels(&self) -> Result<RgbImage> {
        let what = "the error by noise level";
        let data = self.at.data.as_ref().map_err(|why| Error::undefined(what, why))?;
        let space = &self.model.space;
        let (split, rows) = match data.held_out.is_empty() {
            false => (&data.held_out, "held-out rows"),
            true => (&data.train, "training rows"),
        };
        let draws = Draws::new(self.at.seed).purpose("levels");
        let encoded = |rows: &Rows, name: &str| {
            let ids: Vec<u64> = (0..rows.len() as u64).collect();
            let encoding = self.model.recipe.training.encoding();
            encoding.encode(space, rows, &draws.purpose(name), &ids)
        };
        let split = split.select(&spread(split.len(), DENOISED));
        let train = data.train.rows();
        let mut levels = LogSnr.levels(&*self.model.schedule, LEVELS - 1)?;
        levels.retain(|level| level.lambda.is_finite());
        let errors = level_errors(
            &*self.model.denoiser,
            &encoded(split.rows(), "dequantise")?,
            &split.condition(space, self.at.device)?,
            &encoded(&train.select(&spread(train.len(), REFERENCE)), "reference")?,
            &levels,
            &draws.purpose("noise"),
            self.at.device,
        )?;
        error_by_level(&errors, &format!("{} {rows}", split.len()))
    }
}
