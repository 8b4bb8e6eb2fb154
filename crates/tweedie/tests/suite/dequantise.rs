//! Dequantisation against probabilities of integers that are known: uniform, and learnt through exact densities and
//! bounds.

use crate::oracle::{COSINE, gaussian};
use crate::support::*;
use burn::tensor::{Tensor, TensorData};
use std::sync::Arc;
use tweedie::data::{Condition, Coordinate, Kind, Layout, Rows, Space, Split};
use tweedie::denoise::{Component, GaussianMixture};
use tweedie::density::{
    Bound, Density, Dequantise, Dequantiser, InSpace, Kind as LogKind, LogProb, Measure,
    RawDensity, Uniform,
};
use tweedie::nn::{Params, collect_params, map_params};
use tweedie::objective::LogDensity;
use tweedie::process::Level;
use tweedie::train::{DequantiserFit, fit_dequantiser};
use tweedie::{Draws, Result};

/// A mixture's own density, without any diffusion.
struct Exact(GaussianMixture);

impl Density for Exact {
    fn log_prob(&self, x: Tensor<2>, _: &Condition) -> Result<LogProb> {
        let value = host(&self.0.log_density(x, &Level::clean(0.0).into())?);
        let (kind, measure) = (LogKind::Exact, Measure::Standardised);
        Ok(LogProb { value, kind, standard_error: None, measure })
    }
}

/// `columns` columns of integers 0 to `most`.
fn integers(columns: usize, most: i64) -> Space {
    let half = 0.5 * (most + 1) as f64;
    let kind = Kind::Quantised { low: Some(0), high: Some(most) };
    let column = Coordinate { shift: half, scale: half, kind, ..Coordinate::real("count") };
    Space::new(Layout::Vector { width: columns }, vec![column]).unwrap()
}

/// Components of (weight, mean, standard deviation) on the line of raw units, in model units.
fn line(parts: &[(f64, f64, f64)], space: &Space) -> GaussianMixture {
    let c = space.coordinate(0);
    let part = |&(w, m, sd): &(f64, f64, f64)| {
        Component::isotropic(w, vec![(m - c.shift) / c.scale], (sd / c.scale).powi(2))
    };
    GaussianMixture::new(parts.iter().map(part).collect()).unwrap()
}

/// Means over many draws, for each of `cells`, of the bound of its log probability, with their standard errors.
fn bounds(
    density: &dyn Density,
    dequantise: &dyn Dequantise,
    space: &Space,
    cells: &[Vec<f32>],
) -> Vec<(f64, f64)> {
    let (each, device) = (4000, cpu());
    let of = |(k, cell): (usize, &Vec<f32>)| {
        let raw = Rows::new(cell.repeat(each), space.width()).unwrap();
        let draws = Draws::new(70 + k as u64);
        let raw_density =
            InSpace { density, space, dequantise, draws, device: &device, chunk: 1000 };
        let found = raw_density.log_prob(&raw, &Condition::None, &mut |_| {}).unwrap();
        assert_eq!((found.kind, found.measure), (LogKind::LowerBound, Measure::Counting));
        let (mean, variance) = moments(&found.value);
        (mean, (variance / each as f64).sqrt())
    };
    cells.iter().enumerate().map(of).collect()
}

/// Σ P (ln P − bound) and its error, after checking that every bound is one.
fn gap(probabilities: &[f64], bounds: &[(f64, f64)]) -> (f64, f64) {
    let (mut gap, mut square) = (0.0, 0.0);
    for (p, (mean, error)) in probabilities.iter().zip(bounds) {
        assert!(*mean < p.ln() + SIX_SIGMA * error + 1e-5, "{mean} ± {error}, ln P {}", p.ln());
        gap += p * (p.ln() - mean);
        square += (p * error).powi(2);
    }
    (gap, square.sqrt())
}

