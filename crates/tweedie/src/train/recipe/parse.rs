//! From a recipe's text to its values, and from serde's words to errors that name the key.

use super::Recipe;
use crate::error::one_of;
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// Tables that are chosen by their `name`; a bare name stands for the whole table.
const NAMED: [&str; 7] =
    ["schedule", "network", "solver", "grid", "distribution", "instead_of", "kind"];

/// Those of them of which serde lets unknown keys pass.
const LENIENT: [&str; 3] = ["grid", "distribution", "instead_of"];

/// A recipe's text with `overrides` of the form `key.path=value` applied, unchecked.
pub(super) fn parse(text: &str, overrides: &[String]) -> Result<Recipe> {
    let mut table: Table =
        toml::from_str(text).map_err(|e| Error::config(place(text, &e), e.message(), "TOML"))?;
    spell_out(&mut table)?;
    for item in overrides {
        match item.split_once('=') {
            Some((key, value)) if key.split('.').all(|part| !part.trim().is_empty()) => {
                let value = value.trim();
                let text = || Value::String(value.to_string());
                set(&mut table, key.trim(), value.parse().unwrap_or_else(|_| text()))?;
            }
            _ => return Err(Error::config("--set", item, "key=value, such as training.steps=500")),
        }
    }
    read(&table)
}

/// The value of a table that is chosen by its name, such as `solver`, as a user writes it by itself: `ddim`,
/// `ddim, eta = 0.5` or `{ name = "ddim", eta = 0.5 }`. It is read, not checked.
///
/// ```
/// use tweedie::solve::{AnySolver, Ddim};
/// let solver: AnySolver = tweedie::train::named_option("solver", "ddim, eta = 0.5")?;
/// assert_eq!(solver, AnySolver::Ddim(Ddim { eta: 0.5 }));
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] naming `key`, or the key inside of it.
pub fn named_option<T: DeserializeOwned + Serialize>(key: &str, text: &str) -> Result<T> {
    let text = text.trim();
    let mut table = Table::new();
    set(&mut table, key, text.parse().unwrap_or_else(|_| Value::String(text.to_string())))?;
    let found: Result<BTreeMap<String, T>> = read(&table);
    let found = found.map_err(|error| match error {
        Error::Config { key, problem, expected } => {
            Error::config(key.strip_suffix(".name").unwrap_or(&key), problem, expected)
        }
        other => other,
    });
    let missing = || Error::config(key, text, "a name, or a table with one");
    found?.remove(key).ok_or_else(missing)
}

/// The options of a table.
///
/// # Errors
/// [`Error::Config`] naming the key.
pub(crate) fn read_table<T: DeserializeOwned>(table: &Table) -> Result<T> {
    let mut table = table.clone();
    spell_out(&mut table)?;
    T::deserialize(Value::Table(table.clone())).map_err(|e| explain::<T>(&e, &table))
}

/// The options `base` with those of a table in their place.
///
/// # Errors
/// [`Error::Config`] naming the key.
pub(crate) fn read_options<T: DeserializeOwned + Serialize>(
    base: &T,
    changes: &Table,
) -> Result<T> {
    let base = Value::try_from(base)
        .map_err(|e| Error::config("options", e.to_string(), "values TOML can hold"))?;
    let mut table = base.as_table().cloned().unwrap_or_default();
    for (key, value) in changes {
        set(&mut table, key, value.clone())?;
    }
    read(&table)
}

/// What a table says.
fn read<T: DeserializeOwned + Serialize>(table: &Table) -> Result<T> {
    let value = T::deserialize(Value::Table(table.clone())).map_err(|e| explain::<T>(&e, table))?;
    if let Ok(Value::Table(kept)) = Value::try_from(&value)
        && let Some(key) = ignored(table, &kept)
    {
        return Err(Error::config(key, "unknown key", "only the options of this name"));
    }
    Ok(value)
}

/// The first key, with its path, that serde let pass.
fn ignored(given: &Table, kept: &Table) -> Option<String> {
    given.iter().find_map(|(key, value)| {
        let (Value::Table(given), Some(Value::Table(kept))) = (value, kept.get(key)) else {
            return None;
        };
        let unknown =
            given.keys().find(|k| LENIENT.contains(&key.as_str()) && !kept.contains_key(*k));
        let inner = unknown.cloned().or_else(|| ignored(given, kept))?;
        Some(format!("{key}.{inner}"))
    })
}

/// Makes tables of the words that stand for them.
fn spell_out(table: &mut Table) -> Result<()> {
    for (key, value) in table.iter_mut() {
        match value {
            Value::Table(inner) => spell_out(inner)?,
            Value::String(text) if NAMED.contains(&key.as_str()) => *value = named(key, text)?,
            _ => {}
        }
    }
    Ok(())
}

