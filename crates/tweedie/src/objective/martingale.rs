//! The martingale regulariser: a model's mean of x₀ should not change along its own reverse process.
//!
//! With the exact x̂, E[x̂(x_s) | x_t] = x̂(x_t) for s < t, where x_s follows the reverse process: x̂ is a martingale.
//! A network's x̂ is one only after training for it (Daras et al. 2023, *Consistent diffusion models*; *An Introduction
//! to Generative Modeling with Flows and Diffusion Models*, sec. 6.5.4, discusses their regulariser). For a and a′, the
//! means x̂ at the ends of two independent ancestral paths from one x_t, and b = x̂(x_t),
//!
//! > (a − b)·(a′ − b)/d
//!
//! is an unbiased estimate of the squared residual ‖E[a | x_t] − b‖²/d, so that the value of a single row may be
//! negative; ‖a − b‖² would add the variance of x̂(x_s), which training cannot remove. Gradients reach only the three
//! means: the paths are held fixed.
//!
//! With the exact x̂ a path of K steps has an error of O(1/K) in the mean at its end, and none if x̂ is linear in x.

use super::{Loss, Noising, Objective, ScoreModel, Weighting};
use crate::data::{Batch, Condition};
use crate::denoise::{Denoiser, NeuralDenoiser};
use crate::nn::Network;
use crate::process::{Level, Levels, NoisedBatch, Schedule, finite_log_snrs};
use crate::solve::{Ancestral, Context, Solver};
use crate::tensor::select_rows;
use crate::{Draws, Error, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The options of the martingale regulariser; see the module documentation.
///
/// ```
/// use tweedie::burn::tensor::{DType, Device, Tensor};
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::Condition;
/// use tweedie::objective::Martingale;
/// use tweedie::process::{Cosine, Schedule};
/// let exact = GaussianMixture::new(vec![Component::isotropic(1.0, vec![0.5], 0.3)])?;
/// let (schedule, x) = (Cosine::default(), Tensor::from_data([[1.2f64]], (&Device::flex(), DType::F64)));
/// let level = schedule.level(0.6).into();
/// let martingale = Martingale { span: 1e-3, ..Martingale::default() };
/// let draws = tweedie::Draws::new(0);
/// let square = martingale.residual(&exact, &schedule, x, &level, &Condition::None, &draws)?;
/// assert!(square.into_scalar::<f64>().abs() < 1e-2);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Martingale {
    /// The weight of the squared residual relative to the regularised objective, 0 or more.
    pub weight: f64,
    /// The length λ_s − λ_t of a path, above 0; shorter where it would pass the schedule's cleanest level.
    pub span: f64,
    /// The number of ancestral steps of a path, evenly spaced in λ.
    pub steps: usize,
}

impl Default for Martingale {
    fn default() -> Self {
        Self { weight: 1.0, span: 2.0, steps: 2 }
    }
}

/// The ends of the two paths of each row; the paths of row i end in rows 2i and 2i + 1.
struct Ends {
    x: Tensor<2>,
    levels: Levels,
    condition: Condition,
}

impl Martingale {
    /// Fails, naming the key, unless every number is in its range.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        if !(0.0..=1e6).contains(&self.weight) {
            let expected = "a number from 0 to 1e6";
            return Err(Error::config("weight", format!("{:?}", self.weight), expected));
        }
        if !(self.span > 0.0 && self.span <= 160.0) {
            let expected = "a number above 0 and at most 160";
            return Err(Error::config("span", format!("{:?}", self.span), expected));
        }
        if !(1..=1000).contains(&self.steps) {
            return Err(Error::config("steps", self.steps.to_string(), "from 1 to 1000"));
        }
        Ok(())
    }

    /// The unbiased estimate of the squared residual of each row of `x`, `[n, 1]`, a mean over its columns; row i uses
    /// the draws of row i.
    ///
    /// # Errors
    /// The errors of [`Martingale::check`] and of the denoiser.
    pub fn residual(
        &self,
        denoiser: &dyn Denoiser,
        schedule: &dyn Schedule,
        x: Tensor<2>,
        levels: &Levels,
        condition: &Condition,
        draws: &Draws,
    ) -> Result<Tensor<2>> {
        let Ends { x: ends, levels: at_ends, condition: of_ends } =
            self.ends(denoiser, schedule, &x, levels, condition, draws)?;
        let here = denoiser.denoise(x.into(), levels, condition)?.value;
        let there = denoiser.denoise(ends.into(), &at_ends, &of_ends)?.value;
        Ok(product(here, there))
    }

    /// The ends of the two paths of each row.
    fn ends(
        &self,
        denoiser: &dyn Denoiser,
        schedule: &dyn Schedule,
        x: &Tensor<2>,
        levels: &Levels,
        condition: &Condition,
        draws: &Draws,
    ) -> Result<Ends> {
        self.check()?;
        let n = x.dims()[0];
        let twice: Vec<usize> = (0..n).flat_map(|i| [i, i]).collect();
        let condition = condition.select(&twice);
        let starts = twice.iter().map(|&i| levels.host(i)).collect::<Result<Vec<Level>>>()?;
        let (cleanest, noisiest) = finite_log_snrs(schedule);
        let after = |share: f64| {
            let level = |start: &Level| {
                let lambda = start.lambda.clamp(noisiest, cleanest);
                let span = self.span.min(cleanest - lambda);
                schedule.level(schedule.time(lambda + share * span))
            };
            Levels::Rows(starts.iter().map(level).collect())
        };
        let rows: Vec<u64> = (0..2 * n as u64).collect();
        let noise = draws.purpose("martingale");
        let context = Context {
            denoiser,
            schedule,
            condition: &condition,
            noise: &noise,
            rows: &rows,
            clip: None,
        };
        let solver = <Ancestral>::default();
        let mut state = solver.init(select_rows(x, &twice));
        let mut from = Levels::Rows(starts.clone());
        for k in 1..=self.steps {
            let to = after(k as f64 / self.steps as f64);
            state = solver.step(state, &from, &to, &context)?;
            from = to;
        }
        Ok(Ends { x: state.x, levels: from, condition })
    }
}

