//! Gaussians and mixtures fitted to known distributions on the line (*Introduction to generative modeling*, examples
//! 2.2 and 2.3, figures 2.2–2.6 and Proposition 2.1).
//!
//! The Gaussian of least KL(data ‖ ·), which is that of greatest likelihood, has the data's mean and variance. The
//! Gaussian of least Wasserstein-1 distance is found from W₁(P, N(m, s²)) = ∫₀¹ |Q(u) − m − s z(u)| du, with the
//! quantile functions Q of the data and z of the standard normal: for each s the best m is the median of Q − s z, and
//! what is left is convex in s.
//!
//! Of a Gaussian both are the Gaussian itself. Of the uniform distribution on 0 to 1 they are N(½, 1/12) and
//! N(½, s²) with s = (Φ(z) − ½)/z and z = √(2 ln 2).

use super::{Lesson, for_machines, greatest, table};
use crate::density::fit::{
    Covariance, Distribution, Em, EmConfig, Mixture, Points, normal_quantile,
};
use crate::draw::{Plot, panels};
use crate::tensor::below_normal;
use crate::{Draws, Error, Result};
use serde::Serialize;

/// The number of levels of a quantile function.
const LEVELS: usize = 20_000;
/// Rows that a mixture is fitted to, and its components.
const ROWS: u64 = 4000;
const COMPONENTS: usize = 10;
/// Numbers of components of the construction, and those drawn.
const COUNTS: [usize; 8] = [4, 8, 16, 32, 64, 128, 256, 512];
const DRAWN: [usize; 2] = [8, 32];
/// Points of a curve.
const CURVE: usize = 1200;

/// A Gaussian on the line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gaussian {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
}

impl Gaussian {
    /// The density at `x`.
    fn density(&self, x: f64) -> f64 {
        let z = (x - self.mean) / self.deviation;
        (-0.5 * z * z).exp() / (self.deviation * std::f64::consts::TAU.sqrt())
    }

    /// The probability of values of at most `x`.
    fn cumulative(&self, x: f64) -> f64 {
        below_normal((x - self.mean) / self.deviation)
    }

    /// The probability of values outside of `low` to `high`.
    pub fn outside(&self, (low, high): (f64, f64)) -> f64 {
        self.cumulative(low) + below_normal((self.mean - high) / self.deviation)
    }

    /// The Wasserstein-1 distance to the distribution with the `quantiles` at the levels (i − ½)/n.
    pub fn w1(&self, quantiles: &[f64]) -> f64 {
        let n = quantiles.len() as f64;
        let gap = |(i, q): (usize, &f64)| {
            (q - self.mean - self.deviation * normal_quantile((i as f64 + 0.5) / n)).abs()
        };
        quantiles.iter().enumerate().map(gap).sum::<f64>() / n
    }
}

/// The Gaussian of least KL(data ‖ ·): that of the mean and the variance of the `quantiles` at even levels.
pub fn least_kl(quantiles: &[f64]) -> Gaussian {
    let n = quantiles.len() as f64;
    let mean = quantiles.iter().sum::<f64>() / n;
    let variance = quantiles.iter().map(|q| (q - mean).powi(2)).sum::<f64>() / n;
    Gaussian { mean, deviation: variance.sqrt() }
}

/// The Gaussian of least Wasserstein-1 distance to the distribution with the `quantiles` at the levels (i − ½)/n.
///
/// # Errors
/// [`Error::Undefined`] if fewer than two quantiles differ.
pub fn least_w1(quantiles: &[f64]) -> Result<Gaussian> {
    let n = quantiles.len() as f64;
    let z: Vec<f64> = (0..quantiles.len()).map(|i| normal_quantile((i as f64 + 0.5) / n)).collect();
    let start = least_kl(quantiles);
    if !(start.deviation > 0.0 && start.deviation.is_finite()) {
        return Err(Error::undefined("the Gaussian of least W₁", "the data do not vary"));
    }
    let best = |deviation: f64| {
        let mut rest: Vec<f64> = quantiles.iter().zip(&z).map(|(q, z)| q - deviation * z).collect();
        let middle = rest.len() / 2;
        let (_, mean, _) = rest.select_nth_unstable_by(middle, f64::total_cmp);
        let mean = *mean;
        let cost = quantiles.iter().zip(&z).map(|(q, z)| (q - mean - deviation * z).abs());
        (cost.sum::<f64>() / n, mean)
    };
    let deviation = greatest(0.0, 3.0 * start.deviation, |deviation| -best(deviation).0);
    Ok(Gaussian { mean: best(deviation).1, deviation })
}

