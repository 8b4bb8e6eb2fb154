//! The aggregate posterior against quadrature.

use super::config;
use super::parts::bits;
use crate::dual::randomised;
use crate::support::{cpu, host, simpson, within};
use serde_json::json;
use std::f64::consts::TAU;
use tweedie::data::{Batch, Condition};
use tweedie::latent::Aggregate;
use tweedie::{Draws, Result};

/// With one latent dimension both parts of the mean divergence are integrals over a line; they add up to it.
#[test]
fn parts_of_the_mean_divergence_are_their_integrals() -> Result<()> {
    let (space, x) = bits(5)?;
    for prior in ["normal", "mixture", "vamp"] {
        let keys = json!({ "width": 1, "encoder": [6], "decoder": [6], "prior": prior });
        let model = randomised(config(keys).init(&space, &Draws::new(4), &cpu())?, 0.5);
        let of = model.posterior(x.clone(), &Condition::None)?;
        let components: Vec<[f64; 2]> =
            host(&of.mean).into_iter().zip(host(&of.log_sd)).map(|(m, s)| [m, s.exp()]).collect();
        let normal = |z: f64, [mean, sd]: [f64; 2]| {
            (-0.5 * ((z - mean) / sd).powi(2)).exp() / (sd * TAU.sqrt())
        };
        let q = |z: f64| {
            components.iter().map(|own| normal(z, *own)).sum::<f64>() / components.len() as f64
        };
        let log_p = |z: f64| {
            let z = crate::support::doubles(&[z], 1).cast(burn::tensor::DType::F32);
            model.log_prior(z).expect("a density")[0]
        };
        let positive = |p: f64, log_ratio: f64| if p > 1e-300 { p * log_ratio } else { 0.0 };
        let information = components.iter().map(|own| {
            simpson(-9.0, 9.0, 2000, |z| {
                let p = normal(z, *own);
                positive(p, (p / q(z)).ln())
            })
        });
        let information = information.sum::<f64>() / components.len() as f64;
        let marginal = simpson(-9.0, 9.0, 2000, |z| positive(q(z), q(z).ln() - log_p(z)));
        let batch = Batch { x: x.clone(), condition: Condition::None };
        let aggregate = Aggregate::new(&model, [Ok(batch)].into_iter(), &Draws::new(1))?;
        let found = aggregate.scores(&model, &Draws::new(2))?;
        let (value, error) = found.information;
        within(format!("information, {prior}"), value, information, 4.9 * error);
        let (value, error) = found.marginal;
        within(format!("KL, {prior}"), value, marginal, 4.9 * error);
        within("their sum", found.information.0 + found.marginal.0, found.divergence, 1e-5);
        if prior == "normal" {
            let mean = host(&of.divergences()).iter().sum::<f64>() / 32.0;
            within("the mean KL", found.divergence, mean, 1e-4);
        }
        // Densities are those of the mixture; a hundredth of its draws lie in holes.
        let z = aggregate.draws();
        for (z, log_q) in host(&z).iter().zip(aggregate.log_prob(&z)?).take(50) {
            within("ln q", log_q, q(*z).ln(), 1e-4);
        }
        let inside = aggregate.log_prob(&z)?.iter().filter(|own| **own < aggregate.hole()).count();
        within("holes", inside as f64 / found.draws as f64, 0.01, 1e-3);
        let far = aggregate.log_prob(&crate::support::doubles(&[30.0], 1))?;
        assert!(far[0] < aggregate.hole());
    }
    Ok(())
}
