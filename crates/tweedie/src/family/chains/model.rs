//! The draws of chains, as a model.

use super::ChainsRecipe;
use super::mixing::{Acceptance, scores};
use super::thinning::{ChainDraws, Thinning};
use crate::data::{Condition, Dataset, Generate, LogDensity, Rows, Space, Split, doubles};
use crate::density::NormalisedDensity;
use crate::draw::{Plot, panels};
use crate::family::density::{exact, judge_exact, no_keys};
use crate::family::plane::Window;
use crate::family::{
    DensityEntry, Drawing, Integers, Judge, Model, Opener, Opening, Picture, PictureSetting,
    Setting,
};
use crate::metric::judge::Score;
use crate::train::State;
use crate::{Draws, Error, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};
use image::RgbImage;
use std::any::Any;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use toml::Table;

/// The name of the density.
const TARGET: &str = "target";

/// The most chains, and the most columns, in a picture of traces.
const TRACES: usize = 4;
const COLUMNS: usize = 3;

/// The draws that chains have kept, with their target.
pub struct ChainsModel {
    space: Space,
    recipe: ChainsRecipe,
    open: Opener,
    target: Arc<dyn LogDensity>,
    draws: ChainDraws,
    acceptance: Acceptance,
}

impl ChainsModel {
    /// The model of a resolved recipe with the draws of its learner; `origin` is the name of their file in errors.
    pub(super) fn new(
        recipe: &ChainsRecipe,
        at: &Opening,
        weights: &State,
        origin: &Path,
    ) -> Result<Self> {
        let mut weights = weights.clone();
        Ok(Self {
            draws: Thinning::take_draws(at.space.model_width(), &mut weights, origin)?,
            acceptance: Acceptance::take(&mut weights, origin)?,
            target: recipe.target.density(&at.open)?,
            recipe: recipe.clone(),
            space: at.space.clone(),
            open: at.open.clone(),
        })
    }

    /// Column `column` of the draws of each chain, in model units and in order; `column` is below the width.
    pub fn chains(&self, column: usize) -> Vec<Vec<f64>> {
        self.draws.column(column)
    }

    /// The picture of traces: columns of some chains, draw by draw.
    fn traces(&self) -> Result<RgbImage> {
        let shown = self.draws.chains.min(TRACES);
        let plot = |j: usize| {
            let name = self.space.column_name(j);
            let plot = Plot::new("").size(1400, 420).x_name("draw").y_name(&name);
            (0..shown).fold(plot, |plot, c| {
                let point = |k: usize| (k as f64, self.draws.row(k, c)[j]);
                let points: Vec<(f64, f64)> = (0..self.draws.len()).map(point).collect();
                plot.line(&format!("chain {c}"), &points)
            })
        };
        let width = self.draws.width.min(self.space.width()).min(COLUMNS);
        panels(&(0..width).map(plot).collect::<Vec<_>>(), 1)
    }

    /// The picture of the target's density beside the draws.
    fn plane(&self, device: &Device) -> Result<RgbImage> {
        let what = "a picture of the target";
        let values = self.draws.values.iter().map(|v| *v as f32).collect();
        let rows = self.space.decode(&Rows::new(values, self.draws.width)?)?;
        let window = Window::around(&rows, &self.space, 0.05, what)?;
        let x = self.space.encode(&window.rows()?)?;
        let log = self.target.log_density(x.to_tensor(device).into(), &Condition::None)?.value;
        let (log_z, volumes) = (self.target.log_z().unwrap_or(0.0), self.space.log_volumes(&x)?);
        let log = doubles(&log.inner())?.into_iter().zip(volumes);
        let p: Vec<f64> = log.map(|(log, volume)| (log - log_z - volume).exp()).collect();
        let target = window.heat("The target's density", &self.space, &p)?;
        panels(&[target, window.cloud("Draws", &self.space, &rows)?], 2)
    }
}

/// A generator whose row i is the i-th draw in an order that `draws` shuffles: no draw occurs twice.
#[derive(Clone, Copy)]
struct ShuffledDraws<'a>(&'a ChainDraws);

