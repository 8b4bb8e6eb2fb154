//! Forms of numbers in the cells of a table: decimals, signs of money and per cent, groups of thousands, dates.
//!
//! A raw value v of a row stands for `origin + v`, so that single precision holds large numbers that lie close
//! together, such as dates written as 20230623. Dates and times count days, minutes or seconds since their origin,
//! 1970-01-01 plus `origin` steps.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use serde::{Deserialize, Serialize};

/// Most digits after the decimal point of a form.
pub(super) const MOST_DECIMALS: usize = 9;

/// The form of a column's numbers in a table.
///
/// ```
/// use tweedie::data::Form;
/// let price = Form { prefix: "$".into(), decimals: Some(2), fixed: true, thousands: true, ..Form::default() };
/// assert_eq!(price.write(1234.5), "$1,234.50");
/// assert_eq!(price.read("$1,234.50"), Some(1234.5));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Form {
    /// The number that raw values are counted from.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub origin: f64,
    /// Most digits after the decimal point; none for the fewest that single precision reads back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u8>,
    /// Whether all these digits are written, zeros at the end included.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub fixed: bool,
    /// Whether commas separate groups of three digits.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub thousands: bool,
    /// The text before the digits, such as `$`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// The text behind the digits, such as `%`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub suffix: String,
    /// The pattern of dates or times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<Pattern>,
}

/// A pattern of dates or times, such as `%Y-%m-%d`, whose numbers count steps of its finest part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

/// The patterns that are known. Of two that fit all cells of a column the first is taken.
const PATTERNS: [&str; 33] = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%m-%d-%Y",
    "%d-%m-%Y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%H:%M",
    "%H:%M:%S",
    "%-m/%-d/%Y",
    "%-d/%-m/%Y",
    "%-d.%-m.%Y",
    "%-d %b %Y",
    "%-m/%-d/%Y %-H:%M",
    "%-H:%M",
    COMPACT,
];
/// Dates as whole numbers, such as 20230623.
const COMPACT: &str = "%Y%m%d";
/// The years of whole numbers that are taken for dates.
const YEARS: std::ops::RangeInclusive<u32> = 1800..=2200;

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match PATTERNS.contains(&text.as_str()) {
            true => Ok(Self(text)),
            false => Err(format!("an unknown pattern of dates: {text}")),
        }
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl Pattern {
    /// Every known pattern.
    pub(super) fn all() -> impl Iterator<Item = Pattern> {
        PATTERNS.into_iter().map(|pattern| Pattern(pattern.into()))
    }

    /// The pattern of dates as whole numbers, if all cells are such dates.
    pub(super) fn compact(cells: &[&str]) -> Option<Self> {
        let pattern = Pattern(COMPACT.into());
        let year =
            |cell: &str| cell.get(..4)?.parse::<u32>().ok().filter(|year| YEARS.contains(year));
        let dated =
            |cell: &&str| cell.len() == 8 && year(cell).is_some() && pattern.read(cell).is_some();
        cells.iter().all(dated).then_some(pattern)
    }

    /// Seconds of a step: those of a day, a minute or a second.
    fn step(&self) -> i64 {
        match (self.0.contains("%S"), self.0.contains("%M")) {
            (true, _) => 1,
            (false, true) => 60,
            (false, false) => 86_400,
        }
    }

    /// The steps from 1970-01-01, or from midnight, to a date or time; none for a text that does not have this pattern.
    pub(super) fn read(&self, text: &str) -> Option<i64> {
        let seconds = match (self.0.contains("%Y"), self.0.contains("%H")) {
            (true, true) => {
                NaiveDateTime::parse_from_str(text, &self.0).ok()?.and_utc().timestamp()
            }
            (true, false) => {
                let midnight =
                    NaiveDate::parse_from_str(text, &self.0).ok()?.and_time(NaiveTime::MIN);
                midnight.and_utc().timestamp()
            }
            (false, _) => {
                (NaiveTime::parse_from_str(text, &self.0).ok()? - NaiveTime::MIN).num_seconds()
            }
        };
        Some(seconds.div_euclid(self.step()))
    }

    /// Whether a text is a date or time just as this pattern writes it.
    pub(super) fn writes(&self, text: &str) -> bool {
        self.read(text).is_some_and(|steps| self.write(steps) == text)
    }

    /// The date or time that many steps after 1970-01-01, or after midnight.
    fn write(&self, steps: i64) -> String {
        let seconds = steps.saturating_mul(self.step());
        let at = DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::UNIX_EPOCH);
        at.naive_utc().format(&self.0).to_string()
    }
}

impl Form {
    /// Whether the form is that of plain numbers.
    pub(super) fn is_plain(&self) -> bool {
        *self == Form::default()
    }

    /// The text of a raw value.
    pub fn write(&self, raw: f64) -> String {
        let value = self.origin + raw;
        if let Some(pattern) = &self.date {
            return pattern.write(value.round() as i64);
        }
        let mut digits = match self.decimals {
            Some(most) => format!("{:.*}", usize::from(most), value.abs()),
            // Without decimals, a value is single precision's own.
            None => (value.abs() as f32).to_string(),
        };
        if !self.fixed && digits.contains('.') {
            digits.truncate(digits.trim_end_matches('0').trim_end_matches('.').len());
        }
        if self.thousands {
            digits = grouped(&digits);
        }
        let negative = value < 0.0 && digits.bytes().any(|digit| (b'1'..=b'9').contains(&digit));
        let sign = if negative { "-" } else { "" };
        format!("{sign}{}{digits}{}", self.prefix, self.suffix)
    }

    /// The raw value of a text in this form, or of a plain number.
    pub fn read(&self, text: &str) -> Option<f64> {
        if let Some(pattern) = &self.date {
            return pattern.read(text.trim()).map(|steps| steps as f64 - self.origin);
        }
        let text = text.trim();
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1.0, rest.trim_start()),
            None => (1.0, text),
        };
        let digits = digits.strip_prefix(self.prefix.as_str()).unwrap_or(digits);
        let digits = digits.strip_suffix(self.suffix.as_str()).unwrap_or(digits).trim();
        let digits = if self.thousands { digits.replace(',', "") } else { digits.to_string() };
        let value = digits.parse::<f64>().ok().filter(|value| value.is_finite())?;
        Some(sign * value - self.origin)
    }

    /// A value rounded to the digits that are written.
    pub(super) fn rounded(&self, raw: f64) -> f64 {
        let Some(decimals) = self.decimals else { return raw };
        let power = 10_f64.powi(decimals.into());
        ((self.origin + raw) * power).round() / power - self.origin
    }
}

/// Digits with commas between groups of three before the point.
fn grouped(digits: &str) -> String {
    let whole = digits.find('.').unwrap_or(digits.len());
    let mut text = String::with_capacity(digits.len() + whole / 3);
    for (i, digit) in digits[..whole].char_indices() {
        if i > 0 && (whole - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + &digits[whole..]
}