/// A distribution on the line with several narrow and wide parts.
fn rugged() -> Result<Mixture> {
    let weights = vec![0.22, 0.16, 0.18, 0.28, 0.16];
    let means = vec![-2.3, -1.2, 0.0, 1.2, 2.6];
    let deviations = [0.22, 0.55, 0.1, 0.32, 0.5f64];
    let variances = deviations.iter().map(|s| s * s).collect();
    Mixture::new(Covariance::Spherical, weights, means, variances, 1)
}

/// What a construction with some number of components is off by.
#[derive(Debug, Clone, Serialize)]
struct Gap {
    components: usize,
    /// The standard deviation of each component.
    deviation: f64,
    /// The greatest |f − S_n| over a grid.
    found: f64,
    /// 3/(2n) + L r + Φ(−r/σ).
    bound: f64,
}

/// A fit in the tables.
#[derive(Debug, Clone, Serialize)]
struct Fitted {
    data: &'static str,
    least: &'static str,
    #[serde(flatten)]
    gaussian: Gaussian,
    kl: f64,
    w1: f64,
    /// The mass outside of the data's interval, where they have one.
    outside: Option<f64>,
}

/// All numbers.
#[derive(Debug, Serialize)]
struct Figures {
    fits: Vec<Fitted>,
    gaps: Vec<Gap>,
}

/// Even points from `low` to `high`.
fn even(low: f64, high: f64) -> impl Iterator<Item = f64> {
    (0..CURVE).map(move |i| low + (high - low) * i as f64 / (CURVE - 1) as f64)
}

/// The levels (i − ½)/n of a quantile function.
fn levels() -> impl Iterator<Item = f64> {
    (0..LEVELS).map(|i| (i as f64 + 0.5) / LEVELS as f64)
}

/// KL(data ‖ Gaussian) from the data's log density at quantiles of even levels.
fn kl(quantiles: &[f64], log_p: impl Fn(f64) -> f64, gaussian: &Gaussian) -> f64 {
    let gap = |x: &f64| log_p(*x) - gaussian.density(*x).ln();
    quantiles.iter().map(gap).sum::<f64>() / quantiles.len() as f64
}

/// Both fits of a distribution.
fn both(
    data: &'static str,
    quantiles: &[f64],
    log_p: impl Fn(f64) -> f64,
    interval: Option<(f64, f64)>,
) -> Result<[Fitted; 2]> {
    let of = |least, gaussian: Gaussian| Fitted {
        data,
        least,
        gaussian,
        kl: kl(quantiles, &log_p, &gaussian),
        w1: gaussian.w1(quantiles),
        outside: interval.map(|interval| gaussian.outside(interval)),
    };
    Ok([of("KL", least_kl(quantiles)), of("W₁", least_w1(quantiles)?)])
}

/// The construction of Proposition 2.1 with `n` components, for a distribution with Lipschitz constant `slope`.
fn gap(law: &Mixture, slope: f64, n: usize) -> Result<(Mixture, Gap)> {
    let share = 1.5 / n as f64;
    let r = share / slope;
    let deviation = r / -normal_quantile(share);
    let found = Mixture::of_quantiles(|u| law.quantile(u).unwrap_or(f64::NAN), n, deviation)?;
    let apart = |x: f64| (law.cumulative(x) - found.cumulative(x)).abs();
    let greatest = even(-5.0, 6.0).map(apart).fold(0.0, f64::max);
    let bound = share + slope * r + below_normal(-r / deviation);
    Ok((found, Gap { components: n, deviation, found: greatest, bound }))
}

