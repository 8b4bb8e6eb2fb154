//! Properties of all columns of a space.

use super::{Coordinate, Kind, Rows, Space};
use crate::Result;

impl Coordinate {
    /// Whether its raw values are integers or names, which have probabilities.
    pub fn is_discrete(&self) -> bool {
        !matches!(self.kind, Kind::Real | Kind::Periodic { .. } | Kind::Bounded { .. })
    }
}

impl Space {
    /// Whether two spaces have the same columns, of equal kinds in equal forms, conditions included.
    pub fn reads_as(&self, other: &Space) -> bool {
        let columns = |s: &Space| {
            let column = |c: &Coordinate| {
                (c.name.clone(), c.kind.clone(), c.form.clone(), c.missing.clone(), c.pile)
            };
            s.coordinates().iter().map(column).collect::<Vec<_>>()
        };
        let given = match (self.given(), other.given()) {
            (Some(own), Some(other)) => own.reads_as(other),
            (own, other) => own.is_none() && other.is_none(),
        };
        given && self.layout() == other.layout() && columns(self) == columns(other)
    }

    /// The same space with monotone maps that make columns of real numbers nearly normal, fitted to rows in raw units.
    ///
    /// # Errors
    /// As [`Space::validate`].
    pub fn normalised(mut self, raw: &Rows) -> Result<Self> {
        self.validate(raw)?;
        self.map_coordinates(raw, Coordinate::normalised);
        Ok(self)
    }

    /// The same space with shifts and scales alone: distances in its model units do not depend on monotone maps and on
    /// indicators of piles.
    pub fn without_maps(&self) -> Self {
        let mut space = self.clone().without_piles();
        space.coordinates.iter_mut().for_each(|coordinate| coordinate.map = None);
        space
    }

    /// ln |d raw / d model| of each of these rows in model units: log p_raw = log p_model − this.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the width is not [`model_width`](Self::model_width).
    pub fn log_volumes(&self, model: &Rows) -> Result<Vec<f64>> {
        self.check_width("rows in model units", model, self.model_width())?;
        let mapped: Vec<(usize, &Coordinate)> = self.mapped().collect();
        let constant = self.log_volume();
        let of_row = |row: &[f32]| {
            let more = |(at, coordinate): &(usize, &Coordinate)| {
                coordinate.log_volume(row[*at]) - coordinate.scale.ln()
            };
            constant + mapped.iter().map(more).sum::<f64>()
        };
        Ok(model.iter().map(of_row).collect())
    }

    /// [`log_volumes`](Self::log_volumes) of the real numbers of each row alone: integers and names have probabilities,
    /// and so have missing values and values in a pile.
    ///
    /// # Errors
    /// As [`log_volumes`](Self::log_volumes).
    pub fn log_volumes_of_reals(&self, model: &Rows) -> Result<Vec<f64>> {
        self.check_width("rows in model units", model, self.model_width())?;
        let places = (0..self.width()).scan(0, |at, j| {
            let coordinate = self.coordinate(j);
            let from = *at;
            *at += coordinate.model_width();
            Some((from..*at, coordinate))
        });
        let reals: Vec<_> = places.filter(|(_, coordinate)| !coordinate.is_discrete()).collect();
        let of_row = |row: &[f32]| {
            let apart =
                reals.iter().filter(|(at, _)| row[at.clone()][1..].iter().all(|v| *v < 0.0));
            apart.map(|(at, coordinate)| coordinate.log_volume(row[at.start])).sum()
        };
        Ok(model.iter().map(of_row).collect())
    }

    /// Σ ln scale in nats: [`log_volumes`](Self::log_volumes) of every row where no column has a monotone map.
    /// Categories are not counted, since a probability has no unit.
    pub fn log_volume(&self) -> f64 {
        (0..self.width()).map(|j| self.coordinate(j).scale.ln()).sum()
    }

    /// The columns with a monotone map, each with its place in model units.
    fn mapped(&self) -> impl Iterator<Item = (usize, &Coordinate)> {
        let places = (0..self.width()).scan(0, |at, j| {
            let coordinate = self.coordinate(j);
            *at += coordinate.model_width();
            Some((*at - coordinate.model_width(), coordinate))
        });
        places.filter(|(_, coordinate)| coordinate.map.is_some())
    }

    /// The reason why rows of this space have no density, naming a column; none if they have one. Categories, missing
    /// values and piles have no density in model units.
    pub fn without_density(&self) -> Option<String> {
        let column = (0..self.width()).find(|&j| !self.coordinate(j).is_number())?;
        let coordinate = self.coordinate(column);
        let what = match (&coordinate.kind, coordinate.pile) {
            (Kind::Category { .. }, _) => "is a category".into(),
            (Kind::Identifier { .. }, _) => "holds identifiers".into(),
            (_, Some(pile)) if coordinate.missing.is_none() => {
                let value = coordinate.text(pile.into());
                format!("has an indicator of rows of {value}, unless `data.piles` is false")
            }
            _ => "has missing values".to_string(),
        };
        Some(format!("column '{}' {what}", self.column_name(column)))
    }
}
