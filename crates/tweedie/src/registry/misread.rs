//! Why a value could not be read.

use super::node::Node;
use crate::error::one_of;
use serde::de::{self, Expected, Unexpected};
use std::fmt::Display;

/// What was read, or why not.
pub(super) type ReadResult<T> = Result<T, Misread>;

/// Why a value could not be read: the key inside of it, what is there (the value itself if not said) and what it takes.
#[derive(Debug)]
pub(super) struct Misread {
    pub(super) key: String,
    pub(super) problem: Option<String>,
    pub(super) expected: String,
    /// Whether it is a name that is not known.
    pub(super) unknown_name: bool,
}

impl Misread {
    pub(super) fn new(key: &str, problem: Option<String>, expected: impl Into<String>) -> Self {
        Self { key: key.into(), problem, expected: expected.into(), unknown_name: false }
    }

    /// The error seen from the table that holds the value by this key.
    pub(super) fn under(mut self, key: &str) -> Self {
        self.key = match (key, self.key.as_str()) {
            (key, "") => key.into(),
            ("", own) => own.into(),
            (key, own) if own.starts_with('[') => format!("{key}{own}"),
            (key, own) => format!("{key}.{own}"),
        };
        self
    }

    /// The error of the value `node`.
    pub(super) fn of(mut self, node: &Node) -> Self {
        self.problem.get_or_insert_with(|| node.to_string());
        self
    }
}

impl Display for Misread {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        if !self.key.is_empty() {
            write!(out, "{}: ", self.key)?;
        }
        write!(out, "{}; expected {}", self.problem.as_deref().unwrap_or_default(), self.expected)
    }
}

impl std::error::Error for Misread {}

impl de::Error for Misread {
    /// Errors of this crate come as their text: key, problem and what was expected.
    fn custom<T: Display>(message: T) -> Self {
        let text = message.to_string();
        let Some((problem, expected)) = text.split_once("; expected ") else {
            return Self::new("", None, text);
        };
        match problem.split_once(": ") {
            Some((key, problem)) => Self::new(key, Some(problem.into()), expected),
            None => Self::new("", Some(problem.into()), expected),
        }
    }
    fn invalid_type(_: Unexpected, expected: &dyn Expected) -> Self {
        Self::new("", None, expected.to_string())
    }
    fn invalid_value(_: Unexpected, expected: &dyn Expected) -> Self {
        Self::new("", None, expected.to_string())
    }
    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::new("", None, expected.to_string())
    }
    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        let error = Self::new("", Some(name.into()), one_of(name, known));
        Self { unknown_name: true, ..error }
    }
    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        let expected =
            if known.is_empty() { "no key but its name".into() } else { one_of(key, known) };
        Self::new(key, Some("unknown key".into()), expected)
    }
    fn missing_field(key: &'static str) -> Self {
        Self::new(key, Some("missing".into()), "a value")
    }
    fn duplicate_field(key: &'static str) -> Self {
        Self::new(key, Some("given twice".into()), "one value")
    }
}
