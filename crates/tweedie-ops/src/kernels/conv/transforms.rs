//! The linear maps of Winograd's F(4 × 4, 3 × 3): of kernels, tiles, outputs and their gradients.
//!
//! The matrices multiply polynomials by their values at five points and at infinity. The points are 0, ±p = ±1/√2 and
//! ±q = ±√2, not the usual 0, ±1, ±2, whose rounding error is twice as large:
//!
//! > row of the point r in G: (1, r, r²)/Π (r − r′), in A: (1, r, r², r³); in Bᵀ: the coefficients of Π (x − r′).

use crate::kernels::gemm::{Epilogue, Packed, Shared, Source, vector};
use crate::kernels::{elements, inside, vectorized};
use pulp::Simd;

/// Height and width of a tile's output.
pub(super) const OUT: usize = 4;

/// Height and width of a tile.
const TILE: usize = OUT + 2;

/// Products of a tile.
pub(super) const PRODUCTS: usize = TILE * TILE;

/// p.
const P: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// q.
const Q: f32 = std::f32::consts::SQRT_2;

/// The factor of G's rows of ±p, 1/(2 p² (p² − q²)).
const OF_P: f32 = -2.0 / 3.0;

/// The factor of G's rows of ±q, 1/(2 q² (q² − p²)).
const OF_Q: f32 = 1.0 / 6.0;

/// G g Gᵀ of the kernel of each pair of channels, as 36 matrices `[in, out]`.
pub(super) fn kernels(weight: &[f32], source: Source) -> Packed {
    let [(_, s0), (_, s1), (depth, s2)] = source.depth;
    let (columns, stride) = source.columns;
    Packed::many::<PRODUCTS>(depth, columns, |first, row, to| {
        let mut taps = [[0.0; MOST]; 9];
        for column in first..columns.min(first + to[0].len()) {
            let at = source.origin + column as isize * stride + row as isize * s2;
            for (k, l) in (0..3).flat_map(|k| (0..3).map(move |l| (k, l))) {
                let tap = at + k as isize * s0 + l as isize * s1;
                taps[3 * k + l][column - first] = weight[tap as usize];
            }
        }
        kernels_of(&taps, to);
    })
}

/// The most columns of a panel.
const MOST: usize = 64;

vectorized! {
    /// G g Gᵀ of kernels with these taps.
    fn kernels_of<'a>(simd: S, taps: &'a [[f32; MOST]; 9], to: [&'a mut [f32]; PRODUCTS]) -> () {
        let width = to[0].len();
        for v in (0..width).step_by(S::F32_LANES) {
            let tap = |k: usize| vectors::<S>(&taps[k][v..][..S::F32_LANES])[0];
            let mut half = [[simd.splat_f32s(0.0); TILE]; 3];
            for l in 0..3 {
                half[l] = widen(simd, [tap(l), tap(3 + l), tap(6 + l)]);
            }
            for k in 0..TILE {
                let row = widen(simd, [half[0][k], half[1][k], half[2][k]]);
                for (l, value) in row.into_iter().enumerate() {
                    S::as_mut_simd_f32s(&mut to[TILE * k + l][v..][..S::F32_LANES]).0[0] = value;
                }
            }
        }
    }
}

/// G g along one direction.
#[inline(always)]
fn widen<S: Simd>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; TILE] {
    let scaled = |factor: f32, x: S::f32s| simd.mul_f32s(simd.splat_f32s(factor), x);
    let even_p = scaled(OF_P, simd.mul_add_f32s(simd.splat_f32s(0.5), c, a));
    let even_q = scaled(OF_Q, simd.mul_add_f32s(simd.splat_f32s(2.0), c, a));
    let (odd_p, odd_q) = (scaled(OF_P * P, b), scaled(OF_Q * Q, b));
    [
        a,
        simd.add_f32s(even_p, odd_p),
        simd.sub_f32s(even_p, odd_p),
        simd.add_f32s(even_q, odd_q),
        simd.sub_f32s(even_q, odd_q),
        c,
    ]
}

