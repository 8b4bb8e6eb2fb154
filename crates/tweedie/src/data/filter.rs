//! Filters: conditions on the values of rows, such as `length > 3, colour = red`.
//!
//! Rows of a density p that a filter A keeps have the density of rejection sampling (J. von Neumann, "Various
//! techniques used in connection with random digits", 1951),
//! ```text
//! p(x | A) = p(x) 1[x ∈ A] / P(A)        P(A): the share of rows kept
//! ```
//! Numbers are compared as tables write them: rounded to the decimals of their column, dates by time, all in the form
//! of the column. A missing number equals only the empty text and differs from every number.

use super::{Coordinate, Kind, Rows, Space, Split};
use crate::error::one_of;
use crate::{Error, Result};
use std::cmp::Ordering;

/// The operators by their texts; of two that begin alike the longer comes first.
const OPERATORS: [(&str, Operator); 7] = [
    ("!=", |order| order != Some(Ordering::Equal)),
    ("<=", |order| matches!(order, Some(Ordering::Less | Ordering::Equal))),
    (">=", |order| matches!(order, Some(Ordering::Greater | Ordering::Equal))),
    ("==", is_equal),
    ("=", is_equal),
    ("<", |order| order == Some(Ordering::Less)),
    (">", |order| order == Some(Ordering::Greater)),
];

/// Whether two values in this order, none if one is missing, are as an operator demands.
type Operator = fn(Option<Ordering>) -> bool;

fn is_equal(order: Option<Ordering>) -> bool {
    order == Some(Ordering::Equal)
}

/// Conditions on the columns of rows and on their labels, all of which a row must satisfy.
///
/// ```
/// use tweedie::data::{Filter, Rows, Space, Split};
/// let space = Space::vector(&["x", "y"])?;
/// let filter = Filter::parse("x > 1.5, y != 0", &space, "label")?;
/// let rows = Split::new(Rows::new(vec![1.0, 1.0, 2.0, 0.0, 3.0, 1.0], 2)?, None)?;
/// assert_eq!(filter.kept(&rows), [2]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    tests: Vec<Test>,
}

/// The place of a value that is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A column of the rows.
    Column(usize),
    /// A column that the rows are conditioned on.
    Given(usize),
    /// The label.
    Label,
}

/// A condition on one value.
#[derive(Debug, Clone, PartialEq)]
struct Test {
    place: Place,
    /// The raw value, or index, that the value must equal, if the operator is `=`.
    fixed: Option<f64>,
    rule: Rule,
}

/// The rule that a value must follow.
#[derive(Debug, Clone, PartialEq)]
enum Rule {
    /// Whether each name, or class, is kept.
    Names(Vec<bool>),
    /// A comparison with a number, NaN for a missing one, in the form of a column.
    Number(&'static str, f64, Box<Coordinate>),
}

impl Filter {
    /// Reads conditions `column operator value`, separated by commas, on columns of rows of `space`, of their
    /// conditions and on their labels, which are a column named `label`. Operators are =, !=, <, <=, > and >=; names,
    /// except for numbers, have the first two. Columns and values may stand in quotes. An empty value is a missing one.
    ///
    /// # Errors
    /// [`Error::Config`] for the key `where`, naming the column and what is known of it.
    pub fn parse(text: &str, space: &Space, label: &str) -> Result<Self> {
        let parts = split(text, |rest| rest.starts_with(',').then_some(1));
        let tests = parts.iter().map(|(part, _)| Test::parse(part, space, label));
        Ok(Self { tests: tests.collect::<Result<Vec<_>>>()? })
    }

    /// The indices of the rows that satisfy all conditions.
    pub fn kept(&self, rows: &Split) -> Vec<usize> {
        let holds = |i: usize, test: &Test| match (test.place, rows.given(), rows.labels()) {
            (Place::Column(j), ..) => test.rule.holds(rows.rows().exact(i, j)),
            (Place::Given(j), Some(given), _) => test.rule.holds(given.exact(i, j)),
            (Place::Label, _, Some(labels)) => test.rule.holds(labels[i].into()),
            _ => false,
        };
        (0..rows.len()).filter(|&i| self.tests.iter().all(|test| holds(i, test))).collect()
    }

    /// The indices of the rows of conditions, in raw units, that satisfy the conditions on their columns.
    pub fn kept_given(&self, values: &Rows) -> Vec<usize> {
        let holds = |i: usize, test: &Test| match test.place {
            Place::Given(j) => test.rule.holds(values.exact(i, j)),
            _ => true,
        };
        (0..values.len()).filter(|&i| self.tests.iter().all(|test| holds(i, test))).collect()
    }

    /// Whether a condition is on a column that rows are conditioned on.
    pub fn tests_given(&self) -> bool {
        self.tests.iter().any(|test| matches!(test.place, Place::Given(_)))
    }

    /// Whether a condition is on the label.
    pub fn tests_label(&self) -> bool {
        self.tests.iter().any(|test| test.place == Place::Label)
    }

