//! Classifiers given as files: every kind of layer against PyTorch (`bench/image_metrics_peer.py` writes the file read
//! here), the published accuracy on MNIST, and files that are wrong.

use crate::support::shared;
use burn::tensor::Device;
use flate2::read::GzDecoder;
use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use tweedie::Error;
use tweedie::data::{Dataset, Rows, Space, Split};
use tweedie::metric::{Classifier, features, labels};
use tweedie::nn::{Params, safetensors_bytes};

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/image_metrics.json")).expect("JSON")
}

fn numbers(value: &Value) -> Vec<f32> {
    serde_json::from_value(value["values"].clone()).expect("numbers")
}

fn rows(value: &Value) -> Rows {
    let width = value["shape"][1].as_u64().expect("a width") as usize;
    Rows::new(numbers(value), width).expect("whole rows")
}

const INPUT: &str = "[input]\nshape = [2, 9, 7]\nmax = 16\nmean = [0.25, 0.5]\nsd = [0.5, 0.125]\n";

const FLAT: &str = r#"
layers = [
    { type = "conv", name = "features.0", padding = 1 },
    { type = "batch-norm", name = "features.1" },
    { type = "relu" },
    { type = "max-pool", size = 2 },
    { type = "flatten" },
    { type = "linear", name = "features.5" },
    { type = "tanh" },
    { type = "features" },
    { type = "batch-norm", name = "head.0", epsilon = 1e-3 },
    { type = "linear", name = "head.1" },
]
"#;

const POOLED: &str = r#"
layers = [
    { type = "conv", name = "features.0", stride = 2, padding = 1 },
    { type = "gelu" },
    { type = "max-pool", size = 3, stride = 1, padding = 1 },
    { type = "average-pool", size = 2, stride = 1, padding = 1 },
    { type = "silu" },
    { type = "dropout" },
    { type = "global-average-pool" },
    { type = "features" },
]
"#;

/// A description and its weights in a folder, as they are saved by PyTorch: with a counter of batches that is no float.
struct Files {
    folder: tempfile::TempDir,
    network: Value,
}

