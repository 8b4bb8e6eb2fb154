//! Columns that rows are conditioned on: numbers and categories beside the rows, with units of their own.

use super::{Condition, Rows, Space, Split};
use crate::{Error, Result};
use burn::tensor::Device;
use std::sync::Arc;

impl Space {
    /// The same space, whose rows are conditioned on rows of the space `given`.
    pub fn with_given(mut self, given: Space) -> Self {
        self.given = Some(Box::new(given));
        self
    }

    /// The space of the columns that rows are conditioned on; none without such columns.
    pub fn given(&self) -> Option<&Space> {
        self.given.as_deref()
    }

    /// The number of values of a row's condition in model units: a category counts once for each of its names.
    pub fn given_width(&self) -> usize {
        self.given().map_or(0, Space::model_width)
    }

    /// The condition of rows on the values `values` of these columns, in raw units, one row each.
    ///
    /// # Errors
    /// As [`Space::encode`]; [`Error::Config`] if rows of this space have no such condition.
    pub fn given_condition(&self, values: &Rows, device: &Device) -> Result<Condition> {
        let given = self.given().ok_or_else(|| {
            let expected = "no condition: the rows are conditioned on no column";
            Error::config("condition", format!("{} values", values.width()), expected)
        })?;
        Ok(Condition::vector(given.encode(values)?.to_tensor(device)))
    }

    /// The same space with the columns of conditions standardised on training rows, as [`Space::fitted`] does for
    /// values.
    pub(super) fn fitted_given(self, train: &Split, held_out: &Split) -> Result<Self> {
        match (self.given(), train.given(), held_out.given()) {
            (Some(given), Some(train), Some(held_out)) => {
                let given = given.clone().fitted(train)?.covering(held_out)?;
                Ok(self.with_given(given))
            }
            _ => Ok(self),
        }
    }

    /// Fails unless a split has values of the columns that rows are conditioned on, if any.
    pub(super) fn check_given(&self, part: &Split) -> Result<()> {
        match (self.given(), part.given()) {
            (None, None) => Ok(()),
            (Some(_), None) if part.is_empty() => Ok(()),
            (Some(given), Some(values)) => given.validate(values),
            (expected, found) => {
                let width = |width: Option<usize>| format!("{} columns", width.unwrap_or(0));
                let found = width(found.map(Rows::width));
                Err(Error::shape("conditions of rows", found, width(expected.map(Space::width))))
            }
        }
    }
}

impl Split {
    /// The same rows, each conditioned on a row of `values`, in raw units.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is not one row of values for each row.
    pub fn with_given(mut self, values: Rows) -> Result<Self> {
        if values.len() != self.len() {
            return Err(Error::shape("conditions of rows", values.len(), self.len()));
        }
        self.given = Some(Arc::new(values));
        Ok(self)
    }

    /// The values that each row is conditioned on, in raw units; none without such columns.
    pub fn given(&self) -> Option<&Rows> {
        self.given.as_deref()
    }

    /// The condition of each row: its values of the columns that rows are conditioned on, or else its label.
    ///
    /// # Errors
    /// As [`Space::encode`].
    pub fn condition(&self, space: &Space, device: &Device) -> Result<Condition> {
        match self.given() {
            Some(values) => space.given_condition(values, device),
            None => Ok(self.labels().into()),
        }
    }
}
