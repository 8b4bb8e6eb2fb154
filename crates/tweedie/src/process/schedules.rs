//! The named schedules.
//!
//! Each computes ln α and λ in closed form, so that no coefficient cancels over λ ∈ [−30, 30].

use super::{Level, Rate, Schedule, check_fall};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Fails unless the parameter `key` is positive and finite.
fn positive(key: &str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::config(format!("schedule.{key}"), format!("{value}"), "a positive number"))
}

/// Fails unless the parameter `high` lies above the parameter `low`.
fn rising(low: &str, a: f64, high: &str, b: f64) -> Result<()> {
    if a < b && a.is_finite() && b.is_finite() {
        return Ok(());
    }
    let (problem, expected) =
        (format!("{b} with {low} = {a}"), format!("a finite number above {low}"));
    Err(Error::config(format!("schedule.{high}"), problem, expected))
}

/// ln(1 − e^{−x}) for x > 0, without cancellation.
fn ln_one_minus_exp_neg(x: f64) -> f64 {
    if x < std::f64::consts::LN_2 { (-(-x).exp_m1()).ln() } else { (-(-x).exp()).ln_1p() }
}

/// The level of a variance-preserving process with ln α² = `−b`: σ² = 1 − e^{−b}.
fn decayed(t: f64, b: f64) -> Level {
    let ln_var = ln_one_minus_exp_neg(b);
    Level { t, alpha: (-0.5 * b).exp(), sigma: (0.5 * ln_var).exp(), lambda: -b - ln_var }
}

/// The variance-preserving SDE with linear β, the continuous limit of DDPM (Song et al. 2021, eq. 11; *Generative
/// Modeling with Diffusion Models*, eq. 58): dx = −½β x dt + √β dW, β(t) = β₀ + (β₁ − β₀) t, t ∈ [10⁻⁵, 1].
///
/// ```
/// use tweedie::process::{VpLinear, Schedule};
/// let schedule = VpLinear::default();
/// let level = schedule.level(0.5);
/// assert!((level.alpha.powi(2) + level.sigma.powi(2) - 1.0).abs() < 1e-12);
/// assert!((schedule.diffusion_squared(0.5) - 10.05).abs() < 1e-9); // β(½) of 0.1 to 20
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VpLinear {
    /// β(0), positive.
    pub beta_min: f64,
    /// β(1), above `beta_min`.
    pub beta_max: f64,
}

impl Default for VpLinear {
    fn default() -> Self {
        Self { beta_min: 0.1, beta_max: 20.0 }
    }
}

impl VpLinear {
    fn beta(&self, t: f64) -> f64 {
        self.beta_min + (self.beta_max - self.beta_min) * t
    }

    fn integral(&self, t: f64) -> f64 {
        t * (self.beta_min + 0.5 * (self.beta_max - self.beta_min) * t)
    }

    /// The time t with ∫₀ᵗ β = `b`.
    fn inverse_integral(&self, b: f64) -> f64 {
        // The stable root of ½ Δ t² + β₀ t − b = 0.
        let delta = self.beta_max - self.beta_min;
        2.0 * b / (self.beta_min + (self.beta_min.powi(2) + 2.0 * delta * b).sqrt())
    }
}

impl Schedule for VpLinear {
    fn check(&self) -> Result<()> {
        positive("beta_min", self.beta_min)?;
        rising("beta_min", self.beta_min, "beta_max", self.beta_max)?;
        check_fall(self)
    }
    fn level(&self, t: f64) -> Level {
        decayed(t, self.integral(t))
    }
    fn drift(&self, t: f64) -> f64 {
        -0.5 * self.beta(t)
    }
    fn lambda_rate(&self, t: f64) -> f64 {
        // λ = −b − ln(1 − e^{−b}), so dλ/dt = −β/(1 − e^{−b}).
        self.beta(t) / (-self.integral(t)).exp_m1()
    }
    fn range(&self) -> (f64, f64) {
        (1e-5, 1.0)
    }
    fn time(&self, lambda: f64) -> f64 {
        // e^{−b} = sigmoid(λ), so b = softplus(−λ).
        self.inverse_integral(super::level::softplus(-lambda))
    }
}

