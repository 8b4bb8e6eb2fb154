//! Levels drawn where the loss is large, learnt from the losses seen.
//!
//! For a loss ∫ E[ℓ | λ] dλ that is estimated by ℓ/p(λ) at λ drawn from p, the variance is least for
//!
//! > p(λ) ∝ √E[ℓ² | λ]
//!
//! (Nichol & Dhariwal 2021, eq. 18, where p is over the steps of a chain). Here p is constant in each of equal bins of λ, as
//! Kingma & Gao (2023, sec. 4.2 and app. F) have it, and follows exponential averages of ℓ². A share of it stays uniform, so that
//! no bin is forgotten and no weight is unbounded. The estimate has the right mean for every state.

use crate::process::{Schedule, finite_log_snrs};
use crate::{Error, Result};

/// The share that stays uniform.
const UNIFORM: f64 = 0.02;

/// A density of log-SNRs that follows the losses seen; see the module's head.
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
    /// The averages of ℓ² from the cleanest bin on; none for a bin not yet seen.
    squares: Vec<Option<f64>>,
    /// The probability of each bin.
    shares: Vec<f64>,
}

impl Histogram {
    /// `bins` equal parts of a schedule's log-SNRs, uniform at first; averages keep `decay` of themselves at each loss.
    ///
    /// # Errors
    /// [`Error::Config`] unless there are 1 to 10,000 bins and the decay lies in [0, 1).
    pub fn new(schedule: &dyn Schedule, bins: usize, decay: f64) -> Result<Self> {
        if !(1..=10_000).contains(&bins) {
            return Err(Error::config("bins", bins.to_string(), "from 1 to 10000"));
        }
        if !(0.0..1.0).contains(&decay) {
            let expected = "a number from 0 to below 1";
            return Err(Error::config("decay", format!("{decay:?}"), expected));
        }
        let (high, low) = finite_log_snrs(schedule);
        let shares = vec![1.0 / bins as f64; bins];
        Ok(Self { high, low, decay, squares: vec![None; bins], shares })
    }

    /// The bin of a log-SNR, the nearest one outside of the range.
    fn bin(&self, lambda: f64) -> usize {
        let place = (self.high - lambda) / (self.high - self.low) * self.shares.len() as f64;
        (place.max(0.0) as usize).min(self.shares.len() - 1)
    }

    /// p(λ), within the schedule's log-SNRs.
    pub fn density(&self, lambda: f64) -> f64 {
        self.shares[self.bin(lambda)] * self.shares.len() as f64 / (self.high - self.low)
    }

    /// The log-SNR at quantile `u` in [0, 1), from the cleanest.
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

    /// Takes in losses for each dλ: what an objective reports for a row times the density that its level was drawn with.
    pub fn observe(&mut self, log_snrs: &[f64], losses: &[f64]) {
        for (lambda, loss) in log_snrs.iter().zip(losses) {
            let bin = self.bin(*lambda);
            let square = loss * loss;
            let kept = self.squares[bin].unwrap_or(square);
            self.squares[bin] = Some(self.decay * kept + (1.0 - self.decay) * square);
        }
        let seen: Option<Vec<f64>> = self.squares.iter().map(|s| s.map(f64::sqrt)).collect();
        let Some(roots) = seen else { return };
        let total: f64 = roots.iter().sum();
        if total > 0.0 && total.is_finite() {
            let even = UNIFORM / roots.len() as f64;
            self.shares = roots.iter().map(|r| (1.0 - UNIFORM) * r / total + even).collect();
        }
    }
}
