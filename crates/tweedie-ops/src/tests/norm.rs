//! Normalisations against their definitions, and their gradients against central differences of those.

use super::common::*;
use crate::kernels::activation::Activation;
use crate::kernels::norm::*;
use crate::kernels::reduce::sum_rows;
use proptest::prelude::*;

const EPSILON: f32 = 1e-5;

/// x, weight, bias, scale and shift one after the other.
struct Parts {
    shape: Shape,
    x: Vec<f32>,
    affine: [Option<Vec<f32>>; 4],
}

impl Parts {
    fn new(shape: Shape, which: u8, offset: f32, seed: u64) -> Self {
        let (c, n) = (shape.channels, shape.samples);
        let part = |k: u64, len| (which >> k & 1 == 1).then(|| numbers(len, seed + 1 + k));
        let affine = [part(0, c), part(1, c), part(2, n * c), part(3, n * c)];
        let x = numbers(shape.len(), seed).iter().map(|x| x + offset).collect();
        Self { shape, x, affine }
    }

    fn affine(&self) -> Affine<'_> {
        let [weight, bias, scale, shift] = self.affine.each_ref().map(Option::as_deref);
        Affine { weight, bias, scale, shift }
    }

    /// Only sample `i`.
    fn alone(&self, i: usize) -> Self {
        let (shape, c) = (Shape { samples: 1, ..self.shape }, self.shape.channels);
        let [w, b, s, t] = self.affine.clone();
        let own = |v: Option<Vec<f32>>| v.map(|v| v[i * c..][..c].to_vec());
        let x = self.x[i * shape.len()..][..shape.len()].to_vec();
        Self { shape, x, affine: [w, b, own(s), own(t)] }
    }

    fn flat(&self) -> Vec<f64> {
        let parts = std::iter::once(&self.x).chain(self.affine.iter().flatten());
        parts.flat_map(|v| wide(v)).collect()
    }

    /// The definition, from numbers in the order of [`Parts::flat`]; no groups is layer norm, 0 groups is RMS norm.
    fn exact(&self, flat: &[f64], groups: Option<usize>, activation: Activation) -> Vec<f64> {
        let Shape { samples, rows, channels } = self.shape;
        let (x, mut rest) = flat.split_at(self.shape.len());
        let affine = self.affine.each_ref().map(|part| {
            part.as_ref().map(|part| {
                let (head, tail) = rest.split_at(part.len());
                rest = tail;
                head
            })
        });
        let at = |part: usize, i: usize, or: f64| affine[part].map_or(or, |v| v[i]);
        let mut y = vec![0.0; x.len()];
        let row_wise = matches!(groups, None | Some(0));
        let groups_of = groups.unwrap_or(1).max(1);
        let width = channels / groups_of;
        for n in 0..samples {
            for (group, set) in (0..groups_of).flat_map(|g| {
                let all: Vec<usize> = (0..rows).collect();
                let sets =
                    if row_wise { all.iter().map(|r| vec![*r]).collect() } else { vec![all] };
                sets.into_iter().map(move |s| (g, s))
            }) {
                let of = |r: usize, k: usize| (n * rows + r) * channels + group * width + k;
                let all: Vec<usize> = set
                    .iter()
                    .flat_map(|r| (0..width).map(move |k| (*r, k)))
                    .map(|(r, k)| of(r, k))
                    .collect();
                let m = all.len() as f64;
                let mean = if groups == Some(0) {
                    0.0
                } else {
                    all.iter().map(|i| x[*i]).sum::<f64>() / m
                };
                let variance = all.iter().map(|i| (x[*i] - mean).powi(2)).sum::<f64>() / m;
                for i in all {
                    let c = i % channels;
                    let hat = (x[i] - mean) / (variance + f64::from(EPSILON)).sqrt();
                    let v = hat * at(0, c, 1.0) + at(1, c, 0.0);
                    let v = v * (1.0 + at(2, n * channels + c, 0.0)) + at(3, n * channels + c, 0.0);
                    y[i] = activate(activation, v);
                }
            }
        }
        y
    }

    /// dx and the gradients of the parts that are there, in the order of [`Parts::flat`].
    fn gradients(&self, run: impl Fn(&mut [f32], AffineGradient)) -> Vec<Vec<f32>> {
        let mut dx = stale(self.shape.len());
        let mut parts = self.affine.each_ref().map(|v| v.as_ref().map(|v| stale(v.len())));
        let [weight, bias, scale, shift] = parts.each_mut().map(|v| v.as_deref_mut());
        run(&mut dx, AffineGradient { weight, bias, scale, shift });
        std::iter::once(dx).chain(parts.into_iter().flatten()).collect()
    }
}

