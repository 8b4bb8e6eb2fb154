//! Autoregressive models: a product of conditional distributions, column by column.
//!
//! > log p(x) = Σ_j log p(x_j | x_1, …, x_{j−1})
//!
//! in some order of the columns (Larochelle & Murray 2011; Germain et al. 2015, *MADE*, eq. 4). A model is an order, a
//! network that computes the parameters of all conditional distributions from the columns before each, and the
//! distributions. A row's log-probability takes one pass of the network; a sample is drawn column by column.
//!
//! The mean of several such densities, with other orders or masks and the same weights, is one more: an ensemble (Uria,
//! Murray & Larochelle 2014, *A deep and tractable density estimator*, sec. 4; Germain et al. 2015, secs. 4.2–4.3),
//!
//! > log p(x) = ln Σ_m p_m(x) − ln M.
//!
//! Training maximises log p_m of a random member m at each step, of mean at most log p by Jensen's inequality. A sample
//! is drawn by one member, which its row number chooses.
//!
//! Rows are in model units, integers at the centres of their bins. A category is one column of several values.

mod generate;
mod masked;
mod nade;
mod network;
mod order;
mod pixelcnn;
mod pixelcnn_plus;
mod pixels;
mod transformer;

pub use masked::{MaskedNetwork, MaskedNetworkConfig};
pub use nade::{Nade, NadeConfig};
pub use network::{
    AnyColumnNetwork, AnyColumnNetworkConfig, ColumnNetwork, ColumnNetworkConfig, Columns, Outline,
};
pub use order::Order;
pub use pixelcnn::{PixelCnn, PixelCnnConfig};
pub use pixelcnn_plus::{PixelCnnPlus, PixelCnnPlusConfig};
pub use transformer::{CausalTransformer, CausalTransformerConfig};

use crate::data::{Condition, LogDensity, Space};
use crate::error::inside;
use crate::nn::conditional::{AnyConditional, GaussianConditional, Product};
use crate::tensor::Dual;
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// Configuration of [`Autoregressive`].
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::Device;
/// use tweedie::data::{Space, shipped};
/// use tweedie::nn::autoregressive::AutoregressiveConfig;
/// let space = shipped::digits()?.space;
/// let model = AutoregressiveConfig::default().init(&space, &Draws::new(0), &Device::flex())?;
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoregressiveConfig {
    /// The order of columns.
    pub order: Order,
    /// The network that computes the parameters of all conditional distributions.
    pub network: AnyColumnNetworkConfig,
    /// The conditional distribution of real numbers.
    pub numbers: AnyConditional,
    /// The conditional distribution of integers; names always have a categorical one.
    pub integers: AnyConditional,
}

impl Default for AutoregressiveConfig {
    fn default() -> Self {
        Self {
            order: Order::Natural,
            network: AnyColumnNetworkConfig::default(),
            numbers: GaussianConditional::default().into(),
            integers: AnyConditional::default(),
        }
    }
}

impl AutoregressiveConfig {
    /// Fails, naming the key, unless every value is valid, whatever the data.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        self.network.check().map_err(|e| inside("network", e))?;
        self.numbers.check().map_err(|e| inside("numbers", e))?;
        self.integers.check().map_err(|e| inside("integers", e))
    }

    /// Fails, naming the key, unless the model can be built for rows of `space`.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn fits(&self, space: &Space) -> Result<()> {
        self.check()?;
        let columns = self.outline(space, &self.product(space)?)?;
        self.network.fits(&columns).map_err(|e| inside("network", e))
    }

    /// The numbers of columns in the model's order.
    fn ordered(&self, space: &Space, count: usize) -> Result<Vec<usize>> {
        let own = self.network.natural_order(space.layout());
        match own.filter(|own| self.order == Order::Natural && own.len() == count) {
            Some(own) => Ok(own),
            None => self.order.of(count),
        }
    }

    /// The distributions of the columns in the model's order.
    fn product(&self, space: &Space) -> Result<Product> {
        let order = self.ordered(space, Product::count(space))?;
        Product::new(space, &order, &self.numbers, &self.integers)
    }

    fn outline(&self, space: &Space, product: &Product) -> Result<Outline> {
        let values = product.values();
        Ok(Outline {
            order: self.ordered(space, values.len())?,
            values,
            parameters: product.parameters(),
            layout: space.layout(),
            classes: space.classes().len(),
            vector: space.given_width(),
            gain: product.initial_gain(),
        })
    }

    /// The number of values in the parameters of a model of rows of `space`.
    ///
    /// # Errors
    /// As [`AutoregressiveConfig::fits`].
    pub fn parameters(&self, space: &Space) -> Result<u128> {
        Ok(self.network.parameters(&self.outline(space, &self.product(space)?)?))
    }

    /// The approximate number of activations per row of `space`.
    ///
    /// # Errors
    /// As [`AutoregressiveConfig::fits`].
    pub fn activations(&self, space: &Space) -> Result<usize> {
        Ok(self.network.activations(&self.outline(space, &self.product(space)?)?))
    }

    /// The model of rows of `space`, with initial values from `draws`.
    ///
    /// # Errors
    /// [`Error::Config`] naming a key that is invalid, or does not fit the data.
    pub fn init(&self, space: &Space, draws: &Draws, device: &Device) -> Result<Autoregressive> {
        self.check()?;
        let product = self.product(space)?;
        let columns = self.outline(space, &product)?;
        let network = self.network.init(&columns, &draws.purpose("network"), device);
        let network = network.map_err(|e| inside("network", e))?;
        Ok(Autoregressive { network, product })
    }
}

