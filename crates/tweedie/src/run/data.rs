//! The data of a run: their place, and the check that they are the rows of training.

use super::inputs::{found, from_root};
use super::{Run, in_file};
use crate::data::{Dataset, Source, Toy};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Whether a source is a name, not a path.
fn is_name(source: &str) -> bool {
    crate::data::list().iter().any(|(name, _)| *name == source)
}

/// The path of a source from the root of the file system, if it is a file or a folder.
pub(super) fn path_of(source: &str) -> Option<PathBuf> {
    let path = Path::new(source);
    from_root(path).filter(|_| !is_name(source) && path.exists())
}

impl Run {
    /// The run with its data read from another place, `source`; [`Run::data`] refuses other rows.
    pub fn with_data(self, source: impl Into<String>) -> Self {
        Self { moved: Some(source.into()), ..self }
    }

    /// Whether a source other than the recipe's is a path that the recipe's data may have moved to.
    pub fn may_have_moved_to(&self, source: &str) -> bool {
        let own = self.info.recipe.data.as_ref().map(|own| own.source.as_str());
        own.is_some_and(|own| own != source && !is_name(own)) && !is_name(source)
    }

    /// Whether the training data are found, or need no file.
    pub fn finds_its_data(&self) -> bool {
        let source = self.info.recipe.data.as_ref();
        source.is_some_and(|source| self.place(&source.source).is_ok())
    }

    /// Records the new place of moved data in `run.json`.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn remember_data(mut self) -> Result<Self> {
        let Some(moved) = self.moved.take() else { return Ok(self) };
        self.info.source_path = path_of(&moved);
        Self::write(&self.folder, self.info)
    }

    /// The place of the data of a source.
    fn place(&self, source: &str) -> Result<String> {
        if let Some(moved) = &self.moved {
            return Ok(moved.clone());
        }
        if is_name(source) {
            return Ok(source.into());
        }
        let recorded = self.info.source_path.as_deref();
        let found = found(Path::new(source), recorded, &self.folder);
        if let Some(found) = found.as_ref().and_then(|path| path.to_str()) {
            return Ok(found.into());
        }
        let place = recorded.unwrap_or(Path::new(source)).display();
        let problem = format!("{place}: No such file or directory");
        let expected =
            "the data that the run was trained on; if they were moved, --data with their path";
        Err(Error::file(self.file("run.json"), "data.source", problem, expected))
    }

    /// Loads the training data of the run, and their held-out rows.
    ///
    /// # Errors
    /// Errors of loading; [`Error::File`] if the data's hash is not the one on record.
    pub fn data(&self) -> Result<Dataset> {
        if self.is_without_data() {
            let expected = "data given with the command";
            let problem = match self.learns_without_data() {
                true => "none: the family learns without",
                false => "none: imported",
            };
            return Err(Error::file(self.file("run.json"), "data", problem, expected));
        }
        let mut recipe = self.info.recipe.clone();
        if let Some(source) = &mut recipe.data {
            source.source = self.place(&source.source)?;
        }
        let mut data = recipe.load_data()?;
        if !data.space.reads_as(&self.info.space) {
            // The run keeps the space that it was trained in, if it was read otherwise then.
            data = data.clone().in_space(&self.info.space).unwrap_or(data);
        }
        for (name, now, then) in [
            ("training", &data.train, &self.info.train),
            ("held-out", &data.held_out, &self.info.held_out),
        ] {
            let hash = now.hash();
            if hash != then.hash {
                let place = format!("{name} rows");
                let expected = format!("the {} rows of hash {}", then.rows, then.hash);
                let problem = match &self.moved {
                    None => format!("changed since the run began, now of hash {hash}"),
                    Some(_) => format!("other rows than those of the run, of hash {hash}"),
                };
                return Err(Error::file(&data.name, place, problem, expected));
            }
        }
        data.name.clone_from(&self.info.data);
        if data.space != self.info.space {
            let (file, problem) = (self.file("run.json"), "not the space of the data");
            return Err(Error::file(file, "space", problem, "no changes by hand"));
        }
        let named = |error| in_file(&self.file("run.json"), error);
        data.with_validation(self.info.validation).map_err(named)
    }

    /// The run's data with the held-out rows of another source: the held-out part of a named or divided data set, or
    /// all rows of a file. For a run that learns without data, one half of the file's rows becomes held-out and the
    /// other half training rows.
    ///
    /// # Errors
    /// Errors of loading; [`Error::File`] if the rows do not have the run's columns, categories and classes.
    pub fn data_of(&self, other: &str) -> Result<Dataset> {
        let (loaded, rows) = if crate::data::list().iter().any(|(name, _)| *name == other) {
            let mut source = Source::named(other);
            let toy = other.parse::<Toy>().is_ok();
            let own = self.source(other);
            (source.label, source.binarise) = (own.label.filter(|_| toy), own.binarise);
            let loaded = source.load()?;
            let rows = loaded.test();
            (loaded, rows)
        } else {
            let mut source = self.source(other);
            let halves = self.learns_without_data();
            let share = if halves { 0.5 } else { 0.0 };
            (source.source, source.held_out, source.n) = (other.to_string(), Some(share), None);
            source.seed = 0;
            match source.load() {
                // The file is divided already.
                Err(Error::Config { key, .. }) if key == "held_out" => {
                    let loaded = Source { held_out: None, ..source }.load()?;
                    let rows = loaded.test();
                    (loaded, rows)
                }
                loaded => {
                    let loaded = loaded?;
                    let rows = if halves { &loaded.held_out } else { &loaded.train }.clone();
                    (loaded, rows)
                }
            }
        };
        let space = self.info.space.clone();
        let train = match self.is_without_data() {
            // The training data are unknown: the other source's own training rows stand in.
            true => space.adopt(&loaded.space, &loaded.train, other)?,
            false => self.data()?.fit_rows(),
        };
        let held_out = space.adopt(&loaded.space, &rows, other)?;
        Dataset::new(other, space, train, held_out).map_err(|error| match error {
            Error::Config { key, problem, expected } => Error::file(other, key, problem, expected),
            error => error,
        })
    }

    /// The recipe's source of data, or the source `other` without options if the recipe has no data.
    fn source(&self, other: &str) -> Source {
        self.info.recipe.data.clone().unwrap_or_else(|| Source::named(other))
    }
}
