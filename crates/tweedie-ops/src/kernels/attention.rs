//! Scaled dot-product attention, forward and backward.
//!
//! For each sample and head, with rows q, k, v of d numbers (Vaswani et al. 2017, equation 1),
//!
//! > s_ij = q_i·k_j/√d,  p_ij = exp(s_ij − l_i) with l_i = ln Σ_j exp s_ij,  o_i = Σ_j p_ij v_j.
//!
//! Backward, p is computed again from l, and with δ_i = do_i·o_i and ds_ij = p_ij (do_i·v_j − δ_i)/√d,
//!
//! > dq_i = Σ_j ds_ij k_j,  dk_j = Σ_i ds_ij q_i,  dv_j = Σ_i p_ij do_i
//!
//! (Dao et al. 2022, appendix B). Only the scores of a block of queries are ever in memory.
//!
//! Causal attention, p_ij = 0 of j > i, computes the scores of a block of queries with the keys up to its last query
//! alone: half of all, and half of a block.

use super::gemm::{
    Epilogue, Matrix, Packed, Rows, Segment, Shared, Side, Source, accumulate, product,
};
use super::{each, elements, inside, math, vectorized};
use crate::pool::Buffer;

/// Queries of a block.
const BLOCK: usize = 48;

/// The sizes of an attention: o is `[samples, tokens, heads · head]`, and q, k and v too, or rows of longer ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attention {
    /// Samples.
    pub samples: usize,
    /// Queries of a sample.
    pub queries: usize,
    /// Keys, and values, of a sample.
    pub keys: usize,
    /// Heads.
    pub heads: usize,
    /// The numbers of a head.
    pub head: usize,
    /// The stride from a token's q, k or v to the next: heads · head, or more in longer rows.
    pub pitch: usize,
    /// Whether query i reads the keys up to i alone; there are as many keys as queries.
    pub causal: bool,
}

/// The offsets of the first rows of a head of a sample.
#[derive(Clone, Copy)]
struct Head {
    query: usize,
    key: usize,
    output: usize,
    /// The offset of its first logarithm.
    logarithm: usize,
}

