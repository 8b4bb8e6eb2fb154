//! Two densities by their logarithms, on rows of doubles.

use crate::data::{Condition, LogDensity, Rows};
use crate::tensor::host_column;
use crate::{Error, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};

/// The number of rows evaluated at once.
const CHUNK: usize = 1 << 14;

/// Two densities p and q of rows of the same width, and the device and number type of their computation.
///
/// ```
/// use tweedie::burn::tensor::Device;
/// use tweedie::data::Rows;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::divergence::Densities;
/// let normal = |mean| GaussianMixture::new(vec![Component::isotropic(1.0, vec![mean], 1.0)]);
/// let (p, q) = (normal(1.0)?, normal(0.0)?);
/// let both = Densities::new(&p, &q, &Device::flex());
/// // ln p − ln q = x − ½
/// assert!((both.log_ratios(&Rows::new(vec![2.0], 1)?)?[0] - 1.5).abs() < 1e-12);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Clone)]
pub struct Densities<'a> {
    /// The density of P.
    pub p: &'a dyn LogDensity,
    /// The density of Q.
    pub q: &'a dyn LogDensity,
    /// The device of the computation.
    pub device: Device,
    /// The number type of the computation: F64, or that of a network's weights.
    pub dtype: DType,
}

impl<'a> Densities<'a> {
    /// Two densities in double precision.
    pub fn new(p: &'a dyn LogDensity, q: &'a dyn LogDensity, device: &Device) -> Self {
        Self { p, q, device: device.clone(), dtype: DType::F64 }
    }

    /// The common width of rows.
    ///
    /// # Errors
    /// [`Error::Shape`] if the widths differ.
    pub fn width(&self) -> Result<usize> {
        let [p, q] = [self.p, self.q].map(LogDensity::width);
        if p == q { Ok(p) } else { Err(Error::shape("width of q", q, format!("{p}, that of p"))) }
    }

    /// ln p − ln q in nats at each row; ±∞ where one density is zero.
    ///
    /// # Errors
    /// [`Error::Shape`] if the widths differ; [`Error::Undefined`] if an integral is not known, or at a row where both
    /// densities are zero or one is NaN; the errors of the densities.
    pub fn log_ratios(&self, rows: &Rows) -> Result<Vec<f64>> {
        let [p, q] = self.logs(&self.doubles(rows)?)?;
        let ratios: Vec<f64> = p.iter().zip(&q).map(|(p, q)| p - q).collect();
        match ratios.iter().position(|r| r.is_nan()) {
            None => Ok(ratios),
            Some(at) => {
                let why = format!("at row {at} ln p is {} and ln q is {}", p[at], q[at]);
                Err(Error::undefined("ln p − ln q", why))
            }
        }
    }

    /// ln p and ln q of each row of `x`, row after row.
    pub(super) fn logs(&self, x: &[f64]) -> Result<[Vec<f64>; 2]> {
        let width = self.width()?;
        let logs = |name: &str, density: &dyn LogDensity| -> Result<Vec<f64>> {
            let unknown = || Error::undefined(format!("the integral of {name}"), "it is not known");
            let log_z = density.log_z().ok_or_else(unknown)?;
            let mut all = Vec::with_capacity(x.len() / width);
            for part in x.chunks(CHUNK * width) {
                let log = density.log_density(self.batch(part, width).into(), &Condition::None)?;
                all.extend(host_column(&log.value.inner())?.iter().map(|log| log - log_z));
            }
            Ok(all)
        };
        Ok([logs("p", self.p)?, logs("q", self.q)?])
    }

    /// ‖∇ln p − ∇ln q‖² at each row.
    pub(super) fn squared_score_differences(&self, rows: &Rows) -> Result<Vec<f64>> {
        let (x, width) = (self.doubles(rows)?, rows.width());
        let mut all = Vec::with_capacity(rows.len());
        for part in x.chunks(CHUNK * width) {
            let x = self.batch(part, width);
            let of = |density: &dyn LogDensity| -> Result<Tensor<2>> {
                Ok(density.score(x.clone(), &Condition::None)?.cast(DType::F64))
            };
            let square = (of(self.p)? - of(self.q)?).square().sum_dim(1);
            all.extend(host_column(&square.inner())?);
        }
        Ok(all)
    }

    fn batch(&self, x: &[f64], width: usize) -> Tensor<2> {
        let data = TensorData::new(x.to_vec(), [x.len() / width, width]).convert_dtype(self.dtype);
        Tensor::from_data(data, (&self.device, self.dtype))
    }

    /// The values of rows of the densities' width.
    fn doubles(&self, rows: &Rows) -> Result<Vec<f64>> {
        let width = self.width()?;
        if rows.width() != width {
            return Err(Error::shape("width of rows", rows.width(), width));
        }
        Ok(rows.values().iter().map(|v| f64::from(*v)).collect())
    }
}
