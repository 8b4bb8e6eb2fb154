//! The registry of the networks that recipes can name.

use super::{Network, ResidualMlp, ResidualMlpConfig, UNet, UNetConfig};
use crate::data::{Condition, Space};
use crate::registry::{modules, registry};
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::tensor::{Device, Tensor};

registry! {
    /// The form in which a network takes the noise level. Every clock is a function of the level's log-SNR alone, so
    /// that a trained network works with any schedule.
    pub word Clock = LogSnr {
        /// (Karras et al. 2022, table 1).
        "log-snr" LogSnr "¼ ln(σ/α), EDM's c_noise",
        /// Steps count from 0, with fractions between them.
        "index" Index "the index in the chain, or of 1,000 steps uniform in t",
        /// For sines and cosines of geometric frequencies, as in UNets; an end beyond ±20 counts as ±20.
        "scaled" Scaled "the log-SNR, scaled from 0 at the schedule's cleanest level to 1,000 at its noisiest",
        "sigma" Sigma "σ/α",
        "straight" Straight "1000 σ/(α + σ): thousandths of the time on a straight path, of flow matching",
    }
}

/// The configuration of a network as recipes write it; widths of 0 are taken from the data.
pub trait NetworkConfig: std::fmt::Debug + Send + Sync {
    /// The same configuration for rows of `space`, with every width resolved and checked.
    ///
    /// # Errors
    /// [`Error::Config`] if a width differs from that of the space, or a number is out of range.
    fn for_space(&self, space: &Space) -> Result<AnyNetworkConfig>;

    /// The network of a resolved configuration, with initial values from `draws`.
    ///
    /// # Errors
    /// [`Error::Config`] if the numbers are inconsistent.
    fn init(&self, draws: &Draws, device: &Device) -> Result<AnyNetwork>;

    /// The default clock of the network.
    fn clock(&self) -> Clock {
        Clock::LogSnr
    }

    /// The same configuration with one more input: `numbers` numbers that describe an augmented picture, 0 for none.
    /// `None` if the network has no such input and needs none.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration has another number, or the network has no such input.
    fn describing(&self, numbers: usize) -> Result<Option<AnyNetworkConfig>> {
        if numbers == 0 {
            return Ok(None);
        }
        let expected = "no such key: the network has no input for what is augmented";
        Err(Error::config("training.augmentation", "given", expected))
    }

    /// Fails, naming the key, if training does not support an option of the network.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check_trainable(&self) -> Result<()> {
        Ok(())
    }

    /// The width of a row, once resolved.
    fn width(&self) -> usize;

    /// The number of values in the parameters.
    fn parameters(&self) -> u128;

    /// The key that sets the network's size, with its value.
    fn size(&self) -> (&'static str, String);

    /// The approximate number of activations for each row.
    fn activations(&self) -> usize;
}

/// Sets a width to the data's; fails if the recipe has another value.
pub(super) fn own(key: &str, value: &mut usize, own: usize) -> Result<()> {
    if *value != 0 && *value != own {
        let expected = format!("no such key: it is {own} for these data");
        return Err(Error::config(format!("network.{key}"), value.to_string(), expected));
    }
    *value = own;
    Ok(())
}

modules! {
    /// The configuration of any named network: `unet`, or `{ name = "mlp", hidden = 64 }`.
    #[expect(clippy::large_enum_variant, reason = "a recipe has one")]
    configurations AnyNetworkConfig: NetworkConfig = Mlp, "network";

    /// Any named network. Its parameters have the same names as in the network itself.
    #[expect(clippy::large_enum_variant, reason = "a model has one")]
    modules AnyNetwork: Network {
        "mlp" Mlp(ResidualMlpConfig => ResidualMlp)
            "residual MLP with adaptive normalisation, for points, tables and tiny pictures",
        "unet" Unet(UNetConfig => UNet) "UNet for pictures, with the keys of diffusers' UNet2DModel",
    }

    fn forward(&self, x: Dual<2>, noise: Dual<2>, condition: &Condition) -> Result<Dual<2>>;
    fn in_training(self, draws: &Draws, description: Option<Tensor<2>>) -> Result<Self>;
    fn width(&self) -> usize;
}
