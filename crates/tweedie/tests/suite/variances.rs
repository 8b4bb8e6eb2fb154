//! Reverse variances: the best of each step from one curve of errors, against closed forms, exact moments and whole
//! paths.

use crate::oracle::{VP, gaussian, normals, run, three_components};
use crate::support::*;
use burn::module::Module;
use std::sync::Arc;
use tweedie::burn::tensor::Tensor;
use tweedie::data::{Batch, Condition, Generate, Rows};
use tweedie::denoise::{Component, Denoiser, Diffusing, GaussianMixture, LevelError, level_errors};
use tweedie::density::{Bound, Density, LogProb};
use tweedie::objective::LearnedVariance;
use tweedie::process::{Level, Schedule};
use tweedie::solve::grid::{Grid, LogSnr};
use tweedie::solve::{
    AnalyticVariance, Ancestral, AnySolver, Last, ReverseVariance, Sampler, Solver, Variance,
};
use tweedie::train::{AdamW, AdamWConfig};
use tweedie::{Draws, Error};

/// Levels even in λ from −10 to 10.
fn even(n: usize) -> Vec<Level> {
    let lambda = |i: usize| -10.0 + 20.0 * i as f64 / (n - 1) as f64;
    (0..n).map(|i| Level::variance_preserving(0.0, lambda(i))).collect()
}

/// A mixture's errors over rows of its own.
fn errors(oracle: &GaussianMixture, n: usize, levels: &[Level]) -> Vec<LevelError> {
    let x = host(&oracle.sample(n, &Draws::new(12), &cpu()));
    let rows = Rows::new(x.iter().map(|v| *v as f32).collect(), oracle.width()).unwrap();
    let draws = Draws::new(13);
    level_errors(oracle, &rows, &Condition::None, &rows, levels, &draws, &cpu()).unwrap()
}

/// Var[x₀ | x_t] of N(0, c) at a log-SNR.
fn of_gaussian(c: f64, lambda: f64) -> f64 {
    c / (1.0 + c * lambda.exp())
}

/// E Var[x₀ | x_t] = E x₀² − E x̂₀² of a mixture on the line by quadrature, each level to six standard errors; and of
/// three components in the plane from the length of the score, σ² (1 − σ² E‖s‖²/d)/α², on other rows and noise.
#[test]
fn the_curve_is_the_mean_posterior_variance() {
    let levels = even(11);
    let parts = [(0.3, -1.2, 0.05), (0.7, 0.5, 0.3)];
    let components = parts.map(|(w, mean, v)| Component::isotropic(w, vec![mean], v)).to_vec();
    let oracle = GaussianMixture::new(components).unwrap();
    let found = errors(&oracle, 20_000, &levels);
    let curve = AnalyticVariance::measured(&found).unwrap();
    for (level, found) in levels.iter().zip(&found) {
        let (a, s2) = (level.alpha, level.sigma.powi(2));
        let total = |v: f64| a * a * v + s2;
        let of_guess = |x: f64| {
            let density = |&(w, mean, v): &(f64, f64, f64)| {
                let z = (x - a * mean).powi(2) / total(v);
                w * (-0.5 * z).exp() / (std::f64::consts::TAU * total(v)).sqrt()
            };
            let guess = |&(_, mean, v): &(f64, f64, f64)| mean + a * v / total(v) * (x - a * mean);
            let p: f64 = parts.iter().map(density).sum();
            let sum: f64 = parts.iter().map(|part| density(part) * guess(part)).sum();
            if p > 0.0 { sum * sum / p } else { 0.0 }
        };
        let second: f64 = parts.iter().map(|(w, mean, v)| w * (mean * mean + v)).sum();
        let exact = second - simpson(-9.0, 9.0, 4000, of_guess);
        let what = format!("λ = {}", level.lambda);
        within(&what, found.mean, exact, SIX_SIGMA * found.standard_error);
        close(&what, curve.error(level.lambda), found.mean, 1e-12);
    }
    let (oracle, n) = (three_components(), 20_000);
    let levels = even(6);
    for (level, found) in levels.iter().zip(errors(&oracle, n, &levels)) {
        let x = oracle.sample(n, &Draws::new(14), &cpu());
        let noise = Draws::new(15).normals(0..n as u64, 2).to_tensor(&cpu()).cast(x.dtype());
        let x = x.mul_scalar(level.alpha) + noise.mul_scalar(level.sigma);
        let squares = host(&oracle.score(x, &(*level).into()).unwrap().square().mean_dim(1));
        let s2 = level.sigma.powi(2);
        let each: Vec<f64> =
            squares.iter().map(|square| s2 * (1.0 - s2 * square) / level.alpha.powi(2)).collect();
        let (mean, variance) = moments(&each);
        let error = (variance / n as f64).sqrt().hypot(found.standard_error);
        within(format!("score at λ = {}", level.lambda), found.mean, mean, SIX_SIGMA * error);
    }
}

