//! Batches on the host: one sample per row.

use crate::{Error, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};

/// A batch on the host: `len × width` values in row-major order, one sample per row.
///
/// Data sets, files and metrics hold `Rows`; networks, solvers and objectives take the same batch as a `Tensor<2>`
/// ([`Rows::to_tensor`], [`Rows::from_tensor`]). Integers travel as exact `f32` values; those of a table whose range is
/// too wide for that have a remainder ([`Rows::exact`]).
///
/// ```
/// use tweedie::data::Rows;
/// let rows = Rows::new(vec![1.0, 2.0, 3.0, 4.0], 2)?;
/// assert_eq!((rows.len(), rows.width()), (2, 2));
/// assert_eq!(rows.row(1), [3.0, 4.0]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    values: Vec<f32>,
    width: usize,
    /// The difference of each value from the exact one, if one is not 0.
    rest: Option<Vec<f32>>,
}

impl Rows {
    /// Rows of `width` values each.
    ///
    /// # Errors
    /// [`Error::Shape`] if `width` is zero or does not divide the number of values.
    pub fn new(values: Vec<f32>, width: usize) -> Result<Self> {
        if width == 0 || !values.len().is_multiple_of(width) {
            return Err(Error::shape(
                "rows",
                format!("{} values", values.len()),
                format!("a multiple of the row width {width}, which must be at least 1"),
            ));
        }
        Ok(Self { values, width, rest: None })
    }

    /// Rows of double precision, with remainders in the columns where `wide` is true; other columns are rounded.
    ///
    /// # Errors
    /// As [`Rows::new`].
    pub(crate) fn with_rest(
        exact: &[f64],
        width: usize,
        wide: impl Fn(usize) -> bool,
    ) -> Result<Self> {
        let rows = Self::new(exact.iter().map(|value| *value as f32).collect(), width)?;
        let wide: Vec<bool> = (0..width).map(wide).collect();
        let rest =
            |(i, (exact, value)): (usize, (&f64, &f32))| match wide[i % width] && !exact.is_nan() {
                true => (exact - f64::from(*value)) as f32,
                false => 0.0,
            };
        let rest: Vec<f32> = match wide.contains(&true) {
            true => exact.iter().zip(&rows.values).enumerate().map(rest).collect(),
            false => Vec::new(),
        };
        let rest = rest.iter().any(|rest| *rest != 0.0).then_some(rest);
        Ok(Self { rest, ..rows })
    }

    /// The exact value of column `j < self.width()` of row `i < self.len()`.
    pub fn exact(&self, i: usize, j: usize) -> f64 {
        let at = i * self.width + j;
        f64::from(self.values[at]) + self.rest.as_ref().map_or(0.0, |rest| f64::from(rest[at]))
    }

    /// The differences from the exact values, one for each value, if one is not 0.
    pub(crate) fn rest(&self) -> Option<&[f32]> {
        self.rest.as_deref()
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The number of values in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Row `i`; `i < self.len()`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    /// The rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.width)
    }

    /// All values, row after row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, row after row, for changes in place.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The rows with the given indices, in the given order; every index is below `self.len()`.
    pub fn select(&self, indices: &[usize]) -> Self {
        let mut values = Vec::with_capacity(indices.len() * self.width);
        for &i in indices {
            values.extend_from_slice(self.row(i));
        }
        let row = |rest: &Vec<f32>, i: usize| rest[i * self.width..(i + 1) * self.width].to_vec();
        let rest =
            self.rest.as_ref().map(|rest| indices.iter().flat_map(|&i| row(rest, i)).collect());
        Self { values, width: self.width, rest }
    }

    /// The rows `range`, which must lie within `0..self.len()`.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        let range = range.start * self.width..range.end * self.width;
        let rest = self.rest.as_ref().map(|rest| rest[range.clone()].to_vec());
        Self { values: self.values[range].to_vec(), width: self.width, rest }
    }

    /// Appends the rows of `other`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the widths differ.
    pub fn extend(&mut self, other: &Rows) -> Result<()> {
        if other.width != self.width {
            return Err(Error::shape("appended rows", other.width, self.width));
        }
        if self.rest.is_some() || other.rest.is_some() {
            let rest =
                |rows: &Rows| rows.rest.clone().unwrap_or_else(|| vec![0.0; rows.values.len()]);
            self.rest = Some([rest(self), rest(other)].concat());
        }
        self.values.extend_from_slice(&other.values);
        Ok(())
    }
}

impl Rows {
    /// The batch as a single-precision `[len, width]` tensor on `device`.
    pub fn to_tensor(&self, device: &Device) -> Tensor<2> {
        let data = TensorData::new(self.values().to_vec(), [self.len(), self.width()]);
        Tensor::from_data(data, (device, DType::F32))
    }

    /// The rows of a `[len, width]` tensor of any float type, copied to the host.
    ///
    /// # Errors
    /// [`Error::Shape`] if the tensor has no columns; [`Error::Device`] if it cannot be read back.
    pub fn from_tensor(tensor: &Tensor<2>) -> Result<Self> {
        let [_, width] = tensor.dims();
        let values = tensor
            .clone()
            .into_data()
            .convert::<f32>()
            .try_into_vec::<f32>()
            .map_err(|e| Error::Device { device: "tensor".into(), why: format!("{e:?}") })?;
        Self::new(values, width)
    }
}
