//! Batches against a hand-written copy of their addresses; binarised pixels against their frequencies; views into
//! splits.

use burn::tensor::{Device, TensorData};
use tweedie::data::{
    Batch, Batches, Binarisation, Condition, Dataset, Encoding, Feed, Layout, Origin, Rows, Space,
    Split, Validation, shipped,
};
use tweedie::{Draws, Error};

fn host(batch: &Batch) -> TensorData {
    batch.x.to_data()
}

#[test]
fn batches_are_a_function_of_seed_step_and_part() {
    let data = shipped::digits().unwrap();
    let (seed, size, parts) = (11, 30, 2);
    let feed = Feed::training(&data, Encoding::Dequantised, size, seed).unwrap();
    let mut feed = feed.with_parts(parts).with_mirroring(true).with_label_dropout(0.3);
    // The last of these steps lies in the fourth pass over the rows.
    for step in [0, 1, 19, 64] {
        let all = Batches::new(data.train.len(), size * parts, seed).unwrap().batch(step);
        for (part, indices) in all.chunks(size).enumerate() {
            let draws = Draws::new(seed).purpose("train").at(step).at(part as u64);
            let mut pictures = data.train.rows().select(indices);
            for (i, picture) in pictures.values_mut().chunks_exact_mut(64).enumerate() {
                if draws.purpose("flip").uniform_f64(i as u64, 0) < 0.5 {
                    picture.chunks_exact_mut(8).for_each(<[f32]>::reverse);
                }
            }
            let places = draws.purpose("dequantise").uniforms(0..size as u64, 64);
            let x = data.space.encode_at(&pictures, &places).unwrap();
            let coins = draws.purpose("label dropout");
            let label = |(i, row): (usize, &usize)| {
                let label = data.train.labels().unwrap()[*row];
                (coins.uniform_f64(i as u64, 0) >= 0.3).then_some(label)
            };
            let labels: Vec<Option<u32>> = indices.iter().enumerate().map(label).collect();
            assert!(labels.contains(&None) && labels.iter().any(Option::is_some));
            let found = feed.batch(step, part as u64, &Device::flex()).unwrap();
            assert_eq!(host(&found).as_slice::<f32>().unwrap(), x.values(), "{step} {part}");
            assert_eq!(found.condition, Condition::Class(labels), "{step} {part}");
        }
    }
}

#[test]
fn half_of_the_pictures_are_mirrored_and_the_same_ones_each_time() {
    let picture: Vec<f32> = (0..12u8).map(f32::from).collect();
    let mirrored = [2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9].map(|v: u8| f32::from(v));
    let all = Split::new(Rows::new(picture.repeat(4000), 12).unwrap(), None).unwrap();
    let space = Space::image(2, 2, 3, 12).unwrap();
    let feed = Feed::new(all, space.clone(), Encoding::Centres, 4000, 3).unwrap();
    let mut feed = feed.with_mirroring(true);
    let mut shown = |step| {
        let batch = feed.batch(step, 0, &Device::flex()).unwrap();
        space.decode(&Rows::from_tensor(&batch.x).unwrap()).unwrap()
    };
    let (once, again, other) = (shown(7), shown(7), shown(8));
    assert!(once == again && once != other);
    let count = once.iter().filter(|row| **row == mirrored).count();
    assert_eq!(once.iter().filter(|row| **row == picture[..]).count(), 4000 - count);
    // 4.9 standard deviations of the count.
    assert!(count.abs_diff(2000) < 155, "{count}");
}

/// Pictures of one row of bytes whose columns have these greys, `n` to train on and as many held out.
fn greys(values: &[f32], n: usize) -> Dataset {
    let split = || Split::new(Rows::new(values.repeat(n), values.len()).unwrap(), None).unwrap();
    let space = Space::image(1, 1, values.len(), 256).unwrap();
    Dataset::new("greys", space, split(), split()).unwrap()
}

