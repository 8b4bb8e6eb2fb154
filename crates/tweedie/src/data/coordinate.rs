//! Columns of data sets: raw units, model units, kinds of values.
//!
//! ```text
//! x = (raw − shift) / scale            model units from raw units
//! x = (v + u − shift) / scale          a quantised v: u = ½ is its bin's centre, u ∈ [0, 1) dequantises
//! x = (1[v = 0], …, 1[v = K − 1])      a category: one-hot
//! ```
//! A column with missing values has one value more, 1 where the value is missing, with x = 0, and −1 where it is not;
//! so has a column with a pile, many rows of exactly one value, for that value.
//!
//! Uniform dequantisation: Theis, van den Oord and Bethge, "A note on the evaluation of generative
//! models", 2016, section 3.1.

use super::form::Form;
use super::monotone::Monotone;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The greatest distance of quantised values from `shift`, so that single precision in model units distinguishes them.
const QUANTISED_REACH: f64 = 4_194_304.0;
/// The greatest integer up to which single precision is exact.
const EXACT: f64 = 16_777_216.0;
/// The range of the scales of quantised coordinates, so that model units stay far from overflow.
const QUANTISED_SCALES: std::ops::RangeInclusive<f64> = 1e-30..=1e30;

/// One column of a data set.
///
/// ```
/// use tweedie::data::{Coordinate, Kind};
/// let angle = Coordinate {
///     unit: Some("rad".into()),
///     kind: Kind::Periodic { low: -3.0, period: 6.0 },
///     ..Coordinate::real("phi")
/// };
/// assert_eq!((angle.shift, angle.scale), (0.0, 1.0));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coordinate {
    /// The column's name.
    pub name: String,
    /// The unit of its raw values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The raw value that is 0 in model units.
    pub shift: f64,
    /// Raw units per model unit, above 0.
    pub scale: f64,
    /// The kind of raw values.
    pub kind: Kind,
    /// The form of its numbers in a table.
    #[serde(default, skip_serializing_if = "Form::is_plain")]
    pub form: Form,
    /// The monotone map to model units, behind shift and scale; none if these alone make model units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<Monotone>,
    /// The text of missing values in a table, for a column of numbers that has some. A missing raw value is NaN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// The raw value of many rows of a column of real numbers, such as 0 of amounts of rain; the others are in x alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pile: Option<f32>,
}

/// The kind of raw values of a coordinate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Kind {
    /// Any real number.
    Real,
    /// Integers between two limits, both included.
    Quantised {
        /// The least value, if bounded below.
        low: Option<i64>,
        /// The greatest value, if bounded above.
        high: Option<i64>,
    },
    /// One of several names; the raw value is the name's index.
    Category {
        /// The names, by index.
        names: Vec<String>,
    },
    /// Real numbers modulo a period, represented in `low..low + period`.
    Periodic {
        /// The least representative.
        low: f64,
        /// The period, above 0.
        period: f64,
    },
    /// Real numbers; samples are kept between two limits, both included, which other rows may pass.
    Bounded {
        /// The lower limit.
        low: f64,
        /// The upper limit.
        high: f64,
    },
    /// Texts that are drawn new for each row and are no part of the model; raw values are 0.
    Identifier {
        /// The pattern of the texts: `a`, `A` and `0` stand for letters and digits, all else for itself.
        pattern: String,
    },
}

impl Kind {
    /// The kind of numbers of either kind, within the limits of both.
    pub(super) fn with(self, other: Kind) -> Kind {
        let limits = |kind: &Kind| match *kind {
            Kind::Bounded { low, high } => Some((low, high)),
            Kind::Quantised { low: Some(low), high: Some(high) } => Some((low as f64, high as f64)),
            _ => None,
        };
        match (&self, &other) {
            (Kind::Quantised { low: a, high: b }, Kind::Quantised { low: c, high: d }) => {
                let low = a.zip(*c).map(|(a, c)| a.min(c));
                Kind::Quantised { low, high: b.zip(*d).map(|(b, d)| b.max(d)) }
            }
            _ => match limits(&self).zip(limits(&other)) {
                Some(((a, b), (c, d))) => Kind::Bounded { low: a.min(c), high: b.max(d) },
                None => Kind::Real,
            },
        }
    }
}

impl Coordinate {
    /// A real coordinate whose model units are its raw units.
    pub fn real(name: impl Into<String>) -> Self {
        let (name, form, kind) = (name.into(), Form::default(), Kind::Real);
        let (shift, scale) = (0.0, 1.0);
        Self { name, unit: None, shift, scale, kind, form, map: None, missing: None, pile: None }
    }

