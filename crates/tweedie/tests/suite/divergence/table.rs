//! The table of f by its definitions, and closed forms between Gaussians.

use super::*;
use FDivergence::*;
use burn::tensor::Tensor;
use std::f64::consts::LN_2;
use tweedie::Error;

#[test]
fn every_f_is_the_one_of_its_divergence() {
    type Function = fn(f64) -> f64;
    let expected: [(FDivergence, Function); 8] = [
        (Kl, |u| u * u.ln() - u + 1.0),
        (ReverseKl, |u| -u.ln() + u - 1.0),
        (JensenShannon, |u| 0.5 * (u * (2.0 * u / (1.0 + u)).ln() + (2.0 / (1.0 + u)).ln())),
        (TotalVariation, |u| 0.5 * (u - 1.0).abs()),
        (Hellinger, |u| 0.5 * (u + 1.0) - u.sqrt()),
        (Pearson, |u| (u - 1.0).powi(2)),
        (Neyman, |u| (1.0 - u).powi(2) / u),
        (Alpha { alpha: 3.0 }, |u| (u.powi(3) - 1.0 - 3.0 * (u - 1.0)) / 6.0),
    ];
    for (f, right) in expected {
        for u in [0.01, 0.5, 1.0, 2.0, 30.0] {
            within(format!("{f:?} at {u}"), f.f(u), right(u), 1e-13 * right(u).max(1.0));
        }
    }
    let maxima = [(JensenShannon, LN_2), (TotalVariation, 1.0), (Hellinger, 1.0)];
    let maxima = maxima.into_iter().chain([(Alpha { alpha: 0.3 }, 1.0 / 0.21)]);
    for (f, most) in maxima {
        close(format!("{f:?}"), f.maximum(), most, 1e-14);
    }
    for f in [Kl, ReverseKl, Pearson, Neyman, Alpha { alpha: 1.5 }] {
        assert_eq!(f.maximum(), f64::INFINITY, "{f:?}");
    }
}

#[test]
fn slope_and_conjugate_belong_to_f() {
    let ratios: Vec<f64> = (-40..=40).map(|k| 0.1 * f64::from(k) + 0.013).collect();
    for f in entries() {
        within(format!("{f:?} at 1"), f.f(1.0), 0.0, 1e-14);
        within(format!("{f:?}, f′ at 1"), f.slope(0.0), 0.0, 1e-14);
        for &r in &ratios {
            let (u, t) = (r.exp(), f.slope(r));
            let slope = difference(|h| f.f(u * (1.0 + h)), 0.0, 1e-3) / u;
            if f != TotalVariation || r.abs() > 0.05 {
                within(format!("{f:?}, f′ at e^{r}"), t, slope, 1e-8 * t.abs().max(1.0));
            }
            // The supremum of u t − f(u) is attained where t = f′(u), and nowhere exceeded.
            let (found, attained) = (f.conjugate(t), u * t - f.f(u));
            let scale = (u * t).abs().max(f.f(u)).max(1.0);
            within(format!("{f:?}, f* at f′(e^{r})"), found, attained, 1e-12 * scale);
            for &other in &ratios {
                let below = other.exp() * t - f.f(other.exp());
                assert!(below <= found + 1e-12 * scale.max(below.abs()), "{f:?} {r} {other}");
            }
        }
    }
    // Below the range of f′ on u ≥ 0, the supremum is at u = 0.
    for f in [TotalVariation, Pearson, Alpha { alpha: 1.5 }, Alpha { alpha: 3.0 }] {
        within(format!("{f:?}, f* far below"), f.conjugate(-50.0), -f.f(0.0), 1e-12);
    }
    for (f, end) in [
        (JensenShannon, 0.5 * LN_2),
        (TotalVariation, 0.5),
        (Hellinger, 0.5),
        (Neyman, 1.0),
        (ReverseKl, 1.0),
    ] {
        assert_eq!(f.conjugate(end + 1e-9), f64::INFINITY, "{f:?}");
        assert!(f.conjugate(end - 1e-9).is_finite(), "{f:?}");
    }
}

