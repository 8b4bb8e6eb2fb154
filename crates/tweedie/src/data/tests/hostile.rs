//! Files and options that cannot be used: each error names the file (or option) and the place.

use crate::Error;
use crate::data::table::{TableOptions, TableWriter, read};
use crate::data::{Batches, Coordinate, Dataset, Kind, Layout, Source, Space, Split, Toy, npy};
use std::io::Write;

use super::rows;

/// A table, its label, what the place says, and what the message says besides.
const TABLES: [(&str, Option<&str>, &str, &str); 29] = [
    ("", None, "line 1", "the file is empty"),
    ("\n\n\n", None, "line 1", "the file is empty"),
    ("@relation x\n", None, "line 2", "there is only a header"),
    ("a,b\n", None, "line 2", "only a header"),
    ("a,b", None, "line 2", "only a header"),
    ("a,b\n1,2\n3\n", None, "line 3", "there are 1 columns; expected 2"),
    ("a,b\n1,2\n3,4,5\n", None, "line 3", "there are 3 columns; expected 2"),
    ("a,b\n\n1,2\n\n3\n", None, "line 5", "there are 1 columns"),
    ("a,b\r\n1,2\r\n3\r\n", None, "line 3", "there are 1 columns"),
    ("@x\n@y\n1,2\n3\n", None, "line 3", "there are 2 columns; expected 1"),
    ("a,b\n\"1\n\n\",2\n3\n", None, "line 5", "there are 1 columns"),
    ("a,b\n1,2\n-nan,2\n", None, "line 3, column 'a'", "the value is -nan"),
    ("a,b\n1,2\ninf,2\n", None, "line 3, column 'a'", "the value is inf; expected a finite"),
    ("a,b\n1,2\n3,-Infinity\n", None, "line 3, column 'b'", "the value is -Infinity"),
    ("a,b\n1,2\n3,1e39\n", None, "line 3, column 'b'", "1e39 is too large for single precision"),
    ("a,b\n1,2\n3,4.5.6\n", None, "line 3, column 'b'", "'4.5.6' is not a number"),
    ("a,b\n1,2\n3,0x10\n", None, "line 3, column 'b'", "'0x10' is not a number"),
    ("a,b\n1,2\n3,\"1,5\"\n", None, "line 3, column 'b'", "'1,5' is not a number"),
    ("1,2\n3,x\n", None, "line 2, column 'x2'", "'x' is not a number"),
    ("a,b,a\n1,2,3\n", None, "line 1, column 3", "'a' is also the name of column 1"),
    ("a [mm],a [cm]\n1,2\n", None, "line 1, column 2", "'a' is also the name of column 1"),
    ("a,b\n1,2\n3,\0\n", None, "line 3, column 2", "a zero byte"),
    ("alcohol,kind\n1,x\n", Some("kinds"), "header", "no column 'kinds'; expected `kind` perhaps"),
    ("alcohol,kind\n1,x\n", Some("zzzzzz"), "header", "expected one of alcohol, kind"),
    ("a,b\n1,x\n2,\n", Some("b"), "line 3, column 'b'", "the value is missing; expected a label"),
    ("a\n9007199254740993\n1\n", None, "line 2, column 'a'", "loses digits in double precision"),
    ("a,b\n1,x\n2,null\n", Some("last"), "line 3, column 'b'", "the value is missing: 'null'"),
    ("a\nx\ny\n", Some("a"), "header", "no column but the label"),
    ("1\n2\n", Some("last"), "header", "no column but the label"),
];

#[test]
fn bad_tables() {
    let dir = tempfile::tempdir().unwrap();
    for (i, (text, label, place, message)) in TABLES.into_iter().enumerate() {
        let path = dir.path().join(format!("bad{i}.csv"));
        std::fs::write(&path, text).unwrap();
        let options = TableOptions { label: label.map(String::from), ..TableOptions::default() };
        let error = read(&path, &options).expect_err(text);
        assert!(matches!(error, Error::File { .. }), "{error}");
        let error = error.to_string();
        assert!(error.starts_with(&format!("{}: {place}: ", path.display())), "{text:?}: {error}");
        assert!(error.contains(message), "{text:?}: {error}");
    }
}

