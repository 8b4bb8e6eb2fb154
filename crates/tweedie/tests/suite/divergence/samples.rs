//! Divergences from densities and samples against closed forms.

use super::*;
use FDivergence::*;
use tweedie::Error;
use tweedie::divergence::{Densities, Estimate, dual_value, fisher, plug_in};

/// ln p − ln q of N(m, 1) and N(0, 1) at draws.
fn ratios(draws: &[f64], m: f64) -> Vec<f64> {
    draws.iter().map(|x| m * x - 0.5 * m * m).collect()
}

#[track_caller]
fn near(name: &str, found: Estimate, right: f64) {
    let deviation = (found.value - right).abs() / found.standard_error;
    assert!(deviation < BAR, "{name}: {found:?}, expected {right}, {deviation} errors");
}

#[test]
fn plug_in_estimates_are_within_their_errors_of_the_closed_forms() {
    let q = Gaussian::new(&[0.0, 0.1], &[1.0, -0.2, -0.2, 1.1]);
    let p = Gaussian::new(&[0.6, -0.2], &[1.0, -0.2, -0.2, 1.1]);
    let both = Densities::new(&p.density, &q.density, &cpu());
    let n = 40_000;
    let at_p = both.log_ratios(&p.sample(n, 11)).unwrap();
    let at_q = both.log_ratios(&q.sample(n / 2, 12)).unwrap();
    for f in entries() {
        let Some(right) = f.between(&p.normal, &q.normal).unwrap() else { continue };
        for (name, at_p, at_q) in
            [("P", &at_p[..], &[][..]), ("Q", &[], &at_q), ("P and Q", &at_p, &at_q)]
        {
            let found = plug_in(&f, at_p, at_q).unwrap();
            near(&format!("{f:?} from {name}"), found, right);
            assert!(found.standard_error < 0.2 * right, "{f:?} from {name}: {found:?}");
        }
    }
    let js = plug_in(&JensenShannon, &at_p, &at_q).unwrap();
    let [from_p, from_q] =
        [(&at_p[..], &[][..]), (&[], &at_q)].map(|(p, q)| plug_in(&JensenShannon, p, q).unwrap());
    let spread = js.standard_error.hypot(from_p.standard_error);
    near("JS", Estimate { standard_error: spread, ..js }, from_p.value);
    let spread = js.standard_error.hypot(from_q.standard_error);
    near("JS", Estimate { standard_error: spread, ..js }, from_q.value);
}

/// The mean over 2,000 samples is the divergence, and the mean error is their spread, whose own relative error is
/// 1/√4000 = 0.016: 0.1 more than covers 6 of them.
#[test]
fn plug_in_estimates_are_unbiased_and_their_errors_are_the_spread() {
    let (m, repeats) = (1.0, 2000u64);
    for (f, right) in [(JensenShannon, 0.11142148218473616), (Kl, 0.5)] {
        let estimates: Vec<Estimate> = (0..repeats)
            .map(|seed| {
                let at_p = ratios(&normals(80, m, 2 * seed), m);
                let at_q = ratios(&normals(50, 0.0, 2 * seed + 1), m);
                plug_in(&f, &at_p, &at_q).unwrap()
            })
            .collect();
        let values: Vec<f64> = estimates.iter().map(|e| e.value).collect();
        let (mean, variance) = moments(&values);
        let deviation = (mean - right).abs() / (variance / repeats as f64).sqrt();
        assert!(deviation < BAR, "{f:?}: {mean}, {deviation} errors");
        let square = estimates.iter().map(|e| e.standard_error.powi(2)).sum::<f64>();
        let ratio = (square / repeats as f64 / variance).sqrt();
        assert!((ratio - 1.0).abs() < 0.1, "{f:?}: error over spread {ratio}");
    }
}

