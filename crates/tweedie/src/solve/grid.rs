//! Time grids: which levels a solver visits.
//!
//! Three of them pick indices of a discrete chain (Lin et al. 2023, Table 2) as diffusers' `timestep_spacing` does, to the
//! rounding of halves to even. From each index visited a step leads to the next one visited.
//!
//! One is optimised. In a direction in which data are normal with standard deviation c, with θ = arctan(σ/(α c)) a step of DDIM
//! is right but for the factor cos Δθ. On data of variance c² in all directions the best grid is therefore uniform in θ: −ln cos is
//! convex. (Derived here, as are the scales; Sabour et al. 2024 minimise another bound, of a network.) On data of many scales the sum over scales of −ln ∏ cos Δθ ≈ ½ Σ Δθ² is
//! least where the steps are of equal length in ds² = E_c[dθ_c²], and for ln c uniform from ln c₀ to 0
//!
//! > (ds/dℓ)² = ¼ E_c[sech²(ℓ + ln c)] = ¼ (tanh ℓ − tanh(ℓ + ln c₀))/(−ln c₀), ℓ = ln(α/σ).

use super::MOST_STEPS;
use crate::process::{Level, Schedule, finite_log_snrs};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the levels of a grid are spaced from the schedule's noisiest to its cleanest level. Where the noisiest level is pure
/// noise, the first level is that, and log-SNRs are spaced from ln 2⁻²⁴.
///
/// ```
/// use tweedie::process::Cosine;
/// use tweedie::solve::Grid;
/// let levels = Grid::Karras { rho: 7.0 }.levels(&Cosine::default(), 8)?;
/// assert_eq!(levels.len(), 9);
/// assert!(levels.is_sorted_by(|a, b| a.lambda < b.lambda));
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Grid {
    /// Uniform in t.
    Time,
    /// Uniform in the log-SNR (Lu et al. 2022).
    #[default]
    LogSnr,
    /// t quadratic in the index, denser near the data (Song et al. 2021, App. D.2).
    Quadratic,
    /// (σ/α)^{1/ρ} uniform (Karras et al. 2022, eq. 5).
    Karras {
        /// ρ, 7 in the paper.
        #[serde(default = "seven")]
        rho: f64,
    },
    /// Optimised for data whose standard deviations in different directions are spread log-uniformly from `finest` to 1:
    /// uniform in ∫ √(tanh ℓ − tanh(ℓ + ln finest)) dℓ, ℓ = ln(α/σ).
    Optimised {
        /// The smallest standard deviation in model units, in (0, 1]; 1 makes the grid uniform in arctan(σ/α).
        #[serde(default = "tenth")]
        finest: f64,
    },
    /// A chain's indices k ⌊N/n⌋ + offset, k < n.
    Leading {
        /// The cleanest index visited.
        #[serde(default)]
        offset: usize,
        /// Whether the cleanest of n + 1 such indices is left out: that is where the last of n steps ends.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        open: bool,
    },
    /// A chain's indices N − k N/n − 1, rounded, k < n, from the noisiest.
    Trailing,
    /// n of a chain's indices from 0 to N − 1, evenly spaced and rounded.
    Linspace {
        /// Whether index 0, the cleanest of n + 1, is left out: that is where the last of n steps ends.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        open: bool,
    },
}

fn seven() -> f64 {
    7.0
}

fn tenth() -> f64 {
    0.1
}

/// Every grid by name, with one line on what it is.
pub const GRIDS: &[(&str, &str)] = &[
    ("time", "uniform in t"),
    ("log-snr", "uniform in the log-SNR; the default"),
    ("quadratic", "quadratic in t, denser near the data"),
    ("karras", "uniform in (σ/α)^(1/ρ), ρ = 7"),
    ("optimised", "least error of DDIM on data of many scales, finest = 0.1 to 1"),
    ("leading", "a chain's indices from 0 up (DDPM's and DDIM's); offset = 0, open = false"),
    ("trailing", "a chain's indices from the noisiest down"),
    ("linspace", "a chain's indices with both ends; open = true leaves out the cleanest"),
];

