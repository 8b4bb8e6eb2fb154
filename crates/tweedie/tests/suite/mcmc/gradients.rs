//! Scores against differences, and derivatives through batches.

use super::*;
use burn::tensor::DType;
use tweedie::Error;
use tweedie::data::{ConditionalDensity, Toy};
use tweedie::mcmc::{Banana, Funnel};
use tweedie::tensor::{Dual, gradient, hessian_vector, jvp};

/// log p of rows in double precision.
fn log_p(target: &dyn LogDensity, x: &[f64]) -> Vec<f64> {
    let x = doubles(x, target.width()).into();
    host(&target.log_density(x, &Condition::None).expect("a log density").value)
}

/// Asserts that the score at rows is the difference of log p, to 1e-7 of its largest value or of 1.
fn assert_score(name: &str, target: &dyn LogDensity, x: &[f64], h: f64) {
    let score = host(&target.score(doubles(x, target.width()), &Condition::None).unwrap());
    let w = target.width();
    let scale = score.iter().fold(1.0f64, |most, s| most.max(s.abs()));
    for (k, score) in score.iter().enumerate() {
        let along = |step: f64| {
            let mut row = x[k / w * w..(k / w + 1) * w].to_vec();
            row[k % w] += step;
            log_p(target, &row)[0]
        };
        within(format!("{name}: score {k}"), *score, difference(along, 0.0, h), 1e-7 * scale);
    }
}

/// Two classes of correlated and lopsided components.
fn mixture() -> GaussianMixture {
    GaussianMixture::new(vec![
        Component::full(0.4, vec![1.0, -1.0], &[0.5, 0.3, 0.3, 0.4]).unwrap().of_class(0),
        Component::isotropic(0.35, vec![-1.5, 0.5], 0.3).of_class(1),
        Component::diagonal(0.25, vec![0.0, 2.0], vec![0.7, 0.2]).of_class(0),
    ])
    .unwrap()
}

/// A few rows around the origin.
fn rows(width: u64, n: u64, spread: f64) -> Vec<f64> {
    let draws = Draws::new(3);
    (0..n * width).map(|k| spread * draws.normal_f64(k / width, k % width)).collect()
}

#[test]
fn scores_are_the_gradients_of_log_densities() {
    assert_score("funnel", &Funnel { width: 4, scale: 3.0 }, &rows(4, 8, 1.0), 1e-3);
    assert_score("banana", &Banana::default(), &rows(2, 8, 3.0), 1e-3);
    assert_score("mixture", &mixture(), &rows(2, 8, 1.0), 1e-3);
    let given = ConditionalDensity { density: &mixture(), condition: &Condition::class(0, 1) };
    for row in rows(2, 8, 1.0).chunks(2) {
        assert_score("one class", &given, row, 1e-3);
    }
}

/// Points that the toy makes, and points beside it.
#[test]
fn the_toys_scores_are_the_gradients_of_their_log_densities() {
    for toy in Toy::ALL {
        let mut near: Vec<f64> = toy.sample(12, 4).values().iter().map(|x| f64::from(*x)).collect();
        if !matches!(toy, Toy::Checkerboard | Toy::MoonsTorchcfm) {
            near.extend(rows(2, 6, 2.0));
        }
        assert_score(toy.name(), &toy, &near, 1e-4);
        assert_eq!(toy.score([near[0], near[1]]), host(&score_of(&toy, &near[..2]))[..]);
    }
    for toy in [Toy::Checkerboard, Toy::MoonsTorchcfm] {
        let outside = [30.0, -30.0];
        assert_eq!((toy.log_density(outside), toy.score(outside)), (f64::NEG_INFINITY, [0.0; 2]));
    }
    // The pinwheel's centre, where the angle has no gradient.
    assert!(Toy::Pinwheel.score([0.0, 0.0]).iter().all(|s| s.is_finite()));
}

fn score_of(target: &dyn LogDensity, x: &[f64]) -> Tensor<2> {
    target.score(doubles(x, target.width()), &Condition::None).unwrap()
}

/// Reverse mode, tangents and the score are three ways to one gradient, in either precision of x.
#[test]
fn a_row_function_has_first_derivatives_as_a_batch() {
    let targets: [(&dyn LogDensity, u64); 3] =
        [(&Funnel::default(), 10), (&Toy::Moons, 2), (&mixture(), 2)];
    for (target, width) in targets {
        let x = rows(width, 5, 0.8);
        let none = Condition::None;
        let score = host(&score_of(target, &x));
        let batch = doubles(&x, width as usize);
        let back = gradient(|x| target.log_density(x, &none), batch.clone().into()).unwrap().value;
        all_close("reverse mode", &host(&back), &score, 1e-13);
        let v = doubles(&rows(width, 5, 1.3), width as usize);
        let (value, along) = jvp(|x| target.log_density(x, &none), batch, v.clone()).unwrap();
        all_close("value", &host(&value), &log_p(target, &x), 1e-15);
        let expected = host(&(v * score_of(target, &x)).sum_dim(1));
        all_close("tangent", &host(&along), &expected, 1e-13);
        let single: Vec<f32> = x.iter().map(|x| *x as f32).collect();
        let single = singles(single, [5, width as usize]);
        let back = gradient(|x| target.log_density(x, &none), single.clone().into()).unwrap();
        let (log, score) = target.with_score(single.clone(), &none).unwrap();
        assert_eq!((log.dtype(), back.value.dtype()), (DType::F64, DType::F32));
        all_close("single precision", &host(&back.value), &host(&score), 1e-6);
    }
}

#[test]
fn a_row_function_refuses_second_derivatives() {
    let target = Funnel { width: 2, scale: 1.0 };
    let (x, v) = (doubles(&[0.1, 0.2], 2), doubles(&[1.0, 0.5], 2));
    let f = |x: Dual<2>| target.log_density(x, &Condition::None);
    let product = hessian_vector(f, x.clone(), v.clone());
    assert!(matches!(product, Err(Error::Undefined { .. })));
    assert!(matches!(f(Dual::line(x, v)), Err(Error::Undefined { .. })));
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let target = Funnel::default();
    let wrong = target.log_density(doubles(&[0.0, 1.0], 2).into(), &Condition::None);
    assert!(matches!(wrong, Err(Error::Shape { .. })));
    let class = Condition::class(0, 1);
    let conditional = target.score(doubles(&[0.0; 10], 10), &class);
    assert!(matches!(conditional, Err(Error::Shape { .. })));
    let unknown = score_given(&mixture(), &Condition::class(7, 1));
    assert!(matches!(unknown, Err(Error::Shape { .. })));
}

/// The score at one row of zeros.
fn score_given(target: &dyn LogDensity, condition: &Condition) -> tweedie::Result<Tensor<2>> {
    target.score(doubles(&vec![0.0; target.width()], target.width()), condition)
}
