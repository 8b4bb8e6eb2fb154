//! Boltzmann machines against sums over all states of all their units, by loops on the host.

use crate::double::{along_parameters, moved};
use crate::support::{close, cpu, doubles, host, simpson, singles, within};
use burn::module::Module;
use burn::tensor::{DType, Tensor, TensorData};
use std::collections::BTreeMap;
use std::f64::consts::LN_2;
use std::path::Path;
use tweedie::data::{Condition, Coordinate, Kind, Layout, LogDensity, Space};
use tweedie::divergence::Weights;
use tweedie::mcmc::{Annealing, AnnealingPath, Gibbs, Mala, Transition};
use tweedie::nn::energy::{
    AnyEnergy, BoltzmannConfig, Energy, EnergyConfig, EnergyDensity, Moments, NetworkEnergyConfig,
    RestrictedConfig, Visible,
};
use tweedie::nn::{collect_params, map_params};
use tweedie::path::Direction;
use tweedie::train::AdamW;
use tweedie::{Draws, Error};

/// A false alarm in a million.
const BAR: f64 = 4.9;

/// The space of `width` columns of zeros and ones, at −½ and ½ in model units.
fn bits(width: usize) -> Space {
    let kind = Kind::Quantised { low: Some(0), high: Some(1) };
    let bit = Coordinate { shift: 1.0, scale: 1.0, kind, ..Coordinate::real("bit") };
    Space::new(Layout::Vector { width }, vec![bit]).expect("a space")
}

fn reals(width: usize) -> Space {
    Space::new(Layout::Vector { width }, vec![Coordinate::real("x")]).expect("a space")
}

/// A machine with parameters of size about `size`.
fn random(config: &dyn EnergyConfig, space: &Space, size: f64, seed: u64) -> AnyEnergy {
    let machine = config.init(space, &Draws::new(seed), &cpu()).expect("a machine");
    let draws = Draws::new(seed).purpose("parameters");
    let mut params = collect_params(&machine).expect("parameters");
    for (k, data) in params.values_mut().enumerate() {
        let len = data.num_elements() as u64;
        let values: Vec<f32> =
            (0..len).map(|i| (size * draws.normal_f64(k as u64, i)) as f32).collect();
        *data = TensorData::new(values, data.shape().clone());
    }
    map_params(machine, &params, Path::new("test")).expect("parameters")
}

/// The parameters by path in double precision.
fn numbers(machine: &AnyEnergy) -> BTreeMap<String, Vec<f64>> {
    let all = collect_params(machine).expect("parameters");
    let of = |data: TensorData| data.convert_dtype(DType::F64).try_into_vec().expect("numbers");
    all.into_iter().map(|(path, data)| (path, of(data))).collect()
}

