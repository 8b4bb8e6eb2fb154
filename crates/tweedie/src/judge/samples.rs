//! Samples to be judged.

use crate::Result;
use crate::data::{Generate, Split};
use crate::family::{Model, Setting, Task, sample};
use crate::metric::judge::Score;
use crate::metric::judged_labels;

/// `n` samples with the labels that samples judged against the rows of `real` should bear.
///
/// # Errors
/// Those of sampling.
pub fn generate(
    model: &dyn Model,
    generator: &dyn Generate,
    n: u64,
    real: Option<&Split>,
    at: &Setting,
) -> Result<Split> {
    let labels = real.and_then(|real| judged_labels(real, n as usize));
    let label = |row: u64| labels.as_ref()?.get(row as usize).copied();
    let observe = |done| {
        let what = "sampling".into();
        (at.observe)(Task { what, unit: "samples", done, total: n, note: String::new() });
    };
    let rows = sample(model, generator, 0..n, label, at.seed, at.device, observe)?;
    Split::new(rows, labels)
}

/// What the columns of [`score_rows`] are.
pub const HEADINGS: [&str; 7] =
    ["metric", "samples", "±", "training data", "good", "of rows", "against"];

/// Scores as rows of text.
pub fn score_rows(scores: &[Score]) -> Vec<Vec<String>> {
    let small = |v: f64| v != 0.0 && v.abs() < 1e-3;
    let number = |v: f64| if small(v) { format!("{v:.1e}") } else { format!("{v:.4}") };
    let row = |s: &Score| {
        vec![
            s.name.to_string(),
            number(s.value),
            s.standard_error.map_or(String::new(), number),
            s.floor.map_or(String::new(), number),
            s.good.to_string(),
            s.rows.to_string(),
            if s.reference_rows > 0 { s.reference_rows.to_string() } else { String::new() },
        ]
    };
    scores.iter().map(row).collect()
}
