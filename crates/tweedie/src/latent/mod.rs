//! Latent-variable models: a prior, a decoder, and a posterior whose parameters an encoder computes.
//!
//! A row x has a latent variable z with the prior p(z); a decoder computes the distributions p(x_j | z) of its columns,
//! and an encoder those of the posterior q(z | x) (Kingma & Welling 2014, *Auto-encoding variational Bayes*; Rezende,
//! Mohamed & Wierstra 2014, *Stochastic backpropagation and approximate inference in deep generative models*). With
//! draws z_ij from q and their weights
//!
//! > w_ij = p(x | z_ij) p(z_ij)/q(z_ij | x),  log p(x) ≥ E (1/m) Σ_i ln (1/k) Σ_j w_ij,
//!
//! which is the evidence lower bound for k = 1, and rises with k towards log p(x) (Burda, Grosse & Salakhutdinov 2016,
//! *Importance weighted autoencoders*, theorem 1); m bounds are averaged (Rainforth et al. 2018, *Tighter variational
//! bounds are not necessarily better*, eq. 7). Sums of weights are taken in logarithms, and all terms are sums over
//! columns and dimensions, in nats.
//!
//! The prior is any of [`AnyPrior`], the posterior any of [`AnyPosterior`], with a density or without one, refined by
//! chains if wanted, and the latent variable one vector or several layers of them. Rows are in model units, integers at
//! the centres of their bins.

mod aggregate;
mod auxiliary;
mod config;
mod estimator;
mod generate;
mod importance;
mod ladder;
mod matcher;
mod matching;
mod per_row;
mod posterior;
mod prior;
mod refine;
mod terms;

pub use aggregate::{Aggregate, AggregateScores};
pub use auxiliary::AuxiliaryPosterior;
pub use config::{LatentConfig, Scale};
pub use estimator::{Bound, BoundEstimate, Estimator};
pub use importance::Importance;
pub use ladder::{Inference, LatentLayer};
pub use matcher::{Matcher, MatcherStep};
pub use matching::{
    AggregateMatching, AnyMatching, CriticMatching, DenoisingMatching, DensityMatching, Matching,
};
pub use per_row::PerRowPosterior;
pub use posterior::{
    AnyPosterior, FlowPosterior, ImplicitPosterior, NormalPosterior, Posterior, PosteriorConfig,
};
pub use prior::{
    AnyPrior, AnyPriorConfig, Encode, FlowPrior, FlowPriorConfig, MixturePrior, MixturePriorConfig,
    NormalPrior, NormalPriorConfig, Prior, PriorConfig, VampPrior, VampPriorConfig,
};
pub use refine::Refinement;
pub use terms::{Constraint, Factors, Multiplier, Terms};

use crate::data::Condition;
use crate::nn::conditional::Product;
use crate::nn::dtype_of;
use crate::nn::flow::Flow;
use crate::nn::perceptron::Perceptron;
use crate::tensor::{Dual, addresses, detached, host_column};
use crate::{Draws, Result};
use auxiliary::Auxiliary;
use burn::module::{Module, Param};
use burn::tensor::{DType, Int, Tensor, TensorData};
use ladder::{Asked, Ladder, normal_of};
use posterior::by_row;

/// The bound on |ln σ| of the posterior.
const MOST_LOG_SD: f64 = 12.0;
/// The number of draws that the moments of an implicit posterior are computed from, and the least variance.
const MOMENTS: usize = 32;
const LEAST_VARIANCE: f64 = 1e-12;
/// The most latent dimensions.
const MOST_WIDTH: u64 = 1 << 12;

