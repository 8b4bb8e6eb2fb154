//! Helpers of the tests against exact denoisers: mixtures, double-precision batches, a way to run a solver.

pub use crate::support::{doubles, host};

use tweedie::burn::tensor::Tensor;
use tweedie::data::Condition;
use tweedie::denoise::{Component, Denoiser, GaussianMixture};
use tweedie::process::{
    AnySchedule, Cosine, Edm, Level, OrnsteinUhlenbeck, Schedule, Ve, VpLinear,
};
use tweedie::solve::{Context, Last, Solver, integrate};
use tweedie::{Draws, data};

pub const VP: AnySchedule = AnySchedule::VpLinear(VpLinear { beta_min: 0.1, beta_max: 20.0 });
pub const OU: AnySchedule = AnySchedule::Ou(OrnsteinUhlenbeck { theta: 1.0, t_max: 5.0 });
pub const VE: AnySchedule = AnySchedule::Ve(Ve { sigma_min: 0.01, sigma_max: 50.0 });
pub const EDM: AnySchedule = AnySchedule::Edm(Edm { sigma_min: 0.002, sigma_max: 80.0 });
pub const COSINE: AnySchedule =
    AnySchedule::Cosine(Cosine { lambda_min: -12.0, lambda_max: 12.0, side: 64.0 });

/// The largest absolute difference of two batches' values.
pub fn gap(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    // A NaN must not be lost in a maximum.
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |most, d| if d <= most { most } else { d })
}

/// Standard normal rows of `width` values times `sd`, in double precision.
pub fn normals(n: usize, width: usize, sd: f64, seed: u64) -> Tensor<2> {
    let draws = Draws::new(seed);
    let at = |k: usize| sd * draws.normal_f64((k / width) as u64, (k % width) as u64);
    doubles(&(0..n * width).map(at).collect::<Vec<_>>(), width)
}

/// The observed orders of errors at doubling numbers of steps.
pub fn orders(errors: &[f64]) -> Vec<f64> {
    errors.windows(2).map(|e| (e[0] / e[1]).log2()).collect()
}

/// Runs a solver over `levels` and stops at the last; row i has the noise of row i.
pub fn run(
    solver: &dyn Solver,
    denoiser: &dyn Denoiser,
    schedule: &dyn Schedule,
    x: Tensor<2>,
    levels: &[Level],
) -> Tensor<2> {
    let rows: Vec<u64> = (0..x.dims()[0] as u64).collect();
    let draws = Draws::new(3);
    let condition = &Condition::None;
    let context = Context { denoiser, schedule, condition, noise: &draws, rows: &rows, clip: None };
    integrate(solver, x, levels, Last::Stop, &context, |_| {}).unwrap()
}

/// Data N(mean, variance) on the line.
pub fn gaussian(mean: f64, variance: f64) -> GaussianMixture {
    GaussianMixture::new(vec![Component::isotropic(1.0, vec![mean], variance)]).unwrap()
}

/// Weights, means and covariances of three correlated components in the plane, near mean 0 and variance 1.
pub const THREE: [(f64, [f64; 2], [f64; 4]); 3] = [
    (0.5, [0.9, 0.5], [0.30, 0.12, 0.12, 0.25]),
    (0.3, [-1.2, 0.8], [0.40, -0.10, -0.10, 0.20]),
    (0.2, [0.0, -1.4], [0.20, 0.0, 0.0, 0.35]),
];

/// Their mixture.
pub fn three_components() -> GaussianMixture {
    let full = THREE.map(|(w, m, c)| Component::full(w, m.to_vec(), &c).unwrap());
    GaussianMixture::new(full.to_vec()).unwrap()
}

/// The eight Gaussians in units in which each coordinate has mean 0 and variance 1; component k has class k.
pub fn eight_gaussians() -> GaussianMixture {
    let (centres, variance) = data::eight_gaussians();
    let total = variance + centres.iter().map(|c| c[0] * c[0]).sum::<f64>() / 8.0;
    let component = |k: usize| {
        let mean = centres[k].map(|m| m / total.sqrt()).to_vec();
        Component::isotropic(1.0, mean, variance / total).of_class(k as u32)
    };
    GaussianMixture::new((0..8).map(component).collect()).unwrap()
}

/// A Gaussian in three dimensions whose covariance has chosen eigenvectors, with its exact probability flow.
pub struct Gaussian3 {
    pub mixture: GaussianMixture,
    basis: [[f64; 3]; 3],
}

const MEAN: [f64; 3] = [0.7, -0.4, 0.2];
const VARIANCES: [f64; 3] = [0.1, 0.5, 1.6];

impl Gaussian3 {
    pub fn new() -> Self {
        // The reflection at the plane orthogonal to (1, 2, 2)/3.
        let u = [1.0, 2.0, 2.0];
        let at = |i: usize, j: usize| f64::from(u8::from(i == j)) - 2.0 * u[i] * u[j] / 9.0;
        let basis: [[f64; 3]; 3] = std::array::from_fn(|i| std::array::from_fn(|j| at(i, j)));
        let entry =
            |i: usize, j: usize| (0..3).map(|k| basis[i][k] * VARIANCES[k] * basis[j][k]).sum();
        let covariance: Vec<f64> = (0..9).map(|n| entry(n / 3, n % 3)).collect();
        let component = Component::full(1.0, MEAN.to_vec(), &covariance).unwrap();
        Self { mixture: GaussianMixture::new(vec![component]).unwrap(), basis }
    }

    /// Where the probability-flow ODE takes `x` from one level to another: in the eigenbasis the distance from the
    /// mean scales as the noised standard deviation.
    pub fn flow(&self, x: &[f64], from: &Level, to: &Level) -> Vec<f64> {
        let sd = |l: &Level, k: usize| (l.alpha.powi(2) * VARIANCES[k] + l.sigma.powi(2)).sqrt();
        x.chunks(3)
            .flat_map(|row| {
                let centred: [f64; 3] = std::array::from_fn(|i| row[i] - from.alpha * MEAN[i]);
                let along: [f64; 3] = std::array::from_fn(|k| {
                    let own: f64 = (0..3).map(|i| self.basis[i][k] * centred[i]).sum();
                    own * sd(to, k) / sd(from, k)
                });
                let back = |i: usize| (0..3).map(|k| self.basis[i][k] * along[k]).sum::<f64>();
                (0..3).map(|i| to.alpha * MEAN[i] + back(i)).collect::<Vec<_>>()
            })
            .collect()
    }
}
