//! CIFAR's binary files, made here.

use crate::data::{Dataset, Layout, Source};
use crate::{Error, Result};
use std::fs::write;
use std::path::Path;

/// A record: its labels, and in each channel c at place i the value 80 c + i mod 79.
fn record(labels: &[u8]) -> Vec<u8> {
    let pixels = (0..3072).map(|j| (80 * (j / 1024) + j % 1024 % 79) as u8);
    labels.iter().copied().chain(pixels).collect()
}

fn load(folder: &Path) -> Result<Dataset> {
    Source::named(folder.to_str().unwrap()).load()
}

fn ten(folder: &Path) {
    for k in 1..=5u8 {
        let name = format!("data_batch_{k}.bin");
        write(folder.join(name), [record(&[k % 3]), record(&[0])].concat()).unwrap();
    }
    write(folder.join("test_batch.bin"), record(&[2])).unwrap();
    write(folder.join("batches.meta.txt"), "airplane\nautomobile\nbird\n\n").unwrap();
}

#[test]
fn ten_and_a_hundred_classes() {
    let dir = tempfile::tempdir().unwrap();
    ten(dir.path());
    let data = load(dir.path()).unwrap();
    assert_eq!(data.space.layout(), Layout::Image { channels: 3, height: 32, width: 32 });
    assert_eq!(data.space.classes(), ["airplane", "automobile", "bird"]);
    assert_eq!(data.train.labels(), Some(&[1, 0, 2, 0, 0, 0, 1, 0, 2, 0][..]));
    assert_eq!((data.held_out.len(), data.held_out.labels()), (1, Some(&[2][..])));
    let value = |j: usize| (80 * (j / 1024) + j % 1024 % 79) as f32;
    for row in data.train.rows().iter().chain(data.held_out.rows().iter()) {
        assert!(row.iter().enumerate().all(|(j, v)| *v == value(j)));
    }

    let dir = tempfile::tempdir().unwrap();
    write(dir.path().join("train.bin"), [record(&[9, 1]), record(&[7, 0])].concat()).unwrap();
    write(dir.path().join("test.bin"), record(&[3, 1])).unwrap();
    write(dir.path().join("fine_label_names.txt"), "apple\nbeaver\n").unwrap();
    let data = load(dir.path()).unwrap();
    assert_eq!((data.train.labels(), data.held_out.labels()), (Some(&[1, 0][..]), Some(&[1][..])));
    assert_eq!(data.train.rows().row(1)[1024], 80.0);
    let none = Source { label: Some("none".into()), ..Source::named(dir.path().to_str().unwrap()) };
    assert_eq!(none.load().unwrap().held_out.labels(), None);
}

#[test]
fn bad_files() {
    let whole = record(&[0]);
    let cases: [(&str, Option<&[u8]>, &str); 7] = [
        ("data_batch_3.bin", None, "No such file"),
        ("test_batch.bin", None, "No such file"),
        ("batches.meta.txt", None, "No such file"),
        ("data_batch_2.bin", Some(b""), "there are 0 bytes; expected whole records of 3073"),
        ("test_batch.bin", Some(&whole[..3000]), "there are 3000 bytes"),
        ("batches.meta.txt", Some(b"airplane\n"), "data_batch_1.bin: record 0: the label is 1"),
        ("batches.meta.txt", Some(b"\xff\xfe"), "UTF-8"),
    ];
    for (name, bytes, message) in cases {
        let dir = tempfile::tempdir().unwrap();
        ten(dir.path());
        match bytes {
            None => std::fs::remove_file(dir.path().join(name)).unwrap(),
            Some(bytes) => write(dir.path().join(name), bytes).unwrap(),
        }
        let error = load(dir.path()).unwrap_err();
        assert!(matches!(error, Error::File { .. } | Error::Io { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(message), "{message}: {error}");
        assert!(error.contains(name) || message.contains("record"), "{name}: {error}");
    }
}