    /// The number of its values in model units: the number of names of a category, 0 for an identifier, else 1, and 1
    /// more where values may be missing, and where there is a pile.
    pub fn model_width(&self) -> usize {
        match &self.kind {
            Kind::Category { names } => names.len(),
            Kind::Identifier { .. } => 0,
            _ => 1 + usize::from(self.missing.is_some()) + usize::from(self.pile.is_some()),
        }
    }

    /// Whether all its values are numbers, none of them missing or in a pile, so that they have a density.
    pub fn is_number(&self) -> bool {
        !matches!(self.kind, Kind::Category { .. } | Kind::Identifier { .. })
            && self.missing.is_none()
            && self.pile.is_none()
    }

    /// Whether its raw values are integers whose order has a meaning.
    pub fn is_quantised(&self) -> bool {
        matches!(self.kind, Kind::Quantised { .. })
    }

    /// The greatest raw value, if bounded above.
    pub fn highest(&self) -> Option<f64> {
        match &self.kind {
            Kind::Quantised { high, .. } => high.map(|h| h as f64),
            Kind::Bounded { high, .. } => Some(*high),
            Kind::Periodic { low, period } => Some(low + period),
            Kind::Category { names } => Some(names.len() as f64 - 1.0),
            Kind::Real | Kind::Identifier { .. } => None,
        }
    }

    /// The name with its unit as a table's header writes it: `alcohol [%]`.
    pub fn title(&self) -> String {
        match &self.unit {
            Some(unit) => format!("{} [{unit}]", self.name),
            None => self.name.clone(),
        }
    }

    /// The number that a raw value stands for, rounded to the decimals of its form; NaN where it is missing.
    pub fn value(&self, raw: f64) -> f64 {
        self.form.number(self.form.rounded(raw))
    }

    /// The text of a raw value in a table; empty for an identifier.
    pub fn text(&self, raw: f64) -> String {
        match (&self.kind, &self.missing) {
            (Kind::Category { names }, _) => names.get(raw as usize).cloned().unwrap_or_default(),
            (Kind::Identifier { .. }, _) => String::new(),
            (_, Some(missing)) if raw.is_nan() => missing.clone(),
            // Adding zero writes −0 as 0.
            _ if self.form.is_plain() => (raw as f32 + 0.0).to_string(),
            _ => self.form.write(raw),
        }
    }

    /// The raw value of a text in a table: of a number in the column's form, or of a category; none for another text.
    pub fn number(&self, text: &str) -> Option<f64> {
        match &self.kind {
            Kind::Category { names } => {
                names.iter().position(|name| name == text).map(|at| at as f64)
            }
            _ if self.missing.as_deref() == Some(text) => Some(f64::NAN),
            _ => self.form.read(text),
        }
    }

