//! The units of binary columns: rows in model units as zeros and ones.

use super::Moments;
use crate::data::{Kind, Space};
use crate::tensor::Dual;
use crate::{Error, Result};
use burn::tensor::{Tensor, TensorData};

/// The least distance of a base rate from 0 and 1.
const MARGIN: f64 = 1e-3;

/// The model values of zero of each column, and what one is above it.
#[derive(Debug, Clone)]
pub(super) struct Bits {
    zero: Vec<f64>,
    step: Vec<f64>,
}

impl Bits {
    /// The units of the columns of a space.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key of binarisation, unless every column has the two values 0 and 1.
    pub fn of(space: &Space) -> Result<Self> {
        let (mut zero, mut step) = (Vec::new(), Vec::new());
        for j in 0..space.width() {
            let own = space.coordinate(j);
            let name = || space.column_name(j);
            match own.kind {
                Kind::Quantised { low: Some(low), high: Some(high) } if high == low + 1 => {
                    if own.model_width() != 1 || own.map.is_some() {
                        let problem = format!("column '{}' has missing values or a map", name());
                        return Err(Error::config("data", problem, "columns of zeros and ones"));
                    }
                    zero.push((low as f64 + 0.5 - own.shift) / own.scale);
                    step.push(1.0 / own.scale);
                }
                Kind::Quantised { .. } => {
                    let problem = format!("absent, and column '{}' has grey values", name());
                    let expected = "dynamic, static or threshold: binary units are zeros and ones";
                    return Err(Error::config("data.binarise", problem, expected));
                }
                _ => {
                    let problem = format!("binary units, and column '{}' is no integer", name());
                    let expected = "columns of zeros and ones, or an energy of real numbers: `network`, or `rbm` \
                                    with visible = \"gaussian\"";
                    return Err(Error::config("energy", problem, expected));
                }
            }
        }
        Ok(Self { zero, step })
    }

    pub fn width(&self) -> usize {
        self.zero.len()
    }

    fn row(values: impl Iterator<Item = f64>, like: &Tensor<2>) -> Tensor<2> {
        let values: Vec<f64> = values.collect();
        let shape = [1, values.len()];
        let data = TensorData::new(values, shape).convert_dtype(like.dtype());
        Tensor::from_data(data, (&like.device(), like.dtype()))
    }

    /// Rows in model units as zeros and ones, `[n, width]`.
    pub fn bits(&self, x: Dual<2>) -> Dual<2> {
        let zero = Self::row(self.zero.iter().copied(), &x.value);
        let scale = Self::row(self.step.iter().map(|step| 1.0 / step), &x.value);
        x.affine(|x| (x - zero) * scale.clone(), |dx| dx * scale.clone())
    }

    /// Zeros and ones in model units.
    pub fn model(&self, bits: Tensor<2>) -> Tensor<2> {
        let step = Self::row(self.step.iter().copied(), &bits);
        let zero = Self::row(self.zero.iter().copied(), &bits);
        bits * step + zero
    }

    /// The logits of the share of ones in each column, at least 0.001 from 0 and from 1.
    pub fn logits(&self, base: &Moments) -> Result<Vec<f64>> {
        check_width(base, self.width())?;
        let pairs = base.mean.iter().zip(self.zero.iter().zip(&self.step));
        let share = |(mean, (zero, step)): (&f64, (&f64, &f64))| {
            let share = ((mean - zero) / step).clamp(MARGIN, 1.0 - MARGIN);
            (share / (1.0 - share)).ln()
        };
        Ok(pairs.map(share).collect())
    }
}

/// Fails unless moments are of `width` columns.
pub(super) fn check_width(base: &Moments, width: usize) -> Result<()> {
    match base.mean.len() == width && base.variance.len() == width {
        true => Ok(()),
        false => Err(Error::shape("moments", base.mean.len(), width)),
    }
}
