//! A network whose weights make it a Gaussian mixture's exact score, or its log density as an energy, with closed forms
//! for score matching.

use crate::double::moved;
use crate::support::{Still, cpu, doubles, host};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use tweedie::data::Condition;
use tweedie::denoise::{Component, EnergyDenoiser, GaussianMixture, NeuralDenoiser, Prediction};
use tweedie::nn::{Network, ResidualMlp, ResidualMlpConfig};
use tweedie::process::{Level, Schedule};
use tweedie::tensor::Dual;
use tweedie::{Draws, Result};

/// The log-SNR of every loss here: α² = 0.88, σ² = 0.12.
pub const LOG_SNR: f64 = 2.0;

/// The schedule whose only level has [`LOG_SNR`].
pub fn still() -> Still {
    Still(Level::variance_preserving(0.0, LOG_SNR))
}

/// Σ_k w_k N(m_k, diag v_k) in three dimensions: of the noised data, and its weights as parameters.
#[derive(Module, Debug)]
pub struct MixtureNet {
    logits: Param<Tensor<2>>,
    means: Vec<Param<Tensor<2>>>,
    precisions: Vec<Param<Tensor<2>>>,
    #[module(skip)]
    energy: bool,
}

const WEIGHTS: [f64; 3] = [0.5, 0.3, 0.2];
const MEANS: [[f64; 3]; 3] = [[0.9, 0.5, -0.3], [-1.2, 0.8, 0.4], [0.0, -1.4, 0.6]];
const VARIANCES: [[f64; 3]; 3] = [[0.3, 0.5, 0.4], [0.4, 0.2, 0.9], [0.2, 0.35, 0.6]];

/// The data: noised at [`LOG_SNR`], their score is [`MixtureNet`]'s.
pub fn oracle() -> GaussianMixture {
    let component =
        |k: usize| Component::diagonal(WEIGHTS[k], MEANS[k].to_vec(), VARIANCES[k].to_vec());
    GaussianMixture::new((0..3).map(component).collect()).unwrap()
}

/// Means and variances of the noised data.
fn noised(k: usize) -> ([f64; 3], [f64; 3]) {
    let Level { alpha, sigma, .. } = still().level(0.0);
    let variance = |v: f64| alpha * alpha * v + sigma * sigma;
    (MEANS[k].map(|m| alpha * m), VARIANCES[k].map(variance))
}

impl MixtureNet {
    /// The exact network, outside any graph.
    fn exact(energy: bool) -> Self {
        let param = |values: [f64; 3]| Param::from_tensor(doubles(&values, 3));
        Self {
            logits: param(WEIGHTS.map(f64::ln)),
            means: (0..3).map(|k| param(noised(k).0)).collect(),
            precisions: (0..3).map(|k| param(noised(k).1.map(|v| 1.0 / v))).collect(),
            energy,
        }
    }

    /// Whose prediction is the score.
    pub fn score() -> NeuralDenoiser<Self> {
        NeuralDenoiser::new(Self::exact(false), Prediction::Score, still())
    }

    /// Whose energy is −log p, up to a constant.
    pub fn energy() -> EnergyDenoiser<Self> {
        EnergyDenoiser::new(NeuralDenoiser::new(Self::exact(true), Prediction::Score, still()))
    }
}

impl Network for MixtureNet {
    fn forward(&self, x: Dual<2>, _: Dual<2>, _: &Condition) -> Result<Dual<2>> {
        // For data of unit variance the scale of the network's input is 1 on a variance-preserving schedule.
        let logits = self.logits.val();
        let mut pulls = Vec::new();
        let mut logs = Vec::new();
        for k in 0..3 {
            let (mean, precision) = (self.means[k].val(), self.precisions[k].val());
            let away = x.clone() - mean;
            let pull = away.clone() * precision.clone();
            let constant = precision.log().sum_dim(1).mul_scalar(0.5);
            let constant = logits.clone().narrow(1, k, 1) + constant;
            logs.push((away * pull.clone()).sum_dim(1).mul_scalar(-0.5) + constant);
            pulls.push(-pull);
        }
        let logs = Dual::cat(logs, 1);
        if self.energy {
            return Ok(-logs.exp().sum_dim(1).log());
        }
        let r = logs.softmax(1);
        let term = |k: usize| pulls[k].clone() * r.clone().linear(|r| r.narrow(1, k, 1));
        Ok(term(0) + term(1) + term(2))
    }

    fn width(&self) -> usize {
        3
    }
}

/// A network with weights drawn anew, in double precision.
pub fn mlp() -> NeuralDenoiser<ResidualMlp> {
    let network = ResidualMlpConfig::new(3).with_hidden(16).with_blocks(1);
    let network = network.init(&Draws::new(3), &cpu());
    // The last layers start at zero: move everything.
    let network = moved(&network, 0.15);
    NeuralDenoiser::new(network, Prediction::Edm, still())
}

/// Score and Hessian of log p of the noised data at a point, by hand.
pub fn by_hand(x: &[f64]) -> ([f64; 3], [[f64; 3]; 3]) {
    let mut logs = [0.0f64; 3];
    let mut pulls = [[0.0; 3]; 3];
    for k in 0..3 {
        let (m, v) = noised(k);
        logs[k] = WEIGHTS[k].ln();
        for j in 0..3 {
            pulls[k][j] = -(x[j] - m[j]) / v[j];
            logs[k] -= 0.5 * ((x[j] - m[j]).powi(2) / v[j] + v[j].ln());
        }
    }
    let max = logs.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
    let total: f64 = logs.iter().map(|l| (l - max).exp()).sum();
    let r = logs.map(|l| (l - max).exp() / total);
    let s: [f64; 3] = std::array::from_fn(|j| (0..3).map(|k| r[k] * pulls[k][j]).sum());
    let entry = |i: usize, j: usize| {
        let own = |k: usize| if i == j { -1.0 / noised(k).1[j] } else { 0.0 };
        let term = |k: usize| r[k] * (pulls[k][i] * pulls[k][j] + own(k));
        (0..3).map(term).sum::<f64>() - s[i] * s[j]
    };
    (s, std::array::from_fn(|i| std::array::from_fn(|j| entry(i, j))))
}

#[test]
fn the_network_is_the_oracle() {
    let x = oracle().sample(50, &Draws::new(1), &cpu());
    let level = still().level(0.0).into();
    let right = host(&oracle().score(x.clone(), &level).unwrap());
    let none = Condition::None;
    let found = host(&MixtureNet::score().score(x.clone().into(), &level, &none).unwrap().value);
    crate::support::all_close("score", &found, &right, 1e-12);
    for (row, right) in host(&x).chunks(3).zip(right.chunks(3)) {
        crate::support::all_close("by hand", &by_hand(row).0, right, 1e-10);
    }
}
