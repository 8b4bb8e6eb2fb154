//! Dormand–Prince: tolerance, order, step sizes of each row, and errors where it cannot continue.

use crate::oracle::{
    COSINE, EDM, Gaussian3, VE, VP, doubles, eight_gaussians, gap, host, normals, orders, run,
};
use std::cell::Cell;
use tweedie::burn::tensor::Tensor;
use tweedie::denoise::Denoiser;
use tweedie::process::Schedule;
use tweedie::solve::{DormandPrince, Tolerance, integrate_adaptive};
use tweedie::{Error, Result};

/// A right-hand side.
type Slope<'a> = &'a dyn Fn(&[usize], &[f64], Tensor<2>) -> Result<Tensor<2>>;

fn both(tolerance: f64) -> Tolerance {
    Tolerance { atol: tolerance, rtol: tolerance }
}

/// Rotation by `rates[row]` radians per unit of time.
fn rotation(rates: &[f64]) -> impl Fn(&[usize], &[f64], Tensor<2>) -> Result<Tensor<2>> {
    move |active, _, y| {
        let rate: Vec<f64> = active.iter().map(|&i| rates[i]).collect();
        let turned = Tensor::cat(vec![y.clone().narrow(1, 1, 1).neg(), y.narrow(1, 0, 1)], 1);
        Ok(turned * doubles(&rate, 1))
    }
}

/// Where rotations by `rates` over the times `t` take (1, 0).
fn turned(rates: &[f64], t: &[f64]) -> Vec<f64> {
    rates.iter().zip(t).flat_map(|(r, t)| [(r * t).cos(), (r * t).sin()]).collect()
}

const TOLERANCES: [f64; 7] = [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9];

#[test]
fn the_tolerance_is_respected_and_the_order_is_5() {
    let rates = [0.3, 1.0, -2.5, 4.0];
    let start = doubles(&[1.0, 0.0].repeat(4), 2);
    let (t0, t1) = ([0.0; 4], [10.0; 4]);
    let mut table = Vec::new();
    for tolerance in TOLERANCES {
        let calls = Cell::new(0.0);
        let f = |active: &[usize], t: &[f64], y: Tensor<2>| {
            calls.set(calls.get() + active.len() as f64);
            rotation(&rates)(active, t, y)
        };
        let end = integrate_adaptive(f, start.clone(), &t0, &t1, both(tolerance)).unwrap();
        let error = gap(&host(&end), &turned(&rates, &t1));
        // Four rows, six turns of the fastest: the errors of its steps add up to some twenty tolerances.
        assert!(error < 40.0 * tolerance, "{error:e} at {tolerance:e}");
        assert!(error > tolerance, "{error:e} at {tolerance:e}: wasteful");
        table.push((error, calls.get()));
    }
    // Fifth order: the error falls as the fifth power of the number of evaluations.
    let slope = (table[6].0 / table[4].0).ln() / (table[6].1 / table[4].1).ln();
    assert!((-5.5..-4.8).contains(&slope), "{slope}: {table:?}");
}

#[test]
fn halved_steps_have_a_32nd_of_the_error() {
    // With an endless tolerance each interval is cut at fixed places, so only the intervals' number matters.
    // dy/dt = y cos t, y = exp(sin t).
    let f = |_: &[usize], t: &[f64], y: Tensor<2>| Ok(y * doubles(&[t[0].cos()], 1));
    let error = |intervals: usize| {
        let mut y = doubles(&[1.0], 1);
        for k in 0..intervals {
            let at = |k: usize| 6.0 * k as f64 / intervals as f64;
            y = integrate_adaptive(f, y, &[at(k)], &[at(k + 1)], both(1e9)).unwrap();
        }
        (host(&y)[0] - 6f64.sin().exp()).abs()
    };
    let errors: Vec<f64> = [32, 64, 128].map(error).to_vec();
    let orders = orders(&errors);
    assert!(orders.iter().all(|o| (o - 5.0).abs() < 0.15), "{errors:?}, orders {orders:?}");
}

#[test]
fn the_probability_flow_reaches_the_exact_end_within_tolerance() {
    let data = Gaussian3::new();
    for schedule in [VP, COSINE, VE, EDM, crate::support::schedule("chain")] {
        let (first, last) = schedule.range();
        let (from, to) = (schedule.level(last), schedule.level(first));
        let x = normals(8, 3, schedule.prior_sd(1.0), 21);
        let right = data.flow(&host(&x), &from, &to);
        for (tolerance, most) in [(1e-3, 120), (1e-6, 300), (1e-9, 700), (1e-12, 2500)] {
            let solver = DormandPrince { tolerance: both(tolerance) };
            let before = data.mixture.evaluations();
            let end = host(&run(&solver, &data.mixture, &schedule, x.clone(), &[from, to]));
            let error = gap(&end, &right);
            assert!(error < 40.0 * tolerance, "{schedule:?} at {tolerance:e}: {error:e}");
            let cost = (data.mixture.evaluations() - before) / 8;
            assert!(cost < most, "{schedule:?} at {tolerance:e}: {cost} evaluations a row");
        }
    }
}

