//! Wiener paths addressed by time: the same path for any number of steps.
//!
//! A path over [a, b] is known at its ends, W(a) = 0 and W(b) ~ N(0, b − a), and refined by halving (Lévy's
//! construction): given its values at the ends of a cell of length ℓ, its value at the middle m is that of a Brownian
//! bridge,
//!
//! > W(m) = ½ (W(l) + W(r)) + ½ √ℓ z, z ~ N(0, 1).
//!
//! z is a function of (seed, row, node), so that a value costs one descent and nothing is stored. With increments from
//! one path, a solver with 2N steps refines its solution with N steps (*An Introduction to Generative Modeling with
//! Flows and Diffusion Models*, eq. 6.1 and the properties above it).

use super::Noise;
use crate::data::Rows;
use crate::{Draws, Error, Result};

/// The deepest tree; 62 bits number its nodes.
const DEEPEST: u32 = 62;

/// Wiener paths over a range of times, one for each global row and column: the noise of [`Sde::simulate`](super::Sde)
/// and of solvers in [`Sampler::generate_with`](crate::solve::Sampler::generate_with).
///
/// Times are rounded to the nearest of the 2^depth + 1 nodes; the increments between nodes are exact. A span that
/// leaves the range, or whose two ends round to one node, takes the noise of its step instead, independent of the path.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::process::{BrownianTree, Noise};
/// let tree = BrownianTree::new(Draws::new(7), (0.0, 1.0))?;
/// let over = |a: f64, b: f64| {
///     f64::from(tree.increments(0, &[(a, b)], &[5], 1).row(0)[0]) * (b - a).abs().sqrt()
/// };
/// assert!((over(0.0, 0.3) + over(0.3, 1.0) - over(0.0, 1.0)).abs() < 1e-6);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BrownianTree {
    draws: Draws,
    range: (f64, f64),
    depth: u32,
}

/// A cell between two nodes, with the values of the paths at both.
#[derive(Clone)]
struct Cell {
    /// The number of halvings of the range.
    level: u32,
    left: u64,
    right: u64,
    at_left: Vec<f64>,
    at_right: Vec<f64>,
}

impl BrownianTree {
    /// The paths addressed by `draws` over the times in `range`, with a depth of 40 halvings.
    ///
    /// # Errors
    /// [`Error::Config`] if the range is empty or not finite.
    pub fn new(draws: Draws, range: (f64, f64)) -> Result<Self> {
        if !(range.0 < range.1 && (range.1 - range.0).is_finite()) {
            return Err(Error::config("range", format!("{range:?}"), "first < last, both finite"));
        }
        Ok(Self { draws: draws.purpose("brownian"), range, depth: 40 })
    }

    /// Sets the number of halvings, from 1 to 62; the paths are the same.
    ///
    /// # Errors
    /// [`Error::Config`] outside this range.
    pub fn with_depth(mut self, depth: u32) -> Result<Self> {
        if !(1..=DEEPEST).contains(&depth) {
            let expected = format!("from 1 to {DEEPEST}");
            return Err(Error::config("depth", depth.to_string(), expected));
        }
        self.depth = depth;
        Ok(self)
    }

    /// The range of times.
    pub fn range(&self) -> (f64, f64) {
        self.range
    }

    /// The node nearest to time `t`; `None` outside the range.
    fn node(&self, t: f64) -> Option<u64> {
        let place = (t - self.range.0) / (self.range.1 - self.range.0);
        // Ends of a schedule recovered from λ carry a rounding error.
        let inside = (-1e-9..=1.0 + 1e-9).contains(&place);
        inside.then(|| (place.clamp(0.0, 1.0) * (1u64 << self.depth) as f64).round() as u64)
    }

    /// The time between two nodes that are `nodes` apart.
    fn length(&self, nodes: u64) -> f64 {
        (self.range.1 - self.range.0) * nodes as f64 / (1u64 << self.depth) as f64
    }

    fn normals_at(&self, address: u64, rows: &[u64], width: usize) -> impl Iterator<Item = f64> {
        let normals = self.draws.at(address).normals_for(rows, width);
        (0..normals.values().len()).map(move |i| f64::from(normals.values()[i]))
    }

    /// The cell of the whole range.
    fn root(&self, rows: &[u64], width: usize) -> Cell {
        let right = 1u64 << self.depth;
        let sd = self.length(right).sqrt();
        let at_right = self.normals_at(0, rows, width).map(|z| sd * z).collect();
        Cell { level: 0, left: 0, right, at_left: vec![0.0; rows.len() * width], at_right }
    }

    /// The left or right half of a cell that is more than one node long.
    fn half(&self, cell: Cell, left: bool, rows: &[u64], width: usize) -> Cell {
        let Cell { level, left: from, right: to, at_left, at_right } = cell;
        let middle = from + (to - from) / 2;
        // Heap numbering makes the address independent of the depth.
        let address = (1 << level) + (from >> (self.depth - level));
        let sd = 0.5 * self.length(to - from).sqrt();
        let noise = self.normals_at(address, rows, width);
        let at_middle = at_left.iter().zip(&at_right).zip(noise);
        let at_middle = at_middle.map(|((l, r), z)| 0.5 * (l + r) + sd * z).collect();
        let level = level + 1;
        if left {
            Cell { level, left: from, right: middle, at_left, at_right: at_middle }
        } else {
            Cell { level, left: middle, right: to, at_left: at_middle, at_right }
        }
    }

    /// The paths' values at a node of a cell.
    fn value(&self, mut cell: Cell, node: u64, rows: &[u64], width: usize) -> Vec<f64> {
        loop {
            if node == cell.left {
                return cell.at_left;
            }
            if node == cell.right {
                return cell.at_right;
            }
            let middle = cell.left + (cell.right - cell.left) / 2;
            cell = self.half(cell, node <= middle, rows, width);
        }
    }

    /// The increment over one span for the given rows, in units of its standard deviation; `None` if both ends round to
    /// one node or one is outside the range.
    fn increment(&self, span: (f64, f64), rows: &[u64], width: usize) -> Option<Vec<f32>> {
        let (from, to) = (self.node(span.0)?, self.node(span.1)?);
        if from == to {
            return None;
        }
        let (first, last) = (from.min(to), from.max(to));
        // The common part of both descents is taken once.
        let mut cell = self.root(rows, width);
        loop {
            let middle = cell.left + (cell.right - cell.left) / 2;
            if cell.right - cell.left == 1 || (first < middle && middle < last) {
                break;
            }
            cell = self.half(cell, last <= middle, rows, width);
        }
        let start = self.value(cell.clone(), from, rows, width);
        let end = self.value(cell, to, rows, width);
        let scale = self.length(last - first).sqrt().recip();
        Some(start.iter().zip(&end).map(|(a, b)| ((b - a) * scale) as f32).collect())
    }
}

impl Noise for BrownianTree {
    fn normals(&self, step: u64, rows: &[u64], width: usize) -> Rows {
        self.draws.purpose("step").at(step).normals_for(rows, width)
    }

    fn increments(&self, step: u64, spans: &[(f64, f64)], rows: &[u64], width: usize) -> Rows {
        let mut noise = self.normals(step, rows, width);
        if let [span] = spans {
            if let Some(values) = self.increment(*span, rows, width) {
                noise.values_mut().copy_from_slice(&values);
            }
            return noise;
        }
        let each = noise.values_mut().chunks_exact_mut(width);
        for ((out, span), row) in each.zip(spans).zip(rows) {
            if let Some(values) = self.increment(*span, &[*row], width) {
                out.copy_from_slice(&values);
            }
        }
        noise
    }
}
