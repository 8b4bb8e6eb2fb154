//! Lines of a table that are no rows: a title, comments, counts of rows and columns.

use super::text::{TITLE, is_comment};
use crate::{Error, Result};
use csv::StringRecord;
use std::path::Path;

/// Signs that separate cells elsewhere.
const SEPARATORS: [char; 5] = ['^', '~', ':', '¦', '\u{1}'];

/// The cells of lines, with the numbers of the lines in the file, from 1.
pub(super) type Lines = Vec<(u64, StringRecord)>;

/// Removes the lines that are neither a header nor rows, and says which.
pub(super) fn leave_out_others(lines: &mut Lines) -> Vec<String> {
    let mut notes = Vec::new();
    if counts_the_table(lines) {
        lines.remove(0);
        let what = "line 1 counts rows and columns, as scikit-learn's files do";
        notes.push(format!("{what}: it is left out"));
    }
    let has_one = |(_, cells): &(u64, StringRecord)| cells.len() == 1;
    let title = lines.iter().take_while(|line| has_one(line)).count();
    if title <= TITLE && title < lines.len() && !lines[title..].iter().any(has_one) {
        for (line, cells) in lines.drain(..title) {
            let text = &cells[0];
            notes.push(format!("line {line} is left out: it has one cell, '{text}'"));
        }
    }
    let (width, all) = (lines.first().map_or(0, |(_, cells)| cells.len()), lines.len());
    lines.retain(|(_, cells)| cells.len() == width || !is_comment(cells));
    let comments = all - lines.len();
    if comments > 0 {
        notes.push(format!("comments, lines that begin with #, are left out: {comments}"));
    }
    notes
}

/// Fails unless there are lines, all with the same number of cells, by a known separator.
pub(super) fn check(lines: &Lines, path: &Path) -> Result<()> {
    let Some((first, cells)) = lines.first() else {
        return Err(Error::file(path, "line 1", "the file is empty", "a table"));
    };
    let width = cells.len();
    if let Some((line, cells)) = lines.iter().find(|(_, cells)| cells.len() != width) {
        let open = cells.iter().any(|cell| cell.contains('\n'));
        let open =
            if open { ", one over several lines, as if a quote were not closed" } else { "" };
        let problem = format!("there are {} columns{open}", cells.len());
        let expected = format!("{width}, as in line {first}");
        return Err(Error::file(path, format!("line {line}"), problem, expected));
    }
    let count = |cells: &StringRecord, sign: char| cells[0].matches(sign).count();
    let separates = |sign: &&char| {
        let own = count(cells, **sign);
        own > 0 && lines.iter().all(|(_, cells)| count(cells, **sign) == own)
    };
    match SEPARATORS.iter().find(|sign| width == 1 && separates(sign)) {
        Some(sign) => {
            let sign = sign.escape_debug();
            let problem = format!("each line has one cell and equally many '{sign}'");
            Err(Error::file(path, "table", problem, "cells between , ; | tabs or blanks"))
        }
        None => Ok(()),
    }
}

/// Whether the first line is that of scikit-learn's CSV files: the number of rows, that of columns without the label's,
/// and perhaps the names of the classes.
fn counts_the_table(lines: &Lines) -> bool {
    let [(_, first), (_, second), ..] = &lines[..] else { return false };
    let number = |at: usize| first.get(at).and_then(|cell| cell.parse::<usize>().ok());
    first.len() != second.len()
        && number(0) == Some(lines.len() - 1)
        && number(1) == Some(second.len() - 1)
}
