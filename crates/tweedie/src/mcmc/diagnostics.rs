//! Convergence of chains: rank-normalised split R̂ and bulk effective sample size (Vehtari, Gelman, Simpson, Carpenter
//! & Bürkner, "Rank-normalization, folding, and localization: an improved R̂ for assessing convergence of MCMC", 2021).
//!
//! Each of M chains is cut into halves of N draws (the middle one of an odd number is left out), and values are
//! replaced by z = Φ⁻¹((r − ⅜)/(S + ¼)), r being their mean rank among all S. With the variance W within chains and B/N
//! between their means (eqs. 1–4),
//!
//! > V = (N − 1)/N · W + B/N,  R̂ = √(V/W),
//!
//! for z and for the z of |x − median|, of which the larger counts. With the autocorrelation ρ_t = 1 − (W − mean of the
//! chains' autocovariances)/V (eq. 10) the effective size is M N/τ, τ = −1 + 2 Σ P_k over Geyer's initial monotone
//! sequence of positive P_k = ρ_{2k} + ρ_{2k+1}, at least 1/log₁₀(M N).

use crate::tensor::median;
use crate::{Error, Result};
use statrs::distribution::{ContinuousCDF, Normal};
use std::f64::consts::TAU;

/// The fewest draws per chain for which the diagnostics are defined.
const FEWEST: usize = 4;

/// The rank-normalised split R̂ of one quantity in several chains; near 1 where they agree, below 1.01 is good.
///
/// NaN if a value is not finite, if all are equal, or for fewer than two chains or four draws of each.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::mcmc::r_hat;
/// let draws = Draws::new(0);
/// let chain = |row| -> Vec<f64> { (0..500).map(|k| draws.normal_f64(row, k)).collect() };
/// assert!(r_hat(&[chain(0), chain(1)])? < 1.02);
/// let far = chain(1).iter().map(|x| x + 3.0).collect();
/// assert!(r_hat(&[chain(0), far])? > 1.5);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the chains are not equally long.
pub fn r_hat(chains: &[impl AsRef<[f64]>]) -> Result<f64> {
    let Some(halves) = split(chains, 2)? else { return Ok(f64::NAN) };
    let median = median(halves.concat());
    let folded = halves.iter().map(|half| half.iter().map(|x| (x - median).abs()).collect());
    let bulk = potential_reduction(&normalised(&halves));
    let tail = potential_reduction(&normalised(&folded.collect::<Vec<_>>()));
    // All folded values may be equal; then the tail's is NaN.
    Ok(if tail > bulk { tail } else { bulk })
}

/// The bulk effective sample size of one quantity in one or more chains: the number of independent draws whose mean has
/// the same error.
///
/// NaN if a value is not finite, if all are equal, or for fewer than four draws of each chain.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::mcmc::bulk_ess;
/// let draws = Draws::new(0);
/// let mut x = 0.0;
/// // Autocorrelations 0.8ᵗ: an effective size of 4,000 (1 − 0.8)/(1 + 0.8) = 444.
/// let chain: Vec<f64> = (0..4000).map(|k| {
///     x = 0.8 * x + 0.6 * draws.normal_f64(0, k);
///     x
/// }).collect();
/// assert!((350.0..550.0).contains(&bulk_ess(&[chain])?));
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the chains are not equally long.
pub fn bulk_ess(chains: &[impl AsRef<[f64]>]) -> Result<f64> {
    let Some(halves) = split(chains, 1)? else { return Ok(f64::NAN) };
    Ok(effective_size(&normalised(&halves)))
}

/// The halves of the chains; none if there are too few chains or draws, or if values are not finite or all equal.
fn split(chains: &[impl AsRef<[f64]>], fewest: usize) -> Result<Option<Vec<Vec<f64>>>> {
    let n = chains.first().map_or(0, |chain| chain.as_ref().len());
    if let Some((i, other)) = chains.iter().enumerate().find(|(_, c)| c.as_ref().len() != n) {
        let found = format!("{} draws", other.as_ref().len());
        return Err(Error::shape(format!("chain {i}"), found, format!("{n} as chain 0")));
    }
    if chains.len() < fewest || n < FEWEST {
        return Ok(None);
    }
    let ends = |chain: &[f64]| [chain[..n / 2].to_vec(), chain[n - n / 2..].to_vec()];
    let halves: Vec<Vec<f64>> = chains.iter().flat_map(|chain| ends(chain.as_ref())).collect();
    let finite = chains.iter().flat_map(|chain| chain.as_ref()).all(|x| x.is_finite());
    let constant = halves.iter().flatten().all(|x| *x == halves[0][0]);
    Ok((finite && !constant).then_some(halves))
}

