//! The cells of a column: numbers, missing values, dates, and the form in which they are written.

use crate::data::form::{Form, MOST_DECIMALS, Pattern};

/// Texts of missing values, in upper or lower case.
const MISSING: [&str; 13] =
    ["", "?", "na", "n/a", "#n/a", "nan", "nat", "null", "<null>", "<na>", "none", "-", "--"];
/// Signs and codes of money.
const MONEY: [&str; 18] = [
    "$", "€", "£", "¥", "₹", "US$", "R$", "USD", "EUR", "GBP", "JPY", "CHF", "CNY", "INR", "SEK",
    "NOK", "DKK", "kr",
];
/// Signs of per cent and per mille.
const SHARES: [&str; 2] = ["%", "‰"];

/// Whether a cell is a plain number.
pub(super) fn is_number(cell: &str) -> bool {
    cell.parse::<f64>().is_ok() && !is_missing(cell)
}

/// Whether a cell stands for a missing value.
pub(in crate::data) fn is_missing(cell: &str) -> bool {
    MISSING.iter().any(|missing| cell.eq_ignore_ascii_case(missing))
}

/// Whether a cell is a whole number that begins with a zero as post codes do, `01067`, and is a text for that.
fn is_code(cell: &str) -> bool {
    let digits = cell.trim_start_matches(['+', '-']);
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
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
    let mut patterns = compact.map_or_else(|| dates(&own), |compact| vec![compact]).into_iter();
    if let Some(pattern) = patterns.next() {
        let form = Form { date: Some(pattern.clone()), ..Form::default() };
        let found = read(form, &|cell| pattern.read(cell).map(|steps| steps as f64))?;
        let other =
            patterns.find(|other| own.iter().any(|cell| other.read(cell) != pattern.read(cell)));
        return Some(Numbers { other, ..found });
    }
    let (form, comma) = marks(&own, free_commas)?;
    let plain = |cell: &str| bare(cell, &form, comma);
    let digits: Vec<String> = own.iter().map(|cell| plain(cell)).collect::<Option<_>>()?;
    let form = with_decimals(form.clone(), digits.iter().map(String::as_str));
    read(form, &|cell| plain(cell)?.parse().ok())
}

/// The patterns of dates or times that fit all cells.
fn dates(cells: &[&str]) -> Vec<Pattern> {
    let sign = |b: u8| matches!(b, b'-' | b'/' | b'.' | b':' | b' ');
    if !cells.iter().all(|cell| cell.len() >= 4 && cell.bytes().any(sign)) {
        return Vec::new();
    }
    let writes = |pattern: &Pattern| cells.iter().all(|cell| pattern.writes(cell));
    let reads = |pattern: &Pattern| cells.iter().all(|cell| pattern.read(cell).is_some());
    let exact: Vec<Pattern> = Pattern::all().filter(writes).collect();
    if exact.is_empty() { Pattern::all().filter(reads).collect() } else { exact }
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
    let blank = !mark.is_empty() && cell[mark.len()..].starts_with(' ');
    format!("{mark}{}", if blank { " " } else { "" })
}

/// The mark behind a number, with the blank between them.
fn suffix(cell: &str) -> String {
    let marks = MONEY.into_iter().chain(SHARES).filter(|mark| cell.ends_with(mark));
    let mark = marks.max_by_key(|mark| mark.len()).unwrap_or_default();
    let blank = !mark.is_empty() && cell[..cell.len() - mark.len()].ends_with(' ');
    format!("{}{mark}", if blank { " " } else { "" })
}

/// The marks of a column's numbers, those of its first cell, and whether a comma is the decimal point; none if commas
/// are neither that nor separate groups of three digits.
fn marks(cells: &[&str], free_commas: bool) -> Option<(Form, bool)> {
    let first = cells.first()?.trim_start_matches('-').trim_start();
    let form = Form { prefix: prefix(first), suffix: suffix(first), ..Form::default() };
    let digits = cells.iter().filter_map(|cell| bare(cell, &form, false));
    let digits: Vec<String> = digits.filter(|digits| digits.contains(',')).collect();
    let grouped = digits.iter().all(|digits| is_grouped(digits));
    // 0,125 has no groups, though it looks like 1,125.
    let point = digits.iter().any(|digits| digits.contains('.'));
    let fraction = !grouped || !point && digits.iter().any(|digits| digits.starts_with('0'));
    let comma = free_commas && !digits.is_empty() && fraction;
    let thousands = grouped && !comma && !digits.is_empty();
    (comma || grouped).then_some((Form { thousands, ..form }, comma))
}

/// A cell's number as plain digits with its sign, if it has the marks of the form.
fn bare(cell: &str, form: &Form, comma: bool) -> Option<String> {
    let (sign, rest) = match cell.strip_prefix('-') {
        Some(rest) => ("-", rest.trim_start()),
        None => ("", cell),
    };
    let digits =
        rest.strip_prefix(form.prefix.as_str())?.strip_suffix(form.suffix.as_str())?.trim();
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) if sign.is_empty() => ("-", digits),
        _ => (sign, digits),
    };
    let digits = match (form.thousands, comma) {
        (true, _) if digits.contains(',') && !is_grouped(digits) => return None,
        (true, _) => digits.replace(',', ""),
        (false, true) => digits.replacen(',', ".", 1),
        (false, false) => digits.to_string(),
    };
    let counts = |digit: char| digit.is_ascii_digit() || matches!(digit, '.' | ',');
    (digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits.chars().all(counts))
        .then(|| format!("{sign}{digits}"))
}

/// Whether the digits before the point are in groups of three with commas between.
fn is_grouped(digits: &str) -> bool {
    let whole = digits.trim_start_matches('-').split('.').next().unwrap_or_default();
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3)
}