/// ln m is linear between levels, so that its error is at most h²/32 for N(0, c), and goes on as it must beyond them.
#[test]
fn a_curve_is_interpolated_and_goes_on() {
    let (c, h) = (0.5, 20.0 / 80.0);
    let points = even(81).iter().map(|l| (l.lambda, of_gaussian(c, l.lambda))).collect();
    let curve = AnalyticVariance::new(points).unwrap();
    for i in 0..1000 {
        let lambda = -14.0 + 28.0 * f64::from(i) / 999.0;
        close(format!("λ = {lambda}"), curve.error(lambda), of_gaussian(c, lambda), h * h / 32.0);
    }
    let noise = curve.error(f64::NEG_INFINITY);
    close("pure noise", noise, c, 1e-4);
    let clean = Level::clean(0.0);
    let from = Level::variance_preserving(0.0, 1.0);
    assert_eq!(curve.between(&from, &clean), 0.0);
    for points in [vec![], vec![(0.0, 0.0)], vec![(f64::NAN, 1.0)], vec![(1.0, 1.0), (1.0, 2.0)]] {
        let refused = AnalyticVariance::new(points).unwrap_err();
        assert!(matches!(&refused, Error::Config { key, .. } if key == "mean squared errors"));
    }
}

/// A Gaussian's reverse steps are Gaussian: with the best variance every level's is exact at any number of steps, to
/// rounding by recursion and to six standard errors in samples. Of data narrower than N(0, 1) both fixed variances miss
/// it.
#[test]
fn the_best_variance_samples_a_gaussian_exactly_in_any_number_of_steps() {
    let c = 0.5;
    let oracle = gaussian(0.0, c);
    let n = 20_000;
    for steps in [1, 2, 5, 20] {
        let levels = LogSnr.levels(&VP, steps).unwrap();
        let points = levels.iter().map(|l| (l.lambda, of_gaussian(c, l.lambda))).collect();
        let best = AnalyticVariance::new(points).unwrap();
        let marginal = |l: &Level| l.alpha.powi(2) * c + l.sigma.powi(2);
        let end = |variance: &dyn ReverseVariance| {
            levels.windows(2).fold(marginal(&levels[0]), |v, pair| {
                let (t, s) = (&pair[0], &pair[1]);
                let posterior = t.posterior(s);
                let gain = t.alpha * c / marginal(t);
                let factor = posterior.from_x + posterior.from_data * gain;
                factor.powi(2) * v + variance.between(t, s)
            })
        };
        let exact = marginal(&levels[steps]);
        close(format!("{steps} steps"), end(&best), exact, 1e-12);
        let (small, large) = (end(&Variance::Small), end(&Variance::Large));
        println!("{steps} steps: {exact:.4}, fixed {small:.4} and {large:.4}");
        assert!(small < 0.99 * exact && large > 1.01 * exact, "{steps}: {small}, {large}");
        let sampled = |solver: &dyn Solver| {
            let x = normals(n, 1, marginal(&levels[0]).sqrt(), 6);
            moments(&host(&run(solver, &oracle, &VP, x, &levels))).1
        };
        let relative = SIX_SIGMA * (2.0 / n as f64).sqrt();
        close("sampled", sampled(&Ancestral { variance: best }), exact, relative);
        close("sampled, smaller", sampled(&Ancestral::default()), small, relative);
    }
}

