//! Standard normal numbers from random bits, the same bits on every machine.
//!
//! Box and Muller, "A note on the generation of random normal deviates" (1958): for independent u
//! and v, uniform on (0, 1), and any fixed angle φ,
//! ```text
//! z₀ = √(−2 ln u) cos(2πv − φ)      z₁ = √(−2 ln u) sin(2πv − φ)
//! ```
//! are independent and standard normal. Here φ = π/4, so that the first two bits of v name the nearest
//! axis. The logarithm, sine and cosine are polynomials evaluated with plain products and sums: no
//! library function and no fused operation, whose last bits differ from machine to machine. (Quotients
//! and square roots are exactly rounded everywhere.)

use std::f64::consts::FRAC_PI_2;

/// Two normals from 64 bits: 40 bits are u (rounded to an `f32`), the other 24 are v.
///
/// Each lies within 4 units in the last place of the z₀ or z₁ of these u and v (3.5 is the worst seen in
/// 40 million); the largest |z| is √(82 ln 2) = 7.54.
#[inline(always)]
pub(super) fn pair(word0: u32, word1: u32) -> [f32; 2] {
    let radius = (-2.0 * ln(unit(word0, word1))).sqrt();
    let [cos, sin] = cos_sin(word1);
    [radius * cos, radius * sin]
}

/// One normal from 128 bits, z₀ in double precision: 53 bits are u, 53 are v.
///
/// Its error is below 10⁻¹⁴; the largest |z| is √(108 ln 2) = 8.65.
pub(super) fn one_f64(word0: u64, word1: u64) -> f64 {
    let u = ((word0 >> 11) as f64 + 0.5) * (1.0 / 9_007_199_254_740_992.0);
    (-2.0 * ln_f64(u)).sqrt() * cos_f64(word1 >> 11)
}

/// (k + ½) 2⁻⁴⁰ rounded to an `f32` in (0, 1]; k is `high` followed by the low byte of `low`.
///
/// The low bits decide how far into the tail a normal can fall: 24 alone would stop at |z| = 5.9.
#[inline(always)]
fn unit(high: u32, low: u32) -> f32 {
    let coarse = (high >> 8) as i32 as f32;
    let fine = ((high & 0xFF) << 8 | (low & 0xFF)) as i32 as f32;
    (coarse + (fine + 0.5) * (1.0 / 65_536.0)) * (1.0 / 16_777_216.0)
}

/// ln u for u in (0, 1], not subnormal.
///
/// u = 2ᵉ(1 + f) with 1 + f in [√½, √2). The polynomial for ln(1 + f) and the two-part ln 2 come from `logf` in
/// Moshier's Cephes library.
#[inline(always)]
fn ln(u: f32) -> f32 {
    const SQRT_HALF: u32 = 0x3F35_04F3;
    let exponent = (u.to_bits().wrapping_sub(SQRT_HALF) as i32) >> 23;
    let f = f32::from_bits(u.to_bits().wrapping_sub((exponent << 23) as u32)) - 1.0;
    let (exponent, square) = (exponent as f32, f * f);
    let series = horner(
        f,
        [
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_8e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ],
    );
    let tail = f * square * series - exponent * 2.121_944_4e-4 - 0.5 * square;
    f + tail + exponent * 0.693_359_4
}

/// The cosine and sine of 2πv − π/4 for v = (k + ½) 2⁻²⁴, where k is the upper 24 bits of `word`.
///
/// The first two bits of k are a quarter turn each, the others an angle between −π/4 and π/4, off by one rounding at
/// most. The polynomials come from `sinf` and `cosf` in Cephes.
#[inline(always)]
fn cos_sin(word: u32) -> [f32; 2] {
    const STEP: f32 = (FRAC_PI_2 / 4_194_304.0) as f32;
    let steps = ((word >> 8) & 0x3F_FFFF) as i32 - 0x20_0000;
    let angle = (steps as f32 + 0.5) * STEP;
    let square = angle * angle;
    let sin_series = horner(square, [-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1]);
    let cos_series = horner(square, [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2]);
    let sin = angle + angle * square * sin_series;
    let cos = 1.0 - 0.5 * square + square * square * cos_series;
    let (x, y) = if word & 0x4000_0000 == 0 { (cos, sin) } else { (sin, cos) };
    // After 1 and 2 quarter turns the cosine changes sign, after 2 and 3 the sine.
    let x_sign = (word ^ (word << 1)) & 0x8000_0000;
    let y_sign = word & 0x8000_0000;
    [f32::from_bits(x.to_bits() ^ x_sign), f32::from_bits(y.to_bits() ^ y_sign)]
}

/// [`ln`] in double precision, by `__ieee754_log` of Sun's fdlibm: with s = f / (2 + f),
/// ln(1 + f) = f − f²/2 + s (f²/2 + R(s²)).
fn ln_f64(u: f64) -> f64 {
    const SQRT_HALF: u64 = 0x3FE6_A09E_667F_3BCD;
    let exponent = (u.to_bits().wrapping_sub(SQRT_HALF) as i64) >> 52;
    let f = f64::from_bits(u.to_bits().wrapping_sub((exponent << 52) as u64)) - 1.0;
    let (exponent, half_square, s) = (exponent as f64, 0.5 * f * f, f / (2.0 + f));
    let square = s * s;
    let series = horner_f64(
        square,
        [
            1.479_819_860_511_658_6e-1,
            1.531_383_769_920_937_3e-1,
            1.818_357_216_161_805e-1,
            2.222_219_843_214_978_4e-1,
            2.857_142_874_366_239e-1,
            3.999_999_999_940_942e-1,
            6.666_666_666_666_735e-1,
        ],
    );
    let correction = s * (half_square + square * series) + exponent * 1.908_214_929_270_587_7e-10;
    exponent * 6.931_471_803_691_238e-1 - ((half_square - correction) - f)
}

