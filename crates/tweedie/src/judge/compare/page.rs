//! The page of a comparison.

use super::{ComparisonResult, Point, STEPS, plane};
use crate::Result;
use crate::data::{Dataset, Rows};
use crate::draw::{Plot, Report, in_the_plane, panels, picture, png_bytes, side_by_side};
use crate::family::plane::Window;
use image::RgbImage;

/// Panels of densities beside each other.
const BESIDE: usize = 3;
/// The width of a density in pixels, without its axes, approximately.
const DENSITY: f64 = 520.0;

/// A page with tables of models, of their differences and of samples, pictures, and what the numbers say.
///
/// # Errors
/// Errors of drawing.
pub fn page(compared: &ComparisonResult, data: &Dataset) -> Result<Report> {
    let mut report = Report::new(&format!("tweedie: runs on {}", data.name));
    let rows = compared.part.map_or("exact draws".into(), |part| format!("{} rows", part.name()));
    report.paragraph(&format!(
        "{} runs, judged by the same {} {rows} of {}, on which none of them was trained.",
        compared.runs.len(),
        data.held_out.len(),
        data.name,
    ));
    models(&mut report, compared)?;
    if let Some(drawn) = densities(compared, data)? {
        report.heading("Densities");
        report.picture(&png_bytes(&drawn)?, OF_DENSITIES)?;
    }
    samples(&mut report, compared, data)?;
    report.heading("What these numbers say");
    for (title, text) in compared.words() {
        report.paragraph(&format!("{title}. {text}"));
    }
    Ok(report)
}

/// The tables of models and of their differences.
fn models(report: &mut Report, compared: &ComparisonResult) -> Result<()> {
    report.heading("Models");
    table(report, compared.models())?;
    let Some(lines) = compared.log_p_differences() else { return Ok(()) };
    let rows = compared.runs.iter().find_map(|run| Some(run.log_p.as_ref()?.rows)).unwrap_or(0);
    report.heading("Differences of log p");
    report.paragraph(&format!(
        "Of the run of a line less the run of a column, in nats a row, over the same {rows} rows; ± is one standard \
         error of the paired difference. A positive number is for the run of the line."
    ));
    table(report, lines)
}

/// The pictures of samples, the table of their metrics, and the plots.
fn samples(report: &mut Report, compared: &ComparisonResult, data: &Dataset) -> Result<()> {
    report.heading("Samples");
    let last: Vec<&Point> = compared.by_run().into_iter().filter_map(<[Point]>::last).collect();
    let held_out = data.held_out.rows();
    if let Some(all) = points(compared, data)? {
        report.picture(&png_bytes(&all)?, OF_SAMPLES)?;
    } else {
        let name = real_rows(compared);
        let real = png_bytes(&picture(&data.space, &data.held_out, None)?)?;
        let mut pictures = vec![(real, name.to_string())];
        for point in last {
            let Some(samples) = &point.samples else { continue };
            let drawn = picture(&data.space, samples, Some(held_out))?;
            pictures.push((png_bytes(&drawn)?, caption(compared, point)));
        }
        beside(report, &pictures)?;
    }
    report.paragraph(&format!(
        "{} samples of each at each value of {}, against all rows above; ± is one standard error. The last line has {} \
         in place of samples: a perfect model is there.",
        compared.samples, compared.key, compared.floor,
    ));
    table(report, compared.samples(true))?;
    let plots = compared.plots();
    if plots.is_empty() {
        return Ok(());
    }
    report.heading(match compared.key.as_str() {
        STEPS => "Quality against evaluations",
        _ => "Quality",
    });
    report.paragraph(match compared.key.as_str() {
        STEPS => {
            "Bars are two standard errors to either side. Models that need one evaluation or none stand side by side \
             at the left."
        }
        _ => "Bars are two standard errors to either side.",
    });
    let draw = |(name, plot): &(&str, Plot)| Ok((png_bytes(&plot.draw()?)?, name.to_string()));
    beside(report, &plots.iter().map(draw).collect::<Result<Vec<_>>>()?)
}