/// The bits of a number.
fn unpacked(state: usize, units: usize) -> Vec<f64> {
    (0..units).map(|j| f64::from(u8::from(state >> j & 1 == 1))).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// −E(v, h) of a restricted machine of binary units, term by term.
fn joint(of: &BTreeMap<String, Vec<f64>>, v: &[f64], h: &[f64]) -> f64 {
    let lines = of["hidden.weight"].chunks(v.len());
    let coupled: f64 = lines.zip(h).map(|(line, h)| h * dot(line, v)).sum();
    dot(&of["visible"], v) + dot(&of["hidden.bias"], h) + coupled
}

/// −E(v, h) of a machine with all couplings, term by term.
fn joint_of_all(of: &BTreeMap<String, Vec<f64>>, v: &[f64], h: &[f64]) -> f64 {
    let pairs = |name: &str, x: &[f64]| {
        let (mut sum, mut k) = (0.0, 0);
        for i in 0..x.len() {
            for j in i + 1..x.len() {
                sum += of[name][k] * x[i] * x[j];
                k += 1;
            }
        }
        sum
    };
    let mut sum = dot(&of["visible"], v) + pairs("pairs", v);
    if !h.is_empty() {
        let lines = of["between"].chunks(v.len());
        sum += dot(&of["hidden"], h) + pairs("hidden_pairs", h);
        sum += lines.zip(h).map(|(line, h)| h * dot(line, v)).sum::<f64>();
    }
    sum
}

/// ln Σ exp.
fn log_sum(values: impl Iterator<Item = f64>) -> f64 {
    let all: Vec<f64> = values.collect();
    let most = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + all.iter().map(|v| (v - most).exp()).sum::<f64>().ln()
}

/// Every state of `width` binary units in model units, row after row.
fn every_row(width: usize) -> Vec<f64> {
    (0..1 << width).flat_map(|s| unpacked(s, width)).map(|v| v - 0.5).collect()
}

/// The energies of rows in double precision.
fn energies(machine: &AnyEnergy, rows: &[f64]) -> Vec<f64> {
    let machine = moved(machine, 0.0);
    host(&machine.energy(doubles(rows, machine.width()).into()).expect("energies").value)
}

fn log_z(machine: &AnyEnergy) -> f64 {
    host(&machine.log_z().expect("ln Z"))[0]
}

#[test]
fn free_energies_and_z_of_machines_are_sums_over_all_states() {
    type Joint = fn(&BTreeMap<String, Vec<f64>>, &[f64], &[f64]) -> f64;
    let restricted = |hidden| RestrictedConfig { hidden, ..RestrictedConfig::default() };
    let cases: [(AnyEnergy, usize, Joint); 5] = [
        (random(&restricted(3), &bits(6), 1.0, 1), 3, joint),
        (random(&restricted(7), &bits(4), 1.0, 2), 7, joint),
        (random(&BoltzmannConfig { hidden: 0 }, &bits(7), 1.0, 3), 0, joint_of_all),
        (random(&BoltzmannConfig { hidden: 3 }, &bits(5), 1.0, 4), 3, joint_of_all),
        (random(&BoltzmannConfig { hidden: 1 }, &bits(1), 1.0, 5), 1, joint_of_all),
    ];
    for (machine, hidden, joint) in cases {
        let (of, width) = (numbers(&machine), machine.width());
        let free = |v: usize| {
            log_sum((0..1 << hidden).map(|h| joint(&of, &unpacked(v, width), &unpacked(h, hidden))))
        };
        let right: Vec<f64> = (0..1 << width).map(free).collect();
        for (found, right) in energies(&machine, &every_row(width)).iter().zip(&right) {
            within("a free energy", -found, *right, 1e-12);
        }
        within("ln Z", log_z(&machine), log_sum(right.into_iter()), 1e-12);
    }
}

#[test]
fn z_of_real_visible_units_is_their_integral() {
    let config = RestrictedConfig { hidden: 3, visible: Visible::Gaussian };
    let machine = random(&config, &reals(1), 0.8, 6);
    let p = |x: f64| (-energies(&machine, &[x])[0]).exp();
    close("Z", log_z(&machine).exp(), simpson(-40.0, 40.0, 2000, p), 1e-9);
    // Two units: their two integrals factor only given h.
    let machine = random(&config, &reals(2), 0.6, 7);
    let step = 0.1;
    let line = || (-150..=150).map(|k| f64::from(k) * step);
    let rows: Vec<f64> = line().flat_map(|x| line().flat_map(move |y| [x, y])).collect();
    let sum: f64 = energies(&machine, &rows).iter().map(|e| (-e).exp()).sum();
    close("Z", log_z(&machine).exp(), sum * step * step, 1e-9);
}

/// The gradient of the mean of −log p: by automatic differentiation, by differences, and as the difference of the
/// moments of data and model.
#[test]
fn the_gradient_of_the_likelihood_is_exact() {
    let cases: [(&dyn EnergyConfig, Space); 4] = [
        (&RestrictedConfig { hidden: 3, visible: Visible::Bernoulli }, bits(5)),
        (&RestrictedConfig { hidden: 6, visible: Visible::Bernoulli }, bits(4)),
        (&RestrictedConfig { hidden: 3, visible: Visible::Gaussian }, reals(4)),
        (&BoltzmannConfig { hidden: 2 }, bits(4)),
    ];
    for (config, space) in cases {
        let machine = random(config, &space, 0.7, 8);
        let width = machine.width();
        let rows: Vec<f64> = match config.is_discrete() {
            true => every_row(width)[..5 * width].to_vec(),
            false => (0..5 * width as u64).map(|k| Draws::new(1).normal_f64(k, 0)).collect(),
        };
        let loss = |machine: &AnyEnergy| {
            let energy = machine.energy(doubles(&rows, width).into()).expect("energies").value;
            (energy + machine.log_z().expect("ln Z")).mean()
        };
        let (found, right) = along_parameters(&machine, loss, |m| host(&loss(m))[0]);
        close(format!("{config:?}"), found, right, 1e-7);
    }
    // Fully visible: ∂/∂b is the model's mean minus the data's, ∂/∂V_ij that of the products.
    let machine = random(&BoltzmannConfig { hidden: 0 }, &bits(4), 0.7, 9);
    let all = every_row(4);
    let p: Vec<f64> =
        energies(&machine, &all).iter().map(|e| (-e - log_z(&machine)).exp()).collect();
    within("Σ p", p.iter().sum(), 1.0, 1e-12);
    let tracked = moved(&machine, 0.0).train();
    let energy = tracked.energy(doubles(&all[..12], 4).into()).expect("energies").value;
    let gradients = (energy.mean() + tracked.log_z().expect("ln Z").sum()).backward();
    let found = AdamW::gradients(&tracked, &gradients);
    let bit = |row: usize, j: usize| f64::from(u8::from(row >> j & 1 == 1));
    let moment = |of: &dyn Fn(usize) -> f64| {
        let model: f64 = (0..16).map(|row| p[row] * of(row)).sum();
        model - (0..3).map(of).sum::<f64>() / 3.0
    };
    let right: Vec<f64> = (0..4).map(|j| moment(&|row| bit(row, j))).collect();
    let pairs = (0..4).flat_map(|i| (i + 1..4).map(move |j| (i, j)));
    let of_pairs: Vec<f64> = pairs.map(|(i, j)| moment(&|row| bit(row, i) * bit(row, j))).collect();
    for (path, right) in [("visible", right), ("pairs", of_pairs)] {
        let own = host(&found[path]);
        own.iter().zip(&right).for_each(|(own, right)| within(path, *own, *right, 1e-12));
    }
}

/// Rows of a machine of binary units, drawn exactly by the inverse of the distribution over all states.
fn exact(machine: &AnyEnergy, n: usize, seed: u64) -> Vec<usize> {
    let width = machine.width();
    let log_z = log_z(machine);
    let p: Vec<f64> =
        energies(machine, &every_row(width)).iter().map(|e| (-e - log_z).exp()).collect();
    let draw = |i: u64| {
        let mut rest = Draws::new(seed).uniform_f64(i, 0);
        let below = |p: &f64| {
            rest -= p;
            rest < 0.0
        };
        p.iter().position(below).unwrap_or(p.len() - 1)
    };
    (0..n as u64).map(draw).collect()
}

fn tensor(states: &[usize], width: usize) -> Tensor<2> {
    let values = states.iter().flat_map(|s| unpacked(*s, width)).map(|v| v as f32 - 0.5).collect();
    singles(values, [states.len(), width])
}

/// From exact rows, and from one state alone after many steps, every state has its probability.
#[test]
fn gibbs_steps_keep_and_find_the_probability_of_every_state() {
    let restricted = RestrictedConfig { hidden: 3, visible: Visible::Bernoulli };
    let all: [&dyn EnergyConfig; 3] =
        [&restricted, &BoltzmannConfig { hidden: 0 }, &BoltzmannConfig { hidden: 2 }];
    let (width, n) = (3, 20_000);
    for config in all {
        let machine = random(config, &bits(width), 0.9, 11);
        let p = energies(&machine, &every_row(width));
        let density = EnergyDensity::new(machine.clone());
        for (start, steps) in [(exact(&machine, n, 1), 2), (vec![0; n], 40)] {
            let mut chains = Gibbs.init(tensor(&start, width), &density).expect("a start");
            for _ in 0..steps {
                chains = Gibbs.step(chains, &density, &Draws::new(3)).expect("a step").0;
            }
            let mut counts = vec![0.0; 1 << width];
            for row in chains.values().chunks(width) {
                assert!(
                    row.iter().all(|x| x.abs() == 0.5),
                    "units are drawn, not averaged: {row:?}"
                );
                let state = row.iter().rev().fold(0, |s, x| 2 * s + usize::from(*x > 0.0));
                counts[state] += 1.0 / n as f64;
            }
            for (found, energy) in counts.iter().zip(&p) {
                let right = (-energy - log_z(&machine)).exp();
                let error = (right * (1.0 - right) / n as f64).sqrt();
                within(format!("{config:?} {steps}"), *found, right, BAR * error);
            }
        }
    }
}

#[test]
fn gibbs_steps_of_real_units_have_the_machine_s_moments() {
    let config = RestrictedConfig { hidden: 2, visible: Visible::Gaussian };
    let machine = random(&config, &reals(1), 0.7, 12);
    let p = |x: f64| (-energies(&machine, &[x])[0] - log_z(&machine)).exp();
    let of = |k: i32| simpson(-30.0, 30.0, 1500, |x| p(x) * x.powi(k));
    let (n, density) = (20_000, EnergyDensity::new(machine.clone()));
    let mut chains = Gibbs.init(singles(vec![5.0; n], [n, 1]), &density).expect("a start");
    for _ in 0..40 {
        chains = Gibbs.step(chains, &density, &Draws::new(4)).expect("a step").0;
    }
    for k in [1, 2] {
        let found = chains.values().iter().map(|x| x.powi(k)).sum::<f64>() / n as f64;
        let error = ((of(2 * k) - of(k).powi(2)) / n as f64).sqrt();
        within(format!("E x^{k}"), found, of(k), BAR * error);
    }
}

/// A machine between independent columns and itself.
struct Path01<'a>(&'a AnyEnergy, &'a Moments);

impl AnnealingPath for Path01<'_> {
    fn at(&self, beta: f64) -> tweedie::Result<Box<dyn LogDensity + '_>> {
        Ok(Box::new(EnergyDensity::new(self.0.clone().heated(beta, self.1)?)))
    }
}

