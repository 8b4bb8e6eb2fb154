//! The library against closed forms, identities, naive versions and peers' numbers.

mod levels;
mod oracle;
mod process;
mod solvers;
mod support;
mod trained;
