//! Covariance matrices: kinds by their free entries, and Cholesky factors.
//!
//! With C = L Lᵀ, L lower triangular, a Gaussian N(μ, C) has
//!
//! > log p(x) = −½ ‖y‖² − log det L − (d/2) log 2π and ∇log p(x) = −L⁻ᵀ y, where y = L⁻¹ (x − μ),
//!
//! and its samples are μ + L z with z ~ N(0, I).

use super::points::BLOCK;
use faer::linalg::matmul::matmul;
use faer::linalg::triangular_inverse::invert_lower_triangular;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use serde::{Deserialize, Serialize};
use tweedie_ops::clear_upper_registers;

/// The kind of covariance of the components of a mixture. Names and arrays are those of scikit-learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Covariance {
    /// A matrix for each component: `[components, width, width]`.
    #[default]
    Full,
    /// One matrix that all components share: `[width, width]`.
    Tied,
    /// A variance for each component and column: `[components, width]`.
    Diagonal,
    /// A variance for each component: `[components]`.
    Spherical,
}

impl Covariance {
    /// The shape of the array that holds the covariances of `components` components on rows of `width` values.
    pub fn shape(self, components: usize, width: usize) -> Vec<usize> {
        match self {
            Covariance::Full => vec![components, width, width],
            Covariance::Tied => vec![width, width],
            Covariance::Diagonal => vec![components, width],
            Covariance::Spherical => vec![components],
        }
    }

    /// The number of free parameters in these covariances.
    pub fn parameters(self, components: usize, width: usize) -> usize {
        let symmetric = width * (width + 1) / 2;
        match self {
            Covariance::Full => components * symmetric,
            Covariance::Tied => symmetric,
            Covariance::Diagonal => components * width,
            Covariance::Spherical => components,
        }
    }

    /// The number of values in the array that holds the covariances.
    pub(super) fn values(self, components: usize, width: usize) -> usize {
        self.shape(components, width).iter().product()
    }

    /// Whether the covariances are matrices.
    pub(super) fn is_dense(self) -> bool {
        matches!(self, Covariance::Full | Covariance::Tied)
    }

    /// The number of values of a component, or of all components if they are tied.
    pub(super) fn stride(self, width: usize) -> usize {
        match self {
            Covariance::Full | Covariance::Tied => width * width,
            Covariance::Diagonal => width,
            Covariance::Spherical => 1,
        }
    }

    /// The factor of one component's `values`; none unless they are positive definite in double precision.
    pub(super) fn factor(self, values: &[f64], width: usize) -> Option<Factor> {
        match self {
            Covariance::Full | Covariance::Tied => Factor::dense(values, width),
            Covariance::Diagonal => Factor::axes(values),
            Covariance::Spherical => Factor::axes(&vec![values[0]; width]),
        }
    }
}

/// The Cholesky factor L of a covariance matrix and its inverse.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Factor {
    entries: Entries,
    /// log det L.
    pub(super) log_det: f64,
}

#[derive(Debug, Clone, PartialEq)]
enum Entries {
    /// L and L⁻¹, row-major.
    Dense { root: Vec<f64>, inverse: Vec<f64>, width: usize },
    /// The standard deviations, L's diagonal.
    Axes(Vec<f64>),
}

impl Factor {
    /// The factor of a covariance matrix, row-major, whose lower triangle is read.
    pub(super) fn dense(covariance: &[f64], width: usize) -> Option<Self> {
        if !covariance.iter().all(|c| c.is_finite()) {
            return None;
        }
        let matrix = MatRef::from_row_major_slice(covariance, width, width);
        let decomposed = matrix.llt(Side::Lower).ok()?;
        let root = decomposed.L();
        // A pivot of the size of rounding errors counts as zero.
        let negligible = width as f64 * f64::EPSILON;
        let definite = |j: usize| root[(j, j)].powi(2) > negligible * matrix[(j, j)];
        if !(0..width).all(definite) {
            return None;
        }
        let mut inverse = Mat::<f64>::zeros(width, width);
        invert_lower_triangular(inverse.as_mut(), root, Par::Seq);
        let lower = |m: MatRef<f64>| {
            let entry = |k: usize| (k / width, k % width);
            let keep = |(i, j): (usize, usize)| if j <= i { m[(i, j)] } else { 0.0 };
            (0..width * width).map(|k| keep(entry(k))).collect::<Vec<f64>>()
        };
        let log_det = (0..width).map(|j| root[(j, j)].ln()).sum();
        let entries = Entries::Dense { root: lower(root), inverse: lower(inverse.as_ref()), width };
        Some(Self { entries, log_det })
    }