impl ShuffledDraws<'_> {
    /// The number of draws of all chains.
    fn all(&self) -> usize {
        self.0.len() * self.0.chains
    }
}

impl Generate for ShuffledDraws<'_> {
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        let ChainDraws { values, width, .. } = self.0;
        let n = rows.end.saturating_sub(rows.start) as usize;
        condition.check(n)?;
        if !matches!(condition, Condition::None) {
            return Err(Error::shape("condition", condition.kind(), "none"));
        }
        let all = self.all();
        if rows.end > all as u64 {
            let expected = format!("at most {all}, the draws that chains have left");
            return Err(Error::config("chains.keep", format!("{} samples", rows.end), expected));
        }
        let order = draws.purpose("order").permutation(all);
        let chosen = &order[rows.start as usize..rows.end as usize];
        let row = |i: &usize| &values[i * width..][..*width];
        let values: Vec<f64> = chosen.iter().flat_map(row).copied().collect();
        let data = TensorData::new(values, [n, *width]).convert_dtype(DType::F32);
        Ok(Tensor::from_data(data, (device, DType::F32)))
    }

    fn name(&self) -> String {
        "chains".into()
    }

    fn most_rows(&self) -> Option<u64> {
        Some(self.all() as u64)
    }

    fn rows_at_once(&self) -> u64 {
        ((1 << 20) / self.0.width).clamp(256, 1 << 16) as u64
    }
}

impl Model for ChainsModel {
    fn space(&self) -> &Space {
        &self.space
    }

    fn generator(&self, sampling: &Table, _: &Setting) -> Result<Box<dyn Generate + '_>> {
        no_keys(sampling, "no key: samples are the draws that chains have left")?;
        Ok(Box::new(ShuffledDraws(&self.draws)))
    }

    fn densities(&self) -> Vec<DensityEntry> {
        match self.target.log_z() {
            Some(_) => {
                exact(&self.space, TARGET, "the target's own log p, whatever the chains did")
            }
            None => Vec::new(),
        }
    }

    fn density(&self, name: &str, options: &Table, _: Integers, at: &Setting) -> Result<Judge<'_>> {
        let density = Box::new(NormalisedDensity::new(self.target.clone())?);
        judge_exact(&self.densities(), (name, options), density, &self.space, at)
    }

    fn target(&self, options: &Table) -> Result<Arc<dyn LogDensity>> {
        no_keys(options, "no key: the target of chains")?;
        Ok(self.target.clone())
    }

    fn diagnostics(&self) -> Result<Vec<Score>> {
        let name = |j| match self.space.width() == self.draws.width {
            true => self.space.column_name(j),
            false => format!("model column {}", j + 1),
        };
        let mut all = scores(&self.draws, name)?;
        all.extend(self.acceptance.score(self.recipe.chains.kernel.good_acceptance()));
        Ok(all)
    }

    /// Exact draws of the target.
    fn reference(&self, n: u64, at: &Setting) -> Result<Option<Dataset>> {
        let draws = Draws::new(at.seed).purpose("reference");
        let x = match self.recipe.target.exact(2 * n, &draws, &self.open, at.device) {
            Err(Error::Undefined { .. }) => return Ok(None),
            x => x?,
        };
        let rows = self.space.decode(&Rows::from_tensor(&x)?)?;
        let part = |range| Split::new(rows.slice(range), None);
        let (held_out, train) = (part(0..n as usize)?, part(n as usize..rows.len())?);
        Dataset::new("the target", self.space.clone(), train, held_out).map(Some)
    }

    fn pictures<'a>(&'a self, at: &'a PictureSetting<'a>) -> Vec<Picture<'a>> {
        vec![
            Picture {
                name: "traces",
                about: "where some of the chains were, draw by draw",
                draw: Box::new(|| self.traces().map(Drawing::Still)),
            },
            Picture {
                name: "target",
                about: "the target's density and the draws",
                draw: Box::new(|| self.plane(at.device).map(Drawing::Still)),
            },
        ]
    }

    fn any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
