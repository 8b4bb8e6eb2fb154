//! Recipes: the complete definition of a run, as TOML.

use crate::data::{Dataset, Source, Validation};
use crate::error::{count, inside, one_of};
use crate::family::{FAMILIES, Plan, family};
use crate::registry::{override_all, read};
use crate::train::Training;
use crate::{Error, Result};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::{Table, Value};

/// The family of a recipe that does not name one.
const DEFAULT: &str = FAMILIES[0].name;
/// The most samples held in memory for evaluation.
const MOST_JUDGED: u64 = 1 << 20;
/// The keys common to the recipes of all families.
const COMMON: [&str; 6] = ["about", "seed", "family", "data", "training", "evaluation"];

/// The complete definition of a run: the keys common to all families, and the family's own part.
///
/// ```
/// use tweedie::family::diffusion::Diffusion;
/// use tweedie::run::Recipe;
/// let recipe = Recipe::parse("[data]\nsource = \"moons\"", &["training.steps=500".into()])?;
/// assert_eq!(recipe.training.steps, 500);
/// assert_eq!(recipe.of::<Diffusion>()?.sampling.steps, 32);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The purpose of the recipe in one line.
    pub about: String,
    /// The seed of everything random in training.
    pub seed: u64,
    /// The training data; none for a family that learns without data.
    pub data: Option<Source>,
    /// The settings of the training loop.
    pub training: Training,
    /// The evaluation of a finished run.
    pub evaluation: EvaluationRecipe,
    /// The family's own part of the recipe.
    pub plan: Box<dyn Plan>,
}

/// The evaluation of a finished run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationRecipe {
    /// The number of samples that are compared with the data.
    pub samples: usize,
    /// The number of held-out rows that log p is computed for, chosen at random if there are more. If absent, all rows
    /// as long as the work is bounded (see [`crate::judge::densities`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_p_rows: Option<usize>,
    /// A column of numbers that a forest learns from the others on samples, to be tested on real rows; none if not
    /// given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl Default for EvaluationRecipe {
    fn default() -> Self {
        Self { samples: 1000, log_p_rows: None, target: None }
    }
}

/// The common keys except `family` and `training`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Common {
    #[serde(default)]
    about: String,
    #[serde(default)]
    seed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Source>,
    #[serde(default)]
    evaluation: EvaluationRecipe,
}

