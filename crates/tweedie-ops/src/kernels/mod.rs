//! Kernels on slices of f32: AVX-512, AVX2 with FMA, NEON or plain code, chosen at run time; parallel by rayon.
//!
//! Pictures are channels-last, `[n, h·w, c]`. Outputs may have any contents, and are overwritten in full. Work is split
//! by shape alone and partial sums are added in a fixed order, so results are the same bits for any number of threads;
//! the last few elements of a slice go through masked vectors, so an element's bits do not depend on where it lies, nor
//! a sample's on its batch. Between machines with different vectors sums may differ in the last bits.
//!
//! Every function panics if the length of a slice does not fit the shape, or if the number of elements of the shape
//! overflows a `usize`.

pub mod activation;
pub mod adamw;
pub mod affine;
pub mod attention;
pub mod conv;
pub mod gate;
pub mod gemm;
pub mod likelihood;
pub mod linear;
pub mod math;
pub mod mlp;
pub mod norm;
pub mod reduce;
pub mod resize;
pub mod sequence;
pub mod spline;
pub mod vector;

use rayon::prelude::*;
use std::cell::RefCell;

/// Inputs with fewer elements run on the calling thread.
pub const SERIAL: usize = 1 << 14;

/// Elements of a task on a long slice.
pub(crate) const PIECE: usize = 1 << 14;

/// Calls `work` on each task, in parallel if `parallel`.
pub(crate) fn each<T: Send>(
    parallel: bool,
    tasks: impl Iterator<Item = T>,
    work: impl Fn(T) + Sync,
) {
    if parallel && rayon::current_num_threads() > 1 {
        let tasks: Vec<T> = tasks.collect();
        tasks.into_par_iter().for_each(&work);
    } else {
        tasks.for_each(&work);
    }
}

/// The number of elements of an array with these sizes.
///
/// # Panics
/// If it overflows a `usize`.
pub(crate) fn elements<const N: usize>(sizes: [usize; N]) -> usize {
    if sizes.contains(&0) {
        return 0;
    }
    let product = sizes.iter().try_fold(1, |product: usize, size| product.checked_mul(*size));
    product.unwrap_or_else(|| panic!("no memory holds an array of sizes {sizes:?}"))
}

/// Whether `len` elements from `at` on lie within the first `all`.
pub(crate) fn inside(at: usize, len: usize, all: usize) -> bool {
    len <= all && at <= all - len
}

thread_local! {
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `len` floats of arbitrary contents, from a buffer that the thread reuses.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    // Taken, not borrowed: another task may run on this thread while `work` waits for its own.
    let mut scratch = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    let result = work(&mut scratch[..len]);
    SCRATCH.with_borrow_mut(|kept| kept.push(scratch));
    result
}

/// Declares a function whose body is compiled once for each set of vector instructions and chosen at run time.
macro_rules! vectorized {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$life:lifetime $(, $generic:ident: $bound:path)*>(
        $simd:ident: $s:ident, $($arg:ident: $ty:ty),* $(,)?
    ) -> $out:ty $body:block) => {
        $(#[$meta])*
        $vis fn $name<$life $(, $generic: $bound)*>($($arg: $ty),*) -> $out {
            struct Call<$life $(, $generic: $bound)*> { $($arg: $ty),* }
            impl<$life $(, $generic: $bound)*> pulp::WithSimd for Call<$life $(, $generic)*> {
                type Output = $out;
                #[inline(always)]
                fn with_simd<$s: pulp::Simd>(self, $simd: $s) -> $out {
                    let Self { $($arg),* } = self;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Call { $($arg),* })
        }
    };
}
pub(crate) use vectorized;
