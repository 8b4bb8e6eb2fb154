//! The error of a value that cannot be read.

use super::node::Node;
use crate::error::one_of;
use serde::de::{self, Expected, Unexpected};
use std::fmt::Display;

/// The result of reading a value.
pub(super) type ReadResult<T> = Result<T, ReadError>;

/// The error of a value that cannot be read: the key inside it, the problem (by default the value itself) and the
/// expectation.
#[derive(Debug)]
pub(super) struct ReadError {
    pub(super) key: String,
    pub(super) problem: Option<String>,
    pub(super) expected: String,
    /// Whether the value is an unknown name.
    pub(super) unknown_name: bool,
}

impl ReadError {
    pub(super) fn new(key: &str, problem: Option<String>, expected: impl Into<String>) -> Self {
        Self { key: key.into(), problem, expected: expected.into(), unknown_name: false }
    }

    /// The error from the viewpoint of the table that holds the value under `key`.
    pub(super) fn under(mut self, key: &str) -> Self {
        self.key = match (key, self.key.as_str()) {
            (key, "") => key.into(),
            ("", own) => own.into(),
            (key, own) if own.starts_with('[') => format!("{key}{own}"),
            (key, own) => format!("{key}.{own}"),
        };
        self
    }

    /// The error with the value `node` as its problem, unless it has one.
    pub(super) fn of(mut self, node: &Node) -> Self {
        self.problem.get_or_insert_with(|| node.to_string());
        self
    }
}

impl Display for ReadError {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        if !self.key.is_empty() {
            write!(out, "{}: ", self.key)?;
        }
        write!(out, "{}; expected {}", self.problem.as_deref().unwrap_or_default(), self.expected)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    /// The error of a text: errors of this crate are texts of key, problem and expectation.
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
