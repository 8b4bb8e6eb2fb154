//! log p by the probability-flow ODE against exact densities, in every unit and measure.

use crate::oracle::{COSINE, EDM, VP, eight_gaussians, gap};
use crate::support::{doubles, host, moments, simpson};
use std::sync::Arc;
use tweedie::burn::tensor::{Device, Tensor};
use tweedie::data::{self, Condition, Rows, Space, Toy};
use tweedie::denoise::{Component, Denoiser, Diffusing, GaussianMixture};
use tweedie::density::{Density, InSpace, Kind, LogProb, Measure, PfOde, RawDensity, Uniform};
use tweedie::process::{AnySchedule, Chain, ChainConfig, Level, Schedule};
use tweedie::solve::Tolerance;
use tweedie::tensor::{Divergence, mean_and_error};
use tweedie::{Draws, Error};

const FINE: Tolerance = Tolerance { atol: 1e-7, rtol: 1e-7 };

/// Two components on the line, mean 0 and variance 1.
fn line() -> GaussianMixture {
    let component = |w, m, v| Component::isotropic(w, vec![m], v);
    GaussianMixture::new(vec![
        component(0.4, 0.9, 0.12),
        component(0.6, -0.6, 0.68 / 0.6 - 0.08 - 0.54),
    ])
    .unwrap()
}

/// Two components in five dimensions with correlations, each coordinate of mean 0 and variance 1.
fn five_dimensions() -> GaussianMixture {
    let entry = |i: usize, j: usize| 0.8 * (-0.5f64).powi((i as i32 - j as i32).abs());
    let covariance: Vec<f64> = (0..25).map(|k| entry(k / 5, k % 5)).collect();
    let side = 0.2f64.sqrt();
    let mean = |sign: f64| [1.0, -1.0, 1.0, 1.0, -1.0].map(|m| sign * side * m).to_vec();
    let full = |sign| Component::full(0.5, mean(sign), &covariance).unwrap();
    GaussianMixture::new(vec![full(1.0), full(-1.0)]).unwrap()
}

fn flow(mixture: GaussianMixture, schedule: AnySchedule) -> PfOde {
    PfOde::new(Arc::new(mixture), Arc::new(schedule)).with_tolerance(FINE)
}

fn sample(mixture: &GaussianMixture, n: usize, seed: u64) -> Tensor<2> {
    mixture.sample(n, &Draws::new(seed), &Device::flex())
}

#[test]
fn exact_denoisers_give_exact_densities() {
    for (name, mixture) in
        [("line", line as fn() -> _), ("eight", eight_gaussians), ("five", five_dimensions)]
    {
        for schedule in [VP, COSINE, EDM] {
            let data = mixture();
            let x = sample(&data, 64, 51);
            let found =
                flow(mixture(), schedule.clone()).log_prob(x.clone(), &Condition::None).unwrap();
            assert_eq!((found.kind, found.measure), (Kind::Exact, Measure::Standardised));
            let at = |l: Level| host(&data.log_density(x.clone(), &l.into()).unwrap());
            let first = at(schedule.level(schedule.range().0));
            let clean = at(Level::clean(0.0));
            let place = format!("{name}, {schedule:?}");
            // The flow's own density is that of slightly noised data, but for the prior's mismatch.
            assert!(gap(&found.value, &first) < 6e-4, "{place}: {:e}", gap(&found.value, &first));
            assert!(gap(&found.value, &clean) < 1e-3, "{place}: {:e}", gap(&found.value, &clean));
            let differences: Vec<f64> =
                found.value.iter().zip(&clean).map(|(a, b)| a - b).collect();
            let (mean, _) = mean_and_error(&differences);
            assert!(mean.abs() < 5e-5, "{place}: {mean:e}");
        }
    }
}

