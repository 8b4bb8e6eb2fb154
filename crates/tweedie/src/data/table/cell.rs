//! The cells of a column: numbers, missing values, dates, and the form in which they are written.

use crate::data::form::{Form, MOST_DECIMALS};
use crate::data::pattern::Pattern;

/// Texts of missing values, in upper or lower case.
const MISSING: [&str; 15] = [
    "",
    "?",
    "na",
    "n/a",
    "#n/a",
    "nan",
    "nat",
    "null",
    "<null>",
    "<na>",
    "none",
    "-",
    "--",
    // MySQL's dates.
    "0000-00-00",
    "0000-00-00 00:00:00",
];
/// Signs and codes of money.
const MONEY: [&str; 18] = [
    "$", "€", "£", "¥", "₹", "US$", "R$", "USD", "EUR", "GBP", "JPY", "CHF", "CNY", "INR", "SEK",
    "NOK", "DKK", "kr",
];
/// Signs of per cent and per mille.
const SHARES: [&str; 2] = ["%", "‰"];
/// Signs between groups of three digits: a comma, a point, apostrophes, a blank and narrower ones, a low line.
const GROUPS: [char; 8] = [',', '.', '\'', '’', ' ', '\u{a0}', '\u{202f}', '_'];
/// Digits behind a plus from which on they are a telephone number.
const TELEPHONE: usize = 7;

/// Whether a cell is a plain number.
pub(super) fn is_number(cell: &str) -> bool {
    cell.parse::<f64>().is_ok() && !is_missing(cell)
}

/// Whether a cell stands for a missing value.
pub(in crate::data) fn is_missing(cell: &str) -> bool {
    MISSING.iter().any(|missing| cell.eq_ignore_ascii_case(missing))
}

/// Whether a cell is a whole number that begins with a zero as post codes do, `01067`, or with a plus as telephone
/// numbers do, and is a text for that.
fn is_code(cell: &str) -> bool {
    let digits = cell.trim_start_matches(['+', '-']);
    let zero = digits.len() > 1 && digits.starts_with('0');
    let telephone = cell.starts_with('+') && digits.len() >= TELEPHONE;
    (zero || telephone) && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The form of a column of numbers, and their values; none where they are missing.
pub(super) struct Numbers {
    pub form: Form,
    /// Another pattern that fits all dates.
    pub other: Option<Pattern>,
    pub values: Vec<Option<f64>>,
}

/// The numbers or dates of a column, if all cells but the missing ones are such, and one is. With `free_commas` a comma
/// may be a decimal point.
pub(super) fn numbers(cells: &[&str], free_commas: bool) -> Option<Numbers> {
    let own: Vec<&str> = cells.iter().copied().filter(|cell| !is_missing(cell)).collect();
    if own.is_empty() || own.iter().any(|cell| is_code(cell)) {
        return None;
    }
    let read = |form: Form, value: &dyn Fn(&str) -> Option<f64>| {
        let values = cells
            .iter()
            .map(|cell| if is_missing(cell) { Some(None) } else { value(cell).map(Some) });
        Some(Numbers { values: values.collect::<Option<Vec<_>>>()?, form, other: None })
    };
    let compact = Pattern::compact(&own);
    if compact.is_none() && own.iter().all(|cell| is_number(cell)) {
        let form = with_decimals(Form::default(), own.iter().copied());
        return read(form, &|cell| cell.parse().ok());
    }
    let patterns = compact.map_or_else(|| dates(&own), |compact| vec![compact]);
    if let [pattern, others @ ..] = &patterns[..] {
        let form = Form { date: Some(pattern.clone()), ..Form::default() };
        let found = read(form, &|cell| pattern.read(cell).map(|steps| steps as f64))?;
        let other = others.iter().find(|other| own.iter().any(|cell| pattern.differs(other, cell)));
        return Some(Numbers { other: other.cloned(), ..found });
    }
    let form = marks(&own, free_commas)?;
    let digits: Vec<String> = own.iter().map(|cell| form.plain(cell)).collect::<Option<_>>()?;
    let mut form = with_decimals(form, digits.iter().map(String::as_str));
    let found = read(form.clone(), &|cell| form.plain(cell)?.parse().ok())?;
    // Plain numbers have a point in the tables that are written, in which a comma separates cells.
    form.comma &= form.thousands || !form.prefix.is_empty() || !form.suffix.is_empty();
    Some(Numbers { form, ..found })
}

/// The patterns of dates or times that fit all cells.
pub(super) fn dates(cells: &[&str]) -> Vec<Pattern> {
    let sign = |b: u8| matches!(b, b'-' | b'/' | b'.' | b':' | b' ' | b'T');
    let like_date = |cell: &&str| {
        cell.len() >= 4 && cell.bytes().any(sign) && cell.bytes().any(|b| b.is_ascii_digit())
    };
    if cells.iter().all(like_date) { Pattern::fitting(cells) } else { Vec::new() }
}

/// The form with the decimals of numbers: the most that one has; none if one has an exponent or too many.
fn with_decimals<'a>(form: Form, numbers: impl Iterator<Item = &'a str>) -> Form {
    let (mut most, mut least) = (0, usize::MAX);
    for number in numbers {
        if number.contains(['e', 'E']) {
            return form;
        }
        let own = number.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        (most, least) = (most.max(own), least.min(own));
    }
    if most > MOST_DECIMALS {
        return form;
    }
    Form { decimals: Some(most as u8), fixed: most > 0 && most == least, ..form }
}

