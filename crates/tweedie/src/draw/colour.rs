//! Colours that colour-blind readers can distinguish.
//!
//! Series take the palette of Okabe and Ito, *Color Universal Design* (2008), in an order that puts the strongest
//! contrasts first; densities take viridis (Smith and van der Walt, 2015, released under CC0), whose lightness grows
//! evenly, and which stays readable for colour-blind readers and in grey print.

/// A colour: red, green and blue as sRGB bytes.
pub(crate) type Colour = [u8; 3];

/// Titles and axis names.
pub(crate) const INK: Colour = [34, 34, 34];
/// Tick labels and frames.
pub(crate) const SOFT_INK: Colour = [85, 85, 85];
/// Grid lines.
pub(crate) const FAINT: Colour = [228, 228, 228];
/// Pixels without a number.
pub(crate) const ALARM: Colour = [213, 94, 0];

const SERIES: [Colour; 8] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [230, 159, 0],
    [86, 180, 233],
    [0, 0, 0],
    [240, 228, 66],
];

/// The colour of series `i`; the palette repeats after eight.
pub(crate) fn series(i: usize) -> Colour {
    SERIES[i % SERIES.len()]
}

/// The number of full rounds of the palette before series `i`, which chooses its mark.
pub(crate) fn round(i: usize) -> usize {
    i / SERIES.len()
}

const VIRIDIS: [Colour; 11] = [
    [0x44, 0x01, 0x54],
    [0x48, 0x24, 0x75],
    [0x41, 0x44, 0x87],
    [0x35, 0x5f, 0x8d],
    [0x2a, 0x78, 0x8e],
    [0x21, 0x91, 0x8c],
    [0x22, 0xa8, 0x84],
    [0x44, 0xbf, 0x70],
    [0x7a, 0xd1, 0x51],
    [0xbd, 0xdf, 0x26],
    [0xfd, 0xe7, 0x25],
];

/// Viridis at `fraction` (clamped to 0–1), linear between its tenths.
pub(crate) fn viridis(fraction: f64) -> Colour {
    let place = fraction.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let i = (place as usize).min(VIRIDIS.len() - 2);
    let part = place - i as f64;
    std::array::from_fn(|c| {
        let (low, high) = (f64::from(VIRIDIS[i][c]), f64::from(VIRIDIS[i + 1][c]));
        (low + part * (high - low)).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance of an sRGB colour (WCAG 2.1).
    fn luminance(colour: Colour) -> f64 {
        let linear = colour.map(|c| {
            let c = f64::from(c) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    #[test]
    fn viridis_grows_lighter_and_meets_its_published_ends() {
        assert_eq!(viridis(-1.0), [0x44, 0x01, 0x54]);
        assert_eq!(viridis(f64::INFINITY), [0xfd, 0xe7, 0x25]);
        // Matplotlib's viridis(0.25) is (59, 82, 139).
        let quarter = viridis(0.25);
        for (ours, theirs) in quarter.iter().zip([59, 82, 139]) {
            assert!((i32::from(*ours) - theirs).abs() <= 2, "{quarter:?}");
        }
        let light: Vec<f64> = (0..=100).map(|i| luminance(viridis(f64::from(i) / 100.0))).collect();
        assert!(light.windows(2).all(|pair| pair[1] > pair[0]));
    }

    #[test]
    fn text_contrasts_with_the_page() {
        for ink in [INK, SOFT_INK] {
            assert!((1.0 + 0.05) / (luminance(ink) + 0.05) > 7.0);
        }
    }
}
