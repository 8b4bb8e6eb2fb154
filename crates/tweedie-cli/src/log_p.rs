//! log p of held-out rows: the same rows under every density asked for.

mod judge;

pub use judge::{LogP, in_parts, print, table};

use crate::Settings;
use judge::Judge;
use serde::Serialize;
use tweedie::data::{Dataset, Kind, Space};
use tweedie::density::Decoder;
use tweedie::process::Schedule;
use tweedie::tensor::Divergence;
use tweedie::train::{DequantiserFit, Run};
use tweedie::{Draws, Error, Result};

/// Up to this width the divergence is exact by default.
const MOST_EXACT: usize = 16;

/// Whose log p there is.
const DENSITIES: [&str; 3] = ["ode", "sde", "elbo"];

/// What may be made of integers.
const INTEGERS: [(&str, Integers); 4] = [
    ("decoder", Integers::Decoder),
    ("network-decoder", Integers::NetworkDecoder),
    ("uniform", Integers::Uniform),
    ("variational", Integers::Variational),
];

/// Options of log p.
#[derive(clap::Args)]
pub struct Options {
    /// How many held-out rows get a log p.
    #[arg(long, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    rows: Option<usize>,
    /// Whose log p: of the probability-flow ODE (`ode`), or of the reverse SDE, by weighted paths (`sde`) or by the
    /// variational bound (`elbo`), which are lower bounds. May be repeated, or `all`; `ode` by default.
    #[arg(long)]
    density: Vec<String>,
    /// Paths a row of `sde`, which more of them raise.
    #[arg(long, default_value_t = 1, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    paths: usize,
    /// Probes of the divergence, `exact` for none: exact up to 16 dimensions, else 4, by default. With `elbo` noise levels
    /// a row, 64 by default.
    #[arg(long, allow_negative_numbers = true)]
    probes: Option<String>,
    /// The levels of `elbo`, evenly spaced in time, first and last included, or `continuous`; by default a chain's own, else
    /// continuous time.
    #[arg(long, allow_negative_numbers = true)]
    levels: Option<String>,
    /// How integers become real numbers: `uniform`, or `variational` by a small network fitted to the run first; with `elbo`
    /// `decoder` judges integers as they are, told by the noise of the cleanest level, by default those of a model that was trained
    /// so, and `network-decoder` by the model's mean there, as DDPM does. May be repeated, or `all`.
    #[arg(long)]
    dequantise: Vec<String>,
    /// Steps of fitting `variational`, 500 by default.
    #[arg(long, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    dequantise_steps: Option<u64>,
}

/// One line of the table.
#[derive(Clone, Copy)]
pub struct Line {
    density: &'static str,
    ask: Ask,
    integers: Integers,
}

/// Whose log p, and how it is computed.
#[derive(Clone, Copy)]
enum Ask {
    /// The probability-flow ODE's, with its divergence.
    Ode(Divergence),
    /// The reverse SDE's, by so many paths a row.
    Sde(usize),
    /// Its variational bound, by so many draws a row, in so many steps or in continuous time.
    Elbo { draws: usize, steps: Option<usize> },
}

/// What is made of integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Integers {
    /// There are none.
    None,
    /// They stay integers.
    Decoder,
    /// They stay integers, told by the network.
    NetworkDecoder,
    Uniform,
    Variational,
}

impl Integers {
    /// What tells them, where they stay integers.
    fn decoder(self) -> Option<Decoder> {
        match self {
            Self::Decoder => Some(Decoder::Noise),
            Self::NetworkDecoder => Some(Decoder::Network),
            Self::None | Self::Uniform | Self::Variational => None,
        }
    }
}

/// Fails, naming the option, for a count of 0 or above `most`.
pub fn check_count(option: &str, value: Option<u64>, most: u64) -> Result<()> {
    match value {
        Some(value) if value == 0 || value > most => {
            Err(Error::config(option, value.to_string(), format!("from 1 to {most}")))
        }
        _ => Ok(()),
    }
}

/// The names asked for in the order of `names`, each once; `all` is every one.
fn named<'a>(option: &str, asked: &[String], names: &[&'a str]) -> Result<Vec<&'a str>> {
    let known = |name: &&String| !names.contains(&name.as_str()) && *name != "all";
    if let Some(bad) = asked.iter().find(known) {
        let expected = format!("{}, or all", tweedie::error::one_of(bad, names));
        return Err(Error::config(option, bad, expected));
    }
    let wanted = |name: &&str| asked.iter().any(|asked| asked == name || asked == "all");
    Ok(names.iter().copied().filter(wanted).collect())
}

