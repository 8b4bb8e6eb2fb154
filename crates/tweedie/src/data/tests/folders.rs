//! Folders of pictures as people have them: parts, classes, formats, what is passed over, and what is damaged.

use crate::data::{Dataset, Source, Split};
use crate::{Error, Result};
use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame, ImageBuffer, ImageFormat, Luma, RgbImage};
use std::fs::{create_dir_all, write};
use std::io::Cursor;
use std::path::Path;
use tempfile::{TempDir, tempdir};

fn load(folder: &Path) -> Result<Dataset> {
    Source { held_out: Some(0.0), ..Source::named(folder.to_str().unwrap()) }.load()
}

/// A folder of grey files of 2 × 2 pixels, whose values count from 1.
fn folder(names: &[&str]) -> TempDir {
    let dir = tempdir().unwrap();
    for (name, value) in names.iter().zip(1u8..) {
        let path = dir.path().join(name);
        create_dir_all(path.parent().unwrap()).unwrap();
        let picture = RgbImage::from_fn(2, 2, |x, _| [value, 255 - value, 99 * x as u8].into());
        picture.save_with_format(path, ImageFormat::Png).unwrap();
    }
    dir
}

fn firsts(part: &Split) -> Vec<f32> {
    part.rows().iter().map(|row| row[0]).collect()
}

/// A picture that every lossless format keeps: at most 256 colours.
fn picture(side: u32) -> RgbImage {
    RgbImage::from_fn(side, side, |x, y| [x as u8 * 15, y as u8 * 15, 200].into())
}

fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// The values of a folder with this file alone.
fn alone(name: &str, bytes: &[u8]) -> Vec<f32> {
    let dir = tempdir().unwrap();
    write(dir.path().join(name), bytes).unwrap();
    let data = load(dir.path()).unwrap();
    assert_eq!(data.notes, [""; 0], "{name}");
    data.train.rows().values().to_vec()
}