/// A latent-variable model; see the module's head.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::Device;
/// use tweedie::data::{Condition, Generate, shipped};
/// use tweedie::latent::LatentConfig;
/// let (device, data) = (Device::flex(), shipped::digits()?);
/// let model = LatentConfig::default().init(&data.space, &Draws::new(0), &device)?;
/// let label = Condition::class(7, 3);
/// let x = model.generate(0..3, &label, &Draws::new(1), &device)?;
/// let estimates = model.importance(x, &label, 50, &Draws::new(2))?;
/// assert!(estimates.iter().all(|row| row.log_p < 0.0 && row.effective >= 1.0));
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct LatentVariable {
    /// The encoder; none where posteriors are fitted to rows.
    encoder: Option<Perceptron>,
    decoder: Perceptron,
    /// The logarithms of scales that rows share, in place of the decoder's.
    scales: Option<Param<Tensor<1>>>,
    prior: AnyPrior,
    /// The flow of the posterior.
    flow: Option<Flow>,
    /// The networks of an auxiliary variable of the posterior.
    auxiliary: Option<Auxiliary>,
    /// The layers of latent variables above the lowest.
    ladder: Option<Ladder>,
    #[module(skip)]
    product: Product,
    /// How posteriors are fitted to rows without an encoder.
    #[module(skip)]
    per_row: PerRowPosterior,
    #[module(skip)]
    width: usize,
    /// The number of normal numbers that the encoder of an implicit posterior reads; 0 for a posterior with a density.
    #[module(skip)]
    noise: usize,
    /// Whether the decoder reads all layers, and not the lowest alone.
    #[module(skip)]
    skips: bool,
    #[module(skip)]
    bound: Bound,
    #[module(skip)]
    terms: Terms,
    #[module(skip)]
    matching: AnyMatching,
    #[module(skip)]
    refinement: Option<Refinement>,
}

impl LatentVariable {
    /// The distributions of the columns.
    pub fn product(&self) -> &Product {
        &self.product
    }

    /// The weights of the bound's terms in training.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The number of latent dimensions of all layers.
    pub fn latent_width(&self) -> usize {
        self.layers().iter().sum()
    }

    /// The prior of the latent variable, or of its highest layer.
    pub fn prior(&self) -> &AnyPrior {
        &self.prior
    }

    /// The number of latent dimensions of each layer, the lowest first.
    pub fn layers(&self) -> Vec<usize> {
        self.ladder.as_ref().map_or_else(|| vec![self.width], |ladder| ladder.widths().to_vec())
    }

    /// Whether the posterior is a normal distribution with independent dimensions, and the latent variable one vector.
    pub fn is_mean_field(&self) -> bool {
        let plain = self.flow.is_none() && self.ladder.is_none() && self.auxiliary.is_none();
        plain && !self.is_implicit()
    }

    /// Whether the posterior can be drawn from and has no density.
    pub fn is_implicit(&self) -> bool {
        self.noise > 0
    }

    /// How training brings the posterior to the prior.
    pub fn matching(&self) -> &AnyMatching {
        &self.matching
    }

    /// The number of normal numbers that a draw of the posterior takes.
    fn noise_width(&self) -> usize {
        if self.is_implicit() { self.noise } else { self.inference_width() }
    }

    /// The number of normal numbers that the inference of a row takes.
    fn inference_width(&self) -> usize {
        self.latent_width() + self.auxiliary.as_ref().map_or(0, Auxiliary::width)
    }

    /// The normal distribution that the encoder gives, or that is fitted to, each row of `x`, `[n, width]` in model
    /// units: the posterior, that of its auxiliary variable, what its flow or its layers start from, or for a posterior
    /// without a density the normal distribution with its means and standard deviations, without derivatives.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) if batch or condition do not fit.
    pub fn posterior(&self, x: Tensor<2>, condition: &Condition) -> Result<Posterior> {
        let Some(encoder) = &self.encoder else {
            return self.fitted(&x, condition, &self.per_row);
        };
        if self.is_implicit() {
            return self.valid().moments(&detached(x), condition);
        }
        let x = self.product.ordered(x.into())?;
        if let Some(auxiliary) = &self.auxiliary {
            let out = encoder.forward(x.clone(), condition)?.value;
            let context = Some(x.value);
            return Ok(Posterior { context, ..normal_of(&out, auxiliary.width()) });
        }
        let out = encoder.forward(x, condition)?.value;
        let ([_, all], own) = (out.dims(), 2 * self.width);
        let context = (all > own).then(|| out.clone().narrow(1, own, all - own));
        Ok(Posterior { context, ..normal_of(&out, self.width) })
    }

