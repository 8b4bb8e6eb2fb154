//! A causal transformer over columns.
//!
//! Token j carries the value of column j − 1, its place and the condition; attention lets it read the tokens before it
//! and itself (Vaswani et al. 2017, *Attention is all you need*, sec. 3.2.3; Child et al. 2019, *Generating long
//! sequences with sparse transformers*, eqs. 2–4, with dense attention). Blocks normalise before each part,
//!
//! > x ← x + W_o attention(norm x),  x ← x + W₂ gelu(W₁ norm x),
//!
//! and a linear map leads from token j to the parameters of column j. The pixels of a picture share the maps of their
//! values and to their parameters; a column of a table has maps of its own. A sample keeps the keys and values of known
//! tokens, so that each token is computed once.

use super::network::{AnyColumnNetwork, ColumnNetwork, ColumnNetworkConfig, Columns, Outline};
use crate::data::{Condition, Layout};
use crate::error::count;
use crate::nn::attention::attend;
use crate::nn::layers::uniform;
use crate::nn::{
    Activation, ConditionEmbedding, ConditionEmbeddingConfig, LayerNorm, LayerNormConfig, Linear,
    LinearConfig, causal_self_attention, mlp,
};
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// The ratio of the width of a block's hidden layer to that of a token.
const HIDDEN: usize = 4;

/// Configuration of [`CausalTransformer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CausalTransformerConfig {
    /// The width of a token.
    pub width: usize,
    /// The number of blocks.
    pub layers: usize,
    /// The number of heads of attention; divides the width.
    pub heads: usize,
}

impl Default for CausalTransformerConfig {
    fn default() -> Self {
        Self { width: 64, layers: 4, heads: 4 }
    }
}

/// Whether columns share the maps of their values and to their parameters: those of pictures.
fn shares(columns: &Outline) -> bool {
    matches!(columns.layout, Layout::Image { .. })
}

impl CausalTransformerConfig {
    /// The number of columns, that of values with maps of their own, and the most parameters of a column.
    fn sizes(columns: &Outline) -> [usize; 3] {
        let values = if shares(columns) { 1 } else { columns.values.iter().sum() };
        let most = columns.parameters.iter().copied().max().unwrap_or(0);
        [columns.parameters.len(), values, most]
    }
}

impl ColumnNetworkConfig for CausalTransformerConfig {
    fn check(&self) -> Result<()> {
        count("width", self.width as u64, 1 << 14)?;
        count("layers", self.layers as u64, 256)?;
        count("heads", self.heads as u64, 256)?;
        match self.width.is_multiple_of(self.heads) {
            true => Ok(()),
            false => {
                let expected = format!("a divisor of the width {}", self.width);
                Err(Error::config("heads", self.heads.to_string(), expected))
            }
        }
    }

    fn fits(&self, columns: &Outline) -> Result<()> {
        let alike = |all: &[usize]| all.iter().all(|count| *count == all[0]);
        if shares(columns)
            && !(alike(&columns.parameters) && columns.values.iter().all(|v| *v == 1))
        {
            let problem = "transformer, of pixels that differ in kind";
            return Err(Error::config("name", problem, "masked"));
        }
        Ok(())
    }

    fn init(&self, columns: &Outline, draws: &Draws, device: &Device) -> Result<AnyColumnNetwork> {
        self.check()?;
        self.fits(columns)?;
        let ([tokens, values, most], width) = (Self::sizes(columns), self.width);
        let block = |k: usize| {
            let draws = draws.purpose("blocks").at(k as u64);
            let linear = |name: &str, from, to| {
                LinearConfig::new(from, to).init(&draws.purpose(name), device)
            };
            Block {
                norm1: LayerNormConfig::new(width).init(device),
                qkv: linear("qkv", width, 3 * width),
                out: linear("out", width, width),
                norm2: LayerNormConfig::new(width).init(device),
                linear1: linear("linear1", width, HIDDEN * width),
                linear2: linear("linear2", HIDDEN * width, width),
            }
        };
        let heads = if shares(columns) { 1 } else { tokens };
        let bound = columns.gain / (width as f64).sqrt();
        let owners = columns.values.iter().enumerate().flat_map(|(j, width)| vec![j; *width]);
        let outputs = columns.parameters.iter().enumerate();
        let condition = ConditionEmbeddingConfig::new(columns.classes, columns.vector, width);
        Ok(CausalTransformer {
            places: uniform(&draws.purpose("places"), 0.1, [tokens, width], device),
            values: uniform(&draws.purpose("values"), 1.0, [values, width], device),
            blocks: (0..self.layers).map(block).collect(),
            norm: LayerNormConfig::new(width).init(device),
            head: uniform(&draws.purpose("head"), bound, [heads, width, most], device),
            bias: uniform(&draws.purpose("bias"), bound, [heads, most], device),
            condition: condition.init(&draws.purpose("condition"), device),
            owners: owners.collect(),
            outputs: outputs
                .flat_map(|(j, count)| (0..*count).map(move |p| j * most + p))
                .collect(),
            counts: columns.parameters.clone(),
            heads: self.heads,
        }
        .into())
    }