    /// The class that rows must have, if a condition states it.
    pub fn class(&self) -> Option<u32> {
        let fixed = |test: &Test| test.fixed.filter(|_| test.place == Place::Label);
        self.tests.iter().find_map(fixed).map(|class| class as u32)
    }

    /// The raw values that the `width` columns of conditions must have, if conditions state each of them.
    pub fn given(&self, width: usize) -> Option<Vec<f32>> {
        let fixed = |j: usize| {
            let of = |test: &Test| test.fixed.filter(|_| test.place == Place::Given(j));
            self.tests.iter().find_map(of).filter(|value| value.is_finite())
        };
        (0..width).map(|j| fixed(j).map(|value| value as f32)).collect()
    }
}

impl Test {
    fn parse(text: &str, space: &Space, label: &str) -> Result<Self> {
        let operator = |rest: &str| {
            OPERATORS.iter().find(|(sign, _)| rest.starts_with(sign)).map(|(sign, _)| sign.len())
        };
        let found = split(text, operator);
        let [(name, Some(sign)), (value, None)] = &found[..] else {
            let expected = "column = value, with one of =, !=, <, <=, > and >=; texts with these or commas in quotes";
            return Err(Error::config("where", text.trim(), expected));
        };
        let (name, value) = (bare(name), bare(value));
        let place = find(&name, space, label)?;
        let fault = |problem: String, expected: String| {
            Error::config("where", format!("column '{name}': {problem}"), expected)
        };
        let coordinate = match place {
            Place::Column(j) => space.coordinate(j),
            Place::Given(j) => {
                space.given().map_or(space.coordinate(0), |given| given.coordinate(j))
            }
            Place::Label => return Test::of_names(place, sign, &value, space.classes(), &fault),
        };
        match &coordinate.kind {
            Kind::Category { names } => Test::of_names(place, sign, &value, names, &fault),
            Kind::Identifier { .. } => {
                let problem = "it holds identifiers, which are drawn new".to_string();
                Err(fault(problem, "a column of the model".into()))
            }
            _ => Test::of_numbers(place, sign, &value, coordinate, &fault),
        }
    }

    /// A condition on a category or a class.
    fn of_names(
        place: Place,
        sign: &str,
        value: &str,
        names: &[String],
        fault: &impl Fn(String, String) -> Error,
    ) -> Result<Self> {
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        let numbers = names.iter().map(|name| number(name)).collect::<Option<Vec<f64>>>();
        let index = known.iter().position(|name| *name == value);
        let missing = || known.iter().position(|name| super::table::is_missing(name));
        let index = index.or_else(|| missing().filter(|_| value.is_empty()));
        let (_, holds) = of(sign);
        let keep: Vec<bool> = match (numbers.zip(number(value)), index) {
            // Numbers compare as such, 3 and 3.0 alike.
            (Some((numbers, value)), _) => {
                if matches!(sign, "=" | "==" | "!=") && !numbers.contains(&value) {
                    return Err(fault(format!("no row has {value}"), one_of("", &known)));
                }
                numbers.iter().map(|number| holds(number.partial_cmp(&value))).collect()
            }
            (None, _) if !matches!(sign, "=" | "==" | "!=") => {
                let problem = format!("its values are names, which have no order for {sign}");
                return Err(fault(problem, "= or !=".into()));
            }
            (None, Some(index)) => {
                (0..names.len()).map(|k| holds((k == index).then_some(Ordering::Equal))).collect()
            }
            (None, None) => return Err(fault(format!("no '{value}'"), one_of(value, &known))),
        };
        let mut kept = (0..keep.len()).filter(|&k| keep[k]);
        let only = kept.next().filter(|_| sign.starts_with('=') && kept.next().is_none());
        Ok(Test { place, fixed: only.map(|at| at as f64), rule: Rule::Names(keep) })
    }

