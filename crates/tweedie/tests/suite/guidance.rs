//! Guidance on mixtures, where score extrapolation is known in closed form.
//!
//! D_w = (x + σ² [s_weak + w (s − s_weak)])/α, the scores coming from mixtures of the classes' own components and not
//! from Tweedie's formula.

use crate::oracle::{COSINE, EDM, VP, gap, normals, run};
use crate::support::{doubles, host};
use std::sync::Arc;
use tweedie::Draws;
use tweedie::burn::tensor::{Device, Tensor};
use tweedie::data::{Condition, Generate};
use tweedie::denoise::{Component, Denoiser, GaussianMixture, Guidance};
use tweedie::process::{AnySchedule, Level, Levels, Schedule};
use tweedie::solve::grid::{Grid, LogSnr};
use tweedie::solve::{DormandPrince, Sampler, Tolerance};
use tweedie::tensor::Dual;

const WEIGHTS: [f64; 6] = [-0.5, 0.0, 0.3, 1.0, 2.5, 7.0];

/// Three components in two classes.
fn components() -> [Component; 3] {
    let full = |w, m: [f64; 2], c: [f64; 4]| Component::full(w, m.to_vec(), &c).unwrap();
    [
        full(0.5, [0.9, 0.5], [0.30, 0.12, 0.12, 0.25]).of_class(0),
        full(0.2, [-1.2, 0.8], [0.40, -0.10, -0.10, 0.20]).of_class(1),
        full(0.3, [0.0, -1.4], [0.20, 0.0, 0.0, 0.35]).of_class(1),
    ]
}

fn mixture(components: &[Component]) -> GaussianMixture {
    GaussianMixture::new(components.to_vec()).unwrap()
}

fn levels() -> Vec<Level> {
    let of = |schedule: &AnySchedule| LogSnr.levels(schedule, 6).unwrap();
    [VP, COSINE, EDM].iter().flat_map(of).collect()
}

/// (x + σ² [s_weak + w (s − s_weak)])/α.
fn extrapolated(
    x: &Tensor<2>,
    level: &Level,
    strong: &Tensor<2>,
    weak: &Tensor<2>,
    w: f64,
) -> Vec<f64> {
    let scores = host(strong).into_iter().zip(host(weak));
    let guided = scores.map(|(s, weak)| weak + w * (s - weak));
    let mean = |(x, s): (f64, f64)| (x + level.sigma.powi(2) * s) / level.alpha;
    host(x).into_iter().zip(guided).map(mean).collect()
}

fn size(values: &[f64]) -> f64 {
    values.iter().fold(1.0, |most: f64, v| most.max(v.abs()))
}

fn denoised(
    denoiser: &dyn Denoiser,
    x: &Tensor<2>,
    level: &Level,
    condition: &Condition,
) -> Vec<f64> {
    host(&denoiser.denoise(x.clone().into(), &(*level).into(), condition).unwrap().value)
}

#[test]
fn guidance_extrapolates_scores_at_every_level_and_weight() {
    let [a, b, c] = components();
    let all = mixture(&[a.clone(), b.clone(), c.clone()]);
    let classes = [mixture(&[a]), mixture(&[b, c])];
    for level in levels() {
        let x = normals(12, 2, level.sigma.hypot(level.alpha), 41);
        for (label, class) in classes.iter().enumerate() {
            let condition = Condition::class(label as u32, 12);
            let strong = class.score(x.clone(), &level.into()).unwrap();
            let weak = all.score(x.clone(), &level.into()).unwrap();
            for w in WEIGHTS {
                let right = extrapolated(&x, &level, &strong, &weak, w);
                let found = denoised(&Guidance::new(&all, w).unwrap(), &x, &level, &condition);
                // The closed form cancels where σ ≫ α.
                let tolerance =
                    1e-12 * size(&right) * (1.0 + w.abs()) * (1.0 + level.sigma / level.alpha);
                assert!(gap(&found, &right) < tolerance, "w = {w} at {level:?}");
            }
        }
    }
}

#[test]
fn autoguidance_extrapolates_from_the_weak_model_under_the_same_condition() {
    let [a, b, c] = components();
    let wide = |c: &Component| {
        let blurred = Component::isotropic(c.weight, c.mean.clone(), 0.8);
        blurred.of_class(c.class.unwrap())
    };
    let strong = mixture(&[a.clone(), b.clone(), c.clone()]);
    let weak = Arc::new(mixture(&[wide(&a), wide(&b), wide(&c)]));
    let (strong_1, weak_1) = (mixture(&[b.clone(), c.clone()]), mixture(&[wide(&b), wide(&c)]));
    let condition = Condition::class(1, 9);
    for level in levels() {
        let x = normals(9, 2, level.sigma.hypot(level.alpha), 42);
        let good = strong_1.score(x.clone(), &level.into()).unwrap();
        let bad = weak_1.score(x.clone(), &level.into()).unwrap();
        for w in WEIGHTS {
            let right = extrapolated(&x, &level, &good, &bad, w);
            let guided = Guidance::new(&strong, w).unwrap().with_weak(weak.clone());
            let found = denoised(&guided, &x, &level, &condition);
            let tolerance =
                1e-12 * size(&right) * (1.0 + w.abs()) * (1.0 + level.sigma / level.alpha);
            assert!(gap(&found, &right) < tolerance, "w = {w} at {level:?}");
        }
    }
}

