//! Data files: unreadable, truncated, corrupt, empty, ragged, with values that are no numbers.

use crate::support::{coloured, copy_of, numbers, refused, table};
use flate2::{Compression, write::GzEncoder};
use std::fs::{create_dir, write};
use std::io::Write;
use std::path::Path;

/// A table of numbers with one line put in place of its sixth.
fn with_line(line: &str) -> String {
    let text = table(30, false);
    let lines = text.lines().enumerate().map(|(i, own)| if i == 5 { line } else { own });
    lines.map(|line| line.to_string() + "\n").collect()
}

fn compressed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A .npy file of single-precision numbers with a given header.
fn npy(descr: &str, shape: &str, values: &[f32]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    bytes
}

fn training<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["train", "table", "--out", "run", "--data", file, "--set", "training.steps=3"];
    fixed.iter().chain(more).copied().collect()
}

#[test]
fn tables_are_refused_by_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let whole = compressed(&table(200, false));
    let mut corrupt = whole.clone();
    corrupt[whole.len() / 2] ^= 0xff;
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("empty.csv", vec![], &["line 1", "empty", "a table"]),
        ("header.csv", b"a,b\n".to_vec(), &["line 2", "only a header", "rows"]),
        ("inf.csv", with_line("inf,3,oak").into(), &["line 6, column 'length'", "finite"]),
        ("large.csv", with_line("1e39,3,oak").into(), &["line 6, column 'length'", "1e39"]),
        ("word.csv", with_line("1.2.3,3,oak").into(), &["line 6", "'length'", "'1.2.3'"]),
        ("ragged.csv", with_line("1,3").into(), &["line 6", "2 columns", "expected 3"]),
        ("cut.csv", table(9, false)[..124].into(), &["line 10", "columns", "expected 3"]),
        ("zeros.csv", vec![0; 100], &["line 1", "zero byte", "UTF-8"]),
        ("latin.csv", b"a,b\n1,2\n\xe9,3\n".to_vec(), &["line 3, column 1", "UTF-8"]),
        ("twice.csv", b"a,a\n1,2\n3,4\n".to_vec(), &["line 1, column 2", "'a'"]),
        ("plain.csv.gz", table(9, false).into(), &["gzip", "a whole table"]),
        ("cut.csv.gz", whole[..whole.len() / 2].to_vec(), &["after", "bytes", "a whole table"]),
        ("corrupt.csv.gz", corrupt, &["a whole table"]),
        ("nothing.csv.gz", vec![], &["a whole table"]),
    ];
    for (name, bytes, words) in cases {
        write(folder.path().join(name), bytes).unwrap();
        let words: Vec<&str> = [name].iter().chain(words).copied().collect();
        refused(folder.path(), 1, &words, &training(name, &[]));
    }
}

#[test]
fn arrays_are_refused_by_what_is_wrong_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let good = npy("<f4", "(3, 2)", &[0.5; 6]);
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("empty.npy", vec![], &["header", "NUMPY"]),
        ("magic.npy", b"PK\x03\x04 and more".to_vec(), &["header", "NUMPY"]),
        ("header.npy", good[..20].to_vec(), &["header", "ends within it"]),
        ("cut.npy", good[..good.len() - 3].to_vec(), &["shape", "21 bytes", "a whole .npy"]),
        ("long.npy", [&good[..], b"123"].concat(), &["shape", "27 bytes", "a whole .npy"]),
        ("huge.npy", npy("<f4", "(4611686018427387904, 4)", &[]), &["shape", "0 bytes"]),
        ("nan.npy", npy("<f4", "(1, 2)", &[0.0, f32::NAN]), &["row 0, column 1", "NaN"]),
        ("complex.npy", npy("<c8", "(1,)", &[0.0; 2]), &["descr", "complex", "floats"]),
        ("object.npy", npy("|O", "(1,)", &[0.0]), &["descr", "objects", "floats"]),
        ("none.npy", npy("<f4", "(0, 3)", &[]), &["shape", "at least one row"]),
    ];
    for (name, bytes, words) in cases {
        write(folder.path().join(name), bytes).unwrap();
        let words: Vec<&str> = [name].iter().chain(words).copied().collect();
        refused(folder.path(), 1, &words, &training(name, &[]));
    }
}