    /// A condition on a number.
    fn of_numbers(
        place: Place,
        sign: &str,
        value: &str,
        coordinate: &Coordinate,
        fault: &impl Fn(String, String) -> Error,
    ) -> Result<Self> {
        let (sign, _) = of(sign);
        let equal = matches!(sign, "=" | "==" | "!=");
        let raw = match (value, &coordinate.missing) {
            ("", Some(_)) => f64::NAN,
            ("", None) => {
                return Err(fault("none of its values is missing".into(), "a number".into()));
            }
            _ => coordinate.number(value).ok_or_else(|| {
                let form = "a value in the form of the column, such as";
                let example = coordinate.text(coordinate.shift.round());
                fault(format!("'{value}'"), format!("{form} {example}"))
            })?,
        };
        if coordinate.form.step.is_some() && equal && ![0.0, 1.0].contains(&raw) && !raw.is_nan() {
            let both = [0.0, 1.0].map(|raw| coordinate.text(raw));
            return Err(fault(format!("no row has {value}"), both.join(" or ")));
        }
        if raw.is_nan() && !equal {
            let problem = format!("a missing value has no order for {sign}");
            return Err(fault(problem, "= or !=".into()));
        }
        let number = written(coordinate, raw);
        if equal && !raw.is_nan() && rounded(coordinate, raw) != number {
            let problem = format!("no row has {value}, since its values are rounded");
            let nearest =
                coordinate.text(if coordinate.is_quantised() { raw.round() } else { raw });
            return Err(fault(problem, format!("a value with its decimals, such as {nearest}")));
        }
        let fixed = sign.starts_with('=').then_some(raw);
        Ok(Test { place, fixed, rule: Rule::Number(sign, number, Box::new(coordinate.clone())) })
    }
}

impl Rule {
    /// Whether a raw value follows the rule.
    fn holds(&self, raw: f64) -> bool {
        match self {
            Rule::Names(keep) => keep.get(raw as usize).copied().unwrap_or(false),
            Rule::Number(sign, number, coordinate) => {
                let order = match (raw.is_nan(), number.is_nan()) {
                    (true, true) => Some(Ordering::Equal),
                    _ => rounded(coordinate, raw).partial_cmp(number),
                };
                of(sign).1(order)
            }
        }
    }
}

/// The operator that a text begins with.
fn of(sign: &str) -> (&'static str, Operator) {
    OPERATORS.iter().find(|(known, _)| *known == sign).copied().unwrap_or(("=", is_equal))
}

/// The number that a raw value of a row is written as: rounded to the column's decimals, whole for integers and dates,
/// else in single precision.
fn rounded(coordinate: &Coordinate, raw: f64) -> f64 {
    match (coordinate.form.decimals, coordinate.is_quantised() || coordinate.form.date.is_some()) {
        (None, false) => coordinate.form.number(f64::from(raw as f32)),
        (None, true) => coordinate.value(raw).round(),
        (Some(_), _) => coordinate.value(raw),
    }
}

/// The number of a raw value that was read from a text: as [`rounded`] where that is the same but for rounding errors.
fn written(coordinate: &Coordinate, raw: f64) -> f64 {
    let (origin, number) = (coordinate.form.origin, rounded(coordinate, raw));
    let value = coordinate.form.number(raw);
    let slack = match coordinate.form.decimals {
        None if !coordinate.is_quantised() => f64::from(f32::EPSILON) * raw.abs(),
        _ => 8.0 * f64::EPSILON * (value.abs() + origin.abs()),
    };
    if (number - value).abs() <= slack { number } else { value }
}

/// The place of a column by its name, or by its title with a unit.
fn find(name: &str, space: &Space, label: &str) -> Result<Place> {
    let names =
        |space: &Space| (0..space.width()).map(|j| space.column_name(j)).collect::<Vec<_>>();
    let position = |space: &Space, known: &[String]| {
        let titled = |j: &usize| space.coordinate(*j).title() == name;
        known.iter().position(|known| known == name).or_else(|| (0..space.width()).find(titled))
    };
    let own = names(space);
    if let Some(j) = position(space, &own) {
        return Ok(Place::Column(j));
    }
    let given = space.given().map(names).unwrap_or_default();
    if let Some(j) = space.given().and_then(|space| position(space, &given)) {
        return Ok(Place::Given(j));
    }
    let label = (!space.classes().is_empty()).then_some(label);
    if label == Some(name) {
        return Ok(Place::Label);
    }
    let known: Vec<&str> = own.iter().chain(&given).map(String::as_str).chain(label).collect();
    let shown = &known[..known.len().min(SHOWN)];
    let more = if known.len() > SHOWN { ", …" } else { "" };
    let expected = match crate::error::nearest(name, &known) {
        Some(near) if !shown.contains(&near) => {
            format!("`{near}` perhaps; one of {}{more}", shown.join(", "))
        }
        _ => format!("{}{more}", one_of(name, shown)),
    };
    Err(Error::config("where", format!("no column '{name}'"), expected))
}

/// The most columns named in an error.
const SHOWN: usize = 30;

/// The parts of a text between separators outside quotes, each with the separator behind it. `length` is the length of
/// a separator that a text begins with.
fn split(text: &str, length: impl Fn(&str) -> Option<usize>) -> Vec<(&str, Option<&str>)> {
    let (mut parts, mut start, mut quote, mut at) = (Vec::new(), 0, None, 0);
    while let Some(letter) = text[at..].chars().next() {
        let found = length(&text[at..]).filter(|_| quote.is_none());
        if let Some(length) = found {
            parts.push((&text[start..at], Some(&text[at..at + length])));
            at += length;
            start = at;
            continue;
        }
        // A quote opens a column or a value; elsewhere it is a letter.
        let before = text[start..at].trim_end().chars().next_back();
        let opens = matches!(letter, '\'' | '"') && before.is_none_or(|c| "=<>".contains(c));
        quote = match quote {
            Some(open) if open == letter => None,
            None if opens => Some(letter),
            open => open,
        };
        at += letter.len_utf8();
    }
    parts.push((&text[start..], None));
    parts
}

/// A text without blanks and quotes around it.
fn bare(text: &str) -> String {
    let text = text.trim();
    let inside = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(text).to_string()
}
