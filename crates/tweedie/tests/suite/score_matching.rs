//! Explicit, implicit, sliced and finite-difference score matching, of score networks and of energies: closed forms,
//! the identities between them, gradients by the weights, variances, and the results of training.

use crate::double::along_parameters;
use crate::mixture_net::{LOG_SNR, MixtureNet, by_hand, mlp, oracle, still};
use crate::support::*;
use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};
use std::sync::Arc;
use tweedie::data::{Batch, Condition};
use tweedie::denoise::{Component, EnergyDenoiser, GaussianMixture, NeuralDenoiser, Prediction};
use tweedie::nn::{Network, ResidualMlp, ResidualMlpConfig};
use tweedie::objective::*;
use tweedie::process::{Level, LevelDistribution, NoiseLevels, Schedule};
use tweedie::tensor::{Dual, Probe};
use tweedie::train::{AdamW, AdamWConfig};
use tweedie::{Draws, Result};

/// The draws of every loss here.
fn draws() -> Draws {
    Draws::new(41)
}

/// Weight 1 in the model's own prediction, which is the score for the exact models.
fn plain() -> Noising {
    Noising::from(Arc::new(still())).with_weighting(Weighting::Own)
}

fn slices(law: Probe, variance_reduced: bool) -> Slices {
    Slices { law, variance_reduced, ..Slices::default() }
}

fn sliced(slices: Slices) -> SlicedScoreMatching {
    SlicedScoreMatching::new(plain(), slices)
}

fn batch(x: Tensor<2>) -> Batch {
    Batch { x, condition: Condition::None }
}

/// `n` rows of the oracle's data, unit-weighted draws.
fn data(n: usize, seed: u64) -> Batch {
    batch(oracle().sample(n, &Draws::new(seed), &cpu()))
}

/// x_t as every loss here draws it.
fn noised(batch: &Batch) -> Tensor<2> {
    let [n, width] = batch.x.dims();
    let Level { alpha, sigma, .. } = still().level(0.0);
    let noise = draws().purpose("noise").normals(0..n as u64, width).to_tensor(&cpu());
    batch.x.clone().mul_scalar(alpha) + noise.cast(DType::F64).mul_scalar(sigma)
}

fn values<M>(objective: &dyn Objective<M>, model: &M, batch: &Batch) -> Vec<f64> {
    host(&objective.loss(model, batch, &draws()).unwrap().value)
}

/// The objective of a score network and of an energy.
struct Both {
    of_score: Arc<dyn Objective<NeuralDenoiser<MixtureNet>>>,
    of_energy: Arc<dyn Objective<EnergyDenoiser<MixtureNet>>>,
}

impl Both {
    fn new<O>(objective: O) -> Self
    where
        O: Objective<NeuralDenoiser<MixtureNet>> + Objective<EnergyDenoiser<MixtureNet>>,
        O: Clone + 'static,
    {
        Self { of_score: Arc::new(objective.clone()), of_energy: Arc::new(objective) }
    }