/// Within its errors of the enumerated ln Z in both directions, from a base that is not uniform; and the means of ln w
/// lie on either side of it.
#[test]
fn annealing_encloses_the_enumerated_z_of_machines() {
    let restricted = RestrictedConfig { hidden: 16, visible: Visible::Bernoulli };
    for (config, size) in
        [(&restricted as &dyn EnergyConfig, 0.6), (&BoltzmannConfig { hidden: 2 }, 0.7)]
    {
        let (width, n) = (10, 1500);
        let machine = random(config, &bits(width), size, 13);
        let mean = (0..width).map(|j| 0.08 * j as f64 - 0.4).collect();
        let base = Moments { mean, variance: vec![0.2; width] };
        let cold = machine.clone().heated(0.0, &base).expect("a base");
        let log_z0 = cold.log_z_uncoupled().expect("ln Z");
        within("ln Z of the base", log_z0, log_z(&cold), 1e-5);
        let annealing = Annealing { kernel: &Gibbs, temperatures: 30, steps: 1 };
        let path = Path01(&machine, &base);
        let zeros = Tensor::zeros([n, width], &cpu());
        let rows: Vec<u64> = (0..n as u64).collect();
        let first = cold.sweep(zeros, &rows, &Draws::new(5)).expect("rows");
        let last = tensor(&exact(&machine, n, 6), width);
        let right = log_z(&machine);
        for (direction, start, sign) in
            [(Direction::Forward, first, 1.0), (Direction::Backward, last, -1.0)]
        {
            let (_, log_w) =
                annealing.run(&path, direction, start, &Draws::new(7)).expect("weights");
            let mean = log_w.iter().sum::<f64>() / n as f64;
            let spread = log_w.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / n as f64;
            let gap = sign * (right - (log_z0 + sign * mean));
            assert!(gap > BAR * (spread / n as f64).sqrt(), "{config:?} {direction:?}: {gap}");
            let found = Weights::new(log_w).expect("weights").log_mean();
            let value = log_z0 + sign * found.value;
            println!("{direction:?}: {value} ± {}, {right}, gap {gap}", found.standard_error);
            within(format!("{config:?} {direction:?}"), value, right, BAR * found.standard_error);
            assert!(found.standard_error < 0.1, "it decides nothing");
        }
    }
}

