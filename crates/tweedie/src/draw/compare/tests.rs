use super::*;

fn rows(values: impl Iterator<Item = f64>, width: usize) -> Rows {
    Rows::new(values.map(|v| v as f32).collect(), width).unwrap()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("column {i}")).collect()
}

#[test]
fn densities_have_the_area_of_the_rows_that_fit() {
    let values: Vec<f64> = (0..1000).map(|i| (f64::from(i) * 0.618).fract().powi(2)).collect();
    let scale = Scale { low: 0.0, high: 0.5, log: false };
    let edges = edges(&values, &scale);
    assert!((11..=61).contains(&edges.len()));
    let area: f64 = densities(&values, &edges)
        .iter()
        .zip(edges.windows(2))
        .map(|(d, e)| d * (e[1] - e[0]))
        .sum();
    let inside = values.iter().filter(|v| **v < 0.5).count();
    assert!((area - inside as f64 / 1000.0).abs() < 1e-12);
}

#[test]
fn the_bin_width_is_that_of_freedman_and_diaconis() {
    // Evenly spread over 0–1: the quartiles are 1/2 apart, so the width is 1/10 for 1,000 values.
    let values: Vec<f64> = (0..1000).map(|i| (f64::from(i) + 0.5) / 1000.0).collect();
    let edges = edges(&values, &Scale { low: 0.0, high: 2.0, log: false });
    assert_eq!(edges.len(), 21);
}

#[test]
fn few_whole_numbers_get_a_bar_each() {
    let values = [3.0, 5.0, 5.0, 6.0];
    let edges = edges(&values, &Scale { low: 2.0, high: 7.0, log: false });
    assert_eq!(edges, [2.5, 3.5, 4.5, 5.5, 6.5]);
    assert_eq!(densities(&values, &edges), [0.25, 0.0, 0.5, 0.25]);
}

#[test]
fn correlations_meet_their_closed_form() {
    // x = a, y = a + b with a, b independent and of one variance: r = 1/√2, and −1 against −x.
    let points = (0..400).flat_map(|i| {
        let (a, b) = (f64::from(i % 20), f64::from(i / 20));
        [a, a + b, -a, 7.0]
    });
    let rows = rows(points, 4);
    assert!((correlation(&rows, (0, 1)).unwrap() - 0.5f64.sqrt()).abs() < 1e-12);
    assert!((correlation(&rows, (2, 0)).unwrap() + 1.0).abs() < 1e-12);
    assert_eq!(correlation(&rows, (0, 3)), None);
}

#[test]
fn the_first_set_decides_the_axes_and_the_rest_is_counted() {
    let real = rows((0..200).map(f64::from), 2);
    let wild = rows([5.0, 5.0, 1e30, 5.0, f64::NAN, 5.0, 5.0, -999.0].into_iter(), 2);
    let sets = [("real", &real), ("wild", &wild)];
    let scales = scales_of(&sets, 2).unwrap();
    assert!((scales[0].low + 0.08 * 198.0).abs() < 1e-9);
    assert_eq!(outside(&real, &scales), "");
    assert_eq!(outside(&wild, &scales), " (3 of 4 outside)");
    let pictures = [side_by_side(&sets, "x", "y"), pair_plot(&names(2), &sets)];
    assert!(pictures.iter().all(Result::is_ok));
}

#[test]
fn all_widths_are_drawn_and_impossible_ones_refused() {
    for width in 1..=6 {
        let set = rows((0..width * 50).map(|i| f64::from((i * 7919) as u32 % 101)), width);
        let picture = pair_plot(&names(width), &[("a", &set)]).unwrap();
        assert_eq!(picture.width(), 1500);
        assert!(pair_plot(&names(width + 1), &[("a", &set)]).is_err());
    }
    let wide = rows((0..70).map(f64::from), 7);
    assert!(matches!(pair_plot(&names(7), &[("a", &wide)]), Err(Error::Config { .. })));
    assert!(pair_plot(&names(2), &[]).is_err() && side_by_side(&[], "", "").is_err());
    assert!(pair_plot(&[], &[]).is_err());
    let empty = Rows::new(Vec::new(), 2).unwrap();
    assert!(pair_plot(&names(2), &[("a", &empty)]).is_ok());
    assert!(side_by_side(&[("a", &empty), ("b", &empty)], "", "").is_ok());
    assert_eq!(spread(&rows((0..20_000).map(f64::from), 2)).len(), 2500);
}
