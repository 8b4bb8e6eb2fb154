//! The networks of the benchmarks, built from the library's layers, with the number of operations of a forward pass.

use tweedie::burn;
use tweedie::burn::module::Module;
use tweedie::burn::tensor::{Device, Tensor};
use tweedie::data::Condition;
use tweedie::nn::{
    Activation, Conv2d, Conv2dConfig, GroupNorm, GroupNormConfig, Linear, LinearConfig, Network,
    double, mlp,
};
use tweedie::tensor::Dual;
use tweedie::{Draws, Result};

/// A network (x, features) ↦ rows.
pub trait Model: Module + 'static {
    /// `[n, width]` and `[n, features]` or `[1, features]`.
    fn output(&self, x: Dual<2>, features: Dual<2>) -> Result<Dual<2>>;
}

/// A network with a batch to train on.
pub struct Problem<M> {
    pub model: M,
    /// `[n, width]`.
    pub x: Tensor<2>,
    /// `[n, features]`.
    pub features: Tensor<2>,
    /// The targets of the output.
    pub y: Tensor<2>,
    /// Additions and multiplications of the forward pass's matrix products and convolutions.
    pub flops: f64,
}

impl<M: Model> Problem<M> {
    /// Normal numbers of widths `[x, features, y]` in `rows` rows.
    pub fn new(model: M, rows: usize, widths: [usize; 3], flops: f64, device: &Device) -> Self {
        let draw = |name: &str, width| draws(name).normals(0..rows as u64, width).to_tensor(device);
        let [x, features, y] = widths;
        Self {
            model,
            x: draw("x", x),
            features: draw("features", features),
            y: draw("y", y),
            flops,
        }
    }
}

/// The stream of everything random in a benchmark.
pub fn draws(purpose: &str) -> Draws {
    Draws::new(0).purpose(purpose)
}

/// Additions and multiplications of a convolution or, with one pixel and a kernel of 1, a linear layer.
pub fn conv_flops(pixels: usize, input: usize, output: usize, kernel: usize) -> f64 {
    2.0 * (pixels * input * output * kernel * kernel) as f64
}

const SILU: Option<Activation> = Some(Activation::Silu);

/// Linear layers with SiLU between them.
#[derive(Module, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    /// 3 to 2 numbers by four hidden layers, on `rows` rows.
    pub fn problem(hidden: usize, rows: usize, device: &Device) -> Problem<Self> {
        let widths = [3, hidden, hidden, hidden, hidden, 2];
        let sizes = widths.windows(2);
        let layer = |(k, sizes): (usize, &[usize])| {
            let draws = draws("mlp").at(k as u64);
            LinearConfig::new(sizes[0], sizes[1]).init(&draws, device)
        };
        let layers = sizes.clone().enumerate().map(layer).collect();
        let flops = sizes.map(|sizes| conv_flops(rows, sizes[0], sizes[1], 1)).sum();
        Problem::new(Self { layers }, rows, [3, 1, 2], flops, device)
    }
}

impl Model for Mlp {
    fn output(&self, x: Dual<2>, _features: Dual<2>) -> Result<Dual<2>> {
        let last = self.layers.len() - 1;
        let layers = self.layers.iter().enumerate();
        let layers = layers.map(|(k, layer)| (layer, SILU.filter(|_| k < last)));
        Ok(mlp(x, &layers.collect::<Vec<_>>(), None))
    }
}

/// skip(x) + conv₂(silu(norm₂(conv₁(silu(norm₁(x))) + time))).
#[derive(Module, Debug)]
struct Residual {
    norm1: GroupNorm,
    conv1: Conv2d,
    time: Linear,
    norm2: GroupNorm,
    conv2: Conv2d,
    skip: Option<Conv2d>,
}

impl Residual {
    fn new([input, output]: [usize; 2], draws: &Draws, device: &Device) -> Self {
        let conv = |name: &str, input, kernel| {
            Conv2dConfig::new(input, output, kernel).init(&draws.purpose(name), device)
        };
        Self {
            norm1: GroupNormConfig::new(8, input).init(device),
            conv1: conv("conv1", input, 3),
            time: LinearConfig::new(4 * WIDTH, output).init(&draws.purpose("time"), device),
            norm2: GroupNormConfig::new(8, output).init(device),
            conv2: conv("conv2", output, 3),
            skip: (input != output).then(|| conv("skip", input, 1)),
        }
    }

    fn forward(&self, x: Dual<4>, time: &Dual<2>) -> Dual<4> {
        let h = self.norm1.forward_then(x.clone(), None, SILU);
        let h = self.conv1.forward_plus(h, Some(self.time.forward(time.clone())), None);
        let h = self.norm2.forward_then(h, None, SILU);
        let x = match &self.skip {
            Some(conv) => conv.forward(x),
            None => x,
        };
        self.conv2.forward_plus(h, None, Some(x))
    }
}

/// Channels of the first level of [`PlainUNet`].
const WIDTH: usize = 32;

/// The side of its pictures.
const SIDE: usize = 28;