/// A dequantiser fitted to cells drawn by their probabilities.
fn fitted(
    log_p: LogDensity,
    space: &Space,
    (cells, p): (&[Vec<f32>], &[f64]),
    (steps, learning_rate): (u64, f64),
) -> Dequantiser {
    let draws = Draws::new(71).purpose("cells");
    let cell = |i: u64| {
        let mut u = draws.uniform_f64(i, 0) * p.iter().sum::<f64>();
        let found = p.iter().position(|p| {
            u -= p;
            u < 0.0
        });
        cells[found.unwrap_or(0)].clone()
    };
    let raw = Rows::new((0..2000).flat_map(cell).collect(), space.width()).unwrap();
    let rows = Split::new(raw, None).unwrap();
    let fresh = Dequantiser::new(space, 32, &Draws::new(72), &cpu()).unwrap();
    let fit = DequantiserFit { steps, batch: 256, learning_rate, seed: 73 };
    fit_dequantiser(fresh, log_p, (&rows, space), fit, |_, _| {}).unwrap()
}

#[test]
fn a_learnt_dequantiser_closes_most_of_the_gap_to_known_probabilities() {
    // Bins as wide as the components are: the integers' probabilities are differences of Φ.
    let space = integers(1, 7);
    let parts = [(0.6, 2.7, 0.5), (0.4, 5.3, 0.7)];
    let mixture = || line(&parts, &space);
    let density = |x: f64| {
        let part = |(w, m, sd): &(f64, f64, f64)| {
            w * (-0.5 * ((x - m) / sd).powi(2)).exp() / (sd * std::f64::consts::TAU.sqrt())
        };
        parts.iter().map(part).sum::<f64>()
    };
    let p: Vec<f64> = (0..8).map(|k| simpson(k as f64, k as f64 + 1.0, 64, density)).collect();
    let cells: Vec<Vec<f32>> = (0..8).map(|k| vec![k as f32]).collect();
    let exact = Exact(mixture());
    let (of_uniform, error) = gap(&p, &bounds(&exact, &Uniform, &space, &cells));
    // The uniform gap is known: ln P less the mean of ln p over the bin.
    let mean = |k: usize| simpson(k as f64, k as f64 + 1.0, 64, |x| density(x).ln());
    let known: f64 = p.iter().enumerate().map(|(k, p)| p * (p.ln() - mean(k))).sum();
    within("uniform", of_uniform, known, SIX_SIGMA * error + 1e-5);

    let clean = Level::clean(0.0).into();
    let oracle = mixture();
    let log_p = |x: Tensor<2>, _: &Condition, _: &Draws| oracle.log_density(x, &clean);
    let learnt = fitted(&log_p, &space, (&cells, &p), (600, 1e-2));
    let (through_density, error) = gap(&p, &bounds(&exact, &learnt, &space, &cells));
    println!(
        "uniform {of_uniform:.4}, learnt through the density {through_density:.4} ± {error:.4}"
    );
    assert!(through_density + SIX_SIGMA * error < of_uniform / 4.0);

    let bound = Bound::continuous(Arc::new(mixture()), Arc::new(COSINE));
    let estimate = |x: Tensor<2>, of: &Condition, draws: &Draws| bound.estimate(x, of, draws);
    let learnt = fitted(&estimate, &space, (&cells, &p), (3000, 2e-3));
    let (through_bound, error) = gap(&p, &bounds(&exact, &learnt, &space, &cells));
    println!("learnt through the variational bound {through_bound:.4} ± {error:.4}");
    assert!(through_bound + SIX_SIGMA * error < of_uniform / 3.0);
}

