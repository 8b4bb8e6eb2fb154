//! The learned schedule: monotone whatever its weights, with its ends; training lowers the variance and nothing else.

use crate::support::*;
use std::path::Path;
use tweedie::denoise::{Condition, NeuralDenoiser, Prediction};
use tweedie::nn::{ResidualMlpConfig, collect_params, map_params};
use tweedie::objective::{Batch, schedule_variance};
use tweedie::process::{Cosine, LearnedSchedule, Levels, Schedule};
use tweedie::train::{AdamW, AdamWConfig};
use tweedie::{Draws, Error};

const HIGH: f64 = 12.0;

fn learned(seed: u64) -> LearnedSchedule {
    LearnedSchedule::new(-HIGH, HIGH, 24, &Draws::new(seed), &cpu()).unwrap()
}

/// The same schedule with its weights moved far away.
fn shaken(schedule: LearnedSchedule, seed: u64, size: f32) -> LearnedSchedule {
    let mut params = collect_params(&schedule);
    for (path, (_, values)) in &mut params {
        let noise = Draws::new(seed).purpose(path).normals(0..1, values.len());
        values.iter_mut().zip(noise.values()).for_each(|(v, z)| *v += size * z);
    }
    map_params(schedule, &params, Path::new("test")).unwrap()
}

#[test]
fn it_falls_between_its_ends_for_all_weights() {
    for seed in 0..40 {
        let schedule = shaken(learned(seed), seed, 4.0);
        let fixed = schedule.fixed().unwrap();
        let lambda = |t: f64| fixed.level(t).lambda;
        within("first", lambda(0.0), HIGH, 1e-12);
        within("last", lambda(1.0), -HIGH, 1e-12);
        let times: Vec<f64> = (0..=400).map(|k| f64::from(k) / 400.0).collect();
        assert!(times.windows(2).all(|t| lambda(t[1]) < lambda(t[0])), "{fixed:?}");
        for t in [0.1, 0.37, 0.8] {
            close("dλ/dt", fixed.lambda_rate(t), difference(lambda, t, 1e-4), 1e-6);
            let ln_alpha = |t: f64| fixed.level(t).alpha.ln();
            let drift = difference(ln_alpha, t, 1e-4);
            within("drift", fixed.drift(t), drift, 1e-6 * fixed.lambda_rate(t).abs());
            // Where λ hardly falls, t is not determined by it.
            within("its inverse", lambda(fixed.time(lambda(t))), lambda(t), 1e-9);
        }
        // In the graph it is the same, to single precision.
        let column = doubles(&times, 1).cast(burn::tensor::DType::F32);
        let (levels, rate) = schedule.tracked(column);
        let Levels::Tracked { lambda: tracked, .. } = levels else { panic!("not tracked") };
        let exact: Vec<f64> = times.iter().map(|t| lambda(*t)).collect();
        all_close("λ", &host(&tracked), &exact, 1e-5);
        let exact: Vec<f64> = times.iter().map(|t| fixed.lambda_rate(*t)).collect();
        all_close("dλ/dt", &host(&rate), &exact, 1e-4);
    }
    for (low, high, hidden) in [(3.0, 3.0, 5), (-90.0, 3.0, 5), (-1.0, f64::NAN, 5), (-1.0, 1.0, 0)]
    {
        let refused = LearnedSchedule::new(low, high, hidden, &Draws::new(0), &cpu());
        assert!(matches!(refused, Err(Error::Config { .. })));
    }
}

#[test]
fn training_lowers_the_variance_and_keeps_the_mean() {
    // The exact denoiser of N(0, 1) says nothing in EDM's F. Its loss is ½ ∫ α² dλ.
    let expected = 0.5 * (ln_sigmoid(-HIGH) - ln_sigmoid(HIGH)).abs();
    let network =
        || ResidualMlpConfig::new(1).with_hidden(4).with_blocks(1).init(&Draws::new(0), &cpu());
    let model = NeuralDenoiser::new(network(), Prediction::Edm, Cosine::default());
    let batch = |n: usize, draws: &Draws, autodiff: bool| {
        let device = if autodiff { cpu().autodiff() } else { cpu() };
        let x = draws.purpose("data").normals(0..n as u64, 1).to_tensor(&device);
        Batch { x, condition: Condition::None }
    };
    let rows = 10_000;
    let measure = |what: &str, schedule: &LearnedSchedule| {
        let draws = Draws::new(77);
        let batch = batch(rows, &draws, false);
        let loss = schedule_variance(schedule, &model, &batch, false, &draws).unwrap();
        let (mean, variance) = moments(&host(&loss.value));
        within(what, mean, expected, SIX_SIGMA * (variance / rows as f64).sqrt());
        variance
    };
    let before = measure("near linear", &learned(1));
    measure("at random", &shaken(learned(1), 3, 1.0));
    use burn::module::Module;
    let frozen = model.with_network(network().train());
    let mut schedule = learned(1).train();
    let mut adamw = AdamW::new(AdamWConfig { clip: 0.0, ..AdamWConfig::default() });
    for step in 0..300 {
        let draws = Draws::new(5).at(step);
        let batch = batch(512, &draws, true);
        let loss = schedule_variance(&schedule, &frozen, &batch, true, &draws).unwrap();
        let gradients = AdamW::gradients(&schedule, &loss.surrogate.mean().backward());
        assert_eq!(gradients.len(), 4);
        schedule = adamw.step(schedule, &gradients, 1.0, 0.03, None).unwrap().0;
    }
    let after = measure("trained", &schedule.valid());
    println!("variance {before:.1}, trained {after:.1}: {:.2} times lower", before / after);
    // With λ linear in t it is 18 ∫ α⁴ dλ − 36; the least, with −dt/dλ in proportion to α², is 72.
    let linear = 18.0 * simpson(-HIGH, HIGH, 2000, |l| (2.0 * ln_sigmoid(l)).exp()) - 36.0;
    close("λ linear in t", before, linear, 0.15);
    assert!(linear / after > 1.5 && after > 0.85 * 72.0);
}
