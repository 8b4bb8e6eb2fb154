//! Embeddings of noise levels and conditions.

use super::{Activation, Embedding, EmbeddingConfig, Linear, LinearConfig, dtype_of, mlp};
use crate::data::Condition;
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

/// Configuration of [`TimeEmbedding`].
#[derive(Debug, Clone, Copy)]
pub struct TimeEmbeddingConfig {
    frequencies: usize,
    width: usize,
}

impl TimeEmbeddingConfig {
    /// A configuration with sines and cosines of `frequencies` frequencies, mapped to `width` features by two linear
    /// layers.
    pub fn new(frequencies: usize, width: usize) -> Self {
        Self { frequencies, width }
    }

    /// The embedding with initial values from `draws`.
    pub fn init(&self, draws: &Draws, device: &Device) -> TimeEmbedding {
        TimeEmbedding {
            linear_1: LinearConfig::new(2 * self.frequencies, self.width)
                .init(&draws.purpose("linear_1"), device),
            linear_2: LinearConfig::new(self.width, self.width)
                .init(&draws.purpose("linear_2"), device),
            frequencies: self.frequencies,
        }
    }
}

/// The noise level as features: sines and cosines of geometrically spaced frequencies, then two linear layers.
///
/// Frequencies run from ½ to 32 per unit of c = ¼ ln(σ/α), which spans about −2 to 2.
#[derive(Module, Debug)]
pub struct TimeEmbedding {
    /// The first layer, from 2·frequencies to `width` features.
    pub linear_1: Linear,
    /// The second layer, from `width` to `width` features.
    pub linear_2: Linear,
    #[module(skip)]
    frequencies: usize,
}

impl TimeEmbedding {
    /// Maps noise levels `[n, 1]` to features `[n, width]`.
    pub fn forward(&self, noise: Dual<2>) -> Dual<2> {
        let (device, kind) = (noise.value.device(), noise.value.dtype());
        let last = self.frequencies.max(2) - 1;
        let frequencies: Vec<f32> = (0..self.frequencies)
            .map(|k| (0.5 * 64f64.powf(k as f64 / last as f64) * std::f64::consts::TAU) as f32)
            .collect();
        let frequencies = TensorData::new(frequencies, [1, self.frequencies]).convert_dtype(kind);
        let frequencies = Tensor::<2>::from_data(frequencies, (&device, kind));
        let phase = noise * frequencies;
        let features = Dual::cat(vec![phase.clone().sin(), phase.cos()], 1);
        mlp(features, &[(&self.linear_1, Some(Activation::Silu)), (&self.linear_2, None)], None)
    }
}

/// The description of augmented pictures as features, by a linear map without bias: pictures as they are, with numbers
/// of 0, add nothing. Outside of training there is no description.
#[derive(Module, Debug)]
pub struct DescriptionEmbedding {
    linear: Linear,
    #[module(skip)]
    description: Option<Tensor<2>>,
}

impl DescriptionEmbedding {
    /// The map from `numbers` numbers to `width` features, with initial values from `draws`; none for 0 numbers.
    pub fn new(numbers: usize, width: usize, draws: &Draws, device: &Device) -> Option<Self> {
        let linear = LinearConfig::new(numbers.max(1), width).with_bias(false);
        let linear = linear.init(&draws.purpose("linear"), device);
        (numbers > 0).then_some(Self { linear, description: None })
    }

    /// An optional map with the description of a batch, `[n, numbers]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is a description that the map does not take.
    pub fn describing(own: Option<Self>, description: Option<Tensor<2>>) -> Result<Option<Self>> {
        let taken = own.as_ref().map_or(0, |own| own.linear.weight.val().dims()[1]);
        match &description {
            Some(given) if given.dims()[1] != taken => {
                let found = format!("{} numbers", given.dims()[1]);
                let expected = format!("{taken} numbers, as the network takes");
                Err(Error::shape("description of augmented pictures", found, expected))
            }
            _ => Ok(own.map(|own| Self { description, ..own })),
        }
    }

    /// Adds the features of the description, if there is one, to features `[n, width]`, or `[1, width]` for all rows.
    pub fn add_to(&self, features: Dual<2>) -> Dual<2> {
        match &self.description {
            Some(description) => features + self.linear.forward(description.clone().into()),
            None => features,
        }
    }
}

