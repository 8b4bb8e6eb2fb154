//! The pictures of a run: those kept during training, and those drawn from its model.

use super::Run;
use crate::data::{Dataset, Layout, Split, npy};
use crate::draw::{
    Snapshot, label_of, panels, picture, progress, rows_kept, sample_size, save_png,
    training_curves,
};
use crate::family::{Drawing, Model, Picture, PictureSetting, Setting, sample};
use crate::files::AtomicFile;
use crate::metric::SampleConditions;
use crate::train::curves;
use crate::{Error, Result};
use burn::tensor::Device;
use image::RgbImage;
use std::ops::Range;
use std::path::PathBuf;
use toml::Table;

/// Every picture of a run: the pictures of all models, and those of the run's family.
pub fn pictures<'a>(
    run: &'a Run,
    model: &'a dyn Model,
    at: &'a PictureSetting<'a>,
) -> Vec<Picture<'a>> {
    type Draw<'a> = Box<dyn Fn() -> Result<RgbImage> + 'a>;
    let still = |name, about, draw: Draw<'a>| Picture {
        name,
        about,
        draw: Box::new(move || draw().map(Drawing::Still)),
    };
    let mut all = vec![still(
        "samples",
        "samples",
        Box::new(move || {
            let n = sample_size(model.space()) as u64;
            let split = samples(model, at.sampling, n, at.real(), (at.seed, at.device))?;
            picture(model.space(), &split, at.real().map(Split::rows))
        }),
    )];
    all.extend(model.pictures(at));
    let about = "samples of the same noise over training";
    all.push(still("progress", about, Box::new(move || over_training(run, at))));
    let about = "losses and gradient norms of training, or the convergence of chains";
    all.push(still(
        "curves",
        about,
        Box::new(move || {
            if run.is_imported() {
                return Err(Error::undefined(
                    "a picture of training",
                    "this run was trained elsewhere",
                ));
            }
            let curves = training_curves(&curves::read(run.file("curves.jsonl"))?);
            if curves.is_empty() {
                return Err(Error::undefined("a picture of training", "no value was logged"));
            }
            panels(&curves.into_iter().map(|(_, plot)| plot).collect::<Vec<_>>(), 1)
        }),
    ));
    all
}

/// The picture of samples over training, as kept by [`keep`].
fn over_training(run: &Run, at: &PictureSetting) -> Result<RgbImage> {
    let mut kept = kept(run)?;
    if let (Layout::Image { .. }, Some(last)) = (run.info.space.layout(), kept.last()) {
        // Only steps with as many samples as the last one are shown.
        let n = last.1.len();
        kept.retain(|(_, split)| split.len() == n);
    }
    if kept.is_empty() {
        return Err(Error::undefined(
            "a picture of samples over training",
            match rows_kept(&run.info.space) {
                0 => "there are only those of images and of points in the plane",
                _ => "this run has kept none (training.sample_every)",
            },
        ));
    }
    progress(&run.info.space, &kept, at.real().map(Split::rows))
}

/// The first `n` samples for pictures, or all where there are fewer: with labels in turn, or, where rows are
/// conditioned on columns, with the conditions of `real` rows.
fn samples(
    model: &dyn Model,
    sampling: &Table,
    n: u64,
    real: Option<&Split>,
    (seed, device): (u64, &Device),
) -> Result<Split> {
    let space = model.space();
    let setting = Setting { device, seed, observe: &|_| {} };
    let generator = model.generator(sampling, &setting)?;
    let n = generator.most_rows().map_or(n, |most| most.min(n));
    if let Some(real) = real.filter(|_| space.given().is_some()) {
        let conditions = SampleConditions::of(real, n as usize);
        let condition = |rows| conditions.condition(rows, space, device);
        let rows = sample(model, &*generator, 0..n, condition, seed, device, |_| {})?;
        return conditions.clone().with(rows);
    }
    let condition =
        |rows: Range<u64>| space.condition(rows.map(|row| label_of(space, row)).collect());
    let rows = sample(model, &*generator, 0..n, condition, seed, device, |_| {})?;
    Split::new(rows, (0..n).map(|row| label_of(space, row)).collect())
}

/// Keeps samples from the same noise after `step` training steps: some rows in `samples/step-….npy` and, if the recipe
/// asks for it, a picture in `samples/step-….png`. A model with fewer rows keeps all of them.
///
/// # Errors
/// Errors of sampling; [`Error::Io`] if a file cannot be written.
pub fn keep(
    run: &Run,
    data: Option<&Dataset>,
    model: &dyn Model,
    step: u64,
    device: &Device,
) -> Result<()> {
    let (space, recipe) = (model.space(), &run.info.recipe);
    let training = &recipe.training;
    let whole = step.is_multiple_of(training.sample_every) || step == training.steps;
    let few = rows_kept(space);
    if !whole && few == 0 {
        return Ok(());
    }
    let folder = run.file("samples");
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    let n = if whole { sample_size(space) } else { few };
    let at = (recipe.seed, device);
    let split = match samples(model, &Table::new(), n as u64, data.map(Dataset::judged), at) {
        // An early model may diverge; it then has no samples to show.
        Err(Error::Diverged { .. }) if !whole => return Ok(()),
        split => split?,
    };
    if few > 0 {
        let few = few.min(split.len());
        let path = folder.join(format!("step-{step:06}.npy"));
        let out = AtomicFile::create(&path)?;
        let mut out = npy::NpyWriter::new(out, &path, few, space.layout())?;
        out.write(&split.rows().slice(0..few))?;
        out.finish()?.finish()?;
    }
    if whole {
        let picture = picture(space, &split, data.map(|data| data.held_out.rows()))?;
        save_png(&picture, folder.join(format!("step-{step:06}.png")))?;
    }
    Ok(())
}

/// The samples kept by [`keep`], in the order of the steps.
///
/// # Errors
/// [`Error::File`] if a file has other content; [`Error::Io`] if one cannot be read.
pub fn kept(run: &Run) -> Result<Vec<Snapshot>> {
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
        if !(1..=rows_kept(space)).contains(&rows.len()) || rows.width() != space.width() {
            let found = format!("{} rows of {} values", rows.len(), rows.width());
            let expected = format!("up to {} rows of {} values", rows_kept(space), space.width());
            return Err(Error::file(&path, "shape", found, expected));
        }
        let labels = (0..rows.len() as u64).map(|row| label_of(space, row)).collect();
        Ok((step, Split::new(rows, labels)?))
    };
    files.into_iter().map(read).collect()
}
