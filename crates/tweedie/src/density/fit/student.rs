//! Student's t distribution with independent columns: with u = (x − μ)²/σ², a column has
//!
//! > log p(x) = log Γ((ν + 1)/2) − log Γ(ν/2) − ½ log(ν π) − log σ − ½ (ν + 1) log(1 + u/ν).
//!
//! Maximum likelihood by ECME (C. Liu and D. B. Rubin, "The ECME algorithm: a simple extension of EM and ECM with
//! faster monotone convergence", Biometrika 81 (1994)): with the weights ω = (ν + 1)/(ν + u),
//!
//! > μ = Σ ω x / Σ ω, σ² = Σ ω (x − μ)² / Σ ω,
//!
//! with the divisor of J. T. Kent, D. E. Tyler and Y. Vardi, "A curious likelihood identity for the multivariate
//! t-distribution", Commun. Stat. Simul. Comput. 23 (1994); then ν raises the likelihood itself, to a root of its
//! derivative. No step lowers the likelihood.
//!
//! Where m of n values are equal, the likelihood is bounded only for ν > m/(n − m) (J. T. Kent and D. E. Tyler,
//! "Redescending M-estimates of multivariate location and scatter", Ann. Stat. 19 (1991)): for smaller ν it grows
//! without bound as the distribution shrinks onto these values. Hence the range of ν in [`StudentT::fit`].

use super::laplace::{check, constant, median_and_deviation};
use super::{Distribution, Points};
use crate::{Draws, Error, Result};
use rayon::prelude::*;
use statrs::function::gamma::{digamma, ln_gamma};

/// The least degrees of freedom of a fit.
const LEAST: f64 = 0.2;

/// The most degrees of freedom, equivalent to a Gaussian: log p differs by less than 10⁻⁶ nats three standard
/// deviations out.
const MOST: f64 = 1e8;

/// Degrees of freedom from which log Γ((ν + 1)/2) − log Γ(ν/2) is taken by its series.
const SERIES: f64 = 100.0;

/// The most steps of ECME.
const STEPS: usize = 2000;

/// Relative changes below which ECME has converged.
const CONVERGED: f64 = 1e-10;

/// Independent columns, each of Student's t distribution.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::density::fit::{Distribution, Points, StudentT};
/// let t = StudentT::new(vec![1.0], vec![2.0], vec![3.0])?;
/// let fitted = StudentT::fit(&Points::new(t.samples(&Draws::new(1), 0..20_000), 1)?)?;
/// assert!((fitted.degrees()[0] - 3.0).abs() < 0.3);
/// assert!((fitted.scales()[0] - 2.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct StudentT {
    locations: Vec<f64>,
    scales: Vec<f64>,
    degrees: Vec<f64>,
}

impl StudentT {
    /// Columns with these locations μⱼ and scales σⱼ, in the units of the data, and degrees of freedom νⱼ.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no column, or the lengths differ; [`Error::Config`] for a location that is not
    /// finite, or a scale or degrees of freedom that are not positive and finite.
    pub fn new(locations: Vec<f64>, scales: Vec<f64>, degrees: Vec<f64>) -> Result<Self> {
        check(&locations, &scales)?;
        if degrees.len() != scales.len() {
            return Err(Error::shape("degrees of freedom", degrees.len(), scales.len()));
        }
        if let Some(j) = degrees.iter().position(|nu| !(*nu > 0.0 && nu.is_finite())) {
            let key = format!("degrees of freedom of column {j}");
            return Err(Error::config(key, degrees[j].to_string(), "a positive finite number"));
        }
        Ok(Self { locations, scales, degrees })
    }

    /// The columns of greatest likelihood over all locations, scales and degrees of freedom from the greater of 0.2 and
    /// 2 m/(n − m) up to 10⁸, where m of the column's n values are equal. 10⁸ means a Gaussian.
    ///
    /// # Errors
    /// [`Error::Undefined`] if a column is constant; [`Error::Diverged`] if squares of its values overflow.
    pub fn fit(points: &Points) -> Result<Self> {
        let column = |j: usize| {
            let values = points.column(j);
            let least = least_degrees(&values).ok_or_else(|| constant("Student-t", j))?;
            let fitted = ecme(&values, least);
            if fitted.iter().all(|v| v.is_finite()) && fitted[1] > 0.0 {
                return Ok(fitted);
            }
            let what = format!("the Student-t distribution of column {j} is not finite");
            Err(Error::Diverged { what, step: 0 })
        };
        let fitted = (0..points.width()).into_par_iter().map(column).collect::<Result<Vec<_>>>()?;
        let all = |part: usize| fitted.iter().map(|column| column[part]).collect();
        Self::new(all(0), all(1), all(2))
    }

    /// The locations μⱼ, one for each column.
    pub fn locations(&self) -> &[f64] {
        &self.locations
    }

    /// The scales σⱼ, one for each column.
    pub fn scales(&self) -> &[f64] {
        &self.scales
    }

    /// The degrees of freedom νⱼ, one for each column.
    pub fn degrees(&self) -> &[f64] {
        &self.degrees
    }

    /// The number of free parameters.
    pub fn parameters(&self) -> usize {
        3 * self.scales.len()
    }

    fn columns(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        let each = self.locations.iter().zip(&self.scales).zip(&self.degrees);
        each.map(|((m, s), nu)| (*m, *s, *nu))
    }
}

impl Distribution for StudentT {
    fn width(&self) -> usize {
        self.scales.len()
    }

