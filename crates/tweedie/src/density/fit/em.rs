//! Expectation–maximisation for Gaussian mixtures, one step at a time.
//!
//! A step computes the responsibilities under the current mixture (E) and the mixture of greatest expected
//! log-likelihood under them (M); `moments.rs` has the equations. Without regularisation the likelihood
//! never falls (Dempster, Laird and Rubin 1977, Theorem 1). From the same start and with
//! [`Regularisation::Absolute`] the steps are scikit-learn's.
//!
//! The likelihood of a mixture is unbounded: a component that shrinks onto one row, or onto rows in a subspace, raises
//! it for ever (Bishop 2006, section 9.2.1). Regularisation bounds it: no variance is below the floor, which is added
//! to the diagonal of every covariance.

use super::moments::{Maximum, Responsibilities, expect};
use super::start::clusters;
use super::{Covariance, Mixture, Points};
use crate::{Draws, Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The number added to the diagonal of every covariance in every step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Regularisation {
    /// This share of each column's variance over all rows, so that a fit does not depend on the data's units. For a
    /// constant column it is this share of the mean of the columns' variances.
    Relative(f64),
    /// This number, in squared units of the data: scikit-learn's `reg_covar`, there 1e-6.
    Absolute(f64),
}

/// Options of [`Em`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmConfig {
    /// The number of components, at least 1; at most the number of distinct rows, if EM finds its own start.
    pub components: usize,
    /// The kind of the components' covariances.
    pub covariance: Covariance,
    /// The number added to the diagonal of the covariances.
    pub regularisation: Regularisation,
    /// The change of the mean log-likelihood, in nats per row, below which EM from a start has converged; 0 for never.
    pub tolerance: f64,
    /// The number of starts; each step advances all of them, and the start of greatest likelihood counts.
    pub restarts: usize,
}

impl Default for EmConfig {
    fn default() -> Self {
        Self {
            components: 1,
            covariance: Covariance::Full,
            regularisation: Regularisation::Relative(1e-6),
            tolerance: 1e-5,
            restarts: 4,
        }
    }
}

/// The state of [`Em`] as arrays; R is the number of starts, k the number of components.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmState {
    /// The number of steps taken.
    pub steps: u64,
    /// The weights, `[R, k]`.
    pub weights: Vec<f64>,
    /// The means, `[R, k, width]`.
    pub means: Vec<f64>,
    /// The covariances, `[R]` followed by the shape [`Covariance::shape`].
    pub covariances: Vec<f64>,
    /// The mean log-likelihoods before the last step, `[R]`; `f64::MIN` before the first.
    pub likelihoods: Vec<f64>,
    /// The last changes of the mean log-likelihoods, `[R]`; `f64::MAX` before the second step.
    pub changes: Vec<f64>,
}

/// Expectation–maximisation on fixed rows, step by step.
///
/// ```
/// use tweedie::density::fit::{Distribution, Em, EmConfig, Points};
/// use tweedie::Draws;
/// // Two groups of equal size, around −3 and 3.
/// let values = (0..100).map(|i| f64::from(i % 10) / 10.0 + if i < 50 { -3.45 } else { 2.55 });
/// let points = Points::new(values.collect(), 1)?;
/// let config = EmConfig { components: 2, ..EmConfig::default() };
/// let mut em = Em::new(points, &config, &Draws::new(7))?;
/// while !em.converged() {
///     em.step()?; // the mean log-likelihood, which a training loop may write down
/// }
/// let mut means = em.mixture().means().to_vec();
/// means.sort_by(f64::total_cmp);
/// assert!((means[0] + 3.0).abs() < 1e-6 && (means[1] - 3.0).abs() < 1e-6);
/// assert!(em.mixture().log_density(&[3.0]) > em.mixture().log_density(&[0.0]));
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Em {
    points: Arc<Points>,
    tolerance: f64,
    floor: Vec<f64>,
    runs: Vec<Run>,
    steps: u64,
    reseeded: u64,
}