fn run_group(parts: &Parts, groups: usize, activation: Activation, dy: &[f32]) -> Vec<Vec<f32>> {
    let shape = parts.shape;
    let mut y = stale(shape.len());
    let (mut mean, mut inverse) = (stale(shape.samples * groups), stale(shape.samples * groups));
    let affine = parts.affine();
    group_norm(shape, EPSILON, &parts.x, &affine, activation, &mut y, (&mut mean, &mut inverse));
    let moments = (&*mean, &*inverse);
    let gradients = parts.gradients(|dx, gradient| {
        group_norm_backward(shape, &parts.x, &affine, activation, moments, dy, dx, gradient);
    });
    std::iter::once(y).chain(gradients).collect()
}

fn run_rows(parts: &Parts, rms: bool, dy: &[f32]) -> Vec<Vec<f32>> {
    let (shape, affine) = (parts.shape, parts.affine());
    let mut y = stale(shape.len());
    let forward = if rms { rms_norm } else { layer_norm };
    forward(shape, EPSILON, &parts.x, &affine, &mut y);
    let backward = if rms { rms_norm_backward } else { layer_norm_backward };
    let gradients = parts.gradients(|dx, gradient| {
        backward(shape, EPSILON, &parts.x, &affine, dy, dx, gradient);
    });
    std::iter::once(y).chain(gradients).collect()
}

fn check(
    parts: &Parts,
    groups: Option<usize>,
    activation: Activation,
    dy: &[f32],
    found: &[Vec<f32>],
) {
    let exact = |flat: &[f64]| parts.exact(flat, groups, activation);
    let flat = parts.flat();
    assert_close("y", &found[0], &exact(&flat), 4e-6);
    // Few elements to a mean can make the derivative as large as 1/√ε, and its f32 error with it.
    let gradient = differences(&flat, &wide(dy), exact);
    let mut rest = &gradient[..];
    for (i, part) in found[1..].iter().enumerate() {
        let (here, after) = rest.split_at(part.len());
        assert_close(&format!("gradient {i}"), part, here, 3e-5);
        rest = after;
    }
}

const ACTIVATIONS: [Activation; 3] = [Activation::None, Activation::Silu, Activation::Gelu];

proptest! {
    #![proptest_config(cases(40))]
    #[test]
    fn group_norm_is_its_definition(
        samples in 1usize..4, rows in 1usize..30, groups in 1usize..4, width in 1usize..7,
        which in 0u8..16, activation in 0usize..3, seed in 0u64..1000,
    ) {
        let shape = Shape { samples, rows, channels: groups * width };
        let parts = Parts::new(shape, which, 0.5, seed);
        let activation = ACTIVATIONS[activation];
        let dy = numbers(shape.len(), seed + 9);
        let found = run_group(&parts, groups, activation, &dy);
        if rows * width > 2 {
            check(&parts, Some(groups), activation, &dy, &found);
        } else {
            let exact = parts.exact(&parts.flat(), Some(groups), activation);
            assert_close("y", &found[0], &exact, 1e-4);
        }
    }

    #[test]
    fn row_norms_are_their_definitions(
        samples in 1usize..4, rows in 1usize..6, channels in 3usize..50, rms: bool,
        which in 0u8..16, seed in 0u64..1000,
    ) {
        let shape = Shape { samples, rows, channels };
        let parts = Parts::new(shape, which, 0.5, seed);
        let dy = numbers(shape.len(), seed + 9);
        let found = run_rows(&parts, rms, &dy);
        check(&parts, rms.then_some(0), Activation::None, &dy, &found);
    }
}