/// A page on fits of Gaussians and mixtures to known distributions on the line.
///
/// # Errors
/// Errors of EM and of drawing.
pub fn fits() -> Result<Lesson> {
    let law = rugged()?;
    let rugged = levels().map(|u| law.quantile(u)).collect::<Result<Vec<f64>>>()?;
    let uniform: Vec<f64> = levels().collect();
    let normal: Vec<f64> = levels().map(|u| 1.0 + 2.0 * normal_quantile(u)).collect();
    let own = Gaussian { mean: 1.0, deviation: 2.0 };
    let mut fits = both("N(1, 2²)", &normal, |x| own.density(x).ln(), None)?.to_vec();
    fits.extend(both("uniform on 0 to 1", &uniform, |_| 0.0, Some((0.0, 1.0)))?);
    fits.extend(both("rugged", &rugged, |x| law.log_density(&[x]), None)?);
    let points = Points::new(law.samples(&Draws::new(1), 0..ROWS), 1)?;
    let config = EmConfig { components: COMPONENTS, ..EmConfig::default() };
    let mut em = Em::new(points, &config, &Draws::new(2))?;
    em.run(500)?;
    let slope = even(-5.0, 6.0).map(|x| law.log_density(&[x]).exp()).fold(0.0, f64::max);
    let built = COUNTS.iter().map(|n| gap(&law, slope, *n)).collect::<Result<Vec<_>>>()?;
    let pictures = vec![
        ("fits-uniform.png".into(), uniform_picture(&fits[2], &fits[3])?),
        ("fits-rugged.png".into(), rugged_picture(&law, &fits[4], &fits[5], em.mixture())?),
        ("fits-steps.png".into(), steps_picture(&law, &built)?),
        ("fits-bound.png".into(), bound_picture(&built)?),
    ];
    let gaps = built.into_iter().map(|(_, gap)| gap).collect();
    let figures = Figures { fits, gaps };
    let text = text(&figures);
    Ok(Lesson { text, pictures, figures: for_machines(&figures)? })
}

/// A curve of a function.
fn curve(low: f64, high: f64, of: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    even(low, high).map(|x| (x, of(x))).collect()
}

fn uniform_picture(kl: &Fitted, w1: &Fitted) -> Result<image::RgbImage> {
    let inside = |x: f64| f64::from(u8::from((0.0..=1.0).contains(&x)));
    let plot = Plot::new("The uniform distribution on 0 to 1").x_name("x").y_name("p");
    let plot = plot.line("data", &curve(-0.8, 1.8, inside));
    let plot = plot.line("least KL", &curve(-0.8, 1.8, |x| kl.gaussian.density(x)));
    plot.line("least W₁", &curve(-0.8, 1.8, |x| w1.gaussian.density(x))).draw()
}

fn rugged_picture(
    law: &Mixture,
    kl: &Fitted,
    w1: &Fitted,
    mixture: &Mixture,
) -> Result<image::RgbImage> {
    let (low, high) = (-4.5, 5.0);
    let draw = |title: &str, data: &dyn Fn(f64) -> f64, others: [&dyn Fn(f64) -> f64; 3]| {
        let names = ["Gaussian of least KL", "Gaussian of least W₁", "10 Gaussians by EM"];
        let plot = Plot::new(title).size(1000, 720).x_name("x");
        let plot = plot.line("data", &curve(low, high, data));
        names
            .into_iter()
            .zip(others)
            .fold(plot, |plot, (name, of)| plot.line(name, &curve(low, high, of)))
    };
    let density = draw(
        "Densities",
        &|x| law.log_density(&[x]).exp(),
        [&|x| kl.gaussian.density(x), &|x| w1.gaussian.density(x), &|x| {
            mixture.log_density(&[x]).exp()
        }],
    );
    let cumulative = draw(
        "Distribution functions",
        &|x| law.cumulative(x),
        [&|x| kl.gaussian.cumulative(x), &|x| w1.gaussian.cumulative(x), &|x| {
            mixture.cumulative(x)
        }],
    );
    panels(&[density, cumulative], 2)
}

