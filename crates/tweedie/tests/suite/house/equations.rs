//! `docs/equations.md` covers the equations that it must, and names only items that exist.

use super::{files, root};
use std::collections::BTreeSet;

/// The numbered equations that the page covers: document, chapter or appendix with its dot, first and last number.
const RANGES: [(&str, &str, u32, u32); 11] = [
    ("I", "5.", 2, 16),
    ("I", "6.", 10, 17),
    ("I", "6.", 19, 35),
    ("I", "6.", 39, 60),
    ("I", "6.", 62, 62),
    ("I", "6.", 65, 71),
    ("K", "", 8, 14),
    ("K", "", 26, 69),
    ("V", "A.", 1, 48),
    ("I", "6.", 1, 9),
    ("I", "6.", 61, 64),
];

/// What the page covers that has no number.
const UNNUMBERED: [&str; 3] = ["I Table 6.1", "C, score matching", "C, Ornstein–Uhlenbeck slides"];

/// The page's text.
fn page() -> String {
    std::fs::read_to_string(root().join("docs/equations.md")).expect("the page")
}

/// The cells of every row of the page's table.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let lines = page.lines().filter(|line| line.starts_with("| ")).skip(1);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// Every equation that a cell names as `I(6.20–6.21, 6.27)`, ranges expanded, as (document, "6.20").
fn named(cell: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (open, _) in cell.match_indices('(') {
        let document = cell[..open].chars().next_back().unwrap_or(' ');
        let Some(close) = cell[open..].find(')') else { continue };
        if !"IKVCL".contains(document) {
            continue;
        }
        for range in cell[open + 1..open + close].split(',').map(str::trim) {
            let (first, last) = range.split_once('–').unwrap_or((range, range));
            let chapter = &first[..first.find('.').map_or(0, |dot| dot + 1)];
            let number =
                |text: &str| text[text.find('.').map_or(0, |dot| dot + 1)..].parse::<u32>();
            let (Ok(a), Ok(b)) = (number(first), number(last)) else {
                panic!("docs/equations.md: {range} in {cell} is no range of equations")
            };
            assert!(a <= b && last.starts_with(chapter), "docs/equations.md: {range}");
            found.extend((a..=b).map(|n| (document.to_string(), format!("{chapter}{n}"))));
        }
    }
    found
}

#[test]
fn ranges_of_equations_are_read() {
    let found = named("I(6.20–6.21, 6.27), K Theorem 1, V(A.39), K(9–10), f(3)");
    let right =
        [("I", "6.20"), ("I", "6.21"), ("I", "6.27"), ("V", "A.39"), ("K", "9"), ("K", "10")];
    let right = right.map(|(document, number)| (document.to_string(), number.to_string()));
    assert_eq!(found, BTreeSet::from(right));
}

#[test]
fn every_equation_is_covered_by_a_row_or_listed_as_missing() {
    let page = page();
    let rows = rows(&page);
    let covered: BTreeSet<_> = rows.iter().flat_map(|row| named(row[0])).collect();
    let missing = page.lines().find(|line| line.starts_with("No function computes"));
    let missing = missing.map(named).unwrap_or_default();
    for (document, chapter, first, last) in RANGES {
        for number in first..=last {
            let key = (document.to_string(), format!("{chapter}{number}"));
            let here = (covered.contains(&key), missing.contains(&key));
            assert!(here.0 != here.1, "{document}({chapter}{number}): covered, missing: {here:?}");
        }
    }
    for name in UNNUMBERED {
        assert!(rows.iter().any(|row| row[0].contains(name)), "docs/equations.md lacks {name}");
    }
}

/// The names in a column, `solve::{Euler, Heun}` spelled out.
fn names(cell: &str) -> Vec<String> {
    let each = cell.split('`').skip(1).step_by(2);
    each.flat_map(|name| match name.split_once('{') {
        None => vec![name.to_string()],
        Some((head, list)) => {
            let items = list.trim_end_matches('}').split(',');
            items.map(|item| format!("{head}{}", item.trim())).collect()
        }
    })
    .collect()
}

/// Whether a source defines an item, a variant or a field of this name.
fn defines(text: &str, item: &str) -> bool {
    text.lines().map(str::trim_start).any(|line| {
        let line = line.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        // A line of a registry: the name in recipes, then the variant.
        let choice = line.strip_prefix('"').and_then(|rest| rest.split_once("\" "));
        if choice.is_some_and(|(_, rest)| rest.split([' ', '(']).next() == Some(item)) {
            return true;
        }
        let kinds = ["fn ", "struct ", "enum ", "trait ", "const ", "type ", "mod ", ""];
        kinds.iter().any(|kind| {
            let rest = line.strip_prefix(kind).and_then(|rest| rest.strip_prefix(item));
            let next = rest.map(|rest| rest.chars().next().unwrap_or(','));
            match *kind {
                "" => next.is_some_and(|c| matches!(c, ',' | '(' | ':') || rest == Some(" {")),
                _ => next.is_some_and(|c| !c.is_alphanumeric() && c != '_'),
            }
        })
    })
}

#[test]
fn every_function_that_the_equations_name_exists() {
    let source = root().join("crates/tweedie/src");
    let sources = files(&source, ".rs");
    let mut count = 0;
    for row in rows(&page()) {
        let found = names(row[2]);
        assert!(!found.is_empty(), "docs/equations.md names no function for {}", row[0]);
        for name in found {
            let parts: Vec<&str> = name.split("::").collect();
            let item = parts[parts.len() - 1];
            let owner = parts.len().checked_sub(2).map(|k| parts[k]);
            // Items of a module lie in its folder or file; those of a type where the type is spoken of.
            let there = sources.iter().any(|(path, text)| {
                let place = path.strip_prefix(&source).expect("a source").with_extension("");
                let home = match owner {
                    None => true,
                    Some(owner) if owner.starts_with(char::is_lowercase) => {
                        place.iter().any(|part| part == owner)
                    }
                    Some(owner) => text.contains(owner),
                };
                home && defines(text, item)
            });
            assert!(there, "docs/equations.md names {name}, which is not there");
            count += 1;
        }
    }
    assert!(count > 80, "only {count} functions are named");
}