impl Attention {
    /// The stride from a token's output to the next.
    fn row(&self) -> usize {
        elements([self.heads, self.head])
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head as f32).sqrt()
    }

    fn head(&self, task: usize) -> Head {
        let (sample, head) = (task / self.heads, task % self.heads);
        let start = head * self.head;
        Head {
            query: sample * self.queries * self.pitch + start,
            key: sample * self.keys * self.pitch + start,
            output: sample * self.queries * self.row() + start,
            logarithm: task * self.queries,
        }
    }

    /// The matrix `[head, keys]` of a head's rows.
    fn across(&self, x: &[f32], head: Head) -> Packed {
        let depth = [(1, 0), (1, 0), (self.head, 1)];
        let columns = (self.keys, self.pitch as isize);
        Packed::new(x, Source { origin: head.key as isize, depth, columns })
    }

    /// The matrix `[keys, head]` of a head's rows.
    fn along(&self, x: &[f32], head: Head) -> Packed {
        let depth = [(1, 0), (1, 0), (self.keys, self.pitch as isize)];
        Packed::new(x, Source { origin: head.key as isize, depth, columns: (self.head, 1) })
    }

    /// Panics unless all slices hold all rows.
    fn check(&self, [q, k, v]: [&[f32]; 3], outputs: &[&[f32]], logarithms: &[f32]) {
        assert!(!self.causal || self.queries == self.keys, "queries and keys of other tokens");
        assert!(self.pitch >= self.row(), "rows overlap");
        let there = |x: &[f32], tokens: usize| match elements([self.samples, tokens]) {
            0 => true,
            rows => inside(elements([rows - 1, self.pitch]), self.row(), x.len()),
        };
        assert!(there(q, self.queries), "the last query lies outside its slice");
        assert!(there(k, self.keys) && there(v, self.keys), "the last key lies outside its slice");
        let len = elements([self.samples, self.queries, self.row()]);
        assert!(outputs.iter().all(|o| o.len() == len), "an output has another shape");
        let len = elements([self.samples, self.heads, self.queries]);
        assert_eq!(logarithms.len(), len, "the logarithms have another shape");
    }

    /// Computes o and the logarithms l `[samples, heads, queries]` from q, k and v.
    pub fn forward(&self, [q, k, v]: [&[f32]; 3], o: &mut [f32], logarithms: &mut [f32]) {
        self.check([q, k, v], &[o], logarithms);
        let all = self.samples * self.heads;
        // Few heads are cut by their queries.
        let blocks = self.queries.div_ceil(BLOCK);
        let cuts = (8 / all.max(1)).clamp(1, blocks.max(1));
        let (o, logarithms) = (Shared::new(o), Shared::new(logarithms));
        each(all * cuts > 1, 0..all * cuts, |task| {
            let (head, cut) = (self.head(task / cuts), task % cuts);
            let (keys, values) = (self.across(k, head), self.along(v, head));
            let mut scores = Buffer::new(BLOCK.min(self.queries) * self.keys);
            for block in cut * blocks / cuts..(cut + 1) * blocks / cuts {
                let (first, count) = self.block(block);
                let queries = self.places(head.query, self.pitch, first, count);
                let read = self.read(first, count);
                self.scores(q, &queries, keys.matrix(0).first_columns(read), &mut scores);
                // SAFETY: every task has its own queries of its own head.
                let l = unsafe { logarithms.part(head.logarithm + first, count) };
                self.softmax(&mut scores[..count * self.keys], first, l);
                let offsets: Vec<usize> = (0..count).map(|i| i * self.keys).collect();
                let out = self.places(head.output, self.row(), first, count);
                let p = Rows { x: &scores, offsets: &offsets, runs: &[0], len: read };
                // SAFETY: as above.
                unsafe {
                    product(p, values.matrix(0).first_rows(read), Epilogue::default(), o, &out)
                };
            }
        });
    }

    /// The first query of a block, and its number of queries.
    fn block(&self, block: usize) -> (usize, usize) {
        (block * BLOCK, BLOCK.min(self.queries - block * BLOCK))
    }

    /// The number of keys, the first ones, that the queries of a block read.
    fn read(&self, first: usize, count: usize) -> usize {
        if self.causal { first + count } else { self.keys }
    }

    /// Turns the scores of the queries from `first` on into probabilities, in place, and writes their logarithms.
    /// Scores that a query does not read become zero, up to those that its block reads.
    fn softmax(&self, scores: &mut [f32], first: usize, logarithms: &mut [f32]) {
        if !self.causal {
            return softmax(scores, self.keys, self.scale(), logarithms);
        }
        let read = first + logarithms.len();
        let rows = scores.chunks_exact_mut(self.keys).zip(logarithms.chunks_exact_mut(1));
        for (i, (row, logarithm)) in rows.enumerate() {
            let (own, later) = row[..read].split_at_mut(first + i + 1);
            softmax(own, own.len(), self.scale(), logarithm);
            later.fill(0.0);
        }
    }

    /// Turns the scores of the queries from `first` on into probabilities, and products do·v into gradients of scores;
    /// zeros as in [`Attention::softmax`].
    fn differentiate(
        &self,
        [p, ds]: [&mut [f32]; 2],
        first: usize,
        logarithms: &[f32],
        deltas: &[f32],
    ) {
        if !self.causal {
            return differentiate(p, ds, self.keys, self.scale(), logarithms, deltas);
        }
        let read = first + logarithms.len();
        let rows = p.chunks_exact_mut(self.keys).zip(ds.chunks_exact_mut(self.keys));
        let sums = logarithms.chunks_exact(1).zip(deltas.chunks_exact(1));
        for (i, ((p, ds), (logarithm, delta))) in rows.zip(sums).enumerate() {
            let (p, later) = p[..read].split_at_mut(first + i + 1);
            later.fill(0.0);
            let (ds, later) = ds[..read].split_at_mut(first + i + 1);
            later.fill(0.0);
            differentiate(p, ds, p.len(), self.scale(), logarithm, delta);
        }
    }

    /// The offsets of the rows of a block.
    fn places(&self, head: usize, pitch: usize, first: usize, count: usize) -> Vec<usize> {
        (first..first + count).map(|i| head + i * pitch).collect()
    }

    /// Writes the products of rows of x with all columns of a matrix to the rows of `to`.
    fn scores(&self, x: &[f32], places: &[usize], matrix: Matrix, to: &mut [f32]) {
        let out: Vec<usize> = (0..places.len()).map(|i| i * self.keys).collect();
        let rows = Rows { x, offsets: places, runs: &[0], len: self.head };
        // SAFETY: the rows of `to` are borrowed exclusively.
        unsafe { product(rows, matrix, Epilogue::default(), Shared::new(to), &out) };
    }

    /// Computes dq, dk and dv from q, k and v in separate arrays, o, the logarithms and do.
    pub fn backward(
        &self,
        inputs: [&[f32]; 3],
        output: (&[f32], &[f32]),
        d: &[f32],
        gradients: [&mut [f32]; 3],
    ) {
        assert_eq!(self.pitch, self.row());
        assert!(inputs.iter().zip(&gradients).all(|(x, dx)| x.len() == dx.len()));
        self.backward_shared(inputs, output, d, gradients.map(Shared::new));
    }

    /// [`Attention::backward`] for q, k and v as thirds of the rows of one array; the gradients have the same layout.
    pub fn backward_thirds(
        &self,
        qkv: &[f32],
        output: (&[f32], &[f32]),
        d: &[f32],
        dqkv: &mut [f32],
    ) {
        assert_eq!(self.pitch, elements([3, self.row()]));
        assert_eq!(dqkv.len(), qkv.len());
        let all = Shared::new(dqkv);
        let gradients = [0, 1, 2].map(|k| all.after(k * self.row()));
        self.backward_shared(self.thirds(qkv), output, d, gradients);
    }

    /// q, k and v as thirds of each row.
    pub fn thirds<'a>(&self, qkv: &'a [f32]) -> [&'a [f32]; 3] {
        [0, 1, 2].map(|k| qkv.get(k * self.row()..).unwrap_or_default())
    }

    fn backward_shared(
        &self,
        [q, k, v]: [&[f32]; 3],
        (o, logarithms): (&[f32], &[f32]),
        d: &[f32],
        [dq, dk, dv]: [Shared; 3],
    ) {
        self.check([q, k, v], &[o, d], logarithms);
        let all = self.samples * self.heads;
        each(all > 1, 0..all, |task| {
            let head = self.head(task);
            let (keys_across, values_across) = (self.across(k, head), self.across(v, head));
            let keys_along = self.along(k, head);
            let block = BLOCK.min(self.queries) * self.keys;
            let (mut p, mut ds) = (Buffer::new(block), Buffer::new(block));
            let mut sums = [0, 1].map(|_| Buffer::zeros(self.keys * self.head));
            let mut deltas = [0.0; BLOCK];
            for block in 0..self.queries.div_ceil(BLOCK) {
                let (first, count) = self.block(block);
                let queries = self.places(head.query, self.pitch, first, count);
                let outputs = self.places(head.output, self.row(), first, count);
                let read = self.read(first, count);
                self.scores(q, &queries, keys_across.matrix(0).first_columns(read), &mut p);
                self.scores(d, &outputs, values_across.matrix(0).first_columns(read), &mut ds);
                for (delta, &at) in deltas.iter_mut().zip(&outputs) {
                    *delta = dot(&d[at..][..self.head], &o[at..][..self.head]);
                }
                let l = &logarithms[head.logarithm + first..][..count];
                self.differentiate([&mut p, &mut ds], first, l, &deltas);
                let offsets: Vec<usize> = (0..count).map(|i| i * self.keys).collect();
                let rows = Rows { x: &ds, offsets: &offsets, runs: &[0], len: read };
                let keys = keys_along.matrix(0).first_rows(read);
                // SAFETY: every task has its own head.
                unsafe { product(rows, keys, Epilogue::default(), dq, &queries) };
                let [for_keys, for_values] = &mut sums;
                let query = head.query + first * self.pitch;
                let block = (count, read);
                self.accumulate(&ds, (q, self.pitch, query), block, for_keys);
                let output = head.output + first * self.row();
                self.accumulate(&p, (d, self.row(), output), block, for_values);
            }
            for (sum, to) in sums.iter().zip([dk, dv]) {
                for (j, row) in sum.chunks_exact(self.head).enumerate() {
                    // SAFETY: every task has its own head.
                    let to = unsafe { to.part(head.key + j * self.pitch, self.head) };
                    to.copy_from_slice(row);
                }
            }
        });
    }

    /// Adds scoresᵀ x to `sum` for a block of rows and the keys that they read; x has an offset and a stride.
    fn accumulate(
        &self,
        scores: &[f32],
        (x, stride, offset): (&[f32], usize, usize),
        (count, read): (usize, usize),
        sum: &mut [f32],
    ) {
        let u = Side { x: scores, stride: self.keys, len: read };
        let v = Side { x, stride, len: self.head };
        let sum = &mut sum[..read * self.head];
        accumulate(u, v, &[Segment { u: 0, v: offset, rows: count }], sum);
    }
}