    fn log_density(&self, x: &[f64]) -> f64 {
        let term = |(x, (m, s, nu)): (&f64, (f64, f64, f64))| {
            let z = (x - m) / s;
            log_constant(nu) - s.ln() - 0.5 * (nu + 1.0) * (z / nu * z).ln_1p()
        };
        x.iter().zip(self.columns()).map(term).sum()
    }

    fn score(&self, x: &[f64], out: &mut [f64]) {
        for ((out, x), (m, s, nu)) in out.iter_mut().zip(x).zip(self.columns()) {
            let z = (x - m) / s;
            *out = -(nu + 1.0) / (nu / z + z) / s;
        }
    }

    /// Draws by R. W. Bailey, "Polar generation of random variates with the t-distribution", Math. Comput. 62 (1994),
    /// with an angle in place of a rejection.
    fn sample(&self, draws: &Draws, row: u64, out: &mut [f64]) {
        let (radius, angle) = (draws.purpose("radius"), draws.purpose("angle"));
        for ((j, out), (m, s, nu)) in (0..).zip(out).zip(self.columns()) {
            let log = (-radius.uniform_f64(row, j)).ln_1p();
            let length = (nu * (-2.0 / nu * log).exp_m1()).sqrt();
            let turn = std::f64::consts::TAU * angle.uniform_f64(row, j);
            *out = m + s * length * turn.cos();
        }
    }
}

/// log Γ((ν + 1)/2) − log Γ(ν/2) − ½ log(ν π).
fn log_constant(nu: f64) -> f64 {
    if nu < SERIES {
        let pi = std::f64::consts::PI;
        return ln_gamma(0.5 * (nu + 1.0)) - ln_gamma(0.5 * nu) - 0.5 * (nu * pi).ln();
    }
    let r = 1.0 / nu;
    -0.5 * std::f64::consts::TAU.ln() - r / 4.0 + r.powi(3) / 24.0 - r.powi(5) / 20.0
}

/// The derivative of 2 [`log_constant`]: ψ((ν + 1)/2) − ψ(ν/2) − 1/ν.
fn constant_slope(nu: f64) -> f64 {
    if nu < SERIES {
        return digamma(0.5 * (nu + 1.0)) - digamma(0.5 * nu) - 1.0 / nu;
    }
    let r = 1.0 / nu;
    r.powi(2) / 2.0 - r.powi(4) / 4.0 + r.powi(6) / 2.0
}

/// The greater of [`LEAST`] and 2 m/(n − m), where m values are equal; none if all are.
fn least_degrees(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let equal = sorted.chunk_by(|a, b| a == b).map(<[f64]>::len).max().unwrap_or(0);
    let others = sorted.len() - equal;
    (others > 0).then(|| LEAST.max(2.0 * equal as f64 / others as f64).min(MOST))
}

/// Location, scale and degrees of freedom, at least `least`, of greatest likelihood.
fn ecme(values: &[f64], least: f64) -> [f64; 3] {
    let (mut m, mut s) = median_and_deviation(values);
    let mut nu = f64::max(4.0, least);
    for _ in 0..STEPS {
        let (m0, s0, nu0) = (m, s, nu);
        let weight = |x: f64| (nu0 + 1.0) / (nu0 + ((x - m0) / s0).powi(2));
        let (mut total, mut first) = (0.0, 0.0);
        for x in values {
            total += weight(*x);
            first += weight(*x) * (x - m0);
        }
        m = m0 + first / total;
        let second: f64 = values.iter().map(|x| weight(*x) * (x - m).powi(2)).sum();
        s = (second / total).sqrt();
        let squares: Vec<f64> = values.iter().map(|x| ((x - m) / s).powi(2)).collect();
        nu = raise_degrees(&squares, nu0, least);
        let change = ((m - m0) / s).abs() + (s / s0).ln().abs() + (nu / nu0).ln().abs();
        // The loop also ends at values that are not finite.
        if change.is_nan() || change < CONVERGED {
            break;
        }
    }
    [m, s, nu]
}

/// Degrees of freedom of greater likelihood than `nu`: the nearest root uphill of the likelihood's derivative, or the
/// end of the range.
fn raise_degrees(squares: &[f64], nu: f64, least: f64) -> f64 {
    // Twice the derivative of the mean log-likelihood by ν.
    let slope = |nu: f64| {
        let term = |u: &f64| (nu + 1.0) * (u / nu) / (nu + u) - (u / nu).ln_1p();
        constant_slope(nu) + squares.iter().map(term).sum::<f64>() / squares.len() as f64
    };
    let (mut near, mut at_near) = (nu.ln(), slope(nu));
    if at_near == 0.0 {
        return nu;
    }
    let uphill = at_near.signum();
    let end = if uphill > 0.0 { MOST.ln() } else { least.ln() };
    // Growing steps in ln ν, until the slope changes sign.
    let (mut far, mut at_far, mut reach) = (near, at_near, 0.01);
    while at_far * uphill > 0.0 {
        if far == end {
            return end.exp().clamp(least, MOST);
        }
        (near, at_near) = (far, at_far);
        far = if uphill > 0.0 { (near + reach).min(end) } else { (near - reach).max(end) };
        at_far = slope(far.exp());
        reach *= 2.0;
    }
    // Regula falsi with the Illinois modification.
    for _ in 0..100 {
        let middle = (near * at_far - far * at_near) / (at_far - at_near);
        let at_middle = slope(middle.exp());
        if at_middle * at_far < 0.0 {
            (near, at_near) = (far, at_far);
        } else {
            at_near *= 0.5;
        }
        let moved = (middle - far).abs();
        (far, at_far) = (middle, at_middle);
        if at_middle == 0.0 || moved < 1e-11 || (far - near).abs() < 1e-11 {
            break;
        }
    }
    far.exp().clamp(least, MOST)
}
