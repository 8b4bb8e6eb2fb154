//! Mixtures of Gaussians, Σ_k w_k N(μ_k, C_k), with
//!
//! > log p(x) = log Σ_k w_k N(x; μ_k, C_k), ∇log p(x) = −Σ_k r_k(x) C_k⁻¹ (x − μ_k),
//!
//! where the responsibilities r_k(x) = w_k N(x; μ_k, C_k) / p(x) sum to 1 (C. M. Bishop, "Pattern recognition and
//! machine learning", 2006, section 9.2). Sums of exponentials are taken around the largest.

use super::covariance::{Covariance, Factor};
use super::moments::{Maximum, Responsibilities};
use super::points::BLOCK;
use super::{Distribution, Points, log_sum_exp};
use crate::{Draws, Error, Result};

/// A mixture of Gaussians in double precision on the host.
///
/// ```
/// use tweedie::density::fit::{Covariance, Distribution, Mixture};
/// let means = vec![-1.0, 1.0];
/// let mixture = Mixture::new(Covariance::Spherical, vec![0.5; 2], means, vec![0.25; 2], 1)?;
/// let at_0 = (-2.0_f64).exp() * 2.0 / std::f64::consts::TAU.sqrt(); // N(0; ±1, ¼)
/// assert!((mixture.log_density(&[0.0]) - at_0.ln()).abs() < 1e-14);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    kind: Covariance,
    weights: Vec<f64>,
    means: Vec<f64>,
    covariances: Vec<f64>,
    factors: Vec<Factor>,
    width: usize,
}

impl Mixture {
    /// A mixture with `weights`, `[k]`, `means`, `[k, width]`, and `covariances` of the shape
    /// [`Covariance::shape`]; all row-major. The weights are divided by their sum.
    ///
    /// # Errors
    /// [`Error::Shape`] if an array has another length; [`Error::Config`] naming the component whose weight is not
    /// positive, whose mean is not finite or whose covariance is not symmetric and positive definite.
    pub fn new(
        kind: Covariance,
        weights: Vec<f64>,
        means: Vec<f64>,
        covariances: Vec<f64>,
        width: usize,
    ) -> Result<Self> {
        check(kind, &weights, &means, &covariances, width)?;
        let total: f64 = weights.iter().sum();
        let weights = weights.iter().map(|w| w / total).collect();
        Self::with_normalised(kind, weights, means, covariances, width).map_err(|component| {
            let key = format!("covariance of component {component}");
            Error::config(key, "no Cholesky factor", "a positive definite matrix")
        })
    }

    /// The mixture with precisions, the inverses of the covariances, in arrays of the same shapes as for
    /// [`Mixture::new`].
    ///
    /// # Errors
    /// As [`Mixture::new`].
    pub fn from_precisions(
        kind: Covariance,
        weights: Vec<f64>,
        means: Vec<f64>,
        precisions: &[f64],
        width: usize,
    ) -> Result<Self> {
        check(kind, &weights, &means, precisions, width)?;
        let mut covariances = Vec::with_capacity(precisions.len());
        for (k, values) in precisions.chunks_exact(kind.stride(width)).enumerate() {
            match inverse(kind, values, width) {
                Some(inverse) => covariances.extend(inverse),
                None => {
                    let key = format!("precision of component {k}");
                    return Err(Error::config(key, "not positive definite", "a positive one"));
                }
            }
        }
        Self::new(kind, weights, means, covariances, width)
    }

    /// The single Gaussian of greatest likelihood: the rows' mean and their covariance with the divisor n, which is
    /// a matrix, a variance for each column, or one variance.
    ///
    /// # Errors
    /// [`Error::Undefined`] if the rows lie in a subspace, or a column is constant, so that the likelihood has no
    /// maximum; [`Error::Diverged`] if their squares overflow.
    pub fn gaussian(points: &Points, kind: Covariance) -> Result<Self> {
        let all = Responsibilities::from_fn(points, 1, |_, _| 1.0);
        let fitted = Maximum::new(points, &all, kind, &vec![0.0; points.width()], 0)?;
        fitted.mixture().map_err(|_| {
            let why = "the rows lie in a subspace, or a column is constant";
            Error::undefined("the Gaussian of greatest likelihood", why)
        })
    }

    /// A mixture whose weights sum to 1 already; the component whose covariance is singular otherwise.
    pub(super) fn with_normalised(
        kind: Covariance,
        weights: Vec<f64>,
        means: Vec<f64>,
        covariances: Vec<f64>,
        width: usize,
    ) -> std::result::Result<Self, usize> {
        let each = covariances.chunks_exact(kind.stride(width)).enumerate();
        let factors = each
            .map(|(k, values)| kind.factor(values, width).ok_or(k))
            .collect::<std::result::Result<_, _>>()?;
        Ok(Self { kind, weights, means, covariances, factors, width })
    }

