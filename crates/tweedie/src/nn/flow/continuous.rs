//! Continuous normalising flows: rows carried along a velocity field.
//!
//! From t = 0 (data) to t = 1 (noise) a row moves by a velocity v, an MLP, and its log-determinant grows by the
//! divergence (Chen et al. 2018, *Neural ordinary differential equations*, theorem 1; Grathwohl et al. 2019, *FFJORD*,
//! eqs. 3–4):
//!
//! > dx/dt = v(x, t),  d log|det ∂x(t)/∂x(0)|/dt = tr ∂v/∂x,
//!
//! and from noise to data backwards. Densities and samples take adaptive steps with the exact trace, so that the two
//! directions are each other's inverse up to the tolerance. Training takes `steps` equal Runge–Kutta steps, in which
//! the trace may be the mean of εᵀ (∂v/∂x) ε over random vectors, each held fixed through the solve (*FFJORD*, section
//! 3.1), and may add a penalty (Finlay et al. 2020, *How to train your neural ODE*, section 4):
//!
//! > ∫ (`kinetic` ‖v‖² + `jacobian` ‖∂v/∂x‖²) dt,  E ‖(∂v/∂x) ε‖² = ‖∂v/∂x‖² in Frobenius's norm.
//!
//! Its gradients are those of the discretised loss, or come from the adjoint a(t) = ∂L/∂x(t) (Chen et al. 2018,
//! eqs. 4–5), which is solved backwards beside x with the same steps and keeps one evaluation at a time: for a loss
//! L = φ(x(1)) + ∫ g dt with parameters θ
//!
//! > da/dt = −∂(aᵀv + g)/∂x,  dL/dθ = ∫ ∂(aᵀv + g)/∂θ dt.

use super::velocity::{Rates, Velocity};
use super::{AnyBijection, Bijection, BijectionConfig, Pass, Place, Take};
use crate::data::Condition;
use crate::error::{count, inside, rows_of, within};
use crate::nn::Activation;
use crate::tensor::{
    Divergence, Dual, Probes, Stage, Tolerance, addresses, integrate_dual, leaf, runge_kutta,
};
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// The most hidden layers, the most units of each, and the most steps.
const MOST_LAYERS: u64 = 64;
const MOST_UNITS: u64 = 1 << 14;
const MOST_STEPS: u64 = 1000;

/// The method by which training differentiates a solve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SolveGradient {
    /// Reverse mode through all steps: the gradient of the discretised loss, with memory for every step.
    #[default]
    Discrete,
    /// The adjoint solved backwards: that of the exact flow up to the error of the steps, with memory for one
    /// evaluation.
    Adjoint,
}

/// Configuration of [`Continuous`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContinuousConfig {
    /// The widths of the hidden layers of the velocity's MLP.
    pub hidden: Vec<usize>,
    /// The MLP's activation.
    pub activation: Activation,
    /// The number of Runge–Kutta steps in training, each with four evaluations.
    pub steps: usize,
    /// The absolute and the relative tolerance of the adaptive steps of densities and samples.
    pub tolerance: f64,
    /// The trace in training; if absent exact up to 16 columns, else by one random vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divergence: Option<Divergence>,
    /// The method by which training differentiates a solve.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub gradient: SolveGradient,
    /// The weight of ∫ ‖v‖² dt in the loss.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub kinetic: f64,
    /// The weight of ∫ ‖∂v/∂x‖² dt in the loss.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub jacobian: f64,
}

impl Default for ContinuousConfig {
    fn default() -> Self {
        Self {
            hidden: vec![64, 64],
            activation: Activation::Tanh,
            steps: 8,
            tolerance: 1e-5,
            divergence: None,
            gradient: SolveGradient::default(),
            kinetic: 0.0,
            jacobian: 0.0,
        }
    }
}

impl ContinuousConfig {
    /// The trace in training at a place.
    fn divergence(&self, place: &Place) -> Divergence {
        self.divergence.unwrap_or(Divergence::usual(place.width, 1))
    }
}

impl BijectionConfig for ContinuousConfig {
    fn check(&self) -> Result<()> {
        count("hidden", self.hidden.len() as u64, MOST_LAYERS)?;
        self.hidden.iter().try_for_each(|units| count("hidden", *units as u64, MOST_UNITS))?;
        count("steps", self.steps as u64, MOST_STEPS)?;
        within("tolerance", self.tolerance, 1e-12, 0.1)?;
        if let Some(Divergence::Hutchinson { probes, .. }) = self.divergence {
            count("probes", probes as u64, 10_000).map_err(|e| inside("divergence", e))?;
        }
        within("kinetic", self.kinetic, 0.0, 1e6)?;
        within("jacobian", self.jacobian, 0.0, 1e6)
    }