/// One Gaussian N(m, c) ends at the exact N(α m, α² c + σ²) while the flow assumes the prior N(0, s²), s² = α² σ_data²
/// + σ²; so what the flow gives is known whatever the mismatch.
#[test]
fn the_density_of_a_gaussian_has_the_documented_prior() {
    let (mean, variance) = (0.7, 0.3);
    let normal =
        |x: f64, m: f64, v: f64| -0.5 * ((x - m).powi(2) / v + (std::f64::consts::TAU * v).ln());
    let x = [-1.5, -0.2, 0.7, 1.1, 3.0];
    let config = ChainConfig { steps: Some(50), zero_terminal_snr: true, ..ChainConfig::default() };
    let zero = AnySchedule::Chain(Chain::new(config).unwrap());
    for schedule in [VP, COSINE, EDM, crate::support::schedule("chain"), zero] {
        for sigma_data in [0.4, 1.0, 3.0] {
            let data = crate::oracle::gaussian(mean, variance);
            let model = Diffusing::new(Arc::new(data), Arc::new(schedule.clone()));
            let density = PfOde::from(model.with_sigma_data(sigma_data)).with_tolerance(FINE);
            let found = density.log_prob(doubles(&x, 1), &Condition::None).unwrap();
            let (first, last) = schedule.range();
            let moments = |l: Level| (l.alpha * mean, l.alpha.powi(2) * variance + l.sigma.powi(2));
            let (m0, v0) = moments(schedule.level(first));
            // Pure noise is left out from where single precision cannot tell.
            let end =
                schedule.level(schedule.time(schedule.level(last).lambda.max(-24.0 * 2f64.ln())));
            let (m1, v1) = moments(end);
            let prior = (end.alpha * sigma_data).powi(2) + end.sigma.powi(2);
            let right = x.map(|x| {
                let y = m1 + (x - m0) * (v1 / v0).sqrt();
                normal(x, m0, v0) + normal(y, 0.0, prior) - normal(y, m1, v1)
            });
            let error = gap(&found.value, &right);
            assert!(error < 1e-5, "{schedule:?}, σ_data = {sigma_data}: {error:e}");
        }
    }
}

#[test]
fn hutchinson_is_unbiased_and_its_standard_error_honest() {
    let (n, probes) = (1000, 8);
    let x = sample(&five_dimensions(), n, 52);
    let density = flow(five_dimensions(), COSINE).with_tolerance(Tolerance::default());
    let exact = density.log_prob(x.clone(), &Condition::None).unwrap();
    assert_eq!((exact.kind, exact.standard_error.is_none()), (Kind::Exact, true));
    let density = density.with_divergence(Divergence::hutchinson(probes), Draws::new(53));
    let found = density.log_prob(x.clone(), &Condition::None).unwrap();
    assert_eq!((found.kind, found.measure), (Kind::Estimate, exact.measure));
    let reported = found.standard_error.unwrap();
    let errors: Vec<f64> = found.value.iter().zip(&exact.value).map(|(a, b)| a - b).collect();
    // Rows have probes of their own, so their errors are independent; 5 standard errors: 6e-7.
    let (bias, error) = mean_and_error(&errors);
    assert!(bias.abs() < 5.0 * error, "{bias} ± {error}");
    let square = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>() / v.len() as f64;
    let ratio = (square(&errors) / square(&reported)).sqrt();
    // A thousand nearly normal errors give the ratio to 3%.
    assert!((0.85..1.18).contains(&ratio), "spread over reported: {ratio}");
    assert!(square(&reported).sqrt() > 0.1, "nothing was estimated");
    // A row's probes are its own in any batch.
    let part = density.log_prob(x.narrow(0, 400, 7), &Condition::None).unwrap();
    assert!(gap(&part.value, &found.value[400..407]) < 1e-9);
}

