//! The gap below log p: traces against integrals, weights against draws of the model, the page's numbers.

use crate::support::{moments, simpson, within};
use std::f64::consts::{LN_2, TAU};
use tweedie::Draws;
use tweedie::divergence::{FDivergence, Normal};
use tweedie::judge::lesson::{LinearModel, LinearPosterior, Matrix, Pairs, gap};

/// How many standard errors an estimate exceeds with probability 1e-6, both sides together.
const BAR: f64 = 4.9;

fn log_normal(x: f64, s: f64) -> f64 {
    -0.5 * (x / s).powi(2) - (s * TAU.sqrt()).ln()
}

/// ln p(x|z) + ln p(z).
fn joint(model: &LinearModel, x: [f64; 2], z: [f64; 2]) -> f64 {
    let left = |i: usize| x[i] - model.map[i][0] * z[0] - model.map[i][1] * z[1];
    let s = model.noise.sqrt();
    let prior = log_normal(z[0], 1.0) + log_normal(z[1], 1.0);
    log_normal(left(0), s) + log_normal(left(1), s) + prior
}

/// A x.
fn times(a: &Matrix, x: [f64; 2]) -> [f64; 2] {
    a.map(|row| row[0] * x[0] + row[1] * x[1])
}

/// ∬ f over a square.
fn square(reach: f64, f: impl Fn([f64; 2]) -> f64) -> f64 {
    simpson(-reach, reach, 200, |a| simpson(-reach, reach, 200, |b| f([a, b])))
}

/// A row x as data: its second moments are all that the traces see.
fn alone(x: [f64; 2]) -> Matrix {
    x.map(|a| x.map(|b| a * b))
}

/// Some q that is best for nothing.
const ANY: LinearPosterior =
    LinearPosterior { map: [[0.3, 0.1], [-0.2, 0.5]], covariance: [[0.4, 0.1], [0.1, 0.3]] };

#[test]
fn the_traces_are_integrals_over_z() {
    let x = [0.7, -1.1];
    for (theta, angle, noise) in [(0.8, 0.0, 0.5), (0.3, 0.6, 0.7)] {
        let model = LinearModel::coupled(theta, angle, noise);
        let log_p = square(9.0, |z| joint(&model, x, z).exp()).ln();
        within("log p", model.log_likelihood(&alone(x)), log_p, 1e-10);
        for q in [ANY, model.mean_field(), model.posterior()] {
            let mean = times(&q.map, x);
            let [[a, b], [_, d]] = q.covariance;
            // The second coordinate given the first.
            let (first, slope, rest) = (a.sqrt(), b / a, (d - b * b / a).sqrt());
            let bound = square(9.0, |u| {
                let z = [mean[0] + first * u[0], mean[1] + slope * first * u[0] + rest * u[1]];
                let unit = log_normal(u[0], 1.0) + log_normal(u[1], 1.0);
                unit.exp() * (joint(&model, x, z) - unit + first.ln() + rest.ln())
            });
            within("bound", model.elbo(&q, &alone(x)), bound, 1e-10);
            within("gap", model.gap(&q, &alone(x)), log_p - bound, 1e-10);
        }
    }
}

#[test]
fn the_gap_is_the_difference_and_the_divergence_of_two_gaussians() {
    let data = LinearModel::coupled(0.8, 0.0, 0.5).covariance();
    for theta in [0.0, 0.4, 0.8, 1.5] {
        let model = LinearModel::coupled(theta, 0.3, 0.5);
        for q in [ANY, model.mean_field(), model.posterior()] {
            let difference = model.log_likelihood(&data) - model.elbo(&q, &data);
            within("gap", model.gap(&q, &data), difference, 1e-10);
        }
        let x = [1.3, 0.4];
        let normal = |q: &LinearPosterior| {
            let mean = times(&q.map, x);
            let [[a, b], [_, d]] = q.covariance;
            Normal::new(mean.to_vec(), &[a, b, b, d]).unwrap()
        };
        let kl =
            FDivergence::Kl.between(&normal(&ANY), &normal(&model.posterior())).unwrap().unwrap();
        within("KL", model.gap(&ANY, &alone(x)), kl, 1e-10);
        within("exact", model.gap(&model.posterior(), &data), 0.0, 1e-12);
    }
}

