//! Checks of the addresses, the pinned bits and the distributions.
//!
//! All seeds are fixed, so each statistical test passes always or never; each limit is one that correct
//! numbers would break with a probability below 10⁻⁷ for an arbitrary seed, and all the checks of one test
//! together below 10⁻⁶.

use super::*;
use rayon::prelude::*;

/// Standard deviations that a normal error exceeds, on either side, with probability 4·10⁻⁸.
const SIGMAS: f64 = 5.5;

fn noise() -> Draws {
    Draws::new(7).purpose("noise").at(12)
}

fn bits(rows: &Rows) -> Vec<u32> {
    rows.values().iter().map(|value| value.to_bits()).collect()
}

#[test]
fn hash_and_mixer_are_the_published_ones() {
    assert_eq!(fnv1a("a"), 0xAF63_DC4C_8601_EC8C);
    assert_eq!(fnv1a("foobar"), 0x8594_4171_F739_67E8);
    assert_eq!(mix(0), 0xE220_A839_7B1D_CDAF);
}

/// The bits are part of the contract. An independent program (Python's integers and doubles, the latter rounded at the
/// end) gave the keys, uniforms, signs, integers and the permutation exactly, and the normals to their accuracy.
#[test]
fn bits_are_pinned() {
    let root = Draws::new(0);
    let far = (1 << 33) + 5;
    assert_eq!(noise().key, 0x8E26_3B87_47E2_98E7);
    assert_eq!(bits(&noise().normals(141..142, 6)), NOISE_BITS);
    assert_eq!(bits(&root.normals_for(&[far], 6)), ROOT_BITS);
    for (row, exact) in
        [(noise().normals(141..142, 6), NOISE_NORMALS), (root.normals_for(&[far], 6), ROOT_NORMALS)]
    {
        for (found, exact) in row.values().iter().zip(exact) {
            assert!((f64::from(*found) / exact - 1.0).abs() < 3e-7, "{found} {exact}");
        }
    }
    let scaled = |row: Rows| row.values().iter().map(|u| u * 16_777_216.0).collect::<Vec<_>>();
    let expected = [15373289.0, 2399290.0, 13987689.0, 10147231.0, 12055125.0, 14487115.0];
    assert_eq!(scaled(noise().uniforms(141..142, 6)), expected);
    let expected = [6875411.0, 4860736.0, 2323460.0, 9376212.0, 14849833.0, 15758702.0];
    assert_eq!(scaled(root.uniforms_for(&[far], 6)), expected);
    assert_eq!(noise().signs(141..142, 6).values(), [-1.0, 1.0, 1.0, -1.0, -1.0, -1.0]);
    assert_eq!(root.signs_for(&[far], 6).values(), [1.0, -1.0, -1.0, 1.0, -1.0, -1.0]);
    assert_eq!(noise().uniform_f64(141, 0), 0.12599233311768165);
    assert_eq!(root.uniform_f64(far, 0), 0.8864558169715092);
    assert_eq!(noise().below(141, 0, 1000), 753);
    assert_eq!(root.below(far, 0, 1000), 854);
    assert!((noise().normal_f64(141, 0) - 1.781129668230202).abs() < 1e-14);
    assert!((root.normal_f64(far, 0) - 0.1785201320760666).abs() < 1e-14);
    assert_eq!(root.permutation(8), PERMUTATION);
}

const NOISE_NORMALS: [f64; 6] = [
    -1.2849889946687585,
    -0.4288957902602693,
    0.8106807221218,
    0.3599432331294104,
    1.144033275798859,
    1.143410053011921,
];
const ROOT_NORMALS: [f64; 6] = [
    -0.9573852175247041,
    0.7139819890604244,
    -1.179258020521776,
    -0.04667372153178455,
    -3.017226408285101,
    -0.020976582378381646,
];
const NOISE_BITS: [u32; 6] =
    [0xBFA47A85, 0xBEDB983C, 0x3F4F88C6, 0x3EB84A7B, 0x3F926FAF, 0x3F925B43];