/// The table that `name` or `name, key = value, …` stands for.
fn named(key: &str, text: &str) -> Result<Value> {
    let (name, options) = text.split_once(',').unwrap_or((text, ""));
    let table = match format!("{{ {options} }}").parse() {
        Ok(Value::Table(table)) if !table.contains_key("name") => Some(table),
        _ => None,
    };
    let expected = "a name, or a name and its options, such as ddim, eta = 0.5";
    let mut table = table.ok_or_else(|| Error::config(key, text, expected))?;
    table.insert("name".into(), name.trim().into());
    Ok(Value::Table(table))
}

/// The line of a TOML error.
fn place(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().map_or(0, |span| span.start.min(text.len()));
    format!("line {}", text.bytes().take(before).filter(|byte| *byte == b'\n').count() + 1)
}

/// Sets a dotted key, making tables on the way.
fn set(table: &mut Table, path: &str, value: Value) -> Result<()> {
    let parts: Vec<&str> = path.split('.').map(str::trim).collect();
    let (key, heads) = parts.split_last().unwrap_or((&path, &[]));
    let mut table = table;
    for (depth, head) in heads.iter().enumerate() {
        let inner = table.entry(*head).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(inner) = inner else {
            let problem = format!("{} is a value", parts[..=depth].join("."));
            return Err(Error::config(path, problem, "a key inside a table"));
        };
        table = inner;
    }
    let value = match value {
        Value::String(text) if NAMED.contains(key) => named(key, &text)?,
        value => value,
    };
    table.insert(key.to_string(), value);
    Ok(())
}

/// An error that names the key, what it holds, and what it takes.
fn explain<T: DeserializeOwned>(error: &toml::de::Error, table: &Table) -> Error {
    let (message, text) = (error.message(), error.to_string());
    let path = text.lines().find_map(|line| line.strip_prefix("in `")?.strip_suffix('`'));
    let path = path.unwrap_or_default();
    let under = |key: &str| if path.is_empty() { key.into() } else { format!("{path}.{key}") };
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let found = quoted.first().copied().unwrap_or_default();
    let known = || one_of(found, quoted.get(1..).unwrap_or_default());
    if message.starts_with("unknown field") {
        return Error::config(under(found), "unknown key", known());
    }
    if message.starts_with("unknown variant") {
        return Error::config(culprit::<T>(table, path, message), found, known());
    }
    if message.starts_with("missing field") {
        return Error::config(under(found), "missing", "a value");
    }
    let key = culprit::<T>(table, path, message);
    let (problem, expected) = message.rsplit_once(", expected ").unwrap_or((message, "another"));
    let found = match at(table, &key) {
        Some(Value::Table(_)) => "a table of keys".into(),
        value => value.map_or(problem.into(), Value::to_string),
    };
    Error::config(key, found, in_words(expected))
}

/// The key whose value is wrong. Inside a table that is chosen by its name serde does not tell: there it is the key
/// without which the message is another.
fn culprit<T: DeserializeOwned>(table: &Table, path: &str, message: &str) -> String {
    let inner = at(table, path).and_then(Value::as_table).filter(|t| t.contains_key("name"));
    let mut keys = inner.into_iter().flat_map(Table::keys).filter(|key| *key != "name");
    let decides = |key: &&String| {
        let mut without = table.clone();
        let inner =
            path.split('.').try_fold(&mut without, |t, part| t.get_mut(part)?.as_table_mut());
        inner.and_then(|inner| inner.remove(*key));
        let other = T::deserialize(Value::Table(without));
        other.err().is_none_or(|error| error.message() != message)
    };
    keys.find(decides).map_or(path.to_string(), |key| format!("{path}.{key}"))
}

/// The value at a dotted key.
fn at<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
    let value = table.get(first)?;
    rest.map_or(Some(value), |rest| at(value.as_table()?, rest))
}