#[test]
fn one_probe_has_no_standard_error_and_none_is_an_error() {
    let x = sample(&eight_gaussians(), 3, 54);
    let with = |probes| {
        let density = flow(eight_gaussians(), COSINE);
        density.with_divergence(Divergence::hutchinson(probes), Draws::new(55))
    };
    let one = with(1).log_prob(x.clone(), &Condition::None).unwrap();
    assert_eq!((one.kind, one.standard_error), (Kind::Estimate, None));
    assert!(matches!(with(0).log_prob(x, &Condition::None), Err(Error::Config { .. })));
    // On the line a sign squared is 1: every probe is exact.
    let x = sample(&line(), 8, 56);
    let exact = flow(line(), COSINE).log_prob(x.clone(), &Condition::None).unwrap();
    let probed = flow(line(), COSINE)
        .with_divergence(Divergence::hutchinson(2), Draws::new(55))
        .log_prob(x, &Condition::None)
        .unwrap();
    // Steps are chosen on x and all its traces, so they differ a little.
    assert!(gap(&probed.value, &exact.value) < 1e-5);
    assert!(probed.standard_error.unwrap().iter().all(|e| *e < 1e-9));
}

#[test]
fn conditions_choose_the_density() {
    let data = eight_gaussians();
    let x = sample(&data, 6, 57);
    let labels = [Some(0), Some(3), None, Some(7), None, Some(1)];
    let found = flow(eight_gaussians(), COSINE)
        .log_prob(x.clone(), &Condition::Class(labels.to_vec()))
        .unwrap();
    for (i, label) in labels.into_iter().enumerate() {
        let own = match label {
            None => eight_gaussians(),
            Some(k) => GaussianMixture::new(vec![data.components()[k as usize].clone()]).unwrap(),
        };
        let row = x.clone().narrow(0, i, 1);
        let alone = flow(own, COSINE).log_prob(row, &Condition::None).unwrap().value[0];
        // Rows far from their class have values near −150.
        let tolerance = 1e-6 * (1.0 + alone.abs());
        assert!(
            (found.value[i] - alone).abs() < tolerance,
            "{label:?}: {}, {alone}",
            found.value[i]
        );
    }
    let spread = found.value.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    assert!(spread > 10.0, "the labels made no difference");
}

#[test]
fn a_batch_that_does_not_fit_is_an_error() {
    let density = flow(eight_gaussians(), COSINE);
    let shape = |found: tweedie::Result<LogProb>| matches!(found, Err(Error::Shape { .. }));
    assert!(shape(density.log_prob(doubles(&[1.0, 2.0, 3.0], 3), &Condition::None)));
    assert!(shape(density.log_prob(doubles(&[], 2), &Condition::None)));
    assert!(shape(density.log_prob(doubles(&[1.0, 2.0], 2), &Condition::class(0, 2))));
    let nan = density.log_prob(doubles(&[f64::NAN, 2.0], 2), &Condition::None);
    assert!(matches!(nan, Err(Error::Diverged { .. })), "{nan:?}");
}

/// A mixture on the raw line in the model units of `space`, one real or quantised column.
fn in_model_units(parts: &[(f64, f64, f64)], space: &Space) -> (GaussianMixture, f64) {
    let c = space.coordinate(0);
    let scaled = |&(w, m, sd): &(f64, f64, f64)| {
        Component::isotropic(w, vec![(m - c.shift) / c.scale], (sd / c.scale).powi(2))
    };
    let mixture = GaussianMixture::new(parts.iter().map(scaled).collect()).unwrap();
    let square = |p: &Component| p.weight * p.mean[0].powi(2);
    let within = parts.iter().map(|p| p.0 * (p.2 / c.scale).powi(2)).sum::<f64>();
    let sigma_data = (within + mixture.components().iter().map(square).sum::<f64>()).sqrt();
    (mixture, sigma_data)
}

fn normal(x: f64, mean: f64, sd: f64) -> f64 {
    (-0.5 * ((x - mean) / sd).powi(2)).exp() / (sd * std::f64::consts::TAU.sqrt())
}

