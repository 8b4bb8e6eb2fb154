//! The martingale regulariser: zero for the exact mean, closed forms for wrong means, its gradient, and its effect in
//! training.

use crate::double::{along_parameters, moved};
use crate::oracle::{VP, gaussian, three_components};
use crate::support::*;
use burn::module::Module;
use burn::tensor::DType;
use std::sync::Arc;
use tweedie::data::{Batch, Condition};
use tweedie::denoise::{Component, Denoiser, GaussianMixture, NeuralDenoiser, Prediction};
use tweedie::nn::{ResidualMlp, ResidualMlpConfig};
use tweedie::objective::{
    DenoisingScoreMatching, Martingale, Noising, Objective, RegularisedObjective, Weighting,
};
use tweedie::process::{Cosine, Level, LevelDistribution, Levels, NoiseLevels, Schedule};
use tweedie::tensor::Dual;
use tweedie::train::{AdamW, AdamWConfig};
use tweedie::{Draws, Result};

/// A wrong mean, a multiple of x.
struct Multiple(f64);

impl Denoiser for Multiple {
    fn denoise(&self, x: Dual<2>, _: &Levels, _: &Condition) -> Result<Dual<2>> {
        Ok(x.mul_scalar(self.0))
    }
    fn width(&self) -> usize {
        1
    }
    fn evaluations(&self) -> u64 {
        0
    }
}

/// The level that is `share` of the span cleaner.
fn after(from: &Level, martingale: &Martingale, share: f64) -> Level {
    VP.level(VP.time(from.lambda + share * martingale.span))
}

fn level(lambda: f64) -> Level {
    VP.level(VP.time(lambda))
}

/// Estimates of the squared residual at n rows of x, their mean and its standard error.
fn residual(
    denoiser: &dyn Denoiser,
    martingale: &Martingale,
    x: &[f64],
    level: &Level,
) -> (f64, f64) {
    let (x, level) = (doubles(x, denoiser.width()), (*level).into());
    let draws = Draws::new(4);
    let found = martingale.residual(denoiser, &VP, x, &level, &Condition::None, &draws).unwrap();
    let found = host(&found);
    let (mean, variance) = moments(&found);
    (mean, (variance / found.len() as f64).sqrt())
}

/// Noised rows of a mixture, x_t.
fn noised(mixture: &GaussianMixture, n: usize, level: &Level) -> Vec<f64> {
    let x = mixture.sample(n, &Draws::new(1), &cpu());
    let noise = crate::oracle::normals(n, mixture.width(), level.sigma, 2);
    host(&(x.mul_scalar(level.alpha) + noise))
}

#[test]
fn the_exact_mean_of_a_gaussian_is_a_martingale_at_any_step_and_a_wrong_one_is_not() {
    let exact = gaussian(0.6, 0.3);
    let n = 20_000;
    for (lambda, span, steps) in [(-3.0, 6.0, 1), (-3.0, 6.0, 3), (1.0, 0.5, 1), (-6.0, 10.0, 2)] {
        let martingale = Martingale { span, steps, ..Martingale::default() };
        let from = level(lambda);
        let x = noised(&exact, n, &from);
        let what = format!("{martingale:?} from λ = {lambda}");
        let (mean, error) = residual(&exact, &martingale, &x, &from);
        within(&what, mean, 0.0, SIX_SIGMA * error);
        // x̂ = c x at every level: E[x_s | x_t] is a multiple of x_t, step by step.
        let c = 0.7;
        let factor: f64 = (0..steps)
            .map(|k| {
                let share = |k: usize| k as f64 / steps as f64;
                let (t, s) =
                    (after(&from, &martingale, share(k)), after(&from, &martingale, share(k + 1)));
                let posterior = t.posterior(&s);
                posterior.from_x + posterior.from_data * c
            })
            .product();
        let square = x.iter().map(|x| x * x).sum::<f64>() / n as f64;
        let right = (c * (factor - 1.0)).powi(2) * square;
        let (mean, error) = residual(&Multiple(c), &martingale, &x, &from);
        within(format!("{what}, a wrong mean"), mean, right, SIX_SIGMA * error);
        // It is told from 0, and what is 0 from it.
        assert!(right > 12.0 * error, "{what}: {right} ± {error}");
    }
}

