//! Exact densities of MNIST's test pictures, beside published ones.

use super::{Asked, Figure, Measured, Options, for_machines, make_for, table};
use crate::{Settings, log_p};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use tweedie::Result;
use tweedie::data::{Part, Space};
use tweedie::draw::{Plot, save_png};
use tweedie::judge::LogP;
use tweedie::run::Run;
use tweedie::train::curves;

pub const FIGURE: Figure = Figure {
    name: "mnist-densities",
    what: "log p of MNIST's test pictures under autoregressive models and flows, beside published figures",
    models: &[
        "mnist-made",
        "mnist-pixelcnn",
        "mnist-pixelcnn-grey",
        "mnist-made-gaussians",
        "mnist-maf",
        "mnist-glow",
    ],
    needs_data: true,
    measure,
};

/// A model, and what was published of its kind.
struct Kind {
    recipe: &'static str,
    what: &'static str,
    /// Whether pixels are zeros and ones, and not 256 levels.
    binary: bool,
    /// The noise by which a density judges integers; none where there are probabilities.
    noise: &'static [&'static str],
    published: &'static str,
}

/// The noise of a flow.
const NOISE: &[&str] = &["uniform", "variational"];

const KINDS: [Kind; 6] = [
    Kind {
        recipe: "mnist-made",
        what: "MADE",
        binary: true,
        noise: &[],
        published: "84.87, 8,000 units, 85 epochs (pytorch-generative)",
    },
    Kind {
        recipe: "mnist-pixelcnn",
        what: "gated PixelCNN",
        binary: true,
        noise: &[],
        published: "81.50, 10 layers of 128 channels (pytorch-generative)",
    },
    Kind {
        recipe: "mnist-pixelcnn-grey",
        what: "gated PixelCNN",
        binary: false,
        noise: &[],
        published: "0.81 after 150 epochs, 852,160 parameters (uvadlc notebooks)",
    },
    Kind {
        recipe: "mnist-made-gaussians",
        what: "MADE with ten Gaussians",
        binary: false,
        noise: NOISE,
        published: "1.41 (Papamakarios et al. 2017, converted)",
    },
    Kind {
        recipe: "mnist-maf",
        what: "masked autoregressive flow",
        binary: false,
        noise: NOISE,
        published: "1.89, the same five layers (Papamakarios et al. 2017, converted)",
    },
    Kind {
        recipe: "mnist-glow",
        what: "multi-scale flow of convolutions",
        binary: false,
        noise: NOISE,
        published: "1.05 (Kingma & Dhariwal 2018); 1.02 after 200 epochs (uvadlc notebooks, 1.7 million parameters)",
    },
];

/// What was measured of a run.
#[derive(Serialize, Deserialize)]
struct Found {
    run: String,
    /// The steps of training.
    steps: u64,
    /// Minutes of training, by the clock; none where they were not measured.
    minutes: Option<f64>,
    /// Minutes of all cores together; none where they were not measured.
    cpu_minutes: Option<f64>,
    log_p: Vec<LogP>,
    /// What was found on validation rows in training, in the unit of the table: steps and values.
    validation: Vec<(f64, f64)>,
}

/// All results.
#[derive(Serialize)]
struct Results {
    models: Vec<Found>,
}

fn measure(options: &Options, settings: &Settings) -> Result<Option<Measured>> {
    let mut found = Vec::new();
    for kind in &KINDS {
        let asked = Asked {
            recipe: kind.recipe,
            name: "log-p",
            options: format!("{} rows", options.rows),
            settings,
        };
        found.extend(options.kept(FIGURE.name, asked, |folder| {
            let run = Run::open(folder)?;
            let model = run.model(&settings.device)?;
            let asked = log_p::Options::of_integers(kind.noise, options.rows).asked(None);
            let lines = asked.lines(&*model)?;
            let data = run.data()?.judged_on(Part::Test);
            let validation = validation(&run, kind, &data.space)?;
            let log_p = settings.with(0, |at| asked.measure(&lines, &*model, &data, at))?;
            let cost = run.cost()?;
            Ok(Found {
                run: kind.recipe.into(),
                steps: run.info.recipe.training.steps,
                minutes: cost.map(|cost| cost.seconds / 60.0),
                cpu_minutes: cost.and_then(|cost| cost.cpu_seconds).map(|seconds| seconds / 60.0),
                log_p,
                validation,
            })
        })?);
    }
    if !options.only.is_empty() {
        return Ok(None);
    }
    let text = page(&found, options)?;
    Ok(Some((text, for_machines(&Results { models: found })?)))
}

