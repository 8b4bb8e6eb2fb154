//! Shapes that do not fit their slices, or any memory, are refused; what is empty may lie anywhere.

use crate::kernels::activation::Activation;
use crate::kernels::attention::Attention;
use crate::kernels::conv::Conv;
use crate::kernels::gemm::{
    Epilogue, Packed, Reach, Rows, Segment, Shared, Side, Source, accumulate, accumulate_within,
    product,
};
use crate::kernels::linear::matrix_product;
use crate::kernels::mlp::{Layer, Mlp};
use crate::kernels::norm::{Affine, Shape, layer_norm};
use crate::kernels::resize::{Pictures, double};
use crate::kernels::spline::{Direction, Ends, Spline, Splines};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Half of what a `usize` counts, and one more: twice this is 0 where nothing stops at the end.
const HALF: usize = usize::MAX / 2 + 1;

/// Asserts that the work panics, with these words.
#[track_caller]
fn assert_refused(words: &str, work: impl FnOnce()) {
    let panic = catch_unwind(AssertUnwindSafe(work)).expect_err(words);
    let found = panic.downcast_ref::<String>().map(String::as_str);
    let found = found.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
    assert!(found.contains(words), "{found:?} does not say {words:?}");
}

fn sum_of(u: Side, v: Side, segments: &[Segment]) -> Vec<f32> {
    let mut sum = vec![0.0; u.len * v.len];
    accumulate(u, v, segments, &mut sum);
    sum
}

#[test]
fn sums_of_outer_products_refuse_rows_outside_their_slices() {
    let x = [1.0; 8];
    let side = |stride| Side { x: &x, stride, len: 4 };
    // (u's stride and first row, v's, rows): the ends of the last rows, where they wrap, are inside.
    for (u, first_u, v, first_v, rows) in [
        (usize::MAX, 1, 4, 0, 2),
        (4, 0, usize::MAX, 1, 2),
        (4, usize::MAX, 4, 0, 2),
        (4, usize::MAX - 2, 4, 0, 1),
        (4, 0, 4, usize::MAX - 2, 1),
        (HALF, 0, 4, 0, 3),
        (4, 0, HALF, 0, 3),
        (0, 0, 4, 0, 3),
        (4, 5, 4, 0, 1),
    ] {
        let segment = Segment { u: first_u, v: first_v, rows };
        assert_refused("lies outside its slice", || {
            sum_of(side(u), side(v), &[segment]);
        });
    }
    assert_refused("no memory holds", || {
        let side = Side { x: &[], stride: 0, len: HALF };
        accumulate(side, Side { len: 2, ..side }, &[], &mut []);
    });
}

#[test]
fn segments_without_rows_add_nothing_wherever_they_lie() {
    let x: Vec<f32> = (0..40).map(|k| k as f32).collect();
    let (u, v) = (Side { x: &x, stride: 5, len: 5 }, Side { x: &x, stride: 20, len: 20 });
    let segment = Segment { u: 3, v: 0, rows: 2 };
    let empty = |at| Segment { u: at, v: at, rows: 0 };
    let all = [empty(41), segment, empty(usize::MAX / 2), empty(usize::MAX)];
    assert_eq!(sum_of(u, v, &all), sum_of(u, v, &[segment]));
    assert_eq!(sum_of(u, v, &[empty(usize::MAX)]), vec![0.0; 100]);
}

#[test]
fn products_refuse_rows_and_outputs_outside_their_slices() {
    let x = [1.0; 8];
    let source = Source { origin: 0, depth: [(1, 0), (2, 2), (2, 1)], columns: (2, 4) };
    let matrix = Packed::new(&x, source);
    let run = |offset: usize, runs: [usize; 2], out: usize, addend: &[f32]| {
        let rows = Rows { x: &x, offsets: &[offset], runs: &runs, len: 2 };
        let sample = (!addend.is_empty()).then_some((addend, 1));
        let mut y = [0.0; 4];
        let epilogue = Epilogue { sample, ..Epilogue::default() };
        // SAFETY: y is borrowed exclusively.
        unsafe { product(rows, matrix.matrix(0), epilogue, Shared::new(&mut y), &[out]) };
        y
    };
    assert_eq!(run(4, [0, 2], 2, &[]), [0.0, 0.0, 4.0, 4.0]);
    for (offset, runs) in [
        (usize::MAX, [0, 2]),
        (usize::MAX - 3, [0, 2]),
        (5, [0, 2]),
        (0, [0, usize::MAX]),
        (0, [0, usize::MAX - 1]),
        (8, [0, usize::MAX - 7]),
    ] {
        assert_refused("a row lies outside its slice", || {
            run(offset, runs, 0, &[]);
        });
    }
    for out in [3, usize::MAX, usize::MAX - 1] {
        assert_refused("an output lies outside its slice", || {
            run(0, [0, 2], out, &[]);
        });
    }
    assert_refused("no addend", || {
        run(0, [0, 2], 0, &[1.0]);
    });
}

#[test]
fn matrices_larger_than_memory_are_refused() {
    let source = |depth, columns| Source { origin: 0, depth, columns: (columns, 0) };
    for (depth, columns) in [
        ([(HALF, 0), (2, 0), (1, 0)], 1),
        ([(1, 0), (1, 0), (HALF, 0)], 2),
        ([(1, 0), (1, 0), (2, 0)], usize::MAX),
    ] {
        assert_refused("no memory holds", || {
            Packed::new(&[1.0], source(depth, columns));
        });
    }
    assert_refused("no memory holds", || {
        Packed::many::<2>(HALF, 1, |_, _, _| ());
    });
    let one = Packed::new(&[1.0], source([(1, 0), (1, 0), (2, 0)], 1));
    assert_refused("no memory holds", || {
        one.matrix(HALF);
    });
}