/// The variance-exploding SDE with geometric σ (Song et al. 2021, eq. 9; *Generative Modeling with Diffusion
/// Models*, eq. 57 as corrected): α = 1, σ(t) = σ₀ (σ₁/σ₀)ᵗ, g² = dσ²/dt, t ∈ [0, 1], prior N(0, σ₁²).
///
/// ```
/// use tweedie::process::{Ve, Schedule};
/// let schedule = Ve::default();
/// assert_eq!(schedule.level(0.5).alpha, 1.0);
/// assert!((schedule.level(0.0).sigma - schedule.sigma_min).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ve {
    /// σ(0), positive.
    pub sigma_min: f64,
    /// σ(1), above `sigma_min`.
    pub sigma_max: f64,
}

impl Default for Ve {
    fn default() -> Self {
        Self { sigma_min: 0.01, sigma_max: 50.0 }
    }
}

impl Schedule for Ve {
    fn check(&self) -> Result<()> {
        positive("sigma_min", self.sigma_min)?;
        rising("sigma_min", self.sigma_min, "sigma_max", self.sigma_max)?;
        check_fall(self)
    }
    fn level(&self, t: f64) -> Level {
        let ln_sigma = self.sigma_min.ln() + t * (self.sigma_max / self.sigma_min).ln();
        Level { t, alpha: 1.0, sigma: ln_sigma.exp(), lambda: -2.0 * ln_sigma }
    }
    fn drift(&self, _t: f64) -> f64 {
        0.0
    }
    fn lambda_rate(&self, _t: f64) -> f64 {
        -2.0 * (self.sigma_max / self.sigma_min).ln()
    }
    fn range(&self) -> (f64, f64) {
        (0.0, 1.0)
    }
    fn time(&self, lambda: f64) -> f64 {
        (-0.5 * lambda - self.sigma_min.ln()) / (self.sigma_max / self.sigma_min).ln()
    }
}

/// The sub-VP SDE with linear β (Song et al. 2021, eq. 14 and App. B): α as in [`VpLinear`], σ = 1 − α² as a
/// standard deviation, g² = β(1 − α⁴), t ∈ [10⁻³, 1].
///
/// ```
/// use tweedie::process::{SubVp, Schedule};
/// let schedule = SubVp::default();
/// let level = schedule.level(0.5);
/// assert!((level.sigma - (1.0 - level.alpha.powi(2))).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubVp {
    /// The function β(t), as for the variance-preserving SDE.
    pub beta: VpLinear,
}

impl Schedule for SubVp {
    fn check(&self) -> Result<()> {
        self.beta.check().map_err(|error| match error {
            Error::Config { key, problem, expected } => {
                Error::config(key.replacen("schedule.", "schedule.beta.", 1), problem, expected)
            }
            other => other,
        })?;
        check_fall(self)
    }
    fn level(&self, t: f64) -> Level {
        let b = self.beta.integral(t);
        let ln_sigma = ln_one_minus_exp_neg(b);
        Level { t, alpha: (-0.5 * b).exp(), sigma: ln_sigma.exp(), lambda: -b - 2.0 * ln_sigma }
    }
    fn drift(&self, t: f64) -> f64 {
        self.beta.drift(t)
    }
    fn lambda_rate(&self, t: f64) -> f64 {
        // λ = −b − 2 ln(1 − e^{−b}), so dλ/dt = −β (1 + e^{−b})/(1 − e^{−b}).
        let b = self.beta.integral(t);
        self.beta.beta(t) * (1.0 + (-b).exp()) / (-b).exp_m1()
    }
    fn range(&self) -> (f64, f64) {
        (1e-3, 1.0)
    }
    fn time(&self, lambda: f64) -> f64 {
        // α/(1 − α²) = e^{λ/2} =: r is a quadratic in α; α = 2r/(1 + √(1 + 4r²)), −ln α² = 2 asinh(1/(2r)).
        self.beta.inverse_integral(2.0 * (0.5 * (-0.5 * lambda).exp()).asinh())
    }
}

