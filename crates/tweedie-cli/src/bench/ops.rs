//! Single operations, forward and backward.

use super::measure::timed;
use super::networks::{conv_flops, draws};
use super::train::{WARM_UP, finished};
use super::{Benchmark, Make, Workload};
use tweedie::Result;
use tweedie::burn::tensor::{Device, Tensor};
use tweedie_ops::{
    Activation, AdamW, Addend, ConvSizes, Modulation, Norm, Shares, State, activate, adamw,
    attention, conv2d, double, join, linear,
};

/// An operation on its inputs, ready to run.
type Run<const D: usize> = Box<dyn Fn() -> Tensor<D>>;

/// Rows of the linear layer and of the layer norm, and their width.
const ROWS: usize = 4096;
const WIDTH: usize = 256;

/// Samples, pixels of a side and channels of pictures.
const PICTURES: [usize; 4] = [64, 28, 28, 32];

/// Samples, tokens and heads of 32 channels of attention.
const TOKENS: [usize; 3] = [32, 256, 4];

/// Parameters of a step of AdamW.
const PARAMETERS: usize = 1 << 20;

pub fn benchmarks() -> Vec<Benchmark> {
    let pointwise = |activation: Activation| {
        move |device: &Device| -> Run<4> {
            let x = input("x", PICTURES, device);
            Box::new(move || activate(x.clone(), activation))
        }
    };
    let mut all = Vec::new();
    all.extend(conv("conv3x3", PICTURES, 32, 3, 1));
    all.extend(conv("conv3x3-128", [64, 7, 7, 128], 128, 3, 1));
    all.extend(conv("conv3x3-stride2", PICTURES, 32, 3, 2));
    all.extend(conv("conv1x1", [64, 28, 28, 64], 32, 1, 1));
    let flops = conv_flops(ROWS, WIDTH, WIDTH, 1);
    all.extend(operation("linear", Some(flops), |device| {
        let x = input("x", [ROWS, WIDTH], device);
        let weight = input("weight", [WIDTH, WIDTH], device);
        let bias = input("bias", [WIDTH], device);
        Box::new(move || linear(x.clone(), weight.clone(), Some(bias.clone()), None))
    }));
    let [samples, tokens, heads] = TOKENS;
    let flops = 4.0 * (samples * tokens * tokens * heads * 32) as f64;
    all.extend(operation("attention", Some(flops), move |device| {
        let of = |name: &str| input(name, [samples, tokens, 32 * heads], device);
        let (q, k, v) = (of("q"), of("k"), of("v"));
        Box::new(move || attention(q.clone(), k.clone(), v.clone(), heads))
    }));
    all.extend(norm("group-norm-silu", PICTURES, Shares::Group(8), Activation::Silu));
    all.extend(norm("layer-norm", [ROWS, 1, 1, WIDTH], Shares::Layer, Activation::None));
    all.extend(operation("silu", None, pointwise(Activation::Silu)));
    all.extend(operation("gelu", None, pointwise(Activation::Gelu)));
    all.extend(operation("double", None, |device| {
        let x = input("x", [64, 14, 14, 32], device);
        Box::new(move || double(x.clone()))
    }));
    all.extend(operation("join", None, |device| {
        let (x, z) = (input("x", PICTURES, device), input("z", PICTURES, device));
        Box::new(move || join(x.clone(), z.clone()))
    }));
    all.push(optimiser());
    all
}

/// Normal numbers; tracked on a device that differentiates.
fn input<const D: usize>(name: &str, shape: [usize; D], device: &Device) -> Tensor<D> {
    let len = shape.iter().product();
    let plain = draws(name).normals(0..1, len).to_tensor(device).reshape(shape);
    if plain.is_autodiff() { plain.detach().require_grad() } else { plain }
}

/// An operation, forward and, for a gradient of ones, backward.
fn operation<const D: usize>(
    name: &str,
    flops: Option<f64>,
    make: impl Fn(&Device) -> Run<D> + Clone + 'static,
) -> [Benchmark; 2] {
    let backward = make.clone();
    let of = |direction: &str, make: Make| Benchmark {
        name: format!("ops.{name}.{direction}"),
        make,
        export: None,
    };
    let forward = move |device: &Device| {
        let (run, device) = (make(device), device.clone());
        let work = move || {
            timed(|| {
                run();
                finished(&device)
            })
        };
        warmed(work, flops)
    };
    let backward = move |device: &Device| {
        let (run, device) = (backward(&device.clone().autodiff()), device.clone());
        let work = move || {
            let y = run();
            finished(&device)?;
            timed(|| {
                y.backward();
                finished(&device)
            })
        };
        warmed(work, flops.map(|flops| 2.0 * flops))
    };
    [of("forward", Box::new(forward)), of("backward", Box::new(backward))]
}

fn warmed(
    mut work: impl FnMut() -> Result<std::time::Duration> + 'static,
    flops: Option<f64>,
) -> Result<Workload> {
    for _ in 0..WARM_UP {
        work()?;
    }
    Ok(Workload { work: Box::new(work), flops, facts: Vec::new() })
}

fn conv(
    name: &str,
    shape: [usize; 4],
    output: usize,
    kernel: usize,
    stride: usize,
) -> [Benchmark; 2] {
    let [n, h, w, channels] = shape;
    let pixels = n * h.div_ceil(stride) * w.div_ceil(stride);
    let flops = conv_flops(pixels, channels, output, kernel);
    operation(name, Some(flops), move |device| {
        let x = input("x", shape, device);
        let weight = input("weight", [output, channels, kernel, kernel], device);
        let bias = input("bias", [output], device);
        let sizes = ConvSizes { stride, padding: [(kernel / 2, kernel as isize / 2); 2] };
        Box::new(move || {
            let added = Addend { bias: Some(bias.clone()), ..Addend::default() };
            conv2d(x.clone(), weight.clone(), added, sizes)
        })
    })
}

fn norm(name: &str, shape: [usize; 4], shares: Shares, activation: Activation) -> [Benchmark; 2] {
    let norm = Norm { shares, epsilon: 1e-5, activation };
    operation(name, None, move |device| {
        let x = input("x", shape, device);
        let (weight, bias) =
            (input("weight", [shape[3]], device), input("bias", [shape[3]], device));
        Box::new(move || {
            let (weight, bias) = (Some(weight.clone()), Some(bias.clone()));
            norm.apply(x.clone(), Modulation { weight, bias, scale_shift: None })
        })
    })
}

/// A step of AdamW on one parameter.
fn optimiser() -> Benchmark {
    let make = |device: &Device| {
        let of = |name: &str| input(name, [PARAMETERS], device);
        let gradient = of("gradient");
        let zeros = || gradient.zeros_like();
        let mut held =
            Some((of("parameter"), State { mean: zeros(), square: zeros(), average: None }));
        let device = device.clone();
        let mut step = 0;
        let work = move || {
            step += 1;
            let settings = AdamW {
                factor: 1.0,
                beta_1: 0.9,
                beta_2: 0.999,
                epsilon: 1e-8,
                rate: 1e-3,
                weight_decay: 0.0,
                step,
            };
            timed(|| {
                held = held
                    .take()
                    .map(|(parameter, state)| adamw(&settings, gradient.clone(), parameter, state));
                finished(&device)
            })
        };
        warmed(work, None)
    };
    Benchmark { name: "ops.adamw.forward".into(), make: Box::new(make), export: None }
}
