//! Layers of a masked network on rows whose columns come one after the other.

use crate::kernels::activation::Activation;
use crate::kernels::sequence::{self as kernels, Units};
use crate::kernels::{SERIAL, each, with_scratch};
use crate::operation::{Array, from_plain, plain};
use crate::pool::Buffer;
use burn::tensor::Tensor;

/// What is known of the inputs of a layer: blocks of rows, `[inputs, width]` each, of which the first are known.
#[derive(Debug)]
struct Known {
    values: Vec<f32>,
    inputs: usize,
    count: usize,
}

/// A linear layer that reads known inputs.
#[derive(Debug)]
struct Layer {
    weight: Array,
    bias: Option<Array>,
    /// Which of the known inputs it reads.
    reads: usize,
}

/// Linear layers on rows whose columns come one after the other, without a recorded backward pass.
///
/// Layer 0 reads the columns that are known, layer k + 1 the units that are known of layer k, and the layer named
/// `direct` the columns. A unit that is computed reads all that is known of its layer's inputs.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use tweedie_ops::Sequence;
/// let device = Device::flex();
/// // Two outputs of two columns: output 0 reads none of them, output 1 the first.
/// let weight = Tensor::<2>::from_floats([[0.0, 0.0], [3.0, 0.0]], &device);
/// let bias = Tensor::<1>::from_floats([1.0, 2.0], &device);
/// let mut sequence = Sequence::new(1, vec![(weight, Some(bias))], None, None).unwrap();
/// let first = sequence.outputs(&[0]).into_scalar::<f32>();
/// sequence.push(Tensor::from_floats([[5.0]], &device));
/// let second = sequence.outputs(&[1]).into_scalar::<f32>();
/// assert_eq!([first, second], [1.0, 17.0]);
/// ```
#[derive(Debug)]
pub struct Sequence {
    rows: usize,
    /// The rows of a block.
    width: usize,
    layers: Vec<Layer>,
    /// Features of layer 0, `[rows, units]`.
    features: Option<Array>,
    known: Vec<Known>,
}

impl Sequence {
    /// Layers of weights `[out, in]` and biases `[out]`, then that named `direct`, on `rows` rows with features of
    /// layer 0, `[rows, out]` or `[1, out]`, of which no column is known. None if a weight or the features are not of
    /// single precision on the CPU, or are recorded for a backward pass.
    ///
    /// # Panics
    /// If shapes do not fit.
    pub fn new(
        rows: usize,
        layers: Vec<(Tensor<2>, Option<Tensor<1>>)>,
        direct: Option<Tensor<2>>,
        features: Option<Tensor<2>>,
    ) -> Option<Self> {
        let count = layers.len();
        let direct = direct.map(|weight| (weight, None, 0));
        let all = layers.into_iter().enumerate().map(|(k, (weight, bias))| (weight, bias, k));
        let layer = |(weight, bias, reads): (Tensor<2>, Option<Tensor<1>>, usize)| {
            let bias = match bias {
                Some(bias) => Some(plain(bias)?),
                None => None,
            };
            Some(Layer { weight: plain(weight)?, bias, reads })
        };
        let layers: Vec<Layer> = all.chain(direct).map(layer).collect::<Option<_>>()?;
        let features = match features {
            Some(features) => Some(plain(features.expand([rows as i64, -1]))?),
            None => None,
        };
        let width = kernels::width(rows);
        let blocks = rows.div_ceil(width);
        let known = layers[..count].iter().map(|layer| {
            let [_, inputs] = layer.weight.shape();
            Known { values: vec![0.0; blocks * inputs * width], inputs, count: 0 }
        });
        Some(Self { rows, width, known: known.collect(), layers, features })
    }

    /// Adds a column, `[rows, its number of values]`. False, and nothing is added, if it is recorded for a backward
    /// pass.
    ///
    /// # Panics
    /// If there are no such columns to come.
    pub fn push(&mut self, column: Tensor<2>) -> bool {
        let Some(column) = plain(column) else { return false };
        let ([rows, values], width, known) = (column.shape(), self.width, &mut self.known[0]);
        assert_eq!(rows, self.rows, "a column has a value of each row");
        assert!(values <= known.inputs - known.count, "there are no columns to come");
        for (row, of_row) in column.values().chunks_exact(values.max(1)).enumerate() {
            let start = (row / width) * known.inputs + known.count;
            for (j, value) in of_row.iter().enumerate() {
                known.values[(start + j) * width + row % width] = *value;
            }
        }
        known.count += values;
        true
    }

