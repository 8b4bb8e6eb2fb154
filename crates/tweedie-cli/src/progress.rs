//! Progress on stderr: a bar on a terminal, else a line now and then; nothing with `--json`.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use tweedie::family::Task;

/// Least time between two lines.
const EVERY: Duration = Duration::from_secs(30);

/// The progress of one task.
pub struct Progress {
    bar: ProgressBar,
    lines: Option<RefCell<Lines>>,
}

/// Lines in place of a bar.
struct Lines {
    what: String,
    unit: &'static str,
    total: u64,
    /// The units done at the start, and the time of the start.
    began: (u64, Instant),
    now: u64,
    note: String,
    last: Instant,
}

impl Progress {
    /// The progress of a task of `total` units, named `unit`; hidden if `quiet`.
    pub fn new(what: &str, total: u64, unit: &'static str, quiet: bool) -> Self {
        let target =
            if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let template = format!(
            "{{prefix:>9}} {{bar:32}} {{pos}}/{{len}} {unit}  {{elapsed}} + {{eta}}  {{msg}}"
        );
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_string());
        let (what, now) = (what.to_string(), Instant::now());
        let lines =
            Lines { what, unit, total, began: (0, now), now: 0, note: String::new(), last: now };
        let lines = (!quiet && !std::io::stderr().is_terminal()).then(|| RefCell::new(lines));
        Self { bar, lines }
    }

    /// Sets the number of units done before the task is resumed.
    pub fn begin_at(&self, done: u64) {
        self.bar.set_position(done);
        self.bar.reset_eta();
        if let Some(lines) = &self.lines {
            lines.borrow_mut().began = (done, Instant::now());
        }
    }

    /// Sets the number of units done.
    pub fn set(&self, done: u64) {
        self.bar.set_position(done);
        let Some(lines) = &self.lines else { return };
        let mut lines = lines.borrow_mut();
        lines.now = done;
        if lines.last.elapsed() >= EVERY && done < lines.total {
            lines.last = Instant::now();
            eprintln!("{}", lines.line());
        }
    }

    /// One more unit is done.
    pub fn advance(&self) {
        self.set(self.bar.position() + 1);
    }

    /// Names another part of the task.
    pub fn rename(&self, what: &str) {
        self.bar.set_prefix(what.to_string());
        if let Some(lines) = &self.lines {
            lines.borrow_mut().what = what.into();
        }
    }

    /// A note beside the progress, such as a loss.
    pub fn note(&self, note: impl Into<String>) {
        let note = note.into();
        if let Some(lines) = &self.lines {
            lines.borrow_mut().note.clone_from(&note);
        }
        self.bar.set_message(note);
    }

    /// Ends with the bar left, or with a line.
    pub fn finish(&self) {
        if let Some(lines) = &self.lines {
            eprintln!("{}", lines.borrow().line());
        }
        self.bar.abandon();
    }

    /// Ends without a trace.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Lines {
    /// The progress as a line: "training: step 120 of 3000, loss 0.5123, 40 s + 16 min".
    fn line(&self) -> String {
        let (start, began) = self.began;
        let spent = began.elapsed().as_secs_f64();
        let rest = spent * self.total.saturating_sub(self.now) as f64
            / self.now.saturating_sub(start).max(1) as f64;
        let note = if self.note.is_empty() { String::new() } else { format!(", {}", self.note) };
        let left = match self.now < self.total {
            true => format!(" + {} left", time(rest)),
            false => String::new(),
        };
        let Self { what, now, total, unit, .. } = self;
        format!("{what}: {now} of {total} {unit}{note}, {}{left}", time(spent))
    }
}

/// A time in its unit.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 6000.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// The progress of the tasks that the library reports, one after the other.
pub struct Bars {
    quiet: bool,
    now: RefCell<Option<(String, Progress)>>,
}

impl Bars {
    /// A set without a task yet; hidden if `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, now: RefCell::new(None) }
    }

    /// Shows the progress of a task; its bar vanishes at the end of the task.
    pub fn show(&self, task: Task) {
        let mut now = self.now.borrow_mut();
        if now.as_ref().is_none_or(|(what, _)| *what != task.what) {
            if let Some((_, progress)) = now.take() {
                progress.clear();
            }
            let progress = Progress::new(&task.what, task.total, task.unit, self.quiet);
            *now = Some((task.what.clone(), progress));
        }
        if let Some((_, progress)) = &*now {
            progress.note(task.note);
            progress.set(task.done);
        }
        if task.done >= task.total
            && let Some((_, progress)) = now.take()
        {
            progress.clear();
        }
    }
}
