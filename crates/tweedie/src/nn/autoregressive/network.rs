//! The registry of the networks that compute the parameters of all conditional distributions.

use super::{
    CausalTransformer, CausalTransformerConfig, MaskedNetwork, MaskedNetworkConfig, Nade,
    NadeConfig, PixelCnn, PixelCnnConfig, PixelCnnPlus, PixelCnnPlusConfig,
};
use crate::data::{Condition, Layout};
use crate::registry::modules;
use crate::tensor::Dual;
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::Device;
use std::fmt::Debug;

/// The columns of a model in its order, for its network.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    /// The number of values of each column.
    pub values: Vec<usize>,
    /// The number of parameters of each column.
    pub parameters: Vec<usize>,
    /// The layout of the data.
    pub layout: Layout,
    /// The numbers of the columns in the data.
    pub order: Vec<usize>,
    /// The number of classes that rows are conditioned on; 0 for none.
    pub classes: usize,
    /// The length of vectors that rows are conditioned on; 0 for none.
    pub vector: usize,
    /// A factor on the initial weights that compute parameters.
    pub gain: f64,
}

/// The configuration of a network as recipes write it.
pub trait ColumnNetworkConfig: Debug + Send + Sync {
    /// Fails, naming the key, unless every value is valid, whatever the data.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config).
    fn check(&self) -> Result<()>;

    /// The numbers of columns in the order that stands for the data's, if the network has one of its own.
    fn natural_order(&self, layout: Layout) -> Option<Vec<usize>> {
        let _ = layout;
        None
    }

    /// Fails, naming the key, if the network does not fit the columns.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config).
    fn fits(&self, columns: &Outline) -> Result<()>;

    /// The network of columns that it fits, with initial values from `draws`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if a value is invalid.
    fn init(&self, columns: &Outline, draws: &Draws, device: &Device) -> Result<AnyColumnNetwork>;

    /// The number of values in the parameters.
    fn parameters(&self, columns: &Outline) -> u128;

    /// The approximate number of activations per row.
    fn activations(&self, columns: &Outline) -> usize;
}

/// A network whose outputs for a column, the parameters of its distribution, depend on the columns before it alone.
pub trait ColumnNetwork: Module {
    /// Maps the values of rows, `[n, values]`, to the parameters of all columns, `[n, parameters]`, column by column.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) if the condition does not fit.
    fn forward(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>>;

    /// The network on `n` rows of which no column is known yet.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) if the condition does not fit.
    fn columns(
        &self,
        condition: &Condition,
        n: usize,
        device: &Device,
    ) -> Result<Box<dyn Columns + '_>>;

    /// The number of members of an ensemble with shared weights: 1 for a single network.
    fn members(&self) -> usize {
        1
    }

    /// The numbers of columns in the order of a member, if it is another than that of all.
    fn order(&self, member: usize) -> Option<&[usize]> {
        let _ = member;
        None
    }

    /// [`ColumnNetwork::forward`] by a member; rows and parameters stay in the order of all.
    ///
    /// # Errors
    /// As [`ColumnNetwork::forward`].
    fn forward_by(&self, member: usize, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        let _ = member;
        self.forward(x, condition)
    }

    /// [`ColumnNetwork::columns`] by a member, whose columns come in its own order.
    ///
    /// # Errors
    /// As [`ColumnNetwork::columns`].
    fn columns_by(
        &self,
        member: usize,
        condition: &Condition,
        n: usize,
        device: &Device,
    ) -> Result<Box<dyn Columns + '_>> {
        let _ = member;
        self.columns(condition, n, device)
    }
}

/// A network on rows whose columns come one after the other.
pub trait Columns {
    /// The parameters of the next column, `[n, parameters]`.
    fn next(&mut self) -> Dual<2>;

    /// Adds the next column, `[n, values]`.
    fn push(&mut self, column: Dual<2>);
}

modules! {
    /// The configuration of any named network of columns: `masked`, or `{ name = "masked", hidden = [500] }`.
    configurations AnyColumnNetworkConfig: ColumnNetworkConfig = Masked, "network";

    /// Any named network of columns. Its parameters have the same names as in the network itself.
    #[allow(clippy::large_enum_variant, reason = "a model has one")]
    modules AnyColumnNetwork: ColumnNetwork {
        "masked" Masked(MaskedNetworkConfig => MaskedNetwork)
            "masked MLP (MADE): one pass for log p, every unit once for a sample; orders = 8 is an ensemble",
        "nade" Nade(NadeConfig => Nade)
            "NADE: a hidden layer for each column with tied weights, by a running sum",
        "pixelcnn" PixelCnn(PixelCnnConfig => PixelCnn)
            "gated PixelCNN, of pictures: convolutions of the rows above and of the pixels to the left",
        "pixelcnn++" PixelCnnPlus(PixelCnnPlusConfig => PixelCnnPlus)
            "PixelCNN++, of pictures: gated residual blocks at two resolutions",
        "transformer" Transformer(CausalTransformerConfig => CausalTransformer)
            "causal transformer: each column attends to all columns before it",
    }

    fn forward(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>>;
    fn columns(&self, condition: &Condition, n: usize, device: &Device) -> Result<Box<dyn Columns + '_>>;
    fn members(&self) -> usize;
    fn order(&self, member: usize) -> Option<&[usize]>;
    fn forward_by(&self, member: usize, x: Dual<2>, condition: &Condition) -> Result<Dual<2>>;
    fn columns_by(
        &self,
        member: usize,
        condition: &Condition,
        n: usize,
        device: &Device
    ) -> Result<Box<dyn Columns + '_>>;
}
