//! The neural autoregressive distribution estimator (NADE).
//!
//! Column j has a hidden layer of its own, and all hidden layers share the weights W of values (Uria, Côté, Gregor,
//! Murray & Larochelle 2016, *Neural autoregressive distribution estimation*, eqs. 1–2), with σ the logistic function,
//!
//! > h_j = σ(a_j),  a_j = c + Σ_{k<j} W_k x_k,  parameters of column j = V_j h_j + b_j.
//!
//! The sums a_j are running ones, a_{j+1} = a_j + W_j x_j (sec. 2.2): a row of D columns and H hidden units costs
//! O(D H), in a pass and in a sample. A class or a vector adds to c. A pass for gradients keeps all h_j, 4 D H bytes a
//! row and as much again for their gradients; other passes keep [`ABREAST`] columns of them at a time.

use super::network::{AnyColumnNetwork, ColumnNetwork, ColumnNetworkConfig, Columns, Outline};
use crate::data::Condition;
use crate::error::count;
use crate::nn::layers::{constant, uniform};
use crate::nn::{ConditionEmbedding, ConditionEmbeddingConfig, Linear, LinearConfig};
use crate::tensor::Dual;
use crate::{Draws, Result};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The most columns whose hidden layers are computed at once.
const ABREAST: usize = 64;

/// Configuration of [`Nade`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NadeConfig {
    /// The number of hidden units of each column.
    pub hidden: usize,
}

impl Default for NadeConfig {
    fn default() -> Self {
        Self { hidden: 500 }
    }
}

impl ColumnNetworkConfig for NadeConfig {
    fn check(&self) -> Result<()> {
        count("hidden", self.hidden as u64, 1 << 14)
    }

    fn fits(&self, _: &Outline) -> Result<()> {
        self.check()
    }

    fn init(&self, columns: &Outline, draws: &Draws, device: &Device) -> Result<AnyColumnNetwork> {
        self.check()?;
        let values = columns.values.iter().sum::<usize>();
        let bound = 1.0 / (values as f64).sqrt();
        let output = LinearConfig::new(self.hidden, columns.parameters.iter().sum());
        let condition = ConditionEmbeddingConfig::new(columns.classes, columns.vector, self.hidden);
        Ok(Nade {
            weight: uniform(&draws.purpose("weight"), bound, [values, self.hidden], device),
            bias: constant(0.0, [self.hidden], device),
            output: output.with_gain(columns.gain).init(&draws.purpose("output"), device),
            condition: condition.init(&draws.purpose("condition"), device),
            parts: Part::all(columns),
        }
        .into())
    }

    fn parameters(&self, columns: &Outline) -> u128 {
        let hidden = self.hidden as u128;
        let [values, outputs] = [&columns.values, &columns.parameters]
            .map(|counts| counts.iter().sum::<usize>() as u128);
        let condition = ConditionEmbeddingConfig::new(columns.classes, columns.vector, self.hidden);
        (values + 1 + outputs) * hidden + condition.parameters() + outputs
    }

    fn activations(&self, columns: &Outline) -> usize {
        let outputs = columns.parameters.iter().sum::<usize>();
        2 * self.hidden * columns.values.iter().sum::<usize>() + 2 * outputs
    }
}

/// Neighbouring columns with one number of values and one of parameters, at most [`ABREAST`] of them.
#[derive(Debug, Clone)]
struct Part {
    columns: usize,
    /// The values of all of them.
    values: Range<usize>,
    /// Their parameters.
    parameters: Range<usize>,
}

impl Part {
    fn all(columns: &Outline) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        let (mut value, mut parameter) = (0, 0);
        for (values, parameters) in columns.values.iter().zip(&columns.parameters) {
            let alike = |part: &&mut Self| {
                let own = [part.values.len(), part.parameters.len()];
                part.columns < ABREAST && own == [values, parameters].map(|k| k * part.columns)
            };
            let (from, first) = (value, parameter);
            (value, parameter) = (value + values, parameter + parameters);
            match all.last_mut().filter(alike) {
                Some(part) => {
                    part.columns += 1;
                    (part.values.end, part.parameters.end) = (value, parameter);
                }
                None => {
                    all.push(Self { columns: 1, values: from..value, parameters: first..parameter })
                }
            }
        }
        all
    }
}

/// A NADE; see the module's head.
#[derive(Module, Debug)]
pub struct Nade {
    /// The weights W of values, `[values, hidden]`.
    weight: Param<Tensor<2>>,
    /// The bias c of hidden units, `[hidden]`.
    bias: Param<Tensor<1>>,
    /// The maps V from the hidden units of a column to its parameters, with their biases b.
    output: Linear,
    condition: ConditionEmbedding,
    #[module(skip)]
    parts: Vec<Part>,
}

