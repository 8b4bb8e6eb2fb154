//! Mixtures by EM, kernel estimates and parametric densities.

mod degenerate;
mod distributions;
mod em;
mod kde;
mod single;

use serde::de::DeserializeOwned;
use tweedie::Draws;
use tweedie::density::fit::{Covariance, Points};

/// The four kinds of covariance with the names that scikit-learn gives them.
const KINDS: [(Covariance, &str); 4] = [
    (Covariance::Full, "full"),
    (Covariance::Tied, "tied"),
    (Covariance::Diagonal, "diag"),
    (Covariance::Spherical, "spherical"),
];

/// What scikit-learn and SciPy make of small inputs, written by `bench/mixtures_peer.py`: the value at a JSON pointer.
fn peer<T: DeserializeOwned>(pointer: &str) -> T {
    let text = include_str!("../fixtures/mixtures.json");
    let json: serde_json::Value = serde_json::from_str(text).expect("the fixture is JSON");
    serde_json::from_value(json.pointer(pointer).expect(pointer).clone()).expect(pointer)
}

/// The peer's rows at a JSON pointer.
fn peer_points(pointer: &str) -> Points {
    let rows: Vec<Vec<f64>> = peer(pointer);
    Points::new(rows.concat(), rows[0].len()).expect("rows")
}

/// `n` rows of the plane in `groups` groups around a circle of radius `radius`, of standard deviations 1 and ½.
fn groups(n: usize, groups: usize, radius: f64, seed: u64) -> Points {
    let noise = Draws::new(seed).purpose("groups");
    let row = |i: u64| {
        let angle = std::f64::consts::TAU * (i % groups as u64) as f64 / groups as f64;
        let (x, y) = (noise.normal_f64(i, 0), 0.5 * noise.normal_f64(i, 1));
        [radius * angle.cos() + x, radius * angle.sin() + y]
    };
    Points::new((0..n as u64).flat_map(row).collect(), 2).expect("rows")
}
