//! Rows to tensors and back.

use super::Rows;
use crate::{Error, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};

impl Rows {
    /// The batch as a single-precision `[len, width]` tensor on `device`.
    pub fn to_tensor(&self, device: &Device) -> Tensor<2> {
        let data = TensorData::new(self.values().to_vec(), [self.len(), self.width()]);
        Tensor::from_data(data, (device, DType::F32))
    }

    /// A `[len, width]` tensor of any float type, copied to the host.
    ///
    /// # Errors
    /// [`Error::Shape`] if the tensor has no columns; [`Error::Device`] if it cannot be read back.
    pub fn from_tensor(tensor: &Tensor<2>) -> Result<Self> {
        let [_, width] = tensor.dims();
        let values = tensor
            .clone()
            .into_data()
            .convert::<f32>()
            .try_into_vec::<f32>()
            .map_err(|e| Error::Device { device: "tensor".into(), why: format!("{e:?}") })?;
        Self::new(values, width)
    }
}
