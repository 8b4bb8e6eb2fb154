//! IDX files: small ones made here, and MNIST and Fashion-MNIST where they are.

use super::{gzip, shared, weighted};
use crate::data::{Dataset, Layout, Source};
use std::fs::write;
use std::path::Path;

/// An IDX file of bytes.
pub fn idx(axes: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, axes.len() as u8];
    axes.iter().for_each(|n| bytes.extend(n.to_be_bytes()));
    bytes.extend(values);
    bytes
}

fn load(path: &Path) -> crate::Result<Dataset> {
    Source::named(path.to_str().unwrap()).load()
}

#[test]
fn a_folder_is_two_parts_with_classes_by_number() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let pixels: Vec<u8> = (0..30).map(|i| i * 8).collect();
    write(at("train-images-idx3-ubyte"), idx(&[5, 2, 3], &pixels)).unwrap();
    write(at("train-labels-idx1-ubyte"), idx(&[5], &[7, 3, 7, 7, 3])).unwrap();
    write(at("t10k-images-idx3-ubyte.gz"), gzip(&idx(&[1, 2, 3], &[255, 4, 3, 2, 1, 0]))).unwrap();
    write(at("t10k-labels-idx1-ubyte.gz"), gzip(&idx(&[1], &[7]))).unwrap();
    let data = load(dir.path()).unwrap();
    assert_eq!(data.space.layout(), Layout::Image { channels: 1, height: 2, width: 3 });
    assert_eq!(data.space.coordinate(0).highest(), Some(255.0));
    assert_eq!(data.space.classes(), ["3", "7"]);
    assert_eq!(data.train.labels(), Some(&[1, 0, 1, 1, 0][..]));
    assert_eq!(data.train.rows().row(4), [192.0, 200.0, 208.0, 216.0, 224.0, 232.0]);
    assert_eq!(data.held_out.rows().values(), [255.0, 4.0, 3.0, 2.0, 1.0, 0.0]);
    assert_eq!(data.held_out.labels(), Some(&[1][..]));
    // A file alone is divided, and its labels are those beside it.
    let alone = load(&at("train-images-idx3-ubyte")).unwrap();
    assert_eq!((alone.train.len(), alone.held_out.len()), (4, 1));
    assert!(alone.train.labels().is_some());
    // So is a folder without a second part.
    std::fs::remove_file(at("t10k-images-idx3-ubyte.gz")).unwrap();
    assert_eq!(load(dir.path()).unwrap().held_out.len(), 1);
}

#[test]
fn colours_come_first_wherever_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    for (axes, pixels, expected) in [
        ([1, 5, 1, 2], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]),
        ([1, 2, 5, 1], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ] {
        let path = dir.path().join("x-images-idx4-ubyte");
        write(&path, idx(&axes, &pixels)).unwrap();
        let data = Source { held_out: Some(0.0), ..Source::named(path.to_str().unwrap()) };
        let data = data.load().unwrap();
        assert_eq!(data.space.layout(), Layout::Image { channels: 2, height: 5, width: 1 });
        assert_eq!(data.train.rows().values(), expected.map(|v: u8| f32::from(v)));
        assert_eq!(data.train.labels(), None);
    }
}

#[test]
fn bad_files() {
    let good = idx(&[2, 2, 2], &[9; 8]);
    let packed = gzip(&good);
    let mut corrupt = packed.clone();
    corrupt[packed.len() - 6] ^= 0xff;
    type Case = (Vec<u8>, Option<Vec<u8>>, &'static str);
    let cases: Vec<Case> = vec![
        (vec![], None, "header: the file ends within it"),
        (good[..3].to_vec(), None, "header: the file ends within it"),
        (good[..9].to_vec(), None, "header: the file ends within it"),
        (good[..23].to_vec(), None, "values: the file ends after 7 of them; expected 8"),
        ([&good[..], b"x"].concat(), None, "values: there are more; expected 8"),
        (packed[..packed.len() - 9].to_vec(), None, "a whole IDX file"),
        (corrupt, None, "a whole IDX file"),
        (b"\x89PNG\r\n\x1a\n".to_vec(), None, "begins with the bytes [137, 80, 78, 71]"),
        (vec![0, 0, 0x0d, 3, 0, 0], None, "expected an IDX file of bytes"),
        (idx(&[u32::MAX, u32::MAX, u32::MAX], &[]), None, "too large; expected at most"),
        (idx(&[60000, 28, 28], &[]), None, "ends after 0 of them; expected 47040000"),
        (idx(&[0, 28, 28], &[]), None, "holds no value"),
        (idx(&[8], &[9; 8]), None, "there are 1 axes; expected 3, or 4"),
        (idx(&[], &[9]), None, "there are 0 axes"),
        (idx(&[1; 255], &[9]), None, "there are 255 axes"),
        (good.clone(), Some(idx(&[3], &[0; 3])), "[3] long; expected [2], a label for each"),
        (good.clone(), Some(idx(&[2, 1], &[0; 2])), "[2, 1] long; expected [2]"),
        (good.clone(), Some(vec![]), "header: the file ends within it"),
    ];
    for (i, (images, labels, message)) in cases.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("{i}-images-idx3-ubyte"));
        let beside = dir.path().join(format!("{i}-labels-idx1-ubyte"));
        let culprit = if labels.is_some() { &beside } else { &path };
        write(&path, images).unwrap();
        labels.into_iter().for_each(|labels| write(&beside, labels).unwrap());
        let error = load(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: ", culprit.display())), "{message}: {error}");
        assert!(error.contains(message), "{message}: {error}");
    }
}