const HOW: [Binarisation; 3] =
    [Binarisation::Dynamic, Binarisation::Static, Binarisation::Threshold];

#[test]
fn pixels_are_ones_as_often_as_they_are_bright() {
    let values: Vec<f32> = (0..=15u8).map(|k| f32::from(17 * k)).collect();
    let n = 10_000;
    let data = greys(&values, n);
    let check = |rows: &Rows, what: &str| {
        for (j, value) in values.iter().enumerate() {
            let ones = rows.iter().filter(|row| row[j] == 1.0).count() as f64;
            assert!(rows.iter().all(|row| row[j] == 0.0 || row[j] == 1.0));
            let p = f64::from(*value) / 255.0;
            let bar = 4.9 * (n as f64 * p * (1.0 - p)).sqrt();
            assert!((ones - n as f64 * p).abs() <= bar, "{what}, {value}: {ones} of {n}");
        }
    };
    for how in [Binarisation::Dynamic, Binarisation::Static] {
        let seen = data.clone().binarised(how).unwrap();
        check(seen.train.rows(), "drawn once, to train on");
        check(seen.held_out.rows(), "drawn once, held out");
        assert_ne!(seen.train.rows(), seen.held_out.rows());
        let mut feed = Feed::training(&seen, Encoding::Centres, n, 5).unwrap();
        let batch = feed.batch(3, 0, &Device::flex()).unwrap();
        let bits = seen.space.decode(&Rows::from_tensor(&batch.x).unwrap()).unwrap();
        check(&bits, "shown");
    }
}

#[test]
fn dynamic_binarisation_draws_anew_and_the_others_do_not() {
    let data = greys(&[100.0; 500], 1);
    for how in HOW {
        let bits = data.clone().binarised(how).unwrap();
        let mut feed = Feed::training(&bits, Encoding::Centres, 1, 5).unwrap();
        let mut shown = |step| host(&feed.batch(step, 0, &Device::flex()).unwrap());
        let (once, again, other) = (shown(3), shown(3), shown(4));
        assert_eq!(once, again);
        assert_eq!(once == other, how != Binarisation::Dynamic, "{how:?}");
        let mut reseeded = Feed::training(&bits, Encoding::Centres, 1, 6).unwrap();
        let reseeded = host(&reseeded.batch(3, 0, &Device::flex()).unwrap());
        assert_eq!(once == reseeded, how != Binarisation::Dynamic, "{how:?}");
    }
}

#[test]
fn held_out_rows_are_binarised_once_however_training_does_it() {
    let data = greys(&[100.0; 300], 20);
    for how in HOW {
        let seen = data.clone().binarised(how).unwrap();
        let feed = Feed::held_out(&seen, Encoding::Centres, 8, 15).unwrap().unwrap();
        let bits = |salt: u64| {
            let draws = Draws::new(salt);
            let batches: Vec<Batch> =
                feed.all(&draws, &Device::flex()).map(Result::unwrap).collect();
            let parts = batches.iter().map(|batch| Rows::from_tensor(&batch.x).unwrap());
            let values: Vec<f32> = parts.flat_map(|part| part.values().to_vec()).collect();
            seen.space.decode(&Rows::new(values, 300).unwrap()).unwrap()
        };
        assert_eq!(bits(1), bits(2), "{how:?}");
        assert_eq!(bits(1).len(), 15);
        assert!(bits(1).iter().all(|row| seen.held_out.rows().iter().any(|own| own == row)));
    }
    // The two that draw, draw alike: only training tells them apart.
    let [dynamic, fixed] = [HOW[0], HOW[1]].map(|how| data.clone().binarised(how));
    assert_eq!(dynamic.unwrap().held_out, fixed.unwrap().held_out);
}

