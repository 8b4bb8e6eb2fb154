//! The exact denoiser of a Gaussian mixture: the reference for all other methods.
//!
//! For data Σ_k w_k N(μ_k, C_k) with C_k = U_k diag(c_k) U_kᵀ, the noised density is the mixture of N(α μ_k,
//! α² C_k + σ² I), whose covariance has eigenvalues v_k = α² c_k + σ² in the same basis. With responsibilities
//! r_k(x) ∝ w_k N(x; α μ_k, α² C_k + σ² I),
//!
//! > E[x₀ | x] = Σ_k r_k [μ_k + α U_k diag(c_k/v_k) U_kᵀ (x − α μ_k)],
//! > ∇log p_t(x) = −Σ_k r_k U_k diag(1/v_k) U_kᵀ (x − α μ_k).
//!
//! All arithmetic is in double precision.

mod model;

use super::Denoiser;
use crate::data::Condition;
use crate::process::{Level, Levels};
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::sync::atomic::{AtomicU64, Ordering};

/// One component of a [`GaussianMixture`].
#[derive(Debug, Clone)]
pub struct Component {
    /// The weight, positive; weights are normalised to sum to 1.
    pub weight: f64,
    /// The mean, one value per dimension.
    pub mean: Vec<f64>,
    /// The class of the component, if the mixture is conditional.
    pub class: Option<u32>,
    /// The eigenvalues of the covariance.
    variances: Vec<f64>,
    /// The eigenvectors, `[dim, dim]` row-major with vectors as columns; `None` for the standard basis.
    basis: Option<Vec<f64>>,
}

impl Component {
    /// A component with covariance `variance` · I.
    pub fn isotropic(weight: f64, mean: Vec<f64>, variance: f64) -> Self {
        let variances = vec![variance; mean.len()];
        Self { weight, mean, class: None, variances, basis: None }
    }

    /// A component with a diagonal covariance; `variances` has one value per dimension.
    pub fn diagonal(weight: f64, mean: Vec<f64>, variances: Vec<f64>) -> Self {
        Self { weight, mean, class: None, variances, basis: None }
    }

    /// A component with a full covariance, `[dim, dim]` row-major.
    ///
    /// # Errors
    /// [`Error::Shape`] if the covariance is not `dim × dim`; [`Error::Config`] if it has no eigen-decomposition.
    pub fn full(weight: f64, mean: Vec<f64>, covariance: &[f64]) -> Result<Self> {
        let dim = mean.len();
        if covariance.len() != dim * dim {
            return Err(Error::shape("covariance", covariance.len(), format!("{dim} × {dim}")));
        }
        let matrix = faer::MatRef::from_row_major_slice(covariance, dim, dim);
        let eigen = matrix.self_adjoint_eigen(faer::Side::Lower).map_err(|e| {
            Error::config("covariance", format!("{e:?}"), "a symmetric matrix of finite numbers")
        })?;
        let variances = (0..dim).map(|j| eigen.S().column_vector()[j]).collect();
        let basis = (0..dim * dim).map(|k| eigen.U()[(k / dim, k % dim)]).collect();
        Ok(Self { weight, mean, class: None, variances, basis: Some(basis) })
    }

    /// The same component as part of class `class`.
    pub fn of_class(mut self, class: u32) -> Self {
        self.class = Some(class);
        self
    }
}

/// A mixture of Gaussians with its exact noised density, score, posterior mean and samples.
///
/// ```
/// use tweedie::burn::tensor::{DType, Device, Tensor};
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::process::{Schedule, VpLinear};
/// let unit = GaussianMixture::new(vec![Component::isotropic(1.0, vec![0.0], 1.0)])?;
/// let x = Tensor::<2>::from_data([[2.0f64]], (&Device::flex(), DType::F64));
/// let level = VpLinear::default().level(0.3); // unit data stay unit under a variance-preserving process
/// let score = unit.score(x, &level.into())?.into_scalar::<f64>();
/// assert!((score + 2.0).abs() < 1e-12);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug)]
pub struct GaussianMixture {
    components: Vec<Component>,
    evaluations: AtomicU64,
}

