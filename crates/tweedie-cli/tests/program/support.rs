//! Running the program, the data it is run on, and one trained run of each kind that the tests share.

use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// What a run of the program left.
pub struct Ran {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The program, to be run in a folder.
pub fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tweedie"));
    command.current_dir(folder).env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    command
}

/// Runs the program in a folder.
pub fn tweedie(folder: &Path, arguments: &[impl AsRef<OsStr>]) -> Ran {
    let output = program(folder).args(arguments).output().expect("the program starts");
    Ran {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("stdout is text"),
        stderr: String::from_utf8(output.stderr).expect("stderr is text"),
    }
}

/// Runs the program and gives its stdout; it must succeed.
pub fn done(folder: &Path, arguments: &[impl AsRef<OsStr>]) -> String {
    let ran = tweedie(folder, arguments);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert!(!ran.stderr.contains("error"), "{}", ran.stderr);
    ran.stdout
}

/// Runs a command with `--json` and gives its object.
pub fn object(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&done(folder, &[arguments, &["--json"]].concat())).expect("JSON")
}

/// Runs the program, which must refuse with this exit status and leave the folder as it was; the line of its error
/// must hold all of `words`.
pub fn refused(folder: &Path, status: i32, words: &[&str], arguments: &[impl AsRef<OsStr>]) {
    let before = content(folder);
    failed(folder, status, words, arguments);
    let after = content(folder);
    let shown: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
    let changed =
        after.keys().chain(before.keys()).find(|name| after.get(*name) != before.get(*name));
    assert_eq!(changed, None, "{shown:?} changed a file");
}

/// Runs the program, which must end with this exit status, one line of error that holds all of `words`, and nothing on
/// stdout.
pub fn failed(folder: &Path, status: i32, words: &[&str], arguments: &[impl AsRef<OsStr>]) {
    let ran = tweedie(folder, arguments);
    let shown: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
    let what = format!("{shown:?}: status {:?}\n{}{}", ran.status, ran.stdout, ran.stderr);
    assert_eq!(ran.status, Some(status), "{what}");
    assert_eq!(ran.stdout, "", "{what}");
    for sign in ["panicked", "RUST_BACKTRACE", "backtrace"] {
        assert!(!ran.stderr.contains(sign), "{what}");
    }
    let errors: Vec<&str> = ran.stderr.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{what}");
    for word in words {
        assert!(errors[0].contains(word), "no {word:?} in {what}");
    }
}

/// Every file of a folder with its bytes, but for times of training; folders end in a slash.
pub fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(folder).expect("inside").to_string_lossy().into_owned();
            if path.is_dir() {
                found.insert(name + "/", Vec::new());
                folders.push(path);
            } else {
                if name.ends_with("time.json") {
                    continue;
                }
                found.insert(name, std::fs::read(path).expect("a file"));
            }
        }
    }
    found
}

/// Settings with which training takes a moment.
pub const TINY: [&str; 22] = [
    "--set",
    "training.steps=60",
    "--set",
    "training.batch=32",
    "--set",
    "training.log_every=5",
    "--set",
    "training.held_out_every=20",
    "--set",
    "training.warmup=10",
    "--set",
    "network=mlp",
    "--set",
    "network.hidden=32",
    "--set",
    "network.blocks=1",
    "--set",
    "sampling.steps=6",
    "--set",
    "evaluation.samples=60",
    "--set",
    "evaluation.log_p_rows=256",
];

/// The arguments of a tiny training run into `run`.
pub fn training<'a>(recipe: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    ["train", recipe, "--out", "run"].iter().chain(&TINY).chain(more).copied().collect()
}

/// A table of trees: a length with a unit, a count, a colour if wanted, and the label, in text. Its numbers come from
/// the fractional parts of multiples of irrational numbers.
pub fn table(rows: usize, coloured: bool) -> String {
    let mut text = String::from("length [mm],count,");
    text += if coloured { "colour,kind\n" } else { "kind\n" };
    for i in 0..rows {
        let u = |step: f64| (i as f64 * step).fract();
        let class = i % 3;
        let length = 3.0 + class as f64 + u(0.618_034) + u(0.414_214);
        let _ = write!(text, "{length:.3},{}", (u(0.732_051) * 10.0) as u32);
        if coloured {
            let _ =
                write!(text, ",{}", ["red", "green", "dark blue"][(u(0.236_068) * 3.0) as usize]);
        }
        let _ = writeln!(text, ",{}", ["yew", "oak", "elm"][class]);
    }
    text
}

/// A folder with `table.csv` and, trained on it, `run`.
fn trained(name: &str, recipe: &str, more: &[&str], coloured: bool) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("program").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("table.csv"), table(120, coloured)).expect("a file");
    done(&folder, &training(recipe, more));
    folder
}

/// A run on a table of numbers with labels.
pub fn numbers() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    let data = ["--data", "table.csv", "--label", "kind"];
    RUN.get_or_init(|| trained("numbers", "table", &data, false))
}

/// A run on a table with a categorical column.
pub fn coloured() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    let data = ["--data", "table.csv", "--label", "kind"];
    RUN.get_or_init(|| trained("coloured", "table", &data, true))
}

/// A run on pictures.
pub fn digits() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| trained("digits", "digits", &[], false))
}

/// A fresh folder with copies of the files of a run in `run`, pictures and report aside, and of its table.
pub fn copy_of(trained: &Path) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("run")).expect("a folder");
    let files = [
        "table.csv",
        "run/run.json",
        "run/model.safetensors",
        "run/checkpoint.safetensors",
        "run/curves.jsonl",
        "run/events.out.tfevents.tweedie",
    ];
    for file in files {
        std::fs::copy(trained.join(file), folder.path().join(file)).expect("a copy");
    }
    // Its data are those of the copy.
    let path = folder.path().join("run/run.json");
    let text = std::fs::read_to_string(&path).expect("a file");
    let [from, to] = [trained, folder.path()].map(|folder| folder.display().to_string());
    std::fs::write(path, text.replace(&from, &to)).expect("a file");
    folder
}