#[test]
fn what_is_not_there_and_columns_that_are_not_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(at("table.csv"), table(30, false)).unwrap();
    write(
        at("names.csv"),
        "a,k\n".to_string() + &(0..1500).map(|i| format!("{i},n{i}\n")).collect::<String>(),
    )
    .unwrap();
    write(at("array.npy"), npy("<f4", "(3, 2)", &[0.0; 6])).unwrap();
    create_dir(at("folder.csv")).unwrap();
    create_dir(at("folder.npy")).unwrap();
    let cases: [(&str, i32, &[&str], &[&str]); 14] = [
        ("absent.csv", 1, &["absent.csv", "No such file"], &[]),
        ("absent.npy", 1, &["absent.npy", "No such file"], &[]),
        ("folder.csv", 1, &["folder.csv", "directory"], &[]),
        ("folder.npy", 1, &["folder.npy", "directory"], &[]),
        ("table.parquet", 2, &["data.source", "'table.parquet'", ".csv"], &[]),
        ("", 2, &["data.source", "one of digits"], &[]),
        ("table.csv", 1, &["table.csv: header", "'knd'", "`kind` perhaps"], &["--label", "knd"]),
        ("table.csv", 1, &["'lenth'", "`length` perhaps"], &["--set", "data.columns=['lenth']"]),
        ("table.csv", 1, &["table.csv: header", "no column"], &["--set", "data.columns=[]"]),
        ("table.csv", 2, &["data.held_out", "0.999"], &["--set", "data.held_out=0.999"]),
        ("names.csv", 1, &["names.csv: line 1002", "'k'", "1000"], &["--label", "k"]),
        ("array.npy", 2, &["data.label", "array.npy"], &["--label", "last"]),
        ("array.npy", 2, &["data.image", "1×2×2", "expected 2"], &["--set", "data.image=[1,2,2]"]),
        ("digits", 2, &["data.label", "'digits'"], &["--label", "last"]),
    ];
    for (file, status, words, more) in cases {
        refused(folder.path(), status, words, &training(file, more));
    }
}

fn evaluating(folder: &Path, status: i32, words: &[&str], file: &str) {
    refused(folder, status, words, &["evaluate", "run", "--data", file, "-n", "20", "--rows", "3"]);
}

#[test]
fn judging_against_data_of_another_kind_is_refused() {
    let folder = copy_of(coloured());
    let at = |name: &str| folder.path().join(name);
    let own = std::fs::read_to_string(at("table.csv")).unwrap();
    write(at("uncoloured.csv"), table(30, false)).unwrap();
    write(at("colour.csv"), own.replacen("red", "gren", 1)).unwrap();
    write(at("kind.csv"), own.replacen("oak", "oka", 1)).unwrap();
    write(
        at("number.csv"),
        own.replace("red", "1").replace("green", "2").replace("dark blue", "3"),
    )
    .unwrap();
    write(at("unlabelled.csv"), "length,count,colour\n1,2,red\n").unwrap();
    write(at("range.csv"), "length,count,colour,kind\n1,77,red,oak\n2,3,green,yew\n5,4,red,elm\n")
        .unwrap();
    evaluating(
        folder.path(),
        1,
        &["uncoloured.csv", "2 columns", "expected 3 columns"],
        "uncoloured.csv",
    );
    evaluating(
        folder.path(),
        1,
        &["colour.csv", "'colour'", "gren", "`green` perhaps"],
        "colour.csv",
    );
    evaluating(folder.path(), 1, &["kind.csv", "label", "oka", "`oak` perhaps"], "kind.csv");
    evaluating(folder.path(), 1, &["number.csv", "'colour'", "dark blue"], "number.csv");
    evaluating(folder.path(), 1, &["unlabelled.csv", "'kind'"], "unlabelled.csv");
    evaluating(
        folder.path(),
        1,
        &["range.csv", "row 0", "'count'", "77", "from 0 to 9"],
        "range.csv",
    );
    evaluating(folder.path(), 1, &["digits", "64 columns", "expected 3 columns"], "digits");
    evaluating(folder.path(), 1, &["absent.csv", "No such file"], "absent.csv");
    evaluating(folder.path(), 2, &["source", "'moon'", "`moons` perhaps"], "moon");
}

#[test]
fn data_that_changed_since_the_run_began_are_refused() {
    let folder = copy_of(numbers());
    let path = folder.path().join("table.csv");
    let own = std::fs::read_to_string(&path).unwrap();
    write(&path, own.replacen(",oak", ",yew", 1)).unwrap();
    let words = ["table.csv", "rows", "changed since the run began", "hash"];
    refused(folder.path(), 1, &words, &["evaluate", "run"]);
    refused(folder.path(), 1, &words, &["train", "table", "--out", "run", "--resume"]);
    std::fs::remove_file(&path).unwrap();
    refused(folder.path(), 1, &["table.csv", "No such file"], &["evaluate", "run"]);
}