/// EM from a single start.
#[derive(Debug, Clone)]
struct Run {
    mixture: Mixture,
    likelihood: f64,
    change: f64,
}

impl Run {
    fn new(mixture: Mixture) -> Self {
        Self { mixture, likelihood: f64::MIN, change: f64::MAX }
    }
}

impl Em {
    /// EM from clusters by k-means, itself from k-means++. A start has the clusters' weights and means; all its
    /// components have the mean of the clusters' covariances, so that no small cluster begins as a spike.
    ///
    /// # Errors
    /// [`Error::Config`] for an option out of its range or more components than distinct rows; [`Error::Undefined`] if
    /// all rows are equal, where a relative regularisation is 0; [`Error::Diverged`] if a covariance is singular, or
    /// not finite.
    pub fn new(points: impl Into<Arc<Points>>, config: &EmConfig, draws: &Draws) -> Result<Self> {
        let points = points.into();
        let floor = prepare(&points, config, config.components)?;
        let start = |restart: u64| {
            let draws = draws.purpose("start").at(restart);
            let assigned = clusters(&points, config.components, &draws)?;
            let share = |row: usize, k: usize| f64::from(u8::from(assigned[row] == k));
            let shares = Responsibilities::from_fn(&points, config.components, share);
            let mut found = Maximum::new(&points, &shares, config.covariance, &floor, 0)?;
            found.pool();
            Ok(Run::new(found.mixture().map_err(|k| singular(k, 0))?))
        };
        let runs = (0..config.restarts as u64).map(start).collect::<Result<Vec<Run>>>()?;
        Ok(Self { points, tolerance: config.tolerance, floor, runs, steps: 0, reseeded: 0 })
    }

    /// EM from one given mixture, whose number of components and kind of covariance replace those of the options.
    ///
    /// # Errors
    /// As [`Em::new`], and [`Error::Shape`] if the mixture has another width than the rows.
    pub fn from_mixture(
        points: impl Into<Arc<Points>>,
        config: &EmConfig,
        start: Mixture,
    ) -> Result<Self> {
        let points = points.into();
        let floor = prepare(&points, config, start.components())?;
        if start.means().len() != start.components() * points.width() {
            let found = start.means().len() / start.components();
            return Err(Error::shape("width of the mixture", found, points.width()));
        }
        let runs = vec![Run::new(start)];
        Ok(Self { points, tolerance: config.tolerance, floor, runs, steps: 0, reseeded: 0 })
    }

    /// EM from the M-step of given responsibilities, `[rows, components]` row-major, which sum to 1 in each row.
    ///
    /// # Errors
    /// As [`Em::new`]; [`Error::Shape`] if the array has another length; [`Error::Config`] naming a row with a negative
    /// responsibility or another sum than 1, or a component without any.
    pub fn from_responsibilities(
        points: impl Into<Arc<Points>>,
        config: &EmConfig,
        shares: &[f64],
    ) -> Result<Self> {
        let points = points.into();
        let floor = prepare(&points, config, config.components)?;
        let k = config.components;
        if shares.len() != points.len() * k {
            let expected = format!("{} × {k}", points.len());
            return Err(Error::shape("responsibilities", shares.len(), expected));
        }
        let fits = |row: &[f64]| {
            row.iter().all(|r| *r >= 0.0) && (row.iter().sum::<f64>() - 1.0).abs() < 1e-6
        };
        if let Some(i) = shares.chunks_exact(k).position(|row| !fits(row)) {
            let problem = format!("{:?} in row {i}", &shares[i * k..][..k]);
            let expected = "numbers of at least 0 that sum to 1";
            return Err(Error::config("responsibilities", problem, expected));
        }
        let shares = Responsibilities::from_fn(&points, k, |i, c| shares[i * k + c]);
        let found = Maximum::new(&points, &shares, config.covariance, &floor, 0)?;
        if let Some(c) = found.empty().first() {
            let problem = format!("component {c} has none");
            return Err(Error::config("responsibilities", problem, "some for each component"));
        }
        let runs = vec![Run::new(found.mixture().map_err(|c| singular(c, 0))?)];
        Ok(Self { points, tolerance: config.tolerance, floor, runs, steps: 0, reseeded: 0 })
    }

