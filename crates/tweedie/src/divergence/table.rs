//! The table of f-divergences: f, f′, the conjugate f*, the critic's output map, closed forms between Gaussians.
//!
//! Of the functions f + c (u − 1), which all give the same divergence, each entry takes the one with f′(1) = 0, so that
//! f ≥ 0. All but two entries are a constant s times the α-divergence of Cressie and Read ("Multinomial goodness-of-fit
//! tests", J. R. Stat. Soc. B 46 (1984)), which is symmetric in the sense D_α(P‖Q) = D_{1−α}(Q‖P):
//!
//! | divergence | s | α |
//! |---|---|---|
//! | KL(P‖Q), KL(Q‖P) | 1 | 1, 0 |
//! | squared Hellinger, 1 − ∫ √(p q) | ¼ | ½ |
//! | Pearson's and Neyman's χ² | 2 | 2, −1 |
//!
//! With ψ(a, r) = (e^{a r} − 1)/a, which is r at a = 0, and u = e^r,
//!
//! > f′(u) = s ψ(α − 1, r),  f*(f′(u)) = s ψ(α, r),  f(u) = u f′(u) − f*(f′(u)).
//!
//! Jensen–Shannon has f′(u) = ½ ln(2u/(1 + u)) and f*(f′(u)) = ½ ln((1 + u)/2); total variation has f = ½ |u − 1|.
//!
//! The output map takes a network's output v ∈ ℝ into the domain of f*, and 0 to f′(1) = 0:
//!
//! | | T |
//! |---|---|
//! | α ≥ 1, f* being finite on ℝ | s v |
//! | 0 ≤ α < 1, Jensen–Shannon | f′(eᵛ), so that v estimates ln(p/q) |
//! | α < 0 | f′(1/w) with w = ln(1 + (e − 1) e^{−v}) for q/p, which an error of v does not multiply |
//! | total variation, whose f′ is a step | ½ tanh(v/2) |
//!
//! All but the third are the maps of Nowozin, Cseke and Tomioka, "f-GAN: training generative neural samplers using
//! variational divergence minimization", NeurIPS 2016, Tables 2 and 6, for our normalisation: their Jensen–Shannon,
//! Hellinger and total variation are twice ours. Their T = 1 − eᵛ for Neyman's χ² has an exponential in the square that
//! it averages, and no finite sample of it is to be trusted.

use super::Normal;
use crate::process::softplus;
use crate::registry::registry;
use crate::tensor::below_normal;
use crate::{Error, Result};
use burn::tensor::{Tensor, activation};
use std::f64::consts::LN_2;

registry! {
    /// An f-divergence D_f(P‖Q) = ∫ q f(p/q) dx, in nats where f has a logarithm.
    ///
    /// ```
    /// use tweedie::divergence::{FDivergence, Normal};
    /// let js: FDivergence = tweedie::registry::named_option("divergence", "js")?;
    /// assert!((js.maximum() - std::f64::consts::LN_2).abs() < 1e-15);
    /// let [p, q] = [1.0, 0.0].map(|mean| Normal::isotropic(vec![mean], 1.0));
    /// assert!((FDivergence::Kl.between(&p?, &q?)?.unwrap() - 0.5).abs() < 1e-12);
    /// # Ok::<(), tweedie::Error>(())
    /// ```
    pub enum FDivergence = Kl {
        "kl" Kl "KL(P‖Q) = ∫ p ln(p/q)",
        "reverse-kl" ReverseKl "KL(Q‖P) = ∫ q ln(q/p)",
        "js" JensenShannon "Jensen–Shannon, the mean KL of P and of Q to their mean, at most ln 2",
        "tv" TotalVariation "total variation, ½ ∫ |p − q|, at most 1",
        "hellinger" Hellinger "squared Hellinger distance, 1 − ∫ √(p q), at most 1",
        "pearson" Pearson "Pearson's χ², ∫ (p − q)²/q",
        "neyman" Neyman "Neyman's χ², ∫ (p − q)²/p",
        "alpha" Alpha {
            /// The order α, finite.
            alpha: f64,
        } "(∫ pᵅ q¹⁻ᵅ − 1)/(α (α − 1)), the KL at α = 1 and its reverse at 0",
    }
}

