//! Energies as denoisers.

use crate::mixture_net::{mlp, still};
use crate::oracle::{VP, normals};
use crate::support::*;
use burn::tensor::Tensor;
use std::sync::Arc;
use tweedie::Draws;
use tweedie::data::{Condition, Generate};
use tweedie::denoise::{Denoiser, Diffusing, EnergyDenoiser, NeuralDenoiser, Prediction};
use tweedie::density::{Density, PfOde};
use tweedie::nn::ResidualMlpConfig;
use tweedie::process::{Level, Schedule};
use tweedie::solve::Sampler;
use tweedie::tensor::Dual;

/// An energy is a denoiser like a network: its prediction is −∇U, its Jacobian is symmetric, and its derivatives along
/// paths are those of what it denoises.
#[test]
fn an_energy_denoises_by_its_gradient() {
    let model = EnergyDenoiser::new(mlp());
    let level = still().level(0.0);
    let none = Condition::None;
    let [x, v, w] = [12, 13, 14].map(|seed| normals(6, 3, 1.0, seed));
    let denoise = |x| model.denoise(x, &level.into(), &none).unwrap();
    let energy = |x: Tensor<2>| host(&model.energy(x.into(), &level.into(), &none).unwrap().value);
    let found = host(&denoise(x.clone().into()).value);
    // α x̂ = x − σ² ∇E.
    let values = host(&x);
    for (k, found) in found.iter().enumerate() {
        let at = |h: f64| {
            let mut moved = values.clone();
            moved[k] += h;
            energy(doubles(&moved, 3))[k / 3]
        };
        let slope = difference(at, 0.0, 1e-2);
        close("mean", level.alpha * found, values[k] - level.sigma.powi(2) * slope, 1e-7);
    }
    let line = denoise(Dual::line(x.clone(), v.clone()));
    let [first, second] = [line.tangent, line.second].map(|part| host(&part.unwrap()));
    let at = |k: usize, h: f64| {
        let out = denoise(Dual::new(x.clone() + v.clone().mul_scalar(h), v.clone()));
        (host(&out.value)[k], host(&out.tangent.unwrap())[k])
    };
    for k in 0..18 {
        let scale = 1e-7 * first.iter().chain(&second).fold(1.0f64, |m, d| m.max(d.abs()));
        within("tangent", first[k], difference(|h| at(k, h).0, 0.0, 5e-3), scale);
        within("second", second[k], difference(|h| at(k, h).1, 0.0, 5e-3), scale);
    }
    let product = |a: &Tensor<2>, b: &Tensor<2>| {
        let push = denoise(Dual::new(x.clone(), a.clone())).tangent.unwrap();
        host(&(push * b.clone()).sum_dim(1))
    };
    all_close("symmetry", &product(&v, &w), &product(&w, &v), 1e-10);
}

/// An untrained energy is N(0, σ_d² I): its samples and its log p, by the solvers that all denoisers share.
#[test]
fn an_energy_has_samples_and_densities_like_any_denoiser() {
    let sigma_data = 0.7;
    let network = ResidualMlpConfig::new(2).with_hidden(8).init(&Draws::new(0), &cpu());
    let model = NeuralDenoiser::new(network, Prediction::Edm, VP).with_sigma_data(sigma_data);
    let model: Arc<dyn Denoiser> = Arc::new(EnergyDenoiser::new(model));
    let x = [-1.0, 0.3, 0.0, 2.0, 0.5, 0.5];
    let model = Diffusing::new(model, Arc::new(VP)).with_sigma_data(sigma_data);
    let density = PfOde::from(model.clone());
    let found = density.log_prob(doubles(&x, 2), &Condition::None).unwrap();
    let Level { alpha, sigma, .. } = VP.level(VP.range().0);
    let variance = (alpha * sigma_data).powi(2) + sigma * sigma;
    for (found, x) in found.value.iter().zip(x.chunks(2)) {
        let square = x.iter().map(|x| x * x).sum::<f64>();
        let right = -0.5 * square / variance - (std::f64::consts::TAU * variance).ln();
        within("log p", *found, right, 1e-4);
    }
    let sampler = Sampler::from(model);
    let n = 20_000;
    let sample =
        sampler.generate(0..n, &Condition::None, &Draws::new(1), &cpu()).expect("a sample");
    let (mean, variance) = moments(&host(&sample));
    let each = 1.0 / (2.0 * n as f64);
    within("mean", mean, 0.0, SIX_SIGMA * sigma_data * each.sqrt());
    // The variance of a sample's variance is 2 σ⁴/n; 32 steps of the solver leave up to a percent.
    let right = sigma_data * sigma_data;
    within("variance", variance, right, (0.01 + SIX_SIGMA * (2.0 * each).sqrt()) * right);
}