    /// Takes a step from every start that has not converged, and returns the greatest mean log-likelihood, in nats per
    /// row, of the mixtures *before* the step: scikit-learn's `lower_bound_`.
    ///
    /// A component for which the responsibilities sum to less than 1e-8 rows is empty. It moves to the row of least
    /// density (several of them to the distinct rows of least density), with the weight of one row and the mean
    /// covariance of the others; the likelihood may fall then.
    ///
    /// # Errors
    /// [`Error::Diverged`] with the step's number if the likelihood or a covariance is not finite, or a covariance is
    /// singular, possible only with too small a regularisation. The state then stays unchanged.
    pub fn step(&mut self) -> Result<f64> {
        let step = self.steps + 1;
        let (mut runs, mut reseeded) = (self.runs.clone(), self.reseeded);
        for run in runs.iter_mut().filter(|run| !settled(run, self.tolerance)) {
            let (log_p, shares) = expect(&run.mixture, &self.points);
            let likelihood = log_p.iter().sum::<f64>() / log_p.len() as f64;
            if !likelihood.is_finite() {
                let what = "the mean log-likelihood is not finite".to_owned();
                return Err(Error::Diverged { what, step });
            }
            let kind = run.mixture.kind();
            let mut found = Maximum::new(&self.points, &shares, kind, &self.floor, step)?;
            let moved = found.refill(&self.points, &log_p);
            reseeded += moved as u64;
            run.mixture = found.mixture().map_err(|k| singular(k, step))?;
            let first = run.likelihood == f64::MIN;
            run.change = if first || moved > 0 { f64::MAX } else { likelihood - run.likelihood };
            run.likelihood = likelihood;
        }
        (self.runs, self.steps, self.reseeded) = (runs, step, reseeded);
        Ok(self.best().likelihood)
    }

    /// Takes steps until convergence, but at most `most`; returns the mean log-likelihood of the mixture found, in nats
    /// per row.
    ///
    /// # Errors
    /// As [`Em::step`].
    pub fn run(&mut self, most: u64) -> Result<f64> {
        for _ in 0..most {
            if self.converged() {
                break;
            }
            self.step()?;
        }
        Ok(self.mixture().mean_log_density(&self.points))
    }

    /// Whether the last step changed the mean log-likelihood from every start by less than the tolerance.
    pub fn converged(&self) -> bool {
        self.runs.iter().all(|run| settled(run, self.tolerance))
    }

    /// The mixture of the start whose likelihood before the last step was greatest.
    pub fn mixture(&self) -> &Mixture {
        &self.best().mixture
    }

    /// The mixture of each start, in the order of the starts.
    pub fn starts(&self) -> impl Iterator<Item = &Mixture> {
        self.runs.iter().map(|run| &run.mixture)
    }

    /// The number of the start whose mixture is [`Em::mixture`].
    pub fn best_start(&self) -> usize {
        let best = self.best();
        self.runs.iter().position(|run| std::ptr::eq(run, best)).unwrap_or(0)
    }

    /// The mean log-likelihood before the last step, in nats per row: the value returned by that step; none before the
    /// first.
    pub fn likelihood(&self) -> Option<f64> {
        let likelihood = self.best().likelihood;
        (likelihood > f64::MIN).then_some(likelihood)
    }

    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The number of moves of empty components since the construction of this value.
    pub fn reseeded(&self) -> u64 {
        self.reseeded
    }

    /// The rows.
    pub fn points(&self) -> &Arc<Points> {
        &self.points
    }

