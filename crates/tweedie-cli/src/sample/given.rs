//! `--condition`: the values of columns that samples are conditioned on.

use super::Options;
use std::ops::Range;
use toml::{Table, Value};
use tweedie::burn::tensor::Device;
use tweedie::data::table::{TableOptions, is_table, read};
use tweedie::data::{Condition, Coordinate, Filter, Kind, Rows, Space};
use tweedie::run::Run;
use tweedie::{Draws, Error, Result};

/// The values of the columns that samples are conditioned on.
pub(super) enum Conditions {
    /// The same for all.
    One(Rows),
    /// Rows in turn.
    InTurn(Rows),
    /// Random rows.
    Random(Rows, Draws),
}

impl Conditions {
    /// The conditions that the options name; none for an unconditional sample, or a model without such columns. Random
    /// rows satisfy the filter as far as it is on their columns.
    pub fn parse(options: &Options, run: &Run, filter: Option<&Filter>) -> Result<Option<Self>> {
        let wrong =
            |found: &str, expected: String| Err(Error::config("--condition", found, expected));
        let Some(space) = run.info.space.given() else {
            return match options.condition.as_deref() {
                None | Some("none") => Ok(None),
                Some(text) => {
                    wrong(text, "no condition: the model is conditioned on no columns".into())
                }
            };
        };
        if let Some(label) = &options.label {
            let expected = "--condition: the model is conditioned on columns";
            return Err(Error::config("--label", label, expected));
        }
        let filter = filter.filter(|filter| filter.tests_given());
        match options.condition.as_deref() {
            Some("none") if filter.is_some() => {
                wrong("none", "conditions, since --where is on their columns".into())
            }
            Some("none") => Ok(None),
            None if let Some(fixed) = filter.and_then(|filter| filter.given(space.width())) => {
                let row = Rows::new(fixed, space.width())?;
                space.validate(&row).map_err(|error| as_option("--where", error))?;
                Ok(Some(Conditions::One(row)))
            }
            None | Some("data") => {
                let data = run.data()?.fit_rows();
                let Some(values) = data.given() else { return Ok(None) };
                let draws = Draws::new(options.seed).purpose("condition");
                let Some(filter) = filter else {
                    return Ok(Some(Conditions::Random(values.clone(), draws)));
                };
                let kept = filter.kept_given(values);
                if kept.is_empty() {
                    let names: Vec<String> =
                        (0..space.width()).map(|j| space.column_name(j)).collect();
                    let problem = "no training row satisfies what it says of the conditions";
                    let expected =
                        format!("ranges, or column = value for each of {}", names.join(", "));
                    return Err(Error::config("--where", problem, expected));
                }
                Ok(Some(Conditions::Random(values.select(&kept), draws)))
            }
            Some(path) if is_table(path) => {
                let columns = (0..space.width()).map(|j| space.column_name(j)).collect();
                let options = TableOptions { columns: Some(columns), ..TableOptions::default() };
                let found = read(path, &options)?;
                let adopted = space.adopt(&found.space, &found.rows, path)?;
                Ok(Some(Conditions::InTurn(adopted.rows().clone())))
            }
            Some(text) => {
                let names: Vec<String> = (0..space.width()).map(|j| space.column_name(j)).collect();
                let expected = || format!("a value for each of {}", names.join(", "));
                let Ok(table) = format!("of = {{ {text} }}").parse::<Table>() else {
                    return wrong(text, expected());
                };
                let Some(of) = table.get("of").and_then(Value::as_table) else {
                    return wrong(text, expected());
                };
                if of.len() != names.len() {
                    return wrong(text, expected());
                }
                let value = |(j, name): (usize, &String)| {
                    let value = of.get(name).and_then(|value| number(space.coordinate(j), value));
                    value.ok_or_else(|| Error::config("--condition", text, expected()))
                };
                let values = names.iter().enumerate().map(value).collect::<Result<Vec<f32>>>()?;
                let row = Rows::new(values, space.width())?;
                space.validate(&row).map_err(|error| as_option("--condition", error))?;
                Ok(Some(Conditions::One(row)))
            }
        }
    }

    /// The values of samples by their numbers.
    pub fn values(&self, rows: Range<u64>) -> Rows {
        match self {
            Conditions::One(row) => row.select(&vec![0; (rows.end - rows.start) as usize]),
            Conditions::InTurn(all) => {
                all.select(&rows.map(|i| (i % all.len() as u64) as usize).collect::<Vec<_>>())
            }
            Conditions::Random(all, draws) => {
                let chosen = rows.map(|i| draws.below(i, 0, all.len() as u64) as usize);
                all.select(&chosen.collect::<Vec<_>>())
            }
        }
    }

    /// The condition of samples by their numbers.
    pub fn condition(&self, rows: Range<u64>, space: &Space, device: &Device) -> Result<Condition> {
        space.given_condition(&self.values(rows), device)
    }
}

/// The same error with an option as its key.
fn as_option(option: &str, error: Error) -> Error {
    match error {
        Error::Config { problem, expected, .. } => Error::config(option, problem, expected),
        other => other,
    }
}

/// The raw value of a column: of a number, or of a text in the column's form, such as a category or a date.
fn number(column: &Coordinate, value: &Value) -> Option<f32> {
    let category = matches!(column.kind, Kind::Category { .. });
    let raw = match value {
        Value::String(text) => column.number(text)?,
        Value::Integer(value) if !category => *value as f64 - column.form.origin,
        Value::Float(value) if !category => value - column.form.origin,
        _ => return None,
    };
    Some(raw as f32)
}