/// Bᵀ d along one direction.
#[inline(always)]
fn spread<S: Simd>(simd: S, d: [S::f32s; TILE]) -> [S::f32s; TILE] {
    let (p, q, half) = (simd.splat_f32s(P), simd.splat_f32s(Q), simd.splat_f32s(0.5));
    let (two, both) = (simd.splat_f32s(2.0), simd.splat_f32s(2.5));
    let (even_p, odd_p) = (less(simd, d[4], two, d[2]), less(simd, d[3], two, d[1]));
    let (even_q, odd_q) = (less(simd, d[4], half, d[2]), less(simd, d[3], half, d[1]));
    [
        less(simd, simd.add_f32s(d[0], d[4]), both, d[2]),
        simd.mul_add_f32s(p, odd_p, even_p),
        less(simd, even_p, p, odd_p),
        simd.mul_add_f32s(q, odd_q, even_q),
        less(simd, even_q, q, odd_q),
        less(simd, simd.add_f32s(d[1], d[5]), both, d[3]),
    ]
}

/// a − c b.
#[inline(always)]
fn less<S: Simd>(simd: S, a: S::f32s, c: S::f32s, b: S::f32s) -> S::f32s {
    simd.mul_add_f32s(simd.neg_f32s(c), b, a)
}

/// Aᵀ m along one direction.
#[inline(always)]
fn gather<S: Simd>(simd: S, m: [S::f32s; TILE]) -> [S::f32s; OUT] {
    let (p, q) = (simd.splat_f32s(P), simd.splat_f32s(Q));
    let (half, two) = (simd.splat_f32s(0.5), simd.splat_f32s(2.0));
    let (p_half, q_twice) = (simd.splat_f32s(0.5 * P), simd.splat_f32s(2.0 * Q));
    let (even_p, odd_p) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    let (even_q, odd_q) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
    [
        simd.add_f32s(m[0], simd.add_f32s(even_p, even_q)),
        simd.mul_add_f32s(p, odd_p, simd.mul_f32s(q, odd_q)),
        simd.mul_add_f32s(half, even_p, simd.mul_f32s(two, even_q)),
        simd.mul_add_f32s(p_half, odd_p, simd.mul_add_f32s(q_twice, odd_q, m[5])),
    ]
}

/// A d along one direction.
#[inline(always)]
fn scatter<S: Simd>(simd: S, d: [S::f32s; OUT]) -> [S::f32s; TILE] {
    let (p, q) = (simd.splat_f32s(P), simd.splat_f32s(Q));
    let (half, two) = (simd.splat_f32s(0.5), simd.splat_f32s(2.0));
    let (even_p, odd_p) =
        (simd.mul_add_f32s(half, d[2], d[0]), simd.mul_add_f32s(half, d[3], d[1]));
    let (even_q, odd_q) = (simd.mul_add_f32s(two, d[2], d[0]), simd.mul_add_f32s(two, d[3], d[1]));
    [
        d[0],
        simd.mul_add_f32s(p, odd_p, even_p),
        less(simd, even_p, p, odd_p),
        simd.mul_add_f32s(q, odd_q, even_q),
        less(simd, even_q, q, odd_q),
        d[3],
    ]
}

/// Gᵀ s along one direction.
#[inline(always)]
fn fold<S: Simd>(simd: S, s: [S::f32s; TILE]) -> [S::f32s; 3] {
    let scaled = |c: f32, x: S::f32s| simd.mul_f32s(simd.splat_f32s(c), x);
    let (even_p, odd_p) = (simd.add_f32s(s[1], s[2]), simd.sub_f32s(s[1], s[2]));
    let (even_q, odd_q) = (simd.add_f32s(s[3], s[4]), simd.sub_f32s(s[3], s[4]));
    [
        simd.add_f32s(s[0], simd.add_f32s(scaled(OF_P, even_p), scaled(OF_Q, even_q))),
        simd.add_f32s(scaled(OF_P * P, odd_p), scaled(OF_Q * Q, odd_q)),
        simd.add_f32s(s[5], simd.add_f32s(scaled(0.5 * OF_P, even_p), scaled(2.0 * OF_Q, even_q))),
    ]
}

/// The values at 0 to 5. An array's `map` would be a call, which passes vectors through memory.
#[inline(always)]
fn six<V>(at: impl Fn(usize) -> V) -> [V; TILE] {
    [at(0), at(1), at(2), at(3), at(4), at(5)]
}

