//! The learned schedule: monotone whatever its weights, with its ends; training lowers the variance and nothing else.

use crate::support::*;
use burn::module::Module;
use std::path::Path;
use tweedie::data::{Batch, Condition};
use tweedie::denoise::{NeuralDenoiser, Prediction};
use tweedie::nn::{ResidualMlpConfig, collect_params, map_params};
use tweedie::objective::ScheduledLoss;
use tweedie::process::{Cosine, LearnedSchedule, Levels, Schedule};
use tweedie::train::{AdamW, AdamWConfig};
use tweedie::{Draws, Error};

const HIGH: f64 = 12.0;

fn learned(seed: u64) -> LearnedSchedule {
    LearnedSchedule::new(-HIGH, HIGH, 24, &Draws::new(seed), &cpu()).unwrap()
}

/// The same module with its weights moved far away.
fn shaken<M: Module>(module: M, seed: u64, size: f32) -> M {
    let mut params = collect_params(&module).unwrap();
    for (path, data) in &mut params {
        let values = data.as_mut_slice::<f32>().unwrap();
        let noise = Draws::new(seed).purpose(path).normals(0..1, values.len());
        values.iter_mut().zip(noise.values()).for_each(|(v, z)| *v += size * z);
    }
    map_params(module, &params, Path::new("test")).unwrap()
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
    let network = ResidualMlpConfig::new(1).with_hidden(4).with_blocks(1);
    let network = network.init(&Draws::new(0), &cpu());
    let model = NeuralDenoiser::new(network, Prediction::Edm, Cosine::default());
    let batch = |n: usize, draws: &Draws| {
        let x = draws.purpose("data").normals(0..n as u64, 1).to_tensor(&cpu().autodiff());
        Batch { x, condition: Condition::None }
    };
    let frozen = model.with_network(model.network.clone().train());
    let rows = 10_000;
    let measure = |what: &str, schedule: &LearnedSchedule| {
        let draws = Draws::new(77);
        let batch = batch(rows, &draws);
        let schedule = schedule.clone().train();
        let loss = ScheduledLoss::new(&schedule, &frozen, &batch, false, &draws).unwrap();
        let (mean, variance) = moments(&host(&loss.value.inner()));
        within(what, mean, expected, SIX_SIGMA * (variance / rows as f64).sqrt());
        variance
    };
    let before = measure("near linear", &learned(1));
    measure("at random", &shaken(learned(1), 3, 1.0));
    let mut schedule = learned(1).train();
    let mut adamw = AdamW::new(AdamWConfig { clip: 0.0, ..AdamWConfig::default() });
    for step in 0..300 {
        let draws = Draws::new(5).at(step);
        let batch = batch(512, &draws);
        let loss = ScheduledLoss::new(&schedule, &frozen, &batch, true, &draws).unwrap();
        let back = loss.value.clone().mean().backward();
        let own = loss.surrogate(&schedule, &back).unwrap().backward();
        let gradients = AdamW::gradients(&schedule, &own);
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

/// One pass for both: the schedule's gradient is that of the mean of ℓ², by differences along every weight. A network
/// of random weights depends on the level through all three: x_t, its clock and the loss's factor.
#[test]
fn the_variance_has_the_gradient_of_its_value() {
    let network = ResidualMlpConfig::new(2).with_hidden(8).with_blocks(1);
    let network = shaken(network.init(&Draws::new(0), &cpu()), 4, 0.5);
    let model = NeuralDenoiser::new(network.train(), Prediction::V, Cosine::default());
    let draws = Draws::new(21);
    let x = draws.purpose("data").normals(0..64, 2).to_tensor(&cpu().autodiff());
    let batch = Batch { x, condition: Condition::None };
    let schedule = || LearnedSchedule::new(-4.0, 4.0, 5, &Draws::new(2), &cpu()).unwrap();
    let square = |schedule: &LearnedSchedule| {
        let loss = ScheduledLoss::new(&schedule.clone().train(), &model, &batch, true, &draws);
        let values = host(&loss.unwrap().value.inner());
        values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64
    };
    let tracked = schedule().train();
    let loss = ScheduledLoss::new(&tracked, &model, &batch, true, &draws).unwrap();
    let back = loss.value.clone().mean().backward();
    // The network's own gradient is there as well.
    assert!(!AdamW::gradients(&model.network, &back).is_empty());
    let own = loss.surrogate(&tracked, &back).unwrap().backward();
    let gradients = AdamW::gradients(&tracked, &own);
    let largest = gradients.values().flat_map(host).fold(0.0f64, |m, g| m.max(g.abs()));
    for (path, gradient) in &gradients {
        for (k, exact) in host(gradient).into_iter().enumerate() {
            let moved = |step: f32| {
                let mut params = collect_params(&schedule()).unwrap();
                params.get_mut(path).unwrap().as_mut_slice::<f32>().unwrap()[k] += step;
                square(&map_params(schedule(), &params, Path::new("test")).unwrap())
            };
            let difference = (moved(0.005) - moved(-0.005)) / 0.01;
            within(format!("{path} {k}"), exact, difference, 0.01 * largest);
        }
    }
}