/// Two components on the line: one step of a wide span by quadrature, and the residual falls with the square of the
/// step.
#[test]
fn the_exact_mean_of_a_mixture_is_a_martingale_in_the_limit_of_small_steps() {
    let at = |mean: f64| Component::isotropic(0.5, vec![mean], 0.01);
    let mixture = GaussianMixture::new(vec![at(-1.0), at(1.0)]).unwrap();
    let (from, span) = (level(-2.0), 4.0);
    let n = 1 << 18;
    let x = noised(&mixture, n, &from);
    let found = |steps: usize| {
        let martingale = Martingale { span, steps, ..Martingale::default() };
        let found = residual(&mixture, &martingale, &x, &from);
        println!("{steps} steps: {:.6} ± {:.6}", found.0, found.1);
        found
    };
    let mean_of = |x: f64, at: &Level| {
        let mean = mixture.denoise(doubles(&[x], 1).into(), &(*at).into(), &Condition::None);
        host(&mean.unwrap().value)[0]
    };
    // Every 2,048th row is enough of them: 128 squares, with their own standard error.
    let to = after(&from, &Martingale { span, ..Martingale::default() }, 1.0);
    let posterior = from.posterior(&to);
    let squares: Vec<f64> = x
        .iter()
        .step_by(1 << 11)
        .map(|&x| {
            let here = mean_of(x, &from);
            let centre = posterior.from_x * x + posterior.from_data * here;
            let normal = |z: f64| (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
            let there = simpson(-8.0, 8.0, 200, |z| {
                normal(z) * mean_of(centre + posterior.variance.sqrt() * z, &to)
            });
            (there - here).powi(2)
        })
        .collect();
    let (right, variance) = moments(&squares);
    let (one, error) = found(1);
    let joint = error.hypot((variance / squares.len() as f64).sqrt());
    within("one step", one, right, SIX_SIGMA * joint);
    assert!(one > 20.0 * error, "{one} ± {error}");
    let (four, of_four) = found(4);
    assert!(four < one / 8.0 + SIX_SIGMA * of_four, "{four} ± {of_four} after {one}");
    let (many, error) = found(16);
    within("16 steps", many, 0.0, SIX_SIGMA * error);
}

fn mlp() -> NeuralDenoiser<ResidualMlp> {
    let network = ResidualMlpConfig::new(2).with_hidden(12).with_blocks(1);
    NeuralDenoiser::new(network.init(&Draws::new(7), &cpu()), Prediction::Edm, VP)
}

type Matching = Arc<dyn Objective<NeuralDenoiser<ResidualMlp>>>;

fn regularised(noising: Noising, martingale: Martingale) -> (Matching, Matching) {
    let matching: Matching = Arc::new(DenoisingScoreMatching::new(noising.clone()));
    (matching.clone(), Arc::new(RegularisedObjective::new(matching, noising, martingale)))
}

/// With the paths of one network and the means of another, the loss is the one that is differentiated: what a gradient
/// at the first must be. The paths' own dependence on the weights, which is left out, is not small.
#[test]
fn gradients_reach_the_means_and_not_the_paths() {
    let x = three_components().sample(40, &Draws::new(5), &cpu());
    let batch = Batch { x, condition: Condition::None };
    let (draws, start) = (Draws::new(6), mlp());
    let base = start.with_network(moved(&start.network, 0.1));
    for weighting in [Weighting::Own, Weighting::Data] {
        let martingale = Martingale { weight: 2.5, span: 3.0, steps: 1 };
        let noising = Noising::from(Arc::new(VP)).with_weighting(weighting);
        let levels = noising.levels(40, &draws).unwrap();
        let (matching, both) = regularised(noising, martingale);
        let reverse = |objective: &Matching| {
            along_parameters(
                &base.network,
                |network| {
                    let model = base.with_network(network.clone());
                    objective.loss(&model, &batch, &draws).unwrap().surrogate.mean()
                },
                |network| {
                    let model = base.with_network(network.clone());
                    host(&objective.loss(&model, &batch, &draws).unwrap().value.mean())[0]
                },
            )
        };
        let (all, all_by_differences) = reverse(&both);
        let gradient = all - reverse(&matching).0;
        // The loss written out, with paths that stay: x_s from x_t by the base's own mean.
        let to: Vec<Level> = levels
            .iter()
            .map(|l| VP.level(VP.time((l.lambda + 3.0).min(VP.level(VP.range().0).lambda))))
            .collect();
        let column = |f: &dyn Fn(usize) -> f64| doubles(&(0..40).map(f).collect::<Vec<_>>(), 1);
        let of_rows = |draws: Draws, rows: &[u64]| {
            draws.normals_for(rows, 2).to_tensor(&cpu()).cast(DType::F64)
        };
        let rows: Vec<u64> = (0..40).collect();
        let noise = of_rows(draws.purpose("noise"), &rows);
        let x_t =
            batch.x.clone() * column(&|i| levels[i].alpha) + noise * column(&|i| levels[i].sigma);
        let mean =
            |model: &NeuralDenoiser<ResidualMlp>, x: &burn::tensor::Tensor<2>, l: &[Level]| {
                let levels = Levels::Rows(l.to_vec());
                model.denoise(x.clone().into(), &levels, &Condition::None).unwrap().value
            };
        let here = mean(&base, &x_t, &levels);
        let ends = [0u64, 1].map(|path| {
            let rows: Vec<u64> = (0..40).map(|i| 2 * i + path).collect();
            let noise = of_rows(draws.purpose("martingale").at(0), &rows);
            x_t.clone() * column(&|i| levels[i].posterior(&to[i]).from_x)
                + here.clone() * column(&|i| levels[i].posterior(&to[i]).from_data)
                + noise * column(&|i| levels[i].posterior(&to[i]).variance.sqrt())
        });
        let loss = |step: f64| {
            let model = start.with_network(moved(&start.network, 0.1 + step));
            let here = mean(&model, &x_t, &levels);
            let [one, other] = [0, 1].map(|k| mean(&model, &ends[k], &to) - here.clone());
            let rows = host(&(one * other).mean_dim(1));
            let weight = |l: &Level| match weighting {
                Weighting::Data => 1.0,
                _ => {
                    Weighting::Own.factor(Prediction::Edm, l, &VP, 1.0).unwrap()
                        / Weighting::Data.factor(Prediction::Edm, l, &VP, 1.0).unwrap()
                }
            };
            2.5 * rows.iter().zip(&levels).map(|(r, l)| r * weight(l)).sum::<f64>() / 40.0
        };
        close("gradient", gradient, difference(loss, 0.0, 1e-3), 1e-6);
        assert!((all - all_by_differences).abs() > 1e-3 * all.abs(), "{all} {all_by_differences}");
    }
}

/// Daras et al.'s theorem at work: denoising is taught at clean levels alone, and the regulariser carries it to noisy
/// ones, where the network would otherwise know nothing.
#[test]
fn training_with_it_lowers_the_residual_by_a_measured_factor() {
    let schedule = Cosine { lambda_min: -6.0, lambda_max: 6.0, side: 64.0 };
    let network = ResidualMlpConfig::new(2).with_hidden(32).with_blocks(1);
    let denoiser = |network| NeuralDenoiser::new(network, Prediction::Edm, schedule);
    let martingale = Martingale { weight: 1.0, span: 2.0, steps: 2 };
    // ln(σ/α) normal around −1: λ around 2.
    let distribution = LevelDistribution::LogNormal { mean: -1.0, sd: 0.5 };
    let clean = NoiseLevels { distribution, ..NoiseLevels::default() };
    let all = NoiseLevels { distribution: LevelDistribution::LogSnr, ..clean };
    let noising = Noising::from(Arc::new(schedule));
    let matching: Matching =
        Arc::new(DenoisingScoreMatching::new(noising.clone().with_levels(clean)));
    let both: Matching =
        Arc::new(RegularisedObjective::new(matching.clone(), noising.with_levels(all), martingale));
    let (steps, rows) = (600, 256);
    let data = three_components().sample(steps * rows, &Draws::new(9), &cpu());
    let data = data.cast(DType::F32).autodiff();
    let trained = |objective: Matching| {
        let mut network = network.init(&Draws::new(8), &cpu()).train();
        let mut adamw = AdamW::new(AdamWConfig::default());
        for step in 0..steps {
            let x = data.clone().narrow(0, step * rows, rows);
            let batch = Batch { x, condition: Condition::None };
            let draws = Draws::new(10).at(step as u64);
            let loss = objective.loss(&denoiser(network.clone()), &batch, &draws).unwrap();
            let gradients = AdamW::gradients(&network, &loss.surrogate.mean().backward());
            let rate = 1e-2 * (1.0 - step as f64 / steps as f64);
            network = adamw.step(network, &gradients, 1.0, rate, None).unwrap().0;
        }
        denoiser(network.valid())
    };
    let n = 1 << 15;
    let oracle = three_components();
    // At noisy levels: the squared residual with its standard error, and the squared distance from the exact mean.
    let judged = |model: &NeuralDenoiser<ResidualMlp>| {
        let (mut sum, mut variance, mut off) = (0.0, 0.0, 0.0);
        for (k, lambda) in [-4.0, -3.0, -2.0, -1.0].into_iter().enumerate() {
            let level: Level = schedule.level(schedule.time(lambda));
            let x = doubles(&noised(&oracle, n, &level), 2);
            let single = x.clone().cast(DType::F32);
            let (level, none) = (level.into(), Condition::None);
            let fine = Martingale { steps: 4, ..martingale };
            let draws = Draws::new(4).at(k as u64);
            let found = fine.residual(model, &schedule, single.clone(), &level, &none, &draws);
            let (mean, spread) = moments(&host(&found.unwrap()));
            sum += mean;
            variance += spread / n as f64;
            let right = oracle.denoise(x.into(), &level, &none).unwrap().value;
            let found = model.denoise(single.into(), &level, &none).unwrap().value;
            off += moments(&host(&(found.cast(DType::F64) - right).square())).0;
        }
        (sum, variance.sqrt(), off)
    };
    let (before, after) = (judged(&trained(matching)), judged(&trained(both)));
    println!("{before:?} {after:?}");
    let ((before, _, off), (after, error, near)) = (before, after);
    assert!(after + SIX_SIGMA * error < 0.1 * before, "{before} fell to {after} ± {error}");
    assert!(near < 0.05 * off, "the distance from the exact mean fell from {off} to {near}");
}
