//! The chain's bound by whole paths and by conditioning: one mean, two variances.

use crate::oracle::three_components;
use crate::support::*;
use std::sync::Arc;
use tweedie::denoise::Condition;
use tweedie::likelihood::{Bound, Density};
use tweedie::process::{Betas, Chain, ChainConfig, Cosine};
use tweedie::{Draws, Error};

/// A chain whose log-SNR falls from 6 to −6 in even steps.
fn even_chain(steps: usize) -> Chain {
    let kept = |i: usize| ln_sigmoid(6.0 - 12.0 * i as f64 / (steps - 1) as f64).exp();
    let beta = |i: usize| 1.0 - if i == 0 { kept(0) } else { kept(i) / kept(i - 1) };
    let betas = Betas::List((0..steps).map(beta).collect());
    Chain::new(ChainConfig { betas, ..Default::default() }).unwrap()
}

/// Both estimators at as many evaluations as the chain has steps. The gap of the means is six standard errors of paired rows;
/// the ratio of two variances over 1,000 rows has a relative error of about 10 %. A step of h in log-SNR has a variance near h d
/// by paths and h² d/2 conditioned, a ratio of 2/h: 8 and 33 on the even chains, asserted at less than half.
#[test]
fn conditioning_keeps_the_mean_of_the_chain_s_bound_and_lowers_its_variance() {
    let oracle = Arc::new(three_components());
    let n = 1000;
    let x = oracle.sample(n, &Draws::new(2), &cpu());
    for (chain, least) in [(even_chain(51), 3.5), (even_chain(201), 12.0), (Chain::default(), 1.0)]
    {
        let steps = chain.steps();
        let bound = Bound::discrete(oracle.clone(), Arc::new(chain), steps - 1);
        let pair = |seed: u64| {
            let bound = bound.clone().with_draws(Draws::new(seed));
            // One path, and each step once.
            let path = bound.clone().with_probes(1).by_paths(x.clone(), &Condition::None);
            let each = bound.with_probes(steps - 1).log_prob(x.clone(), &Condition::None);
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
        assert!(path > least * each, "{steps} steps: {path} and {each}");
    }
    let continuous = Bound::continuous(oracle, Arc::new(Cosine::default()));
    let refused = continuous.by_paths(x, &Condition::None).unwrap_err();
    assert!(matches!(&refused, Error::Config { key, .. } if key == "steps"), "{refused}");
}
