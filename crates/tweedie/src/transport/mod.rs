//! Couplings and optimal transport.

pub mod assignment;
