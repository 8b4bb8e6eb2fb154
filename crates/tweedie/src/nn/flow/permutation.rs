//! Permutations of columns, with determinant ±1.

use super::{AnyBijection, Bijection, BijectionConfig, Place};
use crate::data::Condition;
use crate::error::rows_of;
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// Configuration of [`Permutation`]. Without an order, columns are reversed in even rounds, so that two couplings
/// transform every column, and shuffled in odd rounds. The shuffle is fixed, whatever the seed of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PermutationConfig {
    /// The columns in their new order, each number from 0 once; the same in all rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Vec<usize>>,
}

/// The order of columns in a round: reversed in even rounds, shuffled in odd ones.
pub(super) fn columns(place: &Place) -> Vec<usize> {
    // Two columns have only one other order.
    if place.round.is_multiple_of(2) || place.width <= 2 {
        (0..place.width).rev().collect()
    } else {
        Draws::new(0).purpose("columns").at(place.round as u64).permutation(place.width)
    }
}

impl BijectionConfig for PermutationConfig {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn fits(&self, place: &Place) -> Result<()> {
        let Some(order) = &self.order else { return Ok(()) };
        if order.len() != place.width {
            let expected = format!("the {} columns in another order", place.width);
            return Err(Error::config("order", format!("{} numbers", order.len()), expected));
        }
        Permutation::new(order.clone()).map(|_| ())
    }

    fn init(&self, place: &Place, _: &Draws, _: &Device) -> Result<AnyBijection> {
        self.fits(place)?;
        if let Some(order) = &self.order {
            return Ok(Permutation::new(order.clone())?.into());
        }
        Ok(Permutation::new(columns(place))?.into())
    }

    fn parameters(&self, _: &Place) -> u128 {
        0
    }

    fn activations(&self, place: &Place) -> usize {
        place.width
    }
}

/// Columns in another order: z_j = x_{order(j)}.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::data::Condition;
/// use tweedie::nn::flow::{Bijection, Permutation};
/// let x = Tensor::<2>::from_floats([[1.0, 2.0, 3.0]], &Device::flex());
/// let (z, _) = Permutation::new(vec![2, 0, 1])?.to_noise(x.into(), &Condition::None)?;
/// assert_eq!(z.value.into_data().try_into_vec::<f32>().unwrap(), [3.0, 1.0, 2.0]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct Permutation {
    #[module(skip)]
    order: Vec<usize>,
    #[module(skip)]
    inverse: Vec<usize>,
}

impl Permutation {
    /// The permutation that takes column `order[j]` to column j.
    ///
    /// # Errors
    /// [`Error::Config`] unless `order` has every column's number, from 0, exactly once.
    pub fn new(order: Vec<usize>) -> Result<Self> {
        let mut inverse = vec![usize::MAX; order.len()];
        for (to, &from) in order.iter().enumerate() {
            match inverse.get_mut(from) {
                Some(free) if *free == usize::MAX => *free = to,
                _ => {
                    let expected = format!("each number below {} once", order.len());
                    return Err(Error::config("order", format!("{order:?}"), expected));
                }
            }
        }
        Ok(Self { order, inverse })
    }
}

/// The parts of a dimension with the given numbers, in their order.
pub(super) fn chosen<const D: usize>(x: Dual<D>, dim: usize, numbers: &[usize]) -> Dual<D> {
    let data: Vec<i32> = numbers.iter().map(|&j| j as i32).collect();
    let data = TensorData::new(data, [numbers.len()]);
    let numbers = Tensor::<1, Int>::from_data(data, (&x.value.device(), DType::I32));
    x.linear(|x| x.select(dim, numbers.clone()))
}

/// The columns with the numbers `columns`, and a log-determinant of zero.
fn select(x: Dual<2>, columns: &[usize]) -> Result<(Dual<2>, Dual<2>)> {
    rows_of(x.dims(), columns.len())?;
    let zero = x.value.clone().narrow(1, 0, 1).zeros_like();
    Ok((chosen(x, 1, columns), zero.into()))
}

impl Bijection for Permutation {
    fn to_noise(&self, x: Dual<2>, _: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        select(x, &self.order)
    }

    fn to_data(&self, z: Dual<2>, _: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        select(z, &self.inverse)
    }
}
