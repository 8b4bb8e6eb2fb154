//! Games: losses against quadrature, penalties against differences, rates of the Dirac game in closed form.

mod critics;
mod dirac;
mod penalties;

use crate::double::moved;
use crate::support::*;
use burn::tensor::Tensor;
use tweedie::Draws;
use tweedie::data::Space;
use tweedie::nn::game::{AnyPlayerConfig, Player, Role};

/// How many standard errors an estimate exceeds with probability 1e-6, both sides together.
const BAR: f64 = 4.9;

/// The space of `width` real columns.
fn plain(width: usize) -> Space {
    Space::vector(&(0..width).map(|j| format!("x{j}")).collect::<Vec<_>>()).expect("a space")
}

fn player(config: &str, role: Role, space: &Space) -> Player {
    let config = AnyPlayerConfig::parse(config).expect("a player");
    config.check().expect("valid");
    config.init(role, space, &Draws::new(3), &cpu()).expect("a network")
}

/// A critic in double precision with one output.
fn critic(config: &str, space: &Space) -> Player {
    moved(&player(config, Role::Critic { features: 1, norm: None }, space), 0.0)
}

/// Normal numbers with a mean, `[n, 2]`, in single precision.
fn normals(n: u64, mean: [f32; 2], seed: u64) -> Tensor<2> {
    let mut rows = Draws::new(seed).normals(0..n, 2);
    rows.values_mut().chunks_exact_mut(2).for_each(|row| {
        row.iter_mut().zip(mean).for_each(|(v, m)| *v += m);
    });
    rows.to_tensor(&cpu())
}
