//! NumPy's archives: those that bench/npz_peer.py made, and damaged ones.

use crate::data::npz::NpzWriter;
use crate::data::{Dataset, Layout, Rows, Source};
use crate::{Error, Result};
use std::fs::write;
use std::path::Path;

const PLAIN: &[u8] = include_bytes!("../../../tests/fixtures/plain.npz");
const PACKED: &[u8] = include_bytes!("../../../tests/fixtures/packed.npz");
const KERAS: &[u8] = include_bytes!("../../../tests/fixtures/keras.npz");

fn load(bytes: &[u8], share: Option<f64>) -> Result<Dataset> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.npz");
    write(&path, bytes).unwrap();
    Source { held_out: share, ..Source::named(path.to_str().unwrap()) }.load()
}

/// Value `j` of row `i` in the order of the array.
fn value(i: usize, j: usize) -> f32 {
    ((31 * i + 7 * j) % 251) as f32
}

#[test]
fn numpys_archives_are_read() {
    for (bytes, labels, classes) in
        [(PLAIN, Some(&[1, 0, 1][..]), &["1", "4"][..]), (PACKED, None, &[])]
    {
        let data = load(bytes, Some(0.0)).unwrap();
        assert_eq!(data.space.layout(), Layout::Image { channels: 3, height: 5, width: 4 });
        assert_eq!((data.train.labels(), data.space.classes().len()), (labels, classes.len()));
        assert!(data.space.classes().iter().zip(classes).all(|(a, b)| a == b));
        for (i, row) in data.train.rows().iter().enumerate() {
            for (k, &found) in row.iter().enumerate() {
                assert_eq!(found, value(i, k % 20 * 3 + k / 20));
            }
        }
    }
    let data = load(KERAS, None).unwrap();
    assert_eq!(data.space.layout(), Layout::Image { channels: 1, height: 6, width: 5 });
    assert_eq!(data.train.labels(), Some(&[1, 0, 1, 1][..]));
    assert_eq!(data.held_out.labels(), Some(&[0, 1][..]));
    for (i, row) in data.train.rows().iter().enumerate() {
        assert!(row.iter().enumerate().all(|(j, &found)| found == value(i, j)));
    }
    assert_eq!(data.held_out.rows().row(1), data.train.rows().row(1));
}

#[test]
fn channels_last_arrays_are_turned() {
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 8, 8, 3), }\n";
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(0..192u8);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    write(&path, bytes).unwrap();
    let (space, rows) = crate::data::npy::read(path).unwrap();
    assert_eq!(space.layout(), Layout::Image { channels: 3, height: 8, width: 8 });
    let expected: Vec<f32> = (0..192).map(|k| (k % 64 * 3 + k / 64) as f32).collect();
    assert_eq!(rows.values(), expected);
}

/// An archive of stored entries with true checksums.
fn archive(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let size = (content.len() as u32).to_le_bytes();
        let name_length = (name.len() as u16).to_le_bytes();
        let common = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &crc.sum().to_le_bytes(),
            &size,
            &size,
            &name_length,
            &[0, 0],
        ];
        let common = common.concat();
        directory.extend(
            [
                &b"PK\x01\x02\x14\x00"[..],
                &common,
                &[0; 10],
                &(bytes.len() as u32).to_le_bytes(),
                name.as_bytes(),
            ]
            .concat(),
        );
        bytes.extend([&b"PK\x03\x04"[..], &common, name.as_bytes(), content].concat());
    }
    let (start, size) = (bytes.len() as u32, directory.len() as u32);
    let count = (entries.len() as u16).to_le_bytes();
    let end = [
        &b"PK\x05\x06\0\0\0\0"[..],
        &count,
        &count,
        &size.to_le_bytes(),
        &start.to_le_bytes(),
        &[0, 0],
    ];
    [bytes, directory, end.concat()].concat()
}

/// A .npy array of bytes.
fn array(shape: &str, values: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n");
    [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), values]
        .concat()
}

