//! Resumption of a run: with the options that it was started with, and possibly with more steps.

use super::{Recipe, Run};
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
        if let Some((key, was, wanted)) = difference(&own, &changed, "") {
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
        let (folder, mut info) = (self.folder().to_path_buf(), self.info);
        info.recipe = recipe;
        Self::write(&folder, info)
    }
}

/// The first key, with its path, at which two tables differ, except [`STEPS`]; with both values.
fn difference(own: &Table, other: &Table, at: &str) -> Option<(String, String, String)> {
    let text = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
    let keys = own.keys().chain(other.keys().filter(|key| !own.contains_key(*key)));
    keys.into_iter().find_map(|key| {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match (own.get(key), other.get(key)) {
            (a, b) if a == b || path == STEPS => None,
            (Some(Value::Table(a)), Some(Value::Table(b))) => difference(a, b, &path),
            (a, b) => Some((path, text(a), text(b))),
        }
    })
}
