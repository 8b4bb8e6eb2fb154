//! Folders of pictures: every format against Pillow, every arrangement, and what cannot be read.

use crate::data::{Dataset, Layout, Source};
use crate::{Error, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use std::fs::{create_dir_all, write};
use std::io::Cursor;
use std::path::Path;

#[derive(serde::Deserialize)]
struct Peer {
    pictures: Vec<Picture>,
}

#[derive(serde::Deserialize)]
struct Picture {
    name: String,
    file: String,
    size: Option<usize>,
    tolerance: f32,
    shape: [usize; 3],
    pixels: Vec<f32>,
}

/// What bench/pictures_peer.py made.
fn peer() -> Vec<Picture> {
    let text = include_str!("../../../tests/fixtures/pictures.json");
    serde_json::from_str::<Peer>(text).unwrap().pictures
}

fn source(folder: &Path) -> Source {
    Source { held_out: Some(0.0), ..Source::named(folder.to_str().unwrap()) }
}

fn load(folder: &Path) -> Result<Dataset> {
    source(folder).load()
}

/// A file of one colour, with its folders.
fn put(folder: &Path, name: &str, value: u8, [height, width]: [u32; 2]) {
    let path = folder.join(name);
    create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(width, height, [value, 0, 255 - value].into()).save(path).unwrap();
}

/// The first value of each row.
fn firsts(part: &crate::data::Split) -> Vec<f32> {
    part.rows().iter().map(|row| row[0]).collect()
}

#[test]
fn every_format_is_read_as_by_pillow() {
    let pictures = peer();
    assert!(pictures.len() > 20);
    for picture in pictures {
        let dir = tempfile::tempdir().unwrap();
        let bytes = BASE64_STANDARD.decode(&picture.file).unwrap();
        write(dir.path().join(&picture.name), bytes).unwrap();
        let data = Source { size: picture.size, ..source(dir.path()) }.load().unwrap();
        let [channels, height, width] = picture.shape;
        assert_eq!(
            data.space.layout(),
            Layout::Image { channels, height, width },
            "{}",
            picture.name
        );
        let found = data.train.rows().values();
        let differences = found.iter().zip(&picture.pixels).map(|(a, b)| (a - b).abs());
        let worst = differences.fold(0.0, f32::max);
        println!("{:20} off by {worst} of {}", picture.name, picture.tolerance);
        assert!(worst <= picture.tolerance, "{}: off by {worst}", picture.name);
    }
}

#[test]
fn folders_are_flat_or_classes_or_parts() {
    let dir = tempfile::tempdir().unwrap();
    let (flat, classes, parts) =
        (dir.path().join("flat"), dir.path().join("classes"), dir.path().join("parts"));
    for (name, value) in [("b.png", 2), ("a.webp", 1), ("C.PNG", 0), (".hidden.png", 9)] {
        put(&flat, name, value, [4, 6]);
    }
    write(flat.join("notes.txt"), "not a picture").unwrap();
    let data = load(&flat).unwrap();
    assert_eq!(data.space.layout(), Layout::Image { channels: 3, height: 4, width: 6 });
    assert_eq!((firsts(&data.train), data.train.labels()), (vec![0.0, 1.0, 2.0], None));
    assert_eq!((data.name.as_str(), data.space.classes().len()), ("flat", 0));

    for (name, value) in [("oak/2.png", 5), ("oak/1.png", 4), ("elm/x.png", 3), (".git/x.png", 9)] {
        put(&classes, name, value, [2, 2]);
    }
    let data = load(&classes).unwrap();
    assert_eq!(data.space.classes(), ["elm", "oak"]);
    assert_eq!(
        (firsts(&data.train), data.train.labels()),
        (vec![3.0, 4.0, 5.0], Some(&[0, 1, 1][..]))
    );
    let data = Source { label: Some("none".into()), ..source(&classes) }.load().unwrap();
    assert_eq!((data.train.labels(), data.space.classes().len()), (None, 0));

    for (name, value) in [
        ("train/elm/1.png", 1),
        ("train/oak/1.png", 2),
        ("val/oak/9.png", 3),
        ("test/oak/7.png", 4),
    ] {
        put(&parts, name, value, [2, 2]);
    }
    let data = Source::named(parts.to_str().unwrap()).load().unwrap();
    assert_eq!((firsts(&data.train), firsts(&data.held_out)), (vec![1.0, 2.0], vec![3.0, 4.0]));
    assert_eq!((firsts(&data.validation()), firsts(&data.test())), (vec![3.0], vec![4.0]));
    assert_eq!(data.held_out.labels(), Some(&[1, 1][..]));
    std::fs::remove_dir_all(parts.join("test")).unwrap();
    let data = Source::named(parts.to_str().unwrap()).load().unwrap();
    assert_eq!(firsts(&data.held_out), [3.0]);
    // A class may be called train where others are called otherwise.
    put(&parts, "plane/1.png", 7, [2, 2]);
    put(&parts, "train/1.png", 7, [2, 2]);
    put(&parts, "val/1.png", 7, [2, 2]);
    let data = load(&parts).unwrap();
    let classes = ["plane", "train", "train/elm", "train/oak", "val", "val/oak"];
    assert_eq!(data.space.classes(), classes);
    assert!(data.notes[0].contains("train, val are taken for classes"), "{:?}", data.notes);
}

#[test]
fn channels_are_those_of_the_files_or_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    GrayImage::from_pixel(2, 2, [40].into()).save(dir.path().join("grey.png")).unwrap();
    let layout = |channels| Layout::Image { channels, height: 2, width: 2 };
    assert_eq!(load(dir.path()).unwrap().space.layout(), layout(1));
    let three = Source { channels: Some(3), ..source(dir.path()) }.load().unwrap();
    assert_eq!((three.space.layout(), three.train.rows().values()), (layout(3), &[40.0; 12][..]));
    put(dir.path(), "colour.png", 100, [2, 2]);
    assert_eq!(load(dir.path()).unwrap().space.layout(), layout(3));
    let one = Source { channels: Some(1), ..source(dir.path()) }.load().unwrap();
    // Rec. 709: 0.2126 · 100 + 0.0722 · 155 = 32.45.
    assert_eq!(one.space.layout(), layout(1));
    assert!((firsts(&one.train)[0] - 32.45).abs() <= 1.0, "{:?}", firsts(&one.train));
}

