//! Integrals over boxes in one or two dimensions, by adaptive quadrature.
//!
//! A panel is integrated by the Gauss–Legendre rule of 16 nodes and again as two halves; it is divided until both agree
//! to its share of the tolerance, or until its width is 2⁻⁴⁰ of the whole, where a jump contributes next to nothing. So
//! kinks, as total variation has where p = q, are found. All panels of one depth are evaluated at once. In two
//! dimensions the integral over the second coordinate, by the same rule to a smaller tolerance, is a function of the
//! first.
//!
//! The nodes are the eigenvalues of the Legendre polynomials' Jacobi matrix, and the weights are twice the squared
//! first entries of its eigenvectors (Golub and Welsch, "Calculation of Gauss quadrature rules", Math. Comp. 23
//! (1969)).

use super::{Densities, FDivergence};
use crate::{Error, Result};
use faer::{Mat, Side};

/// The number of nodes of a panel.
const NODES: usize = 16;

/// The number of equal panels that a range is first divided into.
const PANELS: usize = 12;

/// The most halvings of a panel.
const DEPTH: u32 = 40;

/// The absolute tolerance of an integral.
const TOLERANCE: f64 = 1e-9;

/// An f-divergence by quadrature.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Quadrature {
    /// ∫ q f(p/q) over the box, which is at most the divergence.
    pub value: f64,
    /// The masses ∫ p and ∫ q that the box holds: what is missing from 1 is missing from `value`.
    pub masses: [f64; 2],
}

/// D_f(P‖Q) by [`integral`] over a box, `[low, high]` for each coordinate.
///
/// ```
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::divergence::{Densities, FDivergence, quadrature};
/// let normal = |mean| GaussianMixture::new(vec![Component::isotropic(1.0, vec![mean], 1.0)]);
/// let (p, q) = (normal(1.0)?, normal(0.0)?);
/// let both = Densities::new(&p, &q, &Device::flex());
/// let found = quadrature(&FDivergence::Hellinger, &both, &[[-9.0, 10.0]])?;
/// assert!((found.value - (1.0 - (-0.125f64).exp())).abs() < 1e-9);
/// assert!((found.masses[0] - 1.0).abs() < 1e-9);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// As [`integral`]; [`Error::Config`] if the order is not finite.
pub fn quadrature(f: &FDivergence, of: &Densities, bounds: &[[f64; 2]]) -> Result<Quadrature> {
    f.check()?;
    let mass = |log: fn(f64, f64) -> f64| integral(of, bounds, |_, p, q| log(p, q).exp());
    let masses = [mass(|p, _| p)?, mass(|_, q| q)?];
    Ok(Quadrature { value: integral(of, bounds, |_, p, q| f.integrand(p, q))?, masses })
}

/// ∫ g(x, ln p(x), ln q(x)) dx over a box of one or two dimensions, `[low, high]` for each, to about 1e-9 absolutely.
///
/// # Errors
/// [`Error::Shape`] if the densities' width is not the number of bounds, 1 or 2; [`Error::Config`] for bounds that are
/// not finite and in order; [`Error::Undefined`] where g is not finite; the errors of the densities.
pub fn integral(
    of: &Densities,
    bounds: &[[f64; 2]],
    mut g: impl FnMut(&[f64], f64, f64) -> f64,
) -> Result<f64> {
    let width = of.width()?;
    if width != bounds.len() || !(1..=2).contains(&width) {
        let found = format!("{} for densities of width {width}", bounds.len());
        return Err(Error::shape("bounds", found, "one for each column, 1 or 2 of them"));
    }
    let usable = |[low, high]: &[f64; 2]| low < high && (high - low).is_finite();
    if !bounds.iter().all(usable) {
        let expected = "finite [low, high] with low < high";
        return Err(Error::config("bounds", format!("{bounds:?}"), expected));
    }
    let rule = Rule::new()?;
    let mut evaluate = |x: &[f64]| -> Result<Vec<f64>> {
        let [p, q] = of.logs(x)?;
        let rows = x.chunks(width).zip(p.iter().zip(&q));
        let value = |(x, (p, q)): (&[f64], (&f64, &f64))| match g(x, *p, *q) {
            value if value.is_finite() => Ok(value),
            value => {
                Err(Error::undefined("integral", format!("the integrand is {value} at {x:?}")))
            }
        };
        rows.map(value).collect()
    };
    rule.lines(&[vec![]], bounds, TOLERANCE, &mut evaluate).map(|found| found[0])
}

