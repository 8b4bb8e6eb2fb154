use super::rows;
use crate::Error;
use crate::data::{Coordinate, Kind, Layout, Rows, Space};
use crate::draws::Draws;
use proptest::prelude::*;

fn mixed() -> Space {
    let coordinates = vec![
        Coordinate { shift: 2.0, scale: 0.5, ..Coordinate::real("a") },
        Coordinate {
            shift: 10.5,
            scale: 4.0,
            kind: Kind::Quantised { low: Some(0), high: Some(20) },
            ..Coordinate::real("b")
        },
        Coordinate {
            kind: Kind::Category { names: ["x", "y", "z"].map(String::from).to_vec() },
            ..Coordinate::real("c")
        },
        Coordinate {
            shift: 0.0,
            scale: 2.0,
            kind: Kind::Periodic { low: -3.0, period: 6.0 },
            ..Coordinate::real("d")
        },
        Coordinate { kind: Kind::Bounded { low: 0.1, high: 0.7 }, ..Coordinate::real("e") },
    ];
    Space::new(Layout::Vector { width: 5 }, coordinates).unwrap()
}

#[test]
fn encoding_by_hand() {
    let space = mixed();
    assert_eq!((space.width(), space.model_width()), (5, 7));
    let model = space.encode(&rows(5, &[3.0, 12.0, 1.0, 4.0, 0.5])).unwrap();
    // (3−2)/½; (12+½−10½)/4; one-hot of 1; 4 wraps to −2, over 2; 0.5 as it is.
    assert_eq!(model.values(), [2.0, 0.5, 0.0, 1.0, 0.0, -1.0, 0.5]);
    let raw = space.decode(&model).unwrap();
    assert_eq!(raw.values(), [3.0, 12.0, 1.0, -2.0, 0.5]);
}

#[test]
fn decoding_keeps_limits() {
    let model = [0.0, 1e6, 0.2, 0.9, 0.8, 1.75, 9.0, 0.0, -1e6, 0.0, 0.0, 0.0, -1.5, -9.0];
    let raw = mixed().decode(&rows(7, &model)).unwrap();
    assert_eq!(raw.row(0), [2.0, 20.0, 1.0, -2.5, 0.7]);
    assert_eq!(raw.row(1), [2.0, 0.0, 0.0, -3.0, 0.1]);
    mixed().validate(&raw).unwrap();
}

#[test]
fn log_volume_and_bits_by_hand() {
    let space = mixed();
    // The category does not count; 0.5 · 4 · 2 · 1 = 4.
    assert!((space.log_volume() - 4.0_f64.ln()).abs() < 1e-15);
    assert_eq!(space.bits_per_dimension(-1.0), None);
    let image = Space::image(3, 32, 32, 256).unwrap();
    assert!((image.log_volume() - 3072.0 * 128.0_f64.ln()).abs() < 1e-9);
    // Uniform density on [−1, 1]^d in model units is 8 bits per dimension.
    let log_p_model = -3072.0 * 2.0_f64.ln();
    let bits = image.bits_per_dimension(log_p_model - image.log_volume()).unwrap();
    assert!((bits - 8.0).abs() < 1e-12);
}

#[test]
fn images_fill_the_unit_interval() {
    let space = Space::image(1, 1, 3, 17).unwrap();
    let model = space.encode(&rows(3, &[0.0, 8.0, 16.0])).unwrap();
    assert_eq!(model.values(), [-16.0 / 17.0, 0.0, 16.0 / 17.0].map(|x: f64| x as f32));
    assert_eq!(space.coordinates().len(), 1);
    assert_eq!(space.column_name(2), "pixel 0 0 2");
    assert_eq!(Space::image(2, 2, 3, 4).unwrap().column_name(10), "pixel 1 1 1");
}