#[test]
fn sizes_differ_only_where_a_size_is_given() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a.png", 10, [20, 30]);
    put(dir.path(), "b.png", 20, [300, 200]);
    let error = load(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("b.png: picture: it is 300×200 pixels; expected 20×30 as in"),
        "{error}"
    );
    assert!(error.contains("`size`"), "{error}");
    let data = Source { size: Some(16), ..source(dir.path()) }.load().unwrap();
    assert_eq!(data.space.layout(), Layout::Image { channels: 3, height: 16, width: 16 });
    // One colour stays what it is, however it is resized.
    for (row, value) in data.train.rows().iter().zip([10.0, 20.0]) {
        let expected = [value, 0.0, 255.0 - value].map(|v| [v; 256]).concat();
        assert_eq!(row, expected);
    }
    // The crop is the centre: a ramp keeps its symmetry.
    let ramp = RgbImage::from_fn(40, 24, |x, _| [x as u8 * 6; 3].into());
    let dir = tempfile::tempdir().unwrap();
    ramp.save(dir.path().join("ramp.png")).unwrap();
    let data = Source { size: Some(8), ..source(dir.path()) }.load().unwrap();
    let row = &data.train.rows().row(0)[..8];
    for (j, value) in row.iter().enumerate() {
        assert!((value + row[7 - j] - 6.0 * 39.0).abs() <= 2.0, "{row:?}");
        // In the middle a ramp resized by 3 is a ramp.
        assert!(
            !(2..6).contains(&j) || (value - 6.0 * (9.0 + 3.0 * j as f32)).abs() <= 1.0,
            "{row:?}"
        );
    }
}

/// A picture as a file of a format.
fn encoded(format: ImageFormat, side: u32) -> Vec<u8> {
    let pixels =
        RgbImage::from_fn(side, side, |x, y| [x as u8 * 31, y as u8 * 17, (x * y) as u8].into());
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(pixels).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A PNG chunk.
fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let named = [&name[..], content].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&named);
    [&(content.len() as u32).to_be_bytes()[..], &named, &crc.sum().to_be_bytes()].concat()
}