/// A product of conditional distributions, column by column; see the module's head.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::Device;
/// use tweedie::data::{Condition, LogDensity, shipped};
/// use tweedie::nn::autoregressive::AutoregressiveConfig;
/// let (device, data) = (Device::flex(), shipped::digits()?);
/// let model = AutoregressiveConfig::default().init(&data.space, &Draws::new(0), &device)?;
/// let x = data.space.encode(&data.train.rows().slice(0..3))?.to_tensor(&device);
/// let label = Condition::class(7, 3);
/// assert_eq!(model.log_density(x.into(), &label)?.dims(), [3, 1]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct Autoregressive {
    /// The network that computes the parameters of all distributions.
    network: AnyColumnNetwork,
    /// The distributions of the columns in the model's order.
    #[module(skip)]
    product: Product,
}

impl Autoregressive {
    /// Whether every column is an integer or a name, so that rows have probabilities.
    pub fn is_discrete(&self) -> bool {
        self.product.is_discrete()
    }

    /// The number of members of an ensemble with shared weights, each with an order or masks of its own; 1 for a single
    /// network.
    pub fn members(&self) -> usize {
        self.network.members()
    }

    /// The place in a row in model units of each value, in the order of the model.
    pub fn places(&self) -> &[usize] {
        self.product.places()
    }

    /// log p of each column given those before it in the order of a member, `[n, columns]`, in the order of the model.
    ///
    /// # Errors
    /// [`Error::Shape`] if batch or condition do not fit.
    ///
    /// # Panics
    /// If there are fewer members.
    pub fn log_conditionals(
        &self,
        member: usize,
        x: Dual<2>,
        condition: &Condition,
    ) -> Result<Dual<2>> {
        let x = self.product.ordered(x)?;
        let parameters = self.network.forward_by(member, self.product.seen(&x), condition)?;
        Ok(self.product.log_prob(&x, &parameters))
    }

    /// log p of each row by a member, `[n, 1]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if batch or condition do not fit.
    ///
    /// # Panics
    /// If there are fewer members.
    pub fn log_density_by(
        &self,
        member: usize,
        x: Dual<2>,
        condition: &Condition,
    ) -> Result<Dual<2>> {
        Ok(self.log_conditionals(member, x, condition)?.sum_dim(1))
    }

    /// log p of rows `x`, `[n, 1]`, as training maximises it. Of an ensemble, it is that by a random member, chosen by
    /// `draws`, whose mean over members is at most log p of the ensemble.
    ///
    /// # Errors
    /// As [`LogDensity::log_density`].
    pub fn training_log_p(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        draws: &Draws,
    ) -> Result<Tensor<2>> {
        let member = draws.below(0, 0, self.network.members() as u64) as usize;
        Ok(self.log_density_by(member, x.into(), condition)?.value)
    }
}

impl LogDensity for Autoregressive {
    fn width(&self) -> usize {
        self.product.places().len()
    }

    /// Of an ensemble, ln of the mean probability over its members.
    fn log_density(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        let members = self.network.members();
        if members == 1 {
            return self.log_density_by(0, x, condition);
        }
        let each = (0..members).map(|member| self.log_density_by(member, x.clone(), condition));
        let all = Dual::cat(each.collect::<Result<_>>()?, 1);
        Ok(all.log_sum_exp(1).add_scalar(-(members as f64).ln()))
    }
}
