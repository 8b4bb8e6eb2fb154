//! Operations on tensors against their portable bodies in f64, values and all gradients, on inputs that are views.

use super::common::*;
use crate::kernels::activation::Activation;
use crate::kernels::spline::{Direction, Ends, Spline, Splines};
use crate::{Addend, ConvSizes, LinearLayer, LogisticMixture, Modulation, Norm, Shares};
use burn::tensor::{DType, Device, Tensor, TensorData};
use proptest::prelude::*;

/// An input's shape and numbers, with what they lie among in memory.
struct Input {
    shape: Vec<usize>,
    /// The shape of the tensor that the input is a part of, transposed.
    around: Vec<usize>,
    values: Vec<f32>,
}

impl Input {
    /// Numbers of the given shape inside a tensor whose order of dimensions is reversed and which has one more of each.
    fn new(shape: &[usize], seed: u64) -> Self {
        let around: Vec<usize> = shape.iter().rev().map(|size| size + 1).collect();
        let values = numbers(around.iter().product(), seed);
        Self { shape: shape.to_vec(), around, values }
    }

    /// The input as a leaf, and as the view that operations are given.
    fn tensor<const D: usize>(&self, dtype: DType, device: &Device) -> (Tensor<D>, Tensor<D>) {
        let around: [usize; D] = self.around.clone().try_into().unwrap();
        let data = TensorData::new(self.values.clone(), around).convert_dtype(dtype);
        let leaf = Tensor::<D>::from_data(data, (device, dtype)).require_grad();
        let axes: [isize; D] = std::array::from_fn(|d| (D - 1 - d) as isize);
        let mut view = leaf.clone().permute(axes);
        for (d, size) in self.shape.iter().enumerate() {
            view = view.narrow(d, 1, *size);
        }
        (leaf, view)
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.to_data().convert::<f64>().try_into_vec().unwrap()
}

/// The gradients of Σ y w for fixed numbers w, one of each leaf, and y first.
macro_rules! run {
    ($dtype:expr, [$($input:expr => $rank:literal as $name:ident),+], $body:expr) => {{
        let device = Device::flex().autodiff();
        let mut results = Vec::new();
        let mut leaves: Vec<Box<dyn Fn(&burn::tensor::Gradients) -> Vec<f64>>> = Vec::new();
        $(
            let (leaf, $name) = $input.tensor::<$rank>($dtype, &device);
            leaves.push(Box::new(move |gradients| values(leaf.grad(gradients).unwrap())));
        )+
        let y = $body;
        let shape = y.dims();
        let data = TensorData::new(numbers(y.shape().num_elements(), 99), shape);
        let weights = Tensor::from_data(data.convert_dtype($dtype), (&device, $dtype));
        results.push(values(y.clone().inner()));
        let gradients = (y * weights).sum().backward();
        results.extend(leaves.iter().map(|leaf| leaf(&gradients)));
        results
    }};
}

/// Asserts that the fused operation in f32 and the portable one in f64 agree.
macro_rules! assert_agree {
    ([$($input:expr => $rank:literal as $name:ident),+], $body:expr) => {{
        let fused = run!(DType::F32, [$($input => $rank as $name),+], $body);
        let exact = run!(DType::F64, [$($input => $rank as $name),+], $body);
        for (k, (fused, exact)) in fused.iter().zip(&exact).enumerate() {
            let fused: Vec<f32> = fused.iter().map(|x| *x as f32).collect();
            assert_close(&format!("result {k}"), &fused, exact, 3e-5);
        }
    }};
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn convolutions(
        n in 1usize..4, h in 1usize..9, w in 1usize..9,
        channels in prop_oneof![Just([1, 3]), Just([5, 16]), Just([32, 48]), Just([33, 1])],
        kernel in prop_oneof![Just(1usize), Just(3)], stride in 1usize..3, seed in 0u64..1000,
    ) {
        let [ci, co] = channels;
        let sizes = ConvSizes { stride, padding: [(kernel / 2, kernel as isize / 2); 2] };
        let (oh, ow) = ((h - 1) / stride + 1, (w - 1) / stride + 1);
        let (x, weight) = (Input::new(&[n, h, w, ci], seed), Input::new(&[co, ci, kernel, kernel], seed + 1));
        let (bias, features) = (Input::new(&[co], seed + 2), Input::new(&[n, co], seed + 3));
        let residual = Input::new(&[n, oh, ow, co], seed + 4);
        assert_agree!([
            x => 4 as x, weight => 4 as weight, bias => 1 as bias, features => 2 as features, residual => 4 as residual
        ], {
            let added = Addend { bias: Some(bias), features: Some(features), residual: Some(residual) };
            crate::conv2d(x, weight, added, sizes)
        });
    }

    #[test]
    fn convolutions_with_one_side_of_zeros(
        n in 1usize..4, h in 1usize..9, w in 2usize..9, cut in 0isize..2, seed in 0u64..1000,
    ) {
        // What reads the rows above and the pixels to the left: with the pixel itself, or one further on.
        let sizes = ConvSizes { stride: 1, padding: [(1 + cut as usize, -cut), (2 + cut as usize, -cut)] };
        let (x, weight) = (Input::new(&[n, h, w, 5], seed), Input::new(&[7, 5, 2, 3], seed + 1));
        assert_agree!([x => 4 as x, weight => 4 as weight], {
            let y = crate::conv2d(x, weight, Addend::default(), sizes);
            assert_eq!(y.dims(), [n, h, w, 7]);
            y
        });
    }

    #[test]
    fn likelihoods(n in 1usize..40, width in 1usize..40, seed in 0u64..1000) {
        let (x, v) = (Input::new(&[n, width], seed), Input::new(&[n, width], seed + 1));
        assert_agree!([x => 2 as x], crate::log_sum_exp(x));
        assert_agree!([x => 2 as x, v => 2 as v], crate::bernoulli(x, v));
        assert_agree!([x => 2 as x], {
            let v = x.clone().detach().narrow(0, 0, 1).sign();
            crate::bernoulli_rows(v, x)
        });
    }

    #[test]
    fn bounds(n in 1usize..40, width in 1usize..40, seed in 0u64..1000) {
        let x = Input::new(&[n, width], seed);
        assert_agree!([x => 2 as x], crate::bounded(x, 1.5));
    }

    #[test]
    fn gates(
        n in 1usize..40, width in 1usize..40, which in 0..Activation::ALL.len(), seed in 0u64..1000,
    ) {
        prop_assume!(![Activation::Relu, Activation::Exp].contains(&Activation::ALL[which]));
        let x = Input::new(&[n, 2, 2 * width], seed);
        assert_agree!([x => 3 as x], crate::gate(x, Activation::ALL[which]));
    }

    #[test]
    fn linear_layers(
        rows in 1usize..40, input in 1usize..40, hidden in 1usize..40, output in 1usize..40,
        which in 0..Activation::ALL.len(), seed in 0u64..1000,
    ) {
        // Slopes of ReLU at rounding's distance from its bend are either, and exponentials of sums of many would not be
        // compared on one scale.
        prop_assume!(![Activation::Relu, Activation::Exp].contains(&Activation::ALL[which]));
        let (x, residual) = (Input::new(&[rows, input], seed), Input::new(&[rows, output], seed + 1));
        let (first, second) = (Input::new(&[hidden, input], seed + 2), Input::new(&[output, hidden], seed + 3));
        let bias = Input::new(&[hidden], seed + 4);
        assert_agree!([
            x => 2 as x, first => 2 as first, bias => 1 as bias, second => 2 as second, residual => 2 as residual
        ], {
            let activation = Activation::ALL[which];
            let first = LinearLayer { weight: first / input as f64, bias: Some(bias), activation, reach: None };
            let (second, activation) = (second / hidden as f64, Activation::None);
            let second = LinearLayer { weight: second, bias: None, activation, reach: None };
            crate::mlp(x, vec![first, second], Some(residual))
        });
    }

    #[test]
    fn masked_linear_layers(
        rows in 1usize..40, input in 1usize..40, hidden in 1usize..80, output in 1usize..40, seed in 0u64..1000,
    ) {
        let x = Input::new(&[rows, input], seed);
        let (first, second) = (Input::new(&[hidden, input], seed + 2), Input::new(&[output, hidden], seed + 3));
        let bias = Input::new(&[hidden], seed + 4);
        let reach = |input: usize, output: usize| Some((0..output).map(|o| o * (input + 1) / output).collect());
        assert_agree!([x => 2 as x, first => 2 as first, bias => 1 as bias, second => 2 as second], {
            let (first, second) = (first / input as f64, second / hidden as f64);
            let activation = Activation::Tanh;
            let first = LinearLayer { weight: first, bias: Some(bias), activation, reach: reach(input, hidden) };
            let activation = Activation::None;
            let second = LinearLayer { weight: second, bias: None, activation, reach: reach(hidden, output) };
            crate::mlp(x, vec![first, second], None)
        });
    }

    /// From none to so many that they go in two parts; the weight is each layer's.
    #[test]
    fn many_linear_layers(rows in 1usize..9, width in 1usize..20, layers in 0usize..14, seed in 0u64..1000) {
        let (x, weight) = (Input::new(&[rows, width], seed), Input::new(&[width, width], seed + 1));
        assert_agree!([x => 2 as x, weight => 2 as weight], {
            let weight = weight / width as f64;
            let layer = LinearLayer { weight: weight.clone(), bias: None, activation: Activation::Silu, reach: None };
            crate::mlp(x, vec![layer; layers], None) + weight.sum_dim(0)
        });
    }

    #[test]
    fn norms(
        n in 1usize..4, pixels in prop_oneof![Just(1usize), 1usize..20], groups in 1usize..4,
        each in 1usize..9, shares in 0usize..3, seed in 0u64..1000,
    ) {
        let channels = groups * each;
        // A lone number's normalisation is constant.
        prop_assume!(match shares { 0 => pixels * each > 1, 1 => channels > 1, _ => true });
        let (shares, activation) = match shares {
            0 => (Shares::Group(groups), Activation::Silu),
            1 => (Shares::Layer, Activation::None),
            _ => (Shares::RootMeanSquare, Activation::None),
        };
        let norm = Norm { shares, epsilon: 1e-2, activation };
        let x = Input::new(&[n, pixels, channels], seed);
        let (weight, bias) = (Input::new(&[channels], seed + 1), Input::new(&[channels], seed + 2));
        let both = Input::new(&[n, 2 * channels], seed + 3);
        assert_agree!([x => 3 as x, weight => 1 as weight, bias => 1 as bias, both => 2 as both], {
            norm.apply(x, Modulation { weight: Some(weight), bias: Some(bias), scale_shift: Some(both) })
        });
    }

    #[test]
    fn attentions(
        n in 1usize..4, queries in 1usize..20, keys in 1usize..20, heads in 1usize..4, head in 1usize..20,
        seed in 0u64..1000,
    ) {
        let width = heads * head;
        let input = |tokens: usize, k: u64| Input::new(&[n, tokens, width], seed + k);
        let [q, k, v] = [input(queries, 0), input(keys, 1), input(keys, 2)];
        assert_agree!([q => 3 as q, k => 3 as k, v => 3 as v], crate::attention(q, k, v, heads));
        let qkv = Input::new(&[n, queries, 3 * width], seed + 3);
        assert_agree!([qkv => 3 as qkv], crate::self_attention(qkv, heads));
        assert_agree!([qkv => 3 as qkv], crate::causal_self_attention(qkv, heads));
    }

    #[test]
    fn pictures_and_functions(
        n in 1usize..4, h in 2usize..7, w in 2usize..7, c in 1usize..20, d in 1usize..20,
        which in 0..Activation::ALL.len(), seed in 0u64..1000,
    ) {
        let (x, z) = (Input::new(&[n, h, w, c], seed), Input::new(&[n, h, w, d], seed + 1));
        assert_agree!([x => 4 as x], crate::double(x));
        assert_agree!([x => 4 as x], crate::halve(x));
        assert_agree!([x => 4 as x, z => 4 as z], crate::join(x, z));
        assert_agree!([x => 4 as x], crate::activate(x, Activation::ALL[which]));
    }
}

#[test]
fn logistic_mixtures() {
    let device = Device::flex().autodiff();
    let of = LogisticMixture {
        components: 3,
        step: 0.25,
        origin: 0.0,
        ends: [-1.0, 1.0],
        most: 9.0,
        usual: -2.0,
    };
    let (n, m) = (4, 5);
    let (x, parameters) = (numbers(n * m, 1), Input::new(&[n, m, 9], 2));
    let (leaf, view) = parameters.tensor::<3>(DType::F32, &device);
    let values = Tensor::<2>::from_data(TensorData::new(x.clone(), [n, m]), (&device, DType::F32));
    let y = crate::logistic_mixture(values, view.clone(), of).unwrap();
    let gradients = y.clone().sum().backward();
    let numbers_of = |data: TensorData| data.try_into_vec::<f32>().unwrap();
    let parameters = numbers_of(view.inner().to_data());
    let (mut exact, mut dp) = (stale(n * m), stale(parameters.len()));
    of.log_likelihood(&x, &parameters, &mut exact);
    of.slopes(&x, &parameters, &vec![1.0; n * m], &mut dp);
    assert_same("y", &numbers_of(y.inner().to_data()), &exact);
    // The view is of a leaf with its dimensions in reverse.
    let found = leaf.grad(&gradients).unwrap().permute([2, 1, 0]);
    let found = found.narrow(0, 1, n).narrow(1, 1, m).narrow(2, 1, 9);
    assert_same("gradient", &numbers_of(found.to_data()), &dp);
    let double = Tensor::<2>::zeros([1, 1], (&device, DType::F64));
    let parameters = Tensor::<3>::zeros([1, 1, 9], (&device, DType::F64));
    assert!(crate::logistic_mixture(double, parameters, of).is_none());
}

#[test]
fn splines() {
    let device = Device::flex().autodiff();
    let family = Spline { bins: 6, bound: 1.5, ends: Ends::Linear };
    let (rows, width) = (5, 4);
    let wide = width * family.parameters();
    let [x, parameters] = [(width, 1), (wide, 2)].map(|(len, seed)| numbers(rows * len, seed));
    let dy = numbers(rows * (width + 1), 3);
    let tensor = |x: &[f32], width: usize| {
        let data = TensorData::new(x.to_vec(), [width, rows]);
        Tensor::<2>::from_data(data, (&device, DType::F32))
    };
    let numbers_of = |x: Tensor<2>| x.to_data().try_into_vec::<f32>().unwrap();
    for direction in [Direction::ToNoise, Direction::ToData] {
        // Views of transposed leaves.
        let leaf = |x: &[f32], len: usize| {
            let across = (0..len).flat_map(|j| x[j..].iter().step_by(len).copied());
            tensor(&across.collect::<Vec<f32>>(), len).require_grad()
        };
        let leaves = [leaf(&x, width), leaf(&parameters, wide)];
        let [of, by] = leaves.clone().map(Tensor::transpose);
        let y = crate::spline(of, by, family, direction).unwrap();
        let weights = leaf(&dy, width + 1).detach().transpose();
        let gradients = (y.clone() * weights).sum().backward();
        let splines = Splines { rows, width, family, direction };
        let [mut exact, mut dx, mut dp] = [&dy, &x, &parameters].map(|like| stale(like.len()));
        splines.forward(&x, &parameters, &mut exact);
        splines.backward(&x, &parameters, &dy, &mut dx, &mut dp);
        assert_same("y", &numbers_of(y.inner()), &exact);
        for (leaf, exact) in leaves.iter().zip([dx, dp]) {
            let found = leaf.grad(&gradients).unwrap().transpose();
            assert_same("gradient", &numbers_of(found), &exact);
        }
    }
    let double = Tensor::<2>::zeros([1, 1], (&device, DType::F64));
    assert!(crate::spline(double.clone(), double, family, Direction::ToNoise).is_none());
}