#[test]
fn bad_pictures() {
    let formats = [
        (ImageFormat::Png, "png"),
        (ImageFormat::Jpeg, "jpg"),
        (ImageFormat::WebP, "webp"),
        (ImageFormat::Bmp, "bmp"),
        (ImageFormat::Tiff, "tif"),
        (ImageFormat::Gif, "gif"),
    ];
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    for (format, ending) in formats {
        let good = encoded(format, 40);
        for part in [0, 1, 8, 20, good.len() / 2, good.len() - 20] {
            cases.push((format!("cut{part}.{ending}"), good[..part].to_vec()));
        }
        cases.push((format!("text.{ending}"), b"<html>not found</html>".to_vec()));
        cases.push((format!("zeros.{ending}"), vec![0; 1000]));
    }
    let mut flipped = encoded(ImageFormat::Png, 40);
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x55;
    cases.push(("flipped.png".into(), flipped));
    let mut vast = b"\x89PNG\r\n\x1a\n".to_vec();
    vast.extend(chunk(b"IHDR", &[0, 1, 0, 0, 0, 1, 0, 0, 8, 2, 0, 0, 0]));
    vast.extend(chunk(b"IDAT", &[0x78, 0x9c, 3, 0, 0, 0, 0, 1]));
    vast.extend(chunk(b"IEND", &[]));
    cases.push(("vast.png".into(), vast));
    for (name, bytes) in cases {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join(&name), bytes).unwrap();
        for size in [None, Some(8)] {
            let error = Source { size, ..source(dir.path()) }.load().expect_err(&name);
            assert!(matches!(error, Error::File { .. }), "{error}");
            let (error, path) = (error.to_string(), dir.path().join(&name));
            assert!(error.starts_with(&format!("{}: picture: ", path.display())), "{error}");
            assert!(error.contains("; expected "), "{error}");
        }
    }
}

#[test]
fn the_first_damaged_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..40 {
        put(dir.path(), &format!("{i:02}.png"), i, [8, 8]);
    }
    for name in ["31.png", "17.png", "25.png"] {
        write(dir.path().join(name), b"no picture").unwrap();
    }
    for _ in 0..5 {
        assert!(load(dir.path()).unwrap_err().to_string().contains("17.png"));
    }
}

#[test]
fn bad_folders_and_options() {
    type Put = fn(&Path);
    let cases: [(Put, &str); 9] = [
        (|_| {}, "directory: there are no pictures; expected pictures that end in .png"),
        (|dir| write(dir.join("x.heic"), b"h").unwrap(), "there are no pictures, but 1 .heic"),
        (|dir| put(dir, "Val/a.png", 1, [2, 2]), "held-out pictures and none to train on"),
        (
            |dir| {
                put(dir, "a.png", 1, [2, 2]);
                put(dir, "elm/a.png", 1, [2, 2]);
            },
            "there are pictures both here and in folders",
        ),
        (
            |dir| {
                put(dir, "train/a.png", 1, [2, 2]);
                put(dir, "training/a.png", 1, [2, 2]);
            },
            "there are the folders train and training; expected one folder for each part",
        ),
        (
            |dir| {
                put(dir, "train/elm/a.png", 1, [2, 2]);
                put(dir, "test/oak/a.png", 1, [2, 2]);
            },
            "test: directory: there is a class 'oak'; expected the classes of",
        ),
        (
            |dir| {
                put(dir, "train/elm/a.png", 1, [2, 2]);
                put(dir, "test/a.png", 1, [2, 2]);
            },
            "test: directory: only one of the two parts has folders of classes",
        ),
        (
            |dir| {
                put(dir, "train/a.png", 1, [2, 2]);
                put(dir, "test/a.png", 1, [2, 4]);
            },
            "test/a.png: picture: it is 2×4 pixels; expected 2×2",
        ),
        (|dir| create_dir_all(dir.join("train")).unwrap(), "directory: there are no pictures"),
    ];
    for (make, message) in cases {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let error = Source::named(dir.path().to_str().unwrap()).load().unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(message), "{message}: {error}");
    }
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a.png", 1, [2, 2]);
    let own = source(dir.path());
    for (source, start) in [
        (Source { size: Some(0), ..own.clone() }, "size: 0; expected from 1 to"),
        (Source { size: Some(usize::MAX), ..own.clone() }, "size: 18446744073709551615"),
        (Source { channels: Some(2), ..own.clone() }, "channels: 2; expected 1 or 3"),
        (Source { n: Some(2), ..own.clone() }, "n: it means nothing"),
        (Source { label: Some("class".into()), ..own.clone() }, "label: the source '"),
        (Source { image: Some([3, 2, 2]), ..own }, "image: it means nothing"),
        (Source { size: Some(8), ..Source::named("digits") }, "size: it means nothing"),
        (Source { channels: Some(1), ..Source::named("moons") }, "channels: it means nothing"),
    ] {
        let error = source.load().unwrap_err().to_string();
        assert!(error.starts_with(start), "{start}: {error}");
    }
}
