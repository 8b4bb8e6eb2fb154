//! The toys' densities: each integrates to 1, and the mean log-density of samples is the integral of p ln p.

use crate::data::{Toy, toy};
use std::f64::consts::{PI, SQRT_2};

/// Points and weights of a quadrature over the plane, fine enough for the toy: the midpoint rule, whose error
/// for a Gaussian of standard deviation σ is about 2 exp(−2π²σ²/h²) at spacing h.
fn quadrature(toy: Toy) -> Vec<([f64; 2], f64)> {
    let (half, spacing) = match toy {
        Toy::MoonsTorchcfm => return diagonal_quadrature(),
        Toy::EightGaussians => (9.0, 0.3),
        Toy::Moons => (9.0, 0.3),
        Toy::Checkerboard => (4.0, 0.5),
        Toy::SwissRoll => (4.5, 0.12),
        Toy::Spirals => (4.0, 0.06),
        Toy::Pinwheel => (6.0, 0.02),
        Toy::SCurve => (4.0, 0.05),
    };
    let count = (2.0 * half / spacing) as usize;
    let at = |i: usize| -half + (i as f64 + 0.5) * spacing;
    (0..count * count).map(|i| ([at(i % count), at(i / count)], spacing * spacing)).collect()
}

/// Midpoints in a = y₁ − y₂ and b = y₁ + y₂, dy = ½ da db, where the density is singular at a = ±√2 and
/// a = ½ ± √2: between these a = mid + half sin φ, which the singularity cannot reach.
fn diagonal_quadrature() -> Vec<([f64; 2], f64)> {
    let borders = [-SQRT_2, 0.5 - SQRT_2, SQRT_2, 0.5 + SQRT_2];
    let (rings, columns) = (400, 3000);
    let mut points = Vec::new();
    for ends in borders.windows(2) {
        let (mid, half) = ((ends[0] + ends[1]) / 2.0, (ends[1] - ends[0]) / 2.0);
        for i in 0..rings {
            let phi = PI * ((i as f64 + 0.5) / rings as f64 - 0.5);
            let a = mid + half * phi.sin();
            for j in 0..columns {
                let b = -2.0 + 5.0 * (j as f64 + 0.5) / columns as f64;
                let weight = 0.5 * half * phi.cos() * PI / rings as f64 * 5.0 / columns as f64;
                let y = [(a + b) / 2.0, (b - a) / 2.0];
                points.push((y.map(|y| 3.0 * y - 1.0), 9.0 * weight));
            }
        }
    }
    points
}

#[test]
fn densities_integrate_to_one_and_samples_follow_them() {
    for toy in Toy::ALL {
        let (mut mass, mut negentropy) = (0.0, 0.0);
        for (x, weight) in quadrature(toy) {
            let log_p = toy.log_density(x);
            if log_p.is_finite() {
                mass += weight * log_p.exp();
                negentropy += weight * log_p.exp() * log_p;
            }
        }
        assert!((mass - 1.0).abs() < 1e-3, "{}: {mass}", toy.name());

        let sample = toy.sample(20_000, 1);
        let logs: Vec<f64> =
            sample.iter().map(|x| toy.log_density([f64::from(x[0]), f64::from(x[1])])).collect();
        // Single precision moves a few points on the border of torchcfm's moons out of their support.
        let logs: Vec<f64> = logs.into_iter().filter(|l| l.is_finite()).collect();
        assert!(logs.len() > 19_990, "{}: {}", toy.name(), logs.len());
        let n = logs.len() as f64;
        let mean = logs.iter().sum::<f64>() / n;
        let variance = logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / n;
        // 5 standard errors are missed once in 1.7 million; eight toys with a fixed seed, with 1e-3 for the
        // quadrature (the checkerboard has no variance at all).
        let allowed = 5.0 * (variance / n).sqrt() + 1e-3;
        let away = (mean - negentropy).abs();
        println!(
            "{:15} mass − 1 {:+.1e}, mean log p {mean:.5}, ∫ p ln p {negentropy:.5}, ± {allowed:.5}",
            toy.name(),
            mass - 1.0
        );
        assert!(away < allowed, "{}: {mean} {negentropy} ± {allowed}", toy.name());
    }
}

#[test]
fn eight_gaussians_are_torchcfms() {
    let (centres, variance) = toy::eight_gaussians();
    assert!((variance * variance - 0.1).abs() < 1e-15);
    assert!(centres.iter().all(|c| (c[0].hypot(c[1]) - 5.0).abs() < 1e-12));
    // scipy: logsumexp of the eight multivariate_normal.logpdf([1, 2], centre, sqrt(.1)*eye(2)) − ln 8
    assert!((Toy::EightGaussians.log_density([1.0, 2.0]) - -16.522139353414563).abs() < 1e-9);
    let split = Toy::EightGaussians.split(0..8000, 2).unwrap();
    for k in 0..8 {
        let labels = split.labels().unwrap();
        let own: Vec<usize> = (0..8000).filter(|&i| labels[i] == k).collect();
        // 1000 ± 29.6 each: 5.5 standard errors, eight times: below 4e-7.
        assert!((own.len() as f64 - 1000.0).abs() < 163.0, "{}", own.len());
        for (axis, centre) in centres[k as usize].into_iter().enumerate() {
            let sum: f64 = own.iter().map(|&i| f64::from(split.rows().row(i)[axis])).sum();
            let mean = sum / own.len() as f64;
            // Standard error 0.562/√837 at most; 5.5 of them, 16 times: below 7e-7.
            assert!((mean - centre).abs() < 0.107, "{k} {axis}: {mean} {centre}");
        }
    }
}