/// The entries of the table by the formulas that they share.
#[derive(Clone, Copy)]
enum Form {
    Power { alpha: f64, scale: f64 },
    JensenShannon,
    TotalVariation,
}

impl FDivergence {
    fn form(&self) -> Form {
        let power = |alpha, scale| Form::Power { alpha, scale };
        match self {
            Self::Kl => power(1.0, 1.0),
            Self::ReverseKl => power(0.0, 1.0),
            Self::JensenShannon => Form::JensenShannon,
            Self::TotalVariation => Form::TotalVariation,
            Self::Hellinger => power(0.5, 0.25),
            Self::Pearson => power(2.0, 2.0),
            Self::Neyman => power(-1.0, 2.0),
            Self::Alpha { alpha } => power(*alpha, 1.0),
        }
    }

    /// Fails unless the order is finite.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Alpha { alpha } if !alpha.is_finite() => {
                Err(Error::config("alpha", format!("{alpha}"), "a finite number"))
            }
            _ => Ok(()),
        }
    }

    /// f(u) of a ratio u = p/q ≥ 0; f(1) = f′(1) = 0, and +∞ where f is infinite.
    pub fn f(&self, u: f64) -> f64 {
        self.integrand(u.ln(), 0.0)
    }

    /// f′(u) at u = e^`log_ratio`, the optimal critic where ln(p/q) = `log_ratio`; 0 at the kink of total variation.
    pub fn slope(&self, log_ratio: f64) -> f64 {
        match self.form() {
            Form::Power { alpha, scale } => scale * psi(alpha - 1.0, log_ratio),
            Form::JensenShannon => 0.5 * (LN_2 - softplus(-log_ratio)),
            Form::TotalVariation if log_ratio == 0.0 => 0.0,
            Form::TotalVariation => 0.5 * log_ratio.signum(),
        }
    }

    /// f*(t) = sup over u ≥ 0 of u t − f(u); +∞ outside of the domain.
    pub fn conjugate(&self, t: f64) -> f64 {
        match self.form() {
            Form::Power { alpha, scale } => scale * power_conjugate(alpha, t / scale),
            Form::JensenShannon if t < 0.5 * LN_2 => -0.5 * (2.0 - (2.0 * t).exp()).ln(),
            Form::TotalVariation if t <= 0.5 => t.max(-0.5),
            _ if t.is_nan() => f64::NAN,
            _ => f64::INFINITY,
        }
    }

    /// The output map: T of a network's output v.
    pub fn output(&self, v: f64) -> f64 {
        match self.form() {
            Form::Power { alpha, scale } if alpha >= 1.0 => scale * v,
            Form::Power { alpha, .. } if alpha < 0.0 => self.slope(-softplus(OFFSET - v).ln()),
            Form::TotalVariation => 0.5 * (0.5 * v).tanh(),
            _ => self.slope(v),
        }
    }

    /// T and f*(T) of a network's outputs v, of the same shape and differentiable: [`FDivergence::output`] and
    /// [`FDivergence::conjugate`] in one. E_P of the first less E_Q of the second is what a critic ascends.
    pub fn terms<const D: usize>(&self, v: Tensor<D>) -> [Tensor<D>; 2] {
        match self.form() {
            Form::Power { alpha, scale } if alpha - 1.0 > LIMIT => {
                let ratio = v.clone().mul_scalar(alpha - 1.0).add_scalar(1.0).clamp_min(0.0);
                let power = ratio.powf_scalar(alpha / (alpha - 1.0)).sub_scalar(1.0);
                [v.mul_scalar(scale), power.mul_scalar(scale / alpha)]
            }
            Form::Power { alpha, scale } if alpha >= 1.0 => {
                [v.clone().mul_scalar(scale), v.exp().sub_scalar(1.0).mul_scalar(scale)]
            }
            Form::Power { alpha, scale } if alpha < 0.0 => {
                let w = activation::softplus(v.neg().add_scalar(OFFSET), 1.0);
                [alpha - 1.0, alpha].map(|a| {
                    let power = w.clone().powf_scalar(-a).sub_scalar(1.0);
                    power.mul_scalar(scale / a)
                })
            }
            Form::Power { alpha, scale } => {
                [alpha - 1.0, alpha].map(|a| tensor_psi(a, v.clone()).mul_scalar(scale))
            }
            Form::JensenShannon => {
                let [of_p, of_q] = [v.clone(), -v].map(activation::log_sigmoid);
                [of_p.add_scalar(LN_2), -of_q.add_scalar(LN_2)].map(|t| t.mul_scalar(0.5))
            }
            Form::TotalVariation => {
                let t = v.mul_scalar(0.5).tanh().mul_scalar(0.5);
                [t.clone(), t]
            }
        }
    }

    /// q f(p/q) from ln p and ln q, also where p or q is zero (its logarithm −∞) or p/q overflows; ≥ 0 but for
    /// rounding.
    pub fn integrand(&self, log_p: f64, log_q: f64) -> f64 {
        if log_p.is_nan() || log_q.is_nan() {
            return f64::NAN;
        }
        if log_p.max(log_q) == f64::NEG_INFINITY {
            return 0.0;
        }
        let [log_p, log_q] = [log_p, log_q].map(|log| log.max(-HUGE));
        let r = log_p - log_q;
        match self.form() {
            Form::Power { alpha, scale } => {
                let of_p = scaled_psi(alpha - 1.0, r, log_p);
                let of_q = scaled_psi(alpha, r, log_q);
                // Both are the same power over α − 1 and α: where it overflows, so does their difference.
                let infinite = of_p.is_infinite() && of_q.is_infinite();
                if infinite { f64::INFINITY } else { scale * (of_p - of_q) }
            }
            Form::JensenShannon => {
                let [of_p, of_q] = [LN_2 - softplus(-r), LN_2 - softplus(r)];
                0.5 * (log_p.exp() * of_p + log_q.exp() * of_q)
            }
            Form::TotalVariation => 0.5 * (log_p.exp() - log_q.exp()).abs(),
        }
    }

    /// The divergence of two distributions without common support, which none exceeds; +∞ where there is no such bound.
    pub fn maximum(&self) -> f64 {
        self.integrand(f64::NEG_INFINITY, 0.0) + self.integrand(0.0, f64::NEG_INFINITY)
    }

    /// D_f(P‖Q) between two Gaussians of the same width, +∞ where the integral diverges. None where there is no closed
    /// form: for Jensen–Shannon, and for total variation in two dimensions or more with different covariances.
    ///
    /// In coordinates where Q is standard normal and P has mean m and variances c along the axes,
    ///
    /// > KL(P‖Q) = ½ Σ (c + m² − 1 − ln c),
    /// > ln ∫ pᵅ q¹⁻ᵅ = ½ Σ [(1 − α) ln c − ln(α + (1 − α) c) − α (1 − α) m²/(α + (1 − α) c)],
    ///
    /// which diverges unless every α + (1 − α) c > 0 (Gil, Alajaji and Linder, "Rényi divergence measures for commonly
    /// used univariate continuous distributions", Inf. Sci. 249 (2013), Table 2), and with c = 1 total variation is
    /// 2 Φ(‖m‖/2) − 1. On the line p − q changes sign at one or two points.
    ///
    /// # Errors
    /// [`Error::Shape`] if the widths differ; [`Error::Config`] if the order is not finite.
    pub fn between(&self, p: &Normal, q: &Normal) -> Result<Option<f64>> {
        self.check()?;
        let axes = p.relative_to(q)?;
        Ok(match self.form() {
            Form::Power { alpha, scale } => Some(scale * power_of_axes(alpha, &axes)),
            Form::JensenShannon => None,
            Form::TotalVariation => total_variation(&axes),
        })
    }
}

