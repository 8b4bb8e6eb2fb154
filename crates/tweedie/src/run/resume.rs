//! Resumption of a run: with the options that it was started with, and possibly with more steps or moved data.

use super::{Recipe, Run, RunInfo};
use crate::registry::override_all;
use crate::{Error, Result};
use toml::{Table, Value};

/// The key whose value may grow.
const STEPS: &str = "training.steps";

impl Run {
    /// Checks that the overrides `key.path=value` are those that the run was started with. Only `training.steps` may be
    /// larger; `run.json` then records the new number. A learning rate that decays to the last step decays to the new
    /// last step.
    ///
    /// # Errors
    /// [`Error::Config`] naming a key with another value in the run, or for fewer steps; [`Error::Io`] if `run.json`
    /// cannot be written.
    pub fn with_overrides(self, overrides: &[String]) -> Result<Self> {
        let own = self.info.recipe.table()?;
        let mut table = own.clone();
        override_all(&mut table, overrides)?;
        let recipe = Recipe::from_table(table)?;
        recipe.check()?;
        let changed = recipe.table()?;
        let mut found = Vec::new();
        differences(&own, &changed, "", &mut found);
        if let Some((key, was, wanted)) = found.into_iter().find(|(key, ..)| key != STEPS) {
            let expected =
                "the options that the run was started with; only training.steps may grow";
            let problem = format!("the run has {key} = {was}, not {wanted}");
            return Err(Error::config("--resume", problem, expected));
        }
        let (was, wanted) = (self.info.recipe.training.steps, recipe.training.steps);
        if wanted == was {
            return Ok(self);
        }
        if wanted < was {
            let expected = format!("at least {was}, the steps of the run");
            return Err(Error::config(STEPS, wanted.to_string(), expected));
        }
        let (folder, moved, mut info) = (self.folder, self.moved, self.info);
        info.recipe = recipe;
        info.overrides.iter_mut().for_each(|all| all.push(format!("{STEPS}={wanted}")));
        Ok(Self { moved, ..Self::write(&folder, info)? })
    }

    /// The run, just created, with the overrides that its recipe was given with recorded in `run.json`.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn started_with(self, overrides: Vec<String>) -> Result<Self> {
        Self::write(&self.folder, RunInfo { overrides: Some(overrides), ..self.info })
    }

    /// The keys in which the run's recipe differs from what the text of a recipe now gives with the overrides that the
    /// run was started with, each with the run's value and the value of the text.
    ///
    /// # Errors
    /// As [`Recipe::parse`].
    pub fn differences(&self, text: &str) -> Result<Vec<(String, String, String)>> {
        let now = Recipe::parse(text, self.info.overrides.as_deref().unwrap_or_default())?;
        let mut found = Vec::new();
        differences(&self.info.recipe.table()?, &now.table()?, "", &mut found);
        Ok(found)
    }
}

/// Adds every key, with its path, at which two tables differ, with both values.
fn differences(own: &Table, other: &Table, at: &str, found: &mut Vec<(String, String, String)>) {
    let text = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
    let keys = own.keys().chain(other.keys().filter(|key| !own.contains_key(*key)));
    for key in keys {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match (own.get(key), other.get(key)) {
            (a, b) if a == b => {}
            (Some(Value::Table(a)), Some(Value::Table(b))) => differences(a, b, &path, found),
            (a, b) => found.push((path, text(a), text(b))),
        }
    }
}
