//! Each kernel against a plain f64 version written here, on all vector instruction sets where that can be chosen, and
//! bit for bit against itself with other numbers of threads and other batches.

mod activation;
mod adamw;
mod affine;
mod attention;
mod bounds;
mod common;
mod conv;
mod likelihood;
mod linear;
mod math;
mod mlp;
mod norm;
mod reach;
mod resize;
mod sequence;
mod spline;
mod tensors;
