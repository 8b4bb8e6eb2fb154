//! Sums over the rows of a matrix.

use super::{SERIAL, each, vectorized, with_scratch};

/// Periods of rows of `channels` numbers that fill whole vectors, so that any number of channels runs at full width;
/// values by channel are repeated to the same length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Period {
    channels: usize,
    /// Numbers in a period: a multiple of 16 and of `channels`, at least 256 so that sums in memory do not wait on
    /// each other.
    pub len: usize,
}

impl Period {
    pub fn new(channels: usize) -> Self {
        // 16 / gcd(channels, 16) rows; the gcd is channels' lowest bit, at most 16.
        let rows = 16 / (1usize << channels.trailing_zeros().min(4));
        let len = rows * channels;
        Self { channels, len: len * 256usize.div_ceil(len).max(1) }
    }

    /// Numbers in a block of rows: whole periods, about 32 kB, and at least 64 rows.
    pub fn block(self) -> usize {
        self.len * (8192usize.max(64 * self.channels)).div_ceil(self.len)
    }

    /// Writes `value(channel)` over a whole period.
    pub fn spread(self, into: &mut [f32], value: impl Fn(usize) -> f32) {
        for (channel, v) in into[..self.channels].iter_mut().enumerate() {
            *v = value(channel);
        }
        for start in (self.channels..self.len).step_by(self.channels) {
            into.copy_within(..self.channels, start);
        }
    }

    /// The sums of a period's numbers by channel.
    pub fn fold(self, sums: &[f32], mut give: impl FnMut(usize, f64)) {
        for channel in 0..self.channels {
            let at = sums[channel..self.len].iter().step_by(self.channels);
            give(channel, at.map(|v| f64::from(*v)).sum());
        }
    }
}

vectorized! {
    /// `sums` = the sum over the periods of x.
    pub(crate) fn period_sums<'a>(simd: S, x: &'a [f32], sums: &'a mut [f32]) -> () {
        sums.fill(0.0);
        for x in x.chunks(sums.len()) {
            let (x, tail) = S::as_simd_f32s(x);
            let (sums, _) = S::as_mut_simd_f32s(&mut *sums);
            for (x, sum) in x.iter().zip(&mut *sums) {
                *sum = simd.add_f32s(*sum, *x);
            }
            if !tail.is_empty() {
                let sum = &mut sums[x.len()];
                *sum = simd.add_f32s(*sum, simd.partial_load_f32s(tail));
            }
        }
    }
}

/// `sums[c]` = Σ of x `[rows, c]` over its rows: a bias's gradient.
pub fn sum_rows(x: &[f32], sums: &mut [f32]) {
    let channels = sums.len();
    if channels == 0 {
        return;
    }
    assert_eq!(x.len() % channels, 0);
    let period = Period::new(channels);
    let block = period.block();
    let mut partial = vec![0.0f64; x.len().div_ceil(block) * channels];
    let tasks = x.chunks(block).zip(partial.chunks_mut(channels));
    each(x.len() >= SERIAL, tasks, |(x, partial)| {
        with_scratch(period.len, |sums| {
            period_sums(x, sums);
            period.fold(sums, |channel, sum| partial[channel] = sum);
        });
    });
    total(&partial, sums);
}

/// `sums` = the sum of `partial`'s rows, in their order.
pub(crate) fn total(partial: &[f64], sums: &mut [f32]) {
    let mut all = vec![0.0f64; sums.len()];
    for row in partial.chunks(sums.len()) {
        for (sum, v) in all.iter_mut().zip(row) {
            *sum += v;
        }
    }
    for (sum, v) in sums.iter_mut().zip(all) {
        *sum = v as f32;
    }
}
