//! Regularisers of a critic: penalties of its slopes, limits of its weights.
//!
//! A penalty is a function of ∇D at some rows, of each row by itself: one length over all of a row's values. Its
//! gradient by the weights is a derivative of a derivative, which is had in forward mode
//! ([`of_gradient`](crate::objective::of_gradient)).

mod gradient_penalty;
mod limits;
mod zero_centred;

pub use gradient_penalty::GradientPenalty;
pub use limits::{Clipping, SpectralNorm};
pub use zero_centred::{R1, R2};

use super::Round;
use crate::Result;
use crate::objective::Loss;
use crate::registry::registry;
use crate::tensor::Dual;
use std::fmt::Debug;

/// A function of rows over [`Dual`].
pub type Function<'a> = dyn Fn(Dual<2>) -> Result<Dual<2>> + 'a;

/// The function whose slopes are penalised, `[n, 1]` of rows `[n, width]`: with its weights outside of the graph, and
/// with their derivatives.
pub struct Slopes<'a> {
    /// The function without derivatives by weights.
    pub frozen: &'a Function<'a>,
    /// The function with derivatives by weights.
    pub live: &'a Function<'a>,
}

/// A regulariser of a critic.
pub trait Regularise: Debug + Send + Sync {
    /// Fails, naming the key, unless every option is valid.
    ///
    /// # Errors
    /// [`crate::Error::Config`].
    fn check(&self) -> Result<()>;

    /// What is added to the critic's loss, for each row; none in steps without it.
    ///
    /// # Errors
    /// Those of the critic.
    fn penalty(&self, of: &Slopes, round: &Round) -> Result<Option<Loss>> {
        let _ = (of, round);
        Ok(None)
    }

    /// The limit of every weight's absolute value.
    fn bound(&self) -> Option<f64> {
        None
    }

    /// The spectral norm of every layer.
    fn norm(&self) -> Option<f64> {
        None
    }
}

registry! {
    /// Any named regulariser: `r1`, or `{ name = "r1", weight = 0.1, every = 16 }`.
    ///
    /// ```
    /// use tweedie::game::AnyRegulariser;
    /// assert!(AnyRegulariser::parse("r1, weight = 0.1, every = 16")?.check().is_ok());
    /// assert_eq!(AnyRegulariser::parse("clipping")?.bound(), Some(0.01));
    /// # Ok::<(), tweedie::Error>(())
    /// ```
    pub enum AnyRegulariser: Regularise = R1, "regulariser" {
        "r1" R1(R1) "½ γ ‖∇D‖² at rows of the data",
        "r2" R2(R2) "½ γ ‖∇D‖² at rows of the generator",
        "gradient-penalty" GradientPenalty(GradientPenalty)
            "λ (‖∇D‖ − 1)² at random points between a row of the data and one of the generator",
        "clipping" Clipping(Clipping) "every weight between −c and c",
        "spectral-norm" SpectralNorm(SpectralNorm) "every layer with this spectral norm, of the operator",
    }
}
