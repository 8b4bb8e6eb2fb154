//! Columns of identifiers: new ones in the pattern of those of the table.

use super::sheet::Sheet;
use crate::data::dataset::Fnv;
use crate::data::{Coordinate, Kind};
use crate::draws::Draws;

/// Letters and digits of a new identifier.
const LETTERS: u64 = 26;
const DIGITS: u64 = 10;

impl Sheet<'_> {
    /// A column of identifiers in the pattern of the longest one, and zeros as its values.
    pub fn identifiers(&self, column: usize, named: &Coordinate) -> (Coordinate, Vec<f64>) {
        let cells = self.lines.iter().map(|(_, cells)| &cells[column]);
        let longest = cells.max_by_key(|cell| cell.len()).unwrap_or_default();
        let mask = |letter: char| match letter {
            letter if letter.is_ascii_digit() => '0',
            letter if letter.is_uppercase() => 'A',
            letter if letter.is_alphabetic() => 'a',
            other => other,
        };
        let kind = Kind::Identifier { pattern: longest.chars().map(mask).collect() };
        (Coordinate { kind, ..named.clone() }, vec![0.0; self.lines.len()])
    }
}

/// An identifier of this pattern for a row, the `number`-th of its file.
pub(super) fn new(pattern: &str, row: &[f32], number: u64, column: usize) -> String {
    let mut hash = Fnv::new();
    row.iter().for_each(|value| hash.add(&value.to_le_bytes()));
    let draws = Draws::new(hash.0 as u64).purpose("identifier").at(number);
    let drawn = |(place, letter): (u64, char)| {
        let some =
            |first: u8, count| char::from(first + draws.below(column as u64, place, count) as u8);
        match letter {
            '0' => some(b'0', DIGITS),
            'A' => some(b'A', LETTERS),
            'a' => some(b'a', LETTERS),
            other => other,
        }
    };
    (0..).zip(pattern.chars()).map(drawn).collect()
}