/// The captions of densities and of samples in the plane.
const OF_DENSITIES: &str = "p(x) of each model, all in the same colours.";
const OF_SAMPLES: &str = "Samples of each model on the axes of the data.";

/// The pictures of densities and of samples, for data in the plane: a name, a caption and the picture.
///
/// # Errors
/// Errors of drawing.
pub fn pictures(
    compared: &ComparisonResult,
    data: &Dataset,
) -> Result<Vec<(&'static str, &'static str, RgbImage)>> {
    let densities = densities(compared, data)?.map(|image| ("densities", OF_DENSITIES, image));
    let samples = points(compared, data)?.map(|image| ("samples", OF_SAMPLES, image));
    Ok(densities.into_iter().chain(samples).collect())
}

/// The name of a point with its evaluations.
fn caption(compared: &ComparisonResult, point: &Point) -> String {
    let run = compared.label(&point.run);
    match point.evaluations {
        0.0 => run.to_string(),
        n => format!("{run}, {n:.0} evaluation{}", if n == 1.0 { "" } else { "s" }),
    }
}

/// What real rows are called.
fn real_rows(compared: &ComparisonResult) -> &'static str {
    if compared.part.is_some() { "held-out data" } else { "exact draws" }
}

/// Samples of each model in the plane; none for other data.
fn points(compared: &ComparisonResult, data: &Dataset) -> Result<Option<RgbImage>> {
    if !in_the_plane(&data.space) {
        return Ok(None);
    }
    let last = compared.by_run().into_iter().filter_map(<[Point]>::last);
    let of =
        |point: &Point| Some((caption(compared, point), point.samples.as_ref()?.rows().clone()));
    let drawn: Vec<(String, Rows)> = last.filter_map(of).collect();
    let mut sets = vec![(real_rows(compared), data.held_out.rows())];
    sets.extend(drawn.iter().map(|(name, rows)| (&name[..], rows)));
    let axes = [0, 1].map(|k| data.space.column_name(k));
    side_by_side(&sets, &axes[0], &axes[1]).map(Some)
}

/// Adds a table.
fn table(report: &mut Report, (headings, rows): (Vec<String>, Vec<Vec<String>>)) -> Result<()> {
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    report.table(&headings, &rows).map(drop)
}

/// Adds pictures with their captions beside each other.
fn beside(report: &mut Report, pictures: &[(Vec<u8>, String)]) -> Result<()> {
    let pictures: Vec<(&[u8], &str)> = pictures.iter().map(|(png, c)| (&png[..], &c[..])).collect();
    report.pictures(&pictures).map(drop)
}

/// The data, or their density where known, beside the density of each model; none if no run has a density in the
/// plane. Colours end at the greatest value of the known density, or else at the median of the models' greatest.
fn densities(compared: &ComparisonResult, data: &Dataset) -> Result<Option<RgbImage>> {
    let known = compared.runs.iter().filter_map(|run| {
        let label = compared.label(&run.run).to_string();
        Some((label, run.density.as_ref()?))
    });
    let known: Vec<(String, &Vec<f64>)> = known.collect();
    let (Some(window), false) = (plane(data), known.is_empty()) else { return Ok(None) };
    let greatest = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let truth = window.known(data);
    let mut tops: Vec<f64> = known.iter().map(|(_, values)| greatest(values)).collect();
    tops.sort_by(f64::total_cmp);
    let top = truth.as_ref().map_or(tops[tops.len() / 2], |truth| greatest(truth));
    let shape = (window.y.1 - window.y.0) / (window.x.1 - window.x.0);
    let height = (shape * DENSITY).clamp(240.0, 900.0) as u32 + 170;
    let space = &data.space;
    let mut plots = vec![match &truth {
        Some(values) => window.heat("the data, known", space, values)?.colours(0.0, top),
        None => window.cloud("the data", space, data.train.rows())?,
    }];
    for (label, values) in &known {
        let window = Window { cells: values.len().isqrt(), ..window };
        plots.push(window.heat(label, space, values)?.colours(0.0, top));
    }
    let plots: Vec<Plot> = plots.into_iter().map(|plot| plot.size(820, height)).collect();
    panels(&plots, BESIDE).map(Some)
}
