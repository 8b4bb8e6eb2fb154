//! The losses of both players.

use super::{
    FDivergenceLoss, Hinge, LeastSquares, Mmd, NonSaturating, Relativistic, Saturating, Wasserstein,
};
use crate::Result;
use crate::registry::registry;
use crate::tensor::Dual;
use burn::tensor::Tensor;
use std::fmt::Debug;

/// The losses of a critic and of a generator, from the critic's outputs for rows of the data (P) and of the generator
/// (Q), `[n, features]` and `[m, features]`.
pub trait GameLoss: Debug + Send + Sync {
    /// Fails, naming the key, unless every option is valid.
    ///
    /// # Errors
    /// [`crate::Error::Config`].
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The number of outputs of the critic; none if there is no critic, and losses are of the rows themselves.
    fn features(&self) -> Option<usize> {
        Some(1)
    }

    /// The loss that the critic descends, `[1]`.
    fn critic(&self, on_p: Tensor<2>, on_q: Tensor<2>) -> Tensor<1>;

    /// The loss that the generator descends, `[1]`.
    fn generator(&self, on_p: Tensor<2>, on_q: Tensor<2>) -> Tensor<1>;

    /// The estimate of a distance between P and Q that a value of the critic's loss is: the distance itself for the
    /// best critic, and less for others.
    fn distance(&self, of_critic: f64) -> f64;

    /// The function of rows whose slopes are penalised, `[k, 1]`, from the critic's outputs `at` some rows, and on the
    /// rows of both samples.
    fn potential(&self, at: Dual<2>, on_p: &Tensor<2>, on_q: &Tensor<2>) -> Dual<2> {
        let _ = (on_p, on_q);
        at
    }
}

registry! {
    /// Any named pair of losses: `hinge`, or `{ name = "f-divergence", divergence = "kl" }`.
    ///
    /// ```
    /// use tweedie::burn::tensor::{Device, Tensor};
    /// use tweedie::game::AnyGameLoss;
    /// let loss = AnyGameLoss::parse("hinge")?;
    /// let on = |v: [[f32; 1]; 2]| Tensor::<2>::from_floats(v, &Device::flex());
    /// // max(0, 1 − v) of the data, and max(0, 1 + v) of the generator.
    /// let critic = loss.critic(on([[2.0], [0.0]]), on([[-3.0], [1.0]]));
    /// assert_eq!(critic.into_scalar::<f32>(), 0.5 + 1.0);
    /// # Ok::<(), tweedie::Error>(())
    /// ```
    pub enum AnyGameLoss: GameLoss = NonSaturating, "loss" {
        "non-saturating" NonSaturating(NonSaturating)
            "logistic losses, the generator's of the other label; the default",
        "saturating" Saturating(Saturating) "logistic losses, the generator's the negative of the critic's",
        "f-divergence" FDivergence(FDivergenceLoss) "the variational form of any f-divergence",
        "hinge" Hinge(Hinge) "hinge losses; the best critic gives total variation",
        "least-squares" LeastSquares(LeastSquares) "squared distances to labels of ±1",
        "relativistic" Relativistic(Relativistic) "logistic losses of differences between rows in pairs",
        "wasserstein" Wasserstein(Wasserstein) "differences of means; W₁ for critics of slope 1",
        "mmd" Mmd(Mmd) "maximum mean discrepancy, of a kernel of rows or of a critic's outputs",
    }
}