/// Configuration of [`ConditionEmbedding`].
#[derive(Debug, Clone, Copy)]
pub struct ConditionEmbeddingConfig {
    classes: usize,
    vector: usize,
    width: usize,
    gain: f64,
}

impl ConditionEmbeddingConfig {
    /// A configuration for `classes` classes (0 for none) and vectors of length `vector` (0 for none).
    pub fn new(classes: usize, vector: usize, width: usize) -> Self {
        Self { classes, vector, width, gain: 1.0 }
    }

    /// Sets a factor on the initial values; 0 starts every condition at zero.
    pub fn with_gain(mut self, gain: f64) -> Self {
        self.gain = gain;
        self
    }

    /// The number of values in the parameters.
    pub fn parameters(&self) -> u128 {
        let classes = if self.classes > 0 { self.classes as u128 + 1 } else { 0 };
        let vector = if self.vector > 0 { self.vector as u128 + 2 } else { 0 };
        (classes + vector) * self.width as u128
    }

    /// The embedding with initial values from `draws`.
    pub fn init(&self, draws: &Draws, device: &Device) -> ConditionEmbedding {
        ConditionEmbedding {
            classes: (self.classes > 0).then(|| {
                EmbeddingConfig::new(self.classes + 1, self.width)
                    .with_gain(self.gain)
                    .init(&draws.purpose("classes"), device)
            }),
            // One more input distinguishes "none" from the zero vector.
            vector: (self.vector > 0).then(|| {
                LinearConfig::new(self.vector + 1, self.width)
                    .with_gain(self.gain)
                    .init(&draws.purpose("vector"), device)
            }),
            class_count: self.classes,
            vector_width: self.vector,
        }
    }
}

/// The embedding of class or vector conditions as features; "none" is one more class, or a flag.
#[derive(Module, Debug)]
pub struct ConditionEmbedding {
    classes: Option<Embedding>,
    vector: Option<Linear>,
    #[module(skip)]
    class_count: usize,
    #[module(skip)]
    vector_width: usize,
}

impl ConditionEmbedding {
    /// The features of a condition, `[rows, width]`; none if the network takes no condition and `condition` is none.
    ///
    /// # Errors
    /// [`Error::Shape`] if the condition does not have the kind or size that the network takes.
    pub fn forward(
        &self,
        condition: &Condition,
        rows: usize,
        device: &Device,
    ) -> Result<Option<Dual<2>>> {
        condition.check(rows)?;
        match (condition, &self.classes, &self.vector) {
            (Condition::None, None, None) => Ok(None),
            (Condition::None, Some(table), _) => {
                Ok(Some(table.forward(&vec![self.class_count as u32; rows])))
            }
            (Condition::Class(labels), Some(table), _) => {
                let none = self.class_count as u32;
                if let Some(bad) = labels.iter().flatten().find(|l| **l >= none) {
                    return Err(Error::shape("class label", bad, format!("a label below {none}")));
                }
                let indices: Vec<u32> = labels.iter().map(|l| l.unwrap_or(none)).collect();
                Ok(Some(table.forward(&indices)))
            }
            (Condition::None, None, Some(linear)) => {
                let kind = dtype_of(linear);
                let zeros = Tensor::zeros([rows, self.vector_width + 1], (device, kind));
                Ok(Some(linear.forward(zeros.into())))
            }
            (Condition::Vector { values, present }, _, Some(linear)) => {
                if values.dims()[1] != self.vector_width {
                    return Err(Error::shape(
                        "condition vector",
                        values.dims()[1],
                        self.vector_width,
                    ));
                }
                let kind = dtype_of(linear);
                let flags: Vec<f32> = present.iter().map(|p| f32::from(*p)).collect();
                let flags = TensorData::new(flags, [rows, 1]).convert_dtype(kind);
                let flags = Tensor::<2>::from_data(flags, (device, kind));
                let input = Tensor::cat(vec![values.clone() * flags.clone(), flags], 1);
                Ok(Some(linear.forward(input.into())))
            }
            (other, _, _) => Err(Error::shape(
                "condition",
                other.kind(),
                match (self.class_count, self.vector_width) {
                    (0, 0) => "none: this network takes no condition".to_string(),
                    (0, w) => format!("vectors of length {w}"),
                    (k, _) => format!("one of {k} classes"),
                },
            )),
        }
    }
}
