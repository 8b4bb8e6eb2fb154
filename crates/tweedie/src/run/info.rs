//! The content of `run.json`.

use super::migrate::{VERSION, migrated};
use super::{Input, Recipe};
use crate::data::{Space, Validation};
use crate::error::inside;
use crate::family::{Plan, family};
use crate::registry::read;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// The record of one part of a data set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SplitInfo {
    /// The number of rows.
    pub rows: usize,
    /// The hash of the content.
    pub hash: String,
    /// The number of rows of each class; empty without labels.
    #[serde(default)]
    pub classes: Vec<usize>,
}

/// The kind of a run's training data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A data set, recorded by the hashes of its parts.
    Data,
    /// No data to load: the family needs none, or the run was imported.
    None,
}

/// The content of `run.json`.
#[derive(Debug, Clone)]
pub struct RunInfo {
    /// The name and version of the program that wrote the file.
    pub program: String,
    /// The recipe as given.
    pub recipe: Recipe,
    /// The overrides `key.path=value` of the command that started the run; none in runs of earlier programs.
    pub overrides: Option<Vec<String>>,
    /// The absolute path of the data, if they were read from a file or a folder.
    pub source_path: Option<PathBuf>,
    /// The family's part of the recipe, with every width and unit resolved.
    pub resolved: Box<dyn Plan>,
    /// The meaning of a row's columns.
    pub space: Space,
    /// The kind of the training data.
    pub subject: Subject,
    /// The name of the data set.
    pub data: String,
    /// The training rows.
    pub train: SplitInfo,
    /// The held-out rows.
    pub held_out: SplitInfo,
    /// The choice of validation rows; none in runs of earlier versions, which had no such rows.
    pub validation: Option<Validation>,
    /// The other runs that the run needs.
    pub inputs: Vec<Input>,
}

/// The content of `run.json` in its JSON form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredInfo {
    version: u32,
    program: String,
    recipe: Recipe,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    overrides: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_path: Option<PathBuf>,
    resolved: toml::Table,
    space: Space,
    subject: Subject,
    data: String,
    train: SplitInfo,
    held_out: SplitInfo,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validation: Option<Validation>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<Input>,
}

impl RunInfo {
    /// The text of `run.json`.
    ///
    /// # Errors
    /// [`Error::Config`] if a value cannot be written as JSON.
    pub(super) fn to_json(&self) -> Result<String> {
        let all = self.clone();
        let stored = StoredInfo {
            version: VERSION,
            program: all.program,
            recipe: all.recipe,
            overrides: all.overrides,
            source_path: all.source_path,
            resolved: all.resolved.table()?,
            space: all.space,
            subject: all.subject,
            data: all.data,
            train: all.train,
            held_out: all.held_out,
            validation: all.validation,
            inputs: all.inputs,
        };
        serde_json::to_string_pretty(&stored)
            .map_err(|e| Error::config("recipe", e.to_string(), "values JSON can hold"))
    }

    /// Reads `run.json`, of this version or an older one.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key that cannot be used; the key `version` for an unknown version.
    pub(super) fn from_json(value: Value) -> Result<Self> {
        let stored: StoredInfo = read(migrated(value)?, "")?;
        stored.recipe.check().map_err(|e| inside("recipe", e))?;
        let resolved = (family(stored.recipe.plan.family())?.read)(stored.resolved);
        let resolved = resolved.map_err(|e| inside("resolved", e))?;
        resolved.check_plan().map_err(|e| inside("resolved", e))?;
        resolved.check_fit(&stored.space).map_err(|e| inside("resolved", e))?;
        let info = Self {
            program: stored.program,
            recipe: stored.recipe,
            overrides: stored.overrides,
            source_path: stored.source_path,
            resolved,
            space: stored.space,
            subject: stored.subject,
            data: stored.data,
            train: stored.train,
            held_out: stored.held_out,
            validation: stored.validation,
            inputs: stored.inputs,
        };
        info.check_counts()?;
        Ok(info)
    }

    /// The resolved part of the recipe as the family's own type `F`.
    ///
    /// # Errors
    /// [`Error::Config`] if the run is of another family.
    pub fn resolved_as<F: 'static>(&self) -> Result<&F> {
        self.resolved.any().downcast_ref::<F>().ok_or_else(|| self.of_another_family())
    }

    /// The error of a run whose family is not the expected one.
    pub(super) fn of_another_family(&self) -> Error {
        let expected = "a run of the family that is wanted here";
        Error::config("family", self.recipe.plan.family(), expected)
    }

    /// Fails, naming the key, unless the rows of the classes add up to all rows.
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
