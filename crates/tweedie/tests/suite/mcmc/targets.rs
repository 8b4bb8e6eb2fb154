//! Targets against quadrature, their exact samples against their definitions.

use super::*;
use statrs::distribution::{ContinuousCDF, Normal};
use std::ops::Range;
use std::sync::Arc;
use tweedie::data::Toy;
use tweedie::mcmc::{AtLevel, Banana, Funnel};
use tweedie::process::{Level, Schedule, VpLinear};

/// Midpoints of n panels over a range.
fn midpoints(range: Range<f64>, n: usize) -> impl Iterator<Item = f64> + Clone {
    (0..n).map(move |k| range.start + (range.end - range.start) * (k as f64 + 0.5) / n as f64)
}

/// ∫∫ p over the first coordinate and, for each, over `centre(x₁) ± 12 spread(x₁)`.
fn mass(
    target: &dyn LogDensity,
    first: Range<f64>,
    centre: impl Fn(f64) -> f64,
    spread: impl Fn(f64) -> f64,
) -> f64 {
    let n = 400;
    let mut points = Vec::new();
    let mut cells = Vec::new();
    for x in midpoints(first.clone(), n) {
        points.extend(midpoints(-12.0..12.0, n).flat_map(|t| [x, centre(x) + spread(x) * t]));
        cells.extend(vec![spread(x) * 24.0 * (first.end - first.start) / (n * n) as f64; n]);
    }
    let log = target.log_density(doubles(&points, 2).into(), &Condition::None).expect("log p");
    host(&log.value).iter().zip(&cells).map(|(log, cell)| log.exp() * cell).sum()
}

/// The midpoint rule converges exponentially for Gaussian tails; 12 standard deviations hold all but 1e-32.
#[test]
fn funnel_and_banana_integrate_to_their_z() {
    for scale in [1.0, 3.0] {
        let funnel = Funnel { width: 2, scale };
        let found = mass(&funnel, -12.0 * scale..12.0 * scale, |_| 0.0, |x| (0.5 * x).exp());
        within("funnel", found.ln(), funnel.log_z().expect("known"), 1e-11);
    }
    let banana = Banana::default();
    let found = mass(&banana, -120.0..120.0, |x| 0.03 * (x * x - 100.0), |_| 1.0);
    within("banana", found.ln(), banana.log_z().expect("known"), 1e-11);
}

#[test]
fn a_mixture_s_class_has_a_density_of_its_own() {
    let part = |w, m: f64, class| Component::isotropic(w, vec![m], 0.5).of_class(class);
    let mixture =
        GaussianMixture::new(vec![part(0.2, -1.0, 0), part(0.5, 2.0, 1), part(0.3, 3.0, 0)])
            .unwrap();
    let n = 2000;
    let x: Vec<f64> = midpoints(-15.0..15.0, n).collect();
    let log = |condition: Condition| {
        let log = LogDensity::log_density(&mixture, doubles(&x, 1).into(), &condition).unwrap();
        host(&log.value)
    };
    let [one, other, all] =
        [Condition::class(0, n), Condition::class(1, n), Condition::None].map(log);
    let total: f64 = one.iter().map(|l| l.exp()).sum::<f64>() * 30.0 / n as f64;
    within("∫p(x | 0)", total, 1.0, 1e-12);
    for ((one, other), all) in one.iter().zip(&other).zip(&all) {
        close("p", 0.5 * one.exp() + 0.5 * other.exp(), all.exp(), 1e-13);
    }
    let labels = Condition::Class(vec![Some(1); 2000]);
    let rows = mixture.generate(0..2000, &labels, &Draws::new(2), &cpu()).unwrap();
    let (mean, variance) = moments(&host(&rows));
    within("mean of class 1", mean, 2.0, BAR * (0.5f64 / 2000.0).sqrt());
    within("variance of class 1", variance, 0.5, BAR * 0.5 * (2.0f64 / 2000.0).sqrt());
}

#[test]
fn a_noised_mixture_is_the_mixture_of_noised_data() {
    let (mixture, schedule) = (gaussian(), VpLinear::default());
    let x: Vec<f64> = (0..20).map(|k| f64::from(k) * 0.3 - 3.0).collect();
    for t in [0.05, 0.4, 0.9] {
        let level: Level = schedule.level(t);
        let noised = mixture.noised(&level).unwrap();
        let (log, score) = noised.with_score(doubles(&x, 2), &Condition::None).unwrap();
        let expected = mixture.log_density(doubles(&x, 2), &level.into()).unwrap();
        all_close("log p_t", &host(&log), &host(&expected), 1e-13);
        // Tweedie's formula, by the denoiser alone.
        let denoiser = AtLevel::new(Arc::new(gaussian()), level).unwrap();
        let by_denoiser = denoiser.score(doubles(&x, 2), &Condition::None).unwrap();
        all_close("score", &host(&by_denoiser), &host(&score), 1e-11);
        let (log, score_of_log) = denoiser.with_score(doubles(&x, 2), &Condition::None).unwrap();
        all_close("log p_t by the denoiser", &host(&log), &host(&expected), 1e-13);
        all_close("∇ log p_t by the denoiser", &host(&score_of_log), &host(&score), 1e-11);
    }
}

