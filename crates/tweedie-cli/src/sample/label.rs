//! `--label`: the classes of samples.

use super::Options;
use tweedie::data::Filter;
use tweedie::run::Run;
use tweedie::{Draws, Error, Result};

/// The class of each row.
pub(super) enum Label {
    None,
    One(u32),
    InTurn(u64),
    /// Random classes with the frequencies of the training rows, whose numbers are given by class.
    AsData(Vec<usize>, Draws),
}

/// The name of the column of labels of a run.
pub(super) fn column(run: &Run) -> &str {
    let own = run.info.recipe.data.as_ref().and_then(|data| data.label.as_deref());
    own.filter(|name| *name != "last").unwrap_or("label")
}

impl Label {
    /// The classes that the options name, or the one class of the filter; without, as in the training data for a
    /// `table`, else all in turn.
    pub fn parse(
        options: &Options,
        run: &Run,
        filter: Option<&Filter>,
        table: bool,
    ) -> Result<Self> {
        let classes = run.info.space.classes();
        match (filter.filter(|filter| filter.tests_label()), &options.label) {
            (Some(filter), None) if let Some(class) = filter.class() => {
                return Ok(Label::One(class));
            }
            (Some(filter), Some(label)) if filter.class().is_some() || label == "none" => {
                let problem = format!("{label}, beside a condition on the label in --where");
                return Err(Error::config("--label", problem, "one of them"));
            }
            _ => {}
        }
        // The frequencies of the classes of an imported run are unknown.
        let counted = run.info.train.classes.iter().any(|count| *count > 0);
        match options.label.as_deref() {
            None if classes.is_empty() => Ok(Label::None),
            None if table && counted => Ok(Label::as_data(options, run)),
            None | Some("all") if !classes.is_empty() => Ok(Label::InTurn(classes.len() as u64)),
            Some("data") if !classes.is_empty() && !counted => {
                let problem = "data: the run was imported, without the frequencies of its classes";
                Err(Error::config("--label", problem, "all, none, or a class by name or number"))
            }
            Some("data") if !classes.is_empty() => Ok(Label::as_data(options, run)),
            None | Some("none") => Ok(Label::None),
            Some(text) => match named(classes, text) {
                Some(class) => Ok(Label::One(class as u32)),
                None if classes.is_empty() => {
                    Err(Error::config("--label", text, "no label: the model has no classes"))
                }
                None => {
                    let mut names: Vec<&str> = classes.iter().map(String::as_str).collect();
                    names.extend(["all", "data", "none"]);
                    Err(Error::config("--label", text, tweedie::error::one_of(text, &names)))
                }
            },
        }
    }

    fn as_data(options: &Options, run: &Run) -> Self {
        Label::AsData(run.info.train.classes.clone(), Draws::new(options.seed).purpose("label"))
    }

    /// The class of a row.
    pub fn of(&self, row: u64) -> Option<u32> {
        match self {
            Label::None => None,
            Label::One(class) => Some(*class),
            Label::InTurn(count) => Some((row % count) as u32),
            Label::AsData(counts, draws) => {
                let total: usize = counts.iter().sum();
                let mut place = draws.below(row, 0, total as u64) as usize;
                let class = counts.iter().position(|count| match place.checked_sub(*count) {
                    Some(rest) => {
                        place = rest;
                        false
                    }
                    None => true,
                });
                class.map(|class| class as u32)
            }
        }
    }
}

/// The class that a text names: by its name, by the same number in other digits, or by its index if no class is a
/// number.
fn named(classes: &[String], text: &str) -> Option<usize> {
    let number = |text: &str| text.parse::<f64>().ok();
    let by_name = classes.iter().position(|class| class == text);
    let by_value = || {
        let wanted = number(text)?;
        classes.iter().position(|class| number(class) == Some(wanted))
    };
    let by_index = || {
        let index = text.parse::<usize>().ok().filter(|k| *k < classes.len());
        index.filter(|_| classes.iter().all(|class| number(class).is_none()))
    };
    by_name.or_else(by_value).or_else(by_index)
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn classes_are_named_by_text_by_value_or_by_index() {
        let classes = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let numbers = classes(&["1.0", "2.0", "10.0"]);
        assert_eq!(
            ["1", "1.0", "10", "2", "0", "3"].map(|text| named(&numbers, text)),
            [Some(0), Some(0), Some(2), Some(1), None, None]
        );
        let words = classes(&["cat", "dog"]);
        assert_eq!(["dog", "0", "2"].map(|text| named(&words, text)), [Some(1), Some(0), None]);
    }
}
