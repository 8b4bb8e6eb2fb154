//! `--where`: rejection of rows that do not satisfy conditions.

use super::{Options, Sampling, label};
use std::ops::Range;
use tweedie::data::{Filter, Split};
use tweedie::run::Run;
use tweedie::{Error, Result};

/// The most rows drawn for each row of the output, and in all at least.
const MOST: (u64, u64) = (200, 20_000);
/// The least rows drawn at once, after the first.
const AT_ONCE: u64 = 64;

/// The rows drawn and accepted so far; without a filter all are accepted.
pub(super) struct Rejection {
    pub filter: Option<Filter>,
    /// The number of rows to accept.
    n: u64,
    /// The most rows to draw.
    most: u64,
    pub accepted: u64,
    /// The number of rows drawn, up to the last that was needed.
    drawn: u64,
}

impl Rejection {
    /// The filter that the options state; `all` is the size of a finite sample.
    pub fn parse(options: &Options, run: &Run, all: Option<u64>) -> Result<Self> {
        let n = options.n;
        let (space, label) = (&run.info.space, label::column(run));
        let filter = options.filter.as_deref().map(|text| Filter::parse(text, space, label));
        let filter = filter.transpose().map_err(Sampling::as_option)?;
        let most = options.most_rows.unwrap_or(n.saturating_mul(MOST.0).max(MOST.1));
        let most = all.map_or(most, |all| most.min(all.max(n)));
        match filter {
            None if options.most_rows.is_some() => {
                Err(Error::config("--most-rows", most.to_string(), "--where beside it"))
            }
            Some(_) if most < n => {
                Err(Error::config("--most-rows", most.to_string(), format!("at least {n}, as -n")))
            }
            None => Ok(Self { filter, n, most: n, accepted: 0, drawn: 0 }),
            Some(_) => Ok(Self { filter, n, most, accepted: 0, drawn: 0 }),
        }
    }

    /// The numbers of the rows to draw next, at most `chunk`; none at the end.
    ///
    /// # Errors
    /// [`Error::Config`] if too few of the most rows to draw were accepted.
    pub fn next(&self, chunk: u64) -> Result<Option<Range<u64>>> {
        let left = self.n - self.accepted;
        if left == 0 {
            return Ok(None);
        }
        if self.drawn >= self.most {
            let problem = format!("{} of {} rows drawn satisfy it", self.accepted, self.drawn);
            let expected = format!(
                "{}: a range in place of =, more rows by --most-rows, or a run trained with these columns as \
                 --condition or --label, which need no rejection",
                self.n
            );
            return Err(Error::config("--where", problem, expected));
        }
        let wanted = match self.drawn {
            0 => left,
            drawn => {
                let share = (self.accepted + 1) as f64 / (drawn + 1) as f64;
                ((left as f64 / share).ceil() as u64).max(AT_ONCE)
            }
        };
        // Without a filter all are accepted, and no more are needed.
        let wanted = if self.filter.is_some() { wanted } else { left };
        let end = self.drawn.saturating_add(wanted.min(chunk.max(1))).min(self.most);
        Ok(Some(self.drawn..end))
    }

    /// Counts rows as drawn; the indices of those that are accepted and needed, none for all.
    pub fn keep(
        &mut self,
        rows: Range<u64>,
        samples: impl FnOnce() -> Result<Split>,
    ) -> Result<Option<Vec<usize>>> {
        let Some(filter) = &self.filter else {
            (self.accepted, self.drawn) = (rows.end, rows.end);
            return Ok(None);
        };
        let mut kept = filter.kept(&samples()?);
        kept.truncate((self.n - self.accepted) as usize);
        self.accepted += kept.len() as u64;
        let last = kept.last().filter(|_| self.accepted == self.n);
        self.drawn = last.map_or(rows.end, |last| rows.start + *last as u64 + 1);
        Ok(Some(kept))
    }

    /// The rows drawn for the rows accepted, and their share, as text; empty without a filter.
    pub fn note(&self) -> String {
        let share = 100.0 * self.accepted as f64 / self.drawn.max(1) as f64;
        match &self.filter {
            None => String::new(),
            Some(_) => format!("{share:.3} % of {} rows drawn satisfy --where", self.drawn),
        }
    }

    /// The number of rows drawn, with a filter.
    pub fn drawn(&self) -> Option<u64> {
        self.filter.as_ref().map(|_| self.drawn)
    }
}