vectorized! {
    /// Turns rows of scores times `scale` into probabilities, in place; writes the logarithms of their normalisers.
    fn softmax<'a>(
        simd: S,
        scores: &'a mut [f32],
        width: usize,
        scale: f32,
        logarithms: &'a mut [f32],
    ) -> () {
        let factor = simd.splat_f32s(scale);
        for (row, logarithm) in scores.chunks_exact_mut(width).zip(logarithms) {
            let (vectors, tail) = S::as_mut_simd_f32s(row);
            let least = simd.splat_f32s(f32::NEG_INFINITY);
            let most = vectors.iter().fold(least, |most, x| simd.max_f32s(most, *x));
            let most = tail.iter().copied().fold(simd.reduce_max_f32s(most), f32::max);
            let shift = simd.splat_f32s(-scale * most);
            let mut sum = simd.splat_f32s(0.0);
            for x in &mut *vectors {
                *x = math::exp(simd, simd.mul_add_f32s(*x, factor, shift));
                sum = simd.add_f32s(sum, *x);
            }
            let mut last = 0.0;
            if !tail.is_empty() {
                let x = simd.mul_add_f32s(simd.partial_load_f32s(tail), factor, shift);
                simd.partial_store_f32s(tail, math::exp(simd, x));
                last = tail.iter().sum();
            }
            let total = simd.reduce_sum_f32s(sum) + last;
            *logarithm = scale * most + total.ln();
            let inverse = simd.splat_f32s(1.0 / total);
            for x in &mut *vectors {
                *x = simd.mul_f32s(*x, inverse);
            }
            if !tail.is_empty() {
                let x = simd.mul_f32s(simd.partial_load_f32s(tail), inverse);
                simd.partial_store_f32s(tail, x);
            }
        }
    }
}

