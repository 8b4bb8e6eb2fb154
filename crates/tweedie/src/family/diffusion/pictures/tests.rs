use super::*;
use crate::data::{Condition, Dataset, npy};
use crate::draw::{colour, stacked};
use crate::family::{Model, Setting, sample};
use crate::nn::Params;
use crate::run::pictures::{keep, kept, pictures};
use crate::run::{Recipe, Run};
use burn::tensor::Device;
use std::ops::Range;
use tempfile::TempDir;
use toml::Table;

/// A run on a data set whose network has its initial weights, its data, and those weights.
fn untrained(source: &str, more: &[&str]) -> (TempDir, Run, Dataset, Params) {
    let folder = tempfile::tempdir().unwrap();
    let mut overrides =
        ["network.name=mlp", "network.hidden=24", "network.blocks=1"].map(String::from).to_vec();
    overrides.extend(more.iter().map(|item| item.to_string()));
    let text = format!("[data]\nsource = \"{source}\"\n[training]\nsteps = 40\nsample_every = 20");
    let recipe = Recipe::parse(&text, &overrides).unwrap();
    let data = recipe.load_data().unwrap();
    let run = Run::create(folder.path(), recipe, &data).unwrap();
    let weights = run.learner(&data, &Device::flex()).unwrap().weights().unwrap();
    (folder, run, data, weights)
}

/// The model with given weights.
fn model_of(run: &Run, weights: &Params) -> Box<dyn Model> {
    run.model_with(weights, run.folder(), &Device::flex()).unwrap()
}

/// Samplers of 12 steps, and what else is given.
fn steps(more: &str) -> Table {
    format!("steps = 12\n{more}").parse().unwrap()
}

/// A picture of a run by name, with or without its data.
fn draw(
    run: &Run,
    weights: &Params,
    data: std::result::Result<&Dataset, String>,
    name: &str,
) -> Result<Drawing> {
    let (model, sampling, device) = (model_of(run, weights), steps(""), Device::flex());
    let at = PictureSetting { sampling: &sampling, data, seed: 7, device: &device };
    let all = pictures(run, &*model, &at);
    (all.iter().find(|picture| picture.name == name).unwrap().draw)()
}

/// The same, a still one of a run with its data.
fn still(run: &Run, data: &Dataset, weights: &Params, name: &str) -> RgbImage {
    match draw(run, weights, Ok(data), name).unwrap() {
        Drawing::Still(image) => image,
        Drawing::Moving(_) => panic!("{name} moves"),
    }
}

/// Pictures of 8 × 8 pixels in the last `columns` columns and `lines` lines of a grid.
struct Tiles<'a> {
    image: &'a RgbImage,
    zoom: u32,
    columns: u32,
    lines: u32,
}

impl Tiles<'_> {
    fn pixels(&self, line: u32, column: u32) -> Vec<u8> {
        let side = 8 * self.zoom + 4;
        let left = self.image.width() - (self.columns - column) * side;
        let top = self.image.height() - (self.lines - line) * side;
        let middle = |i: u32| i * self.zoom + self.zoom / 2;
        let at = |i: u32| self.image.get_pixel(left + middle(i % 8), top + middle(i / 8)).0[0];
        (0..64).map(at).collect()
    }
}

#[test]
fn a_trajectory_begins_with_noise_and_ends_with_the_samples() {
    let device = Device::flex();
    let (_folder, run, data, weights) = untrained("digits", &[]);
    let (model, sampling) = (model_of(&run, &weights), steps(""));
    let model = model.any().downcast_ref::<DiffusionModel>().unwrap();
    let at = PictureSetting { sampling: &sampling, data: Ok(&data), seed: 7, device: &device };
    let shown = Pictures { model, sampler: model.sampler_with(&sampling).unwrap(), at: &at };
    let samples = still(&run, &data, &weights, "samples");
    // Ten lines of ten pictures; names of columns take 36 pixels.
    let tiles = |image, zoom| Tiles { image, zoom, columns: 10, lines: 10 };
    let samples_tiles = tiles(&samples, (samples.height() - 44) / 80);
    let parts = shown.trajectory().unwrap();
    assert_eq!(still(&run, &data, &weights, "trajectory"), stacked(&parts).unwrap());
    let of_part = |k: usize| tiles(&parts[k].1, (parts[k].1.height() - 80) / 80);
    let (way, guess) = (of_part(0), of_part(1));
    let draws = Draws::new(7).purpose("sample").purpose("prior");
    let noise = draws.normals(0..10, 64);
    for line in 0..10 {
        assert_eq!(way.pixels(line, 9), samples_tiles.pixels(line, 0));
        assert_eq!(guess.pixels(line, 9), samples_tiles.pixels(line, 0));
        assert_ne!(way.pixels(line, 8), way.pixels(line, 0));
        // Noise of the data's standard deviation, in steps of 1/17 of the range from −1 to 1.
        let sd = model.sigma_data as f32;
        for (byte, z) in way.pixels(line, 0).iter().zip(noise.row(line as usize)) {
            let level = (8.5 * sd * z + 8.5).floor().clamp(0.0, 16.0);
            let near = (f32::from(*byte) / 255.0 * 16.0 - level).abs();
            assert!(near < 0.51, "{byte} for {level}");
        }
    }
}

