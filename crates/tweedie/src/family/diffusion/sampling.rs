//! Samplers of a trained diffusion model, by its recipe with keys overridden.

use super::{DiffusionModel, NoiseSource, SamplingRecipe};
use crate::data::{Condition, Generate, Rows, npy};
use crate::denoise::{Denoiser, Diffusing, Guidance, Transfer, level_errors};
use crate::error::inside;
use crate::family::{Setting, Task};
use crate::process::{AnySchedule, Schedule};
use crate::registry::read_over;
use crate::solve::grid::{Grid, LogSnr};
use crate::solve::{AnalyticVariance, Sampler};
use crate::{Draws, Error, Result};
use burn::tensor::{Device, Tensor};
use std::any::Any;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Table;

/// The numbers of training rows and of noise levels at which a model's errors are measured.
const MEASURED: (usize, usize) = (512, 41);

/// A `sampling` table checked against a model.
pub(super) struct Sampling {
    recipe: SamplingRecipe,
}

impl Sampling {
    /// The recipe's table with the keys of `changes` replaced.
    pub fn new(model: &DiffusionModel, changes: &Table) -> Result<Self> {
        let recipe: SamplingRecipe = read_over(&model.recipe.sampling, changes)?;
        recipe.check()?;
        let wanted = changes.contains_key("guidance") && recipe.guidance != 1.0;
        if wanted && recipe.weak.is_none() {
            let expected = if !is_conditional(model) {
                "1, since the model has no classes and no conditions"
            } else if model.recipe.objective.label_dropout == 0.0 {
                "1, since objective.label_dropout was 0 in training, or a weaker run as sampling.weak"
            } else {
                return Ok(Self { recipe });
            };
            return Err(Error::config("guidance", recipe.guidance.to_string(), expected));
        }
        Ok(Self { recipe })
    }

    /// The sampler.
    pub fn sampler(&self, model: &DiffusionModel, at: &Setting) -> Result<Sampler> {
        let recipe = &self.recipe;
        let trained: Arc<dyn Schedule> = Arc::new(model.recipe.schedule.clone());
        let (mut denoiser, mut schedule) = (model.denoiser.clone(), model.schedule.clone());
        if let Some(other) = &recipe.schedule {
            within(other, &*trained)?;
            denoiser = Arc::new(Transfer::new(denoiser, trained));
            schedule = Arc::new(other.clone());
        }
        // Without a condition both networks of classifier-free guidance are one.
        let guided = is_conditional(model) || recipe.weak.is_some();
        if guided && recipe.guidance != 1.0 {
            let mut guided = Guidance::new(denoiser, recipe.guidance)?;
            if let Some(path) = &recipe.weak {
                guided = guided.with_weak(weak(model, path)?);
            }
            denoiser = Arc::new(match recipe.interval {
                Some([low, high]) => guided.with_interval(low, high),
                None => guided,
            });
        }
        let moved = Diffusing { denoiser, schedule, sigma_data: model.sigma_data };
        let mut sampler = Sampler::from(moved)
            .with_solver(recipe.solver)
            .with_grid(recipe.grid)
            .with_steps(recipe.steps)
            .with_last(recipe.last)
            .with_clip(recipe.clip);
        sampler.levels()?;
        if recipe.noise == NoiseSource::Tree {
            recipe.solver.check_path_noise()?;
            sampler = sampler.with_path_noise();
        }
        if recipe.variance.is_some() {
            recipe.solver.check_variance()?;
            sampler = sampler.with_reverse_variance(Arc::new(best_variance(model, at)?));
        }
        Ok(sampler)
    }

    /// The generator.
    pub fn generator(&self, model: &DiffusionModel, at: &Setting) -> Result<Generator> {
        let start = self.recipe.init.as_deref().map(|path| {
            let (_, rows) = npy::read(path)?;
            let width = model.space.model_width();
            if rows.width() == width {
                return Ok((path.to_path_buf(), rows));
            }
            let found = format!("{} rows of {} values", rows.len(), rows.width());
            Err(Error::file(path, "shape", found, format!("rows of {width} values")))
        });
        let (start, sampler) = (start.transpose()?, self.sampler(model, at)?);
        let (before, rows_at_once) = (sampler.evaluations(), model.rows_at_once());
        let solver = self.recipe.solver.name().to_string();
        Ok(Generator { sampler, solver, before, start, rows_at_once })
    }
}