#[test]
fn a_weight_of_1_costs_one_evaluation_and_others_two() {
    let all = mixture(&components());
    let condition = Condition::Class(vec![Some(0), Some(1), None, Some(1)]);
    let (inside, outside) = (COSINE.level(0.5), COSINE.level(0.05));
    let x = normals(4, 2, 1.0, 43);
    let cost = |guided: &Guidance<&GaussianMixture>, levels: Levels| {
        let before = guided.evaluations();
        guided.denoise(x.clone().into(), &levels, &condition).unwrap();
        guided.evaluations() - before
    };
    for w in WEIGHTS {
        let guided = Guidance::new(&all, w).unwrap();
        let both = if w == 1.0 { 4 } else { 8 };
        assert_eq!(cost(&guided, inside.into()), both);
        let guided = guided.with_interval(-2.0, 2.0);
        assert_eq!(cost(&guided, inside.into()), both);
        assert_eq!(cost(&guided, outside.into()), 4);
        assert_eq!(cost(&guided, Levels::Rows(vec![outside; 4])), 4);
        assert_eq!(cost(&guided, Levels::Rows(vec![outside, inside, outside, outside])), both);
    }
    // A weak model's evaluations count too.
    let weak = Arc::new(mixture(&components()));
    let guided = Guidance::new(&all, 2.0).unwrap().with_weak(weak.clone());
    let (before, own) = (all.evaluations(), guided.evaluations());
    guided.denoise(x.clone().into(), &inside.into(), &condition).unwrap();
    assert_eq!((all.evaluations() - before, weak.evaluations()), (4, 4));
    assert_eq!(guided.evaluations() - own, 8);
}

#[test]
fn outside_the_interval_guidance_is_off() {
    let all = mixture(&components());
    let guided = Guidance::new(&all, 4.0).unwrap().with_interval(-3.0, 5.0);
    let everywhere = Guidance::new(&all, 4.0).unwrap();
    let condition = Condition::class(0, 6);
    let x = normals(6, 2, 1.0, 44);
    let at = |lambda: f64| Level::variance_preserving(0.0, lambda);
    // The ends belong to the interval.
    for (lambda, inside) in [(-3.1, false), (-3.0, true), (0.0, true), (5.0, true), (5.1, false)] {
        let found = denoised(&guided, &x, &at(lambda), &condition);
        let plain = denoised(&all, &x, &at(lambda), &condition);
        let pushed = denoised(&everywhere, &x, &at(lambda), &condition);
        assert_eq!(found, if inside { pushed.clone() } else { plain.clone() }, "λ = {lambda}");
        assert!(gap(&pushed, &plain) > 1e-3);
    }
    // Rows at levels of their own: each by its own side.
    let lambdas = [-6.0, -2.0, 0.0, 4.0, 6.0, 9.0];
    let rows = Levels::Rows(lambdas.map(at).to_vec());
    let found = host(&guided.denoise(x.clone().into(), &rows, &condition).unwrap().value);
    for (i, lambda) in lambdas.into_iter().enumerate() {
        let row = x.clone().narrow(0, i, 1);
        let alone = denoised(&guided, &row, &at(lambda), &Condition::class(0, 1));
        assert!(gap(&found[2 * i..2 * i + 2], &alone) < 1e-12, "λ = {lambda}");
    }
}

#[test]
fn rows_without_a_label_are_not_guided() {
    let all = mixture(&components());
    let guided = Guidance::new(&all, 5.0).unwrap();
    let level = COSINE.level(0.4);
    let x = normals(4, 2, 1.0, 45);
    let labels = Condition::Class(vec![None, Some(0), None, Some(1)]);
    let found = denoised(&guided, &x, &level, &labels);
    let plain = denoised(&all, &x, &level, &Condition::None);
    for (i, pushed) in [false, true, false, true].into_iter().enumerate() {
        let moved = gap(&found[2 * i..2 * i + 2], &plain[2 * i..2 * i + 2]);
        assert_eq!(moved > 1e-9, pushed, "row {i} moved by {moved}");
    }
    // Without any condition there is nothing to extrapolate to.
    let found = denoised(&guided, &x, &level, &Condition::None);
    assert!(gap(&found, &plain) < 1e-12);
    // A label that the mixture does not have, a condition of the wrong length, a weight that is no number.
    let mean = |c| guided.denoise(x.clone().into(), &level.into(), &c);
    assert!(mean(Condition::class(7, 4)).is_err());
    assert!(mean(Condition::class(0, 3)).is_err());
    assert!(Guidance::new(&all, f64::NAN).is_err() && Guidance::new(&all, f64::INFINITY).is_err());
}

