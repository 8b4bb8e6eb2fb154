//! The operations as functions of slices.

pub mod conv;
pub mod gemm;
pub mod linear;
