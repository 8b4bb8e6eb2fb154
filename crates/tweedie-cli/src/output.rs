//! Output on stdout: aligned tables, or one JSON object.

use std::io::Write;

/// Prints a line; a closed pipe is not an error.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
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
        cell.is_empty() || cell.starts_with(|c: char| "-−".contains(c) || c.is_ascii_digit())
    };
    for (i, column) in table.column_iter_mut().enumerate() {
        if rows.iter().filter_map(|row| row.get(i)).all(is_number) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    line(&table.trim_fmt());
}