impl GaussianMixture {
    /// A mixture of at least one component, all of the same dimension.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Shape`] for a weight or variance that is not positive and finite, a mean that
    /// is not finite, or dimensions that differ.
    pub fn new(mut components: Vec<Component>) -> Result<Self> {
        let Some(first) = components.first() else {
            return Err(Error::config("mixture", "no component", "at least one"));
        };
        let dim = first.mean.len();
        let positive = |v: f64| v > 0.0 && v.is_finite();
        for (k, c) in components.iter().enumerate() {
            if c.mean.len() != dim || c.variances.len() != dim || dim == 0 {
                let found = format!("{} means and {} variances", c.mean.len(), c.variances.len());
                return Err(Error::shape(
                    format!("component {k}"),
                    found,
                    format!("{dim}, above 0"),
                ));
            }
            if !positive(c.weight) || !c.variances.iter().all(|v| positive(*v)) {
                let problem = format!("weight {} and variances {:?}", c.weight, c.variances);
                return Err(Error::config(
                    format!("component {k}"),
                    problem,
                    "positive finite numbers",
                ));
            }
            if !c.mean.iter().all(|m| m.is_finite()) {
                return Err(Error::config(
                    format!("component {k}"),
                    "a mean is not finite",
                    "finite",
                ));
            }
        }
        let total: f64 = components.iter().map(|c| c.weight).sum();
        components.iter_mut().for_each(|c| c.weight /= total);
        Ok(Self { components, evaluations: AtomicU64::new(0) })
    }

    /// The components, with weights that sum to 1.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// Samples of x₀ by components: `[n, dim]` in double precision; row i depends only on `draws` and i.
    pub fn sample(&self, n: usize, draws: &Draws, device: &Device) -> Tensor<2> {
        let mut values = Vec::with_capacity(n * self.width());
        (0..n as u64).for_each(|i| self.point(i, None, draws, &mut values));
        Tensor::from_data(TensorData::new(values, [n, self.width()]), (device, DType::F64))
    }

    /// Appends row `i` of the sample addressed by `draws`, of the given class or of the whole mixture.
    fn point(&self, i: u64, class: Option<u32>, draws: &Draws, values: &mut Vec<f64>) {
        let noise = draws.purpose("normal");
        let fits = |c: &&Component| class.is_none() || c.class == class;
        let total = match class {
            None => 1.0,
            Some(_) => self.components.iter().filter(fits).map(|c| c.weight).sum(),
        };
        let mut u = total * draws.purpose("component").uniform_f64(i, 0);
        let chosen = self.components.iter().filter(fits).find(|c| {
            u -= c.weight;
            u < 0.0
        });
        let last = || self.components.iter().rfind(fits).unwrap_or(&self.components[0]);
        let (c, dim) = (chosen.unwrap_or_else(last), self.width());
        let z: Vec<f64> = (0..dim as u64).map(|j| noise.normal_f64(i, j)).collect();
        values.extend((0..dim).map(|a| {
            let spread: f64 = match &c.basis {
                None => c.variances[a].sqrt() * z[a],
                Some(u) => (0..dim).map(|j| u[a * dim + j] * c.variances[j].sqrt() * z[j]).sum(),
            };
            c.mean[a] + spread
        }));
    }

    /// log p_t(x) in nats of the rows `x`, `[n, dim]`, as `[n, 1]` in double precision; log p₀ at a clean level.
    ///
    /// # Errors
    /// [`Error::Shape`] if the batch or the levels do not fit the mixture.
    pub fn log_density(&self, x: Tensor<2>, levels: &Levels) -> Result<Tensor<2>> {
        let x: Dual<2> = x.cast(DType::F64).into();
        let parts = self.parts(&x, levels, None)?;
        let (max, logs) = (parts.max, parts.shifted);
        Ok(logs.value.exp().sum_dim(1).log() + max)
    }

    /// ∇log p_t(x), `[n, dim]` in double precision, computed without Tweedie's formula.
    ///
    /// # Errors
    /// As [`GaussianMixture::log_density`].
    pub fn score(&self, x: Tensor<2>, levels: &Levels) -> Result<Tensor<2>> {
        let x: Dual<2> = x.cast(DType::F64).into();
        self.score_of(&self.parts(&x, levels, None)?, levels)
    }

