//! Weights of paths under a pair of chains: constant for exact reversals, of mean one, and inverse both ways.

use crate::support::{doubles, host, within};
use std::f64::consts::TAU;
use tweedie::Draws;
use tweedie::burn::tensor::Tensor;
use tweedie::data::Rows;
use tweedie::path::{Direction, Gaussian, Pair, weighted_path};
use tweedie::process::Noise;
use tweedie::tensor::mean_and_error;

/// x_{k+1} = a x_k + √q z from N(0, c), and back by the exact reversal with its mean and variance multiplied by `off`.
struct Linear {
    a: f64,
    q: f64,
    c: f64,
    off: f64,
    steps: usize,
}

impl Linear {
    fn new(off: f64) -> Self {
        Self { a: 0.8, q: 0.5, c: 0.3, off, steps: 6 }
    }

    /// The variance of x_k.
    fn variance(&self, k: usize) -> f64 {
        (0..k).fold(self.c, |v, _| self.a * self.a * v + self.q)
    }
}

impl Pair for Linear {
    fn steps(&self) -> usize {
        self.steps
    }

    fn forward(&self, _: usize, x: &Tensor<2>) -> tweedie::Result<Gaussian> {
        Ok(Gaussian { mean: x.clone().mul_scalar(self.a), variance: self.q })
    }

    fn backward(&self, k: usize, next: &Tensor<2>) -> tweedie::Result<Gaussian> {
        let (here, there) = (self.variance(k), self.variance(k + 1));
        let mean = next.clone().mul_scalar(self.off * self.a * here / there);
        Ok(Gaussian { mean, variance: self.off * self.q * here / there })
    }
}

/// One step of a pair.
struct Only<'a>(&'a Linear, usize);

impl Pair for Only<'_> {
    fn steps(&self) -> usize {
        1
    }

    fn forward(&self, _: usize, x: &Tensor<2>) -> tweedie::Result<Gaussian> {
        self.0.forward(self.1, x)
    }

    fn backward(&self, _: usize, next: &Tensor<2>) -> tweedie::Result<Gaussian> {
        self.0.backward(self.1, next)
    }
}

/// ln N(x; 0, v I) of each row of two columns.
fn log_normal(x: &[f64], v: f64) -> Vec<f64> {
    let log = |row: &[f64]| -0.5 * row.iter().map(|x| x * x / v + (TAU * v).ln()).sum::<f64>();
    x.chunks(2).map(log).collect()
}

fn numbers(n: usize) -> Vec<u64> {
    (0..n as u64).collect()
}

/// `n` rows of N(0, v I).
fn normal(n: usize, v: f64, seed: u64) -> Tensor<2> {
    let draws = Draws::new(seed);
    let values = numbers(n).into_iter().flat_map(|i| [0, 1].map(|j| draws.normal_f64(i, j)));
    doubles(&values.map(|z| z * v.sqrt()).collect::<Vec<_>>(), 2)
}

/// For a Gaussian with its exact kernels ln w + ln p(x_K) is ln p(x_0), on every path.
#[test]
fn every_path_of_an_exact_pair_gives_the_log_density() {
    let (pair, n) = (Linear::new(1.0), 50);
    let v = pair.variance(pair.steps);
    for (direction, from, to) in [(Direction::Forward, pair.c, v), (Direction::Backward, v, pair.c)]
    {
        let x = normal(n, 2.0, 1);
        let (end, weights) =
            weighted_path(&pair, direction, x.clone(), &numbers(n), &Draws::new(2)).unwrap();
        let right = log_normal(&host(&x), from);
        let ends = log_normal(&host(&end), to);
        let spread = ends.iter().fold(0.0f64, |most, log| most.max((log - ends[0]).abs()));
        assert!(spread > 1.0, "the ends differ by {spread} nats only");
        for ((weight, end), right) in host(&weights).iter().zip(ends).zip(right) {
            within("ln w + ln p at the end", weight + end, right, 1e-12 * (1.0 + right.abs()));
        }
    }
}

