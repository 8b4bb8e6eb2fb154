//! Spaces: the meaning of a row, and the conversion between raw and model units.
//!
//! Networks see rows in model units: x = (raw − shift)/scale in each coordinate ([`Coordinate`] has the details).
//! Densities change by the volume of that map,
//! ```text
//! log p_raw(raw) = log p_model(x) − Σ ln scale + Σ ln slope        the slopes of monotone maps, where there are some
//! bits per dimension = −log p_raw / (d ln 2)        when every coordinate is quantised
//! ```
//! and since a quantised value has a bin of volume 1, the mean over dequantisation noise of log p_raw is a lower bound
//! on the log-probability of the integer (Theis, van den Oord and Bethge, "A note on the evaluation of generative
//! models", 2016, equations 9 to 12).

use super::{Condition, Coordinate, Kind, Rows};
use crate::draws::Draws;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::iter::{Copied, StepBy};
use std::slice::Iter;

/// The layout of the values of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Layout {
    /// Values side by side.
    Vector {
        /// The number of values.
        width: usize,
    },
    /// A picture: channel by channel, row by row, as in PyTorch.
    Image {
        /// The number of channels, such as colours.
        channels: usize,
        /// The pixels from top to bottom.
        height: usize,
        /// The pixels from left to right.
        width: usize,
    },
}

impl Layout {
    /// The number of values of a row.
    pub fn width(&self) -> usize {
        match *self {
            Layout::Vector { width } => width,
            Layout::Image { channels, height, width } => {
                channels.saturating_mul(height).saturating_mul(width)
            }
        }
    }
}

/// The meaning of a row: layout, coordinates with their units, and names of classes.
///
/// ```
/// use tweedie::data::{Rows, Space};
/// let raw = Rows::new(vec![1.5, 20.0, 2.5, 40.0, 3.5, 90.0], 2)?;
/// let space = Space::standardised(&["length", "count"], &raw)?;
/// let model = space.encode(&raw)?;
/// assert!((model.row(0)[0] + 1.2247449).abs() < 1e-6); // (1.5 − 2.5) / √(2/3)
/// assert_eq!(space.decode(&model)?, raw);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Space {
    layout: Layout,
    pub(super) coordinates: Vec<Coordinate>,
    classes: Vec<String>,
    /// The space of the columns that rows are conditioned on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) given: Option<Box<Space>>,
}

/// The stored form of a [`Space`], before its checks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    layout: Layout,
    coordinates: Vec<Coordinate>,
    #[serde(default)]
    classes: Vec<String>,
    #[serde(default)]
    given: Option<Box<Space>>,
    /// The key of earlier versions.
    #[serde(default, rename = "manifold")]
    _manifold: Option<Flat>,
}

/// The only manifold of spaces in earlier versions.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Flat {
    Euclidean,
}

impl TryFrom<Parts> for Space {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let space = Space::new(parts.layout, parts.coordinates)?;
        Ok(Space { given: parts.given, ..space.with_classes(parts.classes) })
    }
}

/// A value outside the space.
pub(super) struct Fault {
    pub row: usize,
    pub column: usize,
    pub problem: String,
    pub expected: String,
}

impl Space {
    /// A space without classes; `coordinates` are one per column, or one that all share.
    ///
    /// # Errors
    /// [`Error::Shape`] if the layout has no columns or there is neither one coordinate nor one for each column;
    /// [`Error::Config`] if a coordinate's numbers are invalid, or all columns are identifiers.
    pub fn new(layout: Layout, coordinates: Vec<Coordinate>) -> Result<Self> {
        let width = layout.width();
        if width == 0 || width == usize::MAX {
            return Err(Error::shape(
                "space",
                format!("{layout:?}"),
                "at least one value in a row",
            ));
        }
        if coordinates.len() != width && coordinates.len() != 1 {
            let expected = format!("{width}, one per column, or one that all share");
            return Err(Error::shape("coordinates of a space", coordinates.len(), expected));
        }
        coordinates.iter().try_for_each(Coordinate::check)?;
        if coordinates.iter().all(|coordinate| coordinate.model_width() == 0) {
            let problem = "all are identifiers";
            return Err(Error::config("coordinates", problem, "a column to model"));
        }
        Ok(Self { layout, coordinates, classes: Vec::new(), given: None })
    }