#[test]
fn a_threshold_lies_in_the_middle_of_the_range() {
    let space = Space::image(1, 1, 4, 17).unwrap();
    let raw = Rows::new(vec![0.0, 7.0, 8.0, 16.0], 4).unwrap();
    let bits = Binarisation::Threshold.bits(&space, &raw, &Draws::new(0), &[0]).unwrap();
    assert_eq!(bits.values(), [0.0, 0.0, 1.0, 1.0]);
}

#[test]
fn binarised_rows_are_rows_of_a_space_of_two_levels() {
    let digits = shipped::digits().unwrap();
    let seen = digits.clone().binarised(Binarisation::Static).unwrap();
    assert_eq!(seen.space, digits.space.binarised().unwrap());
    assert_eq!(seen.space.classes(), digits.space.classes());
    assert_eq!(seen.space.layout(), Layout::Image { channels: 1, height: 8, width: 8 });
    assert_eq!(seen.train.labels(), digits.train.labels());
    // A bin is as wide in model units as in raw ones, and a fair coin takes a bit.
    assert_eq!(seen.space.log_volume(), 0.0);
    let bits = seen.space.bits_per_dimension(-64.0 * std::f64::consts::LN_2);
    assert!((bits.unwrap() - 1.0).abs() < 1e-12);
    let model = seen.space.encode(seen.train.rows()).unwrap();
    assert!(model.values().iter().all(|v| v.abs() == 0.5));
    assert_eq!(&seen.space.decode(&model).unwrap(), seen.train.rows());
}

#[test]
fn only_integers_between_limits_are_binarised() {
    let wine = shipped::wine().unwrap();
    for how in HOW {
        let error = wine.clone().binarised(how).unwrap_err();
        assert!(
            matches!(&error, Error::Config { key, problem, .. }
            if key == "binarise" && problem.contains("alcohol")),
            "{error}"
        );
    }
}

#[test]
fn rows_drawn_anew_are_the_rows_to_train_on() {
    let digits = shipped::digits().unwrap();
    let view = Validation { from: Origin::Train, rows: 200, seed: 0 };
    let bits = digits.clone().binarised(Binarisation::Dynamic).unwrap();
    let bits = bits.with_validation(Some(view)).unwrap();
    let n = bits.fit_rows().len();
    let mut feed = Feed::training(&bits, Encoding::Centres, n, 0).unwrap();
    let Condition::Class(shown) = feed.batch(0, 0, &Device::flex()).unwrap().condition else {
        panic!("no labels");
    };
    let count = |labels: &[u32]| {
        (0..10).map(|k| labels.iter().filter(|l| **l == k).count()).collect::<Vec<_>>()
    };
    let shown: Vec<u32> = shown.into_iter().map(Option::unwrap).collect();
    assert_eq!(count(&shown), count(bits.fit_rows().labels().unwrap()));
    assert_eq!(n, 997);
}

/// A table sorted by class: rows 0, 1, 2, … of which the first half have class 0.
fn sorted(n: usize) -> Dataset {
    let split = || {
        let labels = (0..n).map(|i| u32::from(2 * i >= n)).collect();
        Split::new(Rows::new((0..n).map(|i| i as f32).collect(), 1).unwrap(), Some(labels)).unwrap()
    };
    let space = Space::vector(&["x"]).unwrap().with_classes(vec!["a".into(), "b".into()]);
    Dataset::new("sorted", space, split(), split()).unwrap()
}