impl Nade {
    /// a_1 = c of each row, `[n, hidden]`.
    fn start(&self, condition: &Condition, n: usize, device: &Device) -> Result<Dual<2>> {
        let bias = self.bias.val();
        let [hidden] = bias.dims();
        let start = Dual::from(bias.reshape([1, hidden]).expand([n, hidden]));
        let given = self.condition.forward(condition, n, device)?;
        Ok(if let Some(given) = given { start + given } else { start })
    }

    /// The sums a_j of the columns of a part, `[n, columns, hidden]`, and the one after them, from their values and the
    /// first sum.
    fn sums(&self, part: &Part, x: Dual<2>, first: Dual<2>) -> (Dual<3>, Dual<2>) {
        let ([n, values], [_, hidden], columns) = (x.dims(), first.dims(), part.columns);
        let weight = self.weight.val().narrow(0, part.values.start, values);
        let each = x.reshape([n, values, 1]) * weight.reshape([1, values, hidden]);
        let width = values / columns;
        let after = each.linear(|each| {
            let sums = each.cumsum(1).reshape([n, columns, width, hidden]);
            sums.narrow(2, width - 1, 1).reshape([n, columns, hidden])
        });
        let after = after + first.clone().reshape([n, 1, hidden]);
        let part = |from, len| after.clone().linear(|x: Tensor<3>| x.narrow(1, from, len));
        let next = part(columns - 1, 1).reshape([n, hidden]);
        let first = first.reshape([n, 1, hidden]);
        let own = if columns > 1 { Dual::cat(vec![first, part(0, columns - 1)], 1) } else { first };
        (own, next)
    }

    /// V_j h_j + b_j of the columns of a part, `[n, parameters]`, from h, `[n, columns, hidden]`.
    fn outputs(&self, part: &Part, h: Dual<3>) -> Dual<2> {
        let ([n, columns, hidden], count) = (h.dims(), part.parameters.len());
        let weight = self.output.weight.val().narrow(0, part.parameters.start, count);
        let weight = weight.reshape([columns, count / columns, hidden]).swap_dims(1, 2);
        let y = h.swap_dims(0, 1).matmul(weight.into()).swap_dims(0, 1).reshape([n, count]);
        match self.output.bias() {
            Some(bias) => y + bias.narrow(0, part.parameters.start, count).reshape([1, count]),
            None => y,
        }
    }
}

impl ColumnNetwork for Nade {
    fn forward(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        let mut sum = self.start(condition, x.dims()[0], &x.value.device())?;
        let mut all = Vec::new();
        for part in &self.parts {
            let (from, len) = (part.values.start, part.values.len());
            let values = x.clone().linear(|x: Tensor<2>| x.narrow(1, from, len));
            let (own, next) = self.sums(part, values, sum);
            all.push(self.outputs(part, own.sigmoid()));
            sum = next;
        }
        Ok(Dual::cat(all, 1))
    }

    fn columns(
        &self,
        condition: &Condition,
        n: usize,
        device: &Device,
    ) -> Result<Box<dyn Columns + '_>> {
        let single = |part: &Part| {
            let [values, parameters] =
                [&part.values, &part.parameters].map(|all| all.len() / part.columns);
            let (value, parameter) = (part.values.start, part.parameters.start);
            let column = move |k: usize| Part {
                columns: 1,
                values: value + k * values..value + (k + 1) * values,
                parameters: parameter + k * parameters..parameter + (k + 1) * parameters,
            };
            (0..part.columns).map(column)
        };
        let columns = self.parts.iter().flat_map(single).collect();
        Ok(Box::new(RunningSum {
            of: self,
            columns,
            sum: self.start(condition, n, device)?,
            at: 0,
        }))
    }
}

/// A NADE on rows whose columns come one after the other.
struct RunningSum<'a> {
    of: &'a Nade,
    columns: Vec<Part>,
    /// a_j of the next column j, `[n, hidden]`.
    sum: Dual<2>,
    /// The number of known columns.
    at: usize,
}

impl Columns for RunningSum<'_> {
    fn next(&mut self) -> Dual<2> {
        let [n, hidden] = self.sum.dims();
        let h = self.sum.clone().sigmoid().reshape([n, 1, hidden]);
        self.of.outputs(&self.columns[self.at], h)
    }

    fn push(&mut self, column: Dual<2>) {
        let (_, next) = self.of.sums(&self.columns[self.at], column, self.sum.clone());
        self.sum = next;
        self.at += 1;
    }
}
