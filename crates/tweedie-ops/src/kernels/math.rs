//! Elementary functions on vectors of f32.
//!
//! Each is a range reduction and a polynomial (minimax, by Remez's exchange in 40 digits), with no table and no
//! branch. Error bounds are in units of the last place of the f32 result, tested against f64 on all instruction sets,
//! denormal results included; NaN gives NaN.
//!
//! | function | bound |
//! |---|---|
//! | [`exp`], [`log`], [`log1p`] | 2 ulp |
//! | [`sigmoid`], [`silu`], [`tanh`], [`softplus`] | 4 ulp |
//! | [`gelu`] | 6 ulp |
//! | derivatives of silu and gelu | 4e-7 absolute |

use pulp::Simd;

/// 1.5 · 2²³: adding it rounds a small number to an integer, which its low bits then hold.
const MAGIC: f32 = 12_582_912.0;
/// ln 2 in two parts; the first has nine bits, so that its product with an integer exponent is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// The polynomial Σ c_k x^k.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, x: S::f32s, c: [f32; N]) -> S::f32s {
    let mut sum = simd.splat_f32s(c[N - 1]);
    for k in (0..N - 1).rev() {
        sum = simd.mul_add_e_f32s(sum, x, simd.splat_f32s(c[k]));
    }
    sum
}

/// min(max(x, low), high), or NaN if x is.
#[inline(always)]
pub fn clamp<S: Simd>(simd: S, x: S::f32s, low: f32, high: f32) -> S::f32s {
    let (low, high) = (simd.splat_f32s(low), simd.splat_f32s(high));
    if S::IS_SCALAR {
        let x = simd.select_f32s(simd.less_than_f32s(x, low), low, x);
        simd.select_f32s(simd.less_than_f32s(high, x), high, x)
    } else {
        // The second operand is what x86 gives where either is NaN; the others give NaN.
        simd.min_f32s(high, simd.max_f32s(low, x))
    }
}

/// `magnitude` with the sign of `sign`; `magnitude` must not be negative.
#[inline(always)]
fn with_sign<S: Simd>(simd: S, magnitude: S::f32s, sign: S::f32s) -> S::f32s {
    simd.or_f32s(magnitude, simd.and_f32s(sign, simd.splat_f32s(-0.0)))
}

/// 2^(e − 256).
#[inline(always)]
fn power<S: Simd>(simd: S, e: S::u32s) -> S::f32s {
    let exponent = simd.sub_u32s(e, simd.splat_u32s(256 - 127));
    simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(exponent, simd.splat_u32s(23)))
}

/// (m, s) with e^{x + δ} = m s, where m and s are normal numbers for x in [−170, 89.5] and |δ| ≪ 1.
///
/// n = round(x / ln 2), r = x − n ln 2, e^r ≈ 1 + r + r² q(r), and 2ⁿ is split in two factors so that neither
/// overflows where e^x does not, and a denormal result is rounded once.
#[inline(always)]
fn exp_parts<S: Simd>(simd: S, x: S::f32s, delta: S::f32s) -> (S::f32s, S::f32s) {
    let magic = simd.splat_f32s(MAGIC);
    let t = simd.mul_add_e_f32s(x, simd.splat_f32s(std::f32::consts::LOG2_E), magic);
    let n = simd.sub_f32s(t, magic);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN2_HIGH), x);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN2_LOW), r);
    let r = simd.add_f32s(r, delta);
    let q = polynomial(simd, r, EXP);
    let p = simd.mul_add_e_f32s(simd.mul_f32s(r, r), q, r);
    let p = simd.add_f32s(p, simd.splat_f32s(1.0));
    // With e = n + 512, in the low bits of t: exponents ⌊e/2⌋ − 256 and the rest of n.
    let biased = simd
        .sub_u32s(simd.transmute_u32s_f32s(t), simd.splat_u32s(MAGIC.to_bits().wrapping_sub(512)));
    let half = simd.wrapping_dyn_shr_u32s(biased, simd.splat_u32s(1));
    let rest = simd.sub_u32s(biased, half);
    (simd.mul_f32s(p, power(simd, half)), power(simd, rest))
}

/// (e^r − 1 − r)/r² on |r| ≤ ½ ln 2.
const EXP: [f32; 6] =
    [0.5, 0.166_666_66, 0.041_666_295, 0.008_333_498, 0.001_394_475_8, 0.000_197_902_63];

/// e^x.
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (m, s) = exp_parts(simd, clamp(simd, x, -110.0, 89.5), simd.splat_f32s(0.0));
    simd.mul_f32s(m, s)
}

