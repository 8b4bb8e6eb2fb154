//! Checkpoints of diffusers through the program: in, sampled, out, and what is refused.

use crate::support::{done, refused, tweedie};
use serde_json::{Value, json};
use std::fs::{create_dir_all, read, read_to_string, remove_file, write};
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tweedie/tests/fixtures/diffusers").join(name)
}

/// A copy of a checkpoint under the name `source`.
fn copied(name: &str) -> TempDir {
    let folder = tempdir().unwrap();
    for file in [
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "scheduler/scheduler_config.json",
    ] {
        let target = folder.path().join("source").join(file);
        create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(fixture(name).join(file), target).unwrap();
    }
    folder
}

#[test]
fn a_checkpoint_goes_in_is_sampled_and_goes_out() {
    let folder = copied("resnet-resampling");
    let at = folder.path();
    let told = done(at, &["import", "source", "--out", "run"]);
    assert!(told.contains("predicts data") && told.contains("ddim in 50 steps"), "{told}");
    done(at, &["sample", "run", "-n", "10", "-o", "own.npy"]);
    done(at, &["sample", "run", "-n", "3", "--label", "4", "-o", "own.png"]);
    for solver in ["dpm++2m", "euler-maruyama", "heun"] {
        let options = ["--solver", solver, "--grid", "log-snr", "--steps", "5", "-o", "other.npy"];
        done(at, &[&["sample", "run", "-n", "2"], &options[..]].concat());
    }
    let shown = done(at, &["show", "run"]);
    assert!(shown.contains("trajectory.png") && shown.contains("trained elsewhere"), "{shown}");
    done(at, &["export", "run", "--out", "back"]);
    let json = |path: &str| -> Value {
        serde_json::from_str(&read_to_string(at.join(path)).unwrap()).unwrap()
    };
    assert_eq!(json("back/unet/config.json")["num_class_embeds"], 5);
    done(at, &["import", "back", "--out", "again"]);
    done(at, &["sample", "again", "-n", "10", "-o", "again.npy"]);
    assert_eq!(read(at.join("own.npy")).unwrap(), read(at.join("again.npy")).unwrap());
}

/// Dropout is a matter of training: such a network samples as the same network without.
#[test]
fn a_network_with_dropout_is_imported_and_sampled() {
    let folder = copied("ddpm");
    let (at, path) = (folder.path(), folder.path().join("source/unet/config.json"));
    done(at, &["import", "source", "--out", "without"]);
    let mut config: Value = serde_json::from_str(&read_to_string(&path).unwrap()).unwrap();
    config["dropout"] = json!(0.1);
    write(&path, config.to_string()).unwrap();
    done(at, &["import", "source", "--out", "with"]);
    for run in ["without", "with"] {
        done(at, &["sample", run, "-n", "2", "--steps", "3", "-o", &format!("{run}.npy")]);
    }
    assert_eq!(read(at.join("with.npy")).unwrap(), read(at.join("without.npy")).unwrap());
}

