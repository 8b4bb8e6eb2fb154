//! The gap between log p and its bounds, of models in which all of them are known (*An Introduction to Generative
//! Modeling with Flows and Diffusion Models*, sec. 2.5.2, eqs. 2.26–2.28, figure 2.7, and eq. 3.7).
//!
//! In the plane, x = W z + ε with z ~ N(0, I) and ε ~ N(0, s² I) has p(z|x) = N(Λ⁻¹ Wᵀ x/s², Λ⁻¹), Λ = I + WᵀW/s². For
//! q(z|x) = N(V x, S) and data with mean 0 and covariance C, every expectation is a trace:
//!
//! > E log p(x)  = −½ (2 ln 2π + ln det Σ + tr Σ⁻¹C),  Σ = W Wᵀ + s² I
//! > E ELBO      = −½ (2 ln 2πs² + tr (I − WV) C (I − WV)ᵀ/s² + tr W S Wᵀ/s² + tr V C Vᵀ + tr S − ln det S − 2)
//! > E KL(q ‖ p) = ½ (tr ΛS − 2 − ln det ΛS + tr Λ (V − M) C (V − M)ᵀ),  M = Λ⁻¹ Wᵀ/s².
//!
//! The best q with a diagonal S has V = M and S = diag(1/Λ₁₁, 1/Λ₂₂). Its gap is −½ ln(1 − ρ²), ρ = Λ₁₂/√(Λ₁₁Λ₂₂), and
//! its weights are p(x) √(1 − ρ²) exp(−ρ v₁v₂) with v ~ N(0, I) (Lucas, Tucker, Grosse & Norouzi 2019, *Don't blame the
//! ELBO!*, for W that is free).
//!
//! On the line, x = g(z) + σ ε with g = F⁻¹(Φ) has the density of the data with distribution function F, blurred by σ.

use super::{Lesson, for_machines, greatest, table};
use crate::density::fit::{Covariance, Distribution, Mixture};
use crate::draw::{Plot, panels};
use crate::tensor::{below_normal, mean_and_error};
use crate::{Draws, Result};
use serde::Serialize;
use std::f64::consts::{FRAC_PI_4, PI, TAU};

/// A matrix of the plane.
pub type Matrix = [[f64; 2]; 2];

/// The variance s² of the noise, and the θ of the data.
const NOISE: f64 = 0.5;
const TRUTH: f64 = 0.8;
/// The θ whose posteriors are held fixed, and the range of θ.
const HELD: [f64; 2] = [0.2, 1.2];
const RANGE: (f64, f64) = (0.0, 1.6);
/// Numbers of weights, and repetitions of their mean, in blocks.
const WEIGHTS: [usize; 3] = [1, 5, 50];
const REPETITIONS: u64 = 20_000;
const BLOCKS: usize = 20;
/// Rounds of steps in turn, and where they begin.
const ROUNDS: [usize; 5] = [1, 4, 16, 64, 256];
/// The noise σ of decoders of any shape.
const SIGMAS: [f64; 6] = [0.8, 0.4, 0.2, 0.1, 0.05, 0.025];
/// Points of a curve, of an integral by x and of one by z.
const CURVE: usize = 161;
const NODES: usize = 400;
const INNER: usize = 61;

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    [0, 1].map(|i| [0, 1].map(|j| a[i][0] * b[0][j] + a[i][1] * b[1][j]))
}

fn transposed(a: &Matrix) -> Matrix {
    [[a[0][0], a[1][0]], [a[0][1], a[1][1]]]
}

fn scaled(a: &Matrix, c: f64) -> Matrix {
    a.map(|row| row.map(|x| c * x))
}

/// A + c I.
fn shifted(a: &Matrix, c: f64) -> Matrix {
    [[a[0][0] + c, a[0][1]], [a[1][0], a[1][1] + c]]
}

fn determinant(a: &Matrix) -> f64 {
    a[0][0] * a[1][1] - a[0][1] * a[1][0]
}

fn inverse(a: &Matrix) -> Matrix {
    scaled(&[[a[1][1], -a[0][1]], [-a[1][0], a[0][0]]], determinant(a).recip())
}

fn trace(a: &Matrix) -> f64 {
    a[0][0] + a[1][1]
}

/// A C Aᵀ.
fn carried(a: &Matrix, c: &Matrix) -> Matrix {
    product(&product(a, c), &transposed(a))
}

