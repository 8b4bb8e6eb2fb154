//! Latent variables in layers, and their inference.
//!
//! A model with layers z_1 (the lowest) to z_L draws z_L from the prior and each other one given the layer above it,
//!
//! > p(x, z) = p(x | z_1) p(z_1 | z_2) … p(z_{L−1} | z_L) p(z_L),  p(z_l | z_{l+1}) = N(μ_p, σ_p²),
//!
//! by networks of one layer's own (*An Introduction to Generative Modeling with Flows and Diffusion Models*, sec.
//! 3.3.1; Sønderby et al. 2016, *Ladder variational autoencoders*, eqs. 1–18). Inference goes one of three ways:
//!
//! * bottom-up, as the model is turned round: q(z_1 | x) q(z_2 | z_1) … q(z_L | z_{L−1});
//! * top-down, by precisions: networks from x upwards give μ̂_l, σ̂_l; with the prior of the layer at the draw above,
//!   q(z_l | z_{l+1}, x) = N((μ̂ σ̂⁻² + μ_p σ_p⁻²) σ², σ²),  σ⁻² = σ̂⁻² + σ_p⁻²;
//! * top-down, by differences from the prior: q = N(μ_p + Δμ, σ_p² e^{2δ}), where a network computes Δμ and δ from x
//!   and z_{l+1} (Vahdat & Kautz 2020, *NVAE*, eq. 4).
//!
//! Both ways down have divergences in closed form by dimension, given the draws above.

use super::MOST_LOG_SD;
use super::posterior::{Posterior, repeated};
use super::prior::{AnyPrior, Encode, Prior};
use crate::data::Condition;
use crate::error::count;
use crate::nn::Activation;
use crate::nn::flow::soft_bounded;
use crate::nn::perceptron::{Perceptron, Sizes, check_hidden};
use crate::registry::registry;
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// The most layers above the lowest.
const MOST_ABOVE: usize = 63;

registry! {
    /// The inference of latent variables in layers.
    pub word Inference = TopDown {
        "top-down" TopDown "from the highest layer, by the precisions of its prior and of what x tells of it (ladder)",
        "residual" Residual "from the highest layer, by differences from the prior of each (NVAE)",
        "bottom-up" BottomUp "from the lowest layer, each given the one below",
    }
}

/// A layer of latent variables above the lowest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatentLayer {
    /// The number of latent dimensions.
    pub width: usize,
    /// The widths of the hidden layers of the networks to it from the layer below, and from it.
    pub hidden: Vec<usize>,
}

impl Default for LatentLayer {
    fn default() -> Self {
        Self { width: 8, hidden: vec![100] }
    }
}

impl LatentLayer {
    /// Fails, naming the key, unless every value is valid.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        count("width", self.width as u64, super::MOST_WIDTH)?;
        check_hidden("hidden", &self.hidden)
    }

    /// The number of features that the way up hands on.
    fn features(&self) -> usize {
        self.hidden.last().copied().unwrap_or(self.width)
    }
}

/// The layers of a model and the way of their inference.
pub(super) struct LadderConfig<'a> {
    pub above: &'a [LatentLayer],
    pub inference: Inference,
    pub activation: Activation,
    /// The number of dimensions of the lowest layer.
    pub width: usize,
    /// The number of features that the encoder hands on; see [`LadderConfig::context`].
    pub features: usize,
}