#[test]
fn standardising_finds_moments_and_integers() {
    let raw = rows(4, &[1.0, 7.0, 0.0, 5.0, 2.0, 8.0, 1.0, 5.0, 4.5, 12.0, 1.0, 5.0]);
    let space = Space::standardised(&["real", "count", "binary", "constant"], &raw).unwrap();
    let model = space.encode(&raw).unwrap();
    let moments = |j: usize| {
        let column: Vec<f64> = model.iter().map(|row| f64::from(row[j])).collect();
        let mean = column.iter().sum::<f64>() / 3.0;
        (mean, column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 3.0)
    };
    // Integers have their own variance, 14/3 and 2/9, and 1/12 of the noise that dequantises them.
    let share = |variance: f64| variance / (variance + 1.0 / 12.0);
    for (j, variance) in [(0, 1.0), (1, share(14.0 / 3.0)), (2, share(2.0 / 9.0)), (3, 0.0)] {
        let (mean, found) = moments(j);
        assert!(mean.abs() < 1e-6 && (found - variance).abs() < 1e-6, "{j}: {mean} {found}");
    }
    for (j, low, high) in [(1, 7, 12), (2, 0, 1), (3, 5, 5)] {
        let kind = Kind::Quantised { low: Some(low), high: Some(high) };
        assert_eq!(space.coordinate(j).kind, kind);
    }
    assert_eq!((space.coordinate(3).shift, space.coordinate(3).scale), (5.5, 1.0));
    let back = space.decode(&model).unwrap();
    for (a, b) in back.values().iter().zip(raw.values()) {
        assert!((a - b).abs() < 1e-6);
    }
}

#[test]
fn a_shared_coordinate_is_fitted_to_all_columns() {
    let layout = Layout::Image { channels: 1, height: 1, width: 2 };
    let space = Space::new(layout, vec![Coordinate::real("pixel")]).unwrap();
    let space = space.fitted(&rows(2, &[0.5, 1.5, 2.5, 3.5])).unwrap();
    let pixel = &space.coordinates()[0];
    assert_eq!((pixel.shift, pixel.scale), (2.0, 1.25_f64.sqrt()));
}

#[test]
fn huge_reals_are_not_integers() {
    let raw = rows(1, &[2.0e9, 2.0e9 + 4096.0, 2.0e9 + 8192.0]);
    assert_eq!(Space::standardised(&["id"], &raw).unwrap().coordinate(0).kind, Kind::Real);
}

#[test]
fn limits_widen_to_cover_held_out_rows() {
    let space = Space::standardised(&["n"], &rows(1, &[3.0, 4.0, 6.0])).unwrap();
    let held_out = rows(1, &[1.0, 9.0]);
    assert!(space.validate(&held_out).is_err());
    let wider = space.clone().covering(&held_out).unwrap();
    assert_eq!(wider.coordinate(0).kind, Kind::Quantised { low: Some(1), high: Some(9) });
    assert_eq!(wider.coordinate(0).shift, space.coordinate(0).shift);
    wider.validate(&held_out).unwrap();
}

#[test]
fn dequantised_values_fill_their_bins() {
    let space = Space::image(1, 1, 4, 16).unwrap();
    let raw = Rows::new((0..40_000).map(|i| (i % 16) as f32).collect(), 4).unwrap();
    let ids: Vec<u64> = (500..10_500).collect();
    let draws = Draws::new(3).purpose("dequantise");
    let model = space.encode_dequantised(&raw, &draws, &ids).unwrap();
    assert_eq!(space.decode(&model).unwrap(), raw);
    let noise: Vec<f64> = model
        .values()
        .iter()
        .zip(raw.values())
        .map(|(x, v)| f64::from(*x) * 8.0 + 8.0 - f64::from(*v))
        .collect();
    assert!(noise.iter().all(|u| (0.0..1.0).contains(u)));
    // 40,000 uniforms: the mean's standard error is 0.00144; 5 of them are missed once in 1.7 million.
    let mean = noise.iter().sum::<f64>() / noise.len() as f64;
    assert!((mean - 0.5).abs() < 0.0073, "{mean}");
    // A row's noise is its own, whatever the batch.
    let alone = space.encode_dequantised(&raw.slice(77..78), &draws, &ids[77..78]).unwrap();
    assert_eq!(alone.row(0), model.row(77));
}

