//! Laplace and Student-t distributions against SciPy and the equations of their maxima.

use super::peer;
use crate::support::{KOLMOGOROV, close, kolmogorov, within};
use statrs::distribution::{ContinuousCDF, Laplace as Exact, StudentsT};
use tweedie::density::fit::{Distribution, Laplace, Points, StudentT};
use tweedie::{Draws, Error};

const COLUMNS: [&str; 5] = ["heavy", "cauchy", "normal", "uniform", "rounded"];

fn column(name: &str) -> Points {
    Points::new(peer(&format!("/single/{name}/values")), 1).unwrap()
}

fn likelihood(density: &dyn Distribution, points: &Points) -> f64 {
    density.log_densities(points.values()).iter().sum()
}

#[test]
fn laplace_columns_are_scipy_s() {
    for name in COLUMNS {
        let points = column(name);
        let laplace = Laplace::fit(&points).unwrap();
        let [location, scale]: [f64; 2] = peer(&format!("/single/{name}/laplace/fit"));
        close(format!("{name}: location"), laplace.locations()[0], location, 1e-12);
        close(format!("{name}: scale"), laplace.scales()[0], scale, 1e-12);
        let theirs = peer(&format!("/single/{name}/laplace/likelihood"));
        close(format!("{name}: likelihood"), likelihood(&laplace, &points), theirs, 1e-12);
    }
}

#[test]
fn student_t_columns_are_at_least_as_likely_as_scipy_s() {
    for name in COLUMNS {
        let points = column(name);
        let t = StudentT::fit(&points).unwrap();
        let (ours, theirs) =
            (likelihood(&t, &points), peer::<f64>(&format!("/single/{name}/t/likelihood")));
        assert!(ours >= theirs - 1e-6 * theirs.abs(), "{name}: {ours}, SciPy {theirs}");
        let [degrees, location, scale]: [f64; 3] = peer(&format!("/single/{name}/t/fit"));
        // SciPy's simplex stops at a relative 1e-4 or so.
        within(format!("{name}: location"), t.locations()[0], location, 1e-3 * scale);
        close(format!("{name}: scale"), t.scales()[0], scale, 1e-3);
        if degrees < 100.0 {
            close(format!("{name}: degrees of freedom"), t.degrees()[0], degrees, 1e-3);
        } else {
            assert_eq!(t.degrees()[0], 1e8, "{name} is lighter than a Gaussian");
        }
    }
}

/// The derivatives of the likelihood by location, ln scale and ln ν are 0, by central differences.
#[test]
fn student_t_columns_solve_the_equations_of_the_maximum() {
    for name in ["heavy", "cauchy", "rounded"] {
        let points = column(name);
        let t = StudentT::fit(&points).unwrap();
        let at = |moved: [f64; 3]| {
            let (s, nu) = (t.scales()[0], t.degrees()[0]);
            let location = t.locations()[0] + s * moved[0];
            let t =
                StudentT::new(vec![location], vec![s * moved[1].exp()], vec![nu * moved[2].exp()]);
            likelihood(&t.unwrap(), &points) / points.len() as f64
        };
        for part in 0..3 {
            let slope = crate::support::difference(
                |h| {
                    let mut moved = [0.0; 3];
                    moved[part] = h;
                    at(moved)
                },
                0.0,
                1e-3,
            );
            within(format!("{name}, parameter {part}"), slope, 0.0, 1e-8);
        }
    }
}

#[test]
fn student_t_densities_are_scipy_s() {
    for [nu, x, log_density] in peer::<Vec<[f64; 3]>>("/t_log_densities") {
        let t = StudentT::new(vec![0.5], vec![2.0], vec![nu]).unwrap();
        close(format!("ν = {nu}, x = {x}"), t.log_density(&[x]), log_density, 1e-9);
    }
}

/// Small degrees of freedom would shrink onto the equal values.
#[test]
fn equal_values_bound_the_degrees_of_freedom() {
    let spike = |equal: usize, others: usize| {
        let noise = Draws::new(2);
        let values = (0..others as u64).map(|i| noise.normal_f64(i, 0)).chain(vec![0.25; equal]);
        StudentT::fit(&Points::new(values.collect(), 1).unwrap())
    };
    for (equal, others) in [(50, 50), (90, 10), (999, 1)] {
        let t = spike(equal, others).unwrap();
        let least = 2.0 * equal as f64 / others as f64;
        assert!(t.degrees()[0] >= least && t.scales()[0] > 0.0, "{equal} of {}", equal + others);
        assert!(t.log_density(&[0.25]).is_finite());
    }
    assert!(matches!(spike(10, 0), Err(Error::Undefined { .. })));
    let flat = Points::new(vec![0.1; 30], 1).unwrap();
    assert!(matches!(Laplace::fit(&flat), Err(Error::Undefined { .. })));
    assert!(matches!(StudentT::new(vec![0.0], vec![1.0], vec![0.0]), Err(Error::Config { .. })));
    assert!(matches!(StudentT::new(vec![0.0], vec![1.0], vec![]), Err(Error::Shape { .. })));
    assert!(matches!(Laplace::new(vec![0.0], vec![-1.0]), Err(Error::Config { .. })));
    assert!(matches!(Laplace::new(vec![0.0], vec![]), Err(Error::Shape { .. })));
}

#[test]
fn samples_have_the_distribution() {
    let n = 20_000;
    for nu in [0.3, 1.0, 3.0, 50.0, 1e6] {
        let t = StudentT::new(vec![-1.0], vec![2.0], vec![nu]).unwrap();
        let exact = StudentsT::new(-1.0, 2.0, nu).unwrap();
        let distance = kolmogorov(&t.samples(&Draws::new(5), 0..n), |x| exact.cdf(x));
        assert!(distance * (n as f64).sqrt() < KOLMOGOROV, "ν = {nu}: {distance}");
    }
    let laplace = Laplace::new(vec![0.5], vec![3.0]).unwrap();
    let exact = Exact::new(0.5, 3.0).unwrap();
    let distance = kolmogorov(&laplace.samples(&Draws::new(6), 0..n), |x| exact.cdf(x));
    assert!(distance * (n as f64).sqrt() < KOLMOGOROV, "Laplace: {distance}");
}
