//! Latent-variable models: a prior, a decoder, and a posterior whose parameters an encoder computes.
//!
//! A row x has a latent variable z with the prior p(z) = N(z; 0, I); a decoder computes the distributions p(x_j | z) of
//! its columns, and an encoder those of the posterior q(z | x) = N(z; μ, diag σ²) (Kingma & Welling 2014,
//! *Auto-encoding variational Bayes*; Rezende, Mohamed & Wierstra 2014, *Stochastic backpropagation and approximate
//! inference in deep generative models*). With draws z_ij = μ + σ ε_ij from q and their weights
//!
//! > w_ij = p(x | z_ij) p(z_ij)/q(z_ij | x),  log p(x) ≥ E (1/m) Σ_i ln (1/k) Σ_j w_ij,
//!
//! which is the evidence lower bound for k = 1, and rises with k towards log p(x) (Burda, Grosse & Salakhutdinov 2016,
//! *Importance weighted autoencoders*, theorem 1); m bounds are averaged (Rainforth et al. 2018, *Tighter variational
//! bounds are not necessarily better*, eq. 7). Sums of weights are taken in logarithms, and all terms are sums over
//! columns and dimensions, in nats.
//!
//! Rows are in model units, integers at the centres of their bins.

mod estimator;
pub(super) mod network;

pub use estimator::{Bound, Estimator};

use crate::data::{Condition, Generate, Rows, Space};
use crate::error::{count, inside};
use crate::nn::Activation;
use crate::nn::conditional::{AnyConditional, GaussianConditional, Product, Random};
use crate::nn::flow::soft_bounded;
use crate::registry::registry;
use crate::tensor::{Dual, addresses, host_column, mean_and_error};
use crate::{Draws, Error, Result};
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use network::{LatentNetwork, Sizes, check_hidden};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;
use std::ops::Range;

/// The bound on |ln σ| of the posterior.
const MOST_LOG_SD: f64 = 12.0;
/// The most latent dimensions.
const MOST_WIDTH: u64 = 1 << 12;
/// The most values of a decoder's output at once, in importance sampling.
const MOST_AT_ONCE: usize = 1 << 20;

registry! {
    /// What the scales of the distributions of columns, such as standard deviations, depend on.
    pub word Scale = Column {
        "row" Row "the latent variable, by the decoder",
        "column" Column "the column alone",
        "one" One "nothing: all columns have the same",
    }
}

/// Configuration of [`LatentVariable`].
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::Device;
/// use tweedie::data::shipped;
/// use tweedie::nn::latent::LatentConfig;
/// let space = shipped::digits()?.space;
/// let model = LatentConfig::default().init(&space, &Draws::new(0), &Device::flex())?;
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatentConfig {
    /// The number of latent dimensions.
    pub width: usize,
    /// The widths of the encoder's hidden layers; none makes it linear.
    pub encoder: Vec<usize>,
    /// The widths of the decoder's hidden layers; none makes it linear.
    pub decoder: Vec<usize>,
    /// The activation of both networks.
    pub activation: Activation,
    /// The distribution of real numbers.
    pub numbers: AnyConditional,
    /// The distribution of integers; names always have a categorical one.
    pub integers: AnyConditional,
    /// What the scales of the columns' distributions depend on.
    pub scale: Scale,
    /// The bound that training maximises.
    pub bound: Bound,
}

impl Default for LatentConfig {
    fn default() -> Self {
        Self {
            width: 16,
            encoder: vec![200, 200],
            decoder: vec![200, 200],
            activation: Activation::Tanh,
            numbers: GaussianConditional { components: 1 }.into(),
            integers: AnyConditional::default(),
            scale: Scale::default(),
            bound: Bound::default(),
        }
    }
}