#[test]
fn what_cannot_be_imported_is_refused_by_name() {
    let change = |file: &str, key: &str, value: Value, words: &[&str]| {
        let folder = copied("ddpm");
        let path = folder.path().join("source").join(file);
        let mut object: Value = serde_json::from_str(&read_to_string(&path).unwrap()).unwrap();
        object[key] = value;
        write(&path, object.to_string()).unwrap();
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        let words = [&[name, key], words].concat();
        refused(folder.path(), 1, &words, &["import", "source", "--out", "run"]);
        assert!(!folder.path().join("run").exists());
    };
    let unet = "unet/config.json";
    change(unet, "_class_name", json!("UNet2DConditionModel"), &["UNet2DModel"]);
    change(unet, "colour", json!(1), &["unknown key"]);
    change(unet, "act_fn", json!("mish"), &["mish", "silu"]);
    change(
        unet,
        "down_block_types",
        json!(["SkipDownBlock2D", "DownBlock2D"]),
        &["AttnDownBlock2D"],
    );
    change(unet, "block_out_channels", json!([4]), &[]);
    change(unet, "block_out_channels", json!([4, 1_000_000_000]), &[]);
    change(unet, "block_out_channels", json!([4, 7]), &[]);
    change(unet, "sample_size", json!(7), &["multiple of 2"]);
    change(unet, "norm_num_groups", json!(0), &[]);
    change(unet, "norm_eps", json!(-1.0), &[]);
    change(unet, "attention_head_dim", json!(16), &["at most 4"]);
    change(unet, "out_channels", json!(5), &["as many as in_channels"]);
    let scheduler = "scheduler/scheduler_config.json";
    change(scheduler, "_class_name", json!("FlowMatchLCMScheduler"), &["DDPMScheduler"]);
    change(scheduler, "beta_schedule", json!("laplace"), &["linear"]);
    change(scheduler, "prediction_type", json!("flow"), &["epsilon"]);
    change(scheduler, "variance_type", json!("fixed_medium"), &["fixed_small"]);
    change(scheduler, "timestep_spacing", json!("karras"), &["leading"]);
    change(scheduler, "beta_end", json!(2.0), &["between 0 and 1"]);
    change(scheduler, "num_train_timesteps", json!(0), &[]);
    change(scheduler, "clip_sample", json!("yes"), &["true or false"]);
}

#[test]
fn a_checkpoint_with_damaged_files_is_refused_by_name() {
    let folder = copied("ddpm");
    let import = |words: &[&str]| {
        refused(folder.path(), 1, words, &["import", "source", "--out", "run"]);
        assert!(!folder.path().join("run").exists());
    };
    let file = |name: &str| folder.path().join("source").join(name);
    refused(folder.path(), 1, &["nowhere", "folder"], &["import", "nowhere", "--out", "run"]);
    let name = "unet/diffusion_pytorch_model.safetensors";
    let weights = read(file(name)).unwrap();
    write(file(name), &weights[..weights.len() / 2]).unwrap();
    import(&["diffusion_pytorch_model.safetensors", "complete"]);
    remove_file(file(name)).unwrap();
    import(&["weights", "diffusion_pytorch_model.safetensors"]);
    write(file("unet/diffusion_pytorch_model.bin"), &weights).unwrap();
    import(&["diffusion_pytorch_model.bin", "torch.save"]);
    // The weights of another network.
    remove_file(file("unet/diffusion_pytorch_model.bin")).unwrap();
    std::fs::copy(fixture("cosine").join(name), file(name)).unwrap();
    import(&["diffusion_pytorch_model.safetensors", "expected shape"]);
    write(file(name), &weights).unwrap();
    write(file("unet/config.json"), "{").unwrap();
    import(&["config.json", "line 1"]);
    remove_file(file("unet/config.json")).unwrap();
    import(&["config.json"]);
    // What a training script leaves.
    for name in ["checkpoint-500", "checkpoint-1000"] {
        let of = fixture("cosine").join("unet/config.json");
        std::fs::create_dir_all(file(name)).unwrap();
        std::fs::copy(of, file(name).join("config.json")).unwrap();
    }
    import(&["it has 2 checkpoints", "such as source/checkpoint-1000"]);
}

#[test]
fn an_imported_run_is_no_trained_one() {
    let folder = copied("ddpm");
    let at = folder.path();
    done(at, &["import", "source", "--out", "run"]);
    refused(at, 2, &["holds a run already"], &["import", "source", "--out", "run"]);
    refused(at, 1, &["imported"], &["evaluate", "run"]);
    refused(at, 1, &["imported"], &["train", "digits", "--out", "run", "--resume"]);
}

/// Imports `source` as `run` and gives the remarks.
fn remarks(at: &Path, source: &str, run: &str) -> String {
    let ran = tweedie(at, &["import", source, "--out", run]);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    ran.stderr
}

