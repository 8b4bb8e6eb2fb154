//! The family of energies: contrastive and persistent chains, score matching, ln Z by annealing, and what is refused.

use super::contract::resumes;
use super::*;
use crate::support::{host, within};
use tweedie::data::{Binarisation, Coordinate, Kind, Layout, Split, shipped};
use tweedie::density::Kind as OfNumber;
use tweedie::family::energy::{EnergyModel, EnergyRecipe};
use tweedie::nn::energy::{AnyEnergy, BoltzmannConfig, Energy, EnergyConfig};
use tweedie::nn::{collect_params, map_params};

/// A false alarm in a million.
const BAR: f64 = 4.9;

/// A step's or held-out value by name.
fn value(values: &[(&'static str, f64)], name: &str) -> f64 {
    values.iter().find(|(found, _)| *found == name).expect(name).1
}

/// Rows of zeros and ones as data.
fn of_bits(rows: Vec<f32>, width: usize) -> Dataset {
    let kind = Kind::Quantised { low: Some(0), high: Some(1) };
    let bit = Coordinate { shift: 1.0, scale: 1.0, kind, ..Coordinate::real("bit") };
    let space = Space::new(Layout::Vector { width }, vec![bit]).expect("a space");
    dataset(space, rows, width)
}

fn dataset(space: Space, rows: Vec<f32>, width: usize) -> Dataset {
    let all = Rows::new(rows, width).expect("rows");
    let part = |range| Split::new(all.slice(range), None).expect("a split");
    let (train, held_out) = (part(0..all.len() * 4 / 5), part(all.len() * 4 / 5..all.len()));
    Dataset::new("rows", space, train, held_out).expect("data")
}

/// Digits as zeros and ones, without their classes.
fn digits() -> Dataset {
    let data = shipped::digits().expect("data").without_labels();
    data.binarised(Binarisation::Threshold).expect("zeros and ones")
}

fn model_of(model: &dyn Model) -> &EnergyModel {
    model.any().downcast_ref().expect("an energy")
}

const SMALL: &str = "energy = { name = 'network', hidden = [16, 16] }\n";

/// Twelve steps at once, and in two parts with a checkpoint between: the same bytes, restarted chains included.
#[test]
fn a_run_with_a_replay_buffer_resumes_to_the_byte() {
    let moons = Bed::with_data(toy("moons", 240, None), 12);
    let bits = Bed::with_data(digits(), 12);
    let cases = [
        (
            &moons,
            format!("{SMALL}objective = 'persistent, steps = 2, buffer = 64, restarts = 0.3'"),
        ),
        (&moons, format!("{SMALL}objective = 'contrastive, steps = 2, penalty = 0.01'")),
        (&moons, format!("{SMALL}objective = 'sliced, sigma = 0.1'")),
        (
            &bits,
            "energy = 'rbm, hidden = 9'\nobjective = 'persistent, buffer = 50, restarts = 0.2'"
                .into(),
        ),
        (&bits, "energy = 'boltzmann, hidden = 2'\nobjective = 'contrastive'".into()),
    ];
    for (bed, text) in cases {
        let recipe: EnergyRecipe = recipe(&format!("{text}\ntraining = {{ batch = 32 }}"));
        resumes(bed, &recipe);
        let fresh = || bed.learner(&recipe).expect("a learner").1;
        let mut state = fresh().save().expect("a state");
        if state.remove("buffer").is_some() {
            let (x, path) = (fresh(), Path::new("the file"));
            let error = { x }.load(state, path).expect_err("the buffer is missing").to_string();
            assert!(error.starts_with("the file: buffer: 0 chains"), "{error}");
        }
    }
}

/// Two columns that are always equal: chains from the data lower the energy of data against that of chains, and the
/// likelihood reaches that of the data, ln 2, far above the ln 4 of independent columns.
#[test]
fn contrastive_divergence_raises_the_likelihood() {
    let rows = (0..400u64).flat_map(|i| [(i % 2) as f32; 2]).collect();
    let bed = Bed::with_data(of_bits(rows, 2), 400);
    for energy in ["'rbm, hidden = 2'", "'boltzmann'"] {
        for objective in ["'contrastive'", "'persistent, buffer = 200'", "'enumerated'"] {
            let recipe: EnergyRecipe = recipe(&format!(
                "energy = {energy}\nobjective = {objective}\n\
                 training = {{ batch = 100, learning_rate = 0.05, ema = 0.9 }}"
            ));
            let (_, mut learner) = bed.learner(&recipe).expect("a learner");
            let before = value(&learner.held_out().expect("values"), "held_out/log_p");
            (0..400).for_each(|step| drop(learner.step(step).expect("a step")));
            let after = value(&learner.held_out().expect("values"), "held_out/log_p");
            println!("{energy} {objective}: {before} to {after}");
            within("before", before, -(4.0f64.ln()), 0.03);
            assert!(after > -0.85, "{energy} {objective}: {after}");
            assert!(after < -(2.0f64.ln()) + 1e-4, "above the entropy: {after}");
        }
    }
}

/// Rows of a fully visible machine, drawn exactly; its couplings are recovered within the errors that the information
/// of so many rows leaves, by enumeration, and by persistent chains within 0.25.
#[test]
fn fully_visible_machines_recover_planted_couplings() {
    let (width, n) = (5usize, 20_000u64);
    let space = of_bits(vec![0.0; 10 * width], width).space;
    let machine =
        BoltzmannConfig::default().init(&space, &Draws::new(0), &cpu()).expect("a machine");
    let planted: Vec<f64> = (0..10).map(|k| 0.8 * Draws::new(3).normal_f64(0, k)).collect();
    let mut params = collect_params(&machine).expect("parameters");
    let data = |v: &[f64]| {
        tweedie::burn::tensor::TensorData::new(
            v.iter().map(|v| *v as f32).collect::<Vec<_>>(),
            [v.len()],
        )
    };
    params.insert("pairs".into(), data(&planted));
    params.insert("visible".into(), data(&[0.3, -0.4, 0.1, 0.0, -0.2]));
    let machine = map_params(machine, &params, Path::new("test")).expect("parameters");
    let states: Vec<f32> =
        (0..32u32).flat_map(|s| (0..width).map(move |j| (s >> j & 1) as f32)).collect();
    let x = Rows::new(states.iter().map(|v| v - 0.5).collect(), width).expect("rows");
    let energies = host(&machine.energy(x.to_tensor(&cpu()).into()).expect("energies").value);
    let log_z = host(&machine.log_z().expect("ln Z"))[0];
    let p: Vec<f64> = energies.iter().map(|e| (-e - log_z).exp()).collect();
    let row = |i: u64| {
        let mut rest = Draws::new(4).uniform_f64(i, 0);
        let below = |p: &f64| {
            rest -= p;
            rest < 0.0
        };
        let state = p.iter().position(below).unwrap_or(31);
        states[state * width..(state + 1) * width].to_vec()
    };
    let bed = Bed::with_data(of_bits((0..n).flat_map(row).collect(), width), 300);
    let errors = errors_of_couplings(&p, width, 0.8 * n as f64);
    let tables =
        [("'enumerated'", 0.05, BAR), ("'persistent, buffer = 2000, steps = 2'", 0.03, 0.0)];
    for (objective, rate, bar) in tables {
        let recipe: EnergyRecipe = recipe(&format!(
            "energy = 'boltzmann'\nobjective = {objective}\n\
             training = {{ batch = 2000, learning_rate = {rate}, ema = 0.9 }}"
        ));
        let (_, mut learner) = bed.learner(&recipe).expect("a learner");
        (0..300).for_each(|step| drop(learner.step(step).expect("a step")));
        let found = learner.weights().expect("weights")["pairs"].clone();
        let found: Vec<f32> = found.try_into_vec().expect("numbers");
        for ((found, right), error) in found.iter().zip(&planted).zip(&errors) {
            println!("{objective}: {found} for {right} ± {error}");
            within(
                objective,
                f64::from(*found),
                *right,
                if bar > 0.0 { bar * error } else { 0.25 },
            );
        }
    }
}

/// The standard errors of couplings by maximum likelihood of `n` rows: the inverse of the covariance of the
/// statistics, biases and products, under the probabilities `p` of all states.
fn errors_of_couplings(p: &[f64], width: usize, n: f64) -> Vec<f64> {
    let bit = |state: usize, j: usize| f64::from(u8::from(state >> j & 1 == 1));
    let statistics = |state: usize| -> Vec<f64> {
        let own = (0..width).map(|j| bit(state, j));
        let pairs = (0..width).flat_map(|i| (i + 1..width).map(move |j| (i, j)));
        own.chain(pairs.map(|(i, j)| bit(state, i) * bit(state, j))).collect()
    };
    let all: Vec<Vec<f64>> = (0..p.len()).map(statistics).collect();
    let count = all[0].len();
    let mean: Vec<f64> = (0..count).map(|k| (0..p.len()).map(|s| p[s] * all[s][k]).sum()).collect();
    let covariance = |a: usize, b: usize| -> f64 {
        (0..p.len()).map(|s| p[s] * (all[s][a] - mean[a]) * (all[s][b] - mean[b])).sum()
    };
    // Gauss and Jordan, on [covariance | I].
    let mut lines: Vec<Vec<f64>> = (0..count)
        .map(|a| {
            let own = (0..count).map(|b| covariance(a, b));
            own.chain((0..count).map(|b| f64::from(u8::from(a == b)))).collect()
        })
        .collect();
    for k in 0..count {
        let pivot = lines[k][k];
        lines[k].iter_mut().for_each(|v| *v /= pivot);
        let own = lines[k].clone();
        for line in lines.iter_mut().enumerate().filter(|(a, _)| *a != k).map(|(_, line)| line) {
            let factor = line[k];
            line.iter_mut().zip(&own).for_each(|(v, own)| *v -= factor * own);
        }
    }
    (width..count).map(|k| (lines[k][count + k] / n).sqrt()).collect()
}

/// A short training by persistent chains of points in the plane: its density integrates to one by the ln Z of
/// annealing, and lies nearer to the truth than the normal of the same moments.
#[test]
fn the_density_of_an_energy_in_the_plane_integrates_to_one() {
    let bed = Bed::with_data(toy("moons", 6000, None), 500);
    let recipe: EnergyRecipe = recipe(
        "energy = { name = 'network', hidden = [64, 64], activation = 'relu' }\n\
         objective = { name = 'persistent', steps = 5, buffer = 1024, kernel = 'mala, step_size = 0.02' }\n\
         training = { batch = 128, learning_rate = 5e-3, ema = 0.98 }",
    );
    let model = bed.trained(&recipe).expect("a model");
    let (device, cells, low, step) = (cpu(), 160usize, -6.0f32, 13.0f32 / 160.0);
    let options: Table = "draws = 2000\ntemperatures = 400".parse().expect("TOML");
    let judge = model.density("annealed", &options, Integers::None, &setting(&device));
    let judge = judge.expect("a density");
    let of =
        |raw: &Rows| judge.density.log_prob(raw, &Condition::None, &mut |_| {}).expect("log p");
    let at = |i: usize| low + (i as f32 + 0.5) * step;
    let grid = (0..cells * cells).flat_map(|i| [at(i % cells), at(i / cells)]).collect();
    let p = of(&Rows::new(grid, 2).expect("a grid"));
    let whole = p.value.iter().map(|log_p| log_p.exp()).sum::<f64>() * f64::from(step * step);
    println!("∫ p = {whole}, {}", judge.how);
    within("∫ p", whole, 1.0, 0.02);
    let data = bed.data.as_ref().expect("data");
    let found = of(data.held_out.rows());
    assert_eq!(found.kind, OfNumber::Estimate);
    let errors = found.standard_error.as_ref().expect("errors of ln Z");
    assert!(errors.iter().all(|e| *e == errors[0] && *e > 0.0 && *e < 0.02), "{}", errors[0]);
    let truth = |r: &[f32]| tweedie::data::Toy::Moons.log_density([r[0].into(), r[1].into()]);
    let pairs = data.held_out.rows().iter().map(truth).zip(&found.value);
    let kl = pairs.map(|(truth, found)| truth - found).sum::<f64>() / found.value.len() as f64;
    println!("KL {kl}");
    assert!((-0.05..0.25).contains(&kl), "{kl}");
}

/// Two far modes of shares 0.2 and 0.8: matching the score finds the place and the width of each, but says nothing of the
/// shares, which stay at what the network's start makes of them; chains that jump from mode to mode find them.
#[test]
fn score_matching_is_blind_to_the_shares_of_far_modes() {
    let mode = |i: u64| if i.is_multiple_of(5) { -1.0 } else { 1.0 };
    let row = |i: u64| (6.0 * mode(i) + 0.6 * Draws::new(5).normal_f64(i, 0)) as f32;
    let space =
        Space::new(Layout::Vector { width: 1 }, vec![Coordinate::real("x")]).expect("a space");
    // In units of 4: modes 3 apart and 0.15 wide.
    let space =
        Space::new(space.layout(), vec![Coordinate { scale: 4.0, ..Coordinate::real("x") }])
            .expect("a space");
    let bed = Bed::with_data(dataset(space, (0..4000).map(row).collect(), 1), 600);
    let share = |objective: &str| {
        let recipe: EnergyRecipe = recipe(&format!(
            "energy = {{ name = 'network', hidden = [32, 32] }}\nobjective = {objective}\n\
             training = {{ batch = 200, learning_rate = 5e-3, ema = 0.97 }}"
        ));
        let model = bed.trained(&recipe).expect("a model");
        let at: Vec<f32> = (0..4000).map(|k| -4.0 + 0.002 * k as f32).collect();
        let x = Rows::new(at.clone(), 1).expect("rows").to_tensor(&cpu());
        let energy = host(&model_of(&*model).density.energy().energy(x.into()).expect("E").value);
        // The share, the mean and the standard deviation of a mode.
        let moments = |left: bool| {
            let centre = if left { -1.5 } else { 1.5 };
            let own = at.iter().zip(&energy).filter(|(x, _)| (**x - centre).abs() < 0.6);
            let least = own.clone().map(|(_, e)| *e).fold(f64::INFINITY, f64::min);
            let sum = |power: i32| -> f64 {
                let of = |(x, e): (&f32, &f64)| f64::from(*x).powi(power) * (least - e).exp();
                own.clone().map(of).sum()
            };
            let (whole, mean) = (sum(0), sum(1) / sum(0));
            (whole.ln() - least, mean, (sum(2) / whole - mean * mean).sqrt())
        };
        let [left, right] = [true, false].map(moments);
        for ((_, mean, sd), sign) in [(left, -1.0), (right, 1.0)] {
            within(format!("mean of a mode by {objective}"), mean, 1.5 * sign, 0.1);
            within(format!("spread of a mode by {objective}"), sd, 0.15, 0.05);
        }
        1.0 / (1.0 + (right.0 - left.0).exp())
    };
    let by_score = ["'implicit'", "'denoising, sigma = 0.05'"].map(share);
    let by_chains = share(
        "{ name = 'persistent', steps = 10, buffer = 1000, kernel = 'random-walk, step_size = 2.0' }",
    );
    println!("share of the left mode: {by_chains} by chains, {by_score:?} by score matching");
    within("by chains", by_chains, 0.2, 0.05);
    for share in by_score {
        assert!((share - 0.2).abs() > 0.1, "{share}: by chance?");
    }
}

/// ln Z of a trained machine by both directions of annealing against its enumeration, through the model.
#[test]
fn annealed_densities_agree_with_enumerated_ones() {
    let bed = Bed::with_data(digits(), 300);
    let recipe: EnergyRecipe = recipe(
        "energy = 'rbm, hidden = 12'\nobjective = 'persistent, buffer = 256, steps = 2'\n\
         training = { batch = 128, learning_rate = 0.01, ema = 0.9 }",
    );
    let model = bed.trained(&recipe).expect("a model");
    let (device, raw) = (cpu(), bed.data.as_ref().expect("data").held_out.rows());
    let of = |name: &str, options: &str| {
        let options: Table = options.parse().expect("TOML");
        let judge = model.density(name, &options, Integers::None, &setting(&device)).expect(name);
        judge.density.log_prob(raw, &Condition::None, &mut |_| {}).expect("log p")
    };
    let (exact, found) = (of("enumerated", ""), of("annealed", "temperatures = 400"));
    assert_eq!((exact.kind, found.kind), (OfNumber::Exact, OfNumber::Estimate));
    assert_eq!(exact.measure, tweedie::density::Measure::Counting);
    let error = found.standard_error.as_ref().expect("errors")[0];
    println!("{:?} {:?} ± {error}", exact.mean(), found.mean());
    within("log p", found.mean().0, exact.mean().0, BAR * error);
    assert!(error < 0.05, "{error}");
    // A row as likely as any other would have −64 ln 2 = −44.4 nats.
    assert!(exact.mean().0 > -30.0, "{:?}", exact.mean());
    assert!(model.target(&Table::new()).expect("a target").by_blocks().is_some());
    assert!(matches!(model_of(&*model).density.energy(), AnyEnergy::Restricted(_)));
}

#[test]
fn rows_of_a_sample_depend_on_their_numbers_alone() {
    let bits = Bed::with_data(digits(), 3);
    let moons = Bed::with_data(toy("moons", 240, None), 3);
    let cases = [
        (&moons, format!("{SMALL}objective = 'contrastive'")),
        (&bits, "energy = 'rbm, hidden = 9'\nobjective = 'persistent, buffer = 300'".into()),
        (&bits, "energy = 'boltzmann, hidden = 2'\nobjective = 'contrastive'".into()),
    ];
    for (bed, text) in cases {
        let recipe: EnergyRecipe = recipe(&format!("{text}\nsampling = {{ steps = 4 }}"));
        let model = bed.trained(&recipe).expect("a model");
        let sample = |range: std::ops::Range<u64>| {
            host(&rows(&*model, range, &Condition::None).expect("rows"))
        };
        let (all, part, width) = (sample(0..8), sample(3..7), model.space().model_width());
        assert_eq!(part, all[3 * width..7 * width], "{text}");
        assert!((1..8).any(|k| all[..width] != all[k * width..][..width]), "{text}");
    }
}

#[test]
fn energies_and_chains_that_leave_all_bounds_stop_with_the_step() {
    let bed = Bed::with_data(toy("moons", 240, None), 400);
    let stops = |text: &str, rate: f64| {
        let training = format!("training = {{ batch = 32, learning_rate = {rate:?}, warmup = 0 }}");
        let recipe: EnergyRecipe = recipe(&format!("{text}\n{training}"));
        let (_, mut learner) = bed.learner(&recipe).expect("a learner");
        let error = (0..400).find_map(|step| learner.step(step).err().map(|e| (step, e)));
        let (step, error) = error.expect("it goes on");
        assert!(
            matches!(error, Error::Diverged { step: found, .. } if found == step + 1),
            "{error}"
        );
        error.to_string()
    };
    let ula = "objective = { name = 'contrastive', steps = 50, kernel = 'ula, step_size = 3.0' }";
    let error = stops(&format!("{SMALL}{ula}"), 1e-3);
    assert!(
        error.contains(" of 32 chains (") && error.contains("left the box of ±100000"),
        "{error}"
    );
    // Chains that no proposal moves.
    let stuck =
        "objective = { name = 'persistent', buffer = 32, kernel = 'mala, step_size = 1e6' }";
    let error = stops(&format!("{SMALL}{stuck}"), 10.0);
    assert!(error.contains("the energy grew without bound (`objective.penalty`"), "{error}");
}

#[test]
fn a_key_that_does_not_fit_an_energy_is_named() {
    let texts = [
        ("energy = 'rbm, hidden = 0'", "energy.hidden: 0"),
        ("energy = 'boltzmann, hidden = 11'", "energy.hidden: 11"),
        ("energy = 'network, width = 3'", "energy.width: unknown key"),
        ("objective = 'persistent, steps = 0'", "objective.steps: 0"),
        ("objective = 'persistent, restarts = 1.5'", "objective.restarts: 1.5"),
        ("objective = 'persistent, buffer = 0'", "objective.buffer: 0"),
        ("objective = 'contrastive, temperature = 0.0'", "objective.temperature: 0"),
        ("objective = 'contrastive, penalty = -1.0'", "objective.penalty: -1"),
        (
            "objective = { name = 'contrastive', kernel = 'mala, warm_up = 3' }",
            "objective.kernel.warm_up: 3",
        ),
        ("objective = 'denoising, sigma = 0.0'", "objective.sigma: 0"),
        ("objective = 'sliced, slices = 0'", "objective.slices: 0"),
        ("sampling = { steps = 0 }", "sampling.steps: 0"),
        ("sampling = { start = 'data' }", "sampling.start"),
    ];
    for (text, expected) in texts {
        let found = refusal::<EnergyRecipe>(text);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
    let resolved = |data: Dataset, text: &str| {
        let recipe: EnergyRecipe = recipe(text);
        let error = Bed::with_data(data, 10).learner(&recipe).err();
        error.unwrap_or_else(|| panic!("{text} is accepted")).to_string()
    };
    let grey = || shipped::digits().expect("data").without_labels();
    let moons = || toy("moons", 240, None);
    let cases = [
        (grey(), "energy = 'rbm'", "data.binarise: absent"),
        (shipped::digits().expect("data"), "energy = 'rbm'", "data.label: classes"),
        (moons(), "energy = 'rbm'", "energy: binary units"),
        (
            moons(),
            "objective = { name = 'contrastive', kernel = 'gibbs' }",
            "objective.kernel: gibbs",
        ),
        (moons(), "objective = 'persistent, buffer = 100'", "objective.buffer: 100"),
        (moons(), "objective = 'enumerated'", "objective: enumerated"),
        (moons(), "training = { selection = 'best' }", "training.selection: best"),
        (moons(), "training = { dequantise = false }", "training.dequantise: false"),
        (
            digits(),
            "energy = 'rbm'\nobjective = { name = 'contrastive', kernel = 'mala' }",
            "objective.kernel: mala",
        ),
        (
            digits(),
            "energy = 'rbm'\nobjective = 'contrastive, temperature = 2.0'",
            "objective.temperature: 2",
        ),
        (digits(), "energy = 'rbm'\nobjective = 'implicit'", "objective: implicit"),
    ];
    for (data, text, expected) in cases {
        let found = resolved(data, text);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
}