    /// Fails unless its numbers are in range.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |problem: String, expected: &str| {
            Err(Error::config(format!("coordinate '{}'", self.name), problem, expected))
        };
        if !(self.shift.is_finite() && self.scale.is_finite() && self.scale > 0.0) {
            let found = format!("shift {} and scale {}", self.shift, self.scale);
            return refuse(found, "a finite shift and a finite scale above 0");
        }
        if let Some(step) = self.form.step.filter(|step| !(step.is_finite() && *step > 0.0)) {
            return refuse(format!("step {step}"), "a finite step above 0");
        }
        if self.map.is_some() && !matches!(self.kind, Kind::Real | Kind::Bounded { .. }) {
            return refuse("a map".into(), "a map of real numbers alone");
        }
        match &self.kind {
            Kind::Category { .. } | Kind::Identifier { .. } if self.missing.is_some() => {
                refuse("missing values".into(), "numbers; a missing text is a text of its own")
            }
            Kind::Quantised { .. } if !QUANTISED_SCALES.contains(&self.scale) => {
                refuse(format!("scale {}", self.scale), "a scale from 1e-30 to 1e30")
            }
            Kind::Quantised { low: Some(low), high: Some(high) } if low > high => {
                refuse(format!("low {low} is above high {high}"), "low at most high")
            }
            Kind::Category { names } if names.is_empty() => {
                refuse("the category has no names".into(), "at least one name")
            }
            Kind::Category { .. } if (self.shift, self.scale) != (0.0, 1.0) => {
                refuse("a category is shifted or scaled".into(), "shift 0 and scale 1")
            }
            Kind::Periodic { low, period }
                if !(low.is_finite() && period.is_finite() && *period > 0.0) =>
            {
                refuse(
                    format!("low {low}, period {period}"),
                    "a finite low, a finite period above 0",
                )
            }
            Kind::Bounded { low, high }
                if !(low.is_finite() && high.is_finite() && low <= high) =>
            {
                refuse(format!("low {low}, high {high}"), "finite limits, low at most high")
            }
            _ if self.pile.is_some_and(|pile| !pile.is_finite() || !self.is_real()) => {
                refuse("a pile".into(), "a finite pile of a column of real numbers")
            }
            _ => Ok(()),
        }
    }

    /// Whether all values are whole numbers between the limits and exact in single precision: a fast test before
    /// [`fault`](Self::fault).
    pub(super) fn surely_holds(&self, values: &[f32]) -> bool {
        let Kind::Quantised { low: Some(low), high: Some(high) } = self.kind else { return false };
        let near = |limit: i64| {
            let limit = limit as f64;
            limit.abs() <= EXACT && (limit - self.shift).abs() <= QUANTISED_REACH
        };
        let (least, most) = (low as f32, high as f32);
        let holds = |value: &f32| (least..=most).contains(value) && *value as i32 as f32 == *value;
        near(low) && near(high) && values.iter().all(holds)
    }

    /// The fault of a raw value and what was expected; none for a valid value.
    pub(super) fn fault(&self, raw: f32) -> Option<(String, String)> {
        if raw.is_nan() && self.missing.is_some() {
            return None;
        }
        if !raw.is_finite() {
            return Some((format!("the value is {raw}"), "a finite number".into()));
        }
        let inside = match &self.kind {
            Kind::Real | Kind::Periodic { .. } | Kind::Bounded { .. } => true,
            Kind::Quantised { low, high } => {
                let (least, most) =
                    (low.unwrap_or(i64::MIN) as f32, high.unwrap_or(i64::MAX) as f32);
                let near = (f64::from(raw) - self.shift).abs() <= QUANTISED_REACH;
                is_integer(raw) && raw >= least && raw <= most && near
            }
            Kind::Category { names } => is_integer(raw) && raw >= 0.0 && raw < names.len() as f32,
            Kind::Identifier { .. } => raw == 0.0,
        };
        (!inside).then(|| (format!("the value is {raw}"), self.expectation()))
    }

    /// A description of valid raw values.
    fn expectation(&self) -> String {
        match &self.kind {
            Kind::Real | Kind::Periodic { .. } | Kind::Bounded { .. } => "a finite number".into(),
            Kind::Quantised { low, high } => format!("an integer{}", limits(*low, *high)),
            Kind::Category { names } => format!("the index of one of {} categories", names.len()),
            Kind::Identifier { .. } => "0, since identifiers are drawn new".into(),
        }
    }

    /// A valid raw value in model units, unless it is a category; `u ∈ [0, 1)` places a quantised value
    /// in its bin.
    pub(super) fn encode(&self, raw: f64, u: f64) -> f32 {
        match self.kind {
            Kind::Quantised { .. } => self.inside_bin(raw, self.to_model(raw + u)),
            Kind::Periodic { low, period } => self.to_model(wrap(raw, low, period)),
            _ => self.to_model(raw),
        }
    }

    /// The raw value of a finite value in model units, unless it is a category.
    pub(super) fn decode(&self, model: f32) -> f64 {
        let value = self.to_raw(model);
        match self.kind {
            Kind::Quantised { low, high } => {
                let least = low.map_or(f64::MIN, |low| low as f64);
                let most = high.map_or(f64::MAX, |high| high as f64);
                value.floor().clamp(least, most)
            }
            Kind::Periodic { low, period } => {
                let wrapped = f64::from(wrap(value, low, period) as f32);
                if wrapped < low + period { wrapped } else { low }
            }
            Kind::Bounded { low, high } => self.form.rounded(value).clamp(low, high),
            // Beyond the range of single precision a value becomes its ends.
            Kind::Real | Kind::Category { .. } | Kind::Identifier { .. } => {
                self.form.rounded(value).clamp(f32::MIN.into(), f32::MAX.into())
            }
        }
    }

    /// Whether single precision does not hold the digits of its values.
    pub(super) fn is_wide(&self) -> bool {
        let (Kind::Bounded { low, high }, Some(decimals)) = (&self.kind, self.form.decimals) else {
            return false;
        };
        low.abs().max(high.abs()) * 10_f64.powi(decimals.into()) > EXACT
    }

    fn to_model(&self, raw: f64) -> f32 {
        let standard = (raw - self.shift) / self.scale;
        self.map.as_ref().map_or(standard, |map| map.forward(standard).0) as f32
    }

    fn to_raw(&self, model: f32) -> f64 {
        let model = f64::from(model);
        self.map.as_ref().map_or(model, |map| map.inverse(model)) * self.scale + self.shift
    }

    /// Moves a model value back into its bin, if rounding has moved it over an edge.
    fn inside_bin(&self, raw: f64, mut model: f32) -> f32 {
        while self.to_raw(model) >= raw + 1.0 {
            model = model.next_down();
        }
        while self.to_raw(model) < raw {
            model = model.next_up();
        }
        model
    }

    /// ln |d raw / d model| at a value in model units: ln scale, less the logarithm of the map's slope.
    pub(super) fn log_volume(&self, model: f32) -> f64 {
        let slope = |map: &Monotone| map.forward(map.inverse(model.into())).1;
        self.scale.ln() - self.map.as_ref().map_or(0.0, slope)
    }

    /// The coordinate with a monotone map that makes real values, of standardised columns, nearly normal.
    pub(super) fn normalised(mut self, values: impl Iterator<Item = f32> + Clone) -> Self {
        if self.is_real() {
            let standard = |value: f32| (f64::from(value) - self.shift) / self.scale;
            self.map = Monotone::normalising(values.filter(|v| self.is_apart(*v)).map(standard));
        }
        self
    }

    /// The coordinate of numbers in raw units with shift and scale such that `values` have mean 0 and variance 1 in
    /// model units. Real numbers that are all integers become quantised; quantised values are standardised as
    /// dequantised ones, with variance 1/12 more. A constant keeps scale 1. Missing values and a pile do not count.
    pub(super) fn fitted(mut self, values: impl Iterator<Item = f32> + Clone) -> Self {
        let own = self.clone();
        let values = values.filter(|value| own.is_apart(*value));
        let numbers =
            matches!(self.kind, Kind::Real | Kind::Bounded { .. } | Kind::Quantised { .. });
        if !numbers || (self.shift, self.scale) != (0.0, 1.0) || values.clone().next().is_none() {
            return self;
        }
        let moments = Moments::of(values.clone());
        let integers = self.kind == Kind::Real
            && self.pile.is_none()
            && values.clone().all(is_integer)
            && moments.high - moments.low < QUANTISED_REACH
            && moments.high.max(-moments.low) <= EXACT;
        if integers {
            let (low, high) = (Some(moments.low as i64), Some(moments.high as i64));
            self.kind = Kind::Quantised { low, high };
        }
        let (bin, noise) = if self.is_quantised() { (0.5, 1.0 / 12.0) } else { (0.0, 0.0) };
        let scale = (moments.variance + noise).sqrt();
        self.shift = moments.mean + bin;
        self.scale = if moments.low < moments.high && scale > 0.0 { scale } else { 1.0 };
        self
    }

    /// A quantised coordinate with its limits, if any, widened to include `values`.
    pub(super) fn covering(mut self, values: impl Iterator<Item = f32> + Clone) -> Self {
        if let Kind::Quantised { low, high } = &mut self.kind {
            for value in values.filter(|v| is_integer(*v)) {
                *low = low.map(|low| low.min(value as i64));
                *high = high.map(|high| high.max(value as i64));
            }
        }
        self
    }
}

