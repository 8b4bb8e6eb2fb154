//! Lower bounds of log p of MNIST's test pictures by latent-variable models, beside published ones.

use super::{Asked, Figure, Measured, Options, for_machines, make_for, table};
use crate::{Settings, log_p};
use serde::{Deserialize, Serialize};
use tweedie::Result;
use tweedie::data::Part;
use tweedie::draw::{Plot, save_png};
use tweedie::judge::LogP;
use tweedie::run::Run;
use tweedie::train::curves;

pub const FIGURE: Figure = Figure {
    name: "mnist-bounds",
    what: "bounds of log p of MNIST's test pictures by variational autoencoders, beside published figures",
    models: &["mnist-vae", "mnist-iwae"],
    needs_data: true,
    measure,
};

/// A model, and what was published of its kind.
struct Kind {
    recipe: &'static str,
    what: &'static str,
    published: &'static str,
}

const KINDS: [Kind; 2] = [
    Kind {
        recipe: "mnist-vae",
        what: "variational autoencoder",
        published: "86.76 (Burda et al. 2016); 87.5 by a reimplementation",
    },
    Kind {
        recipe: "mnist-iwae",
        what: "importance-weighted, k = 50, from the weights of the first",
        published: "84.78 (Burda et al. 2016); 84.6 by a reimplementation; MIWAE 84.97, PIWAE 84.46, CIWAE 84.57 \
                    (Rainforth et al. 2018)",
    },
];

/// The numbers of draws of each picture.
const DRAWS: [usize; 4] = [1, 5, 50, 5000];

/// What was measured of a run.
#[derive(Serialize, Deserialize)]
struct Found {
    run: String,
    /// The steps of training.
    steps: u64,
    /// Minutes of all cores together; none where they were not measured.
    cpu_minutes: Option<f64>,
    /// The bound by each number of draws.
    bounds: Vec<LogP>,
    /// −log p of validation pictures by the bound of training, in nats: steps and values.
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
            name: "bounds",
            options: format!("{} rows", options.rows),
            settings,
        };
        found.extend(options.kept(FIGURE.name, asked, |folder| {
            let run = Run::open(folder)?;
            let (model, data) = (run.model(&settings.device)?, run.data()?.judged_on(Part::Test));
            let mut bounds = Vec::new();
            for draws in DRAWS {
                let asked = log_p::Options::by_draws("importance", draws, options.rows).asked(None);
                let lines = asked.lines(&*model)?;
                bounds.extend(settings.with(0, |at| asked.measure(&lines, &*model, &data, at))?);
            }
            let cost = run.cost()?;
            let entries = curves::read(run.file("curves.jsonl"))?;
            let validation = entries.into_iter().filter_map(|(step, values)| {
                let (_, log_p) = values.into_iter().find(|(name, _)| name == "held_out/log_p")?;
                Some((step as f64, -log_p))
            });
            Ok(Found {
                run: kind.recipe.into(),
                steps: run.info.recipe.training.steps,
                cpu_minutes: cost.and_then(|cost| cost.cpu_seconds).map(|seconds| seconds / 60.0),
                bounds,
                validation: validation.collect(),
            })
        })?);
    }
    if !options.only.is_empty() {
        return Ok(None);
    }
    let text = page(&found, options)?;
    Ok(Some((text, for_machines(&Results { models: found })?)))
}

/// The page in Markdown; writes its plot beside it.
fn page(found: &[Found], options: &Options) -> Result<String> {
    let (rows, file) = (options.rows, "mnist-bounds.png");
    let mut plot = Plot::new("Validation pictures during training")
        .x_name("step")
        .y_name("the bound of training, nats a picture");
    let (mut lines, mut models) = (Vec::new(), Vec::new());
    for kind in &KINDS {
        for of in found.iter().filter(|of| of.run == kind.recipe) {
            plot = plot.line(kind.recipe, &of.validation);
            let each =
                of.bounds.iter().map(|own| format!("{:.2} ± {:.2}", -own.mean, own.standard_error));
            let minutes = of.cpu_minutes.map_or(String::new(), |minutes| format!("{minutes:.0}"));
            let head = [kind.recipe.to_string(), of.steps.to_string(), minutes];
            lines.push(head.into_iter().chain(each).collect());
            models.push([kind.recipe, kind.what, kind.published].map(String::from).to_vec());
        }
    }
    let image = options.beside(FIGURE.name, "images").join(file);
    make_for(&image)?;
    save_png(&plot.draw()?, &image)?;
    let draws = DRAWS.map(|draws| format!("E, {draws} draw{}", if draws == 1 { "" } else { "s" }));
    let headings = ["recipe", "steps", "minutes of a core"].map(String::from);
    let headings: Vec<&str> = headings.iter().chain(&draws).map(String::as_str).collect();
    Ok(format!(
        "# Bounds on MNIST\n\nWritten by `tweedie reproduce mnist-bounds --data FOLDER --rows {rows}`.\n\nTwo layers \
         of 200 tanh units in encoder and decoder and 50 latent dimensions, on pixels drawn as zeros and ones with \
         their grey as probability: training pictures anew at each showing, test pictures once, by a fixed seed. Batches \
         have 20 pictures, and weights are chosen by validation pictures. Published figures of these networks are of \
         3,280 epochs, which are 9.8 million such steps, and of all 60,000 training pictures (here 55,000).\n\nE is −log p \
         of a test picture in nats by importance sampling, an upper bound that falls with the number of draws; ± is one \
         standard error of the mean over the pictures.\n\n{}\n{}\n\
         ![Validation pictures during training](images/{file})\n",
        table(&headings, &lines),
        table(&["recipe", "model", "published, 5,000 draws"], &models),
    ))
}