/// The mark in front of a number, with the blank between them.
fn prefix(cell: &str) -> String {
    let marks = MONEY.into_iter().filter(|mark| cell.starts_with(mark));
    let mark = marks.max_by_key(|mark| mark.len()).unwrap_or_default();
    let blank = cell[mark.len()..].chars().next().filter(|c| c.is_whitespace() && !mark.is_empty());
    format!("{mark}{}", blank.map(String::from).unwrap_or_default())
}

/// The mark behind a number, with the blank between them.
fn suffix(cell: &str) -> String {
    let marks = MONEY.into_iter().chain(SHARES).filter(|mark| cell.ends_with(mark));
    let mark = marks.max_by_key(|mark| mark.len()).unwrap_or_default();
    let before = cell[..cell.len() - mark.len()].chars().next_back();
    let blank = before.filter(|c| c.is_whitespace() && !mark.is_empty());
    format!("{}{mark}", blank.map(String::from).unwrap_or_default())
}

/// The form of a column's numbers, with the marks of its first cell; none if a cell is not a number in it. Where commas
/// can separate thousands in all cells, they are no decimal points.
fn marks(cells: &[&str], free_commas: bool) -> Option<Form> {
    let brackets = cells.iter().any(|cell| cell.starts_with('(') && cell.ends_with(')'));
    let first = cells.first()?.trim_start_matches(['-', '−', '(']).trim_start();
    let first = if brackets { first.trim_end_matches(')') } else { first };
    let (prefix, suffix) = (prefix(first), suffix(first));
    let form = Form { prefix, suffix, brackets, ..Form::default() };
    let grouped = |comma: bool| {
        let form = Form { comma, thousands: true, ..form.clone() };
        GROUPS.into_iter().filter_map(move |group| {
            let other = (group != ',').then_some(group);
            (group != form.point()).then(|| Form { group: other, ..form.clone() })
        })
    };
    let comma = Form { comma: true, ..form.clone() };
    // Where commas separate cells, a quoted 1,5 is no number, unless it has other marks.
    let marked = !form.prefix.is_empty() || !form.suffix.is_empty();
    let comma = (free_commas || marked).then_some(comma);
    let forms =
        std::iter::once(form.clone()).chain(grouped(false)).chain(comma).chain(grouped(true));
    let fits = |form: &Form| {
        let has_group = |cell: &&str| form.group().is_none_or(|group| cell.contains(group));
        cells.iter().all(|cell| form.plain(cell).is_some()) && cells.iter().any(has_group)
    };
    forms.into_iter().find(fits)
}
