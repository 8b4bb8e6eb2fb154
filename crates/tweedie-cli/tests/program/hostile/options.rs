//! Options of the commands: wrong numbers, unknown names, outputs that cannot be written, starts that do not fit.

use crate::support::{copy_of, done, numbers, refused};
use std::fs::{create_dir, read, write};
use std::path::Path;
use tweedie::data::{Layout, Rows, npy::NpyWriter};

fn sampling(folder: &Path, status: i32, words: &[&str], more: &[&str]) {
    let arguments: Vec<&str> = ["sample", "run"].iter().chain(more).copied().collect();
    refused(folder, status, words, &arguments);
}

#[test]
fn sampling_options_are_refused_and_the_output_stays() {
    let folder = copy_of(numbers());
    write(folder.path().join("out.csv"), "kept").unwrap();
    let cases: &[(i32, &[&str], &[&str])] = &[
        (2, &["-n: 0", "from 1 to"], &["-n", "0"]),
        (2, &["-n", "'-1'", "a whole number"], &["-n", "-1"]),
        (2, &["-n", "'1e3'", "a whole number"], &["-n", "1e3"]),
        (2, &["-n", "from 1 to"], &["-n", "18446744073709551615"]),
        (2, &["--steps: 0", "from 2 to"], &["--steps", "0"]),
        (2, &["--steps: 1;", "from 2 to"], &["--steps", "1"]),
        (2, &["--steps", "from 2 to 100000"], &["--steps", "1000000000000"]),
        (2, &["--guidance: inf", "a number from"], &["--guidance", "inf"]),
        (2, &["--guidance: NaN", "a number from"], &["--guidance", "nan"]),
        (2, &["--guidance: -1e300", "a number from"], &["--guidance", "-1e300"]),
        (2, &["--solver: ddin", "`ddim` perhaps"], &["--solver", "ddin"]),
        (2, &["--grid: karas", "`karras` perhaps"], &["--grid", "karas"]),
        (2, &["--solver.eta: 7"], &["--solver", "ddim, eta = 7.0"]),
        (2, &["--solver.etta: unknown key"], &["--solver", "ddim, etta = 1.0"]),
        (2, &["--solver: ddim, eta ="], &["--solver", "ddim, eta ="]),
        (2, &["--solver.order: 9"], &["--solver", "{ name = 'deis', order = 9 }"]),
        (2, &["--grid.rho: -1"], &["--grid", "karras, rho = -1.0"]),
        (2, &["--grid.rho: NaN"], &["--grid", "karras, rho = nan"]),
        (2, &["--grid.finest: 2"], &["--grid", "optimised, finest = 2.0"]),
        (2, &["--grid.rho: unknown key"], &["--grid", "time, rho = 3.0"]),
        (2, &["--schedule: cosin", "`cosine` perhaps"], &["--schedule", "cosin"]),
        (
            2,
            &["--schedule: ", "log-SNRs that the run was trained on"],
            &["--schedule", "edm, sigma_max = 1e6"],
        ),
        (2, &["--analytic-variance", "ancestral"], &["--analytic-variance"]),
        (2, &["--noise: a solver that adds no noise"], &["--noise", "tree"]),
        (
            2,
            &["--noise: a solver that adds noise at one level"],
            &["--noise", "tree", "--solver", "annealed-langevin"],
        ),
        (2, &["--label: aok", "`oak` perhaps"], &["--label", "aok"]),
        (2, &["--label: 3", "one of elm, oak, yew"], &["--label", "3"]),
        (2, &["--label: -1", "one of elm, oak, yew"], &["--label", "-1"]),
        (2, &["--seed", "'-1'", "a whole number"], &["--seed", "-1"]),
        (1, &["device cuda", "--features cuda"], &["--device", "cuda"]),
        (2, &["--device: nonsense", "cpu"], &["--device", "nonsense"]),
        (2, &["--threads: 0", "1 to 1024"], &["--threads", "0"]),
        (2, &["--threads: 100000", "1 to 1024"], &["--threads", "100000"]),
        (2, &["unexpected argument", "--setp"], &["--setp", "3"]),
    ];
    for (status, words, more) in cases {
        if words[0].contains("cuda") && cfg!(feature = "cuda") {
            continue;
        }
        let more: Vec<&str> = ["-o", "out.csv"].iter().chain(*more).copied().collect();
        sampling(folder.path(), *status, words, &more);
    }
    assert_eq!(read(folder.path().join("out.csv")).unwrap(), b"kept");
}

#[test]
fn outputs_that_cannot_be_written_are_refused() {
    let folder = copy_of(numbers());
    create_dir(folder.path().join("folder.csv")).unwrap();
    create_dir(folder.path().join("folder.png")).unwrap();
    let ending = "ending in .png, .npy, .npz, .csv, .tsv or .safetensors";
    sampling(folder.path(), 2, &["-o: out.txt", ending], &["-o", "out.txt"]);
    sampling(folder.path(), 2, &["-o: out", ending], &["-o", "out"]);
    sampling(folder.path(), 2, &["-o: .csv", ending], &["-o", ".csv"]);
    sampling(folder.path(), 2, &["--output"], &["-o", ""]);
    sampling(folder.path(), 2, &["-o: -", "--json"], &["-o", "-", "--json"]);
    sampling(folder.path(), 1, &["table.csv: Not a directory"], &["-o", "table.csv/out.csv"]);
    sampling(folder.path(), 1, &["folder.csv: is a directory"], &["-o", "folder.csv"]);
    sampling(folder.path(), 1, &["folder.png: is a directory"], &["-o", "folder.png"]);
    sampling(folder.path(), 2, &["-n: 200000", "at most"], &["-n", "200000", "-o", "out.png"]);
}

