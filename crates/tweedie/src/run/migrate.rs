//! Versions of `run.json`, and pure functions from each version to the next.

use crate::train::Training;
use crate::{Error, Result};
use serde_json::{Map, Value, json};

/// The version that this program writes.
pub(super) const VERSION: u32 = 2;

/// A function from the content of a version's file to the content of the next version's.
type Migration = fn(Map<String, Value>) -> Map<String, Value>;

/// The migrations from each version to the next, beginning with the first.
const MIGRATIONS: [Migration; 1] = [families];

/// The content of `run.json` in the present version.
///
/// # Errors
/// [`Error::Config`] for a version that is missing or newer than the program.
pub(super) fn migrated(value: Value) -> Result<Value> {
    let Value::Object(mut object) = value else {
        return Err(Error::config("content", "no object", "a run written by tweedie"));
    };
    let found = object.get("version").map_or("no version".into(), |v| format!("version {v}"));
    let version = object.get("version").and_then(Value::as_u64);
    let Some(version) = version.filter(|v| (1..=u64::from(VERSION)).contains(v)) else {
        let expected = format!("version {VERSION} or an older one");
        return Err(Error::config("version", found, expected));
    };
    for (from, migrate) in (1..).zip(MIGRATIONS) {
        if version <= from {
            object = migrate(object);
            object.insert("version".into(), json!(from + 1));
        }
    }
    Ok(Value::Object(object))
}

/// The migration from version 1, which had diffusion models only: the network and the data's standard deviation move
/// into the family's resolved part, and a run without training rows has no data.
fn families(run: Map<String, Value>) -> Map<String, Value> {
    let mut run = without_nulls(run);
    let own = ["schedule", "network", "model", "objective", "training", "sampling"];
    let recipe = run.get("recipe").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut resolved: Map<String, Value> =
        own.iter().filter_map(|key| recipe.get_key_value(*key)).map(pair).collect();
    if let Some(Value::Object(training)) = resolved.get_mut("training") {
        Training::KEYS.iter().for_each(|key| drop(training.remove(*key)));
    }
    resolved.extend(run.remove("network").map(|network| ("network".to_string(), network)));
    if let (Some(sigma_data), Some(Value::Object(model))) =
        (run.remove("sigma_data"), resolved.get_mut("model"))
    {
        model.insert("sigma_data".into(), sigma_data);
    }
    let rows = run.get("train").and_then(|train| train.get("rows")).and_then(Value::as_u64);
    let subject = if rows == Some(0) { "none" } else { "data" };
    run.insert("resolved".into(), Value::Object(resolved));
    run.insert("subject".into(), json!(subject));
    run
}

/// The table without keys of value null, which TOML cannot hold.
fn without_nulls(table: Map<String, Value>) -> Map<String, Value> {
    let valued = table.into_iter().filter(|(_, value)| !value.is_null());
    let inner = |(key, value)| match value {
        Value::Object(inner) => (key, Value::Object(without_nulls(inner))),
        value => (key, value),
    };
    valued.map(inner).collect()
}

/// An owned copy of a pair.
fn pair((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}
