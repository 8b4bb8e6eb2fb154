//! Energies of rows: p(x) = exp(−E(x))/Z in model units, whose integral Z is known in small cases only.
//!
//! An energy is a network ([`NetworkEnergy`]) or a Boltzmann machine, whose hidden units h are summed over:
//! E(v) = −ln Σ_h exp(−E(v, h)), the free energy ([`Restricted`], [`Boltzmann`]). A machine's units can be drawn given
//! the others, so that Gibbs sampling runs on it.

mod boltzmann;
mod enumeration;
mod network;
mod restricted;
mod units;

pub use boltzmann::{Boltzmann, BoltzmannConfig};
pub use network::{NetworkEnergy, NetworkEnergyConfig};
pub use restricted::{Restricted, RestrictedConfig, Visible};

use crate::data::{Blocks, Condition, LogDensity, Space};
use crate::registry::modules;
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// The mean and the variance of each column in model units: the base of annealing, and the start of machines.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// The means.
    pub mean: Vec<f64>,
    /// The variances, positive.
    pub variance: Vec<f64>,
}

/// The configuration of an energy as recipes write it.
pub trait EnergyConfig: std::fmt::Debug + Send + Sync {
    /// Fails, naming the key, unless every value is valid, whatever the data.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<()>;

    /// Whether rows are zeros and ones, which have probabilities.
    fn is_discrete(&self) -> bool;

    /// The energy of rows of `space`, with initial values from `draws`.
    ///
    /// # Errors
    /// [`Error::Config`] naming a key that is invalid, or does not fit the data.
    fn init(&self, space: &Space, draws: &Draws, device: &Device) -> Result<AnyEnergy>;

    /// Whether Z can be enumerated, for rows of `width` values.
    fn is_enumerable(&self, width: usize) -> bool;

    /// The number of values in the parameters, for rows of `width` values.
    fn parameters(&self, width: usize) -> u128;

    /// The approximate number of activations of a row of `width` values.
    fn activations(&self, width: usize) -> usize;
}

/// An energy of rows in model units.
pub trait Energy: Module + Send + Sync + 'static {
    /// The width of a row.
    fn width(&self) -> usize;

    /// The energy of each row of `x`, `[n, width]`, in nats and up to a constant, `[n, 1]`; differentiable by rows and
    /// weights.
    ///
    /// # Errors
    /// [`Error::Shape`] if rows do not fit.
    fn energy(&self, x: Dual<2>) -> Result<Dual<2>>;

    /// Whether units can be drawn given the others.
    fn has_blocks(&self) -> bool;

    /// As [`Blocks::sweep`].
    ///
    /// # Errors
    /// [`Error::Undefined`] for a network; [`Error::Shape`] if rows do not fit.
    fn sweep(&self, x: Tensor<2>, rows: &[u64], draws: &Draws) -> Result<Tensor<2>>;

    /// Whether Z can be enumerated.
    fn is_enumerable(&self) -> bool;

    /// ln Z in nats by enumeration, in double precision and differentiable by the weights, `[1, 1]`.
    ///
    /// # Errors
    /// [`Error::Undefined`] unless Z can be enumerated.
    fn log_z(&self) -> Result<Tensor<2>>;

    /// ln Z of a machine without its couplings, in nats.
    ///
    /// # Errors
    /// [`Error::Undefined`] for a network; [`Error::Device`] if a tensor cannot be read.
    fn log_z_uncoupled(&self) -> Result<f64>;

    /// The machine at β on the way from independent columns with the moments `base`, at 0, to this one, at 1: biases
    /// and precisions between the two, couplings times β (Salakhutdinov & Murray, "On the quantitative analysis of deep
    /// belief networks", 2008, eqs. 16–18, with a base-rate machine).
    ///
    /// # Errors
    /// [`Error::Undefined`] for a network.
    fn heated(self, beta: f64, base: &Moments) -> Result<Self>;

    /// The energy before training on columns with the moments `base`: a machine's biases are those of independent
    /// columns.
    ///
    /// # Errors
    /// [`Error::Shape`] if the moments are of other columns.
    fn start(self, base: &Moments) -> Result<Self>;
}