    /// A vector of real coordinates whose model units are its raw units.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are no names.
    pub fn vector(names: &[impl AsRef<str>]) -> Result<Self> {
        let coordinates = names.iter().map(|name| Coordinate::real(name.as_ref())).collect();
        Self::new(Layout::Vector { width: names.len() }, coordinates)
    }

    /// Pictures with values 0, …, levels − 1, whose dequantised values fill [−1, 1] in model units:
    /// shift = scale = levels/2.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are no pixels; [`Error::Config`] if `levels` is 0 or above 2²².
    pub fn image(channels: usize, height: usize, width: usize, levels: u32) -> Result<Self> {
        if levels == 0 || levels > 1 << 22 {
            return Err(Error::config("levels", levels.to_string(), "from 1 to 4194304 levels"));
        }
        let half = f64::from(levels) / 2.0;
        let kind = Kind::Quantised { low: Some(0), high: Some(i64::from(levels) - 1) };
        let pixel = Coordinate { shift: half, scale: half, kind, ..Coordinate::real("pixel") };
        Self::new(Layout::Image { channels, height, width }, vec![pixel])
    }

    /// A vector space in whose model units each column of `raw` has mean 0 and variance 1.
    ///
    /// Columns of integers become quantised with their range as limits, and are standardised as dequantised; a constant
    /// column keeps scale 1.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is not one name for each column; [`Error::Config`] if there are no rows or a value is
    /// not finite.
    pub fn standardised(names: &[impl AsRef<str>], raw: &Rows) -> Result<Self> {
        Self::vector(names)?.fitted(raw)
    }

    /// The same space with the coordinates of numbers in raw units (shift 0 and scale 1) standardised as by
    /// [`standardised`](Self::standardised); others stay as they are.
    ///
    /// # Errors
    /// As [`standardised`](Self::standardised).
    pub fn fitted(mut self, raw: &Rows) -> Result<Self> {
        self.validate(raw)?;
        if raw.is_empty() {
            return Err(Error::config(
                "data",
                "there are no rows",
                "at least one row to fit units to",
            ));
        }
        self.map_coordinates(raw, Coordinate::fitted);
        Ok(self)
    }

    /// The same space with the limits of quantised coordinates widened to include all integers of `raw`.
    ///
    /// # Errors
    /// [`Error::Shape`] if `raw` has another width.
    pub fn covering(mut self, raw: &Rows) -> Result<Self> {
        self.check_width("rows of a space", raw, self.width())?;
        self.map_coordinates(raw, Coordinate::covering);
        Ok(self)
    }

    /// Replaces each coordinate by `change` of the coordinate and its values.
    pub(super) fn map_coordinates<'a>(
        &mut self,
        raw: &'a Rows,
        change: impl Fn(Coordinate, StepBy<Copied<Iter<'a, f32>>>) -> Coordinate,
    ) {
        let step = if self.coordinates.len() == 1 { 1 } else { raw.width() };
        for (j, coordinate) in self.coordinates.iter_mut().enumerate() {
            let values = raw.values().get(j..).unwrap_or_default();
            *coordinate = change(coordinate.clone(), values.iter().copied().step_by(step));
        }
    }

    /// The same space with these class names; label k has the name `classes[k]`.
    pub fn with_classes(mut self, classes: Vec<String>) -> Self {
        self.classes = classes;
        self
    }

    /// The layout of a row.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The coordinates: one per column, or one that all share.
    pub fn coordinates(&self) -> &[Coordinate] {
        &self.coordinates
    }

    /// The coordinate of column `column < self.width()`.
    pub fn coordinate(&self, column: usize) -> &Coordinate {
        &self.coordinates[if self.coordinates.len() == 1 { 0 } else { column }]
    }