impl LatentConfig {
    /// Fails, naming the key, unless every value is valid, whatever the data.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        count("width", self.width as u64, MOST_WIDTH)?;
        for (key, hidden) in [("encoder", &self.encoder), ("decoder", &self.decoder)] {
            check_hidden(key, hidden)?;
        }
        self.numbers.check().map_err(|e| inside("numbers", e))?;
        self.integers.check().map_err(|e| inside("integers", e))?;
        self.bound.check().map_err(|e| inside("bound", e))
    }

    fn product(&self, space: &Space) -> Result<Product> {
        let order: Vec<usize> = (0..Product::count(space)).collect();
        Product::new(space, &order, &self.numbers, &self.integers)
    }

    /// The number of scales that rows share.
    fn shared_scales(&self, product: &Product) -> usize {
        let count = product.scales().len();
        match self.scale {
            Scale::Row => 0,
            Scale::Column => count,
            Scale::One => count.min(1),
        }
    }

    /// The sizes of the encoder and of the decoder.
    fn sizes(&self, space: &Space, product: &Product) -> [Sizes<'_>; 2] {
        let given = [space.classes().len(), space.given_width()];
        let (values, parameters) = (product.places().len(), product.parameters().iter().sum());
        [
            Sizes { input: values, hidden: &self.encoder, output: 2 * self.width, given },
            Sizes { input: self.width, hidden: &self.decoder, output: parameters, given },
        ]
    }

    /// The number of values in the parameters of a model of rows of `space`.
    ///
    /// # Errors
    /// As [`LatentConfig::init`].
    pub fn parameters(&self, space: &Space) -> Result<u128> {
        let product = self.product(space)?;
        let networks: u128 = self.sizes(space, &product).iter().map(Sizes::parameters).sum();
        Ok(networks + self.shared_scales(&product) as u128)
    }

    /// The approximate number of activations of a row of `space` in training.
    ///
    /// # Errors
    /// As [`LatentConfig::init`].
    pub fn activations(&self, space: &Space) -> Result<usize> {
        let [encoder, decoder] = self.sizes(space, &self.product(space)?);
        let each = decoder.activations().saturating_mul(self.bound.draws());
        Ok(encoder.activations().saturating_add(each))
    }

    /// The model of rows of `space`, with initial values from `draws`.
    ///
    /// # Errors
    /// [`Error::Config`] naming a key that is invalid, or does not fit the data.
    pub fn init(&self, space: &Space, draws: &Draws, device: &Device) -> Result<LatentVariable> {
        self.check()?;
        let product = self.product(space)?;
        let [encoder, decoder] = self.sizes(space, &product);
        let activation = self.activation;
        Ok(LatentVariable {
            encoder: encoder.init(activation, 1.0, &draws.purpose("encoder"), device),
            decoder: decoder.init(activation, 1.0, &draws.purpose("decoder"), device),
            scales: match self.shared_scales(&product) {
                0 => None,
                count => Some(Param::from_tensor(Tensor::zeros([count], device))),
            },
            product,
            width: self.width,
            bound: self.bound,
        })
    }
}

/// A latent-variable model; see the module's head.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::Device;
/// use tweedie::data::{Condition, Generate, shipped};
/// use tweedie::nn::latent::LatentConfig;
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
    encoder: LatentNetwork,
    decoder: LatentNetwork,
    /// The logarithms of scales that rows share, in place of the decoder's.
    scales: Option<Param<Tensor<1>>>,
    #[module(skip)]
    product: Product,
    #[module(skip)]
    width: usize,
    #[module(skip)]
    bound: Bound,
}

/// The mean and the logarithm of the standard deviation of a normal distribution of each row, `[n, width]` each.
#[derive(Debug, Clone)]
pub struct Posterior {
    /// The means.
    pub mean: Tensor<2>,
    /// The logarithms of the standard deviations.
    pub log_sd: Tensor<2>,
}

impl Posterior {
    /// `draws` draws of z of each row from normal numbers, `[n · draws, width]`, those of a row below each other.
    fn draw(&self, draws: usize, noise: Tensor<2>) -> Tensor<2> {
        let [mean, log_sd] = [&self.mean, &self.log_sd].map(|of| repeated(of.clone(), draws));
        mean + log_sd.exp() * noise
    }

    /// log q of the draws of each row, `[n, draws]`.
    fn log_prob(&self, draws: usize, z: &Tensor<2>) -> Tensor<2> {
        let [mean, log_sd] = [&self.mean, &self.log_sd].map(|of| repeated(of.clone(), draws));
        let scaled = (z.clone() - mean) * log_sd.clone().neg().exp();
        by_row(normal_log_prob(scaled) - log_sd.sum_dim(1), draws)
    }

