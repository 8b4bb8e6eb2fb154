//! The density of Gaussian noise around a curve: p(x) = ∫ N(x; c(u), σ²I) du, averaged over classes.
//!
//! Gauss–Legendre quadrature with 16 nodes on panels no longer than σ. On a panel the integrand is, up to
//! curvature, the exponential of a quadratic with slope at most (distance/σ) per panel, which 16 nodes integrate
//! to 1e-11 at a distance of 20 σ.

use super::Toy;
use std::f64::consts::PI;
use std::sync::OnceLock;

/// The number of nodes on a panel.
const NODES: usize = 16;
/// Terms below e⁻⁴⁰ of the greatest are neglected.
const NEGLIGIBLE: f64 = 40.0;

/// ln p(x) and its gradient Σ r_i (c_i − x)/σ² over the nodes c_i with their shares r_i of p(x), for toys of a curve
/// with Gaussian noise.
pub(super) fn with_score(toy: Toy, [x, y]: [f64; 2]) -> (f64, [f64; 2]) {
    static CURVES: [OnceLock<Vec<Node>>; Toy::ALL.len()] =
        [const { OnceLock::new() }; Toy::ALL.len()];
    let nodes = CURVES[toy as usize].get_or_init(|| nodes(toy));
    let variance = toy.thickness().powi(2);
    let energy = |node: &Node| ((x - node.x).powi(2) + (y - node.y).powi(2)) / (2.0 * variance);
    let least = nodes.iter().map(energy).fold(f64::INFINITY, f64::min);
    let (mut total, mut pull) = (0.0, [0.0; 2]);
    for node in nodes {
        let excess = energy(node) - least;
        if excess < NEGLIGIBLE {
            let term = node.weight * (-excess).exp();
            total += term;
            pull[0] += term * (node.x - x);
            pull[1] += term * (node.y - y);
        }
    }
    let log_p = total.ln() - least - (2.0 * PI * variance).ln();
    (log_p, pull.map(|pull| pull / (total * variance)))
}

/// A point of a curve with its share of the probability.
struct Node {
    x: f64,
    y: f64,
    weight: f64,
}

fn nodes(toy: Toy) -> Vec<Node> {
    let classes = toy.class_count().max(1);
    let panels = panels(toy);
    let rule = legendre_rule();
    let mut nodes = Vec::with_capacity(panels * NODES * classes as usize);
    for class in 0..classes {
        for panel in 0..panels {
            for &(z, weight) in &rule {
                let (u, density) = parameter(toy, (panel as f64 + 0.5 + 0.5 * z) / panels as f64);
                let [x, y] = toy.spine(class, u);
                let weight = 0.5 * weight * density / (panels as f64 * classes as f64);
                nodes.push(Node { x, y, weight });
            }
        }
    }
    nodes
}

/// The curve's parameter u at s ∈ [0, 1], and du/ds; s is such that the curve is smooth in it.
fn parameter(toy: Toy, s: f64) -> (f64, f64) {
    if toy == Toy::Spirals { (s * s, 2.0 * s) } else { (s, 1.0) }
}

/// The number of equal panels in s of length at most σ; even, so that the middle of the S-curve is a border.
fn panels(toy: Toy) -> usize {
    const STEPS: usize = 4096;
    let point = |i: usize| toy.spine(0, parameter(toy, i as f64 / STEPS as f64).0);
    let longest = (0..STEPS)
        .map(|i| {
            let (a, b) = (point(i), point(i + 1));
            (a[0] - b[0]).hypot(a[1] - b[1])
        })
        .fold(0.0, f64::max);
    2 * (longest * STEPS as f64 / toy.thickness() / 2.0).ceil() as usize
}

/// Nodes and weights on [−1, 1]: the zeros of the Legendre polynomial by Newton's method.
fn legendre_rule() -> [(f64, f64); NODES] {
    std::array::from_fn(|i| {
        let mut z = (PI * (i as f64 + 0.75) / (NODES as f64 + 0.5)).cos();
        for _ in 0..8 {
            let (value, slope) = legendre(z);
            z -= value / slope;
        }
        let slope = legendre(z).1;
        (z, 2.0 / ((1.0 - z * z) * slope * slope))
    })
}

/// The Legendre polynomial of degree [`NODES`] and its derivative at |z| < 1.
fn legendre(z: f64) -> (f64, f64) {
    let (mut last, mut value) = (1.0, z);
    for n in 1..NODES {
        let n = n as f64;
        (last, value) = (value, ((2.0 * n + 1.0) * z * value - n * last) / (n + 1.0));
    }
    (value, NODES as f64 * (z * value - last) / (z * z - 1.0))
}