#[test]
fn averaged_weights_are_preferred_and_either_can_be_chosen() {
    let folder = copied("ddpm");
    let at = folder.path();
    create_dir_all(at.join("source/unet_ema")).unwrap();
    let path = |part: &str, file: &str| at.join("source").join(part).join(file);
    let mut config: Value =
        serde_json::from_str(&read_to_string(path("unet", "config.json")).unwrap()).unwrap();
    for (key, value) in [
        ("decay", json!(0.9999)),
        ("inv_gamma", json!(1.0)),
        ("min_decay", json!(0.5)),
        ("optimization_step", json!(500)),
        ("power", json!(0.75)),
        ("update_after_step", json!(3)),
        ("use_ema_warmup", json!(true)),
        ("force_upcast", json!(false)),
        ("encoder_hid_dim", json!(null)),
    ] {
        config[key] = value;
    }
    write(path("unet_ema", "config.json"), config.to_string()).unwrap();
    let weights = "diffusion_pytorch_model.safetensors";
    std::fs::copy(path("unet", weights), path("unet_ema", weights)).unwrap();
    let note = remarks(at, "source", "both");
    assert!(note.contains("unet_ema is imported") && note.contains("source/unet`"), "{note}");
    assert_eq!(remarks(at, "source/unet_ema", "ema") + &remarks(at, "source/unet", "raw"), "");
    let solver = |run: &str| {
        let text = read_to_string(at.join(run).join("run.json")).unwrap();
        let run: Value = serde_json::from_str(&text).unwrap();
        run["recipe"]["sampling"].clone()
    };
    assert_eq!((solver("ema"), solver("raw")), (solver("both"), solver("both")));
    // As a training script leaves it, in a folder beside the scheduler's.
    std::fs::rename(at.join("source/scheduler"), at.join("scheduler")).unwrap();
    remove_file(at.join("source/model_index.json")).unwrap();
    remarks(at, "source", "checkpoint");
    assert_eq!(solver("checkpoint"), solver("both"));
    remarks(at, "source/unet", "inner");
    assert_eq!(solver("inner"), solver("both"));
    std::fs::remove_dir_all(at.join("scheduler")).unwrap();
    assert!(remarks(at, "source/unet", "bare").contains("no scheduler_config.json"));
}

#[test]
fn a_learned_variance_needs_a_network_that_learnt_it() {
    let folder = copied("ddpm");
    let path = folder.path().join("source/scheduler/scheduler_config.json");
    let mut object: Value = serde_json::from_str(&read_to_string(&path).unwrap()).unwrap();
    object["variance_type"] = json!("learned_range");
    write(&path, object.to_string()).unwrap();
    let words = ["config.json", "out_channels: 3", "variance_type"];
    refused(folder.path(), 1, &words, &["import", "source", "--out", "run"]);
    let folder = copied("learned-range");
    let at = folder.path();
    done(at, &["import", "source", "--out", "run"]);
    done(at, &["sample", "run", "-n", "3", "--steps", "5", "-o", "out.npy"]);
    let fixed = "{ name = 'ancestral', variance = 'small' }";
    done(at, &["sample", "run", "-n", "3", "--steps", "5", "--solver", fixed, "-o", "small.npy"]);
    assert_ne!(read(at.join("out.npy")).unwrap(), read(at.join("small.npy")).unwrap());
    let others = ["--solver", "dpm++2m", "--grid", "log-snr", "--steps", "5", "-o", "other.npy"];
    done(at, &[&["sample", "run", "-n", "3"], &others[..]].concat());
    assert!(done(at, &["show", "run", "--steps", "5"]).contains("trajectory.png"));
    done(at, &["export", "run", "--out", "back"]);
    done(at, &["import", "back", "--out", "again"]);
    done(at, &["sample", "again", "-n", "3", "--steps", "5", "-o", "again.npy"]);
    assert_eq!(read(at.join("out.npy")).unwrap(), read(at.join("again.npy")).unwrap());
    // A network without them samples by fixed ones alone.
    let folder = copied("ddpm");
    done(folder.path(), &["import", "source", "--out", "run"]);
    let learned = "{ name = 'ancestral', variance = 'learned' }";
    let options = ["--solver", learned, "--steps", "5", "-o", "out.npy"];
    let words = ["learned variance", "predicts none"];
    refused(folder.path(), 1, &words, &[&["sample", "run", "-n", "2"], &options[..]].concat());
}