    /// The number of components.
    pub fn components(&self) -> usize {
        self.weights.len()
    }

    /// The kind of covariance of the components.
    pub fn kind(&self) -> Covariance {
        self.kind
    }

    /// The weights, `[k]`, summing to 1.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The means, `[k, width]` row-major.
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// The covariances, of the shape [`Covariance::shape`], row-major.
    pub fn covariances(&self) -> &[f64] {
        &self.covariances
    }

    /// The mean of component `k`; `k < self.components()`.
    pub fn mean(&self, k: usize) -> &[f64] {
        &self.means[k * self.width..][..self.width]
    }

    /// The covariance matrix of component `k`, `[width, width]` row-major, whatever its kind;
    /// `k < self.components()`.
    pub fn covariance(&self, k: usize) -> Vec<f64> {
        let (width, stride) = (self.width, self.kind.stride(self.width));
        let at = if self.kind == Covariance::Tied { 0 } else { k };
        let values = &self.covariances[at * stride..][..stride];
        if self.kind.is_dense() {
            return values.to_vec();
        }
        let mut matrix = vec![0.0; width * width];
        for j in 0..width {
            matrix[j * width + j] = values[j.min(stride - 1)];
        }
        matrix
    }

    /// The number of free parameters: weights less one, means, covariances.
    pub fn parameters(&self) -> usize {
        let k = self.components();
        k - 1 + k * self.width + self.kind.parameters(k, self.width)
    }

    /// The responsibilities r_k(x) of the components for the row `x`, `[k]`, summing to 1.
    pub fn responsibilities(&self, x: &[f64]) -> Vec<f64> {
        self.parts(x).1
    }

    /// The mean of log p over the rows, in nats per row.
    pub fn mean_log_density(&self, points: &Points) -> f64 {
        let logs = points.map_blocks(|rows| self.block(rows).0);
        logs.concat().iter().sum::<f64>() / points.len() as f64
    }

    /// The Bayesian information criterion, p ln n − 2 Σ log p with p [`parameters`](Self::parameters) and n rows, in
    /// nats; the smaller, the better (G. Schwarz, "Estimating the dimension of a model", Ann. Stat. 6 (1978)).
    pub fn bic(&self, points: &Points) -> f64 {
        let n = points.len() as f64;
        self.parameters() as f64 * n.ln() - 2.0 * n * self.mean_log_density(points)
    }

    /// Akaike's information criterion, 2 p − 2 Σ log p, in nats; the smaller, the better (H. Akaike, "A new look at
    /// the statistical model identification", IEEE Trans. Autom. Control 19 (1974)).
    pub fn aic(&self, points: &Points) -> f64 {
        2.0 * self.parameters() as f64 - 2.0 * points.len() as f64 * self.mean_log_density(points)
    }

    /// log p of at most [`BLOCK`] rows, and their responsibilities, component after component.
    pub(super) fn block(&self, rows: &[f64]) -> (Vec<f64>, Vec<f64>) {
        debug_assert!(rows.len() <= BLOCK * self.width);
        let (n, components) = (rows.len() / self.width, self.components());
        let mut logs = vec![0.0; n * components];
        let mut residuals = vec![0.0; rows.len()];
        for (k, squares) in logs.chunks_exact_mut(n).enumerate() {
            let pairs = residuals.chunks_exact_mut(self.width).zip(rows.chunks_exact(self.width));
            pairs.for_each(|(out, x)| subtract(x, self.mean(k), out));
            self.factor(k).squares(&residuals, squares);
            squares.iter_mut().for_each(|square| *square = self.log_term(k, *square));
        }
        let mut log_p = vec![0.0; n];
        let mut column = vec![0.0; components];
        for (i, log_p) in log_p.iter_mut().enumerate() {
            column.iter_mut().enumerate().for_each(|(k, log)| *log = logs[k * n + i]);
            *log_p = log_sum_exp(&mut column);
            column.iter().enumerate().for_each(|(k, share)| logs[k * n + i] = *share);
        }
        (log_p, logs)
    }

    /// log p of one row and the responsibilities for it.
    fn parts(&self, x: &[f64]) -> (f64, Vec<f64>) {
        let (mut residual, mut white) = (vec![0.0; self.width], vec![0.0; self.width]);
        let log = |k| {
            subtract(x, self.mean(k), &mut residual);
            self.factor(k).whiten(&residual, &mut white);
            self.log_term(k, white.iter().map(|y| y * y).sum())
        };
        let mut logs: Vec<f64> = (0..self.components()).map(log).collect();
        (log_sum_exp(&mut logs), logs)
    }

