//! The likelihood as an objective: against the adaptive solver and differences, and its effect in training.

use crate::double::{along_parameters, moved};
use crate::oracle::{VP, three_components};
use crate::support::*;
use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};
use std::sync::Arc;
use tweedie::data::{Batch, Condition};
use tweedie::denoise::{Denoiser, GaussianMixture, NeuralDenoiser, Prediction};
use tweedie::density::{Density, PfOde};
use tweedie::nn::{Network, ResidualMlp, ResidualMlpConfig};
use tweedie::objective::{Objective, OdeLikelihood};
use tweedie::process::{Cosine, Level, Levels};
use tweedie::solve::Tolerance;
use tweedie::tensor::{Divergence, Dual};
use tweedie::train::{AdamW, AdamWConfig};
use tweedie::{Draws, Error, Result};

/// The exact denoiser of a mixture on a variance-preserving schedule, its output times a weight.
#[derive(Module, Debug)]
struct Oracle {
    factor: Param<Tensor<2>>,
    #[module(skip)]
    mixture: Arc<GaussianMixture>,
}

impl Network for Oracle {
    fn forward(&self, x: Dual<2>, noise: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        // The clock tells ¼ ln(σ/α) = −λ/8, and data of unit variance are not scaled.
        let levels = host(&noise.value).into_iter();
        let levels = levels.map(|c| Level::variance_preserving(0.0, -8.0 * c)).collect();
        Ok(self.mixture.denoise(x, &Levels::Rows(levels), condition)? * self.factor.val())
    }
    fn width(&self) -> usize {
        2
    }
}

/// Weighted by 0.9, so that the flow is none that is known.
fn model() -> NeuralDenoiser<Oracle> {
    let factor = Param::from_tensor(doubles(&[0.9], 1));
    let network = Oracle { factor, mixture: Arc::new(three_components()) };
    NeuralDenoiser::new(network, Prediction::Data, VP)
}

fn batch(n: usize, seed: u64) -> Batch {
    let x = three_components().sample(n, &Draws::new(seed), &cpu());
    Batch { x, condition: Condition::None }
}

fn objective(steps: usize) -> OdeLikelihood {
    OdeLikelihood::new(Arc::new(VP), steps)
}

#[test]
fn the_loss_is_the_adaptive_solver_s_with_order_4() {
    let batch = batch(40, 1);
    let tolerance = Tolerance { atol: 1e-10, rtol: 1e-10 };
    let density = PfOde::new(Arc::new(model()), Arc::new(VP)).with_tolerance(tolerance);
    let right = density.log_prob(batch.x.clone(), &Condition::None).unwrap().value;
    let error = |steps| {
        let loss = objective(steps).loss(&model(), &batch, &Draws::new(2)).unwrap();
        let errors =
            host(&loss.value).iter().zip(&right).map(|(a, b)| (a + b).powi(2)).sum::<f64>();
        (errors / 40.0).sqrt()
    };
    let errors = [48, 96, 192].map(error);
    for pair in errors.windows(2) {
        within("order", (pair[0] / pair[1]).log2(), 4.0, 0.25);
    }
    assert!(errors[0] < 1e-4, "{errors:?}");
    // Random probes are unbiased: fewer dimensions than probes leave little of their spread.
    let random = objective(24).with_divergence(Divergence::hutchinson(1));
    let many = self::batch(400, 3);
    let value = |o: &OdeLikelihood| host(&o.loss(&model(), &many, &Draws::new(4)).unwrap().value);
    let differences: Vec<f64> =
        value(&random).iter().zip(value(&objective(24))).map(|(a, b)| a - b).collect();
    let (mean, variance) = moments(&differences);
    within("Hutchinson's bias", mean, 0.0, SIX_SIGMA * (variance / 400.0).sqrt());
    assert!(variance > 1e-6, "nothing was estimated");
    assert!(matches!(
        objective(0).loss(&model(), &many, &Draws::new(4)),
        Err(Error::Config { .. })
    ));
}

#[test]
fn its_gradient_is_that_of_the_discretised_loss() {
    let batch = batch(10, 5);
    let draws = Draws::new(6);
    let network = ResidualMlpConfig::new(2).with_hidden(12).with_blocks(1);
    let network = moved(&network.init(&Draws::new(7), &cpu()), 0.1);
    let mlp = NeuralDenoiser::new(network, Prediction::Edm, VP);
    let loss = |network: &ResidualMlp| {
        let model = mlp.with_network(network.clone());
        objective(6).loss(&model, &batch, &draws).unwrap()
    };
    let (reverse, difference) = along_parameters(
        &mlp.network,
        |network| loss(network).surrogate.mean(),
        |network| host(&loss(network).value.mean())[0],
    );
    assert!(difference.abs() > 1e-2);
    close("gradient", reverse, difference, 1e-6);
}

/// A network that starts as the Gaussian flow learns three components by likelihood alone.
#[test]
fn training_lowers_the_loss_towards_the_entropy_and_not_below() {
    // A shorter schedule than usual is one that few steps resolve.
    let schedule = Cosine { lambda_min: -6.0, lambda_max: 6.0, side: 64.0 };
    let network = ResidualMlpConfig::new(2).with_hidden(32).with_blocks(1);
    let mut network = network.init(&Draws::new(8), &cpu()).train();
    let denoiser = |network| NeuralDenoiser::new(network, Prediction::Edm, schedule);
    let objective = OdeLikelihood::new(Arc::new(schedule), 8);
    let mut adamw = AdamW::new(AdamWConfig::default());
    let steps = 80;
    let all = batch(steps * 128, 9).x.cast(DType::F32).autodiff();
    for step in 0..steps {
        let x = all.clone().narrow(0, step * 128, 128);
        let batch = Batch { x, condition: Condition::None };
        let loss = objective.loss(&denoiser(network.clone()), &batch, &Draws::new(10)).unwrap();
        let gradients = AdamW::gradients(&network, &loss.surrogate.mean().backward());
        let rate = 1e-2 * (1.0 - step as f64 / steps as f64);
        network = adamw.step(network, &gradients, 1.0, rate, None).unwrap().0;
    }
    // Judged on fresh rows by the adaptive solver, against the true log p of the same rows.
    let fresh = batch(2000, 11).x;
    let truth = three_components().log_density(fresh.clone(), &Level::clean(0.0).into()).unwrap();
    let truth = host(&truth);
    let excess = |model: NeuralDenoiser<ResidualMlp>| {
        let tolerance = Tolerance { atol: 1e-4, rtol: 1e-4 };
        let density = PfOde::new(Arc::new(model), Arc::new(schedule)).with_tolerance(tolerance);
        let found = density.log_prob(fresh.clone().cast(DType::F32), &Condition::None).unwrap();
        let pairs = truth.iter().zip(found.value);
        let (mean, variance) = moments(&pairs.map(|(a, b)| a - b).collect::<Vec<_>>());
        (mean, (variance / 2000.0).sqrt())
    };
    let start =
        ResidualMlpConfig::new(2).with_hidden(32).with_blocks(1).init(&Draws::new(8), &cpu());
    let (before, _) = excess(denoiser(start));
    let (after, error) = excess(denoiser(network.valid()));
    assert!(after < 0.35 * before, "{before} fell to {after} ± {error} nats above the entropy");
    assert!(after > -SIX_SIGMA * error, "{after} ± {error} nats below the entropy");
}
