//! Kernel density estimates with a Gaussian kernel (B. W. Silverman, "Density estimation for statistics and data
//! analysis", 1986, Eq. 4.4 and section 4.2):
//!
//! > p(x) = Σᵢ wᵢ N(x; xᵢ, h² S),
//!
//! where S is the rows' covariance or its diagonal, with the divisor n − 1 (1 − Σ wᵢ² for weighted rows, the weights
//! summing to 1). With S, an estimate does not depend on the data's units. The factor h is Scott's n^(−1/(d + 4)),
//! Silverman's (n (d + 2)/4)^(−1/(d + 4)), with n = 1/Σ wᵢ² for weighted rows, a given number, or the factor of
//! greatest leave-one-out likelihood. With the whole covariance, all but the last are SciPy's `gaussian_kde`.

use super::covariance::{Covariance, Factor};
use super::leave_one_out::{Panels, factor};
use super::moments::{Maximum, Responsibilities};
use super::{Distribution, Points, log_sum_exp};
use crate::{Draws, Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, de};

/// The choice of the factor h of a [`Kde`]: `"scott"`, `"silverman"`, `"loo"` or a number.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bandwidth {
    /// Scott's rule, n^(−1/(d + 4)).
    #[default]
    Scott,
    /// Silverman's rule, (n (d + 2)/4)^(−1/(d + 4)): best for a Gaussian.
    Silverman,
    /// The factor of greatest leave-one-out likelihood; its cost grows with n².
    #[serde(rename = "loo")]
    LeaveOneOut,
    /// The factor itself, above 0.
    #[serde(untagged)]
    Factor(f64),
}

const RULES: [&str; 3] = ["scott", "silverman", "loo"];

impl<'de> Deserialize<'de> for Bandwidth {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct RuleOrFactor;

        impl de::Visitor<'_> for RuleOrFactor {
            type Value = Bandwidth;

            fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
                write!(out, "a number above 0 or one of {}", RULES.join(", "))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> std::result::Result<Bandwidth, E> {
                match name {
                    "scott" => Ok(Bandwidth::Scott),
                    "silverman" => Ok(Bandwidth::Silverman),
                    "loo" => Ok(Bandwidth::LeaveOneOut),
                    _ => Err(E::unknown_variant(name, &RULES)),
                }
            }

            fn visit_f64<E: de::Error>(self, factor: f64) -> std::result::Result<Bandwidth, E> {
                Ok(Bandwidth::Factor(factor))
            }

            fn visit_i64<E: de::Error>(self, factor: i64) -> std::result::Result<Bandwidth, E> {
                Ok(Bandwidth::Factor(factor as f64))
            }

            fn visit_u64<E: de::Error>(self, factor: u64) -> std::result::Result<Bandwidth, E> {
                Ok(Bandwidth::Factor(factor as f64))
            }
        }

        from.deserialize_any(RuleOrFactor)
    }
}

/// The matrix S, whose multiple h² S is the covariance of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelShape {
    /// The variances of the columns, as a diagonal matrix.
    #[default]
    Columns,
    /// The rows' covariance matrix, as in SciPy.
    Covariance,
}

/// A kernel density estimate; an evaluation takes time proportional to the number of rows.
///
/// ```
/// use tweedie::density::fit::{Bandwidth, Distribution, Kde, KernelShape, Points};
/// let points = Points::new(vec![-1.0, 0.0, 1.0], 1)?; // variance 1
/// let kde = Kde::new(&points, None, Bandwidth::Factor(0.5), KernelShape::Columns)?;
/// let kernel = |z: f64| (-0.5 * z * z).exp() / (0.5 * std::f64::consts::TAU.sqrt());
/// let at_0 = (kernel(0.0) + 2.0 * kernel(2.0)) / 3.0;
/// assert!((kde.log_density(&[0.0]) - at_0.ln()).abs() < 1e-14);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Kde {
    points: Points,
    weights: Vec<f64>,
    /// ln wᵢ.
    logs: Vec<f64>,
    /// w₁ + … + wᵢ.
    running: Vec<f64>,
    centre: Vec<f64>,
    /// The Cholesky factor of S.
    root: Factor,
    /// L⁻¹ (xᵢ − centre) for every row.
    white: Panels,
    factor: f64,
}

