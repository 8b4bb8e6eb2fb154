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

use super::layers::project;
use super::{Activation, ConditionEmbedding, ConditionEmbeddingConfig, Linear, LinearConfig};
use crate::data::Condition;
use crate::error::count;
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use std::ops::Range;
use std::sync::Arc;
use tweedie_ops::LinearLayer;

/// The most hidden layers, and the most units of each.
const MOST_LAYERS: u64 = 64;
const MOST_UNITS: u64 = 1 << 14;

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

    /// Fails, naming the key, unless every hidden layer has a unit for every two columns.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn fits(&self) -> Result<()> {
        Self::check_hidden(&self.hidden)?;
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
        let classes = if self.classes > 0 { (self.classes as u128 + 1) * first } else { 0 };
        let vector = if self.vector > 0 { (self.vector as u128 + 2) * first } else { 0 };
        sum + (input + 1) * outputs + classes + vector
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
        let (least, degrees) = self.degrees();
        let hidden = |units: &usize| (0..*units).map(|i| least + i * degrees / units).collect();
        let mut layers: Vec<Vec<usize>> = self.hidden.iter().map(hidden).collect();
        layers.push(self.limits.clone());
        let (mut linears, mut reaches) = (Vec::new(), Vec::new());
        let values = self.columns.iter().enumerate();
        let mut before: Vec<usize> = values.flat_map(|(j, width)| vec![j + 1; *width]).collect();
        let first_reach = |limit: &usize| before.partition_point(|of| of <= limit);
        let direct_reach = self.limits.iter().map(first_reach).collect();
        for (k, degrees) in layers.iter().enumerate() {
            let gain = if k + 1 == layers.len() { self.gain } else { 1.0 };
            let config = LinearConfig::new(before.len(), degrees.len()).with_gain(gain);
            linears.push(config.init(&draws.purpose("linears").at(k as u64), device));
            let reach = |degree: &usize| before.partition_point(|of| of <= degree);
            reaches.push(degrees.iter().map(reach).collect());
            before = degrees.clone();
        }
        let direct = LinearConfig::new(self.width(), self.limits.len()).with_bias(false);
        let direct = direct.with_gain(self.gain);
        let first = self.hidden.first().copied().unwrap_or(self.limits.len());
        let condition = ConditionEmbeddingConfig::new(self.classes, self.vector, first);
        Ok(MaskedMlp {
            linears,
            direct: self.direct.then(|| direct.init(&draws.purpose("direct"), device)),
            condition: condition.init(&draws.purpose("condition"), device),
            reaches,
            degrees: layers,
            limits: self.limits.clone(),
            direct_reach,
            activation: self.activation,
            residual: self.residual,
        })
    }
}

/// A linear layer of which unit o reads the first `reach[o]` inputs alone, with its optional activation.
#[derive(Clone, Copy)]
struct MaskedLinear<'a> {
    linear: &'a Linear,
    activation: Option<Activation>,
    reach: &'a Arc<[usize]>,
}

impl MaskedLinear<'_> {
    fn fused(&self) -> LinearLayer {
        LinearLayer {
            weight: self.linear.weight.val(),
            bias: self.linear.bias(),
            activation: self.activation.map_or(tweedie_ops::Activation::None, Activation::fused),
            reach: Some(self.reach.clone()),
        }
    }
}

