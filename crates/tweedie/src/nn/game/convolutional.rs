//! Convolutional players, after Radford, Metz & Chintala 2016, *Unsupervised representation learning with deep
//! convolutional generative adversarial networks*.
//!
//! With sides h and w, which are divided by 2^L, the generator is
//!
//! > z → 2^L c channels at h/2^L × w/2^L → L × (double the sides, convolve to half of the channels) → pixels,
//!
//! where sides are doubled by nearest neighbours, and every convolution is normalised over groups of channels. Pixels
//! between two limits end in a tanh between them. The critic is its mirror image,
//!
//! > pixels → c channels → L × (halve the sides by a stride of 2, convolve to twice the channels) → a layer → numbers,
//!
//! without normalisation. Conditions go into the first layer of the generator, and into the layer before the last of
//! the critic.

use super::{ACTIVATION, Play, Player, PlayerConfig, Role, misfit, normed, normed_kernel};
use crate::data::{Condition, Kind, Layout, Space};
use crate::error::{count, rows_of};
use crate::nn::conv::{channels_first, channels_last, convolve};
use crate::nn::layers::project;
use crate::nn::{
    Activation, ConditionEmbedding, ConditionEmbeddingConfig, Conv2d, Conv2dConfig, GroupNorm,
    GroupNormConfig, Linear, LinearConfig, double,
};
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use tweedie_ops::ConvSizes;

/// The least side of the smallest pictures inside of a player.
const LEAST_SIDE: usize = 4;
/// The most halvings of a picture's sides.
const MOST_LEVELS: usize = 6;
/// The groups of channels that are normalised together, where they divide the channels.
const GROUPS: usize = 4;

/// The options of a [`ConvolutionalPlayer`].
///
/// ```
/// use tweedie::nn::game::ConvolutionalPlayerConfig;
/// assert_eq!(ConvolutionalPlayerConfig::default().channels, 16);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConvolutionalPlayerConfig {
    /// The number of channels at full size; twice as many at half of it.
    pub channels: usize,
    /// The side of the kernels, odd.
    pub kernel: usize,
    /// How often the sides are halved; absent, as often as they are even and stay at 4 or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub levels: Option<usize>,
    /// The activation.
    pub activation: Activation,
}

impl Default for ConvolutionalPlayerConfig {
    fn default() -> Self {
        Self { channels: 16, kernel: 3, levels: None, activation: ACTIVATION }
    }
}

/// The sizes of a player for pictures.
struct Sizes {
    /// Channels, height and width of the pictures.
    picture: [usize; 3],
    levels: usize,
}

impl Sizes {
    /// The sides after `level` halvings.
    fn sides(&self, level: usize) -> [usize; 2] {
        [self.picture[1] >> level, self.picture[2] >> level]
    }
}

impl ConvolutionalPlayerConfig {
    fn sizes(&self, space: &Space) -> Result<Sizes> {
        let Layout::Image { channels, height, width } = space.layout() else {
            return Err(misfit("convolutional", "mlp: the rows are no pictures"));
        };
        let even = |levels: usize| [height, width].iter().all(|side| side % (1 << levels) == 0);
        let small = |levels: usize| height.min(width) >> levels < LEAST_SIDE;
        let fitting = (0..=MOST_LEVELS).rev().find(|l| *l == 0 || (even(*l) && !small(*l)));
        let levels = match self.levels {
            None => fitting.unwrap_or(0),
            Some(levels) if even(levels) => levels,
            Some(levels) => {
                let problem = format!("{levels}, and the pictures are {height} × {width}");
                return Err(Error::config("levels", problem, "sides that it halves so often"));
            }
        };
        Ok(Sizes { picture: [channels, height, width], levels })
    }

    /// Input and output channels of the convolutions, the first at the smallest sides of a generator and at the
    /// largest of a critic.
    fn convolutions(&self, role: Role, sizes: &Sizes) -> Vec<(usize, usize)> {
        let (c, levels) = (self.channels, sizes.levels);
        match role {
            Role::Generator(_) => {
                let each = (0..levels).rev().map(|k| (c << (k + 1), c << k));
                each.chain([(c, sizes.picture[0])]).collect()
            }
            Role::Critic { .. } => {
                let each = (0..levels).map(|k| (c << k, c << (k + 1)));
                std::iter::once((sizes.picture[0], c)).chain(each).collect()
            }
        }
    }

    /// Inputs and outputs of the linear layers.
    fn linears(&self, role: Role, sizes: &Sizes) -> Vec<(usize, usize)> {
        let [h, w] = sizes.sides(sizes.levels);
        let most = self.channels << sizes.levels;
        match role {
            Role::Generator(latent) => vec![(latent, h * w * most)],
            Role::Critic { features, .. } => vec![(h * w * most, most), (most, features)],
        }
    }

