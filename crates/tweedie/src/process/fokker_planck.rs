//! The Fokker–Planck equation on a mesh in one or two dimensions: the evolution of a density under any SDE.
//!
//! For dx = f dt + g dW with G = g² on the diagonal (*An Introduction to Generative Modeling with Flows and Diffusion
//! Models*, eq. 6.17; *Generative Modeling with Diffusion Models*, Theorem 1)
//!
//! > ∂p/∂t = −Σ_j ∂_j J_j, J_j = f_j p − ½ ∂_j(G_j p) = a_j p − D_j ∂_j p, D = ½ G, a = f − ∂D.
//!
//! Finite volumes: p is a mean over each cell, and mass that leaves a cell enters its neighbour, so that mass is
//! conserved; no flux passes the boundary. Across a face between cells h apart the flux is the flux of the exact
//! solution of J = a p − D p′ between their values (Scharfetter & Gummel 1969; Chang & Cooper 1970 weight the two cells
//! alike)
//!
//! > J = (D/h) [B(−z) p_left − B(z) p_right], z = a h/D, B(z) = z/(eᶻ − 1),
//!
//! upwind where D = 0. Both weights are positive, so that an implicit Euler step, one tridiagonal system for each line
//! of cells, keeps p positive at any step. In two dimensions a step sweeps both axes, each first in turn. Order 2 in h
//! where diffusion dominates a cell, order 1 in time.

use super::Sde;
use super::sde::check_times;
use crate::{Error, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};

/// The largest number of cells of a mesh.
const MOST_CELLS: usize = 1 << 24;

/// One axis of a [`Mesh`]: `cells` equal cells between `low` and `high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    /// The lower end of the first cell.
    pub low: f64,
    /// The upper end of the last cell.
    pub high: f64,
    /// The number of cells, at least 2.
    pub cells: usize,
}

impl Axis {
    /// The width of a cell.
    pub fn spacing(&self) -> f64 {
        (self.high - self.low) / self.cells as f64
    }

    /// The middle of cell `i`.
    pub fn centre(&self, i: usize) -> f64 {
        self.low + (i as f64 + 0.5) * self.spacing()
    }

    /// The face between cells `i` and `i + 1`.
    fn face(&self, i: usize) -> f64 {
        self.low + (i as f64 + 1.0) * self.spacing()
    }
}

/// A box of equal cells on the line or in the plane, with the Fokker–Planck equation on it; see the module
/// documentation.
///
/// A density is one value per cell, with the second coordinate varying fastest.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::process::{Axis, Mesh, OrnsteinUhlenbeck, Sde};
/// let mesh = Mesh::line(Axis { low: -6.0, high: 6.0, cells: 240 })?;
/// let start: Vec<f64> = mesh.density(|x| (-2.0 * (x[0] - 1.0).powi(2)).exp());
/// let times: Vec<f64> = (0..=200).map(|k| 0.01 * k as f64).collect();
/// let ou = Sde::linear(Arc::new(OrnsteinUhlenbeck::default()));
/// let end = mesh.evolve(&ou, start, &times, |_, _| {})?;
/// assert!((mesh.mass(&end) - 1.0).abs() < 1e-12);
/// let mean: f64 = mesh.expectation(&end, |x| x[0]);
/// assert!((mean - (-2f64).exp()).abs() < 2e-3);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    axes: Vec<Axis>,
}

/// The rates of exchange across each face of one axis: left to right and right to left, times h, each line of faces
/// after the other.
struct Exchange {
    forth: Vec<f64>,
    back: Vec<f64>,
}

impl Mesh {
    /// A mesh on the line.
    ///
    /// # Errors
    /// [`Error::Config`] if the axis has fewer than two cells, more than 2²⁴, or is empty or not finite.
    pub fn line(x: Axis) -> Result<Self> {
        Self::new(vec![x])
    }

    /// A mesh in the plane.
    ///
    /// # Errors
    /// The errors of [`Mesh::line`] for either axis; the limit holds for the product of the cells.
    pub fn plane(x: Axis, y: Axis) -> Result<Self> {
        Self::new(vec![x, y])
    }