impl Grid {
    /// The grid of a given name.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown name.
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "time" => Self::Time,
            "log-snr" => Self::LogSnr,
            "quadratic" => Self::Quadratic,
            "karras" => Self::Karras { rho: seven() },
            "optimised" => Self::Optimised { finest: tenth() },
            "leading" => Self::Leading { offset: 0, open: false },
            "trailing" => Self::Trailing,
            "linspace" => Self::Linspace { open: false },
            _ => {
                let names: Vec<&str> = GRIDS.iter().map(|(name, _)| *name).collect();
                return Err(Error::config("grid", name, crate::error::one_of(name, &names)));
            }
        })
    }

    /// Its name, as [`Grid::parse`] takes it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::LogSnr => "log-snr",
            Self::Quadratic => "quadratic",
            Self::Karras { .. } => "karras",
            Self::Optimised { .. } => "optimised",
            Self::Leading { .. } => "leading",
            Self::Trailing => "trailing",
            Self::Linspace { .. } => "linspace",
        }
    }

    /// Whether it picks indices of a discrete chain.
    pub fn is_of_chain(&self) -> bool {
        matches!(self, Self::Leading { .. } | Self::Trailing | Self::Linspace { .. })
    }

    /// The levels of `steps` steps, λ strictly rising: `steps + 1` from the schedule's last time to its first, both
    /// exact; for a chain's own grids the `steps` levels visited, then level 0, whether or not it was the last of them.
    ///
    /// # Errors
    /// [`Error::Config`] if `steps` is 0 or above 100,000, ρ or the finest scale is out of its range, two levels coincide, or a chain's grid is
    /// asked of another schedule or for indices beyond the chain.
    pub fn levels(&self, schedule: &dyn Schedule, steps: usize) -> Result<Vec<Level>> {
        if steps == 0 || steps > MOST_STEPS {
            let expected = format!("from 1 to {MOST_STEPS}");
            return Err(Error::config("steps", steps.to_string(), expected));
        }
        if let Grid::Karras { rho } = self
            && !(*rho > 0.0 && rho.is_finite())
        {
            return Err(Error::config("grid.rho", format!("{rho}"), "a positive number"));
        }
        if let Grid::Optimised { finest } = self
            && !(*finest >= 1e-6 && *finest <= 1.0)
        {
            return Err(Error::config(
                "grid.finest",
                format!("{finest}"),
                "a number from 1e-6 to 1",
            ));
        }
        let mut levels = match schedule.chain_len() {
            Some(length) if self.is_of_chain() => {
                let indices = self.indices(length, steps)?;
                indices.into_iter().map(|i| schedule.level(i as f64)).collect()
            }
            None if self.is_of_chain() => {
                let expected = "a grid of continuous schedules: only a chain has indices";
                return Err(Error::config("grid", self.name(), expected));
            }
            _ => self.spaced(schedule, steps),
        };
        if !levels.is_sorted_by(|a, b| a.lambda < b.lambda) {
            return Err(Error::config(
                "steps",
                format!("{steps}"),
                "few enough that no two levels coincide",
            ));
        }
        if self.is_of_chain() {
            levels.push(schedule.level(0.0));
        }
        Ok(levels)
    }

    /// `steps + 1` levels between the ends of the schedule's range.
    fn spaced(&self, schedule: &dyn Schedule, steps: usize) -> Vec<Level> {
        let (first, last) = schedule.range();
        let (hi, lo) = finite_log_snrs(schedule);
        let arc = match *self {
            Grid::Optimised { finest } => Some(Arc::new(finest, lo, hi)),
            _ => None,
        };
        let at = |k: usize| {
            let u = k as f64 / steps as f64;
            if let Some(arc) = &arc {
                return schedule.time(arc.log_snr(u));
            }
            match *self {
                Grid::LogSnr => schedule.time(lo + u * (hi - lo)),
                Grid::Quadratic => {
                    let (a, b) = (first.sqrt(), last.sqrt());
                    (b + u * (a - b)).powi(2)
                }
                Grid::Karras { rho } => {
                    // λ = −2 ln(σ/α).
                    let (a, b) = ((-0.5 * hi / rho).exp(), (-0.5 * lo / rho).exp());
                    schedule.time(-2.0 * rho * (b + u * (a - b)).ln())
                }
                _ => last + u * (first - last),
            }
        };
        let level = |k: usize| match k {
            0 => schedule.level(last),
            k if k == steps => schedule.level(first),
            k => schedule.level(at(k)),
        };
        (0..=steps).map(level).collect()
    }

    /// The `n` indices visited of a chain of `length`, falling; for grids of a chain.
    fn indices(&self, length: usize, n: usize) -> Result<Vec<usize>> {
        let open = matches!(self, Grid::Leading { open: true, .. } | Grid::Linspace { open: true });
        let all = n + usize::from(open);
        if all > length {
            let most = length - usize::from(open);
            let expected = format!("at most {most}, the chain's own");
            return Err(Error::config("steps", n.to_string(), expected));
        }
        if let Grid::Leading { offset, .. } = *self {
            let noisiest = ((all - 1) * (length / all)).saturating_add(offset);
            if noisiest >= length {
                let found = format!("{n} from offset {offset} visit index {noisiest}");
                let expected = format!("indices below {length}");
                return Err(Error::config("steps", found, expected));
            }
        }
        let (whole, each) = (length as f64, usize::from(open)..all);
        let mut indices: Vec<usize> = match *self {
            Grid::Leading { offset, .. } => each.map(|k| k * (length / all) + offset).collect(),
            Grid::Trailing => {
                // In NumPy's own roundings, which decide ties.
                let step = (whole - whole / n as f64) - whole;
                let at = |k: usize| (whole + k as f64 * step).round_ties_even() as usize;
                each.rev().map(|k| at(k).saturating_sub(1)).collect()
            }
            _ => {
                let step = if all > 1 { (whole - 1.0) / (all - 1) as f64 } else { 0.0 };
                each.map(|k| (k as f64 * step).round_ties_even() as usize).collect()
            }
        };
        indices.reverse();
        Ok(indices)
    }
}