#[test]
fn columns_that_depend_on_each_other_are_bounded_from_below() {
    // One Gaussian of correlation 0.6 over 4 × 4 cells.
    let space = integers(2, 3);
    let (sd, r) = (0.7 / 2.0, 0.6);
    let covariance = [sd * sd, r * sd * sd, r * sd * sd, sd * sd];
    let mixture = || {
        GaussianMixture::new(vec![Component::full(1.0, vec![0.1, -0.05], &covariance).unwrap()])
            .unwrap()
    };
    let density = |a: f64, b: f64| {
        let (x, y) = (((a - 2.0) / 2.0 - 0.1) / sd, ((b - 2.0) / 2.0 + 0.05) / sd);
        let square = (x * x - 2.0 * r * x * y + y * y) / (1.0 - r * r);
        (-0.5 * square).exp() / (std::f64::consts::TAU * 4.0 * sd * sd * (1.0 - r * r).sqrt())
    };
    let cells: Vec<Vec<f32>> = (0..16).map(|k| vec![(k / 4) as f32, (k % 4) as f32]).collect();
    let of_cell = |cell: &Vec<f32>| {
        let [a, b] = [cell[0], cell[1]].map(f64::from);
        simpson(a, a + 1.0, 32, |x| simpson(b, b + 1.0, 32, |y| density(x, y)))
    };
    let p: Vec<f64> = cells.iter().map(of_cell).collect();
    let exact = Exact(mixture());
    let (of_uniform, _) = gap(&p, &bounds(&exact, &Uniform, &space, &cells));
    let clean = Level::clean(0.0).into();
    let oracle = mixture();
    let log_p = |x: Tensor<2>, _: &Condition, _: &Draws| oracle.log_density(x, &clean);
    let learnt = fitted(&log_p, &space, (&cells, &p), (600, 1e-2));
    let (left, error) = gap(&p, &bounds(&exact, &learnt, &space, &cells));
    println!("uniform {of_uniform:.4}, learnt {left:.4} ± {error:.4}");
    // Columns are drawn one by one, so that their dependence within a cell is lost.
    assert!(left + SIX_SIGMA * error < of_uniform / 3.0);
}

#[test]
fn a_flat_density_keeps_the_uniform_dequantiser() {
    let space = integers(2, 3);
    let cells: Vec<Vec<f32>> = (0..16).map(|k| vec![(k / 4) as f32, (k % 4) as f32]).collect();
    let flat = |x: Tensor<2>, _: &Condition, _: &Draws| Ok(x.mul_scalar(0.0).sum_dim(1));
    let learnt = fitted(&flat, &space, (&cells, &[1.0; 16]), (600, 1e-2));
    let raw = Rows::new(cells[6].repeat(4000), 2).unwrap();
    let rows: Vec<u64> = (0..4000).collect();
    let (x, log_q) = learnt.encode(&raw, &space, &Draws::new(3), &rows).unwrap();
    // E log q is the divergence from the uniform one.
    let (divergence, variance) = moments(&log_q);
    println!("{divergence:.5}, spread {:.5}", variance.sqrt());
    assert!(divergence.abs() < 2e-3, "{divergence}");
    let u: Vec<f64> = x.iter().map(|x| f64::from(x[0]) * 2.0 + 2.0 - 1.0).collect();
    assert!(kolmogorov(&u, |u| u.clamp(0.0, 1.0)) * 4000f64.sqrt() < KOLMOGOROV + 1.0);
}

/// A dequantiser of one column of integers 0 to 3 with the given last bias: m and ln s, both divided by tanh's slope.
fn with_bias(bias: [f32; 2]) -> (Dequantiser, Space) {
    let space = integers(1, 3);
    let fresh = Dequantiser::new(&space, 4, &Draws::new(1), &cpu()).unwrap();
    let mut params: Params = collect_params(&fresh).unwrap();
    let last = params.values_mut().find(|data| *data.shape().as_slice() == [2]);
    *last.expect("the last bias") = TensorData::new(bias.to_vec(), [2]);
    (map_params(fresh, &params, std::path::Path::new("bias")).unwrap(), space)
}

#[test]
fn its_density_integrates_to_one() {
    let n = 100_000;
    let raw = Rows::new(vec![2.0; n], 1).unwrap();
    let rows: Vec<u64> = (0..n as u64).collect();
    for bias in [[0.0, 0.0], [0.7, 0.3], [-1.2, -0.3], [0.2, 0.8]] {
        let (q, space) = with_bias(bias);
        let (x, log_q) = q.encode(&raw, &space, &Draws::new(2), &rows).unwrap();
        // E 1/q is the volume of the bin; and E u²/q that of u², if q is the density at the u drawn.
        let u: Vec<f64> = x.iter().map(|x| f64::from(x[0]) * 2.0 + 2.0 - 2.0).collect();
        for (power, integral) in [(0, 1.0), (2, 1.0 / 3.0)] {
            let weighted = u.iter().zip(&log_q).map(|(u, log_q)| u.powi(power) * (-log_q).exp());
            let (mean, variance) = moments(&weighted.collect::<Vec<_>>());
            let error = (variance / n as f64).sqrt();
            within(format!("{bias:?}, u^{power}"), mean, integral, SIX_SIGMA * error + 1e-5);
        }
    }
}

