//! Masked multilayer perceptrons: every output reads some of the first columns of a row, and no later one.
//!
//! Each hidden unit has a degree m: it reads the first m columns, directly or through units of at most its degree. An
//! output that may read the first l columns reads the units of degrees up to l (Germain, Gregor, Murray & Larochelle
//! 2015, *MADE: masked autoencoder for distribution estimation*, eqs. 8–13, with degrees in rising order in place of
//! random ones). The units of a layer are sorted by degree, so that what a unit reads is a prefix of the layer before,
//! and a mask is one number for each unit: the length of the prefix, its reach.
//!
//! Rows that come column by column need one pass in all: when the first k columns are known, only the units of degree
//! k are new ([`Sequence`]).
//!
//! A network may have masks for several orders of its columns and several placements of its degrees, one for each of
//! its members; all members share the weights. The bias of a unit of the first layer is then b + Σ U_j over the columns
//! j that it reads, so that a column that is not read differs from one whose value is zero (sec. 4.2).

mod masks;
mod sequence;
mod units;

pub use sequence::Sequence;

use super::layers::project;
use super::{Activation, ConditionEmbedding, ConditionEmbeddingConfig, Linear, LinearConfig};
use crate::data::Condition;
use crate::error::count;
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use masks::Masks;
use std::sync::Arc;
use tweedie_ops::LinearLayer;
use units::Units;

/// The most hidden layers, and the most units of each.
const MOST_LAYERS: u64 = 64;
const MOST_UNITS: u64 = 1 << 14;
/// The most members.
const MOST_MEMBERS: usize = 1 << 10;

/// Configuration of [`MaskedMlp`].
#[derive(Debug, Clone, PartialEq)]
pub struct MaskedMlpConfig {
    /// For each output the number of first columns that it may read.
    pub limits: Vec<usize>,
    /// The number of values of each column of a row, such as 1, or the number of names of a category.
    pub columns: Vec<usize>,
    /// The widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// The activation of the hidden layers.
    pub activation: Activation,
    /// Whether a hidden layer as wide as the one before is added to it.
    pub residual: bool,
    /// Whether outputs also read columns directly, by a linear map.
    pub direct: bool,
    /// The number of classes that rows are conditioned on; 0 for none.
    pub classes: usize,
    /// The length of vectors that rows are conditioned on; 0 for none.
    pub vector: usize,
    /// Whether each row comes with features of its own, which are added to the first layer.
    pub features: bool,
    /// The number of orders: the one in which columns come, then random ones.
    pub orders: usize,
    /// The number of placements of degrees, for each order: the one of rising degrees, then random ones.
    pub masks: usize,
    /// A factor on the initial weights of the outputs.
    pub gain: f64,
}

impl MaskedMlpConfig {
    /// The degrees of hidden units: the least, and their number. Units of degree 0 carry the condition alone.
    fn degrees(&self) -> (usize, usize) {
        let most = self.limits.iter().copied().max().unwrap_or(0);
        let given = self.classes > 0 || self.vector > 0 || self.features;
        let least = usize::from(!given && most > 0);
        (least, most + 1 - least)
    }

