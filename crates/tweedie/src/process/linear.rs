//! General linear SDEs, given by drift, offset and diffusion, or by marginals.
//!
//! dx = (f(t) x + h(t)) dt + g(t) dW from t = 0 has x_t = α x₀ + m + σ ε with (*An Introduction to Generative
//! Modeling with Flows and Diffusion Models*, eqs. 6.12–6.16; in eq. 6.12 the printed a is h)
//!
//! > ln α = ∫₀ᵗ f, m = α ∫₀ᵗ h/α, σ² = α² ∫₀ᵗ g²/α².
//!
//! The three integrals are tabulated once by Gauss–Legendre quadrature on a mesh graded towards t = 0 and refined where
//! needed, so that a level costs one partial panel. An SDE given by (α, σ) or by a log-SNR has its rates by
//! extrapolated differences of the given functions.

use super::{Level, Schedule};
use crate::{Error, Result};
use std::sync::Arc;

type Function = Arc<dyn Fn(f64) -> f64 + Send + Sync>;

/// Ten-point Gauss–Legendre nodes and weights on [−1, 1] (positive half).
const GAUSS: [(f64, f64); 5] = [
    (0.148_874_338_981_631_22, 0.295_524_224_714_752_87),
    (0.433_395_394_129_247_2, 0.269_266_719_309_996_35),
    (0.679_409_568_299_024_4, 0.219_086_362_515_982_04),
    (0.865_063_366_688_984_5, 0.149_451_349_150_580_6),
    (0.973_906_528_517_171_7, 0.066_671_344_308_688_14),
];

fn integrate(a: f64, b: f64, f: impl Fn(f64) -> f64) -> f64 {
    let (mid, half) = (0.5 * (a + b), 0.5 * (b - a));
    half * GAUSS.iter().map(|&(x, w)| w * (f(mid - half * x) + f(mid + half * x))).sum::<f64>()
}

/// A linear SDE given by functions of time; see the module documentation.
///
/// As a [`Schedule`] its levels belong to the centred process x_t − m(t), and [`Schedule::offset`] is m. A sampler of
/// this schedule samples x_t itself.
/// of it samples x_t itself.
///
/// ```
/// use tweedie::process::{LinearSde, Schedule};
/// // Ornstein–Uhlenbeck around 3: dx = (3 − x) dt + √2 dW.
/// let sde = LinearSde::new(|_| -1.0, |_| 3.0, |_| 2f64.sqrt(), (1e-5, 4.0))?;
/// let level = sde.level(1.0);
/// assert!((level.alpha - (-1f64).exp()).abs() < 1e-12);
/// assert!((sde.offset(1.0) - 3.0 * (1.0 - (-1f64).exp())).abs() < 1e-12);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Clone)]
pub struct LinearSde {
    range: (f64, f64),
    form: Form,
}

#[derive(Clone)]
enum Form {
    Drift { f: Function, h: Function, g: Function, mesh: Arc<[Node]> },
    Marginals { ln_alpha: Function, lambda: Function },
}

/// The integrals up to one point of the mesh.
#[derive(Debug, Clone, Copy)]
struct Node {
    t: f64,
    ln_alpha: f64,
    offset_over_alpha: f64,
    variance_over_alpha2: f64,
}

impl Node {
    fn values(&self) -> [f64; 3] {
        [self.ln_alpha, self.offset_over_alpha, self.variance_over_alpha2]
    }

    /// Whether two results of the same integration agree to ten digits.
    fn agrees(&self, other: &Node) -> bool {
        let near = |(a, b): (f64, f64)| (a - b).abs() <= 1e-10 * b.abs();
        self.values().into_iter().zip(other.values()).all(near)
    }
}

impl std::fmt::Debug for LinearSde {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("LinearSde").field("range", &self.range).finish_non_exhaustive()
    }
}

