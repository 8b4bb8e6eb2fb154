//! The squared maximum mean discrepancy as a loss, of rows or of what a critic makes of them.
//!
//! With a kernel k and a critic φ of several outputs (Li et al. 2017, *MMD GAN: towards deeper understanding of moment
//! matching network*, eq. 3; Bińkowski et al. 2018, *Demystifying MMD GANs*, secs. 2.1 and 3.2),
//!
//! > MMD² = E k(φ(x), φ(x′)) + E k(φ(y), φ(y′)) − 2 E k(φ(x), φ(y)),  x, x′ from P and y, y′ from Q,
//!
//! is estimated without bias, without pairs of a row with itself; the generator lowers it and the critic raises it.
//! Without a critic, φ is the identity (Dziugaite, Roy & Ghahramani 2015; Li, Swersky & Zemel 2015, *Generative moment
//! matching networks*). Penalties are of the slopes of the witness
//!
//! > w(x) = mean_i k(φ(x), φ(x_i)) − mean_j k(φ(x), φ(y_j)).

use super::{AnyMmdKernel, GameLoss, MmdKernel};
use crate::Result;
use crate::error::{count, inside};
use crate::tensor::Dual;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The maximum mean discrepancy of a kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mmd {
    /// The kernel.
    pub kernel: AnyMmdKernel,
    /// The number of outputs of the critic that the kernel is of; 0 for no critic: a kernel of rows in model units.
    pub features: usize,
}

impl Default for Mmd {
    fn default() -> Self {
        Self { kernel: AnyMmdKernel::default(), features: 16 }
    }
}

/// ‖a − b‖² of every row of `a`, `[n, k]`, and of `b`, `[m, k]`; `[n, m]`.
fn squares(a: Dual<2>, b: Dual<2>) -> Dual<2> {
    let length = |x: &Dual<2>| x.clone().square().sum_dim(1);
    let (of_a, of_b) = (length(&a), length(&b).swap_dims(0, 1));
    let ([n, _], [m, _]) = (a.dims(), b.dims());
    let wide = |x: Dual<2>| x.linear(|x| x.expand([n, m]));
    let products = a.matmul(b.swap_dims(0, 1)).mul_scalar(-2.0);
    products + wide(of_a) + wide(of_b)
}

/// The mean of a kernel over pairs of different rows of one sample, `[1]`.
fn within_sample(kernel: &dyn MmdKernel, x: &Tensor<2>) -> Tensor<1> {
    let [n, _] = x.dims();
    let all = kernel.of_squares(squares(x.clone().into(), x.clone().into())).value;
    let diagonal = Tensor::<2>::eye(n, &all.device()).cast(all.dtype());
    let off = all.clone() - all * diagonal;
    off.sum().div_scalar((n * n.saturating_sub(1)).max(1) as f64)
}

/// The unbiased estimate of MMD² between two samples, `[n, k]` and `[m, k]`, differentiable; `[1]`.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::game::{GaussianKernel, mmd_squared};
/// let rows = |v: [[f32; 1]; 2]| Tensor::<2>::from_floats(v, &Device::flex());
/// let kernel = GaussianKernel { bandwidths: vec![1.0] };
/// let found = mmd_squared(&kernel, &rows([[0.0], [1.0]]), &rows([[9.0], [10.0]])).into_scalar::<f32>();
/// assert!((found - 2.0 * (-0.5f32).exp()).abs() < 1e-6); // distant samples, each with one pair 1 apart
/// ```
pub fn mmd_squared(kernel: &dyn MmdKernel, on_p: &Tensor<2>, on_q: &Tensor<2>) -> Tensor<1> {
    let across = kernel.of_squares(squares(on_p.clone().into(), on_q.clone().into())).value;
    within_sample(kernel, on_p) + within_sample(kernel, on_q) - across.mean().mul_scalar(2.0)
}

impl GameLoss for Mmd {
    fn check(&self) -> Result<()> {
        self.kernel.check().map_err(|e| inside("kernel", e))?;
        count("features", self.features.max(1) as u64, 1 << 12)
    }

    fn features(&self) -> Option<usize> {
        (self.features > 0).then_some(self.features)
    }

    fn critic(&self, on_p: Tensor<2>, on_q: Tensor<2>) -> Tensor<1> {
        -mmd_squared(&*self.kernel, &on_p, &on_q)
    }

    fn generator(&self, on_p: Tensor<2>, on_q: Tensor<2>) -> Tensor<1> {
        mmd_squared(&*self.kernel, &on_p, &on_q)
    }

    /// MMD², which may be negative.
    fn distance(&self, of_critic: f64) -> f64 {
        -of_critic
    }

    fn potential(&self, at: Dual<2>, on_p: &Tensor<2>, on_q: &Tensor<2>) -> Dual<2> {
        let mean = |of: &Tensor<2>| {
            self.kernel.of_squares(squares(at.clone(), of.clone().into())).mean_dim(1)
        };
        mean(on_p) - mean(on_q)
    }
}
