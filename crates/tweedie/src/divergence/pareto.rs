//! The shape of the Pareto tail of importance weights.
//!
//! Above a high threshold, exceedances have nearly a generalised Pareto distribution, P(X > x) = (1 + k x/σ)^{−1/k},
//! which has 1/k moments for k > 0. k is estimated by the posterior mean of θ = −k/σ (J. Zhang and M. A. Stephens, "A
//! new and efficient estimation method for the generalized Pareto distribution", Technometrics 51 (2009), eqs. 10–13,
//! with their k as −k): with m = 30 + ⌊√n⌋ values
//!
//! > θ_j = 1/x_(n) + (1 − √(m/(j − ½)))/(3 x_(⌊n/4 + ½⌋)),  k(θ) = mean ln(1 − θ xᵢ),
//! > θ̂ = Σ θ_j L_j/Σ L_j,  ln L_j = n (ln(−θ_j/k(θ_j)) − k(θ_j) − 1),
//!
//! and then drawn to ½ with the weight of 10 exceedances (A. Vehtari, D. Simpson, A. Gelman, Y. Yao and J. Gabry,
//! "Pareto smoothed importance sampling", J. Mach. Learn. Res. 25 (2024), Appendix C).

use crate::{Error, Result};

/// The least number of exceedances.
const LEAST: usize = 5;

/// k̂ of exceedances over a threshold, which are positive and in any order.
///
/// ```
/// use tweedie::divergence::pareto_k;
/// // The quantiles of a tail with k = ½ and σ = 1: x = (u^{−½} − 1)/½.
/// let tail: Vec<f64> = (0..500).map(|i| ((i as f64 + 0.5) / 500.0).powf(-0.5)).map(|x| 2.0 * (x - 1.0)).collect();
/// assert!((pareto_k(&tail)? - 0.5).abs() < 0.01);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] for fewer than 5 exceedances; [`Error::Config`] unless all are positive and finite.
pub fn pareto_k(exceedances: &[f64]) -> Result<f64> {
    let mut x = exceedances.to_vec();
    x.sort_by(f64::total_cmp);
    let usable = |x: &f64| *x > 0.0 && x.is_finite();
    if let Some(wrong) = x.iter().find(|x| !usable(x)) {
        return Err(Error::config("exceedances", wrong.to_string(), "positive finite numbers"));
    }
    if x.len() < LEAST {
        return Err(Error::shape("exceedances", x.len(), format!("at least {LEAST}")));
    }
    let n = x.len() as f64;
    let m = 30 + n.sqrt() as usize;
    let quartile = x[((n / 4.0 + 0.5) as usize).max(1) - 1];
    let theta = |j: usize| {
        let root = (m as f64 / (j as f64 + 0.5)).sqrt();
        1.0 / x[x.len() - 1] + (1.0 - root) / (3.0 * quartile)
    };
    let shape = |theta: f64| x.iter().map(|x| (-theta * x).ln_1p()).sum::<f64>() / n;
    let profile: Vec<(f64, f64)> = (0..m)
        .map(|j| {
            let theta = theta(j);
            let k = shape(theta);
            (theta, n * ((-theta / k).ln() - k - 1.0))
        })
        .filter(|(_, likelihood)| likelihood.is_finite())
        .collect();
    let most = profile.iter().fold(f64::NEG_INFINITY, |most, (_, l)| most.max(*l));
    let weighted = |value: fn(f64) -> f64| -> f64 {
        profile.iter().map(|(theta, l)| value(*theta) * (l - most).exp()).sum()
    };
    let k = shape(weighted(|theta| theta) / weighted(|_| 1.0));
    Ok((n * k + 5.0) / (n + 10.0))
}

/// k̂ of the largest min(n/5, 3 √n) of n importance weights, given by their logarithms up to a constant; none where
/// fewer than 5 weights exceed the threshold, as where the largest weights are equal.
pub fn psis_k(log_weights: &[f64]) -> Option<f64> {
    let mut sorted = log_weights.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let tail = (n as f64 / 5.0).min(3.0 * (n as f64).sqrt()).ceil() as usize;
    let largest = *sorted.last()?;
    let threshold = sorted[n.checked_sub(tail + 1)?];
    let base = (threshold - largest).exp();
    let exceedances: Vec<f64> = sorted[n - tail..]
        .iter()
        .map(|log| (log - largest).exp() - base)
        .filter(|x| *x > 0.0)
        .collect();
    pareto_k(&exceedances).ok()
}
