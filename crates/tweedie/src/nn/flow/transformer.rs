//! Autoregressive layers of patches, with causal transformers.
//!
//! A picture is a sequence of square patches x_1, …, x_T, and a causal transformer computes the parameters of a
//! monotone map of each value of a patch from the patches before it (Zhai et al. 2024, *Normalizing flows are capable
//! generative models*, eqs. 2–5):
//!
//! > z_t = g(x_t; θ_t(x_1, …, x_{t−1})),  log|det ∂z/∂x| = Σ_t Σ_j log g′(x_tj; θ_tj).
//!
//! The order of patches is turned round in every second round. z takes one pass of the transformer, and x comes patch
//! by patch, with the keys and values of known patches kept. Rows that are no pictures are sequences of columns.

use super::scalar::{AnyScalarMap, bounded};
use super::{AnyBijection, Bijection, BijectionConfig, Permutation, Place, REACH};
use crate::data::{Condition, Layout};
use crate::error::{count, inside};
use crate::nn::autoregressive::{
    AnyColumnNetwork, CausalTransformerConfig, ColumnNetwork, ColumnNetworkConfig, Outline,
};
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// The most pixels along the side of a patch.
const MOST_SIDE: u64 = 1 << 10;

/// Configuration of [`TransformerLayer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransformerLayerConfig {
    /// The pixels along the side of a patch, a divisor of a picture's sides; 1 for rows that are no pictures.
    pub patch: usize,
    /// The transformer.
    pub network: CausalTransformerConfig,
    /// The map of each value.
    pub map: AnyScalarMap,
}

impl Default for TransformerLayerConfig {
    fn default() -> Self {
        let network = CausalTransformerConfig { layers: 2, ..CausalTransformerConfig::default() };
        Self { patch: 1, network, map: AnyScalarMap::default() }
    }
}

impl TransformerLayerConfig {
    /// The values of a patch.
    fn values(&self, place: &Place) -> usize {
        place.picture.map_or(1, |[channels, ..]| channels * self.patch * self.patch)
    }

    /// The columns patch by patch, in the order of a round.
    fn order(&self, place: &Place) -> Vec<usize> {
        let [c, h, w] = place.picture.unwrap_or([1, 1, place.width]);
        let (side, mut patches) = (self.patch, Vec::new());
        let inside = |top: usize, left: usize| {
            let pixels = (0..side * side).map(move |k| (top + k / side) * w + left + k % side);
            pixels.flat_map(move |pixel| (0..c).map(move |channel| channel * h * w + pixel))
        };
        for top in (0..h).step_by(side) {
            patches.extend((0..w).step_by(side).map(|left| inside(top, left).collect::<Vec<_>>()));
        }
        if !place.round.is_multiple_of(2) {
            patches.reverse();
        }
        patches.concat()
    }

    /// The transformer's columns at a place: the patches.
    fn outline(&self, place: &Place) -> Outline {
        let values = self.values(place);
        let patches = place.width / values.max(1);
        Outline {
            values: vec![values; patches],
            parameters: vec![values * self.map.parameters(); patches],
            layout: Layout::Vector { width: patches },
            order: (0..patches).collect(),
            classes: place.classes,
            vector: place.vector,
            gain: self.map.initial_gain(),
        }
    }
}

impl BijectionConfig for TransformerLayerConfig {
    fn check(&self) -> Result<()> {
        count("patch", self.patch as u64, MOST_SIDE)?;
        self.network.check().map_err(|e| inside("network", e))?;
        self.map.check().map_err(|e| inside("map", e))
    }

    fn fits(&self, place: &Place) -> Result<()> {
        let divides = |side: usize| side.is_multiple_of(self.patch);
        match place.picture {
            None if self.patch > 1 => {
                let expected = "1: the rows are no pictures";
                Err(Error::config("patch", self.patch.to_string(), expected))
            }
            Some([_, h, w]) if !(divides(h) && divides(w)) => {
                let expected = format!("a divisor of {h} and of {w} pixels");
                Err(Error::config("patch", self.patch.to_string(), expected))
            }
            _ => self.network.fits(&self.outline(place)),
        }
    }

    fn init(&self, place: &Place, draws: &Draws, device: &Device) -> Result<AnyBijection> {
        self.check()?;
        self.fits(place)?;
        Ok(TransformerLayer {
            network: self.network.init(&self.outline(place), draws, device)?,
            permutation: Permutation::new(self.order(place))?,
            values: self.values(place),
            map: self.map,
        }
        .into())
    }

    fn parameters(&self, place: &Place) -> u128 {
        self.network.parameters(&self.outline(place))
    }

    fn activations(&self, place: &Place) -> usize {
        self.network.activations(&self.outline(place)) + 3 * place.width
    }
}

/// An autoregressive layer of patches; see the module's head.
#[derive(Module, Debug)]
pub struct TransformerLayer {
    network: AnyColumnNetwork,
    /// The columns patch by patch.
    permutation: Permutation,
    /// The number of values of a patch.
    #[module(skip)]
    values: usize,
    #[module(skip)]
    map: AnyScalarMap,
}

impl Bijection for TransformerLayer {
    fn to_noise(&self, x: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        let (x, _) = self.permutation.to_noise(x, condition)?;
        let ([n, d], count) = (x.dims(), self.map.parameters());
        let parameters = self.network.forward(bounded(x.clone(), REACH), condition)?;
        let parameters = match self.map.by_parameter() {
            // Parameter by parameter of each patch, and then of all.
            true => parameters
                .reshape([n, d / self.values, count, self.values])
                .swap_dims(1, 2)
                .reshape([n, count * d]),
            false => parameters,
        };
        let (z, log_det) = self.map.to_noise(x, parameters);
        Ok((self.permutation.to_data(z, condition)?.0, log_det))
    }

    fn to_data(&self, z: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        let (z, _) = self.permutation.to_noise(z, condition)?;
        let ([n, d], device) = (z.dims(), z.value.device());
        let mut network = self.network.columns(condition, n, &device)?;
        let mut sum = z.value.clone().narrow(1, 0, 1).zeros_like().into();
        let mut patches = Vec::new();
        for first in (0..d).step_by(self.values) {
            let patch = z.clone().linear(|z: Tensor<2>| z.narrow(1, first, self.values));
            let (x, log_det) = self.map.to_data(patch, network.next());
            sum = sum + log_det;
            if first + self.values < d {
                network.push(bounded(x.clone(), REACH));
            }
            patches.push(x);
        }
        Ok((self.permutation.to_data(Dual::cat(patches, 1), condition)?.0, sum))
    }
}