#[test]
fn a_flow_is_imported_sampled_shown_and_exported() {
    let folder = copied("ddpm");
    let at = folder.path();
    let path = at.join("source/scheduler/scheduler_config.json");
    let flow = |key: &str, value: Value| {
        let mut object = json!({ "_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0 });
        object[key] = value;
        write(&path, object.to_string()).unwrap();
    };
    for (key, value) in [
        ("use_dynamic_shifting", json!(true)),
        ("stochastic_sampling", json!(true)),
        ("shift_terminal", json!(0.1)),
        ("num_train_timesteps", json!(500)),
        ("shift", json!(-1.0)),
    ] {
        flow(key, value);
        refused(at, 1, &["scheduler_config.json", key], &["import", "source", "--out", "run"]);
    }
    flow("shift_terminal", json!(null));
    let told = done(at, &["import", "source", "--out", "run"]);
    assert!(told.contains("straight, predicts velocity, samples by euler in 50 steps"), "{told}");
    done(at, &["sample", "run", "-n", "2", "--steps", "4", "-o", "out.npy"]);
    let others = ["--solver", "dpm++2m", "--grid", "log-snr", "--steps", "5", "-o", "other.npy"];
    done(at, &[&["sample", "run", "-n", "3"], &others[..]].concat());
    assert!(done(at, &["show", "run", "--steps", "5"]).contains("trajectory.png"));
    done(at, &["export", "run", "--out", "back"]);
    done(at, &["import", "back", "--out", "again"]);
    done(at, &["sample", "again", "-n", "2", "--steps", "4", "-o", "again.npy"]);
    assert_eq!(read(at.join("out.npy")).unwrap(), read(at.join("again.npy")).unwrap());
}

#[test]
fn a_pipeline_of_more_parts_is_refused_by_its_index() {
    for (key, class) in [
        ("vqvae", "VQModel"),
        ("vae", "AutoencoderKL"),
        ("text_encoder", "CLIPTextModel"),
        ("low_res_scheduler", "DDPMScheduler"),
    ] {
        let folder = copied("ddpm");
        let path = folder.path().join("source/model_index.json");
        let mut index: Value = serde_json::from_str(&read_to_string(&path).unwrap()).unwrap();
        index["safety_checker"] = json!([null, null]);
        index["requires_safety_checker"] = json!(true);
        write(&path, index.to_string()).unwrap();
        done(folder.path(), &["import", "source", "--out", "good"]);
        index[key] = json!(["diffusers", class]);
        write(&path, index.to_string()).unwrap();
        for source in ["source", "source/unet"] {
            let words = ["model_index.json", key, class, "unet and scheduler alone"];
            refused(folder.path(), 1, &words, &["import", source, "--out", "run"]);
        }
    }
}

#[test]
fn an_imported_run_with_classes_takes_them_in_turn() {
    let folder = copied("resnet-resampling");
    let at = folder.path();
    done(at, &["import", "source", "--out", "run"]);
    done(at, &["sample", "run", "-n", "7", "--steps", "2", "-o", "out.csv"]);
    let text = read_to_string(at.join("out.csv")).unwrap();
    let classes: Vec<&str> =
        text.lines().skip(1).map(|line| line.rsplit(',').next().unwrap()).collect();
    assert_eq!(classes, ["0", "1", "2", "3", "4", "0", "1"]);
    let words = ["--label", "imported", "all"];
    refused(at, 2, &words, &["sample", "run", "--label", "data", "-o", "other.csv"]);
}
