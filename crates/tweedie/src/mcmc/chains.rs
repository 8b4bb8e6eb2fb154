//! The state of many chains, on the host in double precision, and its form on disk.

use super::target_values::{Needs, TargetValues};
use crate::data::{LogDensity, doubles};
use crate::{Draws, Error, Result};
use burn::tensor::{DType, Device, Element, Tensor, TensorData};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// Chains as rows: their positions, the target's values there that the kernel keeps, and the number of steps taken.
///
/// Rows have the precision of the tensor that they began as, single or double; everything else is in double precision.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::path::Path;
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::mcmc::{Chains, Funnel, RandomWalk, Transition};
/// let (kernel, target, device) = (RandomWalk::default(), Funnel::default(), Device::flex());
/// let chains = kernel.init(Tensor::zeros([4, 10], &device), &target)?;
/// let mut saved = BTreeMap::new();
/// chains.save("chains.", &mut saved);
/// let again = Chains::load("chains.", &mut saved, Path::new("checkpoint"), &device)?;
/// let [a, b] = [chains, again].map(|chains| kernel.step(chains, &target, &Draws::new(1)));
/// assert_eq!(a?.0.values(), b?.0.values());
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Chains {
    pub(super) rows: Vec<u64>,
    pub(super) width: usize,
    pub(super) x: Vec<f64>,
    pub(super) known: TargetValues,
    pub(super) step_size: Vec<f64>,
    pub(super) steps: u64,
    dtype: DType,
    device: Device,
}

impl Chains {
    /// Chains at the rows of `x` with one step size, with the target's values that `needs` names.
    pub(super) fn start(
        x: Tensor<2>,
        step_size: f64,
        target: &dyn LogDensity,
        needs: Needs,
    ) -> Result<Self> {
        let [n, width] = x.dims();
        if n == 0 || width != target.width() {
            let expected = format!("n × {}, n above 0", target.width());
            return Err(Error::shape("start", format!("{n} × {width}"), expected));
        }
        let x = x.inner();
        let dtype = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let mut chains = Self {
            rows: (0..n as u64).collect(),
            width,
            x: doubles(&x)?,
            known: TargetValues::default(),
            step_size: vec![step_size; n],
            steps: 0,
            dtype,
            device: x.device(),
        };
        chains.known = chains.at(&chains.x, target, needs)?;
        chains.check_start()?;
        Ok(chains)
    }

    /// Fails unless every row and the target's values there are finite.
    fn check_start(&self) -> Result<()> {
        let expected = "finite numbers inside the target's support";
        for (i, x) in self.x.chunks(self.width).enumerate() {
            let problem = match self.known.fault(i) {
                _ if !x.iter().all(|v| v.is_finite()) => format!("row {i} is {x:?}"),
                Some(fault) => format!("{fault} at row {i}, {x:?}"),
                None => continue,
            };
            return Err(Error::config("start", problem, expected));
        }
        Ok(())
    }

    /// The number of chains.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no chains, which happens only after [`Chains::select`] with no index.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The width of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The rows, `[n, width]`, in the type and on the device of the tensor that they began as.
    pub fn x(&self) -> Tensor<2> {
        self.tensor(&self.x)
    }

    /// The rows on the host, one after the other.
    pub fn values(&self) -> &[f64] {
        &self.x
    }

    /// The rows' global numbers, which address their noise.
    pub fn rows(&self) -> &[u64] {
        &self.rows
    }

    /// ln γ of each row in nats, if the kernel keeps it.
    pub fn log_density(&self) -> Option<&[f64]> {
        self.known.has_log_density().then_some(&self.known.log_density)
    }

    /// ∇ ln γ of each row, one after the other, if the kernel keeps it.
    pub fn score(&self) -> Option<&[f64]> {
        self.known.has_score().then_some(&self.known.score)
    }

    /// Each row's step size: the kernel's own, as adapted by warm-up since.
    pub fn step_size(&self) -> &[f64] {
        &self.step_size
    }