/// What serde expected, for people.
fn in_words(expected: &str) -> String {
    match expected {
        "u32" | "u64" | "usize" => "a whole number, 0 or more".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        other if other.starts_with("struct") || other.contains("tagged enum") => {
            "a table of keys".into()
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(overrides: &[&str]) -> String {
        let overrides: Vec<String> = overrides.iter().map(|o| o.to_string()).collect();
        parse("[data]\nsource = \"moons\"", &overrides).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_key_its_value_and_what_it_takes() {
        let cases = [
            ("trainig.steps=5", "trainig: unknown key; expected `training` perhaps"),
            ("training.step=5", "training.step: unknown key; expected `steps` perhaps"),
            ("training.steps=many", "training.steps: \"many\"; expected a whole number"),
            ("training.steps=-1", "training.steps: -1; expected a whole number"),
            ("training.ema=x", "training.ema: \"x\"; expected a number"),
            ("training.decay=cosin", "training.decay: cosin; expected `cosine` perhaps"),
            ("training=3", "training: 3; expected a table of keys"),
            ("training.steps.x=3", "training.steps: a table of keys; expected a whole number"),
            ("schedule=cosin", "schedule.name: cosin; expected `cosine` perhaps"),
            ("schedule.side=1", "schedule.name: missing"),
            (
                "network={name='mlp',hiden=4}",
                "network.hiden: unknown key; expected `hidden` perhaps",
            ),
            (
                "network={name='mlp',blocks=2,hidden=-4}",
                "network.hidden: -4; expected a whole number",
            ),
            (
                "network={name='mlp',activation='sillu'}",
                "network.activation: sillu; expected `silu`",
            ),
            ("data.image=[1,2]", "data.image: [1, 2]; expected an array of length 3"),
            ("data=moons", "data: \"moons\"; expected a table of keys"),
            ("training.steps", "--set: training.steps; expected key=value"),
            ("=5", "--set: =5"),
            ("training..steps=5", "--set: training..steps=5"),
        ];
        for (item, expected) in cases {
            let error = error(&[item]);
            assert!(error.starts_with(expected), "{item}: {error}");
        }
        assert!(
            error(&["training.steps=5", "training.steps.x=3"])
                .contains("training.steps is a value")
        );
    }

    #[test]
    fn a_word_stands_for_a_table_that_holds_only_a_name() {
        let text = "schedule = \"cosine\"\nnetwork = \"mlp\"\n[data]\nsource = \"moons\"\n\
            [objective]\nkind = \"bound\"\n[objective.levels]\ndistribution = \"log-snr\"\n\
            [sampling]\nsolver = \"heun\"\ngrid = \"karras, rho = 5.0\"";
        let tables = "[data]\nsource = \"moons\"\n[schedule]\nname = \"cosine\"\n[network]\nname = \"mlp\"\n\
            [objective]\nkind = { name = \"bound\" }\n\
            levels = { distribution = { name = \"log-snr\" } }\n\
            [sampling]\nsolver = { name = \"heun\" }\ngrid = { name = \"karras\", rho = 5.0 }";
        assert_eq!(parse(text, &[]).unwrap(), parse(tables, &[]).unwrap());
        let set = ["sampling.grid=karras, rho = 5.0".to_string()];
        assert_eq!(parse(text, &set).unwrap(), parse(text, &[]).unwrap());
    }

    #[test]
    fn options_are_read_as_recipes_write_them() {
        use crate::solve::{AnySolver, Ddim, Grid};
        let solver = |text: &str| named_option::<AnySolver>("solver", text);
        let ddim = AnySolver::Ddim(Ddim { eta: 0.5 });
        for text in ["ddim, eta = 0.5", "{ name = \"ddim\", eta = 0.5 }", " ddim ,eta=0.5 "] {
            assert_eq!(solver(text).unwrap(), ddim, "{text}");
        }
        let grid = named_option::<Grid>("grid", "karras, rho = 3.0").unwrap();
        assert_eq!(grid, Grid::Karras { rho: 3.0 });
        for (text, expected) in [
            ("ddin", "solver: ddin; expected `ddim` perhaps"),
            ("ddim, eta", "solver: ddim, eta; expected a name"),
            ("ddim, eta = 1 }, { x = 2", "solver: ddim, eta = 1 }"),
            ("ddim, name = 'heun'", "solver: ddim, name = 'heun'"),
            ("ddim, etta = 1.0", "solver.etta: unknown key; expected `eta` perhaps"),
            ("ddim, eta = 'x'", "solver.eta: \"x\"; expected a number"),
            ("{ eta = 1.0 }", "solver"),
            ("3", "solver: 3; expected a table of keys"),
            ("", "solver: "),
        ] {
            let error = solver(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        for text in ["karras, rhoo = 3.0", "time, rho = 3.0"] {
            let error = named_option::<Grid>("grid", text).unwrap_err().to_string();
            assert!(error.starts_with("grid.rho") && error.contains("unknown key"), "{error}");
        }
        let set = ["sampling.grid={name='time',rho=3.0}".to_string()];
        let error = parse("[data]\nsource = \"moons\"", &set).unwrap_err().to_string();
        assert!(error.starts_with("sampling.grid.rho: unknown key"), "{error}");
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let error = parse("[data]\nsource = 'ä'\n[training\n", &[]).unwrap_err().to_string();
        assert!(error.starts_with("line 3: ") && error.ends_with("expected TOML"), "{error}");
    }

    #[test]
    fn overrides_make_tables_and_names_replace_them() {
        let set = ["schedule=edm", "schedule.sigma_max=10", "training.adamw.clip=0.5", "about=a b"];
        let set = set.map(String::from);
        let recipe = parse("[data]\nsource = \"moons\"\n[schedule]\nname = \"ve\"", &set).unwrap();
        let edm = crate::process::Edm { sigma_max: 10.0, ..Default::default() };
        assert_eq!(recipe.schedule, crate::process::AnySchedule::Edm(edm));
        assert_eq!((recipe.training.adamw.clip, recipe.about.as_str()), (0.5, "a b"));
    }
}
