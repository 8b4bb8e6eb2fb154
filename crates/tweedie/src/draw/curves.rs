//! The curves of training as plots.

use super::Plot;
use crate::train::curves::Entry;

/// The values of a name over steps.
fn series(entries: &[Entry], wanted: &str) -> Vec<(f64, f64)> {
    let of = |(step, values): &Entry| {
        let (_, value) = values.iter().find(|(name, _)| name == wanted)?;
        Some((*step as f64, *value))
    };
    entries.iter().filter_map(of).collect()
}

/// The plots of what was logged, each with its caption: losses and the gradient norm; of chains, convergence, effective
/// size and acceptance.
pub fn training_curves(entries: &[Entry]) -> Vec<(String, Plot)> {
    let of = |name: &str| series(entries, name);
    let smoothed = |plot: Plot, label: &str, points: &[(f64, f64)]| {
        plot.smoothed(label, points, (points.len() / 60).max(1))
    };
    let plot = |title: &str| Plot::new(title).x_name("step");
    let (train, held_out, norm) =
        (of("train/loss"), of("held_out/loss"), of("train/gradient_norm"));
    let [r_hat, ess, acceptance] =
        ["r_hat", "ess", "acceptance"].map(|k| of(&format!("chains/{k}")));
    let mut all = Vec::new();
    let mut add = |caption: &str, plot: Plot| all.push((caption.to_string(), plot));
    if !train.is_empty() || !held_out.is_empty() {
        let losses = smoothed(plot("Loss").log_y(), "training", &train).line("held out", &held_out);
        add("Loss of training batches and of the averaged weights on held-out data", losses);
    }
    if !norm.is_empty() {
        let norms = smoothed(plot("Gradient norm").log_y(), "before clipping", &norm);
        add("Global norm of the gradient", norms);
    }
    if !r_hat.is_empty() {
        let ends = r_hat.first().zip(r_hat.last());
        let good: Vec<(f64, f64)> =
            ends.map_or(Vec::new(), |(a, b)| vec![(a.0, 1.01), (b.0, 1.01)]);
        let shown =
            plot("Rank-normalised split R-hat").log_y().line("greatest of the columns", &r_hat);
        add("R̂ of the draws kept so far; below 1.01 is good", shown.line("1.01", &good));
    }
    if !ess.is_empty() {
        let shown = plot("Bulk effective sample size").log_y().line("least of the columns", &ess);
        add("Bulk ESS of the draws kept so far", shown);
    }
    if !acceptance.is_empty() {
        let shown =
            smoothed(plot("Acceptance").y_range(0.0, 1.0), "mean of the chains", &acceptance);
        add("Mean probability of acceptance", shown);
    }
    all
}
