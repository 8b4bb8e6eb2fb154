//! The energy distance 2 E‖X − Y‖ − E‖X − X′‖ − E‖Y − Y′‖, in the units of the data.
//!
//! G. J. Székely and M. L. Rizzo, "Energy statistics: a class of statistics based on distances", J. Stat. Plan.
//! Inference 143 (2013). It is zero if and only if the two distributions are equal. SciPy's one-dimensional
//! `energy_distance` is the square root of the V-statistic.

use super::Discrepancy;
use super::discrepancy::discrepancy;
use super::distance::Pairs;
use crate::Result;
use crate::data::Rows;

/// The energy distance between two samples of 2 rows or more. The time is that of (n + m)² distances.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if the widths differ or a sample has fewer than 2 rows;
/// [`Error::Config`](crate::Error::Config) naming the row of a value that is not finite.
pub fn distance(x: &Rows, y: &Rows) -> Result<Discrepancy> {
    discrepancy(Pairs::SquaredDistances, x, y, |squared| -squared.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::peer::{Peer, first_coordinate};

    #[test]
    fn agrees_with_scipy() -> Result<()> {
        let peer = Peer::read();
        let (x, y) = (peer.rows("x"), peer.rows("y"));
        let found = distance(&x, &y)?;
        peer.agrees("/energy/biased", found.biased);
        peer.agrees("/energy/unbiased", found.unbiased);
        let on_line = distance(&first_coordinate(&x), &first_coordinate(&y))?;
        peer.agrees("/energy_of_first_coordinate_by_scipy", on_line.biased.sqrt());
        Ok(())
    }
}
