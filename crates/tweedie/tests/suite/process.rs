//! Every named schedule against the papers' formulas, written out here a second time; transitions against Bayes'
//! rule.

use crate::support::*;
use tweedie::Error;
use tweedie::process::{
    AnySchedule, Betas, Chain, ChainConfig, Cosine, Edm, Level, Levels, Rate, Schedule, VpLinear,
};

/// A process as its paper states it: ln α, ln σ, the drift's factor f and g².
pub struct Paper {
    pub name: &'static str,
    pub ln_alpha: fn(f64) -> f64,
    pub ln_sigma: fn(f64) -> f64,
    pub f: fn(f64) -> f64,
    pub g_squared: fn(f64) -> f64,
}

/// Song et al. 2021, App. C: β(t) from 0.1 to 20.
pub fn beta(t: f64) -> f64 {
    0.1 + 19.9 * t
}

/// ∫₀ᵗ β by quadrature.
pub fn integral(t: f64) -> f64 {
    simpson(0.0, t, 4, beta)
}

/// Hoogeboom et al. 2023, App. A: the angle whose cosine and sine are α and σ.
fn angle(t: f64) -> f64 {
    let (a, b) = ((-6f64).exp().atan(), 6f64.exp().atan());
    a + (b - a) * t
}

fn turn() -> f64 {
    angle(1.0) - angle(0.0)
}

/// Where a learned schedule begins: λ linear between the ends of Kingma et al. 2021, app. B.
fn linear(t: f64) -> f64 {
    13.3 - 18.3 * t
}

const PAPERS: [Paper; 8] = [
    Paper {
        name: "vp-linear",
        ln_alpha: |t| -0.5 * integral(t),
        ln_sigma: |t| 0.5 * (-(-integral(t)).exp_m1()).ln(),
        f: |t| -0.5 * beta(t),
        g_squared: beta,
    },
    Paper {
        name: "ve",
        ln_alpha: |_| 0.0,
        ln_sigma: |t| (0.01 * 5000f64.powf(t)).ln(),
        f: |_| 0.0,
        g_squared: |t| 2.0 * 1e-4 * 5000f64.powf(2.0 * t) * 5000f64.ln(),
    },
    Paper {
        name: "sub-vp",
        ln_alpha: |t| -0.5 * integral(t),
        ln_sigma: |t| (-(-integral(t)).exp_m1()).ln(),
        f: |t| -0.5 * beta(t),
        g_squared: |t| -beta(t) * (-2.0 * integral(t)).exp_m1(),
    },
    Paper {
        name: "ou",
        ln_alpha: |t| -t,
        ln_sigma: |t| 0.5 * (-(-2.0 * t).exp_m1()).ln(),
        f: |_| -1.0,
        g_squared: |_| 2.0,
    },
    Paper {
        name: "cosine",
        ln_alpha: |t| angle(t).cos().ln(),
        ln_sigma: |t| angle(t).sin().ln(),
        f: |t| -turn() * angle(t).tan(),
        g_squared: |t| 2.0 * turn() * angle(t).tan(),
    },
    Paper { name: "edm", ln_alpha: |_| 0.0, ln_sigma: f64::ln, f: |_| 0.0, g_squared: |t| 2.0 * t },
    Paper {
        name: "straight",
        ln_alpha: |t| (-t).ln_1p(),
        ln_sigma: f64::ln,
        f: |t| -1.0 / (1.0 - t),
        g_squared: |t| 2.0 * t / (1.0 - t),
    },
    Paper {
        name: "learned",
        ln_alpha: |t| 0.5 * ln_sigmoid(linear(t)),
        ln_sigma: |t| 0.5 * ln_sigmoid(-linear(t)),
        f: |t| -9.15 * ln_sigmoid(-linear(t)).exp(),
        g_squared: |t| 18.3 * ln_sigmoid(-linear(t)).exp(),
    },
];

/// The papers with our schedules of the same names.
pub fn papers() -> impl Iterator<Item = (&'static Paper, AnySchedule)> {
    const { &PAPERS }.iter().map(|paper| (paper, schedule(paper.name)))
}