impl Files {
    fn new(network: &str, layers: &str) -> Self {
        let (folder, network) = (tempfile::tempdir().unwrap(), fixture()[network].clone());
        let files = Self { folder, network };
        files.describe(&format!("weights = \"weights.safetensors\"\n{layers}{INPUT}"));
        let bytes: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = files.network["weights"]
            .as_object()
            .expect("weights")
            .iter()
            .map(|(name, value)| {
                let shape = serde_json::from_value(value["shape"].clone()).unwrap();
                let raw = numbers(value).iter().flat_map(|v| v.to_le_bytes()).collect();
                (name.clone(), Dtype::F32, shape, raw)
            })
            .chain([("features.1.num_batches_tracked".into(), Dtype::I64, vec![], vec![0; 8])])
            .collect();
        let views = bytes.iter().map(|(name, dtype, shape, raw)| {
            (name, TensorView::new(*dtype, shape.clone(), raw).expect("a tensor"))
        });
        let file = safetensors::serialize(views, None).expect("tensors");
        std::fs::write(files.path("weights.safetensors"), file).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn describe(&self, text: &str) {
        std::fs::write(self.path("small.toml"), text).unwrap();
    }

    fn open(&self) -> tweedie::Result<Classifier> {
        Classifier::open(&self.path("small.toml"), None, &Device::flex())
    }
}

#[test]
fn every_layer_is_pytorch_s() {
    let space = Space::image(2, 9, 7, 17).unwrap();
    for (name, layers) in [("flat", FLAT), ("pooled", POOLED)] {
        let files = Files::new(name, layers);
        let classifier = files.open().unwrap();
        // Enough pictures that they go through in several parts.
        let six = rows(&files.network["pictures"]);
        let many = six.select(&(0..1500).map(|i| i % 6).collect::<Vec<_>>());
        let seen = classifier.forward(&many, &space).unwrap();
        assert_eq!(seen.logits.is_some(), name == "flat");
        for (found, theirs) in [(Some(seen.features), "features"), (seen.logits, "logits")] {
            let Some(found) = found else { continue };
            let theirs = rows(&files.network[theirs]);
            assert_eq!((found.len(), found.width()), (1500, theirs.width()));
            for (i, row) in found.iter().enumerate() {
                for (ours, theirs) in row.iter().zip(theirs.row(i % 6)) {
                    let near = (ours - theirs).abs() <= 2e-5 * (1.0 + theirs.abs());
                    assert!(near, "{name} {i}: {ours} {theirs}");
                }
            }
        }
        assert_eq!(classifier.name(), "small");
    }
}

#[test]
fn wrong_files_name_the_file_and_the_layer() {
    let files = Files::new("flat", FLAT);
    let good = std::fs::read_to_string(files.path("small.toml")).unwrap();
    for (from, to, words) in [
        (
            "features.5\"",
            "features.6\"",
            ["weights.safetensors", "features.6.weight: missing", "layer 5 (linear features.6)"],
        ),
        ("\"head.1\"", "\"features.5\"", ["features.5.weight", "[5, 36]", "layer 9"]),
        ("shape = [2,", "shape = [3,", ["small.toml", "input.mean", "3 numbers"]),
        ("{ type = \"flatten\" },", "", ["small.toml", "layer 4 (linear features.5)", "flatten"]),
        ("size = 2", "size = 20", ["layer 3 (max-pool)", "20×20", "9×7"]),
        ("size = 2", "size = 2, stride = 0", ["layer 3 (max-pool)", "stride 0", "at least 1"]),
        ("size = 2", "size = 2, padding = 9", ["layer 3 (max-pool)", "padding 9", "half"]),
        (
            "padding = 1",
            "padding = 18446744073709551615",
            ["layer 0 (conv features.0)", "padding", "fit"],
        ),
        ("padding = 1", "padding = 1000000000000", ["layer 0 (conv features.0)", "padding", "fit"]),
        ("{ type = \"features\" },", "", ["small.toml", "0 layers of type features", "one"]),
        ("\"tanh\"", "\"tan\"", ["small.toml: line", "`tan`", "`tanh`"]),
        ("size = 2", "sise = 2", ["small.toml: line", "sise", ""]),
        ("max = 16", "max = 0", ["small.toml", "input.max", "positive"]),
        ("max = 16", "maximum = 16", ["small.toml: line", "maximum", "`max`"]),
        ("sd = [0.5, ", "sd = [nan, ", ["small.toml", "input.sd", "2 numbers"]),
        ("layers", "classes = [\"a\"]\nlayers", ["small.toml", "classes", "3 outputs"]),
    ] {
        assert!(good.contains(from));
        files.describe(&good.replacen(from, to, 1));
        let error = files.open().expect_err(to).to_string();
        for word in words {
            assert!(error.contains(word), "no {word:?} in {error}");
        }
    }
    files.describe(&good);
    let absent = Classifier::open(&files.path("none.toml"), None, &Device::flex());
    assert!(matches!(absent, Err(Error::Io { .. })));
    let other = files.path("other.safetensors");
    let empty = safetensors_bytes(&Params::new()).unwrap();
    std::fs::write(&other, empty).unwrap();
    let missing = Classifier::open(&files.path("small.toml"), Some(&other), &Device::flex());
    let missing = missing.expect_err("no weights").to_string();
    assert!(missing.contains("other.safetensors: features.0.weight: missing"), "{missing}");
}

#[test]
fn other_pictures_are_refused() {
    let files = Files::new("flat", FLAT);
    let classifier = files.open().unwrap();
    let one = |width| Rows::new(vec![1.0; width], width).unwrap();
    for (space, width, words) in [
        (Space::image(1, 8, 8, 17).unwrap(), 64, ["small.toml", "1×8×8", "2×9×7"]),
        (Space::image(2, 9, 7, 256).unwrap(), 126, ["small.toml", "input.max", "255"]),
        (Space::vector(&["a", "b"]).unwrap(), 2, ["small.toml", "no pictures", "2×9×7"]),
        (Space::image(2, 9, 7, 17).unwrap(), 64, ["small.toml", "64", "126"]),
    ] {
        let error = classifier.features(&one(width), &space).expect_err("no such picture");
        let error = error.to_string();
        for word in words {
            assert!(error.contains(word), "no {word:?} in {error}");
        }
    }
}

/// What an IDX file holds after its header.
fn idx(path: &Path, header: usize) -> Vec<u8> {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).expect("gzip");
    bytes.split_off(header)
}

