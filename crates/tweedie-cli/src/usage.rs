//! Errors of the command line: those that clap finds, with the key to `--set` where a key was given as an option.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::io::Write;
use std::process::ExitCode;
use toml::{Table, Value};
use tweedie::error::nearest;
use tweedie::run::Recipe;

/// Keys of recipes that these leave out by default, and keys by the names that other programs have for them.
const ALIASES: [(&str, &str); 26] = [
    ("averages", "training.averages"),
    ("augmentation", "training.augmentation"),
    ("selection", "training.selection"),
    ("dropout", "network.dropout"),
    ("interval", "sampling.interval"),
    ("columns", "data.columns"),
    ("condition", "data.condition"),
    ("header", "data.header"),
    ("id", "data.id"),
    ("limits", "data.limits"),
    ("map", "data.map"),
    ("piles", "data.piles"),
    ("size", "data.size"),
    ("target", "evaluation.target"),
    ("lr", "training.learning_rate"),
    ("iterations", "training.steps"),
    ("iters", "training.steps"),
    ("max_steps", "training.steps"),
    ("num_steps", "training.steps"),
    ("train_steps", "training.steps"),
    ("batch_size", "training.batch"),
    ("hidden_size", "network.hidden"),
    ("width", "network.hidden"),
    ("ema_decay", "training.ema"),
    ("grad_clip", "training.adamw.clip"),
    ("num_samples", "evaluation.samples"),
];

/// Names that other programs have for the number of samples.
const SAMPLES: [&str; 5] = ["num", "num_samples", "n_samples", "count", "number"];

/// Prints an error of clap, or the help that was wanted, and gives the exit status.
pub fn refuse(error: &clap::Error) -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    if let Some(hint) = as_key(error, &arguments) {
        eprintln!("error: {hint}");
        return ExitCode::from(2);
    }
    match error.print().and_then(|()| std::io::stdout().flush()) {
        Err(failure) if failure.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("error: stdout: {failure}");
            ExitCode::from(1)
        }
        _ => ExitCode::from(error.exit_code() as u8),
    }
}

/// What replaces an unknown option: of `train`, the `--set` of a key of recipes.
fn as_key(error: &clap::Error, arguments: &[String]) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let train = arguments.iter().find(|word| !word.starts_with('-')).is_some_and(|w| w == "train");
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let option = option.split('=').next().unwrap_or_default();
    let name = option.trim_start_matches('-').replace('-', "_");
    let value = value(option, arguments);
    if !train {
        let samples = SAMPLES.contains(&name.as_str());
        return samples.then(|| format!("{option}: unknown option; expected `-n {value}`"));
    }
    if ["epochs", "epoch", "num_epochs", "max_epochs"].contains(&name.as_str()) {
        let expected = "`--set training.steps=N`, N batches of training.batch rows";
        return Some(format!("{option}: there are no epochs; expected {expected}"));
    }
    let suggested = error.get(ContextKind::SuggestedArg);
    let other = match suggested {
        Some(ContextValue::String(text)) if text != "--set" => Some(text.as_str()),
        _ => None,
    };
    let key = key(&name, other.is_none())?;
    Some(format!("{option}: unknown option; expected `--set {key}={value}`"))
}

/// The value given to an option: after `=`, or the next word.
fn value(option: &str, arguments: &[String]) -> String {
    let own = |word: &String| word == option || word.starts_with(&format!("{option}="));
    let found = arguments.iter().position(own).and_then(|at| match arguments[at].split_once('=') {
        Some((_, value)) => Some(value.to_string()),
        None => arguments.get(at + 1).filter(|next| !next.starts_with("--")).cloned(),
    });
    found.unwrap_or_else(|| "VALUE".into())
}

/// The key of recipes whose last part has a name, or, if wanted, nearly has it.
fn key(name: &str, nearly: bool) -> Option<String> {
    if let Some((_, key)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Some(key.to_string());
    }
    let mut keys = Vec::new();
    flatten(&Recipe::parse("", &[]).ok()?.table().ok()?, "", &mut keys);
    let last = |key: &String| key.rsplit('.').next().unwrap_or_default().to_string();
    // Of keys with one last part those of training come first, then the shortest paths.
    keys.sort_by_key(|key| (!key.starts_with("training."), key.matches('.').count()));
    let parts: Vec<String> = keys.iter().map(last).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let found = match parts.contains(&name) {
        true => name,
        false => nearest(name, &parts).filter(|_| nearly)?,
    };
    parts.iter().position(|part| *part == found).map(|at| keys[at].clone())
}

/// The paths of all values of a table.
fn flatten(table: &Table, at: &str, keys: &mut Vec<String>) {
    for (key, value) in table {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match value {
            Value::Table(inner) => flatten(inner, &path, keys),
            _ => keys.push(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_the_key_of_recipes_that_ends_with_it() {
        for (name, expected) in [
            ("steps", "training.steps"),
            ("lr", "training.learning_rate"),
            ("batch", "training.batch"),
            ("batch_size", "training.batch"),
            ("learning_rat", "training.learning_rate"),
            ("beta_1", "training.adamw.beta_1"),
            ("log_every", "training.log_every"),
        ] {
            assert_eq!(key(name, true).as_deref(), Some(expected), "{name}");
        }
        for (name, path) in ALIASES {
            let recipe = Recipe::parse("", &[format!("{path}=\"?\"")]);
            let unknown = recipe.is_err_and(|e| e.to_string().contains("unknown key"));
            assert!(!unknown, "{name} is {path}");
        }
        assert_eq!(key("zzzzzz", true), None);
        assert_eq!(key("learning_rat", false), None);
    }
}
