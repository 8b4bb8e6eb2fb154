//! Overrides of values: `--set key.path=value`, and a command's options over those of a recipe.

use super::{read, spelled_out};
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// The value `base` with its keys replaced by those of `changes`; a key of `changes` may be dotted.
///
/// # Errors
/// [`Error::Config`] naming the key that is unknown or whose value is invalid.
pub fn read_over<T: DeserializeOwned + Serialize>(base: &T, changes: &Table) -> Result<T> {
    let base = Value::try_from(base)
        .map_err(|e| Error::config("options", e.to_string(), "values TOML can hold"))?;
    let mut table = base.as_table().cloned().unwrap_or_default();
    for (key, value) in changes {
        set(&mut table, key, value.clone())?;
    }
    read(Value::Table(table), "")
}

/// Applies overrides of the form `key.path=value` to a table, with values in TOML or as bare words.
///
/// # Errors
/// [`Error::Config`] for an override of another form, or one that enters a key that is not a table.
pub fn override_all(table: &mut Table, overrides: &[String]) -> Result<()> {
    for item in overrides {
        match item.split_once('=') {
            Some((key, value)) if key.split('.').all(|part| !part.trim().is_empty()) => {
                let value = value.trim();
                let text = || Value::String(value.to_string());
                set(table, key.trim(), value.parse().unwrap_or_else(|_| text()))?;
            }
            _ => return Err(Error::config("--set", item, "key=value, such as training.steps=500")),
        }
    }
    Ok(())
}

/// Sets a dotted key; absent tables on its path are created, and words on it replaced by the tables that they are short
/// for.
fn set(table: &mut Table, path: &str, value: Value) -> Result<()> {
    let parts: Vec<&str> = path.split('.').map(str::trim).collect();
    let (key, heads) = parts.split_last().unwrap_or((&path, &[]));
    let mut table = table;
    for (depth, head) in heads.iter().enumerate() {
        let inner = table.entry(*head).or_insert_with(|| Value::Table(Table::new()));
        if let Some(spelled) = inner.as_str().and_then(spelled_out) {
            *inner = Value::Table(spelled);
        }
        let Value::Table(inner) = inner else {
            let problem = format!("{} is a value", parts[..=depth].join("."));
            return Err(Error::config(path, problem, "a key inside a table"));
        };
        table = inner;
    }
    table.insert(key.to_string(), value);
    Ok(())
}