#[test]
fn a_space_survives_json() {
    let space = mixed().with_classes(vec!["p".into(), "q".into()]);
    let text = serde_json::to_string(&space).unwrap();
    assert_eq!(serde_json::from_str::<Space>(&text).unwrap(), space);
    let fitted = Space::standardised(&["a"], &rows(1, &[0.1, 0.7, 0.33])).unwrap();
    let text = serde_json::to_string(&fitted).unwrap();
    assert_eq!(serde_json::from_str::<Space>(&text).unwrap(), fitted);
}

#[test]
fn stored_spaces_are_checked() {
    let text = serde_json::to_string(&mixed()).unwrap();
    for (good, bad, message) in [
        ("\"scale\":4.0", "\"scale\":-4.0", "scale above 0"),
        ("\"scale\":4.0", "\"scale\":1e-40", "scale from 1e-30"),
        ("\"width\":5", "\"width\":6", "expected 6, one per column"),
        ("\"width\":5", "\"width\":0", "at least one value"),
        ("\"high\":20", "\"high\":-20", "low at most high"),
        ("\"period\":6.0", "\"period\":0.0", "period above 0"),
        ("\"low\":0.1", "\"low\":0.9", "low at most high"),
        ("[\"x\",\"y\",\"z\"]", "[]", "at least one name"),
        ("\"layout\"", "\"lay\"", "unknown field `lay`"),
    ] {
        assert!(text.contains(good), "{good}");
        let error = serde_json::from_str::<Space>(&text.replacen(good, bad, 1)).unwrap_err();
        assert!(error.to_string().contains(message), "{bad}: {error}");
    }
}

#[test]
fn faults_name_row_and_column() {
    let space = mixed();
    let good = [3.0, 12.0, 1.0, 1.0, 0.5];
    for (column, value, expected) in [
        (0, f32::NAN, "the value is NaN; expected a finite number"),
        (3, f32::INFINITY, "the value is inf"),
        (1, 2.5, "the value is 2.5; expected an integer from 0 to 20"),
        (1, 21.0, "the value is 21"),
        (2, 3.0, "expected the index of one of 3 categories"),
        (2, -1.0, "the value is -1"),
    ] {
        let mut values = [good, good].concat();
        values[5 + column] = value;
        let name = space.column_name(column);
        for result in
            [space.validate(&rows(5, &values)), space.encode(&rows(5, &values)).map(|_| ())]
        {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(&format!("row 1, column {column} ('{name}')")), "{error}");
            assert!(error.contains(expected), "{error}");
        }
    }
    let error = space.decode(&rows(7, &[0.0, 0.0, 0.0, f32::NAN, 0.0, 0.0, 0.0])).unwrap_err();
    assert!(error.to_string().contains("row 0, column 2 ('c')"), "{error}");
    let shape = space.encode(&rows(2, &[0.0, 0.0])).unwrap_err();
    assert!(matches!(shape, Error::Shape { .. }), "{shape}");
    assert!(matches!(space.decode(&rows(5, &[0.0; 5])).unwrap_err(), Error::Shape { .. }));
}

#[test]
fn values_too_large_for_model_units_are_refused() {
    let tiny = Coordinate { scale: 1e-20, ..Coordinate::real("a") };
    let space = Space::new(Layout::Vector { width: 1 }, vec![tiny]).unwrap();
    let error = space.encode(&rows(1, &[1e30])).unwrap_err().to_string();
    assert!(error.contains("row 0, column 0 ('a')") && error.contains("overflows"), "{error}");
}

