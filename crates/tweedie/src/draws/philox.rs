//! Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random
//! numbers: as easy as 1, 2, 3" (SC 2011), section 3.3 and table 2.
//!
//! A bijection of 128-bit counters c, chosen by a 64-bit key k. One of its ten rounds is
//! ```text
//! (hi₀, lo₀) = M₀ · c₀      (hi₁, lo₁) = M₁ · c₂
//! c ← (hi₁ ⊕ c₁ ⊕ k₀, lo₁, hi₀ ⊕ c₃ ⊕ k₁, lo₀)      k ← k + (W₀, W₁)
//! ```
//! so block c costs the same wherever it lies, and needs no other block.

const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The four random words of block `counter` under `key`.
#[inline(always)]
pub(super) fn block(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    let [mut k0, mut k1] = key;
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    for _ in 0..ROUNDS {
        let product0 = u64::from(MULTIPLIERS[0]) * u64::from(c0);
        let product1 = u64::from(MULTIPLIERS[1]) * u64::from(c2);
        c0 = (product1 >> 32) as u32 ^ c1 ^ k0;
        c1 = product1 as u32;
        c2 = (product0 >> 32) as u32 ^ c3 ^ k1;
        c3 = product0 as u32;
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [c0, c1, c2, c3]
}

/// The low and the high half of a 64-bit number, as Philox counts them.
#[inline(always)]
pub(super) fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

/// The counter that addresses block `index` of `row`.
#[inline(always)]
pub(super) fn counter(row: u64, index: u64) -> [u32; 4] {
    let ([i0, i1], [r0, r1]) = (halves(index), halves(row));
    [i0, i1, r0, r1]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that Random123 ships (`tests/kat_vectors`, "philox4x32 10").
    #[test]
    fn known_answers() {
        let ones = u32::MAX;
        let cases = [
            ([0; 2], [0; 4], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]),
            ([ones; 2], [ones; 4], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]),
            (
                [0xa4093822, 0x299f31d0],
                [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
                [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
            ),
        ];
        for (key, counter, expected) in cases {
            assert_eq!(block(key, counter), expected);
        }
    }

    #[test]
    fn counters_hold_the_whole_address() {
        assert_eq!(
            counter(0x1111_2222_3333_4444, 0x5555_6666_7777_8888),
            [0x7777_8888, 0x5555_6666, 0x3333_4444, 0x1111_2222]
        );
    }
}