/// The distance of α from 1, and of an exponent from 0, below which tensors use the limit.
const LIMIT: f64 = 1e-4;

/// ln(e − 1), at which ln(1 + eˣ) is 1.
const OFFSET: f64 = 0.541_324_854_612_918_1;

/// What −∞ is replaced by, so that differences of logarithms are numbers.
const HUGE: f64 = f64::MAX / 4.0;

/// ψ(a, r) = (e^{a r} − 1)/a, or r at a = 0.
fn psi(a: f64, r: f64) -> f64 {
    if a == 0.0 { r } else { (a * r).exp_m1() / a }
}

/// f*(t) of the α-divergence: ψ(α, r) where ψ(α − 1, r) = t.
fn power_conjugate(alpha: f64, t: f64) -> f64 {
    let a = alpha - 1.0;
    let ratio = 1.0 + a * t;
    if a < 0.0 && ratio < 0.0 {
        return f64::INFINITY;
    }
    // Below the range of f′, the supremum is at u = 0.
    let below = a > 0.0 && ratio <= 0.0;
    let r = if a == 0.0 { t } else { (a * t).ln_1p() / a };
    psi(alpha, if below { f64::NEG_INFINITY } else { r })
}

/// e^`base` ψ(a, r) without overflow of its factors.
fn scaled_psi(a: f64, r: f64, base: f64) -> f64 {
    let factor = base.exp();
    match a * r {
        _ if factor == 0.0 && a == 0.0 => 0.0,
        _ if a == 0.0 && r.abs() >= HUGE => r.signum() * f64::INFINITY,
        _ if a == 0.0 => factor * r,
        x if x.abs() < 0.5 => factor * x.exp_m1() / a,
        x => ((x + base).exp() - factor) / a,
    }
}