const ROOT_BITS: [u32; 6] =
    [0xBF751733, 0x3F36C787, 0xBF96F1ED, 0xBD3F2CF2, 0xC0411A3D, 0xBCABD716];
const PERMUTATION: [usize; 8] = [0, 5, 1, 4, 2, 6, 7, 3];

/// The same for a million normals in one number, so that no rounding can change unnoticed.
#[test]
fn all_bits_are_pinned() {
    let rows = noise().normals(0..1000, 1000);
    let digest = bits(&rows).into_iter().fold(0, |digest, bits| mix(digest ^ u64::from(bits)));
    assert_eq!(digest, 0xA37C3838DF638EDF);
    let digest = (0..10_000).fold(0, |digest, i| mix(digest ^ noise().normal_f64(i, 1).to_bits()));
    assert_eq!(digest, 0xA7F350019EB673B4);
}

#[test]
fn derived_streams_differ() {
    let root = Draws::new(1);
    let mut streams = vec![
        root,
        root.purpose("a").at(1),
        root.at(1).purpose("a"),
        root.purpose("a").purpose("b"),
        root.purpose("b").purpose("a"),
        root.purpose("ab"),
        root.at(1).at(2),
        root.at(2).at(1),
    ];
    streams.extend((0..20_000).map(|i| root.at(i)));
    streams.extend((0..20_000).map(|i| Draws::new(i + 2)));
    streams.extend((0..20_000).map(|i| root.purpose(&format!("block.{i}.weight"))));
    let mut keys: Vec<u64> = streams.iter().map(|stream| stream.key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), streams.len());
    assert_eq!(root.purpose("a").at(3), Draws::new(1).purpose("a").at(3));
}

#[test]
fn a_row_does_not_depend_on_its_batch() -> Result<()> {
    let draws = noise();
    for width in [1, 2, 3, 4, 5, 7, 33, 64, 130] {
        let whole = draws.normals(5..705, width);
        assert_eq!(draws.normals(100..600, width), whole.slice(95..595));
        let listed: Vec<usize> = (0..200).map(|i| (i * 37 + 11) % 700).collect();
        let ids: Vec<u64> = listed.iter().map(|&i| i as u64 + 5).collect();
        assert_eq!(draws.normals_for(&ids, width), whole.select(&listed));
        let mut refilled = vec![f32::NAN; ids.len() * width];
        draws.fill_normals(&ids, &mut refilled)?;
        assert_eq!(refilled, whole.select(&listed).values());
        for i in [0, 1, 350, 699] {
            assert_eq!(draws.normals_for(&[i as u64 + 5], width).values(), whole.row(i));
        }
    }
    let uniforms = draws.uniforms(0..300, 50);
    let mut refilled = vec![f32::NAN; 50];
    draws.fill_uniforms(&[299], &mut refilled)?;
    assert_eq!(refilled, uniforms.row(299));
    assert_eq!(draws.signs_for(&[299], 50).values(), draws.signs(0..300, 50).row(299));
    Ok(())
}

/// Narrower rows are the beginnings of wider ones, also where a piece of work ends inside a block.
#[test]
fn a_number_does_not_depend_on_the_width() {
    let wide = noise().normals(0..3, 100_003);
    for width in [1, 2, 3, 6, 1000, 8191, 8193, 50_000] {
        let narrow = noise().normals(0..3, width);
        for (narrow, wide) in narrow.iter().zip(wide.iter()) {
            assert_eq!(narrow, &wide[..width]);
        }
    }
}

#[test]
fn threads_change_nothing() -> std::result::Result<(), rayon::ThreadPoolBuildError> {
    let expected: Vec<Rows> = [2, 77, 3072, 200_000].map(draw_width).into();
    for threads in [1, 2, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let found: Vec<Rows> =
            pool.install(|| [2, 77, 3072, 200_000].into_par_iter().map(draw_width).collect());
        assert!(found == expected, "{threads} threads");
    }
    Ok(())
}

fn draw_width(width: usize) -> Rows {
    noise().normals(3..3 + 400_000 / width as u64, width)
}

