use super::{names, rows};
use crate::data::dataset::Fnv;
use crate::data::parts::Parts;
use crate::data::{Batches, Dataset, Kind, Rows, Source, Space, Split, list, shipped};

#[test]
fn hashes_are_fnv() {
    // The test vectors of the FNV authors for 128 bits.
    for (text, expected) in [
        ("", "6c62272e07bb014262b821756295c58d"),
        ("a", "d228cb696f1a8caf78912b704e4a8964"),
        ("foobar", "343e1662793c64bf6f0d3597ba446f18"),
    ] {
        let mut hash = Fnv::new();
        hash.add(text.as_bytes());
        assert_eq!(format!("{:032x}", hash.0), expected);
    }
}

#[test]
fn hashes_see_values_shape_labels_and_order() {
    let base = Split::new(rows(2, &[1.0, 2.0, 3.0, 4.0]), None).unwrap();
    let others = [
        Split::new(rows(1, &[1.0, 2.0, 3.0, 4.0]), None).unwrap(),
        Split::new(rows(2, &[1.0, 2.0, 3.0, 4.5]), None).unwrap(),
        base.select(&[1, 0]),
        Split::new(base.rows().clone(), Some(vec![0, 0])).unwrap(),
        Split::new(base.rows().clone(), Some(vec![0, 1])).unwrap(),
    ];
    let mut hashes: Vec<String> = others.iter().map(Split::hash).collect();
    hashes.push(base.hash());
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 6);
    assert_eq!(base.hash(), base.clone().hash());
}

#[test]
fn splits_are_disjoint_stratified_and_repeatable() {
    let all = Rows::new((0..1000).map(|i| i as f32).collect(), 1).unwrap();
    let labels: Vec<u32> = (0..1000).map(|i| if i < 105 { 7 } else { 2 }).collect();
    let labelled = Split::new(all.clone(), Some(labels)).unwrap();
    let (train, held) = Dataset::split(&labelled, 0.2, 5).unwrap();
    assert_eq!((train.len(), held.len()), (800, 200));
    let mut together = [train.rows().values(), held.rows().values()].concat();
    together.sort_by(f32::total_cmp);
    assert_eq!(together, all.values());
    assert_eq!(held.labels().unwrap().iter().filter(|&&l| l == 7).count(), 21);
    assert!(
        held.rows().iter().zip(held.labels().unwrap()).all(|(r, &l)| (l == 7) == (r[0] < 105.0))
    );
    assert_eq!(Dataset::split(&labelled, 0.2, 5).unwrap().1, held);
    assert_ne!(Dataset::split(&labelled, 0.2, 6).unwrap().1, held);
    let (train, held) = Dataset::split(&labelled.without_labels(), 0.0, 5).unwrap();
    assert_eq!((train.len(), held.len()), (1000, 0));
}

#[test]
fn remainders_go_to_the_largest() {
    // 5, 3 and 2 rows, of which 30% are 1.5, 0.9 and 0.6: one each.
    let labels = vec![0, 0, 0, 0, 0, 1, 1, 1, 2, 2];
    let all = Split::new(rows(1, &[0.0; 10]), Some(labels)).unwrap();
    let (_, held) = Dataset::split(&all, 0.3, 0).unwrap();
    assert_eq!(held.labels().unwrap(), [0, 1, 2]);
}

#[test]
fn batches_cover_each_epoch_exactly_once() {
    for (len, size) in [(10, 3), (10, 10), (7, 20), (1, 4), (12, 4)] {
        let mut batches = Batches::new(len, size, 11).unwrap();
        let epochs = 6;
        let count = (epochs * len).div_ceil(size) as u64;
        let stream: Vec<usize> = (0..count).flat_map(|k| batches.batch(k)).collect();
        assert_eq!(stream.len(), count as usize * size);
        for epoch in stream.chunks_exact(len) {
            let mut seen = epoch.to_vec();
            seen.sort_unstable();
            assert_eq!(seen, (0..len).collect::<Vec<_>>());
        }
        // From any step on, in any order, by a fresh object.
        for k in (0..count).rev() {
            let alone = Batches::new(len, size, 11).unwrap().batch(k);
            assert_eq!(alone, stream[k as usize * size..][..size]);
            assert_eq!(batches.batch(k), alone);
        }
    }
    let mut batches = Batches::new(1000, 1000, 0).unwrap();
    assert_ne!(batches.batch(0), batches.batch(1));
    assert_ne!(batches.batch(0), Batches::new(1000, 1000, 1).unwrap().batch(0));
    assert_eq!(batches.batch(u64::MAX).len(), 1000);
}