impl LadderConfig<'_> {
    /// Fails, naming the key, unless every layer is valid.
    pub fn check(&self) -> Result<()> {
        if self.above.len() > MOST_ABOVE {
            let found = format!("{} layers", self.above.len());
            return Err(Error::config("above", found, format!("at most {MOST_ABOVE}")));
        }
        let inside = |k: usize, e| crate::error::inside(&format!("above.{k}"), e);
        self.above
            .iter()
            .enumerate()
            .try_for_each(|(k, layer)| layer.check().map_err(|e| inside(k, e)))
    }

    /// The number of outputs of the encoder beside the parameters of the lowest layer.
    pub fn context(&self) -> usize {
        if self.above.is_empty() || self.inference == Inference::BottomUp {
            0
        } else {
            self.features
        }
    }

    /// The sizes of the networks up, down and aside of each layer above the lowest.
    fn sizes(&self) -> Vec<[Option<Sizes<'_>>; 3]> {
        let (mut below, mut features) = (self.width, self.features);
        let top = self.above.len();
        let mut all = Vec::with_capacity(top);
        for (k, layer) in self.above.iter().enumerate() {
            let network =
                |input, output| Sizes { input, hidden: &layer.hidden, output, given: [0; 2] };
            let (parameters, own) = (2 * layer.width, layer.features());
            let up = match self.inference {
                Inference::BottomUp => network(below, parameters),
                _ if k + 1 == top => network(features, parameters),
                _ => network(features, parameters + own),
            };
            let aside = self.inference == Inference::Residual;
            let aside = aside.then(|| network(features + layer.width, 2 * below));
            all.push([Some(up), Some(network(layer.width, 2 * below)), aside]);
            (below, features) = (layer.width, own);
        }
        all
    }

    /// The number of values in the parameters.
    pub fn parameters(&self) -> u128 {
        self.sizes().iter().flatten().flatten().map(Sizes::parameters).sum()
    }

    /// The approximate number of activations of a draw.
    pub fn activations(&self) -> usize {
        self.sizes().iter().flatten().flatten().map(Sizes::activations).sum()
    }

    /// The layers with initial values from `draws`; none if there is only the lowest.
    pub fn init(&self, draws: &Draws, device: &Device) -> Option<Ladder> {
        if self.above.is_empty() {
            return None;
        }
        let [mut up, mut down, mut aside] = [const { Vec::new() }; 3];
        for (k, sizes) in self.sizes().iter().enumerate() {
            for ((of, name), into) in
                sizes.iter().zip(["up", "down", "aside"]).zip([&mut up, &mut down, &mut aside])
            {
                let draws = draws.purpose(name).at(k as u64);
                into.extend(of.iter().map(|of| of.init(self.activation, 1.0, &draws, device)));
            }
        }
        let widths = std::iter::once(self.width).chain(self.above.iter().map(|layer| layer.width));
        let features: Vec<usize> = self.above.iter().map(LatentLayer::features).collect();
        Some(Ladder {
            up,
            down,
            aside,
            widths: widths.collect(),
            features,
            inference: self.inference,
            activation: self.activation,
        })
    }
}

/// The layers of latent variables above the lowest; see the module's head.
#[derive(Module, Debug)]
pub(super) struct Ladder {
    /// The networks upwards, the lowest first.
    up: Vec<Perceptron>,
    /// The networks of the prior of each layer, given the layer above.
    down: Vec<Perceptron>,
    /// The networks of differences from the prior.
    aside: Vec<Perceptron>,
    /// The number of dimensions of all layers, the lowest first.
    #[module(skip)]
    widths: Vec<usize>,
    #[module(skip)]
    features: Vec<usize>,
    #[module(skip)]
    inference: Inference,
    #[module(skip)]
    activation: Activation,
}

/// Draws of all layers, the lowest first, and what a bound needs of them.
pub(super) struct LadderDraws {
    pub z: Vec<Tensor<2>>,
    /// ln p(z) − ln q(z | x) of each draw, `[draws, 1]`.
    pub log_ratio: Tensor<2>,
    /// ln q − ln p of each draw in parts, by layer or by dimension, or its mean given the draws above, `[draws,
    /// parts]`.
    pub divergence: Tensor<2>,
}