/// Both ends of the range and times between them, evenly spaced in t and in λ.
pub fn times(schedule: &dyn Schedule) -> Vec<f64> {
    let (first, last) = schedule.range();
    let (high, low) = (schedule.level(first).lambda, schedule.level(last).lambda);
    let inner = |k: usize| k as f64 / 20.0;
    let by_lambda = (1..20).map(|k| schedule.time(high + inner(k) * (low - high)));
    let by_time = (1..20).map(|k| first + inner(k) * (last - first));
    [first, last].into_iter().chain(by_time).chain(by_lambda).collect()
}

#[test]
fn every_schedule_is_its_paper_s() {
    // The chain is a table, and has tests of its own.
    let names = AnySchedule::NAMES.iter().map(|(name, _)| *name).filter(|name| *name != "chain");
    let names: Vec<_> = names.collect();
    assert_eq!(names, PAPERS.map(|paper| paper.name));
    for (paper, schedule) in papers() {
        for t in times(&schedule) {
            let at = |what| format!("{what} of {} at {t}", paper.name);
            let (ln_alpha, ln_sigma) = ((paper.ln_alpha)(t), (paper.ln_sigma)(t));
            let (f, g2) = ((paper.f)(t), (paper.g_squared)(t));
            let level = schedule.level(t);
            close(at("α"), level.alpha, ln_alpha.exp(), 1e-12);
            close(at("σ"), level.sigma, ln_sigma.exp(), 1e-12);
            within(at("λ"), level.lambda, 2.0 * (ln_alpha - ln_sigma), 1e-11);
            close(at("f"), schedule.drift(t), f, 1e-10);
            close(at("g²"), schedule.diffusion_squared(t), g2, 1e-10);
            close(at("dλ/dt"), schedule.lambda_rate(t), -g2 / level.sigma.powi(2), 1e-10);
            // dσ²/dt = g² + 2 f σ²
            let Rate { alpha, sigma } = schedule.rate(t);
            let (d_alpha, scale) = (f * level.alpha, f.abs() + g2);
            let d_sigma = 0.5 * g2 / level.sigma + f * level.sigma;
            close(at("dα/dt"), alpha, d_alpha, 1e-10);
            within(at("dσ/dt"), sigma, d_sigma, 1e-10 * scale.max(d_sigma.abs()));
        }
    }
}

#[test]
fn drift_and_diffusion_are_derivatives_of_the_marginals() {
    for (paper, schedule) in papers() {
        let (first, last) = schedule.range();
        for t in times(&schedule).into_iter().filter(|t| *t > first && *t < last) {
            let at = |what| format!("{what} of {} at {t}", paper.name);
            let h = 0.02 * (t - first).min(last - t);
            let d = |f: &dyn Fn(Level) -> f64| difference(|t| f(schedule.level(t)), t, h);
            let (ln_alpha, ln_sigma) = (d(&|l| l.alpha.ln()), d(&|l| l.sigma.ln()));
            let g2 = 2.0 * schedule.level(t).sigma.powi(2) * (ln_sigma - ln_alpha);
            within(at("f"), schedule.drift(t), ln_alpha, 1e-8 * ln_alpha.abs().max(1e-3));
            close(at("g²"), schedule.diffusion_squared(t), g2, 1e-8);
            let rate = schedule.rate(t);
            let (alpha, sigma) = (d(&|l| l.alpha), d(&|l| l.sigma));
            let scale = 1e-8 * alpha.abs().max(sigma.abs());
            within(at("dα/dt"), rate.alpha, alpha, scale);
            within(at("dσ/dt"), rate.sigma, sigma, scale);
        }
    }
}

/// A schedule without its own inverse.
#[derive(Debug)]
struct Bisected(AnySchedule);

impl Schedule for Bisected {
    fn level(&self, t: f64) -> Level {
        self.0.level(t)
    }
    fn drift(&self, t: f64) -> f64 {
        self.0.drift(t)
    }
    fn lambda_rate(&self, t: f64) -> f64 {
        self.0.lambda_rate(t)
    }
    fn range(&self) -> (f64, f64) {
        self.0.range()
    }
}

