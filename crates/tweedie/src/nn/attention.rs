//! Scaled dot-product attention over [`Dual`].

use crate::tensor::Dual;
use burn::tensor::{Bool, Tensor};

/// A score that leaves no weight after a softmax.
const NEVER: f64 = -1e30;

/// Self-attention by [`attention`], for queries, keys and values side by side, `[n, tokens, 3 · heads · d]`.
///
/// # Panics
/// If there are no heads, or three times their number does not divide the last dimension.
pub fn self_attention(qkv: Dual<3>, heads: usize) -> Dual<3> {
    if qkv.tangent.is_none() {
        return tweedie_ops::self_attention(qkv.value, heads).into();
    }
    let [_, _, all] = qkv.dims();
    let third = |k: usize| qkv.clone().linear(|x| x.narrow(2, k * (all / 3), all / 3));
    attention(third(0), third(1), third(2), heads)
}

/// [`self_attention`] of which each token reads the tokens up to itself alone.
///
/// # Panics
/// As [`self_attention`].
pub fn causal_self_attention(qkv: Dual<3>, heads: usize) -> Dual<3> {
    if qkv.tangent.is_none() {
        return tweedie_ops::causal_self_attention(qkv.value, heads).into();
    }
    let [n, tokens, all] = qkv.dims();
    let third = |k: usize| qkv.clone().linear(|x| x.narrow(2, k * (all / 3), all / 3));
    let later = Tensor::<2, Bool>::tril_mask([tokens, tokens], 0, &qkv.value.device());
    let later = later.reshape([1, 1, tokens, tokens]).expand([n, heads, tokens, tokens]);
    attend(third(0), third(1), third(2), heads, Some(later))
}

/// Attention softmax(q kᵀ/√d) v of each head: queries `[n, tokens, heads · d]`, keys and values `[n, others, heads ·
/// d]`; returns the queries' shape (Vaswani et al. 2017, equation 1).
///
/// # Panics
/// If there are no heads, their number does not divide the last dimension, or shapes do not fit.
pub fn attention(q: Dual<3>, k: Dual<3>, v: Dual<3>, heads: usize) -> Dual<3> {
    if [&q, &k, &v].iter().all(|x| x.tangent.is_none()) {
        return tweedie_ops::attention(q.value, k.value, v.value, heads).into();
    }
    attend(q, k, v, heads, None)
}

/// Heads side by side as a dimension of their own, `[n, heads, tokens, width/heads]`.
fn split(x: Dual<3>, heads: usize) -> Dual<4> {
    let [n, tokens, width] = x.dims();
    x.reshape([n, tokens, heads, width / heads]).swap_dims(1, 2)
}

/// [`attention`] without a fused operation; keys that `later` marks for a query count for nothing.
pub(super) fn attend(
    q: Dual<3>,
    k: Dual<3>,
    v: Dual<3>,
    heads: usize,
    later: Option<Tensor<4, Bool>>,
) -> Dual<3> {
    let [n, tokens, width] = q.dims();
    // Scaling the smaller factor is cheaper than scaling the scores.
    let q = split(q, heads).mul_scalar(1.0 / ((width / heads) as f64).sqrt());
    let mut scores = q.matmul(split(k, heads).swap_dims(2, 3));
    if let Some(later) = later {
        let filled = |x: Tensor<4>, value: f64| x.mask_fill(later.clone(), value);
        scores = Dual {
            value: filled(scores.value, NEVER),
            tangent: scores.tangent.map(|d| filled(d, 0.0)),
            second: scores.second.map(|d| filled(d, 0.0)),
        };
    }
    let mixed = scores.softmax(3).matmul(split(v, heads));
    mixed.swap_dims(1, 2).reshape([n, tokens, width])
}
