//! Bridges against closed forms, Bayes' rule, their own diffusions and simulated paths.

use crate::oracle::{EDM, OU, VP, doubles, gap, host, orders};
use crate::support::{SIX_SIGMA, close, schedules, within};
use std::sync::Arc;
use tweedie::process::{Axis, Bridge, BrownianTree, LinearSde, Mesh, Schedule};
use tweedie::{Draws, Error};

const ENDS: (f64, f64) = (0.7, -1.9);

fn bridge(schedule: &(impl Schedule + Clone + 'static), times: (f64, f64)) -> Bridge {
    let (a, b) = (doubles(&[ENDS.0], 1), doubles(&[ENDS.1], 1));
    Bridge::new(Arc::new(schedule.clone()), times, a, b).unwrap()
}

fn wiener() -> LinearSde {
    LinearSde::new(|_| 0.0, |_| 0.0, |_| 1.0, (1e-3, 3.0)).unwrap()
}

/// Mean and variance of x_t.
fn marginal(bridge: &Bridge, t: f64) -> (f64, f64) {
    let (mean, sd) = bridge.marginal(t).unwrap();
    (host(&mean)[0], sd * sd)
}

#[test]
fn brownian_and_ornstein_uhlenbeck_bridges_are_their_closed_forms() {
    for k in 0..=20 {
        let w = f64::from(k) / 20.0;
        let (s, t, end) = (0.0, 3.0 * w, 3.0);
        let (mean, variance) = marginal(&bridge(&wiener(), (s, end)), t);
        within("Brownian mean", mean, (1.0 - w) * ENDS.0 + w * ENDS.1, 1e-12);
        within("Brownian variance", variance, t * (end - t) / end, 1e-12);
        // dx = −x dt + √2 dW: hyperbolic sines.
        let (s, end) = (0.2, 2.5);
        let t = s + w * (end - s);
        let (mean, variance) = marginal(&bridge(&OU, (s, end)), t);
        let (back, forth, all) = ((t - s).sinh(), (end - t).sinh(), (end - s).sinh());
        within("OU mean", mean, (ENDS.0 * forth + ENDS.1 * back) / all, 1e-12);
        within("OU variance", variance, 2.0 * back * forth / all, 1e-12);
    }
}

#[test]
fn bridges_of_every_process_are_bayes_rule() {
    for (name, schedule) in schedules() {
        let (first, last) = schedule.range();
        let (high, low) = (schedule.level(first).lambda, schedule.level(last).lambda);
        let at = |w: f64| schedule.time(high + w * (low - high));
        let (s, end) = (at(0.2), at(0.9));
        let bridge = bridge(&schedule, (s, end));
        for w in [0.25, 0.5, 0.85] {
            let t = at(w);
            let (mean, variance) = marginal(&bridge, t);
            let (there, on) = (schedule.level(t), schedule.level(end));
            let (before, after) = (there.given(&schedule.level(s)), on.given(&there));
            // Precisions add.
            let precision = 1.0 / before.variance + after.alpha.powi(2) / after.variance;
            let pull =
                before.alpha * ENDS.0 / before.variance + after.alpha * ENDS.1 / after.variance;
            close(format!("variance, {name} at {t}"), variance, 1.0 / precision, 1e-9);
            within(
                format!("mean, {name} at {t}"),
                mean,
                pull / precision,
                1e-9 * (1.0 + mean.abs()),
            );
        }
        let (mean, variance) = marginal(&bridge, s);
        assert!((mean - ENDS.0).abs() < 1e-12 && variance == 0.0, "{name}");
        let (mean, variance) = marginal(&bridge, end);
        assert!((mean - ENDS.1).abs() < 1e-12 && variance == 0.0, "{name}");
    }
}

/// Mean and variance of Euler–Maruyama on the bridge's diffusion are recursions in its own coefficients.
#[test]
fn the_h_transform_has_the_bridge_s_marginals() {
    for (bridge, (s, end)) in [
        (bridge(&wiener(), (0.0, 3.0)), (0.0, 3.0)),
        (bridge(&VP, (0.1, 0.9)), (0.1, 0.9)),
        (bridge(&EDM, (0.5, 6.0)), (0.5, 6.0)),
    ] {
        let sde = bridge.sde();
        let mut errors = (Vec::new(), Vec::new());
        let stop = s + 0.75 * (end - s);
        for steps in [256, 512, 1024, 2048] {
            let h = (stop - s) / steps as f64;
            let (mut mean, mut variance) = (ENDS.0, 0.0);
            for k in 0..steps {
                let t = s + k as f64 * h;
                let x = doubles(&[0.0, 1.0], 1);
                let f = host(&sde.drift(&x, t).unwrap());
                let g = host(&sde.diffusion(&x, t).unwrap())[0];
                let slope = 1.0 + h * (f[1] - f[0]);
                (mean, variance) = (slope * mean + h * f[0], slope.powi(2) * variance + h * g * g);
            }
            let right = marginal(&bridge, stop);
            errors.0.push((mean - right.0).abs());
            errors.1.push((variance - right.1).abs());
        }
        for errors in [errors.0, errors.1] {
            // The mean of the Brownian bridge is exact.
            if errors.iter().all(|e| *e < 1e-12) {
                continue;
            }
            let orders = orders(&errors);
            assert!(orders.iter().all(|o| (o - 1.0).abs() < 0.15), "{errors:?}, {orders:?}");
        }
    }
}

#[test]
fn the_density_of_the_h_transform_moves_on_a_mesh_as_the_bridge() {
    let bridge = bridge(&VP, (0.1, 0.6));
    let mesh = Mesh::line(Axis { low: -5.0, high: 5.0, cells: 500 }).unwrap();
    let gaussian = |t: f64| {
        let (mean, variance) = marginal(&bridge, t);
        mesh.density(|x| (-0.5 * (x[0] - mean).powi(2) / variance).exp())
    };
    let times: Vec<f64> = (0..=800).map(|k| 0.2 + 0.3 * f64::from(k) / 800.0).collect();
    let end = mesh.evolve(&bridge.sde(), gaussian(0.2), &times, |_, _| {}).unwrap();
    let far = 0.5
        * mesh.volume()
        * end.iter().zip(gaussian(0.5)).map(|(p, q)| (p - q).abs()).sum::<f64>();
    assert!(far < 3e-3, "{far:e}");
}

#[test]
fn paths_have_the_bridge_s_law_at_any_spacing_and_end_where_they_must() {
    let n = 20_000u64;
    let rows: Vec<u64> = (0..n).collect();
    let tree = BrownianTree::new(Draws::new(31), (0.0, 3.0)).unwrap();
    let bridge = bridge(&VP, (0.1, 0.9));
    let times = [0.15, 0.3, 0.31, 0.4, 0.9];
    let path: Vec<Vec<f64>> =
        bridge.paths(&times, &rows, &tree).unwrap().iter().map(host).collect();
    let count = n as f64;
    for (t, x) in times.iter().zip(&path).take(4) {
        let (mean, variance) = marginal(&bridge, *t);
        let (m, v) = crate::support::moments(x);
        within(format!("mean at {t}"), m, mean, SIX_SIGMA * (variance / count).sqrt());
        close(format!("variance at {t}"), v, variance, SIX_SIGMA * (2.0 / count).sqrt());
    }
    // cov(x_s, x_t) = (dx̄_t/dx_s) var x_s: what x_s leaves in the mean of the bridge from there.
    let (s, t) = (0.3, 0.4);
    let on = Bridge::new(Arc::new(VP), (s, 0.9), doubles(&[0.0, 1.0], 1), doubles(&[0.0], 1));
    let mean = host(&on.unwrap().marginal(t).unwrap().0);
    let (a, b) = (marginal(&bridge, s), marginal(&bridge, t));
    let products = path[1].iter().zip(&path[3]).map(|(x, y)| (x - a.0) * (y - b.0));
    let covariance = products.sum::<f64>() / count;
    let right = (mean[1] - mean[0]) * a.1;
    let spread = ((a.1 * b.1 + right * right) / count).sqrt();
    within("covariance", covariance, right, SIX_SIGMA * spread);
    assert!(right > 3.0 * SIX_SIGMA * spread);
    let ends = vec![ENDS.1; rows.len()];
    assert!(gap(&path[4], &ends) < 1e-12);
}

#[test]
fn impossible_bridges_are_refused() {
    let one = |v: f64| doubles(&[v], 1);
    let vp = || Arc::new(VP);
    for times in [(0.5, 0.5), (0.5, 0.1), (f64::NAN, 0.5)] {
        assert!(matches!(Bridge::new(vp(), times, one(0.0), one(1.0)), Err(Error::Config { .. })));
    }
    let wide = Bridge::new(vp(), (0.1, 0.5), one(0.0), doubles(&[0.0, 1.0], 2));
    assert!(matches!(wide, Err(Error::Shape { .. })));
    let long = Bridge::new(vp(), (0.1, 0.5), doubles(&[0.0; 2], 1), doubles(&[0.0; 3], 1));
    assert!(matches!(long, Err(Error::Shape { .. })));
    let two = Bridge::new(vp(), (0.1, 0.5), one(0.0), doubles(&[0.0; 2], 1)).unwrap();
    assert!(matches!(two.marginal(0.6), Err(Error::Config { .. })));
    let draws = Draws::new(1);
    assert!(matches!(two.paths(&[0.2], &[1, 2, 3], &draws), Err(Error::Shape { .. })));
    assert!(matches!(two.paths(&[0.2, 0.6], &[1, 2], &draws), Err(Error::Config { .. })));
}