#[test]
fn digits_are_as_recorded() {
    let digits = shipped::digits().unwrap();
    assert_eq!((digits.train.len(), digits.held_out.len()), (1197, 600));
    for k in 0..10 {
        let held = digits.held_out.labels().unwrap().iter().filter(|&&l| l == k).count();
        assert_eq!(held, 60);
    }
    assert_eq!(digits.space.classes(), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let total: f64 = [&digits.train, &digits.held_out]
        .iter()
        .flat_map(|s| s.rows().values())
        .map(|&v| f64::from(v))
        .sum();
    // numpy: load_digits().data.sum()
    assert_eq!(total, 561_718.0);
    // The same hash in Python of numpy's arrays of the rows that data/digits/held_out.txt does and does not list.
    assert_eq!(digits.train.hash(), "19182d9d105e6fccb2a71e1b7872969a");
    assert_eq!(digits.held_out.hash(), "5c9b497e9449d92f8968b53f82225a8b");
    let model = digits.space.encode(digits.train.rows()).unwrap();
    assert_eq!(&digits.space.decode(&model).unwrap(), digits.train.rows());
}

#[test]
fn wine_has_names_units_and_integers() {
    let wine = shipped::wine().unwrap();
    assert_eq!((wine.train.len(), wine.held_out.len(), wine.space.width()), (142, 36, 13));
    assert_eq!(wine.space.classes(), ["Barbera", "Barolo", "Grignolino"]);
    assert_eq!(names(&wine.space)[..3], ["alcohol", "malic acid", "ash"]);
    assert_eq!(wine.space.coordinate(0).unit.as_deref(), Some("%"));
    let quantised: Vec<&str> = wine
        .space
        .coordinates()
        .iter()
        .filter(|c| c.is_quantised())
        .map(|c| c.name.as_str())
        .collect();
    assert_eq!(quantised, ["magnesium", "proline"]);
    // numpy: load_wine().data.mean(axis=0)[[0, 12]]
    let mean = |j: usize| {
        let both = wine.train.rows().iter().chain(wine.held_out.rows().iter());
        both.map(|row| f64::from(row[j])).sum::<f64>() / 178.0
    };
    assert!((mean(0) - 13.000_617_977_528_09).abs() < 1e-6);
    assert!((mean(12) - 746.893_258_426_966_3).abs() < 1e-6);
    assert_eq!(wine.train.hash(), "e4d17d590660f84b646e5bbfff1aea57");
    assert_eq!(wine.held_out.hash(), "8402aabb1fd627ee366da4d614728317");
}

#[test]
fn sources_resolve_names_toys_and_files() {
    for (name, description) in list() {
        assert!(!description.is_empty());
        if matches!(name, "mnist" | "fashion" | "cifar10") {
            continue;
        }
        let small = matches!(name, "digits" | "wine" | "emoji");
        let n = (!small).then_some(50);
        let data = Source { n, ..Source::named(name) }.load().unwrap();
        assert_eq!(data.name, name);
    }
    let moons = Source { n: Some(10), seed: 4, ..Source::named("moons") }.load().unwrap();
    let more = Source { n: Some(30), seed: 4, ..Source::named("moons") }.load().unwrap();
    assert_eq!(moons.train.rows().values(), &more.train.rows().values()[..20]);
    assert!(moons.train.labels().is_none() && moons.space.classes().is_empty());
    let model = more.space.encode(more.train.rows()).unwrap();
    let mean: f64 = model.iter().map(|row| f64::from(row[0])).sum::<f64>() / 30.0;
    assert!(mean.abs() < 1e-6);
    let labelled = Source { label: Some("class".into()), n: Some(10), ..Source::named("moons") };
    assert_eq!(labelled.load().unwrap().space.classes().len(), 2);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    let mut text = String::from("a,b,kind\n");
    (0..20).for_each(|i| text += &format!("{},{},{}\n", i, i as f64 * 0.5, ["u", "v"][i % 2]));
    std::fs::write(&path, text).unwrap();
    let named = Source::named(path.to_str().unwrap());
    let labelled = Source { label: Some("kind".into()), ..named.clone() }.load().unwrap();
    assert_eq!((labelled.train.len(), labelled.held_out.len()), (16, 4));
    assert_eq!((labelled.name.as_str(), labelled.space.model_width()), ("t.csv", 2));
    assert_eq!(named.load().unwrap().space.model_width(), 4);
    let picture = Source {
        columns: Some(vec!["b".into(), "a".into()]),
        image: Some([1, 2, 1]),
        held_out: Some(0.0),
        ..named
    };
    let picture = picture.load().unwrap();
    assert_eq!((picture.space.coordinates().len(), picture.held_out.len()), (1, 0));
    // All values, ½ apart, share one scale: mean of 0…19 and of their halves.
    assert!((picture.space.coordinate(0).shift - 7.125).abs() < 1e-12);
}

#[test]
fn a_source_is_a_recipe_table() {
    let text = "source = \"digits\"\nseed = 3\nheld_out = 0.1\n";
    let source: Source = toml::from_str(text).unwrap();
    assert_eq!((source.seed, source.held_out), (3, Some(0.1)));
    assert!(toml::from_str::<Source>("source = \"digits\"\nlable = \"x\"\n").is_err());
}

#[test]
fn held_out_integers_may_lie_outside_the_training_range() {
    let space = Space::vector(&["n"]).unwrap();
    for seed in 0..20 {
        let all =
            Split::new(Rows::new((0..10).map(|i| i as f32).collect(), 1).unwrap(), None).unwrap();
        let data = Dataset::divided("d", space.clone(), &all, 0.3, seed).unwrap();
        assert_eq!(data.space.coordinate(0).kind, Kind::Quantised { low: Some(0), high: Some(9) });
    }
}

#[test]
fn a_test_set_that_files_record_is_a_published_one() {
    // Digits and wine are divided by us, points by their number.
    for name in ["digits", "wine", "moons"] {
        assert!(!Source::named(name).load().unwrap().is_published(), "{name}");
    }
    let split = || Split::new(rows(1, &[0.0, 1.0]), None).unwrap();
    let space = || Space::vector(&["x"]).unwrap();
    let parts = |held_out, validation| {
        let (space, train) = (space(), split());
        Parts { space, train, held_out, validation, notes: Vec::new() }
    };
    assert!(!parts(None, None).dataset("file", 0.5, 0).unwrap().is_published());
    assert!(parts(Some(split()), None).dataset("folder", 0.5, 0).unwrap().is_published());
    // Validation rows alone are held-out rows like others, a third of them for choices.
    let alone = parts(None, Some(split())).dataset("folder", 0.5, 0).unwrap();
    assert!(!alone.is_published() && alone.view().is_none() && alone.held_out == split());
}