    /// Computes units of a hidden layer, the next ones that the layer after it reads, with an activation; `add` adds
    /// to them as many of the inputs that came last.
    ///
    /// # Panics
    /// If these are not the next units.
    pub fn hidden(&mut self, layer: usize, units: &[usize], activation: Activation, add: bool) {
        let (before, after) = self.known.split_at_mut(layer + 1);
        let (from, to, width) = (&before[layer], &mut after[0], self.width);
        assert!(units.len() <= to.inputs - to.count, "there are fewer units");
        assert!(!add || units.len() <= from.count, "there are fewer inputs to add");
        let of = &self.layers[layer];
        let features = self.features.as_ref().filter(|_| layer == 0);
        let (start, end) = (to.count * width, (to.count + units.len()) * width);
        let work = self.rows.saturating_mul(units.len() * (8 + from.count / 4));
        let blocks = to.values.chunks_mut((to.inputs * width).max(1)).enumerate();
        each(work >= SERIAL, blocks, |(block, to)| {
            let (x, y) = (from.block(block, width), &mut to[start..end]);
            of.fill(units, features, (block, width), y);
            of.units(units, from.count).add(width, x, y);
            kernels::activate(activation, y);
            if add {
                let last = &x[(from.count - units.len()) * width..];
                y.iter_mut().zip(last).for_each(|(y, x)| *y += x);
            }
        });
        to.count += units.len();
    }

    /// The outputs of the network with the numbers `units`, `[rows, units]`: the last layer's, plus `direct`'s.
    ///
    /// # Panics
    /// If there are fewer units.
    pub fn outputs(&self, units: &[usize]) -> Tensor<2> {
        let (count, last, width) = (units.len(), self.known.len() - 1, self.width);
        let mut y = Buffer::new(self.rows * count);
        let features = self.features.as_ref().filter(|_| last == 0);
        let reads = |layer: &Layer| &self.known[layer.reads];
        let inputs: usize = self.layers[last..].iter().map(|layer| reads(layer).count).sum();
        let work = self.rows.saturating_mul(count * (8 + inputs / 4));
        let blocks = y.chunks_mut((width * count).max(1)).enumerate();
        each(work >= SERIAL, blocks, |(block, y)| {
            with_scratch(count * width, |sums| {
                self.layers[last].fill(units, features, (block, width), sums);
                for layer in &self.layers[last..] {
                    let known = reads(layer);
                    layer.units(units, known.count).add(width, known.block(block, width), sums);
                }
                for (row, y) in y.chunks_exact_mut(count).enumerate() {
                    y.iter_mut().enumerate().for_each(|(j, y)| *y = sums[j * width + row]);
                }
            });
        });
        from_plain(y.into_tensor([self.rows, count]))
    }

    /// What is known of a layer's inputs, `[rows, their number]`.
    ///
    /// # Panics
    /// If there are fewer layers.
    pub fn known(&self, layer: usize) -> Tensor<2> {
        let (known, width) = (&self.known[layer], self.width);
        let mut y = Buffer::new(self.rows * known.count);
        for (row, y) in y.chunks_exact_mut(known.count.max(1)).enumerate() {
            let x = known.block(row / width, width);
            y.iter_mut().enumerate().for_each(|(j, y)| *y = x[j * width + row % width]);
        }
        from_plain(y.into_tensor([self.rows, known.count]))
    }
}

impl Known {
    /// The known inputs of a block.
    fn block(&self, block: usize, width: usize) -> &[f32] {
        &self.values[block * self.inputs * width..][..self.count * width]
    }
}

impl Layer {
    fn units<'a>(&'a self, units: &'a [usize], known: usize) -> Units<'a> {
        let [_, inputs] = self.weight.shape();
        Units { weight: self.weight.values(), inputs, units, known }
    }

    /// Writes the biases of units, and the features of rows, into a block `[units, width]`.
    fn fill(
        &self,
        units: &[usize],
        features: Option<&Array>,
        (block, width): (usize, usize),
        y: &mut [f32],
    ) {
        let bias = self.bias.as_ref().map(Array::values);
        for (unit, y) in units.iter().zip(y.chunks_exact_mut(width)) {
            y.fill(bias.map_or(0.0, |bias| bias[*unit]));
        }
        if let Some(features) = features {
            let [_, all] = features.shape();
            let rows = features.values().chunks_exact(all).skip(block * width).take(width);
            for (row, features) in rows.enumerate() {
                units.iter().enumerate().for_each(|(j, unit)| {
                    y[j * width + row] += features[*unit];
                });
            }
        }
    }
}