/// The model x = W z + ε of the plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearModel {
    /// W.
    pub map: Matrix,
    /// s², the variance of ε.
    pub noise: f64,
}

/// q(z|x) = N(V x, S).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearPosterior {
    /// V.
    pub map: Matrix,
    /// S.
    pub covariance: Matrix,
}

impl LinearModel {
    /// W = [[1, θ], [θ, 1]] R, with the rotation R by `angle` of z, which log p does not depend on.
    pub fn coupled(theta: f64, angle: f64, noise: f64) -> Self {
        let (sin, cos) = angle.sin_cos();
        Self { map: product(&[[1.0, theta], [theta, 1.0]], &[[cos, -sin], [sin, cos]]), noise }
    }

    /// Σ, the covariance of x.
    pub fn covariance(&self) -> Matrix {
        shifted(&product(&self.map, &transposed(&self.map)), self.noise)
    }

    /// Λ, the precision of the posterior.
    pub fn precision(&self) -> Matrix {
        let square = product(&transposed(&self.map), &self.map);
        shifted(&scaled(&square, self.noise.recip()), 1.0)
    }

    /// p(z|x).
    pub fn posterior(&self) -> LinearPosterior {
        let covariance = inverse(&self.precision());
        let map = scaled(&product(&covariance, &transposed(&self.map)), self.noise.recip());
        LinearPosterior { map, covariance }
    }

    /// The q of the greatest bound among those with a diagonal covariance.
    pub fn mean_field(&self) -> LinearPosterior {
        let precision = self.precision();
        let covariance = [[precision[0][0].recip(), 0.0], [0.0, precision[1][1].recip()]];
        LinearPosterior { covariance, ..self.posterior() }
    }

    /// E log p(x) over data with mean 0 and covariance `data`.
    pub fn log_likelihood(&self, data: &Matrix) -> f64 {
        let own = self.covariance();
        let fit = trace(&product(&inverse(&own), data));
        -0.5 * (2.0 * TAU.ln() + determinant(&own).ln() + fit)
    }

    /// The mean evidence lower bound over data with mean 0 and covariance `data`.
    pub fn elbo(&self, q: &LinearPosterior, data: &Matrix) -> f64 {
        let missed = shifted(&scaled(&product(&self.map, &q.map), -1.0), 1.0);
        let rest = trace(&carried(&missed, data)) + trace(&carried(&self.map, &q.covariance));
        let prior = trace(&carried(&q.map, data)) + trace(&q.covariance);
        let entropy = determinant(&q.covariance).ln() + 2.0;
        -0.5 * (2.0 * (TAU * self.noise).ln() + rest / self.noise + prior - entropy)
    }

    /// The mean KL(q(z|x) ‖ p(z|x)) over data with mean 0 and covariance `data`.
    pub fn gap(&self, q: &LinearPosterior, data: &Matrix) -> f64 {
        let (precision, own) = (self.precision(), self.posterior());
        let ratio = product(&precision, &q.covariance);
        let off = [0, 1].map(|i| [0, 1].map(|j| q.map[i][j] - own.map[i][j]));
        let apart = trace(&product(&precision, &carried(&off, data)));
        0.5 * (trace(&ratio) - 2.0 - determinant(&ratio).ln() + apart)
    }

    /// ρ, by which the posterior's precision is not diagonal.
    pub fn correlation(&self) -> f64 {
        let precision = self.precision();
        precision[0][1] / (precision[0][0] * precision[1][1]).sqrt()
    }
}

/// Repetitions of the products v₁v₂ of `k` pairs of normal numbers.
pub struct Pairs {
    k: usize,
    products: Vec<f64>,
}

impl Pairs {
    /// `repetitions` of `k` pairs.
    pub fn new(k: usize, repetitions: u64, draws: &Draws) -> Self {
        let rows = draws.at(k as u64).normals(0..repetitions, 2 * k);
        let pairs = rows.values().chunks_exact(2);
        Self { k, products: pairs.map(|v| f64::from(v[0]) * f64::from(v[1])).collect() }
    }