/// With v the posterior's variance, r = v (1 + ρ) and ρ = c² m/v, a step of the exact denoiser costs ½ d ln(1 + ρ) nats
/// in place of ½ d ρ. The gain is met to six standard errors and the curve's; half and twice the errors cost. Whole
/// paths have the same mean.
#[test]
fn the_best_variance_improves_the_bound_by_what_it_should() {
    let oracle = Arc::new(three_components());
    let curve = errors(&oracle, 20_000, &even(81));
    let scaled = |factor: f64| {
        let points = curve.iter().map(|e| (e.level.lambda, factor * e.mean)).collect();
        Arc::new(AnalyticVariance::new(points).unwrap())
    };
    let best = scaled(1.0);
    let n = 4000;
    let x = oracle.sample(n, &Draws::new(2), &cpu());
    for steps in [4, 10, 40] {
        let bound = Bound::discrete(oracle.clone(), Arc::new(VP), steps).with_probes(steps);
        let of = |bound: &Bound| bound.log_prob(x.clone(), &Condition::None).unwrap();
        let [plain, with] = [bound.clone(), bound.clone().with_variance(best.clone())];
        let [plain, found] = [of(&plain), of(&with)];
        let (gain, error) = found.mean_difference(&plain).unwrap();
        let (first, last) = VP.range();
        let level = |i: usize| VP.level(first + (last - first) * i as f64 / steps as f64);
        let of_step = |i: usize| {
            let (s, t) = (level(i), level(i + 1));
            let posterior = t.posterior(&s);
            let rho = posterior.from_data.powi(2) * best.error(t.lambda) / posterior.variance;
            rho - rho.ln_1p()
        };
        let expected: f64 = (0..steps).map(of_step).sum();
        println!("{steps} steps: gain {gain:.4} ± {error:.4}, expected {expected:.4}");
        within(format!("{steps} steps"), gain, expected, SIX_SIGMA * error + 0.06 * expected);
        assert!(gain > SIX_SIGMA * error, "{steps} steps: {gain} ± {error}");
        for factor in [0.5, 2.0] {
            let worse = of(&bound.clone().with_variance(scaled(factor)));
            let (lost, error) = found.mean_difference(&worse).unwrap();
            assert!(lost > SIX_SIGMA * error, "{steps} steps, {factor}: {lost} ± {error}");
        }
        let path = |bound: Bound| bound.with_probes(1).by_paths(x.clone(), &Condition::None);
        let path: LogProb = path(with.clone().with_draws(Draws::new(5))).unwrap();
        let (gap, error) = path.mean_difference(&found).unwrap();
        println!("{steps} steps: paths {gap:.4} ± {error:.4}");
        within(format!("{steps} steps by paths"), gap, 0.0, SIX_SIGMA * error);
        // Estimates of batches, a step for each row, have this mean as well.
        let each = with.estimate(x.clone(), &Condition::None, &Draws::new(9)).unwrap();
        let each = LogProb { value: host(&each), ..path };
        let (gap, error) = each.mean_difference(&found).unwrap();
        within(format!("{steps} steps, estimates"), gap, 0.0, SIX_SIGMA * error);
    }
}

#[test]
fn variances_that_make_no_bound_are_refused() {
    #[derive(Debug)]
    struct Nothing;
    impl ReverseVariance for Nothing {
        fn between(&self, _: &Level, _: &Level) -> f64 {
            0.0
        }
    }
    let (oracle, x): (_, Tensor<2>) = (Arc::new(gaussian(0.0, 0.5)), doubles(&[0.3], 1));
    let continuous = Bound::continuous(oracle.clone(), Arc::new(VP));
    let zero = Bound::discrete(oracle, Arc::new(VP), 4).with_variance(Arc::new(Nothing));
    for bound in [continuous.with_variance(Arc::new(Variance::Large)), zero] {
        let refused = bound.log_prob(x.clone(), &Condition::None).unwrap_err();
        assert!(matches!(&refused, Error::Config { key, .. } if key == "variance"), "{refused}");
    }
}

