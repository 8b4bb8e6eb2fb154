//! Samples for evaluation, and tables of their scores.

use crate::Result;
use crate::data::{Generate, Split};
use crate::family::{Model, Setting, Task, sample};
use crate::metric::SampleConditions;
use crate::metric::judge::Score;
use std::ops::Range;

/// Generates `n` samples, or all of a model with fewer, with labels or conditions as frequent as among the rows of
/// `real`.
///
/// # Errors
/// Errors of sampling.
pub fn generate(
    model: &dyn Model,
    generator: &dyn Generate,
    n: u64,
    real: Option<&Split>,
    at: &Setting,
) -> Result<Split> {
    let n = generator.most_rows().map_or(n, |all| n.min(all));
    let conditions = real.map(|real| SampleConditions::of(real, n as usize));
    let condition = |rows: Range<u64>| match &conditions {
        Some(conditions) => conditions.condition(rows, model.space(), at.device),
        None => model.space().condition(rows.map(|_| None).collect()),
    };
    let observe = |done| {
        let what = "sampling".into();
        (at.observe)(Task { what, unit: "samples", done, total: n, note: String::new() });
    };
    let rows = sample(model, generator, 0..n, condition, at.seed, at.device, observe)?;
    match conditions {
        Some(conditions) => conditions.with(rows),
        None => Split::new(rows, None),
    }
}

/// The headings of [`score_rows`].
pub(super) const HEADINGS: [&str; 7] =
    ["metric", "samples", "±", "floor", "good", "of rows", "against"];

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
