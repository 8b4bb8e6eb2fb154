//! Networks, samples and files of diffusers (`bench/diffusers_peer.py` writes the folders read here).

use crate::support::*;
use burn::tensor::{Tensor, TensorData};
use std::path::{Path, PathBuf};
use tweedie::data::{Condition, Rows};
use tweedie::denoise::{Denoiser, Prediction};
use tweedie::diffusers;
use tweedie::family::diffusion::{Diffusion, DiffusionModel, SamplingRecipe};
use tweedie::nn::*;
use tweedie::process::Schedule;
use tweedie::run::Run;
use tweedie::solve::grid::Leading;
use tweedie::solve::*;

/// Every configuration, with the number of its chain's steps. `exported` was trained on digits and exported here, and
/// then loaded and sampled by diffusers (`bench/diffusers_peer.py --check`).
const NAMES: [(&str, usize); 10] = [
    ("exported", 1000),
    ("ddpm", 1000),
    ("cosine", 1000),
    ("resnet-resampling", 1000),
    ("attention-resampling", 1000),
    ("fourier", 1000),
    ("learned", 100),
    ("three-levels", 1000),
    ("learned-range", 1000),
    ("learned-variance", 1000),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/diffusers").join(name)
}

/// The peer's unit-variance numbers.
fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (3f64.sqrt() * (2.0 * ((state >> 11) as f64 / (1u64 << 53) as f64) - 1.0)) as f32
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn expected(name: &str, key: &str) -> Vec<f64> {
    let params = load_safetensors(&fixture(name).join("expected.safetensors")).unwrap();
    params[key].iter::<f64>().collect()
}

/// The condition that the peer gave to both rows.
fn condition(config: &UNetConfig) -> Condition {
    match (config.class_embed_type, config.num_class_embeds) {
        (Some(ClassEmbedType::Identity), _) => {
            let width = config.time_width();
            let values = singles(numbers(7, 2 * width), [2, width]);
            Condition::Vector { values, present: vec![true; 2] }
        }
        (None, None) => Condition::None,
        _ => Condition::Class(vec![Some(3), Some(1)]),
    }
}

#[test]
fn networks_give_what_diffusers_gives() {
    for (name, steps) in NAMES {
        let network = diffusers::load_unet(&fixture(name).join("unet"), &cpu()).unwrap();
        let width = network.width();
        let x = singles(numbers(1, 2 * width), [2, width]);
        let times = Tensor::from_floats([[(steps / 3) as f32], [(steps - 7) as f32]], &cpu());
        let condition = condition(network.config());
        let found = network.forward(x.into(), times.into(), &condition).unwrap();
        all_close(name, &host(&found.value), &expected(name, "output"), 1e-4);
    }
}

#[test]
fn parameters_are_counted_before_they_are_made() {
    for (name, _) in NAMES {
        let network = diffusers::load_unet(&fixture(name).join("unet"), &cpu()).unwrap();
        assert_eq!(network.config().parameters(), param_count(&network) as u128, "{name}");
    }
}

/// The peer's noise: the same for every row order, one stream a step.
struct Given;

impl Noise for Given {
    fn normals(&self, step: u64, rows: &[u64], width: usize) -> Rows {
        Rows::new(numbers(1000 + step, rows.len() * width), width).unwrap()
    }
}

/// A run's resolved recipe.
fn diffusion(run: &Run) -> Diffusion {
    run.info.resolved_as::<Diffusion>().unwrap().clone()
}

/// Where a run's sampling ends from the peer's start, with another solver and number of steps.
fn sample(run: &Run, solver: AnySolver, steps: usize, last: Last) -> Vec<f64> {
    sample_from(run, solver, steps, last, 1.0)
}

/// As [`sample`], from as much noise.
fn sample_from(run: &Run, solver: AnySolver, steps: usize, last: Last, sd: f64) -> Vec<f64> {
    let recipe = run.info.resolved_as::<Diffusion>().unwrap();
    let denoiser = run.model_as::<DiffusionModel>(&cpu()).unwrap().denoiser;
    let AnyNetworkConfig::Unet(unet) = &recipe.network else { panic!("not a UNet") };
    let context = Context {
        denoiser: &*denoiser,
        schedule: &recipe.schedule,
        condition: &condition(unet),
        noise: &Given,
        rows: &[0, 1],
        clip: recipe.sampling.clip,
    };
    let levels = solver.levels(&*recipe.sampling.grid, &recipe.schedule, steps, last).unwrap();
    let width = denoiser.width();
    let x = singles(numbers(2, 2 * width), [2, width]).mul_scalar(sd);
    host(&integrate(&*solver, x, &levels, last, &context, |_| {}).unwrap())
}

