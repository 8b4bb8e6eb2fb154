//! Progress bars on stderr; none where stderr is not a terminal, or with `--json`.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::RefCell;
use tweedie::family::Task;

/// A progress bar of `total` units, named `unit`; hidden if `quiet`.
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

/// Progress bars of the tasks that the library reports, one after the other.
pub struct Bars {
    quiet: bool,
    now: RefCell<Option<(String, ProgressBar)>>,
}

impl Bars {
    /// A set without a bar yet; bars stay hidden if `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, now: RefCell::new(None) }
    }

    /// Shows the progress of a task; its bar vanishes at the end of the task.
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