    /// KL(q ‖ N(0, I)) of each row in nats, by dimension, `[n, width]`.
    pub fn divergences(&self) -> Tensor<2> {
        let square = |x: &Tensor<2>| x.clone() * x.clone();
        let variance = self.log_sd.clone().mul_scalar(2.0).exp();
        let each = square(&self.mean) + variance - self.log_sd.clone().mul_scalar(2.0);
        each.sub_scalar(1.0).mul_scalar(0.5)
    }

    fn detach(&self) -> Self {
        Self { mean: self.mean.clone().detach(), log_sd: self.log_sd.clone().detach() }
    }
}

/// Each row `draws` times, below each other.
fn repeated(x: Tensor<2>, draws: usize) -> Tensor<2> {
    let [n, d] = x.dims();
    if draws == 1 {
        return x;
    }
    x.reshape([n, 1, d]).expand([n, draws, d]).reshape([n * draws, d])
}

/// A column of all draws, those of a row below each other, with a line for each row.
fn by_row(x: Tensor<2>, draws: usize) -> Tensor<2> {
    let [n, _] = x.dims();
    x.reshape([n / draws, draws])
}

/// log N(z; 0, I) of each row, `[n, 1]`.
fn normal_log_prob(z: Tensor<2>) -> Tensor<2> {
    let [_, d] = z.dims();
    (z.clone() * z).sum_dim(1).mul_scalar(-0.5).sub_scalar(0.5 * d as f64 * TAU.ln())
}

/// An estimate of log p of a row by importance sampling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Importance {
    /// The logarithm of the mean weight, at most log p in expectation.
    pub log_p: f64,
    /// Its standard error, by the spread of the weights.
    pub standard_error: f64,
    /// The effective number of draws, (Σ w)²/Σ w².
    pub effective: f64,
    /// The mean logarithm of the weights, whose expectation is the evidence lower bound.
    pub mean_log_weight: f64,
    /// The standard error of `mean_log_weight`.
    pub mean_error: f64,
}

impl Importance {
    /// The estimate from the logarithms of a row's weights.
    fn new(log_weights: &[f64]) -> Self {
        let k = log_weights.len() as f64;
        let most = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights = log_weights.iter().map(|w| (w - most).exp());
        let (sum, squares) =
            weights.fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
        // The variance of the mean weight over its square.
        let relative = (squares / (sum * sum) - 1.0 / k).max(0.0);
        let (mean_log_weight, mean_error) = mean_and_error(log_weights);
        Self {
            log_p: most + (sum / k).ln(),
            standard_error: (relative * k / (k - 1.0).max(1.0)).sqrt(),
            effective: sum * sum / squares,
            mean_log_weight,
            mean_error,
        }
    }
}

impl LatentVariable {
    /// The distributions of the columns.
    pub fn product(&self) -> &Product {
        &self.product
    }

    /// The number of latent dimensions.
    pub fn latent_width(&self) -> usize {
        self.width
    }

    /// The posterior of each row of `x`, `[n, width]` in model units.
    ///
    /// # Errors
    /// [`Error::Shape`] if batch or condition do not fit.
    pub fn posterior(&self, x: Tensor<2>, condition: &Condition) -> Result<Posterior> {
        let x = self.product.ordered(x.into())?;
        let out = self.encoder.forward(x, condition)?.value;
        let part = |from| out.clone().narrow(1, from, self.width);
        let log_sd = soft_bounded(part(self.width).into(), MOST_LOG_SD).value;
        Ok(Posterior { mean: part(0), log_sd })
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
        let x = self.product.ordered(repeated(x.clone(), draws).into())?;
        Ok(by_row(self.product.log_prob(&x, &parameters).value.sum_dim(1), draws))
    }

    /// ln w of `draws` draws of each row of `x`, `[n, draws]`, from normal numbers `noise`, `[n · draws, width]`, those
    /// of a row below each other.
    ///
    /// # Errors
    /// [`Error::Shape`] if batch or condition do not fit.
    pub fn log_weights(
        &self,
        x: &Tensor<2>,
        condition: &Condition,
        draws: usize,
        noise: Tensor<2>,
    ) -> Result<Tensor<2>> {
        let posterior = self.posterior(x.clone(), condition)?;
        let z = posterior.draw(draws, noise);
        let log_q = posterior.log_prob(draws, &z);
        let log_prior = by_row(normal_log_prob(z.clone()), draws);
        Ok(self.log_likelihood(x, z, condition, draws)? + log_prior - log_q)
    }