    fn takes_probes(&self) -> bool {
        true
    }

    fn init(&self, place: &Place, draws: &Draws, device: &Device) -> Result<AnyBijection> {
        self.check()?;
        let network = (&self.hidden[..], self.activation);
        Ok(Continuous {
            velocity: Velocity::new(network, place, draws, device),
            width: place.width,
            steps: self.steps,
            tolerance: Tolerance { atol: self.tolerance, rtol: self.tolerance },
            divergence: self.divergence(place),
            gradient: self.gradient,
            kinetic: self.kinetic,
            jacobian: self.jacobian,
        }
        .into())
    }

    fn parameters(&self, place: &Place) -> u128 {
        Velocity::parameters(&self.hidden, place)
    }

    fn activations(&self, place: &Place) -> usize {
        let vectors = match self.divergence(place) {
            Divergence::Exact => place.width,
            Divergence::Hutchinson { probes, .. } => probes,
        };
        let evaluations = match self.gradient {
            SolveGradient::Discrete => 4 * self.steps,
            SolveGradient::Adjoint => 1,
        };
        let values = 2 * place.width + 3 * self.hidden.iter().sum::<usize>();
        evaluations.saturating_mul(1 + vectors).saturating_mul(values)
    }
}

/// A continuous flow; see the module's head.
#[derive(Module, Debug)]
pub struct Continuous {
    velocity: Velocity,
    #[module(skip)]
    width: usize,
    #[module(skip)]
    steps: usize,
    #[module(skip)]
    tolerance: Tolerance,
    #[module(skip)]
    divergence: Divergence,
    #[module(skip)]
    gradient: SolveGradient,
    #[module(skip)]
    kinetic: f64,
    #[module(skip)]
    jacobian: f64,
}

impl Continuous {
    /// Rows at the end of a solve with adaptive steps, and each estimate of the integrated trace, `[n, estimates]`.
    fn adaptive(
        &self,
        x: Dual<2>,
        span: (f64, f64),
        condition: &Condition,
        probes: &Probes,
    ) -> Result<(Dual<2>, Dual<2>)> {
        let ([n, d], estimates) = (x.dims(), probes.estimates());
        let zeros = Tensor::zeros([n, estimates], (&x.value.device(), x.value.dtype()));
        let rates = |active: &[usize], times: &[f64], y: Dual<2>| {
            let (condition, probes) = match active.len() == n {
                true => (condition.clone(), probes.clone()),
                false => (condition.select(active), probes.select(active)),
            };
            let x = y.linear(|y| y.narrow(1, 0, d));
            let rates = self.velocity.rates(x, times, &condition, &probes)?;
            Ok(rates.velocity.join(rates.divergence))
        };
        let end = integrate_dual(rates, x.join(zeros.into()), span, self.tolerance)?;
        let part = |from, len| end.clone().linear(|y| y.narrow(1, from, len));
        Ok((part(0, d), part(d, estimates)))
    }

    /// Rows at the end of a solve with the exact trace.
    fn exact(
        &self,
        x: Dual<2>,
        span: (f64, f64),
        condition: &Condition,
    ) -> Result<(Dual<2>, Dual<2>)> {
        rows_of(x.dims(), self.width)?;
        let probes = Divergence::Exact.probes(&Draws::new(0), &[], &x.value.clone().detach())?;
        self.adaptive(x, span, condition, &probes)
    }

    /// Random vectors of each row; equal rows have equal ones.
    fn probes(&self, divergence: Divergence, x: &Tensor<2>, draws: &Draws) -> Result<Probes> {
        let rows = match divergence {
            Divergence::Exact => Vec::new(),
            Divergence::Hutchinson { .. } => addresses(x)?,
        };
        divergence.probes(draws, &rows, &x.clone().detach())
    }

    /// Whether the loss has a penalty.
    fn is_penalised(&self) -> bool {
        self.kinetic > 0.0 || self.jacobian > 0.0
    }

    /// The rate of the penalty, `[n, 1]`.
    fn penalty(&self, rates: &Rates) -> Dual<2> {
        let energy = rates.velocity.clone().square().sum_dim(1).mul_scalar(self.kinetic);
        if self.jacobian == 0.0 {
            return energy;
        }
        energy + rates.square.clone().mul_scalar(self.jacobian)
    }
}

