//! Piles: a column of amounts of rain, most of them exactly 0.

use super::rows;
use crate::Draws;
use crate::data::{ColumnMap, Dataset, Kind, Rows, Source, Space};

/// Days with their rain in mm: 0 on 60 % of them, missing on each 50th, else log-normal; and a temperature.
fn weather(n: u64) -> String {
    let normals = Draws::new(8).normals(0..n, 2);
    let mut text = String::from("rain [mm],temperature\n");
    for (i, noise) in normals.iter().enumerate() {
        let rain = match i % 50 {
            49 => String::new(),
            k if k % 5 < 3 => "0.00".into(),
            _ => format!("{:.2}", 0.1 + (0.8 * noise[0]).exp()),
        };
        text += &format!("{rain},{:.1}\n", 12.0 + 5.0 * noise[1]);
    }
    text
}

fn load(text: &str, piles: Option<bool>, map: ColumnMap) -> Dataset {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weather.csv");
    std::fs::write(&path, text).unwrap();
    let named = Source::named(path.to_str().unwrap());
    Source { piles, map: Some(map), ..named }.load().unwrap()
}

#[test]
fn amounts_of_rain_come_back_with_exactly_their_zeros() {
    for map in [ColumnMap::Affine, ColumnMap::Quantile] {
        let data = load(&weather(3000), Some(true), map);
        let (space, raw) = (&data.space, data.train.rows());
        let rain = space.coordinate(0);
        assert_eq!((rain.pile, rain.model_width(), space.model_width()), (Some(0.0), 3, 4));
        assert_eq!(
            (space.coordinate(1).pile, rain.map.is_some()),
            (None, map == ColumnMap::Quantile)
        );
        let model = space.encode(raw).unwrap();
        let back = space.decode(&model).unwrap();
        let share = |rows: &Rows, f: fn(f32) -> bool| rows.iter().filter(|row| f(row[0])).count();
        for f in [|v: f32| v == 0.0, |v: f32| v.is_nan()] {
            assert!(share(raw, f) > 20 && share(&back, f) == share(raw, f));
        }
        let mut moments = [0.0; 3];
        for ((own, x), back) in raw.iter().zip(model.iter()).zip(back.iter()) {
            let expected = match own[0] {
                v if v.is_nan() => Some([0.0, 1.0, -1.0]),
                0.0 => Some([0.0, -1.0, 1.0]),
                _ => None,
            };
            match expected {
                Some(expected) => assert_eq!(x[..3], expected),
                None => {
                    assert!(x[1..3] == [-1.0, -1.0] && (own[0] - back[0]).abs() < 1e-5);
                    let x = f64::from(x[0]);
                    moments = [moments[0] + 1.0, moments[1] + x, moments[2] + x * x];
                }
            }
        }
        // The other values alone are standardised, or nearly normal.
        let [n, sum, squares] = moments;
        assert!((sum / n).abs() < 0.01 && (squares / n - 1.0).abs() < 0.05, "{moments:?}");
        let text = serde_json::to_string(space).unwrap();
        assert_eq!(serde_json::from_str::<Space>(&text).unwrap(), *space);
        let reason = space.without_density().unwrap();
        assert_eq!(reason, "column 'rain' has missing values");
        assert_eq!(space.without_maps().model_width(), 3);
    }
}

#[test]
fn of_two_indicators_the_greater_counts() {
    let data = load(&weather(500), Some(true), ColumnMap::Affine);
    let model = [0.3, 0.2, 0.1, 0.0, 0.3, 0.1, 0.2, 0.0, 0.3, -0.1, -0.2, 0.0, 0.3, -0.1, 0.2, 0.0];
    let raw = data.space.decode(&rows(4, &model)).unwrap();
    assert!(raw.row(0)[0].is_nan() && raw.row(2)[0] > 0.0);
    assert_eq!((raw.row(1)[0], raw.row(3)[0]), (0.0, 0.0));
}

#[test]
fn only_columns_of_real_numbers_with_many_others_have_piles_and_only_on_demand() {
    let text = weather(1000);
    let plain = load(&text, None, ColumnMap::Affine);
    assert_eq!(plain.space, load(&text, Some(false), ColumnMap::Affine).space);
    assert!(!serde_json::to_string(&plain.space).unwrap().contains("pile"));
    let piled = load(&text, Some(true), ColumnMap::Affine);
    assert!(!piled.space.reads_as(&plain.space));
    // A run keeps the space that it was trained in.
    assert_eq!(piled.clone().in_space(&plain.space).unwrap().space, plain.space);
    assert_eq!(piled.train.hash(), plain.train.hash());

    let line = |i: u32| format!("{},{},{}\n", f64::from(i % 15) * 0.5, i % 3, f64::from(i) * 0.5);
    let few: String = (0..900).map(line).collect();
    let few = load(&format!("few,whole,all\n{few}"), Some(true), ColumnMap::Affine);
    assert!(few.space.coordinates().iter().all(|column| column.pile.is_none()));
    assert!(matches!(few.space.coordinate(0).kind, Kind::Bounded { .. }));

    let dry = weather(1000).replace("\n,", "\n0.50,");
    let dry = load(&dry, Some(true), ColumnMap::Affine);
    let reason = dry.space.without_density().unwrap();
    assert!(
        reason.contains("'rain' has an indicator of rows of 0.00") && reason.contains("data.piles")
    );
}

/// A column with many rows at one value is said to have no density; one without is not.
#[test]
fn atoms_are_noted() {
    let data = load(&weather(3000), Some(false), ColumnMap::Affine);
    let before = data.notes.len();
    let noted = data.noting_atoms();
    // Temperatures are rounded to a tenth, and may have one, too.
    let note = &noted.notes[before];
    assert!(note.contains("'rain") && note.contains("% of the rows are 0"), "{note}");
    let constant =
        "a,b\n".to_string() + &(0..50).map(|i| format!("1.5,{}.5\n", i)).collect::<String>();
    let noted = load(&constant, Some(false), ColumnMap::Affine).noting_atoms();
    assert!(
        noted.notes.iter().any(|note| note.contains("'a': all rows are 1.5")),
        "{:?}",
        noted.notes
    );
    let piled = load(&weather(3000), Some(true), ColumnMap::Affine).noting_atoms();
    assert!(!piled.notes.iter().any(|note| note.contains("'rain") && note.contains("upper bound")));
}
