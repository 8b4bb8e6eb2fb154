//! Monotone maps that make a column normal: rational-quadratic splines through quantiles.
//!
//! The knots are quantiles x_k of the training rows, in standardised units, and y_k = Φ⁻¹(p_k), in equal steps. Between
//! two knots, with ξ = (x − x_k)/(x_{k+1} − x_k), s the slope of the chord and d the slopes at the knots (J. A. Gregory
//! and R. Delbourgo, "Piecewise rational quadratic interpolation to monotonic data", 1982; C. Durkan, A. Bekasov, I.
//! Murray and G. Papamakarios, "Neural spline flows", 2019, equations 4 to 8),
//!
//! > y = y_k + (y_{k+1} − y_k) (s ξ² + d_k ξ(1 − ξ)) / (s + (d_{k+1} + d_k − 2s) ξ(1 − ξ)),
//!
//! > dy/dx = s² (d_{k+1} ξ² + 2 s ξ(1 − ξ) + d_k (1 − ξ)²) / (s + (d_{k+1} + d_k − 2s) ξ(1 − ξ))²,
//!
//! and beyond the outer knots the map is linear with their slopes: tails stay as heavy as they are, and the slope is
//! continuous everywhere.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

/// Most intervals between knots, and the least number of values for each.
const INTERVALS: usize = 32;
const VALUES: usize = 20;
/// The least distance of two knots in standardised units, so that piles of equal values have a finite slope.
const LEAST: f64 = 1e-3;

/// A monotone map of the real line onto itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Knots", into = "Knots")]
pub struct Monotone {
    knots: Knots,
    /// The slopes at the knots.
    slopes: Vec<f64>,
}

/// The knots of a map, at least two, both coordinates increasing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Knots {
    x: Vec<f64>,
    y: Vec<f64>,
}

impl TryFrom<Knots> for Monotone {
    type Error = String;

    fn try_from(knots: Knots) -> Result<Self, String> {
        let increasing = |all: &[f64]| {
            all.iter().all(|v| v.is_finite()) && all.windows(2).all(|pair| pair[0] < pair[1])
        };
        let fit = knots.x.len() == knots.y.len() && knots.x.len() >= 2;
        if !(fit && increasing(&knots.x) && increasing(&knots.y)) {
            return Err(
                "knots of a map: expected two or more, with both coordinates increasing".into()
            );
        }
        let chord = |k: usize| (knots.y[k + 1] - knots.y[k]) / (knots.x[k + 1] - knots.x[k]);
        let last = knots.x.len() - 1;
        let slope = |k: usize| match k {
            0 => chord(0),
            k if k == last => chord(last - 1),
            // The harmonic mean is between the chords' slopes and never above twice the smaller.
            k => 2.0 / (1.0 / chord(k - 1) + 1.0 / chord(k)),
        };
        let slopes = (0..=last).map(slope).collect();
        Ok(Self { knots, slopes })
    }
}

impl From<Monotone> for Knots {
    fn from(map: Monotone) -> Self {
        map.knots
    }
}

impl Monotone {
    /// The map that makes values nearly normal; none for fewer than 40 values or a constant. The order does not matter.
    pub(super) fn normalising(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let intervals = (sorted.len() / VALUES).min(INTERVALS);
        if intervals < 2 || sorted.first() == sorted.last() {
            return None;
        }
        let normal = Normal::standard();
        let end = normal.inverse_cdf(1.0 - 1.0 / VALUES as f64 / intervals as f64);
        let y: Vec<f64> =
            (0..=intervals).map(|k| end * (2.0 * k as f64 / intervals as f64 - 1.0)).collect();
        let quantile = |y: &f64| {
            let at =
                (normal.cdf(*y) * sorted.len() as f64 - 0.5).clamp(0.0, (sorted.len() - 1) as f64);
            let (below, part) = (at.floor() as usize, at.fract());
            let above = (below + 1).min(sorted.len() - 1);
            sorted[below] + part * (sorted[above] - sorted[below])
        };
        let mut x: Vec<f64> = y.iter().map(quantile).collect();
        for k in 1..x.len() {
            x[k] = x[k].max(x[k - 1] + LEAST);
        }
        Self::try_from(Knots { x, y }).ok()
    }

    /// The interval of a value among increasing knots; none beyond them.
    fn interval(knots: &[f64], value: f64) -> Option<usize> {
        let above = knots.partition_point(|knot| *knot <= value);
        (1..knots.len()).contains(&above).then(|| above - 1)
    }

    /// The end beyond which a value lies, among increasing knots.
    fn end(&self, below: bool) -> (f64, f64, f64) {
        let k = if below { 0 } else { self.slopes.len() - 1 };
        (self.knots.x[k], self.knots.y[k], self.slopes[k])
    }

