//! `tweedie bench`: times of operations and networks, and their share of the machine's rate of matrix products.

mod attention;
mod classical;
mod densities;
mod latent;
mod measure;
mod networks;
mod ops;
mod train;

use crate::{Settings, output, progress::Progress};
use measure::{Others, Work, median, round, timed};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use tweedie::burn::tensor::Device;
use tweedie::train::Memory;
use tweedie::{Error, Result};
use tweedie_ops::matrix_product;

/// Options of `tweedie bench`.
#[derive(clap::Args)]
pub struct Options {
    /// Beginnings of names of benchmarks, or of their parts after a dot or hyphen: unet, mlp, ops.conv, sample; all by
    /// default. A wrong name lists all.
    names: Vec<String>,
    /// Number of rounds over all benchmarks; medians are printed.
    #[arg(long, default_value_t = 5, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    rounds: usize,
    /// Write the initial weights and the batch of each network to FOLDER as safetensors, for comparison with a peer.
    #[arg(long, value_name = "FOLDER")]
    export: Option<PathBuf>,
    /// Leave out the memory of training steps.
    #[arg(long)]
    no_memory: bool,
    /// Run this benchmark alone and print its memory.
    #[arg(long, hide = true)]
    memory_of: Option<String>,
}

/// Share of the processors used by other processes above which times are no measurement.
const BUSY: f64 = 0.05;

/// A function that builds a benchmark and warms it up.
type Make = Box<dyn Fn(&Device) -> Result<Workload>>;

/// A function that writes initial weights and a batch to a file.
type Export = Box<dyn Fn(&Device, &Path) -> Result<()>>;

/// A benchmark by name.
struct Benchmark {
    name: String,
    make: Make,
    export: Option<Export>,
}

/// A benchmark that has warmed up.
struct Workload {
    work: Work,
    /// Additions and multiplications of matrix products and convolutions, counted by the usual algorithm.
    flops: Option<f64>,
    /// Numbers for comparison with a peer.
    facts: Vec<(&'static str, f64)>,
}

/// Times of the rounds, in milliseconds.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    fn median(&self) -> f64 {
        median(&mut self.0.clone())
    }

    fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn most(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }
}

/// Measures and prints.
pub fn run(options: &Options, settings: &Settings) -> Result<()> {
    if options.rounds == 0 || options.rounds > 100_000 {
        return Err(Error::config("--rounds", options.rounds.to_string(), "1 to 100000"));
    }
    let device = &settings.device;
    if let Some(name) = &options.memory_of {
        return memory_of(name, device);
    }
    let chosen = chosen(&options.names)?;
    if let Some(folder) = &options.export {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        for benchmark in &chosen {
            if let Some(export) = &benchmark.export {
                export(device, &folder.join(format!("{}.safetensors", benchmark.name)))?;
            }
        }
    }
    let mut gemm = Gemm::new();
    let (results, others) = measured(chosen, &mut gemm, options, settings)?;
    let (rounds, threads, peak) = (options.rounds, threads(), gemm.rate());
    if settings.json {
        let mut all = Map::new();
        all.insert("threads".into(), threads.into());
        all.insert("rounds".into(), rounds.into());
        all.insert("gemm.gflops".into(), peak.into());
        if let Some(others) = others {
            all.insert("others_cpu".into(), others.into());
        }
        results.iter().for_each(|result| result.put(peak, &mut all));
        output::json(&Value::Object(all));
        return Ok(());
    }
    output::line(&format!(
        "Matrix products: {peak:.0} GFLOP/s on {threads} threads; medians of {rounds} rounds"
    ));
    if let Some(others) = others.filter(|others| *others > BUSY) {
        eprintln!(
            "other processes took {:.0} % of the processors: times are too long",
            100.0 * others
        );
    }
    let rows: Vec<Vec<String>> = results.iter().map(|result| result.row(peak)).collect();
    output::table(&["", "ms", "least", "most", "GFLOP/s", "of GEMM", "MB of a step"], &rows);
    Ok(())
}

/// Builds all benchmarks, then measures them and matrix products in turn; also gives the share of the processors that
/// other processes took.
fn measured(
    chosen: Vec<Benchmark>,
    gemm: &mut Gemm,
    options: &Options,
    settings: &Settings,
) -> Result<(Vec<Measurement>, Option<f64>)> {
    let total = (chosen.len() * (1 + options.rounds)) as u64;
    let bar = Progress::new("warm-up", total, "", settings.json);
    let mut results = Vec::new();
    for Benchmark { name, make, .. } in chosen {
        bar.note(name.clone());
        let trains = name.ends_with(".train") && !options.no_memory;
        let memory = if trains { memory_in_child(&name, settings) } else { None };
        let made = make(&settings.device)?;
        results.push(Measurement { name, made, times: Times::default(), memory });
        bar.advance();
    }
    bar.rename("measure");
    let others = Others::since_now();
    for _ in 0..options.rounds {
        gemm.round()?;
        for result in &mut results {
            bar.note(result.name.clone());
            result.times.0.push(round(&mut result.made.work)?);
            bar.advance();
        }
    }
    let others = others.share();
    bar.clear();
    Ok((results, others))
}

/// The number of threads that compute.
fn threads() -> usize {
    rayon::current_num_threads()
}

