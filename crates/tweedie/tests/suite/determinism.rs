//! Results do not depend on the batch around a row, on the number of threads, or on an interruption.

use crate::support::host;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tweedie::burn::module::Module;
use tweedie::burn::tensor::{DType, Device, Tensor, TensorData};
use tweedie::data::{Batch, Condition, Dataset, Generate, Space, Toy};
use tweedie::denoise::{Guidance, NeuralDenoiser, Prediction};
use tweedie::density::{Density, PfOde};
use tweedie::nn::{
    DownBlock, LinearConfig, Network, ResidualMlp, ResidualMlpConfig, UNet, UNetConfig, UpBlock,
    collect_params, map_params, safetensors_bytes,
};
use tweedie::objective::{DenoisingScoreMatching, Objective};
use tweedie::process::Cosine;
use tweedie::run::{Recipe, Run};
use tweedie::solve::{AnySolver, Ddim, Sampler};
use tweedie::tensor::Divergence;
use tweedie::train::{
    AdamW, AdamWConfig, DenoiserLearner, Event, Fit, Gradients, Learner, Loop, State, Training,
    load_checkpoint, train,
};
use tweedie::{Draws, Error, Result};

const CLASSES: usize = 2;

/// A network none of whose layers is silent, as the initial values leave some.
fn network(hidden: usize) -> ResidualMlp {
    let config = ResidualMlpConfig::new(2).with_hidden(hidden).with_blocks(2).with_classes(CLASSES);
    perturbed(config.init(&Draws::new(0), &Device::flex()))
}

fn perturbed<N: Network>(network: N) -> N {
    let mut params = collect_params(&network).unwrap();
    for (name, data) in &mut params {
        let values = data.as_mut_slice::<f32>().unwrap();
        let noise = Draws::new(1).purpose(name).normals(0..1, values.len());
        values.iter_mut().zip(noise.values()).for_each(|(v, z)| *v += 0.05 * z);
    }
    map_params(network, &params, Path::new("perturbed")).unwrap()
}

/// With every kind of layer, on pictures that tiles of 2 × 2 do not cover evenly.
fn unet() -> UNet {
    let config = UNetConfig {
        block_out_channels: vec![32, 48],
        norm_num_groups: 8,
        attention_head_dim: Some(16),
        down_block_types: vec![DownBlock::Plain, DownBlock::Attention],
        up_block_types: vec![UpBlock::Attention, UpBlock::Plain],
        classes: CLASSES,
        num_class_embeds: Some(CLASSES + 1),
        ..UNetConfig::small([1, 14, 22])
    };
    perturbed(config.init(&Draws::new(0), &Device::flex()).unwrap())
}

fn denoiser(hidden: usize) -> NeuralDenoiser<ResidualMlp> {
    NeuralDenoiser::new(network(hidden), Prediction::Edm, Cosine::default())
}

/// The labels of some rows: each class in turn, every third row without.
fn labels(rows: std::ops::Range<u64>) -> Condition {
    Condition::Class(rows.map(|i| (i % 3 < 2).then_some((i % 2) as u32)).collect())
}

fn sample(solver: AnySolver, hidden: usize, rows: std::ops::Range<u64>) -> Vec<f64> {
    let sampler = Sampler::new(Arc::new(denoiser(hidden)), Arc::new(Cosine::default()))
        .with_solver(solver)
        .with_steps(12);
    let draws = Draws::new(7);
    host(&sampler.generate(rows.clone(), &labels(rows), &draws, &Device::flex()).unwrap())
}

/// Runs `f` on a pool of so many threads.
fn on_threads<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

fn solvers() -> impl Iterator<Item = AnySolver> {
    let named = AnySolver::NAMES.iter().map(|(name, _)| AnySolver::parse(name).unwrap());
    named.chain([AnySolver::Ddim(Ddim { eta: 0.7 })])
}

#[test]
fn a_sample_has_the_same_bytes_alone_as_in_any_batch() {
    for solver in solvers() {
        let batch = sample(solver, 64, 0..64);
        let other = sample(solver, 64, 37..60);
        for row in [0u64, 37, 41, 59, 63] {
            let alone = sample(solver, 64, row..row + 1);
            for j in 0..2 {
                let right = batch[2 * row as usize + j].to_bits();
                assert_eq!(alone[j].to_bits(), right, "{solver:?}, row {row}");
                if (37..60).contains(&row) {
                    let other = other[2 * (row as usize - 37) + j];
                    assert_eq!(other.to_bits(), right, "{solver:?}, row {row}");
                }
            }
        }
        let spread = batch.chunks(2).filter(|x| (x[0] - batch[0]).abs() > 1e-2).count();
        assert!(spread > 50, "{solver:?}: the rows are all alike");
    }
}

