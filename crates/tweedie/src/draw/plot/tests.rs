use super::*;
use crate::draw::{colour, panels};
use image::RgbImage;

/// The middle of the pixels that have the colour of a single point of series `i`, 8 parts in 10 opaque.
fn middle(image: &RgbImage, i: usize) -> (f64, f64) {
    let wanted = colour::series(i).map(|c| (0.8 * f64::from(c) + 51.0) as u8);
    let near = |p: &image::Rgb<u8>| p.0.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) < 8);
    let (mut x, mut y, mut count) = (0.0, 0.0, 0.0);
    for (px, py, _) in image.enumerate_pixels().filter(|(_, _, p)| near(p)) {
        (x, y, count) = (x + f64::from(px), y + f64::from(py), count + 1.0);
    }
    assert!(count > 20.0, "series {i} is not there");
    (x / count, y / count)
}

#[test]
fn points_lie_where_their_coordinates_say() {
    let corners = Plot::new("").points("", &[(0.0, 0.0)]).points("", &[(3.0, 0.0)]);
    let image = corners.points("", &[(0.0, 1.0)]).equal_units().draw().unwrap();
    let (a, b, c) = (middle(&image, 0), middle(&image, 1), middle(&image, 2));
    assert!((a.1 - b.1).abs() < 1.0 && (a.0 - c.0).abs() < 1.0);
    assert!(((b.0 - a.0) - 3.0 * (a.1 - c.1)).abs() < 3.0, "{a:?} {b:?} {c:?}");
}

#[test]
fn a_logarithmic_axis_is_even_in_ratios() {
    let plot = Plot::new("t").log_y().points("", &[(0.0, 1e-3)]).points("", &[(1.0, 1.0)]);
    let image = plot.points("", &[(2.0, 1e3)]).draw().unwrap();
    let [a, b, c] = [0, 1, 2].map(|i| middle(&image, i));
    assert!((a.1 - 2.0 * b.1 + c.1).abs() < 2.0 && a.1 > b.1 && b.1 > c.1);
    assert!((a.0 - 2.0 * b.0 + c.0).abs() < 2.0 && a.0 < b.0);
}

#[test]
fn smoothing_is_the_weighted_mean_it_claims() {
    let points: Vec<(f64, f64)> =
        (0..50).map(|k| (f64::from(k), (f64::from(k) * 0.7).sin())).collect();
    let smoothed = smooth(&points, 10);
    for (k, found) in smoothed.iter().enumerate() {
        let weights: Vec<f64> = (0..=k).map(|j| 0.9f64.powi((k - j) as i32)).collect();
        let sum: f64 = weights.iter().zip(&points).map(|(w, p)| w * p.1).sum();
        assert!((found.1 - sum / weights.iter().sum::<f64>()).abs() < 1e-12);
    }
    assert_eq!(smooth(&[(1.0, 2.0), (2.0, f64::NAN), (3.0, 2.0)], 0), [(1.0, 2.0), (3.0, 2.0)]);
}

#[test]
fn wild_values_and_sizes_give_a_picture_or_an_error_but_never_a_panic() {
    let wild = [f64::NAN, f64::INFINITY, -1e308, 1e308, 0.0, -0.0, 5e-324, 1.0, -1.0, 1e16];
    for a in wild {
        for b in wild {
            let points = [(a, b), (b, a), (a, a), (1.0, b)];
            let name = "λ".repeat(300);
            let plot = Plot::new(&name).x_name(&name).y_name(&name).line(&name, &points);
            let plot = plot.points("", &points).smoothed("", &points, 3).x_range(a, b);
            let plot = plot.equal_units().size(90, 60);
            plot.draw().unwrap();
            plot.clone().log_x().log_y().draw().unwrap();
            if let Ok(plot) = plot.heat("", &[a, b, 1.0, 2.0], 2, (a, b), (0.0, 1.0)) {
                plot.log_x().draw().unwrap();
            }
        }
    }
    for (width, height) in [(1, 1), (3000, 2), (2, 3000)] {
        Plot::new("t").line("l", &[(0.0, 1.0), (1.0, 2.0)]).size(width, height).draw().unwrap();
    }
    assert!(Plot::new("").draw().is_ok());
    assert!(Plot::new("").size(0, 10).draw().is_err());
    assert!(panels(&[], 2).is_err() && panels(&[Plot::new("")], 0).is_err());
    let page = panels(&vec![Plot::new("").size(200, 100); 5], 2).unwrap();
    assert_eq!(page.dimensions(), (400, 300));
}

#[test]
fn wrong_shapes_are_errors() {
    let rows = Rows::new(vec![0.0; 6], 3).unwrap();
    let plot = Plot::new("");
    assert!(matches!(plot.clone().scatter("", &rows), Err(Error::Shape { .. })));
    assert!(plot.clone().heat("", &[1.0; 5], 2, (0.0, 1.0), (0.0, 1.0)).is_err());
    assert!(plot.clone().heat("", &[], 2, (0.0, 1.0), (0.0, 1.0)).is_err());
    assert!(plot.heat("", &[1.0; 4], 2, (1.0, 1.0), (0.0, 1.0)).is_err());
}

#[test]
fn error_bars_reach_from_end_to_end() {
    let points = [(1.0, 10.0, 5.0), (2.0, 12.0, 0.0), (3.0, 2.0, 3.0)];
    for log in [false, true] {
        let plot = Plot::new("").line_with_errors("", &points).y_range(1.0, 20.0).x_range(0.0, 4.0);
        let image = if log { plot.log_y() } else { plot }.draw().unwrap();
        let ink = colour::series(0);
        let near = |p: &image::Rgb<u8>| p.0.iter().zip(ink).all(|(a, b)| a.abs_diff(b) < 90);
        // The ends of the panel, by the frame's own corner marks: known from lines that span it.
        let span = Plot::new("").line("", &[(1.0, 1.0), (1.0, 20.0)]).y_range(1.0, 20.0);
        let span = span.x_range(0.0, 4.0);
        let span = if log { span.log_y() } else { span }.draw().unwrap();
        let column = |image: &RgbImage, x: u32| {
            let dark = (0..image.height()).filter(|&y| near(image.get_pixel(x, y)));
            let rows: Vec<u32> = dark.collect();
            (rows[0] as f64, rows[rows.len() - 1] as f64)
        };
        let x = (0..span.width()).find(|&x| near(span.get_pixel(x, span.height() / 2))).unwrap();
        let (top, bottom) = column(&span, x + 2);
        let place = |y: f64| {
            let fraction = if log { y.log10() / 20f64.log10() } else { (y - 1.0) / 19.0 };
            bottom - fraction * (bottom - top)
        };
        let (high, low) = column(&image, x + 2);
        assert!((high - place(15.0)).abs() < 4.0 && (low - place(5.0)).abs() < 4.0, "{log}");
    }
}