#[test]
fn output_maps_rise_into_the_domain_and_tensors_agree() {
    let v: Vec<f64> = (-60..=60).map(|k| 0.1 * f64::from(k) + 0.003).collect();
    for f in entries() {
        assert_eq!(f.output(0.0), 0.0, "{f:?}");
        for pair in v.windows(2) {
            assert!(f.output(pair[0]) < f.output(pair[1]), "{f:?} at {pair:?}");
        }
        assert!([-30.0, 30.0].iter().all(|v| f.conjugate(f.output(*v)).is_finite()), "{f:?}");
        let x = || doubles(&v, 1).autodiff().require_grad();
        let host_terms: [Box<dyn Fn(f64) -> f64>; 2] =
            [Box::new(|v| f.output(v)), Box::new(|v| f.conjugate(f.output(v)))];
        // Near α = 1 tensors take the limit.
        let tolerance = if f == (Alpha { alpha: 1.0 + 1e-6 }) { 1e-4 } else { 1e-10 };
        for (k, right) in host_terms.into_iter().enumerate() {
            let x = x();
            let [gain, cost]: [Tensor<2>; 2] = f.terms(x.clone());
            let term = if k == 0 { gain } else { cost };
            let expected: Vec<f64> = v.iter().map(|v| right(*v)).collect();
            let slopes = x.grad(&term.clone().sum().backward()).expect("a gradient");
            for (k, (found, slope)) in host(&term).iter().zip(host(&slopes)).enumerate() {
                let name = format!("{f:?} at {}", v[k]);
                within(&name, *found, expected[k], tolerance * expected[k].abs().max(1.0));
                // f* has a kink where f′ of u ≥ 0 ends.
                let across = |h: f64| right(v[k] + h);
                let direct = difference(across, 0.0, 1e-4);
                if (difference(across, 0.0, 5e-5) - direct).abs() < 1e-6 {
                    let scale = (1e4 * tolerance).max(1e-6) * direct.abs().max(1.0);
                    within(format!("slope of {name}"), slope, direct, scale);
                }
            }
        }
    }
}

#[test]
fn integrands_are_those_of_any_two_densities() {
    for f in entries() {
        for (p, q) in [(0.2f64, 0.7f64), (3.0, 0.01), (1e-8, 2.0), (0.5, 0.5)] {
            let name = format!("{f:?} at {p}, {q}");
            close(name, f.integrand(p.ln(), q.ln()) + 1.0, q * f.f(p / q) + 1.0, 1e-12);
        }
        // Where one density is zero, the other one's share of the maximum; where both are, nothing.
        let none = f64::NEG_INFINITY;
        assert_eq!(f.integrand(none, none), 0.0);
        for (p, q) in [(none, 0.5), (0.5, none)] {
            let (zero, near) = (f.integrand(p, q), f.integrand(p.max(-1e6), q.max(-1e6)));
            assert!(zero >= 0.0 && !near.is_nan(), "{f:?}");
            assert!(
                zero == near || zero > 1e5 || (zero - near).abs() < 1e-12,
                "{f:?} {zero} {near}"
            );
        }
        // Logarithms of densities too small for doubles.
        for (p, q) in [(-2000.0, -1500.0), (-1500.0, -2000.0), (-2000.0, 0.0), (0.0, -2000.0)] {
            assert!(f.integrand(p, q) >= 0.0, "{f:?} at {p}, {q}");
        }
    }
    close("χ² of tiny densities", Pearson.integrand(-800.0, -1600.0), 1.0, 1e-12);
    close("KL at a tiny q", Kl.integrand(-1.0, -2000.0), 1999.0 * (-1.0f64).exp(), 1e-3);
    assert_eq!(Kl.integrand(-1.0, f64::NEG_INFINITY), f64::INFINITY);
}