impl Options {
    /// A density of so many rows dequantised both ways, by `probes` if not by default.
    pub fn dequantised(density: &str, probes: Option<usize>, rows: usize) -> Self {
        Self {
            rows: Some(rows),
            density: vec![density.into()],
            paths: 4,
            probes: probes.map(|probes| probes.to_string()),
            levels: None,
            dequantise: ["uniform", "variational"].map(String::from).to_vec(),
            dequantise_steps: None,
        }
    }

    /// The densities asked for.
    fn densities(&self) -> Result<Vec<&'static str>> {
        let found = named("--density", &self.density, &DENSITIES)?;
        Ok(if found.is_empty() { vec!["ode"] } else { found })
    }

    /// Fails for options that make no sense for any run.
    pub fn check(&self) -> Result<()> {
        let densities = self.densities()?;
        check_count("--paths", Some(self.paths as u64), 100_000)?;
        check_count("--rows", self.rows.map(|n| n as u64), 1 << 30)?;
        check_count("--dequantise-steps", self.dequantise_steps, 1_000_000)?;
        if self.levels.is_some() && !densities.contains(&"elbo") {
            return Err(Error::config("--levels", "given without `elbo`", "--density elbo"));
        }
        let ways = named("--dequantise", &self.dequantise, &INTEGERS.map(|(name, _)| name))?;
        if self.dequantise_steps.is_some() && !ways.contains(&"variational") {
            let problem = "given without `variational`";
            return Err(Error::config("--dequantise-steps", problem, "--dequantise variational"));
        }
        Ok(())
    }

    /// What is to be computed for a run.
    pub fn lines(&self, run: &Run) -> Result<Vec<Line>> {
        let (space, densities) = (&run.info.space, self.densities()?);
        let probes = self.probes.as_deref();
        let mut lines = Vec::new();
        for &density in &densities {
            let ask = match density {
                "sde" => Ask::Sde(self.paths),
                "elbo" => {
                    // `exact` is the ODE's where both are asked for.
                    let own = probes.filter(|p| *p != "exact" || !densities.contains(&"ode"));
                    Ask::Elbo { draws: draws(own)?, steps: self.steps(&*run.schedule()?)? }
                }
                _ => Ask::Ode(divergence(probes, space)?),
            };
            let ways = self.integers(density, run)?;
            lines.extend(ways.into_iter().map(|integers| Line { density, ask, integers }));
        }
        Ok(lines)
    }

    /// The steps of the discrete bound; none in continuous time.
    fn steps(&self, schedule: &dyn Schedule) -> Result<Option<usize>> {
        match self.levels.as_deref() {
            None => Ok(schedule.chain_len().map(|levels| levels - 1)),
            Some("continuous") => Ok(None),
            Some(text) => {
                let levels = text.parse().ok().filter(|l| (2..=1_000_000).contains(l));
                let expected = "`continuous` or a number from 2 to 1000000";
                let levels: usize =
                    levels.ok_or_else(|| Error::config("--levels", text, expected))?;
                Ok(Some(levels - 1))
            }
        }
    }

    /// What a density makes of the integers of a run.
    fn integers(&self, density: &str, run: &Run) -> Result<Vec<Integers>> {
        let space = &run.info.space;
        let quantised = (0..space.width()).any(|j| space.coordinate(j).is_quantised());
        let decodes = density == "elbo" && is_integer(space);
        let names = INTEGERS.map(|(name, _)| name);
        let asked = named("--dequantise", &self.dequantise, &names)?;
        if asked.is_empty() {
            return Ok(vec![match (quantised, decodes) {
                (false, _) => Integers::None,
                // A model of spread integers knows nothing of their places.
                (true, true) if !run.info.recipe.training.dequantise => Integers::Decoder,
                (true, _) => Integers::Uniform,
            }]);
        }
        let refuse =
            |problem: &str, expected: &str| Error::config("--dequantise", problem, expected);
        if !quantised {
            return Err(refuse("no column holds integers", "a run on integers"));
        }
        if run.info.recipe.model.energy && asked.contains(&"variational") {
            let expected = "uniform: an energy's denoiser has no derivative to fit by";
            return Err(refuse("variational", expected));
        }
        let there = |(name, way): (&str, Integers)| {
            (asked.contains(&name) && (way.decoder().is_none() || decodes)).then_some(way)
        };
        let ways: Vec<Integers> = INTEGERS.into_iter().filter_map(there).collect();
        if ways.is_empty() {
            let expected = "uniform or variational: only `elbo` has one, for integers with limits";
            return Err(refuse(&format!("{} with {density}", asked.join(", ")), expected));
        }
        Ok(ways)
    }

    /// log p of held-out rows for each line; nothing where there is no density.
    pub fn measure(
        &self,
        lines: &[Line],
        run: &Run,
        data: &Dataset,
        seed: u64,
        settings: &Settings,
    ) -> Result<Vec<LogP>> {
        let space = &run.info.space;
        let category = |j: &usize| matches!(space.coordinate(*j).kind, Kind::Category { .. });
        let none = match (0..space.width()).find(category) {
            _ if lines.is_empty() => return Ok(Vec::new()),
            Some(j) => {
                let name = space.column_name(j);
                Some(format!("column {name} is categorical, and its relaxation has no density"))
            }
            None => data.held_out.is_empty().then(|| "there are no held-out rows".into()),
        };
        if let Some(why) = none {
            eprintln!("no log p: {why}");
            return Ok(Vec::new());
        }
        let wanted = self.rows.unwrap_or(run.info.recipe.evaluation.log_p_rows);
        let rows: Vec<usize> = (0..data.held_out.len().min(wanted)).collect();
        let mut judge = Judge {
            run,
            held_out: data.held_out.select(&rows),
            denoiser: run.denoiser(&settings.device)?,
            schedule: run.schedule()?,
            draws: Draws::new(seed).purpose("log p"),
            dequantiser: None,
            settings,
        };
        if lines.iter().any(|line| line.integers == Integers::Variational) {
            let steps = self.dequantise_steps.unwrap_or(DequantiserFit::default().steps);
            let fit = DequantiserFit { steps, seed, ..DequantiserFit::default() };
            judge.dequantiser = Some(judge.fit(&data.train, fit)?);
        }
        let truth = judge.known_density(data);
        lines.iter().map(|line| judge.line(line, truth.as_ref())).collect()
    }
}

