//! The difference of means (Arjovsky, Chintala & Bottou 2017, *Wasserstein generative adversarial networks*, eq. 3):
//!
//! > critic E_Q D − E_P D,  generator −E_Q D.
//!
//! Among critics of Lipschitz constant 1 the best gives W₁(P, Q). What keeps the constant is a regulariser: a penalty
//! does on average, spectral norms do up to the slopes of activations, and clipped weights do at an unknown scale.

use super::GameLoss;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The difference of means.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wasserstein {}

impl GameLoss for Wasserstein {
    fn critic(&self, on_p: Tensor<2>, on_q: Tensor<2>) -> Tensor<1> {
        on_q.mean() - on_p.mean()
    }

    fn generator(&self, _: Tensor<2>, on_q: Tensor<2>) -> Tensor<1> {
        -on_q.mean()
    }

    /// W₁ where the Lipschitz constant is 1.
    fn distance(&self, of_critic: f64) -> f64 {
        -of_critic
    }
}