/// Paths of one chain, weighted by the other's density over their own, are the other's paths: the weight's mean is 1,
/// and x_0 has the other chain's variance. Six standard errors, a false alarm of 2e-9 for each of four means.
#[test]
fn weighted_paths_of_one_chain_are_those_of_the_other() {
    let (pair, n) = (Linear::new(0.9), 200_000);
    let (c, v) = (pair.c, pair.variance(pair.steps));
    // Of x_0 under the backward chain from N(0, v).
    let back = (0..pair.steps).rev().fold(v, |v, k| {
        let share = pair.variance(k) / pair.variance(k + 1);
        (pair.off * pair.a * share).powi(2) * v + pair.off * pair.q * share
    });
    for (direction, [from, to], [own, right]) in
        [(Direction::Forward, [c, v], [c, back]), (Direction::Backward, [v, c], [back, c])]
    {
        let x = normal(n, from, 3);
        let (end, weights) =
            weighted_path(&pair, direction, x.clone(), &numbers(n), &Draws::new(4)).unwrap();
        let (x, end) = (host(&x), host(&end));
        let ratios = log_normal(&end, to).into_iter().zip(log_normal(&x, from));
        let weights = host(&weights).into_iter().zip(ratios);
        let weights: Vec<f64> =
            weights.map(|(weight, (end, start))| (weight + end - start).exp()).collect();
        let (mean, error) = mean_and_error(&weights);
        assert!(
            error < 0.01 && (mean - 1.0).abs() < 6.0 * error,
            "{direction:?}: {mean} ± {error}"
        );
        let x_0 = if direction == Direction::Forward { &x } else { &end };
        let squares = x_0.chunks(2).map(|row| 0.5 * (row[0] * row[0] + row[1] * row[1]));
        let squares: Vec<f64> = squares.zip(&weights).map(|(square, w)| square * w).collect();
        let (found, error) = mean_and_error(&squares);
        assert!((found - right).abs() < 6.0 * error, "{direction:?}: {found} ± {error}, {right}");
        assert!(
            (found - own).abs() > 6.0 * error,
            "{direction:?}: {found} ± {error}, {own} unweighted"
        );
    }
}

/// Noise recorded step by step, in single precision.
struct Replayed(Vec<Rows>);

impl Noise for Replayed {
    fn normals(&self, step: u64, _: &[u64], _: usize) -> Rows {
        self.0[step as usize].clone()
    }
}

/// The forward chain's path drawn again by the backward one, up to the rounding of the noise.
#[test]
fn a_path_weighs_both_ways_the_same_but_for_the_sign() {
    let (pair, n) = (Linear::new(0.7), 20);
    let (start, draws) = (normal(n, pair.c, 5), Draws::new(6));
    let (end, forward) =
        weighted_path(&pair, Direction::Forward, start.clone(), &numbers(n), &draws).unwrap();
    let (mut x, mut noise, mut sum) = (start.clone(), Vec::new(), vec![0.0; n]);
    for k in 0..pair.steps {
        let step = Noise::normals(&draws, k as u64, &numbers(n), 2);
        let one = Only(&pair, k);
        let (next, weights) =
            weighted_path(&one, Direction::Forward, x.clone(), &numbers(n), &Replayed(vec![step]))
                .unwrap();
        sum.iter_mut().zip(host(&weights)).for_each(|(sum, weight)| *sum += weight);
        let back = pair.backward(k, &next).unwrap();
        let z = (x - back.mean).div_scalar(back.variance.sqrt());
        noise.push(Rows::from_tensor(&z).unwrap());
        x = next;
    }
    noise.reverse();
    let (again, backward) =
        weighted_path(&pair, Direction::Backward, end.clone(), &numbers(n), &Replayed(noise))
            .unwrap();
    assert_eq!(host(&x), host(&end));
    for (there, back) in host(&start).iter().zip(host(&again)) {
        within("the start", back, *there, 1e-5);
    }
    for ((there, back), sum) in host(&forward).iter().zip(host(&backward)).zip(sum) {
        within("the sum of the steps", sum, *there, 1e-12 * (1.0 + there.abs()));
        within("ln w there and back", there + back, 0.0, 1e-4);
    }
    assert!(host(&forward).iter().any(|weight| weight.abs() > 1.0));
}
