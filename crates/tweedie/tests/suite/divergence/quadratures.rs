//! Divergences by quadrature against closed forms; the variational value of given critics.

use super::*;
use FDivergence::*;
use tweedie::Error;
use tweedie::data::LogDensity;
use tweedie::divergence::{Densities, integral, quadrature};
use tweedie::mcmc::Funnel;

const BOX: [f64; 2] = [-13.0, 14.0];

fn both<'a>(p: &'a Gaussian, q: &'a Gaussian) -> Densities<'a> {
    Densities::new(&p.density, &q.density, &cpu())
}

#[test]
fn quadrature_on_the_line_equals_the_closed_forms() {
    let q = Gaussian::unit(&[0.0]);
    for (mean, variance) in [(0.5, 1.0), (1.0, 1.0), (2.0, 1.0), (0.4, 1.5), (-0.3, 0.6)] {
        let p = Gaussian::new(&[mean], &[variance]);
        for f in entries() {
            let Some(right) = f.between(&p.normal, &q.normal).unwrap() else { continue };
            // α = 3 has an infinite integral at a variance of 1.5, and a far one at a mean of 2.
            if f == (Alpha { alpha: 3.0 }) && (mean == 2.0 || variance > 1.0) {
                continue;
            }
            let found = quadrature(&f, &both(&p, &q), &[BOX]).unwrap();
            let name = format!("{f:?}, N({mean}, {variance})");
            within(&name, found.value, right, 1e-6);
            found.masses.iter().for_each(|mass| within(&name, *mass, 1.0, 1e-8));
        }
    }
    // SciPy's quadrature of the definitions.
    let one = quadrature(&JensenShannon, &both(&Gaussian::unit(&[1.0]), &q), &[BOX]).unwrap();
    within("JS by SciPy", one.value, 0.11142148218473616, 1e-9);
    let wide = Gaussian::new(&[0.4], &[2.25]);
    let there = quadrature(&JensenShannon, &both(&wide, &q), &[[-20.0, 20.0]]).unwrap().value;
    within("JS by SciPy", there, 0.04710875178970834, 1e-9);
    let back = quadrature(&JensenShannon, &both(&q, &wide), &[[-20.0, 20.0]]).unwrap().value;
    within("JS is symmetric", back, there, 1e-9);
    let found = quadrature(&TotalVariation, &both(&wide, &q), &[[-20.0, 20.0]]).unwrap().value;
    within("TV by SciPy", found, 0.22238610676919837, 1e-9);
    within("TV", TotalVariation.between(&wide.normal, &q.normal).unwrap().unwrap(), found, 1e-9);
}

#[test]
fn quadrature_in_the_plane_equals_the_closed_forms() {
    let q = Gaussian::new(&[0.0, 0.1], &[1.0, -0.2, -0.2, 1.1]);
    let p = Gaussian::new(&[0.7, -0.2], &[0.9, 0.1, 0.1, 1.2]);
    let bounds = [[-9.0, 10.0], [-9.0, 9.0]];
    for f in [Kl, ReverseKl, Hellinger, Pearson, Neyman, Alpha { alpha: 1.3 }] {
        let right = f.between(&p.normal, &q.normal).unwrap().unwrap();
        let found = quadrature(&f, &both(&p, &q), &bounds).unwrap();
        within(format!("{f:?}"), found.value, right, 1e-6);
    }
    // Kinks along an oblique line.
    let moved = Gaussian::new(&[0.8, 0.6], &[1.0, -0.2, -0.2, 1.1]);
    let right = TotalVariation.between(&moved.normal, &q.normal).unwrap().unwrap();
    let found = quadrature(&TotalVariation, &both(&moved, &q), &bounds).unwrap();
    within("TV", found.value, right, 1e-6);
}

/// ∫ p T − q f*(T) is the divergence for T = f′(p/q), and less for any other critic.
#[test]
fn the_optimal_critic_attains_the_divergence_and_others_are_below() {
    type Critic<'a> = &'a dyn Fn(f64, f64) -> f64;
    let (p, q) = (Gaussian::new(&[0.7], &[0.8]), Gaussian::unit(&[0.0]));
    let both = both(&p, &q);
    for f in entries() {
        let value = |critic: Critic| {
            let integrand = |x: &[f64], log_p: f64, log_q: f64| {
                let t = critic(x[0], log_p - log_q);
                log_p.exp() * t - log_q.exp() * f.conjugate(t)
            };
            integral(&both, &[[-8.0, 8.0]], integrand).unwrap()
        };
        let divergence = quadrature(&f, &both, &[[-8.0, 8.0]]).unwrap().value;
        within(format!("{f:?}"), value(&|_, r| f.slope(r)), divergence, 1e-6);
        let others: [(&str, Critic); 4] = [
            ("none", &|_, _| 0.0),
            ("moved", &|x, r| f.slope(r + 0.3 * x.sin() + 0.2)),
            ("half", &|_, r| f.slope(0.5 * r) * 0.9),
            ("reversed", &|_, r| f.slope(-0.3 * r)),
        ];
        for (name, critic) in others {
            let found = value(critic);
            assert!(found < divergence - 1e-4, "{f:?}, {name}: {found} of {divergence}");
        }
    }
}

#[test]
fn boxes_that_do_not_fit_and_densities_without_integral_are_refused() {
    let (one, two) = (Gaussian::unit(&[0.0]), Gaussian::unit(&[0.0, 0.0]));
    let three = Gaussian::unit(&[0.0; 3]);
    let of = |p: &Gaussian, q: &Gaussian, bounds: &[[f64; 2]]| {
        quadrature(&Kl, &both(p, q), bounds).expect_err("it does not fit")
    };
    assert!(matches!(of(&one, &two, &[BOX]), Error::Shape { .. }));
    assert!(matches!(of(&one, &one, &[BOX, BOX]), Error::Shape { .. }));
    assert!(matches!(of(&three, &three, &[BOX; 3]), Error::Shape { .. }));
    for bounds in [[1.0, 1.0], [2.0, 1.0], [f64::NEG_INFINITY, 0.0], [f64::NAN, 1.0]] {
        assert!(matches!(of(&one, &one, &[bounds]), Error::Config { .. }));
    }
    let error = integral(&both(&one, &one), &[BOX], |x, _, _| (x[0] - 1.0).ln());
    assert!(error.unwrap_err().to_string().contains("NaN"));
    // A box that misses mass says so.
    let found = quadrature(&Kl, &both(&Gaussian::unit(&[1.0]), &one), &[[-1.0, 1.0]]).unwrap();
    assert!(found.masses[0] < 0.5 && (found.masses[1] - 0.6826894921370859).abs() < 1e-9);
    struct Unknown(Funnel);
    impl LogDensity for Unknown {
        fn width(&self) -> usize {
            2
        }
        fn log_density(
            &self,
            x: tweedie::tensor::Dual<2>,
            condition: &tweedie::data::Condition,
        ) -> tweedie::Result<tweedie::tensor::Dual<2>> {
            self.0.log_density(x, condition)
        }
        fn log_z(&self) -> Option<f64> {
            None
        }
    }
    let unknown = Unknown(Funnel { width: 2, scale: 1.0 });
    let densities = Densities::new(&unknown, &two.density, &cpu());
    let error = quadrature(&Kl, &densities, &[BOX, BOX]).unwrap_err();
    assert!(error.to_string().contains("the integral of p"), "{error}");
}