#[test]
fn integers_are_bounded_from_below_within_the_jensen_gap() {
    // Integers 0 to 15, mean 8: two Gaussians cut into bins of length 1.
    let parts = [(0.5, 5.0, 0.7), (0.5, 11.0, 1.1)];
    let density = |x: f64| parts.iter().map(|(w, m, sd)| w * normal(x, *m, *sd)).sum::<f64>();
    let bins: Vec<f64> = (0..16).map(|k| simpson(k as f64, k as f64 + 1.0, 64, density)).collect();
    assert!((bins.iter().sum::<f64>() - 1.0).abs() < 1e-5);
    let of_bin = |k: usize| simpson(k as f64, k as f64 + 1.0, 64, |x| density(x).ln());
    let entropy = -bins.iter().map(|p| p * p.ln()).sum::<f64>();
    let bound = -bins.iter().enumerate().map(|(k, p)| p * of_bin(k)).sum::<f64>();

    let space = Space::image(1, 1, 1, 16).unwrap();
    let (mixture, sigma_data) = in_model_units(&parts, &space);
    let model = Diffusing::new(Arc::new(mixture), Arc::new(COSINE)).with_sigma_data(sigma_data);
    let flow = PfOde::from(model);
    let each = 1000;
    let raw: Vec<f32> = (0..16 * each).map(|i| (i / each) as f32).collect();
    let raw = Rows::new(raw, 1).unwrap();
    let device = Device::flex();
    let mut heard = Vec::new();
    let raw_density = InSpace {
        density: &flow,
        space: &space,
        dequantise: &Uniform,
        draws: Draws::new(58),
        device: &device,
        chunk: 6000,
    };
    let found = raw_density.log_prob(&raw, &Condition::None, &mut |n| heard.push(n)).unwrap();
    assert_eq!(heard, [6000, 12000, 16000]);
    assert_eq!((found.kind, found.measure), (Kind::LowerBound, Measure::Counting));
    let (mut mean, mut square) = (0.0, 0.0);
    for (p, own) in bins.iter().zip(found.value.chunks(each)) {
        let (m, v) = moments(own);
        mean -= p * m;
        square += p * p * v / each as f64;
    }
    let error = square.sqrt();
    assert!((mean - bound).abs() < 5.0 * error + 1e-3, "{mean} ± {error}, {bound}");
    // The bound lies above the entropy by the Jensen gap, which the estimate resolves.
    assert!(bound - entropy > 0.05 && mean - entropy > 8.0 * error, "{mean} ± {error}, {entropy}");
    let bits = space.bits_per_dimension(-mean).unwrap();
    assert!((bits - mean / std::f64::consts::LN_2).abs() < 1e-12);
}

#[test]
fn raw_densities_are_shifted_by_the_volume_of_the_units() {
    // The eight Gaussians in their own units against the toy's own density.
    let raw = Toy::EightGaussians.sample(96, 59);
    let space = Space::standardised(&["x", "y"], &Toy::EightGaussians.sample(20_000, 60)).unwrap();
    let (centres, variance) = data::eight_gaussians();
    let scaled = |m: [f64; 2]| {
        let c = [space.coordinate(0), space.coordinate(1)];
        let mean = (0..2).map(|j| (m[j] - c[j].shift) / c[j].scale).collect();
        Component::diagonal(1.0, mean, c.map(|c| variance / c.scale.powi(2)).to_vec())
    };
    let mixture = GaussianMixture::new(centres.map(scaled).to_vec()).unwrap();
    let flow = PfOde::new(Arc::new(mixture), Arc::new(COSINE));
    let device = Device::flex();
    let log_p = |chunk: usize, raw: &Rows| {
        let density = InSpace {
            density: &flow,
            space: &space,
            dequantise: &Uniform,
            draws: Draws::new(61),
            device: &device,
            chunk,
        };
        density.log_prob(raw, &Condition::None, &mut |_| {})
    };
    let found = log_p(40, &raw).unwrap();
    assert_eq!((found.kind, found.measure), (Kind::Exact, Measure::Raw));
    let right: Vec<f64> = raw
        .iter()
        .map(|x| Toy::EightGaussians.log_density([f64::from(x[0]), f64::from(x[1])]))
        .collect();
    let differences: Vec<f64> = found.value.iter().zip(&right).map(|(a, b)| a - b).collect();
    let (mean, _) = mean_and_error(&differences);
    assert!(
        gap(&found.value, &right) < 2e-3 && mean.abs() < 2e-4,
        "{:e}",
        gap(&found.value, &right)
    );
    // In model units the same rows have densities larger by the volume of a model unit.
    let model = space.encode(&raw).unwrap().to_tensor(&device);
    let model = flow.log_prob(model, &Condition::None).unwrap();
    assert_eq!(model.measure, Measure::Standardised);
    let shifted: Vec<f64> = model.value.iter().map(|v| v - space.log_volume()).collect();
    assert!(gap(&shifted, &found.value) < 1e-4 && space.log_volume() > 2.0);
    // In chunks or all at once; no row is an error.
    assert!(gap(&log_p(1000, &raw).unwrap().value, &found.value) < 1e-4);
    assert!(matches!(log_p(8, &raw.slice(0..0)), Err(Error::Shape { .. })));
}

