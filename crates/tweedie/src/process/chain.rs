//! The discrete chain of DDPM: a schedule of N noising steps from a table of β.
//!
//! Step i takes x_{i−1} to x_i = √(1 − β_i) x_{i−1} + √β_i ε (Ho et al. 2020, eq. 2; *Generative Modeling with
//! Diffusion Models*, eqs. 8–9; *An Introduction to Generative Modeling with Flows and Diffusion Models*, eqs. 6.29 and
//! 6.37–6.38 with a² = 1 − β, b² = β), so that
//!
//! > α_i² = ᾱ_i = ∏_{j ≤ i} (1 − β_j), σ_i² = 1 − ᾱ_i.
//!
//! Time is the index, as in published networks: i = 0 … N − 1 is the level after i + 1 steps, and −1 is clean data.
//! Between indices ᾱ and 1 − ᾱ are linear. The log-SNR would not do: it is infinite at clean data and, for a chain of
//! zero terminal SNR, at the end, where ln ᾱ is infinite too. ᾱ is finite everywhere, and the process stays variance
//! preserving. Both ᾱ and 1 − ᾱ are tabulated, because a small value of either is lost in 1 minus the other. Times,
//! drift and diffusion then have closed forms in each piece; at an index they are the values of the piece before it,
//! which sampling enters next. Where ᾱ = 0 drift and diffusion are infinite: solvers in levels alone (DDIM, ancestral,
//! DPM-Solver++) start there, solvers of the SDE or ODE in t diverge.

use super::level::MOST_LOG_SNR;
use super::{Level, Rate, Schedule};
use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::sync::Arc;

/// The largest number of steps of a chain.
const MOST_STEPS: usize = 100_000;

/// The β of a chain as a function of the index.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Betas {
    /// β linear in the index (Ho et al. 2020).
    #[default]
    Linear,
    /// √β linear in the index (latent diffusion).
    ScaledLinear,
    /// ᾱ = cos²(½π (u + 0.008)/1.008) at u = (i + 1)/N, β at most 0.999 (Nichol & Dhariwal 2021, eq. 17).
    #[serde(rename = "squaredcos_cap_v2")]
    SquaredCos,
    /// β along a logistic curve of x from −6 to 6, between its ends.
    Sigmoid,
    /// Explicit values, one per step.
    #[serde(untagged)]
    List(Vec<f64>),
}

const BETAS: [&str; 4] = ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"];

impl<'de> Deserialize<'de> for Betas {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Betas;

            fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
                write!(out, "a list of numbers or one of {}", BETAS.join(", "))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> std::result::Result<Betas, E> {
                match name {
                    "linear" => Ok(Betas::Linear),
                    "scaled_linear" => Ok(Betas::ScaledLinear),
                    "squaredcos_cap_v2" => Ok(Betas::SquaredCos),
                    "sigmoid" => Ok(Betas::Sigmoid),
                    _ => Err(E::unknown_variant(name, &BETAS)),
                }
            }

            fn visit_seq<A: de::SeqAccess<'de>>(
                self,
                values: A,
            ) -> std::result::Result<Betas, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(values)).map(Betas::List)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// The configuration of a [`Chain`]: the keys of its recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChainConfig {
    /// The β: a named function of the index, or a list.
    pub betas: Betas,
    /// The number of steps; if absent, the length of the list, or 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// The first β of `linear`, `scaled_linear` and `sigmoid`.
    pub beta_start: f64,
    /// The last β of `linear`, `scaled_linear` and `sigmoid`.
    pub beta_end: f64,
    /// Whether √ᾱ is shifted and scaled to end at 0 with its first value kept (Lin et al. 2023, algorithm 1).
    pub zero_terminal_snr: bool,
}

impl Default for ChainConfig {
    fn default() -> Self {
        Self {
            betas: Betas::Linear,
            steps: None,
            beta_start: 1e-4,
            beta_end: 0.02,
            zero_terminal_snr: false,
        }
    }
}

/// The discrete chain of DDPM; see the module documentation.
///
/// ```
/// use tweedie::process::{Chain, ChainConfig, Schedule};
/// let chain = Chain::new(ChainConfig { steps: Some(2), beta_end: 0.5, ..Default::default() })?;
/// assert!((chain.level(1.0).alpha - (0.9999f64 * 0.5).sqrt()).abs() < 1e-15);
/// assert_eq!((chain.range(), chain.level(-1.0).sigma), ((0.0, 1.0), 0.0));
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ChainConfig", into = "ChainConfig")]
pub struct Chain {
    config: ChainConfig,
    table: Arc<Table>,
}

/// ᾱ and 1 − ᾱ before the first step and after each step.
#[derive(PartialEq)]
struct Table {
    kept: Vec<f64>,
    lost: Vec<f64>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Chain").field(&self.config).finish()
    }
}

