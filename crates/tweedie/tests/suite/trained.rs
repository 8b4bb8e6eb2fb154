//! Trained models: the shipped recipes reach the quality that they are for.

use crate::support::cpu;
use std::path::Path;
use tweedie::data::{Source, Split, Toy};
use tweedie::denoise::Condition;
use tweedie::likelihood::{Kind, LogProb, Measure, RawDensity, Uniform};
use tweedie::metric::judge::judge;
use tweedie::solve::Tolerance;
use tweedie::train::{Recipe, Run, train};
use tweedie::{Draws, Result};

/// Trains a shipped recipe in a folder.
fn trained(name: &str, overrides: &[&str], folder: &Path) -> Result<Run> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../recipes/{name}.toml"));
    let text = std::fs::read_to_string(path).expect("a shipped recipe");
    let overrides: Vec<String> = overrides.iter().map(|o| o.to_string()).collect();
    let recipe = Recipe::parse(&text, &overrides)?;
    let data = recipe.data.load()?;
    let run = Run::create(folder, recipe, &data)?;
    let mut learner = run.learner(&data, &cpu())?;
    train(&mut *learner, run.folder(), &run.training_loop(), |_| Ok(()))?;
    run.save_weights(&learner.weights()?)?;
    Ok(run)
}

/// N3: log p of a trained model on 8 Gaussians is within 0.03 nats of the truth, by the paired mean over 20,000 fresh
/// points. The standard error of that mean is about 0.001.
#[test]
fn eight_gaussians_are_learnt_to_three_hundredths_of_a_nat() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let run =
        trained("points", &["training.steps=4000", "training.sample_every=0"], folder.path())?;
    let points = Source { n: Some(20_000), seed: 99, ..Source::named("8gaussians") }.load()?;
    let raw = points.train.rows();
    let density =
        run.density(run.denoiser(&cpu())?).with_tolerance(Tolerance { atol: 1e-3, rtol: 1e-3 });
    let (space, draws) = (&run.info.space, Draws::new(1));
    let density = RawDensity {
        density: &density,
        space,
        dequantise: &Uniform,
        draws,
        device: &cpu(),
        chunk: 4096,
    };
    let model = density.log_prob(raw, &Condition::None, |_| {})?;
    let toy = Toy::EightGaussians;
    let value = raw.iter().map(|r| toy.log_density([r[0].into(), r[1].into()])).collect();
    let truth = LogProb { value, kind: Kind::Exact, standard_error: None, measure: Measure::Raw };
    let (mean, error) = truth.mean_difference(&model)?;
    assert!(mean.abs() < 0.03, "mean of log p − log q is {mean} ± {error} nats");
    // Not less than nothing: a divergence cannot be negative beyond its error.
    assert!(mean > -6.0 * error - 2e-3, "mean of log p − log q is {mean} ± {error} nats");
    Ok(())
}

/// The recipe `digits` reaches what it is for: samples are recognised, hard to tell from real ones, and not copies.
#[test]
fn digits_look_like_digits_and_are_not_copies() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let run = trained("digits", &["training.sample_every=0"], folder.path())?;
    let data = run.data()?;
    let sampler = run.sampler(run.denoiser(&cpu())?, 1.0)?;
    let labels: Vec<u32> = (0..600).map(|row| row % 10).collect();
    let rows = run.generate(&sampler, 0..600, |row| Some((row % 10) as u32), 0, &cpu(), |_| {})?;
    let scores = judge(&Split::new(rows, Some(labels))?, &data, 0)?;
    let score = |name: &str| scores.iter().find(|s| s.name == name).expect("a score").value;
    assert!(score("label agreement") >= 0.93, "{scores:?}");
    for name in ["1-NN accuracy, real", "1-NN accuracy, generated"] {
        assert!((0.30..=0.75).contains(&score(name)), "{name}: {}", score(name));
    }
    assert!(score("nearer to training") <= 0.60, "{}", score("nearer to training"));
    Ok(())
}
