//! Gaussians in closed form.

use crate::{Error, Result};
use faer::linalg::solvers::SelfAdjointEigen;
use faer::{Mat, MatRef, Side};

/// A Gaussian distribution N(μ, C), for divergences in closed form.
#[derive(Debug, Clone, PartialEq)]
pub struct Normal {
    mean: Vec<f64>,
    covariance: Mat<f64>,
}

impl Normal {
    /// N(μ, C) with C `[width, width]`, row-major.
    ///
    /// # Errors
    /// [`Error::Shape`] if the mean is empty or C is not `width × width`; [`Error::Config`] unless all numbers are
    /// finite and C is symmetric and positive definite.
    pub fn new(mean: Vec<f64>, covariance: &[f64]) -> Result<Self> {
        let d = mean.len();
        if d == 0 || covariance.len() != d * d {
            let expected = format!("{d} × {d}, above 0");
            return Err(Error::shape("covariance", covariance.len(), expected));
        }
        let covariance = MatRef::from_row_major_slice(covariance, d, d).to_owned();
        let symmetric = (0..d).all(|i| (0..i).all(|j| covariance[(i, j)] == covariance[(j, i)]));
        let finite = mean.iter().all(|m| m.is_finite())
            && (0..d * d).all(|k| covariance[(k / d, k % d)].is_finite());
        if !symmetric || !finite {
            let expected = "finite numbers, the covariance symmetric";
            return Err(Error::config("Gaussian", format!("{mean:?}, {covariance:?}"), expected));
        }
        let least =
            eigen(&covariance)?.S().column_vector().iter().copied().fold(f64::MAX, f64::min);
        if least <= 0.0 {
            let problem = format!("an eigenvalue of {least}");
            return Err(Error::config("covariance", problem, "positive eigenvalues"));
        }
        Ok(Self { mean, covariance })
    }

    /// N(μ, `variance` · I).
    ///
    /// # Errors
    /// As [`Normal::new`].
    pub fn isotropic(mean: Vec<f64>, variance: f64) -> Result<Self> {
        let d = mean.len();
        let entry = |k: usize| if k / d == k % d { variance } else { 0.0 };
        let covariance: Vec<f64> = (0..d * d).map(entry).collect();
        Self::new(mean, &covariance)
    }

    /// The Fisher divergence E_P‖∇ln p − ∇ln q‖² from this Gaussian P to Q: ‖B (μ_P − μ_Q)‖² + tr((B − A)² C_P), with
    /// A and B the inverses of C_P and C_Q.
    ///
    /// ```
    /// use tweedie::divergence::Normal;
    /// let p = Normal::isotropic(vec![3.0, 4.0], 1.0)?;
    /// assert!((p.fisher(&Normal::isotropic(vec![0.0; 2], 1.0)?)? - 25.0).abs() < 1e-12);
    /// # Ok::<(), tweedie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] if the widths differ.
    pub fn fisher(&self, q: &Self) -> Result<f64> {
        self.check_width(q)?;
        let inverse = |c: &Mat<f64>| -> Result<Mat<f64>> {
            let (values, vectors) = parts(&eigen(c)?);
            let scaled =
                Mat::from_fn(vectors.nrows(), vectors.ncols(), |i, j| vectors[(i, j)] / values[j]);
            Ok(scaled * vectors.transpose())
        };
        let (a, b) = (inverse(&self.covariance)?, inverse(&q.covariance)?);
        let shift = &b * self.shift(q);
        let bend = &b - &a;
        let spread = bend.transpose() * &bend * &self.covariance;
        let trace: f64 = (0..self.mean.len()).map(|j| spread[(j, j)]).sum();
        Ok(shift.squared_norm_l2() + trace)
    }

    /// The mean m and the variance c of this Gaussian along each axis [m, c] of coordinates where `q` is standard
    /// normal and this covariance is diagonal.
    pub(super) fn relative_to(&self, q: &Self) -> Result<Vec<[f64; 2]>> {
        self.check_width(q)?;
        let (values, vectors) = parts(&eigen(&q.covariance)?);
        let d = values.len();
        let whiten = Mat::from_fn(d, d, |i, j| vectors[(j, i)] / values[i].sqrt());
        let product = &whiten * &self.covariance * whiten.transpose();
        let symmetric = Mat::from_fn(d, d, |i, j| 0.5 * (product[(i, j)] + product[(j, i)]));
        let (variances, axes) = parts(&eigen(&symmetric)?);
        let means = axes.transpose() * (&whiten * self.shift(q));
        Ok((0..d).map(|j| [means[(j, 0)], variances[j]]).collect())
    }

    /// μ_P − μ_Q as a column.
    fn shift(&self, q: &Self) -> Mat<f64> {
        Mat::from_fn(self.mean.len(), 1, |i, _| self.mean[i] - q.mean[i])
    }

    fn check_width(&self, q: &Self) -> Result<()> {
        if self.mean.len() == q.mean.len() {
            return Ok(());
        }
        Err(Error::shape("width of Q", q.mean.len(), format!("{}, that of P", self.mean.len())))
    }
}

fn eigen(matrix: &Mat<f64>) -> Result<SelfAdjointEigen<f64>> {
    let fault = |e| Error::config("covariance", format!("{e:?}"), "a symmetric matrix");
    matrix.self_adjoint_eigen(Side::Lower).map_err(fault)
}

/// Eigenvalues, and eigenvectors as columns.
fn parts(eigen: &SelfAdjointEigen<f64>) -> (Vec<f64>, Mat<f64>) {
    (eigen.S().column_vector().iter().copied().collect(), eigen.U().to_owned())
}