    /// Fails, naming the key, unless hidden layers have valid widths.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check_hidden(hidden: &[usize]) -> Result<()> {
        count("hidden", hidden.len() as u64, MOST_LAYERS)?;
        hidden.iter().try_for_each(|units| count("hidden", *units as u64, MOST_UNITS))
    }

    /// Fails, naming the key, unless there are some orders and placements, and not too many.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check_members(orders: usize, masks: usize) -> Result<()> {
        count("orders", orders as u64, MOST_MEMBERS as u64)?;
        count("masks", masks as u64, (MOST_MEMBERS / orders) as u64)
    }

    /// Fails, naming the key, unless every hidden layer has a unit for every two columns.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn fits(&self) -> Result<()> {
        Self::check_hidden(&self.hidden)?;
        Self::check_members(self.orders, self.masks)?;
        let least = self.degrees().1.div_ceil(2);
        match self.hidden.iter().find(|units| **units < least) {
            None => Ok(()),
            Some(units) => {
                let expected =
                    format!("at least {least} units: a mask needs one for every two columns");
                Err(Error::config("hidden", units.to_string(), expected))
            }
        }
    }

    /// The number of values of a row.
    fn width(&self) -> usize {
        self.columns.iter().sum()
    }

    /// The number of values in the parameters.
    pub fn parameters(&self) -> u128 {
        let outputs = self.limits.len() as u128;
        let mut input = self.width() as u128;
        let mut sum = if self.direct { input * outputs } else { 0 };
        for &units in &self.hidden {
            sum += (input + 1) * units as u128;
            input = units as u128;
        }
        let first = self.hidden.first().map_or(outputs, |units| *units as u128);
        let condition =
            ConditionEmbeddingConfig::new(self.classes, self.vector, first as usize).parameters();
        let known = if self.orders > 1 { self.columns.len() as u128 * first } else { 0 };
        sum + (input + 1) * outputs + condition + known
    }

    /// The approximate number of activations per row.
    pub fn activations(&self) -> usize {
        self.width() + 2 * self.hidden.iter().sum::<usize>() + self.limits.len()
    }

    /// The network with initial values from `draws`.
    ///
    /// # Errors
    /// As [`MaskedMlpConfig::fits`]; [`Error::Config`] for a limit beyond the columns.
    pub fn init(&self, draws: &Draws, device: &Device) -> Result<MaskedMlp> {
        self.fits()?;
        let columns = self.columns.len();
        if let Some(limit) = self.limits.iter().find(|limit| **limit > columns) {
            let expected = format!("at most {columns} columns");
            return Err(Error::config("limits", limit.to_string(), expected));
        }
        let (mut linears, mut width) = (Vec::new(), self.width());
        for (k, units) in self.hidden.iter().chain([&self.limits.len()]).enumerate() {
            let gain = if k == self.hidden.len() { self.gain } else { 1.0 };
            let config = LinearConfig::new(width, *units).with_gain(gain);
            linears.push(config.init(&draws.purpose("linears").at(k as u64), device));
            width = *units;
        }
        let direct = LinearConfig::new(self.width(), self.limits.len()).with_bias(false);
        let direct = direct.with_gain(self.gain);
        let first = self.hidden.first().copied().unwrap_or(self.limits.len());
        let known = LinearConfig::new(columns, first).with_bias(false);
        let condition = ConditionEmbeddingConfig::new(self.classes, self.vector, first);
        Ok(MaskedMlp {
            linears,
            direct: self.direct.then(|| direct.init(&draws.purpose("direct"), device)),
            known: (self.orders > 1).then(|| known.init(&draws.purpose("known"), device)),
            condition: condition.init(&draws.purpose("condition"), device),
            members: (0..self.orders * self.masks).map(|k| Masks::new(self, k)).collect(),
            activation: self.activation,
            residual: self.residual,
        })
    }
}

/// A linear layer of which unit o reads the first `reach[o]` inputs alone, with its optional activation.
#[derive(Debug, Clone)]
struct MaskedLinear {
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    activation: Option<Activation>,
    reach: Arc<[usize]>,
}

impl MaskedLinear {
    fn fused(&self) -> LinearLayer {
        LinearLayer {
            weight: self.weight.clone(),
            bias: self.bias.clone(),
            activation: self.activation.map_or(tweedie_ops::Activation::None, Activation::fused),
            reach: Some(self.reach.clone()),
        }
    }
}

/// [`mlp`](super::mlp) of masked layers.
fn masked_mlp(x: Dual<2>, layers: &[MaskedLinear], residual: Option<Dual<2>>) -> Dual<2> {
    if x.tangent.is_some() || residual.as_ref().is_some_and(|r| r.tangent.is_some()) {
        let y = layers.iter().fold(x, |x, layer| {
            let y = project(x, layer.fused().masked_weight(), layer.bias.clone());
            if let Some(activation) = layer.activation { activation.forward(y) } else { y }
        });
        return if let Some(residual) = residual { y + residual } else { y };
    }
    let layers = layers.iter().map(MaskedLinear::fused).collect();
    tweedie_ops::mlp(x.value, layers, residual.map(|r| r.value)).into()
}

/// A multilayer perceptron whose outputs read a limited number of first columns; see the module's head.
#[derive(Module, Debug)]
pub struct MaskedMlp {
    /// The hidden layers, then the outputs.
    linears: Vec<Linear>,
    /// The map from columns to outputs.
    direct: Option<Linear>,
    /// The map U from the columns that a unit reads to the first layer, of several orders.
    known: Option<Linear>,
    /// The embedding of the condition, added to the first layer before its activation.
    condition: ConditionEmbedding,
    /// The masks of each member.
    #[module(skip)]
    members: Vec<Masks>,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    residual: bool,
}

impl MaskedMlp {
    /// The number of members: orders of columns, times placements of degrees.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// The numbers of columns in the order of a member.
    ///
    /// # Panics
    /// If there are fewer members.
    pub fn order(&self, member: usize) -> &[usize] {
        &self.members[member].columns
    }

    /// Maps rows `x`, `[n, columns]`, to `[n, outputs]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the condition does not fit.
    pub fn forward(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        self.forward_by(0, x, condition)
    }

    /// [`MaskedMlp::forward`] by the masks of a member.
    ///
    /// # Errors
    /// [`Error::Shape`] if the condition does not fit.
    ///
    /// # Panics
    /// If there are fewer members.
    pub fn forward_by(&self, member: usize, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        let features = self.condition.forward(condition, x.dims()[0], &x.value.device())?;
        Ok(self.arranged(member).forward(x, features))
    }

