//! Posteriors of any shape beside p(z | x) by quadrature: a ring, and two modes.

use super::posteriors::{optimiser, with};
use super::{config, plain};
use crate::support::{cpu, host, within};
use burn::module::Module;
use burn::tensor::{DType, Tensor};
use serde_json::json;
use std::f64::consts::TAU;
use std::path::Path;
use tweedie::data::Condition;
use tweedie::latent::{Factors, LatentVariable, MatcherStep};
use tweedie::nn::{collect_params, map_params};
use tweedie::train::Trainee;
use tweedie::{Draws, Result};

/// A row x = |z| or x = |z₁| by units of relu, with noise of standard deviation `sd`.
struct Folded {
    directions: Vec<[f32; 2]>,
    factor: f32,
    sd: f64,
}

/// The row.
const AT: f64 = 2.0;

impl Folded {
    fn ring() -> Self {
        let count = 24;
        let of = |k: usize| {
            let angle = TAU * k as f64 / count as f64;
            [angle.cos() as f32, angle.sin() as f32]
        };
        // Σ relu(u · z) tends to |z| count/π.
        let factor = std::f64::consts::PI / count as f64;
        Self { directions: (0..count).map(of).collect(), factor: factor as f32, sd: 0.2 }
    }

    fn modes(sd: f64) -> Self {
        Self { directions: vec![[1.0, 0.0], [-1.0, 0.0]], factor: 1.0, sd }
    }

    /// The decoder's mean.
    fn mean(&self, z: [f64; 2]) -> f64 {
        let unit = |u: &[f32; 2]| (f64::from(u[0]) * z[0] + f64::from(u[1]) * z[1]).max(0.0);
        f64::from(self.factor) * self.directions.iter().map(unit).sum::<f64>()
    }

    /// ln p(x, z) at x = 2.
    fn log_joint(&self, z: [f64; 2]) -> f64 {
        let off = (AT - self.mean(z)) / self.sd;
        -0.5 * (off * off + z[0] * z[0] + z[1] * z[1] + 3.0 * TAU.ln()) - self.sd.ln()
    }

    /// The model with this decoder and further keys.
    fn model(&self, mut keys: serde_json::Value) -> Result<LatentVariable> {
        let count = self.directions.len();
        keys["width"] = json!(2);
        keys["scale"] = json!("one");
        keys["activation"] = json!("relu");
        keys["decoder"] = json!([count]);
        keys["encoder"] = json!([64, 64]);
        let model = config(keys).init(&plain(1), &Draws::new(0), &cpu())?;
        with(model, |path| self.values(path))
    }

    fn values(&self, path: &str) -> Option<Vec<f32>> {
        let count = self.directions.len();
        // s with s/(1 + |s|/7) = ln σ.
        let log = self.sd.ln();
        let unbounded = log / (1.0 - log.abs() / 7.0);
        match path {
            "scales" => Some(vec![unbounded as f32]),
            "decoder.linears.0.weight" => Some(self.directions.concat()),
            "decoder.linears.0.bias" => Some(vec![0.0; count]),
            // A logit, a mean and a scale.
            "decoder.linears.1.weight" => {
                Some([vec![0.0; count], vec![self.factor; count], vec![0.0; count]].concat())
            }
            "decoder.linears.1.bias" => Some(vec![0.0; 3]),
            _ => None,
        }
    }

    /// The encoder trained on the row x = 2 alone, with the decoder as it is.
    fn trained(&self, keys: serde_json::Value, steps: u64, rate: f64) -> Result<LatentVariable> {
        let model = wide(self.model(keys)?)?;
        let of = optimiser(rate);
        let matcher = model.matching().matcher(2, &plain(1), of.clone(), &Draws::new(1), &cpu())?;
        let (mut matcher, mut model) = (matcher, Trainee::new(model, &of));
        let device = cpu().autodiff();
        let x = Tensor::<2>::full([128, 1], AT, (&device, DType::F32));
        for step in 0..steps {
            let factor = 1.0 - step as f64 / steps as f64;
            let draws = Draws::new(6).at(step);
            if let Some(matcher) = &mut matcher {
                let (x, draws) = (x.clone().inner(), draws.purpose("matcher"));
                let of = MatcherStep { x: &x, condition: &Condition::None, draws: &draws, step };
                matcher.learn(&model.module.valid(), &of, factor)?;
            }
            let factors = Factors::default();
            let found =
                model.module.bound_by(&x, &Condition::None, &draws, &factors, matcher.as_ref())?;
            model.take_in(&found.expression.mean().neg().backward());
            model.step(factor)?;
            model.module = with(model.module.clone(), |path| self.values(path))?;
        }
        Ok(model.module.valid())
    }

