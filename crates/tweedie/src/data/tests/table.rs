use super::{names, rows};
use crate::data::table::{TableOptions, TableWriter, parse, read};
use crate::data::{Coordinate, Filter, Kind, Layout, Space, Split, shipped};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

fn table(text: &str, label: Option<&str>) -> (Space, Split) {
    let options = TableOptions { label: label.map(String::from), ..TableOptions::default() };
    let table = parse(text.as_bytes(), Path::new("t.csv"), &options).unwrap();
    (table.space, table.rows)
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
        ("# made by hand\n1,2\n3,4\n", vec!["x1", "x2"]),
        ("# made by hand\na,b\n1,2\n", vec!["a", "b"]),
        ("# a,b\n1,2\n3,4\n", vec!["a", "b"]),
        ("country,2019,2020\nFrance,3,4\nSpain,5,6\n", vec!["country", "2019", "2020"]),
        ("France,3,4\nSpain,5,6\nFrance,5,6\n", vec!["x1", "x2", "x3"]),
        ("acc[0],acc[1],acc [m]\n1,2,3\n", vec!["acc[0]", "acc[1]", "acc"]),
        (",a\n7,1\n9,2\n", vec!["column 1", "a"]),
        ("2,2,malignant,benign\n1,2,0\n3,4,1\n", vec!["x1", "x2", "x3"]),
        (",a\n0,5\n1,6\n2,7\n", vec!["a"]),
        ("\"a,b\",\"c\"\"d\"\n1,2\n", vec!["a,b", "c\"d"]),
        // pandas and numpy count columns that have no names.
        ("0,1,2\n5,0.5,1\n7,1.5,1\n", vec!["0", "1", "2"]),
        (",0,1\n0,0.5,1.5\n1,2.5,0.5\n", vec!["0", "1"]),
        ("0,1\n0.5,1.5\n2.5,0.5\n", vec!["0", "1"]),
        ("2019,2020,2021\n0.5,1,2\n1,0.5,1\n", vec!["2019", "2020", "2021"]),
        ("0,1\n5,1\n3,0\n", vec!["x1", "x2"]),
        ("1,2,3\n2,3,4\n3,4,5\n", vec!["x1", "x2", "x3"]),
        // Excel's first line, titles and comments.
        ("sep=|\na|b\n1|2\n", vec!["a", "b"]),
        ("Sales, by month\n\na;b\n1;2\n3;4\n", vec!["a", "b"]),
        ("// made by hand\na,b\n1,2\n3,4\n", vec!["a", "b"]),
        ("; made by hand\na,b\n1,2\n3,4\n", vec!["a", "b"]),
        ("a,b\n1,2\n# a remark\n3,4\n", vec!["a", "b"]),
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
    let kept = parse(text.as_bytes(), Path::new("t"), &options).unwrap();
    assert_eq!(names(&kept.space), ["b", "a"]);
    assert_eq!(kept.rows.rows().row(2), [0.5, 3.0]);
}

#[test]
fn separators_are_detected() {
    let plain = table("a,b\n1.5,x\n2.5,y z\n", None);
    for text in [
        "a;b\n1.5;x\n2.5;y z\n",
        "a\tb\n1,5\tx\n2,5\ty z\n",
        "a|b\n1.5|x\n2.5|y z\n",
        "a;b\n1,5;x\n2,5;y z\n",
    ] {
        assert_eq!(table(text, None), plain, "{text:?}");
    }
    let blanks = table("  a    b\n  1.5  2\n 10.5  3\n", None);
    assert_eq!(
        (names(&blanks.0), blanks.1.rows().values()),
        (vec!["a", "b"], &[1.5, 2.0, 10.5, 3.0][..])
    );
    // Texts may hold any of these signs.
    let (space, _) = table("name,tags\nAnn B,x;y|z\nCy D,x\n", None);
    assert_eq!(names(&space), ["name", "tags"]);
    let (space, _) = table("name\nAnn Bo\nCy Do\n", None);
    assert_eq!(names(&space), ["name"]);
    let wide: Vec<u8> = "\u{feff}a\tb\n1\t2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let wide = parse(&wide[..], Path::new("t.txt"), &TableOptions::default()).unwrap();
    assert_eq!((names(&wide.space), wide.rows.rows().values()), (vec!["a", "b"], &[1.0, 2.0][..]));
}

