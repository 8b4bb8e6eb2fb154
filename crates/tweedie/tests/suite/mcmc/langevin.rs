//! Langevin steps without an acceptance test, and kernels on targets with a score alone.

use super::*;
use std::sync::Arc;
use tweedie::data::{RowDensity, row_by_row};
use tweedie::denoise::Guidance;
use tweedie::mcmc::{AtLevel, Mala, RandomWalk, Ula};
use tweedie::process::Level;
use tweedie::tensor::Dual;
use tweedie::{Error, Result};

/// γ = exp(−½ p ‖x‖²) of precision p; flat at p = 0.
struct Bowl {
    width: usize,
    precision: f64,
}

impl RowDensity for Bowl {
    fn log_p(&self, x: &[f64], score: &mut [f64]) -> f64 {
        score.iter_mut().zip(x).for_each(|(s, x)| *s = -self.precision * x);
        -0.5 * self.precision * x.iter().map(|x| x * x).sum::<f64>()
    }
}

impl LogDensity for Bowl {
    fn width(&self) -> usize {
        self.width
    }
    fn log_density(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        row_by_row(self, self.width, x, condition)
    }
    fn by_row(&self) -> Option<&dyn RowDensity> {
        Some(self)
    }
}

/// The error of the variance that ULA makes of N(0, 1), and its standard error, with the Ornstein–Uhlenbeck process on
/// the same noise as a control: exact at any step, with variance 1. The noise is that of the kernel where nothing
/// pulls.
fn bias(step_size: f64) -> (f64, f64) {
    let (width, kernel, draws) = (50, Ula { step_size }, Draws::new(1));
    let [bowl, flat] = [1.0, 0.0].map(|precision| Bowl { width, precision });
    let unit = Component::isotropic(1.0, vec![0.0; width], 1.0);
    let start = GaussianMixture::new(vec![unit]).unwrap().sample(200, &Draws::new(2), &cpu());
    let mut exact = host(&start);
    let mut chains = kernel.init(start.clone(), &bowl).unwrap();
    let mut noise = kernel.init(start, &flat).unwrap();
    let (decay, spread) = ((-step_size).exp(), (-(-2.0 * step_size).exp_m1()).sqrt());
    for _ in 0..(8.0 / step_size) as u64 {
        let before = noise.values().to_vec();
        noise = kernel.step(noise, &flat, &draws).unwrap().0;
        chains = kernel.step(chains, &bowl, &draws).unwrap().0;
        for ((y, after), before) in exact.iter_mut().zip(noise.values()).zip(&before) {
            *y = decay * *y + spread * (after - before) / (2.0 * step_size).sqrt();
        }
    }
    let pairs = chains.values().iter().zip(&exact);
    let (mean, variance) = moments(&pairs.map(|(x, y)| x * x - y * y).collect::<Vec<_>>());
    (mean, (variance / exact.len() as f64).sqrt())
}

/// x ← (1 − ε) x + √(2ε) z has the stationary variance 2ε/(1 − (1 − ε)²) = 1/(1 − ε/2).
#[test]
fn the_bias_of_ula_is_of_first_order_in_the_step() {
    let steps = [0.05, 0.1, 0.2];
    let found = steps.map(bias);
    for (eps, (bias, error)) in steps.into_iter().zip(found) {
        let expected = 1.0 / (1.0 - 0.5 * eps) - 1.0;
        within(format!("variance − 1 at ε = {eps}"), bias, expected, BAR * error);
        assert!(BAR * error < 0.2 * expected, "the error {error} decides nothing at ε = {eps}");
    }
    let slope = (found[2].0 / found[0].0).ln() / 4.0f64.ln();
    within("order", slope, 1.0, 0.15);
}

/// Half the step, twice the steps: at ε → 0 ULA's law at time t is that of the diffusion, whose mean decays as e^(−t).
#[test]
fn ula_follows_langevin_dynamics() {
    let bowl = Bowl { width: 1, precision: 1.0 };
    let error = |steps: u64| {
        let kernel = Ula { step_size: 1.0 / steps as f64 };
        let [high, low] = [10.0, 0.0].map(|x| {
            let start = kernel.init(doubles(&[x], 1), &bowl).unwrap();
            walk(&kernel, start, &bowl, steps, &Draws::new(3)).0.values()[0]
        });
        // The same noise from two starts leaves the decay of their distance.
        (high - low) / 10.0 - (-1.0f64).exp()
    };
    let order = (error(32) / error(64)).log2();
    within("order of the decay", order, 1.0, 0.05);
}

/// Guidance of weight 1 changes nothing but that log p is not known.
fn score_alone() -> AtLevel {
    let guided = Guidance::new(gaussian(), 1.0).unwrap();
    AtLevel::new(Arc::new(guided), Level::new(0.3, 1.0, 0.5)).unwrap()
}

#[test]
fn kernels_that_compare_densities_refuse_a_score_alone_by_name() {
    let (target, start) = (score_alone(), || doubles(&[1.0, -1.0], 2));
    let kernels: [(&dyn Transition, &str); 2] =
        [(&Mala::default(), Mala::NAME), (&RandomWalk::default(), RandomWalk::NAME)];
    for (kernel, name) in kernels {
        let refusals = [
            kernel.init(start(), &target).map(|_| ()),
            // Chains of another kernel, which keep no log density.
            Ula::default()
                .init(start(), &target)
                .and_then(|chains| kernel.step(chains, &target, &Draws::new(0)).map(|_| ())),
        ];
        for refusal in refusals {
            let error = refusal.expect_err("a refusal");
            assert!(matches!(error, Error::Undefined { .. }), "{error}");
            assert!(error.to_string().contains(&format!("of {name} ")), "{error}");
        }
    }
}

/// On the score of a denoiser alone ULA has, up to its bias, the moments of the noised data.
#[test]
fn ula_runs_on_a_denoiser_at_a_level() {
    let (target, kernel, n) = (score_alone(), Ula { step_size: 0.01 }, 4000);
    let start = kernel.init(exact(&gaussian(), n, 4), &target).unwrap();
    let (chains, _) = walk(&kernel, start, &target, 200, &Draws::new(5));
    for j in 0..2 {
        let column: Vec<f64> = chains.values().chunks(2).map(|x| x[j]).collect();
        let (mean, variance) = moments(&column);
        let expected = COVARIANCE[j][j] + 0.25;
        within("mean", mean, MEAN[j], BAR * (expected / n as f64).sqrt());
        // ULA's bias is at most ε/(2 v) of the least eigenvalue v of the covariance, 0.54.
        let allowed = BAR * (2.0 / n as f64).sqrt() + 0.01;
        close("variance", variance, expected, allowed);
    }
}

#[test]
fn a_step_that_is_too_long_is_an_error_that_names_the_chain() {
    let bowl = Bowl { width: 2, precision: 1.0 };
    let kernel = Ula { step_size: 1e3 };
    let start = kernel.init(doubles(&[0.0, 1.0], 2), &bowl).unwrap();
    let mut chains = start.with_rows(vec![8]).unwrap();
    let error = loop {
        match kernel.step(chains, &bowl, &Draws::new(6)) {
            Ok((next, _)) => chains = next,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Diverged { step: 50..=200, .. }), "{error}");
    assert!(error.to_string().contains("chain 8 of ula"), "{error}");
}
