//! The 1-Wasserstein distance by its dual,
//!
//! > W₁(P, Q) = min E‖X − Y‖ = sup over ‖T‖_Lip ≤ 1 of E_P(T) − E_Q(T)
//!
//! (Kantorovich and Rubinstein; *An Introduction to Generative Modeling with Flows and Diffusion Models*, sec. 2.4).
//! The critic is a maximum of minima of affine functions with slopes of length 1,
//!
//! > T(x) = max_i min_j (⟨a_ij, x⟩ + b_ij), ‖a_ij‖ = 1.
//!
//! So its Lipschitz constant is 1 by construction, and its gradient has length 1 almost everywhere, as that of the best
//! critic has along every path of the transport; no penalty of gradients, which holds on average alone. With enough
//! terms every function of Lipschitz constant 1 is approximated, by the formula of E. J. McShane ("Extension of range
//! of functions", Bull. Amer. Math. Soc. 40 (1934)), T(x) = max_z (T(z) − ‖x − z‖), as −‖x − z‖ = min_a ⟨a, x − z⟩.
//!
//! In training maximum and minimum are those of temperature τ, ±τ ln Σ exp(±·/τ), which keep the Lipschitz constant, as
//! their gradients are averages of slopes; τ falls geometrically. As for f-divergences, half of the rows train and the
//! other half gives the value.

use super::ascent::{Ascent, Frame};
use crate::data::Rows;
use crate::error::count;
use crate::metric::check_pair;
use crate::nn::{Linear, LinearConfig};
use crate::tensor::{gradient, host_column, mean_and_error};
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// The temperature τ at the first and at the last step, in units of the samples' spread.
const TEMPERATURES: [f64; 2] = [0.3, 0.01];

/// The options of a [`LipschitzCritic`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LipschitzConfig {
    /// The number of minima that the maximum is taken of.
    pub minima: usize,
    /// The number of affine functions in each minimum.
    pub slopes: usize,
    /// The options of training.
    pub training: Ascent,
}

impl Default for LipschitzConfig {
    /// 16 minima of 8 slopes, 600 steps of 256 rows at 3e-2.
    fn default() -> Self {
        let training = Ascent { steps: 600, learning_rate: 3e-2, ..Ascent::default() };
        Self { minima: 16, slopes: 8, training }
    }
}

impl LipschitzConfig {
    fn check(&self) -> Result<()> {
        count("critic.minima", self.minima as u64, 1 << 16)?;
        count("critic.slopes", self.slopes as u64, 1 << 16)?;
        self.training.check()
    }

    /// The function of rows of `width` with random slopes.
    fn init(&self, width: usize, device: &Device) -> MaxMin {
        let draws = Draws::new(self.training.seed).purpose("critic");
        let affine = LinearConfig::new(width, self.minima * self.slopes).init(&draws, device);
        MaxMin { affine, slopes: self.slopes }
    }
}

/// The maximum of minima of affine functions.
#[derive(Module, Debug)]
struct MaxMin {
    affine: Linear,
    #[module(skip)]
    slopes: usize,
}

impl MaxMin {
    /// Maps `[n, width]` to `[n, 1]`, at a temperature or, at none, exactly.
    fn forward(&self, x: Tensor<2>, temperature: Option<f64>) -> Tensor<2> {
        let [n, _] = x.dims();
        let slopes = self.affine.weight.val();
        // A slope of zero has no direction, and a finite derivative.
        let length = slopes.clone().square().sum_dim(1).add_scalar(1e-24).sqrt();
        let mut values = x.matmul((slopes / length).transpose());
        if let Some(offset) = &self.affine.bias {
            values = values + offset.val().unsqueeze();
        }
        let [_, all] = values.dims();
        let values = values.reshape([n, all / self.slopes, self.slopes]);
        let minima = -maximum(-values, temperature).reshape([n, 1, all / self.slopes]);
        maximum(minima, temperature).reshape([n, 1])
    }
}

/// The maximum over the last dimension, which stays with length 1.
fn maximum(x: Tensor<3>, temperature: Option<f64>) -> Tensor<3> {
    let Some(t) = temperature else { return x.max_dim(2) };
    let most = x.clone().detach().max_dim(2);
    (x - most.clone()).div_scalar(t).exp().sum_dim(2).log().mul_scalar(t) + most
}

/// A trained critic of Lipschitz constant 1, a function of rows in the units of the data.
#[derive(Debug, Clone)]
pub struct LipschitzCritic {
    net: MaxMin,
    frame: Frame,
    unit: f64,
    device: Device,
}