#[test]
fn moments_of_the_base_are_those_of_a_heated_machine_at_zero() {
    let config = RestrictedConfig { hidden: 4, visible: Visible::Gaussian };
    let machine = random(&config, &reals(2), 0.7, 14);
    let base = Moments { mean: vec![1.0, -2.0], variance: vec![0.5, 3.0] };
    let cold = machine.clone().heated(0.0, &base).expect("a base");
    let normal =
        |x: f64, m: f64, v: f64| -0.5 * ((x - m).powi(2) / v + (std::f64::consts::TAU * v).ln());
    let log_z = cold.log_z_uncoupled().expect("ln Z");
    for x in [[0.3, -1.0], [2.0, 4.0]] {
        let right = normal(x[0], 1.0, 0.5) + normal(x[1], -2.0, 3.0);
        within("log p", -energies(&cold, &x)[0] - log_z, right, 1e-5);
    }
    // 4 hidden units without a field are on half of the time.
    let hidden = 4.0 * LN_2;
    assert!(log_z > hidden);
    let whole = machine.clone().heated(1.0, &base).expect("itself");
    let x = [0.4, -0.2];
    within("β = 1", energies(&whole, &x)[0], energies(&machine, &x)[0], 1e-5);
}

#[test]
fn a_temperature_divides_the_energy_and_ends_gibbs_sampling() {
    let config = NetworkEnergyConfig { hidden: vec![5], ..NetworkEnergyConfig::default() };
    let cold =
        EnergyDensity::new(config.init(&reals(2), &Draws::new(1), &cpu()).expect("an energy"));
    let hot = cold.clone().with_temperature(4.0);
    let x = || singles(vec![0.3, -0.7], [1, 2]);
    let score = |of: &EnergyDensity| host(&of.score(x(), &Condition::None).expect("a score"));
    for (hot, cold) in score(&hot).iter().zip(score(&cold)) {
        within("score", 4.0 * hot, cold, 1e-6);
    }
    let machine = random(&RestrictedConfig::default(), &bits(3), 0.5, 15);
    let machine = EnergyDensity::new(machine);
    let start = || Tensor::full([2, 3], 0.5, &cpu());
    assert!(Gibbs.init(start(), &machine).is_ok());
    let error = Gibbs.init(start(), &machine.with_temperature(2.0)).expect_err("refused");
    assert!(matches!(error, Error::Undefined { .. }), "{error}");
    let error = Gibbs.init(x(), &cold).expect_err("refused").to_string();
    assert!(error.contains("gibbs"), "{error}");
    assert!(Mala::default().init(x(), &cold).is_ok());
}

#[test]
fn columns_that_a_machine_is_not_of_are_refused_by_the_key() {
    let machine = |space: &Space| {
        let config = RestrictedConfig::default();
        config.init(space, &Draws::new(0), &cpu()).expect_err("refused").to_string()
    };
    let grey = Space::image(1, 2, 2, 256).expect("a space");
    assert!(machine(&grey).starts_with("data.binarise: absent"), "{}", machine(&grey));
    assert!(machine(&reals(2)).contains("gaussian"), "{}", machine(&reals(2)));
    let large = random(&RestrictedConfig { hidden: 30, ..Default::default() }, &bits(40), 0.1, 1);
    assert!(!large.is_enumerable());
    let error = large.log_z().expect_err("too many states").to_string();
    assert!(error.contains("30 units have too many states"), "{error}");
}
