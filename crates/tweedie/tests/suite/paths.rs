//! Wiener paths, the forward simulator and related methods: refinement, orders, and moments.

mod bridge;
mod fokker_planck;
mod sde;
mod tree;
mod weights;