    fn new(axes: Vec<Axis>) -> Result<Self> {
        let mut cells = 1usize;
        for axis in &axes {
            if !(axis.low < axis.high && (axis.high - axis.low).is_finite()) {
                let found = format!("from {} to {}", axis.low, axis.high);
                return Err(Error::config("axis", found, "low < high, both finite"));
            }
            cells = cells.saturating_mul(axis.cells);
            if axis.cells < 2 || cells > MOST_CELLS {
                let expected = format!("at least 2 on each axis and at most {MOST_CELLS} in all");
                return Err(Error::config("cells", axis.cells.to_string(), expected));
            }
        }
        Ok(Self { axes })
    }

    /// The axes, one or two.
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// The number of cells.
    pub fn cells(&self) -> usize {
        self.axes.iter().map(|axis| axis.cells).product()
    }

    /// The volume of a cell: a length on the line, an area in the plane.
    pub fn volume(&self) -> f64 {
        self.axes.iter().map(Axis::spacing).product()
    }

    /// The centres of all cells, `[cells, dim]` in double precision.
    pub fn centres(&self) -> Tensor<2> {
        self.points(self.axes.iter().map(|axis| (0..axis.cells).map(|i| axis.centre(i)).collect()))
    }

    /// All combinations of the axes' values, `[points, dim]`; the last axis varies fastest.
    fn points(&self, values: impl Iterator<Item = Vec<f64>>) -> Tensor<2> {
        let values: Vec<Vec<f64>> = values.collect();
        let flat: Vec<f64> = match &values[..] {
            [x] => x.clone(),
            [x, y] => x.iter().flat_map(|x| y.iter().flat_map(move |y| [*x, *y])).collect(),
            _ => Vec::new(),
        };
        let shape = [flat.len() / values.len().max(1), values.len()];
        Tensor::from_data(TensorData::new(flat, shape), (&Device::flex(), DType::F64))
    }

    /// f at the centre of each cell.
    fn at_centres<'a>(&'a self, f: impl Fn(&[f64]) -> f64 + 'a) -> impl Iterator<Item = f64> + 'a {
        let last = self.axes[self.axes.len() - 1];
        (0..self.cells()).map(move |i| match self.axes.len() {
            1 => f(&[last.centre(i)]),
            _ => f(&[self.axes[0].centre(i / last.cells), last.centre(i % last.cells)]),
        })
    }

    /// The density proportional to a non-negative function `f` at the cells' centres, normalised to mass 1.
    pub fn density(&self, f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        let values: Vec<f64> = self.at_centres(f).collect();
        let mass = self.mass(&values);
        values.into_iter().map(|v| v / mass).collect()
    }

    /// The total mass of `density`.
    pub fn mass(&self, density: &[f64]) -> f64 {
        density.iter().sum::<f64>() * self.volume()
    }

    /// ∫ f p, with f at the cells' centres.
    pub fn expectation(&self, density: &[f64], f: impl Fn(&[f64]) -> f64) -> f64 {
        self.at_centres(f).zip(density).map(|(f, p)| f * p).sum::<f64>() * self.volume()
    }

    /// The density at the last of `times`, given `density` at the first. Takes one implicit step between two
    /// neighbouring times, with the coefficients at their middle. Calls `observe` with the time and the density at the
    /// start and after every step.
    ///
    /// # Errors
    /// [`Error::Shape`] unless `density` has one value per cell and the SDE's functions fit the mesh; [`Error::Config`]
    /// unless the times rise and the density is finite and not negative; [`Error::Diverged`] if drift or diffusion is
    /// not finite.
    pub fn evolve(
        &self,
        sde: &Sde,
        mut density: Vec<f64>,
        times: &[f64],
        mut observe: impl FnMut(f64, &[f64]),
    ) -> Result<Vec<f64>> {
        check_times(times)?;
        if density.len() != self.cells() {
            return Err(Error::shape("density", density.len(), self.cells()));
        }
        if let Some(bad) = density.iter().find(|p| !(**p >= 0.0 && p.is_finite())) {
            return Err(Error::config("density", bad.to_string(), "finite numbers of at least 0"));
        }
        observe(times[0], &density);
        for (step, pair) in times.windows(2).enumerate() {
            let (t, dt) = (0.5 * (pair[0] + pair[1]), pair[1] - pair[0]);
            for turn in 0..self.axes.len() {
                let axis = if step % 2 == 0 { turn } else { self.axes.len() - 1 - turn };
                let exchange = self.exchange(sde, axis, t)?;
                if exchange.forth.iter().chain(&exchange.back).any(|rate| !rate.is_finite()) {
                    let what = format!("drift or diffusion became NaN or infinite at t = {t}");
                    return Err(Error::Diverged { what, step: step as u64 });
                }
                self.sweep(&mut density, &exchange, axis, dt);
            }
            observe(pair[1], &density);
        }
        Ok(density)
    }