impl TryFrom<ChainConfig> for Chain {
    type Error = Error;

    /// The errors of [`Chain::new`], with keys relative to the chain's own table.
    fn try_from(config: ChainConfig) -> Result<Self> {
        Self::new(config).map_err(|error| match error {
            Error::Config { key, problem, expected } => {
                Error::config(key.trim_start_matches("schedule."), problem, expected)
            }
            other => other,
        })
    }
}

impl From<Chain> for ChainConfig {
    fn from(chain: Chain) -> Self {
        chain.config
    }
}

impl Default for Chain {
    fn default() -> Self {
        let config = ChainConfig::default();
        let table = Arc::new(Table::new(&config.betas(1000), false));
        Self { config, table }
    }
}

impl ChainConfig {
    /// The β of each of `n` steps.
    fn betas(&self, n: usize) -> Vec<f64> {
        let (first, last) = (self.beta_start, self.beta_end);
        let place = |i: usize| i as f64 / (n - 1) as f64;
        let each = 0..n;
        match &self.betas {
            Betas::Linear => each.map(|i| first + place(i) * (last - first)).collect(),
            Betas::ScaledLinear => {
                let (first, last) = (first.sqrt(), last.sqrt());
                each.map(|i| (first + place(i) * (last - first)).powi(2)).collect()
            }
            Betas::SquaredCos => {
                let angle =
                    |i: usize| (i as f64 / n as f64 + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2;
                // 1 − cos²b/cos²a = sin(a + b) sin(b − a)/cos²a.
                let beta = |(a, b): (f64, f64)| (a + b).sin() * (b - a).sin() / a.cos().powi(2);
                each.map(|i| beta((angle(i), angle(i + 1))).min(0.999)).collect()
            }
            Betas::Sigmoid => {
                each.map(|i| first + (last - first) * sigmoid(12.0 * place(i) - 6.0)).collect()
            }
            Betas::List(betas) => betas.clone(),
        }
    }
}

impl Table {
    fn new(betas: &[f64], zero_terminal_snr: bool) -> Self {
        let (mut kept, mut lost) = (vec![1.0], vec![0.0]);
        let (mut a, mut b) = (1.0, 0.0);
        for beta in betas {
            // 1 − ᾱ (1 − β) = (1 − ᾱ) + ᾱ β: nothing cancels.
            (a, b) = (a * (1.0 - beta), b + a * beta);
            kept.push(a);
            lost.push(b);
        }
        let mut table = Self { kept, lost };
        if zero_terminal_snr {
            table.end_at_zero();
        }
        table
    }

