//! Split R̂ and the bulk effective size.

use crate::support::*;
use serde_json::Value;
use tweedie::mcmc::{bulk_ess, r_hat};
use tweedie::{Draws, Error};

/// `bench/mcmc_peer.py` wrote the chains and ArviZ's numbers.
#[test]
fn split_r_hat_and_bulk_ess_are_those_of_arviz() {
    let text = include_str!("../../fixtures/mcmc.json");
    let fixture: Value = serde_json::from_str(text).expect("the fixture is JSON");
    let cases = fixture["cases"].as_array().expect("cases");
    assert!(cases.len() > 20);
    for case in cases {
        let chains: Vec<Vec<f64>> = serde_json::from_value(case["chains"].clone()).expect("chains");
        let found = [r_hat(&chains).unwrap(), bulk_ess(&chains).unwrap()];
        for (what, found) in ["r_hat", "bulk_ess"].into_iter().zip(found) {
            let name = format!("{what} of chains {}", case["name"]);
            match case[what].as_f64() {
                Some(theirs) => close(name, found, theirs, 1e-8),
                None => assert!(found.is_nan(), "{name}: {found}"),
            }
        }
    }
}

fn normals(chains: u64, n: u64) -> Vec<Vec<f64>> {
    let draws = Draws::new(5);
    (0..chains).map(|row| (0..n).map(|k| draws.normal_f64(row, k)).collect()).collect()
}

#[test]
fn short_constant_or_infinite_chains_have_no_diagnostics() {
    let nothing = |chains: &[Vec<f64>]| {
        assert!(r_hat(chains).unwrap().is_nan() && bulk_ess(chains).unwrap().is_nan());
    };
    nothing(&[]);
    nothing(&normals(4, 3));
    nothing(&[vec![2.0; 50], vec![2.0; 50]]);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        // The middle draw of an odd number, which neither half has, counts too.
        let mut chains = normals(2, 51);
        chains[1][25] = bad;
        nothing(&chains);
    }
    let uneven = [normals(1, 50), normals(1, 51)].concat();
    assert!(matches!(r_hat(&uneven), Err(Error::Shape { .. })));
    assert!(matches!(bulk_ess(&uneven), Err(Error::Shape { .. })));
}

/// Ranks do not change under x ↦ eˣ, nor under x ↦ −x but for their order, which turns z round.
#[test]
fn the_bulk_size_does_not_change_under_monotone_maps() {
    let chains = normals(3, 200);
    let mapped = |f: fn(&f64) -> f64| -> Vec<Vec<f64>> {
        chains.iter().map(|chain| chain.iter().map(f).collect()).collect()
    };
    let size = bulk_ess(&chains).unwrap();
    assert_eq!(bulk_ess(&mapped(|x| x.exp())).unwrap(), size);
    close("of −x", bulk_ess(&mapped(|x| -x)).unwrap(), size, 1e-9);
}

/// x_k = ρ x_{k−1} + √(1 − ρ²) z has the autocorrelations ρᵗ and the effective size n (1 − ρ)/(1 + ρ). Geyer's sums
/// stop in the noise, so the estimate's own error is about 1/20 here.
#[test]
fn the_bulk_size_of_an_autoregression_is_that_of_its_autocorrelations() {
    let draws = Draws::new(9);
    for rho in [-0.3, 0.5, 0.9] {
        let chain = |row| -> Vec<f64> {
            let next = |x: &mut f64, k| {
                *x = rho * *x + (1.0f64 - rho * rho).sqrt() * draws.normal_f64(row, k);
                Some(*x)
            };
            (1..20_001).scan(draws.normal_f64(row, 0), next).collect()
        };
        let found = bulk_ess(&(0..4).map(chain).collect::<Vec<_>>()).unwrap();
        close(format!("ρ = {rho}"), found, 80_000.0 * (1.0 - rho) / (1.0 + rho), 0.2);
    }
}