/// How many noise levels the variational bound draws for a row.
fn draws(probes: Option<&str>) -> Result<usize> {
    let Some(text) = probes else { return Ok(64) };
    let found = text.parse().ok().filter(|levels| (1..=1_000_000).contains(levels));
    found.ok_or_else(|| Error::config("--probes", text, "a number from 1 to 1000000"))
}

/// How the divergence is computed.
fn divergence(probes: Option<&str>, space: &Space) -> Result<Divergence> {
    match probes {
        Some("exact") => Ok(Divergence::Exact),
        Some(text) => {
            let probes = text.parse().ok().filter(|p| (1..=10_000).contains(p));
            let wrong = || Error::config("--probes", text, "`exact` or a number from 1 to 10000");
            Ok(Divergence::hutchinson(probes.ok_or_else(wrong)?))
        }
        None if space.model_width() <= MOST_EXACT => Ok(Divergence::Exact),
        None => Ok(Divergence::hutchinson(4)),
    }
}

impl Line {
    /// How it is computed, in words.
    fn how(&self) -> String {
        let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        match self.ask {
            Ask::Ode(Divergence::Exact) => "exact divergence".into(),
            Ask::Ode(Divergence::Hutchinson { probes, .. }) => plural(probes, "probe"),
            Ask::Sde(paths) => plural(paths, "path"),
            Ask::Elbo { draws, steps: None } => {
                format!("{}, continuous time", plural(draws, "draw"))
            }
            Ask::Elbo { draws, steps: Some(steps) } => {
                format!("{} of {} levels", plural(draws, "draw"), steps + 1)
            }
        }
    }
}

/// Whether every column holds integers between two limits.
fn is_integer(space: &Space) -> bool {
    let limited = |kind: &Kind| matches!(kind, Kind::Quantised { low: Some(_), high: Some(_) });
    (0..space.width()).all(|j| limited(&space.coordinate(j).kind))
}
