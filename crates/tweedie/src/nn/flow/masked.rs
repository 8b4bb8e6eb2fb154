//! Masked autoregressive layers.
//!
//! A masked MLP computes the parameters of a monotone map of each column from the columns before it (Papamakarios,
//! Pavlakou & Murray 2017, *Masked autoregressive flow for density estimation*, eqs. 2–5):
//!
//! > z_j = g(x_j; θ_j(x_1, …, x_{j−1})),  log|det ∂z/∂x| = Σ_j log g′(x_j; θ_j).
//!
//! z takes one pass of the MLP, and x comes column by column, in which every unit is computed once. Turned round, the
//! same layer is that of inverse autoregressive flows (Kingma et al. 2016, eqs. 10–12): x takes one pass, and z comes
//! column by column. Another order of columns is a permutation before the layer.

use super::scalar::{AnyScalarMap, bounded};
use super::{AnyBijection, Bijection, BijectionConfig, Place, REACH};
use crate::data::Condition;
use crate::error::{inside, rows_of};
use crate::nn::{Activation, MaskedMlp, MaskedMlpConfig};
use crate::tensor::Dual;
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// Configuration of [`MaskedLayer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaskedLayerConfig {
    /// The widths of the MLP's hidden layers.
    pub hidden: Vec<usize>,
    /// The MLP's activation.
    pub activation: Activation,
    /// Whether a hidden layer as wide as the one before is added to it.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub residual: bool,
    /// The map of each column.
    pub map: AnyScalarMap,
    /// Whether the layer is turned round (IAF): samples take one pass, densities come column by column.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub inverse: bool,
}

impl Default for MaskedLayerConfig {
    fn default() -> Self {
        Self {
            hidden: vec![64, 64],
            activation: Activation::Silu,
            residual: false,
            map: AnyScalarMap::default(),
            inverse: false,
        }
    }
}

impl MaskedLayerConfig {
    /// The MLP at a place: parameter o belongs to a column, and reads the columns before it.
    fn network(&self, place: &Place) -> MaskedMlpConfig {
        let outputs = self.map.parameters() * place.width;
        MaskedMlpConfig {
            limits: (0..outputs).map(|o| self.map.column(o, place.width)).collect(),
            columns: vec![1; place.width],
            hidden: self.hidden.clone(),
            activation: self.activation,
            residual: self.residual,
            direct: false,
            classes: place.classes,
            vector: place.vector,
            features: false,
            orders: 1,
            masks: 1,
            gain: self.map.initial_gain(),
        }
    }
}

impl BijectionConfig for MaskedLayerConfig {
    fn check(&self) -> Result<()> {
        MaskedMlpConfig::check_hidden(&self.hidden)?;
        self.map.check().map_err(|e| inside("map", e))
    }

    fn fits(&self, place: &Place) -> Result<()> {
        self.network(place).fits()
    }

    fn init(&self, place: &Place, draws: &Draws, device: &Device) -> Result<AnyBijection> {
        self.check()?;
        let network = self.network(place).init(draws, device)?;
        Ok(MaskedLayer { network, width: place.width, map: self.map, inverse: self.inverse }.into())
    }

    fn parameters(&self, place: &Place) -> u128 {
        self.network(place).parameters()
    }

    fn activations(&self, place: &Place) -> usize {
        self.network(place).activations()
    }
}

/// A masked autoregressive layer; see the module's head.
#[derive(Module, Debug)]
pub struct MaskedLayer {
    /// The masked MLP that computes the maps' parameters.
    network: MaskedMlp,
    #[module(skip)]
    width: usize,
    #[module(skip)]
    map: AnyScalarMap,
    #[module(skip)]
    inverse: bool,
}

impl MaskedLayer {
    /// All columns at once: z from x.
    fn pass(&self, x: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        let parameters = self.network.forward(bounded(x.clone(), REACH), condition)?;
        Ok(self.map.to_noise(x, parameters))
    }

    /// Column by column: x from z.
    fn in_turn(&self, z: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        let ([n, d], device) = (z.dims(), z.value.device());
        let mut sequence = self.network.sequence(condition, n, &device)?;
        let (mut columns, mut sum): (Vec<Dual<2>>, Option<Dual<2>>) = (Vec::new(), None);
        for j in 0..d {
            let column = z.clone().linear(|z: Tensor<2>| z.narrow(1, j, 1));
            let (x, log_det) = self.map.to_data(column, sequence.outputs());
            sum = Some(if let Some(sum) = sum { sum + log_det } else { log_det });
            if j + 1 < d {
                sequence.push(bounded(x.clone(), REACH));
            }
            columns.push(x);
        }
        let empty = || z.value.clone().detach().narrow(1, 0, 0).sum_dim(1).into();
        Ok((Dual::cat(columns, 1), sum.unwrap_or_else(empty)))
    }
}

impl Bijection for MaskedLayer {
    fn to_noise(&self, x: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        rows_of(x.dims(), self.width)?;
        if self.inverse { self.in_turn(x, condition) } else { self.pass(x, condition) }
    }

    fn to_data(&self, z: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        rows_of(z.dims(), self.width)?;
        if self.inverse { self.pass(z, condition) } else { self.in_turn(z, condition) }
    }
}