    /// The same chains under other global numbers, one for each row.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are more or fewer numbers than rows.
    pub fn with_rows(mut self, rows: Vec<u64>) -> Result<Self> {
        if rows.len() != self.len() {
            return Err(Error::shape("numbers of chains", rows.len(), self.len()));
        }
        self.rows = rows;
        Ok(self)
    }

    /// The chains with the given indices, each below [`Chains::len`].
    pub fn select(&self, indices: &[usize]) -> Self {
        let w = self.width;
        let of = |values: &[f64], width: usize| -> Vec<f64> {
            let rows = indices.iter().filter_map(|&i| values.get(i * width..(i + 1) * width));
            rows.flatten().copied().collect()
        };
        Self {
            rows: indices.iter().map(|&i| self.rows[i]).collect(),
            width: w,
            x: of(&self.x, w),
            known: TargetValues {
                width: w,
                log_density: of(&self.known.log_density, 1),
                score: of(&self.known.score, w),
            },
            step_size: of(&self.step_size, 1),
            steps: self.steps,
            dtype: self.dtype,
            device: self.device.clone(),
        }
    }

    /// The same chains on another target, whose values are computed anew.
    ///
    /// # Errors
    /// Errors of the target.
    pub fn with_target(mut self, target: &dyn LogDensity) -> Result<Self> {
        if let Some(needs) = self.known.needs() {
            self.known = self.at(&self.x, target, needs)?;
        }
        Ok(self)
    }

    /// The same chains with at least the target's values that `needs` names.
    pub(super) fn knowing(mut self, target: &dyn LogDensity, needs: Needs) -> Result<Self> {
        if self.width != target.width() {
            return Err(Error::shape("chains", self.width, target.width()));
        }
        if !self.known.has(needs) {
            self.known = self.at(&self.x, target, needs)?;
        }
        Ok(self)
    }

    /// The target's values that `needs` names, at other rows `x`, one for each chain.
    pub(super) fn at(
        &self,
        x: &[f64],
        target: &dyn LogDensity,
        needs: Needs,
    ) -> Result<TargetValues> {
        TargetValues::of(target, x, self.width, needs, |x| self.tensor(x))
    }

    /// Rounds values to the precision of the rows.
    pub(super) fn round(&self, values: &mut [f64]) {
        if self.dtype == DType::F32 {
            values.iter_mut().for_each(|v| *v = f64::from(*v as f32));
        }
    }

    fn tensor(&self, x: &[f64]) -> Tensor<2> {
        let data = TensorData::new(x.to_vec(), [x.len() / self.width, self.width]);
        Tensor::from_data(data.convert_dtype(self.dtype), (&self.device, self.dtype))
    }

    /// Standard normal numbers for the next step, one for each value of the rows and in their precision.
    pub(super) fn noise(&self, draws: &Draws) -> Vec<f64> {
        let draws = draws.at(self.steps).purpose("noise");
        if self.dtype == DType::F32 {
            let noise = draws.normals_for(&self.rows, self.width);
            return noise.values().iter().map(|z| f64::from(*z)).collect();
        }
        let mut noise = vec![0.0; self.x.len()];
        let fill = |(row, noise): (&u64, &mut [f64])| {
            noise.iter_mut().zip(0..).for_each(|(z, j)| *z = draws.normal_f64(*row, j));
        };
        match noise.len() {
            0..=ONE_THREAD => self.rows.iter().zip(noise.chunks_mut(self.width)).for_each(fill),
            _ => self.rows.par_iter().zip(noise.par_chunks_mut(self.width)).for_each(fill),
        }
        noise
    }

