//! Divergences from densities and samples.
//!
//! From n draws of P and m of Q together, with each density as the weight of its draws (the balance heuristic of Veach
//! and Guibas, "Optimally combining sampling techniques for Monte Carlo rendering", SIGGRAPH 1995),
//!
//! > D_f(P‖Q) ≈ Σᵢ q(xᵢ) f(p(xᵢ)/q(xᵢ)) / (n p(xᵢ) + m q(xᵢ))
//!
//! is unbiased. A term is a function of ln(p/q) alone. With n = 0 it is the mean of f(p/q) under Q, with m = 0 that of
//! (q/p) f(p/q) under P; with draws of both, terms of bounded divergences are bounded.

use super::{Densities, Estimate, FDivergence};
use crate::data::Rows;
use crate::tensor::mean_and_error;
use crate::{Error, Result};

/// D_f(P‖Q) from ln p − ln q at draws of P and at draws of Q; either may be empty.
///
/// ```
/// use tweedie::divergence::{FDivergence, plug_in};
/// // p = (0.8, 0.2) and q = (0.5, 0.5) on two points; four draws of P, four of Q.
/// let [a, b] = [(0.8f64 / 0.5).ln(), (0.2f64 / 0.5).ln()];
/// let found = plug_in(&FDivergence::TotalVariation, &[a, a, a, b], &[a, b, b, a])?;
/// assert!((found.value - 0.3).abs() < 3.0 * found.standard_error);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] for a single draw, or none at all; [`Error::Undefined`] for a ratio that is NaN, or −∞ at a draw of
/// P, or +∞ at a draw of Q, which cannot be; [`Error::Config`] if the order is not finite.
pub fn plug_in(f: &FDivergence, at_p: &[f64], at_q: &[f64]) -> Result<Estimate> {
    f.check()?;
    let [n, m] = [at_p, at_q].map(|ratios| ratios.len() as f64);
    if at_p.len() == 1 || at_q.len() == 1 || n + m == 0.0 {
        let found = format!("{n} draws of P and {m} of Q");
        return Err(Error::shape("log ratios", found, "none or at least 2 of each, not both none"));
    }
    let impossible = [(at_p, f64::NEG_INFINITY, "P"), (at_q, f64::INFINITY, "Q")];
    for (ratios, never, name) in impossible {
        if let Some(at) = ratios.iter().position(|r| r.is_nan() || *r == never) {
            let why = format!("ln p − ln q is {} at draw {at} of {name}", ratios[at]);
            return Err(Error::undefined("divergence", why));
        }
    }
    let term = |r: &f64| {
        // Both densities relative to the larger one.
        let (log_p, log_q) = (r.min(0.0), (-r).min(0.0));
        f.integrand(log_p, log_q) / (n * log_p.exp() + m * log_q.exp())
    };
    let (mut value, mut variance) = (0.0, 0.0);
    for ratios in [at_p, at_q].into_iter().filter(|ratios| !ratios.is_empty()) {
        let (mean, error) = mean_and_error(&ratios.iter().map(term).collect::<Vec<_>>());
        let count = ratios.len() as f64;
        value += count * mean;
        variance += (count * error).powi(2);
    }
    Ok(Estimate { value, standard_error: variance.sqrt() })
}

/// The Fisher divergence E_P‖∇ln p − ∇ln q‖² from draws of P (*An Introduction to Generative Modeling with Flows and
/// Diffusion Models*, eq. 2.13, without a factor ½). It needs no integrals, and does not see the weights of modes that
/// are far apart.
///
/// # Errors
/// [`Error::Shape`] if the widths differ, or for fewer than 2 rows; the errors of the densities.
pub fn fisher(of: &Densities, draws_of_p: &Rows) -> Result<Estimate> {
    if draws_of_p.len() < 2 {
        return Err(Error::shape("draws of P", draws_of_p.len(), "at least 2"));
    }
    let (value, standard_error) = mean_and_error(&of.squared_score_differences(draws_of_p)?);
    Ok(Estimate { value, standard_error })
}