#[test]
fn empty_and_misshapen_batches() {
    assert!(noise().normals(9..9, 3).is_empty());
    assert!(noise().normals_for(&[], 3).is_empty());
    assert!(noise().fill_normals(&[], &mut []).is_ok());
    assert!(noise().fill_normals(&[1, 2], &mut []).is_ok());
    assert!(matches!(noise().fill_normals(&[1, 2], &mut [0.0; 3]), Err(Error::Shape { .. })));
    assert!(matches!(noise().fill_uniforms(&[], &mut [0.0]), Err(Error::Shape { .. })));
    assert_eq!(noise().normals(u64::MAX - 1..u64::MAX, 2).len(), 1);
}

/// Whether the mean of numbers with this mean and variance is where it should be.
fn assert_mean(values: impl Iterator<Item = f64>, mean: f64, variance: f64) {
    let (count, sum) = values.fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
    let error = (sum / count - mean) * (count / variance).sqrt();
    assert!(error.abs() < SIGMAS, "{} for {mean}: {error} standard errors", sum / count);
}

/// Moment p of a normal is (p − 1)!! for even p, else 0; Var zᵖ = E z²ᵖ − (E zᵖ)².
#[test]
fn moments_of_normals() {
    let rows = noise().purpose("moments").normals(0..500_000, 4);
    let values = || rows.values().iter().map(|&z| f64::from(z));
    for (power, mean, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
        assert_mean(values().map(|z| z.powi(power)), mean, variance);
        let doubles = (0..500_000).map(|row| noise().normal_f64(row, 3).powi(power));
        assert_mean(doubles, mean, variance);
    }
}

/// E uᵖ = 1/(p + 1), Var uᵖ = 1/(2p + 1) − 1/(p + 1)².
#[test]
fn moments_of_uniforms_and_signs() {
    let rows = noise().uniforms(0..500_000, 4);
    for power in 1..=4 {
        let p = f64::from(power);
        let (mean, variance) = (1.0 / (p + 1.0), 1.0 / (2.0 * p + 1.0) - (p + 1.0).powi(-2));
        let values = rows.values().iter().map(|&u| f64::from(u).powi(power));
        assert_mean(values, mean, variance);
        let doubles = (0..500_000).map(|row| noise().uniform_f64(row, 3).powi(power));
        assert_mean(doubles, mean, variance);
    }
    let signs = noise().signs(0..500_000, 4);
    assert!(signs.values().iter().all(|sign| sign.abs() == 1.0));
    assert_mean(signs.values().iter().map(|&sign| f64::from(sign)), 0.0, 1.0);
}

/// √n sup |Fₙ − F|; P(above 2.9) ≈ 2 exp(−2 · 2.9²) = 10⁻⁷ (Kolmogorov).
fn assert_distribution(mut values: Vec<f64>, cdf: impl Fn(f64) -> f64) {
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len() as f64;
    let distances = values.iter().enumerate().map(|(i, &value)| {
        let (below, expected) = (i as f64 / n, cdf(value));
        (expected - below).abs().max((below + 1.0 / n - expected).abs())
    });
    let statistic = n.sqrt() * distances.fold(0.0, f64::max);
    assert!(statistic < 2.9, "{statistic}");
}

/// Φ(x) = ½ + φ(x) (x + x³/3 + x⁵/(3·5) + …).
fn normal_cdf(x: f64) -> f64 {
    let (mut term, mut sum, mut odd) = (x, x, 3.0);
    while term.abs() > 1e-17 * sum.abs() {
        term *= x * x / odd;
        sum += term;
        odd += 2.0;
    }
    0.5 + sum * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
}

#[test]
fn kolmogorov_smirnov() {
    let draws = noise().purpose("kolmogorov");
    let wide = |rows: Rows| rows.values().iter().map(|&value| f64::from(value)).collect();
    assert_distribution(wide(draws.normals(0..250_000, 2)), normal_cdf);
    assert_distribution(wide(draws.normals(0..100, 5000)), normal_cdf);
    assert_distribution(wide(draws.uniforms(0..250_000, 2)), |u| u);
    assert_distribution((0..300_000).map(|i| draws.normal_f64(1, i)).collect(), normal_cdf);
    assert_distribution((0..300_000).map(|i| draws.uniform_f64(1, i)).collect(), |u| u);
}

