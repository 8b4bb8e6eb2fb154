//! Convolutions of any size, stride and padding, with what is added to them, and both gradients.

use super::common::*;
use crate::kernels::conv::Conv;
use crate::kernels::gemm::Epilogue;
use proptest::prelude::*;

/// A convolution by its definition: y, dx, dw.
fn plain(conv: &Conv, x: &[f32], weight: &[f32], dy: &[f32]) -> [Vec<f64>; 3] {
    let ([h, w], [oh, ow], [ci, co], [kh, kw]) =
        (conv.input, conv.output(), conv.channels, conv.kernel);
    let zeros = |len: usize| vec![0f64; len];
    let (mut y, mut dx, mut dw) = (zeros(dy.len()), zeros(x.len()), zeros(weight.len()));
    let pixels =
        (0..conv.count).flat_map(|n| (0..oh).flat_map(move |i| (0..ow).map(move |j| (n, i, j))));
    for (n, i, j) in pixels {
        for o in 0..co {
            let at = ((n * oh + i) * ow + j) * co + o;
            let d = f64::from(dy[at]);
            for (k, l) in (0..kh).flat_map(|k| (0..kw).map(move |l| (k, l))) {
                let (a, b) = (i * conv.stride + k, j * conv.stride + l);
                let [top, left] = conv.padding.map(|(before, _)| before);
                if a < top || b < left || a - top >= h || b - left >= w {
                    continue;
                }
                for c in 0..ci {
                    let from = ((n * h + a - top) * w + b - left) * ci + c;
                    let tap = ((o * ci + c) * kh + k) * kw + l;
                    y[at] += f64::from(x[from]) * f64::from(weight[tap]);
                    dx[from] += d * f64::from(weight[tap]);
                    dw[tap] += d * f64::from(x[from]);
                }
            }
        }
    }
    [y, dx, dw]
}

fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1usize), 1usize..9, 9usize..50]
}

prop_compose! {
    /// Kernels of 3 × 3 between multiples of 16 channels, which go by tiles.
    fn tiled()(
        count in 1usize..5,
        input in [1usize..14, 1usize..14],
        channels in [1usize..4, 1usize..4],
        padding in [(0usize..4, -2isize..4), (0usize..4, -2isize..4)],
    ) -> Conv {
        Conv { count, input, channels: channels.map(|c| 16 * c), kernel: [3, 3], stride: 1, padding }
    }
}

prop_compose! {
    fn convs()(
        count in 1usize..5,
        input in [1usize..14, 1usize..14],
        channels in [channels(), channels()],
        kernel in [1usize..6, 1usize..6],
        stride in 1usize..4,
        padding in [(0usize..4, -2isize..4), (0usize..4, -2isize..4)],
    ) -> Conv {
        Conv { count, input, channels, kernel, stride, padding }
    }
}

proptest! {
    #![proptest_config(cases(120))]
    #[test]
    fn convolutions_and_their_gradients_are_those_of_the_definition(
        conv in prop_oneof![convs(), tiled()],
        seed in 0u64..1000,
    ) {
        let ([h, w], [oh, ow], [ci, co]) = (conv.input, conv.output(), conv.channels);
        let x = numbers(conv.count * h * w * ci, seed);
        let weight = numbers(co * ci * conv.kernel[0] * conv.kernel[1], seed + 1);
        let dy = numbers(conv.count * oh * ow * co, seed + 2);
        let bias = numbers(co, seed + 3);
        let features = numbers(conv.count * co, seed + 4);
        let residual = numbers(dy.len(), seed + 5);
        let added = Epilogue {
            bias: Some(&bias),
            sample: Some((&features, oh * ow)),
            residual: Some(&residual),
        };
        let all = on_any_threads(|| {
            let (mut y, mut bare, mut dx) = (stale(dy.len()), stale(dy.len()), stale(x.len()));
            conv.forward(&x, &weight, added, &mut y);
            conv.forward(&x, &weight, Epilogue::default(), &mut bare);
            conv.input_gradient(&dy, &weight, &mut dx);
            let dw = conv.weight_gradient(&x, &dy);
            vec![y, bare, dx, dw.to_vec()]
        });
        let [y, dx, dw] = plain(&conv, &x, &weight, &dy);
        assert_close("bare y", &all[1], &y, 5e-6);
        let pixels = (oh * ow).max(1);
        let sum: Vec<f64> = y.iter().enumerate().map(|(k, y)| {
            let (o, n) = (k % co, k / (pixels * co));
            y + f64::from(bias[o]) + f64::from(features[n * co + o]) + f64::from(residual[k])
        }).collect();
        assert_close("y", &all[0], &sum, 5e-6);
        assert_close("dx", &all[2], &dx, 5e-6);
        assert_close("dweight", &all[3], &dw, 2e-5);
        // A picture alone has the bits that it has among others.
        let last = conv.count - 1;
        let alone = Conv { count: 1, ..conv };
        let one = oh * ow * co;
        let (mut y, mut dx) = (stale(one), stale(h * w * ci));
        let added = Epilogue {
            bias: Some(&bias),
            sample: Some((&features[last * co..], oh * ow)),
            residual: Some(&residual[last * one..]),
        };
        alone.forward(&x[last * h * w * ci..], &weight, added, &mut y);
        alone.input_gradient(&dy[last * one..], &weight, &mut dx);
        assert_same("y", &y, &all[0][last * one..]);
        assert_same("dx", &dx, &all[2][last * h * w * ci..]);
    }
}

/// Pictures large enough to be cut in bands, and enough of them to be taken together.
#[test]
fn large_pictures_and_many_small_ones() {
    for (count, input) in [(1, [70, 45]), (3, [40, 41]), (150, [3, 2])] {
        for (channels, kernel, stride) in [([3, 5], 3, 1), ([8, 2], 3, 1), ([4, 3], 4, 2)] {
            let conv =
                Conv { count, input, channels, kernel: [kernel; 2], stride, padding: [(1, 2); 2] };
            let ([h, w], [oh, ow], [ci, co]) = (conv.input, conv.output(), conv.channels);
            let (x, dy) = (numbers(count * h * w * ci, 1), numbers(count * oh * ow * co, 2));
            let weight = numbers(co * ci * kernel * kernel, 3);
            let all = on_any_threads(|| {
                let (mut y, mut dx) = (stale(dy.len()), stale(x.len()));
                conv.forward(&x, &weight, Epilogue::default(), &mut y);
                conv.input_gradient(&dy, &weight, &mut dx);
                let dw = conv.weight_gradient(&x, &dy);
                vec![y, dx, dw.to_vec()]
            });
            for (name, (found, exact)) in
                ["y", "dx", "dweight"].iter().zip(all.iter().zip(&plain(&conv, &x, &weight, &dy)))
            {
                assert_close(name, found, exact, 3e-5);
            }
        }
    }
}