#[test]
fn the_tangent_is_guided_too() {
    let all = mixture(&components());
    let guided = Guidance::new(&all, 3.0).unwrap();
    let (level, condition) = (COSINE.level(0.5), Condition::class(1, 5));
    let (x, v) = (normals(5, 2, 1.0, 46), normals(5, 2, 1.0, 47));
    let dual = Dual::new(x.clone(), v.clone());
    let tangent = guided.denoise(dual, &level.into(), &condition).unwrap().tangent.unwrap();
    let h = 1e-5;
    let shifted = |s: f64| denoised(&guided, &(x.clone() + v.clone() * s), &level, &condition);
    let slope: Vec<f64> =
        shifted(h).iter().zip(shifted(-h)).map(|(a, b)| (a - b) / (2.0 * h)).collect();
    assert!(gap(&host(&tangent), &slope) < 1e-7);
}

/// With Gaussians N(0, c_k) strong and weak, the guided probability flow is linear and x ∝ v_s^{w/2} v_w^{(1−w)/2},
/// because ½ g²/v = ½ d ln v/dt − f and the shares w and 1 − w add to 1. With equal variances the means extrapolate
/// to m_w + w (m − m_w).
#[test]
fn guided_flows_of_gaussians_end_where_they_should() {
    let one = |mean: f64, variance: f64| {
        GaussianMixture::new(vec![Component::isotropic(1.0, vec![mean], variance)]).unwrap()
    };
    let solver = DormandPrince { tolerance: Tolerance { atol: 1e-11, rtol: 1e-11 } };
    let starts = [-2.0, -0.3, 0.7, 1.9];
    for schedule in [VP, COSINE] {
        let (first, last) = schedule.range();
        let (from, to) = (schedule.level(last), schedule.level(first));
        let noised = |l: &Level, c: f64| l.alpha.powi(2) * c + l.sigma.powi(2);
        for w in [0.5, 1.0, 1.5, 2.0] {
            let guided =
                Guidance::new(one(0.0, 0.4), w).unwrap().with_weak(Arc::new(one(0.0, 0.9)));
            let end = host(&run(&solver, &guided, &schedule, doubles(&starts, 1), &[from, to]));
            let strong = (noised(&to, 0.4) / noised(&from, 0.4)).powf(0.5 * w);
            let factor = strong * (noised(&to, 0.9) / noised(&from, 0.9)).powf(0.5 * (1.0 - w));
            let right = starts.map(|x| x * factor);
            assert!(gap(&end, &right) < 1e-9, "variances, w = {w}: {end:?}, {right:?}");
            let guided =
                Guidance::new(one(0.8, 0.5), w).unwrap().with_weak(Arc::new(one(-0.2, 0.5)));
            let end = host(&run(&solver, &guided, &schedule, doubles(&starts, 1), &[from, to]));
            let mean = -0.2 + w;
            let factor = (noised(&to, 0.5) / noised(&from, 0.5)).sqrt();
            let right = starts.map(|x| to.alpha * mean + (x - from.alpha * mean) * factor);
            assert!(gap(&end, &right) < 1e-9, "means, w = {w}: {end:?}, {right:?}");
        }
    }
}

#[test]
fn guided_samples_obey_their_labels() {
    let all = Arc::new(mixture(&components()));
    let labels = Condition::Class((0..400).map(|i| Some(i % 2)).collect());
    let class = |k: u32, x: &Tensor<2>| {
        let own: Vec<Component> = components().into_iter().filter(|c| c.class == Some(k)).collect();
        host(&mixture(&own).log_density(x.clone(), &Level::clean(0.0).into()).unwrap())
    };
    let rightly = |w: f64| {
        let guided = Arc::new(Guidance::new(all.clone(), w).unwrap());
        let sampler = Sampler::new(guided, Arc::new(COSINE));
        let x = sampler.generate(0..400, &labels, &Draws::new(48), &Device::flex()).unwrap();
        let (zero, one) = (class(0, &x), class(1, &x));
        (0..400).filter(|&i| (zero[i] > one[i]) == (i % 2 == 0)).count()
    };
    // With weight 0 the label does not matter: half of the rows fit theirs, 100 ± 10 more or less at 5 deviations.
    let counts = [0.0, 1.0, 2.5].map(rightly);
    assert!(counts[0].abs_diff(200) <= 50, "{counts:?}");
    assert!(counts[1] > 360 && counts[2] >= counts[1], "{counts:?}");
}
