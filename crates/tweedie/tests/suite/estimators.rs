//! The chain's bound by whole paths and by conditioning: one mean, two variances.

use crate::oracle::three_components;
use crate::support::*;
use std::sync::Arc;
use tweedie::data::Condition;
use tweedie::denoise::{Denoiser, GaussianMixture};
use tweedie::density::{Bound, Density};
use tweedie::process::{Betas, Chain, ChainConfig, Cosine, Levels};
use tweedie::tensor::Dual;
use tweedie::{Draws, Error, Result};

/// A chain whose log-SNR falls from 6 to −6 in even steps.
fn even_chain(steps: usize) -> Chain {
    let kept = |i: usize| ln_sigmoid(6.0 - 12.0 * i as f64 / (steps - 1) as f64).exp();
    let beta = |i: usize| 1.0 - if i == 0 { kept(0) } else { kept(i) / kept(i - 1) };
    let betas = Betas::List((0..steps).map(beta).collect());
    Chain::new(ChainConfig { betas, ..Default::default() }).unwrap()
}

/// A denoiser that is off by σ sin 2x, which no data have: its error of the noise is α sin 2x.
struct Off(GaussianMixture);

impl Denoiser for Off {
    fn denoise(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        let sigma = levels.sigma(&x.value)?;
        let off = x.clone().mul_scalar(2.0).sin() * sigma;
        Ok(self.0.denoise(x, levels, condition)? + off)
    }
    fn width(&self) -> usize {
        self.0.width()
    }
    fn evaluations(&self) -> u64 {
        self.0.evaluations()
    }
}

/// Both estimators at as many evaluations as the chain has steps; the gap of the means is within six standard errors of
/// paired rows.
///
/// With the exact score, of these data or of others, the weight of a whole path tends to a constant, ln p(x), and
/// conditioning saves nothing. A model that is off by Δ adds ∫ ‖Δ‖² dλ to the variance of paths, whatever the steps,
/// and to the conditioned one less and less: their ratio grows with the number of steps. The ratio of two variances
/// over 1,000 rows has a relative error of about 10 %, of which the bounds leave six.
#[test]
fn conditioning_keeps_the_mean_of_the_chain_s_bound_and_lowers_a_model_s_variance() {
    let oracle = Arc::new(three_components());
    let model: Arc<dyn Denoiser> = Arc::new(Off(three_components()));
    let n = 1000;
    let x = oracle.sample(n, &Draws::new(2), &cpu());
    let ratio = |denoiser: &Arc<dyn Denoiser>, steps: usize| {
        let chain = Arc::new(even_chain(steps + 1));
        let bound = Bound::discrete(denoiser.clone(), chain, steps);
        let pair = |seed: u64| {
            let bound = bound.clone().with_draws(Draws::new(seed));
            // One path, and each step once.
            let path = bound.clone().with_probes(1).by_paths(x.clone(), &Condition::None);
            let each = bound.with_probes(steps).log_prob(x.clone(), &Condition::None);
            [path, each].map(|found| found.unwrap())
        };
        let [a, b] = [pair(3), pair(4)];
        for [path, each] in [&a, &b] {
            let (gap, error) = path.mean_difference(each).unwrap();
            within(format!("{steps} steps"), gap, 0.0, SIX_SIGMA * error);
        }
        // Half the variance of the difference of two draws, rows being the same.
        let variance = |k: usize| {
            let pairs = a[k].value.iter().zip(&b[k].value).map(|(a, b)| (a - b).powi(2));
            0.5 * pairs.sum::<f64>() / n as f64
        };
        let [path, each] = [0, 1].map(variance);
        println!("{steps} steps: variance {path:.4} and {each:.4}, ratio {:.2}", path / each);
        path / each
    };
    for steps in [50, 200] {
        let exact = ratio(&(oracle.clone() as Arc<dyn Denoiser>), steps);
        assert!(exact > 0.5 && exact < 1.6, "{exact}");
    }
    let [few, many] = [50, 200].map(|steps| ratio(&model, steps));
    assert!(many > 1.6 * few && many > 2.0, "{few} {many}");
    let continuous = Bound::continuous(oracle, Arc::new(Cosine::default()));
    let refused = continuous.by_paths(x, &Condition::None).unwrap_err();
    assert!(matches!(&refused, Error::Config { key, .. } if key == "steps"), "{refused}");
}
