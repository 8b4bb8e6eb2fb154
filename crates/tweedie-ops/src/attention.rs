//! Scaled dot-product attention.

use crate::kernels::attention::Attention;
use crate::operation::{Array, Operation, apply, given, input, is_ours};
use crate::pool::Buffer;
use burn::tensor::{Bool, Tensor, activation};
use burn_flex::FlexTensor;

/// Attention softmax(q kᵀ/√d) v of each head: queries `[n, tokens, heads · d]`, keys and values `[n, others, heads ·
/// d]`, to the queries' shape.
///
/// # Panics
/// If shapes do not fit.
pub fn attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, heads: usize) -> Tensor<3> {
    if is_ours(&q) && k.dims()[1] > 0 {
        return apply(Heads(heads), [input(q), input(k), input(v)]);
    }
    let [n, tokens, width] = q.dims();
    let head = width / heads;
    let split = |x: Tensor<3>| {
        let [_, tokens, _] = x.dims();
        x.reshape([n, tokens, heads, head]).swap_dims(1, 2)
    };
    let q = split(q).mul_scalar(1.0 / (head as f64).sqrt());
    let weights = activation::softmax(q.matmul(split(k).swap_dims(2, 3)), 3);
    weights.matmul(split(v)).swap_dims(1, 2).reshape([n, tokens, width])
}

/// [`attention`] with queries, keys and values of the same tokens side by side, `[n, tokens, 3 · heads · d]`.
///
/// # Panics
/// If shapes do not fit.
pub fn self_attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let [_, tokens, all] = qkv.dims();
    let width = all / 3;
    assert_eq!(all, 3 * width, "queries, keys and values are of one width");
    if is_ours(&qkv) && tokens > 0 {
        return apply(Thirds { heads, causal: false }, [input(qkv)]);
    }
    let third = |k: usize| qkv.clone().narrow(2, k * width, width);
    attention(third(0), third(1), third(2), heads)
}

/// [`self_attention`] of which each token reads the tokens up to itself alone.
///
/// # Panics
/// If shapes do not fit.
pub fn causal_self_attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let [n, tokens, all] = qkv.dims();
    let width = all / 3;
    assert_eq!(all, 3 * width, "queries, keys and values are of one width");
    if is_ours(&qkv) && tokens > 0 {
        return apply(Thirds { heads, causal: true }, [input(qkv)]);
    }
    let third = |k: usize| {
        let third = qkv.clone().narrow(2, k * width, width);
        third.reshape([n, tokens, heads, width / heads]).swap_dims(1, 2)
    };
    let q = third(0).mul_scalar(1.0 / ((width / heads) as f64).sqrt());
    let later = Tensor::<2, Bool>::tril_mask([tokens, tokens], 0, &qkv.device());
    let later = later.reshape([1, 1, tokens, tokens]).expand([n, heads, tokens, tokens]);
    let scores = q.matmul(third(1).swap_dims(2, 3)).mask_fill(later, f64::NEG_INFINITY);
    let mixed = activation::softmax(scores, 3).matmul(third(2));
    mixed.swap_dims(1, 2).reshape([n, tokens, width])
}

#[derive(Debug)]
struct Thirds {
    heads: usize,
    causal: bool,
}

impl Thirds {
    fn sizes(&self, qkv: &Array) -> Attention {
        let [samples, tokens, pitch] = qkv.shape();
        let (width, &Self { heads, causal }) = (pitch / 3, self);
        assert!(width % heads == 0, "{heads} heads do not divide {width}");
        let head = width / heads;
        Attention { samples, queries: tokens, keys: tokens, heads, head, pitch, causal }
    }