    /// Writes the chains as arrays under names that begin with `prefix`; chains loaded from them continue with the same
    /// bits.
    pub fn save(&self, prefix: &str, into: &mut BTreeMap<String, TensorData>) {
        let (n, w) = (self.len(), self.width);
        let mut put = |name: &str, data| into.insert(format!("{prefix}{name}"), data);
        put(X, TensorData::new(self.x.clone(), [n, w]).convert_dtype(self.dtype));
        put(ROWS, TensorData::new(self.rows.clone(), [n]));
        put(STEPS, TensorData::new(vec![self.steps], [1]));
        put(STEP_SIZE, TensorData::new(self.step_size.clone(), [n]));
        if let Some(log) = self.log_density() {
            put(LOG_DENSITY, TensorData::new(log.to_vec(), [n]));
        }
        if let Some(score) = self.score() {
            put(SCORE, TensorData::new(score.to_vec(), [n, w]));
        }
    }

    /// Reads and removes the arrays that [`Chains::save`] wrote into `from`; `origin` is the name of the file in
    /// errors.
    ///
    /// # Errors
    /// [`Error::File`] naming the array that is missing or does not fit.
    pub fn load(
        prefix: &str,
        from: &mut BTreeMap<String, TensorData>,
        origin: &Path,
        device: &Device,
    ) -> Result<Self> {
        let mut arrays = Arrays { prefix, from, origin };
        let x = arrays.take(X)?;
        let (dtype, shape) = (x.dtype(), x.shape().to_vec());
        let [n, width] = match shape[..] {
            [n, width] if width > 0 && matches!(dtype, DType::F32 | DType::F64) => [n, width],
            _ => return Err(arrays.fault(X, format!("{dtype:?} {shape:?}"), "rows of floats")),
        };
        let x = arrays.values(X, x.convert_dtype(DType::F64), n * width)?;
        let rows = arrays.take(ROWS)?;
        let rows = arrays.values(ROWS, rows, n)?;
        let steps = arrays.take(STEPS)?;
        let steps = arrays.values::<u64>(STEPS, steps, 1)?[0];
        let step_size = arrays.take(STEP_SIZE)?;
        let step_size = arrays.values(STEP_SIZE, step_size, n)?;
        let known = TargetValues {
            width,
            log_density: arrays.optional(LOG_DENSITY, n)?,
            score: arrays.optional(SCORE, n * width)?,
        };
        Ok(Self { rows, width, x, known, step_size, steps, dtype, device: device.clone() })
    }
}

/// The most numbers drawn in one thread.
const ONE_THREAD: usize = 4096;

const X: &str = "x";
const ROWS: &str = "rows";
const STEPS: &str = "steps";
const STEP_SIZE: &str = "step_size";
const LOG_DENSITY: &str = "log_density";
const SCORE: &str = "score";

/// Named arrays, removed one by one as they are read.
struct Arrays<'a> {
    prefix: &'a str,
    from: &'a mut BTreeMap<String, TensorData>,
    origin: &'a Path,
}

impl Arrays<'_> {
    fn fault(&self, name: &str, problem: String, expected: &str) -> Error {
        Error::file(self.origin, format!("{}{name}", self.prefix), problem, expected)
    }

    fn take(&mut self, name: &str) -> Result<TensorData> {
        let found = self.from.remove(&format!("{}{name}", self.prefix));
        found.ok_or_else(|| self.fault(name, "missing".into(), "an array of the chains"))
    }

    /// The array's values; empty if there is no such array.
    fn optional(&mut self, name: &str, len: usize) -> Result<Vec<f64>> {
        match self.from.remove(&format!("{}{name}", self.prefix)) {
            Some(data) => self.values(name, data, len),
            None => Ok(Vec::new()),
        }
    }

    /// The array's values, if it has `len` of them, of type `E`.
    fn values<E: Element>(&self, name: &str, data: TensorData, len: usize) -> Result<Vec<E>> {
        let (dtype, shape) = (data.dtype(), data.shape().to_vec());
        let values = data.try_into_vec::<E>().ok().filter(|values| values.len() == len);
        let expected = format!("{len} of {}", std::any::type_name::<E>());
        values.ok_or_else(|| self.fault(name, format!("{dtype:?} {shape:?}"), &expected))
    }
}
