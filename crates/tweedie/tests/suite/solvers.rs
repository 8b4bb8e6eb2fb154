//! Solvers against exact denoisers: orders, limits, peers, grids and whole samplers.

mod adaptive;
mod chain;
mod contract;
mod exponential;
mod family_peer;
mod grids;
mod known;
mod langevin;
mod ode;
mod peer;
mod sampler;
mod sde;