    fn condition(&self, role: Role, sizes: &Sizes, space: &Space) -> ConditionEmbeddingConfig {
        let width = self.linears(role, sizes)[0].1;
        ConditionEmbeddingConfig::new(space.classes().len(), space.given_width(), width)
    }
}

impl PlayerConfig for ConvolutionalPlayerConfig {
    fn check(&self) -> Result<()> {
        count("channels", self.channels as u64, 1 << 12)?;
        count("kernel", self.kernel as u64, 31)?;
        if self.kernel.is_multiple_of(2) {
            return Err(Error::config("kernel", self.kernel.to_string(), "an odd number"));
        }
        let levels = self.levels.unwrap_or(0);
        if levels > MOST_LEVELS {
            return Err(Error::config(
                "levels",
                levels.to_string(),
                format!("at most {MOST_LEVELS}"),
            ));
        }
        Ok(())
    }

    fn check_space(&self, space: &Space) -> Result<()> {
        self.sizes(space).map(drop)
    }

    fn init(&self, role: Role, space: &Space, draws: &Draws, device: &Device) -> Result<Player> {
        let sizes = self.sizes(space)?;
        let generates = matches!(role, Role::Generator(_));
        let convolution = |(k, (input, output)): (u64, (usize, usize))| {
            let stride = if generates || k == 0 { 1 } else { 2 };
            let config = Conv2dConfig::new(input, output, self.kernel).with_stride(stride);
            config.init(&draws.purpose("convolutions").at(k), device)
        };
        let linear = |(k, (input, output)): (u64, (usize, usize))| {
            LinearConfig::new(input, output).init(&draws.purpose("linears").at(k), device)
        };
        let convolutions = self.convolutions(role, &sizes);
        let inner = &convolutions[..convolutions.len() - 1];
        let normed = inner.iter().filter(|_| generates);
        let group = |(_, channels): &(usize, usize)| {
            let groups = if channels.is_multiple_of(GROUPS) { GROUPS } else { 1 };
            GroupNormConfig::new(groups, *channels).init(device)
        };
        let own = ConvolutionalPlayer {
            norms: normed.map(group).collect(),
            condition: self
                .condition(role, &sizes, space)
                .init(&draws.purpose("condition"), device),
            linears: (0..).zip(self.linears(role, &sizes)).map(linear).collect(),
            convolutions: (0..).zip(convolutions).map(convolution).collect(),
            input: if let Role::Generator(latent) = role { latent } else { space.width() },
            picture: sizes.picture,
            levels: sizes.levels,
            generates,
            limits: limits(space),
            activation: self.activation,
            norm: role.norm(),
        };
        Ok(own.into())
    }

    fn parameters(&self, role: Role, space: &Space) -> u128 {
        let Ok(sizes) = self.sizes(space) else { return 0 };
        let kernel = (self.kernel * self.kernel) as u128;
        let convolutions = self.convolutions(role, &sizes);
        let norms: u128 = match role {
            Role::Generator(_) => {
                let inner = &convolutions[..convolutions.len() - 1];
                inner.iter().map(|(_, out)| 2 * *out as u128).sum()
            }
            Role::Critic { .. } => 0,
        };
        let each = |(input, out): (usize, usize)| (kernel * input as u128 + 1) * out as u128;
        let linear = |(input, out): (usize, usize)| (input as u128 + 1) * out as u128;
        let linears: u128 = self.linears(role, &sizes).into_iter().map(linear).sum();
        let condition = self.condition(role, &sizes, space).parameters();
        norms + linears + condition + convolutions.into_iter().map(each).sum::<u128>()
    }

    fn activations(&self, space: &Space) -> usize {
        let Ok(sizes) = self.sizes(space) else { return 0 };
        let at = |level: usize| {
            let [h, w] = sizes.sides(level);
            3 * h * w * (self.channels << level)
        };
        (0..=sizes.levels).map(at).sum::<usize>() + space.width()
    }
}

/// The limits of pixels in model units, if all have the same two.
fn limits(space: &Space) -> Option<[f64; 2]> {
    let first = space.coordinates().first().filter(|_| space.coordinates().len() == 1)?;
    match first.kind {
        Kind::Quantised { low: Some(low), high: Some(high) } => {
            // The bin of the highest level ends one above it.
            Some([low as f64, high as f64 + 1.0].map(|raw| (raw - first.shift) / first.scale))
        }
        _ => None,
    }
}