#[test]
fn operations_refuse_shapes_larger_than_memory() {
    let empty: &[f32] = &[];
    let words = "no memory holds";
    assert_refused(words, || matrix_product([HALF, 2, 1], empty, &[0.0; 2], &mut []));
    let mlp = Mlp { rows: HALF, input: 2, layers: Vec::new() };
    assert_refused(words, || mlp.forward(empty, None, &mut []));
    let shape = Shape { samples: HALF, rows: 1, channels: 2 };
    let affine = Affine::default();
    assert_refused(words, || layer_norm(shape, 1e-5, empty, &affine, &mut []));
    let pictures = Pictures { samples: HALF, height: 2, width: 1, channels: 1 };
    assert_refused(words, || double(pictures, empty, &mut []));
    let sizes = Conv {
        count: HALF,
        input: [2, 1],
        channels: [1, 1],
        kernel: [1, 1],
        stride: 1,
        padding: [(0, 0); 2],
    };
    let forward = |conv: Conv, x: &[f32], weight: &[f32]| {
        conv.forward(x, weight, Epilogue::default(), &mut []);
    };
    assert_refused(words, || forward(sizes, empty, &[1.0]));
    assert_refused(words, || {
        sizes.weight_gradient(empty, empty);
    });
    // The height with the zeros before and after it is more than a `usize` holds.
    let around = Conv { count: 1, input: [1, 1], padding: [(HALF, isize::MAX); 2], ..sizes };
    assert_refused(words, || forward(around, &[1.0], &[1.0]));
    let attention = Attention {
        samples: 1,
        queries: 3,
        keys: 1,
        heads: 1,
        head: 2,
        pitch: HALF,
        causal: false,
    };
    let [q, k] = [[1.0; 2], [1.0; 2]];
    assert_refused(words, || attention.forward([&q, &k, &k], &mut [0.0; 6], &mut [0.0; 3]));
    let heads = Attention { queries: 1, heads: HALF, pitch: 2, ..attention };
    assert_refused(words, || heads.forward([&q, &k, &k], &mut [0.0; 2], &mut [0.0]));
}

#[test]
fn reaches_beyond_inputs_are_refused() {
    let source = Source { origin: 0, depth: [(1, 0), (1, 0), (2, 4)], columns: (4, 1) };
    for reach in [
        Reach::Columns(&[0; 3]),
        Reach::Columns(&[0, 3, 0, 0]),
        Reach::Rows(&[0; 3]),
        Reach::Rows(&[5, 0]),
    ] {
        assert_refused("ends outside its matrix", || {
            Packed::all(std::iter::once((&[1.0; 8][..], source, Some(reach))));
        });
    }
    let side = Side { x: &[1.0; 8], stride: 4, len: 4 };
    for reach in [&[1, 2, 3][..], &[1, 2, 3, 5]] {
        assert_refused("ends outside the sum", || {
            accumulate_within(side, side, &[], Some(reach), &mut [0.0; 16]);
        });
        let layer = Layer {
            weight: &[1.0; 16],
            bias: None,
            output: 4,
            activation: Activation::None,
            reach: Some(reach),
        };
        let mlp = Mlp { rows: 1, input: 4, layers: vec![layer] };
        assert_refused("exceed the input", || mlp.forward(&[1.0; 4], None, &mut [0.0; 4]));
    }
}

#[test]
fn splines_refuse_other_shapes() {
    let family = Spline { bins: 2, bound: 1.0, ends: Ends::Linear };
    let splines = Splines { rows: 2, width: 1, family, direction: Direction::ToNoise };
    let forward = |splines: Splines, sizes: [usize; 3]| {
        let [x, parameters, mut y] = sizes.map(|len| vec![0.0; len]);
        splines.forward(&x, &parameters, &mut y);
    };
    forward(splines, [2, 10, 4]);
    for (sizes, words) in [
        ([3, 10, 4], "the values have another shape"),
        ([2, 9, 4], "the parameters have another shape"),
        ([2, 10, 3], "y has another shape"),
    ] {
        assert_refused(words, || forward(splines, sizes));
    }
    let gradients = |sizes: [usize; 2]| {
        let [mut dx, mut dp] = sizes.map(|len| vec![0.0; len]);
        splines.backward(&[0.0; 2], &[0.0; 10], &[0.0; 4], &mut dx, &mut dp);
    };
    gradients([2, 10]);
    assert_refused("the gradient of the values has", || gradients([1, 10]));
    assert_refused("the gradient of the parameters has", || gradients([2, 12]));
    let with = |family: Spline| forward(Splines { family, ..splines }, [2, 10, 4]);
    assert_refused("at least one bin", || with(Spline { bins: 0, ..family }));
    for bound in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert_refused("positive and finite", || with(Spline { bound, ..family }));
    }
    let words = "no memory holds";
    assert_refused(words, || forward(Splines { rows: HALF, width: 2, ..splines }, [0; 3]));
    assert_refused(words, || forward(Splines { rows: 2, width: usize::MAX, ..splines }, [0; 3]));
    assert_refused(words, || with(Spline { bins: HALF, ..family }));
}