/// The normal scores of the values' ranks among all, ties sharing their mean rank.
fn normalised(chains: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let values = chains.concat();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut scores = vec![0.0; values.len()];
    let (mut below, size) = (0, values.len() as f64);
    for ties in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = below as f64 + 0.5 * (ties.len() as f64 + 1.0);
        let score = Normal::standard().inverse_cdf((rank - 0.375) / (size + 0.25));
        ties.iter().for_each(|i| scores[*i] = score);
        below += ties.len();
    }
    scores.chunks(chains[0].len()).map(<[f64]>::to_vec).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The unbiased variance.
fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)
}

/// √(V/W) of the chains.
fn potential_reduction(chains: &[Vec<f64>]) -> f64 {
    let n = chains[0].len() as f64;
    let means: Vec<f64> = chains.iter().map(|chain| mean(chain)).collect();
    let within = mean(&chains.iter().map(|chain| variance(chain)).collect::<Vec<_>>());
    ((n * variance(&means) / within + n - 1.0) / n).sqrt()
}

/// The effective sample size M N/τ of the chains.
fn effective_size(chains: &[Vec<f64>]) -> f64 {
    let n = chains[0].len();
    let size = (chains.len() * n) as f64;
    let means: Vec<f64> = chains.iter().map(|chain| mean(chain)).collect();
    let covariances: Vec<Vec<f64>> = chains.iter().map(|chain| autocovariance(chain)).collect();
    let covariance = |t: usize| covariances.iter().map(|c| c[t]).sum::<f64>() / chains.len() as f64;
    let within = covariance(0) * n as f64 / (n as f64 - 1.0);
    let total = covariance(0) + variance(&means);
    let rho = |t: usize| if t == 0 { 1.0 } else { 1.0 - (within - covariance(t)) / total };
    size / correlation_time(n, rho).max(size.log10().recip())
}

/// τ of autocorrelations ρ_0 … ρ_{n−1}: sums of pairs are taken as long as they are positive, each at most the one
/// before. Of the first pair that is not, only the even ρ counts, and only if it or the pair's sum is positive.
fn correlation_time(n: usize, rho: impl Fn(usize) -> f64) -> f64 {
    let mut pairs = vec![[rho(0), rho(1)]];
    let mut last = pairs[0];
    while 2 * pairs.len() < n - 2 && last[0] + last[1] > 0.0 {
        last = [rho(2 * pairs.len()), rho(2 * pairs.len() + 1)];
        pairs.push(last);
    }
    pairs.pop();
    let mut sum = 0.0;
    let mut least = f64::INFINITY;
    for pair in pairs {
        least = least.min(pair[0] + pair[1]);
        sum += least;
    }
    let counts = last[0] > 0.0 || last[0] + last[1] >= 0.0;
    2.0 * sum - 1.0 + if counts { last[0] } else { 0.0 }
}

/// Σ_i (x_i − x̄)(x_{i+t} − x̄)/N for every lag t, by the Fourier transform of the sequence padded with as many zeros.
fn autocovariance(chain: &[f64]) -> Vec<f64> {
    let n = chain.len();
    let (mean, length) = (mean(chain), (2 * n).next_power_of_two());
    let mut values: Vec<[f64; 2]> = chain.iter().map(|x| [x - mean, 0.0]).collect();
    values.resize(length, [0.0; 2]);
    transform(&mut values);
    values.iter_mut().for_each(|v| *v = [v[0] * v[0] + v[1] * v[1], 0.0]);
    transform(&mut values);
    values[..n].iter().map(|v| v[0] / (length * n) as f64).collect()
}

/// The discrete Fourier transform of complex numbers, in place (Cooley & Tukey 1965); their number is a power of two.
fn transform(values: &mut [[f64; 2]]) {
    let n = values.len();
    for i in 0..n {
        let j = if n > 1 { i.reverse_bits() >> (usize::BITS - n.trailing_zeros()) } else { 0 };
        if i < j {
            values.swap(i, j);
        }
    }
    let mut half = 1;
    while half < n {
        let twiddles: Vec<[f64; 2]> = (0..half)
            .map(|k| {
                let (sin, cos) = (-0.5 * TAU * k as f64 / half as f64).sin_cos();
                [cos, sin]
            })
            .collect();
        for block in values.chunks_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for ((a, b), w) in low.iter_mut().zip(high).zip(&twiddles) {
                let turned = [b[0] * w[0] - b[1] * w[1], b[0] * w[1] + b[1] * w[0]];
                *b = [a[0] - turned[0], a[1] - turned[1]];
                *a = [a[0] + turned[0], a[1] + turned[1]];
            }
        }
        half *= 2;
    }
}
