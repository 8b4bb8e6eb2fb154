//! Families by name: a family's part of a recipe behind one type.

use super::{Family, Model, Opener, Opening, Start};
use crate::data::Space;
use crate::error::one_of;
use crate::registry::read;
use crate::train::{Learner, State};
use crate::{Error, Result};
use std::any::Any;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// A family's part of a recipe, whatever the family; implemented for every [`Family`].
pub trait Plan: Debug + Send + Sync {
    /// The name of the family.
    fn family(&self) -> &'static str;
    /// The part of the recipe as TOML.
    ///
    /// # Errors
    /// [`Error::Config`] if it cannot be written as TOML.
    fn table(&self) -> Result<Table>;
    /// Checks the values as by [`Family::check`].
    ///
    /// # Errors
    /// As for [`Family::check`].
    fn check_plan(&self) -> Result<()>;
    /// Whether rows must have a density, as by [`Family::needs_density`].
    fn needs_density(&self) -> bool;
    /// Checks the fit to a space as by [`Family::check_space`].
    ///
    /// # Errors
    /// As for [`Family::check_space`].
    fn check_fit(&self, space: &Space) -> Result<()>;
    /// The meaning of a row without data, as by [`Family::space`].
    ///
    /// # Errors
    /// As for [`Family::space`].
    fn own_space(&self, open: &Opener) -> Result<Space>;
    /// The resolved part, as by [`Family::resolve`].
    ///
    /// # Errors
    /// As for [`Family::resolve`].
    fn resolved(&self, at: &Start) -> Result<Box<dyn Plan>>;
    /// The folders of other runs, as by [`Family::inputs`].
    fn inputs_of(&self) -> Vec<PathBuf>;
    /// The learner, as by [`Family::learner`].
    ///
    /// # Errors
    /// As for [`Family::learner`].
    fn start(&self, at: &Start) -> Result<Box<dyn Learner>>;
    /// The weights to sample with, as by [`Family::weights`].
    ///
    /// # Errors
    /// As for [`Family::weights`].
    fn weights_of(&self, checkpoint: State) -> Result<State>;
    /// The model, as by [`Family::model`].
    ///
    /// # Errors
    /// As for [`Family::model`].
    fn open(&self, at: &Opening, weights: &State, origin: &Path) -> Result<Box<dyn Model>>;
    /// A copy behind a box.
    fn boxed(&self) -> Box<dyn Plan>;
    /// Whether `other` is of the same family and equal.
    fn equals(&self, other: &dyn Plan) -> bool;
    /// The value as its family's own type.
    fn any(&self) -> &dyn Any;
}

impl<F: Family> Plan for F {
    fn family(&self) -> &'static str {
        F::NAME
    }

    fn table(&self) -> Result<Table> {
        match Value::try_from(self) {
            Ok(Value::Table(table)) => Ok(table),
            Ok(_) => Err(Error::config("recipe", "no table", "a table of keys")),
            Err(e) => Err(Error::config("recipe", e.to_string(), "values TOML can hold")),
        }
    }

    fn check_plan(&self) -> Result<()> {
        Family::check(self)
    }

    fn check_fit(&self, space: &Space) -> Result<()> {
        Family::check_space(self, space)
    }

    fn needs_density(&self) -> bool {
        Family::needs_density(self)
    }

    fn own_space(&self, open: &Opener) -> Result<Space> {
        Family::space(self, open)
    }

    fn resolved(&self, at: &Start) -> Result<Box<dyn Plan>> {
        Ok(Box::new(Family::resolve(self.clone(), at)?))
    }

    fn inputs_of(&self) -> Vec<PathBuf> {
        self.inputs()
    }

    fn start(&self, at: &Start) -> Result<Box<dyn Learner>> {
        Family::learner(self, at)
    }

    fn weights_of(&self, checkpoint: State) -> Result<State> {
        Family::weights(self, checkpoint)
    }

    fn open(&self, at: &Opening, weights: &State, origin: &Path) -> Result<Box<dyn Model>> {
        Family::model(self, at, weights, origin)
    }

    fn boxed(&self) -> Box<dyn Plan> {
        Box::new(self.clone())
    }

    fn equals(&self, other: &dyn Plan) -> bool {
        other.any().downcast_ref::<F>().is_some_and(|other| other == self)
    }

    fn any(&self) -> &dyn Any {
        self
    }
}

impl Clone for Box<dyn Plan> {
    fn clone(&self) -> Self {
        self.boxed()
    }
}

/// A registered family.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The name in recipes.
    pub name: &'static str,
    /// A description in one line.
    pub about: &'static str,
    /// Reads the family's part of a recipe, without checks.
    pub read: fn(Table) -> Result<Box<dyn Plan>>,
    /// The family's part of a recipe with its defaults.
    pub defaults: fn() -> Table,
}

impl Entry {
    /// The entry of the family `F`.
    pub(super) const fn of<F: Family>() -> Self {
        Self {
            name: F::NAME,
            about: F::ABOUT,
            read: |table| Ok(Box::new(read::<F>(Value::Table(table), "")?)),
            defaults: || F::default().table().unwrap_or_default(),
        }
    }
}

/// The registered family with the name `name`.
///
/// # Errors
/// [`Error::Config`] for an unknown name, with the nearest known one.
pub fn family(name: &str) -> Result<&'static Entry> {
    let names: Vec<&str> = super::FAMILIES.iter().map(|entry| entry.name).collect();
    let found = super::FAMILIES.iter().find(|entry| entry.name == name);
    found.ok_or_else(|| Error::config("family", name, one_of(name, &names)))
}