    /// The exchange rates along `axis` at time `t`.
    fn exchange(&self, sde: &Sde, axis: usize, t: f64) -> Result<Exchange> {
        let along = self.axes[axis];
        let own = |v: Tensor<2>| {
            let column = v.narrow(1, axis, 1).into_data().try_into_vec::<f64>();
            column
                .map_err(|error| Error::shape("field of the SDE", format!("{error:?}"), "doubles"))
        };
        let faces = self.points(self.axes.iter().enumerate().map(|(j, other)| {
            if j == axis {
                (0..along.cells - 1).map(|i| along.face(i)).collect()
            } else {
                (0..other.cells).map(|i| other.centre(i)).collect()
            }
        }));
        let drift = own(sde.drift(&faces, t)?)?;
        let g = own(sde.diffusion(&self.centres(), t)?)?;
        let h = along.spacing();
        let (line, next) = self.strides(axis);
        let mut exchange = Exchange { forth: Vec::new(), back: Vec::new() };
        for k in 0..self.cells() / along.cells {
            for i in 0..along.cells - 1 {
                let cell = k * line + i * next;
                // Faces are ordered as cells are, one fewer along the axis.
                let face = if next == 1 { k * (along.cells - 1) + i } else { cell };
                let (left, right) = (0.5 * g[cell].powi(2), 0.5 * g[cell + next].powi(2));
                let (forth, back) =
                    rates(drift[face] - (right - left) / h, 0.5 * (left + right), h);
                exchange.forth.push(forth);
                exchange.back.push(back);
            }
        }
        Ok(exchange)
    }

    /// The strides from line to line across an axis, and from cell to cell along it.
    fn strides(&self, axis: usize) -> (usize, usize) {
        let last = self.axes[self.axes.len() - 1].cells;
        if axis + 1 == self.axes.len() { (last, 1) } else { (1, last) }
    }

    /// Takes one implicit Euler step along an axis: solves (1 + Δt · outflow) p − Δt · inflow = p_old by elimination.
    fn sweep(&self, density: &mut [f64], exchange: &Exchange, axis: usize, dt: f64) {
        let n = self.axes[axis].cells;
        let r = dt / self.axes[axis].spacing();
        let (line, next) = self.strides(axis);
        let mut upper = vec![0.0; n];
        for k in 0..self.cells() / n {
            let forth = &exchange.forth[k * (n - 1)..(k + 1) * (n - 1)];
            let back = &exchange.back[k * (n - 1)..(k + 1) * (n - 1)];
            let at = |i: usize| k * line + i * next;
            // Rows are diagonally dominant by columns: no pivot is small. With positive numbers and `diagonal` kept as
            // 1 plus the rest of the outflow, nothing cancels.
            let mut rest = 0.0;
            for i in 0..n {
                let out = if i + 1 < n { r * forth[i] } else { 0.0 };
                let pivot = 1.0 + rest + out;
                let before = if i == 0 { 0.0 } else { r * forth[i - 1] * density[at(i - 1)] };
                density[at(i)] = (density[at(i)] + before) / pivot;
                if i + 1 < n {
                    upper[i] = r * back[i] / pivot;
                    // back − forth · back/pivot = back (pivot − forth)/pivot.
                    rest = r * back[i] * (1.0 + rest) / pivot;
                }
            }
            for i in (0..n - 1).rev() {
                density[at(i)] += upper[i] * density[at(i + 1)];
            }
        }
    }
}

/// The weights of the flux across a face: (D/h) B(−z) and (D/h) B(z), z = a h/D.
fn rates(a: f64, d: f64, h: f64) -> (f64, f64) {
    let z = a * h / d;
    if z.abs() < 1e-10 {
        return (d / h + 0.5 * a, d / h - 0.5 * a);
    }
    if !z.is_finite() || z.abs() > 700.0 {
        return if a.is_finite() && d.is_finite() { (a.max(0.0), (-a).max(0.0)) } else { (a, d) };
    }
    (-a / (-z).exp_m1(), a / z.exp_m1())
}