/// ln x; −∞ at 0 and NaN below.
#[inline(always)]
pub fn log<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // x = 2ᵉ (1 + f) with 1 + f in [√½, √2); denormals are scaled up first.
    let small = simd.less_than_f32s(x, simd.splat_f32s(f32::MIN_POSITIVE));
    let scaled = simd.select_f32s(small, simd.mul_f32s(x, simd.splat_f32s(8_388_608.0)), x);
    let shift = simd.select_f32s(small, simd.splat_f32s(-23.0), simd.splat_f32s(0.0));
    let root = simd.splat_u32s(std::f32::consts::FRAC_1_SQRT_2.to_bits());
    let one = simd.splat_f32s(1.0);
    let bits = simd.add_u32s(
        simd.transmute_u32s_f32s(scaled),
        simd.sub_u32s(simd.transmute_u32s_f32s(one), root),
    );
    let e = simd.wrapping_dyn_shr_u32s(bits, simd.splat_u32s(23));
    let e = simd.add_u32s(e, simd.splat_u32s(MAGIC.to_bits()));
    let e = simd.sub_f32s(simd.transmute_f32s_u32s(e), simd.splat_f32s(MAGIC + 127.0));
    let e = simd.add_f32s(e, shift);
    let m = simd.add_u32s(simd.and_u32s(bits, simd.splat_u32s(0x007f_ffff)), root);
    let f = simd.sub_f32s(simd.transmute_f32s_u32s(m), one);
    let ff = simd.mul_f32s(f, f);
    let tail = simd.mul_f32s(simd.mul_f32s(ff, f), polynomial(simd, f, LOG));
    let tail = simd.mul_add_e_f32s(e, simd.splat_f32s(LN2_LOW), tail);
    let tail = simd.mul_add_e_f32s(ff, simd.splat_f32s(-0.5), tail);
    let value = simd.mul_add_e_f32s(e, simd.splat_f32s(LN2_HIGH), simd.add_f32s(f, tail));
    let infinity = simd.splat_f32s(f32::INFINITY);
    let value = simd.select_f32s(simd.less_than_f32s(x, infinity), value, x);
    let zero = simd.splat_f32s(0.0);
    let pole = simd.splat_f32s(f32::NEG_INFINITY);
    let value = simd.select_f32s(simd.equal_f32s(x, zero), pole, value);
    simd.select_f32s(simd.less_than_f32s(x, zero), simd.splat_f32s(f32::NAN), value)
}

/// (ln(1 + f) − f + ½ f²)/f³ on 1 + f in [√½, √2].
const LOG: [f32; 9] = [
    0.333_333_13,
    -0.250_000_1,
    0.200_021_19,
    -0.166_679_96,
    0.142_195_52,
    -0.124_055_9,
    0.118_881_63,
    -0.116_756_506,
    0.067_466_38,
];

/// ln(1 + x) for x in [0, 1].
#[inline(always)]
pub fn log1p<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let u = simd.add_f32s(x, one);
    let lost = simd.sub_f32s(x, simd.sub_f32s(u, one));
    simd.add_f32s(log(simd, u), simd.div_f32s(lost, u))
}

/// e^{−|x|} as (m, s) of [`exp_parts`] and as m s, and |x| cut to 120, where all that follows has converged.
#[inline(always)]
fn decay<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s, S::f32s) {
    let negative = simd.neg_f32s(clamp(simd, simd.abs_f32s(x), 0.0, 120.0));
    let (m, s) = exp_parts(simd, negative, simd.splat_f32s(0.0));
    (m, s, simd.mul_f32s(m, s))
}

/// 1/(1 + e^{−x}).
#[inline(always)]
pub fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let (_, _, z) = decay(simd, x);
    let top = simd.select_f32s(simd.less_than_f32s(x, simd.splat_f32s(0.0)), z, one);
    simd.div_f32s(top, simd.add_f32s(one, z))
}

/// x/(1 + e^{−x}).
#[inline(always)]
pub fn silu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let (m, s, z) = decay(simd, x);
    let below = simd.less_than_f32s(x, simd.splat_f32s(0.0));
    // x m before s, so that a denormal e^{−|x|} is not rounded before it is multiplied by a large x.
    let low = simd.mul_f32s(clamp(simd, x, -120.0, 0.0), m);
    let top = simd.select_f32s(below, low, x);
    let quotient = simd.div_f32s(top, simd.add_f32s(one, z));
    simd.mul_f32s(quotient, simd.select_f32s(below, s, one))
}

/// The derivative of [`silu`], s(x) (1 + x s(−x)) with s the sigmoid.
#[inline(always)]
pub fn silu_derivative<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let (_, _, z) = decay(simd, x);
    let large = simd.div_f32s(one, simd.add_f32s(one, z));
    let small = simd.mul_f32s(z, large);
    let below = simd.less_than_f32s(x, simd.splat_f32s(0.0));
    let here = simd.select_f32s(below, small, large);
    let there = simd.select_f32s(below, large, small);
    let x = clamp(simd, x, -120.0, 120.0);
    simd.mul_f32s(here, simd.mul_add_e_f32s(x, there, one))
}

