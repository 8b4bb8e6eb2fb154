//! Two-dimensional toys with known densities.
//!
//! With u uniform on [0, 1), e a standard normal pair, all independent, k a class uniform among K:
//! ```text
//! 8gaussians      5 (cos kπ/4, sin kπ/4) + 0.1^¼ e                             K = 8
//! moons           3 (m_k(πu) + 0.2 e) − 1                                      K = 2
//! moons-torchcfm  3 (m_k(πu) + 0.2 u′ (1, 1)) − 1                              K = 2
//!   m_0(θ) = (cos θ, sin θ),  m_1(θ) = (1 − cos θ, ½ − sin θ)
//! checkerboard    uniform on the squares 2[a, a+1)×2[b, b+1), −2 ≤ a, b ≤ 1, a + b even
//! swissroll       (t (cos t, sin t) + e)/5,  t = 1.5π (1 + 2u)
//! spirals         ±r (−cos r, sin r)/3 + 0.1 e,  r = 3π √u                     K = 2
//! pinwheel        2 R(−2πk/5 − ¼ exp |f|) f,  f = (1 + 0.3 e₁, 0.1 e₂)         K = 5
//! scurve          1.5 ((sin t, sgn(t)(cos t − 1)) + 0.05 e),  t = 3π (u − ½)
//! ```
//! `8gaussians` is torchcfm's `sample_8gaussians`, whose `var=0.1` enters as covariance √0.1·I; `moons-torchcfm` is its
//! `sample_moons` (torchdyn's noise is uniform on a diagonal), and `moons` has scikit-learn's Gaussian noise of 0.2
//! instead (Tong et al., "Improving and generalizing flow-based generative models with minibatch optimal transport",
//! 2024; `scurve` is as in that paper's code). The others are those of FFJORD (Grathwohl et al., 2019), with two
//! changes for the sake of a density: `spirals` has no uniform jitter, and the pinwheel's angle grows with |f| instead
//! of f₁ (0.005 more on average), so that the warp preserves area.

mod curve;
mod density;
mod model;

use super::{Rows, Split};
use crate::draws::Draws;
use crate::error::one_of;
use crate::{Error, Result};
use std::f64::consts::{FRAC_PI_4, PI};
use std::ops::Range;
use std::str::FromStr;

/// A two-dimensional distribution whose density is known.
///
/// ```
/// use tweedie::data::Toy;
/// let toy: Toy = "8gaussians".parse()?;
/// let rows = toy.sample(1000, 0);
/// assert_eq!((rows.len(), rows.width()), (1000, 2));
/// assert!(toy.log_density([5.0, 0.0]) > toy.log_density([0.0, 0.0]));
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Toy {
    /// Eight Gaussians on a circle.
    EightGaussians,
    /// Two half circles with Gaussian noise.
    Moons,
    /// Two half circles with torchdyn's noise along the diagonal; its density is infinite on four lines.
    MoonsTorchcfm,
    /// Eight squares.
    Checkerboard,
    /// One spiral of one and a half turns.
    SwissRoll,
    /// Two spirals from the origin.
    Spirals,
    /// Five bent blades.
    Pinwheel,
    /// Two half circles that make an S.
    SCurve,
}

/// The radius of the eight Gaussians' circle.
const RADIUS: f64 = 5.0;