/// Shapes large enough to run in parallel, with tails, and one image that splits in blocks.
const LARGE: [(Shape, usize); 5] = [
    (Shape { samples: 3, rows: 28 * 28, channels: 24 }, 8),
    (Shape { samples: 1, rows: 61 * 61, channels: 13 }, 1),
    (Shape { samples: 2, rows: 97, channels: 300 }, 30),
    (Shape { samples: 9, rows: 4 * 4, channels: 128 }, 32),
    (Shape { samples: 150, rows: 1, channels: 137 }, 1),
];

#[test]
fn large_pictures_agree_on_any_threads_and_in_any_batch() {
    for (shape, groups) in LARGE {
        // A mean far above the spread is what a single pass would lose.
        let parts = Parts::new(shape, 15, 100.0, 5);
        let dy = numbers(shape.len(), 6);
        for activation in ACTIVATIONS {
            let all = on_any_threads(|| run_group(&parts, groups, activation, &dy));
            let exact = parts.exact(&parts.flat(), Some(groups), activation);
            assert_close("y", &all[0], &exact, 2e-5);
            let image = shape.rows * shape.channels;
            for i in 0..shape.samples {
                let alone =
                    run_group(&parts.alone(i), groups, activation, &dy[i * image..][..image]);
                assert_same("y", &alone[0], &all[0][i * image..][..image]);
                assert_same("dx", &alone[1], &all[1][i * image..][..image]);
            }
        }
    }
}

#[test]
fn rows_agree_on_any_threads_and_in_any_batch() {
    for (shape, _) in LARGE {
        for rms in [false, true] {
            let parts = Parts::new(shape, 15, 1.0, 5);
            let dy = numbers(shape.len(), 6);
            let all = on_any_threads(|| run_rows(&parts, rms, &dy));
            let exact =
                parts.exact(&parts.flat(), if rms { Some(0) } else { None }, Activation::None);
            assert_close("y", &all[0], &exact, 2e-6);
            let alone = run_rows(&parts.alone(0), rms, &dy[..shape.rows * shape.channels]);
            assert_same("y", &alone[0], &all[0][..shape.rows * shape.channels]);
            assert_same("dx", &alone[1], &all[1][..shape.rows * shape.channels]);
            // Gradients of the weight and bias are sums over the samples; scales and shifts are each sample's own.
            let mut sums = vec![vec![0.0; shape.channels]; 2];
            for i in 0..shape.samples {
                let dy = &dy[i * shape.rows * shape.channels..][..shape.rows * shape.channels];
                let alone = run_rows(&parts.alone(i), rms, dy);
                for (sums, part) in sums.iter_mut().zip(&alone[2..4]) {
                    sums.iter_mut().zip(part).for_each(|(sum, v)| *sum += f64::from(*v));
                }
                for part in 4..6 {
                    let own = &all[part][i * shape.channels..][..shape.channels];
                    assert_same("scale and shift", &alone[part], own);
                }
            }
            assert_close("weight", &all[2], &sums[0], 1e-5);
            assert_close("bias", &all[3], &sums[1], 1e-5);
        }
    }
}

proptest! {
    #![proptest_config(cases(40))]
    #[test]
    fn columns_sum(rows in 0usize..4000, channels in 1usize..70, seed in 0u64..1000) {
        let x = numbers(rows * channels, seed);
        let all = on_any_threads(|| {
            let mut sums = stale(channels);
            sum_rows(&x, &mut sums);
            vec![sums]
        });
        let column = |c: usize| x[c..].iter().step_by(channels).map(|v| f64::from(*v)).sum();
        let exact: Vec<f64> = if rows == 0 { vec![0.0; channels] } else { (0..channels).map(column).collect() };
        assert_close("sums", &all[0], &exact, 1e-6);
    }
}
