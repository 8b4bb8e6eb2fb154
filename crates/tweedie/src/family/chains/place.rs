//! The starts of chains.

use super::Target;
use crate::family::Opener;
use crate::registry::registry;
use crate::{Draws, Error, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

registry! {
    /// Any named start, as recipes write it: `exact`, or `{ name = "normal", scale = 3.0 }`.
    pub enum AnyPlace: Place = Normal, "start" {
        "normal" Normal(Normal)
            "independent normal numbers around the origin of model units; the default",
        "exact" Exact(Exact)
            "exact draws of the target, where there are some",
    }
}

/// A distribution of the rows that chains start from.
pub trait Place: std::fmt::Debug + Send + Sync {
    /// Fails, naming the key, unless every option is valid.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Whether the rows are exact draws of the target.
    fn is_exact(&self) -> bool {
        false
    }

    /// `n` rows of the target's width, `[n, width]` in model units; row i depends on `draws` and i alone.
    ///
    /// # Errors
    /// As [`Target::exact`].
    fn rows(
        &self,
        size: [usize; 2],
        target: &dyn Target,
        draws: &Draws,
        open: &Opener,
        device: &Device,
    ) -> Result<Tensor<2>>;
}

/// A normal distribution around the origin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Normal {
    /// The standard deviation in model units; at 0 all chains start at the origin.
    pub scale: f64,
}

impl Default for Normal {
    fn default() -> Self {
        Self { scale: 1.0 }
    }
}

impl Place for Normal {
    fn check(&self) -> Result<()> {
        if self.scale >= 0.0 && self.scale.is_finite() {
            return Ok(());
        }
        Err(Error::config("scale", self.scale.to_string(), "a finite number of at least 0"))
    }

    fn rows(
        &self,
        [n, width]: [usize; 2],
        _: &dyn Target,
        draws: &Draws,
        _: &Opener,
        device: &Device,
    ) -> Result<Tensor<2>> {
        let row = |i: u64| (0..width as u64).map(move |j| self.scale * draws.normal_f64(i, j));
        let values: Vec<f64> = (0..n as u64).flat_map(row).collect();
        Ok(Tensor::from_data(TensorData::new(values, [n, width]), (device, DType::F64)))
    }
}

/// Exact draws of the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exact;

impl Place for Exact {
    fn is_exact(&self) -> bool {
        true
    }

    fn rows(
        &self,
        [n, _]: [usize; 2],
        target: &dyn Target,
        draws: &Draws,
        open: &Opener,
        device: &Device,
    ) -> Result<Tensor<2>> {
        target.exact(n as u64, draws, open, device)
    }
}
