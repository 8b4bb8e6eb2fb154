//! Forms of numbers in the cells of a table: decimals, signs of money and per cent, groups of thousands, dates.
//!
//! A raw value v of a row stands for `origin + v`, so that single precision holds large numbers that lie close
//! together, such as dates written as 20230623. In a column of two numbers v is 0 or 1, and stands for
//! `origin + step v`.

use super::pattern::Pattern;
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
    /// The distance of the two numbers of a column that has no others; none for a distance of 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
    /// Most digits after the decimal point; none for the fewest that single precision reads back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u8>,
    /// Whether all these digits are written, zeros at the end included.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub fixed: bool,
    /// Whether signs separate groups of three digits.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub thousands: bool,
    /// The sign between these groups; none for a comma.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<char>,
    /// Whether a comma is the decimal point.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub comma: bool,
    /// Whether brackets in place of a minus mark numbers below 0, as in accounts.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub brackets: bool,
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

impl Form {
    /// Whether numbers are written as digits alone, with no date, mark, origin or number of decimals of their own.
    pub(super) fn is_plain(&self) -> bool {
        *self == Form::default()
    }

    /// Whether raw values are the numbers themselves.
    pub(super) fn counts_from_zero(&self) -> bool {
        self.origin == 0.0 && self.step.is_none()
    }

    /// The number that a raw value stands for.
    pub(super) fn number(&self, raw: f64) -> f64 {
        self.origin + raw * self.step.unwrap_or(1.0)
    }

    /// The raw value of a number.
    pub(super) fn raw(&self, number: f64) -> f64 {
        (number - self.origin) / self.step.unwrap_or(1.0)
    }

    /// The text of a raw value.
    pub fn write(&self, raw: f64) -> String {
        let value = self.number(raw);
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
        let negative = value < 0.0 && digits.bytes().any(|digit| (b'1'..=b'9').contains(&digit));
        let number = format!("{}{}{}", self.prefix, self.marked(&digits), self.suffix);
        match (negative, self.brackets) {
            (false, _) => number,
            (true, false) => format!("-{number}"),
            (true, true) => format!("({number})"),
        }
    }

    /// The raw value of a text in this form, with its marks or without, or of a plain number.
    pub fn read(&self, text: &str) -> Option<f64> {
        let text = text.trim();
        let number = match &self.date {
            Some(pattern) => pattern.read(text)? as f64,
            None => {
                let bare = || {
                    let (prefix, suffix) = (String::new(), String::new());
                    Form { prefix, suffix, ..self.clone() }.plain(text)
                };
                let plain = self.plain(text).or_else(bare);
                plain.as_deref().unwrap_or(text).parse::<f64>().ok()?
            }
        };
        number.is_finite().then(|| self.raw(number))
    }

    /// A text's number as plain digits with its sign, if it has this form; signs between groups may be left out.
    pub(super) fn plain(&self, text: &str) -> Option<String> {
        let unsigned = |text: &str| {
            let inside = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
            // The second minus is that of typesetting.
            let rest = text.strip_prefix(['-', '−']).map(str::trim_start);
            let rest = rest.or(inside.filter(|_| self.brackets));
            (rest.is_some(), rest.unwrap_or(text).to_string())
        };
        let (outside, rest) = unsigned(text);
        let rest =
            rest.strip_prefix(self.prefix.as_str())?.strip_suffix(self.suffix.as_str())?.trim();
        let (inside, digits) = unsigned(rest);
        let (whole, decimals) = match digits.split_once(self.point()) {
            Some((whole, decimals)) => (whole, Some(decimals)),
            None => (digits.as_str(), None),
        };
        let are_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let whole = match self.group() {
            Some(group) if whole.contains(group) => {
                let groups: Vec<&str> = whole.split(group).collect();
                let three = groups[1..].iter().all(|group| group.len() == 3);
                // 0,125 has no groups, though it looks like 1,125.
                if !three || !(1..=3).contains(&groups[0].len()) || groups[0].starts_with('0') {
                    return None;
                }
                groups.concat()
            }
            _ => whole.to_string(),
        };
        if (outside && inside)
            || !are_digits(&whole)
            || !decimals.is_none_or(are_digits)
            || whole.is_empty() && decimals.is_none_or(str::is_empty)
        {
            return None;
        }
        let sign = if outside || inside { "-" } else { "" };
        let decimals = decimals.map(|decimals| format!(".{decimals}")).unwrap_or_default();
        Some(format!("{sign}{whole}{decimals}"))
    }

    /// Plain digits with the form's signs between groups and its decimal point.
    fn marked(&self, digits: &str) -> String {
        let (whole, decimals) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
        let mut text = String::with_capacity(digits.len() + whole.len() / 3);
        for (i, digit) in whole.char_indices() {
            if i > 0 && (whole.len() - i).is_multiple_of(3) {
                text.extend(self.group());
            }
            text.push(digit);
        }
        text + &decimals.replace('.', &self.point().to_string())
    }

    /// The sign between groups of digits, if there is one.
    pub(super) fn group(&self) -> Option<char> {
        self.thousands.then_some(self.group.unwrap_or(','))
    }

    /// The decimal point.
    pub(super) fn point(&self) -> char {
        if self.comma { ',' } else { '.' }
    }

    /// A value rounded to the digits that are written.
    pub(super) fn rounded(&self, raw: f64) -> f64 {
        let Some(decimals) = self.decimals else { return raw };
        let power = 10_f64.powi(decimals.into());
        self.raw((self.number(raw) * power).round() / power)
    }
}