#[test]
fn the_optimal_critic_attains_the_divergence_on_samples_and_others_stay_below() {
    let m = 0.7;
    let (p, q) = (Gaussian::unit(&[m]).normal, Gaussian::unit(&[0.0]).normal);
    let (at_p, at_q) = (ratios(&normals(60_000, m, 1), m), ratios(&normals(60_000, 0.0, 2), m));
    for f in entries() {
        let right = f.between(&p, &q).unwrap().unwrap_or(JS_OF_SEVEN_TENTHS);
        let value = |critic: &dyn Fn(f64) -> f64| {
            let on = |ratios: &[f64]| ratios.iter().map(|r| critic(*r)).collect::<Vec<_>>();
            dual_value(&f, &on(&at_p), &on(&at_q)).unwrap()
        };
        near(&format!("{f:?}"), value(&|r| f.slope(r)), right);
        for (name, critic) in [
            ("small", &(|r: f64| f.slope(0.2 * r) * 0.2) as &dyn Fn(f64) -> f64),
            ("none", &|_| 0.0),
            ("reversed", &|r| f.slope(-0.2 * r)),
        ] {
            let found = value(critic);
            let highest = found.value + BAR * found.standard_error;
            assert!(highest < right, "{f:?}, {name}: {found:?} of {right}");
        }
    }
    // Outside of the domain of f* there is no bound, and the reversed critic's value is negative, not 0.
    let outside = dual_value(&Hellinger, &[0.6, 0.6], &[0.6, 0.6]).unwrap();
    assert_eq!(outside.value, f64::NEG_INFINITY);
    assert!(dual_value(&Kl, &[-1.0, -1.0], &[1.0, 1.0]).unwrap().value < -2.0);
}

#[test]
fn fisher_divergences_are_those_of_gaussians() {
    let (p, q) = (Gaussian::unit(&[3.0, 4.0]), Gaussian::unit(&[0.0, 0.0]));
    let both = Densities::new(&p.density, &q.density, &cpu());
    let found = fisher(&both, &p.sample(100, 1)).unwrap();
    within("unit normals", found.value, 25.0, 1e-9);
    assert!(found.standard_error < 1e-9);
    let p = Gaussian::new(&[0.5, -0.2], &[1.5, 0.3, 0.3, 0.8]);
    let both = Densities::new(&p.density, &q.density, &cpu());
    let right = p.normal.fisher(&q.normal).unwrap();
    let found = fisher(&both, &p.sample(40_000, 2)).unwrap();
    near("two Gaussians", found, right);
    assert!(found.standard_error < 0.02 * right);
    // E‖(I − C⁻¹)(x − μ) + μ‖² in one dimension: (1 − 1/c)² c + m².
    let line = |m: f64, c: f64| Normal::isotropic(vec![m], c).unwrap();
    close("on the line", line(0.4, 2.0).fisher(&line(0.0, 1.0)).unwrap(), 0.5 + 0.16, 1e-12);
    // It does not see the weights of modes that are far apart; the KL does.
    let modes = |weight: f64| {
        let parts = [(weight, -20.0), (1.0 - weight, 20.0)];
        let parts = parts.map(|(w, m)| Component::isotropic(w, vec![m], 1.0));
        GaussianMixture::new(parts.to_vec()).unwrap()
    };
    let (p, q) = (modes(0.2), modes(0.8));
    let both = Densities::new(&p, &q, &cpu());
    let rows = Rows::from_tensor(&p.sample(2000, &Draws::new(3), &cpu())).unwrap();
    assert!(fisher(&both, &rows).unwrap().value < 1e-12);
    let kl = plug_in(&Kl, &both.log_ratios(&rows).unwrap(), &[]).unwrap();
    near("KL of weights", kl, 0.6 * 4f64.ln());
}

#[test]
fn too_few_or_impossible_ratios_are_refused() {
    let of = |p: &[f64], q: &[f64]| plug_in(&Kl, p, q);
    for (p, q) in [(&[][..], &[][..]), (&[0.1], &[]), (&[0.1, 0.2], &[0.1])] {
        assert!(matches!(of(p, q), Err(Error::Shape { .. })));
    }
    let impossible = [
        (vec![f64::NAN, 0.0], vec![]),
        (vec![0.0, f64::NEG_INFINITY], vec![]),
        (vec![], vec![0.0, f64::INFINITY]),
    ];
    for (p, q) in impossible {
        let error = of(&p, &q).unwrap_err();
        assert!(matches!(error, Error::Undefined { .. }), "{error}");
    }
    // No common support: half the terms at each end of the maximum.
    let far = [f64::INFINITY; 3];
    let found = plug_in(&JensenShannon, &far, &far.map(|r| -r)).unwrap();
    assert_eq!(found, Estimate { value: std::f64::consts::LN_2, standard_error: 0.0 });
    let (one, two) = (Gaussian::unit(&[0.0]), Gaussian::unit(&[0.0, 0.0]));
    let both = Densities::new(&one.density, &one.density, &cpu());
    assert!(matches!(both.log_ratios(&two.sample(3, 1)), Err(Error::Shape { .. })));
    assert!(matches!(fisher(&both, &one.sample(1, 1)), Err(Error::Shape { .. })));
    assert!(matches!(dual_value(&Kl, &[1.0], &[1.0, 2.0]), Err(Error::Shape { .. })));
}