/// A benchmark with its results.
struct Measurement {
    name: String,
    made: Workload,
    times: Times,
    /// Peak memory of a process with some training steps, and its memory before the network, in MB.
    memory: Option<[f64; 2]>,
}

impl Measurement {
    /// GFLOP/s.
    fn rate(&self) -> Option<f64> {
        self.made.flops.map(|flops| flops / self.times.median() / 1e6)
    }

    fn put(&self, gemm: f64, into: &mut Map<String, Value>) {
        let mut put = |key: &str, value: f64| {
            into.insert(format!("{}.{key}", self.name), value.into());
        };
        put("ms", self.times.median());
        put("min_ms", self.times.least());
        put("max_ms", self.times.most());
        if let (Some(flops), Some(rate)) = (self.made.flops, self.rate()) {
            put("flops", flops);
            put("gflops", rate);
            put("gemm_share", rate / gemm);
        }
        if let Some([peak, before]) = self.memory {
            put("peak_memory_mb", peak);
            put("step_memory_mb", peak - before);
        }
        self.made.facts.iter().for_each(|(key, value)| put(key, *value));
    }

    fn row(&self, gemm: f64) -> Vec<String> {
        let ms = |value: f64| {
            let digits = if value < 10.0 { 3 } else { 1 };
            format!("{value:.digits$}")
        };
        let or_none = |text: Option<String>| text.unwrap_or_default();
        vec![
            self.name.clone(),
            ms(self.times.median()),
            ms(self.times.least()),
            ms(self.times.most()),
            or_none(self.rate().map(|rate| format!("{rate:.1}"))),
            or_none(self.rate().map(|rate| format!("{:.0} %", 100.0 * rate / gemm))),
            or_none(self.memory.map(|[peak, before]| format!("{:.0}", peak - before))),
        ]
    }
}

/// Every benchmark, in the order in which they are measured.
fn all() -> Vec<Benchmark> {
    let groups = [
        ops::benchmarks(),
        train::benchmarks(),
        densities::benchmarks(),
        latent::benchmarks(),
        classical::benchmarks(),
    ];
    groups.into_iter().flatten().collect()
}

/// Whether the name, or one of its parts after a dot or hyphen, begins with `with`.
fn begins(name: &str, with: &str) -> bool {
    let cuts = name.match_indices(['.', '-']).map(|(at, _)| at + 1);
    std::iter::once(0).chain(cuts).any(|at| name[at..].starts_with(with))
}

/// The benchmarks whose names begin with one of `names`; all if there are none.
fn chosen(names: &[String]) -> Result<Vec<Benchmark>> {
    let all = all();
    if let Some(odd) = names.iter().find(|with| !all.iter().any(|b| begins(&b.name, with))) {
        let known: Vec<&str> = all.iter().map(|b| b.name.as_str()).collect();
        return Err(Error::config("NAME", odd, tweedie::error::one_of(odd, &known)));
    }
    let wanted = |b: &Benchmark| names.is_empty() || names.iter().any(|with| begins(&b.name, with));
    Ok(all.into_iter().filter(wanted).collect())
}

/// Prints the peak memory of a benchmark's construction and warm-up, and the memory before it, in MB. The latter
/// includes code that the first training step of any network loads.
fn memory_of(name: &str, device: &Device) -> Result<()> {
    let Some(benchmark) = all().into_iter().find(|b| b.name == name) else {
        return Err(Error::config("--memory-of", name, "the name of a benchmark"));
    };
    train::first_use(device)?;
    Memory::forget_peak();
    let before = Memory::now();
    let made = (benchmark.make)(device)?;
    let after = Memory::now();
    drop(made);
    if let (Some(before), Some(after)) = (before, after) {
        output::json(&[after.peak, before.resident]);
    }
    Ok(())
}

/// The output of [`memory_of`] in a fresh process; none where the process fails or the system reports no memory.
fn memory_in_child(name: &str, settings: &Settings) -> Option<[f64; 2]> {
    let program = std::env::current_exe().ok()?;
    let threads = threads().to_string();
    let arguments =
        ["bench", "--memory-of", name, "--threads", &threads, "--device", &settings.device_name];
    let output = std::process::Command::new(program).args(arguments).output().ok()?;
    serde_json::from_slice(&output.stdout).ok()
}

/// The machine's rate of matrix products: the best of a few sizes that stay in the caches.
struct Gemm {
    sizes: Vec<(Work, f64, Times)>,
}

impl Gemm {
    fn new() -> Self {
        let size = |width: usize| {
            let sizes = [3072, width, width];
            let x = vec![0.5; 3072 * width];
            let weight = vec![0.5; width * width];
            let mut y = vec![0.0; 3072 * width];
            let work = move || {
                timed(|| {
                    matrix_product(sizes, &x, &weight, &mut y);
                    Ok(())
                })
            };
            let flops = 2.0 * sizes.map(|size| size as f64).iter().product::<f64>();
            (Box::new(work) as Work, flops, Times::default())
        };
        Self { sizes: [128, 256, 512].map(size).into() }
    }

    fn round(&mut self) -> Result<()> {
        for (work, _, times) in &mut self.sizes {
            times.0.push(round(work)?);
        }
        Ok(())
    }

    /// GFLOP/s.
    fn rate(&self) -> f64 {
        let rates = self.sizes.iter().map(|(_, flops, times)| flops / times.median() / 1e6);
        rates.fold(0.0, f64::max)
    }
}
