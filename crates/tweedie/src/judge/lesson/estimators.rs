//! The variance of estimators, and what it does to steps (*An Introduction to Generative Modeling with Flows and
//! Diffusion Models*, sec. 2.5.3, eqs. 2.31–2.34, figure 2.8).
//!
//! Of E h(X) with X ~ N(0, 1) and h = exp(ax), a draw Y of q = N(m, 1) gives h(Y) p(Y)/q(Y) = exp((a − m) Y + m²/2),
//! with the variance exp(m²/2 + (2a − m)²/2) − exp(a²): none at m = a, which is (2.34). Of h = x + c the best q is
//! ∝ |h| p, with (E|h|)² − c², E|h| = 2 φ(c) + c (2Φ(c) − 1).
//!
//! Of F(θ) = E f(θ + sε), f(x) = ½ Σ aᵢxᵢ², in the plane, three means of n draws have the mean ∇F = (aᵢθᵢ):
//!
//! > score:     (f(θ + sε) − f(θ)) ε/s                 pathwise:  ∇f(θ + sε)
//! > two-sided: (f(θ + sε) − f(θ − sε)) ε/(2s), of n/2 draws, so that it, too, evaluates f n times.
//!
//! After a step θ − ηg the second moments mᵢ = E θᵢ² are (1 − ηaᵢ)² mᵢ + η² E Var(gᵢ), with n Var(gᵢ) =
//!
//! > score:     Σⱼ aⱼ² θⱼ² + aᵢ² θᵢ² + ¼ s² (15 aᵢ² + 6 aᵢaₒ + 3 aₒ²), o being the other coordinate
//! > pathwise:  s² aᵢ²
//! > two-sided: 2 (Σⱼ aⱼ² θⱼ² + aᵢ² θᵢ²),
//!
//! linear in θ², so that every mᵢ is known exactly (score functions: Williams 1992; both signs: Spall 1992, with random
//! signs for ε).

use super::{Lesson, for_machines, table};
use crate::draw::{Plot, panels};
use crate::tensor::{below_normal, mean_and_error};
use crate::{Draws, Result};
use serde::Serialize;
use std::f64::consts::TAU;

/// The a of exp(ax), the c of x + c, and the means m of q that are measured.
const SLOPE: f64 = 0.5;
const OFFSET: f64 = 0.5;
const MEANS: [f64; 6] = [-0.25, 0.0, 0.25, 0.5, 1.0, 1.25];
/// Draws of each variance, and draws of q = N(½, 0.4), whose variance is infinite.
const DRAWS: u64 = 200_000;
const GROWING: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
const NARROW: f64 = 0.4;
/// The curvatures aᵢ, the s of ε, and the start.
const CURVES: [f64; 2] = [1.0, 4.0];
const SPREAD: f64 = 1.0;
const START: [f64; 2] = [-4.0, 2.0];
/// Evaluations for a step, the step size η, steps, and the τ of the steps η/(1 + k/τ).
const SAMPLES: usize = 4;
const RATE: f64 = 0.04;
const STEPS: usize = 1000;
const SLOWING: f64 = 100.0;
/// Runs of each kind, and the steps of the table.
const RUNS: u64 = 2000;
const SHOWN: [usize; 4] = [10, 40, 200, 1000];

/// The variance of exp(ax) p/q of one draw of q = N(m, 1), with p = N(0, 1).
pub fn exponential_variance(a: f64, m: f64) -> f64 {
    (0.5 * (m * m + (2.0 * a - m).powi(2))).exp() - (a * a).exp()
}

/// E|x + c| with x ~ N(0, 1).
pub fn mean_size(c: f64) -> f64 {
    2.0 * normal(c) + c * (2.0 * below_normal(c) - 1.0)
}

/// The density of N(0, 1).
fn normal(x: f64) -> f64 {
    (-0.5 * x * x).exp() / TAU.sqrt()
}