impl LinearSde {
    /// The SDE dx = (f x + h) dt + g dW started at t = 0, for times in `range`, whose first end is positive.
    ///
    /// # Errors
    /// [`Error::Config`] if the range is empty or does not start above 0, or if g² or an integral is not finite.
    pub fn new(
        f: impl Fn(f64) -> f64 + Send + Sync + 'static,
        h: impl Fn(f64) -> f64 + Send + Sync + 'static,
        g: impl Fn(f64) -> f64 + Send + Sync + 'static,
        range: (f64, f64),
    ) -> Result<Self> {
        if !(range.0 > 0.0 && range.0 < range.1 && range.1.is_finite()) {
            return Err(Error::config(
                "range",
                format!("{range:?}"),
                "0 < first < last, both finite",
            ));
        }
        let mut mesh =
            vec![Node { t: 0.0, ln_alpha: 0.0, offset_over_alpha: 0.0, variance_over_alpha2: 0.0 }];
        // Cubically graded panels resolve both the small variances near 0 and the smooth rest.
        let panels = 256;
        for k in 1..=panels {
            let t = range.1 * (k as f64 / panels as f64).powi(3);
            let node = extend(&mut mesh, t, 10, &|from, t| advance(&f, &h, &g, from, t));
            if !node.values().iter().all(|v| v.is_finite()) {
                return Err(Error::config(
                    "f, h, g",
                    format!("not integrable up to t = {t}"),
                    "finite",
                ));
            }
        }
        let form =
            Form::Drift { f: Arc::new(f), h: Arc::new(h), g: Arc::new(g), mesh: mesh.into() };
        Ok(Self { range, form })
    }

    /// The process with marginals x_t = α(t) x₀ + σ(t) ε, given by ln α and ln σ, for times in `range`.
    pub fn from_marginals(
        ln_alpha: impl Fn(f64) -> f64 + Send + Sync + 'static,
        ln_sigma: impl Fn(f64) -> f64 + Send + Sync + 'static,
        range: (f64, f64),
    ) -> Self {
        let ln_alpha: Function = Arc::new(ln_alpha);
        let copy = ln_alpha.clone();
        let lambda: Function = Arc::new(move |t| 2.0 * (copy(t) - ln_sigma(t)));
        Self { range, form: Form::Marginals { ln_alpha, lambda } }
    }

    /// The variance-preserving process with log-SNR λ(t), for times in `range`.
    pub fn from_log_snr(
        lambda: impl Fn(f64) -> f64 + Send + Sync + 'static,
        range: (f64, f64),
    ) -> Self {
        let lambda: Function = Arc::new(lambda);
        let copy = lambda.clone();
        let ln_alpha: Function = Arc::new(move |t| -0.5 * super::level::softplus(-copy(t)));
        Self { range, form: Form::Marginals { ln_alpha, lambda } }
    }

    fn span(&self) -> f64 {
        self.range.1 - self.range.0
    }

    fn node(&self, t: f64) -> Node {
        match &self.form {
            Form::Drift { f, h, g, mesh } => {
                let k = mesh.partition_point(|node| node.t <= t).max(1) - 1;
                advance(&**f, &**h, &**g, mesh[k], t)
            }
            Form::Marginals { .. } => {
                Node { t, ln_alpha: 0.0, offset_over_alpha: 0.0, variance_over_alpha2: 0.0 }
            }
        }
    }
}

/// Extends the mesh to `t`, halving panels (at most `depth` times) until the halves agree with the whole. A rate may be
/// nearly singular at the end of the range, as for the straight path. Returns the last node.
fn extend(mesh: &mut Vec<Node>, t: f64, depth: u32, advance: &impl Fn(Node, f64) -> Node) -> Node {
    let from = mesh[mesh.len() - 1];
    let middle = 0.5 * (from.t + t);
    let whole = advance(from, t);
    let halves = advance(advance(from, middle), t);
    if depth == 0 || whole.agrees(&halves) {
        mesh.push(halves);
        return halves;
    }
    extend(mesh, middle, depth - 1, advance);
    extend(mesh, t, depth - 1, advance)
}