#[test]
fn a_picture_has_the_same_bytes_alone_as_in_any_batch_and_on_any_number_of_threads() {
    let denoiser = NeuralDenoiser::new(unet(), Prediction::V, Cosine::default());
    let denoiser = Arc::new(Guidance::new(denoiser, 2.0).unwrap());
    let sample = |threads, rows: std::ops::Range<u64>| -> Vec<u32> {
        let sampler = Sampler::new(denoiser.clone(), Arc::new(Cosine::default())).with_steps(3);
        let condition = labels(rows.clone());
        let generate = || sampler.generate(rows, &condition, &Draws::new(7), &Device::flex());
        host(&on_threads(threads, generate).unwrap())
            .iter()
            .map(|x| (*x as f32).to_bits())
            .collect()
    };
    let batch = sample(2, 0..64);
    for threads in [1, 3, 8] {
        assert!(batch == sample(threads, 0..64), "{threads} threads");
    }
    for row in [0usize, 17, 63] {
        let alone = sample(2, row as u64..row as u64 + 1);
        assert!(alone == batch[row * alone.len()..][..alone.len()], "row {row}");
    }
    assert!(batch[..308] != batch[308..616], "the rows are all alike");
}

#[test]
fn a_row_has_the_same_draws_in_every_batch() {
    let draws = Draws::new(7).purpose("solver").at(3);
    let all = draws.normals(0..64, 5);
    for row in [0u64, 17, 63] {
        assert_eq!(draws.normals(row..row + 1, 5).values(), all.row(row as usize));
        assert_eq!(draws.normals_for(&[50, row, 2], 5).row(1), all.row(row as usize));
    }
}

#[test]
fn samples_have_the_same_bytes_on_any_number_of_threads() {
    for solver in solvers() {
        let bits = |threads| -> Vec<u64> {
            let x = on_threads(threads, || sample(solver, 128, 0..700));
            x.into_iter().map(f64::to_bits).collect()
        };
        let one = bits(1);
        for threads in [2, 3, 8] {
            let other = bits(threads);
            let differ = one.iter().zip(&other).filter(|(a, b)| a != b).count();
            assert_eq!(differ, 0, "{solver:?} on {threads} threads");
        }
    }
}

#[test]
fn densities_have_the_same_bytes_on_any_number_of_threads() {
    let x: Tensor<2> = Draws::new(8).normals(0..200, 2).to_tensor(&Device::flex());
    for divergence in [Divergence::Exact, Divergence::hutchinson(2)] {
        let bits = |threads| {
            on_threads(threads, || {
                let density = PfOde::new(Arc::new(denoiser(64)), Arc::new(Cosine::default()))
                    .with_divergence(divergence, Draws::new(9));
                let found = density.log_prob(x.clone(), &labels(0..200)).unwrap();
                found.value.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            })
        };
        let one = bits(1);
        for threads in [2, 3, 8] {
            assert!(one == bits(threads), "{divergence:?} on {threads} threads");
        }
    }
}

#[test]
fn gradients_of_a_unet_have_the_same_bytes_on_any_number_of_threads() {
    let gradients = |threads| {
        on_threads(threads, || {
            let device = Device::flex().autodiff();
            let model = NeuralDenoiser::new(unet().train(), Prediction::V, Cosine::default());
            let x = Draws::new(8).normals(0..9, 308).to_tensor(&device);
            let batch = Batch { x, condition: labels(0..9) };
            let objective = DenoisingScoreMatching::new(Arc::new(Cosine::default()));
            let loss = objective.loss(&model, &batch, &Draws::new(9)).unwrap();
            let gradients = loss.surrogate.mean().backward();
            let found = AdamW::gradients(&model.network, &gradients);
            let bits = |(name, g): (String, Tensor<1>)| {
                let values = g.to_data().try_into_vec::<f32>().unwrap();
                (name, values.into_iter().map(f32::to_bits).collect::<Vec<u32>>())
            };
            found.into_iter().map(bits).collect::<Vec<_>>()
        })
    };
    let one = gradients(1);
    assert!(one.iter().all(|(_, bits)| bits.iter().any(|b| *b != 0)));
    for threads in [2, 3, 8] {
        for (a, b) in one.iter().zip(gradients(threads)) {
            assert!(*a == b, "{} on {threads} threads", a.0);
        }
    }
}