#[test]
fn signs_begin_comments_in_keels_files_alone() {
    let text = "@relation x\n@data\n1,2\n3,4\n";
    let keel = parse(text.as_bytes(), Path::new("t.dat"), &TableOptions::default()).unwrap();
    assert_eq!(keel.rows.rows().values(), [1.0, 2.0, 3.0, 4.0]);
    let (_, handles) = table("who,n\n@a,1\nb,2\n@c,3\n", None);
    assert_eq!(handles.len(), 3);
}

/// Reads a table, writes its rows after a passage through model units, and gives the text.
fn through_the_model(text: &str) -> String {
    let (space, split) = table(text, None);
    let space = space.fitted(split.rows()).unwrap();
    let raw = space.decode(&space.encode(split.rows()).unwrap()).unwrap();
    let mut out = TableWriter::new(Vec::new(), "out.csv", &space, None).unwrap();
    out.write(&raw, None).unwrap();
    String::from_utf8(out.finish().unwrap()).unwrap()
}

#[test]
fn columns_come_back_as_they_were() {
    for text in [
        "constant,binary\n7,0\n7,1\n7,1\n",
        "constant\n7.5\n7.5\n",
        "population\n1000\n9000000\n20000\n",
        "day\n20230623\n20191231\n20230624\n",
        "large\n9007199254740000\n9007199254740992\n",
        "zip\n01067\n10115\n",
        "price\n$12.50\n$0.99\n\"$1,234.00\"\n",
        "share\n45%\n7%\n",
        "money\n12.5 €\n-3 €\n",
        "mark\n1.50\n2.25\n",
        "dots,missing\n1.5,3\n2.25,\n4,5\n",
        "income\n10.5\nNA\n11.5\n",
        "colour\nred\n\"\"\nblue\n",
        "date\n2023-06-23\n1999-01-31\n2000-02-29\n",
        "date\n06/23/2023\n01/31/1999\n",
        "date\n23.06.2023\n31.01.1999\n",
        "at\n2023-06-23 10:15:00\n2023-06-24 23:59:59\n",
        "clock\n10:15\n23:59\n",
        "clock\n9:15\n23:59\n",
        "date\n6/3/2023\n12/31/1999\n",
        "date\n3 Jun 2023\n31 Dec 1999\n",
        "truth\nTrue\nFalse\n",
        "date\n06/23/21\n01/31/99\n",
        "date\n23-Jun-21\n01-Feb-19\n",
        "date\n23-JUN-21\n01-FEB-19\n",
        "date\n3 June 2023\n31 December 1999\n",
        "date\n\"Friday, June 23, 2023\"\n\"Saturday, June 24, 2023\"\n",
        "date\n2023-06\n1999-12\n",
        "month\n202306\n199912\n200001\n200112\n",
        "day\n2023-06-23 00:00:00\n1999-01-31 00:00:00\n",
        "at\n6/3/2023 9:15\n12/31/1999 21:05\n",
        "at\n2023-06-23T10:15:00+02:00\n2023-06-24T23:59:59+02:00\n",
        "at\n2023-06-23 10:15:00.123456\n2023-06-23 10:15:01.000001\n",
        "at\n2023-06-23T10:15:00.123Z\n2023-06-23T10:15:01.001Z\n",
        "at\n20230623T101500\n19990131T000001\n",
        "at\n20230623101500\n19990131000001\n",
        "at\nFri Jun 23 10:15:00 2023\nSat Jun 24 23:59:59 2023\n",
        "clock\n03:15 PM\n12:01 AM\n",
        "clock\n10:15:00.125\n23:59:59.999\n",
        "took\n1:15:00\n120:00:59\n",
        "took\n0 days 01:15:00\n12 days 23:00:59\n",
        "money\n\"1.234,50 €\"\n\"-0,99 €\"\n",
        "money\n\"1.234.567,50\"\n\"0,99\"\n",
        "money\n1'234.50\n0.99\n",
        "people\n1 234 567\n89\n",
        "money\n\"1\u{202f}234,50\u{a0}€\"\n\"0,99\u{a0}€\"\n",
        "balance\n($12.50)\n$3.25\n",
        "balance\n(12.50)\n3.25\n",
        "telephone\n+4915112345678\n+4915187654321\n",
    ] {
        assert_eq!(through_the_model(text), text);
    }
}

