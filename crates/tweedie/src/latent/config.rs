//! The configuration of latent-variable models.

use super::ladder::LadderConfig;
use super::{
    AnyMatching, AnyPosterior, AnyPriorConfig, Bound, Estimator, Inference, LatentLayer,
    LatentVariable, MOST_WIDTH, Refinement, Terms,
};
use crate::data::Space;
use crate::error::{count, inside};
use crate::nn::Activation;
use crate::nn::conditional::{AnyConditional, GaussianConditional, Product};
use crate::nn::perceptron::{Sizes, check_hidden};
use crate::registry::registry;
use crate::{Draws, Error, Result};
use burn::module::Param;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

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
/// use tweedie::latent::LatentConfig;
/// let space = shipped::digits()?.space;
/// let model = LatentConfig::default().init(&space, &Draws::new(0), &Device::flex())?;
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatentConfig {
    /// The number of latent dimensions, of the lowest layer if there are several.
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
    /// The prior of the latent variable, or of its highest layer.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub prior: AnyPriorConfig,
    /// The posterior of a latent variable of one layer.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub posterior: AnyPosterior,
    /// The layers of latent variables above the lowest, the lowest of them first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<LatentLayer>,
    /// The inference of latent variables in several layers.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub inference: Inference,
    /// Whether the decoder reads all layers, and not the lowest alone.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub skips: bool,
    /// The bound that training maximises.
    pub bound: Bound,
    /// The weights of the bound's terms in training.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub terms: Terms,
    /// How training brings the posterior to the prior.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub matching: AnyMatching,
    /// Chains from each draw of the posterior, at whose ends decoder and prior are trained; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refine: Option<Refinement>,
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
            prior: AnyPriorConfig::default(),
            posterior: AnyPosterior::default(),
            above: Vec::new(),
            inference: Inference::default(),
            skips: false,
            bound: Bound::default(),
            terms: Terms::default(),
            matching: AnyMatching::default(),
            refine: None,
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
        self.prior.check().map_err(|e| inside("prior", e))?;
        self.posterior.check().map_err(|e| inside("posterior", e))?;
        self.ladder().check()?;
        self.bound.check().map_err(|e| inside("bound", e))?;
        self.terms.check(&self.bound).map_err(|e| inside("terms", e))?;
        self.matching.check().map_err(|e| inside("matching", e))?;
        self.refine.map_or(Ok(()), |refine| refine.check()).map_err(|e| inside("refine", e))?;
        self.check_parts()?;
        self.check_matching()
    }

    /// Fails, naming the key, unless the posterior can be matched and refined as asked.
    fn check_matching(&self) -> Result<()> {
        let (implicit, layered) = (self.posterior.noise() > 0, !self.above.is_empty());
        let by_network = !self.matching.needs_density();
        if implicit && !by_network {
            let expected = "critic, denoising or aggregate: the posterior has no density";
            return Err(Error::config("matching", self.matching.name(), expected));
        }
        let plain = self.posterior == AnyPosterior::default() || implicit;
        if by_network && (layered || !plain) {
            let found =
                format!("`{}` with layers, a flow or fitted posteriors", self.matching.name());
            let expected = "density, or a posterior of one layer that is normal or implicit";
            return Err(Error::config("matching", found, expected));
        }
        if self.prior.reads_encoder() && (by_network || self.refine.is_some()) {
            let expected = "normal, mixture or flow: a prior that reads no encoder";
            return Err(Error::config("prior", self.prior.name(), expected));
        }
        if by_network && (self.bound.k > 1 || self.bound.gradient != Estimator::Pathwise) {
            let expected = "k = 1 and pathwise gradients: weights need the posterior's density";
            return Err(Error::config("bound", "of another kind", expected));
        }
        if by_network && self.terms.free > 0.0 {
            let expected = "no such key: the divergence is estimated as a whole";
            return Err(Error::config("terms.free", self.terms.free.to_string(), expected));
        }
        if self.bound.partial && (layered || self.prior.reads_encoder()) {
            let expected = "false, or one layer and a prior that reads no encoder";
            return Err(Error::config("bound.partial", "true", expected));
        }
        if self.refine.is_some() && (layered || self.terms != Terms::default()) {
            let expected = "no such key, or latent variables of one layer and plain terms";
            return Err(Error::config("refine", "given", expected));
        }
        Ok(())
    }

    /// Fails, naming the key, unless prior, posterior, layers and bound go together.
    fn check_parts(&self) -> Result<()> {
        let layered = !self.above.is_empty();
        let flow = self.posterior.flow(self.width).is_some();
        let per_row = self.posterior.per_row().is_some();
        let auxiliary = self.posterior.auxiliary().is_some();
        if layered && (flow || per_row || auxiliary) {
            let expected = "normal: latent variables in layers have normal posteriors";
            return Err(Error::config("posterior", self.posterior.name(), expected));
        }
        if self.prior.reads_encoder() && (layered || flow || per_row || auxiliary) {
            let expected = "normal, mixture or flow: a prior that reads no encoder; or a normal posterior of one layer";
            return Err(Error::config("prior", self.prior.name(), expected));
        }
        for (key, given) in
            [("inference", self.inference != Inference::default()), ("skips", self.skips)]
        {
            if given && !layered {
                let expected = "no such key, or layers of latent variables in latent.above";
                return Err(Error::config(key, "given, with one layer", expected));
            }
        }
        if self.bound.partial && auxiliary {
            let expected = "false: the others are for a posterior without an auxiliary variable";
            return Err(Error::config("bound.partial", "true", expected));
        }
        if self.bound.gradient != Estimator::Pathwise && (layered || flow || auxiliary) {
            let expected = "pathwise: the others are for one layer with a normal posterior";
            let found = format!("{:?}", self.bound.gradient).to_lowercase();
            return Err(Error::config("bound.gradient", found, expected));
        }
        Ok(())
    }

    /// Fails, naming the key, unless the model fits rows of `space`.
    fn check_space(&self, space: &Space) -> Result<()> {
        let given = !space.classes().is_empty() || space.given_width() > 0;
        if self.prior.reads_encoder() && given {
            let expected =
                "normal, mixture or flow, since rows have conditions; or data.label = \"none\"";
            return Err(Error::config("prior", self.prior.name(), expected));
        }
        self.posterior.fitted(self.width).map(|_| ())
    }

    /// The layers above the lowest.
    fn ladder(&self) -> LadderConfig<'_> {
        LadderConfig {
            above: &self.above,
            inference: self.inference,
            activation: self.activation,
            width: self.width,
            features: self.encoder.last().copied().unwrap_or(self.width),
        }
    }

    /// The number of latent dimensions that the decoder reads.
    fn seen(&self) -> usize {
        let above: usize = self.above.iter().map(|layer| layer.width).sum();
        self.width + if self.skips { above } else { 0 }
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
        let outputs = self.posterior.outputs(self.width) + self.ladder().context();
        [
            Sizes {
                input: values + self.posterior.noise(),
                hidden: &self.encoder,
                output: outputs,
                given,
            },
            Sizes { input: self.seen(), hidden: &self.decoder, output: parameters, given },
        ]
    }

    /// The number of values in the parameters of a model of rows of `space`.
    ///
    /// # Errors
    /// As [`LatentConfig::init`].
    pub fn parameters(&self, space: &Space) -> Result<u128> {
        self.check_space(space)?;
        let product = self.product(space)?;
        let [encoder, decoder] = self.sizes(space, &product).map(|sizes| sizes.parameters());
        let per_row = self.posterior.per_row().is_some();
        let networks = if per_row { decoder } else { encoder + decoder };
        let flow = self.posterior.fitted(self.width)?.map_or(0, |flow| flow.parameters());
        let prior = self.prior.parameters(self.top(), space);
        let (auxiliary, values) = (self.posterior.auxiliary(), product.places().len());
        let auxiliary = auxiliary.map_or(0, |own| own.parameters(values, self.width));
        let scales = self.shared_scales(&product) as u128 + auxiliary;
        Ok(networks + flow + prior + self.ladder().parameters() + scales)
    }

    /// The approximate number of activations of a row of `space` in training.
    ///
    /// # Errors
    /// As [`LatentConfig::init`].
    pub fn activations(&self, space: &Space) -> Result<usize> {
        let [encoder, decoder] = self.sizes(space, &self.product(space)?);
        let flow = self.posterior.fitted(self.width)?.map_or(0, |flow| flow.activations());
        let auxiliary = self.posterior.auxiliary();
        let auxiliary = auxiliary.map_or(0, |own| own.activations(encoder.input, self.width));
        let draw = decoder.activations() + flow + auxiliary + self.ladder().activations();
        let fitted = self.posterior.per_row().map_or(0, |by| 2 * by.pairs);
        let each = draw.saturating_mul(self.bound.draws().max(fitted));
        Ok(encoder.activations().saturating_add(each))
    }

    /// The model of rows of `space`, with initial values from `draws`.
    ///
    /// # Errors
    /// [`Error::Config`] naming a key that is invalid, or does not fit the data.
    pub fn init(&self, space: &Space, draws: &Draws, device: &Device) -> Result<LatentVariable> {
        self.check()?;
        self.check_space(space)?;
        let product = self.product(space)?;
        let flow = self.posterior.fitted(self.width)?;
        let [encoder, decoder] = self.sizes(space, &product);
        let (activation, per_row) = (self.activation, self.posterior.per_row());
        Ok(LatentVariable {
            encoder: per_row
                .is_none()
                .then(|| encoder.init(activation, 1.0, &draws.purpose("encoder"), device)),
            per_row: per_row.unwrap_or_default(),
            decoder: decoder.init(activation, 1.0, &draws.purpose("decoder"), device),
            scales: match self.shared_scales(&product) {
                0 => None,
                count => Some(Param::from_tensor(Tensor::zeros([count], device))),
            },
            prior: self.prior.init(self.top(), space, &draws.purpose("prior"), device)?,
            flow: flow.map(|flow| flow.init(&draws.purpose("flow"), device)).transpose()?,
            auxiliary: self.posterior.auxiliary().map(|own| {
                let widths = [product.places().len(), self.width];
                own.init(widths, activation, &draws.purpose("auxiliary"), device)
            }),
            ladder: self.ladder().init(&draws.purpose("ladder"), device),
            product,
            width: self.width,
            noise: self.posterior.noise(),
            skips: self.skips,
            bound: self.bound,
            terms: self.terms,
            matching: self.matching.clone(),
            refinement: self.refine,
        })
    }

    /// The number of dimensions of the highest layer.
    fn top(&self) -> usize {
        self.above.last().map_or(self.width, |layer| layer.width)
    }
}
