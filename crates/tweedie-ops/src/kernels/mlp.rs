//! Linear layers with activations, one after the other: y = f_L(W_L … f₁(W₁ x + b₁) … + b_L) + r.
//!
//! Some rows go through all layers before the next ones do, so that values between two layers stay in the cache, and
//! threads synchronise once for all layers. A backward pass needs each layer's input and the slopes f′ of its
//! activation; the slopes, computed with the values, are overwritten by the gradients before the activation.

use super::activation::{self, Activation};
use super::gemm::{Epilogue, Packed, Reach, Rows, Shared, Source, product};
use super::linear::{Linear, Outer, SERIAL, weight_gradients};
use super::{each, elements, vectorized, with_scratch};
use crate::pool::Buffer;
use std::sync::Arc;

/// One layer.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// `[output, input]`.
    pub weight: &'a [f32],
    /// `[output]`.
    pub bias: Option<&'a [f32]>,
    /// Its width.
    pub output: usize,
    /// Its activation.
    pub activation: Activation,
    /// The number of inputs, the first ones, that each output depends on, if not all; the weight of others counts as
    /// zero.
    pub reach: Option<&'a [usize]>,
}

/// Layers and the rows that go through them.
#[derive(Debug, Clone)]
pub struct Mlp<'a> {
    /// The number of rows.
    pub rows: usize,
    /// The width of the first layer's input.
    pub input: usize,
    /// The layers in their order, at least one.
    pub layers: Vec<Layer<'a>>,
}

/// The record of a layer for the backward pass.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Its output, `[rows, output]`; none for the last layer.
    output: Option<Arc<Buffer>>,
    /// The slopes of its activation, `[rows, output]`, if it has one.
    slope: Option<Arc<Buffer>>,
}

/// The gradients to compute.
#[derive(Debug, Clone)]
pub struct GradientFlags {
    /// Whether to compute the gradient of x.
    pub input: bool,
    /// Whether to compute the gradient of the weight, for each layer.
    pub weights: Vec<bool>,
    /// Whether to compute the gradient of the bias, for each layer.
    pub biases: Vec<bool>,
}

/// The computed gradients.
#[derive(Debug)]
pub struct Gradients {
    /// The gradient of x, `[rows, input]`.
    pub input: Option<Buffer>,
    /// The gradients of the weights, `[output, input]`.
    pub weights: Vec<Option<Buffer>>,
    /// The gradients of the biases, `[output]`.
    pub biases: Vec<Option<Buffer>>,
}

/// Most rows of a task.
const MOST: usize = 96;

