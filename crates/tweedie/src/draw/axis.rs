//! Axes, linear or logarithmic: ranges, places of numbers, round ticks and their labels.
//!
//! A linear axis has ticks at multiples of 1, 2 or 5 times a power of ten. A logarithmic axis of two decades or more
//! has ticks at powers of ten; of less, at 1, 2 and 5 times them (or at more, where these are few); of hardly any span,
//! the ticks of a linear axis.

/// Whether a value can be drawn: differences (on a logarithmic axis ratios) of such values stay finite.
fn drawable(value: f64, log: bool) -> bool {
    value.is_finite() && value.abs() < 1e200 && (!log || value > 1e-200)
}

/// The range of an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub low: f64,
    pub high: f64,
    pub log: bool,
}

/// A tick: its value and its label (empty at minor ticks).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub value: f64,
    pub label: String,
}

impl Scale {
    /// The scale from `low` to `high`; none for a range that cannot be drawn.
    pub(super) fn between(low: f64, high: f64, log: bool) -> Option<Self> {
        let sound = low < high && drawable(low, log) && drawable(high, log);
        sound.then_some(Self { low, high, log })
    }

    /// A scale that holds all drawable values (on a logarithmic one: all positive ones), with a margin of `margin` of
    /// its length at both ends; none without such a value.
    pub(super) fn around(
        values: impl Iterator<Item = f64>,
        log: bool,
        margin: f64,
    ) -> Option<Self> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|&v| drawable(v, log)) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            return None;
        }
        Some(Self { low, high, log }.widened(margin))
    }

    /// The scale with a margin of `margin` of its length at both ends; a single value gets room on both sides.
    pub(super) fn widened(self, margin: f64) -> Self {
        let (low, high) = (self.inner(self.low), self.inner(self.high));
        let smallest = if self.log { 0.05 } else { 1e-9 * low.abs().max(high.abs()) };
        let room = if high - low > smallest {
            margin * (high - low)
        } else if self.log {
            0.1
        } else {
            (0.05 * low.abs()).max(0.5)
        };
        Self { low: self.outer(low - room), high: self.outer(high + room), log: self.log }
    }

    /// The value on an even axis: itself, or its decimal logarithm.
    pub(super) fn inner(&self, value: f64) -> f64 {
        if self.log { value.log10() } else { value }
    }

    /// The inverse of [`Scale::inner`].
    pub(super) fn outer(&self, value: f64) -> f64 {
        if self.log { 10f64.powf(value) } else { value }
    }

    /// The place of a value: 0 at the low end, 1 at the high end; none if it cannot be drawn.
    pub(super) fn fraction(&self, value: f64) -> Option<f64> {
        let (low, high) = (self.inner(self.low), self.inner(self.high));
        let fraction = (self.inner(value) - low) / (high - low);
        (drawable(value, self.log) && fraction.is_finite()).then_some(fraction)
    }

    /// Whether a value lies on the scale.
    pub(super) fn holds(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// About `count` ticks from low to high.
    pub(super) fn ticks(&self, count: usize) -> Vec<Tick> {
        if self.log { self.log_ticks(count) } else { self.linear_ticks(count) }
    }

    fn linear_ticks(&self, count: usize) -> Vec<Tick> {
        let step = round_step((self.high - self.low) / count.max(1) as f64);
        // Ends that are ticks stay ticks under rounding.
        let (first, last) = ((self.low / step - 1e-9).ceil(), (self.high / step + 1e-9).floor());
        let many = (last - first).clamp(0.0, 4.0 * count as f64 + 4.0) as usize;
        let values: Vec<f64> = (0..=many)
            .map(|i| (first + i as f64) * step)
            .filter(|v| v.is_finite())
            .map(|v| if v == 0.0 { 0.0 } else { v })
            .collect();
        let largest = values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        let labels = values.iter().map(|&v| number(v, step, largest));
        labels.zip(&values).map(|(label, &value)| Tick { value, label }).collect()
    }

    fn log_ticks(&self, count: usize) -> Vec<Tick> {
        let (low, high) = (self.low.log10(), self.high.log10());
        if high - low < 0.6 {
            return self.linear_ticks(count);
        }
        let (first, last) = (low.floor() as i32, high.ceil() as i32);
        if high - low >= 2.0 {
            let every = (((high - low) / count.max(1) as f64).round() as i32).max(1);
            let exponents = (first..=last).filter(|e| e % every == 0);
            let held: Vec<i32> = exponents.filter(|&e| self.holds(10f64.powi(e))).collect();
            let plain = held.iter().all(|e| (-3..=4).contains(e));
            let tick = |&exponent: &i32| {
                let value = 10f64.powi(exponent);
                let label =
                    if plain { number(value, value, value) } else { power_of_ten(exponent) };
                Tick { value, label }
            };
            return held.iter().map(tick).collect();
        }
        let ticks = |digits: &[f64]| {
            let mut ticks = Vec::new();
            for exponent in first..=last {
                for digit in digits {
                    // Divide by a positive power: 5 / 100 is nearer to 0.05 than 5 × 0.01.
                    let value = if exponent < 0 {
                        digit / 10f64.powi(-exponent)
                    } else {
                        digit * 10f64.powi(exponent)
                    };
                    let step = 10f64.powi(exponent);
                    ticks.push(Tick { value, label: number(value, step, value) });
                }
            }
            ticks.retain(|t| self.holds(t.value));
            ticks
        };
        match ticks(&[1.0, 2.0, 5.0]) {
            few if few.len() < 3 => ticks(&[1.0, 2.0, 3.0, 4.0, 6.0, 8.0]),
            enough => enough,
        }
    }

    /// The unlabelled ticks of a logarithmic axis: 2 to 9 times each power of ten, unless there are too many.
    pub(super) fn minor_ticks(&self) -> Vec<f64> {
        if !self.log || !(0.6..=8.0).contains(&(self.high / self.low).log10()) {
            return Vec::new();
        }
        let exponents = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let values = exponents.flat_map(|e| (2..10).map(move |d| f64::from(d) * 10f64.powi(e)));
        values.filter(|&v| self.holds(v)).collect()
    }
}

