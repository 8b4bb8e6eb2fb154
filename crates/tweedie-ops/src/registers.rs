//! The state of the processor's vector registers.

/// Clears the upper parts of the vector registers of the calling thread.
///
/// Products of faer in double precision leave them in use. On some processors every scalar instruction then waits: on
/// an Emerald Rapids an exponential took 150 ns in place of 4. Elsewhere this does nothing, or next to nothing.
pub fn clear_upper_registers() {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx") {
        // SAFETY: the processor has AVX, and the compiler keeps no value in the upper parts across the call.
        unsafe { zero_upper() };
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
fn zero_upper() {
    std::arch::x86_64::_mm256_zeroupper();
}
