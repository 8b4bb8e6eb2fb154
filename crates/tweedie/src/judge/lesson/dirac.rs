//! The Dirac game: which training methods of a generator and a critic converge (*Introduction to generative modeling*,
//! sec. 2.5.3; Mescheder, Geiger & Nowozin 2018, *Which training methods for GANs do actually converge?*).
//!
//! The paths are by the same losses, penalties and derivatives as every game is trained with; the multipliers of theory
//! are the eigenvalues of the discrete steps near (0, 0), see [`Dirac`].

use super::{Lesson, for_machines, table};
use crate::Result;
use crate::draw::{Plot, panels};
use crate::game::{AnyGameLoss, AnyRegulariser, Dirac};
use image::RgbImage;
use serde::Serialize;

/// The step size h, and the distance from (0, 0), of the rates.
const STEP: f64 = 0.05;
const RADIUS: f64 = 1e-2;
/// The number of steps of the rates: fewer where one direction is gone soon.
const STEPS: u64 = 1000;
const FEW: u64 = 60;
/// The start, the step size and the number of steps of the pictures.
const START: [f64; 2] = [1.0, 0.0];
const DRAWN_STEP: f64 = 0.1;
const DRAWN: u64 = 400;
/// Steps after which the games that circle are measured.
const LATE: u64 = 4000;

/// A rate beside that of theory.
#[derive(Debug, Serialize)]
struct Rate {
    method: String,
    /// The factor of one step on the distance from (0, 0), by theory.
    theory: f64,
    found: f64,
    /// The logarithm of `found` over that of `theory`, less one; none where theory has the factor 1.
    error: Option<f64>,
}

/// A game that does not come to rest.
#[derive(Debug, Serialize)]
struct Circle {
    method: String,
    /// The least and the greatest |θ| late in the game.
    theta: [f64; 2],
}

/// All numbers.
#[derive(Debug, Serialize)]
struct Figures {
    rates: Vec<Rate>,
    circles: Vec<Circle>,
}

/// A game with a loss and at most one regulariser, as recipes name them.
fn game(loss: &str, regulariser: Option<&str>, step: f64, alternating: bool) -> Result<Dirac> {
    let regularisers = regulariser.iter().map(|name| AnyRegulariser::parse(name));
    Ok(Dirac {
        loss: AnyGameLoss::parse(loss)?,
        regularisers: regularisers.collect::<Result<_>>()?,
        step,
        alternating,
    })
}

/// The moduli of the eigenvalues of an alternating step with ψ′ = (1 − hγ) ψ − ½ h θ.
fn moduli(h: f64, gamma: f64) -> [f64; 2] {
    let (kept, half) = (1.0 - h * gamma, 0.5 * h);
    let mean = 0.5 * (1.0 - half * half + kept);
    let inside = mean * mean - kept;
    if inside < 0.0 { [kept.sqrt(); 2] } else { [mean + inside.sqrt(), mean - inside.sqrt()] }
}

fn rates() -> Result<Vec<Rate>> {
    let rate = |method: &str, theory: f64, found: f64| {
        let error = (theory != 1.0).then(|| found.ln() / theory.ln() - 1.0);
        Rate { method: method.to_string(), theory, found, error }
    };
    let free =
        |alternating| game("non-saturating", None, STEP, alternating)?.multipliers(RADIUS, STEPS);
    let mut all = vec![
        rate("both at once", (1.0 + 0.25 * STEP * STEP).sqrt(), free(false)?[0]),
        rate("in turn", 1.0, free(true)?[0]),
    ];
    for (name, gamma) in [("r1", 0.4), ("r2", 0.4), ("r1", 1.5), ("r2", 1.5)] {
        let of = format!("{name}, weight = {gamma}");
        let steps = if gamma > 1.0 { FEW } else { STEPS };
        let found = game("non-saturating", Some(&of), STEP, true)?.multipliers(RADIUS, steps)?;
        let theory = moduli(STEP, gamma);
        let name = format!("in turn, R{} with γ = {gamma}", &name[1..]);
        if gamma > 1.0 {
            all.push(rate(&format!("{name}, slow direction"), theory[0], found[0]));
            all.push(rate(&format!("{name}, fast direction"), theory[1], found[1]));
        } else {
            all.push(rate(&name, theory[0], found[0]));
        }
    }
    Ok(all)
}

/// The games that do not come to rest: the name, the loss and the regulariser.
const CIRCLING: [(&str, &str, &str); 2] = [
    ("Wasserstein, weights clipped at 1", "wasserstein", "clipping, limit = 1.0"),
    ("Wasserstein, penalty centred at 1", "wasserstein", "gradient-penalty, weight = 1.0"),
];

fn circles() -> Result<Vec<Circle>> {
    let of = |(name, loss, regulariser): (&str, &str, &str)| {
        let path = game(loss, Some(regulariser), STEP, true)?.path([0.5, 0.01], LATE)?;
        let late = path[path.len() / 2..].iter().map(|point| point[0].abs());
        let ends =
            late.fold([f64::INFINITY, 0.0], |[low, high], theta| [theta.min(low), theta.max(high)]);
        Ok(Circle { method: name.to_string(), theta: ends })
    };
    CIRCLING.into_iter().map(of).collect()
}