#[test]
fn bad_columns() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    std::fs::write(&path, "alpha,beta,kind\n1,2,x\n").unwrap();
    for (columns, label, message) in [
        (vec!["alpa"], None, "no column 'alpa'; expected `alpha` perhaps"),
        (vec!["alpha", "alpha"], None, "'alpha' is kept twice"),
        (vec!["alpha", "kind"], Some("kind"), "'kind' is kept and is the label"),
        (vec![], None, "no column is named"),
    ] {
        let options = TableOptions {
            label: label.map(String::from),
            columns: Some(columns.into_iter().map(String::from).collect()),
            ..TableOptions::default()
        };
        let error = read(&path, &options).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: header: ", path.display())), "{error}");
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn bad_bytes_in_tables() {
    let dir = tempfile::tempdir().unwrap();
    let mut whole = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    whole.write_all("a,b\n1,2\n3,4\n".repeat(1000).as_bytes()).unwrap();
    let whole = whole.finish().unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    let many: String = (0..1100).map(|i| format!("name{i},1\n")).collect();
    for (name, bytes, place, message) in [
        ("latin.csv", b"a,b\n1,2\n\xe9t\xe9,3\n".to_vec(), "line 3, column 1", "not UTF-8"),
        ("latin2.csv", b"a,b\n1,\xff\n".to_vec(), "line 2, column 2", "not UTF-8"),
        ("short.csv.gz", whole[..whole.len() - 9].to_vec(), "after ", "reading fails"),
        ("flipped.csv.gz", flipped, "after ", "reading fails"),
        ("plain.csv.gz", b"a,b\n1,2\n".to_vec(), "after 0 bytes of text", "reading fails"),
        ("picture.csv", b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec(), "line 3, column 1", "a zero byte"),
        ("many.csv", many.into_bytes(), "line 1001, column 'x1'", "at most 1000 different names"),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = read(&path, &TableOptions::default()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: {place}", path.display())), "{error}");
        assert!(error.contains(message), "{error}");
    }
    let missing = read(dir.path().join("none.csv"), &TableOptions::default()).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }) && missing.to_string().contains("none.csv"));
    let directory = read(dir.path(), &TableOptions::default()).unwrap_err().to_string();
    assert!(directory.contains(&dir.path().display().to_string()), "{directory}");
}

fn array(header: &str, values: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    bytes
}

fn header(descr: &str, shape: &str) -> String {
    format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n")
}