/// The archive with the bytes at the last place where `old` stands replaced, which are `offset` further on.
fn changed(bytes: &[u8], old: &[u8], offset: usize, new: &[u8]) -> Vec<u8> {
    let at = bytes.windows(old.len()).rposition(|window| window == old).unwrap() + offset;
    [&bytes[..at], new, &bytes[at + new.len()..]].concat()
}

#[test]
fn bad_archives() {
    let images = || ("images.npy", array("(2, 2, 2)", &[0, 1, 2, 3, 4, 5, 6, 7]));
    let good = archive(&[images()]);
    assert_eq!(load(&good, Some(0.0)).unwrap().train.rows().row(1), [4.0, 5.0, 6.0, 7.0]);
    let with = |name: &'static str, array: Vec<u8>| archive(&[images(), (name, array)]);
    let train = || ("x_train.npy", array("(2, 2, 2)", &[0; 8]));
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "data.npz: "),
        (b"\x93NUMPY".to_vec(), "data.npz: "),
        (good[..good.len() - 30].to_vec(), "data.npz: "),
        (PACKED[..PACKED.len() / 2].to_vec(), "data.npz: "),
        (changed(&good, b"PK\x01\x02", 42, &[255, 255, 255, 0]), "data.npz: "),
        (changed(&good, b"PK\x01\x02", 42, &[3, 0, 0, 0]), "images.npy: "),
        (changed(&good, b"PK\x01\x02", 20, &[255, 255, 255, 0]), "images.npy: "),
        (changed(&good, b"PK\x01\x02", 8, &[1]), "images.npy: "),
        (changed(&good, b"PK\x01\x02", 10, &[99]), "images.npy: "),
        (changed(&good, b"PK\x01\x02", 10, &[8]), "images.npy: "),
        (changed(&good, b"\x93NUMPY", 60, b"#"), "images.npy: "),
        (archive(&[]), "there is no array; expected images, x"),
        (archive(&[("other.npy", vec![1])]), "there are the arrays other.npy; expected images, x"),
        (archive(&[("images.npy", vec![])]), "images: header: the file does not begin"),
        (archive(&[("x.npy", array("(9, 9, 9)", &[0; 8]))]), "x: shape: [9, 9, 9] values"),
        (with("labels.npy", array("(3,)", &[0; 3])), "labels: there are 3 rows of 1; expected 2"),
        (with("y.npy", array("(2, 2)", &[0; 4])), "y: there are 2 rows of 2; expected 2 labels"),
        (
            archive(&[train(), ("x_test.npy", array("(1, 2, 3)", &[0; 6]))]),
            "x_test: a row is 1×2×3; expected 1×2×2",
        ),
        (
            archive(&[
                train(),
                ("x_test.npy", array("(1, 2, 2)", &[0; 4])),
                ("y_test.npy", array("(1,)", &[0])),
            ]),
            "one of the training and the held-out part has labels",
        ),
    ];
    for (bytes, message) in cases {
        let error = load(&bytes, None).expect_err(message);
        assert!(matches!(error, Error::File { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains("data.npz: ") && error.contains(message), "{message}: {error}");
    }
    // Where the directory is damaged, what is there is found by its own marks, or not at all.
    for bytes in [
        good[20..].to_vec(),
        changed(&good, b"PK\x05\x06", 12, &[255; 4]),
        changed(&good, b"PK\x05\x06", 16, &[255; 4]),
        changed(&good, b"PK\x01\x02", 28, &[255; 2]),
    ] {
        match load(&bytes, Some(0.0)) {
            Ok(data) => assert_eq!(data.train.rows().row(1), [4.0, 5.0, 6.0, 7.0]),
            Err(error) => assert!(matches!(error, Error::File { .. }), "{error}"),
        }
    }
    // No damage to any byte brings it down.
    for (bytes, places) in [(PLAIN, 40), (PACKED, 1), (KERAS, 7)] {
        for at in (0..bytes.len()).step_by(places) {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0xff;
            let _ = load(&damaged, None);
        }
    }
}

#[test]
fn rows_that_are_no_pictures_stay_rows() {
    let bytes = archive(&[("x.npy", array("(5, 2)", &[0, 9, 1, 8, 2, 7, 3, 6, 4, 5]))]);
    let data = load(&bytes, None).unwrap();
    assert_eq!((data.space.layout(), data.train.len()), (Layout::Vector { width: 2 }, 4));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.npz");
    write(&path, &bytes).unwrap();
    let named = |path: &Path| Source::named(path.to_str().unwrap());
    let seen = Source { image: Some([1, 1, 2]), ..named(&path) }.load().unwrap();
    assert_eq!(seen.space.layout(), Layout::Image { channels: 1, height: 1, width: 2 });
}

#[test]
fn archives_that_are_written_are_read_with_their_classes() {
    let classes = ["Ölbaum", "yew", "e"].map(String::from);
    let layout = Layout::Image { channels: 1, height: 2, width: 3 };
    let rows = Rows::new((0..30).map(|i| i as f32 - 0.5).collect(), 6).unwrap();
    let mut archive = NpzWriter::new(Vec::new(), "out.npz", 5, layout).unwrap();
    archive.write(&rows.slice(0..2), Some(&[2, 0])).unwrap();
    assert!(archive.write(&rows.slice(2..5), Some(&[2, 0])).is_err());
    archive.write(&rows.slice(2..5), Some(&[0, 1, 2])).unwrap();
    let data = load(&archive.finish(&classes).unwrap(), Some(0.0)).unwrap();
    assert_eq!((data.train.rows(), data.space.layout()), (&rows, layout));
    assert_eq!(
        (data.train.labels(), data.space.classes()),
        (Some(&[2, 0, 0, 1, 2][..]), &classes[..])
    );

    let mut archive =
        NpzWriter::new(Vec::new(), "out.npz", 5, Layout::Vector { width: 6 }).unwrap();
    archive.write(&rows, None).unwrap();
    let data = load(&archive.finish(&[]).unwrap(), Some(0.0)).unwrap();
    assert_eq!((data.train.rows(), data.train.labels()), (&rows, None));

    let mut archive = NpzWriter::new(Vec::new(), "out.npz", 5, layout).unwrap();
    archive.write(&rows, Some(&[0, 0, 1, 1, 2])).unwrap();
    let error = load(&archive.finish(&classes[..2]).unwrap(), None).unwrap_err().to_string();
    assert!(error.contains("the label 2; expected a label below 2"), "{error}");
}

/// An array of bytes, one column, as NumPy writes it.
fn column(values: &[u8]) -> Vec<u8> {
    let shape = values.len();
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}, 1), }}\n");
    let start = [b"\x93NUMPY\x01\x00".as_slice(), &(header.len() as u16).to_le_bytes()].concat();
    [&start[..], header.as_bytes(), values].concat()
}

/// Rows that are published for validation are the validation rows, whatever the parts are called.
#[test]
fn divided_archives_keep_their_parts() {
    for (train, valid, test) in [
        ("train", "valid", "test"),
        ("x_train", "x_val", "x_test"),
        ("train", "validation", "test"),
    ] {
        let arrays = [(train, vec![1, 2, 3, 4]), (valid, vec![5, 6]), (test, vec![7, 8, 9])];
        let entries = arrays.map(|(name, v)| (format!("{name}.npy"), column(&v)));
        let entries = entries.each_ref().map(|(name, v)| (name.as_str(), v.clone()));
        let data = load(&archive(&entries), None).unwrap();
        let rows = |rows: &Rows| rows.values().to_vec();
        assert_eq!(rows(data.fit_rows().rows()), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(rows(data.validation().rows()), [5.0, 6.0]);
        assert_eq!(rows(data.test().rows()), [7.0, 8.0, 9.0]);
    }
    let only = archive(&[("valid.npy", column(&[1, 2]))]);
    let error = load(&only, None).unwrap_err().to_string();
    assert!(error.contains("there are the arrays valid.npy"), "{error}");
}