#[test]
fn parts_that_do_not_belong_together() {
    let good = || idx(&[2, 2, 2], &[9; 8]);
    type File<'a> = (&'a str, Vec<u8>);
    let cases: Vec<(Vec<File>, &str)> = vec![
        (
            vec![("t10k-images-idx3-ubyte", idx(&[1, 2, 3], &[9; 6]))],
            "t10k-images-idx3-ubyte: header: the pictures are [1, 2, 3]; expected [1, 2, 2]",
        ),
        (
            vec![
                ("t10k-images-idx3-ubyte", good()),
                ("train-labels-idx1-ubyte", idx(&[2], &[0, 1])),
            ],
            "one of the training and the held-out part has labels",
        ),
        (
            vec![
                ("t10k-images-idx3-ubyte", good()),
                ("t10k-labels-idx1-ubyte", idx(&[2], &[0, 5])),
                ("train-labels-idx1-ubyte", idx(&[2], &[0, 1])),
            ],
            "label 5 is held out and not trained on",
        ),
    ];
    for (files, message) in cases {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join("train-images-idx3-ubyte"), good()).unwrap();
        for (name, bytes) in files {
            write(dir.path().join(name), bytes).unwrap();
        }
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains(message), "{message}: {error}");
    }
}

#[test]
fn options_that_mean_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    write(at("train-images-idx3-ubyte"), idx(&[2, 2, 2], &[9; 8])).unwrap();
    write(at("t10k-images-idx3-ubyte"), idx(&[2, 2, 2], &[9; 8])).unwrap();
    let folder = Source::named(dir.path().to_str().unwrap());
    for (source, start) in [
        (Source { held_out: Some(0.1), ..folder.clone() }, "held_out: it means nothing"),
        (Source { seed: 3, ..folder.clone() }, "seed: it means nothing"),
        (Source { n: Some(3), ..folder.clone() }, "n: it means nothing"),
        (Source { label: Some("kind".into()), ..folder.clone() }, "label: the source '"),
    ] {
        let error = source.load().unwrap_err().to_string();
        assert!(error.starts_with(start), "{error}");
    }
}

/// Rows, sum, weighted sum and rows of each class of the two parts, by NumPy.
type Known = [(usize, u64, u64, [usize; 10]); 2];

fn assert_known(data: &Dataset, known: Known) {
    for (part, (len, sum, weighted_sum, counts)) in
        [&data.train, &data.held_out].into_iter().zip(known)
    {
        assert_eq!(part.len(), len);
        assert_eq!(weighted(part.rows()), (sum, weighted_sum));
        let labels = part.labels().unwrap();
        let found = std::array::from_fn(|k| labels.iter().filter(|l| **l as usize == k).count());
        assert_eq!(found, counts);
    }
}

#[test]
fn mnist_is_mnist() {
    let Some(folder) = shared("mnist") else { return };
    let start = std::time::Instant::now();
    let data = load(&folder).unwrap();
    let loaded = start.elapsed();
    let hashes = (data.train.hash(), data.held_out.hash());
    let seconds = start.elapsed().as_secs_f64();
    println!("loading {loaded:?}, with hashes {seconds:.3} s: {hashes:?}");
    assert!(seconds < 10.0, "{seconds} s");
    // The means are 33.318421… and 33.791224….
    let train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949];
    let test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009];
    assert_known(
        &data,
        [
            (60_000, 1_567_298_545, 637_784_654_393, train),
            (10_000, 264_923_200, 107_790_167_391, test),
        ],
    );
    assert_eq!(data.space.classes(), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[test]
fn fashion_is_found_by_name_or_said_to_be_missing() {
    match Source::named("fashion").load() {
        Err(error) => {
            println!("skipped: {error}");
            assert!(error.to_string().contains("do not come with the program"), "{error}");
        }
        Ok(data) => {
            assert_eq!(
                (data.name.as_str(), data.space.classes()[9].as_str()),
                ("fashion", "Ankle boot")
            );
            assert_known(
                &data,
                [
                    (60_000, 3_431_114_169, 1_413_923_198_216, [6000; 10]),
                    (10_000, 573_469_082, 236_710_503_601, [1000; 10]),
                ],
            );
        }
    }
}

#[test]
fn data_known_by_name_only_say_what_to_give() {
    for (name, file) in [("mnist", "train-images-idx3-ubyte"), ("cifar10", "data_batch_1.bin")] {
        let error = Source::named(name).load().unwrap_err();
        assert!(matches!(&error, crate::Error::Config { key, .. } if key == "source"));
        let error = error.to_string();
        assert!(error.contains("--data FOLDER") && error.contains(file), "{error}");
    }
}
