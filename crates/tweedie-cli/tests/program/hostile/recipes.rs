//! Recipes: misspelt keys, values of the wrong type or out of range, files that are no recipes.

use crate::support::{failed, refused, tweedie};
use std::fs::write;
use std::path::Path;

/// A value of a key, and what the error must hold.
const VALUES: &[(&str, &[&str])] = &[
    // Misspelt keys and names, with what was meant.
    ("trainig.steps=5", &["trainig", "`training` perhaps"]),
    ("training.step=5", &["training.step", "`steps` perhaps"]),
    ("network.hiden=5", &["network.hiden", "`hidden` perhaps"]),
    ("training.adamw.beta_3=0.5", &["training.adamw.beta_3", "`beta_1` perhaps"]),
    ("schedule=cosin", &["schedule", "`cosine` perhaps"]),
    ("schedule={name='vp-linear',betta_min=1}", &["schedule.betta_min", "`beta_min` perhaps"]),
    ("sampling.solver=ddin", &["sampling.solver", "`ddim` perhaps"]),
    ("sampling.grid=karas", &["sampling.grid", "`karras` perhaps"]),
    ("model.prediction=nois", &["model.prediction", "`noise` perhaps"]),
    ("objective.weighting=edmm", &["objective.weighting", "`edm` perhaps"]),
    ("objective.weighting={min-snr={gama=1}}", &["objective.weighting", "`gamma` perhaps"]),
    ("objective.kind=slicd", &["objective.kind", "`sliced` perhaps"]),
    ("objective.kind={name='sliced',slice=2}", &["objective.kind.slice", "`slices` perhaps"]),
    ("objective.kind={name='sliced',law='normal'}", &["objective.kind.law", "gaussian"]),
    ("objective.kind={name='implicit',steps=3}", &["objective.kind.steps", "unknown key"]),
    ("objective.levels.distribution=unifrom", &["distribution", "`uniform` perhaps"]),
    ("network=mpl", &["network", "`mlp` perhaps"]),
    ("network.activation=sillu", &["network.activation", "`silu` perhaps"]),
    ("training.decay=cosin", &["training.decay", "`cosine` perhaps"]),
    ("data.source=mons", &["data.source", "`moons` perhaps"]),
    // The wrong type.
    ("training.steps=many", &["training.steps", "\"many\"", "a whole number"]),
    ("training.steps=1.5", &["training.steps", "1.5", "a whole number"]),
    ("training.steps=nan", &["training.steps", "nan", "a whole number"]),
    ("training.steps=", &["training.steps", "a whole number"]),
    ("training.ema=high", &["training.ema", "\"high\"", "a number"]),
    ("training=3", &["training", "3", "a table of keys"]),
    ("training.steps.x=3", &["training.steps.x", "a key inside a table"]),
    ("data=moons", &["data", "moons", "a table of keys"]),
    ("data.image=[1,2]", &["data.image", "an array of length 3"]),
    ("seed=99999999999999999999", &["seed", "a whole number"]),
    ("objective.levels.low_discrepancy=1", &["low_discrepancy", "true or false"]),
    ("model.energy=yes", &["model.energy", "true or false"]),
    ("objective.levels.distribution=log-normal", &["distribution.mean", "missing"]),
    ("schedule={side=3}", &["schedule.name", "missing"]),
    ("training.steps", &["--set", "key=value"]),
    ("=5", &["--set", "key=value"]),
    ("training..steps=5", &["--set", "key=value"]),
    // Zero, negative, not a number, huge.
    ("schedule={name='sub-vp',beta={beta_min=-1.0}}", &["schedule.beta.beta_min", "positive"]),
    ("objective.kind={name='bound',steps=0}", &["objective.kind.steps: 0", "at least 1"]),
    ("objective.weighting={min-snr={gamma=0}}", &["weighting.min-snr.gamma: 0", "above 0"]),
    ("objective.weighting={p2={gamma=-1}}", &["weighting.p2.gamma: -1", "from 0 to 10"]),
    ("objective.weighting={p2={k=0}}", &["weighting.p2.k: 0", "above 0"]),
    ("objective.weighting={sigmoid={bias=1e3}}", &["weighting.sigmoid.bias: 1000", "from -40"]),
    ("objective.kind={name='sliced',slices=0}", &["objective.kind.slices: 0", "from 1"]),
    ("objective.kind={name='sliced',step=0.0}", &["objective.kind.step: 0", "a number from"]),
    ("objective.kind={name='likelihood',steps=0}", &["objective.kind.steps: 0", "at least 1"]),
    ("training.steps=0", &["training.steps: 0", "at least 1"]),
    ("training.steps=-1", &["training.steps: -1", "a whole number"]),
    ("training.steps=9000000000000000000", &["training.steps", "at most"]),
    ("training.batch=0", &["training.batch", "at least 1"]),
    ("training.batch=1048576", &["training.batch", "training.accumulate"]),
    ("training.batch=10000000000", &["training.batch", "at most"]),
    ("training.accumulate=0", &["training.accumulate", "at least 1"]),
    ("training.learning_rate=nan", &["training.learning_rate: NaN", "a number from"]),
    ("training.learning_rate=-1", &["training.learning_rate: -1", "a number from"]),
    ("training.learning_rate=0", &["training.learning_rate: 0", "a number from"]),
    ("training.learning_rate=1e10", &["training.learning_rate", "a number from"]),
    ("training.ema=2", &["training.ema: 2", "a number from"]),
    ("training.log_every=0", &["training.log_every", "at least 1"]),
    ("training.held_out_rows=0", &["training.held_out_rows", "at least 1"]),
    ("training.checkpoint_seconds=-1", &["training.checkpoint_seconds", "a number from"]),
    ("training.checkpoint_seconds=11", &["training.checkpoint_seconds", "a number from"]),
    ("training.adamw.beta_1=1", &["training.adamw.beta_1", "a number from"]),
    ("training.adamw.beta_2=1", &["training.adamw.beta_2", "a number from"]),
    ("training.adamw.epsilon=0", &["training.adamw.epsilon", "a number from"]),
    ("training.adamw.clip=-1", &["training.adamw.clip", "a number from"]),
    ("network.hidden=0", &["network.hidden", "at least 1"]),
    ("network.hidden=-1", &["network.hidden: -1", "a whole number"]),
    ("network.hidden=65536", &["network.hidden", "parameters", "at most"]),
    ("network.hidden=1000000000000", &["network.hidden", "at most"]),
    ("network.blocks=0", &["network.blocks", "at least 1"]),
    ("network.blocks=-1", &["network.blocks: -1", "a whole number"]),
    ("network.blocks=100000", &["network.blocks", "at most"]),
    ("network.width=5", &["network.width: 5", "it is 2"]),
    ("network.vector=1000000000000", &["network.vector", "it is 0"]),
    ("schedule={name='vp-linear',beta_min=5,beta_max=1}", &["schedule.beta_max", "beta_min"]),
    ("schedule={name='vp-linear',beta_max=1e300}", &["schedule", "log-SNR"]),
    ("schedule={name='ve',sigma_min=0}", &["schedule.sigma_min: 0", "positive"]),
    ("schedule={name='edm',sigma_min=90}", &["schedule.sigma_max", "sigma_min = 90"]),
    ("schedule={name='edm',sigma_max=1e300}", &["schedule", "log-SNR"]),
    ("schedule={name='ou',theta=nan}", &["schedule.theta: NaN", "positive"]),
    ("schedule={name='straight',delta=0.5}", &["schedule", "delta"]),
    ("schedule={name='cosine',lambda_max=1e9}", &["schedule", "log-SNR"]),
    ("sampling.steps=0", &["sampling.steps: 0", "from 2"]),
    ("sampling.steps=1", &["sampling.steps: 1", "from 2"]),
    ("sampling.steps=1000000000000", &["sampling.steps", "from 2 to"]),
    ("sampling.guidance=inf", &["sampling.guidance: inf", "a number from"]),
    ("sampling.solver={name='ddim',eta=7}", &["sampling.solver.eta: 7", "from 0 to 1"]),
    ("sampling.solver={name='dopri5',tolerance={atol=0,rtol=0}}", &["sampling.solver.tolerance"]),
    ("sampling.grid={name='karras',rho=0}", &["sampling.grid.rho: 0", "positive"]),
    ("model.sigma_data=0", &["model.sigma_data", "a number from"]),
    ("objective.levels.distribution={name='log-normal',mean=0,sd=0}", &["distribution", "sd 0"]),
    ("objective.label_dropout=2", &["objective.label_dropout", "a number from"]),
    ("evaluation.samples=0", &["evaluation.samples", "at least 1"]),
    ("evaluation.samples=1000000000", &["evaluation.samples", "at most"]),
    ("seed=-1", &["seed: -1", "a whole number"]),
    ("data.n=0", &["data.n: 0", "from 1"]),
    ("data.n=1000000000000", &["data.n", "from 1 to"]),
    ("data.held_out=1", &["data.held_out: 1", "below 1"]),
    ("data.held_out=nan", &["data.held_out: NaN", "below 1"]),
    ("data.label=x", &["data.label", "'x'"]),
    ("data.columns=['x']", &["data.columns", "means nothing"]),
];

