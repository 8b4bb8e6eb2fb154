//! A step of expectation–maximisation, a kernel density estimate, and the exact distance between two samples.

use super::densities::plain;
use super::networks::draws;
use super::{Benchmark, Workload};
use tweedie::Result;
use tweedie::burn::tensor::Device;
use tweedie::density::fit::{Bandwidth, Distribution, Em, EmConfig, Kde, KernelShape, Points};
use tweedie::metric::wasserstein;

/// The columns of the rows of a mixture and of a kernel estimate.
const COLUMNS: usize = 10;
/// The rows and the components of a mixture.
const ROWS: u64 = 20_000;
const COMPONENTS: usize = 20;
/// The training rows of a kernel density estimate, one kernel each, and the query rows whose log-density it computes.
const KERNELS: u64 = 10_000;
const QUERIES: u64 = 2000;
/// The size of each of two samples.
const SAMPLE: u64 = 2000;

pub fn benchmarks() -> Vec<Benchmark> {
    let benchmark = |name: String, make: fn(&Device) -> Result<Workload>| Benchmark {
        name,
        make: Box::new(make),
        export: None,
    };
    vec![
        benchmark(format!("em.{COLUMNS}.{ROWS}.step"), em),
        benchmark(format!("kde.{COLUMNS}.{QUERIES}.log-p"), kde),
        benchmark(format!("w2.2.{SAMPLE}"), |device| w2(2, device)),
        benchmark(format!("w2.10.{SAMPLE}"), |device| w2(10, device)),
    ]
}

/// Normal numbers in double precision.
fn normals(purpose: &str, n: u64) -> Result<Points> {
    let values = draws(purpose).normals(0..n, COLUMNS);
    Points::new(values.values().iter().map(|v| f64::from(*v)).collect(), COLUMNS)
}

fn em(device: &Device) -> Result<Workload> {
    let config =
        EmConfig { components: COMPONENTS, restarts: 1, tolerance: 0.0, ..EmConfig::default() };
    let mut em = Em::new(normals("x", ROWS)?, &config, &draws("em"))?;
    plain(device, move || em.step().map(drop))
}

fn kde(device: &Device) -> Result<Workload> {
    let kde = Kde::new(&normals("x", KERNELS)?, None, Bandwidth::Scott, KernelShape::Columns)?;
    let queries = normals("queries", QUERIES)?;
    plain(device, move || {
        kde.log_densities(queries.values());
        Ok(())
    })
}

fn w2(columns: usize, device: &Device) -> Result<Workload> {
    let [x, y] = ["x", "y"].map(|purpose| draws(purpose).normals(0..SAMPLE, columns));
    plain(device, move || wasserstein::exact(&x, &y).map(drop))
}