/// A UNet of 1.0 M parameters for grey pictures of 28 × 28: three levels of 32, 64 and 128 channels with a residual
/// block each, convolutions of stride 2 down, nearest neighbours up, skips joined, no attention.
#[derive(Module, Debug)]
pub struct PlainUNet {
    input: Conv2d,
    time1: Linear,
    time2: Linear,
    down1: Residual,
    half1: Conv2d,
    down2: Residual,
    half2: Conv2d,
    down3: Residual,
    middle: Residual,
    up3: Residual,
    up2: Residual,
    up1: Residual,
    norm: GroupNorm,
    output: Conv2d,
}

impl PlainUNet {
    pub fn problem(rows: usize, device: &Device) -> Problem<Self> {
        let draws = draws("unet");
        let (c, time) = (WIDTH, 4 * WIDTH);
        let of = |name: &str| draws.purpose(name);
        let residual = |name: &str, sizes| Residual::new(sizes, &of(name), device);
        let conv = |name: &str, sizes: [usize; 2], stride| {
            let conv = Conv2dConfig::new(sizes[0], sizes[1], 3).with_stride(stride);
            conv.init(&of(name), device)
        };
        let model = Self {
            input: conv("input", [1, c], 1),
            time1: LinearConfig::new(c, time).init(&of("time1"), device),
            time2: LinearConfig::new(time, time).init(&of("time2"), device),
            down1: residual("down1", [c, c]),
            half1: conv("half1", [c, c], 2),
            down2: residual("down2", [c, 2 * c]),
            half2: conv("half2", [2 * c, 2 * c], 2),
            down3: residual("down3", [2 * c, 4 * c]),
            middle: residual("middle", [4 * c, 4 * c]),
            up3: residual("up3", [8 * c, 2 * c]),
            up2: residual("up2", [4 * c, c]),
            up1: residual("up1", [2 * c, c]),
            norm: GroupNormConfig::new(8, c).init(device),
            output: conv("output", [c, 1], 1),
        };
        let flops = rows as f64 * Self::flops();
        Problem::new(model, rows, [SIDE * SIDE, c, SIDE * SIDE], flops, device)
    }

    /// For one picture.
    fn flops() -> f64 {
        let (c, time) = (WIDTH, 4 * WIDTH);
        let [large, half, small] = [1, 2, 4].map(|k| (SIDE / k) * (SIDE / k));
        let residual = |pixels, i: usize, o: usize| {
            let skip = if i == o { 0.0 } else { conv_flops(pixels, i, o, 1) };
            let convs = conv_flops(pixels, i, o, 3) + conv_flops(pixels, o, o, 3);
            convs + skip + conv_flops(1, time, o, 1)
        };
        let resampling = conv_flops(half, c, c, 3) + conv_flops(small, 2 * c, 2 * c, 3);
        let way_down =
            residual(large, c, c) + residual(half, c, 2 * c) + residual(small, 2 * c, 4 * c);
        let way_up = residual(small, 8 * c, 2 * c) + residual(half, 4 * c, c);
        let ends = 2.0 * conv_flops(large, 1, c, 3);
        let times = conv_flops(1, c, time, 1) + conv_flops(1, time, time, 1);
        let middle = residual(small, 4 * c, 4 * c);
        ends + times + way_down + middle + way_up + residual(large, 2 * c, c) + resampling
    }
}

impl Model for PlainUNet {
    fn output(&self, x: Dual<2>, features: Dual<2>) -> Result<Dual<2>> {
        let [rows, width] = x.dims();
        let time = self.time1.forward_then(features, Activation::Silu);
        let time = self.time2.forward_then(time, Activation::Silu);
        let x = self.input.forward(x.reshape([rows, SIDE, SIDE, 1]));
        let large = self.down1.forward(x, &time);
        let half = self.down2.forward(self.half1.forward(large.clone()), &time);
        let small = self.down3.forward(self.half2.forward(half.clone()), &time);
        let x = self.middle.forward(small.clone(), &time);
        let x = double(self.up3.forward(x.join(small), &time));
        let x = double(self.up2.forward(x.join(half), &time));
        let x = self.up1.forward(x.join(large), &time);
        let x = self.output.forward(self.norm.forward_then(x, None, SILU));
        Ok(x.reshape([rows, width]))
    }
}

/// As the network of a denoiser, with the noise level as sines and cosines.
impl Network for PlainUNet {
    fn forward(&self, x: Dual<2>, noise: Dual<2>, _condition: &Condition) -> Result<Dual<2>> {
        let count = WIDTH / 2;
        let frequencies: Vec<f32> =
            (0..count).map(|k| 1e4f32.powf(-(k as f32) / count as f32)).collect();
        let frequencies = Tensor::<1>::from_floats(&frequencies[..], &noise.value.device());
        let phase = noise * frequencies.reshape([1, count]);
        self.output(x, phase.clone().sin().join(phase.cos()))
    }

    fn width(&self) -> usize {
        SIDE * SIDE
    }
}
