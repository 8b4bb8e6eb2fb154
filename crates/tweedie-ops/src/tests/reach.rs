//! Masked layers against layers whose masked weights are zero.

use super::common::*;
use super::linear::times;
use crate::kernels::activation::Activation;
use crate::kernels::mlp::{GradientFlags, Layer, Mlp};
use proptest::prelude::*;

/// How far outputs reach, of so many inputs.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Rising,
    /// Rising in each of some stretches.
    Stretches(usize),
    Falling,
    Constant,
    Nothing,
    Everything,
    Any(u64),
}

impl Kind {
    fn reach(self, input: usize, output: usize) -> Vec<usize> {
        let last = output.max(2) - 1;
        let any = numbers(output, if let Self::Any(seed) = self { seed } else { 0 });
        let reach = |o: usize| match self {
            Self::Rising => o * input / last,
            Self::Stretches(count) => {
                let each = output.div_ceil(count);
                o % each * input / each
            }
            Self::Falling => (last - o.min(last)) * input / last,
            Self::Constant => input / 2,
            Self::Nothing => 0,
            Self::Everything => input,
            Self::Any(_) => ((0.25 * any[o] + 0.5) * input as f32) as usize,
        };
        (0..output).map(reach).collect()
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => Just(Kind::Rising),
        2 => (2usize..5).prop_map(Kind::Stretches),
        1 => Just(Kind::Falling),
        1 => Just(Kind::Constant),
        1 => Just(Kind::Nothing),
        1 => Just(Kind::Everything),
        2 => (0u64..1000).prop_map(Kind::Any),
    ]
}

/// The weight with this number in its masked places.
fn masked(weight: &[f32], input: usize, reach: &[usize], value: f32) -> Vec<f32> {
    let beyond = |at: usize| at % input >= reach[at / input];
    weight.iter().enumerate().map(|(at, w)| if beyond(at) { value } else { *w }).collect()
}

/// y, dx and each layer's gradients of weight and bias.
fn found(mlp: &Mlp, x: &[f32], dy: &[f32]) -> Vec<Vec<f32>> {
    let count = mlp.layers.len();
    let (mut y, mut same) = (stale(dy.len()), stale(dy.len()));
    mlp.forward(x, None, &mut y);
    let kept = mlp.record(x, None, &mut same);
    assert_same("recorded y", &same, &y);
    let wanted =
        GradientFlags { input: true, weights: vec![true; count], biases: vec![true; count] };
    let gradients = mlp.backward(x, kept, dy, &wanted);
    let mut all = vec![y, gradients.input.unwrap().to_vec()];
    let both = gradients.weights.into_iter().chain(gradients.biases);
    all.extend(both.map(|gradient| gradient.unwrap().to_vec()));
    all
}

fn widths() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1usize), 1usize..20, 60usize..70, 20usize..300]
}

proptest! {
    #![proptest_config(cases(80))]

    #[test]
    fn masked_layers_and_their_gradients_are_those_of_the_definition(
        rows in prop_oneof![1usize..30, 100usize..300, Just(4200usize)],
        input in widths(),
        output in widths(),
        kind in kinds(),
        value in prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(3.0)],
        seed in 0u64..1000,
    ) {
        prop_assume!(rows * input * output < 1 << 24);
        let reach = kind.reach(input, output);
        let weight = numbers(output * input, seed);
        let (x, dy) = (numbers(rows * input, seed + 1), numbers(rows * output, seed + 2));
        let bias = numbers(output, seed + 3);
        let (given, zero) = (masked(&weight, input, &reach, value), masked(&weight, input, &reach, 0.0));
        let layer = Layer {
            weight: &given,
            bias: Some(&bias),
            output,
            activation: Activation::None,
            reach: Some(&reach),
        };
        let mlp = Mlp { rows, input, layers: vec![layer] };
        let all = on_any_threads(|| found(&mlp, &x, &dy));
        let mut y = times(rows, input, output, |i, l| x[i * input + l], |l, j| zero[j * input + l]);
        for (k, y) in y.iter_mut().enumerate() {
            *y += f64::from(bias[k % output]);
        }
        assert_close("y", &all[0], &y, 5e-6);
        let dx = times(rows, output, input, |i, l| dy[i * output + l], |l, j| zero[l * input + j]);
        assert_close("dx", &all[1], &dx, 5e-6);
        let mut dw = times(output, rows, input, |i, l| dy[l * output + i], |l, j| x[l * input + j]);
        for (at, dw) in dw.iter_mut().enumerate() {
            if at % input >= reach[at / input] {
                assert_eq!(all[2][at].to_bits(), 0);
                *dw = 0.0;
            }
        }
        assert_close("dweight", &all[2], &dw, 2e-5);
    }

    #[test]
    fn masked_layers_in_a_row_have_the_bits_of_zeros(
        rows in prop_oneof![1usize..30, Just(64usize), 100usize..300],
        widths in prop::collection::vec(widths(), 2..5),
        kinds in prop::collection::vec(kinds(), 4),
        seed in 0u64..1000,
    ) {
        let (input, last) = (widths[0], widths.len() - 1);
        let (x, dy) = (numbers(rows * input, seed), numbers(rows * widths[last], seed + 1));
        let mut parts = Vec::new();
        for (l, sizes) in widths.windows(2).enumerate() {
            let reach = kinds[l].reach(sizes[0], sizes[1]);
            let weight = numbers(sizes[0] * sizes[1], seed + 2 + l as u64);
            let weight: Vec<f32> = weight.iter().map(|w| w / (sizes[0] as f32).sqrt()).collect();
            let with = |value| masked(&weight, sizes[0], &reach, value);
            parts.push(([with(f32::NAN), with(0.0)], reach, sizes[1]));
        }
        let mut layers = [Vec::new(), Vec::new()];
        for (l, ([own, zeros], reach, output)) in parts.iter().enumerate() {
            let activation = if l + 1 < last { Activation::Tanh } else { Activation::None };
            let layer = Layer { weight: own, bias: None, output: *output, activation, reach: Some(reach) };
            layers[0].push(layer);
            layers[1].push(Layer { weight: zeros, reach: None, ..layer });
        }
        let [own, zeros] = layers.map(|layers| found(&Mlp { rows, input, layers }, &x, &dy));
        for (k, (own, zeros)) in own.iter().zip(&zeros).enumerate() {
            match k.checked_sub(2).and_then(|l| parts.get(l)) {
                Some((_, reach, _)) => assert_same("dweight", own, &masked(zeros, widths[k - 2], reach, 0.0)),
                None => assert_same("y, dx or dbias", own, zeros),
            }
        }
    }
}