/// tanh x.
#[inline(always)]
pub fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let size = simd.abs_f32s(x);
    let xx = simd.mul_f32s(x, x);
    let odd = polynomial(simd, xx, TANH);
    let near = simd.mul_add_e_f32s(simd.mul_f32s(xx, x), odd, x);
    // 1 − 2/(e^{2|x|} + 1); beyond 10 it is 1.
    let cut = clamp(simd, size, 0.0, 10.0);
    let (m, s) = exp_parts(simd, simd.add_f32s(cut, cut), simd.splat_f32s(0.0));
    let below = simd.div_f32s(simd.splat_f32s(2.0), simd.mul_add_e_f32s(m, s, one));
    let far = with_sign(simd, simd.sub_f32s(one, below), x);
    simd.select_f32s(simd.less_than_f32s(size, simd.splat_f32s(0.625)), near, far)
}

/// (tanh √y − √y)/√y³ on y ≤ 0.64².
const TANH: [f32; 6] =
    [-0.333_333_3, 0.133_331_8, -0.053_943_4, 0.021_681_642, -0.008_128_998, 0.002_097_718_7];

/// ln(1 + e^x).
#[inline(always)]
pub fn softplus<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (_, _, z) = decay(simd, x);
    let above =
        simd.select_f32s(simd.less_than_f32s(x, simd.splat_f32s(0.0)), simd.splat_f32s(0.0), x);
    simd.add_f32s(above, log1p(simd, z))
}

/// (t, m, s) for the Gaussian's upper tail: 1 − Φ(|x|) = t m s, where m s = e^{−x²/2}, for |x| cut to 15.
///
/// x² is split as h² + (x − h)(x + h) with h the upper half of x's bits, so that the exponent is not rounded; the rest,
/// Mills' ratio, is u p(1 − 2u) with u = 3/(3 + |x|) and a polynomial p.
#[inline(always)]
fn gaussian_tail<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s, S::f32s) {
    let three = simd.splat_f32s(3.0);
    let one = simd.splat_f32s(1.0);
    let minus_half = simd.splat_f32s(-0.5);
    let t = clamp(simd, simd.abs_f32s(x), 0.0, 15.0);
    let high = simd.and_u32s(simd.transmute_u32s_f32s(t), simd.splat_u32s(0xffff_f000));
    let high = simd.transmute_f32s_u32s(high);
    let main = simd.mul_f32s(simd.mul_f32s(high, high), minus_half);
    let rest = simd.mul_f32s(simd.sub_f32s(t, high), simd.add_f32s(t, high));
    let (m, s) = exp_parts(simd, main, simd.mul_f32s(rest, minus_half));
    let u = simd.div_f32s(three, simd.add_f32s(t, three));
    let w = simd.mul_add_e_f32s(u, simd.splat_f32s(-2.0), one);
    (simd.mul_f32s(polynomial(simd, w, MILLS), u), m, s)
}

/// (1 − Φ(t)) e^{t²/2} (t + 3)/3 as a polynomial in w = (t − 3)/(t + 3), on 0 ≤ t ≤ 15.
const MILLS: [f32; 11] = [
    0.243_027_9,
    -0.169_777_33,
    0.076_672_57,
    -0.015_754_228,
    -0.003_487_504_3,
    0.002_323_103_8,
    0.000_341_584_7,
    -0.000_344_191_24,
    -8.157_673e-5,
    4.377_678_5e-5,
    1.816_306_3e-5,
];

/// x Φ(x), the exact GELU.
#[inline(always)]
pub fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let (t, m, s) = gaussian_tail(simd, x);
    let below = simd.less_than_f32s(x, simd.splat_f32s(0.0));
    let tm = simd.mul_f32s(t, m);
    let upper = simd.sub_f32s(one, simd.mul_f32s(tm, s));
    // As in `silu`, the small factor comes last.
    let low = simd.mul_f32s(clamp(simd, x, -15.0, 0.0), tm);
    let high = simd.mul_f32s(x, upper);
    simd.mul_f32s(simd.select_f32s(below, low, high), simd.select_f32s(below, s, one))
}

/// The derivative of [`gelu`], Φ(x) + x φ(x).
#[inline(always)]
pub fn gelu_derivative<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (t, m, s) = gaussian_tail(simd, x);
    let density = simd.mul_f32s(m, s);
    let q = simd.mul_f32s(t, density);
    let below = simd.less_than_f32s(x, simd.splat_f32s(0.0));
    let cdf = simd.select_f32s(below, q, simd.sub_f32s(simd.splat_f32s(1.0), q));
    let x = clamp(simd, x, -15.0, 15.0);
    let slope = simd.mul_f32s(x, simd.splat_f32s(0.398_942_3));
    simd.mul_add_e_f32s(slope, density, cdf)
}
