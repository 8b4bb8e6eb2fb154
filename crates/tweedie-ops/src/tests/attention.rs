//! Attention of any size and its gradients.

use super::common::*;
use crate::kernels::attention::Attention;
use proptest::prelude::*;

/// o, dq, dk and dv by their definition.
fn plain(a: &Attention, q: &[f32], k: &[f32], v: &[f32], d: &[f32]) -> [Vec<f64>; 4] {
    let row = a.heads * a.head;
    let scale = 1.0 / (a.head as f64).sqrt();
    let zeros = |x: &[f32]| vec![0f64; x.len()];
    let (mut o, mut dq, mut dk, mut dv) = (zeros(q), zeros(q), zeros(k), zeros(v));
    for (n, h) in (0..a.samples).flat_map(|n| (0..a.heads).map(move |h| (n, h))) {
        for i in 0..a.queries {
            let at = (n * a.queries + i) * row + h * a.head;
            let key = |j: usize| (n * a.keys + j) * row + h * a.head;
            let dot = |x: &[f32], y: &[f32], at: usize, to: usize| -> f64 {
                (0..a.head).map(|c| f64::from(x[at + c]) * f64::from(y[to + c])).sum()
            };
            let read = if a.causal { i + 1 } else { a.keys };
            let s: Vec<f64> = (0..read).map(|j| scale * dot(q, k, at, key(j))).collect();
            let most = s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = s.iter().map(|s| (s - most).exp()).sum();
            let p: Vec<f64> = s.iter().map(|s| (s - most).exp() / total).collect();
            let dp: Vec<f64> = (0..read).map(|j| dot(d, v, at, key(j))).collect();
            let mean: f64 = p.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
            for j in 0..read {
                let ds = scale * p[j] * (dp[j] - mean);
                for c in 0..a.head {
                    o[at + c] += p[j] * f64::from(v[key(j) + c]);
                    dq[at + c] += ds * f64::from(k[key(j) + c]);
                    dk[key(j) + c] += ds * f64::from(q[at + c]);
                    dv[key(j) + c] += p[j] * f64::from(d[at + c]);
                }
            }
        }
    }
    [o, dq, dk, dv]
}

proptest! {
    #![proptest_config(cases(60))]
    #[test]
    fn attention_and_its_gradients_are_those_of_the_definition(
        samples in 1usize..4,
        queries in prop_oneof![1usize..8, 40usize..110],
        keys in prop_oneof![1usize..8, 20usize..70],
        heads in 1usize..4,
        head in prop_oneof![1usize..6, 16usize..40],
        seed in 0u64..1000,
    ) {
        let row = heads * head;
        let a = Attention { samples, queries, keys, heads, head, pitch: row, causal: false };
        let (q, d) = (numbers(samples * queries * row, seed), numbers(samples * queries * row, seed + 1));
        let (k, v) = (numbers(samples * keys * row, seed + 2), numbers(samples * keys * row, seed + 3));
        let all = on_any_threads(|| {
            let (mut o, mut l) = (stale(q.len()), stale(samples * heads * queries));
            a.forward([&q, &k, &v], &mut o, &mut l);
            let (mut dq, mut dk, mut dv) = (stale(q.len()), stale(k.len()), stale(v.len()));
            a.backward([&q, &k, &v], (&o, &l), &d, [&mut dq, &mut dk, &mut dv]);
            vec![o, dq, dk, dv]
        });
        for ((name, found), exact) in ["o", "dq", "dk", "dv"].iter().zip(&all).zip(&plain(&a, &q, &k, &v, &d)) {
            assert_close(name, found, exact, 2e-5);
        }
        // Queries, keys and values of the same tokens side by side have the same bits.
        let own = Attention { keys: queries, ..a };
        let (k, v) = (numbers(q.len(), seed + 2), numbers(q.len(), seed + 3));
        let side_by_side = |x: [&[f32]; 3]| -> Vec<f32> {
            (0..samples * queries).flat_map(|i| x.map(|x| &x[i * row..][..row])).flatten().copied().collect()
        };
        let qkv = side_by_side([&q, &k, &v]);
        let thirds = Attention { pitch: 3 * row, ..own };
        let apart = || {
            let (mut o, mut l) = (stale(q.len()), stale(samples * heads * queries));
            own.forward([&q, &k, &v], &mut o, &mut l);
            let (mut dq, mut dk, mut dv) = (stale(q.len()), stale(k.len()), stale(v.len()));
            own.backward([&q, &k, &v], (&o, &l), &d, [&mut dq, &mut dk, &mut dv]);
            vec![o, side_by_side([&dq, &dk, &dv])]
        };
        let together = on_any_threads(|| {
            let (mut o, mut l) = (stale(q.len()), stale(samples * heads * queries));
            thirds.forward(thirds.thirds(&qkv), &mut o, &mut l);
            let mut dqkv = stale(qkv.len());
            thirds.backward_thirds(&qkv, (&o, &l), &d, &mut dqkv);
            vec![o, dqkv]
        });
        for ((name, a), b) in ["o", "dqkv"].iter().zip(&together).zip(&apart()) {
            assert_same(name, a, b);
        }
        // The last query of the last sample alone.
        let (at, from) = (q.len() - row, (samples - 1) * keys * row);
        let (k, v) = (numbers(samples * keys * row, seed + 2), numbers(samples * keys * row, seed + 3));
        let one = Attention { samples: 1, queries: 1, ..a };
        let (mut o, mut l) = (stale(row), stale(heads));
        one.forward([&q[at..], &k[from..], &v[from..]], &mut o, &mut l);
        assert_same("o", &o, &all[0][at..]);
    }
}

