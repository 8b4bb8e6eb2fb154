use super::{names, rows};
use crate::data::table::{TableOptions, TableWriter, parse, read};
use crate::data::{Coordinate, Kind, Layout, Space, Split, shipped};
use proptest::prelude::*;
use std::io::Write;
use std::path::Path;

fn table(text: &str, label: Option<&str>) -> (Space, Split) {
    let options = TableOptions { label: label.map(String::from), ..TableOptions::default() };
    parse(text.as_bytes(), Path::new("t.csv"), &options).unwrap()
}

#[test]
fn headers_are_detected() {
    for (text, expected) in [
        ("a,b\n1,2\n", vec!["a", "b"]),
        ("1,2\n3,4\n", vec!["x1", "x2"]),
        ("1.5,g\n2.5,b\n", vec!["x1", "x2"]),
        ("?,b\n1,2\n", vec!["?", "b"]),
        ("2019,2020,who\n1,2,3\n", vec!["2019", "2020", "who"]),
        ("size,colour\nbig,red\n", vec!["size", "colour"]),
        ("\u{feff}a [mm], b [%] \n1,2\n", vec!["a", "b"]),
        ("@relation x\n@data\n1,2\n3,4\n", vec!["x1", "x2"]),
        ("\"a,b\",\"c\"\"d\"\n1,2\n", vec!["a,b", "c\"d"]),
    ] {
        assert_eq!(names(&table(text, None).0), expected, "{text}");
    }
    let (space, _) = table("a [mm],b\n1,2\n", None);
    assert_eq!(space.coordinate(0).unit.as_deref(), Some("mm"));
    assert_eq!(space.coordinate(1).unit, None);
}

#[test]
fn columns_labels_and_categories() {
    let text = "a,colour,b,y\n1,red,1e-3,10\n2,blue,-4,9\n+3,red,.5,10\n";
    let (space, split) = table(text, Some("y"));
    assert_eq!(space.classes(), ["9", "10"]);
    assert_eq!(split.labels().unwrap(), [1, 0, 1]);
    assert_eq!(split.rows().values(), [1.0, 1.0, 1e-3, 2.0, 0.0, -4.0, 3.0, 1.0, 0.5]);
    let colours = Kind::Category { names: vec!["blue".into(), "red".into()] };
    assert_eq!(space.coordinate(1).kind, colours);
    assert_eq!(table(text, Some("last")), (space, split));
    let options =
        TableOptions { columns: Some(vec!["b".into(), "a".into()]), ..TableOptions::default() };
    let (space, split) = parse(text.as_bytes(), Path::new("t"), &options).unwrap();
    assert_eq!(names(&space), ["b", "a"]);
    assert_eq!(split.rows().row(2), [0.5, 3.0]);
}

#[test]
fn line_endings_and_compression_do_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let plain = table("a,b\n1,2\n3,4\n", None);
    for text in ["a,b\r\n1,2\r\n3,4", "a,b\n\n1,2\n\n3,4\n\n", "a , b\n 1,2\n3, 4\n"] {
        assert_eq!(table(text, None), plain, "{text:?}");
        let path = dir.path().join("t.csv.gz");
        let file = std::fs::File::create(&path).unwrap();
        let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        gz.write_all(text.as_bytes()).unwrap();
        gz.finish().unwrap();
        assert_eq!(read(&path, &TableOptions::default()).unwrap(), plain);
    }
}

#[test]
fn a_table_is_written_as_it_was_read() {
    let text = "alcohol [%],n,\"colour, hue\",y\n14.23,1065,\"deep \"\"red\"\"\",Barolo\n-0.1,3,pale,Barbera\n";
    let (space, split) = table(text, Some("y"));
    let mut out = TableWriter::new(Vec::new(), "out.csv", &space, Some("y")).unwrap();
    for i in 0..2 {
        let one = split.select(&[i]);
        out.write(one.rows(), one.labels()).unwrap();
    }
    assert_eq!(String::from_utf8(out.finish().unwrap()).unwrap(), text);
}