    /// √ᾱ ← (√ᾱ − √ᾱ_last) √ᾱ_first/(√ᾱ_first − √ᾱ_last).
    fn end_at_zero(&mut self) {
        let n = self.kept.len() - 1;
        let (first, last) = (self.kept[1].sqrt(), self.kept[n].sqrt());
        let (first_lost, span) = (self.lost[1], first - last);
        for i in 1..=n {
            let root = self.kept[i].sqrt();
            self.kept[i] = ((root - last) * first / span).powi(2);
            // 1 − √ᾱ as a sum of positive terms; differences of roots from differences of 1 − ᾱ.
            let fall = (self.lost[i] - first_lost) / (first + root);
            let rest = first_lost / (1.0 + first) + first * fall / span;
            self.lost[i] = rest * (2.0 - rest);
        }
        (self.kept[n], self.lost[n]) = (0.0, 1.0);
    }
}

/// The logistic function 1/(1 + e^{−x}).
fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Chain {
    /// The chain of a configuration.
    ///
    /// # Errors
    /// [`Error::Config`], naming the key, unless the chain has 2 to 100,000 steps, every β lies in (0, 1) (the last of
    /// a list may be 1), and the log-SNR falls within ±80; it may be −∞ at the end.
    pub fn new(config: ChainConfig) -> Result<Self> {
        let bad = |key: &str, found: String, expected: &str| {
            Err(Error::config(format!("schedule.{key}"), found, expected))
        };
        let n = match (&config.betas, config.steps) {
            (Betas::List(list), None) => list.len(),
            (Betas::List(list), Some(n)) if n != list.len() => {
                let expected = "the number of betas, or no such key";
                return bad("steps", format!("{n} for {} betas", list.len()), expected);
            }
            (_, steps) => steps.unwrap_or(1000),
        };
        if !(2..=MOST_STEPS).contains(&n) {
            let key = if config.steps.is_some() { "steps" } else { "betas" };
            return bad(key, format!("{n} steps"), "from 2 to 100000 steps");
        }
        let inside = |beta: f64| beta > 0.0 && beta < 1.0;
        for (key, beta) in [("beta_start", config.beta_start), ("beta_end", config.beta_end)] {
            if !inside(beta) {
                return bad(key, format!("{beta:?}"), "a number between 0 and 1");
            }
        }
        let betas = config.betas(n);
        if let Some(i) = (0..n).find(|&i| !(inside(betas[i]) || (i + 1 == n && betas[i] == 1.0))) {
            let expected = "numbers between 0 and 1 (the last may be 1)";
            return bad("betas", format!("{:?} at index {i}", betas[i]), expected);
        }
        let chain = Self { table: Arc::new(Table::new(&betas, config.zero_terminal_snr)), config };
        let lambda = |i: usize| chain.level(i as f64).lambda;
        let usable = |i: usize| {
            let within = lambda(i).abs() <= MOST_LOG_SNR;
            let end = i + 1 == n && lambda(i) == f64::NEG_INFINITY;
            (within || end) && (i == 0 || lambda(i) < lambda(i - 1))
        };
        match (0..n).find(|&i| !usable(i)) {
            None => Ok(chain),
            Some(i) => {
                let expected =
                    "a log-SNR that falls from at most 80 to at least -80, or -inf at the end";
                bad("betas", format!("log-SNR {:.4e} at index {i}", lambda(i)), expected)
            }
        }
    }

    /// The configuration of the chain.
    pub fn config(&self) -> &ChainConfig {
        &self.config
    }

    /// N, the number of noising steps.
    pub fn steps(&self) -> usize {
        self.table.kept.len() - 1
    }

    /// The piece that contains `t`: the table's entry at its end, and the relative place of `t` in it, in [0, 1].
    fn piece(&self, t: f64) -> (usize, f64) {
        let place = (t + 1.0).clamp(0.0, self.steps() as f64);
        let end = (place.ceil() as usize).clamp(1, self.steps());
        (end, place - (end - 1) as f64)
    }

    /// ᾱ and 1 − ᾱ at time `t`.
    fn variances(&self, t: f64) -> (f64, f64) {
        let (end, w) = self.piece(t);
        let between = |v: &[f64]| (1.0 - w) * v[end - 1] + w * v[end];
        (between(&self.table.kept), between(&self.table.lost))
    }

    /// dᾱ/dt at time `t`.
    fn slope(&self, t: f64) -> f64 {
        let (end, _) = self.piece(t);
        let Table { kept, lost } = &*self.table;
        // The difference of the smaller numbers has more correct digits.
        if kept[end] < 0.5 { kept[end] - kept[end - 1] } else { lost[end - 1] - lost[end] }
    }
}

impl Schedule for Chain {
    /// Always succeeds: [`Chain::new`] has checked the chain, whose end may be pure noise.
    fn check(&self) -> Result<()> {
        Ok(())
    }
    fn level(&self, t: f64) -> Level {
        let (kept, lost) = self.variances(t);
        Level { t, alpha: kept.sqrt(), sigma: lost.sqrt(), lambda: (kept / lost).ln() }
    }
    fn drift(&self, t: f64) -> f64 {
        0.5 * self.slope(t) / self.variances(t).0
    }
    fn lambda_rate(&self, t: f64) -> f64 {
        let (kept, lost) = self.variances(t);
        self.slope(t) / (kept * lost)
    }
    fn range(&self) -> (f64, f64) {
        (0.0, (self.steps() - 1) as f64)
    }
    fn time(&self, lambda: f64) -> f64 {
        let Table { kept, lost } = &*self.table;
        // Interpolates whichever of ᾱ = sigmoid(λ) and 1 − ᾱ = sigmoid(−λ) is at most ½.
        let (end, w) = if lambda > 0.0 {
            let value = sigmoid(-lambda);
            let end = lost.partition_point(|v| *v < value).clamp(1, self.steps());
            (end, (value - lost[end - 1]) / (lost[end] - lost[end - 1]))
        } else {
            let value = sigmoid(lambda);
            let end = kept.partition_point(|v| *v > value).clamp(1, self.steps());
            (end, (kept[end - 1] - value) / (kept[end - 1] - kept[end]))
        };
        end as f64 - 2.0 + w.clamp(0.0, 1.0)
    }
    fn diffusion_squared(&self, t: f64) -> f64 {
        // Variance preserving: g² = −2 f.
        -self.slope(t) / self.variances(t).0
    }
    fn rate(&self, t: f64) -> Rate {
        let (kept, lost) = self.variances(t);
        let half = 0.5 * self.slope(t);
        Rate { alpha: half / kept.sqrt(), sigma: -half / lost.sqrt() }
    }
    fn chain_len(&self) -> Option<usize> {
        Some(self.steps())
    }
}
