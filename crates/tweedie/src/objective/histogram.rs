//! Adaptive levels, drawn where the loss is large, by a histogram of observed losses.
//!
//! For a loss ∫ E[ℓ | λ] dλ with the estimate ℓ/p(λ) at λ drawn from p, the variance is least for
//!
//! > p(λ) ∝ √E[ℓ² | λ]
//!
//! (Nichol & Dhariwal 2021, eq. 18, where p is over the steps of a chain). Here p is constant in each of equal bins of
//! λ, as in Kingma & Gao (2023, sec. 4.2 and app. F), and follows exponential averages of ℓ². A share of p stays
//! uniform, so that no bin is forgotten and no weight is unbounded. The estimate is unbiased in every state.

use crate::process::{Schedule, finite_log_snrs};
use crate::{Error, Result};

/// The uniform share of the density.
const UNIFORM: f64 = 0.02;

/// A density of log-SNRs that follows the observed losses; see the module documentation.
///
/// ```
/// use tweedie::objective::Histogram;
/// use tweedie::process::Cosine;
/// let mut levels = Histogram::new(&Cosine::default(), 4, 0.9)?;
/// assert!(levels.quantile(0.5).abs() < 1e-9); // uniform in λ until every bin was seen
/// levels.observe(&[-9.0, -3.0, 3.0, 9.0], &[0.0, 0.0, 0.0, 1.0]);
/// assert!((levels.density(9.0) - (0.98 + 0.02 / 4.0) / 6.0).abs() < 1e-12);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    high: f64,
    low: f64,
    decay: f64,
    /// The roots of the averages of ℓ², cleanest bin first, in single precision; negative for a bin without
    /// observations.
    roots: Vec<f32>,
    /// The probability of each bin.
    shares: Vec<f64>,
}

impl Histogram {
    /// A uniform histogram with `bins` equal bins of a schedule's log-SNRs; `decay` is the weight of old averages per
    /// loss.
    ///
    /// # Errors
    /// [`Error::Config`] unless `bins` is 1 to 10,000 and `decay` lies in [0, 1).
    pub fn new(schedule: &dyn Schedule, bins: usize, decay: f64) -> Result<Self> {
        if !(1..=10_000).contains(&bins) {
            return Err(Error::config("bins", bins.to_string(), "from 1 to 10000"));
        }
        if !(0.0..1.0).contains(&decay) {
            let expected = "a number from 0 to below 1";
            return Err(Error::config("decay", format!("{decay:?}"), expected));
        }
        let (high, low) = finite_log_snrs(schedule);
        let mut histogram = Self { high, low, decay, roots: vec![-1.0; bins], shares: Vec::new() };
        histogram.share_out();
        Ok(histogram)
    }

    /// The state: `√E[ℓ²]` of each bin, cleanest first, or a negative number for a bin without observations.
    pub fn roots(&self) -> &[f32] {
        &self.roots
    }

    /// Restores the state of [`Histogram::roots`].
    ///
    /// # Errors
    /// [`Error::Shape`] if the number of bins differs.
    pub fn with_roots(mut self, roots: Vec<f32>) -> Result<Self> {
        if roots.len() != self.roots.len() {
            return Err(Error::shape("bins", roots.len(), self.roots.len()));
        }
        self.roots = roots;
        self.share_out();
        Ok(self)
    }

    /// The bin of a log-SNR, or the nearest bin outside the range.
    fn bin(&self, lambda: f64) -> usize {
        let place = (self.high - lambda) / (self.high - self.low) * self.shares.len() as f64;
        (place.max(0.0) as usize).min(self.shares.len() - 1)
    }

    /// The density p(λ) within the schedule's log-SNRs.
    pub fn density(&self, lambda: f64) -> f64 {
        self.shares[self.bin(lambda)] * self.shares.len() as f64 / (self.high - self.low)
    }

    /// The log-SNR at quantile `u` in [0, 1), from the cleanest level.
    pub fn quantile(&self, u: f64) -> f64 {
        let width = (self.high - self.low) / self.shares.len() as f64;
        let mut rest = u;
        for (k, share) in self.shares.iter().enumerate() {
            if rest < *share {
                return self.high - (k as f64 + rest / share) * width;
            }
            rest -= share;
        }
        self.low
    }

    /// Updates the averages with losses per dλ: the objective's value of a row times the density from which its level
    /// was drawn.
    pub fn observe(&mut self, log_snrs: &[f64], losses: &[f64]) {
        for (lambda, loss) in log_snrs.iter().zip(losses) {
            let bin = self.bin(*lambda);
            let kept = f64::from(self.roots[bin]);
            let average =
                |kept: f64| (self.decay * kept * kept + (1.0 - self.decay) * loss * loss).sqrt();
            self.roots[bin] = if kept < 0.0 { loss.abs() } else { average(kept) } as f32;
        }
        self.share_out();
    }

    /// Sets the probability of each bin: equal until every bin has an observation.
    fn share_out(&mut self) {
        let bins = self.roots.len() as f64;
        let total: f64 = self.roots.iter().map(|r| f64::from(*r)).sum();
        let told = self.roots.iter().all(|r| *r >= 0.0) && total > 0.0 && total.is_finite();
        let uniform = if told { UNIFORM } else { 1.0 };
        let total = if told { total } else { 1.0 };
        let share = |r: &f32| (1.0 - uniform) * f64::from(*r) / total + uniform / bins;
        self.shares = self.roots.iter().map(share).collect();
    }
}
