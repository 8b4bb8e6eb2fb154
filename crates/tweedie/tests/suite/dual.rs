//! First and second derivatives along paths, in double precision: against differences of high order, reverse mode
//! against forward mode, and reverse mode over forward mode against differences in every parameter.

use crate::double::{along_parameters, moved};
use crate::support::*;
use burn::module::Module;
use burn::tensor::{DType, Tensor, TensorData};
use std::path::Path;
use tweedie::Draws;
use tweedie::data::Condition;
use tweedie::nn::*;
use tweedie::tensor::{Dual, jvp, vjp};

/// How far derivatives may lie from differences, relative to the largest.
const FINE: f64 = 1e-7;

pub fn draws(purpose: &str) -> Draws {
    Draws::new(91).purpose(purpose)
}

/// Standard normal values in double precision.
pub fn normal<const D: usize>(purpose: &str, shape: [usize; D]) -> Tensor<D> {
    let len: usize = shape.iter().product();
    let values: Vec<f64> = (0..len as u64).map(|i| draws(purpose).normal_f64(0, i)).collect();
    Tensor::from_data(TensorData::new(values, shape), (&cpu(), DType::F64))
}

fn column(values: &[f64]) -> Tensor<2> {
    doubles(values, 1)
}

/// The module with every parameter drawn anew, so that none is zero.
pub fn randomised<M: Module>(module: M, sd: f32) -> M {
    let mut params = collect_params(&module).unwrap();
    for (path, data) in &mut params {
        let values = data.as_mut_slice::<f32>().unwrap();
        let normals = draws(path).normals(0..1, values.len());
        values.iter_mut().zip(normals.values()).for_each(|(v, z)| *v = sd * z);
    }
    map_params(module, &params, Path::new("drawn")).unwrap()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Derivatives by the central difference of eighth order, of every entry.
fn differences(f: impl Fn(f64) -> Vec<f64>, h: f64) -> Vec<f64> {
    let weights = [4.0 / 5.0, -1.0 / 5.0, 4.0 / 105.0, -1.0 / 280.0];
    let mut sum = vec![0.0; f(0.0).len()];
    for (k, w) in (1..).zip(weights) {
        let (ahead, behind) = (f(f64::from(k) * h), f(-f64::from(k) * h));
        for (i, sum) in sum.iter_mut().enumerate() {
            *sum += w * (ahead[i] - behind[i]) / h;
        }
    }
    sum
}

/// Holds both derivatives along a curved path against differences: the first against those of the value, the second
/// against those of the first; and v·(J u) against u·(Jᵀ v).
fn path<const D: usize, const E: usize>(
    name: &str,
    x: Tensor<D>,
    h: f64,
    f: impl Fn(Dual<D>) -> Dual<E>,
) {
    let v = normal(&format!("{name} along"), x.dims());
    let a = normal(&format!("{name} bend"), x.dims());
    let at = |s: f64| x.clone() + v.clone() * s + a.clone().mul_scalar(0.5 * s * s);
    let speed = |s: f64| v.clone() + a.clone() * s;
    let out = f(Dual { value: x.clone(), tangent: Some(v.clone()), second: Some(a.clone()) });
    let [tangent, second] = [out.tangent, out.second].map(|part| host(&part.expect(name)));
    let value = |s| host(&f(at(s).into()).value);
    all_close(format!("{name}: value"), &host(&out.value), &value(0.0), 1e-12);
    let first = |s| {
        let out = f(Dual::new(at(s), speed(s)));
        assert!(out.second.is_none(), "{name}: a second derivative that nobody asked for");
        host(&out.tangent.expect(name))
    };
    all_close(format!("{name}: tangent of a line"), &first(0.0), &tangent, 1e-12);
    all_close(format!("{name}: tangent"), &tangent, &differences(value, h), FINE);
    all_close(format!("{name}: second"), &second, &differences(first, h), FINE);

    let u = normal(&format!("{name} upstream"), out.value.dims());
    let (_, pulled) = vjp(|x| Ok(f(x)), x.clone(), u.clone()).unwrap();
    let (_, pushed) = jvp(|x| Ok(f(x)), x, v.clone()).unwrap();
    let scale = host(&u).iter().map(|u| u.abs()).sum::<f64>();
    let (forward, reverse) = (dot(&host(&u), &host(&pushed)), dot(&host(&v), &host(&pulled)));
    within(
        format!("{name}: reverse mode"),
        forward,
        reverse,
        1e-10 * scale * forward.abs().max(1.0),
    );
}

/// [`path`] for a module, and reverse mode over value and both derivatives against differences along a direction of all
/// parameters.
fn module<M: Module, const D: usize, const E: usize>(
    name: &str,
    module: M,
    x: Tensor<D>,
    h: f64,
    f: impl Fn(&M, Dual<D>) -> Dual<E>,
) {
    let double = moved(&module, 0.0);
    path(name, x.clone(), h, |x| f(&double, x));
    let v = normal(&format!("{name} along"), x.dims());
    let dims = f(&double, x.clone().into()).dims();
    let [w0, w1, w2] = ["w0", "w1", "w2"].map(|w| normal::<E>(&format!("{name} {w}"), dims));
    let sum = |module: &M| {
        let out = f(module, Dual::line(x.clone(), v.clone()));
        let first = out.tangent.expect(name) * w1.clone();
        (out.value * w0.clone() + first + out.second.expect(name) * w2.clone()).sum()
    };
    let (reverse, difference) = along_parameters(&module, sum, |m| host(&sum(m))[0]);
    close(format!("{name}: reverse over forward"), reverse, difference, 1e-6);
}

#[test]
fn functions_have_two_derivatives() {
    let x: Vec<f64> = (-20..20).map(|k| (f64::from(k) + 0.5) * 0.17).collect();
    let x = doubles(&x, 5);
    for activation in [Activation::Silu, Activation::Gelu, Activation::Tanh, Activation::Softplus] {
        path(&format!("{activation:?}"), x.clone(), 1e-2, |x| activation.forward(x));
    }
    // Differences stay on one side of the kink.
    path("relu", x.clone(), 1e-3, Dual::relu);
    let positive = x.clone().abs().add_scalar(0.8);
    path("1/x", positive.clone(), 3e-3, Dual::recip);
    path("√x", positive.clone(), 3e-3, Dual::sqrt);
    path("ln x", positive, 3e-3, Dual::log);
    path("x²", x.clone(), 1e-2, Dual::square);
    path("eˣ", x.clone(), 1e-2, Dual::exp);
    path("sin x", x.clone(), 1e-2, Dual::sin);
    path("cos x", x.clone(), 1e-2, Dual::cos);
    path("sigmoid", x.clone(), 1e-2, Dual::sigmoid);
    path("softmax", x.clone(), 1e-2, |x| x.softmax(1));
    path("softmax across", x.clone(), 1e-2, |x| x.softmax(0));
    path("mean and sum", x.clone(), 1e-2, |x| x.clone().mean_dim(1) * x.sum_dim(0));
    path("x sin x − x", x.clone(), 1e-2, |x| x.clone() * x.clone().sin() - x);
    let narrow = |x: &Dual<2>, n| x.clone().linear(|v| v.narrow(1, 0, n));
    path("broadcast product", x.clone(), 1e-2, |x| narrow(&x, 1).sin() * x);
    path("broadcast sum", x.clone(), 1e-2, |x| narrow(&x, 1).exp() + x.square());
    let square = |x: &Dual<2>| x.clone().linear(|v| v.narrow(0, 0, 5));
    path("matrix product", x.clone(), 1e-2, |x| x.clone().matmul(square(&x).sin()));
    // Constants beside what moves.
    let fixed: Tensor<2> = normal("fixed", [8, 5]);
    let fixed = || fixed.clone();
    path("constant times", x.clone(), 1e-2, |x| x.exp() * fixed());
    path("times constant", x.clone(), 1e-2, |x| Dual::from(fixed()) * narrow(&x, 1).exp());
    path("column plus constant", x.clone(), 1e-2, |x| narrow(&x, 1).exp() + fixed());
    path("constant matrix", x.clone(), 1e-2, |x| Dual::from(fixed()).matmul(square(&x).exp()));
    path("joined", x.clone(), 1e-2, |x| x.clone().square().join(x.sin()));
    path("joined with a constant", x.clone(), 1e-2, |x| x.square().join(fixed().into()));
    path("concatenation", x.clone(), 1e-2, |x| {
        Dual::cat(vec![fixed().into(), x.clone().exp(), x.reshape([8, 5])], 1)
    });
    let cube = |x: Dual<2>| x.clone() * x.square();
    path("shapes", x, 1e-2, |x| cube(x).reshape([5, 8]).swap_dims(0, 1));
}

#[test]
fn a_result_has_the_least_order_of_its_arguments() {
    let x: Tensor<2> = normal("x", [2, 3]);
    let (line, first) = (Dual::line(x.clone(), x.clone()), Dual::new(x.clone(), x.clone()));
    let constant = Dual::from(x.clone());
    type Binary = fn(Dual<2>, Dual<2>) -> Dual<2>;
    let all: [(&str, Binary); 4] = [
        ("sum", |a, b| a + b),
        ("product", |a, b| a * b),
        ("join", Dual::join),
        ("cat", |a, b| Dual::cat(vec![a, b], 0)),
    ];
    for (name, f) in all {
        let orders = |y: Dual<2>| (y.tangent.is_some(), y.second.is_some());
        assert_eq!(orders(f(line.clone(), line.clone())), (true, true), "{name}");
        assert_eq!(orders(f(line.clone(), constant.clone())), (true, true), "{name}");
        assert_eq!(orders(f(line.clone(), first.clone())), (true, false), "{name}");
        assert_eq!(orders(f(constant.clone(), first.clone())), (true, false), "{name}");
        assert_eq!(orders(f(constant.clone(), constant.clone())), (false, false), "{name}");
    }
}

#[test]
fn layers_have_two_derivatives() {
    let device = cpu();
    let linear = LinearConfig::new(6, 4).init(&draws("linear"), &device);
    // A linear layer alone has no second derivative by its input: what is squared has.
    module("linear", linear, normal("x", [5, 6]), 1e-2, |m, x| m.forward(x).square());
    let linear = LinearConfig::new(6, 4).init(&draws("linear"), &device);
    let then = |m: &Linear, x| m.forward_then(x, Activation::Silu);
    module("linear and silu", linear, normal("x", [5, 6]), 1e-2, then);
    for (kernel, stride) in [(1, 1), (3, 1), (3, 2)] {
        let conv = Conv2dConfig::new(3, 4, kernel).with_stride(stride);
        let conv = conv.init(&draws("conv"), &device);
        let name = format!("{kernel}×{kernel} convolution of stride {stride}");
        let x = normal("image", [2, 4, 6, 3]);
        module(&name, conv, x, 1e-2, |m, x| m.forward(x).square());
    }
    let conv = Conv2dConfig::new(3, 3, 3).init(&draws("conv"), &device);
    module("convolution with features", conv, normal("image", [2, 4, 6, 3]), 1e-2, |m, x| {
        let features = x.clone().linear(|x| x.narrow(1, 0, 1).narrow(2, 0, 1).reshape([2, 3]));
        m.forward_plus(x.clone(), Some(features.square()), Some(x.sin()))
    });
    for groups in [1, 2, 6] {
        let norm = randomised(GroupNormConfig::new(groups, 6).init(&device), 1.0);
        let name = format!("norm of {groups} groups");
        module(&name, norm, normal("image", [3, 2, 5, 6]), 3e-3, |m, x: Dual<4>| m.forward(x));
    }
    let norm = randomised(GroupNormConfig::new(2, 6).init(&device), 1.0);
    module("modulated norm", norm, normal("x", [4, 6]), 3e-3, |m, x: Dual<2>| {
        let both = Dual::cat(vec![x.clone().sin(), x.clone().square()], 1);
        m.forward_then(x, Some(both), Some(Activation::Gelu))
    });
    let resized = |x: Dual<4>| x.linear(tweedie_ops::double).square().linear(tweedie_ops::halve);
    path("resizing", normal("image", [2, 4, 6, 3]), 1e-2, resized);
    path("attention", normal("tokens", [2, 5, 12]), 3e-3, |x| {
        let part = |from| x.clone().linear(|x| x.narrow(2, from, 4));
        attention(part(0), part(4), part(8), 2)
    });
    let width = randomised(LayerNormConfig::new(6).init(&device), 1.0);
    module("layer norm", width, normal("x", [4, 6]), 3e-3, |m, x: Dual<2>| m.forward(x));
    let net = TransformerConfig::new(4, 2, 2).with_hidden(6).init(&draws("transformer"), &device);
    let net = randomised(net.unwrap(), 0.4);
    module("transformer", net, normal("tokens", [2, 3, 4]), 2e-3, |m, x| m.forward(x));
    let time = TimeEmbeddingConfig::new(6, 8).init(&draws("time"), &device);
    let noise = column(&[-1.7, -0.4, 0.0, 0.3, 0.9, 1.9]);
    module("time embedding", time, noise, 2e-4, |m, x| m.forward(x));
}

/// A network in its input, in the level, and in both at once.
fn network<N: Network>(name: &str, net: N, x: Tensor<2>, levels: Tensor<2>, c: &Condition, h: f64) {
    let net = randomised(net, 0.25);
    let forward = |net: &N, x, levels| net.forward(x, levels, c).unwrap();
    module(&format!("{name} in x"), net.clone(), x.clone(), 2e-3, |net, x| {
        forward(net, x, levels.clone().into())
    });
    module(&format!("{name} in the level"), net.clone(), levels.clone(), h, |net, levels| {
        forward(net, x.clone().into(), levels)
    });
    // The level moves with the first coordinate, as a time does along a solver's path.
    module(&format!("{name} in both"), net, x.clone(), h.min(2e-3), |net, x| {
        let level = x.clone().linear(|x| x.narrow(1, 0, 1)).sin().mul_scalar(0.1);
        forward(net, x, level + levels.clone())
    });
}

#[test]
fn the_residual_mlp_has_two_derivatives() {
    let config = ResidualMlpConfig::new(3).with_hidden(12).with_blocks(2);
    let x = normal("x", [5, 3]);
    let levels = column(&[-1.5, -0.7, 0.1, 0.8, 1.6]);
    let class = Condition::Class(vec![Some(0), Some(3), None, Some(1), Some(1)]);
    for (config, condition) in [
        (config.clone(), Condition::None),
        (ResidualMlpConfig { activation: Activation::Gelu, ..config }.with_classes(4), class),
    ] {
        let name = format!("mlp with {}", condition.kind());
        let net = config.init(&draws("mlp"), &cpu());
        network(&name, net, x.clone(), levels.clone(), &condition, 2e-4);
    }
}

#[test]
fn the_unet_has_two_derivatives() {
    let small = UNetConfig {
        block_out_channels: vec![2, 4],
        norm_num_groups: 2,
        attention_head_dim: Some(2),
        layers_per_block: 1,
        ..UNetConfig::small([1, 4, 4])
    };
    let attention = UNetConfig {
        down_block_types: vec![DownBlock::Plain, DownBlock::Attention],
        up_block_types: vec![UpBlock::Attention, UpBlock::Plain],
        downsample_type: Resampling::Resnet,
        upsample_type: Resampling::Resnet,
        resnet_time_scale_shift: TimeScaleShift::ScaleShift,
        classes: 3,
        num_class_embeds: Some(4),
        ..small.clone()
    };
    let fourier = UNetConfig {
        time_embedding_type: TimeEmbeddingType::Fourier,
        down_block_types: vec![DownBlock::Resnet; 2],
        up_block_types: vec![UpBlock::Resnet; 2],
        downsample_padding: 0,
        ..small.clone()
    };
    let learned = UNetConfig {
        time_embedding_type: TimeEmbeddingType::Learned,
        num_train_timesteps: Some(10),
        ..small.clone()
    };
    let class = Condition::Class(vec![Some(2), None]);
    for (name, config, condition, levels, h) in [
        ("plain unet", small, Condition::None, [100.0, 700.0], 1e-2),
        ("unet with attention", attention, class, [5.0, 60.0], 1e-2),
        ("unet of random frequencies", fourier, Condition::None, [0.4, 1.5], 2e-4),
        ("unet of learned times", learned, Condition::None, [0.45, 3.7], 1e-2),
    ] {
        let net = config.init(&draws("unet"), &cpu()).unwrap();
        network(name, net, normal("x", [2, 16]), column(&levels), &condition, h);
    }
}

/// A network given as a list of layers, in single precision as its weights are: against differences to 1% and reverse
/// mode to 1e-5.
#[test]
fn networks_of_listed_layers_have_two_derivatives() {
    let pool = |size, stride, padding| Pool { size, stride, padding };
    let name = |name: &str| name.to_string();
    let layers = [
        Layer::Conv { name: name("conv"), stride: 1, padding: 1 },
        Layer::BatchNorm { name: name("norm"), epsilon: 1e-5 },
        Layer::Gelu,
        Layer::MaxPool(pool(3, Some(2), 1)),
        Layer::AveragePool(pool(2, Some(1), 1)),
        Layer::Silu,
        Layer::Flatten,
        Layer::Linear { name: name("linear") },
        Layer::Features,
        Layer::Tanh,
    ];
    let mut params = Params::new();
    let single = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<f32>>();
    let mut put = |name: &str, shape: &[usize]| {
        let values = host(&normal(name, [shape.iter().product::<usize>()])).into_iter();
        let value = |v: f64| if name.ends_with("var") { 0.5 + v.abs() } else { 0.5 * v };
        params.insert(name.into(), TensorData::new(single(values.map(value).collect()), shape));
    };
    put("conv.weight", &[3, 2, 3, 3]);
    put("conv.bias", &[3]);
    for part in ["weight", "bias", "running_mean", "running_var"] {
        put(&format!("norm.{part}"), &[3]);
    }
    // 7 × 5 pixels pool to 4 × 3 and then to 5 × 4.
    put("linear.weight", &[4, 60]);
    put("linear.bias", &[4]);
    let net = Sequential::new(&layers, [2, 7, 5], &params, Path::new("drawn"), &cpu()).unwrap();
    let of = |x: Dual<2>| net.forward(x).unwrap().1.unwrap();
    let [x, v, a] = ["x", "v", "a"].map(|name| normal::<2>(name, [2, 70]).cast(DType::F32));
    let at = |s: f64| x.clone() + v.clone() * s + a.clone().mul_scalar(0.5 * s * s);
    let speed = |s: f64| v.clone() + a.clone() * s;
    let out = of(Dual { value: x.clone(), tangent: Some(v.clone()), second: Some(a.clone()) });
    let value = |s| host(&of(at(s).into()).value);
    all_close("value", &host(&out.value), &value(0.0), 1e-6);
    let first = |s| host(&of(Dual::new(at(s), speed(s))).tangent.unwrap());
    all_close("tangent", &host(&out.tangent.unwrap()), &differences(value, 3e-4), 1e-2);
    all_close("second", &host(&out.second.unwrap()), &differences(first, 3e-4), 1e-2);
    let u = normal::<2>("u", [2, 4]).cast(DType::F32);
    let (_, pulled) = vjp(|x| Ok(of(x)), x.clone(), u.clone()).unwrap();
    let pushed = dot(&host(&u), &first(0.0));
    within("reverse mode", dot(&host(&v), &host(&pulled)), pushed, 1e-5 * pushed.abs().max(1.0));
}
