//! The library against closed forms, identities, naive versions and peers' numbers.

mod chain;
mod classifier;
mod derivative;
mod determinism;
mod diffusers;
mod double;
mod dual;
mod energy;
mod guidance;
mod house;
mod layers;
mod levels;
mod likelihood;
mod linear_sde;
mod mixture;
mod mixture_net;
mod objectives;
mod ode_likelihood;
mod optimiser;
mod oracle;
mod predictions;
mod process;
mod score_matching;
mod solvers;
mod support;
mod trained;