/// Every `step`-th picture of a part; neighbours in the files are often by the same hand.
fn mnist(folder: &Path, part: &str, step: usize) -> Split {
    let pixels = idx(&folder.join(format!("{part}-images-idx3-ubyte.gz")), 16);
    let labels = idx(&folder.join(format!("{part}-labels-idx1-ubyte.gz")), 8);
    let pixels = pixels.chunks_exact(784).step_by(step).flatten();
    let pixels = pixels.copied().map(f32::from).collect();
    let labels = labels.into_iter().step_by(step).map(u32::from).collect();
    Split::new(Rows::new(pixels, 784).unwrap(), Some(labels)).unwrap()
}

fn mnist_classifier(folder: &Path) -> Classifier {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/classifiers/mnist_cnn.toml");
    let weights = folder.join("mnist_cnn.safetensors");
    Classifier::open(&root, Some(&weights), &Device::flex()).expect("the description fits")
}

/// PyTorch finds 9,905 of the 10,000 labels with these weights (`bench/mnist_cnn_peer.py`); two pictures may be so near
/// to the edge that rounding decides.
#[test]
fn the_mnist_classifier_is_as_good_as_in_pytorch() {
    let (Some(data), Some(weights)) = (shared("mnist"), shared("classifiers")) else { return };
    let test = mnist(&data, "t10k", 1);
    let space = Space::image(1, 28, 28, 256).unwrap();
    let seen = mnist_classifier(&weights).forward(test.rows(), &space).unwrap();
    let found = labels::accuracy(&seen.logits.unwrap(), test.labels().unwrap()).unwrap();
    assert_eq!((found.rows, seen.features.width()), (10_000, 128));
    assert!((found.value - 0.9905).abs() < 2.5e-4, "{found:?}");
}

/// Real pictures pass for real ones; the same pictures upside down, which have the same pixels, do not.
#[test]
fn features_distinguish_digits_from_digits_upside_down() {
    let (Some(data), Some(weights)) = (shared("mnist"), shared("classifiers")) else { return };
    let classifier = mnist_classifier(&weights);
    let classes = (0..10).map(|k| k.to_string()).collect();
    let space = Space::image(1, 28, 28, 256).unwrap().with_classes(classes);
    let (train, test) = (mnist(&data, "train", 15), mnist(&data, "t10k", 10));
    // Random ones, as judging takes for the floor: an even spread falls in step with the order of the writers.
    let real = train.select(&tweedie::Draws::new(5).permutation(train.len())[..1000]);
    let turned: Vec<f32> = real.rows().iter().flat_map(|row| row.iter().rev().copied()).collect();
    let turned = Rows::new(turned, 784).unwrap();
    let turned = Split::new(turned, real.labels().map(<[u32]>::to_vec)).unwrap();
    let data = Dataset::new("mnist", space, train, test).unwrap();
    let judged = |split: &Split| features::judge(split, &data, &classifier).unwrap().unwrap();
    let (good, bad) = (judged(&real), judged(&turned));
    assert_eq!((good.classifier.as_str(), good.width), ("mnist_cnn", 128));
    assert!(good.scores.iter().all(|score| score.rows == 1000));
    assert!(good.held_out_accuracy.unwrap().value > 0.98);
    let names: Vec<_> = good.scores.iter().map(|s| &*s.name).collect();
    let expected = ["Fréchet distance", "kernel distance", "precision", "recall", "label accuracy"];
    assert_eq!(names, expected);
    for (good, bad) in good.scores.iter().zip(&bad.scores) {
        let floor = good.floor.unwrap();
        let right = match &*good.name {
            "Fréchet distance" => good.value < 1.5 * floor && bad.value > 5.0 * floor,
            "kernel distance" => {
                bad.value > 5.0 * bad.standard_error.unwrap()
                    && (good.value - floor).abs() < 0.2 * bad.value
            }
            "label accuracy" => good.value > 0.98 && bad.value < 0.6,
            _ => (good.value - floor).abs() < 0.1 && bad.value < good.value - 0.2,
        };
        assert!(right, "{good:?} {bad:?}");
    }
}