#[test]
fn held_out_losses_are_of_random_rows_and_of_all_if_they_are_few() {
    let data = sorted(1000);
    let values = |most| {
        let feed = Feed::held_out(&data, Encoding::Centres, 64, most).unwrap().unwrap();
        let draws = Draws::new(0);
        let all: Vec<Batch> = feed.all(&draws, &Device::flex()).map(Result::unwrap).collect();
        let sizes: Vec<usize> = all.iter().map(|batch| batch.x.dims()[0]).collect();
        let labels = all.iter().flat_map(|batch| match &batch.condition {
            Condition::Class(labels) => labels.clone(),
            _ => Vec::new(),
        });
        let labels: Vec<u32> = labels.map(Option::unwrap).collect();
        let rows = all.iter().flat_map(|batch| host(batch).try_to_vec::<f32>().unwrap());
        (rows.collect::<Vec<f32>>(), labels, sizes)
    };
    let (rows, labels, sizes) = values(100);
    assert_eq!((rows.len(), sizes), (100, vec![64, 36]));
    assert_eq!(values(100).0, rows);
    assert!(rows.is_sorted() && rows.iter().zip(&labels).all(|(x, l)| (*x >= 500.0) == (*l == 1)));
    // Hypergeometric with variance 22.5.
    let ones = labels.iter().filter(|l| **l == 1).count();
    assert!(ones.abs_diff(50) < 24, "{ones}");
    assert_eq!(values(2000).0, data.held_out.rows().values());
    let mut none = data.clone();
    none.held_out = data.held_out.select(&[]);
    assert!(Feed::held_out(&none, Encoding::Centres, 64, 10).unwrap().is_none());
}

/// The values of two splits together, in order.
fn together(a: &Split, b: &Split) -> Vec<f32> {
    let mut all = [a.rows().values(), b.rows().values()].concat();
    all.sort_by(f32::total_cmp);
    all
}

#[test]
fn a_view_divides_one_split_and_leaves_the_other_alone() {
    let data = sorted(1000);
    let hashes = [&data.train, &data.held_out].map(Split::hash);
    assert_eq!((data.validation(), data.test()), (data.held_out.clone(), data.held_out.clone()));
    let view = Validation::of(&data).unwrap();
    assert_eq!((view.from, view.rows), (Origin::HeldOut, 333));
    let seen = data.clone().with_validation(Some(view)).unwrap();
    assert_eq!((seen.validation().len(), seen.test().len()), (333, 667));
    assert_eq!(together(&seen.validation(), &seen.test()), data.held_out.rows().values());
    assert_eq!(seen.fit_rows(), data.train);
    let published = data.clone().published();
    let view = Validation::of(&published).unwrap();
    assert_eq!((view.from, view.rows), (Origin::Train, 100));
    let taken = published.with_validation(Some(view)).unwrap();
    assert_eq!((taken.validation().len(), taken.fit_rows().len()), (100, 900));
    assert_eq!(together(&taken.validation(), &taken.fit_rows()), data.train.rows().values());
    assert_eq!(taken.test(), data.held_out);
    for seen in [&seen, &taken] {
        assert_eq!([&seen.train, &seen.held_out].map(Split::hash), hashes);
        // Of each class in proportion: a sorted table's first rows are of one class.
        let labels = seen.validation();
        let ones = labels.labels().unwrap().iter().filter(|l| **l == 1).count();
        assert!(ones.abs_diff(labels.len() / 2) <= 1, "{ones}");
    }
}

#[test]
fn views_are_recorded_and_checked() {
    let data = sorted(1000);
    let view = Validation { from: Origin::HeldOut, rows: 40, seed: 3 };
    let text = serde_json::to_string(&view).unwrap();
    assert_eq!(text, r#"{"from":"held-out","rows":40,"seed":3}"#);
    let again: Validation = serde_json::from_str(&text).unwrap();
    let of = |view| data.clone().with_validation(Some(view)).unwrap().validation();
    assert_eq!(of(again), of(view));
    assert_ne!(of(view), of(Validation { seed: 4, ..view }));
    for rows in [0, 1000, 2000] {
        let error = data.clone().with_validation(Some(Validation { rows, ..view })).unwrap_err();
        assert!(matches!(&error, Error::Config { key, .. } if key == "validation.rows"), "{error}");
    }
    let mut few = data.clone();
    few.held_out = data.held_out.select(&[0, 1]);
    assert_eq!(Validation::of(&few), None);
}