    /// The means and standard deviations of an implicit posterior, by the same draws for all rows.
    fn moments(&self, x: &Tensor<2>, condition: &Condition) -> Result<Posterior> {
        let ([n, _], width) = (x.dims(), self.width);
        let noise = Draws::new(0).purpose("moments").normals(0..MOMENTS as u64, self.noise);
        let noise = noise.to_tensor(&x.device()).cast(x.dtype()).reshape([1, MOMENTS, self.noise]);
        let noise = noise.expand([n, MOMENTS, self.noise]).reshape([n * MOMENTS, self.noise]);
        let z = self.drawn(x, condition, MOMENTS, noise)?.reshape([n, MOMENTS, width]);
        let mean = z.clone().mean_dim(1);
        let off = z - mean.clone();
        let variance = (off.clone() * off).sum_dim(1).div_scalar(MOMENTS as f64 - 1.0);
        let log_sd = variance.add_scalar(LEAST_VARIANCE).log().mul_scalar(0.5);
        let [mean, log_sd] = [mean, log_sd].map(|of| of.reshape([n, width]));
        Ok(Posterior { mean, log_sd, context: None })
    }

    /// The posterior of a row without a condition, for priors that read the encoder.
    fn encode(&self) -> impl Fn(Tensor<2>) -> Result<Posterior> {
        |x| self.posterior(x, &Condition::None)
    }

    /// Parts of normal numbers for the layers, the lowest first.
    fn by_layer(&self, noise: &Tensor<2>) -> Vec<Tensor<2>> {
        let mut from = 0;
        let part = |width: usize| {
            from += width;
            noise.clone().narrow(1, from - width, width)
        };
        self.layers().into_iter().map(part).collect()
    }

    /// What the decoder reads of all layers, the lowest first.
    fn seen(&self, mut layers: Vec<Tensor<2>>) -> Tensor<2> {
        if self.skips && layers.len() > 1 { Tensor::cat(layers, 1) } else { layers.swap_remove(0) }
    }

    /// What the decoder reads of `draws` draws of each row's latent variable, and ln p(z)/q(z | x) of each draw,
    /// `[n, draws]`.
    fn infer(
        &self,
        posterior: &Posterior,
        draws: usize,
        noise: Tensor<2>,
    ) -> Result<(Tensor<2>, Tensor<2>)> {
        let encode = self.encode();
        if let Some(ladder) = &self.ladder {
            let (prior, noise) = (&self.prior, self.by_layer(&noise));
            let of = Asked { prior, encode: &encode, draws, noise: &noise };
            let found = ladder.infer(posterior, &of)?;
            return Ok((self.seen(found.z), by_row(found.log_ratio, draws)));
        }
        let (z, log_q) = match &self.auxiliary {
            Some(auxiliary) => auxiliary.draw(posterior, draws, noise)?,
            None => posterior.draw_with_log_prob(self.flow.as_ref(), draws, noise)?,
        };
        let log_prior = by_row(self.prior.log_prob(z.clone(), &encode)?, draws);
        Ok((z, log_prior - log_q))
    }

    /// As [`LatentVariable::infer`], with ln q(z | x)/p(z) in parts, `[n, parts]`, in place of its negative: its mean
    /// by dimension in closed form where there is one, otherwise by layer, and the mean over draws.
    fn infer_in_parts(
        &self,
        posterior: &Posterior,
        draws: usize,
        noise: Tensor<2>,
    ) -> Result<(Tensor<2>, Tensor<2>)> {
        if self.is_mean_field() && self.prior.is_normal() {
            return Ok((posterior.draw(draws, noise), posterior.divergences()));
        }
        if let Some(ladder) = &self.ladder {
            let (encode, noise) = (self.encode(), self.by_layer(&noise));
            let of = Asked { prior: &self.prior, encode: &encode, draws, noise: &noise };
            let found = ladder.infer(posterior, &of)?;
            let [all, parts] = found.divergence.dims();
            let each = found.divergence.reshape([all / draws, draws, parts]);
            return Ok((self.seen(found.z), each.mean_dim(1).reshape([all / draws, parts])));
        }
        let (z, log_ratio) = self.infer(posterior, draws, noise)?;
        Ok((z, log_ratio.mean_dim(1).neg()))
    }