impl Toy {
    /// All toys.
    pub const ALL: [Toy; 8] = [
        Toy::EightGaussians,
        Toy::Moons,
        Toy::MoonsTorchcfm,
        Toy::Checkerboard,
        Toy::SwissRoll,
        Toy::Spirals,
        Toy::Pinwheel,
        Toy::SCurve,
    ];

    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Toy::EightGaussians => "8gaussians",
            Toy::Moons => "moons",
            Toy::MoonsTorchcfm => "moons-torchcfm",
            Toy::Checkerboard => "checkerboard",
            Toy::SwissRoll => "swissroll",
            Toy::Spirals => "spirals",
            Toy::Pinwheel => "pinwheel",
            Toy::SCurve => "scurve",
        }
    }

    /// One line of description.
    pub fn description(self) -> &'static str {
        match self {
            Toy::EightGaussians => "2-D toy: eight Gaussians on a circle of radius 5 (torchcfm)",
            Toy::Moons => "2-D toy: two moons with Gaussian noise",
            Toy::MoonsTorchcfm => "2-D toy: two moons exactly as torchcfm draws them",
            Toy::Checkerboard => "2-D toy: uniform on eight squares of a checkerboard (FFJORD)",
            Toy::SwissRoll => "2-D toy: Swiss roll, seen from its end (FFJORD)",
            Toy::Spirals => "2-D toy: two spirals",
            Toy::Pinwheel => "2-D toy: pinwheel with five blades",
            Toy::SCurve => "2-D toy: S-curve, seen from its end (OT-CFM)",
        }
    }

    /// The names of the classes; empty for a toy without parts.
    pub fn classes(self) -> Vec<String> {
        (0..self.class_count()).map(|k| k.to_string()).collect()
    }

    fn class_count(self) -> u64 {
        match self {
            Toy::EightGaussians => 8,
            Toy::Moons | Toy::MoonsTorchcfm | Toy::Spirals => 2,
            Toy::Pinwheel => 5,
            Toy::Checkerboard | Toy::SwissRoll | Toy::SCurve => 0,
        }
    }

    /// The first `n` points of the sequence of `seed`.
    pub fn sample(self, n: usize, seed: u64) -> Rows {
        self.points(0..n as u64, &Draws::new(seed), |_| None).0
    }

    /// Points of the sequence of `seed` by number, labelled by their classes if the toy has classes.
    ///
    /// # Errors
    /// None in practice: there are as many labels as rows.
    pub fn split(self, points: Range<u64>, seed: u64) -> Result<Split> {
        let (rows, labels) = self.points(points, &Draws::new(seed), |_| None);
        Split::new(rows, (self.class_count() > 0).then_some(labels))
    }

    /// The points with the numbers `points` and their classes: the i-th of class `given(i)`, or of a random class.
    fn points(
        self,
        points: Range<u64>,
        draws: &Draws,
        given: impl Fn(usize) -> Option<u32>,
    ) -> (Rows, Vec<u32>) {
        let draws = draws.purpose("toy").purpose(self.name());
        let mut labels = Vec::new();
        let mut values = Vec::new();
        for (i, row) in points.enumerate() {
            let random = || draws.below(row, 0, self.class_count());
            let class = given(i).map_or_else(random, u64::from);
            labels.push(class as u32);
            values.extend(self.point(&draws, row, class).map(|x| x as f32));
        }
        (Rows::new(values, 2).expect("a point has two values"), labels)
    }

    /// The point with number `row`, of a given class.
    fn point(self, draws: &Draws, row: u64, class: u64) -> [f64; 2] {
        let [u, v] = [0, 1].map(|i| draws.uniform_f64(row, i));
        let [e, f] = [0, 1].map(|i| draws.normal_f64(row, i));
        let noisy = |[x, y]: [f64; 2], sigma: f64| [x + sigma * e, y + sigma * f];
        match self {
            Toy::EightGaussians => noisy(centre(class), eight_gaussians().1.sqrt()),
            Toy::MoonsTorchcfm => moon(class, u).map(|x| 3.0 * (x + 0.2 * v) - 1.0),
            Toy::Checkerboard => square(4.0 * u - 2.0, v, draws.below(row, 1, 2)),
            Toy::Pinwheel => blade(class, [1.0 + 0.3 * e, 0.1 * f]),
            Toy::Moons | Toy::SwissRoll | Toy::Spirals | Toy::SCurve => {
                noisy(self.spine(class, u), self.thickness())
            }
        }
    }

    /// The point of a class's curve at parameter `u ∈ [0, 1]`, for toys of a curve with Gaussian noise; u is uniform.
    fn spine(self, class: u64, u: f64) -> [f64; 2] {
        match self {
            Toy::Moons => moon(class, u).map(|x| 3.0 * x - 1.0),
            Toy::SwissRoll => {
                let t = 1.5 * PI * (1.0 + 2.0 * u);
                [t * t.cos() / 5.0, t * t.sin() / 5.0]
            }
            Toy::Spirals => {
                let (r, sign) = (3.0 * PI * u.sqrt(), 1.0 - 2.0 * class as f64);
                [-sign * r * r.cos() / 3.0, sign * r * r.sin() / 3.0]
            }
            _ => {
                let t = 3.0 * PI * (u - 0.5);
                [1.5 * t.sin(), 1.5 * t.signum() * (t.cos() - 1.0)]
            }
        }
    }

    /// The standard deviation of the noise around a curve.
    fn thickness(self) -> f64 {
        match self {
            Toy::Moons => 3.0 * 0.2,
            Toy::SwissRoll => 0.2,
            Toy::Spirals => 0.1,
            _ => 1.5 * 0.05,
        }
    }

    /// The logarithm of the density at `x`, in nats: closed form, or to 1e-8 by quadrature along the curve
    /// (within 20 standard deviations of it); −∞ outside the support.
    pub fn log_density(self, x: [f64; 2]) -> f64 {
        density::with_score(self, x).0
    }

    /// The gradient of [`Toy::log_density`] at `x`, in closed form or by the same quadrature; zero outside the support
    /// and, inside it, the one-sided gradient at lines where the density jumps.
    pub fn score(self, x: [f64; 2]) -> [f64; 2] {
        density::with_score(self, x).1
    }
}

/// The centres and the variance of `8gaussians`, whose components have equal weights, for exact denoisers.
pub fn eight_gaussians() -> ([[f64; 2]; 8], f64) {
    (std::array::from_fn(|k| centre(k as u64)), 0.1_f64.sqrt())
}

fn centre(class: u64) -> [f64; 2] {
    let (sin, cos) = (class as f64 * FRAC_PI_4).sin_cos();
    [RADIUS * cos, RADIUS * sin]
}

/// A point of a half circle of radius 1.
fn moon(class: u64, u: f64) -> [f64; 2] {
    let (sin, cos) = (PI * u).sin_cos();
    if class == 0 { [cos, sin] } else { [1.0 - cos, 0.5 - sin] }
}

/// A point of the checkerboard's column at `a ∈ [−2, 2)`: place `v ∈ [0, 1)` in the upper or lower square.
fn square(a: f64, v: f64, lower: u64) -> [f64; 2] {
    let b = v - 2.0 * lower as f64 + a.floor().rem_euclid(2.0);
    [2.0 * a, 2.0 * b]
}

/// The angle of class `class` of the pinwheel at distance `radius` before scaling.
fn bend(class: u64, radius: f64) -> f64 {
    class as f64 * PI / 2.5 + 0.25 * radius.min(700.0).exp()
}

/// A pinwheel's point from its features.
pub(super) fn blade(class: u64, [f, g]: [f64; 2]) -> [f64; 2] {
    let (sin, cos) = bend(class, f.hypot(g)).sin_cos();
    [2.0 * (f * cos + g * sin), 2.0 * (g * cos - f * sin)]
}

impl FromStr for Toy {
    type Err = Error;

    /// A toy by its name.
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|toy| toy.name() == name)
            .ok_or_else(|| Error::config("toy", name, one_of(name, &Self::ALL.map(Toy::name))))
    }
}
