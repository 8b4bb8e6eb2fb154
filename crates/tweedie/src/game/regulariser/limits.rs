//! Limits of a critic's weights: each value (Arjovsky, Chintala & Bottou 2017, *Wasserstein generative adversarial
//! networks*, algorithm 1), or the spectral norm of each layer (Miyato et al. 2018, *Spectral normalization for
//! generative adversarial networks*); see [`nn::game`](crate::nn::game).

use super::Regularise;
use crate::Result;
use crate::error::within;
use serde::{Deserialize, Serialize};

/// Every weight between −c and c after each step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clipping {
    /// The limit c.
    pub limit: f64,
}

impl Default for Clipping {
    fn default() -> Self {
        Self { limit: 0.01 }
    }
}

impl Regularise for Clipping {
    fn check(&self) -> Result<()> {
        within("limit", self.limit, 1e-9, 1e9)
    }

    fn bound(&self) -> Option<f64> {
        Some(self.limit)
    }
}

/// Every layer with the same spectral norm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpectralNorm {
    /// The norm.
    pub norm: f64,
}

impl Default for SpectralNorm {
    fn default() -> Self {
        Self { norm: 1.0 }
    }
}

impl Regularise for SpectralNorm {
    fn check(&self) -> Result<()> {
        within("norm", self.norm, 1e-6, 1e6)
    }

    fn norm(&self) -> Option<f64> {
        Some(self.norm)
    }
}