#[test]
fn starts_that_do_not_fit_are_refused() {
    let folder = copy_of(numbers());
    let start = |name: &str, rows: usize, values: Vec<f32>| {
        let width = values.len() / rows;
        let mut array = NpyWriter::new(Vec::new(), name, rows, Layout::Vector { width }).unwrap();
        array.write(&Rows::new(values, width).unwrap()).unwrap();
        write(folder.path().join(name), array.finish().unwrap()).unwrap();
    };
    start("good.npy", 4, vec![0.5; 8]);
    start("wide.npy", 4, vec![0.5; 12]);
    start("nan.npy", 2, vec![0.5, 0.5, f32::NAN, 0.5]);
    start("far.npy", 2, vec![f32::MAX; 4]);
    let cases: &[(&[&str], &str, &str)] = &[
        (&["wide.npy: shape", "4 rows of 3", "rows of 2"], "wide.npy", "4"),
        (&["good.npy: shape", "4 rows of 2", "at least 5 rows of 2"], "good.npy", "5"),
        (&["nan.npy: row 1, column 0", "NaN", "finite"], "nan.npy", "2"),
        (&["table.csv: header", ".npy"], "table.csv", "2"),
        (&["absent.npy", "No such file"], "absent.npy", "2"),
        // Fails in the midst of writing.
        (&["a sample became NaN or infinite at step"], "far.npy", "2"),
    ];
    write(folder.path().join("out.npy"), "kept").unwrap();
    for (words, file, n) in cases {
        let arguments = ["-n", n, "-o", "out.npy", "--init", file, "--solver", "euler"];
        sampling(folder.path(), 1, words, &arguments);
    }
    done(folder.path(), &["sample", "run", "-n", "4", "-o", "out.npy", "--init", "good.npy"]);
}

#[test]
fn evaluation_options_are_refused() {
    let folder = copy_of(numbers());
    let cases: &[(&[&str], &[&str])] = &[
        (&["--metric: fid", "one of samples, logp"], &["--metric", "fid"]),
        (&["--metric: sample", "`samples` perhaps"], &["--metric", "sample"]),
        (&["--probes: 0", "`exact` or a number"], &["--probes", "0"]),
        (&["--probes: many", "`exact` or a number"], &["--probes", "many"]),
        (&["--probes: -1", "`exact` or a number"], &["--probes", "-1"]),
        (&["-n: 0", "from 1"], &["-n", "0"]),
        (&["-n: 100000000000", "from 1 to 1048576"], &["-n", "100000000000"]),
        (&["--rows: 0", "from 1"], &["--rows", "0"]),
        (&["--rows", "'x'", "a whole number"], &["--rows", "x"]),
        (&["--steps: 1;", "from 2"], &["--steps", "1"]),
    ];
    for (words, more) in cases {
        let arguments: Vec<&str> = ["evaluate", "run"].iter().chain(*more).copied().collect();
        refused(folder.path(), 2, words, &arguments);
    }
}

#[test]
fn training_into_what_is_there_and_resuming_what_is_not_are_refused() {
    let folder = copy_of(numbers());
    let at = |name: &str| folder.path().join(name);
    write(at("file"), "kept").unwrap();
    create_dir(at("nothing")).unwrap();
    create_dir(at("half")).unwrap();
    std::fs::copy(at("run/checkpoint.safetensors"), at("half/checkpoint.safetensors")).unwrap();
    write(at("other.csv"), crate::support::table(90, false)).unwrap();
    let kept = "the options that the run was started with";
    let cases: &[(i32, &[&str], &[&str])] = &[
        (2, &["--out: run holds a run", "--resume"], &["--out", "run"]),
        (2, &["--out: half holds a run", "--resume"], &["--out", "half"]),
        (1, &["file: File exists"], &["--out", "file"]),
        (1, &["file/run: Not a directory"], &["--out", "file/run"]),
        (2, &["--resume", "no run of points", "--out"], &["--resume"]),
        (1, &["absent/run.json: No such file"], &["--resume", "--out", "absent"]),
        (1, &["nothing/run.json: No such file"], &["--resume", "--out", "nothing"]),
        (1, &["half/run.json: No such file"], &["--resume", "--out", "half"]),
        (2, &["--resume", kept], &["--resume", "--out", "run", "--set", "training.batch=9"]),
        (2, &["seed = 0, not 3", kept], &["--resume", "--out", "run", "--seed", "3"]),
        (2, &["data.source", kept], &["--resume", "--out", "run", "--data", "moons"]),
        (1, &["other rows", "of hash"], &["--resume", "--out", "run", "--data", "other.csv"]),
    ];
    for (status, words, more) in cases {
        let arguments: Vec<&str> = ["train", "points"].iter().chain(*more).copied().collect();
        refused(folder.path(), *status, words, &arguments);
    }
}

#[test]
fn unknown_commands_and_kinds_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cases: &[(&[&str], &[&str])] = &[
        (&["unrecognized subcommand", "'trian'"], &["trian", "points"]),
        (&["recipe: missing", "one of digits", ".toml"], &["train"]),
        (&["kind: recipe", "`recipes` perhaps"], &["list", "recipe"]),
        (&["unexpected argument", "'b'"], &["list", "data", "b"]),
    ];
    for (words, arguments) in cases {
        refused(folder.path(), 2, words, arguments);
    }
}