/// Computes (a − b)·(a′ − b)/d for each row of `here`, b; `there` holds a and a′ one below the other.
fn product(here: Tensor<2>, there: Tensor<2>) -> Tensor<2> {
    let [n, d] = here.dims();
    let gaps = there.reshape([n, 2, d]) - here.unsqueeze_dim::<3>(1);
    let [one, other] = [0, 1].map(|path| gaps.clone().narrow(1, path, 1).reshape([n, d]));
    (one * other).mean_dim(1)
}

/// An objective with the martingale regulariser: at each level the squared residual counts `weight` times as much as an
/// error of the data in denoising score matching with the same [`Noising`].
///
/// ```
/// use std::sync::Arc;
/// use tweedie::denoise::NeuralDenoiser;
/// use tweedie::nn::ResidualMlp;
/// use tweedie::objective::{DenoisingScoreMatching, Martingale, Noising, Objective, RegularisedObjective};
/// use tweedie::process::Cosine;
/// let noising = Noising::from(Arc::new(Cosine::default()));
/// let matching: Arc<dyn Objective<NeuralDenoiser<ResidualMlp>>> =
///     Arc::new(DenoisingScoreMatching::new(noising.clone()));
/// let objective = RegularisedObjective::new(matching, noising, Martingale { weight: 0.5, ..Martingale::default() });
/// ```
#[derive(Clone)]
pub struct RegularisedObjective<M> {
    objective: Arc<dyn Objective<M>>,
    noising: Noising,
    martingale: Martingale,
}

impl<M> RegularisedObjective<M> {
    /// Adds the regulariser to `objective`, at the levels and with the weights of `noising`.
    pub fn new(objective: Arc<dyn Objective<M>>, noising: Noising, martingale: Martingale) -> Self {
        Self { objective, noising, martingale }
    }
}

impl<N: Network> Objective<NeuralDenoiser<N>> for RegularisedObjective<NeuralDenoiser<N>> {
    fn loss(&self, model: &NeuralDenoiser<N>, batch: &Batch, draws: &Draws) -> Result<Loss> {
        let Loss { value, surrogate } = self.objective.loss(model, batch, draws)?;
        let schedule = &*self.noising.schedule;
        let NoisedBatch { x, levels, condition, .. } = self.noising.draw(batch, draws)?;
        let tracked = x.is_autodiff();
        let plain = if tracked { x.inner() } else { x };
        let ends =
            self.martingale.ends(&model.valid(), schedule, &plain, &levels, &condition, draws)?;
        let back = |x: Tensor<2>| if tracked { Tensor::from_inner(x) } else { x };
        let here = model.denoise(back(plain).into(), &levels, &condition)?.value;
        let there = model.denoise(back(ends.x).into(), &ends.levels, &ends.condition)?.value;
        let own = model.prediction();
        let weights = (0..batch.x.dims()[0]).map(|i| {
            let level = levels.host(i)?;
            let of_own = self.noising.weight(Weighting::Own, own, &level, model.sigma_data)?;
            let of_data = Weighting::Data.factor(own, &level, schedule, model.sigma_data)?;
            Ok(self.martingale.weight * of_own / of_data)
        });
        let weights = weights.collect::<Result<Vec<f64>>>()?;
        let square = product(here, there);
        let more = square.clone() * crate::tensor::column(&square, weights.into_iter());
        Ok(Loss { value: value + more.clone(), surrogate: surrogate + more })
    }
}