impl Bijection for Continuous {
    fn to_noise(&self, x: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        self.exact(x, (0.0, 1.0), condition)
    }

    fn to_data(&self, z: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        self.exact(z, (1.0, 0.0), condition)
    }

    fn rows(&self, z: Tensor<2>, condition: &Condition) -> Result<(Tensor<2>, u64)> {
        rows_of(z.dims(), self.width)?;
        let (n, mut evaluations) = (z.dims()[0], 0);
        let rates = |active: &[usize], times: &[f64], x: Dual<2>| {
            evaluations += active.len() as u64;
            match active.len() == n {
                true => self.velocity.forward(x, times, condition),
                false => self.velocity.forward(x, times, &condition.select(active)),
            }
        };
        let x = integrate_dual(rates, z.into(), (1.0, 0.0), self.tolerance)?.value;
        Ok((x, evaluations))
    }

    fn estimates(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        (probes, draws): (usize, &Draws),
    ) -> Result<(Tensor<2>, Tensor<2>)> {
        rows_of(x.dims(), self.width)?;
        let probes = self.probes(Divergence::hutchinson(probes), &x, draws)?;
        let (z, log_det) = self.adaptive(x.into(), (0.0, 1.0), condition, &probes)?;
        Ok((z.value, log_det.value))
    }

    fn pass(&self, x: Tensor<2>, condition: &Condition, draws: &Draws) -> Result<Pass> {
        rows_of(x.dims(), self.width)?;
        let ([n, d], options) = (x.dims(), (&x.device(), x.dtype()));
        let probes = self.probes(self.divergence, &x, draws)?;
        let sums = if self.is_penalised() { 2 } else { 1 };
        let start = Dual::from(x).join(Tensor::zeros([n, sums], options).into());
        let rates = |time: f64, y: Dual<2>| {
            let x = y.linear(|y| y.narrow(1, 0, d));
            let rates = self.velocity.rates(x, &[time], condition, &probes)?;
            let trace = rates.divergence.clone().mean_dim(1);
            let sums = if self.is_penalised() { trace.join(self.penalty(&rates)) } else { trace };
            Ok(rates.velocity.join(sums))
        };
        let end = runge_kutta(|at, y| rates(at.time, y), start, (0.0, 1.0), self.steps)?.value;
        let part = |from, len| end.clone().narrow(1, from, len);
        let penalty = self.is_penalised().then(|| part(d + 1, 1));
        Ok(Pass { z: part(0, d), log_det: part(d, 1), penalty })
    }

    fn has_adjoint(&self) -> bool {
        self.gradient == SolveGradient::Adjoint
    }

    fn pull(
        &self,
        [x, z]: [Tensor<2>; 2],
        condition: &Condition,
        draws: &Draws,
        (by_z, weight): (Tensor<2>, f64),
        take: Take,
    ) -> Result<Tensor<2>> {
        if !self.has_adjoint() {
            return super::training::pull_by_graph(self, x, condition, draws, (by_z, weight), take);
        }
        let [_, d] = x.dims();
        let probes = self.probes(self.divergence, &x, draws)?;
        let rates = |time: f64, share: f64, y: Tensor<2>, take: Take| -> Result<Tensor<2>> {
            let part = |from| y.clone().narrow(1, from, d);
            let (x, adjoint) = (leaf(part(0)), part(d));
            let rates = self.velocity.rates(x.clone().into(), &[time], condition, &probes)?;
            let mut sum = -rates.divergence.clone().mean_dim(1);
            if self.is_penalised() {
                sum = sum + self.penalty(&rates);
            }
            let velocity = rates.velocity.value;
            let sum = (velocity.clone() * adjoint).sum() + sum.value.sum().mul_scalar(weight);
            let gradients = sum.backward();
            take(&gradients, share);
            let by_x = x.grad(&gradients).unwrap_or_else(|| x.clone().inner().zeros_like());
            Ok(Tensor::cat(vec![velocity.inner(), by_x.neg()], 1))
        };
        let start = Tensor::cat(vec![z.inner(), by_z.inner()], 1);
        // Backwards in time, so that weights are negative.
        let of =
            |at: Stage, y: Dual<2>| Ok(rates(at.time, -at.weight, y.value, &mut *take)?.into());
        let end = runge_kutta(of, start.into(), (1.0, 0.0), self.steps)?.value;
        Ok(end.narrow(1, d, d))
    }
}