#[test]
fn bad_arrays() {
    let plain = |shape: &str, bytes: usize| array(&header("'<f4'", shape), &vec![0; bytes]);
    let typed = |descr: &str| array(&header(descr, "(2,)"), &[0; 16]);
    let floats = |values: &[f32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        array(&header("'<f4'", "(2, 2)"), &bytes)
    };
    let mut version = plain("(1,)", 4);
    version[6] = 9;
    let mut long_header = b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec();
    long_header.extend([b' '; 100]);
    let nested =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {}", "(".repeat(60_000));
    let cases: Vec<(Vec<u8>, &str, &str)> = vec![
        (b"".to_vec(), "header", "does not begin with \\x93NUMPY"),
        (b"\x93NUM".to_vec(), "header", "does not begin"),
        (b"PK\x03\x04 and more".to_vec(), "header", "does not begin"),
        (b"\x93NUMPY\x01\x00".to_vec(), "header", "ends within it"),
        (plain("(1,)", 4)[..30].to_vec(), "header", "ends within it"),
        (version, "header", "version is 9; expected 1, 2 or 3"),
        (long_header, "header", "ends within it"),
        (array(&nested, &[]), "header", "'shape' cannot be read"),
        (array("{}\n", &[0; 4]), "descr", "'descr' is missing"),
        (array("{'descr': '<f4', 'shape': (1,)}", &[0; 4]), "header", "'fortran_order' is missing"),
        (array("{'descr': '<f4', 'fortran_order': True}", &[0; 4]), "header", "'shape' cannot"),
        (plain("(-1,)", 4), "header", "'shape' cannot be read"),
        (plain("(1.5,)", 4), "header", "'shape' cannot be read"),
        (plain("(99999999999999999999,)", 4), "header", "'shape' cannot be read"),
        (plain("()", 4), "shape", "a single value"),
        (plain("(0, 3)", 0), "shape", "[0, 3] holds no value"),
        (plain("(3, 0)", 0), "shape", "[3, 0] holds no value"),
        (plain("(3, 2)", 20), "shape", "[3, 2] values of 4 bytes each do not make the 20 bytes"),
        (plain("(3, 2)", 28), "shape", "do not make the 28 bytes"),
        (plain("(1000000000000, 1000)", 64), "shape", "do not make the 64 bytes"),
        (plain("(4294967296, 4294967296)", 64), "shape", "do not make the 64 bytes"),
        (plain("(9223372036854775808, 2)", 0), "shape", "do not make the 0 bytes"),
        (typed("'<c8'"), "descr", "complex: '<c8'"),
        (typed("'|O'"), "descr", "Python objects"),
        (typed("[('a', '<f4'), ('b', '<f4')]"), "descr", "records"),
        (typed("'<U2'"), "descr", "the type is '<U2'"),
        (typed("'|S8'"), "descr", "the type is '|S8'"),
        (typed("'<M8[ns]'"), "descr", "the type is '<M8[ns]'"),
        (typed("'<f2'"), "descr", "the type is '<f2'; expected floats of 4 or 8"),
        (typed("'<f99999999999'"), "descr", "the type is"),
        (typed("''"), "descr", "the type is ''"),
        (floats(&[0.0, 1.0, 2.0, f32::NAN]), "row 1, column 1", "the value is NaN"),
        (floats(&[0.0, f32::INFINITY, 2.0, 0.0]), "row 0, column 1", "the value is inf"),
        (
            array(&header("'<f8'", "(1,)"), &1e300_f64.to_le_bytes()),
            "row 0, column 0",
            "inf in single precision",
        ),
        (
            array(&header("'<i8'", "(1,)"), &16_777_217_i64.to_le_bytes()),
            "row 0, column 0",
            "the value is 16777217; expected an integer that single",
        ),
        (array(&header("'<u8'", "(1,)"), &[255; 8]), "row 0, column 0", "18446744073709551615"),
        (array(&header("'|b1'", "(2,)"), &[1, 7]), "row 1, column 0", "the boolean is 7"),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (i, (bytes, place, message)) in cases.into_iter().enumerate() {
        let path = dir.path().join(format!("bad{i}.npy"));
        std::fs::write(&path, bytes).unwrap();
        let error = npy::read(&path).expect_err(message);
        assert!(matches!(error, Error::File { .. }), "{error}");
        let error = error.to_string();
        assert!(error.starts_with(&format!("{}: {place}: ", path.display())), "{message}: {error}");
        assert!(error.contains(message), "{message}: {error}");
    }
    let missing = npy::read(dir.path().join("none.npy")).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }) && missing.to_string().contains("none.npy"));
}

#[test]
fn bad_sources() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    std::fs::write(&path, "a,b,c\n1,2,x\n3,4,y\n").unwrap();
    let file = Source::named(path.to_str().unwrap());
    let toy = Source::named("moons");
    for (source, key, message) in [
        (Source::named("digit"), "source", "`digits` perhaps"),
        (Source::named("8gausians"), "source", "`8gaussians` perhaps"),
        (Source::named("xyzzyxyzzy"), "source", "expected one of digits, wine"),
        (Source::named("data.parquet"), "source", "no source 'data.parquet'"),
        (Source::named(""), "source", "no source ''"),
        (Source { label: Some("k".into()), ..toy.clone() }, "label", "moons has no label"),
        (Source { image: Some([1, 1, 2]), ..toy.clone() }, "image", "means nothing"),
        (Source { n: Some(0), ..toy.clone() }, "n", "from 1 to"),
        (Source { n: Some(usize::MAX), ..toy.clone() }, "n", "from 1 to"),
        (Source { held_out: Some(1.0), ..toy.clone() }, "held_out", "below 1"),
        (Source { held_out: Some(-0.1), ..toy.clone() }, "held_out", "below 1"),
        (Source { held_out: Some(f64::NAN), ..toy }, "held_out", "below 1"),
        (Source { held_out: Some(0.5), ..Source::named("digits") }, "held_out", "as recorded"),
        (Source { seed: 1, ..Source::named("wine") }, "seed", "as recorded"),
        (Source { n: Some(5), ..file.clone() }, "n", "only label, condition"),
        (Source { held_out: Some(0.9), ..file.clone() }, "held_out", "leaves none to train on"),
        (Source { image: Some([1, 2, 2]), ..file.clone() }, "image", "expected 3"),
        (Source { image: Some([3, 1, 1]), ..file.clone() }, "image", "mixes kinds"),
        (Source { image: Some([usize::MAX, 2, 2]), ..file }, "image", "expected 3"),
    ] {
        let error = source.load().expect_err(message);
        assert!(matches!(error, Error::Config { .. }), "{error}");
        let error = error.to_string();
        assert!(error.starts_with(&format!("{key}: ")), "{error}");
        assert!(error.contains(message), "{error}");
    }
    let error = Source::named("nowhere/none.csv").load().unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("nowhere/none.csv"));
    let error = "moon".parse::<Toy>().unwrap_err().to_string();
    assert!(error.contains("`moons` perhaps"), "{error}");
}

