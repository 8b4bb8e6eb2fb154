//! Scaled dot-product attention over [`Dual`].

use crate::tensor::Dual;

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

/// Attention softmax(q kᵀ/√d) v of each head: queries `[n, tokens, heads · d]`, keys and values `[n, others, heads ·
/// d]`; returns the queries' shape (Vaswani et al. 2017, equation 1).
///
/// # Panics
/// If there are no heads, their number does not divide the last dimension, or shapes do not fit.
pub fn attention(q: Dual<3>, k: Dual<3>, v: Dual<3>, heads: usize) -> Dual<3> {
    if [&q, &k, &v].iter().all(|x| x.tangent.is_none()) {
        return tweedie_ops::attention(q.value, k.value, v.value, heads).into();
    }
    let [n, tokens, width] = q.dims();
    let head = width / heads;
    let split = |x: Dual<3>| {
        let [_, tokens, _] = x.dims();
        x.reshape([n, tokens, heads, head]).swap_dims(1, 2)
    };
    // Scaling the smaller factor is cheaper than scaling the scores.
    let q = split(q).mul_scalar(1.0 / (head as f64).sqrt());
    let mixed = q.matmul(split(k).swap_dims(2, 3)).softmax(3).matmul(split(v));
    mixed.swap_dims(1, 2).reshape([n, tokens, width])
}