    /// Estimates log p of each row of `x`, `[n, width]`, by importance sampling from the posterior with `count` draws.
    /// Equal rows have equal draws.
    ///
    /// # Errors
    /// [`Error::Shape`] if batch or condition do not fit; [`Error::Device`] if a tensor cannot be read.
    pub fn importance(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        count: usize,
        draws: &Draws,
    ) -> Result<Vec<Importance>> {
        let ([n, _], device, kind) = (x.dims(), x.device(), x.dtype());
        let rows = addresses(&x)?;
        let values = self.product.parameters().iter().sum::<usize>().max(self.width);
        let at_once = (MOST_AT_ONCE / (values * n).max(1)).clamp(1, count);
        let mut all = vec![Vec::with_capacity(count); n];
        let mut done = 0;
        while done < count {
            let some = at_once.min(count - done);
            let noise: Vec<Tensor<2>> = (done..done + some)
                .map(|k| draws.at(k as u64).normals_for(&rows, self.width).to_tensor(&device))
                .collect();
            // The draws of a row below each other.
            let noise = Tensor::stack::<3>(noise, 1).reshape([n * some, self.width]).cast(kind);
            let found =
                host_column(&self.log_weights(&x, condition, some, noise)?.reshape([-1, 1]))?;
            all.iter_mut().zip(found.chunks(some)).for_each(|(all, some)| all.extend(some));
            done += some;
        }
        Ok(all.iter().map(|log_weights| Importance::new(log_weights)).collect())
    }
}

impl LatentVariable {
    /// Draws a row for each latent variable in `z`, `[n, width]`, with the random numbers of `rows`.
    fn draw(
        &self,
        z: Tensor<2>,
        condition: &Condition,
        draws: &Draws,
        rows: &[u64],
    ) -> Result<Tensor<2>> {
        let device = z.device();
        let parameters = Rows::from_tensor(&self.decoded(z, condition)?.value)?;
        let count = self.product.parameters().len();
        let uniforms = draws.purpose("uniforms").uniforms_for(rows, 2 * count);
        let normals = draws.purpose("normals").normals_for(rows, count);
        let d = self.product.places().len();
        let mut all = Rows::new(vec![0.0; rows.len() * d], d)?;
        for (i, row) in all.values_mut().chunks_exact_mut(d).enumerate() {
            let of = parameters.row(i);
            if of.iter().any(|v| !v.is_finite()) {
                let what = format!("the distribution of row {}", rows[i]);
                return Err(Error::Diverged { what, step: 0 });
            }
            let random = |j: usize| {
                let [choice, uniform] = [0, 1].map(|k| uniforms.row(i)[2 * j + k]);
                Random { choice, uniform, normal: normals.row(i)[j] }
            };
            self.product.draw(of, random, row);
        }
        Ok(all.to_tensor(&device))
    }

    /// Draws a row from the decoder for a draw from the posterior of each row of `x`, `[n, width]`. Equal rows have
    /// equal draws.
    ///
    /// # Errors
    /// [`Error::Shape`] if batch or condition do not fit; [`Error::Diverged`] for a distribution that is not finite.
    pub fn reconstruct(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        draws: &Draws,
    ) -> Result<Tensor<2>> {
        let (rows, device, kind) = (addresses(&x)?, x.device(), x.dtype());
        let noise = draws.purpose("z").normals_for(&rows, self.width).to_tensor(&device);
        let z = self.posterior(x, condition)?.draw(1, noise.cast(kind));
        self.draw(z, condition, draws, &rows)
    }
}

impl Generate for LatentVariable {
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        let numbers: Vec<u64> = rows.collect();
        condition.check(numbers.len())?;
        let z = draws.purpose("z").normals_for(&numbers, self.width).to_tensor(device);
        self.draw(z, condition, draws, &numbers)
    }

    fn name(&self) -> String {
        "latent-variable model".into()
    }
}
