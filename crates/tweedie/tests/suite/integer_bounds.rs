//! The variational bound of integers: the probabilities of an exact denoiser, and of a network's mean.

use crate::support::*;
use statrs::distribution::ContinuousCDF;
use std::sync::Arc;
use tweedie::data::{Condition, Coordinate, Kind, Layout, Rows, Space};
use tweedie::denoise::{Component, GaussianMixture};
use tweedie::density::{Bound, Decoder, Measure};
use tweedie::process::{Cosine, Schedule};

/// Two columns of integers 0 to 3.
fn integers(low: Option<i64>) -> Space {
    let kind = Kind::Quantised { low, high: Some(3) };
    let column = Coordinate { shift: 2.0, scale: 2.0, kind, ..Coordinate::real("count") };
    Space::new(Layout::Vector { width: 2 }, vec![column]).unwrap()
}

#[test]
fn integers_have_the_probabilities_of_an_exact_denoiser() {
    // Pairs with known probabilities, as points of hardly any width.
    let pairs = [([0.0, 3.0], 0.5), ([2.0, 1.0], 0.3), ([3.0, 3.0], 0.15), ([1.0, 0.0], 0.05)];
    let place = |v: f64| (v + 0.5 - 2.0) / 2.0;
    let point = |(v, w): ([f64; 2], f64)| Component::isotropic(w, v.map(place).to_vec(), 1e-12);
    let oracle = Arc::new(GaussianMixture::new(pairs.map(point).to_vec()).unwrap());
    let raw: Vec<f32> = pairs.iter().flat_map(|(v, _)| v.map(|v| v as f32)).collect();
    let raw = Rows::new(raw, 2).unwrap();
    let space = integers(Some(0));
    for steps in [None, Some(20_000)] {
        let schedule = Arc::new(Cosine::default());
        let bound = match steps {
            None => Bound::continuous(oracle.clone(), schedule),
            Some(steps) => Bound::discrete(oracle.clone(), schedule, steps),
        };
        let bound = bound.with_probes(20_000);
        let terms = bound.integers(&raw, &space, &Condition::None, &cpu()).unwrap();
        assert_eq!(terms.measure, Measure::Counting);
        for ((value, error), (pair, p)) in
            terms.bound().iter().zip(&terms.standard_error).zip(pairs)
        {
            println!("{pair:?}: {value:.4} ± {error:.4}, {:.4}", p.ln());
            within(format!("{pair:?} in {steps:?}"), *value, p.ln(), SIX_SIGMA * error + 2e-3);
            let bits = space.bits_per_dimension(*value).unwrap();
            close("bits", bits, -value / (2.0 * std::f64::consts::LN_2), 1e-12);
        }
    }
    let bound = Bound::continuous(oracle, Arc::new(Cosine::default()));
    let refused = bound.integers(&raw, &integers(None), &Condition::None, &cpu());
    assert!(refused.unwrap_err().to_string().contains("between two limits"));
}

/// A pair that is certain: the exact denoiser knows it from any noise, and what is left is a normal distribution's mass
/// on its integers.
#[test]
fn a_network_decodes_integers_by_its_mean_and_its_bound_is_below_their_probability() {
    let place = |v: f64| (v + 0.5 - 2.0) / 2.0;
    let schedule = Cosine { lambda_max: 3.0, ..Cosine::default() };
    let first = schedule.level(schedule.range().0);
    let of = |pairs: &[([f64; 2], f64)]| {
        let point =
            |&(v, w): &([f64; 2], f64)| Component::isotropic(w, v.map(place).to_vec(), 1e-12);
        let oracle = GaussianMixture::new(pairs.iter().map(point).collect()).unwrap();
        let raw: Vec<f32> = pairs.iter().flat_map(|(v, _)| v.map(|v| v as f32)).collect();
        let bound = Bound::continuous(Arc::new(oracle), Arc::new(schedule)).with_probes(2000);
        let bound = bound.with_decoder(Decoder::Network);
        let raw = Rows::new(raw, 2).unwrap();
        bound.integers(&raw, &integers(Some(0)), &Condition::None, &cpu()).unwrap()
    };
    let certain = of(&[([0.0, 2.0], 1.0)]);
    let reach = 0.25 / (first.sigma / first.alpha);
    let below = |x: f64| statrs::distribution::Normal::standard().cdf(x);
    // 0 has all that is below it too; 2 has a half of a gap to either side.
    let right = below(reach).ln() + (2.0 * below(reach) - 1.0).ln();
    within("reconstruction", certain.reconstruction[0], right, 1e-5);
    let pairs = [([0.0, 3.0], 0.5), ([2.0, 1.0], 0.3), ([3.0, 3.0], 0.15), ([1.0, 0.0], 0.05)];
    let terms = of(&pairs);
    for ((value, error), (pair, p)) in terms.bound().iter().zip(&terms.standard_error).zip(pairs) {
        println!("{pair:?}: {value:.4} ± {error:.4}, {:.4}", p.ln());
        assert!(*value < p.ln() + SIX_SIGMA * error, "{pair:?}: {value} ± {error}");
        assert!(*value > p.ln() - 3.0, "{pair:?}: {value} ± {error}");
    }
}