#[test]
fn values_are_refused_by_key_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    for (item, words) in VALUES {
        let mut arguments = vec!["train", "points", "--out", "run"];
        let base = ["data.n=64", "training.steps=3", "network.hidden=64", "network.name=mlp"];
        base.iter().for_each(|item| arguments.extend(["--set", item]));
        arguments.extend(["--set", item]);
        refused(folder.path(), 2, words, &arguments);
    }
}

#[test]
fn a_clock_needs_log_snrs_to_scale() {
    let folder = tempfile::tempdir().unwrap();
    let noisy = "schedule={name='ve',sigma_min=1e5,sigma_max=1e7}";
    let arguments = ["train", "points", "--set", "model.clock=scaled", "--set", noisy];
    refused(folder.path(), 2, &["model.clock: scaled", "from -20 to 20"], &arguments);
}

#[test]
fn a_network_for_a_thousand_machines_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let size = ["--set", "network.hidden=65536", "--set", "network.blocks=1024"];
    let arguments: Vec<&str> = ["train", "points"].into_iter().chain(size).collect();
    refused(
        folder.path(),
        2,
        &["network.hidden", "17596886351874", "parameters", "at most"],
        &arguments,
    );
}

#[test]
fn what_a_unet_cannot_be_is_refused_by_key() {
    let folder = tempfile::tempdir().unwrap();
    for (values, words) in [
        ("dropout=1.1", ["network.dropout: 1.1", "from 0.0 to 0.99"]),
        ("layers_per_block=0", ["network.layers_per_block: 0", "from 1"]),
        ("block_out_channels=[]", ["network.block_out_channels", "1 to 10"]),
        ("block_out_channels=[12,24,48]", ["network.block_out_channels: 12", "norm_num_groups"]),
        ("sample_size=9", ["network.sample_size: 9", "8 for these data"]),
    ] {
        let network = format!("network={{name='unet',{values}}}");
        let arguments = ["train", "digits", "--out", "run", "--set", &network];
        refused(folder.path(), 2, &words, &arguments);
        assert!(!folder.path().join("run").exists());
    }
}