/// A toy, a point, and the log-density there.
const SCIPY: [(Toy, [f64; 2], f64); 15] = [
    (Toy::Moons, [0.0, 1.0], -3.898237097488636),
    (Toy::Moons, [3.0, -2.0], -3.4039311211931365),
    (Toy::Moons, [-7.0, 4.0], -35.957887314367674),
    (Toy::SwissRoll, [1.0, 0.5], -2.4118829042928143),
    (Toy::SwissRoll, [-2.5, 0.3], -7.680296766280904),
    (Toy::SwissRoll, [4.0, 3.0], -72.14240079556808),
    (Toy::Spirals, [0.0, 0.0], -3.4341896575481994),
    (Toy::Spirals, [1.0, 1.0], -10.279290746754926),
    (Toy::Spirals, [-2.0, 2.3], -24.14870257910454),
    (Toy::SCurve, [0.0, 0.0], -0.9771657587382792),
    (Toy::SCurve, [1.4, -1.6], -1.7705285720380455),
    (Toy::SCurve, [0.2, 1.0], -91.54630745993688),
    (Toy::MoonsTorchcfm, [1.9, 0.9], -2.743658114663875),
    (Toy::MoonsTorchcfm, [2.0, -2.1], -2.536790864835946),
    (Toy::Pinwheel, [1.3, -0.8], -1.6456416698410057),
];

#[test]
fn densities_agree_with_scipy() {
    // scipy.integrate.quad over the curve's parameter, relative tolerance 1e-13, for the curves; for
    // torchcfm's moons the roots of the arc's equation by brentq and the Jacobian by differences.
    for (toy, x, expected) in SCIPY {
        let found = toy.log_density(x);
        assert!(
            (found - expected).abs() < 1e-8 * expected.abs().max(1.0),
            "{}: {found} {expected}",
            toy.name()
        );
    }
}

#[test]
fn the_checkerboard_has_eight_squares() {
    let inside = |x: f64, y: f64| Toy::Checkerboard.log_density([x, y]).is_finite();
    assert!(inside(1.0, 1.0) && inside(-1.0, -1.0) && inside(-3.0, 1.0) && inside(3.0, 3.0));
    assert!(!inside(1.0, -1.0) && !inside(5.0, 1.0) && !inside(1.0, 3.0) && !inside(-5.0, -5.0));
    let sample = Toy::Checkerboard.sample(5000, 9);
    assert!(sample.iter().all(|x| inside(f64::from(x[0]), f64::from(x[1]))));
}

#[test]
fn the_pinwheel_preserves_area() {
    // det of the warp by central differences at a point between two blades.
    let warp = |f: [f64; 2]| toy::blade(3, f).map(|x| x / 2.0);
    let (h, at) = (1e-5, [0.7, -0.4]);
    let column = |e: [f64; 2]| {
        let [a, b] = [1.0, -1.0].map(|s| warp([at[0] + s * h * e[0], at[1] + s * h * e[1]]));
        [(a[0] - b[0]) / (2.0 * h), (a[1] - b[1]) / (2.0 * h)]
    };
    let ([a, c], [b, d]) = (column([1.0, 0.0]), column([0.0, 1.0]));
    assert!((a * d - b * c - 1.0).abs() < 1e-8);
}

#[test]
fn densities_far_away_are_finite_or_zero() {
    for toy in Toy::ALL {
        for x in [[0.0, 0.0], [1e3, -1e3], [-1e6, 1e6], [1e30, 1e30]] {
            let log_p = toy.log_density(x);
            assert!(!log_p.is_nan() && log_p < 3.0, "{} {x:?}: {log_p}", toy.name());
        }
    }
}

#[test]
fn points_are_addressed() {
    for toy in Toy::ALL {
        let all = toy.split(0..40, 8).unwrap();
        let part = toy.split(30..40, 8).unwrap();
        assert_eq!(part.rows(), &all.rows().slice(30..40));
        assert_eq!(part.labels(), all.labels().map(|l| &l[30..]));
        assert_eq!(all.labels().is_some(), !toy.classes().is_empty());
        assert_ne!(toy.sample(40, 9), *all.rows());
        assert_eq!(toy.name().parse::<Toy>().unwrap(), toy);
        assert_eq!(toy.sample(0, 0).len(), 0);
    }
}
