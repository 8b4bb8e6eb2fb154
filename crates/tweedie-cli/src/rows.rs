//! The option that chooses the rows to judge by.

use tweedie::data::Part;

/// The choice of rows to judge by.
#[derive(Debug, clap::Args)]
pub struct JudgedRows {
    /// Rows to judge by: `test` for figures to report, `validation` for choices of settings.
    #[arg(long, value_name = "PART", default_value = "test", value_parser = part)]
    split: Part,
}

impl JudgedRows {
    /// The chosen part.
    pub fn part(&self) -> Part {
        self.split
    }
}

/// Parses the name of a part.
fn part(name: &str) -> std::result::Result<Part, String> {
    let known = Part::NAMES.into_iter().find(|(known, _)| *known == name);
    known.map(|(_, part)| part).ok_or_else(|| "expected test or validation".into())
}