#[test]
fn imported_runs_sample_as_their_schedulers_do() {
    for (name, _) in NAMES {
        let folder = tempfile::tempdir().unwrap();
        let run = diffusers::import(&fixture(name), &folder.path().join("run")).unwrap().run;
        let sampling = &run.info.resolved_as::<Diffusion>().unwrap().sampling;
        let ddim = AnySolver::Ddim(Ddim::default());
        let found = sample(&run, ddim, 10, sampling.last);
        all_close(format!("{name}, DDIM"), &found, &expected(name, "ddim"), 1e-3);
        let ddpm = match sampling.solver {
            AnySolver::Ancestral(_) => sampling.solver,
            _ => AnySolver::Ancestral(Ancestral::default()),
        };
        let found = sample(&run, ddpm, 50, Last::Denoise);
        all_close(format!("{name}, DDPM"), &found, &expected(name, "ddpm"), 1e-3);
    }
}

/// Where another scheduler ends with the network of `ddpm`.
#[derive(serde::Deserialize)]
struct Other {
    /// As `save_pretrained` writes it.
    config: String,
    steps: usize,
    /// The standard deviation of its start.
    start: f64,
    ends: Vec<f64>,
}

/// A copy of a checkpoint without its scheduler.
fn without_scheduler(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    let source = folder.path().join("source");
    for part in ["unet", "scheduler"] {
        std::fs::create_dir_all(source.join(part)).unwrap();
    }
    for file in ["config.json", "diffusion_pytorch_model.safetensors"] {
        let file = Path::new("unet").join(file);
        std::fs::copy(fixture(name).join(&file), source.join(&file)).unwrap();
    }
    source
}

