//! The recipes shipped with the program.

use crate::data::Toy;
use crate::data::table::is_table;
use crate::files::shell_word;
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
    ("mnist-glow", include_str!("../../../../recipes/mnist-glow.toml")),
    ("mnist-pixelcnn-grey", include_str!("../../../../recipes/mnist-pixelcnn-grey.toml")),
    ("mnist-made", include_str!("../../../../recipes/mnist-made.toml")),
    ("mnist-pixelcnn", include_str!("../../../../recipes/mnist-pixelcnn.toml")),
    ("mnist-rbm", include_str!("../../../../recipes/mnist-rbm.toml")),
    ("mnist-made-gaussians", include_str!("../../../../recipes/mnist-made-gaussians.toml")),
    ("mnist-maf", include_str!("../../../../recipes/mnist-maf.toml")),
    ("points", include_str!("../../../../recipes/points.toml")),
    ("table", include_str!("../../../../recipes/table.toml")),
    ("coupling", include_str!("../../../../recipes/coupling.toml")),
    ("maf", include_str!("../../../../recipes/maf.toml")),
    ("spline", include_str!("../../../../recipes/spline.toml")),
    ("glow", include_str!("../../../../recipes/glow.toml")),
    ("residual", include_str!("../../../../recipes/residual.toml")),
    ("cnf", include_str!("../../../../recipes/cnf.toml")),
    ("made", include_str!("../../../../recipes/made.toml")),
    ("transformer", include_str!("../../../../recipes/transformer.toml")),
    ("vae", include_str!("../../../../recipes/vae.toml")),
    ("aae", include_str!("../../../../recipes/aae.toml")),
    ("mnist-vae", include_str!("../../../../recipes/mnist-vae.toml")),
    ("mnist-iwae", include_str!("../../../../recipes/mnist-iwae.toml")),
    ("iwae", include_str!("../../../../recipes/iwae.toml")),
    ("vampprior", include_str!("../../../../recipes/vampprior.toml")),
    ("ladder", include_str!("../../../../recipes/ladder.toml")),
    ("gan", include_str!("../../../../recipes/gan.toml")),
    ("wgan-gp", include_str!("../../../../recipes/wgan-gp.toml")),
    ("mmd-gan", include_str!("../../../../recipes/mmd-gan.toml")),
    ("r3gan", include_str!("../../../../recipes/r3gan.toml")),
    ("pixelcnn", include_str!("../../../../recipes/pixelcnn.toml")),
    ("ebm", include_str!("../../../../recipes/ebm.toml")),
    ("rbm", include_str!("../../../../recipes/rbm.toml")),
    ("gmm", include_str!("../../../../recipes/gmm.toml")),
    ("kde", include_str!("../../../../recipes/kde.toml")),
    ("mala", include_str!("../../../../recipes/mala.toml")),
];

/// The names of all shipped recipes.
pub fn names() -> Vec<&'static str> {
    RECIPES.iter().map(|(name, _)| *name).collect()
}

/// The name of the runs of the recipe with this name or path, and its text.
///
/// # Errors
/// [`Error::Config`] for an unknown name, with the command that trains on it if it is a file, a folder or a data set;
/// [`Error::Io`] if the file cannot be read.
pub fn find(recipe: &str) -> Result<(String, String)> {
    if let Some((name, text)) = RECIPES.iter().find(|(name, _)| *name == recipe) {
        return Ok((name.to_string(), text.to_string()));
    }
    let path = Path::new(recipe);
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml")) {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let name = path.file_stem().map_or("run".into(), |s| s.to_string_lossy().into_owned());
        return Ok((name, text));
    }
    let expected = match command_for(recipe) {
        Some(command) => format!("the name of a recipe, as in `{command}`"),
        None => {
            let names = crate::error::one_of(recipe, &names());
            format!("{names}, or the path of a .toml file")
        }
    };
    Err(Error::config("recipe", recipe, expected))
}

/// Endings of arrays, and of tables that are refused with advice.
const OTHER_TABLES: [&str; 4] = [".npy", ".npz", ".parquet", ".xlsx"];

/// Endings of pictures.
const PICTURES: [&str; 9] =
    [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", "-ubyte.gz"];

/// The command that trains on `given`, which is no recipe but a run, a folder of pictures, a table or a data set.
fn command_for(given: &str) -> Option<String> {
    let (path, lower) = (Path::new(given), given.to_lowercase());
    let on = |recipe: &str, data: &Path| {
        Some(format!("tweedie train {recipe} --data {}", shell_word(data)))
    };
    let ends = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
    if path.join("run.json").exists() {
        return Some(format!("tweedie train --resume --out {}", shell_word(path)));
    }
    if path.is_dir() {
        let holds = |file: &str| path.join(file).exists();
        let digits = ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"];
        return match digits.iter().any(|file| holds(file)) {
            true => on("mnist", path),
            false if holds("data_batch_1.bin") || holds("train.bin") => on("cifar10", path),
            false => on("emoji", path),
        };
    }
    if is_table(given) || ends(&OTHER_TABLES) {
        return on("table", path);
    }
    if ends(&PICTURES) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        return on("emoji", folder.unwrap_or(Path::new(".")));
    }
    if given.parse::<Toy>().is_ok() {
        return on("points", path);
    }
    crate::data::list().iter().any(|(name, _)| *name == given).then(|| on("table", path))?
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
