//! Critics of finite samples (*An Introduction to Generative Modeling with Flows and Diffusion Models*, sec. 2.5.3,
//! figure 2.9).
//!
//! Data and generator are both N(0, 1) on the line, so that every distance between them is 0 and the best critic is
//! constant. Two samples of n rows have no value in common: the Jensen–Shannon divergence between the samples is ln 2,
//! whatever n, and an unregularised critic approaches it with slopes that grow without limit. Losses and penalties are
//! those of [`game`](crate::game).
//!
//! In a game the generator is G(z) = μ + s z, begun at μ = 0, s = 1; from N(0, 1) it is at the Wasserstein-2 distance
//! √(μ² + (s − 1)²).

use super::{Lesson, for_machines, table};
use crate::data::{Condition, Space};
use crate::draw::{Plot, panels};
use crate::game::{Adversary, AdversaryConfig, AnyGameLoss, AnyRegulariser, Round};
use crate::nn::game::{AnyPlayerConfig, Play};
use crate::tensor::{Dual, host_column, leaf, mean_and_error, pull};
use crate::train::{AdamWConfig, LearningRate, Optimiser};
use crate::{Draws, Error, Result};
use burn::tensor::{Device, Tensor};
use serde::Serialize;

/// A way of training: its name, the loss and the regulariser.
type Method = (&'static str, &'static str, Option<&'static str>);

const METHODS: [Method; 5] = [
    ("logistic", "non-saturating", None),
    ("logistic, R₁ with γ = 1", "non-saturating", Some("r1, weight = 1.0")),
    ("logistic, spectral norms of 1", "non-saturating", Some("spectral-norm")),
    ("Wasserstein, slopes drawn to 1", "wasserstein", Some("gradient-penalty, target = 1.0")),
    ("Wasserstein, slopes drawn to 0", "wasserstein", Some("gradient-penalty, target = 0.0")),
];
const NETWORK: &str = "mlp, hidden = [64, 64]";
/// Rows of each side; none for fresh ones in every step.
const ROWS: [Option<u64>; 5] = [Some(16), Some(64), Some(256), Some(4096), None];
/// Steps of a critic alone, its learning rate, the rows of a step of each side, and repetitions.
const STEPS: u64 = 1000;
const RATE: f64 = 1e-2;
const BATCH: u64 = 128;
const SEEDS: u64 = 3;
/// Fresh rows that critics are judged on.
const FRESH: u64 = 20_000;
/// Steps of a game's generator, of its critic for each of them, their sizes, and rows of the data.
const TURNS: u64 = 400;
const ANSWERS: u64 = 5;
const GENERATOR_RATE: f64 = 0.1;
const CRITIC_RATE: f64 = 3e-3;
const OF_GAMES: [Option<u64>; 3] = [Some(16), Some(256), None];
/// The range and the points of pictured critics.
const SEEN: (f64, f64) = (-3.0, 3.0);
const CURVE: usize = 601;

/// What a trained critic says of two equal distributions.
#[derive(Debug, Clone, Serialize)]
struct Judged {
    method: &'static str,
    rows: Option<u64>,
    /// Its estimate of the distance on the rows that it has seen last, and on fresh rows; means over repetitions, with
    /// standard errors.
    own: [f64; 2],
    fresh: [f64; 2],
    /// The root mean square of its slope at fresh rows, and the greatest slope between −3 and 3.
    slope: f64,
    steepest: f64,
    /// The root mean square of the generator's gradient by its shift.
    push: f64,
}

/// A game that begins where it should end.
#[derive(Debug, Clone, Serialize)]
struct Drift {
    method: &'static str,
    rows: Option<u64>,
    /// The distance of the Gaussian of the data's rows themselves.
    sample: Option<f64>,
    /// The root mean square of the distance in the second half, and the greatest one.
    late: f64,
    greatest: f64,
}

/// All numbers.
#[derive(Debug, Serialize)]
struct Figures {
    judged: Vec<Judged>,
    drifts: Vec<Drift>,
}

/// A critic before its first step.
fn adversary((loss, regulariser): (&str, Option<&str>), rate: f64, seed: u64) -> Result<Adversary> {
    let regularisers = regulariser.iter().map(|name| AnyRegulariser::parse(name));
    let config = AdversaryConfig {
        loss: AnyGameLoss::parse(loss)?,
        regularisers: regularisers.collect::<Result<_>>()?,
        network: AnyPlayerConfig::parse(NETWORK)?,
        ..AdversaryConfig::default()
    };
    let adamw = AdamWConfig::default();
    let optimiser = Optimiser { learning_rate: rate, adamw, ema: None, powers: Vec::new() };
    config.init(&Space::vector(&["x"])?, optimiser, &Draws::new(seed), &Device::flex())
}

/// Rows of N(0, 1): `count` of the first `rows`, drawn by `step`, or fresh ones.
fn some(draws: &Draws, rows: Option<u64>, count: u64, step: u64) -> Tensor<2> {
    let all = match rows {
        Some(rows) if rows <= count => (0..rows).collect(),
        Some(rows) => (0..count).map(|i| draws.purpose("rows").below(step, i, rows)).collect(),
        None => (step * count..(step + 1) * count).collect::<Vec<u64>>(),
    };
    draws.purpose("normal").normals_for(&all, 1).to_tensor(&Device::flex())
}

/// A critic trained on rows of two samples of N(0, 1), with these rows, or fresh ones.
fn trained(method: Method, rows: Option<u64>, seed: u64) -> Result<(Adversary, [Tensor<2>; 2])> {
    critic_of_equals(method.1, method.2, rows, STEPS, seed)
}

/// A critic by a loss and a regulariser as recipes name them, trained for `steps` on `rows` of each of two samples of
/// N(0, 1), fresh ones in every step if absent; with these rows, or fresh ones.
///
/// # Errors
/// [`Error::Config`] for names that are none; errors of training.
pub fn critic_of_equals(
    loss: &str,
    regulariser: Option<&str>,
    rows: Option<u64>,
    steps: u64,
    seed: u64,
) -> Result<(Adversary, [Tensor<2>; 2])> {
    let mut critic = adversary((loss, regulariser), RATE, seed)?;
    let sides = ["p", "q"].map(|side| Draws::new(seed).purpose(side));
    for step in 0..steps {
        let [p, q] = sides.map(|draws| some(&draws, rows, BATCH, step));
        let draws = Draws::new(seed).at(step);
        let round = Round { p, q, condition: &Condition::None, draws, step };
        critic.learn(&round, LearningRate::Cosine.factor(step, steps, 10))?;
    }
    Ok((critic, sides.map(|draws| some(&draws, rows, rows.unwrap_or(FRESH), steps))))
}

/// A critic's D and its slope at `x`, `[n, 1]`.
///
/// # Errors
/// [`Error::Undefined`] for losses without a critic; [`Error::Shape`] for rows of another width.
pub fn critic_slopes(critic: &Adversary, x: Tensor<2>) -> Result<[Vec<f64>; 2]> {
    let network = critic.critic().ok_or(Error::undefined("slopes of a critic", "there is none"))?;
    let found = network.forward(Dual::line(x.clone(), x.ones_like()), &Condition::None)?;
    let slope = found.tangent.unwrap_or_else(|| x.zeros_like());
    Ok([host_column(&found.value)?, host_column(&slope)?])
}

/// The gradients of the generator's loss by μ and s of its rows μ + s z.
///
/// # Errors
/// [`Error::Shape`] for rows of another width.
pub fn generator_gradient(
    critic: &Adversary,
    p: &Tensor<2>,
    z: &Tensor<2>,
    [m, s]: [f64; 2],
) -> Result<[f64; 2]> {
    let q = leaf((z.clone() * s + m).autodiff());
    let loss = critic.of_generator(&p.clone().autodiff(), &q, &Condition::None)?;
    let (by_row, z) = (host_column(&pull(&q, loss))?, host_column(z)?);
    Ok([by_row.iter().sum(), by_row.iter().zip(&z).map(|(g, z)| g * z).sum()])
}

fn rms(values: &[f64]) -> f64 {
    (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt()
}

/// Points of the pictures on the line.
fn line() -> Vec<f64> {
    let (low, high) = SEEN;
    (0..CURVE).map(|i| low + (high - low) * i as f64 / (CURVE - 1) as f64).collect()
}

/// Values as rows of one column.
fn column(values: &[f64]) -> Tensor<2> {
    let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
    Tensor::<1>::from_floats(&values[..], &Device::flex()).reshape([-1, 1])
}

/// What critics of a method say that have been trained on some rows.
fn judged(method: Method, rows: Option<u64>) -> Result<Judged> {
    let mut found = [(); 5].map(|()| Vec::new());
    for seed in 0..SEEDS {
        let (critic, [p, q]) = trained(method, rows, seed)?;
        let new = ["p", "q"].map(|side| Draws::new(SEEDS + seed).purpose(side));
        let [new_p, new_q] = new.map(|draws| some(&draws, None, FRESH, 0));
        let [_, at_rows] = critic_slopes(&critic, new_q.clone())?;
        let [_, everywhere] = critic_slopes(&critic, column(&line()))?;
        let each = [
            critic.distance(&p, &q, &Condition::None)?,
            critic.distance(&new_p, &new_q, &Condition::None)?,
            rms(&at_rows),
            everywhere.iter().fold(0.0, |most, slope| slope.abs().max(most)),
            generator_gradient(&critic, &p, &q, [0.0, 1.0])?[0],
        ];
        found.iter_mut().zip(each).for_each(|(all, one)| all.push(one));
    }
    let [own, fresh] = [0, 1].map(|k| {
        let (mean, error) = mean_and_error(&found[k]);
        [mean, error]
    });
    let [slope, push] = [2, 4].map(|k| rms(&found[k]));
    let steepest = found[3].iter().copied().fold(0.0, f64::max);
    Ok(Judged { method: method.0, rows, own, fresh, slope, steepest, push })
}

/// The distance of G from the data after each step of a game from (0, 1).
fn game(method: Method, rows: Option<u64>) -> Result<Vec<f64>> {
    let mut critic = adversary((method.1, method.2), CRITIC_RATE, 0)?;
    let [data, noise] = ["p", "z"].map(|side| Draws::new(0).purpose(side));
    let (mut at, mut path) = ([0.0, 1.0], vec![0.0]);
    for turn in 0..TURNS {
        for answer in 0..ANSWERS {
            let step = turn * ANSWERS + answer;
            let p = some(&data, rows, BATCH, step);
            let count = p.dims()[0] as u64;
            let q = some(&noise, None, count, step) * at[1] + at[0];
            let draws = Draws::new(1).at(step);
            critic.learn(&Round { p, q, condition: &Condition::None, draws, step }, 1.0)?;
        }
        let p = some(&data, rows, BATCH, turn * ANSWERS);
        let z = some(&noise.at(1), None, BATCH, turn);
        let slope = generator_gradient(&critic, &p, &z, at)?;
        at = [0, 1].map(|i| at[i] - GENERATOR_RATE * slope[i]);
        path.push(at[0].hypot(at[1] - 1.0));
    }
    Ok(path)
}

/// A game in numbers, with its path.
fn drift(method: Method, rows: Option<u64>) -> Result<(Drift, Vec<f64>)> {
    let path = game(method, rows)?;
    let own = |rows: u64| {
        let values = host_column(&some(&Draws::new(0).purpose("p"), Some(rows), rows, 0))?;
        let mean = values.iter().sum::<f64>() / rows as f64;
        let deviation = rms(&values.iter().map(|v| v - mean).collect::<Vec<_>>());
        Ok::<f64, Error>(mean.hypot(deviation - 1.0))
    };
    let sample = rows.map(own).transpose()?;
    let late = rms(&path[path.len() / 2..]);
    let greatest = path.iter().copied().fold(0.0, f64::max);
    Ok((Drift { method: method.0, rows, sample, late, greatest }, path))
}

/// A page on critics of finite samples.
///
/// # Errors
/// Errors of training and of drawing.
pub fn finite_samples() -> Result<Lesson> {
    let pairs = || METHODS.into_iter().flat_map(|method| ROWS.map(|rows| (method, rows)));
    let judged = pairs().map(|(method, rows)| judged(method, rows)).collect::<Result<Vec<_>>>()?;
    let games = METHODS.into_iter().flat_map(|method| OF_GAMES.map(|rows| (method, rows)));
    let games = games.map(|(method, rows)| drift(method, rows)).collect::<Result<Vec<_>>>()?;
    let (drifts, paths): (Vec<Drift>, Vec<Vec<f64>>) = games.into_iter().unzip();
    let pictures = vec![
        ("finite-samples-critics.png".into(), critics_picture()?),
        ("finite-samples-rows.png".into(), rows_picture(&judged)?),
        ("finite-samples-drift.png".into(), drift_picture(&paths)?),
    ];
    let figures = Figures { judged, drifts };
    Ok(Lesson { text: text(&figures), pictures, figures: for_machines(&figures)? })
}

/// Figure 2.9, computed: critics over the line, with rows that they have seen.
fn critics_picture() -> Result<image::RgbImage> {
    let drawn = [
        ("Fresh rows, no penalty", METHODS[0], None),
        ("16 rows of each, no penalty", METHODS[0], Some(16)),
        ("16 rows of each, R₁ with γ = 1", METHODS[1], Some(16)),
        ("16 rows of each, spectral norms of 1", METHODS[2], Some(16)),
    ];
    let plots = drawn.into_iter().map(|(title, method, rows)| {
        let (critic, _) = trained(method, rows, 0)?;
        let [height, _] = critic_slopes(&critic, column(&line()))?;
        let curve: Vec<(f64, f64)> = line().into_iter().zip(height).collect();
        let marks = |side: &str, y: f64| {
            let seen = some(&Draws::new(0).purpose(side), Some(16), 16, 0);
            Ok::<_, Error>(host_column(&seen)?.into_iter().map(|x| (x, y)).collect::<Vec<_>>())
        };
        let plot = Plot::new(title).size(1000, 640).x_name("x").y_name("D").x_range(SEEN.0, SEEN.1);
        let plot = plot.y_range(-12.0, 12.0).line("critic", &curve);
        Ok(plot
            .points("rows of the data", &marks("p", 10.5)?)
            .points("generated rows", &marks("q", -10.5)?))
    });
    panels(&plots.collect::<Result<Vec<_>>>()?, 2)
}

/// Numbers of rows, with a place for fresh ones at the right.
fn place(rows: Option<u64>) -> f64 {
    rows.unwrap_or(65_536) as f64
}

/// Estimates and slopes against the number of rows.
fn rows_picture(judged: &[Judged]) -> Result<image::RgbImage> {
    let of = |method: usize, value: &dyn Fn(&Judged) -> f64| -> Vec<(f64, f64)> {
        let own = judged.iter().filter(|judged| judged.method == METHODS[method].0);
        own.map(|judged| (place(judged.rows), value(judged))).collect()
    };
    let js = Plot::new("Jensen–Shannon, truly 0").size(1000, 720).log_x();
    let mut js = js.x_name("rows of each (right: fresh)").y_name("nats").y_range(-0.5, 0.75);
    for (method, (name, ..)) in METHODS.iter().enumerate().take(2) {
        js = js.line(&format!("{name}: own rows"), &of(method, &|judged| judged.own[0]));
        js = js.line(&format!("{name}: fresh rows"), &of(method, &|judged| judged.fresh[0]));
    }
    let mut slope = Plot::new("Greatest slope of the critic").size(1000, 720).log_x().log_y();
    slope = slope.x_name("rows of each (right: fresh)").y_name("∣D′∣");
    for (method, (name, ..)) in METHODS.iter().enumerate() {
        slope = slope.line(name, &of(method, &|judged| judged.steepest));
    }
    panels(&[js, slope], 2)
}

/// The distance of the generator against its steps.
fn drift_picture(paths: &[Vec<f64>]) -> Result<image::RgbImage> {
    let plots = METHODS.iter().zip(paths.chunks(OF_GAMES.len())).map(|((name, ..), paths)| {
        let mut plot = Plot::new(name).size(820, 640).x_name("step of the generator");
        plot = plot.y_name("W₂ to the data").log_y().y_range(1e-3, 30.0);
        for (rows, path) in OF_GAMES.iter().zip(paths) {
            let line: Vec<(f64, f64)> =
                path.iter().enumerate().skip(1).map(|(k, d)| (k as f64, *d)).collect();
            plot = plot.line(&name_of(*rows), &line);
        }
        plot
    });
    panels(&plots.collect::<Vec<_>>(), 3)
}

/// A number of rows in words.
fn name_of(rows: Option<u64>) -> String {
    rows.map_or("fresh rows".into(), |rows| format!("{rows} rows"))
}

/// The page in Markdown.
fn text(Figures { judged, drifts }: &Figures) -> String {
    let judge = |judged: &Judged| {
        let pair = |[mean, error]: [f64; 2]| format!("{mean:.3} ± {error:.3}").replace('-', "−");
        vec![
            judged.method.to_string(),
            name_of(judged.rows),
            pair(judged.own),
            pair(judged.fresh),
            format!("{:.2}", judged.slope),
            format!("{:.2}", judged.steepest),
            format!("{:.3}", judged.push),
        ]
    };
    let drift = |drift: &Drift| {
        vec![
            drift.method.to_string(),
            name_of(drift.rows),
            drift.sample.map_or("0".into(), |own| format!("{own:.3}")),
            format!("{:.3}", drift.late),
            format!("{:.3}", drift.greatest),
        ]
    };
    let headings =
        ["critic", "rows of each", "own rows", "fresh rows", "slope", "greatest slope", "push"];
    let judged_table = table(&headings, &judged.iter().map(judge).collect::<Vec<_>>());
    let headings = ["game", "data", "distance of the rows", "late distance", "greatest distance"];
    let drifts_table = table(&headings, &drifts.iter().map(drift).collect::<Vec<_>>());
    // In the order of METHODS and of ROWS, or of OF_GAMES.
    let critic = |method: usize, rows: usize| &judged[method * ROWS.len() + rows];
    let game = |method: usize, rows: usize| &drifts[method * OF_GAMES.len() + rows];
    let (free, last) = (critic(0, 0), ROWS.len() - 1);
    let most =
        |method: usize| (0..=last).map(|rows| critic(method, rows).steepest).fold(0.0, f64::max);
    format!(
        "# Critics of two equal distributions\n\nWritten by `tweedie reproduce finite-samples`, in a few minutes and \
         without data. The data are N(0, 1) on the line, and so is the generator: every distance is 0, and the best \
         critic is 0 everywhere. Here is what critics of n rows of each say (figure 2.9).\n\n![Critics over the line, \
         with the rows that they have seen](images/finite-samples-critics.png)\n\nAll are perceptrons of two layers \
         of 64, after {STEPS} steps of up to {BATCH} rows; with fresh rows no row is seen twice. *Own rows* and \
         *fresh rows* are the critic's estimate of the distance (Jensen–Shannon; W₁ with the Wasserstein loss) on the \
         rows that it was trained on, and on {FRESH} others; *slope* is the root mean square of D′ under N(0, 1), \
         *greatest slope* that between −3 and 3, and *push* the root mean square of the derivative of the generator's \
         loss by a shift of its rows. Over {SEEDS} repetitions:\n\n{judged_table}\n![Estimates and slopes against the \
         number of rows](images/finite-samples-rows.png)\n\nWhat the text says holds: without a penalty the critic of \
         16 rows builds walls between them, says {:.2} where the truth is 0, and pushes the generator with {:.0}. \
         Other rows expose it: its estimate on them is below 0, as no distance is.\n\n## Games that begin where they \
         should end\n\nThe generator is μ + s z, begun at μ = 0, s = 1. It takes {TURNS} gradient steps of size \
         {GENERATOR_RATE} on fresh z, with {ANSWERS} steps of the critic before each; the data are n rows, or fresh \
         ones. Distances are W₂ to N(0, 1); the first is that of the Gaussian with the rows' own mean and deviation, \
         *late* is the root mean square over the second half.\n\n![Distance against \
         steps](images/finite-samples-drift.png)\n\n{drifts_table}\n## Where the text is wrong, or says too much\n\n- \
         *\"With infinite data, the adversarial game converges.\"* Fresh rows are not enough. The game with slopes \
         drawn to 1 has them, begins at the solution, and leaves it for {:.1}; and [the smallest game](dirac.md), in \
         which everything is known of the data, circles for ever.\n- *Penalties and norms \"enforce this \
         constraint\"* of slope 1. A penalty that draws slopes to 1 does so between the rows, and leaves slopes up to \
         {:.2}. Spectral norms bound each layer, but SiLU itself rises by up to 1.0998, so that two layers of it \
         allow 1.21, of which {:.2} is used. R₁ sees the rows of the data alone, and leaves slopes up to {:.0} \
         between them.\n- *They \"achieve more stable training dynamics\"*: all but one do. Where both distributions \
         are equal, the penalty that draws slopes to 1 keeps the generator's push at {:.2}, with fresh rows as with \
         few. On the line a slope has to pass 0 to change its sign, which that penalty makes costly: its critics' \
         estimates on their own rows are even below 0, as those of the best critic never are. With slopes drawn to 0 \
         the push is {:.3}, and the game with fresh rows stays within {:.3}.\n- *\"A sufficiently expressive \
         discriminator.\"* Two samples without a common value are ln 2 apart, whatever n, so that the best critic of \
         all is as wrong for any finite n. What n changes is how much capacity and how many steps that takes: this \
         network, in these steps, comes to {:.3} for 16 rows of each, to {:.3} for 256.\n- *Overshooting, \
         oscillation, divergence* come with few rows and no penalty: up to {:.2} with 16. With 256 the game without \
         any penalty stays within {:.2}.\n- *Stable is not right.* With R₁ or spectral norms the generator comes to \
         rest near the Gaussian of the rows, not of the data: at {:.3} and {:.3} with 16 rows, which are {:.3} away \
         themselves. No penalty makes up for rows that are not there.\n",
        free.own[0],
        free.push,
        game(3, 2).greatest,
        most(3),
        most(2),
        most(1),
        critic(3, last).push,
        critic(4, last).push,
        game(4, 2).greatest,
        free.own[0],
        critic(0, 2).own[0],
        game(0, 0).greatest,
        game(0, 1).greatest,
        game(1, 0).late,
        game(2, 0).late,
        game(1, 0).sample.unwrap_or(0.0),
    )
}