impl Mlp<'_> {
    /// The sizes of the layers.
    pub fn sizes(&self) -> Vec<Linear> {
        let mut input = self.input;
        let size = |layer: &Layer| {
            let linear = Linear { rows: self.rows, input, output: layer.output };
            input = layer.output;
            linear
        };
        self.layers.iter().map(size).collect()
    }

    fn output(&self) -> usize {
        self.layers.last().map_or(self.input, |layer| layer.output)
    }

    /// Calls `work` for each task, with its range of rows and its number.
    fn tiles(&self, work: impl Fn(std::ops::Range<usize>, usize) + Sync) {
        let each_takes = self.tile();
        let tasks = (0..self.rows).step_by(each_takes).enumerate();
        each(self.products() >= SERIAL, tasks, |(task, first)| {
            work(first..(first + each_takes).min(self.rows), task);
        });
    }

    /// Rows of a task: a multiple of the register tile, with enough tasks that all threads end together.
    fn tile(&self) -> usize {
        self.rows.div_ceil(32).next_multiple_of(12).clamp(12, MOST)
    }

    /// The number of multiplications of a forward pass.
    fn products(&self) -> usize {
        self.sizes().iter().map(|size| size.rows * size.input * size.output).sum()
    }

    fn widest(&self) -> usize {
        self.layers.iter().map(|layer| layer.output).max().unwrap_or(0)
    }

    /// Computes y, without a record.
    pub fn forward(&self, x: &[f32], residual: Option<&[f32]>, y: &mut [f32]) {
        self.run(x, residual, &[], y);
    }

    /// Computes y, and the record for the backward pass.
    pub fn record(&self, x: &[f32], residual: Option<&[f32]>, y: &mut [f32]) -> Vec<Record> {
        let last = self.layers.len() - 1;
        let place = |wanted: bool, width: usize| wanted.then(|| Buffer::new(self.rows * width));
        let layers = self.layers.iter().enumerate();
        let mut places: Vec<[Option<Buffer>; 2]> = layers
            .map(|(l, layer)| {
                let bends = layer.activation != Activation::None;
                [place(l < last, layer.output), place(bends, layer.output)]
            })
            .collect();
        let shares: Vec<[Option<Shared>; 2]> =
            places.iter_mut().map(|both| both.each_mut().map(shared)).collect();
        self.run(x, residual, &shares, y);
        let keep = |[output, slope]: [Option<Buffer>; 2]| Record {
            output: output.map(Arc::new),
            slope: slope.map(Arc::new),
        };
        places.into_iter().map(keep).collect()
    }

    /// Computes y. `places` are the buffers of each layer's output and slopes, for those to keep.
    fn run(
        &self,
        x: &[f32],
        residual: Option<&[f32]>,
        places: &[[Option<Shared>; 2]],
        y: &mut [f32],
    ) {
        self.check(x, y);
        assert!(residual.is_none_or(|residual| residual.len() == y.len()));
        let sizes = self.sizes();
        let matrices = Packed::all(self.layers.iter().zip(&sizes).map(|(layer, size)| {
            let columns = (size.output, size.input as isize);
            let depth = [(1, 0), (1, 0), (size.input, 1)];
            (layer.weight, Source { origin: 0, depth, columns }, layer.reach.map(Reach::Columns))
        }));
        let y = Shared::new(y);
        let last = self.layers.len() - 1;
        self.tiles(|rows, _| {
            let count = rows.len();
            let most = count * self.widest();
            with_scratch(3 * most, |scratch| {
                let (before, between) = scratch.split_at_mut(most);
                let between = Shared::new(between);
                let mut input = &x[rows.start * self.input..rows.end * self.input];
                for (l, (layer, size)) in self.layers.iter().zip(&sizes).enumerate() {
                    let (at, len) = (rows.start * size.output, count * size.output);
                    let [kept, slope] = places.get(l).copied().unwrap_or_default();
                    let place = if l == last { Some(y) } else { kept };
                    let output = match place {
                        // SAFETY: every task has its own rows.
                        Some(place) => unsafe { place.part(at, len) },
                        // SAFETY: the scratch belongs to this task; input and output are in different halves.
                        None => unsafe { between.part(l % 2 * most, len) },
                    };
                    let added = residual.filter(|_| l == last).map(|r| &r[at..][..len]);
                    let epilogue = Epilogue { bias: layer.bias, ..Epilogue::default() };
                    if layer.activation == Activation::None {
                        let epilogue = Epilogue { residual: added, ..epilogue };
                        multiply(input, *size, &matrices[l], epilogue, output);
                    } else {
                        let z = &mut before[..len];
                        multiply(input, *size, &matrices[l], epilogue, z);
                        match slope {
                            Some(slope) => {
                                // SAFETY: every task has its own rows.
                                let slope = unsafe { slope.part(at, len) };
                                activation::values_and_slopes(layer.activation, z, output, slope);
                            }
                            None => activation::values_of(layer.activation, z, output),
                        }
                        for (y, added) in output.iter_mut().zip(added.unwrap_or_default()) {
                            *y += added;
                        }
                    }
                    input = output;
                }
            });
        });
    }

    fn check(&self, x: &[f32], y: &[f32]) {
        assert_eq!(x.len(), elements([self.rows, self.input]), "the input has another shape");
        assert_eq!(y.len(), elements([self.rows, self.output()]), "the output has another shape");
        for (layer, Linear { input, output, .. }) in self.layers.iter().zip(self.sizes()) {
            let (weight, bias) = (layer.weight.len(), layer.bias.map(<[f32]>::len));
            assert_eq!(weight, elements([output, input]), "a weight has another shape");
            assert!(bias.is_none_or(|len| len == output), "a bias has another length");
            let fits = |reach: &[usize]| reach.len() == output && reach.iter().all(|k| *k <= input);
            assert!(
                layer.reach.is_none_or(fits),
                "reaches have another length, or exceed the input"
            );
        }
    }

    /// Computes the gradients from x, the record of [`Mlp::record`], and dy. The gradient of the residual is dy.
    pub fn backward(
        &self,
        x: &[f32],
        kept: Vec<Record>,
        dy: &[f32],
        wanted: &GradientFlags,
    ) -> Gradients {
        self.check(x, dy);
        let (sizes, last) = (self.sizes(), self.layers.len() - 1);
        let outputs: Vec<Option<Arc<Buffer>>> =
            kept.iter().map(|kept| kept.output.clone()).collect();
        // The gradients before the activations, in place of the slopes. Before a last layer without an activation it is
        // dy.
        let own = |slope: Arc<Buffer>| Arc::try_unwrap(slope).unwrap_or_else(|s| Buffer::copy(&s));
        let mut inner: Vec<Option<Buffer>> = kept
            .into_iter()
            .zip(&sizes)
            .enumerate()
            .map(|(l, (kept, size))| match kept.slope {
                Some(slope) => Some(own(slope)),
                None => (l < last).then(|| Buffer::new(size.rows * size.output)),
            })
            .collect();
        let tasks = self.rows.div_ceil(self.tile());
        let place = |wanted: bool, len: usize| wanted.then(|| Buffer::new(len));
        let mut dx = place(wanted.input, x.len());
        let mut sums: Vec<Option<Buffer>> = sizes
            .iter()
            .zip(&wanted.biases)
            .map(|(size, wanted)| place(*wanted, tasks * size.output))
            .collect();
        self.descend(dy, &mut inner, &mut dx, &mut sums);
        let input = |l: usize| match l.checked_sub(1) {
            Some(before) => outputs[before].as_ref().map_or(&[][..], |output| &output[..]),
            None => x,
        };
        let layers = sizes.iter().enumerate().filter(|(l, _)| wanted.weights[*l]);
        let layers = layers.map(|(l, size)| Outer {
            layer: *size,
            x: input(l),
            dy: inner[l].as_deref().unwrap_or(dy),
            reach: self.layers[l].reach,
        });
        let mut weights = weight_gradients(&layers.collect::<Vec<_>>()).into_iter();
        let weights =
            wanted.weights.iter().map(|wanted| if *wanted { weights.next() } else { None });
        let biases = sums
            .into_iter()
            .zip(&sizes)
            .map(|(sums, size)| sums.map(|sums| total(&sums, size.output)));
        Gradients { input: dx, weights: weights.collect(), biases: biases.collect() }
    }

    /// Runs from the last layer to the first: computes the gradients before activations in `inner`, which holds the
    /// slopes, dx, and sums of `inner` over the rows of each task.
    fn descend(
        &self,
        dy: &[f32],
        inner: &mut [Option<Buffer>],
        dx: &mut Option<Buffer>,
        sums: &mut [Option<Buffer>],
    ) {
        let sizes = self.sizes();
        let down = if dx.is_some() { 0 } else { 1 };
        let matrices =
            Packed::all(self.layers.iter().zip(&sizes).skip(down).map(|(layer, size)| {
                let depth = [(1, 0), (1, 0), (size.output, size.input as isize)];
                let source = Source { origin: 0, depth, columns: (size.input, 1) };
                (layer.weight, source, layer.reach.map(Reach::Rows))
            }));
        let inner: Vec<Option<Shared>> = inner.iter_mut().map(shared).collect();
        let sums: Vec<Option<Shared>> = sums.iter_mut().map(shared).collect();
        let dx = dx.as_deref_mut().map(Shared::new);
        let bends = |l: usize| self.layers[l].activation != Activation::None;
        self.tiles(|rows, task| {
            let count = rows.len();
            with_scratch(count * self.widest(), |scratch| {
                for (l, size) in sizes.iter().enumerate().rev() {
                    let (at, len) = (rows.start * size.output, count * size.output);
                    // SAFETY: every task has its own rows; nothing else holds this layer's.
                    let part = inner[l].map(|place| unsafe { place.part(at, len) });
                    let dz = match part {
                        Some(slope) if bends(l) => {
                            let from = if l + 1 == sizes.len() {
                                &dy[at..][..len]
                            } else {
                                &scratch[..len]
                            };
                            scale(slope, from);
                            &*slope
                        }
                        Some(dz) => &*dz,
                        None => &dy[at..][..len],
                    };
                    if let Some(sums) = sums[l] {
                        // SAFETY: every task has its own row of the sums.
                        sum_columns(dz, unsafe { sums.part(task * size.output, size.output) });
                    }
                    if l < down {
                        continue;
                    }
                    let (at, len) = (rows.start * size.input, count * size.input);
                    let to = match l.checked_sub(1) {
                        None => dx,
                        Some(before) if bends(before) => None,
                        Some(before) => inner[before],
                    };
                    let to = match to {
                        // SAFETY: every task has its own rows; nothing else holds this layer's.
                        Some(to) => unsafe { to.part(at, len) },
                        None => &mut scratch[..len],
                    };
                    let size = Linear { input: size.output, output: size.input, ..*size };
                    multiply(dz, size, &matrices[l - down], Epilogue::default(), to);
                }
            });
        });
    }
}