proptest! {
    #![proptest_config(cases(60))]
    #[test]
    fn causal_attention_reads_no_later_token(
        samples in 1usize..4,
        tokens in prop_oneof![1usize..8, 40usize..110, Just(48), Just(96)],
        heads in 1usize..4,
        head in prop_oneof![1usize..6, 16usize..40],
        known in 0usize..110,
        seed in 0u64..1000,
    ) {
        let row = heads * head;
        let a = Attention {
            samples, queries: tokens, keys: tokens, heads, head, pitch: row, causal: true
        };
        let [q, k, v, d] = [0, 1, 2, 3].map(|i| numbers(samples * tokens * row, seed + i));
        let of = |q: &[f32], k: &[f32], v: &[f32]| {
            let (mut o, mut l) = (stale(q.len()), stale(samples * heads * tokens));
            a.forward([q, k, v], &mut o, &mut l);
            let [mut dq, mut dk, mut dv] = [0; 3].map(|_| stale(q.len()));
            a.backward([q, k, v], (&o, &l), &d, [&mut dq, &mut dk, &mut dv]);
            vec![o, dq, dk, dv]
        };
        let all = on_any_threads(|| of(&q, &k, &v));
        for ((name, found), exact) in ["o", "dq", "dk", "dv"].iter().zip(&all).zip(&plain(&a, &q, &k, &v, &d)) {
            assert_close(name, found, exact, 2e-5);
        }
        // Side by side they have the same bits.
        let side_by_side = |x: [&[f32]; 3]| -> Vec<f32> {
            (0..samples * tokens).flat_map(|i| x.map(|x| &x[i * row..][..row])).flatten().copied().collect()
        };
        let qkv = side_by_side([&q, &k, &v]);
        let thirds = Attention { pitch: 3 * row, ..a };
        let (mut o, mut l) = (stale(q.len()), stale(samples * heads * tokens));
        thirds.forward(thirds.thirds(&qkv), &mut o, &mut l);
        let mut dqkv = stale(qkv.len());
        thirds.backward_thirds(&qkv, (&o, &l), &d, &mut dqkv);
        assert_same("o", &o, &all[0]);
        assert_same("dqkv", &dqkv, &side_by_side([&all[1], &all[2], &all[3]]));
        // Other tokens from `known` on, of any size, change no bit before.
        let known = known % tokens;
        let later = |x: &[f32]| -> Vec<f32> {
            let place = |at: usize| at / row % tokens;
            x.iter().enumerate().map(|(at, x)| if place(at) < known { *x } else { 30.0 - 9.0 * x }).collect()
        };
        let other = &of(&later(&q), &later(&k), &later(&v))[0];
        for (found, right) in other.chunks(tokens * row).zip(all[0].chunks(tokens * row)) {
            assert_same("o", &found[..known * row], &right[..known * row]);
        }
    }
}