    /// log w_k N(x; μ_k, C_k) where the squared Mahalanobis distance from x to μ_k is `square`.
    fn log_term(&self, k: usize, square: f64) -> f64 {
        let constant = 0.5 * self.width as f64 * std::f64::consts::TAU.ln();
        self.weights[k].ln() - 0.5 * square - self.factor(k).log_det - constant
    }

    fn factor(&self, k: usize) -> &Factor {
        &self.factors[k.min(self.factors.len() - 1)]
    }
}

impl Distribution for Mixture {
    fn width(&self) -> usize {
        self.width
    }

    fn log_density(&self, x: &[f64]) -> f64 {
        self.parts(x).0
    }

    fn score(&self, x: &[f64], out: &mut [f64]) {
        let (mut residual, mut white) = (vec![0.0; self.width], vec![0.0; self.width]);
        out.fill(0.0);
        for (k, share) in self.responsibilities(x).into_iter().enumerate() {
            subtract(x, self.mean(k), &mut residual);
            self.factor(k).whiten(&residual, &mut white);
            self.factor(k).add_pulled_back(&white, -share, out);
        }
    }

    fn sample(&self, draws: &Draws, row: u64, out: &mut [f64]) {
        let mut u = draws.purpose("component").uniform_f64(row, 0);
        let chosen = self.weights.iter().position(|w| {
            u -= w;
            u < 0.0
        });
        let k = chosen.unwrap_or(self.components() - 1);
        let noise = draws.purpose("normal");
        let z: Vec<f64> = (0..self.width as u64).map(|j| noise.normal_f64(row, j)).collect();
        out.copy_from_slice(self.mean(k));
        self.factor(k).add_spread(&z, 1.0, out);
    }
}

/// x − μ.
fn subtract(x: &[f64], mean: &[f64], out: &mut [f64]) {
    out.iter_mut().zip(x).zip(mean).for_each(|((out, x), m)| *out = x - m);
}

/// The inverse of one component's precision.
fn inverse(kind: Covariance, precision: &[f64], width: usize) -> Option<Vec<f64>> {
    if !kind.is_dense() {
        return Some(precision.iter().map(|p| 1.0 / p).collect());
    }
    let factor = Factor::dense(precision, width)?;
    let mut inverse = vec![0.0; width * width];
    for (j, out) in inverse.chunks_exact_mut(width).enumerate() {
        let (mut unit, mut white) = (vec![0.0; width], vec![0.0; width]);
        unit[j] = 1.0;
        factor.whiten(&unit, &mut white);
        factor.add_pulled_back(&white, 1.0, out);
    }
    Some(inverse)
}

/// Fails unless the arrays have the shapes and ranges of a mixture; positive definiteness is not checked.
fn check(
    kind: Covariance,
    weights: &[f64],
    means: &[f64],
    covariances: &[f64],
    width: usize,
) -> Result<()> {
    let k = weights.len();
    if k == 0 || width == 0 || means.len() != k * width {
        let found = format!("{k} weights and {} values of means", means.len());
        let expected = format!("one weight and {width} values for each component, at least 1");
        return Err(Error::shape("mixture", found, expected));
    }
    if covariances.len() != kind.values(k, width) {
        let expected = format!("{:?}", kind.shape(k, width));
        return Err(Error::shape("covariances", covariances.len(), expected));
    }
    if let Some(k) = weights.iter().position(|w| !(*w > 0.0 && w.is_finite())) {
        let key = format!("weight of component {k}");
        return Err(Error::config(key, weights[k].to_string(), "a positive finite number"));
    }
    if let Some(at) = means.iter().position(|m| !m.is_finite()) {
        let key = format!("mean of component {}", at / width);
        return Err(Error::config(key, means[at].to_string(), "finite numbers"));
    }
    let matrices = covariances.chunks_exact(width * width).enumerate();
    for (k, matrix) in matrices.filter(|_| kind.is_dense()) {
        let skewed = |i: usize, j: usize| {
            let (a, b) = (matrix[i * width + j], matrix[j * width + i]);
            let scale = (matrix[i * width + i] * matrix[j * width + j]).abs().sqrt();
            (a - b).abs() > 1e-9 * scale
        };
        if (0..width).any(|i| (0..i).any(|j| skewed(i, j))) {
            let key = format!("covariance of component {k}");
            return Err(Error::config(key, "it is not symmetric", "a symmetric matrix"));
        }
    }
    Ok(())
}