#[test]
fn bytes_after_a_jpeg_s_end_change_nothing() {
    let jpeg = encoded(picture(16), ImageFormat::Jpeg);
    let own = alone("a.jpg", &jpeg);
    let thumbnail = encoded(picture(8), ImageFormat::Jpeg);
    // As phones have it: a video, a second picture, and what looks like scans and ends.
    let video: Vec<u8> =
        (0..300_000u32).flat_map(|i| (i.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
    for more in [&video[..], &thumbnail[..], &[0xff, 0xda, 0, 8, 1, 2], &[0xff, 0xd8, 0xff], &[0]] {
        assert_eq!(alone("a.jpg", &[&jpeg[..], more].concat()), own);
    }
    // A thumbnail inside, as EXIF has it, does not end the picture, and does not complete one that is cut.
    let size = (thumbnail.len() as u16 + 2).to_be_bytes();
    let inside = [&jpeg[..2], &[0xff, 0xe1], &size, &thumbnail, &jpeg[2..]].concat();
    assert_eq!(alone("a.jpg", &inside), own);
    let dir = tempdir().unwrap();
    for left in [2, 20, 100] {
        write(dir.path().join("a.jpg"), &inside[..inside.len() - left]).unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("a.jpg: picture: the file ends within the picture"), "{error}");
    }
}

#[test]
fn lossless_formats_agree() {
    let own = alone("a.png", &encoded(picture(16), ImageFormat::Png));
    let bmp = encoded(picture(16), ImageFormat::Bmp);
    let tiff = encoded(picture(16), ImageFormat::Tiff);
    let gif = encoded(picture(16), ImageFormat::Gif);
    for (name, bytes) in [("a.BMP", &bmp), ("a.dib", &bmp), ("a.tif", &tiff), ("a.TIFF", &tiff)] {
        assert_eq!(alone(name, bytes), own, "{name}");
    }
    assert_eq!(alone("a.gif", &gif), own);
    // The first of several frames.
    let mut frames = Vec::new();
    let mut encoder = GifEncoder::new(&mut frames);
    for shown in [picture(16), RgbImage::new(16, 16)] {
        encoder.encode_frame(Frame::new(DynamicImage::from(shown).into_rgba8())).unwrap();
    }
    drop(encoder);
    assert_eq!(alone("a.gif", &frames), own);
    // All 16 bits count.
    let deep =
        ImageBuffer::<Luma<u16>, _>::from_fn(4, 4, |x, y| [(x + 4 * y) as u16 * 4096].into());
    let deep = DynamicImage::from(deep);
    let grey = alone("a.png", &encoded(deep.clone(), ImageFormat::Png));
    assert_eq!(alone("a.tiff", &encoded(deep, ImageFormat::Tiff)), grey);
    assert!(grey.iter().zip(0..).all(|(v, k)| (v - 15.94 * k as f32).abs() < 1.0), "{grey:?}");
}

#[test]
fn parts_are_found_by_their_names_in_any_case() {
    for [train, valid, test] in [
        ["train", "valid", "test"],
        ["Training", "VAL", "Testing"],
        ["TRAIN", "Validation", "TEST"],
        ["flowers/train", "flowers/val", "flowers/test"],
    ] {
        let file = |part: &str, k: usize| format!("{part}/elm/{k}.png");
        let names = [file(train, 1), file(train, 2), file(valid, 3), file(test, 4), file(test, 5)];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let dir = folder(&names);
        let data = Source::named(dir.path().to_str().unwrap()).load().unwrap();
        assert_eq!(data.space.classes(), ["elm"], "{train}");
        let parts = [data.fit_rows(), data.validation(), data.test()].map(|part| firsts(&part));
        assert_eq!(parts, [vec![1.0, 2.0], vec![3.0], vec![4.0, 5.0]], "{train}");
        assert!(data.is_published());
        let view = crate::data::Validation::of(&data);
        assert_eq!(data.clone().with_validation(view).unwrap(), data);
        // Without test rows, those of validation are held out.
        let two = folder(&names[..3]);
        let data = Source::named(two.path().to_str().unwrap()).load().unwrap();
        assert_eq!((firsts(&data.train), firsts(&data.held_out)), (vec![1.0, 2.0], vec![3.0]));
        assert!(!data.is_published() && data.view().is_none());
    }
    // Each class may hold the parts.
    let dir = folder(&["elm/train/1.png", "elm/test/2.png", "oak/train/3.png", "oak/test/4.png"]);
    let data = Source::named(dir.path().to_str().unwrap()).load().unwrap();
    assert_eq!(data.space.classes(), ["elm", "oak"]);
    assert_eq!((firsts(&data.train), firsts(&data.held_out)), (vec![1.0, 3.0], vec![2.0, 4.0]));
    assert_eq!(data.held_out.labels(), Some(&[0, 1][..]));
}

#[test]
fn nested_folders_are_classes_by_their_paths() {
    let dir = folder(&[
        "train/birds/tit/1.png",
        "train/birds/wren/2.png",
        "train/cats/3.png",
        "test/birds/wren/4.png",
    ]);
    let data = Source::named(dir.path().to_str().unwrap()).load().unwrap();
    assert_eq!(data.space.classes(), ["birds/tit", "birds/wren", "cats"]);
    assert_eq!(data.train.labels(), Some(&[0, 1, 2][..]));
    assert_eq!(data.held_out.labels(), Some(&[1][..]));
    let plain = load(&dir.path().join("train")).unwrap();
    assert_eq!((plain.space.classes(), plain.train), (data.space.classes(), data.train));
}

#[test]
fn whatever_is_passed_over_is_spoken_of() {
    let dir = folder(&[
        "elm/1.png",
        "oak/2.png",
        "__MACOSX/elm/._1.png",
        "elm/._1.png",
        ".ipynb_checkpoints/1.png",
        "oak/Thumbs.db",
        "desktop.ini",
    ]);
    for name in ["labels.csv", "elm/a.heic", "oak/b.HEIC", "README"] {
        write(dir.path().join(name), "no picture").unwrap();
    }
    create_dir_all(dir.path().join("yew/old")).unwrap();
    write(dir.path().join("yew/notes.txt"), "none yet").unwrap();
    let data = load(dir.path()).unwrap();
    assert_eq!((firsts(&data.train), data.space.classes().len()), (vec![1.0, 2.0], 2));
    let notes = data.notes.join("\n");
    let expected =
        "passed over 2 .heic, 1 without an ending, 1 .csv, 1 .txt, 5 hidden or of the system";
    assert!(notes.contains(expected), "{notes}");
    assert!(notes.ends_with("passed over folders without pictures: yew"), "{notes}");
    assert_eq!(data.notes.len(), 2);
}

#[test]
fn no_class_loses_its_only_picture() {
    let share = |names: &[&str], held_out| {
        let dir = folder(names);
        let data =
            Source { held_out: Some(held_out), ..Source::named(dir.path().to_str().unwrap()) };
        data.load().unwrap()
    };
    let data = share(&["a/1.png", "b/1.png", "c/1.png", "d/1.png"], 0.2);
    assert_eq!((data.train.labels(), data.held_out.len()), (Some(&[0, 1, 2, 3][..]), 0));
    assert!(data.notes[0].contains("0 rows are held out in place of 1"), "{:?}", data.notes);
    let names = ["a/1.png", "b/1.png", "b/2.png", "b/3.png", "c/1.png", "c/2.png"];
    for held_out in [0.2, 0.4, 0.5, 0.9] {
        let data = share(&names, held_out);
        let wanted = (held_out * 6.0f64).round() as usize;
        assert_eq!(data.held_out.len(), wanted.min(3));
        assert!((0..3).all(|class| data.train.labels().unwrap().contains(&class)));
    }
}

#[test]
fn pictures_that_are_almost_black_are_spoken_of() {
    let dark = |most: u16, name: &str| {
        let picture =
            ImageBuffer::<Luma<u16>, _>::from_fn(4, 4, |x, _| [x as u16 * (most / 3)].into());
        let dir = tempdir().unwrap();
        let format = ImageFormat::from_path(name).unwrap();
        write(dir.path().join(name), encoded(DynamicImage::from(picture), format)).unwrap();
        load(dir.path()).unwrap().notes
    };
    for name in ["a.png", "a.tif"] {
        let notes = dark(4095, name);
        assert!(notes[0].contains("is 4095 of 65535") && notes[0].contains("by 16"), "{notes:?}");
        assert_eq!(dark(65_535, name), [""; 0]);
    }
    let dir = tempdir().unwrap();
    RgbImage::from_pixel(4, 4, [0, 1, 2].into()).save(dir.path().join("mask.png")).unwrap();
    let notes = load(dir.path()).unwrap().notes;
    assert!(notes[0].contains("the brightest value is 2 of 255"), "{notes:?}");
}

#[test]
fn damaged_files_are_named_and_passed_over_where_that_is_wanted() {
    let dir = folder(&["elm/1.png", "elm/2.png", "oak/3.png", "yew/4.png"]);
    write(dir.path().join("elm/0.jpg"), b"\xff\xd8\xff\xe0 cut").unwrap();
    write(dir.path().join("yew/4.png"), b"").unwrap();
    let error = load(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("elm/0.jpg: picture") && error.contains("`skip_damaged = true`"),
        "{error}"
    );
    let mut source =
        Source { skip_damaged: Some(true), ..Source::named(dir.path().to_str().unwrap()) };
    source.held_out = Some(0.0);
    let data = source.load().unwrap();
    assert_eq!(
        (firsts(&data.train), data.space.classes()),
        (vec![1.0, 2.0, 3.0], &["elm".into(), "oak".into()][..])
    );
    assert_eq!(data.train.labels(), Some(&[0, 0, 1][..]));
    assert!(
        data.notes[0].contains("passed over 2 damaged: elm/0.jpg, yew/4.png"),
        "{:?}",
        data.notes
    );
    for name in ["elm/1.png", "elm/2.png", "oak/3.png"] {
        write(dir.path().join(name), b"no picture").unwrap();
    }
    assert!(matches!(source.load().unwrap_err(), Error::File { .. }));
}
