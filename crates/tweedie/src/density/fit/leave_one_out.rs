//! The bandwidth of greatest leave-one-out likelihood (J. D. F. Habbema, J. Hermans and K. van den Broek, "A stepwise
//! discrimination analysis program using density estimation", COMPSTAT 1974; R. P. W. Duin, "On the choice of
//! smoothing parameters for Parzen estimators of probability density functions", IEEE Trans. Comput. C-25 (1976)).
//!
//! With uᵢⱼ = ‖yᵢ − yⱼ‖²/h² between rows in units of the kernel's shape, and the shares pⱼ ∝ wⱼ exp(−½ uᵢⱼ), j ≠ i,
//! the term of row i and its derivatives in s = ln h are, but for a constant,
//!
//! > ℓᵢ = log Σ_{j≠i} wⱼ/(1 − wᵢ) exp(−½ uᵢⱼ) − d s, dℓᵢ/ds = E u − d, d²ℓᵢ/ds² = Var u − 2 E u,
//!
//! with moments under the shares. A pass over the pairs never holds more than [`TILE`] rows of distances per thread.
//!
//! As h → 0 the term of a row with a duplicate grows like −d ln h, all others fall like −1/h². So the likelihood has a
//! maximum unless every row has a duplicate.

use crate::{Error, Result};
use rayon::prelude::*;

/// Rows side by side in a panel.
const LANES: usize = 8;

/// Rows of distances in memory at a time, for each thread.
const TILE: usize = 8;

/// Terms exp(−this) below the largest are negligible, for any number of rows.
const NEGLIGIBLE: f64 = 50.0;

/// The first factors tried: Silverman's times 2, 1, ½, …, 2⁻⁶.
const COARSE: i32 = 8;

/// The most steps of Newton's method and bisections together.
const STEPS: usize = 60;

/// The precision of ln h.
const PRECISION: f64 = 1e-9;

/// The most further doublings or halvings of the coarse factors.
const FURTHER: usize = 60;

/// Rows in panels of [`LANES`]: panel, then coordinate, then row, so that distances to them use wide registers.
#[derive(Debug, Clone)]
pub(super) struct Panels {
    panels: Vec<[f64; LANES]>,
    width: usize,
    rows: usize,
}

/// The leave-one-out likelihood at some factors.
pub(super) struct Pass {
    /// Values at the factors, in their order.
    pub(super) at: Vec<Point>,
    /// Whether every row has a duplicate.
    duplicated: bool,
}

/// The likelihood and its derivatives in s = ln h.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Point {
    s: f64,
    pub(super) value: f64,
    slope: f64,
    curvature: f64,
}

impl Panels {
    /// Panels of `rows`, row-major.
    pub(super) fn new(rows: &[f64], width: usize) -> Self {
        let n = rows.len() / width;
        let mut panels = vec![[0.0; LANES]; n.div_ceil(LANES) * width];
        for (j, row) in rows.chunks_exact(width).enumerate() {
            let panel = &mut panels[j / LANES * width..][..width];
            panel.iter_mut().zip(row).for_each(|(lanes, x)| lanes[j % LANES] = *x);
        }
        Self { panels, width, rows: n }
    }

    /// The number of rows, rounded up to whole panels.
    fn stride(&self) -> usize {
        self.panels.len() / self.width * LANES
    }

    /// Row `j`.
    fn row(&self, j: usize) -> Vec<f64> {
        let panel = &self.panels[j / LANES * self.width..][..self.width];
        panel.iter().map(|lanes| lanes[j % LANES]).collect()
    }

    /// The squared distances from each of `rows` to all rows: [`Panels::stride`] values for each, the last of which may
    /// belong to no row.
    pub(super) fn squared_distances(&self, rows: &[&[f64]]) -> Vec<f64> {
        let stride = self.stride();
        let mut out = vec![0.0; rows.len() * stride];
        for (p, panel) in self.panels.chunks_exact(self.width).enumerate() {
            for (row, out) in rows.iter().zip(out.chunks_exact_mut(stride)) {
                let mut sums = [0.0; LANES];
                for (lanes, x) in panel.iter().zip(*row) {
                    sums.iter_mut().zip(lanes).for_each(|(sum, y)| *sum += (x - y) * (x - y));
                }
                out[p * LANES..][..LANES].copy_from_slice(&sums);
            }
        }
        out
    }

    /// Subtracts Σⱼ `shares[j]` yⱼ from `out`.
    pub(super) fn subtract_mean(&self, shares: &[f64], out: &mut [f64]) {
        let each = shares.chunks(LANES).zip(self.panels.chunks_exact(self.width));
        for (shares, panel) in each {
            for (out, lanes) in out.iter_mut().zip(panel) {
                *out -= shares.iter().zip(lanes).map(|(r, y)| r * y).sum::<f64>();
            }
        }
    }