    /// The gap between log p and the bound by k weights in each repetition, for the best diagonal q where the posterior
    /// has the correlation ρ: −½ ln(1 − ρ²) − ln (1/k) Σ exp(−ρ v₁v₂), less ρ times the mean product, whose mean is 0.
    pub fn gaps(&self, rho: f64) -> Vec<f64> {
        let k = self.k as f64;
        let of = |products: &[f64]| {
            let mean = products.iter().map(|v| (-rho * v).exp()).sum::<f64>() / k;
            let control = rho * products.iter().sum::<f64>() / k;
            -0.5 * (-rho * rho).ln_1p() - mean.ln() - control
        };
        self.products.chunks_exact(self.k).map(of).collect()
    }

    /// One part of `parts`.
    fn part(&self, at: usize, parts: usize) -> Self {
        let size = self.products.len() / parts / self.k * self.k;
        Self { k: self.k, products: self.products[at * size..(at + 1) * size].to_vec() }
    }
}

/// Where an objective is greatest, and what is lost there.
#[derive(Debug, Clone, Serialize)]
struct Optimum {
    objective: String,
    theta: f64,
    /// The standard error of θ, where the objective is drawn.
    error: Option<f64>,
    /// KL(data ‖ model).
    kl: f64,
    /// log p less the objective at θ and at the data's θ.
    gap: [f64; 2],
}

/// θ after rounds of steps in turn.
#[derive(Debug, Serialize)]
struct Turns {
    q: &'static str,
    theta: Vec<f64>,
    /// The change of the mean log p and of the bound in one round from the data's θ.
    change: [f64; 2],
}

/// A decoder of any shape with noise σ.
#[derive(Debug, Clone, Copy, Serialize)]
struct Blurred {
    sigma: f64,
    kl: f64,
    gap: f64,
}

/// All numbers.
#[derive(Debug, Serialize)]
struct Figures {
    optima: Vec<Optimum>,
    turns: Vec<Turns>,
    blurred: Vec<Blurred>,
}

/// The model at θ with its z as they are.
fn at(theta: f64) -> LinearModel {
    LinearModel::coupled(theta, 0.0, NOISE)
}

/// The covariance of the data.
fn data() -> Matrix {
    at(TRUTH).covariance()
}

/// An objective by θ.
type Objective<'a> = (String, Box<dyn Fn(f64) -> f64 + 'a>);

/// log p, its bounds by the best and by fixed q.
fn objectives() -> Vec<Objective<'static>> {
    let held = HELD.map(|theta| {
        let (q, name) =
            (at(theta).mean_field(), format!("ELBO, q held at its best for θ = {theta}"));
        let of = move |theta| at(theta).elbo(&q, &data());
        (name, Box::new(of) as Box<dyn Fn(f64) -> f64>)
    });
    let best = |theta| at(theta).elbo(&at(theta).mean_field(), &data());
    let mut all: Vec<Objective> = vec![
        ("log p".into(), Box::new(|theta| at(theta).log_likelihood(&data()))),
        ("ELBO, best diagonal q for each θ".into(), Box::new(best)),
    ];
    all.extend(held);
    all
}

/// The bound by the mean of some weights.
fn weighted(pairs: &Pairs) -> impl Fn(f64) -> f64 {
    |theta| {
        let gaps = pairs.gaps(at(theta).correlation());
        at(theta).log_likelihood(&data()) - gaps.iter().sum::<f64>() / gaps.len() as f64
    }
}

fn optimum(name: &str, objective: &dyn Fn(f64) -> f64) -> Optimum {
    let (low, high) = RANGE;
    let theta = greatest(low, high, objective);
    let log_p = |theta: f64| at(theta).log_likelihood(&data());
    let gap = [theta, TRUTH].map(|theta| log_p(theta) - objective(theta));
    let kl = log_p(TRUTH) - log_p(theta);
    Optimum { objective: name.to_string(), theta, error: None, kl, gap }
}

/// The optimum of the bound by k weights, with the error of its θ by blocks of repetitions.
fn weighted_optimum(pairs: &Pairs) -> Optimum {
    let found = optimum(&format!("bound by {} weights", pairs.k), &weighted(pairs));
    let (low, high) = RANGE;
    let of = |block| greatest(low, high, weighted(&pairs.part(block, BLOCKS)));
    let (_, error) = mean_and_error(&(0..BLOCKS).map(of).collect::<Vec<f64>>());
    Optimum { error: Some(error), ..found }
}