fn steps_picture(law: &Mixture, built: &[(Mixture, Gap)]) -> Result<image::RgbImage> {
    let (low, high) = (-4.5, 5.0);
    let drawn = built.iter().filter(|(_, gap)| DRAWN.contains(&gap.components));
    let plots: Vec<Plot> = drawn
        .map(|(mixture, gap)| {
            let n = gap.components;
            let steps = |x: f64| {
                let below = (0..n).filter(|k| mixture.mean(*k)[0] <= x).count();
                below as f64 / n as f64
            };
            let plot = Plot::new(&format!("n = {n}: at most {:.3} apart", gap.found));
            let plot = plot.size(1000, 720).x_name("x");
            let plot = plot.line("f", &curve(low, high, |x| law.cumulative(x)));
            let plot = plot.line("n steps", &curve(low, high, steps));
            plot.line("n Gaussians", &curve(low, high, |x| mixture.cumulative(x)))
        })
        .collect();
    panels(&plots, 2)
}

fn bound_picture(built: &[(Mixture, Gap)]) -> Result<image::RgbImage> {
    let line = |of: fn(&Gap) -> f64| -> Vec<(f64, f64)> {
        built.iter().map(|(_, gap)| (gap.components as f64, of(gap))).collect()
    };
    let plot = Plot::new("Greatest distance of the distribution functions").log_x().log_y();
    let plot = plot.x_name("Gaussians n").y_name("distance");
    let plot = plot.line("found", &line(|gap| gap.found));
    plot.line("bound: 3/(2n) + L r + Φ(−r/σ)", &line(|gap| gap.bound)).draw()
}

/// The page in Markdown.
fn text(Figures { fits, gaps }: &Figures) -> String {
    let fit = |fit: &Fitted| {
        vec![
            fit.data.to_string(),
            fit.least.to_string(),
            format!("{:.4}", fit.gaussian.mean),
            format!("{:.4}", fit.gaussian.deviation),
            // A rounding error may be below 0.
            format!("{:.4}", fit.kl.abs()),
            format!("{:.4}", fit.w1),
            fit.outside.map_or(String::new(), |mass| format!("{:.1} %", 100.0 * mass)),
        ]
    };
    let gap = |gap: &Gap| {
        vec![
            gap.components.to_string(),
            format!("{:.2e}", gap.deviation),
            format!("{:.5}", gap.found),
            format!("{:.5}", gap.bound),
        ]
    };
    let headings = ["data", "least", "mean", "deviation", "KL(data ‖ fit)", "W₁", "outside 0 to 1"];
    let fits = table(&headings, &fits.iter().map(fit).collect::<Vec<_>>());
    let headings = ["Gaussians", "σ", "greatest distance", "bound"];
    let gaps = table(&headings, &gaps.iter().map(gap).collect::<Vec<_>>());
    format!(
        "# What a fit is asked for\n\nWritten by `tweedie reproduce fits`, in a few seconds and without training. All \
         data are known distributions on the line, so that every number is exact up to quadrature.\n\n## Two \
         distances, two Gaussians\n\nThe Gaussian of greatest likelihood, which is that of least KL(data ‖ fit), has \
         the mean and the variance of the data. The Gaussian of least Wasserstein-1 distance is another one, unless \
         the data are Gaussian: then both find it.\n\n{fits}\nNeither knows that the uniform distribution ends. \
         Samples of either fall outside of 0 to 1, where there are no data: more of them by W₁, since moving a little \
         mass a little way costs it little, while KL pays for every place where data are thought improbable.\n\n![The \
         uniform distribution and two Gaussians](images/fits-uniform.png)\n\n## A family that is too small\n\nNo \
         Gaussian is close to a rugged distribution, whatever the distance and however many rows there are. A mixture \
         of {COMPONENTS}, fitted by EM to {ROWS} rows, is.\n\n![Densities and distribution \
         functions](images/fits-rugged.png)\n\n## A family that is large enough\n\nn steps of height 1/n at the \
         quantiles of the levels (i − ½)/n follow any distribution function f. With a Gaussian in place of each step \
         they are a mixture, which is never further from f than 3/(2n) + L r + Φ(−r/σ), for every r, where L is the \
         greatest density. Here r = 3/(2nL) and Φ(−r/σ) = 3/(2n), so that the bound is 9/(2n).\n\n![Steps and \
         Gaussians](images/fits-steps.png)\n\n{gaps}\n![The distance and its bound against the number of \
         Gaussians](images/fits-bound.png)\n\nThat such a mixture exists says nothing about finding it from rows: the \
         construction needs the quantiles, and its narrow Gaussians would be a poor fit of a sample.\n"
    )
}
