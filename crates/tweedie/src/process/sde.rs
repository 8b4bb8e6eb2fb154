//! General stochastic differential equations, simulated forward.
//!
//! dx = f(x, t) dt + g(x, t) dW in the sense of Itô (*An Introduction to Generative Modeling with Flows and Diffusion
//! Models*, eqs. 6.2–6.3, where the printed names under drift and diffusion are exchanged), with independent noise in
//! each coordinate: g is the diagonal of the diffusion matrix. The Euler–Maruyama step (eqs. 6.6–6.11; *Generative
//! Modeling with Diffusion Models*, eqs. 16–26)
//!
//! > x ← x + f(x, t) Δt + g(x, t) ΔW
//!
//! has weak order 1, strong order ½, and strong order 1 where g does not depend on x.

use super::{Noise, Schedule};
use crate::{Error, Result};
use burn::tensor::Tensor;
use std::sync::Arc;

type Field = Arc<dyn Fn(&Tensor<2>, f64) -> Tensor<2> + Send + Sync>;

/// The SDE dx = f(x, t) dt + g(x, t) dW; see the module documentation.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{DType, Device, Tensor};
/// use tweedie::process::{BrownianTree, Sde};
/// // Geometric Brownian motion, dx = x dt + ½ x dW.
/// let sde = Sde::new(|x, _| x.clone(), |x, _| x.clone().mul_scalar(0.5));
/// let tree = BrownianTree::new(Draws::new(7), (0.0, 1.0))?;
/// let times: Vec<f64> = (0..=100).map(|k| k as f64 / 100.0).collect();
/// let x = Tensor::<2>::ones([4, 1], (&Device::flex(), DType::F64));
/// let x = sde.simulate(x, &times, &[0, 1, 2, 3], &tree, |_, _| {})?;
/// assert_eq!(x.dims(), [4, 1]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Clone)]
pub struct Sde {
    drift: Field,
    diffusion: Field,
}

impl std::fmt::Debug for Sde {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Sde").finish_non_exhaustive()
    }
}

impl Sde {
    /// The SDE with drift f and diffusion g, functions of a batch `[n, width]` and the time. Each returns a batch of
    /// this shape, or one row or one column if all rows or columns are equal.
    pub fn new(
        drift: impl Fn(&Tensor<2>, f64) -> Tensor<2> + Send + Sync + 'static,
        diffusion: impl Fn(&Tensor<2>, f64) -> Tensor<2> + Send + Sync + 'static,
    ) -> Self {
        Self { drift: Arc::new(drift), diffusion: Arc::new(diffusion) }
    }

    /// The linear SDE dx = f(t) x dt + g(t) dW of a schedule; the offset of a [`LinearSde`](super::LinearSde) is not
    /// part of it.
    pub fn linear(schedule: Arc<dyn Schedule>) -> Self {
        let copy = schedule.clone();
        Self::new(
            move |x, t| x.clone().mul_scalar(schedule.drift(t)),
            move |x, t| {
                let g = copy.diffusion_squared(t).sqrt();
                Tensor::full([1, 1], g, (&x.device(), x.dtype()))
            },
        )
    }

    /// The drift f(x, t) at a batch `[n, width]`, in the same shape.
    ///
    /// # Errors
    /// [`Error::Shape`] if the function's result does not fit the batch.
    pub fn drift(&self, x: &Tensor<2>, t: f64) -> Result<Tensor<2>> {
        fitted("drift", (self.drift)(x, t), x)
    }

    /// The diagonal of g(x, t) at a batch `[n, width]`, in the same shape.
    ///
    /// # Errors
    /// The errors of [`Sde::drift`].
    pub fn diffusion(&self, x: &Tensor<2>, t: f64) -> Result<Tensor<2>> {
        fitted("diffusion", (self.diffusion)(x, t), x)
    }

    /// The batch `[n, width]` at the last of `times`, given the batch at the first. Takes one Euler–Maruyama step
    /// between two neighbouring times. `rows` are the global indices that address the noise. Calls `observe` with the
    /// time and the batch at the start and after every step.
    ///
    /// # Errors
    /// [`Error::Config`] unless the times rise; [`Error::Shape`] if drift, diffusion or rows do not fit the batch;
    /// [`Error::Diverged`] if a value is not finite.
    pub fn simulate(
        &self,
        mut x: Tensor<2>,
        times: &[f64],
        rows: &[u64],
        noise: &dyn Noise,
        mut observe: impl FnMut(f64, &Tensor<2>),
    ) -> Result<Tensor<2>> {
        check_times(times)?;
        let [n, width] = x.dims();
        if rows.len() != n || width == 0 {
            let found = format!("{} for {n} × {width}", rows.len());
            return Err(Error::shape("rows", found, "one for each row, of at least one column"));
        }
        observe(times[0], &x);
        for (step, pair) in times.windows(2).enumerate() {
            let (t, dt) = (pair[0], pair[1] - pair[0]);
            let z = noise.increments(step as u64, &[(t, pair[1])], rows, width);
            let dw = z.to_tensor(&x.device()).cast(x.dtype()).mul_scalar(dt.sqrt());
            let spread = self.diffusion(&x, t)? * dw;
            x = x.clone() + self.drift(&x, t)?.mul_scalar(dt) + spread;
            observe(pair[1], &x);
        }
        if !x.clone().is_finite().all().into_scalar::<bool>() {
            return Err(Error::Diverged {
                what: "a simulated path became NaN or infinite".into(),
                step: times.len() as u64 - 1,
            });
        }
        Ok(x)
    }
}

/// Fails unless `times` is not empty, finite and rising.
pub(super) fn check_times(times: &[f64]) -> Result<()> {
    let unfit = times.iter().find(|t| !t.is_finite()).map(|t| t.to_string());
    let falling = times.windows(2).find(|pair| pair[1] <= pair[0]);
    let falling = falling.map(|pair| format!("{} after {}", pair[1], pair[0]));
    let none = times.is_empty().then(|| "none".to_string());
    match unfit.or(falling).or(none) {
        None => Ok(()),
        Some(found) => {
            Err(Error::config("times", found, "at least one time, all finite, each after the last"))
        }
    }
}

/// `value` expanded to the shape and converted to the type of `x`; `what` names it in errors.
fn fitted(what: &str, value: Tensor<2>, x: &Tensor<2>) -> Result<Tensor<2>> {
    let (found, shape) = (value.dims(), x.dims());
    if (0..2).any(|d| found[d] != shape[d] && found[d] != 1) {
        return Err(Error::shape(
            what,
            format!("{found:?}"),
            format!("{shape:?}, or 1 for either"),
        ));
    }
    Ok(value.cast(x.dtype()).expand(shape))
}
