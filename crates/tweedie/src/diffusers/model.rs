//! `config.json` of a network.

use crate::nn::UNetConfig;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// The class of networks that is read and written.
const CLASS: &str = "UNet2DModel";

/// Keys that `EMAModel.save_pretrained` adds to the configuration of a network: they describe the average, not the
/// network.
const OF_AVERAGES: [&str; 7] = [
    "decay",
    "inv_gamma",
    "min_decay",
    "optimization_step",
    "power",
    "update_after_step",
    "use_ema_warmup",
];

/// Whether a value switches nothing on, whatever its key means: null, false, zero, nothing or "none".
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => ["", "none"].contains(&text.to_lowercase().as_str()),
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
    }
}

/// A JSON object from a file.
///
/// # Errors
/// [`Error::Io`] if it cannot be read; [`Error::File`] if it is no JSON object.
pub(super) fn read_object(path: &Path) -> Result<Map<String, Value>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    serde_json::from_str(&standard(&text)).map_err(|e| {
        Error::file(path, format!("line {}", e.line()), e.to_string(), "a JSON object")
    })
}

/// Python's JSON with null in place of numbers that JSON lacks, such as the `lambda_min_clipped` of a scheduler.
fn standard(text: &str) -> String {
    let mut inside = false;
    let mut parts = Vec::new();
    for part in text.split_inclusive('"') {
        let plain = if inside { part.to_string() } else { without_infinities(part) };
        parts.push(plain);
        // An escaped quote does not end a string.
        let escaped = part.trim_end_matches('"').bytes().rev().take_while(|b| *b == b'\\').count();
        inside ^= part.ends_with('"') && !(inside && escaped % 2 == 1);
    }
    parts.concat()
}

fn without_infinities(text: &str) -> String {
    text.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null")
}

/// The class that a configuration names.
pub(super) fn class(object: &Map<String, Value>) -> &str {
    object.get("_class_name").and_then(Value::as_str).unwrap_or("no class")
}

/// Reads the configuration of a network; `object` is the content of `path`. Every key must be known, unless its value
/// switches nothing on, or it describes an average of weights.
///
/// # Errors
/// [`Error::File`] naming the key that is unknown or whose value cannot be used.
pub(super) fn from_json(object: &Map<String, Value>, path: &Path) -> Result<UNetConfig> {
    if class(object) != CLASS {
        return Err(Error::file(path, "_class_name", class(object), CLASS));
    }
    let fault = |error: Error| match error {
        Error::Config { key, problem, expected } => {
            Error::file(path, key.trim_start_matches("network."), problem, expected)
        }
        other => other,
    };
    let own = |(key, _): &(&String, &Value)| !key.starts_with('_');
    // Keys replace diffusers' defaults, since old files lack new keys.
    let mut all = to_json(&UNetConfig::of_diffusers());
    for (key, value) in object.iter().filter(own) {
        if !all.contains_key(key) && (is_off(value) || OF_AVERAGES.contains(&key.as_str())) {
            continue;
        }
        if all.insert(key.clone(), value.clone()).is_none() {
            return Err(Error::file(path, key, "unknown key", "a key of UNet2DModel"));
        }
    }
    all.remove("_class_name");
    let mut unet: UNetConfig = serde_json::from_value(Value::Object(all.clone())).map_err(|e| {
        // The key whose value cannot be read by itself.
        let wrong = all.iter().find(|(key, value)| {
            let alone = Map::from_iter([(key.to_string(), (*value).clone())]);
            serde_json::from_value::<UNetConfig>(Value::Object(alone)).is_err()
        });
        let (key, found) = wrong.map_or(("content".into(), String::new()), |(key, value)| {
            (key.clone(), value.to_string())
        });
        Error::file(path, key, found, e.to_string())
    })?;
    if unet.class_embed_type.is_none() {
        unet.classes = unet.num_class_embeds.unwrap_or(0);
    }
    unet.check().map_err(fault)?;
    Ok(unet)
}

/// The configuration as the content of `config.json`.
pub(super) fn to_json(unet: &UNetConfig) -> Map<String, Value> {
    let mut object = match serde_json::to_value(unet) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    };
    object.remove("classes");
    object.remove("fourier_features");
    if let [h, w] = unet.sample_size
        && h == w
    {
        object.insert("sample_size".into(), h.into());
    }
    object.insert("_class_name".into(), CLASS.into());
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_does_not_have_are_null_and_strings_stay() {
        let text =
            r#"{"a \" NaN": -Infinity, "b": [NaN, 1, Infinity], "c": "Infinity \\", "d": NaN}"#;
        let read: Value = serde_json::from_str(&standard(text)).unwrap();
        let right = r#"{"a \" NaN": null, "b": [null, 1, null], "c": "Infinity \\", "d": null}"#;
        assert_eq!(read, serde_json::from_str::<Value>(right).unwrap());
    }
}