impl Kde {
    /// The estimate from `points`, weighted by `weights` (one for each row, at least 0; all equal if absent).
    ///
    /// The leave-one-out factor maximises Σᵢ wᵢ log Σ_{j≠i} wⱼ/(1 − wᵢ) N(xᵢ; xⱼ, h² S); [`Kde::leave_one_out`]
    /// describes the search, and the choice among several maxima.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not as many weights as rows; [`Error::Config`] for a weight or factor that is
    /// negative or not finite; [`Error::Undefined`] if fewer than two rows have a weight, a column is constant or, with
    /// [`KernelShape::Covariance`], the rows lie in a subspace; for the leave-one-out factor also if every row has a
    /// duplicate, so that the likelihood grows without bound as h → 0.
    pub fn new(
        points: &Points,
        weights: Option<&[f64]>,
        bandwidth: Bandwidth,
        shape: KernelShape,
    ) -> Result<Self> {
        let (points, weights) = weighted(points, weights)?;
        let concentration: f64 = weights.iter().map(|w| w * w).sum();
        let (centre, root) = scale(&points, &weights, shape, 1.0 - concentration)?;
        let rows = (0..points.len()).into_par_iter();
        let rows: Vec<Vec<f64>> = rows.map(|i| whiten(&root, &centre, points.row(i))).collect();
        let white = Panels::new(&rows.concat(), points.width());
        let logs = weights.iter().map(|w| w.ln()).collect();
        let running = weights.iter().scan(0.0, |sum, w| {
            *sum += w;
            Some(*sum)
        });
        let running = running.collect();
        let mut kde = Self { points, weights, logs, running, centre, root, white, factor: 1.0 };
        let width = kde.width() as f64;
        let rule = |constant: f64| (constant / concentration).powf(-1.0 / (width + 4.0));
        kde.factor = match bandwidth {
            Bandwidth::Scott => rule(1.0),
            Bandwidth::Silverman => rule((width + 2.0) / 4.0),
            Bandwidth::Factor(factor) if factor > 0.0 && factor.is_finite() => factor,
            Bandwidth::Factor(factor) => {
                let expected = "a finite number above 0";
                return Err(Error::config("bandwidth", factor.to_string(), expected));
            }
            Bandwidth::LeaveOneOut => factor(&kde.white, &kde.weights, rule((width + 2.0) / 4.0))?,
        };
        Ok(kde)
    }

    /// The factor h.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// The rows of positive weight.
    pub fn points(&self) -> &Points {
        &self.points
    }

    /// The weights of [`Kde::points`], summing to 1.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The mean leave-one-out log-likelihood in nats per row, Σᵢ wᵢ log Σ_{j≠i} wⱼ/(1 − wᵢ) N(xᵢ; xⱼ, h² S), at the
    /// factor `h`, in time n² and memory n.
    ///
    /// [`Bandwidth::LeaveOneOut`] maximises it over h: it is computed at Silverman's factor times 2, 1, ½, …, 2⁻⁶, and
    /// further out as long as the outermost is best; between the neighbours of the best, Newton's method in ln h, or a
    /// bisection where Newton's step leaves the bracket, finds the maximum to a relative 1e-9. Of several maxima this
    /// is one at the best of these factors. If every row has a duplicate there is none.
    pub fn leave_one_out(&self, h: f64) -> f64 {
        let constant = 0.5 * self.width() as f64 * std::f64::consts::TAU.ln() + self.root.log_det;
        self.white.leave_one_out(&self.weights, &[h]).at[0].value - constant
    }