    /// Maps rows `x`, `[n, columns]`, with `features` of the first layer's width that are added before its activation,
    /// to `[n, outputs]`.
    pub fn forward_plus(&self, x: Dual<2>, features: Option<Dual<2>>) -> Dual<2> {
        self.arranged(0).forward(x, features)
    }

    /// The network on `n` rows of which no column is known yet.
    ///
    /// # Errors
    /// [`Error::Shape`] if the condition does not fit.
    pub fn sequence(
        &self,
        condition: &Condition,
        n: usize,
        device: &Device,
    ) -> Result<Sequence<'_>> {
        self.sequence_by(0, condition, n, device)
    }

    /// [`MaskedMlp::sequence`] by the masks of a member: columns come in its order.
    ///
    /// # Errors
    /// [`Error::Shape`] if the condition does not fit.
    ///
    /// # Panics
    /// If there are fewer members.
    pub fn sequence_by(
        &self,
        member: usize,
        condition: &Condition,
        n: usize,
        device: &Device,
    ) -> Result<Sequence<'_>> {
        let features = self.condition.forward(condition, n, device)?;
        Ok(Sequence::new(self.arranged(member), features, n))
    }

    /// The network on `n` rows of which no column is known yet, with features as in [`MaskedMlp::forward_plus`].
    pub fn sequence_plus(&self, features: Option<Dual<2>>, n: usize) -> Sequence<'_> {
        Sequence::new(self.arranged(0), features, n)
    }

    /// The network in the order of the masks of a member.
    fn arranged(&self, member: usize) -> Arranged<'_> {
        let (masks, last) = (&self.members[member], self.linears.len() - 1);
        let layer = |(k, linear): (usize, &Linear)| MaskedLinear {
            weight: masks.weight(k, linear.weight.val()),
            bias: linear.bias().map(|bias| masks.bias(k, bias)),
            activation: (k < last).then_some(self.activation),
            reach: masks.reaches[k].clone(),
        };
        let mut layers: Vec<MaskedLinear> = self.linears.iter().enumerate().map(layer).collect();
        if let Some(known) = &self.known {
            layers[0].bias = Some(self.with_known(known, masks, layers[0].bias.take()));
        }
        let direct = self.direct.as_ref().map(|linear| MaskedLinear {
            weight: masks.direct(linear.weight.val()),
            bias: None,
            activation: None,
            reach: masks.direct_reach.clone(),
        });
        let (activation, residual) = (self.activation, self.residual);
        Arranged { masks, layers, direct, activation, residual }
    }

    /// b + Σ U_j over the columns j that a unit reads, `[units]`.
    fn with_known(&self, known: &Linear, masks: &Masks, bias: Option<Tensor<1>>) -> Tensor<1> {
        let weight = masks.known(known.weight.val());
        let [units, columns] = weight.dims();
        let ones = Tensor::<2>::ones([1, columns], (&weight.device(), weight.dtype()));
        let reach = masks.degrees[0].clone().into();
        let sum = MaskedLinear { weight, bias, activation: None, reach };
        masked_mlp(ones.into(), &[sum], None).value.reshape([units])
    }
}

/// A network with weights in the order of its masks.
#[derive(Debug)]
struct Arranged<'a> {
    masks: &'a Masks,
    /// The hidden layers, then the outputs.
    layers: Vec<MaskedLinear>,
    /// The map from columns to outputs.
    direct: Option<MaskedLinear>,
    activation: Activation,
    residual: bool,
}

impl Arranged<'_> {
    /// The outputs of rows `x` with features of the first layer.
    fn forward(&self, x: Dual<2>, features: Option<Dual<2>>) -> Dual<2> {
        let (last, x) = (self.layers.len() - 1, self.masks.values(x));
        let mut added =
            self.direct.as_ref().map(|of| masked_mlp(x.clone(), std::slice::from_ref(of), None));
        let (mut h, mut next) = (x, 0);
        if let Some(features) = features {
            let plain = MaskedLinear { activation: None, ..self.layers[0].clone() };
            let first = masked_mlp(h, &[plain], Some(self.masks.features(features)));
            (h, next) = (if last > 0 { self.activation.forward(first) } else { first }, 1);
        }
        while next <= last {
            // Layers run together up to the next sum.
            let until = (next + 1..=last).find(|k| self.adds(*k) || self.adds(*k - 1));
            let until = until.unwrap_or(last + 1);
            let residual = match () {
                () if self.adds(next) => Some(h.clone()),
                () if until > last => added.take(),
                () => None,
            };
            h = masked_mlp(h, &self.layers[next..until], residual);
            next = until;
        }
        self.masks.outputs(if let Some(added) = added { h + added } else { h })
    }

    /// Whether hidden layer `k` is added to the one before it: both have one width.
    fn adds(&self, k: usize) -> bool {
        let degrees = &self.masks.degrees;
        let hidden = k > 0 && k + 1 < self.layers.len();
        self.residual && hidden && degrees[k].len() == degrees[k - 1].len()
    }
}
