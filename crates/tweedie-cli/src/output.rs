//! Output on stdout: aligned tables, or one JSON object.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::OnceLock;
use tweedie::{Error, Result};

/// The first failure of stdout.
static FAILED: OnceLock<std::io::Error> = OnceLock::new();

/// Prints a line. A failure is kept for [`finish`]; a closed pipe is none.
pub fn line(text: &str) {
    bytes(format!("{text}\n").as_bytes());
}

/// Prints bytes as [`line()`] does.
pub fn bytes(bytes: &[u8]) {
    note(std::io::stdout().write_all(bytes));
}

/// Keeps the first failure.
fn note(result: std::io::Result<()>) {
    if let Err(error) = result.and_then(|()| std::io::stdout().flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        let _ = FAILED.set(error);
    }
}

/// Fails if something could not be printed.
pub fn finish() -> Result<()> {
    note(Ok(()));
    match FAILED.get() {
        None => Ok(()),
        Some(error) => Err(Error::io("stdout", again(error))),
    }
}

/// The same error once more.
fn again(error: &std::io::Error) -> std::io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), std::io::Error::from_raw_os_error)
}

/// Makes the folders that a file is to be written to.
pub fn make_folder_of(path: &Path) -> Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.exists() => {
            std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))
        }
        _ => Ok(()),
    }
}

/// Prints one JSON object.
pub fn json(value: &impl serde::Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => line(&text),
        Err(error) => eprintln!("error: {error}"),
    }
}

/// Prints rows in aligned columns under a heading, columns of numbers to the right.
pub fn table(headings: &[&str], rows: &[Vec<String>]) {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_header(headings.to_vec());
    rows.iter().for_each(|row| {
        table.add_row(row.clone());
    });
    let is_number = |cell: &String| {
        cell.is_empty() || cell.starts_with(|c: char| "-−–".contains(c) || c.is_ascii_digit())
    };
    for (i, column) in table.column_iter_mut().enumerate() {
        if rows.iter().filter_map(|row| row.get(i)).all(is_number) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    line(&table.trim_fmt());
}