#[test]
fn files_that_are_no_recipes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(at("open.toml"), "[data]\nsource = 'moons'\n[training\n").unwrap();
    write(at("twice.toml"), "[data]\nsource = 'moons'\n[data]\nsource = 'moons'\n").unwrap();
    write(at("bytes.toml"), b"\xff\xfe").unwrap();
    write(at("empty.toml"), "").unwrap();
    write(at("typo.toml"), "[data]\nsource = 'moons'\n[trainig]\nsteps = 3\n").unwrap();
    write(at("type.toml"), "[data]\nsource = 'moons'\n[training]\nsteps = 'many'\n").unwrap();
    std::fs::create_dir(at("folder.toml")).unwrap();
    let cases: [(&str, i32, &[&str]); 10] = [
        ("open.toml", 1, &["open.toml: line 3", "TOML"]),
        ("twice.toml", 1, &["twice.toml: line 3", "duplicate", "TOML"]),
        ("bytes.toml", 1, &["bytes.toml", "UTF-8"]),
        ("empty.toml", 1, &["empty.toml: data: absent", "data to learn from"]),
        ("typo.toml", 1, &["typo.toml: trainig", "`training` perhaps"]),
        ("type.toml", 1, &["type.toml: training.steps", "\"many\"", "a whole number"]),
        ("folder.toml", 1, &["folder.toml", "directory"]),
        ("absent.toml", 1, &["absent.toml", "No such file"]),
        ("digts", 2, &["recipe: digts", "`digits` perhaps"]),
        ("", 2, &["recipe", "one of", "path of a .toml"]),
    ];
    for (recipe, status, words) in cases {
        refused(folder.path(), status, words, &["train", recipe]);
    }
    // An override at fault is not blamed on the file.
    write(at("good.toml"), "[data]\nsource = 'moons'\n").unwrap();
    let arguments = ["train", "good.toml", "--set", "training.steps=0"];
    refused(folder.path(), 2, &["error: training.steps: 0"], &arguments);
}

/// Trains with weights that grow a thousandfold at every step.
fn diverging(folder: &Path, more: &[&str]) {
    let values =
        ["training.learning_rate=1", "training.adamw.weight_decay=1e3", "training.warmup=1"];
    let often = ["training.log_every=1", "training.checkpoint_seconds=0", "data.n=64"];
    let mut arguments = vec!["train", "points", "--out", "run"];
    arguments.extend(more);
    if more.is_empty() {
        values.iter().chain(&often).for_each(|item| arguments.extend(["--set", item]));
    }
    failed(folder, 1, &["at step ", " became "], &arguments);
}

#[test]
fn a_diverging_run_keeps_its_last_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    diverging(folder.path(), &[]);
    let path = folder.path().join("run/checkpoint.safetensors");
    // Checkpoints with a value that is not finite are not read.
    let (_, step) = tweedie::train::load_checkpoint(&path).unwrap();
    assert!(step > 0);
    let kept = std::fs::read(&path).unwrap();
    diverging(folder.path(), &["--resume"]);
    assert_eq!(std::fs::read(&path).unwrap(), kept);
    let text = tweedie(folder.path(), &["train", "points", "--out", "run", "--resume"]).stderr;
    let at = text.split("at step ").nth(1).unwrap().split(';').next().unwrap();
    let at: u64 = at.parse().unwrap();
    assert!(at > step, "{text}");
    let names = crate::support::content(folder.path());
    assert!(!names.keys().any(|name| name.contains(".tweedie-") || name.contains("model")));
}