#[test]
fn places_stay_inside_their_bins_and_belong_to_their_rows() {
    let raw = Rows::new((0..4000).map(|i| (i % 4) as f32).collect(), 1).unwrap();
    let rows: Vec<u64> = (0..4000).collect();
    for bias in [[1e4, 0.0], [-1e4, 1e4], [0.0, 1e4], [0.0, -1e4], [0.3, 0.1]] {
        let (q, space) = with_bias(bias);
        let centres = space.encode(&raw).unwrap().to_tensor(&cpu());
        let drawn = q.draw(&centres, &Draws::new(4), &rows).unwrap();
        assert!(host(&drawn.u).iter().all(|u| *u > 0.0 && *u < 1.0), "{bias:?}");
        assert!(host(&drawn.log_q).iter().all(|log_q| log_q.is_finite()), "{bias:?}");
        let (x, log_q) = q.encode(&raw, &space, &Draws::new(4), &rows).unwrap();
        assert_eq!(space.decode(&x).unwrap(), raw, "{bias:?}");
        // A row's place is its own in any batch.
        let part = raw.slice(100..103);
        let (alone, own) = q.encode(&part, &space, &Draws::new(4), &rows[100..103]).unwrap();
        assert_eq!((alone, &own[..]), (x.slice(100..103), &log_q[100..103]), "{bias:?}");
    }
}

#[test]
fn what_cannot_be_dequantised_is_refused() {
    let refused = |found: Result<Dequantiser>| found.unwrap_err().to_string();
    let real = Space::vector(&["x", "y"]).unwrap();
    let of = |space: &Space, hidden| Dequantiser::new(space, hidden, &Draws::new(0), &cpu());
    assert!(refused(of(&real, 4)).contains("column of integers"));
    assert!(refused(of(&integers(1, 3), 0)).contains("hidden"));
    let space = integers(1, 3);
    let raw = Rows::new(vec![1.0, 2.0], 1).unwrap();
    for bad in [vec![0.5, 1.0], vec![-0.1, 0.5], vec![f32::NAN, 0.5]] {
        let places = Rows::new(bad, 1).unwrap();
        assert!(space.encode_at(&raw, &places).unwrap_err().to_string().contains("below 1"));
    }
    let few = Rows::new(vec![0.5], 1).unwrap();
    assert!(space.encode_at(&raw, &few).unwrap_err().to_string().contains("2 × 1"));
}

#[test]
fn the_bound_s_estimate_is_the_bound_and_its_gradient_that_of_its_value() {
    let oracle = || gaussian(0.3, 0.6);
    let x = doubles(&[-1.0, 0.2, 0.9, 2.0].repeat(1000), 1);
    for bound in [
        Bound::continuous(Arc::new(oracle()), Arc::new(COSINE)),
        Bound::discrete(Arc::new(oracle()), Arc::new(COSINE), 50),
    ] {
        let estimate = |x, seed| bound.estimate(x, &Condition::None, &Draws::new(seed)).unwrap();
        let found = host(&estimate(x.clone(), 5));
        let exact = bound.clone().with_probes(50).log_prob(x.clone(), &Condition::None).unwrap();
        let pairs: Vec<f64> = found.iter().zip(&exact.value).map(|(a, b)| a - b).collect();
        let (mean, variance) = moments(&pairs);
        within("mean", mean, 0.0, SIX_SIGMA * (variance / 4000.0).sqrt());
        let at = x.clone().narrow(0, 0, 4).autodiff().require_grad();
        let gradients = estimate(at.clone(), 6).sum().backward();
        let gradient = at.grad(&gradients).expect("it depends on x");
        let h = 1e-5;
        let plain = x.clone().narrow(0, 0, 4);
        let ahead = host(&estimate(plain.clone().add_scalar(h), 6));
        let behind = host(&estimate(plain.sub_scalar(h), 6));
        let differences: Vec<f64> =
            ahead.iter().zip(&behind).map(|(a, b)| (a - b) / (2.0 * h)).collect();
        let gradient = gradient.into_data().convert::<f64>().try_into_vec::<f64>().unwrap();
        all_close("gradient", &gradient, &differences, 1e-5);
    }
}