/// The number nearest to `step` by ratio, of 1, 2 and 5 times powers of ten.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    // Between neighbours the geometric mean decides.
    let round = match step / power {
        digit if digit < 2f64.sqrt() => 1.0,
        digit if digit < 10f64.sqrt() => 2.0,
        digit if digit < 50f64.sqrt() => 5.0,
        _ => 10.0,
    };
    round * power
}

/// A tick's label: as many decimals as `step` needs, a true minus sign, k and M for large counts, and powers of
/// ten where digits would be too many.
fn number(value: f64, step: f64, largest: f64) -> String {
    let places = (-step.log10() - 1e-9).ceil().max(0.0) as usize;
    let text = if value == 0.0 {
        "0".to_string()
    } else if places > 5 || largest >= 1e9 {
        scientific(value, (largest / step).log10().ceil().clamp(0.0, 15.0) as usize)
    } else if largest >= 1e6 && step >= 1e4 {
        format!("{}M", trimmed(value / 1e6))
    } else if largest >= 1e4 && step >= 1e2 {
        format!("{}k", trimmed(value / 1e3))
    } else {
        format!("{value:.places$}")
    };
    text.replace('-', "−")
}

/// At most two decimals, without trailing zeros.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// Scientific notation such as 2.5×10⁻⁷, with at most `digits` decimals.
pub(super) fn scientific(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    };
    format!("{digits}×{}", power_of_ten(exponent.parse().unwrap_or(0)))
}

/// A power of ten such as 10⁻³.
fn power_of_ten(exponent: i32) -> String {
    let digit = |c: char| match c {
        '-' => '⁻',
        _ => {
            ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][c.to_digit(10).unwrap_or(0) as usize]
        }
    };
    let exponent: String = exponent.to_string().chars().map(digit).collect();
    format!("10{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64, log: bool) -> Vec<String> {
        Scale { low, high, log }.ticks(6).into_iter().map(|t| t.label).collect()
    }

    #[test]
    fn ticks_are_round_numbers_written_plainly() {
        assert_eq!(labels(-0.03, 1.02, false), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(-1.0, 1.0, false), ["−1.0", "−0.5", "0", "0.5", "1.0"]);
        assert_eq!(labels(0.0, 52_000.0, false), ["0", "10k", "20k", "30k", "40k", "50k"]);
        assert_eq!(labels(0.0, 3e6, false)[1], "0.5M");
        assert_eq!(labels(0.0, 3e-7, false)[1], "5×10⁻⁸");
        assert_eq!(labels(1e-4, 1.0, true), ["10⁻⁴", "10⁻³", "10⁻²", "10⁻¹", "10⁰"]);
        assert_eq!(labels(0.01, 2e4, true), ["0.01", "0.1", "1", "10", "100", "1000", "10k"]);
        assert_eq!(labels(0.04, 0.6, true), ["0.05", "0.1", "0.2", "0.5"]);
        assert_eq!(labels(0.21, 0.93, true), ["0.3", "0.4", "0.6", "0.8"]);
        assert_eq!(labels(0.4, 0.6, true), ["0.40", "0.45", "0.50", "0.55", "0.60"]);
    }

    #[test]
    fn there_are_a_few_ticks_for_every_range() {
        for exponent in -150..150 {
            for shift in [0.0, 1.0, 1e6] {
                let unit = 10f64.powi(exponent);
                let scale = Scale { low: unit * shift, high: unit * (shift + 3.7), log: false };
                let count = scale.ticks(6).len();
                assert!((3..=8).contains(&count), "{scale:?}: {count}");
            }
        }
        for span in 1..200 {
            let scale = Scale { low: 0.0033, high: 0.0033 * 1.2f64.powi(span), log: true };
            let count = scale.ticks(6).len();
            assert!((2..=9).contains(&count), "{scale:?}: {count}");
        }
    }

    #[test]
    fn scales_hold_their_values_and_nothing_breaks_them() {
        let wild = [f64::NAN, -3.0, 1e300, f64::INFINITY, 2.0, f64::NEG_INFINITY];
        let scale = Scale::around(wild.into_iter(), false, 0.1).unwrap();
        assert!((scale.low + 3.5).abs() < 1e-12 && (scale.high - 2.5).abs() < 1e-12);
        assert!((scale.fraction(-0.5).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(scale.fraction(f64::NAN), None);
        let log = Scale::around([0.0, -1.0, 1e-3, 10.0].into_iter(), true, 0.0).unwrap();
        assert!((log.fraction(0.1).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(log.fraction(0.0), None);
        assert!(Scale::around([f64::NAN].into_iter(), false, 0.1).is_none());
        for value in [0.0, 7.0, -1e150, 1e-300] {
            let scale = Scale::around([value].into_iter(), false, 0.1).unwrap();
            assert!((scale.fraction(value).unwrap() - 0.5).abs() < 1e-6);
        }
    }
}
