//! Conditional distributions of columns, given the columns before them or a latent variable.
//!
//! A network computes the parameters of each column's distribution; a distribution gives the log-probability of a
//! value and draws one. Values are in model units. Integers and categories have probabilities; real numbers have
//! densities in model units.

mod categorical;
mod gaussian;
mod logistic;
mod product;

pub use categorical::Categorical;
pub use gaussian::GaussianConditional;
pub use logistic::DiscretisedLogistic;
pub use product::{Column, Product};

use crate::Result;
use crate::data::{Coordinate, Kind};
use crate::nn::flow::{REACH, bounded};
use crate::registry::registry;
use crate::tensor::Dual;
use burn::tensor::Tensor;
use std::fmt::Debug;
use std::ops::Range;

/// The random numbers of one value: two uniform in [0, 1), and a standard normal.
#[derive(Debug, Clone, Copy)]
pub struct Random {
    /// A uniform number that chooses among components or levels.
    pub choice: f32,
    /// A uniform number for the value.
    pub uniform: f32,
    /// A standard normal number for the value.
    pub normal: f32,
}

/// A distribution of one column, whose parameters a network computes.
pub trait Conditional: Debug + Send + Sync {
    /// Fails, naming the key, unless every value is valid.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config).
    fn check(&self) -> Result<()>;

    /// The distribution for the values of a column.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if the column's values are of another kind.
    fn for_column(&self, column: &Coordinate) -> Result<AnyConditional>;

    /// The number of values in model units.
    fn width(&self) -> usize {
        1
    }

    /// The number of parameters.
    fn parameters(&self) -> usize;

    /// A factor on the initial weights that compute the parameters.
    fn initial_gain(&self) -> f64 {
        0.0
    }

    /// The parameters that are logarithms of scales; none by default.
    fn scales(&self) -> Range<usize> {
        0..0
    }

    /// The parameters of the distribution that values, each of length `width`, have by themselves, for a network to
    /// start from; none by default.
    fn marginal(&self, values: &mut dyn Iterator<Item = Vec<f32>>) -> Option<Vec<f32>> {
        let _ = values;
        None
    }

    /// The values `x`, `[n, m, width]`, as a network reads them: bounded, so that far rows have a finite density.
    fn seen(&self, x: Dual<3>) -> Dual<3> {
        bounded(x, REACH)
    }

    /// The log-probability of values `x`, `[n, m, width]`, by their parameters, `[n, m, parameters]`; `[n, m]`.
    fn log_prob(&self, x: Dual<3>, parameters: Dual<3>) -> Dual<2>;

    /// The sum of the log-probabilities of columns of values `x`, `[n, columns · width]`, by parameters of several
    /// draws for each row, those of a row below each other, `[n · draws, columns · parameters]`; `[n · draws, 1]`. None
    /// where no operation does so without copies of the values.
    fn log_prob_by_draws(&self, x: &Tensor<2>, parameters: &Tensor<2>) -> Option<Tensor<2>> {
        let _ = (x, parameters);
        None
    }

    /// Draws a value into `out`, of length `width`.
    fn draw(&self, parameters: &[f32], random: Random, out: &mut [f32]);
}

registry! {
    /// Any named conditional distribution: `categorical`, or `{ name = "gaussian-mixture", components = 5 }`.
    pub enum AnyConditional: Conditional = Categorical, "conditional" {
        "categorical" Categorical(Categorical)
            "a probability for each of at most 1,024 integers or names; two have one logit (Bernoulli)",
        "gaussian-mixture" Gaussians(GaussianConditional)
            "mixture of Gaussians, of real numbers, components = 10; 1 is a Gaussian",
        "logistic-mixture" Logistics(DiscretisedLogistic)
            "mixture of discretised logistic distributions, of integers, components = 5",
    }
}

/// The distribution of a column with its indicators: of the value where there is one, and of whether it is missing or
/// in the pile.
#[derive(Debug, Clone, PartialEq)]
struct ColumnDistribution {
    value: AnyConditional,
    /// The number of indicators: of missing values, of a pile.
    indicators: usize,
}