vectorized! {
    /// Σ a b.
    fn dot<'a>(simd: S, a: &'a [f32], b: &'a [f32]) -> f32 {
        let ((a, a_tail), (b, b_tail)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
        let last = simd.mul_f32s(simd.partial_load_f32s(a_tail), simd.partial_load_f32s(b_tail));
        let sum = a.iter().zip(b).fold(last, |sum, (a, b)| simd.mul_add_f32s(*a, *b, sum));
        simd.reduce_sum_f32s(sum)
    }
}

vectorized! {
    /// Turns rows of scores into probabilities, and rows of products do·v into gradients of scores.
    fn differentiate<'a>(
        simd: S,
        p: &'a mut [f32],
        ds: &'a mut [f32],
        width: usize,
        scale: f32,
        logarithms: &'a [f32],
        deltas: &'a [f32],
    ) -> () {
        let scale = simd.splat_f32s(scale);
        let rows = p.chunks_exact_mut(width).zip(ds.chunks_exact_mut(width));
        for ((p, ds), (l, delta)) in rows.zip(logarithms.iter().zip(deltas)) {
            let [shift, delta] = [-l, *delta].map(|v| simd.splat_f32s(v));
            let (p, p_tail) = S::as_mut_simd_f32s(p);
            let (ds, ds_tail) = S::as_mut_simd_f32s(ds);
            for (p, ds) in p.iter_mut().zip(ds) {
                *p = math::exp(simd, simd.mul_add_f32s(*p, scale, shift));
                *ds = simd.mul_f32s(simd.mul_f32s(*p, scale), simd.sub_f32s(*ds, delta));
            }
            if !p_tail.is_empty() {
                let score = simd.partial_load_f32s(p_tail);
                let probability = math::exp(simd, simd.mul_add_f32s(score, scale, shift));
                let product = simd.sub_f32s(simd.partial_load_f32s(ds_tail), delta);
                let slope = simd.mul_f32s(simd.mul_f32s(probability, scale), product);
                simd.partial_store_f32s(p_tail, probability);
                simd.partial_store_f32s(ds_tail, slope);
            }
        }
    }
}
