//! Features of pictures by a classifier trained elsewhere: its last hidden layer takes the place of pixels in
//! comparisons.

use crate::data::{Layout, Rows, Space};
use crate::nn::{Layer, Sequential, load_safetensors_of, singles};
use crate::{Error, Result};
use burn::tensor::Device;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The most numbers of a layer's output in memory (32 MiB), unless a single picture has more.
const NUMBERS: usize = 1 << 23;

/// The description of a classifier, as in its file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    weights: PathBuf,
    input: Input,
    layers: Vec<Layer>,
    #[serde(default)]
    classes: Vec<String>,
}

/// The input of the first layer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    shape: [usize; 3],
    max: f64,
    #[serde(default)]
    mean: Vec<f64>,
    #[serde(default)]
    sd: Vec<f64>,
}

/// A classifier of pictures, as described by a TOML file beside a safetensors file of weights:
///
/// ```toml
/// weights = "mnist_cnn.safetensors"       # relative to this file; names and layouts as PyTorch's
/// classes = ["0", "1", "2"]               # names of the outputs, if they have any
/// layers = [                              # types and their keys: see nn::Layer
///     { type = "conv", name = "features.0", padding = 1 },
///     { type = "relu" },
///     { type = "flatten" },
///     { type = "features" },              # what comes in here are the features
///     { type = "linear", name = "classifier.2" },
/// ]
///
/// [input]
/// shape = [1, 28, 28]                     # channels, height, width
/// max = 255                               # x = (raw / max − mean) / sd in each channel
/// mean = [0.1307]                         # 0 if not given
/// sd = [0.3081]                           # 1 if not given
/// ```
///
/// The simplest classifier has the pixels as features:
///
/// ```
/// use tweedie::burn::tensor::Device;
/// use tweedie::data::{Rows, Space};
/// use tweedie::metric::Classifier;
/// use tweedie::nn::{Params, save_safetensors};
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("pixels.toml");
/// let layers = "layers = [{ type = \"flatten\" }, { type = \"features\" }]";
/// let input = "input = { shape = [1, 1, 2], max = 4 }";
/// std::fs::write(&path, format!("weights = \"none.safetensors\"\n{layers}\n{input}"))?;
/// save_safetensors(&Params::new(), &folder.path().join("none.safetensors"))?;
/// let classifier = Classifier::open(&path, None, &Device::flex())?;
/// let pictures = Rows::new(vec![0.0, 4.0, 1.0, 2.0], 2)?;
/// let features = classifier.features(&pictures, &Space::image(1, 1, 2, 5)?)?;
/// assert_eq!(features.values(), [0.0, 1.0, 0.25, 0.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Classifier {
    path: PathBuf,
    network: Sequential,
    max: f64,
    /// The factor and the summand of each channel, from raw pixels to the input of the network.
    units: Vec<(f32, f32)>,
    classes: Vec<String>,
    device: Device,
}

/// The outputs of a classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs {
    /// The features, `[n, features]`.
    pub features: Rows,
    /// The last layer's output, `[n, classes]`: logarithms of probabilities up to a constant in each row. None if the
    /// features are themselves the last layer's output.
    pub logits: Option<Rows>,
}