fn shared(place: &mut Option<Buffer>) -> Option<Shared<'_>> {
    place.as_deref_mut().map(Shared::new)
}

/// Multiplies all rows of x by a matrix, with the widths `size`.
fn multiply(x: &[f32], size: Linear, matrix: &Packed, epilogue: Epilogue, y: &mut [f32]) {
    let count = y.len() / size.output.max(1);
    let offsets: Vec<usize> = (0..count).map(|row| row * size.input).collect();
    let out: Vec<usize> = (0..count).map(|row| row * size.output).collect();
    let rows = Rows { x, offsets: &offsets, runs: &[0], len: size.input };
    // SAFETY: y is borrowed exclusively.
    unsafe { product(rows, matrix.matrix(0), epilogue, Shared::new(y), &out) };
}

vectorized! {
    /// y = y x, element by element.
    fn scale<'a>(simd: S, y: &'a mut [f32], x: &'a [f32]) -> () {
        let (x, x_tail) = S::as_simd_f32s(x);
        let (y, y_tail) = S::as_mut_simd_f32s(y);
        for (y, x) in y.iter_mut().zip(x) {
            *y = simd.mul_f32s(*y, *x);
        }
        let tail = simd.mul_f32s(simd.partial_load_f32s(y_tail), simd.partial_load_f32s(x_tail));
        simd.partial_store_f32s(y_tail, tail);
    }
}

vectorized! {
    /// `sums` = the sum of x's rows.
    fn sum_columns<'a>(simd: S, x: &'a [f32], sums: &'a mut [f32]) -> () {
        sums.fill(0.0);
        for x in x.chunks_exact(sums.len().max(1)) {
            let (x, x_tail) = S::as_simd_f32s(x);
            let (sums, tail) = S::as_mut_simd_f32s(&mut *sums);
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = simd.add_f32s(*sum, *x);
            }
            let both = simd.add_f32s(simd.partial_load_f32s(tail), simd.partial_load_f32s(x_tail));
            simd.partial_store_f32s(tail, both);
        }
    }
}

/// The sum of the rows of `sums`.
fn total(sums: &[f32], width: usize) -> Buffer {
    let mut all = vec![0.0f64; width];
    for row in sums.chunks_exact(width.max(1)) {
        all.iter_mut().zip(row).for_each(|(all, sum)| *all += f64::from(*sum));
    }
    let mut total = Buffer::new(width);
    total.iter_mut().zip(all).for_each(|(total, all)| *total = all as f32);
    total
}