/// A draw of q ∝ |x + c| N(x; 0, 1) where its distribution function is `u`.
pub fn draw_by_size(c: f64, u: f64) -> f64 {
    // ∫ (x + c) φ(x) dx = c Φ(x) − φ(x).
    let whole = |x: f64| c * below_normal(x) - normal(x);
    let below = |x: f64| {
        let turn = whole(-c);
        if x < -c { -whole(x) } else { whole(x) - 2.0 * turn }
    };
    let (mut low, mut high) = (-12.0, 12.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if below(middle) < u * mean_size(c) {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// An unbiased estimator of ∇F.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gradient {
    /// (f(θ + sε) − f(θ)) ε/s.
    Score,
    /// ∇f(θ + sε).
    Pathwise,
    /// (f(θ + sε) − f(θ − sε)) ε/(2s).
    TwoSided,
}

/// The landscape f(x) = ½ Σ aᵢxᵢ², seen through N(θ, s² I).
#[derive(Debug, Clone, Copy)]
pub struct Bowl {
    /// The aᵢ.
    pub curves: [f64; 2],
    /// s.
    pub spread: f64,
}

impl Bowl {
    /// f(x).
    fn height(&self, x: [f64; 2]) -> f64 {
        0.5 * (self.curves[0] * x[0] * x[0] + self.curves[1] * x[1] * x[1])
    }

    /// The estimate from one ε.
    pub fn gradient(&self, by: Gradient, theta: [f64; 2], noise: [f64; 2]) -> [f64; 2] {
        let at = |s: f64| [theta[0] + s * noise[0], theta[1] + s * noise[1]];
        let s = self.spread;
        match by {
            Gradient::Score => noise.map(|e| (self.height(at(s)) - self.height(theta)) * e / s),
            Gradient::Pathwise => [0, 1].map(|i| self.curves[i] * at(s)[i]),
            Gradient::TwoSided => {
                noise.map(|e| (self.height(at(s)) - self.height(at(-s))) * e / (2.0 * s))
            }
        }
    }

    /// The variance of the estimate from `n` evaluations, by θᵢ² or their means.
    pub fn variance(&self, by: Gradient, n: usize, squares: [f64; 2]) -> [f64; 2] {
        let [a, b] = self.curves;
        let slopes = [a * a * squares[0], b * b * squares[1]];
        let moving = slopes.map(|own| slopes[0] + slopes[1] + own);
        let constant = |own: f64, other: f64| {
            0.25 * self.spread.powi(2)
                * (15.0 * own * own + 6.0 * own * other + 3.0 * other * other)
        };
        let of_one = match by {
            Gradient::Score => [moving[0] + constant(a, b), moving[1] + constant(b, a)],
            Gradient::Pathwise => [a, b].map(|a| (self.spread * a).powi(2)),
            Gradient::TwoSided => moving.map(|moving| 2.0 * moving),
        };
        of_one.map(|variance| variance / n as f64)
    }

    /// The means of θᵢ² after a step of size `rate` by `n` evaluations.
    pub fn step(&self, by: Gradient, n: usize, rate: f64, squares: [f64; 2]) -> [f64; 2] {
        let noise = self.variance(by, n, squares);
        [0, 1].map(|i| (1.0 - rate * self.curves[i]).powi(2) * squares[i] + rate * rate * noise[i])
    }
}

/// The estimators, with their names.
const KINDS: [(Gradient, &str); 3] = [
    (Gradient::Score, "score function"),
    (Gradient::Pathwise, "pathwise"),
    (Gradient::TwoSided, "two-sided"),
];

/// The landscape of the page.
const BOWL: Bowl = Bowl { curves: CURVES, spread: SPREAD };

/// A variance beside its closed form.
#[derive(Debug, Clone, Serialize)]
struct Spread {
    h: String,
    q: String,
    exact: f64,
    found: f64,
    error: f64,
}

/// The mean squared distance to the optimum after some steps.
#[derive(Debug, Clone, Serialize)]
struct Distance {
    kind: &'static str,
    slowing: bool,
    steps: Vec<usize>,
    exact: Vec<f64>,
    found: Vec<f64>,
    error: Vec<f64>,
    /// The distance to the optimum at the first of `steps`: of the mean of θ over the runs, and of gradient descent
    /// without noise.
    mean: [f64; 2],
    /// The standard error of the mean's distance.
    mean_error: f64,
    /// Where fixed steps end.
    floor: f64,
}

/// All numbers.
#[derive(Debug, Serialize)]
struct Figures {
    spreads: Vec<Spread>,
    /// Measured variances of a q whose variance is infinite.
    growing: Vec<f64>,
    /// The angle between −∇F and the way to the optimum at the start, in degrees.
    angle: f64,
    distances: Vec<Distance>,
}

/// The variance of values with its standard error.
fn spread(h: String, q: String, exact: f64, values: &[f64]) -> Spread {
    let (mean, _) = mean_and_error(values);
    let squares: Vec<f64> = values.iter().map(|v| (v - mean).powi(2)).collect();
    let (found, error) = mean_and_error(&squares);
    Spread { h, q, exact, found, error }
}

/// The values of h p/q at draws of q.
fn spreads(draws: &Draws) -> Vec<Spread> {
    let exponential = |m: f64| {
        let value = |y: f64| ((SLOPE - m) * y + 0.5 * m * m).exp();
        let values: Vec<f64> = (0..DRAWS).map(|i| value(m + draws.normal_f64(i, 0))).collect();
        let q = if m == 0.0 { "p itself: N(0, 1)".into() } else { format!("N({m}, 1)") };
        spread("exp(x/2)".into(), q.replace('-', "−"), exponential_variance(SLOPE, m), &values)
    };
    let plain: Vec<f64> = (0..DRAWS).map(|i| draws.normal_f64(i, 1) + OFFSET).collect();
    let size = mean_size(OFFSET);
    // h p/q = ±E|h|.
    let best = |i: u64| size * (draw_by_size(OFFSET, draws.uniform_f64(i, 2)) + OFFSET).signum();
    let best: Vec<f64> = (0..DRAWS).map(best).collect();
    let exact = size * size - OFFSET * OFFSET;
    let mut all: Vec<Spread> = MEANS.into_iter().map(exponential).collect();
    all.push(spread("x + ½".into(), "p itself: N(0, 1)".into(), 1.0, &plain));
    all.push(spread("x + ½".into(), "∝ ∣h∣ p".into(), exact, &best));
    all
}

/// Variances of exp(x/2) p/q at ever more draws of q = N(½, 0.4).
fn growing(draws: &Draws) -> Vec<f64> {
    let value = |i: u64| {
        let u = draws.normal_f64(i, 3);
        let y = SLOPE + NARROW.sqrt() * u;
        NARROW.sqrt() * (SLOPE * y - 0.5 * y * y + 0.5 * u * u).exp()
    };
    let values: Vec<f64> = (0..GROWING[GROWING.len() - 1]).map(value).collect();
    let of = |n: u64| spread(String::new(), String::new(), 0.0, &values[..n as usize]).found;
    GROWING.map(of).to_vec()
}

/// The size of step k.
fn rate(slowing: bool, k: usize) -> f64 {
    if slowing { RATE / (1.0 + k as f64 / SLOWING) } else { RATE }
}

/// θ after each step of a run.
fn walk(by: Gradient, slowing: bool, run: u64, draws: &Draws) -> Vec<[f64; 2]> {
    let n = if by == Gradient::TwoSided { SAMPLES / 2 } else { SAMPLES };
    let noise = draws.normals(run..run + 1, 2 * SAMPLES * STEPS);
    let mut path = vec![START];
    for (k, noise) in noise.values().chunks_exact(2 * SAMPLES).enumerate() {
        let theta = path[k];
        let mut g = [0.0; 2];
        for pair in noise.chunks_exact(2).take(n) {
            let one = BOWL.gradient(by, theta, [0, 1].map(|i| f64::from(pair[i])));
            g = [0, 1].map(|i| g[i] + one[i] / n as f64);
        }
        path.push([0, 1].map(|i| theta[i] - rate(slowing, k) * g[i]));
    }
    path
}

/// E‖θ‖² after each step, exactly.
fn exact(by: Gradient, slowing: bool) -> Vec<f64> {
    let mut squares = START.map(|x| x * x);
    let mut all = vec![squares[0] + squares[1]];
    for k in 0..STEPS {
        squares = BOWL.step(by, SAMPLES, rate(slowing, k), squares);
        all.push(squares[0] + squares[1]);
    }
    all
}

/// Where fixed steps end: the rest of the moments' steps.
fn floor(by: Gradient) -> f64 {
    let mut squares = [0.0; 2];
    for _ in 0..100_000 {
        squares = BOWL.step(by, SAMPLES, RATE, squares);
    }
    squares[0] + squares[1]
}

/// Many runs of a kind: the numbers, and E‖θ‖² after each step, found and exact.
fn runs(kind: usize, slowing: bool) -> (Distance, [Vec<(f64, f64)>; 2]) {
    let (by, name) = KINDS[kind];
    let draws = Draws::new(11).at(kind as u64);
    let mut sums = vec![[0.0; 2]; STEPS + 1];
    let mut early = [Vec::new(), Vec::new()];
    for run in 0..RUNS {
        let path = walk(by, slowing, run, &draws);
        for (sum, [x, y]) in sums.iter_mut().zip(&path) {
            let square = x * x + y * y;
            *sum = [sum[0] + square, sum[1] + square * square];
        }
        [0, 1].iter().for_each(|i| early[*i].push(path[SHOWN[0]][*i]));
    }
    let count = RUNS as f64;
    let found: Vec<f64> = sums.iter().map(|sum| sum[0] / count).collect();
    let error = |k: usize| ((sums[k][1] / count - found[k].powi(2)) / (count - 1.0)).sqrt();
    let exact = exact(by, slowing);
    let ends = early.map(|x| mean_and_error(&x));
    let kept = |a: f64| (0..SHOWN[0]).map(|k| 1.0 - rate(slowing, k) * a).product::<f64>();
    let still = [0, 1].map(|i| kept(CURVES[i]) * START[i]);
    let at = |of: &dyn Fn(usize) -> f64| SHOWN.iter().map(|k| of(*k)).collect::<Vec<f64>>();
    let distance = Distance {
        kind: name,
        slowing,
        steps: SHOWN.to_vec(),
        exact: at(&|k| exact[k]),
        found: at(&|k| found[k]),
        error: at(&error),
        mean: [ends[0].0.hypot(ends[1].0), still[0].hypot(still[1])],
        mean_error: ends[0].1.hypot(ends[1].1),
        floor: floor(by),
    };
    let line = |y: &[f64]| y.iter().enumerate().map(|(k, y)| (k as f64, *y)).collect();
    (distance, [line(&found), line(&exact)])
}

/// A page on the variance of estimators.
///
/// # Errors
/// Errors of drawing.
pub fn estimators() -> Result<Lesson> {
    let draws = Draws::new(10);
    let spreads = spreads(&draws);
    let all: Vec<_> = [false, true]
        .into_iter()
        .flat_map(|slowing| (0..3).map(move |k| runs(k, slowing)))
        .collect();
    let (distances, curves): (Vec<Distance>, Vec<_>) = all.into_iter().unzip();
    let slope = [0, 1].map(|i| CURVES[i] * START[i]);
    let along = slope[0] * START[0] + slope[1] * START[1];
    let cosine = along / (slope[0].hypot(slope[1]) * START[0].hypot(START[1]));
    let pictures = vec![
        ("estimators-paths.png".into(), paths_picture()?),
        ("estimators-distance.png".into(), distance_picture(&distances, &curves)?),
        ("estimators-variance.png".into(), variance_picture(&spreads)?),
    ];
    let angle = cosine.acos().to_degrees();
    let figures = Figures { spreads, growing: growing(&draws), angle, distances };
    Ok(Lesson { text: text(&figures), pictures, figures: for_machines(&figures)? })
}

/// Figure 2.8, computed: one path of each kind on the contours of F.
fn paths_picture() -> Result<image::RgbImage> {
    let mut contours = Vec::new();
    for height in [0.1, 0.5, 1.5, 4.0, 8.0, 14.0, 22.0f64] {
        let radii = CURVES.map(|a| (2.0 * height / a).sqrt());
        let at = |k: u32| f64::from(k) / 120.0 * TAU;
        contours.extend((0..=120).map(|k| (radii[0] * at(k).cos(), radii[1] * at(k).sin())));
        contours.push((f64::NAN, f64::NAN));
    }
    let plot = |(k, (by, name)): (usize, &(Gradient, &str))| {
        let path = walk(*by, false, 0, &Draws::new(11).at(k as u64));
        let path: Vec<(f64, f64)> = path[..=200].iter().map(|[x, y]| (*x, *y)).collect();
        let plot = Plot::new(name).size(760, 640).x_name("θ₁").y_name("θ₂");
        let plot = plot.x_range(-5.0, 3.0).y_range(-3.0, 3.0);
        let plot = plot.line("contours of F", &contours).line("200 steps", &path);
        plot.points("optimum", &[(0.0, 0.0)])
    };
    panels(&KINDS.iter().enumerate().map(plot).collect::<Vec<_>>(), 3)
}

/// E‖θ‖² against the step, found and exact, for fixed steps and for steps that slow down.
fn distance_picture(
    distances: &[Distance],
    curves: &[[Vec<(f64, f64)>; 2]],
) -> Result<image::RgbImage> {
    let titles = ["Steps of one size", "Steps like 1/k"];
    let plots = [0, 1].map(|slowing| {
        let mut plot = Plot::new(titles[slowing]).size(1000, 760).log_y();
        plot = plot.x_name("step").y_name("E‖θ − θ*‖²").y_range(1e-4, 40.0);
        let kinds = slowing * 3..slowing * 3 + 3;
        for k in kinds.clone() {
            plot = plot.line(distances[k].kind, &curves[k][0]);
        }
        let known: Vec<(f64, f64)> = kinds
            .flat_map(|k| curves[k][1].iter().copied().step_by(50).collect::<Vec<_>>())
            .collect();
        plot.points("exact", &known)
    });
    panels(&plots, 2)
}

/// The variance against the mean of q.
fn variance_picture(spreads: &[Spread]) -> Result<image::RgbImage> {
    let m = |i: u32| -0.5 + 2.0 * f64::from(i) / 200.0;
    let line: Vec<(f64, f64)> =
        (0..=200).map(|i| (m(i), exponential_variance(SLOPE, m(i)))).collect();
    let found: Vec<(f64, f64)> =
        MEANS.iter().zip(spreads).map(|(m, spread)| (*m, spread.found)).collect();
    let plot = Plot::new("Variance of one weighted draw of exp(x/2)").size(1400, 700);
    let plot = plot.x_name("m of q = N(m, 1)").y_name("variance").line("closed form", &line);
    plot.points("measured", &found).draw()
}

/// The page in Markdown.
fn text(Figures { spreads, growing, angle, distances }: &Figures) -> String {
    let spread = |spread: &Spread| {
        let Spread { h, q, exact, found, error } = spread;
        vec![h.clone(), q.clone(), format!("{exact:.4}"), format!("{found:.4} ± {error:.4}")]
    };
    let distance = |of: &Distance| {
        let steps = if of.slowing { "like 1/k" } else { "one size" };
        let first = [of.kind.to_string(), steps.to_string()];
        let pair =
            |k: usize| format!("{:.4}, {:.4} ± {:.4}", of.exact[k], of.found[k], of.error[k]);
        first.into_iter().chain((0..SHOWN.len()).map(pair)).collect::<Vec<_>>()
    };
    let headings = ["h", "q", "variance", "measured"];
    let spreads_table = table(&headings, &spreads.iter().map(spread).collect::<Vec<_>>());
    let steps = SHOWN.map(|k| format!("after {k}"));
    let mut headings = vec!["estimator", "steps"];
    headings.extend(steps.iter().map(String::as_str));
    let distances_table = table(&headings, &distances.iter().map(distance).collect::<Vec<_>>());
    let ended = |of: &Distance| {
        let floor = if of.floor < 1e-9 { "0".into() } else { format!("{:.4}", of.floor) };
        vec![
            of.kind.to_string(),
            format!("{:.3}", of.mean[1]),
            format!("{:.3} ± {:.3}", of.mean[0], of.mean_error),
            floor,
        ]
    };
    let first = SHOWN[0];
    let of_mean = format!("distance of the mean after {first} steps, without noise");
    let headings = ["estimator", &of_mean, "measured", "floor of E‖θ − θ*‖²"];
    let ends_table = table(&headings, &distances[..3].iter().map(ended).collect::<Vec<_>>());
    let growing: Vec<String> = growing.iter().map(|v| format!("{v:.3}")).collect();
    let last = SHOWN.len() - 1;
    let ratio = |kinds: &[Distance]| kinds[0].exact[last] / kinds[1].exact[last];
    let best = mean_size(OFFSET).powi(2) - OFFSET * OFFSET;
    format!(
        "# Estimators of one mean\n\nWritten by `tweedie reproduce estimators`, in seconds and without training. \
         Estimators with the same mean, and what their variance does to steps (figure 2.8).\n\n## Steps\n\nThe \
         landscape is F(θ) = E f(θ + ε), f(x) = ½ (x₁² + 4 x₂²), ε ~ N(0, I), lowest at θ* = 0. Three estimators of \
         ∇F have the same mean at every θ and evaluate f or ∇f at {SAMPLES} draws for each step: the score function, \
         (f(θ + ε) − f(θ)) ε; the pathwise gradient ∇f(θ + ε); and two-sided differences, (f(θ + ε) − f(θ − ε)) ε/2, \
         of half as many draws. All steps are {RATE} times the estimate.\n\n![A path of each estimator on the \
         contours of the landscape](images/estimators-paths.png)\n\nFor this landscape E‖θ − θ*‖² is known exactly \
         after any number of steps: each estimator's variance is linear in θᵢ². Exact, and measured over {RUNS} \
         runs:\n\n{distances_table}\n![Mean squared distance against the \
         step](images/estimators-distance.png)\n\nWhat the text says holds: the path of higher variance wanders, and \
         stays further away. It overstates the rest.\n\n- *\"Training with low-variance estimators typically \
         converges more rapidly.\"* Not at first: the mean of θ takes the noise-free path with every unbiased \
         estimator, since ∇F is linear here, and the distances are nearly the same until they near a floor, which \
         grows with the variance and with the step size:\n\n{ends_table}\n- *\"A high-variance estimator produces \
         noisy updates that wander and oscillate around the landscape.\"* With steps of one size both do, at \
         different floors. With steps that shrink like 1/k both converge, at the same rate: after {} steps the \
         squared distances have the ratio {:.1}, and the floors of steps of one size the ratio {:.1}. A lower \
         variance buys a factor, not a rate.\n- *Variance at the optimum* is what counts. The two-sided estimator has \
         more variance than the pathwise one far away, and none at θ*: it converges without any change of its \
         steps.\n- *\"Gradient signals that consistently point toward the optimum\"* are not even had without noise: \
         at the start the exact −∇F is {angle:.0}° off the way to θ*.\n\n## Importance sampling\n\nOne draw of q in \
         place of p = N(0, 1), weighted by p/q, and its variance by closed form; measured over {DRAWS} \
         draws:\n\n{spreads_table}\n![Variance against the mean of q](images/estimators-variance.png)\n\nThe \
         difference of both variances is ∫ (1 − p/q) h² p dx, as printed. Three things are not.\n\n- **Eq. 2.34 needs \
         h ≥ 0.** For exp(x/2) it is N(½, 1), with no variance at all. For x + ½ it is no density, being below 0 left \
         of −½. There the best q is ∝ ∣h∣ p, and leaves (E∣h∣)² − Z² = {best:.4}. (Two estimates, of the positive and \
         of the negative part of h, each by its own best q, again have none.)\n- **P ≪ Q is not what is needed.** The \
         mean needs less: q may be 0 where h is. The variance needs more. With q = N(½, {NARROW}), narrower than half \
         of p's variance, P ≪ Q holds and the variance is infinite: of {} draws, {} are measured, and {} is no more \
         to be trusted than the first of them.\n- **In Eq. 2.33** h* is h p/q without the q that its first brace \
         includes; and the right side of Eq. 2.31 is a number, which Eq. 2.32 estimates.\n",
        SHOWN[last],
        ratio(&distances[3..]),
        distances[0].floor / distances[1].floor,
        GROWING.map(|n| n.to_string()).join(", "),
        growing.join(", "),
        growing[growing.len() - 1],
    )
}