    /// The leave-one-out likelihood at each of `factors`, without the constant −(d/2) log 2π − ½ log det S.
    pub(super) fn leave_one_out(&self, weights: &[f64], factors: &[f64]) -> Pass {
        let logs: Vec<f64> = weights.iter().map(|w| w.ln()).collect();
        let tile = |t: usize| {
            let first = t * TILE;
            let rows: Vec<Vec<f64>> =
                (first..self.rows.min(first + TILE)).map(|i| self.row(i)).collect();
            let views: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
            let mut squares = self.squared_distances(&views);
            let mut found = Vec::with_capacity(rows.len() * factors.len());
            let mut lonely = false;
            for (i, squares) in (first..).zip(squares.chunks_exact_mut(self.stride())) {
                squares[i] = f64::INFINITY; // the row itself is left out
                let squares = &squares[..self.rows];
                lonely |= !squares.contains(&0.0);
                let left = 1.0 - weights[i];
                found.extend(factors.iter().map(|h| term(squares, &logs, left, *h, self.width)));
            }
            (found, lonely)
        };
        let tiles: Vec<(Vec<Point>, bool)> =
            (0..self.rows.div_ceil(TILE)).into_par_iter().map(tile).collect();
        let mut at: Vec<Point> =
            factors.iter().map(|h| Point { s: h.ln(), ..Point::default() }).collect();
        let terms = tiles.iter().flat_map(|(found, _)| found.chunks_exact(factors.len()));
        for (terms, w) in terms.zip(weights) {
            for (sum, term) in at.iter_mut().zip(terms) {
                sum.value += w * term.value;
                sum.slope += w * term.slope;
                sum.curvature += w * term.curvature;
            }
        }
        Pass { at, duplicated: !tiles.iter().any(|(_, lonely)| *lonely) }
    }
}

/// ℓᵢ and its derivatives from the squared distances to row i, infinite for row i itself; `left` is 1 − wᵢ.
fn term(squares: &[f64], logs: &[f64], left: f64, h: f64, width: usize) -> Point {
    let scale = 1.0 / (h * h);
    let exponent = |square: &f64, log: &f64| log - 0.5 * scale * square;
    let pairs = || squares.iter().zip(logs);
    let largest = pairs().map(|(q, log)| exponent(q, log)).fold(f64::NEG_INFINITY, f64::max);
    let (mut total, mut first, mut second) = (0.0, 0.0, 0.0);
    for (q, log) in pairs() {
        let below = exponent(q, log) - largest;
        if below > -NEGLIGIBLE {
            let (share, u) = (below.exp(), scale * q);
            total += share;
            first += share * u;
            second += share * u * u;
        }
    }
    let (mean, d) = (first / total, width as f64);
    Point {
        s: h.ln(),
        value: largest + total.ln() - left.ln() - d * h.ln(),
        slope: mean - d,
        curvature: second / total - mean * mean - 2.0 * mean,
    }
}

/// The factor h of greatest leave-one-out likelihood near `silverman`, as [`super::Kde::leave_one_out`] describes.
///
/// # Errors
/// [`Error::Undefined`] if every row has a duplicate.
pub(super) fn factor(rows: &Panels, weights: &[f64], silverman: f64) -> Result<f64> {
    let factors: Vec<f64> = (0..COARSE).map(|k| silverman * 2.0_f64.powi(1 - k)).collect();
    let pass = rows.leave_one_out(weights, &factors);
    if pass.duplicated {
        let why = "every row has a duplicate, so that the likelihood grows for ever as the bandwidth goes to 0; \
                   \"scott\", \"silverman\" or a number remain";
        return Err(Error::undefined("the leave-one-out bandwidth", why));
    }
    let at = |s: f64| rows.leave_one_out(weights, &[s.exp()]).at[0];
    let mut known = pass.at; // from the widest to the narrowest
    for _ in 0..FURTHER {
        let best = best(&known);
        if best == 0 {
            known.insert(0, at(known[0].s + std::f64::consts::LN_2));
        } else if best == known.len() - 1 {
            known.push(at(known[best].s - std::f64::consts::LN_2));
        } else {
            break;
        }
    }
    let best = best(&known);
    let beside = if known[best].slope > 0.0 { best.checked_sub(1) } else { Some(best + 1) };
    match beside.and_then(|k| known.get(k)) {
        Some(far) => Ok(climb(known[best], *far, at).s.exp()),
        None => Ok(known[best].s.exp()),
    }
}

fn best(known: &[Point]) -> usize {
    (0..known.len()).fold(0, |best, k| if known[k].value > known[best].value { k } else { best })
}

/// A maximum between `near`, from where the likelihood rises towards `far`, and `far`, where it is lower again or falls
/// away from `near`. Each new point takes the place of one of the two such that this stays true.
fn climb(mut near: Point, mut far: Point, at: impl Fn(f64) -> Point) -> Point {
    let towards = (far.s - near.s).signum();
    let mut last = near;
    for _ in 0..STEPS {
        let step = -last.slope / last.curvature;
        let concave = last.curvature < 0.0;
        if (concave && step.abs() < PRECISION) || (far.s - near.s).abs() < PRECISION {
            break;
        }
        let newton = last.s + step;
        let inside = (newton - near.s) * towards > 0.0 && (far.s - newton) * towards > 0.0;
        last = at(if concave && inside { newton } else { 0.5 * (near.s + far.s) });
        if last.slope * towards > 0.0 && last.value >= near.value {
            near = last;
        } else {
            far = last;
        }
    }
    last
}
