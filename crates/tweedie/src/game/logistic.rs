//! Losses whose best critic is a function of p/q.
//!
//! Logistic losses (Goodfellow et al. 2014, *Generative adversarial nets*, eq. 1 and sec. 3), with s(v) = ln(1 + eᵛ):
//!
//! > critic E_P s(−D) + E_Q s(D),  generator −E_Q s(D) (saturating) or E_Q s(−D);
//!
//! at the best D = ln(p/q) the critic's loss is 2 ln 2 − 2 JS(P, Q). For any f of the table (Nowozin, Cseke & Tomioka
//! 2016, *f-GAN*, eqs. 4 and 5, and sec. 3.2 for the generator that does not saturate), with an output map T(v),
//!
//! > critic −E_P T + E_Q f*(T),  generator −E_Q f*(T) or −E_Q T,
//!
//! and the critic's loss at its best is −D_f(P‖Q). Hinge losses (Lim & Ye 2017, *Geometric GAN*, eqs. 17 and 18; Miyato
//! et al. 2018) and least squares (Mao et al. 2017, *Least squares generative adversarial networks*, eq. 2, with labels
//! 1 and −1, and 0 for the generator: eq. 8),
//!
//! > E_P max(0, 1 − D) + E_Q max(0, 1 + D) ≥ 2 − 2 TV,  E_P (D − 1)² + E_Q (D + 1)² ≥ 2 − 2 LC,
//!
//! where LC = ½ ∫ (p − q)²/(p + q). The relativistic pairing loss (Jolicoeur-Martineau 2019, *The relativistic
//! discriminator*; Huang et al. 2024, *The GAN is dead; long live the GAN!*, eq. 3) is
//!
//! > critic E_{P×Q} s(D(y) − D(x)),  generator E_{P×Q} s(D(x) − D(y)),  x from P, y from Q.
//!
//! It tells the pair (x, y) from the pair (y, x). Their ratio is p(x) q(y)/(q(x) p(y)), so that D = ln(p/q) is best
//! here as well, and the critic's loss is then ln 2 − JS(P × Q, Q × P).

use super::GameLoss;
use crate::Result;
use crate::divergence::FDivergence;
use crate::error::inside;
use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};
use std::f64::consts::LN_2;

/// E s(v) for the softplus s.
fn mean_softplus(v: Tensor<2>) -> Tensor<1> {
    // −ln σ(−v), which is exact far out.
    -activation::log_sigmoid(-v).mean()
}

/// The logistic loss of both labels.
fn classify(on_p: Tensor<2>, on_q: Tensor<2>) -> Tensor<1> {
    mean_softplus(-on_p) + mean_softplus(on_q)
}

/// Logistic losses; the generator's is of the other label.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NonSaturating {}

impl GameLoss for NonSaturating {
    fn critic(&self, on_p: Tensor<2>, on_q: Tensor<2>) -> Tensor<1> {
        classify(on_p, on_q)
    }

    fn generator(&self, _: Tensor<2>, on_q: Tensor<2>) -> Tensor<1> {
        mean_softplus(-on_q)
    }

    /// Jensen–Shannon.
    fn distance(&self, of_critic: f64) -> f64 {
        LN_2 - 0.5 * of_critic
    }
}

/// Logistic losses; the generator's is the negative of the critic's.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saturating {}

impl GameLoss for Saturating {
    fn critic(&self, on_p: Tensor<2>, on_q: Tensor<2>) -> Tensor<1> {
        classify(on_p, on_q)
    }

    fn generator(&self, _: Tensor<2>, on_q: Tensor<2>) -> Tensor<1> {
        -mean_softplus(on_q)
    }

    /// Jensen–Shannon.
    fn distance(&self, of_critic: f64) -> f64 {
        NonSaturating {}.distance(of_critic)
    }
}

/// The variational form of an f-divergence D_f(P‖Q).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FDivergenceLoss {
    /// The divergence.
    pub divergence: FDivergence,
    /// Whether the generator descends the negative of the critic's loss. If not, it raises T on its own rows.
    pub saturating: bool,
}

impl GameLoss for FDivergenceLoss {
    fn check(&self) -> Result<()> {
        self.divergence.check().map_err(|e| inside("divergence", e))
    }

    fn critic(&self, on_p: Tensor<2>, on_q: Tensor<2>) -> Tensor<1> {
        let ([of_p, _], [_, of_q]) = (self.divergence.terms(on_p), self.divergence.terms(on_q));
        of_q.mean() - of_p.mean()
    }

    fn generator(&self, _: Tensor<2>, on_q: Tensor<2>) -> Tensor<1> {
        let [raised, conjugate] = self.divergence.terms(on_q);
        if self.saturating { -conjugate.mean() } else { -raised.mean() }
    }

    fn distance(&self, of_critic: f64) -> f64 {
        -of_critic
    }
}

/// Hinge losses.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hinge {}

impl GameLoss for Hinge {
    fn critic(&self, on_p: Tensor<2>, on_q: Tensor<2>) -> Tensor<1> {
        let hinge = |v: Tensor<2>| activation::relu(v.add_scalar(1.0)).mean();
        hinge(-on_p) + hinge(on_q)
    }

    fn generator(&self, _: Tensor<2>, on_q: Tensor<2>) -> Tensor<1> {
        -on_q.mean()
    }

    /// Total variation.
    fn distance(&self, of_critic: f64) -> f64 {
        1.0 - 0.5 * of_critic
    }
}

/// Squared distances to labels of 1 and −1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeastSquares {}

impl GameLoss for LeastSquares {
    fn critic(&self, on_p: Tensor<2>, on_q: Tensor<2>) -> Tensor<1> {
        on_p.sub_scalar(1.0).square().mean() + on_q.add_scalar(1.0).square().mean()
    }

    fn generator(&self, _: Tensor<2>, on_q: Tensor<2>) -> Tensor<1> {
        on_q.square().mean()
    }

    /// ½ ∫ (p − q)²/(p + q), the divergence of Vincze and Le Cam.
    fn distance(&self, of_critic: f64) -> f64 {
        1.0 - 0.5 * of_critic
    }
}

/// Logistic losses of differences between rows of the data and rows of the generator, in pairs.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relativistic {}

impl GameLoss for Relativistic {
    fn critic(&self, on_p: Tensor<2>, on_q: Tensor<2>) -> Tensor<1> {
        mean_softplus(on_q - on_p)
    }

    fn generator(&self, on_p: Tensor<2>, on_q: Tensor<2>) -> Tensor<1> {
        mean_softplus(on_p - on_q)
    }

    /// Jensen–Shannon between P × Q and Q × P.
    fn distance(&self, of_critic: f64) -> f64 {
        LN_2 - of_critic
    }
}
