//! Categorical distributions, of names and of integers between two limits.
//!
//! > log p(k) = ℓ_k − ln Σ_j e^{ℓ_j}
//!
//! by logits ℓ. Two levels need one logit, with the other zero: the Bernoulli distribution.

use super::{AnyConditional, Conditional, DiscretisedLogistic, Random, choose};
use crate::data::{Coordinate, Kind};
use crate::nn::flow::{REACH, bounded};
use crate::tensor::Dual;
use crate::{Error, Result};
use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

/// The most integers with probabilities of their own, before a mixture of logistic distributions is the default.
const MANY: i64 = 256;
/// The most names.
const MOST: usize = 1024;

/// The categorical distribution; see the module's head.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Categorical {
    /// The number of levels, of a column.
    #[serde(skip)]
    levels: usize,
    /// The least integer and the width of a step in model units, of a column of integers; none of names.
    #[serde(skip)]
    steps: Option<(f64, f64)>,
}

impl Categorical {
    /// Whether there are two levels, by one logit.
    fn is_binary(&self) -> bool {
        self.levels == 2
    }

    /// The index of each value's level, `[n, m, 1]`.
    fn index(&self, x: &Tensor<3>) -> Tensor<3, Int> {
        match self.steps {
            None => x.clone().argmax(2),
            Some((low, step)) => {
                let index = x.clone().sub_scalar(low).div_scalar(step).round();
                index.clamp(0.0, self.levels as f64 - 1.0).int()
            }
        }
    }
}

impl Conditional for Categorical {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn for_column(&self, column: &Coordinate) -> Result<AnyConditional> {
        match &column.kind {
            Kind::Category { names } if names.len() <= MOST => {
                Ok(Self { levels: names.len(), steps: None }.into())
            }
            Kind::Category { names } => {
                let expected = format!("at most {MOST}");
                let problem = format!("{} names in column '{}'", names.len(), column.name);
                Err(Error::config("data", problem, expected))
            }
            Kind::Quantised { low: Some(low), high: Some(high) } if high - low < MANY => {
                let low_centre = (*low as f64 + 0.5 - column.shift) / column.scale;
                let levels = (high - low) as usize + 1;
                Ok(Self { levels, steps: Some((low_centre, 1.0 / column.scale)) }.into())
            }
            Kind::Quantised { .. } => DiscretisedLogistic::default().for_column(column),
            _ => {
                let problem = format!("categorical, of the real numbers in '{}'", column.name);
                let expected = "gaussian-mixture";
                Err(Error::config("numbers", problem, expected))
            }
        }
    }

    fn width(&self) -> usize {
        if self.steps.is_some() { 1 } else { self.levels }
    }

    fn parameters(&self) -> usize {
        if self.is_binary() { 1 } else { self.levels }
    }

    /// Logits by the shares of the levels, each counted once more than it is seen.
    fn marginal(&self, values: &mut dyn Iterator<Item = Vec<f32>>) -> Option<Vec<f32>> {
        let mut counts = vec![1.0f64; self.levels];
        let most = |value: &[f32]| (0..value.len()).max_by(|a, b| value[*a].total_cmp(&value[*b]));
        for value in values {
            let level = match self.steps {
                None => most(&value).unwrap_or_default(),
                Some((low, step)) => {
                    let level = ((f64::from(value[0]) - low) / step).round();
                    level.clamp(0.0, self.levels as f64 - 1.0) as usize
                }
            };
            counts[level] += 1.0;
        }
        if self.is_binary() {
            return Some(vec![(counts[1] / counts[0]).ln() as f32]);
        }
        let mean = counts.iter().map(|count| count.ln()).sum::<f64>() / counts.len() as f64;
        Some(counts.iter().map(|count| (count.ln() - mean) as f32).collect())
    }

    /// Names are read as they are, and two integers as 0 and 1: where most are 0, only the others count.
    fn seen(&self, x: Dual<3>) -> Dual<3> {
        match self.steps {
            None => x,
            Some((low, step)) if self.is_binary() => x.add_scalar(-low).mul_scalar(1.0 / step),
            Some(_) => bounded(x, REACH),
        }
    }

    fn log_prob(&self, x: Dual<3>, parameters: Dual<3>) -> Dual<2> {
        let [n, m, _] = x.dims();
        let index = self.index(&x.value.detach());
        if self.is_binary() {
            let logit = parameters.reshape([n, m]);
            let level = index.reshape([n, m]).float().cast(logit.value.dtype());
            if logit.tangent.is_none() {
                return tweedie_ops::bernoulli(logit.value, level).into();
            }
            return logit.clone() * level - logit.softplus();
        }
        let chosen = parameters.clone().linear(|p: Tensor<3>| p.gather(2, index.clone()));
        (chosen - parameters.log_sum_exp(2)).reshape([n, m])
    }

    fn log_prob_by_draws(&self, x: &Tensor<2>, parameters: &Tensor<2>) -> Option<Tensor<2>> {
        let (low, step) = self.steps.filter(|_| self.is_binary() && x.dims()[0] > 0)?;
        let level = x.clone().sub_scalar(low).div_scalar(step).round().clamp(0.0, 1.0);
        Some(tweedie_ops::bernoulli_rows(level, parameters.clone()))
    }

    fn draw(&self, parameters: &[f32], random: Random, out: &mut [f32]) {
        let level = match parameters {
            [logit] if self.is_binary() => choose(&[0.0, *logit], random.choice).0,
            logits => choose(logits, random.choice).0,
        };
        match self.steps {
            Some((low, step)) => out[0] = (low + step * level as f64) as f32,
            None => out.iter_mut().enumerate().for_each(|(k, v)| *v = f32::from(k == level)),
        }
    }
}
