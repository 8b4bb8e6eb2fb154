//! The optimiser's pass against its formulas, one f32 operation after another and in f64.

use super::common::*;
use crate::adamw::read_square_sum;
use crate::kernels::adamw::{AdamW, square_sum};
use burn::tensor::{DType, Device, Tensor, TensorData};
use proptest::prelude::*;

proptest! {
    #![proptest_config(cases(40))]
    #[test]
    fn a_step_is_its_formulas(
        len in prop_oneof![1usize..70, 16_000usize..60_000], step in 1u64..500, seed in 0u64..1000,
    ) {
        let adam = AdamW {
            factor: 0.7, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, rate: 1e-2, weight_decay: 0.1, step,
        };
        let [g, p, m, a] = [0, 1, 2, 3].map(|k| numbers(len, seed + k));
        let v: Vec<f32> = numbers(len, seed + 4).iter().map(|v| v.abs()).collect();
        let all = on_any_threads(|| {
            let (mut p, mut m, mut v, mut a) = (p.clone(), m.clone(), v.clone(), a.clone());
            adam.update(&g, None, &mut p, [&mut m, &mut v], Some((&mut a, 0.99)));
            vec![p, m, v, a, vec![square_sum(&g) as f32]]
        });
        let mut plain = [stale(len), stale(len), stale(len), stale(len)];
        let mut exact = stale(len);
        let k = step as i32;
        for i in 0..len {
            let g = g[i] * 0.7f32;
            let m = m[i] * 0.9f32 + g * (1.0 - 0.9f64) as f32;
            let v = v[i] * 0.999f32 + g * g * (1.0 - 0.999f64) as f32;
            let root = (v / (1.0 - 0.999f64.powi(k)) as f32).sqrt() + 1e-8f32;
            let p = p[i] * (1.0 - 1e-2 * 0.1f64) as f32 - m / root * (1e-2 / (1.0 - 0.9f64.powi(k))) as f32;
            let a = a[i] * 0.99f32 + p * (1.0 - 0.99f64) as f32;
            for (plain, value) in plain.iter_mut().zip([p, m, v, a]) {
                plain[i] = value;
            }
        }
        for (name, (found, plain)) in ["p", "m", "v", "average"].iter().zip(all.iter().zip(&plain)) {
            assert_same(name, found, plain);
        }
        for i in 0..len {
            let g = f64::from(g[i]) * 0.7;
            let m = 0.9 * f64::from(m[i]) + 0.1 * g;
            let v = 0.999 * f64::from(v[i]) + 0.001 * g * g;
            let (m, v) = (m / (1.0 - 0.9f64.powi(k)), v / (1.0 - 0.999f64.powi(k)));
            let p = f64::from(p[i]);
            exact[i] = (p - 1e-2 * (m / (v.sqrt() + 1e-8) + 0.1 * p)) as f32;
        }
        assert_close("p", &all[0], &wide(&exact), 1e-5);
        // Without the average, and from parameters that stay, the rest is the same.
        let (mut new, mut m, mut v) = (stale(len), m.clone(), v.clone());
        adam.update(&g, Some(&p), &mut new, [&mut m, &mut v], None);
        for (found, other) in all.iter().zip([new, m, v]) {
            assert_same("apart", found, &other);
        }
        let sum: f64 = g.iter().map(|g| f64::from(*g).powi(2)).sum();
        prop_assert!((square_sum(&g) - sum).abs() <= 1e-12 * sum);
    }

    #[test]
    fn square_sums_agree_on_all_devices_and_types(
        len in prop_oneof![0usize..3, 40_000usize..50_000], seed in 0u64..1000,
    ) {
        let x = numbers(len, seed);
        let exact = square_sum(&x);
        let data = TensorData::new(x, [len]);
        prop_assert_eq!(read_square_sum(&data), exact);
        for (dtype, bound) in [(DType::F32, 0.0), (DType::F64, 1e-12)] {
            let data = data.clone().convert_dtype(dtype);
            let sum = crate::square_sum(&Tensor::from_data(data, (&Device::flex(), dtype)));
            prop_assert!((sum - exact).abs() <= bound * exact);
        }
    }
}