#[test]
fn time_inverts_the_log_snr_and_the_log_snr_falls() {
    for (name, schedule) in schedules() {
        let bisected = Bisected(schedule.clone());
        for t in times(&schedule) {
            let lambda = schedule.level(t).lambda;
            // The rounding of λ, seen through dλ/dt, and that of t.
            let rounding = 2.0 * f64::EPSILON * lambda.abs().max(1.0);
            let tolerance = 8.0 * (rounding / schedule.lambda_rate(t).abs() + f64::EPSILON * t);
            within(format!("t of {name}"), schedule.time(lambda), t, tolerance.max(1e-15));
            within(format!("bisected t of {name}"), bisected.time(lambda), t, tolerance.max(1e-15));
        }
        let (first, last) = schedule.range();
        assert_eq!(bisected.time(f64::INFINITY), first, "{name}");
        assert_eq!(bisected.time(f64::NEG_INFINITY), last, "{name}");
        let lambda = |k: u32| schedule.level(first + f64::from(k) / 2000.0 * (last - first)).lambda;
        assert!((0..2000).all(|k| lambda(k + 1) < lambda(k)), "λ of {name} rises");
    }
}

#[test]
fn no_coefficient_cancels_between_log_snrs_of_30_and_minus_30() {
    let wide = Cosine { lambda_min: -31.0, lambda_max: 31.0, side: 64.0 };
    let bar = |k: u32| ln_sigmoid(31.0 - 0.5 * f64::from(k));
    let first = -bar(0).exp_m1();
    let betas = (0..124).map(|k| -(bar(k + 1) - bar(k)).exp_m1());
    let betas = Betas::List([first].into_iter().chain(betas).collect());
    let chain = Chain::new(ChainConfig { betas, ..ChainConfig::default() }).unwrap();
    for (name, schedule) in schedules() {
        let schedule = match name {
            "cosine" => AnySchedule::Cosine(wide),
            "chain" => AnySchedule::Chain(chain.clone()),
            _ => schedule,
        };
        for k in -60..=60 {
            let wanted = 0.5 * f64::from(k);
            let t = schedule.time(wanted);
            let level = schedule.level(t);
            let at = |what| format!("{what} of {name} at λ = {wanted}");
            let rounding = 4.0 * f64::EPSILON * schedule.lambda_rate(t).abs() * t.abs().max(1.0);
            within(at("λ"), level.lambda, wanted, 1e-12 * wanted.abs().max(1.0) + rounding);
            // α and σ follow from λ by what each family keeps fixed.
            let lambda = level.lambda;
            let (ln_alpha, ln_sigma) = match name {
                "vp-linear" | "ou" | "cosine" | "chain" | "learned" => {
                    (0.5 * ln_sigmoid(lambda), 0.5 * ln_sigmoid(-lambda))
                }
                "ve" | "edm" => (0.0, -0.5 * lambda),
                "straight" => (ln_sigmoid(0.5 * lambda), ln_sigmoid(-0.5 * lambda)),
                // α = e^{−u}, σ = 1 − α²: σ/α = 2 sinh u.
                _ => {
                    let u = (0.5 * (-0.5 * lambda).exp()).asinh();
                    (-u, -u - 0.5 * lambda)
                }
            };
            close(at("α"), level.alpha, ln_alpha.exp(), 1e-12);
            close(at("σ"), level.sigma, ln_sigma.exp(), 1e-12);
            let ratio = 2.0 * (level.alpha / level.sigma).ln();
            within(at("2 ln(α/σ)"), ratio, lambda, 1e-12 * lambda.abs().max(1.0));
        }
    }
}

#[test]
fn the_cosine_schedule_has_finite_shifted_ends() {
    for side in [16.0, 64.0, 256.0] {
        let schedule = Cosine { lambda_min: -9.0, lambda_max: 11.0, side };
        let shift = 2.0 * (64.0 / side).ln();
        for (t, lambda) in [(0.0, 11.0), (1.0, -9.0)] {
            let level = schedule.level(t);
            within(format!("λ({t}) of side {side}"), level.lambda, lambda + shift, 1e-11);
            assert!(level.alpha > 0.0 && level.sigma > 0.0);
            assert!(schedule.drift(t).is_finite() && schedule.diffusion_squared(t).is_finite());
        }
        let plain = Cosine { side: 64.0, ..schedule };
        let moved = schedule.level(0.37).lambda - plain.level(0.37).lambda;
        within("shift", moved, shift, 1e-13);
    }
}

