//! The Dirac game (Mescheder, Geiger & Nowozin 2018, *Which training methods for GANs do actually converge?*,
//! definition 2.1): the data are at 0, the generator's only row is at θ, and the critic is D(x) = ψ x.
//!
//! With the logistic losses, whose slope at 0 is ½, the steps of size h near the only fixed point (0, 0) are
//!
//! > ψ′ = (1 − hγ) ψ − ½ h θ,  θ′ = θ + ½ h ψ (simultaneous) or θ + ½ h ψ′ (alternating),
//!
//! with γ the weight of R₁ or R₂, which are the same here, as the slope of D is ψ everywhere. So without a penalty the
//! simultaneous multiplier is √(1 + h²/4) > 1, and the alternating one is 1 (lemmas 2.3 and 2.4); with it the rates
//! for h → 0 are those of the flow,
//!
//! > −γ/2 ± √(γ²/4 − ¼)
//!
//! (lemma 3.1 with f′(0)² = ¼). A penalty centred at 1, and clipped weights, keep ψ away from 0 or do nothing there,
//! and the game circles (lemmas 2.5 and 2.6).

use super::{AnyGameLoss, AnyRegulariser, Round, Slopes};
use crate::data::Condition;
use crate::tensor::{Dual, host_column};
use crate::{Draws, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};

/// A game of one number each.
///
/// ```
/// use tweedie::game::Dirac;
/// let game = Dirac { alternating: false, ..Dirac::new(0.05) };
/// let path = game.path([1e-2, 0.0], 1)?;
/// let radius = |[theta, psi]: [f64; 2]| theta.hypot(psi);
/// assert!((radius(path[1]) / radius(path[0]) - (1.0 + 0.05f64.powi(2) / 4.0).sqrt()).abs() < 1e-6);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Dirac {
    /// The losses.
    pub loss: AnyGameLoss,
    /// The critic's regularisers.
    pub regularisers: Vec<AnyRegulariser>,
    /// The step size h of both players.
    pub step: f64,
    /// Whether the generator answers the critic's new ψ; if not, both step at once.
    pub alternating: bool,
}

/// A number as a row, in double precision.
fn row(value: f64) -> Tensor<2> {
    let device = Device::flex();
    Tensor::from_data(TensorData::new(vec![value], [1, 1]), (&device, DType::F64))
}

/// A number as a leaf of a graph.
fn leaf(value: f64) -> Tensor<2> {
    row(value).autodiff().require_grad()
}

/// The derivative of a loss by a leaf; 0 where it does not depend on it.
fn slope(loss: Tensor<1>, by: &Tensor<2>) -> Result<f64> {
    match by.grad(&loss.backward()) {
        Some(found) => Ok(host_column(&found)?[0]),
        None => Ok(0.0),
    }
}

impl Dirac {
    /// Alternating steps with the default losses and no regularisers.
    pub fn new(step: f64) -> Self {
        Self { loss: AnyGameLoss::default(), regularisers: Vec::new(), step, alternating: true }
    }

    /// D(x) = ψ x, with the norm that a regulariser gives to ψ.
    fn critic(&self, x: Dual<2>, psi: &Tensor<2>) -> Dual<2> {
        let norm = self.regularisers.iter().find_map(|own| own.norm());
        let psi = match norm {
            None => psi.clone(),
            Some(norm) => psi.clone() * psi.clone().abs().recip().mul_scalar(norm),
        };
        x * psi
    }

    /// The derivative of the critic's loss and penalties by ψ.
    fn of_critic(&self, [theta, psi]: [f64; 2], step: u64) -> Result<f64> {
        let (live, frozen) = (leaf(psi), row(psi));
        let round = Round {
            p: row(0.0),
            q: row(theta),
            condition: &Condition::None,
            draws: Draws::new(step),
            step,
        };
        let of = |x: &Tensor<2>| self.critic(x.clone().into(), &live).value;
        let mut total = self.loss.critic(of(&round.p), of(&round.q));
        let slopes = Slopes {
            frozen: &|x| Ok(self.critic(x, &frozen)),
            live: &|x| Ok(self.critic(x, &live)),
        };
        for regulariser in &self.regularisers {
            if let Some(penalty) = regulariser.penalty(&slopes, &round)? {
                total = total + penalty.surrogate.mean();
            }
        }
        slope(total, &live)
    }

    /// The derivative of the generator's loss by θ.
    fn of_generator(&self, [theta, psi]: [f64; 2]) -> Result<f64> {
        let (live, frozen) = (leaf(theta), row(psi));
        let of = |x: Tensor<2>| self.critic(x.into(), &frozen).value;
        slope(self.loss.generator(of(row(0.0)), of(live.clone())), &live)
    }

    /// The points (θ, ψ) before and after each of `steps` steps.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if a tensor cannot be read.
    pub fn path(&self, start: [f64; 2], steps: u64) -> Result<Vec<[f64; 2]>> {
        let bound = self.regularisers.iter().find_map(|own| own.bound()).unwrap_or(f64::INFINITY);
        let mut path = vec![start];
        let mut at = start;
        for step in 0..steps {
            let psi = at[1] - self.step * self.of_critic(at, step)?;
            let psi = psi.clamp(-bound, bound);
            let seen = if self.alternating { [at[0], psi] } else { at };
            at = [at[0] - self.step * self.of_generator(seen)?, psi];
            path.push(at);
        }
        Ok(path)
    }

    /// The factors by which one step multiplies distances from (0, 0) along its two directions, the larger first:
    /// moduli of the eigenvalues of the map of `steps` steps at a radius, to the power 1/`steps`.
    ///
    /// # Errors
    /// As [`Dirac::path`].
    pub fn multipliers(&self, radius: f64, steps: u64) -> Result<[f64; 2]> {
        let end = |start: [f64; 2]| -> Result<[f64; 2]> {
            let path = self.path(start, steps)?;
            Ok(path[path.len() - 1].map(|x| x / radius))
        };
        let ([a, c], [b, d]) = (end([radius, 0.0])?, end([0.0, radius])?);
        let (half, product) = (0.5 * (a + d), a * d - b * c);
        let inside = half * half - product;
        let moduli = if inside < 0.0 {
            [product.sqrt(); 2]
        } else {
            // The smaller one by the product, which keeps its digits.
            let larger = half.abs() + inside.sqrt();
            [larger, (product / larger).abs()]
        };
        Ok(moduli.map(|modulus| modulus.powf(1.0 / steps as f64)))
    }
}
