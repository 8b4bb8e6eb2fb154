//! Random numbers that are addressed, not consumed.
//!
//! A number is a function of (seed, purpose, global row, index) and of nothing else:
//! ```text
//! key of Draws::new(seed)       M(seed)
//! key of parent.purpose(name)   M(M(parent ⊕ 1) + FNV(name))
//! key of parent.at(i)           M(M(parent ⊕ 2) + i)
//! block b of row r              Philox4x32-10 under the key, of the counter b + 2⁶⁴ r
//! number j of row r             from word j mod 4 (normals: the pair it is in) of block ⌊j/4⌋
//! ```
//! M is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014, in
//! Stafford's variant 13): a bijection of 64-bit numbers, so that different seeds, and `at(0)`, `at(1)`, …
//! of one parent, have different keys. FNV is the 64-bit FNV-1a hash of the name's bytes. Normals,
//! uniforms, signs, integers and doubles of one stream are drawn from streams derived from it in the same
//! way, so they are independent of each other.

mod fill;
mod normal;
mod philox;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::data::Rows;
use crate::{Error, Result};
use fill::{Filling, LANES, Numbers, Words};

/// A stream of random numbers addressed by global row and index.
///
/// A number depends on the seed, on how the stream was derived from it, on the row's global number and
/// on the index within the row; never on the batch it is drawn in, on threads or on the device. Its bits
/// are the same on every machine and are part of this crate's contract.
///
/// ```
/// use tweedie::Draws;
/// let noise = Draws::new(7).purpose("noise");
/// let step = noise.at(12);                          // the solver's step 12
/// let batch = step.normals(100..164, 3);            // rows 100 to 163, three numbers each
/// assert_eq!(step.normals_for(&[141], 3).row(0), batch.row(41));
/// assert_ne!(step, noise.at(13));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draws {
    key: u64,
}

/// The kinds of derivation of a stream from its parent; the numbers are part of the contract.
#[derive(Clone, Copy)]
enum Branch {
    Purpose = 1,
    At = 2,
    Normal = 3,
    Uniform = 4,
    Sign = 5,
    Below = 6,
    Permutation = 7,
    UniformF64 = 8,
    NormalF64 = 9,
}

impl Draws {
    /// The root stream of `seed`; different seeds have different streams.
    pub fn new(seed: u64) -> Self {
        Self { key: mix(seed) }
    }

    /// The stream of the purpose `name`: `"noise"`, `"level"`, `"init/block.0.weight"`.
    ///
    /// Names are compared byte by byte. `d.purpose("a").at(1)` and `d.at(1).purpose("a")` are different
    /// streams.
    pub fn purpose(&self, name: &str) -> Self {
        self.child(Branch::Purpose, fnv1a(name))
    }

    /// The stream number `index` of this one: a solver's step, a node of a Brownian tree, a
    /// micro-batch, an epoch.
    pub fn at(&self, index: u64) -> Self {
        self.child(Branch::At, index)
    }

    /// Standard normal numbers for a range of global rows: `[rows.len(), width]`, where column j of row r
    /// is normal number j of row r.
    ///
    /// Box–Muller in single precision, within 4 units in the last place; the tails are right up to
    /// |z| = 7 and end at 7.54.
    ///
    /// # Panics
    /// If `width` is 0, which no [`Rows`] can have.
    pub fn normals(&self, rows: Range<u64>, width: usize) -> Rows {
        self.batch(Branch::Normal, rows_in(&rows), width, counting_from(rows.start), to_normals)
    }

    /// [`normals`](Self::normals) for the global rows listed, in their order.
    ///
    /// # Panics
    /// If `width` is 0.
    pub fn normals_for(&self, rows: &[u64], width: usize) -> Rows {
        self.batch(Branch::Normal, rows.len(), width, |i| rows[i], to_normals)
    }

    /// Overwrites `out`, a row-major batch with one row for each of `rows`, by
    /// [`normals_for`](Self::normals_for) these rows.
    ///
    /// # Errors
    /// [`Error::Shape`] if `out` cannot be cut into `rows.len()` rows of equal width.
    pub fn fill_normals(&self, rows: &[u64], out: &mut [f32]) -> Result<()> {
        self.refill(Branch::Normal, rows, out, to_normals)
    }

    /// Uniform numbers in [0, 1), multiples of 2⁻²⁴, for a range of global rows:
    /// `[rows.len(), width]`.
    ///
    /// # Panics
    /// If `width` is 0.
    pub fn uniforms(&self, rows: Range<u64>, width: usize) -> Rows {
        self.batch(Branch::Uniform, rows_in(&rows), width, counting_from(rows.start), to_uniforms)
    }

    /// [`uniforms`](Self::uniforms) for the global rows listed, in their order.
    ///
    /// # Panics
    /// If `width` is 0.
    pub fn uniforms_for(&self, rows: &[u64], width: usize) -> Rows {
        self.batch(Branch::Uniform, rows.len(), width, |i| rows[i], to_uniforms)
    }

    /// Overwrites `out`, a row-major batch with one row for each of `rows`, by
    /// [`uniforms_for`](Self::uniforms_for) these rows.
    ///
    /// # Errors
    /// [`Error::Shape`] if `out` cannot be cut into `rows.len()` rows of equal width.
    pub fn fill_uniforms(&self, rows: &[u64], out: &mut [f32]) -> Result<()> {
        self.refill(Branch::Uniform, rows, out, to_uniforms)
    }