    /// KL(q(z | x) ‖ p(z | x)) at x = 2, by a histogram of so many times 50,000 draws.
    fn gap(&self, model: &LatentVariable, batches: u64) -> Result<f64> {
        const SIDE: f64 = 5.0;
        const CELLS: usize = 200;
        let (width, parts) = (2.0 * SIDE / CELLS as f64, 4);
        let at =
            |k: usize, part: usize| -SIDE + width * (k as f64 + (part as f64 + 0.5) / parts as f64);
        let mut p = vec![0.0f64; CELLS * CELLS];
        for (k, p) in p.iter_mut().enumerate() {
            for part in 0..parts * parts {
                let z = [at(k / CELLS, part / parts), at(k % CELLS, part % parts)];
                *p += self.log_joint(z).exp() / (parts * parts) as f64;
            }
        }
        let whole: f64 = p.iter().sum();
        let mut counts = vec![0.0f64; CELLS * CELLS];
        let each = 50_000;
        let x = Tensor::<2>::full([1, 1], AT, (&cpu(), DType::F32));
        for k in 0..batches {
            let z = model.draw_posterior(&x, &Condition::None, each, &Draws::new(7).at(k))?;
            for z in host(&z).chunks(2) {
                let cell = |v: f64| (((v + SIDE) / width) as usize).min(CELLS - 1);
                counts[cell(z[0]) * CELLS + cell(z[1])] += 1.0;
            }
        }
        let n = batches as f64 * each as f64;
        let part = |(count, p): (&f64, &f64)| {
            let q = count / n;
            if q > 0.0 { q * (q / (p / whole)).ln() } else { 0.0 }
        };
        Ok(counts.iter().zip(&p).map(part).sum())
    }
}

/// Posteriors of any shape are nearer to a ring, and to two modes, than half of the best normal one's distance, which
/// on two modes is that of one of them, ln 2, or more.
#[test]
fn posteriors_of_any_shape_find_a_ring_and_two_modes() -> Result<()> {
    let steps = 1500;
    let noise = json!({ "name": "implicit", "noise": 4 });
    let implicit =
        |matching: serde_json::Value| json!({ "posterior": noise, "matching": matching });
    let critic = json!({ "name": "critic", "hidden": [64, 64], "steps": 3 });
    let denoiser = json!({ "name": "denoising", "hidden": [64, 64], "steps": 3, "noise": 0.3,
        "learning_rate": 5e-3 });
    let mixture = json!({ "posterior": { "name": "auxiliary", "width": 2, "hidden": [64] } });
    for (name, of) in [("ring", Folded::ring()), ("modes", Folded::modes(0.5))] {
        let field = of.gap(&of.trained(json!({}), steps, 3e-3)?, 20)?;
        let field = if name == "modes" { field.min(2f64.ln()) } else { field };
        for (way, keys, rate) in [
            ("critic", implicit(critic.clone()), 1e-3),
            ("denoiser", implicit(denoiser.clone()), 1e-3),
            ("auxiliary", mixture.clone(), 3e-3),
        ] {
            // A mixture over an auxiliary variable kept to one of two modes however it was trained.
            if (name, way) == ("modes", "auxiliary") {
                continue;
            }
            let gap = of.gap(&of.trained(keys, steps, rate)?, 20)?;
            assert!(gap < 0.5 * field, "{name}: mean field {field}, {way} {gap}");
        }
    }
    Ok(())
}

/// Chains from the mean field come within a tenth of its distance on a ring. Of two far modes they keep to one.
#[test]
fn chains_find_a_ring_and_keep_to_a_far_mode() -> Result<()> {
    let kernel = json!({ "name": "hmc", "step_size": 0.15, "leapfrog": 10 });
    let refine = json!({ "refine": { "steps": 30, "kernel": kernel } });
    for (name, of) in [("ring", Folded::ring()), ("modes", Folded::modes(0.2))] {
        let field = of.trained(json!({}), 1500, 3e-3)?;
        let chains = of.model(refine.clone())?;
        let chains = map_params(chains, &collect_params(&field)?, Path::new("here"))?;
        let [field, chains] = [of.gap(&field, 4)?, of.gap(&chains, 4)?];
        match name {
            "ring" => assert!(chains < 0.1 * field, "{name}: {field}, {chains}"),
            _ => {
                within("mean field of one mode", field, 2f64.ln(), 0.05);
                within("chains from one mode", chains, 2f64.ln(), 0.05);
            }
        }
    }
    Ok(())
}

/// The model whose encoder, if it draws by noise, begins with z = 1.5 (ε₁, ε₂): on both sides of 0, and wider than the
/// prior.
fn wide(model: LatentVariable) -> Result<LatentVariable> {
    if !model.is_implicit() {
        return spread(model);
    }
    // The first four units of each layer carry the positive and the negative parts of ε₁ and ε₂.
    let mut params = collect_params(&model)?;
    let mut set = |layer: usize, width: usize, entries: &[(usize, usize, f32)], all: bool| {
        let path = format!("encoder.linears.{layer}.weight");
        let values = params.get_mut(&path).expect("a layer").as_mut_slice::<f32>().expect("floats");
        let kept = if all { values.len() } else { 4 * width };
        values[..kept].fill(0.0);
        entries.iter().for_each(|(row, column, value)| values[row * width + column] = *value);
    };
    set(0, 5, &[(0, 1, 1.0), (1, 1, -1.0), (2, 2, 1.0), (3, 2, -1.0)], false);
    set(1, 64, &[0, 1, 2, 3].map(|k| (k, k, 1.0)), false);
    set(2, 64, &[(0, 0, 1.5), (0, 1, -1.5), (1, 2, 1.5), (1, 3, -1.5)], true);
    map_params(model, &params, Path::new("here"))
}

/// The model whose draws, if they have an auxiliary variable, begin by depending on it strongly.
fn spread(model: LatentVariable) -> Result<LatentVariable> {
    let mut params = collect_params(&model)?;
    if let Some(weight) = params.get_mut("auxiliary.of_z.linears.1.weight") {
        // The means alone, and not the scales.
        let values = weight.as_mut_slice::<f32>().expect("floats");
        let half = values.len() / 2;
        values[..half].iter_mut().for_each(|v| *v *= 6.0);
    }
    map_params(model, &params, Path::new("here"))
}