/// [`mlp`](super::mlp) of masked layers.
fn masked_mlp(x: Dual<2>, layers: &[MaskedLinear], residual: Option<Dual<2>>) -> Dual<2> {
    if x.tangent.is_some() || residual.as_ref().is_some_and(|r| r.tangent.is_some()) {
        let y = layers.iter().fold(x, |x, layer| {
            let y = project(x, layer.fused().masked_weight(), layer.linear.bias());
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
    /// The embedding of the condition, added to the first layer before its activation.
    condition: ConditionEmbedding,
    /// The reach of each unit, layer by layer.
    #[module(skip)]
    reaches: Vec<Arc<[usize]>>,
    /// The degree of each unit, layer by layer; of the outputs, their limits.
    #[module(skip)]
    degrees: Vec<Vec<usize>>,
    #[module(skip)]
    limits: Vec<usize>,
    /// The number of first values that each output reads directly.
    #[module(skip)]
    direct_reach: Arc<[usize]>,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    residual: bool,
}

impl MaskedMlp {
    /// Maps rows `x`, `[n, columns]`, to `[n, outputs]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the condition does not fit.
    pub fn forward(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        let features = self.condition.forward(condition, x.dims()[0], &x.value.device())?;
        Ok(self.forward_plus(x, features))
    }

    /// Maps rows `x`, `[n, columns]`, with `features` of the first layer's width that are added before its activation,
    /// to `[n, outputs]`.
    pub fn forward_plus(&self, x: Dual<2>, features: Option<Dual<2>>) -> Dual<2> {
        let last = self.linears.len() - 1;
        let layer = |k: usize| MaskedLinear {
            linear: &self.linears[k],
            activation: (k < last).then_some(self.activation),
            reach: &self.reaches[k],
        };
        let mut added = self.direct.as_ref().map(|linear| {
            let layer = MaskedLinear { linear, activation: None, reach: &self.direct_reach };
            masked_mlp(x.clone(), &[layer], None)
        });
        let (mut h, mut next) = (x, 0);
        if let Some(features) = features {
            let plain = MaskedLinear { activation: None, ..layer(0) };
            let first = masked_mlp(h, &[plain], Some(features));
            (h, next) = (if last > 0 { self.activation.forward(first) } else { first }, 1);
        }
        while next <= last {
            // Layers run together up to the next sum.
            let adds = |k: usize| self.residual && k > 0 && k < last && self.same_width(k);
            let until = (next + 1..=last).find(|k| adds(*k) || adds(*k - 1)).unwrap_or(last + 1);
            let layers: Vec<_> = (next..until).map(layer).collect();
            let residual = match () {
                () if adds(next) => Some(h.clone()),
                () if until > last => added.take(),
                () => None,
            };
            h = masked_mlp(h, &layers, residual);
            next = until;
        }
        if let Some(added) = added { h + added } else { h }
    }

    /// Whether hidden layer `k` has the width of the layer before it.
    fn same_width(&self, k: usize) -> bool {
        self.degrees[k].len() == self.degrees[k - 1].len()
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
        Ok(self.sequence_plus(self.condition.forward(condition, n, device)?, n))
    }

    /// The network on `n` rows of which no column is known yet, with features as in [`MaskedMlp::forward_plus`].
    pub fn sequence_plus(&self, features: Option<Dual<2>>, n: usize) -> Sequence<'_> {
        let layers = vec![Vec::new(); self.linears.len()];
        Sequence { of: self, features, layers, known: 0, rows: n }
    }
}

/// A masked network on rows whose columns come one after the other: every unit is computed once.
#[derive(Debug)]
pub struct Sequence<'a> {
    of: &'a MaskedMlp,
    features: Option<Dual<2>>,
    /// The known columns, then the known units of each hidden layer, in parts by degree.
    layers: Vec<Vec<Dual<2>>>,
    known: usize,
    rows: usize,
}

/// The known parts of a layer side by side; none before the first.
fn whole(parts: &mut Vec<Dual<2>>) -> Option<Dual<2>> {
    if parts.len() > 1 {
        let all = Dual::cat(std::mem::take(parts), 1);
        parts.push(all);
    }
    parts.first().cloned()
}

impl Sequence<'_> {
    /// Adds the next column, `[n, its number of values]`.
    pub fn push(&mut self, column: Dual<2>) {
        self.layers[0].push(column);
        self.known += 1;
    }

    /// The outputs whose limit is the number of known columns, `[n, their number]`, in their order.
    pub fn outputs(&mut self) -> Dual<2> {
        let last = self.of.linears.len() - 1;
        for k in 0..last {
            let degrees = &self.of.degrees[k];
            let from = degrees.partition_point(|degree| *degree < self.known);
            let units = from..degrees.partition_point(|degree| *degree <= self.known);
            if units.is_empty() {
                continue;
            }
            // The part of the same units in the layer before, which came in this pass.
            let before = (self.of.residual && k > 0 && self.of.same_width(k))
                .then(|| self.layers[k].last().cloned())
                .flatten();
            let h = self.units(k, Units::Range(units));
            let h = self.of.activation.forward(h);
            let h = if let Some(before) = before { h + before } else { h };
            self.layers[k + 1].push(h);
        }
        let outputs = &self.of.limits;
        let wanted = (0..outputs.len()).filter(|o| outputs[*o] == self.known).collect();
        let units = Units::of(wanted);
        let y = self.units(last, units.clone());
        match (&self.of.direct, whole(&mut self.layers[0])) {
            (Some(direct), Some(columns)) => {
                let weight = units.rows(&direct.weight.val());
                let reach = columns.dims()[1];
                y + project(columns, weight.narrow(1, 0, reach), None)
            }
            _ => y,
        }
    }

    /// Units of layer `k` before their activation, from what is known of the layer before.
    fn units(&mut self, k: usize, units: Units) -> Dual<2> {
        let linear = &self.of.linears[k];
        let bias = linear.bias();
        let bias = bias.map(|bias| units.rows(&bias.unsqueeze_dim::<2>(1)).squeeze_dim::<1>(1));
        let weight = units.rows(&linear.weight.val());
        let count = weight.dims()[0];
        let z = match (whole(&mut self.layers[k]), bias) {
            (Some(input), bias) => {
                let reach = input.dims()[1];
                project(input, weight.narrow(1, 0, reach), bias)
            }
            (None, Some(bias)) => bias.unsqueeze_dim::<2>(0).expand([self.rows, count]).into(),
            (None, None) => {
                let kind = (&weight.device(), weight.dtype());
                Tensor::<2>::zeros([self.rows, count], kind).into()
            }
        };
        match self.features.as_ref().filter(|_| k == 0) {
            Some(features) => z + units.columns(features),
            None => z,
        }
    }
}

/// Some units of a layer: neighbours, or any.
#[derive(Clone)]
enum Units {
    Range(Range<usize>),
    List(Vec<usize>),
}

impl Units {
    fn of(list: Vec<usize>) -> Self {
        match (list.first(), list.last()) {
            (Some(first), Some(last)) if last - first + 1 == list.len() => {
                Self::Range(*first..last + 1)
            }
            _ => Self::List(list),
        }
    }

    fn select(&self, x: &Tensor<2>, dim: usize) -> Tensor<2> {
        match self {
            Self::Range(range) => x.clone().narrow(dim, range.start, range.len()),
            Self::List(list) => {
                let numbers: Vec<i32> = list.iter().map(|i| *i as i32).collect();
                let numbers = TensorData::new(numbers, [list.len()]);
                let numbers = Tensor::<1, Int>::from_data(numbers, (&x.device(), DType::I32));
                x.clone().select(dim, numbers)
            }
        }
    }

    fn rows(&self, x: &Tensor<2>) -> Tensor<2> {
        self.select(x, 0)
    }

    fn columns(&self, x: &Dual<2>) -> Dual<2> {
        x.clone().linear(|x| self.select(&x, 1))
    }
}
