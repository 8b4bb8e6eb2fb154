//! Filling a row-major batch with random numbers, in parallel.
//!
//! Number j of row r is word j mod 4 of Philox block (r, ⌊j/4⌋), converted. A batch is cut into pieces
//! wherever is convenient, since no number depends on where its batch begins.

use rayon::prelude::*;

use super::philox;

/// Blocks computed together, so that the compiler uses vector instructions across them.
pub(super) const LANES: usize = 8;
/// Numbers in one parallel task.
const PIECE: usize = 8192;

/// Words `[w][l]`: word w of the block in lane l. [`Numbers`] has the same layout.
pub(super) type Words = [[u32; LANES]; 4];
pub(super) type Numbers = [[f32; LANES]; 4];

/// The parameters of a batch.
pub(super) struct Filling<Id, Convert> {
    /// The stream.
    pub key: [u32; 2],
    /// The number of values in a row, at least 1 unless the batch is empty.
    pub width: usize,
    /// The map from i to the global number of row i of the batch.
    pub id: Id,
    /// The map from words to numbers.
    pub convert: Convert,
}

impl<Id, Convert> Filling<Id, Convert>
where
    Id: Fn(usize) -> u64 + Sync,
    Convert: Fn(&Words) -> Numbers + Sync,
{
    /// Fills `out`, a batch from its first number on.
    pub(super) fn run(&self, out: &mut [f32]) {
        if out.is_empty() {
            return;
        }
        if out.len() <= PIECE {
            return self.piece(0, out);
        }
        let pieces = out.par_chunks_mut(PIECE).enumerate();
        pieces.for_each(|(i, piece)| self.piece(i * PIECE, piece));
    }

    /// Fills the part of the batch that begins with number `start`.
    fn piece(&self, start: usize, out: &mut [f32]) {
        let (mut row, mut column) = (start / self.width, start % self.width);
        let mut rest = out;
        while !rest.is_empty() {
            let mut counters: Words = [[0; LANES]; 4];
            let mut spans = [(0, 0); LANES];
            let mut wanted = rest.len();
            for (lane, span) in spans.iter_mut().enumerate() {
                let skip = column % 4;
                let take = (4 - skip).min(self.width - column).min(wanted);
                if take == 0 {
                    break;
                }
                let counter = philox::counter((self.id)(row), (column / 4) as u64);
                for (words, word) in counters.iter_mut().zip(counter) {
                    words[lane] = word;
                }
                *span = (skip, take);
                wanted -= take;
                column += take;
                if column == self.width {
                    (row, column) = (row + 1, 0);
                }
            }
            rest = scatter(&self.numbers(&counters), &spans, rest);
        }
    }

    /// The numbers of the blocks with these counters.
    #[inline(always)]
    fn numbers(&self, counters: &Words) -> Numbers {
        let mut words = [[0; LANES]; 4];
        for lane in 0..LANES {
            let block = philox::block(self.key, counters.map(|words| words[lane]));
            for (word, words) in block.into_iter().zip(&mut words) {
                words[lane] = word;
            }
        }
        (self.convert)(&words)
    }
}

/// Writes `take` numbers of each block from its number `skip` on; returns the rest of `out`.
#[inline(always)]
fn scatter<'a>(
    numbers: &Numbers,
    spans: &[(usize, usize); LANES],
    mut out: &'a mut [f32],
) -> &'a mut [f32] {
    for (lane, &(skip, take)) in spans.iter().enumerate() {
        let block = numbers.map(|numbers| numbers[lane]);
        let (here, rest) = out.split_at_mut(take);
        match <&mut [f32; 4]>::try_from(&mut *here) {
            Ok(here) => *here = block,
            Err(_) => here.iter_mut().zip(&block[skip..]).for_each(|(to, from)| *to = *from),
        }
        out = rest;
    }
    out
}
