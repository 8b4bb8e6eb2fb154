//! All sample metrics of a data set at once, each beside its floor: the same metric between real rows.

use super::{energy, mmd, neighbours, wasserstein};
use crate::data::{Dataset, Rows, Split};
use crate::{Draws, Error, Result};
use serde::Serialize;

/// Exact assignment costs the cube of the rows; above this many it is left out.
const MOST_EXACT: usize = 1500;
/// Directions of the sliced distance.
const DIRECTIONS: usize = 512;

/// One metric of generated rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// What it is called.
    pub name: &'static str,
    /// Its value on the generated rows.
    pub value: f64,
    /// Its standard error, where one is known.
    pub standard_error: Option<f64>,
    /// The same metric with as many training rows in place of the generated ones: what a perfect model that had
    /// learnt the distribution by heart would get, up to noise.
    pub floor: Option<f64>,
    /// What is good.
    pub good: &'static str,
}

/// Judges generated rows against held-out ones, in model units (so that no column dominates by its unit).
///
/// As many held-out, training and generated rows are compared as the smallest of the three has: the first generated
/// ones and random real ones. The label agreement is computed on all generated rows, and on as many training rows
/// as are compared otherwise, against all held-out ones. Without held-out rows there is nothing to judge by, and the list is empty.
///
/// # Errors
/// [`crate::Error::Shape`] if the widths differ; [`crate::Error::Config`] for values that are not finite.
pub fn judge(generated: &Split, data: &Dataset, seed: u64) -> Result<Vec<Score>> {
    let encode = |split: &Split| data.space.encode(split.rows());
    let (fake, train, real) = (encode(generated)?, encode(&data.train)?, encode(&data.held_out)?);
    let n = fake.len().min(train.len()).min(real.len());
    if n < 2 {
        return Ok(Vec::new());
    }
    let spread = |rows: &Rows| rows.select(&some(rows.len(), n));
    let (fake_n, train_n, real_n) = (fake.slice(0..n), spread(&train), spread(&real));
    let mut scores = Vec::new();
    let mut add = |name, value, standard_error, floor, good| {
        scores.push(Score { name, value, standard_error, floor, good });
    };
    let sliced = wasserstein::sliced_random(&fake_n, &real_n, seed, DIRECTIONS)?;
    let floor = wasserstein::sliced_random(&train_n, &real_n, seed, DIRECTIONS)?;
    add(
        "sliced W2",
        sliced.distance,
        sliced.standard_error,
        Some(floor.distance),
        "near the floor",
    );
    if n <= MOST_EXACT {
        let floor = wasserstein::exact(&train_n, &real_n)?;
        add("W2", wasserstein::exact(&fake_n, &real_n)?, None, Some(floor), "near the floor");
    }
    let distance = energy::distance(&fake_n, &real_n)?;
    let floor = energy::distance(&train_n, &real_n)?;
    let error = Some(distance.standard_error);
    add("energy distance", distance.unbiased, error, Some(floor.unbiased), "near 0");
    // Where most rows are equal, as in tables of few categories, there is no median distance to compare at.
    if let Some(bandwidth) = defined(mmd::median_bandwidth(&train_n, &real_n))? {
        let distance = mmd::gaussian(&fake_n, &real_n, &[bandwidth])?;
        let floor = Some(mmd::gaussian(&train_n, &real_n, &[bandwidth])?.unbiased);
        add("MMD²", distance.unbiased, Some(distance.standard_error), floor, "near 0");
    }
    let test = neighbours::two_sample(&real_n, &fake_n)?;
    let floor = neighbours::two_sample(&real_n, &train_n)?;
    let own = |share: neighbours::Share| (share.value, Some(share.standard_error));
    let (value, error) = own(test.real);
    add("1-NN accuracy, real", value, error, Some(floor.real.value), "near 0.5");
    let (value, error) = own(test.fake);
    add("1-NN accuracy, generated", value, error, Some(floor.fake.value), "near 0.5");
    let memorised = neighbours::memorisation(&fake_n, &train_n, &real_n)?;
    let (value, error) = own(memorised);
    add("nearer to training", value, error, None, "near 0.5; 1 is memorised");
    if let (Some(wanted), Some(labels)) = (generated.labels(), data.held_out.labels()) {
        let found = neighbours::label_agreement(&fake, wanted, &real, labels)?;
        let own = data.train.labels().map(|own| {
            let own: Vec<u32> = some(own.len(), n).iter().map(|&i| own[i]).collect();
            neighbours::label_agreement(&train_n, &own, &real, labels)
        });
        let floor = own.transpose()?.map(|floor| floor.value);
        add(
            "label agreement",
            found.value,
            Some(found.standard_error),
            floor,
            "at the floor or above",
        );
    }
    Ok(scores)
}

/// None where the quantity does not exist.
fn defined(value: Result<f64>) -> Result<Option<f64>> {
    match value {
        Err(Error::Undefined { .. }) => Ok(None),
        value => value.map(Some),
    }
}

/// `n` of `len` indices in ascending order, the same random ones each time: an even spread can fall in step with the order
/// of the rows.
pub(crate) fn some(len: usize, n: usize) -> Vec<usize> {
    let mut chosen = Draws::new(0).purpose("judged rows").permutation(len);
    chosen.truncate(n);
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Space;

    /// Rows that lie at 0 and at 10 in turn.
    fn alternating(len: usize, purpose: &str) -> Split {
        let mut rows = Draws::new(1).purpose(purpose).normals(0..len as u64, 1);
        rows.values_mut().iter_mut().skip(1).step_by(2).for_each(|x| *x += 10.0);
        Split::new(rows, None).unwrap()
    }

    #[test]
    fn floors_do_not_fall_in_step_with_the_order_of_rows() {
        let space = Space::vector(&["x"]).unwrap();
        let (train, held_out) = (alternating(400, "train"), alternating(200, "held out"));
        let data = Dataset::new("alternating", space, train, held_out).unwrap();
        let scores = judge(&alternating(200, "generated"), &data, 0).unwrap();
        let sliced = scores.iter().find(|score| score.name == "sliced W2").unwrap();
        // Every second training row would be at 0, W₂ = 5 √2; of a random half, the share at 0 has a standard error of
        // 2.5 %, and W₂ = 4 is at a share of 66 %, over six of them away.
        assert!(sliced.floor.unwrap() < 4.0, "{sliced:?}");
        assert!(sliced.value < 1.0, "{sliced:?}");
    }
}
