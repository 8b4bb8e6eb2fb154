//! Kernels by name.

use super::{Gibbs, Hmc, Mala, RandomWalk, Transition, Ula};
use crate::registry::registry;

registry! {
    /// Any named kernel, as recipes write it: `mala`, or `{ name = "mala", step_size = 0.2, warm_up = 500 }`.
    ///
    /// ```
    /// use tweedie::mcmc::{AnyKernel, Ula};
    /// assert_eq!(AnyKernel::parse("ula, step_size = 0.5")?, Ula { step_size: 0.5 }.into());
    /// # Ok::<(), tweedie::Error>(())
    /// ```
    #[derive(Copy)]
    pub enum AnyKernel: Transition = Mala, "kernel" {
        "random-walk" RandomWalk(RandomWalk)
            "random-walk Metropolis, which needs the log density alone",
        "ula" Ula(Ula)
            "the unadjusted Langevin algorithm, which needs the score alone; off by its step size",
        "mala" Mala(Mala)
            "the Metropolis-adjusted Langevin algorithm, which needs both; the default",
        "hmc" Hmc(Hmc)
            "Hamiltonian Monte Carlo of leapfrog = 10 steps, which needs both",
        "gibbs" Gibbs(Gibbs)
            "Gibbs sampling, which needs the distribution of each block given the others",
    }
}