    /// The state as arrays.
    pub fn state(&self) -> EmState {
        let all = |of: fn(&Mixture) -> &[f64]| {
            self.runs.iter().flat_map(|run| of(&run.mixture)).copied().collect()
        };
        EmState {
            steps: self.steps,
            weights: all(Mixture::weights),
            means: all(Mixture::means),
            covariances: all(Mixture::covariances),
            likelihoods: self.runs.iter().map(|run| run.likelihood).collect(),
            changes: self.runs.iter().map(|run| run.change).collect(),
        }
    }

    /// Restores `state`, of the same rows and options; further steps have the same bits as without the stop.
    ///
    /// # Errors
    /// [`Error::Shape`] if an array has another length than now; [`Error::Config`] if a covariance is not positive
    /// definite.
    pub fn restore(&mut self, state: &EmState) -> Result<()> {
        let now = self.state();
        let lengths = |state: &EmState| {
            let EmState { weights, means, covariances, likelihoods, changes, .. } = state;
            [weights, means, covariances, likelihoods, changes].map(Vec::len)
        };
        if lengths(state) != lengths(&now) {
            let (found, expected) = (lengths(state), lengths(&now));
            return Err(Error::shape(
                "arrays of EM",
                format!("{found:?}"),
                format!("{expected:?}"),
            ));
        }
        let (kind, width, starts) = (self.mixture().kind(), self.points.width(), self.runs.len());
        let part = |values: &[f64], r: usize| {
            let size = values.len() / starts;
            values[r * size..][..size].to_vec()
        };
        let run = |r: usize| {
            let (weights, means) = (part(&state.weights, r), part(&state.means, r));
            let covariances = part(&state.covariances, r);
            let mixture = Mixture::with_normalised(kind, weights, means, covariances, width);
            let mixture = mixture.map_err(|k| {
                let problem = format!("component {k} has one that is not positive definite");
                Error::config("covariances of EM", problem, "a state that EM has saved")
            })?;
            Ok(Run { mixture, likelihood: state.likelihoods[r], change: state.changes[r] })
        };
        self.runs = (0..starts).map(run).collect::<Result<Vec<Run>>>()?;
        self.steps = state.steps;
        Ok(())
    }

    fn best(&self) -> &Run {
        // The first among equals; there is at least one.
        self.runs
            .iter()
            .rev()
            .max_by(|a, b| a.likelihood.total_cmp(&b.likelihood))
            .unwrap_or(&self.runs[0])
    }
}

fn settled(run: &Run, tolerance: f64) -> bool {
    run.change.abs() < tolerance
}

fn singular(component: usize, step: u64) -> Error {
    let advice = "a larger regularisation or fewer components prevent that";
    let what = format!("the covariance of component {component} is singular ({advice})");
    Error::Diverged { what, step }
}

/// Checks the options and returns the floor of the variances, one value per column.
fn prepare(points: &Points, config: &EmConfig, components: usize) -> Result<Vec<f64>> {
    let (k, n) = (components, points.len());
    if k == 0 || k > n {
        let expected = format!("1 to {n}, the number of rows");
        return Err(Error::config("components", k.to_string(), expected));
    }
    if config.restarts == 0 {
        return Err(Error::config("restarts", "0", "at least 1"));
    }
    let (share, relative) = match config.regularisation {
        Regularisation::Relative(share) => (share, true),
        Regularisation::Absolute(value) => (value, false),
    };
    let at_least_0 = |v: f64| v >= 0.0 && v.is_finite();
    for (key, value) in [("tolerance", config.tolerance), ("regularisation", share)] {
        if !at_least_0(value) {
            return Err(Error::config(key, value.to_string(), "a number of at least 0"));
        }
    }
    if !relative {
        return Ok(vec![share; points.width()]);
    }
    let (_, variances) = points.column_moments();
    let mean = variances.iter().sum::<f64>() / variances.len() as f64;
    if mean == 0.0 {
        let why = "all rows are equal, and a share of their variance is 0";
        return Err(Error::undefined("a mixture with relative regularisation", why));
    }
    Ok(variances.iter().map(|v| share * if *v > 0.0 { *v } else { mean }).collect())
}