/// The integrals at `t`, given the integrals at an earlier point of the mesh.
fn advance(
    f: &(impl Fn(f64) -> f64 + ?Sized),
    h: &(impl Fn(f64) -> f64 + ?Sized),
    g: &(impl Fn(f64) -> f64 + ?Sized),
    from: Node,
    t: f64,
) -> Node {
    let ln_alpha = |s: f64| from.ln_alpha + integrate(from.t, s, f);
    Node {
        t,
        ln_alpha: ln_alpha(t),
        offset_over_alpha: from.offset_over_alpha
            + integrate(from.t, t, |s| h(s) * (-ln_alpha(s)).exp()),
        variance_over_alpha2: from.variance_over_alpha2
            + integrate(from.t, t, |s| g(s).powi(2) * (-2.0 * ln_alpha(s)).exp()),
    }
}

/// f′(t) by Ridders' method (Press et al., *Numerical Recipes*, 3rd ed., sec. 5.7): central differences at steps that
/// halve from a tenth of `span`, extrapolated to step 0. Takes the value of smallest estimated error, rounding
/// included. Skips steps that leave the function's domain, so that t may be close to its end.
fn derivative(f: &dyn Fn(f64) -> f64, t: f64, span: f64) -> f64 {
    let (mut best, mut least) = (f64::NAN, f64::INFINITY);
    let mut earlier: Vec<f64> = Vec::new();
    for k in 0..40 {
        let step = 0.1 * span * 0.5f64.powi(k);
        let (left, right) = (t - step, t + step);
        let (low, high) = (f(left), f(right));
        let mut row = vec![(high - low) / (right - left)];
        if !row[0].is_finite() {
            earlier.clear();
            continue;
        }
        let rounding = f64::EPSILON * low.abs().max(high.abs()) / step;
        if rounding > least {
            break;
        }
        for j in 1..=earlier.len().min(6) {
            let value = row[j - 1] + (row[j - 1] - earlier[j - 1]) / (4f64.powi(j as i32) - 1.0);
            let error = (value - row[j - 1]).abs().max((value - earlier[j - 1]).abs()) + rounding;
            if error < least {
                (best, least) = (value, error);
            }
            row.push(value);
        }
        earlier = row;
    }
    best
}

impl Schedule for LinearSde {
    fn level(&self, t: f64) -> Level {
        match &self.form {
            Form::Drift { .. } => {
                let node = self.node(t);
                let alpha = node.ln_alpha.exp();
                Level {
                    t,
                    alpha,
                    sigma: alpha * node.variance_over_alpha2.sqrt(),
                    lambda: -node.variance_over_alpha2.ln(),
                }
            }
            Form::Marginals { ln_alpha, lambda } => {
                let (ln_alpha, lambda) = (ln_alpha(t), lambda(t));
                Level { t, alpha: ln_alpha.exp(), sigma: (ln_alpha - 0.5 * lambda).exp(), lambda }
            }
        }
    }

    fn drift(&self, t: f64) -> f64 {
        match &self.form {
            Form::Drift { f, .. } => f(t),
            Form::Marginals { ln_alpha, .. } => derivative(&**ln_alpha, t, self.span()),
        }
    }

    fn lambda_rate(&self, t: f64) -> f64 {
        match &self.form {
            // g² = −σ² dλ/dt.
            Form::Drift { g, .. } => -(g(t) / self.level(t).sigma).powi(2),
            Form::Marginals { lambda, .. } => derivative(&**lambda, t, self.span()),
        }
    }

    fn range(&self) -> (f64, f64) {
        self.range
    }

    fn diffusion_squared(&self, t: f64) -> f64 {
        match &self.form {
            // Valid at t = 0 too, where σ = 0 and dλ/dt is infinite.
            Form::Drift { g, .. } => g(t).powi(2),
            Form::Marginals { .. } => -self.level(t).sigma.powi(2) * self.lambda_rate(t),
        }
    }

    fn offset(&self, t: f64) -> f64 {
        match &self.form {
            Form::Drift { .. } => {
                let node = self.node(t);
                node.ln_alpha.exp() * node.offset_over_alpha
            }
            Form::Marginals { .. } => 0.0,
        }
    }
}
