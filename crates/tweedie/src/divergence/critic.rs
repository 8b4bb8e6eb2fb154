//! Variational estimates of f-divergences by a trained critic.
//!
//! For any critic T, E_P(T) − E_Q(f*(T)) ≤ D_f(P‖Q), with equality at T = f′(p/q) (Nguyen, Wainwright and Jordan 2010;
//! Nowozin, Cseke and Tomioka 2016). The critic is an MLP of rows, trained to raise the left side. On the rows that it
//! was trained on the value is too high; on other rows its expectation is at most the divergence. So half of the rows
//! train, and the other half gives the value and its standard error
//!
//! > √(Var_P T/n + Var_Q f*(T)/m).

use super::ascent::{Ascent, Frame};
use super::{Estimate, FDivergence};
use crate::data::Rows;
use crate::error::count;
use crate::metric::check_pair;
use crate::nn::{Activation, Linear, LinearConfig, mlp};
use crate::tensor::{host_column, mean_and_error};
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// The options of a [`Critic`], an MLP.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CriticConfig {
    /// The width of the hidden layers.
    pub hidden: usize,
    /// The number of hidden layers.
    pub layers: usize,
    /// The options of training.
    pub training: Ascent,
}

impl Default for CriticConfig {
    /// Two layers of 64, and the default training.
    fn default() -> Self {
        Self { hidden: 64, layers: 2, training: Ascent::default() }
    }
}

impl CriticConfig {
    fn check(&self) -> Result<()> {
        count("critic.hidden", self.hidden as u64, 1 << 16)?;
        count("critic.layers", self.layers as u64, 1 << 10)?;
        self.training.check()
    }

    /// The network from rows of `width` to one number, at first 0.
    fn init(&self, width: usize, device: &Device) -> Net {
        let draws = Draws::new(self.training.seed).purpose("critic");
        let layer = |k: usize| {
            let input = if k == 0 { width } else { self.hidden };
            let (output, gain) = if k == self.layers { (1, 0.0) } else { (self.hidden, 1.0) };
            LinearConfig::new(input, output).with_gain(gain).init(&draws.at(k as u64), device)
        };
        Net { layers: (0..=self.layers).map(layer).collect() }
    }
}

/// A multilayer perceptron from rows to numbers.
#[derive(Module, Debug)]
struct Net {
    layers: Vec<Linear>,
}

impl Net {
    /// Maps `[n, width]` to `[n, 1]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let hidden = self.layers.len() - 1;
        let activation = |k| (k < hidden).then_some(Activation::Silu);
        let layers: Vec<_> =
            self.layers.iter().enumerate().map(|(k, layer)| (layer, activation(k))).collect();
        mlp(x.into(), &layers, None).value
    }
}

/// A trained critic of an f-divergence.
#[derive(Debug, Clone)]
pub struct Critic {
    f: FDivergence,
    net: Net,
    frame: Frame,
    device: Device,
}

impl Critic {
    /// Trains a critic on all rows of two samples.
    ///
    /// # Errors
    /// [`Error::Shape`] if the widths differ or a sample has fewer than 2 rows;
    /// [`Error::Config`] for options out of range or a value that is not finite;
    /// [`Error::Diverged`] if training diverges.
    pub fn train(
        f: &FDivergence,
        [p, q]: [&Rows; 2],
        config: &CriticConfig,
        device: &Device,
    ) -> Result<Self> {
        f.check()?;
        config.check()?;
        check_pair([("sample of P", p), ("sample of Q", q)], 2)?;
        let frame = Frame::new([p, q]);
        let tracked = device.clone().autodiff();
        let [of_p, of_q] = [p, q].map(|rows| frame.batch(rows, &tracked));
        let gain = |net: &Net, _: f64, [p, q]: [Tensor<2>; 2]| {
            let [on_p, _] = f.terms(net.forward(p));
            let [_, on_q] = f.terms(net.forward(q));
            on_p.mean() - on_q.mean()
        };
        let net = config.training.raise(config.init(p.width(), device), [&of_p, &of_q], gain)?;
        Ok(Self { f: f.clone(), net, frame, device: device.clone() })
    }

    /// T at each row, an estimate of f′(p/q).
    ///
    /// # Errors
    /// [`Error::Shape`] for rows of another width.
    pub fn values(&self, rows: &Rows) -> Result<Vec<f64>> {
        self.frame.check_width(rows)?;
        let v = host_column(&self.net.forward(self.frame.batch(rows, &self.device)))?;
        Ok(v.into_iter().map(|v| self.f.output(v)).collect())
    }
}

/// E_P(T) − E_Q(f*(T)) from a critic's values T at draws of P and of Q: at most the divergence in expectation, if the
/// critic does not depend on the draws. −∞ where a value lies outside of the domain of f*.
///
/// ```
/// use tweedie::divergence::{FDivergence, dual_value};
/// // T = ln(p/q) is optimal for the KL: here of N(1, 1) to N(0, 1), at ± 1 around either mean.
/// let found = dual_value(&FDivergence::Kl, &[-0.5, 1.5], &[-1.5, 0.5])?;
/// assert!((found.value - (0.5 + 1.0 - 0.5 * ((-1.5f64).exp() + 0.5f64.exp()))).abs() < 1e-12);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] for fewer than 2 draws of either; [`Error::Config`] if the
/// order is not finite.
pub fn dual_value(f: &FDivergence, on_p: &[f64], on_q: &[f64]) -> Result<Estimate> {
    f.check()?;
    if on_p.len().min(on_q.len()) < 2 {
        let found = format!("{} of P and {} of Q", on_p.len(), on_q.len());
        return Err(Error::shape("values of a critic", found, "at least 2 of each"));
    }
    let (gain, of_p) = mean_and_error(on_p);
    let (cost, of_q) = mean_and_error(&on_q.iter().map(|t| f.conjugate(*t)).collect::<Vec<_>>());
    Ok(Estimate { value: gain - cost, standard_error: of_p.hypot(of_q) })
}

/// A lower bound of D_f(P‖Q) from samples alone: a [`Critic`] trained on a random half of each sample and valued on the
/// other. Its expectation is at most the divergence; it may be negative, and falls short by what the critic has not
/// learnt.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::Device;
/// use tweedie::divergence::{Ascent, CriticConfig, FDivergence, variational};
/// let p = Draws::new(1).normals(0..400, 1);
/// let mut q = Draws::new(2).normals(0..400, 1);
/// q.values_mut().iter_mut().for_each(|v| *v += 20.0);
/// let training = Ascent { steps: 200, ..Ascent::default() };
/// let config = CriticConfig { training, ..CriticConfig::default() };
/// let found = variational(&FDivergence::JensenShannon, [&p, &q], &config, &Device::flex())?;
/// assert!((found.value - std::f64::consts::LN_2).abs() < 0.01); // without common support
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// As [`Critic::train`]; [`Error::Shape`] for samples of fewer than 4 rows.
pub fn variational(
    f: &FDivergence,
    [p, q]: [&Rows; 2],
    config: &CriticConfig,
    device: &Device,
) -> Result<Estimate> {
    check_pair([("sample of P", p), ("sample of Q", q)], 4)?;
    let [[p, p_held], [q, q_held]] =
        [("p", p), ("q", q)].map(|(name, rows)| config.training.halves(name, rows));
    let critic = Critic::train(f, [&p, &q], config, device)?;
    dual_value(f, &critic.values(&p_held)?, &critic.values(&q_held)?)
}