const STEPS: u64 = 40;

fn learner() -> Result<DenoiserLearner<ResidualMlp>> {
    let (train, held_out) = (Toy::Moons.split(0..3000, 5)?, Toy::Moons.split(3000..3500, 5)?);
    let space = Space::standardised(&["x", "y"], train.rows())?.with_classes(Toy::Moons.classes());
    let data = Dataset::new("moons", space, train, held_out)?;
    let config = ResidualMlpConfig::new(2).with_hidden(64).with_blocks(2).with_classes(CLASSES);
    let network = config.init(&Draws::new(2), &Device::flex());
    let schedule = Cosine::default();
    let denoiser = NeuralDenoiser::new(network, Prediction::Edm, schedule);
    let objective = Arc::new(DenoisingScoreMatching::new(Arc::new(schedule)));
    let training = Training { steps: STEPS, held_out_rows: 400, ..Training::default() };
    let fit = Fit {
        batch: 300,
        accumulate: 2,
        learning_rate: 3e-3,
        warmup: 5,
        adamw: AdamWConfig { weight_decay: 0.01, ..AdamWConfig::default() },
        ema: 0.98,
        ..Fit::default()
    };
    let (device, training) = (Device::flex(), (&training, &fit));
    let learner = DenoiserLearner::new(denoiser, objective, &data, training, 11, &device)?;
    Ok(learner.with_label_dropout(0.2))
}

#[test]
fn training_gives_the_same_bytes_on_any_number_of_threads() {
    let trained = |threads| {
        on_threads(threads, || {
            let mut learner = learner().unwrap();
            let losses: Vec<f64> =
                (0..STEPS).map(|k| learner.step(k).unwrap().loss().unwrap()).collect();
            (
                losses,
                learner.held_out().unwrap(),
                safetensors_bytes(&learner.save().unwrap()).unwrap(),
            )
        })
    };
    let (losses, held_out, bytes) = trained(1);
    assert!(losses[39] < losses[0]);
    for threads in [2, 3, 8] {
        let other = trained(threads);
        assert_eq!(losses, other.0, "losses on {threads} threads");
        assert_eq!(held_out, other.1, "held-out values on {threads} threads");
        assert!(bytes == other.2, "state on {threads} threads");
    }
}

#[test]
fn a_large_gradient_has_the_same_norm_on_any_number_of_threads() {
    // The backend adds 4 M numbers and more in an order that depends on its threads.
    let values = Draws::new(12).normals(0..1, 2300 * 2300);
    let step = |threads| {
        on_threads(threads, || {
            let layer = LinearConfig::new(2300, 2300).with_bias(false);
            let layer = layer.init(&Draws::new(13), &Device::flex());
            let data = TensorData::new(values.values().to_vec(), [2300 * 2300]);
            let gradient = Tensor::<1>::from_data(data, (&Device::flex(), DType::F32));
            let gradients = Gradients::from([("weight".to_string(), gradient)]);
            AdamW::new(AdamWConfig::default()).step(layer, &gradients, 1.0, 1e-3, None).unwrap().1
        })
    };
    let norm = step(1);
    let square: f64 = values.values().iter().map(|v| f64::from(*v).powi(2)).sum();
    assert!((norm / square.sqrt() - 1.0).abs() < 1e-6, "{norm}, {}", square.sqrt());
    for threads in [2, 3, 8] {
        assert_eq!(norm.to_bits(), step(threads).to_bits(), "{threads} threads");
    }
}

const LOOP: Loop = Loop {
    steps: STEPS,
    log_every: 17,
    held_out_every: 10,
    sample_every: 0,
    keep_every: 0,
    checkpoint_after: Duration::ZERO,
};

