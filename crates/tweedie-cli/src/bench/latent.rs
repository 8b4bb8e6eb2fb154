//! Latent-variable models of pictures of zeros and ones: 784 pixels, two layers of 200 units each way, 50 dimensions.

use super::Benchmark;
use super::densities::{Trained, binary, binary_space, plain, training};
use super::networks::draws;
use tweedie::Result;
use tweedie::burn::tensor::{Device, Tensor};
use tweedie::data::Condition;
use tweedie::latent::{Bound, Estimator, LatentConfig, LatentVariable};
use tweedie::nn::flow::Take;

/// The numbers of rows of a training step.
const BATCHES: [u64; 2] = [100, 20];
/// The number of draws of a row's log-density.
const DRAWS: usize = 5000;

/// A training step by one draw and by 50, and log p of a picture by 5,000 draws.
pub fn benchmarks() -> Vec<Benchmark> {
    let mut all = Vec::new();
    for (name, bound) in [
        ("vae", Bound::default()),
        ("iwae-50", Bound { k: 50, gradient: Estimator::Pathwise, ..Bound::default() }),
    ] {
        for batch in BATCHES {
            all.push(Benchmark {
                name: format!("{name}.{batch}.train"),
                make: Box::new(move |device| {
                    training(model(bound, device)?, binary(batch, device), device)
                }),
                export: None,
            });
        }
    }
    all.push(Benchmark {
        name: format!("vae.{DRAWS}.log-p"),
        make: Box::new(|device| {
            let (model, x) = (model(Bound::default(), device)?, binary(1, device));
            plain(device, move || {
                let all = draws("importance");
                model.importance(x.clone(), &Condition::None, DRAWS, &all).map(drop)
            })
        }),
        export: None,
    });
    all
}

fn model(bound: Bound, device: &Device) -> Result<LatentVariable> {
    let config = LatentConfig { width: 50, bound, ..LatentConfig::default() };
    config.init(&binary_space()?, &draws("network"), device)
}

impl Trained for LatentVariable {
    fn loss(&self, x: Tensor<2>, share: f64, take: Take) -> Result<f64> {
        let [value, expression] = self.bound(&x, &Condition::None, &draws("z"))?;
        take(&expression.mean().mul_scalar(-share).backward(), 1.0);
        Ok(-f64::from(value.mean().into_scalar::<f32>()))
    }
}