#[test]
fn rows_choose_their_steps_alone() {
    let data = eight_gaussians();
    let solver = DormandPrince { tolerance: both(1e-7) };
    let levels = [COSINE.level(1.0), COSINE.level(0.0)];
    let x = normals(12, 2, 1.0, 22);
    let before = data.evaluations();
    let together = host(&run(&solver, &data, &COSINE, x.clone(), &levels));
    let cost = data.evaluations() - before;
    let mut costs = Vec::new();
    for i in 0..12 {
        let before = data.evaluations();
        let alone = host(&run(&solver, &data, &COSINE, x.clone().narrow(0, i, 1), &levels));
        costs.push(data.evaluations() - before);
        assert!(gap(&alone, &together[2 * i..2 * i + 2]) < 1e-12, "row {i}");
    }
    // Rows that arrive are evaluated no more: the batch costs what its rows cost.
    assert_eq!(cost, costs.iter().sum::<u64>());
    let (least, most) = (costs.iter().min().unwrap(), costs.iter().max().unwrap());
    assert!(most > least, "all rows took the same steps");
}

#[test]
fn rows_have_their_own_spans_and_directions() {
    let rates = [1.0, 40.0, 1.0, 2.0, 3.0];
    let (t0, t1) = ([0.0f64, 0.0, 5.0, 1.0, 0.0], [5.0, 1.0, 0.0, 1.0, 1e-3]);
    let rest = Cell::new(true);
    let f = |active: &[usize], t: &[f64], y: Tensor<2>| {
        assert_eq!(active.len(), y.dims()[0]);
        for (&i, &t) in active.iter().zip(t) {
            let (low, high) = (t0[i].min(t1[i]), t0[i].max(t1[i]));
            assert!(t >= low - 1e-12 && t <= high + 1e-12, "row {i} at {t}");
        }
        rest.set(rest.get() && !active.contains(&3));
        rotation(&rates)(active, t, y)
    };
    let start = doubles(&[1.0, 0.0].repeat(5), 2);
    let end = integrate_adaptive(f, start, &t0, &t1, both(1e-10)).unwrap();
    let spans: Vec<f64> = t0.iter().zip(&t1).map(|(a, b)| b - a).collect();
    assert!(gap(&host(&end), &turned(&rates, &spans)) < 1e-8);
    assert!(rest.get(), "a row that has nowhere to go was evaluated");
}

#[test]
fn integrating_there_and_back_returns_to_the_start() {
    let data = eight_gaussians();
    let solver = DormandPrince { tolerance: both(1e-9) };
    for schedule in [VP, COSINE, EDM] {
        let (first, last) = schedule.range();
        let (clean, noisy) = (schedule.level(first), schedule.level(last));
        let x = data.sample(16, &tweedie::Draws::new(23), &tweedie::burn::tensor::Device::flex());
        let noise = run(&solver, &data, &schedule, x.clone(), &[clean, noisy]);
        let back = run(&solver, &data, &schedule, noise.clone(), &[noisy, clean]);
        assert!(gap(&host(&back), &host(&x)) < 1e-8, "{schedule:?}");
        assert!(gap(&host(&noise), &host(&x)) > 0.5, "{schedule:?}: nothing moved");
    }
}

#[test]
fn what_cannot_be_integrated_is_an_error() {
    let start = || doubles(&[1.0, 1.0], 1);
    let diverges = |f: Slope, from: f64| {
        integrate_adaptive(f, start(), &[from; 2], &[from + 2.0; 2], Tolerance::default())
    };
    // NaN from the start, NaN later on, infinity, and a solution that blows up at t = 1.
    let nan = |_: &[usize], _: &[f64], y: Tensor<2>| Ok(y * f64::NAN);
    let later =
        |_: &[usize], t: &[f64], y: Tensor<2>| Ok(y * if t[0] > 0.5 { f64::NAN } else { 1.0 });
    let infinite = |_: &[usize], _: &[f64], y: Tensor<2>| Ok(y * f64::INFINITY);
    let blow_up = |_: &[usize], _: &[f64], y: Tensor<2>| Ok(y.square());
    for (name, found) in [
        ("nan", diverges(&nan, 0.0)),
        ("nan", diverges(&nan, -3.0)),
        ("later", diverges(&later, 0.0)),
        ("infinite", diverges(&infinite, 0.0)),
        ("blow-up", diverges(&blow_up, 0.0)),
    ] {
        match found {
            Err(Error::Diverged { what, .. }) => assert!(what.contains("row 0"), "{name}: {what}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    // The right-hand side's own error passes through.
    let fails = |_: &[usize], _: &[f64], _: Tensor<2>| Err(Error::undefined("it", "a test"));
    assert!(matches!(diverges(&fails, 0.0), Err(Error::Undefined { .. })));
}

#[test]
fn a_stiff_equation_ends_by_an_error() {
    // y' = −10⁹ (y − cos t): an explicit method would need 10⁹ steps.
    let f = |_: &[usize], t: &[f64], y: Tensor<2>| Ok((y - t[0].cos()) * -1e9);
    let found = integrate_adaptive(f, doubles(&[1.0], 1), &[0.0], &[1.0], Tolerance::default());
    assert!(matches!(found, Err(Error::Diverged { .. })), "{found:?}");
}
