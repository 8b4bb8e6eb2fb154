//! Passes of training: estimates of log p with penalties, and gradients layer by layer.

use super::{Bijection, Flow, parts, standard_normal, whole};
use crate::data::Condition;
use crate::tensor::{detached, host_column, leaf, mean_and_error};
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::{Gradients, Tensor};

/// A pass of training through a bijection.
pub struct Pass {
    /// The noise, `[n, width]`.
    pub z: Tensor<2>,
    /// log|det ∂z/∂x|, `[n, 1]`, or an unbiased estimate of it.
    pub log_det: Tensor<2>,
    /// What the loss is more than −log p, `[n, 1]`.
    pub penalty: Option<Tensor<2>>,
}

/// A function that is called with the gradients of each part of a loss, and with a factor to multiply them by.
pub type Take<'a> = &'a mut dyn FnMut(&Gradients, f64);

/// The sum of two optional terms.
fn plus(a: Option<Tensor<2>>, b: Option<Tensor<2>>) -> Option<Tensor<2>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

/// [`Bijection::pull`] by reverse mode through one pass.
pub(super) fn pull_by_graph<B: Bijection>(
    bijection: &B,
    x: Tensor<2>,
    condition: &Condition,
    draws: &Draws,
    (by_z, weight): (Tensor<2>, f64),
    take: Take,
) -> Result<Tensor<2>> {
    let x = leaf(x);
    let Pass { z, log_det, penalty } = bijection.pass(x.clone(), condition, draws)?;
    let sum = plus(Some(log_det.neg()), penalty).map(|sum| sum.sum().mul_scalar(weight));
    let all = (z * by_z).sum();
    let all = if let Some(sum) = sum { all + sum } else { all };
    let gradients = all.backward();
    take(&gradients, 1.0);
    Ok(x.grad(&gradients).unwrap_or_else(|| x.inner().zeros_like()))
}

/// A batch on its way through the layers of a flow: before the first layer, and after each.
struct Way {
    /// The values, each `[n, width]`.
    stages: Vec<Tensor<2>>,
    /// The sum of log-determinants, `[n, 1]`.
    log_det: Tensor<2>,
    /// The sum of penalties, `[n, 1]`.
    penalty: Option<Tensor<2>>,
}

impl Flow {
    /// The way of a batch through the layers, in the graph of its values if there is one.
    fn way(&self, x: Tensor<2>, condition: &Condition, draws: &Draws) -> Result<Way> {
        self.check(&x.clone().into(), condition)?;
        let mut log_det = x.clone().narrow(1, 0, 1).zeros_like();
        let (mut stages, mut penalty) = (vec![x], None);
        for (k, layer, width) in self.steps() {
            let (mapped, noise) = parts(stages[stages.len() - 1].clone().into(), width);
            let pass = layer.pass(mapped.value, condition, &draws.at(k))?;
            stages.push(whole(pass.z.into(), noise).value);
            log_det = log_det + pass.log_det;
            penalty = plus(penalty, pass.penalty);
        }
        Ok(Way { stages, log_det, penalty })
    }

    /// The noise, the log-determinant and the penalty of a batch in training.
    pub(super) fn pass_layers(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        draws: &Draws,
    ) -> Result<Pass> {
        let Way { mut stages, log_det, penalty } = self.way(x, condition, draws)?;
        let z = stages.swap_remove(stages.len() - 1);
        Ok(Pass { z, log_det, penalty })
    }

    /// The gradients of parameters, from the last layer to the first, each in a graph of its own.
    pub(super) fn pull_layers(
        &self,
        stages: &[Tensor<2>],
        condition: &Condition,
        draws: &Draws,
        (mut by_z, weight): (Tensor<2>, f64),
        take: Take,
    ) -> Result<Tensor<2>> {
        for (k, layer, width) in self.steps().rev() {
            let end = |k: usize| parts(stages[k].clone().into(), width).0.value;
            let ends = [end(k as usize), end(k as usize + 1)];
            let (of_mapped, of_noise) = parts(by_z.into(), width);
            let by = (of_mapped.value, weight);
            let by_x = layer.pull(ends, condition, &draws.at(k), by, &mut *take)?;
            by_z = whole(by_x.into(), of_noise).value;
        }
        Ok(by_z)
    }

    /// The values on the way through the layers, outside of any graph.
    pub(super) fn plain_stages(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        draws: &Draws,
    ) -> Result<Vec<Tensor<2>>> {
        let stages = self.valid().way(detached(x), condition, draws)?.stages;
        Ok(stages.into_iter().map(detached).collect())
    }

    /// Computes the gradients of the loss, the mean of (−log p + penalty) · `scale` over the rows of `x`, `[n, width]`,
    /// and calls `take` with them: once by reverse mode, or once for each evaluation of the layers where one has an
    /// adjoint, with a factor each time. Returns the means of log p and of the penalty over the rows. If one of them is
    /// not finite, `take` is not called.
    ///
    /// # Errors
    /// As [`Bijection::to_noise`].
    pub fn descend(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        scale: f64,
        draws: &Draws,
        take: Take,
    ) -> Result<(f64, f64)> {
        if self.has_adjoint() {
            return self.descend_by_layers(x, condition, scale, draws, take);
        }
        let Pass { z, log_det, penalty } = self.pass(x, condition, draws)?;
        let log_p = standard_normal(z.into()).value + log_det;
        let means = means(&log_p, penalty.as_ref())?;
        if means.0.is_finite() && means.1.is_finite() {
            let loss = log_p.mean().mul_scalar(-scale);
            let loss = match penalty {
                Some(penalty) => loss + penalty.mean().mul_scalar(scale),
                None => loss,
            };
            take(&loss.backward(), 1.0);
        }
        Ok(means)
    }

    /// [`Flow::descend`] with a graph for one layer or one evaluation at a time.
    fn descend_by_layers(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        scale: f64,
        draws: &Draws,
        take: Take,
    ) -> Result<(f64, f64)> {
        let weight = scale / x.dims()[0] as f64;
        let Way { stages, log_det, penalty } = self.valid().way(detached(x), condition, draws)?;
        let stages: Vec<Tensor<2>> = stages.into_iter().map(detached).collect();
        let z = stages[stages.len() - 1].clone();
        let log_p = standard_normal(z.clone().into()).value + detached(log_det);
        let means = means(&log_p, penalty.map(detached).as_ref())?;
        if means.0.is_finite() && means.1.is_finite() {
            // −log N(z; 0, I) has the gradient z.
            let by_z = z.mul_scalar(weight);
            self.pull_layers(&stages, condition, draws, (by_z, weight), take)?;
        }
        Ok(means)
    }
}

/// The means of log p and of the penalty, 0 without one.
fn means(log_p: &Tensor<2>, penalty: Option<&Tensor<2>>) -> Result<(f64, f64)> {
    let mean = |column: &Tensor<2>| Ok::<_, crate::Error>(mean_and_error(&host_column(column)?).0);
    Ok((mean(log_p)?, penalty.map_or(Ok(0.0), mean)?))
}