/// Steps in turn: the best q for θ, then the best θ for q.
fn turns(q: &'static str, best: fn(&LinearModel) -> LinearPosterior) -> Turns {
    let (low, high) = RANGE;
    let round = |theta: f64| {
        let q = best(&at(theta));
        greatest(low, high, |theta| at(theta).elbo(&q, &data()))
    };
    let mut path = vec![HELD[1]];
    for k in 0..ROUNDS[ROUNDS.len() - 1] {
        path.push(round(path[k]));
    }
    let next = round(TRUTH);
    let log_p = |theta: f64| at(theta).log_likelihood(&data());
    let bound = |theta: f64| at(theta).elbo(&best(&at(theta)), &data());
    let change = [log_p(next) - log_p(TRUTH), bound(next) - bound(TRUTH)];
    Turns { q, theta: ROUNDS.map(|k| path[k]).to_vec(), change }
}

/// KL(data ‖ p) and the mean gap of x = F⁻¹(Φ(z)) + σ ε, with q(z|x) = N(m, 1/(1 + g′(m)²/σ²)) at g(m) = x.
fn blurred(sigma: f64) -> Result<Blurred> {
    // Even about 0, so that both tails are exact by the lower one.
    let law = |variance: f64| {
        let (weights, means) = (vec![0.5, 0.5], vec![-1.0, 1.0]);
        Mixture::new(Covariance::Spherical, weights, means, vec![variance; 2], 1)
    };
    let (sharp, soft) = (law(0.25)?, law(0.25 + sigma * sigma)?);
    let decoded = |z: f64| Ok(-sharp.quantile(below_normal(-z.abs()))? * z.signum());
    let log_normal = |x: f64, s: f64| -0.5 * (x / s).powi(2) - (s * TAU.sqrt()).ln();
    let step = 10.0 / NODES as f64;
    let (mut kl, mut bound) = (0.0, 0.0);
    for i in 0..NODES {
        // An integral by the data is one by N(0, 1) of m.
        let m = -5.0 + (i as f64 + 0.5) * step;
        let (x, mass) = (decoded(m)?, log_normal(m, 1.0).exp() * step);
        let log_p = sharp.log_density(&[x]);
        let slope = (log_normal(m, 1.0) - log_p).exp();
        let s = (1.0 + (slope / sigma).powi(2)).recip().sqrt();
        kl += mass * (log_p - soft.log_density(&[x]));
        for j in 0..INNER {
            let u = 12.0 * (j as f64 / (INNER - 1) as f64 - 0.5);
            let z = m + s * u;
            let inside =
                log_normal(x - decoded(z)?, sigma) + log_normal(z, 1.0) - log_normal(z - m, s);
            let weight = log_normal(u, 1.0).exp() * 12.0 / (INNER - 1) as f64;
            bound += mass * weight * (soft.log_density(&[x]) - inside);
        }
    }
    Ok(Blurred { sigma, kl, gap: bound })
}

/// A page on the gap between log p and its bounds.
///
/// # Errors
/// Errors of drawing.
pub fn gap() -> Result<Lesson> {
    let pairs = WEIGHTS.map(|k| Pairs::new(k, REPETITIONS, &Draws::new(1)));
    let named = objectives();
    let mut optima: Vec<Optimum> = named.iter().map(|(name, of)| optimum(name, of)).collect();
    optima.extend(pairs[1..].iter().map(weighted_optimum));
    let turns = vec![
        turns("any covariance", LinearModel::posterior),
        turns("diagonal", LinearModel::mean_field),
    ];
    let blurred = SIGMAS.iter().map(|sigma| blurred(*sigma)).collect::<Result<Vec<_>>>()?;
    let pictures = vec![
        ("gap-landscape.png".into(), landscape(&named, &optima)?),
        ("gap-closed.png".into(), closed(&named[0].1, &pairs, &optima, &blurred)?),
    ];
    let figures = Figures { optima, turns, blurred };
    Ok(Lesson { text: text(&figures), pictures, figures: for_machines(&figures)? })
}

/// A curve over an interval.
fn curve((low, high): (f64, f64), of: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let x = |i: usize| low + (high - low) * i as f64 / (CURVE - 1) as f64;
    (0..CURVE).map(|i| (x(i), of(x(i)))).collect()
}

