//! Tests of spaces, data sets, files and toys.

mod cifar;
mod dataset;
mod emoji;
mod filter;
mod folders;
mod hostile;
mod idx;
mod npy;
mod npz;
mod pictures;
mod pile;
mod space;
mod table;
mod toy;

use super::{Rows, Space};
use std::io::Write;
use std::path::PathBuf;

pub fn rows(width: usize, values: &[f32]) -> Rows {
    Rows::new(values.to_vec(), width).unwrap()
}

/// The names of a space's coordinates.
pub fn names(space: &Space) -> Vec<&str> {
    space.coordinates().iter().map(|c| c.name.as_str()).collect()
}

/// The sum of whole numbers, and the sum over columns j = 1, 2, … of j times the column's sum.
pub fn weighted(rows: &Rows) -> (u64, u64) {
    rows.iter().fold((0, 0), |(sum, weighted), row| {
        let plain: u64 = row.iter().map(|&v| v as u64).sum();
        let by_column: u64 = row.iter().zip(1..).map(|(&v, j)| v as u64 * j).sum();
        (sum + plain, weighted + by_column)
    })
}

/// Bytes compressed as by gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A folder of data that some machines have beside the checkout; says so where it is missing.
pub fn shared(name: &str) -> Option<PathBuf> {
    let folder = [env!("CARGO_MANIFEST_DIR"), "..", "..", "..", "shared", "data", name];
    let folder: PathBuf = folder.iter().collect();
    if !folder.is_dir() {
        println!("skipped: there is no {}", folder.display());
        return None;
    }
    Some(folder)
}
