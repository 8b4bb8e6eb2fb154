//! From a recipe's text to its values.

use super::Recipe;
use crate::registry::{read, spelled_out};
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// A recipe's text with `overrides` of the form `key.path=value` applied, unchecked.
pub(super) fn parse(text: &str, overrides: &[String]) -> Result<Recipe> {
    let mut table: Table =
        toml::from_str(text).map_err(|e| Error::config(place(text, &e), e.message(), "TOML"))?;
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
    read(Value::Table(table), "")
}

/// The options of a table.
///
/// # Errors
/// [`Error::Config`] naming the key.
pub(crate) fn read_table<T: DeserializeOwned>(table: &Table) -> Result<T> {
    read(Value::Table(table.clone()), "")
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
    read_table(&table)
}

/// The line of a TOML error.
fn place(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().map_or(0, |span| span.start.min(text.len()));
    format!("line {}", text.bytes().take(before).filter(|byte| *byte == b'\n').count() + 1)
}

/// Sets a dotted key, making tables on the way: of nothing, and of the word that stands for one.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::named_option;

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
            ("schedule=cosin", "schedule: cosin; expected `cosine` perhaps"),
            ("schedule.name=cosin", "schedule.name: cosin; expected `cosine` perhaps"),
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
        use crate::solve::grid::{AnyGrid, Karras};
        use crate::solve::{AnySolver, Ddim};
        let solver = |text: &str| named_option::<AnySolver>("solver", text);
        let ddim = AnySolver::Ddim(Ddim { eta: 0.5 });
        for text in ["ddim, eta = 0.5", "{ name = \"ddim\", eta = 0.5 }", " ddim ,eta=0.5 "] {
            assert_eq!(solver(text).unwrap(), ddim, "{text}");
        }
        let grid = named_option::<AnyGrid>("grid", "karras, rho = 3.0").unwrap();
        assert_eq!(grid, AnyGrid::Karras(Karras { rho: 3.0 }));
        for (text, expected) in [
            ("ddin", "solver: ddin; expected `ddim` perhaps"),
            ("ddim, eta", "solver: ddim, eta; expected a name"),
            ("ddim, eta = 1 }, { x = 2", "solver: ddim, eta = 1 }"),
            ("ddim, name = 'heun'", "solver: ddim, name = 'heun'"),
            ("ddim, etta = 1.0", "solver.etta: unknown key; expected `eta` perhaps"),
            ("ddim, eta = 'x'", "solver.eta: \"x\"; expected a number"),
            ("{ eta = 1.0 }", "solver"),
            ("3", "solver: 3; expected a name, or a table with one"),
            ("", "solver: "),
        ] {
            let error = solver(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        for text in ["karras, rhoo = 3.0", "time, rho = 3.0"] {
            let error = named_option::<AnyGrid>("grid", text).unwrap_err().to_string();
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
