//! The bound that training maximises, and the estimator of its gradient.
//!
//! With w̃_j = w_j/Σ w the gradient by the decoder is Σ_j w̃_j ∇ ln w_j for all of them. By the encoder it is
//!
//! > pathwise:    Σ_j w̃_j (∂ln w_j/∂z_j · ∂z_j/∂φ − ∂ln q/∂φ),
//! > path-only:   Σ_j w̃_j ∂ln w_j/∂z_j · ∂z_j/∂φ,
//! > doubly:      Σ_j w̃_j² ∂ln w_j/∂z_j · ∂z_j/∂φ
//!
//! (Kingma & Welling 2014; Roeder, Wu & Duvenaud 2017, *Sticking the landing*, eq. 8; Tucker et al. 2019, *Doubly
//! reparameterized gradient estimators for Monte Carlo objectives*, eq. 8). The first and the last have one mean. The
//! second has it for k = 1 alone; there it vanishes at the exact posterior, draw by draw. The signal-to-noise ratio of
//! the pathwise gradient falls like 1/√k, and that of the doubly reparameterised gradient grows like √k.
//!
//! A partial bound lets decoder and prior climb the logarithm of the mean of all m k weights, and the encoder the mean
//! of m logarithms of k; a share β of the evidence lower bound makes it β E ln w + (1 − β) E_k (Rainforth et al. 2018,
//! *Tighter variational bounds are not necessarily better*, eqs. 16 and 17: PIWAE, CIWAE).

use super::posterior::by_row;
use super::{Factors, LatentVariable, Matcher, Posterior, Prior};
use crate::data::Condition;
use crate::error::{count, within};
use crate::registry::registry;
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The most draws of a row in training.
const MOST_DRAWS: u64 = 1 << 14;

registry! {
    /// The estimator of the encoder's gradient.
    pub word Estimator = Pathwise {
        "pathwise" Pathwise "through the draws and through log q",
        "path-only" PathOnly "through the draws alone (sticking the landing); unbiased for k = 1",
        "doubly" Doubly "doubly reparameterised: less noise than pathwise for k above 1",
    }
}

/// The bound that training maximises: the mean of m logarithms of the mean of k weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bound {
    /// The number of weights in a logarithm: 1 for the evidence lower bound, more for importance-weighted ones.
    pub k: usize,
    /// The number of logarithms that are averaged.
    pub m: usize,
    /// The estimator of the encoder's gradient.
    pub gradient: Estimator,
    /// Whether decoder and prior climb one logarithm of all m k weights, and the encoder alone m of k.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub partial: bool,
    /// The share of the evidence lower bound in the bound, from 0 to 1.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub elbo: f64,
}

impl Default for Bound {
    fn default() -> Self {
        Self { k: 1, m: 1, gradient: Estimator::default(), partial: false, elbo: 0.0 }
    }
}

impl Bound {
    /// The number of draws of a row.
    pub fn draws(&self) -> usize {
        self.k.saturating_mul(self.m)
    }

    /// Fails, naming the key, unless every value is valid.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        count("k", self.k as u64, MOST_DRAWS)?;
        count("m", self.m as u64, MOST_DRAWS)?;
        if self.draws() as u64 > MOST_DRAWS {
            let found = format!("{} with k = {}", self.m, self.k);
            return Err(Error::config("m", found, format!("at most {MOST_DRAWS} draws in all")));
        }
        if self.gradient == Estimator::PathOnly && self.k > 1 {
            let expected = "doubly: for k above 1 this estimator is biased";
            return Err(Error::config("gradient", "path-only", expected));
        }
        within("elbo", self.elbo, 0.0, 1.0)?;
        if (self.partial || self.elbo > 0.0) && self.gradient != Estimator::Pathwise {
            let expected = "pathwise, for a bound that is partial or has a share of another";
            let found = format!("{:?}", self.gradient).to_lowercase();
            return Err(Error::config("gradient", found, expected));
        }
        if self.partial && (self.m == 1 || self.k == 1) {
            let expected = "false, or m and k above 1: otherwise both bounds are one";
            return Err(Error::config("partial", "true", expected));
        }
        if self.elbo > 0.0 && self.k == 1 {
            let expected = "0, or k above 1: for k = 1 the bound is that already";
            return Err(Error::config("elbo", self.elbo.to_string(), expected));
        }
        Ok(())
    }
}

impl Bound {
    /// The bound of logarithms of the mean of `k` weights, from ln w, `[n, m k]`; `[n, 1]`.
    fn of(&self, log_weights: Tensor<2>, k: usize) -> Tensor<2> {
        if self.elbo == 0.0 {
            return mean_of_logarithms(log_weights, k);
        }
        let plain = log_weights.clone().mean_dim(1).mul_scalar(self.elbo);
        plain + mean_of_logarithms(log_weights, k).mul_scalar(1.0 - self.elbo)
    }
}