#[test]
fn no_other_diagonal_q_has_a_smaller_gap() {
    let model = LinearModel::coupled(0.8, 0.2, 0.5);
    let data = LinearModel::coupled(0.5, 0.0, 0.4).covariance();
    let best = model.mean_field();
    let least = model.gap(&best, &data);
    within("closed form", least, -0.5 * (1.0 - model.correlation().powi(2)).ln(), 1e-12);
    for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for step in [-0.01, 0.01] {
            let mut q = best;
            q.map[i][j] += step;
            assert!(model.gap(&q, &data) > least + 1e-6);
            let mut q = best;
            q.covariance[i][i] += step;
            assert!(model.gap(&q, &data) > least + 1e-6);
        }
    }
    // Turned by 45°, the columns of W are orthogonal, and the density is the same.
    let turned = LinearModel::coupled(0.8, std::f64::consts::FRAC_PI_4, 0.5);
    within("log p", turned.log_likelihood(&data), model.log_likelihood(&data), 1e-12);
    within("turned", turned.gap(&turned.mean_field(), &data), 0.0, 1e-12);
}

/// The bound by k weights from draws of q and the densities of the model, against the law of its weights.
#[test]
fn bounds_by_weights_are_those_of_the_model_s_own_weights() {
    let (x, k, n) = ([0.9, -0.3], 5, 20_000u64);
    let model = LinearModel::coupled(0.8, 0.0, 0.5);
    let (q, draws) = (model.mean_field(), Draws::new(5));
    let mean = times(&q.map, x);
    let deviation = [q.covariance[0][0].sqrt(), q.covariance[1][1].sqrt()];
    let bound = |row: u64| {
        let weight = |j: u64| {
            let u = [0, 1].map(|i| draws.normal_f64(row, 2 * j + i));
            let z = [0, 1].map(|i| mean[i] + deviation[i] * u[i]);
            let own = [0, 1].map(|i| log_normal(deviation[i] * u[i], deviation[i]));
            (joint(&model, x, z) - own[0] - own[1]).exp()
        };
        ((0..k).map(weight).sum::<f64>() / k as f64).ln()
    };
    let (mean_bound, variance) = moments(&(0..n).map(bound).collect::<Vec<_>>());
    let gaps = Pairs::new(5, n, &Draws::new(6)).gaps(model.correlation());
    let (mean_gap, spread) = moments(&gaps);
    let error = ((variance + spread) / n as f64).sqrt();
    let found = model.log_likelihood(&alone(x)) - mean_bound;
    within("gap", mean_gap, found, BAR * error);
}

#[test]
fn more_weights_close_the_gap_and_one_leaves_it_as_it_is() {
    for rho in [-0.6, 0.2, 0.75] {
        let exact = -0.5 * f64::ln_1p(-rho * rho);
        let found = [1, 5, 50].map(|k| {
            let gaps = Pairs::new(k, 4000, &Draws::new(7)).gaps(rho);
            let (mean, variance) = moments(&gaps);
            (mean, BAR * (variance / 4000.0).sqrt())
        });
        within("one weight", found[0].0, exact, 1e-12);
        assert!(found[1].0 + found[1].1 < exact && found[1].0 > found[1].1, "{found:?}");
        assert!(found[2].0 + found[2].1 < found[1].0 - found[1].1, "{found:?}");
    }
}

/// On the line, with q the posterior cut off below its mean: ln 2 is missing, however many weights there are, since all
/// weights are equal.
#[test]
fn a_posterior_that_is_cut_off_leaves_ln_2_for_every_number_of_weights() {
    let (x, s): (f64, f64) = (0.8, 0.6);
    let log_joint = |z: f64| log_normal(x - z, s) + log_normal(z, 1.0);
    let log_p = log_normal(x, s.hypot(1.0));
    let (mean, deviation) = (x / (1.0 + s * s), s / s.hypot(1.0));
    let q = |z: f64| 2.0 * log_normal(z - mean, deviation).exp();
    let bound = simpson(mean, mean + 9.0, 4000, |z| q(z) * (log_joint(z) - q(z).ln()));
    within("bound", bound, log_p - LN_2, 1e-9);
    for z in [mean, mean + 0.1, mean + 2.0] {
        within("weight", log_joint(z) - q(z).ln(), log_p - LN_2, 1e-12);
    }
}

