//! Coupling layers.
//!
//! The first columns a of a row stay as they are, and an MLP computes from them the parameters θ of a monotone map of
//! each of the others, b (Dinh, Sohl-Dickstein & Bengio 2017, *Density estimation using Real NVP*, eqs. 4–8):
//!
//! > z_a = x_a,  z_b = g(x_b; θ(x_a)),  log|det ∂z/∂x| = Σ_j log g′(x_j; θ_j).
//!
//! The inverse does not need to invert the MLP. With the affine map, z_b = (x_b − t) e^(−s), it is RealNVP's layer;
//! with shifts NICE's, with splines that of neural spline flows, with mixtures of logistic functions Flow++'s. The MLP
//! sees its input bounded by [`REACH`], approached as by tanh, so that log p stays finite far from the data.

use super::scalar::{AnyScalarMap, bounded};
use super::{AnyBijection, Bijection, BijectionConfig, Place, REACH};
use crate::data::Condition;
use crate::error::{count, inside, rows_of};
use crate::nn::{
    Activation, ConditionEmbedding, ConditionEmbeddingConfig, Linear, LinearConfig, mlp,
};
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// The most hidden layers, and the most units of each.
const MOST_LAYERS: u64 = 64;
const MOST_UNITS: u64 = 1 << 14;

/// Configuration of [`Coupling`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CouplingConfig {
    /// The widths of the MLP's hidden layers.
    pub hidden: Vec<usize>,
    /// The MLP's activation.
    pub activation: Activation,
    /// The map of the columns that are transformed.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub map: AnyScalarMap,
}

impl Default for CouplingConfig {
    fn default() -> Self {
        Self { hidden: vec![64, 64], activation: Activation::Silu, map: AnyScalarMap::default() }
    }
}

impl CouplingConfig {
    /// The input and output widths of the MLP's layers.
    fn sizes(&self, place: &Place) -> Vec<(usize, usize)> {
        let kept = place.width / 2;
        let ends = |first, last| [first].into_iter().chain(self.hidden.iter().copied()).chain(last);
        let widths: Vec<usize> =
            ends(kept, Some(self.map.parameters() * (place.width - kept))).collect();
        widths.windows(2).map(|pair| (pair[0], pair[1])).collect()
    }
}

impl BijectionConfig for CouplingConfig {
    fn check(&self) -> Result<()> {
        count("hidden", self.hidden.len() as u64, MOST_LAYERS)?;
        self.hidden.iter().try_for_each(|units| count("hidden", *units as u64, MOST_UNITS))?;
        self.map.check().map_err(|e| inside("map", e))
    }

    fn fits(&self, place: &Place) -> Result<()> {
        if place.width < 2 {
            let expected = "at least two columns: a coupling moves one by another";
            return Err(Error::config("coupling", format!("{} column", place.width), expected));
        }
        Ok(())
    }

    fn init(&self, place: &Place, draws: &Draws, device: &Device) -> Result<AnyBijection> {
        self.check()?;
        self.fits(place)?;
        let sizes = self.sizes(place);
        let last = sizes.len() - 1;
        let layer = |(k, (input, output)): (usize, (usize, usize))| {
            let gain = if k == last { self.map.initial_gain() } else { 1.0 };
            let draws = draws.purpose("linears").at(k as u64);
            LinearConfig::new(input, output).with_gain(gain).init(&draws, device)
        };
        let condition = ConditionEmbeddingConfig::new(place.classes, place.vector, self.hidden[0]);
        Ok(Coupling {
            linears: sizes.into_iter().enumerate().map(layer).collect(),
            condition: condition.init(&draws.purpose("condition"), device),
            width: place.width,
            activation: self.activation,
            map: self.map,
        }
        .into())
    }

    fn parameters(&self, place: &Place) -> u128 {
        let linear = |(input, output): (usize, usize)| (input as u128 + 1) * output as u128;
        let first = self.hidden.first().copied().unwrap_or(0);
        let condition = ConditionEmbeddingConfig::new(place.classes, place.vector, first);
        condition.parameters() + self.sizes(place).into_iter().map(linear).sum::<u128>()
    }

    fn activations(&self, place: &Place) -> usize {
        (2 + self.map.parameters()) * place.width + 2 * self.hidden.iter().sum::<usize>()
    }
}

/// A coupling layer; see the module's head.
#[derive(Module, Debug)]
pub struct Coupling {
    /// The MLP's layers.
    linears: Vec<Linear>,
    /// The embedding of the condition, added to the first hidden layer before its activation.
    condition: ConditionEmbedding,
    #[module(skip)]
    width: usize,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    map: AnyScalarMap,
}

impl Coupling {
    /// The columns that stay, and the columns that are transformed.
    fn split(&self, x: Dual<2>) -> Result<(Dual<2>, Dual<2>)> {
        let ([n, d], kept) = (x.dims(), self.width / 2);
        rows_of([n, d], self.width)?;
        let part = |from, len| x.clone().linear(|x| x.narrow(1, from, len));
        Ok((part(0, kept), part(kept, d - kept)))
    }

    /// The parameters of the maps of the transformed columns, from the columns that stay.
    fn parameters(&self, kept: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        let ([n, _], device) = (kept.dims(), kept.value.device());
        let features = self.condition.forward(condition, n, &device)?;
        let (mut h, mut rest) = (bounded(kept, REACH), &self.linears[..]);
        if let (Some(features), Some((first, others))) = (features, rest.split_first()) {
            h = self.activation.forward(first.forward_plus(h, features));
            rest = others;
        }
        let last = rest.len().saturating_sub(1);
        let activation = |k| (k < last).then_some(self.activation);
        let rest: Vec<_> = rest.iter().enumerate().map(|(k, l)| (l, activation(k))).collect();
        Ok(mlp(h, &rest, None))
    }
}

impl Bijection for Coupling {
    fn to_noise(&self, x: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        let (kept, moved) = self.split(x)?;
        let parameters = self.parameters(kept.clone(), condition)?;
        let (z, log_det) = self.map.to_noise(moved, parameters);
        Ok((kept.join(z), log_det))
    }

    fn to_data(&self, z: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        let (kept, moved) = self.split(z)?;
        let parameters = self.parameters(kept.clone(), condition)?;
        let (x, log_det) = self.map.to_data(moved, parameters);
        Ok((kept.join(x), log_det))
    }
}