/// Whether rows of a model depend on a class or on conditions.
fn is_conditional(model: &DiffusionModel) -> bool {
    !model.space.classes().is_empty() || model.space.given().is_some()
}

/// A generator of rows by a sampler, from its prior or from given rows at the noisiest level.
pub(super) struct Generator {
    sampler: Sampler,
    /// The solver's name.
    solver: String,
    /// The number of network evaluations before this generator's first.
    before: u64,
    /// The rows to start from, with their file.
    start: Option<(PathBuf, Rows)>,
    rows_at_once: u64,
}

impl Generate for Generator {
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        let Some((file, start)) = &self.start else {
            return self.sampler.generate(rows, condition, draws, device);
        };
        if rows.end > start.len() as u64 {
            let shape = |n: u64| format!("{n} rows of {} values", start.width());
            let expected = format!("at least {}", shape(rows.end));
            return Err(Error::file(file, "shape", shape(start.len() as u64), expected));
        }
        let ids: Vec<u64> = rows.clone().collect();
        let x = start.slice(rows.start as usize..rows.end as usize).to_tensor(device);
        self.sampler.generate_from(x, &ids, condition, draws, |_| {})
    }

    fn name(&self) -> String {
        self.solver.clone()
    }

    fn network_evaluations(&self) -> u64 {
        self.sampler.evaluations() - self.before
    }

    fn rows_at_once(&self) -> u64 {
        self.rows_at_once
    }
}

/// The denoiser of the weaker run at `path`, which may have another schedule.
fn weak(model: &DiffusionModel, path: &Path) -> Result<Arc<dyn Denoiser>> {
    let weak: Box<dyn Any> = (model.open)(path)?.into_any();
    let found = || path.display().to_string();
    let Ok(weak) = weak.downcast::<DiffusionModel>() else {
        let expected = "a run of a diffusion model, or weights that it kept";
        return Err(Error::config("weak", found(), expected));
    };
    if weak.space != model.space {
        return Err(Error::config(
            "weak",
            found(),
            "a run on rows of the same columns and classes",
        ));
    }
    Ok(Arc::new(Transfer::new(weak.denoiser, Arc::new(weak.recipe.schedule.clone()))))
}

/// Fails unless the log-SNRs of `schedule` are within the range of training.
fn within(schedule: &AnySchedule, trained: &dyn Schedule) -> Result<()> {
    schedule.check()?;
    let ends = |schedule: &dyn Schedule| {
        let (first, last) = schedule.range();
        (schedule.level(first).lambda, schedule.level(last).lambda)
    };
    let ((high, low), (most, least)) = (ends(schedule), ends(trained));
    if high <= most + 1e-6 && low >= least - 1e-6 {
        return Ok(());
    }
    let found = format!("a log-SNR that falls from {high:.4} to {low:.4}");
    let expected = format!("log-SNRs that the run was trained on, {most:.4} to {least:.4}");
    Err(Error::config("schedule", found, expected))
}

/// The optimal variance of ancestral steps, from the errors of the denoiser without guidance on training rows.
fn best_variance(model: &DiffusionModel, at: &Setting) -> Result<AnalyticVariance> {
    let (data, space) = ((model.data)()?, &model.space);
    let (most, levels) = MEASURED;
    let train = data.fit_rows();
    let count = train.len().min(most);
    let rows: Vec<usize> = (0..count).map(|i| i * train.len() / count).collect();
    let (split, draws) = (train.select(&rows), Draws::new(0).purpose("variance"));
    let ids: Vec<u64> = (0..count as u64).collect();
    let encoding = model.recipe.training.encoding();
    let x = encoding.encode(space, split.rows(), &draws.purpose("dequantise"), &ids)?;
    let condition = split.condition(space, at.device)?;
    let levels = LogSnr.levels(&*model.schedule, levels - 1)?;
    let finite: Vec<_> = levels.into_iter().filter(|level| level.lambda.is_finite()).collect();
    let mut errors = Vec::with_capacity(finite.len());
    for (done, level) in finite.iter().enumerate() {
        let (denoiser, device): (&dyn Denoiser, _) = (&*model.denoiser, at.device);
        errors.extend(level_errors(denoiser, &x, &condition, &x, &[*level], &draws, device)?);
        (at.observe)(Task {
            what: "measuring errors".into(),
            unit: "levels",
            done: done as u64 + 1,
            total: finite.len() as u64,
            note: String::new(),
        });
    }
    AnalyticVariance::measured(&errors).map_err(|e| inside("variance", e))
}