impl Recipe {
    /// Reads a recipe and applies `overrides` of the form `key.path=value`, with values in TOML or as bare words.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key that is unknown (with the nearest known one), or whose value is invalid.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self> {
        let mut table: Table = toml::from_str(text)
            .map_err(|e| Error::config(place(text, &e), e.message(), "TOML"))?;
        override_all(&mut table, overrides)?;
        let recipe = Self::from_table(table)?;
        recipe.check()?;
        Ok(recipe)
    }

    /// Reads a recipe from a table, without checks.
    ///
    /// # Errors
    /// As [`Recipe::parse`].
    pub fn from_table(mut table: Table) -> Result<Self> {
        let name = match table.remove("family") {
            None => DEFAULT.to_string(),
            Some(Value::String(name)) => name,
            Some(other) => {
                return Err(Error::config("family", other.to_string(), "the name of a family"));
            }
        };
        let entry = family(&name)?;
        let mut take = |keys: &[&str]| -> Table {
            keys.iter().filter_map(|key| table.remove_entry(*key)).collect()
        };
        let common = Value::Table(take(&["about", "seed", "data", "evaluation"]));
        let Common { about, seed, data, evaluation } = read(common, "")?;
        let training = match table.get_mut("training") {
            Some(Value::Table(own)) => {
                let keys = Training::KEYS.iter().filter_map(|key| own.remove_entry(*key));
                Value::Table(keys.collect())
            }
            Some(other) => {
                return Err(Error::config("training", other.to_string(), "a table of keys"));
            }
            None => Value::Table(Table::new()),
        };
        if table.get("training").and_then(Value::as_table).is_some_and(Table::is_empty) {
            table.remove("training");
        }
        let training = read(training, "training")?;
        let plan = (entry.read)(table).map_err(|error| match error {
            // The key may be a misspelt common key.
            Error::Config { key, problem, expected } if problem == "unknown key" => {
                let own = (entry.defaults)();
                let (common, own, wrong) = match key.strip_prefix("training.") {
                    Some(wrong) => {
                        (&Training::KEYS[..], own.get("training").and_then(Value::as_table), wrong)
                    }
                    None => (&COMMON[..], Some(&own), key.as_str()),
                };
                if wrong.contains('.') {
                    return Error::config(key, problem, expected);
                }
                let own = own.into_iter().flat_map(Table::keys).map(String::as_str);
                let own = own.filter(|key| !common.contains(key));
                let known: Vec<&str> = common.iter().copied().chain(own).collect();
                let expected = one_of(wrong, &known);
                Error::config(&key, problem, expected)
            }
            other => other,
        })?;
        Ok(Self { about, seed, data, training, evaluation, plan })
    }

    /// The recipe as a table.
    ///
    /// # Errors
    /// [`Error::Config`] if it cannot be written as TOML.
    pub fn table(&self) -> Result<Table> {
        let written =
            |e: toml::ser::Error| Error::config("recipe", e.to_string(), "values TOML can hold");
        let Self { about, seed, data, training, evaluation, plan } = self.clone();
        let mut table = plan.table()?;
        table.extend(Table::try_from(Common { about, seed, data, evaluation }).map_err(written)?);
        if plan.family() != DEFAULT {
            table.insert("family".into(), plan.family().into());
        }
        let training = Table::try_from(training).map_err(written)?;
        match table.get_mut("training") {
            Some(Value::Table(own)) => own.extend(training),
            _ => {
                table.insert("training".into(), Value::Table(training));
            }
        }
        Ok(table)
    }

    /// The recipe as TOML.
    ///
    /// # Errors
    /// [`Error::Config`] if it cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(&self.table()?)
            .map_err(|e| Error::config("recipe", e.to_string(), "values TOML can hold"))
    }

    /// Fails, naming the key, unless every value is valid.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        self.training.check().map_err(|e| inside("training", e))?;
        self.plan.check_plan()?;
        count("evaluation.samples", self.evaluation.samples as u64, MOST_JUDGED)?;
        match self.evaluation.log_p_rows {
            Some(rows) => count("evaluation.log_p_rows", rows as u64, 1 << 30),
            None => Ok(()),
        }
    }

    /// The family's own part of the recipe as the type `F`.
    ///
    /// # Errors
    /// [`Error::Config`] if the recipe is of another family.
    pub fn of<F: 'static>(&self) -> Result<&F> {
        let found = self.plan.any().downcast_ref::<F>();
        found.ok_or_else(|| {
            Error::config("family", self.plan.family(), "the family that is wanted here")
        })
    }

    /// Draws or reads the recipe's data, with the validation rows of [`Validation::of`].
    ///
    /// # Errors
    /// As [`Source::load`], with the recipe's keys; [`Error::Config`] if the recipe has no data.
    pub fn load_data(&self) -> Result<Dataset> {
        const KEYS: [&str; 12] = [
            "source",
            "label",
            "condition",
            "columns",
            "held_out",
            "n",
            "image",
            "size",
            "channels",
            "skip_damaged",
            "binarise",
            "piles",
        ];
        let Some(data) = &self.data else {
            return Err(Error::config("data", "missing", "a value"));
        };
        let data = data.load_with(!self.plan.needs_density()).map_err(|error| match error {
            Error::Config { key, problem, expected } if KEYS.contains(&key.as_str()) => {
                Error::config(format!("data.{key}"), problem, expected)
            }
            other => other,
        })?;
        let data = if self.plan.needs_density() { data.noting_atoms() } else { data };
        let view = Validation::of(&data);
        data.with_validation(view)
    }
}

