//! Conversion of rows to the space of another data set: columns, categories and classes matched by name.

use super::{Dataset, Kind, Pattern, Rows, Space, Split};
use crate::error::one_of;
use crate::{Error, Result};

/// The most columns named in an error.
const SHOWN: usize = 8;

impl Space {
    /// Converts rows of the space `other` to this space, with its columns by their names and its numbers of categories
    /// and classes; `file` names their file, for errors.
    ///
    /// # Errors
    /// [`Error::File`] if a column is missing or of another kind, a value is missing where no training row misses one,
    /// or a category or a class is not one of this space's.
    pub fn adopt(&self, other: &Space, rows: &Split, file: &str) -> Result<Split> {
        let names = |s: &Space| (0..s.width()).map(|j| s.column_name(j)).collect::<Vec<_>>();
        let theirs = names(other);
        let place = |name: &String| theirs.iter().position(|other| other == name);
        let Some(columns) = names(self).iter().map(place).collect::<Option<Vec<usize>>>() else {
            let columns = |s: &Space| {
                let more = if s.width() > SHOWN { ", …" } else { "" };
                let first = names(s)[..s.width().min(SHOWN)].join(", ");
                format!("{} columns: {first}{more}", s.width())
            };
            return Err(Error::file(file, "header", columns(other), columns(self)));
        };
        let (width, all) = (self.width(), rows.rows());
        let mut raw = vec![0.0; all.len() * width];
        for (j, &k) in columns.iter().enumerate() {
            let to = raw.iter_mut().skip(j).step_by(width);
            let from = (0..all.len()).map(|i| all.exact(i, k));
            let (own, their) = (self.coordinate(j), other.coordinate(k));
            let place = || format!("column '{}'", self.column_name(j));
            match (&own.kind, &their.kind) {
                (Kind::Category { names: own }, Kind::Category { names: their }) => {
                    let index = places(their, own, file, place)?;
                    to.zip(from).for_each(|(to, from)| *to = f64::from(index[from as usize]));
                }
                (Kind::Identifier { .. }, _) => {}
                (Kind::Category { names: own }, _) => {
                    let known: Vec<&str> = own.iter().map(String::as_str).collect();
                    for (to, from) in to.zip(from) {
                        let text = their.text(from);
                        let at = known.iter().position(|known| *known == text);
                        let at = at.ok_or_else(|| {
                            Error::file(file, place(), &text, one_of(&text, &known))
                        })?;
                        *to = at as f64;
                    }
                }
                (_, Kind::Category { names }) => {
                    let number = |name: &String| own.number(name);
                    let numbers = names.iter().map(number).collect::<Option<Vec<f64>>>();
                    let numbers = numbers
                        .ok_or_else(|| Error::file(file, place(), "categories", "numbers"))?;
                    to.zip(from).for_each(|(to, from)| *to = numbers[from as usize]);
                }
                (_, Kind::Identifier { .. }) => {
                    return Err(Error::file(file, place(), "identifiers", "numbers"));
                }
                _ if own.missing.is_none() && from.clone().any(f64::is_nan) => {
                    let expected = "numbers in all rows, as in the rows of training";
                    return Err(Error::file(file, place(), "missing values", expected));
                }
                _ if own.form.date != their.form.date => {
                    let kind = |date: &Option<Pattern>| match date {
                        Some(pattern) => format!("dates like {}", String::from(pattern.clone())),
                        None => "numbers that are no dates".into(),
                    };
                    let (found, expected) = (kind(&their.form.date), kind(&own.form.date));
                    return Err(Error::file(file, place(), found, expected));
                }
                _ => {
                    let same =
                        own.form.origin == their.form.origin && own.form.step == their.form.step;
                    for (to, from) in to.zip(from) {
                        let number = their.form.number(from);
                        // −0 stays −0.
                        *to = if same { from } else { own.form.raw(number) };
                        let two = own.form.step.is_some() && !to.is_nan();
                        if two && !(*to == 0.0 || *to == 1.0) {
                            let [low, high] = [0.0, 1.0].map(|raw| own.text(raw));
                            let expected = format!("{low} or {high}, as in the rows of training");
                            return Err(Error::file(file, place(), their.text(from), expected));
                        }
                    }
                }
            }
        }
        let raw = Rows::with_rest(&raw, width, |j| self.coordinate(j).is_wide())?;
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

impl Dataset {
    /// The same rows in another space.
    ///
    /// # Errors
    /// As [`Space::adopt`].
    pub fn in_space(self, space: &Space) -> Result<Self> {
        let own = |rows: &Split| space.adopt(&self.space, rows, &self.name);
        let (train, held_out) = (own(&self.train)?, own(&self.held_out)?);
        Ok(Self { space: space.clone(), train, held_out, grey: None, ..self })
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