/// Column `l` of the rows.
#[inline(always)]
fn column_of<V: Copy, const W: usize>(rows: &[[V; W]; TILE], l: usize) -> [V; TILE] {
    six(|k| rows[k][l])
}

/// Writes a vector from `k` places after `to` on.
///
/// # Safety
/// The vector must lie in the allocation of `to`.
#[inline(always)]
unsafe fn write<S: Simd>(to: *mut f32, k: usize, value: S::f32s) {
    // SAFETY: the caller's promise.
    let at = unsafe { to.add(k) };
    // SAFETY: as above; vectors of f32 may be written at any address.
    unsafe { at.cast::<S::f32s>().write_unaligned(value) }
}

/// The vectors of a slice whose length is a multiple of 16.
#[inline(always)]
fn vectors<S: Simd>(x: &[f32]) -> &[S::f32s] {
    S::as_simd_f32s(x).0
}

vectorized! {
    /// Bᵀ d B of tiles at `corners`, product k of tile t at k · `apart` + t · `channels`.
    pub(super) fn inputs_of<'a>(
        simd: S,
        x: &'a [f32],
        pitch: usize,
        corners: &'a [usize],
        channels: usize,
        apart: usize,
        to: &'a mut [f32],
    ) -> () {
        assert!(elements([corners.len(), channels]) <= apart, "tiles overlap");
        assert!(elements([PRODUCTS, apart]) <= to.len(), "a product lies outside its slice");
        let reach = elements([TILE - 1, pitch]).saturating_add(elements([TILE, channels]));
        for (tile, &corner) in corners.iter().enumerate() {
            assert!(inside(corner, reach, x.len()), "a tile lies outside its slice");
            for v in (0..channels).step_by(S::F32_LANES) {
                // SAFETY: checked above; channels are whole vectors.
                let load = |at: usize| unsafe { vector::<S>(x.as_ptr(), corner + at + v) };
                let mut half = [[simd.splat_f32s(0.0); TILE]; TILE];
                for k in 0..TILE {
                    half[k] = spread(simd, six(|l| load(k * pitch + l * channels)));
                }
                for l in 0..TILE {
                    let column = spread(simd, column_of(&half, l));
                    for k in 0..TILE {
                        let at = (TILE * k + l) * apart + tile * channels + v;
                        // SAFETY: checked above.
                        unsafe { write::<S>(to.as_mut_ptr(), at, column[k]) };
                    }
                }
            }
        }
    }
}

vectorized! {
    /// Writes Aᵀ m A of tiles plus the addend to y; `size` = height, width and channels.
    pub(super) fn outputs_of<'a>(
        simd: S,
        products: &'a [f32],
        apart: usize,
        tiles: &'a [[usize; 3]],
        size: [usize; 3],
        epilogue: Epilogue<'a>,
        y: Shared<'a>,
    ) -> () {
        let [height, width, channels] = size;
        assert!(elements([tiles.len(), channels]) <= apart, "tiles overlap");
        assert!(elements([PRODUCTS, apart]) <= products.len(), "a product lies outside its slice");
        let bias = epilogue.bias.map(vectors::<S>);
        for (tile, &[picture, top, left]) in tiles.iter().enumerate() {
            let (rows, columns) = ((height - top).min(OUT), (width - left).min(OUT));
            let base = ((picture * height + top) * width + left) * channels;
            let sample = epilogue
                .sample
                .map(|(values, _)| vectors::<S>(&values[picture * channels..][..channels]));
            for v in 0..channels / S::F32_LANES {
                let from = tile * channels + v * S::F32_LANES;
                // SAFETY: checked above; channels are whole vectors.
                let load = |k: usize| unsafe { vector::<S>(products.as_ptr(), k * apart + from) };
                let mut half = [[simd.splat_f32s(0.0); OUT]; TILE];
                for k in 0..TILE {
                    half[k] = gather(simd, six(|l| load(TILE * k + l)));
                }
                let mut added = simd.splat_f32s(0.0);
                if let Some(bias) = bias {
                    added = bias[v];
                }
                if let Some(sample) = sample {
                    added = simd.add_f32s(added, sample[v]);
                }
                for l in 0..columns {
                    let column = gather(simd, column_of(&half, l));
                    for (k, value) in column.into_iter().enumerate().take(rows) {
                        let mut value = simd.add_f32s(value, added);
                        let at = base + (k * width + l) * channels + v * S::F32_LANES;
                        if let Some(residual) = epilogue.residual {
                            let residual = vectors::<S>(&residual[at..][..S::F32_LANES])[0];
                            value = simd.add_f32s(value, residual);
                        }
                        // SAFETY: every band has its own pixels.
                        let to = unsafe { y.part(at, S::F32_LANES) };
                        S::as_mut_simd_f32s(to).0[0] = value;
                    }
                }
            }
        }
    }
}