#[test]
fn unit_normals_have_their_closed_forms() {
    let phi = |x: f64| 0.5 * (1.0 + erf(x / 2f64.sqrt()));
    for m in [0.0, 0.5, 1.0, 2.0] {
        let (p, q) = (Gaussian::unit(&[m, 0.0]).normal, Gaussian::unit(&[0.0, 0.0]).normal);
        let between = |f: &FDivergence| f.between(&p, &q).expect("Gaussians");
        let m2 = m * m;
        for (f, right) in [
            (Kl, 0.5 * m2),
            (ReverseKl, 0.5 * m2),
            (Pearson, m2.exp_m1()),
            (Neyman, m2.exp_m1()),
            (Hellinger, -(-m2 / 8.0).exp_m1()),
            (TotalVariation, 2.0 * phi(0.5 * m) - 1.0),
            (Alpha { alpha: 3.0 }, (3.0 * m2).exp_m1() / 6.0),
            (Alpha { alpha: 0.3 }, -(-0.105 * m2).exp_m1() / 0.21),
        ] {
            let found = between(&f).expect("a closed form");
            within(format!("{f:?} at {m}"), found, right, 1e-10 * right.max(1.0));
        }
        assert_eq!(between(&JensenShannon), None);
    }
}

/// The error function by its series, to 1e-15 for |x| ≤ 2.
fn erf(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for k in 1..60 {
        term *= -x * x / f64::from(k);
        sum += term / f64::from(2 * k + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn orders_are_symmetric_continuous_and_infinite_where_integrals_diverge() {
    let p = Normal::new(vec![0.4, -0.2], &[1.5, 0.3, 0.3, 0.8]).unwrap();
    let q = Normal::new(vec![0.0, 0.1], &[1.0, -0.2, -0.2, 1.1]).unwrap();
    let of = |alpha: f64, a: &Normal, b: &Normal| {
        Alpha { alpha }.between(a, b).expect("Gaussians").expect("a closed form")
    };
    for alpha in [-0.4, 0.0, 0.2, 0.5, 0.8, 1.0, 1.3] {
        close(alpha, of(alpha, &p, &q), of(1.0 - alpha, &q, &p), 1e-11);
    }
    for end in [0.0, 1.0] {
        close("near the end", of(end + 1e-7, &p, &q), of(end, &p, &q), 1e-5);
        close("nearer the end", of(end + 1e-12, &p, &q), of(end, &p, &q), 1e-9);
    }
    // ∫ p²/q of N(0, 2) and N(0, 1) diverges; that of the reverse is finite.
    let [wide, unit] = [2.0, 1.0].map(|v| Normal::isotropic(vec![0.0], v).unwrap());
    assert_eq!(Pearson.between(&wide, &unit).unwrap(), Some(f64::INFINITY));
    assert_eq!(Neyman.between(&unit, &wide).unwrap(), Some(f64::INFINITY));
    assert!(Pearson.between(&unit, &wide).unwrap().unwrap().is_finite());
    // Different covariances in the plane have no closed form of total variation.
    assert_eq!(TotalVariation.between(&p, &q).unwrap(), None);
}

#[test]
fn what_is_no_gaussian_or_no_order_is_refused() {
    let refused = |mean: &[f64], covariance: &[f64]| Normal::new(mean.to_vec(), covariance);
    assert!(matches!(refused(&[], &[]), Err(Error::Shape { .. })));
    assert!(matches!(refused(&[0.0], &[1.0, 0.0]), Err(Error::Shape { .. })));
    assert!(matches!(refused(&[0.0], &[-1.0]), Err(Error::Config { .. })));
    assert!(matches!(refused(&[f64::NAN], &[1.0]), Err(Error::Config { .. })));
    assert!(matches!(refused(&[0.0, 0.0], &[1.0, 0.5, 0.4, 1.0]), Err(Error::Config { .. })));
    assert!(matches!(refused(&[0.0, 0.0], &[1.0, 1.0, 1.0, 1.0]), Err(Error::Config { .. })));
    let (one, two) = (Gaussian::unit(&[0.0]).normal, Gaussian::unit(&[0.0, 0.0]).normal);
    assert!(matches!(Kl.between(&one, &two), Err(Error::Shape { .. })));
    assert!(matches!(one.fisher(&two), Err(Error::Shape { .. })));
    let wrong = Alpha { alpha: f64::NAN };
    assert!(matches!(wrong.between(&one, &one), Err(Error::Config { .. })));
}
