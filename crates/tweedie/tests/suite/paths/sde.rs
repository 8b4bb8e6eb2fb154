//! The forward simulator: orders on geometric Brownian motion, whose paths and moments are closed forms.

use crate::oracle::{doubles, host, orders};
use crate::support::cpu;
use tweedie::burn::tensor::Tensor;
use tweedie::data::Rows;
use tweedie::process::{BrownianTree, Noise, Sde};
use tweedie::{Draws, Error};

const MU: f64 = 0.7;
const VOLATILITY: f64 = 0.6;

fn geometric() -> Sde {
    Sde::new(|x, _| x.clone().mul_scalar(MU), |x, _| x.clone().mul_scalar(VOLATILITY))
}

fn times(steps: usize) -> Vec<f64> {
    (0..=steps).map(|k| k as f64 / steps as f64).collect()
}

#[test]
fn multiplicative_noise_has_strong_order_one_half() {
    let n = 20_000;
    let rows: Vec<u64> = (0..n).collect();
    let tree = BrownianTree::new(Draws::new(11), (0.0, 1.0)).unwrap();
    let start = doubles(&vec![1.0; n as usize], 1);
    let at_1 = tree.increments(0, &[(0.0, 1.0)], &rows, 1);
    let exact = |w: f32| (MU - 0.5 * VOLATILITY.powi(2) + VOLATILITY * f64::from(w)).exp();
    let error = |steps: usize| {
        let x = geometric().simulate(start.clone(), &times(steps), &rows, &tree, |_, _| {});
        let each = host(&x.unwrap()).into_iter().zip(at_1.values());
        (each.map(|(x, w)| (x - exact(*w)).powi(2)).sum::<f64>() / n as f64).sqrt()
    };
    let errors: Vec<f64> = [32, 64, 128, 256].map(error).into();
    let orders = orders(&errors);
    assert!(orders.iter().all(|o| (o - 0.5).abs() < 0.15), "{errors:?}, orders {orders:?}");
}

#[test]
fn additive_noise_has_strong_order_1() {
    // dx = −sin(2x) dt + (1 + t) dW, against 16 times as many steps on the same paths.
    let sde = Sde::new(
        |x, _| x.clone().mul_scalar(2.0).sin().neg(),
        |x, t| Tensor::full([1, 1], 1.0 + t, (&x.device(), x.dtype())),
    );
    let rows: Vec<u64> = (0..4000).collect();
    let tree = BrownianTree::new(Draws::new(12), (0.0, 1.0)).unwrap();
    let end = |steps: usize| {
        let start = doubles(&vec![0.4; 8000], 2);
        host(&sde.simulate(start, &times(steps), &rows, &tree, |_, _| {}).unwrap())
    };
    let finest = end(4096);
    let error = |steps: usize| {
        let square: f64 = end(steps).iter().zip(&finest).map(|(a, b)| (a - b).powi(2)).sum();
        (square / 8000.0).sqrt()
    };
    let errors: Vec<f64> = [32, 64, 128, 256].map(error).into();
    let orders = orders(&errors);
    assert!(orders.iter().all(|o| (o - 1.0).abs() < 0.15), "{errors:?}, orders {orders:?}");
}

/// All paths of noise ±1: row r has the sign of bit k of r at step k.
struct Signs;

impl Noise for Signs {
    fn normals(&self, step: u64, rows: &[u64], width: usize) -> Rows {
        let sign = |row: &u64| if row >> step & 1 == 1 { 1.0 } else { -1.0 };
        let values = rows.iter().flat_map(|row| vec![sign(row); width]).collect();
        Rows::new(values, width).unwrap()
    }
}

/// A step is linear in its noise, so its mean and mean square over ±1 are those over N(0, 1): averages over all sign
/// paths are the exact moments of the scheme. A step multiplies x, so they are also the products of one step's.
#[test]
fn moments_have_weak_order_1() {
    let moment = |steps: usize, power: i32| {
        let one = |pair: &[f64]| {
            let start = doubles(&[1.0, 1.0], 1);
            let x = host(&geometric().simulate(start, pair, &[0, 1], &Signs, |_, _| {}).unwrap());
            0.5 * (x[0].powi(power) + x[1].powi(power))
        };
        times(steps).windows(2).map(one).product::<f64>()
    };
    let rows: Vec<u64> = (0..1 << 10).collect();
    let start = doubles(&vec![1.0; rows.len()], 1);
    let x = host(&geometric().simulate(start, &times(10), &rows, &Signs, |_, _| {}).unwrap());
    for (power, exact) in [(1, MU.exp()), (2, (2.0 * MU + VOLATILITY.powi(2)).exp())] {
        let mean = x.iter().map(|x| x.powi(power)).sum::<f64>() / x.len() as f64;
        assert!((mean - moment(10, power)).abs() < 1e-12 * exact);
        let errors = [64, 128, 256, 512].map(|steps| (moment(steps, power) - exact).abs());
        let orders = orders(&errors);
        assert!(orders.iter().all(|o| (o - 1.0).abs() < 0.15), "{errors:?}, orders {orders:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let rows = [0, 1];
    let (noise, x) = (Draws::new(1), || doubles(&[0.0, 1.0], 1));
    let go =
        |sde: &Sde, times: &[f64], rows: &[u64]| sde.simulate(x(), times, rows, &noise, |_, _| {});
    for times in [&[][..], &[0.0, 0.0], &[1.0, 0.0], &[0.0, f64::NAN], &[0.0, f64::INFINITY]] {
        assert!(matches!(go(&geometric(), times, &rows), Err(Error::Config { .. })), "{times:?}");
    }
    assert!(matches!(go(&geometric(), &[0.0, 1.0], &[0]), Err(Error::Shape { .. })));
    let wide = Sde::new(|_, _| Tensor::zeros([2, 3], &cpu()), |x, _| x.clone());
    assert!(matches!(go(&wide, &[0.0, 1.0], &rows), Err(Error::Shape { .. })));
    let bursting = Sde::new(|x, _| x.clone().recip(), |x, _| x.clone());
    assert!(matches!(go(&bursting, &[0.0, 1.0], &rows), Err(Error::Diverged { .. })));
    // One time is no step.
    assert_eq!(host(&go(&bursting, &[3.0], &rows).unwrap()), [0.0, 1.0]);
}
