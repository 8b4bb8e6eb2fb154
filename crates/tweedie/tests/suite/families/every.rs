//! The contract of every registered family, trained for a few steps from its defaults; a new family is included without
//! being named here.

use crate::support::{cpu, host};
use std::path::Path;
use tempfile::TempDir;
use toml::Table;
use tweedie::data::{Condition, Dataset, Rows};
use tweedie::density::Kind;
use tweedie::family::{FAMILIES, Integers, Model, Setting};
use tweedie::run::{Recipe, Run};
use tweedie::train::{Learner, load_checkpoint, save_checkpoint};
use tweedie::{Draws, Result};

/// What makes families small whose defaults are not, or gives them rows in the plane.
const SMALL: [(&str, &[&str]); 5] = [
    (
        "diffusion",
        &["network.name=mlp", "network.hidden=16", "network.blocks=1", "training.batch=32"],
    ),
    ("flow", &["flow.depth=3", "training.batch=32"]),
    (
        "autoregressive",
        &["autoregressive.network={ name = \"masked\", hidden = [16, 16] }", "training.batch=32"],
    ),
    (
        "energy",
        &[
            "energy={ name = \"network\", hidden = [16, 16] }",
            "objective={ name = \"persistent\", buffer = 64 }",
            "training.batch=32",
            "sampling.steps=20",
        ],
    ),
    ("chains", &["target=pinwheel", "chains.rows=12", "chains.keep=8"]),
];
const STEPS: u64 = 12;
/// The step before which a run is stopped and resumed.
const STOP: u64 = 5;

/// A run of a family, not yet trained: on moons unless it needs no data.
struct Tried {
    run: Run,
    data: Option<Dataset>,
    _folder: TempDir,
}

impl Tried {
    fn new(family: &str) -> Result<Self> {
        let small = SMALL.iter().find(|(name, _)| *name == family).map_or(&[][..], |(_, set)| set);
        let mut set: Vec<String> = small.iter().map(|set| set.to_string()).collect();
        set.push(format!("training.steps={STEPS}"));
        let parsed = |data: &str| Recipe::parse(&format!("family = \"{family}\"\n{data}"), &set);
        let mut recipe = parsed("")?;
        let mut data = None;
        if recipe.plan.own_space(&super::nothing()).is_err() {
            recipe = parsed("[data]\nsource = \"moons\"\nn = 240")?;
            data = Some(recipe.load_data()?);
        }
        let folder = tempfile::tempdir().expect("a folder");
        let run = Run::create(&folder.path().join("run"), recipe, data.as_ref())?;
        Ok(Self { run, data, _folder: folder })
    }

    fn learner(&self) -> Result<Box<dyn Learner>> {
        self.run.learner(self.data.as_ref(), &cpu())
    }

    /// The model after all steps, opened from its folder.
    fn model(&self) -> Result<Box<dyn Model>> {
        let mut learner = self.learner()?;
        (0..STEPS).try_for_each(|step| learner.step(step).map(|_| ()))?;
        self.run.save_weights(&learner.weights()?)?;
        Run::open(self.run.folder())?.model(&cpu())
    }
}

/// Every family with its run.
fn every() -> impl Iterator<Item = (&'static str, Tried)> {
    FAMILIES.iter().map(|entry| (entry.name, Tried::new(entry.name).expect(entry.name)))
}

fn rows(model: &dyn Model, range: std::ops::Range<u64>) -> Result<Vec<f64>> {
    let device = cpu();
    let at = Setting { device: &device, seed: 0, observe: &|_| {} };
    let generator = model.generator(&Table::new(), &at)?;
    Ok(host(&generator.generate(range, &Condition::None, &Draws::new(9), &device)?))
}