proptest! {
    #[test]
    fn integers_survive_encoding(
        low in -3_000_000_i64..3_000_000,
        span in 1_i64..1_000_000,
        picks in prop::collection::vec(0.0_f64..1.0, 3..40),
        seed: u64,
    ) {
        let values: Vec<f32> =
            picks.iter().map(|p| (low + (p * span as f64) as i64) as f32).collect();
        let raw = Rows::new(values, 1).unwrap();
        let space = Space::standardised(&["n"], &raw).unwrap();
        prop_assert_eq!(&space.decode(&space.encode(&raw).unwrap()).unwrap(), &raw);
        let ids: Vec<u64> = (0..raw.len() as u64).collect();
        let noisy = space.encode_dequantised(&raw, &Draws::new(seed), &ids).unwrap();
        prop_assert_eq!(&space.decode(&noisy).unwrap(), &raw);
    }

    #[test]
    fn reals_survive_encoding(values in prop::collection::vec(-1e6_f32..1e6, 2..40)) {
        let raw = Rows::new(values, 1).unwrap();
        let space = Space::standardised(&["x"], &raw).unwrap();
        let back = space.decode(&space.encode(&raw).unwrap()).unwrap();
        let reach = space.coordinate(0).scale * 1e-6;
        for (a, b) in back.values().iter().zip(raw.values()) {
            prop_assert!(f64::from((a - b).abs()) <= reach + f64::from(b.abs()) * 2e-7);
        }
    }

    #[test]
    fn periodic_values_keep_their_meaning(value in -100.0_f32..100.0, low in -4.0_f64..4.0, period in 0.5_f64..9.0) {
        let angle = Coordinate {
            shift: low, scale: period / 2.0, kind: Kind::Periodic { low, period }, ..Coordinate::real("a")
        };
        let space = Space::new(Layout::Vector { width: 1 }, vec![angle]).unwrap();
        let back = space.decode(&space.encode(&rows(1, &[value])).unwrap()).unwrap();
        let (back, turns) = (f64::from(back.values()[0]), |v: f64| (v - low) / period);
        prop_assert!(back >= low - 1e-6 && back < low + period);
        let apart = (turns(f64::from(value)) - turns(back)).rem_euclid(1.0);
        prop_assert!(apart.min(1.0 - apart) < 1e-5, "{apart}");
    }
}

/// A long-tailed column with a monotone map: rows come back, log p of a standard normal in model units integrates to 1
/// in raw ones, and distances without the map do not know of it.
#[test]
fn densities_change_by_the_slope_of_a_monotone_map() {
    let normal = Draws::new(4).normals(0..2000, 1);
    let raw = rows(1, &normal.values().iter().map(|z| z.exp()).collect::<Vec<_>>());
    let affine = Space::standardised(&["income"], &raw).unwrap();
    let space = affine.clone().normalised(&raw).unwrap();
    let back = space.decode(&space.encode(&raw).unwrap()).unwrap();
    for (a, b) in back.values().iter().zip(raw.values()) {
        assert!((a - b).abs() < 2e-6 * (1.0 + b.abs()), "{a} {b}");
    }
    let step = 0.002;
    let grid = rows(1, &(0..40_000).map(|i| -5.0 + step * i as f32).collect::<Vec<_>>());
    let model = space.encode(&grid).unwrap();
    let volumes = space.log_volumes(&model).unwrap();
    let log_p = |x: &f32| -0.5 * f64::from(x * x) - 0.5 * std::f64::consts::TAU.ln();
    let density = model.values().iter().zip(&volumes).map(|(x, volume)| (log_p(x) - volume).exp());
    let total = density.sum::<f64>() * f64::from(step);
    assert!((total - 1.0).abs() < 1e-3, "{total}");
    assert_eq!(space.without_maps(), affine);
    for kind in ["quantised", "category"] {
        let text = serde_json::to_string(&space).unwrap();
        let other = if kind == "quantised" {
            text.replace("\"real\"", "{\"quantised\":{\"low\":null,\"high\":null}}")
        } else {
            text.replace("\"real\"", "{\"category\":{\"names\":[\"a\"]}}")
        };
        let error = serde_json::from_str::<Space>(&other).unwrap_err().to_string();
        assert!(error.contains("a map of real numbers alone"), "{error}");
    }
    assert_eq!(affine.log_volumes(&model).unwrap()[7], affine.log_volume());
    let text = serde_json::to_string(&space).unwrap();
    assert_eq!(serde_json::from_str::<Space>(&text).unwrap(), space);
}