    /// The names of the classes; none if the data are not labelled.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The condition of rows with these labels, each possibly none.
    ///
    /// # Errors
    /// [`Error::Config`] if a label is not one of the classes.
    pub fn condition(&self, labels: Vec<Option<u32>>) -> Result<Condition> {
        let classes = self.classes.len();
        if let Some(bad) = labels.iter().flatten().find(|label| **label as usize >= classes) {
            let expected = match classes {
                0 => "no label: the model has no classes".to_string(),
                _ => format!("a label below {classes}"),
            };
            return Err(Error::config("label", bad.to_string(), expected));
        }
        Ok(if classes == 0 { Condition::None } else { Condition::Class(labels) })
    }

    /// The number of raw values of a row.
    pub fn width(&self) -> usize {
        self.layout.width()
    }

    /// The number of values of a row in model units; a category counts once for each of its names.
    pub fn model_width(&self) -> usize {
        (0..self.width()).map(|j| self.coordinate(j).model_width()).sum()
    }

    /// A name for column `column < self.width()`, unique if the coordinates' names are: `alcohol`, or
    /// `pixel 0 3 5` for channel 0, row 3, column 5 of a picture whose pixels share a coordinate.
    pub fn column_name(&self, column: usize) -> String {
        let name = &self.coordinate(column).name;
        match self.layout {
            _ if self.coordinates.len() == self.width() => name.clone(),
            Layout::Vector { .. } => format!("{name} {column}"),
            Layout::Image { height, width, .. } => {
                let (y, x) = (column / width % height, column % width);
                format!("{name} {} {y} {x}", column / (width * height))
            }
        }
    }

    /// Converts raw rows to model units; a quantised value goes to the centre of its bin.
    ///
    /// # Errors
    /// As [`validate`](Self::validate); [`Error::Config`] if a value overflows in model units.
    pub fn encode(&self, raw: &Rows) -> Result<Rows> {
        self.encode_with(raw, |_| 0.5)
    }

    /// Converts raw rows to model units, with uniform noise u ∈ [0, 1) added to quantised values: number j of row
    /// `rows[i]` of `draws` goes to column j of row i.
    ///
    /// # Errors
    /// As [`encode`](Self::encode); [`Error::Shape`] if `rows` has not one number for each row of `raw`.
    pub fn encode_dequantised(&self, raw: &Rows, draws: &Draws, rows: &[u64]) -> Result<Rows> {
        if rows.len() != raw.len() {
            return Err(Error::shape("row numbers to dequantise with", rows.len(), raw.len()));
        }
        if !self.coordinates.iter().any(Coordinate::is_quantised) {
            return self.encode(raw);
        }
        let noise = draws.uniforms_for(rows, raw.width());
        self.encode_with(raw, |i| f64::from(noise.values()[i]))
    }

    /// Converts raw rows to model units, with quantised values at the given places in their bins, each in [0, 1).
    ///
    /// # Errors
    /// As [`encode`](Self::encode); [`Error::Shape`] if there is not one place for each value; [`Error::Config`] for a
    /// place outside [0, 1).
    pub fn encode_at(&self, raw: &Rows, places: &Rows) -> Result<Rows> {
        if (places.len(), places.width()) != (raw.len(), raw.width()) {
            let [found, expected] = [places, raw].map(|r| format!("{} × {}", r.len(), r.width()));
            return Err(Error::shape("places in bins", found, expected));
        }
        if let Some(bad) = places.values().iter().find(|u| !(0.0..1.0).contains(*u)) {
            return Err(Error::config("places in bins", bad.to_string(), "from 0 to below 1"));
        }
        self.encode_with(raw, |i| f64::from(places.values()[i]))
    }

    /// Converts raw rows to model units, with `noise(i)` for the i-th value of all rows.
    fn encode_with(&self, raw: &Rows, noise: impl Fn(usize) -> f64) -> Result<Rows> {
        self.validate(raw)?;
        let mut model = Vec::with_capacity(raw.len() * self.model_width());
        let columns = (0..raw.len()).flat_map(|row| (0..raw.width()).map(move |j| (row, j)));
        for (i, ((row, column), &value)) in columns.zip(raw.values()).enumerate() {
            let coordinate = self.coordinate(column);
            match &coordinate.kind {
                Kind::Category { names } => {
                    model.extend((0..names.len()).map(|k| f32::from(k == value as usize)));
                    continue;
                }
                Kind::Identifier { .. } => continue,
                _ if !coordinate.is_apart(value) => {
                    coordinate.push(value, 0.0, &mut model);
                    continue;
                }
                _ => {}
            }
            let x = coordinate.encode(raw.exact(row, column), noise(i));
            if !x.is_finite() {
                let problem = format!("the value {value} overflows in model units");
                let expected = format!("a value that scale {} brings near 1", coordinate.scale);
                return Err(Error::config(self.place(row, column), problem, expected));
            }
            coordinate.push(value, x, &mut model);
        }
        Rows::new(model, self.model_width())
    }