fn tensor_psi<const D: usize>(a: f64, r: Tensor<D>) -> Tensor<D> {
    if a.abs() < LIMIT { r } else { r.mul_scalar(a).exp().sub_scalar(1.0).div_scalar(a) }
}

/// The α-divergence from N(m, diag c) to N(0, I), by pairs (m, c).
fn power_of_axes(alpha: f64, axes: &[[f64; 2]]) -> f64 {
    let sum = |term: fn(f64, f64) -> f64| axes.iter().map(|[m, c]| term(*m, *c)).sum::<f64>();
    if alpha == 1.0 {
        return 0.5 * sum(|m, c| c - 1.0 + m * m - c.ln());
    }
    if alpha == 0.0 {
        return 0.5 * sum(|m, c| (1.0 + m * m) / c - 1.0 + c.ln());
    }
    let beta = 1.0 - alpha;
    if axes.iter().any(|[_, c]| alpha + beta * c <= 0.0) {
        return f64::INFINITY;
    }
    let log = |[m, c]: &[f64; 2]| {
        // Both forms are (1 − α) ln c − ln(α + (1 − α) c); each keeps its digits at one end.
        let volumes = match alpha < 0.5 {
            true => -alpha * c.ln() - (alpha * (1.0 / c - 1.0)).ln_1p(),
            false => beta * c.ln() - (beta * (c - 1.0)).ln_1p(),
        };
        0.5 * (volumes - alpha * beta * m * m / (alpha + beta * c))
    };
    -axes.iter().map(log).sum::<f64>().exp_m1() / (alpha * beta)
}

/// Total variation between N(m, diag c) and N(0, I), where it has a closed form.
fn total_variation(axes: &[[f64; 2]]) -> Option<f64> {
    if axes.iter().all(|[_, c]| (c - 1.0).abs() < 1e-12) {
        let distance = axes.iter().map(|[m, _]| m * m).sum::<f64>().sqrt();
        return Some(1.0 - 2.0 * below_normal(-0.5 * distance));
    }
    let [[m, c]] = axes else { return None };
    // ln p − ln q is zero where (c − 1) x² + 2 m x − (m² + c ln c) is.
    let constant = m * m + c * c.ln();
    let far = -(m + (m * m + (c - 1.0) * constant).sqrt().copysign(*m));
    let masses = [far / (c - 1.0), -constant / far]
        .map(|x| below_normal((x - m) / c.sqrt()) - below_normal(x));
    Some((masses[1] - masses[0]).abs())
}
