//! Layers in a row, and their gradients.

use super::common::*;
use crate::kernels::activation::Activation;
use crate::kernels::mlp::{GradientFlags, Layer, Mlp};
use proptest::prelude::*;

/// The layers' outputs by their definition, from the parameters in a row.
fn exact(rows: usize, widths: &[usize], activations: &[Activation], all: &[f64]) -> Vec<f64> {
    let output = widths[widths.len() - 1];
    let (residual, all) = all.split_at(rows * output);
    let (mut x, mut all) = (all[..rows * widths[0]].to_vec(), &all[rows * widths[0]..]);
    for (sizes, activation) in widths.windows(2).zip(activations) {
        let [input, output] = [sizes[0], sizes[1]];
        let (weight, rest) = all.split_at(output * input);
        let (bias, rest) = rest.split_at(output);
        all = rest;
        let cell = |row: usize, j: usize| {
            let dot: f64 = (0..input).map(|k| x[row * input + k] * weight[j * input + k]).sum();
            activate(*activation, dot + bias[j])
        };
        x = (0..rows * output).map(|at| cell(at / output, at % output)).collect();
    }
    x.iter().zip(residual).map(|(y, r)| y + r).collect()
}

/// All that [`exact`] takes, for values that keep activations in their middle.
fn parameters(rows: usize, widths: &[usize], seed: u64) -> Vec<f32> {
    let output = widths[widths.len() - 1];
    let mut all = numbers(rows * output, seed);
    all.extend(numbers(rows * widths[0], seed + 1));
    for (sizes, seed) in widths.windows(2).zip(seed + 2..) {
        let scale = 1.0 / (sizes[0] as f32).sqrt();
        all.extend(numbers(sizes[1] * (sizes[0] + 1), seed).iter().map(|v| scale * v));
    }
    all
}

/// Residual, x and layers out of [`parameters`].
fn layers<'a>(
    rows: usize,
    widths: &[usize],
    activations: &[Activation],
    all: &'a [f32],
) -> (&'a [f32], &'a [f32], Mlp<'a>) {
    let (residual, all) = all.split_at(rows * widths[widths.len() - 1]);
    let (x, mut all) = all.split_at(rows * widths[0]);
    let mut layers = Vec::new();
    for (sizes, activation) in widths.windows(2).zip(activations) {
        let (weight, rest) = all.split_at(sizes[0] * sizes[1]);
        let (bias, rest) = rest.split_at(sizes[1]);
        all = rest;
        layers.push(Layer {
            weight,
            bias: Some(bias),
            output: sizes[1],
            activation: *activation,
            reach: None,
        });
    }
    (residual, x, Mlp { rows, input: widths[0], layers })
}

/// Values, kept or not, and all gradients, on any number of threads: y, dx, and each layer's weight and bias.
fn found(
    rows: usize,
    widths: &[usize],
    activations: &[Activation],
    all: &[f32],
    dy: &[f32],
) -> Vec<Vec<f32>> {
    let (residual, x, mlp) = layers(rows, widths, activations, all);
    let count = activations.len();
    on_any_threads(|| {
        let (mut y, mut same) = (stale(dy.len()), stale(dy.len()));
        mlp.forward(x, Some(residual), &mut y);
        let kept = mlp.record(x, Some(residual), &mut same);
        assert_same("y", &y, &same);
        let wanted =
            GradientFlags { input: true, weights: vec![true; count], biases: vec![true; count] };
        let again = mlp.backward(x, kept.clone(), dy, &wanted);
        let found = mlp.backward(x, kept, dy, &wanted);
        let mut all = vec![y, found.input.unwrap().to_vec()];
        for (weight, bias) in found.weights.into_iter().zip(found.biases) {
            all.extend([weight.unwrap().to_vec(), bias.unwrap().to_vec()]);
        }
        assert_same("dx", &all[1], &again.input.unwrap());
        all
    })
}

fn widths() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![Just(1usize), 1usize..20, 30usize..70], 2..6)
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn values_are_those_of_the_definition_and_gradients_of_its_differences(
        rows in 1usize..8,
        widths in prop::collection::vec(1usize..6, 2..5),
        which in prop::collection::vec(0..Activation::ALL.len(), 4),
        seed in 0u64..1000,
    ) {
        let activations: Vec<Activation> = which.iter().map(|k| Activation::ALL[*k]).collect();
        let activations = &activations[..widths.len() - 1];
        let all = parameters(rows, &widths, seed);
        let dy = numbers(rows * widths[widths.len() - 1], seed + 50);
        let found = found(rows, &widths, activations, &all, &dy);
        let all = wide(&all);
        assert_close("y", &found[0], &exact(rows, &widths, activations, &all), 5e-6);
        // Differences see no corner.
        prop_assume!(!activations.contains(&Activation::Relu));
        let gradients = differences(&all, &wide(&dy), |all| exact(rows, &widths, activations, all));
        assert_close("gradients", &found[1..].concat(), &gradients[dy.len()..], 2e-5);
    }

    #[test]
    fn layers_in_a_row_are_those_one_by_one(
        rows in prop_oneof![1usize..30, 200usize..600, Just(2500usize)],
        widths in widths(),
        which in prop::collection::vec(0..Activation::ALL.len() - 1, 5),
        seed in 0u64..1000,
    ) {
        let activations: Vec<Activation> = which.iter().map(|k| Activation::ALL[*k]).collect();
        let activations = &activations[..widths.len() - 1];
        let all = parameters(rows, &widths, seed);
        let dy = numbers(rows * widths[widths.len() - 1], seed + 50);
        let found = found(rows, &widths, activations, &all, &dy);
        let (residual, x, mlp) = layers(rows, &widths, activations, &all);
        // Forward, layer by layer, the same bits.
        let (mut inputs, mut kept) = (vec![x.to_vec()], Vec::new());
        for (l, (layer, size)) in mlp.layers.iter().zip(mlp.sizes()).enumerate() {
            let one = Mlp { rows, input: size.input, layers: vec![*layer] };
            let mut y = stale(rows * size.output);
            let last = l + 1 == mlp.layers.len();
            kept.push(one.record(&inputs[l], last.then_some(residual), &mut y));
            inputs.push(y);
        }
        assert_same("y", &found[0], &inputs[mlp.layers.len()]);
        // And back, where only sums over rows are in another order.
        let mut d = dy;
        for (l, (layer, size)) in mlp.layers.iter().zip(mlp.sizes()).enumerate().rev() {
            let one = Mlp { rows, input: size.input, layers: vec![*layer] };
            let wanted = GradientFlags { input: true, weights: vec![true], biases: vec![true] };
            let back = one.backward(&inputs[l], kept.pop().unwrap(), &d, &wanted);
            let [weight, bias] = [&back.weights[0], &back.biases[0]].map(|g| g.as_ref().unwrap());
            assert_close("dweight", &found[2 + 2 * l], &wide(weight), 1e-5);
            assert_close("dbias", &found[3 + 2 * l], &wide(bias), 1e-5);
            d = back.input.unwrap().to_vec();
        }
        assert_same("dx", &found[1], &d);
        // A row alone has the bits that it has among others.
        let (output, last) = (widths[widths.len() - 1], rows - 1);
        let mut y = stale(output);
        let alone = Mlp { rows: 1, ..mlp.clone() };
        alone.forward(&x[last * widths[0]..], Some(&residual[last * output..]), &mut y);
        assert_same("row of y", &y, &found[0][last * output..]);
    }
}
