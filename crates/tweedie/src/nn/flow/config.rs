//! The configuration of a flow: its layers, at one resolution or several.

use super::{AnyBijectionConfig, CouplingConfig, Flow, PermutationConfig, Place, pixels};
use crate::error::{count, inside};
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The most resolutions of a picture.
const MOST_LEVELS: u64 = 16;

/// Configuration of [`Flow`].
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::Device;
/// use tweedie::nn::flow::FlowConfig;
/// let flow = FlowConfig::new(2).with_depth(4).init(&Draws::new(0), &Device::flex())?;
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowConfig {
    /// The width of a row; 0 means the width of the data.
    pub width: usize,
    /// The channels, height and width of rows that are pictures, channel by channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture: Option<[usize; 3]>,
    /// The number of classes that rows are conditioned on; 0 for none.
    pub classes: usize,
    /// The length of vectors that rows are conditioned on; 0 for none.
    pub vector: usize,
    /// The number of resolutions of a picture; 0 for a flow that knows no pixels. At each, every 2 × 2 pixels become
    /// one with four times the channels, the layers follow, and half of the channels are noise from there on.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub levels: usize,
    /// The number of repetitions of the layers, at each resolution, each with weights of its own.
    pub depth: usize,
    /// The bijections before the first round, the nearest to the data first.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub first: Vec<AnyBijectionConfig>,
    /// The bijections of one round, the nearest to the data first.
    pub layers: Vec<AnyBijectionConfig>,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self {
            width: 0,
            picture: None,
            classes: 0,
            vector: 0,
            levels: 0,
            depth: 8,
            first: Vec::new(),
            layers: vec![
                AnyBijectionConfig::Coupling(CouplingConfig::default()),
                AnyBijectionConfig::Permutation(PermutationConfig::default()),
            ],
        }
    }
}

impl FlowConfig {
    /// A flow on rows of `width` values: eight affine couplings with permutations between them.
    pub fn new(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    /// Sets the channels, height and width of rows that are pictures.
    pub fn with_picture(mut self, picture: [usize; 3]) -> Self {
        self.picture = Some(picture);
        self
    }

    /// Sets the number of classes to condition on.
    pub fn with_classes(mut self, classes: usize) -> Self {
        self.classes = classes;
        self
    }

    /// Sets the length of vectors to condition on.
    pub fn with_vector(mut self, vector: usize) -> Self {
        self.vector = vector;
        self
    }

    /// Sets the number of repetitions of the layers.
    pub fn with_depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// Sets the number of resolutions of a picture.
    pub fn with_levels(mut self, levels: usize) -> Self {
        self.levels = levels;
        self
    }

    /// Sets the bijections before the first round, the nearest to the data first.
    pub fn with_first(mut self, first: Vec<AnyBijectionConfig>) -> Self {
        self.first = first;
        self
    }

    /// Sets the bijections of one round, the nearest to the data first.
    pub fn with_layers(mut self, layers: Vec<AnyBijectionConfig>) -> Self {
        self.layers = layers;
        self
    }

    /// Fails, naming the key, unless every value is valid, whatever the data.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        count("depth", self.depth as u64, 1 << 10)?;
        if self.layers.is_empty() {
            return Err(Error::config("layers", "none", "at least one bijection"));
        }
        if self.levels as u64 > MOST_LEVELS {
            let expected = format!("from 0 to {MOST_LEVELS}");
            return Err(Error::config("levels", self.levels.to_string(), expected));
        }
        for (key, layers) in [("first", &self.first), ("layers", &self.layers)] {
            layers.iter().try_for_each(|layer| layer.check()).map_err(|e| inside(key, e))?;
        }
        Ok(())
    }

    /// Fails, naming the key, unless the flow can be built for its width.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn fits(&self) -> Result<()> {
        self.check()?;
        if let Some(picture) = self.picture {
            let values = picture.iter().fold(1usize, |values, side| values.saturating_mul(*side));
            if values != self.width {
                let expected = format!("channels, height and width of {} values", self.width);
                return Err(Error::config("picture", format!("{picture:?}"), expected));
            }
        }
        let halves = |side: usize| side > 0 && side.is_multiple_of(1 << self.levels);
        match self.picture {
            Some([_, height, width]) if halves(height) && halves(width) => {}
            _ if self.levels == 0 => {}
            None => {
                let expected = "0: the rows are no pictures";
                return Err(Error::config("levels", self.levels.to_string(), expected));
            }
            Some([_, height, width]) => {
                let expected = format!("fewer: {height} × {width} pixels are halved at each");
                return Err(Error::config("levels", self.levels.to_string(), expected));
            }
        }
        self.plan()
            .iter()
            .try_for_each(|(key, layer, place)| layer.fits(place).map_err(|e| inside(key, e)))
    }

    /// All bijections from the data to the noise: the key of each, its configuration and its place.
    fn plan(&self) -> Vec<(&'static str, Cow<'_, AnyBijectionConfig>, Place)> {
        let Self { width, picture, classes, vector, .. } = *self;
        let mut place = Place { width, picture, classes, vector, round: 0 };
        let first = self.first.iter().map(|layer| ("first", Cow::Borrowed(layer), place));
        let mut plan: Vec<_> = first.collect();
        for level in 0..self.levels.max(1) {
            if let Some(sides) = place.picture.filter(|_| self.levels > 0) {
                let [channels, height, width] = sides;
                let order = AnyBijectionConfig::Permutation(pixels::squeeze(sides));
                plan.push(("levels", Cow::Owned(order), place));
                place.picture = Some([4 * channels, height / 2, width / 2]);
            }
            for _ in 0..self.depth {
                let layers = self.layers.iter().map(|l| ("layers", Cow::Borrowed(l), place));
                plan.extend(layers);
                place.round += 1;
            }
            if level + 1 < self.levels {
                place.width /= 2;
                place.picture = place.picture.map(|[channels, h, w]| [channels / 2, h, w]);
            }
        }
        plan
    }

    /// The number of values in the parameters.
    pub fn parameters(&self) -> u128 {
        self.plan().iter().map(|(_, layer, place)| layer.parameters(place)).sum()
    }

    /// The approximate number of activations per row.
    pub fn activations(&self) -> usize {
        self.plan().iter().map(|(_, layer, place)| layer.activations(place)).sum()
    }

    /// The number of layers whose log-determinants random vectors can estimate in evaluation.
    pub(crate) fn probed_layers(&self) -> usize {
        self.plan().iter().filter(|(_, layer, _)| layer.takes_probes()).count()
    }

    /// The flow with initial values from `draws`: the identity up to the order of columns.
    ///
    /// # Errors
    /// [`Error::Config`] naming a key that is invalid, or does not fit the width.
    pub fn init(&self, draws: &Draws, device: &Device) -> Result<Flow> {
        self.fits()?;
        let plan = self.plan();
        let (mut layers, mut widths) =
            (Vec::with_capacity(plan.len()), Vec::with_capacity(plan.len()));
        for (key, config, place) in plan {
            let draws = draws.purpose("layers").at(layers.len() as u64);
            layers.push(config.init(&place, &draws, device).map_err(|e| inside(key, e))?);
            widths.push(place.width);
        }
        Ok(Flow { layers, widths, width: self.width, classes: self.classes, vector: self.vector })
    }
}
