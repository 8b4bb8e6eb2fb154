//! Properties of all columns of a space.

use super::{Coordinate, Kind, Space};

impl Space {
    /// Whether two spaces have the same columns, of equal kinds in equal forms.
    pub fn reads_as(&self, other: &Space) -> bool {
        let columns = |s: &Space| {
            let column = |c: &Coordinate| {
                (c.name.clone(), c.kind.clone(), c.form.clone(), c.missing.clone())
            };
            s.coordinates().iter().map(column).collect::<Vec<_>>()
        };
        self.layout() == other.layout() && columns(self) == columns(other)
    }

    /// The reason why rows of this space have no density, naming a column; none if they have one. Categories and missing
    /// values have no density in model units.
    pub fn without_density(&self) -> Option<String> {
        let column = (0..self.width()).find(|&j| !self.coordinate(j).is_number())?;
        let what = match self.coordinate(column).kind {
            Kind::Category { .. } => "is a category",
            Kind::Identifier { .. } => "holds identifiers",
            _ => "has missing values",
        };
        Some(format!("column '{}' {what}", self.column_name(column)))
    }
}