/// KL(N(0, ¼) ‖ p) of mixtures p of N(μ, 1): none is below that of N(0, 1).
#[test]
fn decoders_with_noise_held_at_1_do_not_reach_narrow_data() {
    let kl = |means: &[f64]| {
        simpson(-4.0, 4.0, 400, |x| {
            let p = means.iter().map(|m| log_normal(x - m, 1.0).exp()).sum::<f64>();
            let log_data = log_normal(x, 0.5);
            log_data.exp() * (log_data - (p / means.len() as f64).ln())
        })
    };
    let least = kl(&[0.0]);
    within("constant", least, 0.5 * (0.25 - 1.0 - 0.25f64.ln()), 1e-9);
    let draws = Draws::new(8);
    for row in 0..200 {
        let spread = draws.uniform_f64(row, 9);
        let means: Vec<f64> = (0..4).map(|j| spread * draws.normal_f64(row, j)).collect();
        assert!(kl(&means) > least, "{means:?}");
    }
}

#[test]
fn the_page_of_the_gap_has_what_it_says() {
    let lesson = gap().unwrap();
    for (file, image) in &lesson.pictures {
        assert!(lesson.text.contains(&format!("(images/{file})")) && image.width() >= 1400);
    }
    let of = |path: &str| lesson.figures.pointer(path).and_then(serde_json::Value::as_f64).unwrap();
    within("log p", of("/optima/0/theta"), 0.8, 1e-6);
    let kl = |theta: f64| {
        let [p, q] = [0.8, theta].map(|theta| {
            let [[a, b], [_, d]] = LinearModel::coupled(theta, 0.0, 0.5).covariance();
            Normal::new(vec![0.0; 2], &[a, b, b, d]).unwrap()
        });
        FDivergence::Kl.between(&p, &q).unwrap().unwrap()
    };
    for k in 1..6 {
        let theta = of(&format!("/optima/{k}/theta"));
        within("KL", of(&format!("/optima/{k}/kl")), kl(theta), 1e-10);
        assert!(k == 3 || theta < 0.75, "{k}: {theta}");
    }
    // More weights, a θ nearer to that of log p: by far more than the error.
    let error = of("/optima/4/error").hypot(of("/optima/5/error"));
    assert!(of("/optima/4/theta") - of("/optima/1/theta") > BAR * of("/optima/4/error"));
    assert!(of("/optima/5/theta") - of("/optima/4/theta") > BAR * error);
    within("exact steps", of("/turns/0/theta/4"), 0.8, 1e-3);
    within("diagonal steps", of("/turns/1/theta/4"), of("/optima/1/theta"), 1e-3);
    assert!(of("/turns/1/change/0") < -1e-3 && of("/turns/1/change/1") > 1e-3);
}

/// The second of the page's noises, 0.4, by a decoder inverted here and p(x) as an integral over z.
#[test]
fn the_gap_of_a_free_decoder_is_the_divergence_from_its_posterior() {
    let lesson = gap().unwrap();
    let sigma = 0.4;
    let below = |x: f64| 0.5 * libm::erfc(-x / 2f64.sqrt());
    let cumulative = |x: f64| 0.5 * (below((x + 1.0) / 0.5) + below((x - 1.0) / 0.5));
    let density = |x: f64| 0.5 * (log_normal(x + 1.0, 0.5).exp() + log_normal(x - 1.0, 0.5).exp());
    let decoded = |z: f64| {
        let (mut low, mut high) = (-9.0, 9.0);
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            if cumulative(middle) < below(z) { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    };
    let grid: Vec<(f64, f64)> =
        (0..1200).map(|i| -6.0 + (f64::from(i) + 0.5) / 100.0).map(|z| (z, decoded(z))).collect();
    let integral =
        |f: &dyn Fn(f64, f64) -> f64| grid.iter().map(|(z, g)| f(*z, *g)).sum::<f64>() / 100.0;
    let (mut kl, mut gap) = (0.0, 0.0);
    for (m, x) in grid.iter().step_by(5).filter(|(m, _)| m.abs() < 5.0) {
        let mass = log_normal(*m, 1.0).exp() * 0.05;
        let p = integral(&|z, g| (log_normal(x - g, sigma) + log_normal(z, 1.0)).exp());
        let slope = log_normal(*m, 1.0).exp() / density(*x);
        let s = (1.0 + (slope / sigma).powi(2)).sqrt().recip();
        kl += mass * (density(*x).ln() - p.ln());
        gap += mass
            * integral(&|z, g| {
                let log_q = log_normal(z - m, s);
                log_q.exp() * (log_q - log_normal(x - g, sigma) - log_normal(z, 1.0) + p.ln())
            });
    }
    let of = |path: &str| lesson.figures.pointer(path).and_then(serde_json::Value::as_f64).unwrap();
    within("KL", of("/blurred/1/kl"), kl, 2e-4);
    within("gap", of("/blurred/1/gap"), gap, 2e-3);
}