#[test]
fn columns_of_two_numbers_have_no_others() {
    let text: Vec<String> = (0..12)
        .map(|i| if i % 3 == 0 { "-1,5,0.25,2023-01-01\n" } else { "1,500,99.75,2024-01-01\n" })
        .map(String::from)
        .collect();
    let text = format!("a,b,c,d\n{}", text.concat());
    assert_eq!(through_the_model(&text), text);
    let (space, split) = table(&text, None);
    let space = space.fitted(split.rows()).unwrap();
    let model = rows(4, &(0..400).map(|i| (i / 4) as f32 * 0.04 - 2.0).collect::<Vec<_>>());
    let raw = space.decode(&model).unwrap();
    for (j, known) in [["-1", "1"], ["5", "500"], ["0.25", "99.75"], ["2023-01-01", "2024-01-01"]]
        .into_iter()
        .enumerate()
    {
        let found: BTreeSet<String> =
            (0..100).map(|i| space.coordinate(j).text(raw.exact(i, j))).collect();
        assert_eq!(found, known.map(String::from).into());
    }
    let none = Filter::parse("a = 0", &space, "label").unwrap_err().to_string();
    assert!(none.contains("no row has 0; expected -1 or 1"), "{none}");
    assert!(Filter::parse("a > 0, b = 5", &space, "label").is_ok());
    for step in [0.0, -1.0, f64::NAN] {
        let mut bad = space.coordinate(0).clone();
        bad.form.step = Some(step);
        assert!(Space::new(Layout::Vector { width: 1 }, vec![bad]).is_err(), "{step}");
    }
    // Pixels are numbers of one kind.
    let options = TableOptions { pixels: true, ..TableOptions::default() };
    let pixels = parse(text.as_bytes(), Path::new("t.csv"), &options).unwrap().space;
    assert_eq!(pixels.coordinate(1).kind, Kind::Quantised { low: Some(5), high: Some(500) });
    // Another file with the same numbers is read, one with others is not.
    let (one, rows_of_one) = table("a,b,c,d\n1,5,99.75,2023-01-01\n", None);
    let adopted = space.adopt(&one, &rows_of_one, "one.csv").unwrap();
    assert_eq!(adopted.rows().values(), [1.0, 0.0, 1.0, 0.0]);
    let (other, rows_of_other) = table("a,b,c,d\n1,6,99.75,2023-01-01\n", None);
    let error = space.adopt(&other, &rows_of_other, "other.csv").unwrap_err().to_string();
    assert_eq!(error, "other.csv: column 'b': 6; expected 5 or 500, as in the rows of training");
}

#[test]
fn labels_that_are_numbers_of_a_kind_are_spoken_of() {
    let lines: Vec<String> = (0..30).map(|i| format!("{i}.5,{}.25,{}\n", i * 3, i % 3)).collect();
    let text = format!("a,b,c\n{}", lines.concat());
    let notes = |label: &str| {
        let options = TableOptions { label: Some(label.into()), ..TableOptions::default() };
        parse(text.as_bytes(), Path::new("t.csv"), &options).unwrap().notes
    };
    assert!(notes("b")[0].contains("'b' has 30 classes in 30 rows"), "{:?}", notes("b"));
    assert_eq!(notes("c"), [""; 0]);
}