/// Trained by the divergence alone, from the curve of N(0, 1), the variance of every step comes to that of N(0, 0.05).
/// Where noise is nearly all it hardly depends on m, nor the divergence on either. The last steps average some 10,000
/// draws a level, which leave 1 % of m.
#[test]
fn the_learned_variance_comes_to_the_best_one() {
    let steps = 10;
    let narrow = Component::isotropic(1.0, vec![0.0, 0.0], 0.05);
    let oracle = GaussianMixture::new(vec![narrow]).unwrap();
    let (first, last) = VP.range();
    let level = |i: usize| VP.level(first + (last - first) * i as f64 / steps as f64);
    let mut learned = LearnedVariance::new(-11.0, 5.0, 17, &cpu()).unwrap().train();
    let start = learned.fixed().unwrap();
    let mut adamw = AdamW::new(AdamWConfig { clip: 0.0, ..AdamWConfig::default() });
    let total = 600;
    for k in 0..total {
        let draws = Draws::new(31).at(k);
        let batch = Batch { x: oracle.sample(512, &draws, &cpu()), condition: Condition::None };
        let loss = learned.loss(&oracle, &VP, steps, &batch, &draws).unwrap();
        let gradients = AdamW::gradients(&learned, &loss.mean().backward());
        let rate = 0.05 * (1.0 - k as f64 / total as f64);
        learned = adamw.step(learned, &gradients, 1.0, rate, None).unwrap().0;
    }
    let curve = learned.fixed().unwrap();
    let best = |level: &Level| 0.05 / (1.0 + 0.05 * level.lambda.exp());
    let exact = (1..=steps).map(level).map(|level| (level.lambda, best(&level))).collect();
    let exact = AnalyticVariance::new(exact).unwrap();
    let mut moved = 0.0f64;
    // The last step adds noise up to the cleanest level.
    for (s, t) in (0..steps).map(|i| (level(i), level(i + 1))) {
        let [begun, found, best] = [&start, &curve, &exact].map(|curve| curve.between(&t, &s));
        println!("from λ = {:.2}: {begun:.5}, learned {found:.5}, best {best:.5}", t.lambda);
        moved = moved.max((begun / best).ln().abs());
        close(format!("λ = {}", t.lambda), found, best, 0.03);
    }
    assert!(moved > 0.7, "{moved}");
    for (low, high, knots) in [(1.0, 1.0, 3), (-90.0, 1.0, 3), (-1.0, 1.0, 1)] {
        let refused = LearnedVariance::new(low, high, knots, &cpu());
        assert!(matches!(refused, Err(Error::Config { .. })));
    }
}

/// A sampler's ancestral steps take any variance: six steps end at the variance of N(0, c) with the best one, and not
/// with their own.
#[test]
fn a_sampler_s_ancestral_steps_take_the_best_variance() {
    let (c, n) = (0.3, 40_000);
    let curve: Vec<_> = (-200..=200).map(|i| 0.1 * f64::from(i)).collect();
    let curve = curve.into_iter().map(|lambda| (lambda, of_gaussian(c, lambda))).collect();
    let best = Arc::new(AnalyticVariance::new(curve).unwrap());
    let solver = AnySolver::Ancestral(Ancestral::default());
    let model = Diffusing::new(Arc::new(gaussian(0.0, c)), Arc::new(VP));
    let sampler = Sampler::from(model.with_sigma_data(c.sqrt())).with_solver(solver);
    // Levels with noise throughout, so that each of the steps has a variance.
    let sampler = sampler.with_steps(6).with_last(Last::Stop);
    let variance = |sampler: &Sampler| {
        let x = sampler.generate(0..n as u64, &Condition::None, &Draws::new(5), &cpu()).unwrap();
        moments(&host(&x)).1
    };
    let cleanest = sampler.levels().unwrap()[6];
    let right = cleanest.alpha.powi(2) * c + cleanest.sigma.powi(2);
    // The relative error of a normal's variance is √(2/n).
    let allowed = SIX_SIGMA * (2.0 / n as f64).sqrt() * right;
    within("best", variance(&sampler.clone().with_reverse_variance(best.clone())), right, allowed);
    let own = variance(&sampler);
    assert!(own < right - 5.0 * allowed, "{own}, {right} ± {allowed}");
    // Other solvers have none.
    let other = sampler.with_solver(AnySolver::default());
    assert_eq!(variance(&other), variance(&other.clone().with_reverse_variance(best)));
}
