//! What `run.json` holds.

use super::Recipe;
use super::migrate::{VERSION, migrated};
use crate::data::Space;
use crate::error::inside;
use crate::family::{Plan, family};
use crate::registry::read;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One part of a data set as a run remembers it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SplitInfo {
    /// How many rows it has.
    pub rows: usize,
    /// Its content's hash.
    pub hash: String,
    /// How many rows each class has; empty without labels.
    #[serde(default)]
    pub classes: Vec<usize>,
}

/// What a run was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// Data, whose splits are remembered by their hashes.
    Data,
    /// Nothing that can be loaded: the family needs no data, or the run was imported.
    None,
}

/// What `run.json` holds.
#[derive(Debug, Clone)]
pub struct RunInfo {
    /// The program that wrote it.
    pub program: String,
    /// The recipe as it was given.
    pub recipe: Recipe,
    /// The family's part of it with every width and unit known.
    pub resolved: Box<dyn Plan>,
    /// What a row means.
    pub space: Space,
    /// What the run was trained on.
    pub subject: Subject,
    /// The name of the data set.
    pub data: String,
    /// The rows trained on.
    pub train: SplitInfo,
    /// The rows held out.
    pub held_out: SplitInfo,
}

/// The same as JSON has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    program: String,
    recipe: Recipe,
    resolved: toml::Table,
    space: Space,
    subject: Subject,
    data: String,
    train: SplitInfo,
    held_out: SplitInfo,
}

impl RunInfo {
    /// The text of `run.json`.
    ///
    /// # Errors
    /// [`Error::Config`] if a value cannot be written as JSON.
    pub(super) fn to_json(&self) -> Result<String> {
        let Self { program, recipe, resolved, space, subject, data, train, held_out } =
            self.clone();
        let resolved = resolved.table()?;
        let (version, stored) = (VERSION, program);
        let stored = Stored {
            version,
            program: stored,
            recipe,
            resolved,
            space,
            subject,
            data,
            train,
            held_out,
        };
        serde_json::to_string_pretty(&stored)
            .map_err(|e| Error::config("recipe", e.to_string(), "values JSON can hold"))
    }

    /// Reads `run.json`, of this version or an older one.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key that cannot be used, `version` for one that is not known.
    pub(super) fn from_json(value: Value) -> Result<Self> {
        let stored: Stored = read(migrated(value)?, "")?;
        let Stored { program, recipe, resolved, space, subject, data, train, held_out, .. } =
            stored;
        recipe.check().map_err(|e| inside("recipe", e))?;
        let resolved = (family(recipe.plan.family())?.read)(resolved);
        let resolved = resolved.map_err(|e| inside("resolved", e))?;
        resolved.check_plan().map_err(|e| inside("resolved", e))?;
        resolved.check_fit(&space).map_err(|e| inside("resolved", e))?;
        let info = Self { program, recipe, resolved, space, subject, data, train, held_out };
        info.check_counts()?;
        Ok(info)
    }

    /// The resolved part of the recipe as the family's own type `F`.
    ///
    /// # Errors
    /// [`Error::Config`] if the run is of another family.
    pub fn resolved_as<F: 'static>(&self) -> Result<&F> {
        let found = self.recipe.plan.family();
        let wrong = || Error::config("family", found, "a run of the family that is wanted here");
        self.resolved.any().downcast_ref::<F>().ok_or_else(wrong)
    }

    /// Fails, naming the key, unless the classes' rows are all rows.
    fn check_counts(&self) -> Result<()> {
        let classes = self.space.classes().len();
        for (key, split) in [("train", &self.train), ("held_out", &self.held_out)] {
            let sum = split.classes.iter().try_fold(0usize, |sum, n| sum.checked_add(*n));
            if classes > 0 && (split.classes.len() != classes || sum != Some(split.rows)) {
                let expected = format!("{classes} numbers that make {} rows", split.rows);
                let found = format!("{:?}", split.classes);
                return Err(Error::config(format!("{key}.classes"), found, expected));
            }
        }
        Ok(())
    }
}