#[test]
fn separators_and_dates_that_are_not_known_are_spoken_of() {
    let error = |text: &str| {
        parse(text.as_bytes(), Path::new("t.csv"), &TableOptions::default())
            .unwrap_err()
            .to_string()
    };
    let found = error("a^b\n1^2\n3^4\n");
    assert!(found.contains("equally many '^'"), "{found}");
    let days: Vec<String> = (1..31).map(|day| format!("2023-01-{day:02}\n")).collect();
    let found = error(&format!("day\n{}2023-02-30\n", days.concat()));
    assert!(
        found.starts_with("t.csv: line 32, column 'day': '2023-02-30' is not a date"),
        "{found}"
    );
    let found = error("a,b\n\"1,2\n3,4\n");
    assert!(found.contains("line 2") && found.contains("quote"), "{found}");
    let minus = table("x\n−1.5\n2.5\n", None).1;
    assert_eq!(minus.rows().values(), [-1.5, 2.5]);
    let found = error("<!DOCTYPE html>\n<html></html>\n");
    assert!(found.contains("a page of HTML"), "{found}");
    for text in ["aspect\n16:9\n4:3\n", "version\n1.2.3\n4.10.2\n", "score\n1/2\n3/4\n"] {
        let (space, _) = table(text, None);
        assert!(matches!(space.coordinate(0).kind, Kind::Category { .. }), "{text}");
    }
}

#[test]
fn integers_of_a_wide_range_are_exact_and_samples_have_no_step() {
    let decimals = ["price\n1234567.89\n0.01\n7654321.12\n", "s\n1678787040.408\n1600489089.999\n"];
    let text = "at\n1612345678\n1798765433\n1700000001\n1650000007\n";
    for text in decimals.into_iter().chain([text]) {
        let (space, split) = table(text, None);
        let mut out = TableWriter::new(Vec::new(), "out.csv", &space, None).unwrap();
        out.write(split.rows(), None).unwrap();
        assert_eq!(String::from_utf8(out.finish().unwrap()).unwrap(), text);
    }
    let (space, split) = table(text, None);
    assert_eq!(split.select(&[2]).rows().exact(0, 0), split.rows().exact(2, 0));
    let space = space.fitted(split.rows()).unwrap();
    let model = rows(1, &(0..1000).map(|i| i as f32 * 0.0013 - 0.6).collect::<Vec<_>>());
    let raw = space.decode(&model).unwrap();
    let odd =
        (0..1000).filter(|&i| space.coordinate(0).value(raw.exact(i, 0)) % 2.0 == 1.0).count();
    assert!((350..650).contains(&odd), "{odd}");
}

#[test]
fn dates_that_can_be_read_in_two_ways_are_spoken_of() {
    let note = |text: &str| {
        parse(text.as_bytes(), Path::new("t.csv"), &TableOptions::default()).unwrap().notes
    };
    let found = note("date\n03/04/2023\n05/06/2023\n");
    assert!(found[0].contains("%m/%d/%Y") && found[0].contains("%d/%m/%Y"), "{found:?}");
    assert_eq!(note("date\n03/04/2023\n05/26/2023\n"), [""; 0]);
    assert_eq!(note("date\n12/11/2023\n12/26/2023\n"), [""; 0]);
}