/// A function of points, row after row.
type Function<'a> = &'a mut dyn FnMut(&[f64]) -> Result<Vec<f64>>;

/// A function of points x on several lines, each given by the number of its line and x.
type OnLines<'a> = &'a mut dyn FnMut(&[(usize, f64)]) -> Result<Vec<f64>>;

/// The Gauss–Legendre rule on [−1, 1].
struct Rule {
    nodes: Vec<f64>,
    weights: Vec<f64>,
}

/// A part of one of several ranges, with its integral by the rule.
struct Panel {
    line: usize,
    low: f64,
    high: f64,
    whole: f64,
}

impl Rule {
    fn new() -> Result<Self> {
        let beside = |i: usize, j: usize| {
            let k = i.max(j) as f64;
            if i.abs_diff(j) == 1 { k / (4.0 * k * k - 1.0).sqrt() } else { 0.0 }
        };
        let fault = |e| Error::undefined("nodes of quadrature", format!("{e:?}"));
        let jacobi = Mat::from_fn(NODES, NODES, beside);
        let eigen = jacobi.self_adjoint_eigen(Side::Lower).map_err(fault)?;
        let nodes = eigen.S().column_vector().iter().copied().collect();
        let weights = (0..NODES).map(|j| 2.0 * eigen.U()[(0, j)].powi(2)).collect();
        Ok(Self { nodes, weights })
    }

    /// The integrals over `bounds` of a function whose first coordinates are those of each of `starts`.
    fn lines(
        &self,
        starts: &[Vec<f64>],
        bounds: &[[f64; 2]],
        tolerance: f64,
        evaluate: Function,
    ) -> Result<Vec<f64>> {
        let Some(([low, high], rest)) = bounds.split_first() else {
            return evaluate(&starts.concat());
        };
        let length = high - low;
        // The noise of inner integrals has to be small beside a panel's share.
        let inner = tolerance / (10.0 * length);
        let mut at = |points: &[(usize, f64)]| {
            let extended = |(line, x): &(usize, f64)| [starts[*line].as_slice(), &[*x]].concat();
            let points: Vec<Vec<f64>> = points.iter().map(extended).collect();
            self.lines(&points, rest, inner, evaluate)
        };
        let place = |k: usize| low + length * k as f64 / PANELS as f64;
        let of_line = |line| (0..PANELS).map(move |k| (line, place(k), place(k + 1)));
        let mut panels = self.panels((0..starts.len()).flat_map(of_line).collect(), &mut at)?;
        let mut totals = vec![0.0; starts.len()];
        for depth in 0.. {
            if panels.is_empty() {
                break;
            }
            let middle = |panel: &Panel| 0.5 * (panel.low + panel.high);
            let halves = panels.iter().flat_map(|panel| {
                let Panel { line, low, high, .. } = *panel;
                [(line, low, middle(panel)), (line, middle(panel), high)]
            });
            let mut halves = self.panels(halves.collect(), &mut at)?.into_iter();
            let mut divided = Vec::new();
            for panel in &panels {
                let (Some(left), Some(right)) = (halves.next(), halves.next()) else { break };
                let sum = left.whole + right.whole;
                let share = tolerance * (panel.high - panel.low) / length;
                let allowed = share.max(64.0 * f64::EPSILON * sum.abs());
                if (sum - panel.whole).abs() <= allowed || depth >= DEPTH {
                    totals[panel.line] += sum;
                } else {
                    divided.extend([left, right]);
                }
            }
            panels = divided;
        }
        Ok(totals)
    }

    /// Panels with their integrals.
    fn panels(&self, places: Vec<(usize, f64, f64)>, at: OnLines) -> Result<Vec<Panel>> {
        let points = places.iter().flat_map(|&(line, low, high)| {
            let node = move |z: &f64| (line, 0.5 * (low + high + (high - low) * z));
            self.nodes.iter().map(node)
        });
        let values = at(&points.collect::<Vec<_>>())?;
        let panel = |(&(line, low, high), values): (&(usize, f64, f64), &[f64])| {
            let sum: f64 = self.weights.iter().zip(values).map(|(w, v)| w * v).sum();
            Panel { line, low, high, whole: 0.5 * (high - low) * sum }
        };
        Ok(places.iter().zip(values.chunks(NODES)).map(panel).collect())
    }
}