#[test]
fn what_is_kept_comes_back_and_is_what_was_sampled() {
    let device = Device::flex();
    let labelled = [("digits", 10, 64), ("moons", 1000, 2)];
    for (source, count, width) in labelled {
        let (folder, run, data, weights) = untrained(source, &[]);
        assert!(kept(&run).unwrap().is_empty());
        let drawn = draw(&run, &weights, Ok(&data), "progress");
        assert!(matches!(drawn, Err(Error::Undefined { .. })));
        for step in [10, 20, 30, 40] {
            keep(&run, Some(&data), &*model_of(&run, &weights), step, &device).unwrap();
            let picture = folder.path().join(format!("samples/step-{step:06}.png"));
            assert_eq!(picture.exists(), step % 20 == 0);
        }
        let all = kept(&run).unwrap();
        assert_eq!(all.iter().map(|k| k.0).collect::<Vec<_>>(), [10, 20, 30, 40]);
        let seed = run.info.recipe.seed;
        let (model, space) = (model_of(&run, &weights), &run.info.space);
        let setting = Setting { device: &device, seed, observe: &|_| {} };
        let generator = model.generator(&Table::new(), &setting).unwrap();
        let label = |row| label_of(space, row);
        let condition = |rows: Range<u64>| space.condition(rows.map(label).collect());
        let rows =
            sample(&*model, &*generator, 0..count, condition, seed, &device, |_| {}).unwrap();
        let labels: Option<Vec<u32>> = (0..count).map(label).collect();
        for (_, split) in &all {
            assert_eq!((split.len() as u64, split.rows().width()), (count, width));
            assert_eq!(split.labels(), labels.as_deref());
            let pairs = split.rows().values().iter().zip(rows.values());
            // A larger batch may round otherwise, and then to the next grey.
            let off = pairs.filter(|(a, b)| (**a - **b).abs() > 1e-3).count();
            assert!(off * 200 <= split.rows().values().len(), "{off}");
        }
        still(&run, &data, &weights, "progress");
        // A file of something else is named.
        let path = folder.path().join("samples/step-000030.npy");
        let mut file =
            npy::NpyWriter::new(Vec::new(), &path, 1, Layout::Vector { width: 3 }).unwrap();
        file.write(&Rows::new(vec![0.0; 3], 3).unwrap()).unwrap();
        std::fs::write(&path, file.finish().unwrap()).unwrap();
        let error = kept(&run).unwrap_err().to_string();
        assert!(error.contains("step-000030.npy") && error.contains("1 rows of 3"), "{error}");
    }
}

#[test]
fn tables_have_no_trajectory_and_keep_pictures_alone() {
    let device = Device::flex();
    let (folder, run, data, weights) = untrained("wine", &[]);
    for step in [10, 20] {
        keep(&run, Some(&data), &*model_of(&run, &weights), step, &device).unwrap();
    }
    assert!(folder.path().join("samples/step-000020.png").exists());
    assert_eq!(std::fs::read_dir(folder.path().join("samples")).unwrap().count(), 1);
    for name in ["trajectory", "progress"] {
        let drawn = draw(&run, &weights, Ok(&data), name);
        assert!(matches!(drawn, Err(Error::Undefined { .. })), "{name}");
    }
    still(&run, &data, &weights, "levels");
    let without = |name: &str| draw(&run, &weights, Err("it has gone".into()), name);
    let error = without("levels").err().unwrap().to_string();
    assert!(error.contains("it has gone"), "{error}");
    without("samples").unwrap();
}

#[test]
fn an_adaptive_solver_s_way_has_as_many_levels() {
    let device = Device::flex();
    let (_folder, run, _, weights) = untrained("moons", &[]);
    let (model, sampling) = (model_of(&run, &weights), "solver = 'dopri5'\nsteps = 9");
    let sampling: Table = sampling.parse().unwrap();
    let model = model.any().downcast_ref::<DiffusionModel>().unwrap();
    let draws = Draws::new(1).purpose("sample");
    let sampler = model.sampler_with(&sampling).unwrap();
    let moments = sampler.path(0..40, &Condition::None, &draws, &device, 6).unwrap();
    assert_eq!(moments.len(), 6);
    assert!(moments.windows(2).all(|pair| pair[0].level.lambda < pair[1].level.lambda));
    let end = Rows::from_tensor(&moments[moments.len() - 1].x).unwrap();
    let end = run.info.space.decode(&end).unwrap();
    let setting = Setting { device: &device, seed: 1, observe: &|_| {} };
    let generator = model.generator(&sampling, &setting).unwrap();
    let direct =
        sample(model, &*generator, 0..40, |_| Ok(Condition::None), 1, &device, |_| {}).unwrap();
    for (a, b) in end.values().iter().zip(direct.values()) {
        // The solver's own error at its tolerance.
        assert!((a - b).abs() < 0.02, "{a} {b}");
    }
}

