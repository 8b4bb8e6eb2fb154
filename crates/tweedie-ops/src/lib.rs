//! Fused operations on the CPU, forward and backward, for Burn's flex backend, with portable bodies for the others.

pub mod kernels;