#[test]
fn schedules_refuse_what_they_cannot_use() {
    for (name, schedule) in schedules() {
        let (first, last) = schedule.range();
        let inside = schedule.levels(&[last, first, 0.5 * (first + last)]).unwrap();
        assert_eq!(inside.host(1).unwrap(), schedule.level(first), "{name}");
        for bad in [first - 1e-3, last + 1e-3, f64::NAN, f64::INFINITY] {
            let refused = schedule.levels(&[first, bad]);
            assert!(matches!(refused, Err(Error::Config { .. })), "{name} takes {bad}");
        }
        schedule.check().unwrap();
    }
    let falling = AnySchedule::Edm(Edm { sigma_min: 2.0, sigma_max: 1.0 });
    let zero = AnySchedule::VpLinear(VpLinear { beta_min: 0.0, ..VpLinear::default() });
    let nan = AnySchedule::Cosine(Cosine { side: f64::NAN, ..Cosine::default() });
    assert!([falling, zero, nan].iter().all(|s| s.check().is_err()));
    let misspelt = serde_json::json!({ "name": "edm", "sigma_mx": 1.0 });
    assert!(serde_json::from_value::<AnySchedule>(misspelt).is_err());
}

#[test]
fn transitions_compose() {
    for (name, schedule) in schedules() {
        let mut times = times(&schedule);
        times.sort_by(f64::total_cmp);
        for window in times.windows(9).step_by(3) {
            let [r, s, t] = [0, 4, 8].map(|k| schedule.level(window[k]));
            let at = |what| format!("{what} of {name} from {} by {} to {}", r.t, s.t, t.t);
            let (by, first, both) = (t.given(&s), s.given(&r), t.given(&r));
            let squared = by.alpha * by.alpha;
            close(at("α"), by.alpha * first.alpha, both.alpha, 1e-13);
            close(at("σ²"), squared * first.variance + by.variance, both.variance, 1e-12);
            let marginal = squared * s.sigma.powi(2) + by.variance;
            close(at("marginal σ²"), marginal, t.sigma.powi(2), 1e-13);
            // Between near levels the variance is g² dt, not a difference of rounded numbers.
            let near = schedule.level(s.t * (1.0 + 1e-7));
            let rate = schedule.diffusion_squared(0.5 * (s.t + near.t));
            close(at("g² dt"), near.given(&s).variance, rate * (near.t - s.t), 1e-5);
        }
        let t = schedule.level(times[20]);
        let clean = t.given(&Level::clean(0.0));
        assert_eq!((clean.alpha, clean.variance), (t.alpha, t.sigma * t.sigma), "{name}");
        let same = t.given(&t);
        assert_eq!((same.alpha, same.variance), (1.0, 0.0), "{name}");
        let noise = Level::new(1.0, 0.0, 1.0).given(&t);
        assert_eq!((noise.alpha, noise.variance), (0.0, 1.0), "{name}");
    }
}

#[test]
fn posterior_is_bayes_rule() {
    for (name, schedule) in schedules() {
        let mut times = times(&schedule);
        times.sort_by(f64::total_cmp);
        for (k, &first) in times.iter().enumerate() {
            for &second in times[k + 1..].iter().step_by(5) {
                let (s, t) = (schedule.level(first), schedule.level(second));
                // N(x_s; α_s x₀, σ_s²) · N(x_t; a x_s, v) as a density of x_s: precisions add.
                let a = t.alpha / s.alpha;
                let v = t.sigma.powi(2) - (a * s.sigma).powi(2);
                if v < 1e-3 * t.sigma.powi(2) {
                    continue; // v itself has lost too many digits
                }
                let precision = s.sigma.powi(-2) + a * a / v;
                let found = t.posterior(&s);
                let at = |what| format!("{what} of {name} from {second} to {first}");
                close(at("variance"), found.variance, 1.0 / precision, 1e-11);
                close(at("x_t"), found.from_x, a / v / precision, 1e-11);
                let of_data = s.alpha * s.sigma.powi(-2) / precision;
                close(at("x₀"), found.from_data, of_data, 1e-11);
            }
        }
        let found = schedule.level(times[9]).posterior(&Level::clean(0.0));
        assert_eq!((found.from_x, found.variance), (0.0, 0.0), "{name}");
        within(name, found.from_data, 1.0, 1e-15);
    }
}

#[test]
fn levels_of_rows_are_the_schedule_s() {
    let schedule = VpLinear::default();
    let Levels::Rows(rows) = schedule.levels(&[0.1, 0.9]).unwrap() else { panic!("one per row") };
    assert_eq!(rows, [schedule.level(0.1), schedule.level(0.9)]);
}