/// Figure 2.7, computed: curves with the places where they are greatest.
fn landscape(named: &[Objective], optima: &[Optimum]) -> Result<image::RgbImage> {
    let plot = Plot::new("log p and its bounds, mean over the data, by the model's θ");
    let plot = plot.x_name("θ").y_name("nats").y_range(-4.6, -3.0);
    let mut plot = plot;
    for (name, of) in named {
        plot = plot.line(name, &curve(RANGE, of));
    }
    let best = named.iter().zip(optima).map(|((_, of), best)| (best.theta, of(best.theta)));
    plot.points("greatest", &best.collect::<Vec<_>>()).draw()
}

/// Three ways in which the gap closes.
fn closed(
    log_p: &dyn Fn(f64) -> f64,
    pairs: &[Pairs],
    optima: &[Optimum],
    blurred: &[Blurred],
) -> Result<image::RgbImage> {
    let mut more = Plot::new("More weights").size(820, 680).x_name("θ").y_name("nats");
    more = more.y_range(-3.7, -3.1).line("log p", &curve(RANGE, log_p));
    for pairs in pairs {
        more = more.line(&format!("k = {}", pairs.k), &curve(RANGE, weighted(pairs)));
    }
    let drawn = [&optima[1], &optima[4], &optima[5]];
    let best = drawn.into_iter().zip(pairs).map(|(best, pairs)| weighted(pairs)(best.theta));
    let mut best: Vec<(f64, f64)> = drawn.iter().map(|best| best.theta).zip(best).collect();
    best.push((optima[0].theta, log_p(optima[0].theta)));
    more = more.points("greatest", &best);
    let turned = |angle: f64| {
        let model = LinearModel::coupled(TRUTH, angle * PI / 180.0, NOISE);
        model.elbo(&model.mean_field(), &data())
    };
    let turn = Plot::new("z turned at θ = 0.8").size(820, 680).x_name("degrees").y_name("nats");
    let turn = turn.line("log p", &curve((0.0, 90.0), |_| log_p(TRUTH)));
    let turn = turn.line("ELBO, best diagonal q", &curve((0.0, 90.0), turned));
    let line = |of: fn(&Blurred) -> f64| -> Vec<(f64, f64)> {
        blurred.iter().map(|blurred| (blurred.sigma, of(blurred))).collect()
    };
    let any = Plot::new("Any decoder, noise σ").size(820, 680).x_name("σ").y_name("nats");
    let any = any.log_x().log_y().line("KL(data ‖ p)", &line(|blurred| blurred.kl));
    panels(&[more, turn, any.line("gap, Gaussian q", &line(|blurred| blurred.gap))], 3)
}