impl Classifier {
    /// Opens the classifier described by the file `path`. Its weights come from the file `weights`, by default the file
    /// that the description names.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read; [`Error::File`] naming the line of the description that is wrong, the
    /// layer that does not fit, or the weights that are missing or of the wrong shape.
    pub fn open(path: &Path, weights: Option<&Path>, device: &Device) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let Description { weights: own, input, layers, classes } =
            toml::from_str(&text).map_err(|e| explain(path, &text, &e))?;
        let units = units(path, &input)?;
        let own = path.parent().unwrap_or(Path::new("")).join(own);
        let origin = weights.unwrap_or(&own);
        let params = load_safetensors_of(origin, |key| layers.iter().any(|l| l.uses(key)))?;
        let params = singles(params, origin)?;
        let network = Sequential::new(&layers, input.shape, &params, origin, device);
        let network = network.map_err(|error| match error {
            Error::Config { key, problem, expected } => Error::file(path, key, problem, expected),
            other => other,
        })?;
        if !classes.is_empty() && network.output() != Some(classes.len()) {
            let found = network.output().map_or("nothing".into(), |n| format!("{n} outputs"));
            let problem = format!("{} names", classes.len());
            let expected = format!("one for each output, and the layers give {found}");
            return Err(Error::file(path, "classes", problem, expected));
        }
        let (path, device) = (path.to_path_buf(), device.clone());
        Ok(Self { path, network, max: input.max, units, classes, device })
    }

    /// The classifier's name: the name of its file without the ending.
    pub fn name(&self) -> String {
        self.path.file_stem().map_or(String::new(), |stem| stem.to_string_lossy().into_owned())
    }

    /// The names of the classes; empty if the file has none.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The number of classes; none if the features are the output of the last layer.
    pub fn outputs(&self) -> Option<usize> {
        self.network.output()
    }

    /// The number of features of a picture.
    pub fn width(&self) -> usize {
        self.network.features()
    }

    /// The features and logits of raw pictures of a space, computed in batches of some hundred.
    ///
    /// # Errors
    /// [`Error::Shape`] if the space is not of pictures of the classifier's size, or the rows have another width;
    /// [`Error::File`] if the space's pixels have another greatest value than the classifier's.
    pub fn forward(&self, pictures: &Rows, space: &Space) -> Result<Outputs> {
        self.check(pictures, space)?;
        let chunk = (NUMBERS / self.network.widest()).clamp(1, 1024);
        let [_, height, width] = self.network.input();
        let (mut features, mut logits) = (Vec::new(), Vec::new());
        for start in (0..pictures.len()).step_by(chunk) {
            let mut rows = pictures.slice(start..pictures.len().min(start + chunk));
            let planes = rows.values_mut().chunks_exact_mut(height * width);
            for (plane, (factor, summand)) in planes.zip(self.units.iter().cycle()) {
                plane.iter_mut().for_each(|pixel| *pixel = *pixel * factor + summand);
            }
            let (seen, output) = self.network.forward(rows.to_tensor(&self.device).into())?;
            features.extend_from_slice(Rows::from_tensor(&seen.value)?.values());
            if let Some(output) = output {
                logits.extend_from_slice(Rows::from_tensor(&output.value)?.values());
            }
        }
        let logits = self.outputs().map(|width| Rows::new(logits, width)).transpose()?;
        Ok(Outputs { features: Rows::new(features, self.width())?, logits })
    }

    /// The features of raw pictures of a space.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn features(&self, pictures: &Rows, space: &Space) -> Result<Rows> {
        Ok(self.forward(pictures, space)?.features)
    }

    fn check(&self, pictures: &Rows, space: &Space) -> Result<()> {
        let what = || format!("pictures for the classifier {}", self.path.display());
        let times = |[c, h, w]: [usize; 3]| format!("{c}×{h}×{w}");
        let expected = times(self.network.input());
        match space.layout() {
            Layout::Vector { width } => {
                let found = format!("rows of {width} values that are no pictures");
                return Err(Error::shape(what(), found, expected));
            }
            Layout::Image { channels, height, width } => {
                let found = [channels, height, width];
                if found != self.network.input() {
                    return Err(Error::shape(what(), times(found), expected));
                }
            }
        }
        if pictures.width() != space.width() {
            return Err(Error::shape(what(), pictures.width(), space.width()));
        }
        match space.coordinate(0).highest().filter(|highest| *highest != self.max) {
            None => Ok(()),
            Some(highest) => {
                let expected = format!("{highest}, the greatest value of the pixels to judge");
                Err(Error::file(&self.path, "input.max", self.max.to_string(), expected))
            }
        }
    }
}

/// The factor and the summand of each channel, from the greatest value, the mean and the standard deviation.
fn units(path: &Path, input: &Input) -> Result<Vec<(f32, f32)>> {
    let channels = input.shape[0];
    let per_channel = |name: &str, values: &[f64], default: f64| {
        if values.is_empty() {
            return Ok(vec![default; channels]);
        }
        if values.len() == channels && values.iter().all(|v| v.is_finite()) {
            return Ok(values.to_vec());
        }
        let expected = format!("{channels} numbers, one for each channel");
        Err(Error::file(path, format!("input.{name}"), format!("{values:?}"), expected))
    };
    let (mean, sd) = (per_channel("mean", &input.mean, 0.0)?, per_channel("sd", &input.sd, 1.0)?);
    for (name, value) in sd.iter().map(|sd| ("sd", *sd)).chain([("max", input.max)]) {
        if !(value.is_finite() && value > 0.0) {
            let place = format!("input.{name}");
            return Err(Error::file(path, place, value.to_string(), "a positive number"));
        }
    }
    let of = |(mean, sd): (&f64, &f64)| ((1.0 / (input.max * sd)) as f32, (-mean / sd) as f32);
    Ok(mean.iter().zip(&sd).map(of).collect())
}

/// The fault of a description, and its line.
fn explain(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let before = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.bytes().take(before).filter(|byte| *byte == b'\n').count() + 1;
    let message = error.message();
    let (problem, expected) =
        message.split_once(", expected ").unwrap_or((message, "the description of a classifier"));
    Error::file(path, format!("line {line}"), problem, expected)
}