/// The mean of the bound's m logarithms from ln w, `[n, m k]`; `[n, 1]`.
fn mean_of_logarithms(log_weights: Tensor<2>, k: usize) -> Tensor<2> {
    let [n, draws] = log_weights.dims();
    let m = draws / k;
    if k == 1 {
        return log_weights.mean_dim(1);
    }
    let each = tweedie_ops::log_sum_exp(log_weights.reshape([n * m, k]));
    each.reshape([n, m]).sub_scalar((k as f64).ln()).mean_dim(1)
}

/// The share of a sum of weights below which a draw has no gradient: far below a rounding error of the others', and
/// slow to multiply by.
const LEAST_SHARE: f64 = 1e-15;

/// The weights of each logarithm over their sum, `[n, m k]`, without derivatives.
fn shares(log_weights: &Tensor<2>, k: usize) -> Tensor<2> {
    let [n, draws] = log_weights.dims();
    let each = log_weights.clone().detach().reshape([n * (draws / k), k]);
    let all = tweedie_ops::log_sum_exp(each.clone());
    let share = (each - all.reshape([n * (draws / k), 1])).exp().reshape([n, draws]);
    let small = share.clone().lower_elem(LEAST_SHARE);
    share.mask_fill(small, 0.0)
}

/// Estimates of the training bound and of its two terms for each row of a batch, `[n, 1]` each.
#[derive(Debug, Clone)]
pub struct BoundEstimate {
    /// The bound.
    pub value: Tensor<2>,
    /// An expression whose derivatives estimate those of the bound, its terms weighted by [`Factors`].
    pub expression: Tensor<2>,
    /// The mean ln p(x | z) of the draws.
    pub likelihood: Tensor<2>,
    /// The mean ln q(z | x)/p(z) of the draws, in closed form where there is one.
    pub divergence: Tensor<2>,
}

impl LatentVariable {
    /// An estimate of the training bound of each row of `x`, `[n, 1]`, and an expression of the same shape whose
    /// derivatives estimate those of the bound. Normal numbers are `draws.normals` of the rows, in the order of the
    /// batch.
    ///
    /// # Errors
    /// [`Error::Shape`] if batch or condition do not fit.
    pub fn bound(
        &self,
        x: &Tensor<2>,
        condition: &Condition,
        draws: &Draws,
    ) -> Result<[Tensor<2>; 2]> {
        let found = self.bound_by(x, condition, draws, &Factors::default(), None)?;
        Ok([found.value, found.expression])
    }

    /// As [`LatentVariable::bound`], with both terms, weights of the terms in the expression, and the network that
    /// matches posterior and prior in training, where there is one. Without it a posterior that has no density is taken
    /// for the normal distribution with its moments, which gives a lower bound, too.
    ///
    /// # Errors
    /// As [`LatentVariable::bound`].
    pub fn bound_by(
        &self,
        x: &Tensor<2>,
        condition: &Condition,
        draws: &Draws,
        factors: &Factors,
        matcher: Option<&Matcher>,
    ) -> Result<BoundEstimate> {
        let of = (draws, self.bound.draws());
        let plain = |model: &Self| match matcher {
            Some(matcher) => model.by_matching(x, condition, of, factors, matcher),
            None => model.by_density(x, condition, draws, factors),
        };
        match &self.refinement {
            Some(by) if x.is_autodiff() => self.by_refinement(by, x, condition, of, plain),
            _ => plain(self),
        }
    }

    /// [`LatentVariable::bound_by`] by the densities of posterior and prior.
    fn by_density(
        &self,
        x: &Tensor<2>,
        condition: &Condition,
        draws: &Draws,
        factors: &Factors,
    ) -> Result<BoundEstimate> {
        let ([n, _], count) = (x.dims(), self.bound.draws());
        let noise = draws.normals(0..(n * count) as u64, self.inference_width());
        let noise = noise.to_tensor(&x.device()).cast(x.dtype());
        let posterior = self.posterior(x.clone(), condition)?;
        if self.bound.partial {
            return self.partial(x, condition, (&posterior, noise), factors);
        }
        if self.bound.k > 1 || self.bound.gradient != Estimator::Pathwise {
            return self.by_weights(x, condition, (&posterior, noise), factors);
        }
        let (z, parts) = self.infer_in_parts(&posterior, count, noise)?;
        let likelihood = self.log_likelihood(x, z, condition, count)?.mean_dim(1);
        let divergence = parts.clone().sum_dim(1);
        let value = likelihood.clone() - divergence.clone();
        let expression = match *factors == Factors::default() {
            true => value.clone(),
            false => {
                let seen = likelihood.clone().mul_scalar(factors.likelihood);
                let cost = above(parts, factors.free).mul_scalar(factors.divergence);
                // Of the size of the bound's gradient, whatever the multiplier.
                (seen - cost).div_scalar(factors.likelihood.max(1.0))
            }
        };
        Ok(BoundEstimate { value, expression, likelihood, divergence })
    }

