//! Matrix products, linear layers of any size, and their gradients.

use super::common::*;
use crate::kernels::activation::Activation;
use crate::kernels::linear::{Linear, Outer, matrix_product, weight_gradients};
use crate::kernels::mlp::{GradientFlags, Layer, Mlp};
use proptest::prelude::*;

/// `[n, k] · [k, m]` with the strides of either side, in f64.
pub fn times(
    n: usize,
    k: usize,
    m: usize,
    a: impl Fn(usize, usize) -> f32,
    b: impl Fn(usize, usize) -> f32,
) -> Vec<f64> {
    let dot = |i: usize, j: usize| (0..k).map(|l| f64::from(a(i, l)) * f64::from(b(l, j))).sum();
    (0..n).flat_map(|i| (0..m).map(move |j| (i, j))).map(|(i, j)| dot(i, j)).collect()
}

fn widths() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1usize), 1usize..20, 20usize..130]
}

proptest! {
    #![proptest_config(cases(80))]
    #[test]
    fn layers_and_their_gradients_are_those_of_the_definition(
        rows in prop_oneof![1usize..30, 200usize..600],
        input in widths(),
        output in widths(),
        adds in any::<bool>(),
        seed in 0u64..1000,
    ) {
        let (x, dy) = (numbers(rows * input, seed), numbers(rows * output, seed + 1));
        let (weight, bias) = (numbers(output * input, seed + 2), numbers(output, seed + 3));
        let added = numbers(rows * output, seed + 4);
        let residual = adds.then_some(&added[..]);
        let layer = Layer { weight: &weight, bias: Some(&bias), output, activation: Activation::None, reach: None };
        let wanted = GradientFlags { input: true, weights: vec![true], biases: vec![true] };
        let run = |rows: usize, x: &[f32], residual: Option<&[f32]>, dy: &[f32]| {
            let mlp = Mlp { rows, input, layers: vec![layer] };
            let (mut y, mut same) = (stale(dy.len()), stale(dy.len()));
            mlp.forward(x, residual, &mut y);
            let kept = mlp.record(x, residual, &mut same);
            assert_same("recorded y", &same, &y);
            let mut found = mlp.backward(x, kept, dy, &wanted);
            let dw = found.weights.remove(0).unwrap();
            vec![y, found.input.unwrap().to_vec(), dw.to_vec()]
        };
        let all = on_any_threads(|| {
            let mut bare = stale(dy.len());
            matrix_product([rows, input, output], &x, &weight, &mut bare);
            let mut all = run(rows, &x, residual, &dy);
            all.push(bare);
            all
        });
        let mut y = times(rows, input, output, |i, l| x[i * input + l], |l, j| weight[j * input + l]);
        assert_close("bare y", &all[3], &y, 5e-6);
        for (k, y) in y.iter_mut().enumerate() {
            *y += f64::from(bias[k % output]) + residual.map_or(0.0, |r| f64::from(r[k]));
        }
        assert_close("y", &all[0], &y, 5e-6);
        let dx = times(rows, output, input, |i, l| dy[i * output + l], |l, j| weight[l * input + j]);
        assert_close("dx", &all[1], &dx, 5e-6);
        let dw = times(output, rows, input, |i, l| dy[l * output + i], |l, j| x[l * input + j]);
        assert_close("dweight", &all[2], &dw, 2e-5);
        // A row alone has the bits that it has among others.
        let last = rows - 1;
        let residual = residual.map(|residual| &residual[last * output..]);
        let alone = run(1, &x[last * input..], residual, &dy[last * output..]);
        assert_same("row of y", &alone[0], &all[0][last * output..]);
        assert_same("row of dx", &alone[1], &all[1][last * input..]);
    }
}

/// So many rows that the weight's gradient is summed in parts.
#[test]
fn many_rows() {
    let layer = Linear { rows: 5000, input: 7, output: 5 };
    let (x, dy) = (numbers(layer.rows * 7, 1), numbers(layer.rows * 5, 2));
    let all = on_any_threads(|| {
        vec![weight_gradients(&[Outer { layer, x: &x, dy: &dy, reach: None }]).remove(0).to_vec()]
    });
    let dw = times(5, layer.rows, 7, |i, l| dy[l * 5 + i], |l, j| x[l * 7 + j]);
    assert_close("dweight", &all[0], &dw, 2e-5);
}

/// Weights so wide that tasks take strips of them, as many as there are threads; and one without outputs.
#[test]
fn wide_weights() {
    for (rows, input, output) in [(200, 40, 250), (3, 5, 0)] {
        let layer = Linear { rows, input, output };
        let (x, dy) = (numbers(rows * input, 1), numbers(rows * output, 2));
        let all = on_any_threads(|| {
            vec![
                weight_gradients(&[Outer { layer, x: &x, dy: &dy, reach: None }])
                    .remove(0)
                    .to_vec(),
            ]
        });
        let dw = times(output, rows, input, |i, l| dy[l * output + i], |l, j| x[l * input + j]);
        assert_close("dweight", &all[0], &dw, 2e-5);
    }
}