    /// ln p of the prior at each row of `z`, `[n, dimensions]` of the highest layer.
    ///
    /// # Errors
    /// Errors of the prior, or of a tensor that cannot be read.
    pub fn log_prior(&self, z: Tensor<2>) -> Result<Vec<f64>> {
        let kind = dtype_of(&self.decoder);
        host_column(&self.prior.log_prob(z.cast(kind), &self.encode())?)
    }

    /// What the parts of [`LatentVariable::divergences_of`] are, in words.
    pub fn parts(&self) -> &'static str {
        match &self.ladder {
            Some(ladder) if !ladder.is_top_down() => "latent layers",
            None if !(self.is_mean_field() && self.prior.is_normal()) => "latent layers",
            Some(_) if !self.prior.is_normal() => "latent dimensions and the highest layer",
            _ => "latent dimensions",
        }
    }

    /// Estimates of ln q(z | x)/p(z) of each row of `x`, `[n, width]`, in nats, `[n, parts]`: by dimension in closed
    /// form where there is one (given the layers above, which are drawn), otherwise by layer from a draw. Equal rows
    /// have equal draws.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) if batch or condition do not fit.
    pub fn divergences_of(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        draws: &Draws,
    ) -> Result<Tensor<2>> {
        let (rows, device, kind) = (addresses(&x)?, x.device(), x.dtype());
        let noise = draws.normals_for(&rows, self.inference_width()).to_tensor(&device).cast(kind);
        Ok(self.infer_in_parts(&self.posterior(x, condition)?, 1, noise)?.1)
    }

    /// The parameters of the distributions of all columns for latent variables `z`, `[n, width]`; `[n, parameters]`.
    fn decoded(&self, z: Tensor<2>, condition: &Condition) -> Result<Dual<2>> {
        let own = self.decoder.forward(z.into(), condition)?;
        let Some(scales) = &self.scales else { return Ok(own) };
        let places = self.product.scales();
        // The place of each parameter among the scales, and 1 for scales.
        let [_, count] = own.dims();
        let (mut from, mut flags) = (vec![0i32; count], vec![0f32; count]);
        let [shared] = scales.dims();
        for (k, place) in places.into_iter().enumerate() {
            (from[place], flags[place]) = (if shared > 1 { k as i32 } else { 0 }, 1.0);
        }
        let (device, kind) = (own.value.device(), own.value.dtype());
        let from =
            Tensor::<1, Int>::from_data(TensorData::new(from, [count]), (&device, DType::I32));
        let flags = Tensor::<1>::from_data(TensorData::new(flags, [count]), (&device, kind));
        let shared = scales.val().select(0, from) * flags.clone();
        let own = own.value * flags.neg().add_scalar(1.0).reshape([1, count]);
        Ok((own + shared.reshape([1, count])).into())
    }

    /// log p(x | z) of the draws of each row, `[n, draws]`.
    fn log_likelihood(
        &self,
        x: &Tensor<2>,
        z: Tensor<2>,
        condition: &Condition,
        draws: usize,
    ) -> Result<Tensor<2>> {
        let ([n, _], given) = (x.dims(), condition);
        let parameters = match draws {
            1 => self.decoded(z, given)?,
            _ => {
                let rows: Vec<usize> = (0..n * draws).map(|i| i / draws).collect();
                self.decoded(z, &given.select(&rows))?
            }
        };
        let x = self.product.ordered(x.clone().into())?.value;
        Ok(by_row(self.product.log_prob_by_draws(x, parameters.value), draws))
    }

    /// ln w of `draws` draws of each row of `x`, `[n, draws]`, from normal numbers `noise`,
    /// `[n · draws, latent dimensions]` (those of an auxiliary variable before them), those of a row below each other.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) if batch or condition do not fit.
    pub fn log_weights(
        &self,
        x: &Tensor<2>,
        condition: &Condition,
        draws: usize,
        noise: Tensor<2>,
    ) -> Result<Tensor<2>> {
        let posterior = self.posterior(x.clone(), condition)?;
        let (z, log_ratio) = self.infer(&posterior, draws, noise)?;
        Ok(self.log_likelihood(x, z, condition, draws)? + log_ratio)
    }
}
