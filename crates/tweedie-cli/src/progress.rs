//! Progress on stderr, nothing where stderr is not a terminal or `--json` asks for silence.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::RefCell;
use tweedie::family::Task;

/// A bar that counts to `total` of what `unit` names.
pub fn bar(total: u64, unit: &str, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    let template =
        format!("{{prefix:>9}} {{bar:32}} {{pos}}/{{len}} {unit}  {{elapsed}} + {{eta}}  {{msg}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}

/// A bar for each task that the library reports, one after the other.
pub struct Bars {
    quiet: bool,
    now: RefCell<Option<(String, ProgressBar)>>,
}

impl Bars {
    /// No bar yet; none ever if `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, now: RefCell::new(None) }
    }

    /// Shows how far a task is; its bar goes when it is done.
    pub fn show(&self, task: Task) {
        let mut now = self.now.borrow_mut();
        if now.as_ref().is_none_or(|(what, _)| *what != task.what) {
            if let Some((_, bar)) = now.take() {
                bar.finish_and_clear();
            }
            let bar = bar(task.total, task.unit, self.quiet);
            bar.set_prefix(task.what.clone());
            *now = Some((task.what.clone(), bar));
        }
        if let Some((_, bar)) = &*now {
            bar.set_position(task.done);
            bar.set_message(task.note);
        }
        if task.done >= task.total
            && let Some((_, bar)) = now.take()
        {
            bar.finish_and_clear();
        }
    }
}
