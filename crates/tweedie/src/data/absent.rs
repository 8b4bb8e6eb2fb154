//! Named data sets that are not shipped with the program.

use super::parts::Parts;
use super::{Space, idx};
use crate::{Error, Result};
use std::path::Path;

/// The folder of Debian's package dataset-fashion-mnist.
const FASHION: &str = "/usr/share/datasets/fashion-mnist";
/// The classes of Fashion-MNIST, by label.
const FASHION_CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// The names, descriptions and expected folders of the data sets.
const KNOWN: [(&str, &str, &str); 3] = [
    (
        "mnist",
        "70,000 handwritten digits, 28×28 pixels, 10 classes; by --data FOLDER",
        "train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte[.gz] and the two of t10k",
    ),
    (
        "fashion",
        "70,000 articles of clothing, 28×28 pixels, 10 classes; by --data FOLDER",
        "train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte[.gz] and the two of t10k, as in \
         Debian's dataset-fashion-mnist",
    ),
    (
        "cifar10",
        "60,000 pictures in colour, 32×32 pixels, 10 classes; by --data FOLDER",
        "data_batch_1.bin to data_batch_5.bin, test_batch.bin and batches.meta.txt",
    ),
];

/// The names and descriptions.
pub(super) fn names() -> [(&'static str, &'static str); 3] {
    KNOWN.map(|(name, description, _)| (name, description))
}

/// Reads the data set of this name, if its files are present.
///
/// # Errors
/// [`Error::Config`] naming the expected folder, if the files are absent; errors of reading.
pub(super) fn read(name: &str) -> Result<Parts> {
    if name == "fashion"
        && let Some(path) = idx::in_folder(Path::new(FASHION))
    {
        return Ok(with_classes(idx::read(&path, true)?, &FASHION_CLASSES));
    }
    let files = KNOWN.iter().find(|known| known.0 == name).map_or("them", |known| known.2);
    let problem = format!("the data of '{name}' do not come with the program");
    Err(Error::config("source", problem, format!("--data FOLDER, a folder that holds {files}")))
}

/// The same parts with names of classes, if the number of classes agrees.
fn with_classes(parts: Parts, names: &[&str]) -> Parts {
    let named = |space: Space| match space.classes().len() == names.len() {
        true => space.with_classes(names.iter().map(ToString::to_string).collect()),
        false => space,
    };
    Parts { space: named(parts.space), ..parts }
}