    /// log p, the shares of the rows in p, and L⁻¹ (x − centre).
    fn parts(&self, x: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
        let white = whiten(&self.root, &self.centre, x);
        let mut logs = self.white.squared_distances(&[&white]);
        let scale = -0.5 / (self.factor * self.factor);
        logs.truncate(self.logs.len());
        logs.iter_mut().zip(&self.logs).for_each(|(s, log)| *s = log + scale * *s);
        let constant = self.root.log_det
            + self.width() as f64 * (self.factor.ln() + 0.5 * std::f64::consts::TAU.ln());
        (log_sum_exp(&mut logs) - constant, logs, white)
    }
}

impl Distribution for Kde {
    fn width(&self) -> usize {
        self.points.width()
    }

    fn log_density(&self, x: &[f64]) -> f64 {
        self.parts(x).0
    }

    fn score(&self, x: &[f64], out: &mut [f64]) {
        let (_, shares, mut white) = self.parts(x);
        self.white.subtract_mean(&shares, &mut white);
        out.fill(0.0);
        self.root.add_pulled_back(&white, -1.0 / (self.factor * self.factor), out);
    }

    fn sample(&self, draws: &Draws, row: u64, out: &mut [f64]) {
        let u = draws.purpose("component").uniform_f64(row, 0);
        let chosen = self.running.partition_point(|sum| *sum <= u).min(self.running.len() - 1);
        let noise = draws.purpose("normal");
        let z: Vec<f64> = (0..self.width() as u64).map(|j| noise.normal_f64(row, j)).collect();
        out.copy_from_slice(self.points.row(chosen));
        self.root.add_spread(&z, self.factor, out);
    }
}

/// L⁻¹ (x − centre).
fn whiten(root: &Factor, centre: &[f64], x: &[f64]) -> Vec<f64> {
    let residual: Vec<f64> = x.iter().zip(centre).map(|(x, c)| x - c).collect();
    let mut white = vec![0.0; residual.len()];
    root.whiten(&residual, &mut white);
    white
}

/// The rows of positive weight and their weights, summing to 1.
fn weighted(points: &Points, weights: Option<&[f64]>) -> Result<(Points, Vec<f64>)> {
    let n = points.len();
    let given = weights.map_or_else(|| vec![1.0; n], <[f64]>::to_vec);
    if given.len() != n {
        return Err(Error::shape("weights", given.len(), format!("{n}, the number of rows")));
    }
    if let Some(i) = given.iter().position(|w| !(*w >= 0.0 && w.is_finite())) {
        let problem = format!("{} of row {i}", given[i]);
        return Err(Error::config("weights", problem, "numbers of at least 0"));
    }
    let kept: Vec<usize> = (0..n).filter(|i| given[*i] > 0.0).collect();
    let too_few = "fewer than two rows have a positive weight, so that they have no variance";
    if kept.len() < 2 {
        return Err(Error::undefined("a kernel density estimate", too_few));
    }
    let total: f64 = given.iter().sum();
    let rows = kept.iter().flat_map(|i| points.row(*i)).copied().collect();
    let weights = kept.iter().map(|i| given[*i] / total).collect();
    Ok((Points::new(rows, points.width())?, weights))
}

/// The rows' mean and the Cholesky factor of S, whose divisor is `divisor`.
fn scale(
    points: &Points,
    weights: &[f64],
    shape: KernelShape,
    divisor: f64,
) -> Result<(Vec<f64>, Factor)> {
    let kind = match shape {
        KernelShape::Columns => Covariance::Diagonal,
        KernelShape::Covariance => Covariance::Full,
    };
    let shares = Responsibilities::from_fn(points, 1, |i, _| weights[i]);
    let found = Maximum::new(points, &shares, kind, &vec![0.0; points.width()], 0)?;
    let (centre, mut covariance) = found.first();
    covariance.iter_mut().for_each(|c| *c /= divisor);
    match kind.factor(&covariance, points.width()) {
        Some(root) => Ok((centre, root)),
        None => {
            let why = "a column is constant, or the rows lie in a subspace";
            Err(Error::undefined("a kernel density estimate", why))
        }
    }
}
