//! The toys as targets of chains, each as a type of its own.

use super::Target;
use super::target::plain;
use crate::data::{Condition, Generate, LogDensity, Space, Toy};
use crate::family::Opener;
use crate::{Draws, Result};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Defines a type without options for each toy.
macro_rules! toys {
    ($($toy:ident)+) => {
        $(
            #[doc = concat!("[`Toy::", stringify!($toy), "`] as a target.")]
            #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
            pub struct $toy;

            impl Target for $toy {
                fn check(&self) -> Result<()> {
                    Ok(())
                }

                fn space(&self, _: &Opener) -> Result<Space> {
                    plain(2)
                }

                fn density(&self, _: &Opener) -> Result<Arc<dyn LogDensity>> {
                    Ok(Arc::new(Toy::$toy))
                }

                fn exact(
                    &self,
                    n: u64,
                    draws: &Draws,
                    _: &Opener,
                    device: &Device,
                ) -> Result<Tensor<2>> {
                    Toy::$toy.generate(0..n, &Condition::None, draws, device)
                }
            }
        )+
    };
}

toys!(EightGaussians Moons MoonsTorchcfm Checkerboard SwissRoll Spirals Pinwheel SCurve);