/// What draws of all layers are asked for with.
pub(super) struct Asked<'a> {
    /// The prior of the highest layer.
    pub prior: &'a AnyPrior,
    /// The encoder, for priors that read it.
    pub encode: &'a Encode<'a>,
    /// The number of draws of each row.
    pub draws: usize,
    /// Standard normal numbers of each layer, the lowest first, `[n · draws, dimensions]`.
    pub noise: &'a [Tensor<2>],
}

/// The normal distribution of parameters `out`, `[n, at least 2 width]`.
pub(super) fn normal_of(out: &Tensor<2>, width: usize) -> Posterior {
    let part = |from| out.clone().narrow(1, from, width);
    let log_sd = soft_bounded(part(width).into(), MOST_LOG_SD).value;
    Posterior { mean: part(0), log_sd, context: None }
}

impl Posterior {
    /// KL(q ‖ p) by dimension, `[n, width]`.
    fn divergences_from(&self, prior: &Self) -> Tensor<2> {
        let off = (self.mean.clone() - prior.mean.clone()) * prior.log_sd.clone().neg().exp();
        let log_ratio = self.log_sd.clone() - prior.log_sd.clone();
        let variance = log_ratio.clone().mul_scalar(2.0).exp();
        (off.clone() * off + variance).sub_scalar(1.0).mul_scalar(0.5) - log_ratio
    }

    /// The normal distribution proportional to the product with another's density.
    fn times(&self, other: &Self) -> Self {
        // ln σ² = −ln(σ₁⁻² + σ₂⁻²), and the share of the first in the mean is σ²/σ₁².
        let [a, b] = [&self.log_sd, &other.log_sd].map(|log_sd| log_sd.clone().mul_scalar(-2.0));
        let share = burn::tensor::activation::sigmoid(a.clone() - b.clone());
        let most = a.clone().detach().max_pair(b.clone().detach());
        let precision = ((a - most.clone()).exp() + (b - most.clone()).exp()).log() + most;
        let mean = other.mean.clone() + (self.mean.clone() - other.mean.clone()) * share;
        Self { mean, log_sd: precision.mul_scalar(-0.5), context: None }
    }
}

impl Ladder {
    /// The number of dimensions of each layer, the lowest first.
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// Whether inference starts from the highest layer.
    pub fn is_top_down(&self) -> bool {
        self.inference != Inference::BottomUp
    }

    /// The distribution of layer `below` given the layer above it.
    fn prior_of(&self, below: usize, above: &Tensor<2>) -> Result<Posterior> {
        let out = self.down[below].forward(above.clone().into(), &Condition::None)?.value;
        Ok(normal_of(&out, self.widths[below]))
    }

    /// The layers up to layer `from`, the lowest first, drawn in turn from a draw `above` of that layer and normal
    /// numbers of each layer below it.
    pub fn generate(
        &self,
        above: Tensor<2>,
        from: usize,
        noise: &[Tensor<2>],
    ) -> Result<Vec<Tensor<2>>> {
        let mut all = vec![above];
        for below in (0..from).rev() {
            let prior = self.prior_of(below, &all[all.len() - 1])?;
            all.push(prior.draw(1, noise[below].clone()));
        }
        all.reverse();
        Ok(all)
    }

    /// Draws of all layers from the encoder's output for the lowest one.
    pub fn infer(&self, lowest: &Posterior, of: &Asked) -> Result<LadderDraws> {
        match self.inference {
            Inference::BottomUp => self.bottom_up(lowest, of),
            _ => self.top_down(lowest, of),
        }
    }

