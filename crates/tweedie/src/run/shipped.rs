//! The recipes shipped with the program.

use crate::run::Recipe;
use crate::{Error, Result};
use std::path::Path;

/// Every shipped recipe: its name and text.
pub const RECIPES: &[(&str, &str)] = &[
    ("digits", include_str!("../../../../recipes/digits.toml")),
    ("emoji", include_str!("../../../../recipes/emoji.toml")),
    ("mnist", include_str!("../../../../recipes/mnist.toml")),
    ("fashion", include_str!("../../../../recipes/fashion.toml")),
    ("cifar10", include_str!("../../../../recipes/cifar10.toml")),
    ("mnist-ddpm", include_str!("../../../../recipes/mnist-ddpm.toml")),
    ("mnist-ncsn", include_str!("../../../../recipes/mnist-ncsn.toml")),
    ("mnist-ve", include_str!("../../../../recipes/mnist-ve.toml")),
    ("mnist-vp", include_str!("../../../../recipes/mnist-vp.toml")),
    ("mnist-sub-vp", include_str!("../../../../recipes/mnist-sub-vp.toml")),
    ("mnist-edm", include_str!("../../../../recipes/mnist-edm.toml")),
    ("mnist-vdm", include_str!("../../../../recipes/mnist-vdm.toml")),
    ("points", include_str!("../../../../recipes/points.toml")),
    ("table", include_str!("../../../../recipes/table.toml")),
    ("coupling", include_str!("../../../../recipes/coupling.toml")),
    ("gmm", include_str!("../../../../recipes/gmm.toml")),
    ("kde", include_str!("../../../../recipes/kde.toml")),
    ("mala", include_str!("../../../../recipes/mala.toml")),
];

/// The text of the recipe with this name or path, and the name of its runs.
pub fn find(recipe: &str) -> Result<(String, String)> {
    if let Some((name, text)) = RECIPES.iter().find(|(name, _)| *name == recipe) {
        return Ok((name.to_string(), text.to_string()));
    }
    let path = Path::new(recipe);
    if recipe.ends_with(".toml") {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let name = path.file_stem().map_or("run".into(), |s| s.to_string_lossy().into_owned());
        return Ok((name, text));
    }
    let names: Vec<&str> = RECIPES.iter().map(|(name, _)| *name).collect();
    let expected = format!("{}, or the path of a .toml file", crate::error::one_of(recipe, &names));
    Err(Error::config("recipe", recipe, expected))
}

/// An error of a recipe's values, located in the recipe's file if the file's own values, and not overrides, are wrong,
/// or its data are absent.
pub fn located(error: Error, recipe: &str, text: &str) -> Error {
    let alone = Recipe::parse(text, &[]).err().map(|e| e.to_string());
    match error {
        Error::Config { key, problem, expected }
            if recipe.ends_with(".toml")
                && (alone == Some(format!("{key}: {problem}; expected {expected}"))
                    || (key == "data" && problem == "absent")) =>
        {
            Error::file(recipe, key, problem, expected)
        }
        other => other,
    }
}