    /// Converts model rows to raw units: the inverse of [`encode`](Self::encode), exact for integers and categories.
    ///
    /// Quantised values are rounded down and kept within their limits, bounded values are kept within their limits, and
    /// periodic values are represented in `low..low + period`. A category is the one of greatest value.
    ///
    /// # Errors
    /// [`Error::Shape`] if the width is not [`model_width`](Self::model_width); [`Error::Config`] naming row
    /// and column of a value that is not finite.
    pub fn decode(&self, model: &Rows) -> Result<Rows> {
        self.check_width("rows in model units", model, self.model_width())?;
        let mut raw = Vec::with_capacity(model.len() * self.width());
        for (i, row) in model.iter().enumerate() {
            let mut rest = row;
            for j in 0..self.width() {
                let coordinate = self.coordinate(j);
                let (own, others) = rest.split_at(coordinate.model_width());
                rest = others;
                if let Some(bad) = own.iter().find(|x| !x.is_finite()) {
                    let problem = format!("the value is {bad} in model units");
                    return Err(Error::config(self.place(i, j), problem, "a finite number"));
                }
                raw.push(match (&coordinate.kind, own) {
                    (Kind::Category { .. }, own) => greatest(own) as f64,
                    (Kind::Identifier { .. }, _) => 0.0,
                    _ => coordinate.take(own),
                });
            }
        }
        Rows::with_rest(&raw, self.width(), |j| self.coordinate(j).is_wide())
    }

    /// −log p / (d ln 2) of a log-density in raw units and nats, if all coordinates are quantised.
    pub fn bits_per_dimension(&self, log_p_raw_nats: f64) -> Option<f64> {
        let bits = -log_p_raw_nats / (self.width() as f64 * std::f64::consts::LN_2);
        self.coordinates.iter().all(Coordinate::is_quantised).then_some(bits)
    }

    /// Fails unless `raw` are rows of this space.
    ///
    /// # Errors
    /// [`Error::Shape`] if the width differs; [`Error::Config`] naming the row (counted from 0) and the column of the
    /// first value that is not finite or not of its coordinate.
    pub fn validate(&self, raw: &Rows) -> Result<()> {
        self.check_width("rows of a space", raw, self.width())?;
        match self.fault(raw) {
            None => Ok(()),
            Some(bad) => {
                Err(Error::config(self.place(bad.row, bad.column), bad.problem, bad.expected))
            }
        }
    }

    /// The first value outside the space, for rows of the right width.
    pub(super) fn fault(&self, raw: &Rows) -> Option<Fault> {
        if let [shared] = &self.coordinates[..]
            && shared.surely_holds(raw.values())
        {
            return None;
        }
        raw.values().iter().enumerate().find_map(|(i, &value)| {
            let (row, column) = (i / raw.width(), i % raw.width());
            let (problem, expected) = self.coordinate(column).fault(value)?;
            Some(Fault { row, column, problem, expected })
        })
    }

    fn place(&self, row: usize, column: usize) -> String {
        format!("row {row}, column {column} ('{}')", self.column_name(column))
    }

    pub(super) fn check_width(&self, what: &str, rows: &Rows, width: usize) -> Result<()> {
        if rows.width() == width { Ok(()) } else { Err(Error::shape(what, rows.width(), width)) }
    }
}

/// The index of the greatest value, the first if there are several.
fn greatest(values: &[f32]) -> usize {
    (1..values.len()).fold(0, |best, k| if values[k] > values[best] { k } else { best })
}