    fn bottom_up(&self, lowest: &Posterior, of: &Asked) -> Result<LadderDraws> {
        let Asked { prior, encode, draws, noise } = *of;
        let first = lowest.draw(draws, noise[0].clone());
        let mut log_q = vec![lowest.log_prob(draws, &first).reshape([-1, 1])];
        let mut z = vec![first];
        for (k, up) in self.up.iter().enumerate() {
            let out = up.forward(z[k].clone().into(), &Condition::None)?.value;
            let of = normal_of(&out, self.widths[k + 1]);
            let own = of.draw(1, noise[k + 1].clone());
            log_q.push(of.log_prob(1, &own));
            z.push(own);
        }
        let mut parts = Vec::with_capacity(z.len());
        for (k, log_q) in log_q.into_iter().enumerate() {
            let log_p = match z.get(k + 1) {
                Some(above) => self.prior_of(k, above)?.log_prob(1, &z[k]),
                None => prior.log_prob(z[k].clone(), encode)?,
            };
            parts.push(log_q - log_p);
        }
        let divergence = Tensor::cat(parts, 1);
        Ok(LadderDraws { z, log_ratio: divergence.clone().sum_dim(1).neg(), divergence })
    }

    fn top_down(&self, lowest: &Posterior, of: &Asked) -> Result<LadderDraws> {
        let Asked { prior, encode, draws, noise } = *of;
        let (own, features) = self.upwards(lowest)?;
        let top = own.len() - 1;
        let highest = own[top].draw(draws, noise[top].clone());
        let log_q = own[top].log_prob(draws, &highest).reshape([-1, 1]);
        let mut log_ratio = prior.log_prob(highest.clone(), encode)? - log_q;
        let mut divergence = vec![match prior.is_normal() {
            true => repeated(own[top].divergences(), draws),
            false => log_ratio.clone().neg(),
        }];
        let mut z = vec![highest];
        for below in (0..top).rev() {
            let above = z[z.len() - 1].clone();
            let prior = self.prior_of(below, &above)?;
            let of =
                self.posterior_of(below, &own[below], &features[below], (&prior, above), draws)?;
            let drawn = of.draw(1, noise[below].clone());
            log_ratio = log_ratio + prior.log_prob(1, &drawn) - of.log_prob(1, &drawn);
            divergence.push(of.divergences_from(&prior));
            z.push(drawn);
        }
        z.reverse();
        divergence.reverse();
        Ok(LadderDraws { z, log_ratio, divergence: Tensor::cat(divergence, 1) })
    }

    /// What x alone tells of each layer, the lowest first, and the features that the ways up hand on.
    fn upwards(&self, lowest: &Posterior) -> Result<(Vec<Posterior>, Vec<Tensor<2>>)> {
        let active = |x: Tensor<2>| self.activation.forward(x.into()).value;
        let (mut own, mut features) = (vec![lowest.clone()], Vec::new());
        features.extend(lowest.context.clone().map(active));
        for (k, up) in self.up.iter().enumerate() {
            let Some(below) = features.last() else { break };
            let out = up.forward(below.clone().into(), &Condition::None)?.value;
            own.push(normal_of(&out, self.widths[k + 1]));
            if k + 1 < self.up.len() {
                features.push(active(out.narrow(1, 2 * self.widths[k + 1], self.features[k])));
            }
        }
        Ok((own, features))
    }

    /// q(z_l | z_{l+1}, x) of layer `below`, from what x alone tells of it and its prior at the draw `above`.
    fn posterior_of(
        &self,
        below: usize,
        own: &Posterior,
        features: &Tensor<2>,
        (prior, above): (&Posterior, Tensor<2>),
        draws: usize,
    ) -> Result<Posterior> {
        let Some(aside) = self.aside.get(below) else {
            let [mean, log_sd] = [&own.mean, &own.log_sd].map(|of| repeated(of.clone(), draws));
            return Ok(Posterior { mean, log_sd, context: None }.times(prior));
        };
        let input = Tensor::cat(vec![repeated(features.clone(), draws), above], 1);
        let out = aside.forward(input.into(), &Condition::None)?.value;
        let off = normal_of(&out, self.widths[below]);
        let (mean, log_sd) = (prior.mean.clone() + off.mean, prior.log_sd.clone() + off.log_sd);
        Ok(Posterior { mean, log_sd, context: None })
    }
}