/// cos(2πv − π/4) in double precision for v = (k + ½) 2⁻⁵³, k < 2⁵³, by the kernels of fdlibm.
fn cos_f64(k: u64) -> f64 {
    let quarter = k >> 51;
    let steps = (k & ((1 << 51) - 1)) as i64 - (1 << 50);
    let angle = (steps as f64 + 0.5) * (FRAC_PI_2 / 2_251_799_813_685_248.0);
    let square = angle * angle;
    let size = if quarter & 1 == 0 {
        let series = horner_f64(
            square,
            [
                -1.135_964_755_778_819_5e-11,
                2.087_572_321_298_175e-9,
                -2.755_731_435_139_066_3e-7,
                2.480_158_728_947_673e-5,
                -1.388_888_888_887_411e-3,
                4.166_666_666_666_66e-2,
            ],
        );
        1.0 - 0.5 * square + square * square * series
    } else {
        let series = horner_f64(
            square,
            [
                1.589_690_995_211_55e-10,
                -2.505_076_025_340_686_3e-8,
                2.755_731_370_707_006_8e-6,
                -1.984_126_982_985_795e-4,
                8.333_333_333_322_49e-3,
                -1.666_666_666_666_663_2e-1,
            ],
        );
        angle + angle * square * series
    };
    if quarter == 1 || quarter == 2 { -size } else { size }
}

/// The polynomial with these coefficients, highest power first, at `x`.
#[inline(always)]
fn horner<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = 0.0;
    for coefficient in coefficients {
        sum = sum * x + coefficient;
    }
    sum
}

/// [`horner`] in double precision.
fn horner_f64<const N: usize>(x: f64, coefficients: [f64; N]) -> f64 {
    coefficients.into_iter().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::{FRAC_PI_4, TAU};

    /// Words in no particular order, with every number of leading zeros in the first.
    fn words() -> impl Iterator<Item = (u32, u32)> {
        (0..2_000_000_u64).map(|i| {
            let word = (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11) as u32;
            let other = (i.wrapping_mul(0xD134_2543_DE82_EF95) >> 9) as u32;
            (if i % 2 == 0 { word } else { word >> (i % 31) }, other)
        })
    }

    /// |found − exact| in units of the last place of an `f32` near `exact`.
    fn ulps(found: f32, exact: f64) -> f64 {
        let size = exact.abs() as f32;
        let ulp = f64::from(f32::from_bits(size.to_bits() + 1)) - f64::from(size);
        (f64::from(found) - exact).abs() / ulp
    }

    #[test]
    fn unit_is_the_rounded_fraction() {
        for (high, low) in words() {
            let k = u64::from(high) << 8 | u64::from(low & 0xFF);
            let exact = (k as f64 + 0.5) / 2.0_f64.powi(40);
            assert_eq!(unit(high, low), exact as f32);
        }
        assert_eq!(unit(0, 0), 2.0_f32.powi(-41));
        assert_eq!(unit(u32::MAX, u32::MAX), 1.0);
    }

    #[test]
    fn polynomials_agree_with_the_standard_library() {
        for (high, low) in words() {
            let u = unit(high, low);
            assert!(ulps(ln(u), f64::from(u).ln()) <= 1.0, "ln {u}");
            let angle = (f64::from(low >> 8) + 0.5) / 16_777_216.0 * TAU - FRAC_PI_4;
            let [cos, sin] = cos_sin(low);
            assert!(ulps(cos, angle.cos()) <= 2.0, "cos {angle}");
            assert!(ulps(sin, angle.sin()) <= 2.0, "sin {angle}");
            let radius = (-2.0 * f64::from(u).ln()).sqrt();
            let [x, y] = pair(high, low);
            assert!(ulps(x, radius * angle.cos()) <= 4.0, "{high} {low}");
            assert!(ulps(y, radius * angle.sin()) <= 4.0, "{high} {low}");
        }
    }

    #[test]
    fn double_precision_agrees_with_the_standard_library() {
        for (high, low) in words() {
            let (word0, word1) = (u64::from(high) << 32 | u64::from(low), u64::from(low) << 32 | 7);
            let u = ((word0 >> 11) as f64 + 0.5) / 2.0_f64.powi(53);
            let v = ((word1 >> 11) as f64 + 0.5) / 2.0_f64.powi(53);
            let exact = (-2.0 * u.ln()).sqrt() * (TAU * v - FRAC_PI_4).cos();
            assert!((one_f64(word0, word1) - exact).abs() < 1e-14, "{word0} {word1}");
        }
        let farthest = one_f64(0, 1 << 61);
        assert!((farthest - (108.0 * 2.0_f64.ln()).sqrt()).abs() < 1e-14);
    }

    /// All 2²⁰ smallest u, so all radii above 5.27, against P(R > r) = exp(−r²/2).
    #[test]
    fn tails_have_the_right_mass() {
        let radius = |k: u32| {
            let [x, y] = pair(k >> 8, k & 0xFF).map(f64::from);
            (x * x + y * y).sqrt()
        };
        for limit in [5.5_f64, 6.0, 6.4, 6.7, 7.0, 7.3] {
            let exact = 2.0_f64.powi(40) * (-0.5 * limit * limit).exp();
            let count = (0..1 << 20).filter(|&k| radius(k) > limit).count();
            assert!((count as f64 - exact).abs() <= 1.0 + 2e-6 * exact, "{limit}: {count} {exact}");
        }
        assert!((radius(0) - (82.0 * 2.0_f64.ln()).sqrt()).abs() < 2e-6);
    }
}
