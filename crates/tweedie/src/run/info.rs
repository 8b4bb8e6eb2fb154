//! What `run.json` holds.

use crate::data::Space;
use crate::nn::AnyNetworkConfig;
use crate::train::Recipe;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// One part of a data set as a run remembers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitInfo {
    /// How many rows it has.
    pub rows: usize,
    /// Its content's hash.
    pub hash: String,
    /// How many rows each class has; empty without labels.
    #[serde(default)]
    pub classes: Vec<usize>,
}

/// What `run.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The version of this format.
    pub version: u32,
    /// The program that wrote it.
    pub program: String,
    /// The recipe, as TOML would hold it.
    pub recipe: Recipe,
    /// The network with every width resolved.
    pub network: AnyNetworkConfig,
    /// The standard deviation of the data in model units.
    pub sigma_data: f64,
    /// The name of the data set.
    pub data: String,
    /// What a row means.
    pub space: Space,
    /// The rows trained on.
    pub train: SplitInfo,
    /// The rows held out.
    pub held_out: SplitInfo,
}

impl RunInfo {
    /// Fails, naming the key, unless the parts make sense and agree.
    pub(super) fn check(&self) -> Result<()> {
        self.recipe.check()?;
        let network = self.recipe.network_for(&self.space)?;
        let [found, expected] =
            [&self.network, &network].map(|n| serde_json::to_value(n).unwrap_or_default());
        let mut values = expected.as_object().into_iter().flatten();
        if let Some((key, value)) = values.find(|(key, value)| found.get(key) != Some(value)) {
            let found = found.get(key).map_or("missing".into(), ToString::to_string);
            let expected = format!("{value}, by recipe and space");
            return Err(Error::config(format!("network.{key}"), found, expected));
        }
        let classes = self.space.classes().len();
        for (key, split) in [("train", &self.train), ("held_out", &self.held_out)] {
            let sum = split.classes.iter().try_fold(0usize, |sum, n| sum.checked_add(*n));
            if classes > 0 && (split.classes.len() != classes || sum != Some(split.rows)) {
                let expected = format!("{classes} numbers that make {} rows", split.rows);
                let found = format!("{:?}", split.classes);
                return Err(Error::config(format!("{key}.classes"), found, expected));
            }
        }
        if !(1e-6..=1e6).contains(&self.sigma_data) {
            let found = format!("{:?}", self.sigma_data);
            return Err(Error::config("sigma_data", found, "a number from 1e-6 to 1e6"));
        }
        Ok(())
    }
}