/// The blue line of the model must lie where its numbers say: below the constant guess for a schedule's clean end.
#[test]
fn errors_by_level_and_curves_are_drawn() {
    let (folder, run, data, weights) = untrained("moons", &[]);
    let image = still(&run, &data, &weights, "levels");
    for series in 0..3 {
        let ink = colour::series(series);
        let near = |p: &[u8; 3]| p.iter().zip(ink).all(|(a, b)| a.abs_diff(b) < 40);
        assert!(image.enumerate_pixels().filter(|(_, y, p)| *y > 140 && near(&p.0)).count() > 100);
    }
    let curves = draw(&run, &weights, Ok(&data), "curves");
    assert!(matches!(curves, Err(Error::Io { .. })));
    std::fs::write(
        folder.path().join("curves.jsonl"),
        "{\"step\":5,\"train/loss\":0.5,\"train/gradient_norm\":1.0}\n",
    )
    .unwrap();
    assert_eq!(still(&run, &data, &weights, "curves").dimensions(), (1400, 1760));
    // A chain that ends in pure noise, at no finite log-SNR.
    let chain = "schedule={name='chain',steps=50,zero_terminal_snr=true}";
    let (_folder, run, data, weights) = untrained("moons", &[chain, "model.prediction=v"]);
    let image = still(&run, &data, &weights, "levels");
    let near = |p: &[u8; 3]| p.iter().zip(colour::series(0)).all(|(a, b)| a.abs_diff(b) < 40);
    assert!(image.enumerate_pixels().filter(|(_, y, p)| *y > 140 && near(&p.0)).count() > 100);
}

/// D1: what is measured on data that the model was not trained on is not its error.
#[test]
fn errors_by_level_are_of_rows_encoded_as_training_encodes_them() {
    let device = Device::flex();
    for dequantise in [false, true] {
        let set = format!("training.dequantise={dequantise}");
        let (_folder, run, data, weights) = untrained("digits", &[&set]);
        let model = model_of(&run, &weights);
        let model = model.any().downcast_ref::<DiffusionModel>().unwrap();
        let draws = Draws::new(7).purpose("levels");
        let encoded = |rows: &Rows, name: &str| {
            let places = draws.purpose(name).uniforms(0..rows.len() as u64, 64);
            let space = &run.info.space;
            if dequantise { space.encode_at(rows, &places) } else { space.encode(rows) }.unwrap()
        };
        let held_out = data.held_out.select(&spread(data.held_out.len(), DENOISED));
        let errors = level_errors(
            &*model.denoiser,
            &encoded(held_out.rows(), "dequantise"),
            &held_out.labels().into(),
            &encoded(data.train.rows(), "reference"),
            &LogSnr.levels(&*model.schedule, LEVELS - 1).unwrap(),
            &draws.purpose("noise"),
            &device,
        );
        let right = error_by_level(&errors.unwrap(), "256 held-out rows").unwrap();
        let drawn = still(&run, &data, &weights, "levels");
        assert!(drawn == right, "dequantise = {dequantise}");
    }
}

/// With weights of zero in the output the model is a Gaussian, whose density and paths are known.
#[test]
fn the_density_of_an_untrained_model_is_a_gaussian_and_the_data_s_is_drawn_beside_it() {
    let (_folder, run, data, weights) = untrained("moons", &["model.prediction=v"]);
    let still = |name: &str| still(&run, &data, &weights, name);
    let picture = still("density");
    // The brightest cell of the model's panel lies at its mean, the middle of the data's range.
    let brightest = colour::viridis(1.0);
    let places: Vec<(u32, u32)> = picture
        .enumerate_pixels()
        .filter(|(x, _, p)| (820..1450).contains(x) && p.0 == brightest)
        .map(|(x, y, _)| (x, y))
        .collect();
    assert!(!places.is_empty());
    let xs = places.iter().map(|p| p.0).max().unwrap() - places.iter().map(|p| p.0).min().unwrap();
    assert!(xs < 60, "{xs}");
    assert!(still("flow").pixels().any(|p| p.0 == brightest));
    assert!(still("solvers").pixels().any(|p| p.0 == colour::series(2)));
    let Drawing::Moving(moving) = draw(&run, &weights, Ok(&data), "movement").unwrap() else {
        panic!("it stands still");
    };
    assert!(moving.frames.len() > 10 && moving.frames[0] != moving.frames[9]);
}