/// Σxy and Σ(x² − 1)(y² − 1)/2 over n pairs of independent normals have mean 0 and variance n.
fn assert_independent<'a>(pairs: impl Iterator<Item = (&'a f32, &'a f32)>) {
    let (mut n, mut product, mut squares) = (0.0, 0.0, 0.0);
    for (&x, &y) in pairs {
        let (x, y) = (f64::from(x), f64::from(y));
        n += 1.0;
        product += x * y;
        squares += (x * x - 1.0) * (y * y - 1.0) / 2.0;
    }
    assert!(f64::abs(product) < SIGMAS * f64::sqrt(n), "{product} of {n}");
    assert!(f64::abs(squares) < SIGMAS * f64::sqrt(n), "{squares} of {n}");
}

#[test]
fn neighbours_are_independent() {
    let rows = noise().normals(0..60_000, 8);
    let values = rows.values();
    for lag in [1, 2, 3, 4, 8] {
        assert_independent(values.iter().zip(&values[lag..]));
    }
    let others = [
        noise().at(0),
        Draws::new(7).purpose("noise").at(13),
        Draws::new(7).purpose("nois").at(12),
        Draws::new(8).purpose("noise").at(12),
    ];
    for other in others {
        assert_independent(values.iter().zip(other.normals(0..60_000, 8).values()));
    }
}

#[test]
fn kinds_are_independent() {
    let rows = |rows: Rows| rows.values().to_vec();
    let normals = rows(noise().normals(0..60_000, 8));
    let uniforms = rows(noise().uniforms(0..60_000, 8));
    let standard: Vec<f32> = uniforms.iter().map(|u| (u - 0.5) * 12.0_f32.sqrt()).collect();
    let signs = rows(noise().signs(0..60_000, 8));
    assert_independent(normals.iter().zip(&standard));
    assert_independent(normals.iter().zip(&signs));
    assert_independent(standard.iter().zip(&signs));
}

/// Pearson's χ² of these counts against equal probabilities.
fn chi_square(counts: &[u32]) -> f64 {
    let total: u32 = counts.iter().sum();
    let expected = f64::from(total) / counts.len() as f64;
    counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum()
}

/// The limits are the χ² quantiles at 1 − 10⁻⁷ (scipy): 43.3 for 6 degrees of freedom, 32.2 for 2.
#[test]
fn below_is_unbiased() {
    let mut sevenths = [0; 7];
    let mut thirds = [0; 3];
    for i in 0..300_000 {
        sevenths[noise().below(i / 10, i % 10, 7) as usize] += 1;
        // A remainder of 64 bits would fall in the first third twice as often as in the others.
        thirds[(noise().below(i, 1, 3 << 62) >> 62) as usize] += 1;
    }
    assert!(chi_square(&sevenths) < 43.3, "{sevenths:?}");
    assert!(chi_square(&thirds) < 32.2, "{thirds:?}");
    assert_eq!((noise().below(1, 2, 1), noise().below(1, 2, 0)), (0, 0));
    assert!(noise().below(1, 2, u64::MAX) < u64::MAX);
}

/// All 24 orders of four: 76.9 is the χ² quantile at 1 − 10⁻⁷ for 23 degrees of freedom (scipy).
#[test]
fn permutations_are_uniform() {
    let mut counts = [0; 256];
    for i in 0..100_000 {
        let order = noise().at(i).permutation(4);
        counts[order.iter().fold(0, |code, &place| code * 4 + place)] += 1;
    }
    let seen: Vec<u32> = counts.into_iter().filter(|&count| count > 0).collect();
    assert_eq!(seen.len(), 24);
    assert!(chi_square(&seen) < 76.9, "{seen:?}");
    for n in [0, 1, 2, 1000] {
        let mut order = noise().permutation(n);
        order.sort_unstable();
        assert!(order.into_iter().eq(0..n));
    }
}
