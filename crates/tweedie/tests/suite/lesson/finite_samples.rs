//! Critics of two equal distributions: what they say on their own rows and on others, slopes and pushes by differences.

use crate::support::{cpu, difference, within};
use burn::tensor::Tensor;
use std::f64::consts::LN_2;
use tweedie::Draws;
use tweedie::data::Condition;
use tweedie::game::Adversary;
use tweedie::judge::lesson::{critic_of_equals, critic_slopes, generator_gradient};
use tweedie::tensor::mean_and_error;

/// How many standard errors an estimate exceeds with probability 1e-6, both sides together.
const BAR: f64 = 4.9;

const LOGISTIC: &str = "non-saturating";
const STEPS: u64 = 400;

fn normals(seed: u64, rows: u64) -> Tensor<2> {
    Draws::new(seed).normals(0..rows, 1).to_tensor(&cpu())
}

fn distance(critic: &Adversary, [p, q]: &[Tensor<2>; 2]) -> f64 {
    critic.distance(p, q, &Condition::None).unwrap()
}

/// The greatest slope between −3 and 3.
fn steepest(critic: &Adversary) -> f64 {
    let x: Vec<f32> = (0..=600).map(|i| -3.0 + 0.01 * i as f32).collect();
    let x = Tensor::<1>::from_floats(&x[..], &cpu()).reshape([-1, 1]);
    critic_slopes(critic, x).unwrap()[1].iter().fold(0.0, |most, slope| slope.abs().max(most))
}

/// The distance is 0: an estimate on rows that the critic has not seen is at most that in expectation, that on its own
/// rows at most ln 2.
#[test]
fn few_rows_are_told_apart_and_others_are_not() {
    let (few, own) = critic_of_equals(LOGISTIC, None, Some(16), STEPS, 1).unwrap();
    let (many, _) = critic_of_equals(LOGISTIC, None, None, STEPS, 1).unwrap();
    let on_own = distance(&few, &own);
    assert!(on_own > 0.1 && on_own <= LN_2, "{on_own}");
    for critic in [&few, &many] {
        let parts: Vec<f64> = (0..40)
            .map(|k| distance(critic, &[normals(100 + 2 * k, 500), normals(101 + 2 * k, 500)]))
            .collect();
        let (mean, error) = mean_and_error(&parts);
        assert!(mean < BAR * error, "{mean} ± {error}");
    }
    assert!(steepest(&few) > 20.0 * steepest(&many), "{}, {}", steepest(&few), steepest(&many));
}

/// The slope of SiLU is at most 1.0998: two layers of it between three of norm 1 allow its square.
#[test]
fn spectral_norms_bound_slopes_by_those_of_the_activations() {
    let (critic, _) =
        critic_of_equals(LOGISTIC, Some("spectral-norm"), Some(16), STEPS, 1).unwrap();
    let (free, _) = critic_of_equals(LOGISTIC, None, Some(16), STEPS, 1).unwrap();
    let silu = |x: f64| {
        let share = 1.0 / (1.0 + (-x).exp());
        share * (1.0 + x * (1.0 - share))
    };
    let most = (0..10_000).map(|i| silu(1e-3 * f64::from(i))).fold(0.0, f64::max);
    within("SiLU", most, 1.0998, 1e-4);
    assert!(steepest(&critic) <= most * most * (1.0 + 1e-3), "{}", steepest(&critic));
    assert!(steepest(&free) > 5.0 * steepest(&critic));
}

/// At equal distributions the best critic of slope at most 1 is any constant: a penalty drawn to slopes of 1 leaves the
/// generator with a push of 1, one drawn to 0 with nearly none.
#[test]
fn slopes_drawn_to_1_push_a_generator_that_is_right() {
    let push = |target: f64| {
        let penalty = format!("gradient-penalty, target = {target:?}");
        let (critic, [p, q]) =
            critic_of_equals("wasserstein", Some(&penalty), None, STEPS, 1).unwrap();
        generator_gradient(&critic, &p, &q, [0.0, 1.0]).unwrap()[0].abs()
    };
    let (one, zero) = (push(1.0), push(0.0));
    assert!(one > 0.9 && one < 1.1 && zero < 0.1, "{one}, {zero}");
}

#[test]
fn slopes_and_pushes_are_those_of_differences() {
    let (critic, [p, z]) =
        critic_of_equals(LOGISTIC, Some("spectral-norm"), Some(64), 50, 2).unwrap();
    let height =
        |x: f64| critic_slopes(&critic, Tensor::<2>::from_floats([[x as f32]], &cpu())).unwrap();
    for x in [-1.2, 0.1, 2.0] {
        let [_, slope] = height(x);
        within("slope", slope[0], difference(|x| height(x)[0][0], x, 0.05), 1e-3);
    }
    let loss = |m: f64, s: f64| {
        let q = z.clone() * s + m;
        let loss = critic.of_generator(&p, &q, &Condition::None).unwrap();
        f64::from(loss.into_scalar::<f32>())
    };
    let (m, s) = (0.3, 0.8);
    let found = generator_gradient(&critic, &p, &z, [m, s]).unwrap();
    within("shift", found[0], difference(|m| loss(m, s), m, 0.1), 1e-4);
    within("scale", found[1], difference(|s| loss(m, s), s, 0.1), 1e-4);
}