/// Places of log-SNR by the share of the length s before them.
struct Arc {
    /// λ and the length up to it, both rising.
    table: Vec<(f64, f64)>,
}

impl Arc {
    /// How many pieces the length is summed over: the error of a place is some 1e-8 of the whole.
    const PIECES: usize = 8192;

    fn new(finest: f64, lo: f64, hi: f64) -> Self {
        let span = -finest.ln();
        let speed = |lambda: f64| {
            let l = 0.5 * lambda;
            // tanh a − tanh b = sinh(a − b)/(cosh a cosh b), without cancellation.
            let mean = match span {
                s if s > 1e-9 => s.sinh() / s / (l.cosh() * (l - s).cosh()),
                _ => l.cosh().powi(-2),
            };
            mean.sqrt()
        };
        let step = (hi - lo) / Self::PIECES as f64;
        let mut length = 0.0;
        let mut table = vec![(lo, 0.0)];
        for k in 0..Self::PIECES {
            let at = |r: f64| lo + step * (k as f64 + r);
            // Simpson's rule.
            length += step / 6.0 * (speed(at(0.0)) + 4.0 * speed(at(0.5)) + speed(at(1.0)));
            table.push((at(1.0), length));
        }
        Self { table }
    }

    /// The log-SNR at the share `u` of the whole length.
    fn log_snr(&self, u: f64) -> f64 {
        let whole = self.table.last().map_or(0.0, |last| last.1);
        let place = u * whole;
        let end = self.table.partition_point(|(_, s)| *s < place).clamp(1, self.table.len() - 1);
        let ((a, s), (b, t)) = (self.table[end - 1], self.table[end]);
        a + (b - a) * ((place - s) / (t - s)).clamp(0.0, 1.0)
    }
}
