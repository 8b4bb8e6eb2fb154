//! A masked MLP as the network of an autoregressive model: MADE.
//!
//! With several orders, or several placements of degrees (connectivity-agnostic masks), the model is an ensemble that
//! shares its weights (Germain, Gregor, Murray & Larochelle 2015, *MADE: masked autoencoder for distribution
//! estimation*, secs. 4.2–4.3).

use super::network::{AnyColumnNetwork, ColumnNetwork, ColumnNetworkConfig, Columns, Outline};
use crate::data::Condition;
use crate::nn::{Activation, MaskedMlp, MaskedMlpConfig, Sequence};
use crate::tensor::Dual;
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// Configuration of [`MaskedNetwork`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaskedNetworkConfig {
    /// The widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// The activation of the hidden layers.
    pub activation: Activation,
    /// Whether a hidden layer as wide as the one before is added to it.
    pub residual: bool,
    /// Whether a linear map leads from columns to parameters directly.
    pub direct: bool,
    /// The number of orders of an ensemble: that of the model, then random ones.
    pub orders: usize,
    /// The number of placements of degrees, for each order: that of rising degrees, then random ones.
    pub masks: usize,
}

impl Default for MaskedNetworkConfig {
    fn default() -> Self {
        let activation = Activation::Relu;
        let hidden = vec![256, 256];
        Self { hidden, activation, residual: false, direct: true, orders: 1, masks: 1 }
    }
}

impl MaskedNetworkConfig {
    fn network(&self, columns: &Outline) -> MaskedMlpConfig {
        let parameters = columns.parameters.iter().enumerate();
        MaskedMlpConfig {
            limits: parameters.flat_map(|(j, count)| vec![j; *count]).collect(),
            columns: columns.values.clone(),
            hidden: self.hidden.clone(),
            activation: self.activation,
            residual: self.residual,
            direct: self.direct,
            classes: columns.classes,
            vector: columns.vector,
            features: false,
            orders: self.orders,
            masks: self.masks,
            gain: columns.gain,
        }
    }
}

impl ColumnNetworkConfig for MaskedNetworkConfig {
    fn check(&self) -> Result<()> {
        MaskedMlpConfig::check_hidden(&self.hidden)?;
        MaskedMlpConfig::check_members(self.orders, self.masks)
    }

    fn fits(&self, columns: &Outline) -> Result<()> {
        self.network(columns).fits()
    }

    fn init(&self, columns: &Outline, draws: &Draws, device: &Device) -> Result<AnyColumnNetwork> {
        Ok(MaskedNetwork { mlp: self.network(columns).init(draws, device)? }.into())
    }

    fn parameters(&self, columns: &Outline) -> u128 {
        self.network(columns).parameters()
    }

    fn activations(&self, columns: &Outline) -> usize {
        self.network(columns).activations()
    }
}

/// A masked MLP that computes the parameters of all columns.
#[derive(Module, Debug)]
pub struct MaskedNetwork {
    /// The masked MLP.
    mlp: MaskedMlp,
}

impl ColumnNetwork for MaskedNetwork {
    fn forward(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        self.mlp.forward(x, condition)
    }

    fn columns(
        &self,
        condition: &Condition,
        n: usize,
        device: &Device,
    ) -> Result<Box<dyn Columns + '_>> {
        self.columns_by(0, condition, n, device)
    }

    fn members(&self) -> usize {
        self.mlp.members()
    }

    fn order(&self, member: usize) -> Option<&[usize]> {
        Some(self.mlp.order(member))
    }

    fn forward_by(&self, member: usize, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        self.mlp.forward_by(member, x, condition)
    }

    fn columns_by(
        &self,
        member: usize,
        condition: &Condition,
        n: usize,
        device: &Device,
    ) -> Result<Box<dyn Columns + '_>> {
        Ok(Box::new(self.mlp.sequence_by(member, condition, n, device)?))
    }
}

impl Columns for Sequence<'_> {
    fn next(&mut self) -> Dual<2> {
        self.outputs()
    }

    fn push(&mut self, column: Dual<2>) {
        Sequence::push(self, column);
    }
}