/// The Ornstein–Uhlenbeck process dx = −θ x dt + √(2θ) dW (*An Introduction …*, Example 6.1): α = e^{−θt},
/// σ² = 1 − e^{−2θt}, t ∈ [10⁻⁵, T].
///
/// ```
/// use tweedie::process::{OrnsteinUhlenbeck, Schedule};
/// let schedule = OrnsteinUhlenbeck::default();
/// let level = schedule.level(2.0);
/// assert!((level.alpha - (-schedule.theta * 2.0).exp()).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrnsteinUhlenbeck {
    /// The rate θ.
    pub theta: f64,
    /// The last time T.
    pub t_max: f64,
}

impl Default for OrnsteinUhlenbeck {
    fn default() -> Self {
        Self { theta: 1.0, t_max: 5.0 }
    }
}

impl Schedule for OrnsteinUhlenbeck {
    fn check(&self) -> Result<()> {
        positive("theta", self.theta)?;
        positive("t_max", self.t_max - 1e-5)?;
        check_fall(self)
    }
    fn level(&self, t: f64) -> Level {
        decayed(t, 2.0 * self.theta * t)
    }
    fn drift(&self, _t: f64) -> f64 {
        -self.theta
    }
    fn lambda_rate(&self, t: f64) -> f64 {
        2.0 * self.theta / (-2.0 * self.theta * t).exp_m1()
    }
    fn range(&self) -> (f64, f64) {
        (1e-5, self.t_max)
    }
    fn time(&self, lambda: f64) -> f64 {
        super::level::softplus(-lambda) / (2.0 * self.theta)
    }
}

/// The cosine log-SNR with the resolution shift of *simple diffusion* (Hoogeboom et al. 2023, eqs. 3–4):
/// variance preserving, λ(t) = −2 ln tan(a + (b − a) t) + 2 ln(64/d) for images of side d, t ∈ [0, 1]. The ends
/// are finite: `lambda_max` at 0 and `lambda_min` at 1, before the shift.
///
/// ```
/// use tweedie::process::{Cosine, Schedule};
/// let schedule = Cosine::default();
/// let (first, last) = schedule.range();
/// assert!((schedule.level(first).lambda - schedule.lambda_max).abs() < 1e-9);
/// assert!((schedule.level(last).lambda - schedule.lambda_min).abs() < 1e-9);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cosine {
    /// λ at t = 1, before the shift.
    pub lambda_min: f64,
    /// λ at t = 0, before the shift.
    pub lambda_max: f64,
    /// The image side d of the shift 2 ln(64/d); 64 gives no shift.
    pub side: f64,
}

impl Default for Cosine {
    fn default() -> Self {
        Self { lambda_min: -12.0, lambda_max: 12.0, side: 64.0 }
    }
}

impl Cosine {
    fn shift(&self) -> f64 {
        2.0 * (64.0 / self.side).ln()
    }

    /// The angles at t = 0 and t = 1.
    fn angles(&self) -> (f64, f64) {
        ((-0.5 * self.lambda_max).exp().atan(), (-0.5 * self.lambda_min).exp().atan())
    }
}

impl Schedule for Cosine {
    fn check(&self) -> Result<()> {
        positive("side", self.side)?;
        rising("lambda_min", self.lambda_min, "lambda_max", self.lambda_max)?;
        check_fall(self)
    }
    fn level(&self, t: f64) -> Level {
        let (a, b) = self.angles();
        Level::variance_preserving(t, -2.0 * (a + (b - a) * t).tan().ln() + self.shift())
    }
    fn drift(&self, t: f64) -> f64 {
        // ln α = −½ softplus(−λ), so d ln α/dt = ½ σ² dλ/dt.
        0.5 * self.level(t).sigma.powi(2) * self.lambda_rate(t)
    }
    fn lambda_rate(&self, t: f64) -> f64 {
        let (a, b) = self.angles();
        let angle = a + (b - a) * t;
        -4.0 * (b - a) / (2.0 * angle).sin()
    }
    fn range(&self) -> (f64, f64) {
        (0.0, 1.0)
    }
    fn time(&self, lambda: f64) -> f64 {
        let (a, b) = self.angles();
        ((-0.5 * (lambda - self.shift())).exp().atan() - a) / (b - a)
    }
}