#[test]
fn every_family_that_is_stopped_and_resumed_ends_in_the_same_bytes() -> Result<()> {
    for (family, tried) in every() {
        let path = tried.run.file("stopped.safetensors");
        let (mut whole, mut parts) = (tried.learner()?, tried.learner()?);
        for step in 0..STEPS {
            if step == STOP {
                save_checkpoint(parts.save()?, step, &path)?;
                let (state, at) = load_checkpoint(&path)?;
                parts = tried.learner()?;
                parts.load(state, &path)?;
                assert_eq!(at, step, "{family}");
            }
            assert_eq!(whole.step(step)?, parts.step(step)?, "{family} at step {step}");
        }
        let state = whole.save()?;
        assert_eq!(state, parts.save()?, "{family}");
        assert_eq!(whole.held_out()?, parts.held_out()?, "{family}");
        let weights = tried.run.info.resolved.weights_of(state)?;
        assert_eq!(weights, whole.weights()?, "{family}: weights out of a checkpoint");
        assert!(!weights.is_empty(), "{family}");
        let error = parts.load(Default::default(), Path::new("a file")).expect_err(family);
        assert!(error.to_string().starts_with("a file: "), "{family}: {error}");
    }
    Ok(())
}

#[test]
fn a_row_of_every_family_s_sample_depends_on_its_number_alone() -> Result<()> {
    for (family, tried) in every() {
        let model = tried.model()?;
        let (all, part, alone) =
            (rows(&*model, 0..16)?, rows(&*model, 3..7)?, rows(&*model, 6..7)?);
        let width = model.space().model_width();
        assert_eq!(part, all[3 * width..7 * width], "{family}");
        assert_eq!(alone, all[6 * width..7 * width], "{family}");
        // Chains may keep a draw twice.
        assert!((1..16).any(|k| all[..width] != all[k * width..][..width]), "{family}");
        assert_eq!(all, rows(&*Run::open(tried.run.folder())?.model(&cpu())?, 0..16)?, "{family}");
    }
    Ok(())
}

/// The centres and widths of cells that cover the line: x = mean + sd sinh(3u) of equal cells of u in (−1, 1).
fn cells(mean: f64, sd: f64, count: usize) -> Vec<(f64, f64)> {
    let middle = |k: usize| (2 * k + 1) as f64 / count as f64 - 1.0;
    let cell = |u: f64| (mean + sd * (3.0 * u).sinh(), sd * 6.0 * (3.0 * u).cosh() / count as f64);
    (0..count).map(|k| cell(middle(k))).collect()
}

/// ∫ p over the plane, in raw units, by a grid around the data's or a sample's own place.
fn integral(model: &dyn Model, name: &str, around: &Rows) -> Result<Option<f64>> {
    let device = cpu();
    let at = Setting { device: &device, seed: 0, observe: &|_| {} };
    let judge = model.density(name, &Table::new(), Integers::None, &at)?;
    let axes = |count: usize| {
        [0, 1].map(|j| {
            let column: Vec<f64> = around.iter().map(|row| f64::from(row[j])).collect();
            let (mean, variance) = crate::support::moments(&column);
            cells(mean, variance.sqrt(), count)
        })
    };
    // A density that costs evaluations of a network is smooth after so few steps.
    let [x, y] = axes(if judge.evaluations > 1.0 { 56 } else { 256 });
    let points = || x.iter().flat_map(|x| y.iter().map(move |y| (x, y)));
    let values = points().flat_map(|(x, y)| [x.0 as f32, y.0 as f32]).collect();
    let log_p = judge.density.log_prob(&Rows::new(values, 2)?, &Condition::None, &mut |_| {})?;
    let cells = points().map(|(x, y)| x.1 * y.1);
    let sum = log_p.value.iter().zip(cells).map(|(log_p, cell)| log_p.exp() * cell).sum();
    Ok((log_p.kind == Kind::Exact).then_some(sum))
}

#[test]
fn every_exact_density_of_a_family_integrates_to_one_in_the_plane() -> Result<()> {
    let mut exact = 0;
    for (family, tried) in every() {
        let model = tried.model()?;
        assert_eq!(model.space().width(), 2, "{family}");
        let around = match &tried.data {
            Some(data) => data.train.rows().clone(),
            None => {
                let x = Rows::new(rows(&*model, 0..60)?.iter().map(|x| *x as f32).collect(), 2)?;
                model.space().decode(&x)?
            }
        };
        for entry in model.densities() {
            if let Some(whole) = integral(&*model, entry.name, &around)? {
                println!("{family}, {}: {whole}", entry.name);
                assert!((whole - 1.0).abs() < 2e-3, "{family}, {}: {whole}", entry.name);
                exact += 1;
            }
        }
    }
    assert!(exact >= 3, "only {exact} exact densities");
    Ok(())
}
