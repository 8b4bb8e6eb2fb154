//! The contract of every registry: reading, storing and refusing names.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use toml::{Table, Value};
use tweedie::denoise::{Clock, Prediction};
use tweedie::divergence::FDivergence;
use tweedie::family::chains::{AnyPlace, AnyTarget};
use tweedie::family::energy::AnyEnergyObjective;
use tweedie::family::mixture::AnyFit;
use tweedie::game::{AnyGameLoss, AnyMmdKernel, AnyRegulariser};
use tweedie::latent::{AnyPosterior, AnyPriorConfig};
use tweedie::mcmc::AnyKernel;
use tweedie::nn::AnyNetworkConfig;
use tweedie::nn::energy::AnyEnergyConfig;
use tweedie::nn::game::AnyPlayerConfig;
use tweedie::objective::AnyObjective;
use tweedie::process::{AnySchedule, LevelDistribution};
use tweedie::registry::{named_option, read};
use tweedie::solve::{AnyGrid, AnySolver};

type Names = &'static [(&'static str, &'static str)];

/// Calls a generic function with every registry of tables.
macro_rules! every {
    ($check:ident) => {
        $check::<AnySolver>(AnySolver::NAMES);
        $check::<AnyGrid>(AnyGrid::NAMES);
        $check::<AnySchedule>(AnySchedule::NAMES);
        $check::<AnyObjective>(AnyObjective::NAMES);
        $check::<AnyNetworkConfig>(AnyNetworkConfig::NAMES);
        $check::<LevelDistribution>(LevelDistribution::NAMES);
        $check::<AnyMmdKernel>(AnyMmdKernel::NAMES);
        $check::<AnyFit>(AnyFit::NAMES);
        $check::<AnyTarget>(AnyTarget::NAMES);
        $check::<AnyPlace>(AnyPlace::NAMES);
        $check::<FDivergence>(FDivergence::NAMES);
        $check::<AnyGameLoss>(AnyGameLoss::NAMES);
        $check::<AnyRegulariser>(AnyRegulariser::NAMES);
        $check::<AnyKernel>(AnyKernel::NAMES);
        $check::<AnyPlayerConfig>(AnyPlayerConfig::NAMES);
        $check::<AnyPriorConfig>(AnyPriorConfig::NAMES);
        $check::<AnyPosterior>(AnyPosterior::NAMES);
        $check::<AnyEnergyConfig>(AnyEnergyConfig::NAMES);
        $check::<AnyEnergyObjective>(AnyEnergyObjective::NAMES);
    };
}

/// The table of a choice with the numbers that it has no defaults of.
fn table(name: &str) -> Table {
    let text = match name {
        "alpha" => "alpha = 0.5",
        "fixed" => "log_snr = 1.5",
        "run" => "path = \"runs/other\"",
        "log-normal" | "logit-normal" => "mean = -0.5\nsd = 2.0",
        _ => "",
    };
    let mut table: Table = text.parse().unwrap();
    table.insert("name".into(), name.into());
    table
}