/// The curve of a run's validation rows: −log p in nats of zeros and ones, else in bits per dimension.
fn validation(run: &Run, kind: &Kind, space: &Space) -> Result<Vec<(f64, f64)>> {
    let entries = curves::read(run.file("curves.jsonl"))?;
    let found = entries.into_iter().filter_map(|(step, values)| {
        let (_, log_p) = values.into_iter().find(|(name, _)| name == "held_out/log_p")?;
        let bits = || space.bits_per_dimension(log_p);
        Some((step as f64, if kind.binary { -log_p } else { bits()? }))
    });
    Ok(found.collect())
}

/// The page in Markdown; writes its plots beside it.
fn page(found: &[Found], options: &Options) -> Result<String> {
    let (rows, images) = (options.rows, options.beside(FIGURE.name, "images"));
    let mut text = format!(
        "# Exact densities on MNIST\n\nWritten by `tweedie reproduce mnist-densities --data FOLDER --rows {rows}`. \
         Small models, each trained for minutes on two cores, without labels, and chosen by validation rows; \
         the published figures beside them took 50 to 460 epochs. Values are ± one standard error of the mean over \
         the test pictures.\n"
    );
    for (binary, heading, unit, file) in [
        (
            true,
            "## Zeros and ones\n\nPixels are drawn as zeros and ones with their grey as probability: training pictures \
             anew at each showing, test pictures once, by a fixed seed. Figures are exact, and hold for this dynamic \
             binarisation alone: models trained on one fixed draw of the training pictures are worse by about 2 nats.",
            "−log p, nats a picture",
            "mnist-densities-binary.png",
        ),
        (
            false,
            "## 256 levels\n\nAn autoregressive model has exact probabilities of the levels. A flow's density is of \
             pixels with noise: with uniform noise, or with noise that a small network has learnt for the bound, its \
             mean is a lower bound of log p of the integers, so that its figures are upper bounds. They are bits per \
             dimension of the integers, whatever a flow's layers make of them: those of a model behind a logit count \
             its log-determinant.",
            "bits per dimension",
            "mnist-densities-levels.png",
        ),
    ] {
        let mut lines = Vec::new();
        let mut plot = Plot::new("Validation pictures during training").x_name("step").y_name(unit);
        for kind in KINDS.iter().filter(|kind| kind.binary == binary) {
            for of in found.iter().filter(|of| of.run == kind.recipe) {
                let minutes = match (of.cpu_minutes, of.minutes) {
                    (Some(minutes), _) => format!("{minutes:.0}"),
                    (None, Some(minutes)) => format!("{minutes:.0} by the clock"),
                    (None, None) => String::new(),
                };
                plot = plot.line(kind.recipe, &of.validation);
                lines.extend(of.log_p.iter().map(|log_p| {
                    let figure = match (binary, log_p.bits_per_dimension) {
                        (false, Some(bits)) => {
                            let error = log_p.bits_per_dimension_error.unwrap_or(f64::NAN);
                            format!("{bits:.3} ± {error:.3}")
                        }
                        _ => format!("{:.2} ± {:.2}", -log_p.mean, log_p.standard_error),
                    };
                    let noise = if kind.noise.is_empty() { "none" } else { log_p.integers.name() };
                    [
                        kind.what,
                        kind.recipe,
                        &of.steps.to_string(),
                        &minutes,
                        noise,
                        &figure,
                        kind.published,
                    ]
                    .map(String::from)
                    .to_vec()
                }));
            }
        }
        let headings =
            ["model", "recipe", "steps", "minutes of a core", "noise", unit, "published"];
        make_for(&images.join(file))?;
        save_png(&plot.draw()?, images.join(file))?;
        let table = table(&headings, &lines);
        let _ = writeln!(
            text,
            "\n{heading}\n\n{table}\n![Validation pictures during training](images/{file})"
        );
    }
    Ok(text)
}
