//! Time grids: the levels that a solver visits.

mod chain;
mod optimised;
mod shifted;
mod spaced;

pub use chain::{Leading, Linspace, Trailing};
pub use optimised::OptimisedGrid;
pub use shifted::Shifted;
pub use spaced::{Karras, LogSnr, Quadratic, Time};

use super::MOST_STEPS;
use crate::process::{Level, Schedule};
use crate::registry::registry;
use crate::{Error, Result};

/// A spacing of levels from a schedule's noisiest to its cleanest. If the noisiest level is pure noise, it is the first
/// level, and log-SNRs are spaced from ln 2⁻²⁴.
///
/// ```
/// use tweedie::process::Cosine;
/// use tweedie::solve::grid::{Grid, Karras};
/// let levels = Karras { rho: 7.0 }.levels(&Cosine::default(), 8)?;
/// assert_eq!(levels.len(), 9);
/// assert!(levels.is_sorted_by(|a, b| a.lambda < b.lambda));
/// # Ok::<(), tweedie::Error>(())
/// ```
pub trait Grid: std::fmt::Debug + Send + Sync {
    /// Fails, naming the key, unless every option is in its range.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Whether the grid consists of indices of a discrete chain.
    fn is_of_chain(&self) -> bool {
        false
    }

    /// The times of `steps` steps, falling: `steps + 1` times from the schedule's last to its first, both exact. Grids
    /// of a chain return the `steps` indices visited.
    ///
    /// # Errors
    /// [`Error::Config`] for a chain's grid on another schedule, or for indices beyond the chain.
    fn times(&self, schedule: &dyn Schedule, steps: usize) -> Result<Vec<f64>>;

    /// The levels of `steps` steps, λ strictly rising: `steps + 1` levels from the schedule's last time to its first,
    /// both exact. Grids of a chain return the `steps` levels visited, then level 0, even if the last of them is
    /// level 0.
    ///
    /// # Errors
    /// [`Error::Config`] if `steps` is 0 or above 100,000, or two levels coincide; the errors of [`Grid::check`] and
    /// [`Grid::times`].
    fn levels(&self, schedule: &dyn Schedule, steps: usize) -> Result<Vec<Level>> {
        if steps == 0 || steps > MOST_STEPS {
            let expected = format!("from 1 to {MOST_STEPS}");
            return Err(Error::config("steps", steps.to_string(), expected));
        }
        self.check()?;
        let times = self.times(schedule, steps)?;
        let mut levels: Vec<Level> = times.into_iter().map(|t| schedule.level(t)).collect();
        if !levels.is_sorted_by(|a, b| a.lambda < b.lambda) {
            let expected = "few enough that no two levels coincide";
            return Err(Error::config("steps", steps.to_string(), expected));
        }
        if self.is_of_chain() {
            levels.push(schedule.level(0.0));
        }
        Ok(levels)
    }
}

registry! {
    /// Any named grid, as recipes and the program write it: `karras`, or `{ name = "karras", rho = 5.0 }`.
    #[derive(Copy)]
    pub enum AnyGrid: Grid = LogSnr, "grid" {
        "time" Time(Time) "uniform in t",
        "log-snr" LogSnr(LogSnr) "uniform in the log-SNR; the default",
        "quadratic" Quadratic(Quadratic) "quadratic in t, denser near the data",
        "karras" Karras(Karras) "uniform in (σ/α)^(1/ρ), ρ = 7",
        "shifted" Shifted(Shifted) "uniform in σ/(σ + shift α), of flow matching; shift = 1",
        "optimised" Optimised(OptimisedGrid)
            "least error of DDIM on data of many scales, finest = 0.1 to 1",
        "leading" Leading(Leading)
            "a chain's indices from 0 up (DDPM's and DDIM's); offset = 0, open = false",
        "trailing" Trailing(Trailing) "a chain's indices from the noisiest down",
        "linspace" Linspace(Linspace)
            "a chain's indices with both ends; open = true leaves out the cleanest",
    }
}