fn error<T: DeserializeOwned>(value: impl Into<Value>) -> String {
    let value = value.into();
    match read::<T>(value.clone(), "at") {
        Ok(_) => panic!("{value} is read"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_word_with_options_is_a_table_and_both_are_stored_as_one_with_the_name_first() {
    fn check<T: DeserializeOwned + Serialize + PartialEq + Debug>(names: Names) {
        assert!(names.len() > 1);
        for (name, about) in names {
            assert!(!about.is_empty() && !about.ends_with('.'), "{name}: {about}");
            let table = table(name);
            let own: T = read(Value::Table(table.clone()), "at").unwrap();
            let options = table.iter().filter(|(key, _)| *key != "name");
            let word: Vec<String> =
                options.map(|(key, value)| format!(", {key} = {value}")).collect();
            assert_eq!(named_option::<T>("at", &format!("{name}{}", word.concat())).unwrap(), own);
            let json = serde_json::to_string(&own).unwrap();
            let start = format!("{{\"name\":\"{name}\"");
            assert!(json.starts_with(&start), "{json}");
            assert_eq!(serde_json::from_str::<T>(&json).unwrap(), own, "{json}");
            assert_eq!(read::<T>(&mut serde_json::Deserializer::from_str(&json), "").unwrap(), own);
            let text = toml::to_string(&own).unwrap();
            assert_eq!(toml::from_str::<T>(&text).unwrap(), own, "{text}");
        }
    }
    every!(check);
}

#[test]
fn an_unknown_name_is_refused_where_it_stands_with_the_nearest_one() {
    fn check<T: DeserializeOwned>(names: Names) {
        for (name, _) in names {
            let wrong = format!("{name}x");
            let expected = format!("{wrong}; expected `{name}` perhaps; one of ");
            assert!(error::<T>(wrong.as_str()).starts_with(&format!("at: {expected}")));
            let found = error::<T>(table(&wrong));
            assert!(found.starts_with(&format!("at.name: {expected}")), "{found}");
        }
        let found = error::<T>(Table::new());
        assert_eq!(found, "at.name: missing; expected a value");
        let found = error::<T>(3);
        assert_eq!(found, "at: 3; expected a name, or a table with one");
    }
    every!(check);
}

#[test]
fn an_unknown_option_is_refused_at_its_path_with_the_nearest_one() {
    fn check<T: DeserializeOwned + Serialize>(names: Names) {
        let mut options = 0;
        for (name, _) in names {
            let own: T = read(Value::Table(table(name)), "at").unwrap();
            let stored = Table::try_from(&own).unwrap();
            for key in stored.keys().filter(|key| *key != "name") {
                let mut wrong = table(name);
                wrong.insert(format!("{key}x"), 1.into());
                let expected = format!("at.{key}x: unknown key; expected `{key}` perhaps; one of ");
                let found = error::<T>(wrong);
                assert!(found.starts_with(&expected), "{name}: {found}");
                let mut wrong = table(name);
                wrong.insert(key.clone(), Value::Array(vec![Value::Table(Table::new())]));
                let found = error::<T>(wrong);
                assert!(found.starts_with(&format!("at.{key}")), "{name}: {found}");
                options += 1;
            }
            let mut wrong = table(name);
            wrong.insert("zzzzzzzzzzzz".into(), 1.into());
            let found = error::<T>(wrong);
            assert!(found.starts_with("at.zzzzzzzzzzzz: unknown key; expected "), "{found}");
        }
        assert!(options > 0);
    }
    every!(check);
}

#[test]
fn words_are_stored_as_they_are_written() {
    fn check<T: DeserializeOwned + Serialize + PartialEq + Debug>(names: Names) {
        for (name, _) in names {
            let own: T = read(Value::String(name.to_string()), "at").unwrap();
            assert_eq!(serde_json::to_value(&own).unwrap(), serde_json::json!(name));
            let found = error::<T>(format!("{name}x"));
            let expected = format!("at: {name}x; expected `{name}` perhaps; one of ");
            assert!(found.starts_with(&expected), "{found}");
        }
    }
    check::<Prediction>(Prediction::NAMES);
    check::<Clock>(Clock::NAMES);
}

/// What runs of version 1 hold.
#[test]
fn what_is_stored_stays_as_it_was() {
    fn check<T: DeserializeOwned + Serialize>(texts: &[&str]) {
        for text in texts {
            let own: T = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&own).unwrap(), *text);
        }
    }
    check::<AnySolver>(&[
        r#"{"name":"dpm++2m","eta":0.0}"#,
        r#"{"name":"unipc","order":2,"b":"bh2","of":"data"}"#,
        r#"{"name":"predictor-corrector","predictor":"ancestral","corrector":{"snr":0.16,"steps":1}}"#,
        r#"{"name":"heun"}"#,
        r#"{"name":"edm","churn":0.1,"noise":1.0,"range":[0.05,50.0]}"#,
    ]);
    check::<AnyGrid>(&[
        r#"{"name":"log-snr"}"#,
        r#"{"name":"karras","rho":7.0}"#,
        r#"{"name":"leading","offset":0}"#,
        r#"{"name":"leading","offset":1,"open":true}"#,
    ]);
    check::<AnySchedule>(&[
        r#"{"name":"cosine","lambda_min":-12.0,"lambda_max":12.0,"side":64.0}"#,
        r#"{"name":"sub-vp","beta":{"beta_min":0.1,"beta_max":20.0}}"#,
    ]);
    check::<AnyObjective>(&[
        r#"{"name":"denoising"}"#,
        r#"{"name":"likelihood","steps":16}"#,
        r#"{"name":"bound"}"#,
        r#"{"name":"bound","steps":100}"#,
    ]);
    check::<LevelDistribution>(&[
        r#"{"name":"uniform"}"#,
        r#"{"name":"log-normal","mean":-1.2,"sd":1.2}"#,
    ]);
    let mlp = r#"{"name":"mlp","width":2,"classes":0,"vector":0,"hidden":64,"blocks":2,"activation":"silu"}"#;
    check::<AnyNetworkConfig>(&[mlp]);
}