#[test]
fn measures_are_never_mixed() {
    let of = |value: &[f64], measure| LogProb {
        value: value.to_vec(),
        kind: Kind::Exact,
        standard_error: None,
        measure,
    };
    let a = of(&[-1.0, -2.0, -4.0], Measure::Raw);
    let b = of(&[-1.5, -2.0, -3.0], Measure::Raw);
    // Paired differences 0.5, 0, −1: mean −1/6, variance 7/12.
    let (mean, error) = a.mean_difference(&b).unwrap();
    assert!((mean + 1.0 / 6.0).abs() < 1e-12 && (error - (7.0f64 / 36.0).sqrt()).abs() < 1e-12);
    for other in [Measure::Counting, Measure::Standardised] {
        let c = of(&b.value, other);
        assert!(matches!(a.mean_difference(&c), Err(Error::Config { .. })));
        assert!(matches!(c.mean_difference(&a), Err(Error::Config { .. })));
        assert!(a.mean_difference(&c.in_units_of(&[1.0; 3], Measure::Raw)).is_ok());
    }
    assert!(matches!(a.mean_difference(&of(&[0.0], Measure::Raw)), Err(Error::Shape { .. })));
}

#[test]
fn a_row_s_density_does_not_depend_on_its_batch() {
    // A row's value does not depend on the batch; the whole batch costs what its rows cost.
    let data = Arc::new(eight_gaussians());
    let x = sample(&data, 10, 62);
    let flow = PfOde::new(data.clone(), Arc::new(COSINE)).with_tolerance(FINE);
    let together = flow.log_prob(x.clone(), &Condition::None).unwrap();
    let cost = data.evaluations();
    for i in 0..10 {
        let alone = flow.log_prob(x.clone().narrow(0, i, 1), &Condition::None).unwrap();
        assert!((alone.value[0] - together.value[i]).abs() < 1e-10, "row {i}");
    }
    assert_eq!(data.evaluations(), 2 * cost);
}

/// Nothing mixes two kinds or two measures; errors that only some rows have are not passed off as all rows'.
#[test]
fn only_densities_of_one_kind_and_measure_are_joined() {
    let of = |value: &[f64], standard_error: Option<Vec<f64>>| LogProb {
        value: value.to_vec(),
        kind: Kind::LowerBound,
        standard_error,
        measure: Measure::Counting,
    };
    let (with, without) = (of(&[-1.0], Some(vec![0.1])), of(&[-2.0, -3.0], None));
    let both = with.clone().followed_by(of(&[-2.0, -3.0], Some(vec![0.2, 0.3]))).unwrap();
    assert_eq!(both, of(&[-1.0, -2.0, -3.0], Some(vec![0.1, 0.2, 0.3])));
    for (first, second) in [(&with, &without), (&without, &with)] {
        let joined = first.clone().followed_by(second.clone()).unwrap();
        assert_eq!((joined.value.len(), &joined.standard_error), (3, &None));
    }
    let other = LogProb { kind: Kind::Estimate, ..with.clone() };
    let error = with.clone().followed_by(other).unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error}");
    let other = LogProb { measure: Measure::Raw, ..with.clone() };
    assert!(with.followed_by(other).unwrap_err().to_string().contains("Counting"));
}