/// The process of EDM (Karras et al. 2022): α = 1, σ = t, t ∈ [σ₀, σ₁].
///
/// ```
/// use tweedie::process::{Edm, Schedule};
/// let schedule = Edm::default();
/// let level = schedule.level(2.0);
/// assert_eq!((level.alpha, level.sigma), (1.0, 2.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Edm {
    /// The smallest noise level, positive.
    pub sigma_min: f64,
    /// The largest noise level, above `sigma_min`.
    pub sigma_max: f64,
}

impl Default for Edm {
    fn default() -> Self {
        Self { sigma_min: 0.002, sigma_max: 80.0 }
    }
}

impl Schedule for Edm {
    fn check(&self) -> Result<()> {
        positive("sigma_min", self.sigma_min)?;
        rising("sigma_min", self.sigma_min, "sigma_max", self.sigma_max)?;
        check_fall(self)
    }
    fn level(&self, t: f64) -> Level {
        Level { t, alpha: 1.0, sigma: t, lambda: -2.0 * t.ln() }
    }
    fn drift(&self, _t: f64) -> f64 {
        0.0
    }
    fn lambda_rate(&self, t: f64) -> f64 {
        -2.0 / t
    }
    fn diffusion_squared(&self, t: f64) -> f64 {
        2.0 * t
    }
    fn rate(&self, _t: f64) -> Rate {
        Rate { alpha: 0.0, sigma: 1.0 }
    }
    fn range(&self) -> (f64, f64) {
        (self.sigma_min, self.sigma_max)
    }
    fn time(&self, lambda: f64) -> f64 {
        (-0.5 * lambda).exp()
    }
}

/// The straight path of rectified flow and flow matching with independent ends: α = 1 − t, σ = t, on
/// t ∈ [δ, 1 − δ′], because g² = 2t/(1 − t) is singular at 1 and λ is infinite at both ends.
///
/// ```
/// use tweedie::process::{Straight, Schedule};
/// let schedule = Straight::default();
/// let level = schedule.level(0.25);
/// assert!((level.alpha - 0.75).abs() < 1e-12 && (level.sigma - 0.25).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Straight {
    /// δ, the distance from clean data.
    pub delta: f64,
    /// δ′, the distance from pure noise; δ if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_delta: Option<f64>,
}

impl Default for Straight {
    fn default() -> Self {
        Self { delta: 1e-3, noise_delta: None }
    }
}

impl Straight {
    fn noise_delta(&self) -> f64 {
        self.noise_delta.unwrap_or(self.delta)
    }
}

impl Schedule for Straight {
    fn check(&self) -> Result<()> {
        positive("delta", self.delta)?;
        positive("noise_delta", self.noise_delta())?;
        rising("delta", self.delta, "1 - noise_delta", 1.0 - self.noise_delta())?;
        check_fall(self)
    }
    fn level(&self, t: f64) -> Level {
        Level { t, alpha: 1.0 - t, sigma: t, lambda: 2.0 * ((-t).ln_1p() - t.ln()) }
    }
    fn drift(&self, t: f64) -> f64 {
        -1.0 / (1.0 - t)
    }
    fn lambda_rate(&self, t: f64) -> f64 {
        -2.0 / (t * (1.0 - t))
    }
    fn diffusion_squared(&self, t: f64) -> f64 {
        2.0 * t / (1.0 - t)
    }
    fn rate(&self, _t: f64) -> Rate {
        Rate { alpha: -1.0, sigma: 1.0 }
    }
    fn range(&self) -> (f64, f64) {
        (self.delta, 1.0 - self.noise_delta())
    }
    fn time(&self, lambda: f64) -> f64 {
        // α/σ = e^{λ/2}, so t = sigmoid(−λ/2).
        1.0 / (1.0 + (0.5 * lambda).exp())
    }
}