/// What a run leaves: its checkpoint, its weights and its curves, byte for byte.
fn left(learner: &dyn Learner, folder: &Path) -> [Vec<u8>; 3] {
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let weights = safetensors_bytes(&learner.weights().unwrap()).unwrap();
    [read("checkpoint.safetensors"), weights, read("curves.jsonl")]
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one() {
    let whole = tempfile::tempdir().unwrap();
    let mut straight = learner().unwrap();
    train(&mut straight, whole.path(), &LOOP, |_| Ok(())).unwrap();
    let right = left(&straight, whole.path());

    // Stopped by its observer well after the checkpoint of step 17, and once more after that of step 34.
    let parts = tempfile::tempdir().unwrap();
    for (from, stop, saved) in [(0, 25, 17), (17, 38, 34)] {
        let mut seen = Vec::new();
        let stopped = train(&mut learner().unwrap(), parts.path(), &LOOP, |event| {
            match event {
                Event::Resumed(step) => assert_eq!(step, from),
                Event::Step(step, _) if step == stop => {
                    return Err(Error::config("test", "stop", "a stop"));
                }
                Event::Step(step, _) => seen.push(step),
                _ => {}
            }
            Ok(())
        });
        assert!(matches!(stopped, Err(Error::Config { .. })));
        assert_eq!(seen, (from + 1..stop).collect::<Vec<_>>());
        assert_eq!(load_checkpoint(&parts.path().join("checkpoint.safetensors")).unwrap().1, saved);
    }
    let mut resumed = learner().unwrap();
    train(&mut resumed, parts.path(), &LOOP, |_| Ok(())).unwrap();
    let found = left(&resumed, parts.path());
    for (name, (found, right)) in
        ["checkpoint", "weights", "curves"].iter().zip(found.iter().zip(&right))
    {
        assert!(found == right, "the {name} differ");
    }
    // The weights moved at all, and another seed would have moved them elsewhere.
    let start = safetensors_bytes(&learner().unwrap().weights().unwrap()).unwrap();
    assert_ne!(right[1], start);
}

/// The learner of a run after six steps, with a stop before step `stop` and held-out losses after every second step.
fn after_six(run: &Run, data: &Dataset, stop: u64) -> Box<dyn Learner> {
    let learner = || run.learner(data, &Device::flex()).unwrap();
    let mut now = learner();
    for step in 0..6 {
        if step == stop {
            let state = now.save().unwrap();
            now = learner();
            now.load(state, run.folder()).unwrap();
        }
        now.step(step).unwrap();
        if step % 2 == 1 {
            now.held_out().unwrap();
        }
    }
    now
}

/// A run and its data, from a recipe's text and what is set in it.
fn made(text: &str, set: &[&str], folder: &Path) -> (Run, Dataset) {
    let set: Vec<String> = set.iter().map(|set| set.to_string()).collect();
    let recipe = Recipe::parse(text, &set).unwrap();
    let data = recipe.load_data().unwrap();
    (Run::create(folder, recipe, &data).unwrap(), data)
}

fn bytes(learner: &dyn Learner) -> Vec<u8> {
    safetensors_bytes(&learner.save().unwrap()).unwrap()
}

const DIGITS: &str = "[data]\nsource = \"digits\"";

/// The state after six steps on mirrored (or plain) digits, with a stop before step `stop`.
fn mirrored(flip: bool, stop: u64) -> Vec<u8> {
    let flip = format!("training.flip={flip}");
    let set = ["network=mlp", "network.hidden=16", "network.blocks=1", "training.batch=8", &flip];
    let folder = tempfile::tempdir().unwrap();
    let (run, data) = made(DIGITS, &set, folder.path());
    bytes(&*after_six(&run, &data, stop))
}

#[test]
fn pictures_are_mirrored_alike_after_a_stop() {
    let straight = mirrored(true, 6);
    assert!(straight == mirrored(true, 3) && straight != mirrored(false, 6));
}

#[test]
fn only_pictures_are_mirrored_and_augmented() {
    for (set, name) in
        [("flip=true", "training.flip"), ("augmentation={}", "training.augmentation")]
    {
        let set = [format!("training.{set}")];
        let recipe = Recipe::parse("[data]\nsource = \"moons\"\nn = 100", &set).unwrap();
        let data = recipe.load_data().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let error = Run::create(&folder.path().join("run"), recipe, &data).unwrap_err();
        assert!(matches!(&error, Error::Config { key, .. } if key == name), "{error}");
        assert!(!folder.path().join("run").exists());
    }
}

/// The state after six steps with dropout, augmentation, two averages and a choice of the best step.
fn regularised(network: &str, stop: u64) -> (Vec<u8>, State) {
    let set = [
        network,
        "training.batch=8",
        "network.dropout=0.3",
        "training.augmentation={probability = 0.5}",
        "training.averages=[0.1, 0.25]",
        "training.selection=best",
        "training.held_out_rows=300",
    ];
    let folder = tempfile::tempdir().unwrap();
    let (run, data) = made(DIGITS, &set, folder.path());
    let learner = after_six(&run, &data, stop);
    (bytes(&*learner), learner.weights().unwrap())
}

#[test]
fn dropout_augmentation_averages_and_the_choice_go_on_alike_after_a_stop() {
    let unet = "network = {name = 'unet', block_out_channels = [4, 8], norm_num_groups = 2, \
                down_block_types = ['ResnetDownsampleBlock2D', 'DownBlock2D'], \
                up_block_types = ['UpBlock2D', 'ResnetUpsampleBlock2D']}";
    for network in ["network={name = 'mlp', hidden = 16, blocks = 2}", unet] {
        let (straight, weights) = regularised(network, 99);
        for stop in [3, 4] {
            let (resumed, others) = regularised(network, stop);
            assert!(straight == resumed && weights == others, "{network} {stop}");
        }
        let description = weights.iter().find(|(name, _)| name.contains("description"));
        let (_, description) = description.expect("augmentation has an input");
        assert!(description.as_slice::<f32>().unwrap().iter().any(|value| *value != 0.0));
    }
}

#[test]
fn a_unet_goes_on_alike_after_a_stop_and_its_fixed_frequencies_stay() {
    let network = "network = {name = 'unet', block_out_channels = [4, 8], norm_num_groups = 2, \
                   down_block_types = ['DownBlock2D', 'AttnDownBlock2D'], \
                   up_block_types = ['AttnUpBlock2D', 'UpBlock2D'], \
                   time_embedding_type = 'fourier'}";
    let folder = tempfile::tempdir().unwrap();
    let (run, data) = made(DIGITS, &[network, "training.batch=8"], folder.path());
    let (straight, resumed) = (after_six(&run, &data, 99), after_six(&run, &data, 3));
    assert!(bytes(&*straight) == bytes(&*resumed));
    let start = run.learner(&data, &Device::flex()).unwrap();
    let (start, end) = (start.save().unwrap(), straight.save().unwrap());
    let name = "network.time_proj.weight";
    assert_eq!(start[name], end[name]);
    for (name, values) in start.iter().filter(|(name, _)| name.starts_with("network.")) {
        // A bias of keys shifts all scores of a pixel alike, which the softmax does not see.
        let moves = name != "network.time_proj.weight" && !name.ends_with("to_k.bias");
        assert!(!moves || *values != end[name], "{name}");
    }
}

/// O10: what levels learnt from losses is part of a checkpoint; held-out losses are those of the levels that they stand
/// in for.
#[test]
fn adaptive_levels_go_on_alike_after_a_stop_and_leave_held_out_losses_alone() {
    let set = ["data.n=2000", "training.batch=64", "training.accumulate=2", "network.hidden=16"];
    let adaptive = "objective.adaptive={bins=8,decay=0.9}";
    let text = "[data]\nsource = \"8gaussians\"\n[network]\nname = \"mlp\"";
    let [plain, folder] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (run, data) = made(text, &[&set[..], &[adaptive]].concat(), folder.path());
    let (straight, resumed) = (after_six(&run, &data, 99), after_six(&run, &data, 3));
    assert!(bytes(&*straight) == bytes(&*resumed));
    let roots = &straight.save().unwrap()["levels.roots"];
    let roots: Vec<f32> = roots.iter().collect();
    assert!(roots.len() == 8 && roots.iter().all(|r| *r > 0.0), "{roots:?}");
    // Where t is uniform most draws, and the network's largest errors, lie between the ends.
    assert!(roots[3] > 10.0 * roots[0].max(roots[7]), "{roots:?}");
    let (other, _) = made(text, &set, plain.path());
    let other = after_six(&other, &data, 99);
    assert!(!other.save().unwrap().contains_key("levels.roots"));
    assert!(bytes(&*straight) != bytes(&*other));
    let held_out = |run: &Run| run.learner(&data, &Device::flex()).unwrap().held_out().unwrap();
    let (with, without) = (held_out(&run), held_out(&Run::open(plain.path()).unwrap()));
    assert!(with == without && with.len() == 1, "{with:?} {without:?}");
    let mut wrong = straight.save().unwrap();
    wrong.insert("levels.roots".into(), TensorData::new(vec![1.0f32; 7], [7]));
    let error = run.learner(&data, &Device::flex()).unwrap().load(wrong, folder.path());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("levels.roots") && error.contains("8 numbers"), "{error}");
}