impl LipschitzCritic {
    /// Trains a critic on all rows of two samples.
    ///
    /// # Errors
    /// As [`Critic::train`](super::Critic::train).
    pub fn train([p, q]: [&Rows; 2], config: &LipschitzConfig, device: &Device) -> Result<Self> {
        config.check()?;
        check_pair([("sample of P", p), ("sample of Q", q)], 2)?;
        let (frame, unit) = Frame::new([p, q]).isotropic();
        let tracked = device.clone().autodiff();
        let [of_p, of_q] = [p, q].map(|rows| frame.batch(rows, &tracked));
        let [first, last] = TEMPERATURES;
        let gain = |net: &MaxMin, done: f64, batches: [Tensor<2>; 2]| {
            let temperature = first * (last / first).powf(done);
            let [on_p, on_q] = batches.map(|x| net.forward(x, Some(temperature)).mean());
            on_p - on_q
        };
        let net = config.training.raise(config.init(p.width(), device), [&of_p, &of_q], gain)?;
        Ok(Self { net, frame, unit, device: device.clone() })
    }

    /// T at each row, in the units of the data.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for rows of another width.
    pub fn values(&self, rows: &Rows) -> Result<Vec<f64>> {
        let v = host_column(&self.net.forward(self.batch(rows)?, None))?;
        Ok(v.into_iter().map(|v| self.unit * v).collect())
    }

    /// ‖∇T‖ at each row: 1 but for rounding.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for rows of another width.
    pub fn gradient_norms(&self, rows: &Rows) -> Result<Vec<f64>> {
        let x = self.batch(rows)?;
        let slope = gradient(|x| Ok(self.net.forward(x.value, None).into()), x.into())?.value;
        host_column(&slope.square().sum_dim(1).sqrt())
    }

    fn batch(&self, rows: &Rows) -> Result<Tensor<2>> {
        self.frame.check_width(rows)?;
        Ok(self.frame.batch(rows, &self.device))
    }
}

/// W₁ by a critic.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct W1 {
    /// E_P(T) − E_Q(T) on held-out rows over the largest gradient norm: in expectation at most W₁, in the units of the
    /// data.
    pub value: f64,
    /// The standard error of `value`.
    pub standard_error: f64,
    /// The largest ‖∇T‖ at held-out rows and at points on the lines between rows of P and of Q.
    pub gradient_norm: f64,
}

/// W₁(P, Q) from two samples by its dual: a [`LipschitzCritic`] trained on a random half of each sample and valued on
/// the other.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::Device;
/// use tweedie::divergence::{LipschitzConfig, wasserstein};
/// let p = Draws::new(1).normals(0..400, 1);
/// let mut q = Draws::new(2).normals(0..400, 1);
/// q.values_mut().iter_mut().for_each(|v| *v += 5.0);
/// let found = wasserstein([&p, &q], &LipschitzConfig::default(), &Device::flex())?;
/// assert!((found.value - 5.0).abs() < 5.0 * found.standard_error);
/// assert!((found.gradient_norm - 1.0).abs() < 1e-4);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// As [`LipschitzCritic::train`]; [`Error::Shape`](crate::Error::Shape) for samples of fewer than 4 rows.
pub fn wasserstein([p, q]: [&Rows; 2], config: &LipschitzConfig, device: &Device) -> Result<W1> {
    check_pair([("sample of P", p), ("sample of Q", q)], 4)?;
    let [[p, p_held], [q, q_held]] =
        [("p", p), ("q", q)].map(|(name, rows)| config.training.halves(name, rows));
    let critic = LipschitzCritic::train([&p, &q], config, device)?;
    let (on_p, of_p) = mean_and_error(&critic.values(&p_held)?);
    let (on_q, of_q) = mean_and_error(&critic.values(&q_held)?);
    let between = between(&p_held, &q_held, &Draws::new(config.training.seed).purpose("lines"))?;
    let mut gradient_norm = 0.0f64;
    for rows in [&p_held, &q_held, &between] {
        gradient_norm = critic.gradient_norms(rows)?.into_iter().fold(gradient_norm, f64::max);
    }
    let standard_error = of_p.hypot(of_q) / gradient_norm;
    Ok(W1 { value: (on_p - on_q) / gradient_norm, standard_error, gradient_norm })
}

/// A random point on the line between the k-th rows of two samples, for each k that both have.
fn between(p: &Rows, q: &Rows, draws: &Draws) -> Result<Rows> {
    let mut values = Vec::new();
    for (k, (a, b)) in p.iter().zip(q.iter()).enumerate() {
        let share = draws.uniform_f64(k as u64, 0) as f32;
        values.extend(a.iter().zip(b).map(|(a, b)| a + share * (b - a)));
    }
    Rows::new(values, p.width())
}
