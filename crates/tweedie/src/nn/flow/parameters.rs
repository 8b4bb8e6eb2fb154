//! The parameters of a bijection that are few enough to depend on the condition alone.

use super::Place;
use crate::data::Condition;
use crate::error::rows_of;
use crate::nn::{ConditionEmbedding, ConditionEmbeddingConfig};
use crate::{Draws, Result};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

/// A row of parameters, and the embedding of the condition that is added to it. The embedding starts at zero.
#[derive(Module, Debug)]
pub(super) struct RowParameters {
    /// The parameters of a row without a condition, `[1, count]`.
    own: Param<Tensor<2>>,
    condition: ConditionEmbedding,
    #[module(skip)]
    width: usize,
}

impl RowParameters {
    /// Parameters that start at `values`, for rows at a place.
    pub fn new(values: Vec<f32>, place: &Place, draws: &Draws, device: &Device) -> Self {
        let count = values.len();
        let condition = ConditionEmbeddingConfig::new(place.classes, place.vector, count);
        Self {
            own: Param::from_tensor(Tensor::from_data(TensorData::new(values, [1, count]), device)),
            condition: condition.with_gain(0.0).init(&draws.purpose("condition"), device),
            width: place.width,
        }
    }

    /// The number of values of `count` parameters and their embedding.
    pub fn count(count: usize, place: &Place) -> u128 {
        let condition = ConditionEmbeddingConfig::new(place.classes, place.vector, count);
        count as u128 + condition.parameters()
    }

    /// The parameters of the rows of a batch `x`: `[1, count]` for all of them, or `[n, count]`.
    pub fn forward(&self, x: &Tensor<2>, condition: &Condition) -> Result<Tensor<2>> {
        let ([n, d], device) = (x.dims(), x.device());
        rows_of([n, d], self.width)?;
        let own = self.own.val();
        Ok(match self.condition.forward(condition, n, &device)? {
            Some(features) => own + features.value,
            None => own,
        })
    }
}