    /// Width, height, slope of the chord, and slopes at the ends of an interval.
    fn piece(&self, k: usize) -> [f64; 5] {
        let (x, y) = (&self.knots.x, &self.knots.y);
        let (width, height) = (x[k + 1] - x[k], y[k + 1] - y[k]);
        [width, height, height / width, self.slopes[k], self.slopes[k + 1]]
    }

    /// y at x, and ln dy/dx.
    pub fn forward(&self, x: f64) -> (f64, f64) {
        let Some(k) = Self::interval(&self.knots.x, x) else {
            let (at, to, slope) = self.end(x < self.knots.x[0]);
            return (to + slope * (x - at), slope.ln());
        };
        let [width, height, s, d0, d1] = self.piece(k);
        let xi = (x - self.knots.x[k]) / width;
        let product = xi * (1.0 - xi);
        let below = s + (d1 + d0 - 2.0 * s) * product;
        let y = self.knots.y[k] + height * (s * xi * xi + d0 * product) / below;
        let rise = d1 * xi * xi + 2.0 * s * product + d0 * (1.0 - xi) * (1.0 - xi);
        (y, 2.0 * (s / below).ln() + rise.ln())
    }

    /// x at y.
    pub fn inverse(&self, y: f64) -> f64 {
        let Some(k) = Self::interval(&self.knots.y, y) else {
            let (at, to, slope) = self.end(y < self.knots.y[0]);
            return at + (y - to) / slope;
        };
        let [width, height, s, d0, d1] = self.piece(k);
        let rise = y - self.knots.y[k];
        let bend = rise * (d1 + d0 - 2.0 * s);
        let (a, b, c) = (height * (s - d0) + bend, height * d0 - bend, -s * rise);
        let root = (b * b - 4.0 * a * c).max(0.0).sqrt();
        let xi = 2.0 * c / (-b - root);
        self.knots.x[k] + xi.clamp(0.0, 1.0) * width
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Draws;

    fn lognormal(n: u64) -> Vec<f64> {
        let normal = Draws::new(4).normals(0..n, 1);
        normal.values().iter().map(|z| (1.5 * f64::from(*z)).exp()).collect()
    }

    #[test]
    fn a_long_tailed_column_becomes_normal() {
        let values = lognormal(20_000);
        let map = Monotone::normalising(values.iter().copied()).unwrap();
        let fresh: Vec<f64> =
            lognormal(40_000)[20_000..].iter().map(|x| map.forward(*x).0).collect();
        let n = fresh.len() as f64;
        let moment = |power: i32| fresh.iter().map(|y| y.powi(power)).sum::<f64>() / n;
        // Standard errors of moments of 20,000 normals: 0.007, 0.010, 0.027, 0.069.
        for (power, expected, error) in [(1, 0.0, 0.007), (2, 1.0, 0.01), (3, 0.0, 0.027)] {
            assert!(
                (moment(power) - expected).abs() < 4.9 * 1.5 * error,
                "{power}: {}",
                moment(power)
            );
        }
    }

    #[test]
    fn the_inverse_undoes_the_map_and_the_slope_is_its_derivative() {
        let map = Monotone::normalising(lognormal(5000).into_iter()).unwrap();
        for k in -200..400 {
            let x = f64::from(k) * 0.11;
            let (y, log_slope) = map.forward(x);
            assert!((map.inverse(y) - x).abs() < 1e-9 * (1.0 + x.abs()), "{x}");
            let h = 1e-6;
            let slope = (map.forward(x + h).0 - map.forward(x - h).0) / (2.0 * h);
            assert!((slope.ln() - log_slope).abs() < 1e-3, "{x}: {} {log_slope}", slope.ln());
        }
    }

    #[test]
    fn piles_and_constants_do_not_break_it() {
        let pile = (0..500).map(|i| if i % 2 == 0 { 0.0 } else { f64::from(i) });
        let map = Monotone::normalising(pile).unwrap();
        let all: Vec<f64> = (0..500).map(|i| map.forward(f64::from(i)).0).collect();
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]) && all.iter().all(|y| y.is_finite()));
        assert!(Monotone::normalising([3.0; 500].into_iter()).is_none());
        assert!(Monotone::normalising((0..30).map(f64::from)).is_none());
        let text = serde_json::to_string(&map).unwrap();
        assert_eq!(serde_json::from_str::<Monotone>(&text).unwrap(), map);
        assert!(serde_json::from_str::<Monotone>("{\"x\":[0,0],\"y\":[0,1]}").is_err());
    }
}