#[test]
fn limits_are_learnt_unless_they_are_not_wanted() {
    let options = TableOptions { unlimited: true, ..TableOptions::default() };
    let text = "price,n\n0.50,1\n2.25,3\n";
    let free = parse(text.as_bytes(), Path::new("t.csv"), &options).unwrap().space;
    let (bound, _) = table(text, None);
    let beyond = rows(2, &[-9.0, -9.0, 9.0, 9.0]);
    let values = |space: Space| space.decode(&beyond).unwrap().values().to_vec();
    assert_eq!(values(bound), [0.5, 1.0, 2.25, 3.0]);
    assert_eq!(values(free), [-9.0, -9.0, 9.0, 9.0]);
}

#[test]
fn identifiers_are_spoken_of_and_drawn_new() {
    let mails: Vec<String> = (0..30).map(|i| format!("who{i:02}@mail.org,{i}\n")).collect();
    let text = format!("mail,n\n{}", mails.concat());
    let options = TableOptions { id: Some(vec!["mail".into()]), ..TableOptions::default() };
    let noted = parse(text.as_bytes(), Path::new("t.csv"), &TableOptions::default()).unwrap();
    assert!(
        noted.notes[0].contains("'mail'") && noted.notes[0].contains("data.id"),
        "{:?}",
        noted.notes
    );
    let table = parse(text.as_bytes(), Path::new("t.csv"), &options).unwrap();
    assert_eq!((table.notes.len(), table.space.model_width()), (0, 1));
    let all = TableOptions { columns: options.id.clone(), ..options };
    let error = parse(text.as_bytes(), Path::new("t.csv"), &all).unwrap_err().to_string();
    assert!(error.contains("t.csv: header: all columns are identifiers"), "{error}");
    let id = table.space.coordinate(0).clone();
    assert!(Space::new(Layout::Vector { width: 1 }, vec![id]).is_err());
    let mut out = TableWriter::new(Vec::new(), "out.csv", &table.space, None).unwrap();
    out.write(table.rows.rows(), None).unwrap();
    let written = String::from_utf8(out.finish().unwrap()).unwrap();
    let mut new: Vec<&str> =
        written.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert!(
        new.iter().all(|mail| mail.len() == 14 && mail.contains('@') && !text.contains(mail)),
        "{written}"
    );
    new.sort_unstable();
    new.dedup();
    assert_eq!(new.len(), 30);
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
        let packed = read(&path, &TableOptions::default()).unwrap();
        assert_eq!((packed.space, packed.rows), plain);
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
fn cells_of_a_tsv_file_are_separated_by_tabs() {
    let (space, split) = table("a,b\n1.5,\"x, y\"\n", None);
    let mut out = TableWriter::new(Vec::new(), "out.TSV", &space, None).unwrap();
    out.write(split.rows(), None).unwrap();
    assert_eq!(out.finish().unwrap(), b"a\tb\n1.5\tx, y\n");
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

/// Bytes that mean something to a reader of tables, or are no text.
const SIGNS: &[u8] = b"01.,-e\n\r\"@#$%:/;|\tab\xc3\xa4\xff\xfe\0 ";

proptest! {
    #[test]
    fn any_table_survives_writing(
        numbers in prop::collection::vec(any::<f32>().prop_filter("below 2^53", |v| v.abs() < 9e15), 1..30),
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
        let again = parse(&bytes[..], Path::new("out.csv"), &TableOptions::default()).unwrap();
        let origin = again.space.coordinate(0).form.origin;
        for (a, b) in again.rows.rows().iter().zip(raw.iter()) {
            prop_assert_eq!([(f64::from(a[0]) + origin) as f32, a[1]], [b[0], b[1]]);
        }
        prop_assert_eq!(&again.space.coordinate(1).kind, &space.coordinate(1).kind);
    }

    #[test]
    fn no_text_panics(bytes in prop::collection::vec(prop::sample::select(SIGNS.to_vec()), 0..80)) {
        let options = TableOptions { label: Some("last".into()), ..TableOptions::default() };
        let _ = parse(&bytes[..], Path::new("t.csv"), &TableOptions::default());
        let _ = parse(&bytes[..], Path::new("t.csv"), &options);
    }
}
