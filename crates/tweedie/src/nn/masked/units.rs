//! Some units of a layer.

use crate::tensor::Dual;
use burn::tensor::{DType, Int, Tensor, TensorData};
use std::ops::Range;

/// Some units of a layer: neighbours, or any.
#[derive(Debug, Clone)]
pub(super) enum Units {
    Range(Range<usize>),
    List(Vec<usize>),
}

impl Units {
    pub fn of(list: Vec<usize>) -> Self {
        let neighbours = list.windows(2).all(|pair| pair[1] == pair[0] + 1);
        match (list.first(), list.last()) {
            (Some(first), Some(last)) if neighbours => Self::Range(*first..last + 1),
            _ => Self::List(list),
        }
    }

    /// The units along a dimension of `x`.
    pub fn select(&self, x: &Tensor<2>, dim: usize) -> Tensor<2> {
        match self {
            Self::Range(range) => x.clone().narrow(dim, range.start, range.len()),
            Self::List(list) => {
                let numbers: Vec<i32> = list.iter().map(|i| *i as i32).collect();
                let numbers = TensorData::new(numbers, [list.len()]);
                let numbers = Tensor::<1, Int>::from_data(numbers, (&x.device(), DType::I32));
                x.clone().select(dim, numbers)
            }
        }
    }

    pub fn rows(&self, x: &Tensor<2>) -> Tensor<2> {
        self.select(x, 0)
    }

    pub fn columns(&self, x: &Dual<2>) -> Dual<2> {
        x.clone().linear(|x| self.select(&x, 1))
    }
}
