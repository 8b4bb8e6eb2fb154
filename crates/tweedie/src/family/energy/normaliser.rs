//! ln Z of an energy by annealed importance sampling, from below and from above.

use super::chains::start;
use crate::data::LogDensity;
use crate::denoise::{Component, GaussianMixture};
use crate::divergence::{Estimate, Weights};
use crate::mcmc::{Annealing, AnnealingPath, GeometricPath};
use crate::nn::energy::{AnyEnergy, Energy, EnergyDensity, Moments};
use crate::path::Direction;
use crate::{Draws, Result};
use burn::tensor::{Device, Tensor};

/// Estimates of ln Z in nats.
#[derive(Debug, Clone)]
pub(super) struct LogZ {
    /// Forward annealing: its mean is at most ln Z.
    pub below: Estimate,
    /// Backward annealing from draws of the model: its mean is at least ln Z, if the draws are exact.
    pub above: Estimate,
    /// The effective numbers of chains in either direction.
    pub effective: [f64; 2],
}

impl LogZ {
    /// The larger estimate, so that log p is not too large.
    pub fn larger(&self) -> Estimate {
        if self.above.value > self.below.value { self.above } else { self.below }
    }

    /// Both estimates in words.
    pub fn words(&self) -> String {
        let of = |own: Estimate| format!("{:.3} ± {:.3}", own.value, own.standard_error);
        let [forward, backward] = self.effective;
        format!(
            "ln Z {} from below, {} from above; {forward:.0} and {backward:.0} effective chains",
            of(self.below),
            of(self.above)
        )
    }
}

/// The machines between independent columns and a machine.
struct MachinePath<'a> {
    energy: &'a AnyEnergy,
    base: &'a Moments,
}

impl AnnealingPath for MachinePath<'_> {
    fn at(&self, beta: f64) -> Result<Box<dyn LogDensity + '_>> {
        Ok(Box::new(EnergyDensity::new(self.energy.clone().heated(beta, self.base)?)))
    }
}

/// ln Z of an energy from independent columns with the moments `base` and as many draws of the model, `[n, width]`.
pub(super) fn anneal(
    density: &EnergyDensity,
    base: &Moments,
    annealing: Annealing,
    ends: Tensor<2>,
    (draws, device): (&Draws, &Device),
) -> Result<LogZ> {
    let energy = density.energy();
    let rows: Vec<u64> = (0..ends.dims()[0] as u64).collect();
    let first = start(energy, base, &rows, &draws.purpose("base"), device)?;
    let component = Component::diagonal(1.0, base.mean.clone(), base.variance.clone());
    let normal = GaussianMixture::new(vec![component])?;
    let (path, log_z): (Box<dyn AnnealingPath + '_>, f64) = match energy.has_blocks() {
        true => {
            let uncoupled = energy.clone().heated(0.0, base)?.log_z_uncoupled()?;
            (Box::new(MachinePath { energy, base }), uncoupled)
        }
        false => (Box::new(GeometricPath { base: &normal, target: density }), 0.0),
    };
    let run = |direction, start, name: &str| {
        let (_, log_w) = annealing.run(&*path, direction, start, &draws.purpose(name))?;
        let weights = Weights::new(log_w)?;
        Ok::<_, crate::Error>((weights.log_mean(), weights.ess()))
    };
    let (up, forward) = run(Direction::Forward, first, "forward")?;
    let (down, backward) = run(Direction::Backward, ends, "backward")?;
    Ok(LogZ {
        below: Estimate { value: log_z + up.value, ..up },
        above: Estimate { value: log_z - down.value, ..down },
        effective: [forward, backward],
    })
}
