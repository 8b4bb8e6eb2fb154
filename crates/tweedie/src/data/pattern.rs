//! Patterns of dates and times in the cells of a table.
//!
//! The number of a date counts steps of its pattern's finest part: months, days, hours, minutes, seconds or parts of a
//! second since 1970-01-01, for a time of day since midnight, for a duration since 0. The parts that are zero in all
//! cells, as in `2023-06-23 00:00:00`, belong to the pattern as they are.

use chrono::format::{Parsed, StrftimeItems, parse};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// A pattern of dates or times, such as `%Y-%m-%d`, in the signs of C's `strftime`; `%^b` is a month in capitals, `[h]`
/// in front the hours of a duration and `[d]` its days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

/// Dates. Of two patterns that fit all cells of a column the first is taken, here and below.
const DATES: [&str; 54] = [
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
    "%-m/%-d/%Y",
    "%-d/%-m/%Y",
    "%-d.%-m.%Y",
    "%-d %b %Y",
    "%Y-%-m-%-d",
    "%Y/%-m/%-d",
    "%-m-%-d-%Y",
    "%-d-%-m-%Y",
    "%-d-%b-%Y",
    "%b %-d, %Y",
    "%B %-d, %Y",
    "%b %d %Y",
    "%b %-d %Y",
    "%d %B %Y",
    "%-d %B %Y",
    "%d. %B %Y",
    "%-d. %B %Y",
    "%a %d %b %Y",
    "%a, %d %b %Y",
    "%a %b %d %Y",
    "%A, %B %d, %Y",
    "%A, %B %-d, %Y",
    "%A, %d %B %Y",
    "%A, %-d %B %Y",
    "%d-%^b-%Y",
    "%d %^b %Y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d.%m.%y",
    "%-m/%-d/%y",
    "%-d/%-m/%y",
    "%-d.%-m.%y",
    "%m-%d-%y",
    "%d-%m-%y",
    "%d-%b-%y",
    "%-d-%b-%y",
    "%d %b %y",
    "%d-%^b-%y",
    "%y-%m-%d",
    "%y/%m/%d",
    "%Y %m %d",
    COMPACT,
];
/// Times of day.
const TIMES: [&str; 19] = [
    "00:00:00",
    "00:00",
    "%H:00:00",
    "%H:%M:00",
    "%H:%M",
    "%-H:%M",
    "%H:%M:%S",
    "%-H:%M:%S",
    "%H:%M:%S.000",
    "%H:%M:%S%.3f",
    "%H:%M:%S%.6f",
    "%H:%M:%S%.f",
    "%I:%M %p",
    "%-I:%M %p",
    "%I:%M:%S %p",
    "%-I:%M:%S %p",
    "%I:%M %P",
    "%-I:%M %P",
    "%I:%M%p",
];
/// Texts between a date and a time.
const BETWEEN: [&str; 3] = [" ", "T", ", "];
/// Months.
const MONTHS: [&str; 8] =
    ["%Y-%m", "%Y/%m", "%m/%Y", "%m.%Y", "%b %Y", "%B %Y", "%b-%Y", COMPACT_MONTH];
/// Durations, whose first part has no limit.
const DURATIONS: [&str; 5] = ["[h]:%M:%S", "[hh]:%M:%S", "[h]:%M", "[hh]:%M", "[d] days %H:%M:%S"];
/// Patterns with the year between the time and what is before it.
const ODD: [&str; 2] = ["%a %b %d %H:%M:%S %Y", "%a %b %e %H:%M:%S %Y"];
/// Dates and months as whole numbers, such as 20230623.
const COMPACT: &str = "%Y%m%d";
const COMPACT_MONTH: &str = "%Y%m";
const COMPACT_TIMES: [&str; 4] = ["%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%dT%H%M%S", "%Y%m%d %H:%M:%S"];
/// The whole numbers that are taken for dates: their patterns by the number of digits.
const NUMBERS: [(usize, &str); 4] =
    [(8, COMPACT), (6, COMPACT_MONTH), (12, COMPACT_TIMES[1]), (14, COMPACT_TIMES[0])];
/// The years of whole numbers that are taken for dates.
const YEARS: RangeInclusive<u32> = 1800..=2200;
/// The least number of distinct whole numbers that are taken for months, since many others look like these.
const FEW: usize = 4;
/// The least year in four digits.
const LEAST_YEAR: i32 = 1000;