/// The page in Markdown.
fn text(Figures { optima, turns, blurred }: &Figures) -> String {
    let optimum = |optimum: &Optimum| {
        let error = optimum.error.map_or(String::new(), |error| format!(" ± {error:.4}"));
        let [there, truth] = optimum.gap;
        vec![
            optimum.objective.clone(),
            format!("{:.4}{error}", optimum.theta),
            format!("{:.4}", optimum.kl.abs()),
            format!("{:.4}", there.abs()),
            format!("{:.4}", truth.abs()),
        ]
    };
    let turn = |turns: &Turns| {
        let first = [turns.q.to_string()];
        first.into_iter().chain(turns.theta.iter().map(|theta| format!("{theta:.4}"))).collect()
    };
    let blur = |blurred: &Blurred| {
        let Blurred { sigma, kl, gap } = blurred;
        vec![sigma.to_string(), format!("{kl:.5}"), format!("{gap:.5}")]
    };
    let headings =
        ["objective", "greatest at θ", "KL(data ‖ p) there", "gap there", "gap at θ = 0.8"];
    let optima_table = table(&headings, &optima.iter().map(optimum).collect::<Vec<_>>());
    let rounds = ROUNDS.map(|k| if k == 1 { "1 round".into() } else { format!("{k} rounds") });
    let mut headings = vec!["q"];
    headings.extend(rounds.iter().map(String::as_str));
    let turns_table = table(&headings, &turns.iter().map(turn).collect::<Vec<_>>());
    let headings = ["σ", "KL(data ‖ p)", "gap"];
    let blurred_table = table(&headings, &blurred.iter().map(blur).collect::<Vec<_>>());
    let narrow = LinearModel::coupled(TRUTH, FRAC_PI_4, NOISE);
    let [fall, rise] = turns[1].change;
    let wide = 0.5 * (0.25 - 1.0 - 0.25f64.ln());
    format!(
        "# The gap below log p\n\nWritten by `tweedie reproduce gap`, in seconds and without training. The text draws \
         an imaginary landscape of log p and its bounds (figure 2.7). Here is one that is computed: rows x = W z + ε \
         of the plane, z ~ N(0, I), ε ~ N(0, ½ I), W with ones on its diagonal and θ beside it. The data are the \
         model at θ = {TRUTH}. The posterior p(z|x) is Gaussian with a covariance that is not diagonal; q(z|x) has a \
         diagonal one.\n\n![log p and three bounds against θ, their greatest values \
         marked](images/gap-landscape.png)\n\n{optima_table}\nBounds are greatest elsewhere than log p; that by the \
         best diagonal q is greatest at a smaller θ, at which the two z are less correlated given x. Each q that is \
         held fixed gives a bound that touches the one by the best diagonal q at its own θ, and lies below it \
         elsewhere; none touches log p, which only p(z|x) itself does. A bound that is higher is not a better \
         objective: q held at its best for θ = {} gives a lower bound and a better model than the best q. The gap is \
         KL(q ‖ p(z|x)) by a closed form of its own, and log p less the bound. Drawing k z from q and averaging their \
         weights narrows the gap, and the optimum moves towards that of log p (errors are of {REPETITIONS} draws of \
         k). Where a q of any covariance is allowed, the bound is log p, and so is its optimum.\n\n![Bounds by more \
         weights; bounds by the rotation of z; gap and divergence of decoders of any \
         shape](images/gap-closed.png)\n\n## Where the text is wrong, or says too much\n\n**\"Maximizing ℰ for each x \
         (and its expected value) guarantees improvement in the original target\"** (after 2.27). It does not. One \
         round of steps from the data's own θ, the best diagonal q and then the best θ for it, raises the bound by \
         {rise:.4} and lowers the mean log p by {:.4}. Rounds in turn from θ = {} end at the optimum of their bound; \
         that is the optimum of log p for a q that can be p(z|x), as in EM:\n\n{turns_table}\n**\"Even if a model is \
         a universal approximator, the learned model via maximizing ELBOs can deviate from the optimal θ*\"** (figure \
         2.7). That holds for a family in which the posterior is what θ makes it, as above. A decoder that is free \
         can instead choose, among all decoders with the same p(x), one whose posterior q can be. Here p(x) stays as \
         it is if z is turned first, and at 45° the posterior is diagonal: the gap at θ = {TRUTH} falls from {:.4} to \
         {:.4}, and the bound's optimum over θ and angle is that of log p (middle picture). On the line, with g any \
         function, x = g(z) + σ ε and a Gaussian q, both the divergence from the data, two Gaussians, and the gap go \
         to 0 with σ (right picture):\n\n{blurred_table}\nSo the supremum of the bound over this family is that of \
         log p, −H(data): nothing about a bound as such keeps a universal model from the data.\n\n**\"A VAE can be \
         viewed as an infinite Gaussian mixture model, which serves as a universal density approximator\"** (after \
         2.28). Only with σ free. With σ held, p(x) is a blurred distribution, whose variance is at least σ². For \
         data N(0, ½²) and σ = 1 no decoder does better than a constant one, with KL {wide:.4}: for p = N(0, 1), \
         E[N(x; μ, 1)/p(x)] = exp(−⅜ μ²) ≤ 1 at every μ, and KL is convex in the mixture.\n\n**\"q can be freely \
         chosen as long as q(z|x) ≪ p(z)\"** (after 2.26). That condition keeps the bound above −∞; the inequality \
         holds without it. What (2.26) uses in its second line, and what weights need to close the gap, is the other \
         direction, p(z|x) ≪ q. For q the posterior cut off at half of its mass, q ≪ p(z) holds, every weight is \
         p(x)/2, and the bound stays ln 2 = {:.4} below log p for every number of weights.\n\n**What (2.28) does \
         say**: the gap is of the q at hand. It vanishes exactly where q is p(z|x), for almost every z, and no bound \
         is above log p.\n",
        HELD[1],
        -fall,
        HELD[1],
        at(TRUTH).gap(&at(TRUTH).mean_field(), &data()),
        narrow.gap(&narrow.mean_field(), &data()).abs(),
        std::f64::consts::LN_2,
    )
}
