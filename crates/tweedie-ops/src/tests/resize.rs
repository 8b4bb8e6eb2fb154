//! Doubling, halving and joining by index; each gradient as the adjoint, ⟨f x, z⟩ = ⟨x, f* z⟩ in f64.

use super::common::*;
use crate::kernels::resize::*;
use proptest::prelude::*;

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

proptest! {
    #![proptest_config(cases(60))]
    #[test]
    fn pictures_double_and_halve(
        samples in 1usize..4, height in 1usize..20, width in 1usize..20,
        channels in prop_oneof![1usize..5, 15usize..40], seed in 0u64..1000,
    ) {
        let shape = Pictures { samples, height, width, channels };
        let (large, small) = (shape.doubled(), shape.halved());
        let x = numbers(shape.len(), seed);
        let (dl, ds) = (numbers(large.len(), seed + 1), numbers(small.len(), seed + 2));
        let all = on_any_threads(|| {
            let (mut up, mut d_up) = (stale(large.len()), stale(x.len()));
            let (mut down, mut d_down) = (stale(small.len()), stale(x.len()));
            double(shape, &x, &mut up);
            double_backward(shape, &dl, &mut d_up);
            halve(shape, &x, &mut down);
            halve_backward(shape, &ds, &mut d_down);
            vec![up, d_up, down, d_down]
        });
        let at = |i: usize, s: Pictures| {
            let (c, w) = (i % s.channels, i / s.channels % s.width);
            let h = i / s.channels / s.width % s.height;
            (i / s.channels / s.width / s.height, h, w, c)
        };
        let of = |n: usize, h: usize, w: usize, c: usize| {
            f64::from(x[((n * height + h) * width + w) * channels + c])
        };
        for (i, y) in all[0].iter().enumerate() {
            let (n, h, w, c) = at(i, large);
            prop_assert_eq!(f64::from(*y), of(n, h / 2, w / 2, c));
        }
        for (i, y) in all[2].iter().enumerate() {
            let (n, h, w, c) = at(i, small);
            let sum: f64 = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(a, b)| of(n, 2 * h + a, 2 * w + b, c)).iter().sum();
            prop_assert!((f64::from(*y) - sum / 4.0).abs() < 1e-6);
        }
        let bound = 1e-6 * (large.len() as f64 + 10.0);
        prop_assert!((dot(&all[0], &dl) - dot(&x, &all[1])).abs() < bound);
        prop_assert!((dot(&all[2], &ds) - dot(&x, &all[3])).abs() < bound);
        // ⟨x, f* z⟩ alone would not see stale numbers where x f* z cancels.
        prop_assert!(all.iter().flatten().all(|v| v.is_finite()));
    }

    #[test]
    fn channels_join_and_part(rows in 1usize..2000, a in 1usize..40, b in 1usize..40, seed in 0u64..1000) {
        let (x, z) = (numbers(rows * a, seed), numbers(rows * b, seed + 1));
        let all = on_any_threads(|| {
            let (mut y, mut dx, mut dz) = (stale(rows * (a + b)), stale(x.len()), stale(z.len()));
            join([a, b], &x, &z, &mut y);
            part([a, b], &y, &mut dx, &mut dz);
            vec![y, dx, dz]
        });
        for (i, y) in all[0].iter().enumerate() {
            let (r, c) = (i / (a + b), i % (a + b));
            prop_assert_eq!(*y, if c < a { x[r * a + c] } else { z[r * b + c - a] });
        }
        assert_same("x", &all[1], &x);
        assert_same("z", &all[2], &z);
    }
}