    fn parameters(&self, columns: &Outline) -> u128 {
        let [tokens, values, most] = Self::sizes(columns).map(|n| n as u128);
        let (w, heads) = (self.width as u128, if shares(columns) { 1 } else { tokens });
        let block =
            4 * w + (w + 1) * 4 * w + (w + 1) * HIDDEN as u128 * w + (HIDDEN as u128 * w + 1) * w;
        let condition = ConditionEmbeddingConfig::new(columns.classes, columns.vector, self.width);
        (tokens + values + 2) * w
            + self.layers as u128 * block
            + heads * (w + 1) * most
            + condition.parameters()
    }

    fn activations(&self, columns: &Outline) -> usize {
        let [tokens, _, most] = Self::sizes(columns);
        let scores = 2 * self.heads * tokens * tokens;
        self.layers * (scores + tokens * self.width * (6 + 2 * HIDDEN)) + 2 * tokens * most
    }
}

/// A block of attention and a multilayer perceptron.
#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    /// The map to queries, keys and values.
    qkv: Linear,
    out: Linear,
    norm2: LayerNorm,
    linear1: Linear,
    linear2: Linear,
}

/// A causal transformer over columns; see the module's head.
#[derive(Module, Debug)]
pub struct CausalTransformer {
    /// The features of places, `[columns, width]`.
    places: Param<Tensor<2>>,
    /// The features of a unit of each value, `[values, width]`, or of all, `[1, width]`.
    values: Param<Tensor<2>>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    /// The maps to parameters, `[columns, width, most]`, or of all columns, `[1, width, most]`.
    head: Param<Tensor<3>>,
    /// Their biases, `[columns, most]` or `[1, most]`.
    bias: Param<Tensor<2>>,
    condition: ConditionEmbedding,
    /// The column of each value.
    #[module(skip)]
    owners: Vec<usize>,
    /// The places of parameters among those of columns that all have the most.
    #[module(skip)]
    outputs: Vec<usize>,
    /// The number of parameters of each column.
    #[module(skip)]
    counts: Vec<usize>,
    #[module(skip)]
    heads: usize,
}

impl Block {
    /// The tokens `x` after attention, by `attend` from queries, keys and values side by side, and the perceptron.
    fn forward(&self, x: Dual<3>, attend: impl FnOnce(Dual<3>) -> Dual<3>) -> Dual<3> {
        let [n, tokens, width] = x.dims();
        let rows = self.norm1.forward(x.clone()).reshape([n * tokens, width]);
        let qkv = self.qkv.forward(rows).reshape([n, tokens, 3 * width]);
        let mixed = attend(qkv).reshape([n * tokens, width]);
        let x = self.out.forward_plus(mixed, x.reshape([n * tokens, width]));
        let layers = [(&self.linear1, Some(Activation::Gelu)), (&self.linear2, None)];
        mlp(self.norm2.forward(x.clone()), &layers, Some(x)).reshape([n, tokens, width])
    }
}

impl CausalTransformer {
    /// The features of the values of some columns, `[n, their number, width]`: of all, or of column `only`.
    fn embed(&self, x: Dual<2>, only: Option<usize>) -> Dual<3> {
        let ([n, count], weights) = (x.dims(), self.values.val());
        let [values, width] = weights.dims();
        let first = only.map_or(0, |j| self.owners.partition_point(|owner| *owner < j));
        let weights = if values == 1 { weights } else { weights.narrow(0, first, count) };
        let each = x.reshape([n, count, 1]) * weights.unsqueeze_dim::<3>(0);
        let owners = &self.owners[first..first + count];
        let columns = owners[count - 1] - owners[0] + 1;
        if columns == count {
            return each;
        }
        // The sum over the values of a column.
        let entry = |at: usize| f32::from(owners[at % count] - owners[0] == at / count);
        let sums: Vec<f32> = (0..columns * count).map(entry).collect();
        let kind = each.value.dtype();
        let sums = TensorData::new(sums, [1, columns, count]).convert_dtype(kind);
        let sums = Tensor::<3>::from_data(sums, (&each.value.device(), kind));
        Dual::from(sums.expand([n, columns, count])).matmul(each).reshape([n, columns, width])
    }