/// Six paths from the same start.
fn pictures() -> Result<RgbImage> {
    // Far from rest these losses keep the distance, as near to it.
    let logistic = "saturating";
    let drawn = [
        ("Logistic, both at once", logistic, None, false),
        ("Logistic, in turn", logistic, None, true),
        ("Logistic, R₁ with γ = 0.4", logistic, Some("r1, weight = 0.4"), true),
        ("Logistic, R₁ with γ = 1.5", logistic, Some("r1, weight = 1.5"), true),
        (CIRCLING[0].0, CIRCLING[0].1, Some(CIRCLING[0].2), true),
        (CIRCLING[1].0, CIRCLING[1].1, Some(CIRCLING[1].2), true),
    ];
    let plots = drawn.into_iter().map(|(title, loss, regulariser, alternating)| {
        let path = game(loss, regulariser, DRAWN_STEP, alternating)?.path(START, DRAWN)?;
        let points: Vec<(f64, f64)> = path.iter().map(|[theta, psi]| (*theta, *psi)).collect();
        let plot =
            Plot::new(title).size(760, 640).x_name("θ, the generator").y_name("ψ, the critic");
        Ok(plot.line("path", &points).line("rest", &[(-0.02, 0.0), (0.02, 0.0)]))
    });
    panels(&plots.collect::<Result<Vec<_>>>()?, 3)
}

/// A page on the Dirac game.
///
/// # Errors
/// Errors of drawing.
pub fn dirac() -> Result<Lesson> {
    let figures = Figures { rates: rates()?, circles: circles()? };
    let pictures = vec![("dirac-paths.png".into(), pictures()?)];
    let text = text(&figures);
    Ok(Lesson { text, pictures, figures: for_machines(&figures)? })
}

/// The page in Markdown.
fn text(Figures { rates, circles }: &Figures) -> String {
    let rate = |rate: &Rate| {
        vec![
            rate.method.clone(),
            format!("{:.7}", rate.theory),
            format!("{:.7}", rate.found),
            rate.error.map_or(String::new(), |e| format!("{:+.2} %", 100.0 * e).replace('-', "−")),
        ]
    };
    let circle = |circle: &Circle| {
        vec![
            circle.method.clone(),
            format!("{:.3}", circle.theta[0]),
            format!("{:.3}", circle.theta[1]),
        ]
    };
    let headings = ["steps", "factor by theory", "factor found", "error of its logarithm"];
    let rates = table(&headings, &rates.iter().map(rate).collect::<Vec<_>>());
    let headings = ["game", "least ∣θ∣", "greatest ∣θ∣"];
    let circles = table(&headings, &circles.iter().map(circle).collect::<Vec<_>>());
    format!(
        "# The smallest game\n\nWritten by `tweedie reproduce dirac`, in seconds and without data. The data are at 0, \
         the generator's only row is at θ, and the critic is D(x) = ψ x. The one point at which neither player wants \
         to move is (0, 0). The paths are by the same losses, penalties and derivatives as every game is trained \
         with.\n\n![Paths of six games from the same start](images/dirac-paths.png)\n\n## Without a penalty\n\nEach \
         player's best answer makes the other one move on: the critic points to the data, the generator overshoots \
         them, and the critic turns round. With small steps the players circle. If both step at once from the same \
         point, each step of size h is along the tangent of the circle, and the distance from (0, 0) grows by √(1 + \
         h²/4). If the generator answers the critic's new ψ, the distance stays. So a game is no descent: no loss \
         falls, and more training makes nothing better. The text says that training is unstable; precisely, it is \
         at the edge of stability, and which side of it depends on the order of the steps. (Here the generator \
         descends the negative of the critic's loss. By the logistic loss of the other label it comes nearer while it \
         is far away, and circles in the end as well.)\n\n## Zero-centred \
         penalties\n\nR₁ = ½ γ ‖∇D‖² at the data, and R₂ at the generator's row, pull ψ to 0, as friction does. Both \
         are the same here, since D has the slope ψ everywhere. For small steps the distance shrinks at the rates −γ/2 \
         ± √(γ²/4 − ¼): up to γ = 1 the players spiral, beyond it the slow direction is slower again. Factors of one \
         step of size {STEP} on the distance from (0, 0), at {RADIUS}:\n\n{rates}\n## What does not come to \
         rest\n\nClipped weights and penalties centred at 1 bound the slope of the critic and leave \
         ψ = 0, the slope that it must have once the generator is right, without any pull, or push it away. After \
         {LATE} steps from θ = 0.5 the generator still moves, in the second half of the game \
         between:\n\n{circles}\nOn other data the same methods do work, with small steps, averaged generators and \
         critics that are trained for longer: see [games on eight Gaussians](games.md).\n"
    )
}