impl PartialEq for Recipe {
    fn eq(&self, other: &Self) -> bool {
        let common = |r: &Self| {
            (r.about.clone(), r.seed, r.data.clone(), r.training.clone(), r.evaluation.clone())
        };
        common(self) == common(other) && self.plan.equals(&*other.plan)
    }
}

impl Serialize for Recipe {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        self.table().map_err(S::Error::custom)?.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Recipe {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        Self::from_table(Table::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// The line of a TOML error.
fn place(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().map_or(0, |span| span.start.min(text.len()));
    format!("line {}", text.bytes().take(before).filter(|byte| *byte == b'\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::diffusion::Diffusion;

    fn parse(text: &str, overrides: &[String]) -> Result<Recipe> {
        Recipe::parse(text, overrides)
    }
    use crate::registry::named_option;

    fn error(overrides: &[&str]) -> String {
        let overrides: Vec<String> = overrides.iter().map(|o| o.to_string()).collect();
        parse("[data]\nsource = \"moons\"", &overrides).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_key_its_value_and_what_it_takes() {
        let cases = [
            ("trainig.steps=5", "trainig: unknown key; expected `training` perhaps"),
            ("training.step=5", "training.step: unknown key; expected `steps` perhaps"),
            ("training.steps=many", "training.steps: \"many\"; expected a whole number"),
            ("training.steps=-1", "training.steps: -1; expected a whole number"),
            ("training.ema=x", "training.ema: \"x\"; expected a number"),
            ("training.decay=cosin", "training.decay: cosin; expected `cosine` perhaps"),
            ("training=3", "training: 3; expected a table of keys"),
            ("training.steps.x=3", "training.steps: a table of keys; expected a whole number"),
            ("schedule=cosin", "schedule: cosin; expected `cosine` perhaps"),
            ("schedule.name=cosin", "schedule.name: cosin; expected `cosine` perhaps"),
            ("schedule.side=1", "schedule.name: missing"),
            (
                "network={name='mlp',hiden=4}",
                "network.hiden: unknown key; expected `hidden` perhaps",
            ),
            (
                "network={name='mlp',blocks=2,hidden=-4}",
                "network.hidden: -4; expected a whole number",
            ),
            (
                "network={name='mlp',activation='sillu'}",
                "network.activation: sillu; expected `silu`",
            ),
            ("data.image=[1,2]", "data.image: [1, 2]; expected an array of length 3"),
            ("data=moons", "data: \"moons\"; expected a table of keys"),
            ("training.steps", "--set: training.steps; expected key=value"),
            ("=5", "--set: =5"),
            ("training..steps=5", "--set: training..steps=5"),
        ];
        for (item, expected) in cases {
            let error = error(&[item]);
            assert!(error.starts_with(expected), "{item}: {error}");
        }
        assert!(
            error(&["training.steps=5", "training.steps.x=3"])
                .contains("training.steps is a value")
        );
    }

    #[test]
    fn a_word_stands_for_a_table_that_holds_only_a_name() {
        let text = "schedule = \"cosine\"\nnetwork = \"mlp\"\n[data]\nsource = \"moons\"\n\
            [objective]\nkind = \"bound\"\n[objective.levels]\ndistribution = \"log-snr\"\n\
            [sampling]\nsolver = \"heun\"\ngrid = \"karras, rho = 5.0\"";
        let tables = "[data]\nsource = \"moons\"\n[schedule]\nname = \"cosine\"\n[network]\nname = \"mlp\"\n\
            [objective]\nkind = { name = \"bound\" }\n\
            levels = { distribution = { name = \"log-snr\" } }\n\
            [sampling]\nsolver = { name = \"heun\" }\ngrid = { name = \"karras\", rho = 5.0 }";
        assert_eq!(parse(text, &[]).unwrap(), parse(tables, &[]).unwrap());
        let set = ["sampling.grid=karras, rho = 5.0".to_string()];
        assert_eq!(parse(text, &set).unwrap(), parse(text, &[]).unwrap());
    }

    #[test]
    fn options_are_read_as_recipes_write_them() {
        use crate::solve::grid::{AnyGrid, Karras};
        use crate::solve::{AnySolver, Ddim};
        let solver = |text: &str| named_option::<AnySolver>("solver", text);
        let ddim = AnySolver::Ddim(Ddim { eta: 0.5 });
        for text in ["ddim, eta = 0.5", "{ name = \"ddim\", eta = 0.5 }", " ddim ,eta=0.5 "] {
            assert_eq!(solver(text).unwrap(), ddim, "{text}");
        }
        let grid = named_option::<AnyGrid>("grid", "karras, rho = 3.0").unwrap();
        assert_eq!(grid, AnyGrid::Karras(Karras { rho: 3.0 }));
        for (text, expected) in [
            ("ddin", "solver: ddin; expected `ddim` perhaps"),
            ("ddim, eta", "solver: ddim, eta; expected a name"),
            ("ddim, eta = 1 }, { x = 2", "solver: ddim, eta = 1 }"),
            ("ddim, name = 'heun'", "solver: ddim, name = 'heun'"),
            ("ddim, etta = 1.0", "solver.etta: unknown key; expected `eta` perhaps"),
            ("ddim, eta = 'x'", "solver.eta: \"x\"; expected a number"),
            ("{ eta = 1.0 }", "solver"),
            ("3", "solver: 3; expected a name, or a table with one"),
            ("", "solver: "),
        ] {
            let error = solver(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        for text in ["karras, rhoo = 3.0", "time, rho = 3.0"] {
            let error = named_option::<AnyGrid>("grid", text).unwrap_err().to_string();
            assert!(error.starts_with("grid.rho") && error.contains("unknown key"), "{error}");
        }
        let set = ["sampling.grid={name='time',rho=3.0}".to_string()];
        let error = parse("[data]\nsource = \"moons\"", &set).unwrap_err().to_string();
        assert!(error.starts_with("sampling.grid.rho: unknown key"), "{error}");
    }

    #[test]
    fn families_without_densities_have_indicators_of_piles() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rain.csv");
        let line = |i: u32| {
            format!("{:.1}\n", if i.is_multiple_of(2) { 0.0 } else { f64::from(i) / 10.0 })
        };
        std::fs::write(&path, format!("rain\n{}", (0..200).map(line).collect::<String>())).unwrap();
        let source = format!("data={{source='{}'}}", path.display());
        for (more, pile) in [
            ("family='diffusion'", Some(0.0)),
            ("family='mixture'", None),
            ("family='flow'", None),
            ("data.piles=false", None),
        ] {
            let recipe = parse("", &[source.clone(), more.into()]).unwrap();
            assert_eq!(recipe.load_data().unwrap().space.coordinate(0).pile, pile, "{more}");
        }
    }

    #[test]
    fn invalid_toml_is_reported_with_its_line() {
        let error = parse("[data]\nsource = 'ä'\n[training\n", &[]).unwrap_err().to_string();
        assert!(error.starts_with("line 3: ") && error.ends_with("expected TOML"), "{error}");
    }

    #[test]
    fn overrides_make_tables_and_names_replace_them() {
        let set = ["schedule=edm", "schedule.sigma_max=10", "training.adamw.clip=0.5", "about=a b"];
        let set = set.map(String::from);
        let recipe = parse("[data]\nsource = \"moons\"\n[schedule]\nname = \"ve\"", &set).unwrap();
        let edm = crate::process::Edm { sigma_max: 10.0, ..Default::default() };
        let own = recipe.of::<Diffusion>().unwrap();
        assert_eq!(own.schedule, crate::process::AnySchedule::Edm(edm));
        assert_eq!((own.training.adamw.clip, recipe.about.as_str()), (0.5, "a b"));
    }
}