    /// Its values on the exact models.
    fn values(&self, batch: &Batch) -> [(&'static str, Vec<f64>); 2] {
        [
            ("score network", values(&*self.of_score, &MixtureNet::score(), batch)),
            ("energy", values(&*self.of_energy, &MixtureNet::energy(), batch)),
        ]
    }
}

/// What a loss is in terms of a row's number, its true score and the Hessian of its log p.
type Term<'a> = &'a dyn Fn(usize, &[f64; 3], &[[f64; 3]; 3]) -> f64;

#[test]
fn losses_of_the_oracle_are_their_closed_forms() {
    let batch = data(300, 1);
    let points: Vec<f64> = host(&noised(&batch));
    let explicit = Both::new(ExplicitScoreMatching::new(plain(), Arc::new(oracle())));
    for (name, found) in explicit.values(&batch) {
        assert!(
            found.iter().all(|loss| *loss < 1e-20),
            "{name}: the Fisher divergence from itself"
        );
    }
    let rows: Vec<u64> = (0..300).collect();
    let vectors = |k, law: Probe| {
        let like = Tensor::<2>::zeros([300, 3], (&cpu(), DType::F64));
        host(&law.draw(&draws().purpose("slices").at(k), &rows, &like))
    };
    let expected = |term: Term| -> Vec<f64> {
        let row = |(i, x): (usize, &[f64])| {
            let (s, h) = by_hand(x);
            term(i, &s, &h)
        };
        points.chunks(3).enumerate().map(row).collect()
    };
    let half = |s: &[f64; 3]| 0.5 * s.iter().map(|s| s * s).sum::<f64>();
    let implicit = Both::new(ImplicitScoreMatching::new(plain()));
    let right = expected(&|_, s, h| half(s) + (0..3).map(|j| h[j][j]).sum::<f64>());
    for (name, found) in implicit.values(&batch) {
        all_close(format!("implicit, {name}"), &found, &right, 1e-10);
    }
    for law in [Probe::Rademacher, Probe::Gaussian] {
        for variance_reduced in [false, true] {
            let two = Slices { slices: 2, ..slices(law, variance_reduced) };
            let v = [vectors(0, law), vectors(1, law)];
            let right = expected(&|i, s, h| {
                let term = |v: &Vec<f64>| {
                    let v = &v[3 * i..3 * i + 3];
                    let along: f64 = (0..3).map(|j| v[j] * s[j]).sum();
                    let bend: f64 = (0..9).map(|k| v[k / 3] * h[k / 3][k % 3] * v[k % 3]).sum();
                    if variance_reduced { half(s) + bend } else { 0.5 * along * along + bend }
                };
                0.5 * (term(&v[0]) + term(&v[1]))
            });
            for (name, found) in Both::new(sliced(two)).values(&batch) {
                let what = format!("sliced by {law:?}, {variance_reduced}, {name}");
                all_close(what, &found, &right, 1e-10);
            }
        }
    }
    // By itself each is weighted by σ².
    let weighted = Both::new(ImplicitScoreMatching::new(Arc::new(still()))).values(&batch);
    let sigma = still().level(0.0).sigma;
    let right: Vec<f64> = implicit.values(&batch)[0].1.iter().map(|v| v * sigma * sigma).collect();
    for (name, found) in weighted {
        all_close(format!("weighted, {name}"), &found, &right, 1e-10);
    }
}

/// s = W x + b of a symmetric W, or the potential whose negative gradient it is.
#[derive(Module, Debug)]
struct LinearScore {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<2>>,
    #[module(skip)]
    energy: bool,
}

impl Network for LinearScore {
    fn forward(&self, x: Dual<2>, _: Dual<2>, _: &Condition) -> Result<Dual<2>> {
        let pulled = x.clone().matmul(self.weight.val().into());
        Ok(match self.energy {
            false => pulled + self.bias.val(),
            true => -(x.clone() * pulled).mul_scalar(0.5) - x * self.bias.val(),
        })
    }
    fn width(&self) -> usize {
        2
    }
}

/// O1: between Gaussians N(m, C) and N(μ, Σ) the Fisher divergence is tr(M C M) + ‖M m + c‖², M = Σ⁻¹ − C⁻¹ and
/// c = C⁻¹ m − Σ⁻¹ μ.
#[test]
fn the_explicit_loss_is_the_fisher_divergence_between_gaussians() {
    let (mean, variance) = ([0.6, -0.9], [0.5, 1.4]);
    let truth = Component::diagonal(1.0, mean.to_vec(), variance.to_vec());
    let truth = Arc::new(GaussianMixture::new(vec![truth]).unwrap());
    let Level { alpha, sigma, .. } = still().level(0.0);
    let m = mean.map(|m| alpha * m);
    let c = variance.map(|v| alpha * alpha * v + sigma * sigma);
    // Σ⁻¹ and Σ⁻¹ μ of the model.
    let (precision, pull) = ([[1.5, -0.4], [-0.4, 0.8]], [0.3, 0.7]);
    let big: [[f64; 2]; 2] = std::array::from_fn(|i| {
        std::array::from_fn(|j| precision[i][j] - if i == j { 1.0 / c[i] } else { 0.0 })
    });
    let shift: [f64; 2] = std::array::from_fn(|i| m[i] / c[i] - pull[i]);
    let error = |x: &[f64]| -> [f64; 2] {
        std::array::from_fn(|i| (0..2).map(|j| big[i][j] * x[j]).sum::<f64>() + shift[i])
    };
    let square = |x: &[f64]| error(x).iter().map(|e| e * e).sum::<f64>();
    let trace: f64 = (0..4).map(|k| big[k / 2][k % 2].powi(2) * c[k % 2]).sum();
    let fisher = trace + square(&m);

    let n = 40_000;
    let batch = batch(truth.sample(n, &Draws::new(2), &cpu()));
    let points = host(&noised(&batch));
    let objective = ExplicitScoreMatching::new(plain(), truth);
    let network = |energy| LinearScore {
        weight: Param::from_tensor(doubles(&precision.concat(), 2).neg()),
        bias: Param::from_tensor(doubles(&pull, 2)),
        energy,
    };
    let model = |energy| NeuralDenoiser::new(network(energy), Prediction::Score, still());
    let of_score = values(&objective, &model(false), &batch);
    let of_energy = values(&objective, &EnergyDenoiser::new(model(true)), &batch);
    let right: Vec<f64> = points.chunks(2).map(square).collect();
    for (name, found) in [("score network", of_score), ("energy", of_energy)] {
        all_close(format!("rows, {name}"), &found, &right, 1e-10);
        let (mean, spread) = moments(&found);
        within(format!("mean, {name}"), mean, fisher, SIX_SIGMA * (spread / n as f64).sqrt());
        assert!(fisher > 50.0 * (spread / n as f64).sqrt());
    }
}

/// O2: the explicit loss is twice the implicit one plus ‖s*‖² on average, whatever the model; I(5.4) is printed without
/// the 2 and the constant.
#[test]
fn implicit_and_explicit_score_matching_are_one() {
    let n = 30_000;
    let batch = data(n, 4);
    let truth = host(&oracle().score(noised(&batch), &still().level(0.0).into()).unwrap());
    // Unit weight is here in EDM's F.
    let level = still().level(0.0);
    let weight = Weighting::Own.on_score(Prediction::Edm, &level, &still(), 1.0).unwrap();
    let square = |s: &[f64]| weight * s.iter().map(|s| s * s).sum::<f64>();
    let constant: Vec<f64> = truth.chunks(3).map(square).collect();
    let explicit = ExplicitScoreMatching::new(plain(), Arc::new(oracle()));
    let implicit = ImplicitScoreMatching::new(plain());
    let score = mlp();
    let energy = EnergyDenoiser::new(mlp());
    let pairs = [
        ("score network", values(&explicit, &score, &batch), values(&implicit, &score, &batch)),
        ("energy", values(&explicit, &energy, &batch), values(&implicit, &energy, &batch)),
    ];
    for (name, explicit, implicit) in pairs {
        let gap: Vec<f64> = (0..n).map(|i| explicit[i] - 2.0 * implicit[i] - constant[i]).collect();
        let (mean, variance) = moments(&gap);
        let error = (variance / n as f64).sqrt();
        let divergence = moments(&explicit).0;
        within(name, mean, 0.0, SIX_SIGMA * error);
        assert!(divergence > 10.0 * error, "{name}: {divergence} ± {error}");
    }
}

/// O3: sliced losses have the implicit one as mean; random signs have less variance than normal numbers, and the
/// variance-reduced form less than the plain one.
#[test]
fn sliced_score_matching_is_unbiased_and_random_signs_have_less_variance() {
    let n = 20_000;
    let batch = data(n, 5);
    let implicit = ImplicitScoreMatching::new(plain());
    let (score, energy) = (mlp(), EnergyDenoiser::new(mlp()));
    let exact = [values(&implicit, &score, &batch), values(&implicit, &energy, &batch)];
    for (k, name) in ["score network", "energy"].into_iter().enumerate() {
        // The variance over v of the difference from the implicit loss.
        let spread = |law, variance_reduced| {
            let objective = sliced(slices(law, variance_reduced));
            let found = match k {
                0 => values(&objective, &score, &batch),
                _ => values(&objective, &energy, &batch),
            };
            let errors: Vec<f64> = found.iter().zip(&exact[k]).map(|(a, b)| a - b).collect();
            let (bias, variance) = moments(&errors);
            let what = format!("{name}, {law:?}, variance-reduced: {variance_reduced}");
            within(&what, bias, 0.0, SIX_SIGMA * (variance / n as f64).sqrt());
            variance
        };
        let [signs, signs_reduced] = [false, true].map(|vr| spread(Probe::Rademacher, vr));
        let [normal, normal_reduced] = [false, true].map(|vr| spread(Probe::Gaussian, vr));
        // Measured ratios are far below these.
        assert!(signs < 0.7 * normal && signs_reduced < 0.7 * normal_reduced, "{name}");
        assert!(signs_reduced < 0.7 * signs && normal_reduced < 0.9 * normal, "{name}");
    }
}

/// Pang et al. 2020: central differences leave an error of second order in the step.
#[test]
fn finite_differences_tend_to_the_slices_with_order_2() {
    let batch = data(200, 6);
    let (score, energy) = (mlp(), EnergyDenoiser::new(mlp()));
    for variance_reduced in [false, true] {
        let at = |step| {
            let options = Slices { step, ..slices(Probe::Gaussian, variance_reduced) };
            let objective = sliced(options);
            [values(&objective, &score, &batch), values(&objective, &energy, &batch)]
        };
        let exact = at(None);
        let steps = [0.08, 0.04, 0.02].map(|step| at(Some(step)));
        for (k, name) in ["score network", "energy"].into_iter().enumerate() {
            let error = |found: &[Vec<f64>; 2]| {
                let errors = found[k].iter().zip(&exact[k]).map(|(a, b)| (a - b).powi(2));
                (errors.sum::<f64>() / 200.0).sqrt()
            };
            let errors = steps.each_ref().map(error);
            for pair in errors.windows(2) {
                let order = (pair[0] / pair[1]).log2();
                within(format!("order, {name}, {variance_reduced}"), order, 2.0, 0.1);
            }
            assert!(errors[2] > 1e-8, "{name}: {errors:?}");
        }
    }
}

/// Gradients of every surrogate against differences of the value in a direction of all weights.
#[test]
fn surrogates_have_the_gradients_of_their_values() {
    let batch = data(40, 7);
    fn check<O>(name: &str, objective: O, batch: &Batch)
    where
        O: Objective<NeuralDenoiser<ResidualMlp>> + Objective<EnergyDenoiser<ResidualMlp>>,
    {
        let model = mlp();
        let loss = |network: &ResidualMlp, energy: bool| {
            let model = model.with_network(network.clone());
            match energy {
                false => objective.loss(&model, batch, &draws()).unwrap(),
                true => objective.loss(&EnergyDenoiser::new(model), batch, &draws()).unwrap(),
            }
        };
        for energy in [false, true] {
            let (reverse, difference) = along_parameters(
                &model.network,
                |network| loss(network, energy).surrogate.mean(),
                |network| host(&loss(network, energy).value.mean())[0],
            );
            assert!(difference.abs() > 1e-2, "{name}: nothing to compare");
            close(format!("{name}, energy: {energy}"), reverse, difference, 1e-7);
        }
    }
    let schedule = || Arc::new(still());
    check("denoising", DenoisingScoreMatching::new(schedule()), &batch);
    let explicit = ExplicitScoreMatching::new(schedule(), Arc::new(oracle()));
    check("explicit", explicit, &batch);
    check("implicit", ImplicitScoreMatching::new(schedule()), &batch);
    for (name, options) in [
        ("sliced", slices(Probe::Rademacher, false)),
        ("sliced, reduced", slices(Probe::Gaussian, true)),
        ("differences", Slices { step: Some(0.2), ..slices(Probe::Rademacher, false) }),
        ("differences, reduced", Slices { step: Some(0.2), ..slices(Probe::Gaussian, true) }),
    ] {
        check(name, SlicedScoreMatching::new(schedule(), options), &batch);
    }
}

/// The share of E‖s*‖² that a model's Fisher divergence from the oracle is, after training a small network in single
/// precision on fresh data.
fn trained<M: ScoreModel>(
    objective: &dyn Objective<M>,
    model: impl Fn(NeuralDenoiser<ResidualMlp>) -> M,
) -> f64 {
    let network = ResidualMlpConfig::new(3).with_hidden(48).with_blocks(1);
    let mut network = network.init(&Draws::new(8), &cpu()).train();
    let denoiser = |network| NeuralDenoiser::new(network, Prediction::Edm, still());
    let mut adamw = AdamW::new(AdamWConfig::default());
    let steps = 500;
    let all = oracle().sample(steps * 256, &Draws::new(9), &cpu()).cast(DType::F32).autodiff();
    for step in 0..steps {
        let batch = batch(all.clone().narrow(0, step * 256, 256));
        let own = model(denoiser(network.clone()));
        let loss = objective.loss(&own, &batch, &Draws::new(10).at(step as u64)).unwrap();
        let gradients = AdamW::gradients(&network, &loss.surrogate.mean().backward());
        let rate = 4e-3 * (1.0 - step as f64 / steps as f64);
        network = adamw.step(network, &gradients, 1.0, rate, None).unwrap().0;
    }
    let judge = data(4000, 11);
    let explicit =
        ExplicitScoreMatching::new(plain().with_weighting(Weighting::Noise), Arc::new(oracle()));
    let single = Batch { x: judge.x.clone().cast(DType::F32), ..judge.clone() };
    let own = model(denoiser(network.valid()));
    let found = moments(&values(&explicit as &dyn Objective<M>, &own, &single)).0;
    let truth = host(&oracle().score(noised(&judge), &still().level(0.0).into()).unwrap());
    let sigma = still().level(0.0).sigma;
    found / (sigma * sigma * truth.iter().map(|s| s * s).sum::<f64>() / 4000.0)
}

#[test]
fn training_recovers_the_oracle_s_score() {
    let noising = || Noising::from(Arc::new(still()));
    let implicit = ImplicitScoreMatching::new(noising());
    let reduced = SlicedScoreMatching::new(noising(), slices(Probe::Rademacher, true));
    let differences = Slices { step: Some(0.1), ..slices(Probe::Rademacher, false) };
    let differences = SlicedScoreMatching::new(noising(), differences);
    let denoising = DenoisingScoreMatching::new(noising());
    let explicit = ExplicitScoreMatching::new(noising(), Arc::new(oracle()));
    let energy = EnergyDenoiser::new;
    // Untrained, the model is the Gaussian of the data's scale.
    for (name, share, most) in [
        ("explicit", trained(&explicit, |m| m), 0.01),
        ("implicit", trained(&implicit, |m| m), 0.03),
        ("sliced", trained(&reduced, |m| m), 0.03),
        ("energy by denoising", trained(&denoising, energy), 0.03),
        ("energy, implicit", trained(&implicit, energy), 0.03),
        ("energy by differences", trained(&differences, energy), 0.05),
    ] {
        assert!(share < most, "{name}: {share}");
    }
}

#[test]
fn one_level_may_be_trained_alone() {
    let schedule = schedule("vp-linear");
    let distribution = LevelDistribution::Fixed { log_snr: LOG_SNR };
    let levels = NoiseLevels { distribution, ..NoiseLevels::default() };
    for t in levels.times(5, &schedule, &draws()).unwrap() {
        close("λ", schedule.level(t).lambda, LOG_SNR, 1e-9);
    }
    let far = LevelDistribution::Fixed { log_snr: f64::NAN };
    assert!(NoiseLevels { distribution: far, ..levels }.check(&schedule).is_err());
}