vectorized! {
    /// A dy Aᵀ of tiles, zero outside dy, product k of tile t at k · `apart` + t · channels.
    pub(super) fn gradients_of<'a>(
        simd: S,
        dy: &'a [f32],
        size: [usize; 3],
        tiles: &'a [[usize; 3]],
        apart: usize,
        to: &'a mut [f32],
    ) -> () {
        let [height, width, channels] = size;
        assert!(elements([tiles.len(), channels]) <= apart, "tiles overlap");
        assert!(elements([PRODUCTS, apart]) <= to.len(), "a product lies outside its slice");
        let zero = simd.splat_f32s(0.0);
        for (tile, &[picture, top, left]) in tiles.iter().enumerate() {
            let base = ((picture * height + top) * width + left) * channels;
            let (rows, columns) = (height - top, width - left);
            let end = elements([picture + 1, height, width, channels]);
            assert!(end <= dy.len(), "a picture lies outside its slice");
            for v in (0..channels).step_by(S::F32_LANES) {
                let mut half = [[zero; TILE]; OUT];
                for k in 0..OUT {
                    let pixel = |l: usize| {
                        let at = base + (k * width + l) * channels + v;
                        // SAFETY: a pixel inside its picture, which is inside dy.
                        if k < rows && l < columns { unsafe { vector::<S>(dy.as_ptr(), at) } } else { zero }
                    };
                    half[k] = scatter(simd, [pixel(0), pixel(1), pixel(2), pixel(3)]);
                }
                for l in 0..TILE {
                    let column = scatter(simd, [half[0][l], half[1][l], half[2][l], half[3][l]]);
                    for k in 0..TILE {
                        let at = (TILE * k + l) * apart + tile * channels + v;
                        // SAFETY: checked above; channels are whole vectors.
                        unsafe { write::<S>(to.as_mut_ptr(), at, column[k]) };
                    }
                }
            }
        }
    }
}

vectorized! {
    /// Gᵀ s G of the sums of all parts, for 16 outputs from `first`, as `[16, in, 3, 3]`.
    pub(super) fn kernel_gradients<'a>(
        simd: S,
        sums: &'a [f32],
        size: usize,
        channels: [usize; 2],
        first: usize,
        weight: &'a mut [f32],
    ) -> () {
        let [ci, co] = channels;
        for c in 0..ci {
            for v in (0..16).step_by(S::F32_LANES) {
                let mut s = [[simd.splat_f32s(0.0); TILE]; TILE];
                for part in sums.chunks_exact(size) {
                    for (k, sum) in s.as_flattened_mut().iter_mut().enumerate() {
                        let at = (k * ci + c) * co + first + v;
                        *sum = simd.add_f32s(*sum, vectors::<S>(&part[at..][..S::F32_LANES])[0]);
                    }
                }
                let mut half = [[simd.splat_f32s(0.0); 3]; TILE];
                for k in 0..TILE {
                    half[k] = fold(simd, s[k]);
                }
                for l in 0..3 {
                    let column = fold(simd, column_of(&half, l));
                    for k in 0..3 {
                        let mut lanes = [0.0; 16];
                        simd.partial_store_f32s(&mut lanes[..S::F32_LANES], column[k]);
                        for (lane, value) in lanes[..S::F32_LANES].iter().enumerate() {
                            weight[((v + lane) * ci + c) * 9 + 3 * k + l] = *value;
                        }
                    }
                }
            }
        }
    }
}
