//! CIFAR-10 and CIFAR-100 in their binary versions (Krizhevsky, "Learning multiple layers of features from tiny
//! images", 2009).
//!
//! ```text
//! record = label (CIFAR-100: coarse label, label), 1024 red values, 1024 green, 1024 blue: each 32 rows of 32
//! ```

use super::parts::Parts;
use super::{Rows, Space, Split};
use crate::{Error, Result};
use std::path::Path;

/// The number of values of a picture.
const WIDTH: usize = 3 * 32 * 32;

/// The files of one of the two data sets.
pub(super) struct Format {
    train: &'static [&'static str],
    test: &'static str,
    names: &'static str,
    labels: usize,
}

const FORMATS: [Format; 2] = [
    Format {
        train: &[
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ],
        test: "test_batch.bin",
        names: "batches.meta.txt",
        labels: 1,
    },
    Format { train: &["train.bin"], test: "test.bin", names: "fine_label_names.txt", labels: 2 },
];

/// The format of the data set in a folder, if there is one.
pub(super) fn in_folder(folder: &Path) -> Option<&'static Format> {
    FORMATS.iter().find(|format| folder.join(format.train[0]).is_file())
}

/// Reads the training and the test part.
///
/// # Errors
/// [`Error::Io`] if a file is missing or cannot be read; [`Error::File`] if it is empty or not whole records, or if
/// a label has no name.
pub(super) fn read(folder: &Path, format: &Format) -> Result<Parts> {
    let path = folder.join(format.names);
    let names = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
    let lines = names.lines().map(str::trim).filter(|line| !line.is_empty());
    let classes: Vec<String> = lines.map(String::from).collect();
    let part = |files: &[&str]| -> Result<Split> {
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        for file in files {
            format.read(&folder.join(file), &classes, &mut values, &mut labels)?;
        }
        Split::new(Rows::new(values, WIDTH)?, Some(labels))
    };
    let (train, held_out) = (part(format.train)?, part(&[format.test])?);
    let space = Space::image(3, 32, 32, 256)?.with_classes(classes);
    Ok(Parts { space, train, held_out: Some(held_out), validation: None, notes: Vec::new() })
}

impl Format {
    /// Appends the records of a file.
    fn read(
        &self,
        path: &Path,
        classes: &[String],
        values: &mut Vec<f32>,
        labels: &mut Vec<u32>,
    ) -> Result<()> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let record = self.labels + WIDTH;
        if bytes.is_empty() || bytes.len() % record != 0 {
            let problem = format!("there are {} bytes", bytes.len());
            let expected = format!("whole records of {record}: label and 3×32×32 values");
            return Err(Error::file(path, "records", problem, expected));
        }
        values.reserve(bytes.len() / record * WIDTH);
        for (i, record) in bytes.chunks_exact(record).enumerate() {
            let (own, pixels) = record.split_at(self.labels);
            let label = u32::from(own[self.labels - 1]);
            if label as usize >= classes.len() {
                let expected = format!("one of the {} that {} names", classes.len(), self.names);
                let place = format!("record {i}");
                return Err(Error::file(path, place, format!("the label is {label}"), expected));
            }
            labels.push(label);
            values.extend(pixels.iter().map(|&byte| f32::from(byte)));
        }
        Ok(())
    }
}
