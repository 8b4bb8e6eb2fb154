//! Rows of one data set in the space of another: columns, categories and classes matched by name.

use super::{Kind, Space, Split};
use crate::error::one_of;
use crate::{Error, Result};

/// Most columns named in an error.
const SHOWN: usize = 8;

impl Space {
    /// Converts rows of the space `other` to this space, with its numbers of categories and classes; `file` names their
    /// file, for errors.
    ///
    /// # Errors
    /// [`Error::File`] if the columns are not the same, or a category or a class is not one of this space's.
    pub fn adopt(&self, other: &Space, rows: &Split, file: &str) -> Result<Split> {
        let names = |s: &Space| (0..s.width()).map(|j| s.column_name(j)).collect::<Vec<_>>();
        if names(self) != names(other) {
            let columns = |s: &Space| {
                let more = if s.width() > SHOWN { ", …" } else { "" };
                let first = names(s)[..s.width().min(SHOWN)].join(", ");
                format!("{} columns: {first}{more}", s.width())
            };
            return Err(Error::file(file, "header", columns(other), columns(self)));
        }
        let (mut raw, width) = (rows.rows().clone(), self.width());
        for j in 0..width {
            let place = || format!("column '{}'", self.column_name(j));
            match (&self.coordinate(j).kind, &other.coordinate(j).kind) {
                (Kind::Category { names: own }, Kind::Category { names: other }) => {
                    let index = places(other, own, file, place)?;
                    for value in raw.values_mut().iter_mut().skip(j).step_by(width) {
                        *value = index[*value as usize] as f32;
                    }
                }
                (Kind::Category { .. }, _) => {
                    return Err(Error::file(file, place(), "numbers", "categories"));
                }
                (_, Kind::Category { .. }) => {
                    return Err(Error::file(file, place(), "categories", "numbers"));
                }
                _ => {}
            }
        }
        let given = match (self.given(), other.given(), rows.given()) {
            (Some(own), Some(other), Some(values)) => {
                Some(own.adopt(other, &Split::new(values.clone(), None)?, file)?.rows().clone())
            }
            (None, _, _) => None,
            _ => return Err(Error::file(file, "header", "no conditions", "columns of conditions")),
        };
        let classes = places(other.classes(), self.classes(), file, || "label".into())?;
        let labels = rows.labels().map(|all| all.iter().map(|&k| classes[k as usize]).collect());
        let adopted = Split::new(raw, labels)?;
        match given {
            Some(values) => adopted.with_given(values),
            None => Ok(adopted),
        }
    }
}

/// The index of each name among the names of this space.
fn places(
    names: &[String],
    own: &[String],
    file: &str,
    place: impl Fn() -> String,
) -> Result<Vec<u32>> {
    let known: Vec<&str> = own.iter().map(String::as_str).collect();
    let place_of = |name: &String| {
        let found = own.iter().position(|known| known == name).map(|at| at as u32);
        found.ok_or_else(|| Error::file(file, place(), name.as_str(), one_of(name, &known)))
    };
    names.iter().map(place_of).collect()
}