    /// The parameters of columns from their tokens, `[n, tokens, width]`: of all, or of column `only`.
    fn parameters(&self, x: Dual<3>, only: Option<usize>) -> Dual<2> {
        let [n, tokens, width] = x.dims();
        let x = self.norm.forward(x);
        let (head, bias) = (self.head.val(), self.bias.val());
        let [heads, _, most] = head.dims();
        let all = if heads == 1 {
            let y = x.reshape([1, n * tokens, width]).matmul(head.into());
            (y + bias.reshape([1, 1, most])).reshape([n, tokens * most])
        } else {
            let (head, bias) = match only {
                None => (head, bias),
                Some(j) => (head.narrow(0, j, 1), bias.narrow(0, j, 1)),
            };
            let y = x.swap_dims(0, 1).matmul(head.into()) + bias.reshape([tokens, 1, most]);
            y.swap_dims(0, 1).reshape([n, tokens * most])
        };
        let wanted = match only {
            Some(j) => return all.linear(|all| all.narrow(1, 0, self.counts[j])),
            None => &self.outputs,
        };
        if wanted.len() == tokens * most {
            return all;
        }
        let numbers: Vec<i32> = wanted.iter().map(|o| *o as i32).collect();
        let numbers = TensorData::new(numbers, [wanted.len()]);
        let numbers = Tensor::<1, Int>::from_data(numbers, (&all.value.device(), DType::I32));
        all.linear(|all| all.select(1, numbers.clone()))
    }
}

impl ColumnNetwork for CausalTransformer {
    fn forward(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        let (n, device) = (x.dims()[0], x.value.device());
        let given = self.condition.forward(condition, n, &device)?;
        let places = self.places.val();
        let [tokens, width] = places.dims();
        let values = self.embed(x, None);
        // Token j reads column j − 1.
        let moved = values.linear(|values| {
            let zeros = Tensor::zeros([n, 1, width], (&values.device(), values.dtype()));
            match tokens {
                1 => zeros,
                _ => Tensor::cat(vec![zeros, values.narrow(1, 0, tokens - 1)], 1),
            }
        });
        let mut x = moved + places.unsqueeze_dim::<3>(0);
        if let Some(given) = given {
            x = x + given.reshape([n, 1, width]);
        }
        for block in &self.blocks {
            x = block.forward(x, |qkv| causal_self_attention(qkv, self.heads));
        }
        Ok(self.parameters(x, None))
    }

    fn columns(
        &self,
        condition: &Condition,
        n: usize,
        device: &Device,
    ) -> Result<Box<dyn Columns + '_>> {
        let given = self.condition.forward(condition, n, device)?;
        let known = vec![None; self.blocks.len()];
        let mut tokens = Tokens { of: self, given, known, column: 0, n, next: None };
        tokens.advance(None);
        Ok(Box::new(tokens))
    }
}

/// A causal transformer on rows whose columns come one after the other.
struct Tokens<'a> {
    of: &'a CausalTransformer,
    /// The condition's features.
    given: Option<Dual<2>>,
    /// The keys and values of known tokens, of each block.
    known: Vec<Option<[Dual<3>; 2]>>,
    /// The number of known columns.
    column: usize,
    n: usize,
    /// The parameters of the next column.
    next: Option<Dual<2>>,
}

impl Tokens<'_> {
    /// Computes the token after the last known column, with the features of its values.
    fn advance(&mut self, values: Option<Dual<3>>) {
        let (of, n) = (self.of, self.n);
        let place = of.places.val().narrow(0, self.column, 1);
        let [_, width] = place.dims();
        let mut x: Dual<3> = place.reshape([1, 1, width]).expand([n, 1, width]).into();
        if let Some(values) = values {
            x = x + values;
        }
        if let Some(given) = &self.given {
            x = x + given.clone().reshape([n, 1, width]);
        }
        for (block, known) in of.blocks.iter().zip(&mut self.known) {
            x = block.forward(x, |qkv| {
                let [q, k, v] = [0, 1, 2].map(|third| {
                    qkv.clone().linear(|x: Tensor<3>| x.narrow(2, third * width, width))
                });
                let longer = |before: Dual<3>, own: Dual<3>| Dual::cat(vec![before, own], 1);
                let [keys, values] = match known.take() {
                    None => [k, v],
                    Some([keys, values]) => [longer(keys, k), longer(values, v)],
                };
                *known = Some([keys.clone(), values.clone()]);
                attend(q, keys, values, of.heads, None)
            });
        }
        self.next = Some(of.parameters(x, Some(self.column)));
    }
}

impl Columns for Tokens<'_> {
    fn next(&mut self) -> Dual<2> {
        let zeros = || Tensor::zeros([self.n, 1], &self.of.places.val().device()).into();
        self.next.clone().unwrap_or_else(zeros)
    }

    fn push(&mut self, column: Dual<2>) {
        let values = self.of.embed(column, Some(self.column));
        self.column += 1;
        if self.column < self.of.counts.len() {
            self.advance(Some(values));
        }
    }
}
