//! Scaled dot-product attention over [`Dual`].

use super::Dual;

/// For each head, softmax(q kᵀ/√d) v: queries `[n, tokens, heads · d]`, keys and values `[n, others, heads · d]`, to the
/// queries' shape (Vaswani et al. 2017, equation 1).
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