/// Mean, variance (divided by n) and range of finite values, at least one.
struct Moments {
    mean: f64,
    variance: f64,
    low: f64,
    high: f64,
}

impl Moments {
    fn of(values: impl Iterator<Item = f32> + Clone) -> Self {
        let n = values.clone().count() as f64;
        let mean = values.clone().map(f64::from).sum::<f64>() / n;
        let variance = values.clone().map(|v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        let low = values.clone().fold(f32::INFINITY, f32::min);
        let high = values.fold(f32::NEG_INFINITY, f32::max);
        Self { mean, variance, low: f64::from(low), high: f64::from(high) }
    }
}

fn is_integer(value: f32) -> bool {
    value.fract() == 0.0
}

/// The representative of `value` in `low..low + period`; values already there keep their bits.
fn wrap(value: f64, low: f64, period: f64) -> f64 {
    if value >= low && value < low + period {
        value
    } else {
        low + (value - low).rem_euclid(period)
    }
}

fn limits(low: Option<i64>, high: Option<i64>) -> String {
    match (low, high) {
        (Some(low), Some(high)) => format!(" from {low} to {high}"),
        (Some(low), None) => format!(" of at least {low}"),
        (None, Some(high)) => format!(" of at most {high}"),
        (None, None) => " that single precision holds exactly".into(),
    }
}
