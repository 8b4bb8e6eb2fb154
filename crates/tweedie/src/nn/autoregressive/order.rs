//! The orders in which an autoregressive model takes columns.

use crate::registry::registry;
use crate::{Draws, Error, Result};

registry! {
    /// The order of columns: `natural`, or `{ name = "list", columns = [2, 0, 1] }`.
    pub enum Order = Natural {
        "natural" Natural "the order of the data, of pictures row by row",
        "reversed" Reversed "the last column first",
        "shuffled" Shuffled "a random order, the same for every seed of a run",
        "list" List {
            /// The columns in their order.
            columns: Vec<usize>,
        } "the numbers of all columns from 0, each once",
    }
}

impl Order {
    /// The numbers of `count` columns in this order.
    ///
    /// # Errors
    /// [`Error::Config`] for a list that is no permutation of the columns.
    pub fn of(&self, count: usize) -> Result<Vec<usize>> {
        match self {
            Order::Natural => Ok((0..count).collect()),
            Order::Reversed => Ok((0..count).rev().collect()),
            Order::Shuffled => Ok(Draws::new(0).purpose("order").permutation(count)),
            Order::List { columns } => {
                let mut sorted = columns.clone();
                sorted.sort_unstable();
                if sorted.iter().copied().eq(0..count) {
                    return Ok(columns.clone());
                }
                let expected = format!("each number below {count} once");
                Err(Error::config("order.columns", format!("{columns:?}"), expected))
            }
        }
    }
}