/// Convolutions of a game; see the module's head.
#[derive(Module, Debug)]
pub struct ConvolutionalPlayer {
    convolutions: Vec<Conv2d>,
    norms: Vec<GroupNorm>,
    linears: Vec<Linear>,
    condition: ConditionEmbedding,
    #[module(skip)]
    input: usize,
    #[module(skip)]
    picture: [usize; 3],
    #[module(skip)]
    levels: usize,
    #[module(skip)]
    generates: bool,
    #[module(skip)]
    limits: Option<[f64; 2]>,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    norm: Option<f64>,
}

impl ConvolutionalPlayer {
    /// A linear layer, with features added.
    fn linear(&self, k: usize, x: Dual<2>, features: Option<Dual<2>>) -> Dual<2> {
        let linear = &self.linears[k];
        let y = project(x, normed(linear.weight.val(), self.norm), linear.bias());
        match features {
            Some(features) => y + features,
            None => y,
        }
    }

    /// Noise to pictures.
    fn rise(&self, z: Dual<2>, features: Option<Dual<2>>) -> Dual<2> {
        let ([n, _], [channels, height, width]) = (z.dims(), self.picture);
        let [h, w] = [height >> self.levels, width >> self.levels];
        let first = self.activation.forward(self.linear(0, z, features));
        let [_, all] = first.dims();
        let mut x = first.reshape([n, h, w, all / (h * w)]);
        for (convolution, norm) in self.convolutions.iter().zip(&self.norms) {
            let y = convolution.forward(double(x));
            x = norm.forward_then(y, None, Some(self.activation));
        }
        let pixels = self.convolutions[self.levels].forward(x);
        let pixels = channels_first(pixels).reshape([n, channels * height * width]);
        let Some([low, high]) = self.limits else { return pixels };
        pixels.tanh().mul_scalar(0.5 * (high - low)).add_scalar(0.5 * (high + low))
    }

    /// Pictures to numbers.
    fn fall(&self, x: Dual<2>, features: Option<Dual<2>>) -> Dual<2> {
        let ([n, _], [channels, height, width]) = (x.dims(), self.picture);
        let mut x = channels_last(x.reshape([n, channels, height, width]));
        for convolution in &self.convolutions {
            let [_, h, w, _] = x.dims();
            let weight = normed_kernel(convolution.weight.val(), [h, w], self.norm);
            let bias = convolution.bias.as_ref().map(|bias| bias.val());
            let sizes = ConvSizes { stride: convolution.stride, padding: convolution.padding };
            x = self.activation.forward(convolve(x, (weight, bias), sizes, None, None));
        }
        let [_, h, w, c] = x.dims();
        let flat = x.reshape([n, h * w * c]);
        self.linear(1, self.activation.forward(self.linear(0, flat, features)), None)
    }
}

impl Play for ConvolutionalPlayer {
    fn forward(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        rows_of(x.dims(), self.input)?;
        let [n, _] = x.dims();
        let features = self.condition.forward(condition, n, &x.value.device())?;
        Ok(if self.generates { self.rise(x, features) } else { self.fall(x, features) })
    }

    fn input(&self) -> usize {
        self.input
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::param_count;
    use burn::tensor::Tensor;

    #[test]
    fn sizes_and_parameters_are_those_of_the_configuration() -> Result<()> {
        let device = Device::flex();
        let config = ConvolutionalPlayerConfig { channels: 3, ..Default::default() };
        for (channels, height, width, levels) in [(1, 8, 8, 1), (2, 28, 12, 1), (3, 9, 6, 0)] {
            let space = Space::image(channels, height, width, 17)?;
            assert_eq!(config.sizes(&space)?.levels, levels);
            let d = channels * height * width;
            for (role, input, output) in
                [(Role::Generator(5), 5, d), (Role::Critic { features: 2, norm: None }, d, 2)]
            {
                let made = config.init(role, &space, &Draws::new(0), &device)?;
                assert_eq!(config.parameters(role, &space), param_count(&made) as u128);
                let x = Tensor::<2>::ones([3, input], &device);
                assert_eq!(made.forward(x.into(), &Condition::None)?.dims(), [3, output]);
            }
        }
        let table = Space::vector(&["x"])?;
        assert!(config.check_space(&table).is_err());
        let odd = ConvolutionalPlayerConfig { levels: Some(1), ..config };
        let error = odd.check_space(&Space::image(1, 9, 8, 2)?).err().map(|e| e.to_string());
        assert!(error.is_some_and(|e| e.starts_with("levels: 1, and the pictures are 9 × 8")));
        Ok(())
    }
}
