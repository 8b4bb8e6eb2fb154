//! Label accuracy: the share of samples that a classifier assigns to their requested label.
//!
//! A sample agrees if its greatest logit is that of the requested label. This is the classification accuracy of S.
//! Ravuri and O. Vinyals, "Classification accuracy score for conditional generative models", NeurIPS 2019, with a
//! classifier trained on real pictures. Its accuracy on held-out pictures is the value for comparison; samples may
//! exceed it, if a generator shows only typical pictures of each class.

use super::check;
use super::neighbours::Proportion;
use crate::data::Rows;
use crate::{Error, Result};

/// The share of rows of `logits` whose greatest entry, the first among equals, is at their label.
///
/// ```
/// use tweedie::{data::Rows, metric::labels};
/// let logits = Rows::new(vec![0.1, 0.9, 2.0, -1.0, 0.0, 1.0, 3.0, 2.0], 2)?;
/// assert_eq!(labels::accuracy(&logits, &[1, 0, 0, 0])?.value, 0.75);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if a row lacks a label, or there are no rows; [`Error::Config`] if a label has no logit, or naming
/// the row of a value that is not finite.
pub fn accuracy(logits: &Rows, labels: &[u32]) -> Result<Proportion> {
    check("logits", logits, 1)?;
    if labels.len() != logits.len() {
        return Err(Error::shape("labels", labels.len(), format!("{}, one a row", logits.len())));
    }
    if let Some(label) = labels.iter().find(|label| **label as usize >= logits.width()) {
        let expected = format!("labels below {}, the number of logits", logits.width());
        return Err(Error::config("labels", label.to_string(), expected));
    }
    let greatest = |row: &[f32]| (1..row.len()).fold(0, |k, j| if row[j] > row[k] { j } else { k });
    let found = logits.iter().zip(labels).filter(|(row, label)| greatest(row) == **label as usize);
    Ok(Proportion::new(found.count() as f64, logits.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::peer::Peer;

    #[test]
    fn agrees_with_scikit_learn() -> Result<()> {
        let peer = Peer::of_images();
        let labels: Vec<u32> = peer.get("/labels");
        let found = accuracy(&peer.rows("x"), &labels)?;
        peer.agrees_to(1e-12, "/accuracy", found.value);
        assert_eq!(found.rows, labels.len());
        Ok(())
    }

    #[test]
    fn what_cannot_be_judged_is_refused() -> Result<()> {
        let logits = Rows::new(vec![1.0, 2.0], 2)?;
        assert!(matches!(accuracy(&logits, &[2]), Err(Error::Config { .. })));
        assert!(matches!(accuracy(&logits, &[0, 1]), Err(Error::Shape { .. })));
        assert!(matches!(accuracy(&logits.slice(0..0), &[]), Err(Error::Shape { .. })));
        let lost = Rows::new(vec![f32::NAN, 2.0], 2)?;
        assert!(accuracy(&lost, &[1]).is_err());
        Ok(())
    }
}
