//! Posteriors with an auxiliary variable y: mixtures of infinitely many normal distributions.
//!
//! > y ~ q(y | x),  z ~ q(z | x, y),  w = p(x | z) p(z) r(y | x, z) / (q(y | x) q(z | x, y)),
//!
//! all of them normal. Whatever r, the mean of w is p(x), and the bound of ln p(x) is tight where r is q(y | x, z)
//! (Maaløe, Sønderby, Sønderby & Winther 2016, *Auxiliary deep generative models*, eqs. 3–6; Ranganath, Tran & Blei
//! 2016, *Hierarchical variational models*).

use super::ladder::normal_of;
use super::posterior::{Posterior, PosteriorConfig, repeated};
use crate::Result;
use crate::data::Condition;
use crate::error::count;
use crate::nn::Activation;
use crate::nn::perceptron::{Perceptron, Sizes, check_hidden};
use crate::{Draws, Error};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// The most dimensions of an auxiliary variable.
const MOST_WIDTH: u64 = 1 << 12;

/// A posterior with an auxiliary variable; see the module's head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuxiliaryPosterior {
    /// The number of dimensions of y.
    pub width: usize,
    /// The widths of the hidden layers of q(z | x, y) and of r(y | x, z).
    pub hidden: Vec<usize>,
}

impl Default for AuxiliaryPosterior {
    fn default() -> Self {
        Self { width: 16, hidden: vec![200] }
    }
}

impl PosteriorConfig for AuxiliaryPosterior {
    fn check(&self) -> Result<()> {
        count("width", self.width as u64, MOST_WIDTH)?;
        check_hidden("hidden", &self.hidden)
    }

    fn auxiliary(&self) -> Option<AuxiliaryPosterior> {
        Some(self.clone())
    }
}

impl AuxiliaryPosterior {
    /// The networks of z and of y, for rows of `values` values and `width` latent dimensions.
    fn sizes(&self, values: usize, width: usize) -> [Sizes<'_>; 2] {
        let of = |input: usize, output: usize| Sizes {
            input: values + input,
            hidden: &self.hidden,
            output: 2 * output,
            given: [0, 0],
        };
        [of(self.width, width), of(width, self.width)]
    }

    /// The number of values in the parameters.
    pub(super) fn parameters(&self, values: usize, width: usize) -> u128 {
        self.sizes(values, width).iter().map(Sizes::parameters).sum()
    }

    /// The approximate number of activations of a draw.
    pub(super) fn activations(&self, values: usize, width: usize) -> usize {
        self.sizes(values, width).iter().map(Sizes::activations).sum()
    }

    pub(super) fn init(
        &self,
        [values, width]: [usize; 2],
        activation: Activation,
        draws: &Draws,
        device: &Device,
    ) -> Auxiliary {
        let [of_z, of_y] = self.sizes(values, width);
        Auxiliary {
            of_z: of_z.init(activation, 1.0, &draws.purpose("z"), device),
            of_y: of_y.init(activation, 1.0, &draws.purpose("y"), device),
            widths: [self.width, width],
        }
    }
}

/// The networks of q(z | x, y) and of r(y | x, z).
#[derive(Module, Debug)]
pub(super) struct Auxiliary {
    of_z: Perceptron,
    of_y: Perceptron,
    /// The dimensions of y and of z.
    #[module(skip)]
    widths: [usize; 2],
}

impl Auxiliary {
    /// The number of dimensions of y.
    pub fn width(&self) -> usize {
        self.widths[0]
    }

    /// Draws of z for each row from normal numbers, `[n · draws, y and z]`, and ln q(y | x) q(z | x, y)/r(y | x, z),
    /// `[n, draws]`. The posterior is q(y | x), with the row as its context.
    pub fn draw(
        &self,
        posterior: &Posterior,
        draws: usize,
        noise: Tensor<2>,
    ) -> Result<(Tensor<2>, Tensor<2>)> {
        let Some(x) = &posterior.context else {
            return Err(Error::shape(
                "the posterior of an auxiliary variable",
                "no row",
                "its row",
            ));
        };
        let [own, width] = self.widths;
        let x = repeated(x.clone(), draws);
        let of = |network: &Perceptron, input: &Tensor<2>, width: usize| {
            let input = Tensor::cat(vec![x.clone(), input.clone()], 1);
            Ok::<_, Error>(normal_of(
                &network.forward(input.into(), &Condition::None)?.value,
                width,
            ))
        };
        let y = posterior.draw(draws, noise.clone().narrow(1, 0, own));
        let log_q = posterior.log_prob(draws, &y);
        let of_z = of(&self.of_z, &y, width)?;
        let z = of_z.draw(1, noise.narrow(1, own, width));
        let back = of(&self.of_y, &z, own)?.log_prob(1, &y);
        let [n, _] = log_q.dims();
        let rest = (of_z.log_prob(1, &z) - back).reshape([n, draws]);
        Ok((z, log_q + rest))
    }
}