#[test]
fn bad_parts_of_data_sets() {
    let space = Space::vector(&["a"]).unwrap();
    let part = |labels: Option<Vec<u32>>| Split::new(rows(1, &[1.0, 2.0]), labels);
    assert!(part(Some(vec![0])).is_err());
    let plain = part(None).unwrap();
    let labelled = part(Some(vec![0, 3])).unwrap();
    let classes = space.clone().with_classes(vec!["p".into(), "q".into()]);
    let nan = Split::new(rows(1, &[1.0, f32::NAN]), None).unwrap();
    let wide = Split::new(rows(2, &[1.0, 2.0]), None).unwrap();
    for (space, train, held, message) in [
        (&space, &plain.select(&[]), &plain, "no rows to train on"),
        (&space, &nan, &plain, "row 1, column 0 ('a'): the value is NaN"),
        (&space, &plain, &nan, "row 1, column 0 ('a'): the value is NaN"),
        (&space, &plain, &wide, "found 2, expected 1"),
        (&classes, &labelled, &labelled, "the label of row 1 is 3"),
        (&classes, &plain, &plain, "2 classes but the rows have no labels"),
        (&space, &labelled, &labelled, "the label of row 0 is 0"),
    ] {
        let error = Dataset::new("d", space.clone(), train.clone(), held.clone()).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
    for (fraction, values) in [(1.0, vec![0.0; 4]), (f64::NAN, vec![0.0; 4]), (0.2, vec![])] {
        let error = Dataset::split(&Split::new(rows(1, &values), None).unwrap(), fraction, 0)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("held_out: "), "{error}");
    }
    assert!(Space::standardised(&["a"], &rows(1, &[])).is_err());
    assert!(Space::standardised(&["a", "b"], &rows(1, &[1.0])).is_err());
    assert!(Batches::new(0, 4, 0).is_err() && Batches::new(4, 0, 0).is_err());
    assert!(Space::image(1, 8, 8, 0).is_err() && Space::image(0, 8, 8, 2).is_err());
    assert!(Space::image(usize::MAX, 8, 8, 2).is_err());
}

#[test]
fn bad_rows_to_write() {
    let kind = Kind::Category { names: vec!["x".into()] };
    let coordinates = vec![Coordinate { kind, ..Coordinate::real("c") }];
    let space = Space::new(Layout::Vector { width: 1 }, coordinates).unwrap();
    let space = space.with_classes(vec!["p".into()]);
    let mut out = TableWriter::new(Vec::new(), "out.csv", &space, Some("y")).unwrap();
    for (value, labels, message) in [
        (1.0, Some(vec![0]), "row 0, column 0 ('c')"),
        (0.0, None, "labels to write: found 0, expected 1"),
        (0.0, Some(vec![0, 0]), "labels to write: found 2, expected 1"),
        (0.0, Some(vec![1]), "label: 1; expected a label below 1"),
    ] {
        let error = out.write(&rows(1, &[value]), labels.as_deref()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