    /// The factor of a diagonal covariance matrix.
    pub(super) fn axes(variances: &[f64]) -> Option<Self> {
        if !variances.iter().all(|v| *v > 0.0 && v.is_finite()) {
            return None;
        }
        let log_det = variances.iter().map(|v| 0.5 * v.ln()).sum();
        Some(Self { entries: Entries::Axes(variances.iter().map(|v| v.sqrt()).collect()), log_det })
    }

    /// y = L⁻¹ `x`.
    pub(super) fn whiten(&self, x: &[f64], y: &mut [f64]) {
        match &self.entries {
            Entries::Dense { inverse, width, .. } => {
                for (i, y) in y.iter_mut().enumerate() {
                    let row = &inverse[i * width..][..=i];
                    *y = row.iter().zip(x).map(|(a, x)| a * x).sum();
                }
            }
            Entries::Axes(deviations) => {
                y.iter_mut().zip(x).zip(deviations).for_each(|((y, x), s)| *y = x / s);
            }
        }
    }

    /// Adds `scale` · L⁻ᵀ `y` to `out`.
    pub(super) fn add_pulled_back(&self, y: &[f64], scale: f64, out: &mut [f64]) {
        match &self.entries {
            Entries::Dense { inverse, width, .. } => {
                for (i, y) in y.iter().enumerate() {
                    let row = &inverse[i * width..][..=i];
                    out.iter_mut().zip(row).for_each(|(out, a)| *out += scale * y * a);
                }
            }
            Entries::Axes(deviations) => {
                let pairs = out.iter_mut().zip(y).zip(deviations);
                pairs.for_each(|((out, y), s)| *out += scale * y / s);
            }
        }
    }

    /// Adds `scale` · L `z` to `out`.
    pub(super) fn add_spread(&self, z: &[f64], scale: f64, out: &mut [f64]) {
        match &self.entries {
            Entries::Dense { root, width, .. } => {
                for (i, out) in out.iter_mut().enumerate() {
                    let row = &root[i * width..][..=i];
                    *out += scale * row.iter().zip(z).map(|(a, z)| a * z).sum::<f64>();
                }
            }
            Entries::Axes(deviations) => {
                let pairs = out.iter_mut().zip(z).zip(deviations);
                pairs.for_each(|((out, z), s)| *out += scale * s * z);
            }
        }
    }

    /// ‖L⁻¹ d‖² of each row d of `residuals`, at most [`BLOCK`] rows, written to `squares`.
    pub(super) fn squares(&self, residuals: &[f64], squares: &mut [f64]) {
        match &self.entries {
            Entries::Dense { inverse, width, .. } => {
                let (rows, width) = (squares.len(), *width);
                let mut white = vec![0.0; rows * width];
                let x = MatRef::from_row_major_slice(residuals, rows, width);
                let inverse = MatRef::from_row_major_slice(inverse, width, width);
                let out = MatMut::from_row_major_slice_mut(&mut white, rows, width);
                matmul(out, Accum::Replace, x, inverse.transpose(), 1.0, Par::Seq);
                clear_upper_registers();
                let norm = |y: &[f64]| y.iter().map(|y| y * y).sum::<f64>();
                squares.iter_mut().zip(white.chunks_exact(width)).for_each(|(s, y)| *s = norm(y));
            }
            Entries::Axes(deviations) => {
                let rows = residuals.chunks_exact(deviations.len());
                let norm =
                    |x: &[f64]| x.iter().zip(deviations).map(|(x, s)| (x / s).powi(2)).sum::<f64>();
                squares.iter_mut().zip(rows).for_each(|(square, x)| *square = norm(x));
            }
        }
    }
}

/// Adds Aᵀ A to `total`, `[width, width]` row-major; A, row-major, has at most [`BLOCK`] rows.
pub(super) fn add_gram(a: &[f64], width: usize, total: &mut [f64]) {
    debug_assert!(a.len() <= BLOCK * width);
    let a = MatRef::from_row_major_slice(a, a.len() / width, width);
    let total = MatMut::from_row_major_slice_mut(total, width, width);
    matmul(total, Accum::Add, a.transpose(), a, 1.0, Par::Seq);
    clear_upper_registers();
}