    /// Rademacher numbers, −1 or 1 with probability ½ each, for a range of global rows:
    /// `[rows.len(), width]`.
    ///
    /// # Panics
    /// If `width` is 0.
    pub fn signs(&self, rows: Range<u64>, width: usize) -> Rows {
        self.batch(Branch::Sign, rows_in(&rows), width, counting_from(rows.start), to_signs)
    }

    /// [`signs`](Self::signs) for the global rows listed, in their order.
    ///
    /// # Panics
    /// If `width` is 0.
    pub fn signs_for(&self, rows: &[u64], width: usize) -> Rows {
        self.batch(Branch::Sign, rows.len(), width, |i| rows[i], to_signs)
    }

    /// An integer in `0..n`, each with the same probability (Lemire, "Fast random integer generation in an interval",
    /// 2019, algorithm 5); `n` is at least 1 (0 gives 0).
    pub fn below(&self, row: u64, index: u64, n: u64) -> u64 {
        below(self.child(Branch::Below, 0), row, index, n)
    }

    /// The numbers `0..n` in random order (Fisher and Yates; Knuth, "The art of computer programming",
    /// volume 2, algorithm 3.4.2 P).
    pub fn permutation(&self, n: usize) -> Vec<usize> {
        let stream = self.child(Branch::Permutation, 0);
        let mut order: Vec<usize> = (0..n).collect();
        for last in (1..n).rev() {
            let other = below(stream, 0, last as u64, last as u64 + 1);
            order.swap(last, other as usize);
        }
        order
    }

    /// One uniform number in [0, 1), a multiple of 2⁻⁵³.
    pub fn uniform_f64(&self, row: u64, index: u64) -> f64 {
        let [word0, word1, ..] = self.child(Branch::UniformF64, 0).block(row, index);
        (join(word0, word1) >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// One standard normal number in double precision, with an error below 10⁻¹⁴.
    ///
    /// It is independent of the number at the same address in [`normals`](Self::normals).
    pub fn normal_f64(&self, row: u64, index: u64) -> f64 {
        let [word0, word1, word2, word3] = self.child(Branch::NormalF64, 0).block(row, index);
        normal::one_f64(join(word0, word1), join(word2, word3))
    }

    fn child(&self, branch: Branch, number: u64) -> Self {
        Self { key: mix(mix(self.key ^ branch as u64).wrapping_add(number)) }
    }

    fn block(&self, row: u64, index: u64) -> [u32; 4] {
        philox::block(philox::halves(self.key), philox::counter(row, index))
    }

    /// A new batch of `len` rows, whose i-th has the global number `id(i)`.
    fn batch(
        &self,
        branch: Branch,
        len: usize,
        width: usize,
        id: impl Fn(usize) -> u64 + Sync,
        convert: impl Fn(&Words) -> Numbers + Sync,
    ) -> Rows {
        assert!(width > 0, "a row has at least one number");
        let mut values = vec![0.0; len * width];
        let key = philox::halves(self.child(branch, 0).key);
        Filling { key, width, id, convert }.run(&mut values);
        Rows::new(values, width).expect("the values are rows of this width")
    }

    fn refill(
        &self,
        branch: Branch,
        rows: &[u64],
        out: &mut [f32],
        convert: impl Fn(&Words) -> Numbers + Sync,
    ) -> Result<()> {
        let width = out.len() / rows.len().max(1);
        if width * rows.len() != out.len() {
            let found = format!("{} values", out.len());
            let expected = format!("{} rows of equal width", rows.len());
            return Err(Error::shape("batch to fill", found, expected));
        }
        let key = philox::halves(self.child(branch, 0).key);
        Filling { key, width, id: |i: usize| rows[i], convert }.run(out);
        Ok(())
    }
}

/// The number of rows in a range; 0 for a range that ends before it begins.
fn rows_in(rows: &Range<u64>) -> usize {
    rows.end.saturating_sub(rows.start) as usize
}

/// The global numbers of the rows in a range.
fn counting_from(start: u64) -> impl Fn(usize) -> u64 + Sync {
    move |i| start + i as u64
}

#[inline(always)]
fn to_normals(words: &Words) -> Numbers {
    let mut normals = [[0.0; LANES]; 4];
    for half in [0, 2] {
        for lane in 0..LANES {
            let [z0, z1] = normal::pair(words[half][lane], words[half + 1][lane]);
            normals[half][lane] = z0;
            normals[half + 1][lane] = z1;
        }
    }
    normals
}

#[inline(always)]
fn to_uniforms(words: &Words) -> Numbers {
    words.map(|lanes| lanes.map(|word| (word >> 8) as i32 as f32 * (1.0 / 16_777_216.0)))
}

#[inline(always)]
fn to_signs(words: &Words) -> Numbers {
    words.map(|lanes| lanes.map(|word| f32::from_bits(1.0_f32.to_bits() | (word & 0x8000_0000))))
}

/// Lemire's method on the two 64-bit words of each block, going on to a derived stream while all are
/// rejected (each with a probability below ½).
fn below(mut stream: Draws, row: u64, index: u64, n: u64) -> u64 {
    loop {
        let [word0, word1, word2, word3] = stream.block(row, index);
        for word in [join(word0, word1), join(word2, word3)] {
            let product = u128::from(word) * u128::from(n);
            let fraction = product as u64;
            if fraction >= n || fraction >= n.wrapping_neg() % n {
                return (product >> 64) as u64;
            }
        }
        stream = stream.at(0);
    }
}

fn join(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// A bijection of 64-bit numbers in which every bit of the result depends on every bit of `number`.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The 64-bit FNV-1a hash (Fowler, Noll and Vo).
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}
