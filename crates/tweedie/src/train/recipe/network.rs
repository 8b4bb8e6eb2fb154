//! The networks that a recipe can name.

use crate::data::{Layout, Space};
use crate::denoise::Clock;
use crate::nn::{ResidualMlpConfig, TimeEmbeddingType, UNetConfig};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The network of a recipe; widths of 0 are taken from the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "a recipe has one")]
pub enum NetworkRecipe {
    /// [`crate::nn::ResidualMlp`].
    Mlp(ResidualMlpConfig),
    /// [`crate::nn::UNet`].
    Unet(UNetConfig),
}

impl Default for NetworkRecipe {
    fn default() -> Self {
        Self::Mlp(ResidualMlpConfig::default())
    }
}

/// Every network by name, with one line on what it is.
pub const NETWORKS: &[(&str, &str)] = &[
    ("mlp", "residual MLP with adaptive normalisation, for points, tables and tiny pictures"),
    ("unet", "UNet for pictures, with the keys of diffusers' UNet2DModel"),
];

impl NetworkRecipe {
    /// The clock that the network is made for.
    pub fn clock(&self) -> Clock {
        match self {
            Self::Mlp(_) => Clock::LogSnr,
            Self::Unet(unet) if unet.time_embedding_type == TimeEmbeddingType::Fourier => {
                Clock::Sigma
            }
            Self::Unet(_) => Clock::Index,
        }
    }

    /// The same network for rows of `space`, every width resolved and checked.
    ///
    /// # Errors
    /// [`Error::Config`] if a width is given that is not the space's, or a number makes no sense.
    pub(super) fn for_space(&self, space: &Space) -> Result<Self> {
        let classes = space.classes().len();
        match self.clone() {
            Self::Mlp(mut mlp) => {
                crate::error::count("network.hidden", mlp.hidden as u64, 1 << 16)?;
                crate::error::count("network.blocks", mlp.blocks as u64, 1 << 10)?;
                own("width", &mut mlp.width, space.model_width())?;
                own("classes", &mut mlp.classes, classes)?;
                own("vector", &mut mlp.vector, 0)?;
                Ok(Self::Mlp(mlp))
            }
            Self::Unet(mut unet) => {
                let Layout::Image { channels, height, width } = space.layout() else {
                    let expected = "pictures: data with an image shape, or the network `mlp`";
                    return Err(Error::config("network.name", "unet", expected));
                };
                own("sample_size", &mut unet.sample_size[0], height)?;
                own("sample_size", &mut unet.sample_size[1], width)?;
                own("in_channels", &mut unet.in_channels, channels)?;
                own("out_channels", &mut unet.out_channels, channels)?;
                own("classes", &mut unet.classes, classes)?;
                if unet.class_embed_type.is_none() && classes > 0 {
                    unet.num_class_embeds.get_or_insert(classes + 1);
                }
                unet.check()?;
                Ok(Self::Unet(unet))
            }
        }
    }

    /// The width of a row, once resolved.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Mlp(mlp) => mlp.width,
            Self::Unet(unet) => unet.in_channels * unet.sample_size.iter().product::<usize>(),
        }
    }

    /// How many numbers its parameters hold.
    pub(super) fn parameters(&self) -> u128 {
        match self {
            Self::Mlp(mlp) => mlp.parameters(),
            Self::Unet(unet) => unet.parameters(),
        }
    }

    /// The key that its size depends on most, and what it holds.
    pub(super) fn size(&self) -> (&'static str, String) {
        match self {
            Self::Mlp(mlp) => {
                ("hidden", format!("{} hidden units in {} blocks", mlp.hidden, mlp.blocks))
            }
            Self::Unet(unet) => (
                "block_out_channels",
                format!(
                    "{:?} channels in {} blocks",
                    unet.block_out_channels, unet.layers_per_block
                ),
            ),
        }
    }

    /// About how many activations a row makes.
    pub(crate) fn activations(&self) -> usize {
        match self {
            Self::Mlp(mlp) => mlp.hidden * (mlp.blocks + 4) + 4 * mlp.width,
            Self::Unet(unet) => unet.activations(),
        }
    }
}

/// Takes a width from the data, which a recipe need not and may not change.
fn own(key: &str, value: &mut usize, own: usize) -> Result<()> {
    if *value != 0 && *value != own {
        let expected = format!("no such key: it is {own} for these data");
        return Err(Error::config(format!("network.{key}"), value.to_string(), expected));
    }
    *value = own;
    Ok(())
}
