//! The curves of training as plots.

use super::Plot;
use crate::train::curves::Entry;

/// Losses in one plot, the gradient's norm in its own, each with its caption.
pub fn loss_curves(entries: &[Entry]) -> Vec<(String, Plot)> {
    let series = |wanted: &str| -> Vec<(f64, f64)> {
        let of = |(step, values): &Entry| {
            let (_, value) = values.iter().find(|(name, _)| name == wanted)?;
            Some((*step as f64, *value))
        };
        entries.iter().filter_map(of).collect()
    };
    let train = series("train/loss");
    let window = (train.len() / 60).max(1);
    let losses = Plot::new("Loss")
        .x_name("step")
        .log_y()
        .smoothed("training", &train, window)
        .line("held out", &series("held_out/loss"));
    let norm = Plot::new("Gradient norm").x_name("step").log_y().smoothed(
        "before clipping",
        &series("train/gradient_norm"),
        window,
    );
    vec![
        ("Loss of training batches and of the averaged weights on held-out data".into(), losses),
        ("Global norm of the gradient".into(), norm),
    ]
}
