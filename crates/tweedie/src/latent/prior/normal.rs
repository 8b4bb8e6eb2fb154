//! The standard normal prior N(0, I).

use super::{AnyPrior, Encode, Prior, PriorConfig};
use crate::data::Space;
use crate::latent::posterior::normal_log_prob;
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// Configuration of [`NormalPrior`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormalPriorConfig {}

impl PriorConfig for NormalPriorConfig {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn parameters(&self, _: usize, _: &Space) -> u128 {
        0
    }

    fn init(&self, width: usize, _: &Space, _: &Draws, _: &Device) -> Result<AnyPrior> {
        Ok(NormalPrior { width }.into())
    }
}

/// The prior N(0, I).
#[derive(Module, Debug)]
pub struct NormalPrior {
    #[module(skip)]
    width: usize,
}

impl Prior for NormalPrior {
    fn log_prob(&self, z: Tensor<2>, _: &Encode<'_>) -> Result<Tensor<2>> {
        crate::error::rows_of(z.dims(), self.width)?;
        Ok(normal_log_prob(z))
    }

    fn draw(&self, noise: Tensor<2>, _: &[f32], _: &Encode<'_>) -> Result<Tensor<2>> {
        Ok(noise)
    }

    fn is_normal(&self) -> bool {
        true
    }
}