#[test]
fn what_ships_survives_encoding_and_writing() {
    let wine = shipped::wine().unwrap();
    let model = wine.space.encode(wine.train.rows()).unwrap();
    let raw = wine.space.decode(&model).unwrap();
    let mut out = TableWriter::new(Vec::new(), "out.csv", &wine.space, Some("cultivar")).unwrap();
    out.write(&raw, wine.train.labels()).unwrap();
    let text = String::from_utf8(out.finish().unwrap()).unwrap();
    let (space, split) = table(&text, Some("cultivar"));
    assert_eq!(split.labels(), wine.train.labels());
    assert_eq!(space.classes(), wine.space.classes());
    for (j, row) in split.rows().iter().zip(wine.train.rows().iter()).enumerate() {
        for (column, (a, b)) in row.0.iter().zip(row.1).enumerate() {
            let exact = wine.space.coordinate(column).is_quantised();
            assert!(
                if exact { a == b } else { (a - b).abs() < 1e-5 * b.abs().max(1.0) },
                "{j}: {a} {b}"
            );
        }
    }
    let first = text.lines().nth(1).unwrap().split(',').nth(4).unwrap();
    assert_eq!(first, "100");
}

#[test]
fn pictures_have_columns_of_their_own() {
    let space = Space::image(1, 1, 2, 4).unwrap();
    let mut out = TableWriter::new(Vec::new(), "out.csv", &space, None).unwrap();
    out.write(&rows(2, &[3.0, -0.0]), None).unwrap();
    assert_eq!(out.finish().unwrap(), b"pixel 0 0 0,pixel 0 0 1\n3,0\n");
}

#[test]
fn a_failing_output_is_an_error() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("no space left"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let space = Space::vector(&["a"]).unwrap();
    let mut out = TableWriter::new(Full, "full.csv", &space, None).unwrap();
    let written = out.write(&rows(1, &[0.5; 10_000]), None);
    let error = written.and_then(|()| out.finish().map(|_| ())).unwrap_err().to_string();
    assert!(error.contains("full.csv") && error.contains("no space left"), "{error}");
}

proptest! {
    #[test]
    fn any_table_survives_writing(
        numbers in prop::collection::vec(any::<f32>().prop_filter("finite", |v| v.is_finite()), 1..30),
        texts in prop::collection::vec("[a-zäß,\" ]{0,6}[a-zß,\"]", 3),
        picks in prop::collection::vec(0_usize..3, 30),
    ) {
        let mut names: Vec<String> = texts.iter().map(|t| t.trim().to_string()).collect();
        names.sort();
        names.dedup();
        prop_assume!(!names.iter().any(|n| ["na", "nan", "null", "inf"].contains(&n.as_str())));
        let used: Vec<usize> = picks[..numbers.len()].iter().map(|p| p % names.len()).collect();
        prop_assume!((0..names.len()).all(|k| used.contains(&k)));
        let kind = Kind::Category { names };
        let coordinates = vec![Coordinate::real("v"), Coordinate { kind, ..Coordinate::real("c") }];
        let space = Space::new(Layout::Vector { width: 2 }, coordinates).unwrap();
        let values: Vec<f32> = numbers.iter().zip(&used).flat_map(|(&v, &k)| [v + 0.0, k as f32]).collect();
        let raw = rows(2, &values);
        let mut out = TableWriter::new(Vec::new(), "out.csv", &space, None).unwrap();
        out.write(&raw, None).unwrap();
        let bytes = out.finish().unwrap();
        let (again, split) = parse(&bytes[..], Path::new("out.csv"), &TableOptions::default()).unwrap();
        prop_assert_eq!(split.rows(), &raw);
        prop_assert_eq!(again, space);
    }

    #[test]
    fn no_text_panics(bytes in prop::collection::vec(prop::sample::select(b"01.,-e\n\r\"@;\tab\xc3\xa4\xff\0 ".to_vec()), 0..80)) {
        let options = TableOptions { label: Some("last".into()), ..TableOptions::default() };
        let _ = parse(&bytes[..], Path::new("t.csv"), &TableOptions::default());
        let _ = parse(&bytes[..], Path::new("t.csv"), &options);
    }
}
