//! Layers and networks: directional derivatives against differences and reverse mode.

use crate::support::*;
use burn::module::Module;
use burn::tensor::Tensor;
use std::path::Path;
use tweedie::data::Condition;
use tweedie::nn::*;
use tweedie::tensor::Dual;
use tweedie::{Draws, Error};

pub fn draws(purpose: &str) -> Draws {
    Draws::new(77).purpose(purpose)
}

fn normal<const D: usize>(purpose: &str, shape: [usize; D]) -> Tensor<D> {
    let len = shape.iter().product();
    singles(draws(purpose).normals(0..1, len).values().to_vec(), shape)
}

/// The module with every parameter drawn anew, so that none is zero.
fn randomised<M: Module>(module: M, sd: f32) -> M {
    let mut params = collect_params(&module).unwrap();
    for (path, data) in &mut params {
        let values = data.as_mut_slice::<f32>().unwrap();
        let normals = draws(path).normals(0..1, values.len());
        values.iter_mut().zip(normals.values()).for_each(|(v, z)| *v = sd * z);
    }
    map_params(module, &params, Path::new("drawn")).unwrap()
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Holds J ẋ against central differences with step `h`, to 1% of its norm, and against reverse mode, to 1e-5: for
/// every u, u·(J ẋ) = ẋ·(Jᵀ u).
pub fn derivative<const D: usize, const E: usize>(
    name: &str,
    x: Tensor<D>,
    h: f64,
    f: impl Fn(Dual<D>) -> Dual<E>,
) {
    let along = normal(&format!("{name} along"), x.dims());
    let out = f(Dual::new(x.clone(), along.clone()));
    let tangent = host(&out.tangent.expect("a tangent goes through"));
    // Without a tangent the fused operations run, which round otherwise.
    let plain = host(&f(x.clone().into()).value);
    all_close(format!("{name} with a tangent"), &host(&out.value), &plain, 1e-5);
    assert!(norm(&tangent) > 1e-3, "{name}: the derivative vanishes");

    let at = |h: f64| host(&f((x.clone() + along.clone().mul_scalar(h)).into()).value);
    let (ahead, behind) = (at(h), at(-h));
    let error: Vec<f64> =
        (0..tangent.len()).map(|i| (ahead[i] - behind[i]) / (2.0 * h) - tangent[i]).collect();
    let relative = norm(&error) / norm(&tangent);
    assert!(relative < 1e-2, "{name}: {relative:e} from differences");

    let upstream: Tensor<E> = normal(&format!("{name} upstream"), out.value.dims());
    let tracked = x.autodiff().require_grad();
    let sum = (f(tracked.clone().into()).value * upstream.clone()).sum();
    let gradient = host(&tracked.grad(&sum.backward()).expect("x has a gradient"));
    let (forward, reverse) = (dot(&host(&upstream), &tangent), dot(&host(&along), &gradient));
    let scale = norm(&host(&upstream)) * norm(&tangent);
    within(format!("{name}: reverse mode"), forward, reverse, 1e-5 * scale);
}

#[test]
fn directional_derivatives_of_layers() {
    let device = cpu();
    let linear = LinearConfig::new(6, 4).init(&draws("linear"), &device);
    derivative("linear", normal("x", [5, 6]), 1e-2, |x| linear.forward(x));
    let bare = LinearConfig::new(6, 4).with_bias(false).init(&draws("linear"), &device);
    derivative("linear without bias", normal("x", [5, 6]), 1e-2, |x| bare.forward(x));
    for (kernel, stride) in [(1, 1), (3, 1), (5, 1), (3, 2)] {
        let conv = Conv2dConfig::new(3, 4, kernel).with_stride(stride);
        let conv = conv.init(&draws("conv"), &device);
        let x: Tensor<4> = normal("image", [2, 7, 6, 3]);
        let name = format!("{kernel}×{kernel} convolution of stride {stride}");
        derivative(&name, x.clone(), 1e-2, |x| conv.forward(x));
        let size = conv.forward(x.into()).dims();
        assert_eq!(size, [2, 7usize.div_ceil(stride), 6usize.div_ceil(stride), 4], "{name}");
    }
    for groups in [1, 2, 6] {
        let group_norm = randomised(GroupNormConfig::new(groups, 6).init(&device), 1.0);
        let name = format!("norm of {groups} groups");
        derivative(&name, normal("image", [3, 4, 5, 6]), 1e-2, |x: Dual<4>| group_norm.forward(x));
    }
    let row_norm = randomised(GroupNormConfig::new(2, 8).init(&device), 1.0);
    derivative("norm of rows", normal("x", [4, 8]), 3e-3, |x: Dual<2>| row_norm.forward(x));
}

#[test]
fn directional_derivatives_of_activations() {
    // Away from relu's kink by more than a step.
    let x: Vec<f32> = (-20..20).map(|k| (k as f32 + 0.5) * 0.2).collect();
    let x: Tensor<2> = singles(x, [8, 5]);
    let smooth = [Activation::Silu, Activation::Gelu, Activation::Tanh, Activation::Softplus];
    for activation in smooth.into_iter().chain([Activation::Relu]) {
        derivative(&format!("{activation:?}"), x.clone(), 1e-2, |x| activation.forward(x));
    }
}

#[test]
fn directional_derivatives_of_the_time_embedding() {
    // The highest frequency is 32 · 2π, hence the small step.
    let embedding = TimeEmbeddingConfig::new(16, 12).init(&draws("time"), &cpu());
    let noise = singles(vec![-1.7, -0.4, 0.0, 0.3, 0.9, 1.9], [6, 1]);
    derivative("time", noise, 3e-4, |noise: Dual<2>| embedding.forward(noise));
}

#[test]
fn directional_derivatives_of_the_residual_mlp() {
    let config = ResidualMlpConfig::new(3).with_hidden(32).with_blocks(2);
    let x: Tensor<2> = normal("x", [5, 3]);
    let noise = singles(vec![-1.5, -0.7, 0.1, 0.8, 1.6], [5, 1]);
    let vector = Condition::Vector {
        values: normal("vector", [5, 2]),
        present: vec![true, false, true, true, false],
    };
    let class = Condition::Class(vec![Some(0), Some(3), None, Some(1), Some(1)]);
    let cases = [
        (config.clone(), Condition::None),
        (config.clone().with_classes(4), class),
        (config.clone().with_vector(2), vector),
        (ResidualMlpConfig { activation: Activation::Gelu, ..config }, Condition::None),
    ];
    for (config, condition) in cases {
        let network = randomised(config.init(&draws("mlp"), &cpu()), 0.25);
        let kind = condition.kind();
        derivative(&format!("mlp with {kind}, in x"), x.clone(), 3e-3, |x| {
            network.forward(x, noise.clone().into(), &condition).unwrap()
        });
        derivative(&format!("mlp with {kind}, in the level"), noise.clone(), 3e-4, |noise| {
            network.forward(x.clone().into(), noise, &condition).unwrap()
        });
    }
}

#[test]
fn directional_derivatives_of_the_unet() {
    let small = UNetConfig {
        block_out_channels: vec![4, 8],
        norm_num_groups: 2,
        attention_head_dim: Some(4),
        ..UNetConfig::small([2, 4, 8])
    };
    let cases = [
        ("plain", small.clone(), Condition::None, [100.0, 700.0, 333.3]),
        (
            "input features",
            UNetConfig { fourier_features: vec![0, 1], ..small.clone() },
            Condition::None,
            [100.0, 700.0, 333.3],
        ),
        (
            "attention",
            UNetConfig {
                down_block_types: vec![DownBlock::Attention; 2],
                up_block_types: vec![UpBlock::Attention; 2],
                downsample_type: Resampling::Resnet,
                upsample_type: Resampling::Resnet,
                resnet_time_scale_shift: TimeScaleShift::ScaleShift,
                classes: 3,
                num_class_embeds: Some(4),
                ..small.clone()
            },
            Condition::Class(vec![Some(2), None, Some(0)]),
            [5.0, 60.0, 999.0],
        ),
        (
            "fourier",
            UNetConfig {
                time_embedding_type: TimeEmbeddingType::Fourier,
                down_block_types: vec![DownBlock::Resnet; 2],
                up_block_types: vec![UpBlock::Resnet; 2],
                downsample_padding: 0,
                ..small.clone()
            },
            Condition::None,
            [0.1, 1.5, 20.0],
        ),
        (
            "learned",
            UNetConfig {
                time_embedding_type: TimeEmbeddingType::Learned,
                num_train_timesteps: Some(10),
                ..small
            },
            Condition::None,
            [0.4, 3.7, 8.2],
        ),
    ];
    for (name, config, condition, times) in cases {
        let network = config.init(&draws("unet"), &cpu()).unwrap();
        let network = randomised(network, 0.25);
        let x: Tensor<2> = normal("x", [3, 64]);
        let times = singles(times.to_vec(), [3, 1]);
        derivative(&format!("{name} in x"), x.clone(), 3e-3, |x| {
            network.forward(x, times.clone().into(), &condition).unwrap()
        });
        let step = if name == "fourier" { 1e-4 } else { 1e-2 };
        derivative(&format!("{name} in the level"), times.clone(), step, |times| {
            network.forward(x.clone().into(), times, &condition).unwrap()
        });
    }
}

#[test]
fn a_unet_takes_rows_without_a_label_only_if_it_has_an_embedding_for_them() {
    let ask = |rows: Option<usize>, condition: Condition| {
        let config = UNetConfig {
            block_out_channels: vec![4, 8],
            norm_num_groups: 2,
            num_class_embeds: rows,
            classes: rows.map_or(0, |_| 3),
            ..UNetConfig::small([1, 4, 4])
        };
        let network = config.init(&draws("unet"), &cpu()).unwrap();
        let time = singles(vec![5.0], [1, 1]).into();
        network.forward(normal::<2>("x", [2, 16]).into(), time, &condition).map(drop)
    };
    let class = |a, b| Condition::Class(vec![a, b]);
    assert!(ask(Some(4), class(Some(2), None)).is_ok());
    assert!(ask(Some(4), Condition::None).is_ok());
    assert!(ask(Some(3), class(Some(2), Some(0))).is_ok());
    assert!(ask(None, Condition::None).is_ok());
    for (rows, condition) in [
        (Some(4), class(Some(3), None)),
        (Some(3), class(Some(2), None)),
        (Some(3), Condition::None),
        (None, class(Some(0), Some(1))),
    ] {
        assert!(matches!(ask(rows, condition), Err(Error::Shape { .. })));
    }
}

#[test]
fn networks_take_their_own_conditions_only() {
    let config = ResidualMlpConfig::new(2).with_hidden(8).with_blocks(1);
    let ask = |config: ResidualMlpConfig, width: usize, condition: Condition| {
        let network = config.init(&draws("mlp"), &cpu());
        let noise = singles(vec![0.0], [1, 1]).into();
        network.forward(normal::<2>("x", [3, width]).into(), noise, &condition)
    };
    let fits = |found: tweedie::Result<Dual<2>>| match found {
        Ok(_) => true,
        Err(Error::Shape { .. }) => false,
        Err(other) => panic!("{other}"),
    };
    let vector = |len| Condition::Vector { values: normal("v", [3, len]), present: vec![true; 3] };
    assert!(fits(ask(config.clone(), 2, Condition::None)));
    assert!(!fits(ask(config.clone(), 3, Condition::None)));
    assert!(!fits(ask(config.clone(), 2, Condition::class(0, 3))));
    assert!(!fits(ask(config.clone(), 2, vector(4))));
    let classes = config.clone().with_classes(4);
    assert!(fits(ask(classes.clone(), 2, Condition::class(3, 3))));
    assert!(fits(ask(classes.clone(), 2, Condition::None)));
    assert!(!fits(ask(classes.clone(), 2, Condition::class(4, 3))));
    assert!(!fits(ask(classes, 2, Condition::class(0, 2))));
    let vectors = config.with_vector(4);
    assert!(fits(ask(vectors.clone(), 2, vector(4))));
    assert!(fits(ask(vectors.clone(), 2, Condition::None)));
    assert!(!fits(ask(vectors, 2, vector(3))));
}

#[test]
fn none_is_the_embedding_of_absent_rows() {
    // A row without a class or vector is the unconditional model's row, whatever value it carries.
    let config = ResidualMlpConfig::new(2).with_hidden(8).with_blocks(1);
    let noise = || singles(vec![0.2], [1, 1]).into();
    let x: Tensor<2> = normal("x", [2, 2]);
    let cases = [
        (config.clone().with_classes(3), Condition::Class(vec![None, Some(1)])),
        (
            config.with_vector(2),
            Condition::Vector { values: normal("v", [2, 2]), present: vec![false, true] },
        ),
    ];
    for (config, condition) in cases {
        let network = randomised(config.init(&draws("mlp"), &cpu()), 0.4);
        let ask =
            |c: &Condition| host(&network.forward(x.clone().into(), noise(), c).unwrap().value);
        let (some, none) = (ask(&condition), ask(&Condition::None));
        all_close(condition.kind(), &some[..2], &none[..2], 1e-6);
        assert!((some[2] - none[2]).abs() > 1e-3, "{}", condition.kind());
    }
}