#[test]
fn other_schedulers_sample_as_diffusers_does() {
    let text = std::fs::read_to_string(fixture("schedulers.json")).unwrap();
    let others: Vec<Other> = serde_json::from_str(&text).unwrap();
    assert_eq!(others.len(), 29);
    let folder = tempfile::tempdir().unwrap();
    let source = without_scheduler(&folder, "ddpm");
    let mut wrong = Vec::new();
    for (k, Other { config, steps, start, ends }) in others.into_iter().enumerate() {
        std::fs::write(source.join("scheduler/scheduler_config.json"), &config).unwrap();
        let run = diffusers::import(&source, &folder.path().join(k.to_string())).unwrap().run;
        let Diffusion { schedule, sampling, .. } = diffusion(&run);
        let SamplingRecipe { solver, last, .. } = sampling;
        // Elsewhere diffusers' x is x/α.
        let start = if schedule.level(schedule.range().1).alpha == 1.0 { start } else { 1.0 };
        let found = sample_from(&run, solver, steps, last, start);
        let size = ends.iter().fold(0.0, |most: f64, e| most.max(e.abs()));
        let error = crate::oracle::gap(&found, &ends) / size;
        println!("{error:.1e} {solver:?} in {steps} steps");
        if error > 1e-3 {
            wrong.push(format!("{error:e} {solver:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn parallel_schedulers_are_those_of_one_step_after_another() {
    let folder = tempfile::tempdir().unwrap();
    let source = without_scheduler(&folder, "ddpm");
    let sampling = |class: &str| {
        let config = format!(r#"{{"_class_name": "{class}", "clip_sample_range": 2.0}}"#);
        std::fs::write(source.join("scheduler/scheduler_config.json"), config).unwrap();
        diffusion(&diffusers::import(&source, &folder.path().join(class)).unwrap().run).sampling
    };
    for name in ["DDPM", "DDIM"] {
        let [one, parallel] = ["", "Parallel"].map(|p| sampling(&format!("{name}{p}Scheduler")));
        assert_eq!(one, parallel);
        assert_eq!(one.clip, Some(tweedie::solve::Clip::Range(2.0)));
    }
}

/// Reverse diffusion without its corrector, whose step lengths depend on the whole batch in diffusers.
#[test]
fn a_variance_exploding_score_network_samples_as_in_diffusers() {
    let folder = tempfile::tempdir().unwrap();
    let run = diffusers::import(&fixture("score-sde-ve"), &folder.path().join("run")).unwrap().run;
    let Diffusion { model, sampling, .. } = diffusion(&run);
    assert_eq!((model.prediction, model.scale_input), (Prediction::Score, false));
    let corrector = Langevin { snr: 0.15, steps: 1 };
    let predictor = Predictor::AncestralLarge;
    assert_eq!(sampling.solver, PredictorCorrector { predictor, corrector }.into());
    let network = diffusers::load_unet(&fixture("score-sde-ve").join("unet"), &cpu()).unwrap();
    let x = singles(numbers(1, 2 * network.width()), [2, network.width()]);
    let sigmas = Tensor::from_floats([[0.02], [30.0]], &cpu());
    let output = network.forward(x.into(), sigmas.into(), &Condition::None).unwrap();
    all_close("output", &host(&output.value), &expected("score-sde-ve", "output"), 1e-4);
    // Pictures lie in [0, 1].
    let pixel = run.info.space.coordinate(0);
    assert_eq!((pixel.shift, pixel.scale), (0.5, 255.0));
    let large = Ancestral { variance: AncestralVariance::Large };
    let found = sample_from(&run, large.into(), 20, sampling.last, 50.0);
    let ends = expected("score-sde-ve", "reverse");
    let size = ends.iter().fold(0.0, |most: f64, e| most.max(e.abs()));
    let error = crate::oracle::gap(&found, &ends) / size;
    println!("{error:e} of {size}");
    assert!(error < 1e-3, "{error:e}");
}

#[test]
fn a_variance_preserving_score_network_predicts_noise_at_999_t() {
    let folder = tempfile::tempdir().unwrap();
    let source = without_scheduler(&folder, "ddpm");
    let config = r#"{"_class_name": "ScoreSdeVpScheduler", "beta_min": 0.2, "beta_max": 18}"#;
    std::fs::write(source.join("scheduler/scheduler_config.json"), config).unwrap();
    let run = diffusers::import(&source, &folder.path().join("run")).unwrap().run;
    let recipe = diffusion(&run);
    let beta = tweedie::process::VpLinear { beta_min: 0.2, beta_max: 18.0 };
    assert_eq!(recipe.schedule, beta.into());
    assert_eq!(recipe.sampling.solver, EulerMaruyama::default().into());
    let denoiser = run.model_as::<DiffusionModel>(&cpu()).unwrap().denoiser;
    let network = diffusers::load_unet(&source.join("unet"), &cpu()).unwrap();
    let (t, width) = (0.3, network.width());
    let x = singles(numbers(1, 2 * width), [2, width]);
    let time = Tensor::from_floats([[999.0 * t as f32]], &cpu());
    let noise = network.forward(x.clone().into(), time.into(), &Condition::None).unwrap().value;
    let level = beta.level(t);
    let right = (x.clone() - noise.mul_scalar(level.sigma)).div_scalar(level.alpha);
    let found = denoiser.denoise(x.into(), &level.into(), &Condition::None).unwrap().value;
    // Times here start at 1e-5, which moves the clock by 0.007.
    all_close("the mean", &host(&found), &host(&right), 1e-2);
}

/// A run that samples as PNDM, LMS or a flow is exported with the scheduler that it came with.
#[test]
fn solvers_are_exported_as_the_schedulers_they_came_from() {
    let text = std::fs::read_to_string(fixture("schedulers.json")).unwrap();
    let others: Vec<Other> = serde_json::from_str(&text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = without_scheduler(&folder, "ddpm");
    let mut seen = 0;
    for (k, Other { config, .. }) in others.iter().enumerate() {
        // Other configurations hold infinities, which are not JSON.
        if !["PNDM", "LMS", "FlowMatch"].iter().any(|name| config.contains(name)) {
            continue;
        }
        let own: serde_json::Value = serde_json::from_str(config).unwrap();
        let class = own["_class_name"].as_str().unwrap();
        std::fs::write(source.join("scheduler/scheduler_config.json"), config).unwrap();
        let run = diffusers::import(&source, &folder.path().join(k.to_string())).unwrap().run;
        let out = folder.path().join(format!("out-{k}"));
        diffusers::export(&run, &out).unwrap();
        let found = json(out.join("scheduler/scheduler_config.json"));
        for (key, value) in found.as_object().unwrap() {
            if let Some(own) = own.get(key) {
                assert_eq!(numbered(value.clone()), numbered(own.clone()), "{class} {key}");
            }
        }
        let again = diffusers::import(&out, &folder.path().join(format!("again-{k}"))).unwrap().run;
        assert_eq!(diffusion(&again), diffusion(&run), "{class}");
        seen += 1;
    }
    assert_eq!(seen, 9);
}

#[test]
fn a_scheduler_s_words_become_the_run_s_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let import =
        |name: &str| diffusers::import(&fixture(name), &folder.path().join(name)).unwrap().run;
    let sampling = diffusion(&import("ddpm")).sampling;
    assert_eq!(
        sampling.solver,
        AnySolver::Ancestral(Ancestral { variance: AncestralVariance::Large })
    );
    assert_eq!((sampling.steps, sampling.last), (1000, Last::Denoise));
    assert_eq!(
        (sampling.grid, sampling.clip),
        (AnyGrid::Leading(Leading { offset: 0, open: false }), Some(Clip::Range(1.0)))
    );
    let recipe = diffusion(&import("resnet-resampling"));
    assert_eq!(recipe.model.prediction, Prediction::Data);
    assert_eq!((recipe.sampling.steps, recipe.sampling.last), (50, Last::Stop));
    assert_eq!(
        (recipe.sampling.grid, recipe.sampling.clip),
        (AnyGrid::Leading(Leading { offset: 1, open: false }), None)
    );
    let clip = diffusion(&import("attention-resampling")).sampling.clip;
    assert_eq!(clip, Some(Clip::Dynamic { ratio: 0.9, max: 1.5 }));
}

#[test]
fn weights_by_torch_save_and_under_old_names_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let weights = |source: &Path, name: &str| {
        diffusers::import(source, &folder.path().join(name)).unwrap().run.weights().unwrap()
    };
    let new = weights(&fixture("ddpm"), "new");
    assert_eq!(weights(&fixture("ddpm-bin"), "bin"), new);
    // As checkpoints of 2022 have it: other names, and 1 × 1 convolutions.
    let old: Params = new
        .iter()
        .map(|(name, data)| {
            let shape = data.shape().to_vec();
            let names =
                [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")];
            let is_linear = names.iter().any(|(new, _)| name.contains(new)) && shape.len() == 2;
            let shape = if is_linear { [shape.as_slice(), &[1, 1]].concat() } else { shape };
            let name = names.iter().fold(name.clone(), |name, (new, old)| name.replace(new, old));
            (name, TensorData::new(data.try_to_vec::<f32>().unwrap(), shape))
        })
        .collect();
    let copy = folder.path().join("copy");
    std::fs::create_dir_all(&copy).unwrap();
    for file in ["unet/config.json", "scheduler/scheduler_config.json"] {
        let name = Path::new(file).file_name().unwrap();
        std::fs::copy(fixture("ddpm").join(file), copy.join(name)).unwrap();
    }
    save_safetensors(&old, &copy.join("diffusion_pytorch_model.safetensors")).unwrap();
    assert_eq!(weights(&copy, "old"), new);
    let sampling = |name: &str| diffusion(&Run::open(&folder.path().join(name)).unwrap()).sampling;
    assert_eq!(sampling("old"), sampling("new"));
}

#[test]
fn shards_and_variants_are_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::copy(fixture("ddpm").join("unet/config.json"), source.join("config.json")).unwrap();
    let whole = fixture("ddpm").join("unet/diffusion_pytorch_model.safetensors");
    let all = load_safetensors(&whole).unwrap();
    let import = |k: usize| diffusers::import(&source, &folder.path().join(k.to_string()));
    let mut k = 0;
    // Names of the index and of its shards, and of a variant, as `save_pretrained` writes them.
    for (index, shard, note) in [
        ("diffusion_pytorch_model.safetensors.index.json", "diffusion_pytorch_model", ""),
        (
            "diffusion_pytorch_model.safetensors.index.fp16.json",
            "diffusion_pytorch_model.fp16",
            "index.fp16.json",
        ),
        (
            "diffusion_pytorch_model.ema.safetensors.index.json",
            "diffusion_pytorch_model.ema",
            "model.ema.safetensors.index.json",
        ),
    ] {
        let names = [1, 2].map(|n| format!("{shard}-0000{n}-of-00002.safetensors"));
        let mut map = serde_json::Map::new();
        for (n, file) in names.iter().enumerate() {
            let own = all.iter().enumerate().filter(|(i, _)| i % 2 == n).map(|(_, pair)| pair);
            let own: Params = own.map(|(name, data)| (name.clone(), data.clone())).collect();
            own.keys().for_each(|name| {
                map.insert(name.clone(), file.clone().into());
            });
            save_safetensors(&own, &source.join(file)).unwrap();
        }
        let text = serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map });
        std::fs::write(source.join(index), text.to_string()).unwrap();
        let imported = import(k).unwrap();
        assert_eq!(imported.run.weights().unwrap(), all, "{index}");
        let notes = imported.notes.join(" ");
        assert!(notes.contains(note), "{notes}");
        let error = |k| import(k).unwrap_err().to_string();
        let last = all.keys().nth(1).unwrap();
        std::fs::rename(source.join(&names[1]), source.join("away")).unwrap();
        assert!(error(k + 1).contains(&names[1]), "{}", error(k + 1));
        std::fs::copy(source.join(&names[0]), source.join(&names[1])).unwrap();
        assert!(error(k + 1).contains(last) && error(k + 1).contains("missing"));
        std::fs::remove_file(source.join(index)).unwrap();
        assert!(error(k + 1).contains("without an index"), "{}", error(k + 1));
        names.iter().for_each(|name| std::fs::remove_file(source.join(name)).unwrap());
        k += 1;
    }
    for name in ["diffusion_pytorch_model.fp16.safetensors", "model.non_ema.safetensors"] {
        let path = source.join(name);
        std::fs::copy(&whole, &path).unwrap();
        let imported = import(k).unwrap();
        assert_eq!(imported.run.weights().unwrap(), all);
        assert!(imported.notes.iter().any(|note| note.ends_with(name)), "{:?}", imported.notes);
        std::fs::remove_file(path).unwrap();
        k += 1;
    }
    let escape = r#"{"weight_map": {"conv_in.bias": "../source/x.safetensors"}}"#;
    std::fs::write(source.join("model.safetensors.index.json"), escape).unwrap();
    assert!(import(k).unwrap_err().to_string().contains("weight_map"));
}

/// A folder's JSON file, whatever the order of its keys, without the version of who wrote it.
fn json(path: PathBuf) -> serde_json::Value {
    let mut value: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    value.as_object_mut().unwrap().remove("_diffusers_version");
    value
}

#[test]
fn what_was_imported_is_exported_key_for_key() {
    for (name, _) in NAMES {
        let folder = tempfile::tempdir().unwrap();
        let run = diffusers::import(&fixture(name), &folder.path().join("run")).unwrap().run;
        let out = folder.path().join("out");
        diffusers::export(&run, &out).unwrap();
        for file in ["model_index.json", "unet/config.json"] {
            let (found, own) = (json(out.join(file)), json(fixture(name).join(file)));
            assert_eq!(numbered(found), numbered(own), "{name} {file}");
        }
        let file = "scheduler/scheduler_config.json";
        let (found, own) = (json(out.join(file)), json(fixture(name).join(file)));
        for (key, value) in own.as_object().unwrap() {
            assert_eq!(numbered(found[key].clone()), numbered(value.clone()), "{name} {key}");
        }
        let file = "unet/diffusion_pytorch_model.safetensors";
        let weights =
            [out.join(file), fixture(name).join(file)].map(|p| load_safetensors(&p).unwrap());
        assert_eq!(weights[0], weights[1], "{name}");
    }
}

/// Every number as a float, since 1 and 1.0 are the same to diffusers.
fn numbered(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(n) => n.as_f64().into(),
        Value::Array(values) => values.into_iter().map(numbered).collect(),
        Value::Object(map) => map.into_iter().map(|(k, v)| (k, numbered(v))).collect(),
        other => other,
    }
}