    fn run(&self, [qkv]: [Option<Array>; 1]) -> (Array, FlexTensor, Buffer) {
        let qkv = given(qkv);
        let sizes = self.sizes(&qkv);
        let mut o = Buffer::new(qkv.values().len() / 3);
        let mut logarithms = Buffer::new(sizes.samples * sizes.heads * sizes.queries);
        sizes.forward(sizes.thirds(qkv.values()), &mut o, &mut logarithms);
        let o = o.into_tensor([sizes.samples, sizes.queries, sizes.heads * sizes.head]);
        (qkv, o, logarithms)
    }
}

impl Operation<1> for Thirds {
    /// The input, the output and the logarithms.
    type Saved = [Array; 3];

    fn forward(&self, inputs: [Option<Array>; 1]) -> FlexTensor {
        self.run(inputs).1
    }

    fn record(&self, inputs: [Option<Array>; 1]) -> (FlexTensor, [Array; 3]) {
        let (qkv, o, logarithms) = self.run(inputs);
        let len = logarithms.len();
        let logarithms = Array::new(logarithms.into_tensor([len]));
        (o.clone(), [qkv, Array::new(o), logarithms])
    }

    fn backward(
        &self,
        [qkv, o, logarithms]: [Array; 3],
        dy: Array,
        _wanted: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        let mut dqkv = Buffer::new(qkv.values().len());
        let output = (o.values(), logarithms.values());
        let sizes = self.sizes(&qkv);
        sizes.backward_thirds(qkv.values(), output, dy.values(), &mut dqkv);
        [Some(dqkv.into_tensor(qkv.all_sizes()))]
    }
}

#[derive(Debug)]
struct Heads(usize);

impl Heads {
    fn sizes(&self, q: &Array, k: &Array, v: &Array) -> Attention {
        let ([samples, queries, width], [_, keys, _]) = (q.shape(), k.shape());
        assert!(k.shape() == [samples, keys, width] && k.shape::<3>() == v.shape());
        assert!(width % self.0 == 0, "{} heads do not divide {width}", self.0);
        let (heads, head) = (self.0, width / self.0);
        Attention { samples, queries, keys, heads, head, pitch: width, causal: false }
    }

    fn run(&self, inputs: [Option<Array>; 3]) -> ([Array; 3], Buffer, Buffer, Attention) {
        let [q, k, v] = inputs.map(given);
        let sizes = self.sizes(&q, &k, &v);
        let mut o = Buffer::new(q.values().len());
        let mut logarithms = Buffer::new(sizes.samples * sizes.heads * sizes.queries);
        sizes.forward([q.values(), k.values(), v.values()], &mut o, &mut logarithms);
        ([q, k, v], o, logarithms, sizes)
    }
}

impl Operation<3> for Heads {
    /// The inputs, the output and the logarithms.
    type Saved = ([Array; 3], Array, Array);

    fn forward(&self, inputs: [Option<Array>; 3]) -> FlexTensor {
        let ([q, ..], o, ..) = self.run(inputs);
        o.into_tensor(q.all_sizes())
    }

    fn record(&self, inputs: [Option<Array>; 3]) -> (FlexTensor, Self::Saved) {
        let (inputs, o, logarithms, _) = self.run(inputs);
        let o = o.into_tensor(inputs[0].all_sizes());
        let len = logarithms.len();
        let logarithms = Array::new(logarithms.into_tensor([len]));
        (o.clone(), (inputs, Array::new(o), logarithms))
    }

    fn backward(
        &self,
        ([q, k, v], o, logarithms): Self::Saved,
        dy: Array,
        _wanted: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let sizes = self.sizes(&q, &k, &v);
        let [mut dq, mut dk, mut dv] = [&q, &k, &v].map(|x| Buffer::new(x.values().len()));
        sizes.backward(
            [q.values(), k.values(), v.values()],
            (o.values(), logarithms.values()),
            dy.values(),
            [&mut dq, &mut dk, &mut dv],
        );
        [(dq, &q), (dk, &k), (dv, &v)].map(|(d, x)| Some(d.into_tensor(x.all_sizes())))
    }
}