/// Nanoseconds.
const SECOND: i128 = 1_000_000_000;
const MINUTE: i128 = 60 * SECOND;
const HOUR: i128 = 60 * MINUTE;
const DAY: i128 = 24 * HOUR;

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match known().any(|known| known == zoneless(&text).0) {
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

/// Every pattern without a time zone.
fn known() -> impl Iterator<Item = String> {
    let dated = DATES.into_iter().flat_map(|date| {
        BETWEEN.into_iter().flat_map(move |between| {
            TIMES.into_iter().map(move |time| format!("{date}{between}{time}"))
        })
    });
    let times = TIMES.into_iter().filter(|time| time.contains('%'));
    let others = DATES.into_iter().chain(MONTHS).chain(times).chain(ODD);
    others.chain(COMPACT_TIMES).map(String::from).chain(dated).chain(DURATIONS.map(String::from))
}

/// A text of a time without its zone at the end, and the zone: `Z`, `UTC`, `GMT` or hours from UTC as in `+02:00`.
fn zoneless(text: &str) -> (&str, &str) {
    for zone in ["Z", " UTC", " GMT"] {
        if let Some(rest) = text.strip_suffix(zone) {
            return (rest, zone);
        }
    }
    let zoned = |length: usize| {
        let at = text.len().checked_sub(length).filter(|&at| text.is_char_boundary(at))?;
        let (rest, zone) = text.split_at(at);
        let digits = zone.strip_prefix(['+', '-'])?;
        let colon = |i: usize| length == 6 && i == 2;
        let mut hours = digits.bytes().enumerate();
        let is_zone = hours.all(|(i, b)| if colon(i) { b == b':' } else { b.is_ascii_digit() });
        (rest.contains(':') && is_zone).then_some((rest, zone))
    };
    zoned(6).or_else(|| zoned(5)).unwrap_or((text, ""))
}

impl Pattern {
    /// The patterns that fit all texts; those that write them just so, if there are such.
    pub(super) fn fitting(cells: &[&str]) -> Vec<Self> {
        let Some(first) = cells.first() else { return Vec::new() };
        let zone = zoneless(first).1;
        let mut patterns: Vec<Self> = known().map(|pattern| Self(pattern + zone)).collect();
        for cell in cells {
            if patterns.is_empty() {
                return patterns;
            }
            patterns.retain(|pattern| pattern.read(cell).is_some());
        }
        let writes = |pattern: &Self| cells.iter().all(|cell| pattern.writes(cell));
        let exact: Vec<Self> = patterns.iter().filter(|pattern| writes(pattern)).cloned().collect();
        if exact.is_empty() {
            // 16:9 is no time, and 1.2.3 no date.
            patterns.retain(|pattern| pattern.0.contains("%Y"));
            return patterns;
        }
        exact
    }

    /// The pattern of dates as whole numbers, if all texts are such dates.
    pub(super) fn compact(cells: &[&str]) -> Option<Self> {
        let length = cells.first()?.len();
        let (_, pattern) = NUMBERS.into_iter().find(|(digits, _)| *digits == length)?;
        let year = |cell: &str| cell.get(..4)?.parse::<u32>().ok().filter(|y| YEARS.contains(y));
        let pattern = Self(pattern.into());
        let dated = |cell: &&str| {
            cell.len() == length && year(cell).is_some() && pattern.read(cell).is_some()
        };
        if !cells.iter().all(dated) {
            return None;
        }
        let distinct = cells.iter().collect::<std::collections::BTreeSet<_>>().len();
        (pattern.0 != COMPACT_MONTH || distinct >= FEW).then_some(pattern)
    }

    /// Nanoseconds of a step; none if a step is a month.
    fn step(&self) -> Option<i128> {
        let has = |part: &str| self.0.contains(part);
        Some(match () {
            () if has("%.3f") => SECOND / 1000,
            () if has("%.") => SECOND / 1_000_000,
            () if has("%S") => SECOND,
            () if has("%M") => MINUTE,
            () if has("%H") => HOUR,
            () if has("%d") || has("%-d") => DAY,
            () => return None,
        })
    }

    /// The steps from 1970-01-01, from midnight or from 0 to a date or time; none for a text that does not have this
    /// pattern.
    pub(super) fn read(&self, text: &str) -> Option<i64> {
        if let Some((unit, pattern)) = self.duration() {
            let digits = text.find(|c: char| !c.is_ascii_digit())?;
            let lead: i128 = text[..digits].parse::<u32>().ok()?.into();
            let rest = parsed(&text[digits..], pattern).and_then(|p| time(&p, pattern))?;
            let whole = lead * unit + nanoseconds(rest);
            return i64::try_from(whole / self.step()?).ok();
        }
        let format = self.0.replace("%^b", "%b");
        let parsed = parsed(text, &format)?;
        let clock = || time(&parsed, &format).map(nanoseconds);
        let steps = match (self.is_dated(), self.step()) {
            (true, None) => {
                let (year, month) = (parsed.year()?, parsed.month()?);
                if year < LEAST_YEAR {
                    return None;
                }
                (i128::from(year) - 1970) * 12 + i128::from(month) - 1
            }
            (true, Some(step)) => {
                let date = parsed.to_naive_date().ok()?;
                if date.year() < LEAST_YEAR {
                    return None;
                }
                let midnight = date.and_time(NaiveTime::MIN).and_utc().timestamp();
                (i128::from(midnight) * SECOND + clock()?).div_euclid(step)
            }
            (false, step) => clock()? / step?,
        };
        i64::try_from(steps).ok()
    }

    /// Whether a text is a date or time just as this pattern writes it.
    pub(super) fn writes(&self, text: &str) -> bool {
        self.read(text).is_some_and(|steps| self.write(steps) == text)
    }

    /// The date or time that many steps after 1970-01-01, midnight or 0.
    pub(super) fn write(&self, steps: i64) -> String {
        let Some(step) = self.step() else {
            let (year, month) = (steps.div_euclid(12) + 1970, steps.rem_euclid(12) as u32 + 1);
            let year = i32::try_from(year).unwrap_or(1970);
            let first = NaiveDate::from_ymd_opt(year, month, 1).unwrap_or_default();
            return first.format(&self.0).to_string();
        };
        let whole = i128::from(steps) * step;
        if let Some((unit, pattern)) = self.duration() {
            let whole = whole.max(0);
            let rest = at(whole % unit).format(pattern);
            return match self.0.starts_with("[hh]") {
                true => format!("{:02}{rest}", whole / unit),
                false => format!("{}{rest}", whole / unit),
            };
        }
        let text = at(whole).format(&self.0.replace("%^b", "%b")).to_string();
        if self.0.contains("%^b") { text.to_uppercase() } else { text }
    }

    /// Whether another pattern reads a text as another date or time.
    pub(super) fn differs(&self, other: &Self, text: &str) -> bool {
        let moment = |pattern: &Self| {
            let steps = i128::from(pattern.read(text)?);
            Some((pattern.step().is_some(), steps * pattern.step().unwrap_or(1)))
        };
        moment(self) != moment(other)
    }

    fn is_dated(&self) -> bool {
        self.0.contains("%Y") || self.0.contains("%y")
    }

    /// The first part of a duration in nanoseconds, and the pattern of the rest.
    fn duration(&self) -> Option<(i128, &str)> {
        let (unit, rest) = self.0.strip_prefix('[')?.split_once(']')?;
        Some((if unit == "d" { DAY } else { HOUR }, rest))
    }
}

/// The parts of a text in a pattern of chrono.
fn parsed(text: &str, format: &str) -> Option<Parsed> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, StrftimeItems::new(format)).ok()?;
    Some(parsed)
}

/// The time of day, with zeros for the parts that its pattern does not have.
fn time(parsed: &Parsed, format: &str) -> Option<NaiveTime> {
    let mut parsed = parsed.clone();
    if !["%H", "%-H", "%I", "%-I"].iter().any(|hour| format.contains(hour)) {
        parsed.set_hour(0).ok()?;
    }
    if !format.contains("%M") {
        parsed.set_minute(0).ok()?;
    }
    parsed.to_naive_time().ok()
}

fn nanoseconds(time: NaiveTime) -> i128 {
    (time - NaiveTime::MIN).num_nanoseconds().unwrap_or_default().into()
}

/// The date and time that many nanoseconds after 1970-01-01; that day if chrono has no such date.
fn at(nanoseconds: i128) -> NaiveDateTime {
    let seconds = i64::try_from(nanoseconds.div_euclid(SECOND)).unwrap_or(i64::MAX);
    let rest = nanoseconds.rem_euclid(SECOND) as u32;
    DateTime::from_timestamp(seconds, rest).unwrap_or(DateTime::UNIX_EPOCH).naive_utc()
}