/// Each coordinate of an exact sample, standardised given the others before it, is standard normal.
#[test]
fn exact_samples_are_those_of_the_density() {
    let n = 20_000;
    let normal = |name: &str, z: Vec<f64>| {
        let distance = kolmogorov(&z, |z| Normal::standard().cdf(z));
        assert!(distance * (z.len() as f64).sqrt() < KOLMOGOROV, "{name}: {distance}");
    };
    let funnel = Funnel { width: 3, scale: 3.0 };
    let x = host(&exact(&funnel, n, 1));
    normal("x₁", x.chunks(3).map(|x| x[0] / 3.0).collect());
    for j in [1, 2] {
        normal("x_i", x.chunks(3).map(|x| x[j] * (-0.5 * x[0]).exp()).collect());
    }
    let x = host(&exact(&Banana::default(), n, 1));
    normal("x₁", x.chunks(2).map(|x| x[0] / 10.0).collect());
    normal("x₂", x.chunks(2).map(|x| x[1] - 0.03 * (x[0] * x[0] - 100.0)).collect());
}

#[test]
fn generated_rows_depend_on_their_number_alone() {
    let (funnel, banana, mixture) = (Funnel::default(), Banana::default(), gaussian());
    let mut models: Vec<&dyn Generate> = vec![&funnel, &banana, &mixture];
    models.extend(Toy::ALL.iter().map(|toy| toy as &dyn Generate));
    let generate = |model: &dyn Generate, rows: Range<u64>, seed| {
        host(&model.generate(rows, &Condition::None, &Draws::new(seed), &cpu()).unwrap())
    };
    for model in models {
        let (all, part) = (generate(model, 0..10, 3), generate(model, 4..7, 3));
        let w = all.len() / 10;
        assert_eq!(all[4 * w..7 * w], part);
        assert_ne!(all, generate(model, 0..10, 4));
    }
}

#[test]
fn a_model_s_rows_are_those_of_its_sample() {
    for toy in Toy::ALL {
        let sample: Vec<f64> = toy.sample(50, 6).values().iter().map(|x| f64::from(*x)).collect();
        assert_eq!(host(&exact(&toy, 50, 6)), sample);
    }
    let sample = host(&gaussian().sample(50, &Draws::new(6), &cpu()));
    let rounded: Vec<f64> = sample.iter().map(|x| f64::from(*x as f32)).collect();
    assert_eq!(host(&exact(&gaussian(), 50, 6)), rounded);
}

#[test]
fn a_toy_s_row_with_a_label_is_of_that_class() {
    let toy = Toy::EightGaussians;
    let labels = Condition::Class((0..40).map(|i| Some(i % 8)).collect());
    let x = host(&toy.generate(0..40, &labels, &Draws::new(0), &cpu()).unwrap());
    for (i, x) in x.chunks(2).enumerate() {
        let angle = (i % 8) as f64 * std::f64::consts::FRAC_PI_4;
        assert!((x[0] - 5.0 * angle.cos()).hypot(x[1] - 5.0 * angle.sin()) < 3.0);
    }
    let unknown = toy.generate(0..1, &Condition::class(8, 1), &Draws::new(0), &cpu());
    assert!(matches!(unknown, Err(tweedie::Error::Shape { .. })));
}

#[test]
fn options_of_targets_are_read_and_checked() {
    let funnel: Funnel = toml::from_str("scale = 1.0").unwrap();
    assert_eq!(funnel, Funnel { width: 10, scale: 1.0 });
    assert!(toml::from_str::<Funnel>("sclae = 1.0").is_err());
    assert!(toml::from_str::<Banana>("curvature = 0.1").unwrap().check().is_ok());
    assert!(Funnel { width: 1, scale: 1.0 }.check().is_err());
    assert!(Funnel { width: 2, scale: f64::NAN }.check().is_err());
    assert!(Banana { scale: 0.0, curvature: 0.1 }.check().is_err());
    assert!(Banana { scale: 1.0, curvature: f64::INFINITY }.check().is_err());
}