    /// The score, given the quantities that it shares with the density.
    fn score_of(&self, parts: &Parts, levels: &Levels) -> Result<Tensor<2>> {
        let r = parts.responsibilities().value;
        let mut score = parts.rotated[0].value.zeros_like();
        for (k, c) in self.components.iter().enumerate() {
            let u = &parts.rotated[k].value;
            let inverse = self.spectrum(c, levels, u, |_, v| 1.0 / v)?;
            let pulled = from_basis(c, u.clone() * inverse);
            score = score - pulled * r.clone().narrow(1, k, 1);
        }
        Ok(score)
    }

    /// The entropy −E log p₀ in nats, estimated from `n` samples, and its standard error.
    ///
    /// # Errors
    /// The errors of [`GaussianMixture::log_density`]; [`Error::Device`] if the densities cannot be read.
    pub fn entropy(&self, n: usize, draws: &Draws, device: &Device) -> Result<(f64, f64)> {
        let x = self.sample(n, draws, device);
        let logs = self.log_density(x, &Level::clean(0.0).into())?;
        let logs = crate::tensor::host_column(&logs)?;
        Ok(crate::tensor::mean_and_error(&logs.iter().map(|v| -v).collect::<Vec<_>>()))
    }

    /// The values f(α, c, v) of component `c` for each eigenvalue, `[1 or n, dim]`, v = α² c + σ².
    fn spectrum(
        &self,
        c: &Component,
        levels: &Levels,
        like: &Tensor<2>,
        f: impl Fn((f64, f64), f64) -> f64,
    ) -> Result<Tensor<2>> {
        let row = |level: &Level| {
            let (a2, s2) = (level.alpha * level.alpha, level.sigma * level.sigma);
            c.variances.iter().map(|&cj| f((level.alpha, cj), a2 * cj + s2)).collect::<Vec<f64>>()
        };
        let dim = c.mean.len();
        let (rows, values) = match levels {
            Levels::All(level) => (1, row(level)),
            Levels::Rows(levels) => (levels.len(), levels.iter().flat_map(row).collect()),
            Levels::Tracked { .. } => {
                return Err(Error::undefined(
                    "the exact denoiser at tracked levels",
                    "it is a host oracle",
                ));
            }
        };
        Ok(Tensor::from_data(TensorData::new(values, [rows, dim]), (&like.device(), DType::F64)))
    }

    /// The components' log densities and rotated residuals at x, in double precision.
    fn parts(&self, x: &Dual<2>, levels: &Levels, condition: Option<&Condition>) -> Result<Parts> {
        let [n, dim] = x.dims();
        if dim != self.width() || n == 0 {
            return Err(Error::shape(
                "batch",
                format!("{n} × {dim}"),
                format!("n × {}", self.width()),
            ));
        }
        levels.check(n)?;
        let alpha = levels.alpha(&x.value)?;
        let mut rotated = Vec::with_capacity(self.components.len());
        let mut columns = Vec::with_capacity(self.components.len());
        for c in &self.components {
            let mean = Tensor::<2>::from_data(
                TensorData::new(c.mean.clone(), [1, dim]),
                (&x.value.device(), DType::F64),
            );
            let u = into_basis(c, x.clone() - alpha.clone() * mean);
            let inverse = self.spectrum(c, levels, &x.value, |_, v| 1.0 / v)?;
            let ln_v = self.spectrum(c, levels, &x.value, |_, v| v.ln())?.sum_dim(1);
            let square = (u.clone() * u.clone() * inverse).sum_dim(1);
            let constant = c.weight.ln() - 0.5 * dim as f64 * std::f64::consts::TAU.ln();
            columns.push((square + ln_v).mul_scalar(-0.5).add_scalar(constant));
            rotated.push(u);
        }
        let mut logs = Dual::cat(columns, 1);
        if let Some(Condition::Class(labels)) = condition {
            logs = logs + self.class_mask(labels, &x.value)?;
        }
        let max = logs.value.clone().max_dim(1);
        let shifted = logs - max.clone();
        Ok(Parts { rotated, shifted, max })
    }