impl ColumnDistribution {
    /// The distribution of a column: `numbers` of real numbers, `integers` of integers.
    pub fn new(
        column: &Coordinate,
        numbers: &AnyConditional,
        integers: &AnyConditional,
    ) -> Result<Self> {
        let of = match &column.kind {
            Kind::Category { .. } => Categorical::default().for_column(column),
            Kind::Quantised { .. } => integers.for_column(column),
            _ => numbers.for_column(column),
        };
        let value = of?;
        Ok(Self { indicators: column.model_width() - value.width(), value })
    }

    pub fn width(&self) -> usize {
        self.value.width() + self.indicators
    }

    /// Logits of the indicators, after a logit of 0 for "neither"; then the value's parameters.
    pub fn parameters(&self) -> usize {
        self.value.parameters() + self.indicators
    }

    pub fn initial_gain(&self) -> f64 {
        self.value.initial_gain()
    }

    /// As [`Conditional::scales`].
    pub fn scales(&self) -> Range<usize> {
        let Range { start, end } = self.value.scales();
        start + self.indicators..end + self.indicators
    }

    /// As [`Conditional::seen`].
    pub fn seen(&self, x: Dual<3>) -> Dual<3> {
        if self.indicators == 0 {
            return self.value.seen(x);
        }
        let width = self.value.width();
        let part = |from, len| x.clone().linear(|x: Tensor<3>| x.narrow(2, from, len));
        Dual::cat(vec![self.value.seen(part(0, width)), part(width, self.indicators)], 2)
    }

    /// As [`Conditional::log_prob`].
    pub fn log_prob(&self, x: Dual<3>, parameters: Dual<3>) -> Dual<2> {
        if self.indicators == 0 {
            return self.value.log_prob(x, parameters);
        }
        let ([n, m, _], width, count) = (x.dims(), self.value.width(), self.indicators);
        let of = |x: &Dual<3>, from, len| x.clone().linear(|x: Tensor<3>| x.narrow(2, from, len));
        // Indicators are 1 or −1.
        let flags = of(&x, width, count).value.detach().greater_elem(0.0).float();
        let flags = flags.cast(x.value.dtype());
        let logits = of(&parameters, 0, count);
        let zero = Dual::from(logits.value.clone().detach().narrow(2, 0, 1).zeros_like());
        let all = Dual::cat(vec![zero, logits.clone()], 2).log_sum_exp(2);
        let state = (logits * flags.clone()).sum_dim(2) - all;
        let alone = (flags.sum_dim(2).neg()).add_scalar(1.0).reshape([n, m]);
        let value = self
            .value
            .log_prob(of(&x, 0, width), of(&parameters, count, parameters.dims()[2] - count));
        state.reshape([n, m]) + value * alone
    }

    /// As [`Conditional::draw`].
    pub fn draw(&self, parameters: &[f32], random: Random, out: &mut [f32]) {
        let (logits, rest) = parameters.split_at(self.indicators);
        let (value, flags) = out.split_at_mut(self.value.width());
        if logits.is_empty() {
            return self.value.draw(rest, random, value);
        }
        let all: Vec<f32> = [0.0].into_iter().chain(logits.iter().copied()).collect();
        let (state, choice) = choose(&all, random.choice);
        flags.fill(-1.0);
        match state.checked_sub(1) {
            None => self.value.draw(rest, Random { choice, ..random }, value),
            Some(flag) => {
                value.fill(0.0);
                flags[flag] = 1.0;
            }
        }
    }
}

/// The index that a uniform number chooses by softmax probabilities of `logits`, and the number's place within that
/// index's share, uniform in [0, 1) again.
pub(crate) fn choose(logits: &[f32], uniform: f32) -> (usize, f32) {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: &f32| f64::from(logit - most).exp();
    let mut rest = f64::from(uniform) * logits.iter().map(weight).sum::<f64>();
    for (k, logit) in logits.iter().enumerate() {
        let share = weight(logit);
        if rest < share {
            return (k, ((rest / share) as f32).clamp(0.0, 1.0f32.next_down()));
        }
        rest -= share;
    }
    // Rounding left a little over: the last that has a share.
    let last = logits.iter().rposition(|logit| weight(logit) > 0.0);
    (last.unwrap_or_default(), 1.0f32.next_down())
}