    /// The model with decoder and prior held fixed.
    pub(super) fn with_decoder_fixed(&self) -> Self {
        let mut still = self.clone();
        still.decoder = still.decoder.no_grad();
        still.scales = still.scales.no_grad();
        still.prior = still.prior.no_grad();
        still
    }

    /// [`LatentVariable::bound_by`] with a bound for the encoder, and another for decoder and prior, whose value is
    /// given.
    fn partial(
        &self,
        x: &Tensor<2>,
        condition: &Condition,
        (posterior, noise): (&Posterior, Tensor<2>),
        factors: &Factors,
    ) -> Result<BoundEstimate> {
        let count = self.bound.draws();
        let of_encoder = self.with_decoder_fixed().by_weights(
            x,
            condition,
            (posterior, noise.clone()),
            factors,
        )?;
        let (z, log_q) = posterior.detach().draw_with_log_prob(self.flow.as_ref(), count, noise)?;
        let (z, log_q) = (z.detach(), log_q.detach());
        let log_prior = by_row(self.prior.log_prob(z.clone(), &self.encode())?, count);
        let likelihood = self.log_likelihood(x, z, condition, count)?;
        let (log_ratio, by) = (log_prior - log_q, factors.divergence);
        let value = self.bound.of(likelihood.clone() + log_ratio.clone(), count);
        let of_decoder = self.bound.of(likelihood + log_ratio.mul_scalar(by), count);
        let expression = of_encoder.expression + of_decoder;
        Ok(BoundEstimate { value, expression, ..of_encoder })
    }

    /// [`LatentVariable::bound_by`] by the weights of draws.
    fn by_weights(
        &self,
        x: &Tensor<2>,
        condition: &Condition,
        (posterior, noise): (&Posterior, Tensor<2>),
        factors: &Factors,
    ) -> Result<BoundEstimate> {
        let Bound { k, m, gradient, .. } = self.bound;
        let count = k * m;
        let terms = |z: Tensor<2>| {
            let log_q = posterior.detach().log_prob(count, &z);
            let log_prior = by_row(self.prior.log_prob(z.clone(), &self.encode())?, count);
            Ok::<_, Error>((self.log_likelihood(x, z, condition, count)?, log_prior - log_q))
        };
        let weigh = |likelihood: &Tensor<2>, log_ratio: &Tensor<2>, by: f64| {
            if by == 1.0 {
                return likelihood.clone() + log_ratio.clone();
            }
            likelihood.clone() + log_ratio.clone().mul_scalar(by)
        };
        let (likelihood, log_ratio, own) = match gradient {
            Estimator::Pathwise => {
                let (z, log_ratio) = self.infer(posterior, count, noise)?;
                (self.log_likelihood(x, z, condition, count)?, log_ratio, None)
            }
            Estimator::PathOnly => {
                let (likelihood, log_ratio) = terms(posterior.draw(count, noise))?;
                (likelihood, log_ratio, None)
            }
            Estimator::Doubly => {
                // The derivative by z is multiplied by the shares, once here and once below.
                let z = posterior.draw(count, noise);
                let still = z.clone().detach();
                let (likelihood, log_ratio) = terms(still.clone())?;
                let own = shares(&weigh(&likelihood, &log_ratio, factors.divergence), k);
                let [rows, _] = z.dims();
                let z = still.clone() + (z - still) * own.clone().reshape([rows, 1]);
                let (likelihood, log_ratio) = terms(z)?;
                (likelihood, log_ratio, Some(own))
            }
        };
        let plain = weigh(&likelihood, &log_ratio, 1.0);
        let value = self.bound.of(plain.clone(), k);
        let by = factors.divergence;
        let log_weights = if by == 1.0 { plain } else { weigh(&likelihood, &log_ratio, by) };
        let (value, expression) = match own {
            Some(own) => (value.detach(), (log_weights * own).sum_dim(1).div_scalar(m as f64)),
            None if by == 1.0 => (value.clone(), value),
            None => (value, self.bound.of(log_weights, k)),
        };
        let (likelihood, divergence) = (likelihood.mean_dim(1), log_ratio.mean_dim(1).neg());
        Ok(BoundEstimate { value, expression, likelihood, divergence })
    }
}

/// The sum over groups of dimensions of their divergences, `[n, groups]`; a group whose mean over the rows is below
/// `free` nats is left out.
fn above(parts: Tensor<2>, free: f64) -> Tensor<2> {
    if free == 0.0 {
        return parts.sum_dim(1);
    }
    let kept = parts.clone().detach().mean_dim(0).greater_elem(free).float().cast(parts.dtype());
    (parts * kept).sum_dim(1)
}