    /// A mask: 0 for components of a row's class, −∞ for others; 0 everywhere for rows without a label.
    fn class_mask(&self, labels: &[Option<u32>], like: &Tensor<2>) -> Result<Tensor<2>> {
        let mut values = Vec::with_capacity(labels.len() * self.components.len());
        for label in labels {
            let fits = |c: &Component| label.is_none() || c.class == *label;
            if !self.components.iter().any(fits) {
                return Err(Error::shape(
                    "class label",
                    format!("{label:?}"),
                    "a class of the mixture",
                ));
            }
            values.extend(
                self.components.iter().map(|c| if fits(c) { 0.0 } else { f64::NEG_INFINITY }),
            );
        }
        let data = TensorData::new(values, [labels.len(), self.components.len()]);
        Ok(Tensor::from_data(data, (&like.device(), DType::F64)))
    }
}

/// The quantities shared by density, score and posterior mean.
struct Parts {
    /// U_kᵀ (x − α μ_k) for each component.
    rotated: Vec<Dual<2>>,
    /// ln w_k N_k − max for each component, `[n, components]`.
    shifted: Dual<2>,
    /// The maximum of each row, `[n, 1]`.
    max: Tensor<2>,
}

impl Parts {
    fn responsibilities(&self) -> Dual<2> {
        let e = self.shifted.clone().exp();
        let total = e.clone().sum_dim(1);
        e * total.recip()
    }
}

fn basis_matrix(c: &Component, like: &Tensor<2>) -> Option<Tensor<2>> {
    let dim = c.mean.len();
    let basis = c.basis.as_ref()?;
    let data = TensorData::new(basis.clone(), [dim, dim]);
    Some(Tensor::from_data(data, (&like.device(), DType::F64)))
}

/// x U for rows x: coordinates in the component's eigenbasis.
fn into_basis(c: &Component, x: Dual<2>) -> Dual<2> {
    match basis_matrix(c, &x.value) {
        None => x,
        Some(u) => x.linear(|x| x.matmul(u.clone())),
    }
}

/// x Uᵀ for rows x: back from the component's eigenbasis.
fn from_basis(c: &Component, x: Tensor<2>) -> Tensor<2> {
    match basis_matrix(c, &x) {
        None => x,
        Some(u) => x.matmul(u.transpose()),
    }
}

impl Denoiser for GaussianMixture {
    fn denoise(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        condition.check(x.dims()[0])?;
        if !matches!(condition, Condition::None | Condition::Class(_)) {
            return Err(Error::shape("condition", condition.kind(), "none or a class"));
        }
        let kind = x.value.dtype();
        let x = x.linear(|v| v.cast(DType::F64));
        self.evaluations.fetch_add(x.dims()[0] as u64, Ordering::Relaxed);
        let parts = self.parts(&x, levels, Some(condition))?;
        let r = parts.responsibilities();
        let mut mean: Option<Dual<2>> = None;
        for (k, c) in self.components.iter().enumerate() {
            let gain = self.spectrum(c, levels, &x.value, |(alpha, cj), v| alpha * cj / v)?;
            let own = Tensor::<2>::from_data(
                TensorData::new(c.mean.clone(), [1, c.mean.len()]),
                (&x.value.device(), DType::F64),
            );
            let inner = (parts.rotated[k].clone() * gain).linear(|v| from_basis(c, v)) + own;
            let term = inner * r.clone().linear(|r| r.narrow(1, k, 1));
            mean = Some(match mean {
                None => term,
                Some(sum) => sum + term,
            });
        }
        let mean = mean.ok_or_else(|| Error::config("mixture", "no component", "at least one"))?;
        Ok(mean.linear(|v| v.cast(kind)))
    }

    /// log p_t in nats with its constant, in double precision; log p_t(x | class) for a row with a label.
    fn log_noised(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        self.check_condition(condition, x.dims()[0])?;
        let x = x.linear(|v| v.cast(DType::F64));
        Ok(self.log_p(self.parts(&x, levels, Some(condition))?, condition))
    }

    fn width(&self) -> usize {
        self.components[0].mean.len()
    }

    fn evaluations(&self) -> u64 {
        self.evaluations.load(Ordering::Relaxed)
    }
}