modules! {
    /// The configuration of any named energy: `network`, or `{ name = "rbm", hidden = 500 }`.
    configurations AnyEnergyConfig: EnergyConfig = Network, "energy";

    /// Any named energy. Its parameters have the same names as in the energy itself.
    modules AnyEnergy: Energy {
        "network" Network(NetworkEnergyConfig => NetworkEnergy)
            "MLP with one output, plus half the squared length of a row, of real numbers",
        "rbm" Restricted(RestrictedConfig => Restricted)
            "restricted Boltzmann machine, of zeros and ones or of real numbers",
        "boltzmann" Boltzmann(BoltzmannConfig => Boltzmann)
            "Boltzmann machine with all couplings, of zeros and ones, at most 10 hidden units",
    }

    fn width(&self) -> usize;
    fn energy(&self, x: Dual<2>) -> Result<Dual<2>>;
    fn has_blocks(&self) -> bool;
    fn sweep(&self, x: Tensor<2>, rows: &[u64], draws: &Draws) -> Result<Tensor<2>>;
    fn is_enumerable(&self) -> bool;
    fn log_z(&self) -> Result<Tensor<2>>;
    fn log_z_uncoupled(&self) -> Result<f64>;
    fn heated(self, beta: f64, base: &Moments) -> Result<Self>;
    fn start(self, base: &Moments) -> Result<Self>;
}

/// The error of a network that is asked for what machines alone have.
fn of_machines(what: &str) -> Error {
    Error::undefined(what, "the energy is a network, not a Boltzmann machine")
}

/// The error of a machine with too many units on its smaller side.
fn too_many_units(units: usize) -> Error {
    let most = enumeration::MOST_UNITS;
    let why = format!("{units} units have too many states: at most {most} are enumerated");
    Error::undefined("ln Z by enumeration", why)
}

/// γ = exp(−E/T) of an energy E at a temperature T, as a target of chains.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::data::{Condition, LogDensity, Space};
/// use tweedie::nn::energy::{EnergyConfig, EnergyDensity, NetworkEnergyConfig};
/// let (space, device) = (Space::vector(&["a", "b"])?, Device::flex());
/// let energy = NetworkEnergyConfig::default().init(&space, &Draws::new(0), &device)?;
/// let density = EnergyDensity::new(energy);
/// let score = density.score(Tensor::ones([4, 2], &device), &Condition::None)?;
/// assert_eq!(score.dims(), [4, 2]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct EnergyDensity {
    energy: AnyEnergy,
    temperature: f64,
}

impl EnergyDensity {
    /// The density of an energy, whose weights are kept out of automatic differentiation.
    pub fn new(energy: impl Into<AnyEnergy>) -> Self {
        let energy: AnyEnergy = energy.into();
        Self { energy: energy.valid(), temperature: 1.0 }
    }

    /// Sets the temperature, above 0. Gibbs sampling is at temperature 1.
    pub fn with_temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// The energy.
    pub fn energy(&self) -> &AnyEnergy {
        &self.energy
    }
}

impl LogDensity for EnergyDensity {
    fn width(&self) -> usize {
        self.energy.width()
    }

    fn log_density(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        condition.check(x.dims()[0])?;
        if !matches!(condition, Condition::None) {
            return Err(Error::shape("condition", condition.kind(), "none"));
        }
        Ok(self.energy.energy(x)?.mul_scalar(-1.0 / self.temperature))
    }

    fn log_z(&self) -> Option<f64> {
        None
    }

    fn by_blocks(&self) -> Option<&dyn Blocks> {
        (self.energy.has_blocks() && self.temperature == 1.0).then_some(self)
    }
}

impl Blocks for EnergyDensity {
    fn sweep(&self, x: Tensor<2>, rows: &[u64], draws: &Draws) -> Result<Tensor<2>> {
        self.energy.sweep(x, rows, draws)
    }
}
