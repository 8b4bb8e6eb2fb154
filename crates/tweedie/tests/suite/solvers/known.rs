//! The mixture and starting points shared by both fixtures of diffusers' solvers; see `bench/peer_mixture.py`.

use serde::Deserialize;
use tweedie::denoise::{Component, GaussianMixture};

/// What the fixtures share.
#[derive(Deserialize)]
pub struct Known {
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    covariances: Vec<Vec<f64>>,
    pub starts: Vec<[f64; 2]>,
}

impl Known {
    pub fn mixture(&self) -> GaussianMixture {
        let components = self.weights.iter().zip(&self.means).zip(&self.covariances);
        let components = components.map(|((w, m), c)| Component::full(*w, m.clone(), c).unwrap());
        GaussianMixture::new(components.collect()).unwrap()
    }
}
