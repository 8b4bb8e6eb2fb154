//! All metrics of samples, each with its floor: the same metric between real rows.

use super::discrepancy::Against;
use super::distance::Pairs;
use super::memorisation::nearest_distance;
use super::{
    Columns, Forest, evaluation_rows, features, memorisation, mmd, neighbours, wasserstein,
};
use crate::data::{Dataset, Layout, Rows, Space, Split};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The most generated, and the most held-out rows, of metrics over all pairs.
pub(super) const MOST_PAIRED: usize = 10_000;
/// The most rows of exact assignment, whose time grows with up to the cube of their number.
const MOST_ASSIGNED: usize = 1500;
/// The number of directions of the sliced distance.
const DIRECTIONS: usize = 512;

/// The value of a metric of generated rows, with its floor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The metric's name.
    pub name: Cow<'static, str>,
    /// The value on the generated rows.
    pub value: f64,
    /// The standard error, if one is known.
    pub standard_error: Option<f64>,
    /// The number of generated rows.
    pub rows: usize,
    /// The number of real rows in the comparison; for memorisation it includes training rows. 0 for metrics of samples
    /// alone.
    pub reference_rows: usize,
    /// The floor: the same metric with as many training rows, or all if fewer, in place of the generated rows. A
    /// perfect model has this value, up to noise.
    pub floor: Option<f64>,
    /// The ideal value, in words.
    pub good: Cow<'static, str>,
}

/// Compares generated rows with held-out rows, in model units, so that no column dominates by its unit.
///
/// Most metrics compare all generated rows with all held-out rows, within limits of cost or of fairness. Every
/// [`Score`] has its numbers of rows. A metric that does not take all takes the
/// [`evaluation_rows`].
///
/// - Energy distance and MMD², both unbiased at any sizes, and memorisation: 10,000 generated rows at most; the first
///   two with 10,000 held-out rows at most, memorisation with all training and all held-out rows.
/// - Sliced W₂, whose floor depends on the number of rows: no more generated than training rows.
/// - 1-NN accuracies and W₂: equally many of each kind, 10,000 and 1,500 at most.
/// - Fréchet and kernel distance, precision and recall, unless rows are pictures, which are judged so by their
///   features: see [`features::judge`](super::features::judge).
/// - Label agreement: all rows. Samples should bear the [`sample_labels`](super::sample_labels).
/// - Shapes and trends of columns, for tables of two columns or more: all rows, in raw units; see [`Columns`].
/// - Labels learnt from samples, for labelled tables: equally many generated and training rows, 10,000 at most, tested
///   on all held-out rows; see [`Forest`].
/// - The distance to the nearest training row, a median: 10,000 generated rows and all held-out rows, for the floor.
///
/// The list is empty unless there are two generated, two training and two held-out rows. The bandwidth of MMD² is the
/// median distance of real rows, so that it does not depend on the samples. `seed` gives the directions of sliced W₂.
///
/// # Errors
/// [`crate::Error::Shape`] if the widths differ; [`crate::Error::Config`] for values that are not finite.
pub fn judge(generated: &Split, data: &Dataset, seed: u64) -> Result<Vec<Score>> {
    let Some(judged) = ModelRows::new(generated, data)? else { return Ok(Vec::new()) };
    let mut scores = judged.distances(seed)?;
    scores.extend(judged.moments(&data.space)?);
    scores.extend(judged.memorisation()?);
    scores.push(judged.nearest());
    scores.extend(judged.labels(generated, data)?);
    scores.extend(of_columns(generated, data)?);
    scores.extend(judged.utility(generated, data)?);
    Ok(scores)
}

/// The scores of [`judge`] without memorisation, for training rows that the model has not seen.
///
/// # Errors
/// As [`judge`].
pub fn distances(generated: &Split, data: &Dataset, seed: u64) -> Result<Vec<Score>> {
    let Some(judged) = ModelRows::new(generated, data)? else { return Ok(Vec::new()) };
    let mut scores = judged.distances(seed)?;
    scores.extend(judged.moments(&data.space)?);
    scores.extend(judged.labels(generated, data)?);
    scores.extend(of_columns(generated, data)?);
    scores.extend(judged.utility(generated, data)?);
    Ok(scores)
}

/// Whether rows are those of a table of two columns or more.
fn is_table(space: &Space) -> bool {
    matches!(space.layout(), Layout::Vector { width: 2.. })
}

/// Shapes and trends of the columns of a table; none for pictures and for rows of one value.
fn of_columns(generated: &Split, data: &Dataset) -> Result<Vec<Score>> {
    if !is_table(&data.space) {
        return Ok(Vec::new());
    }
    let columns = |rows: &Split| Columns::of(&data.space, rows);
    let (fake, train, real) = (columns(generated), columns(&data.train), columns(&data.held_out));
    let score = |name: &'static str, value: Result<f64>, floor: Result<f64>| {
        let Some(value) = defined(value)? else { return Ok(None) };
        Ok(Some(Score {
            name: name.into(),
            value,
            standard_error: None,
            rows: generated.len(),
            reference_rows: data.held_out.len(),
            floor: defined(floor)?,
            good: "near the floor; 1 is best".into(),
        }))
    };
    let shapes = score("column shapes", real.shapes(&fake), real.shapes(&train))?;
    let trends = score("column trends", real.trends(&fake), real.trends(&train))?;
    Ok(shapes.into_iter().chain(trends).collect())
}

/// Rows in model units.
struct ModelRows {
    fake: Rows,
    train: Rows,
    real: Rows,
}

/// `n` random rows, or all if there are no more.
fn some(rows: &Rows, n: usize) -> Cow<'_, Rows> {
    if n >= rows.len() {
        Cow::Borrowed(rows)
    } else {
        Cow::Owned(rows.select(&evaluation_rows(rows.len(), n)))
    }
}

impl ModelRows {
    /// The rows of all kinds; none where there are fewer than two of a kind.
    fn new(generated: &Split, data: &Dataset) -> Result<Option<Self>> {
        let space = data.space.without_maps();
        let encode = |split: &Split| space.encode(split.rows());
        let (train, real) = (encode(&data.train)?, encode(&data.held_out)?);
        let judged = Self { fake: encode(generated)?, train, real };
        Ok((judged.of_each(usize::MAX) >= 2).then_some(judged))
    }

    /// Distances between generated and real rows, and two-sample tests.
    fn distances(&self, seed: u64) -> Result<Vec<Score>> {
        let mut scores = vec![self.sliced(seed)?, self.assigned()?];
        scores.extend(self.discrepancies()?);
        scores.extend(self.two_sample()?);
        Ok(scores)
    }

    fn sliced(&self, seed: u64) -> Result<Score> {
        let rows = self.fake.len().min(self.train.len());
        let to_real =
            |own: &Rows| wasserstein::sliced_random(&some(own, rows), &self.real, seed, DIRECTIONS);
        let found = to_real(&self.fake)?;
        Ok(Score {
            name: "sliced W2".into(),
            value: found.distance,
            standard_error: Some(found.standard_error()),
            rows,
            reference_rows: self.real.len(),
            floor: Some(to_real(&self.train)?.distance),
            good: "near the floor".into(),
        })
    }

    /// The number of rows of each kind for a comparison of equally many: at most `most`.
    fn of_each(&self, most: usize) -> usize {
        self.fake.len().min(self.train.len()).min(self.real.len()).min(most)
    }

    fn assigned(&self) -> Result<Score> {
        let rows = self.of_each(MOST_ASSIGNED);
        let real = some(&self.real, rows);
        let to_real = |own: &Rows| wasserstein::exact(&some(own, rows), &real);
        Ok(Score {
            name: "W2".into(),
            value: to_real(&self.fake)?,
            standard_error: None,
            rows,
            reference_rows: rows,
            floor: Some(to_real(&self.train)?),
            good: "near the floor".into(),
        })
    }

    /// Energy distance and MMD², in one pass over all pairs.
    fn discrepancies(&self) -> Result<Vec<Score>> {
        // Where most rows are equal, as in tables of few categories, the median distance is zero, and MMD² is left out.
        let bandwidth = defined(mmd::median_bandwidth(&self.train, &self.real))?;
        let rate = bandwidth.map_or(0.0, mmd::rate);
        let kernels = |squared: f64| [-squared.sqrt(), (rate * squared).exp()];
        let real = some(&self.real, MOST_PAIRED);
        let fake = some(&self.fake, MOST_PAIRED);
        let against = Against::new(Pairs::SquaredDistances, &real, kernels)?;
        let found = against.discrepancies(&fake)?;
        let floor = against.discrepancies(&some(&self.train, fake.len()))?;
        let score = |name: &'static str, k: usize| Score {
            name: name.into(),
            value: found[k].unbiased,
            standard_error: Some(found[k].standard_error),
            rows: fake.len(),
            reference_rows: real.len(),
            floor: Some(floor[k].unbiased),
            good: "near 0".into(),
        };
        let named = [Some("energy distance"), bandwidth.map(|_| "MMD²")];
        Ok((0..).zip(named).filter_map(|(k, name)| Some(score(name?, k))).collect())
    }

    fn two_sample(&self) -> Result<[Score; 2]> {
        let rows = self.of_each(MOST_PAIRED);
        let real = some(&self.real, rows);
        let found = neighbours::two_sample(&real, &some(&self.fake, rows))?;
        let floor = neighbours::two_sample(&real, &some(&self.train, rows))?;
        let score = |name: &'static str,
                     found: neighbours::Proportion,
                     floor: neighbours::Proportion| Score {
            name: name.into(),
            value: found.value,
            standard_error: Some(found.standard_error),
            rows,
            reference_rows: rows,
            floor: Some(floor.value),
            good: "near 0.5".into(),
        };
        Ok([
            score("1-NN accuracy, real", found.real, floor.real),
            score("1-NN accuracy, generated", found.fake, floor.fake),
        ])
    }

    /// Fréchet and kernel distance, precision and recall of rows that are no pictures.
    fn moments(&self, space: &Space) -> Result<Vec<Score>> {
        if matches!(space.layout(), Layout::Image { .. }) {
            return Ok(Vec::new());
        }
        let train = some(&self.train, self.fake.len().min(MOST_PAIRED));
        features::compared(&self.fake, &train, &some(&self.real, MOST_PAIRED))
    }

    fn memorisation(&self) -> Result<[Score; 2]> {
        let fake = some(&self.fake, MOST_PAIRED);
        let found = memorisation(&fake, &self.train, &self.real)?;
        let score = |name: &'static str, value, standard_error, good| Score {
            name: name.into(),
            value,
            standard_error: Some(standard_error),
            rows: fake.len(),
            reference_rows: self.train.len() + self.real.len(),
            floor: None,
            good,
        };
        let error = found.standard_error;
        let by_chance = format!("near {:.4}, chance", found.chance).into();
        let nearer =
            score("nearer to training", found.share, error * (1.0 - found.chance), by_chance);
        let good = "near 0, chance; 1 is copies".into();
        Ok([nearer, score("memorisation", found.rescaled, error, good)])
    }

    /// The median distance of a generated row to the nearest training row.
    fn nearest(&self) -> Score {
        let fake = some(&self.fake, MOST_PAIRED);
        Score {
            name: "nearest training row".into(),
            value: nearest_distance(&fake, &self.train),
            standard_error: None,
            rows: fake.len(),
            reference_rows: self.train.len(),
            floor: Some(nearest_distance(&some(&self.real, MOST_PAIRED), &self.train)),
            good: "at the floor".into(),
        }
    }

    /// The accuracy on real rows of a forest that learns the labels of a table from generated rows.
    fn utility(&self, generated: &Split, data: &Dataset) -> Result<Option<Score>> {
        let labels = (generated.labels(), data.train.labels(), data.held_out.labels());
        let ((Some(fake), Some(train), Some(real)), true) = (labels, is_table(&data.space)) else {
            return Ok(None);
        };
        let n = self.fake.len().min(self.train.len()).min(MOST_PAIRED);
        let learnt = |rows: &Rows, labels: &[u32]| {
            let chosen = evaluation_rows(rows.len(), n);
            let labels: Vec<u32> = chosen.iter().map(|&row| labels[row]).collect();
            Forest::fit(&rows.select(&chosen), &labels, 0)?.accuracy(&self.real, real)
        };
        let Some(value) = defined(learnt(&self.fake, fake))? else { return Ok(None) };
        Ok(Some(Score {
            name: "labels learnt from samples".into(),
            value,
            standard_error: Some((value * (1.0 - value) / self.real.len() as f64).sqrt()),
            rows: n,
            reference_rows: self.real.len(),
            floor: defined(learnt(&self.train, train))?,
            good: "near the floor".into(),
        }))
    }

    fn labels(&self, generated: &Split, data: &Dataset) -> Result<Option<Score>> {
        let (Some(wanted), Some(labels)) = (generated.labels(), data.held_out.labels()) else {
            return Ok(None);
        };
        let found = neighbours::label_agreement(&self.fake, wanted, &self.real, labels)?;
        let own = evaluation_rows(self.train.len(), self.fake.len());
        let floor = data.train.labels().map(|all| {
            let wanted: Vec<u32> = own.iter().map(|&row| all[row]).collect();
            neighbours::label_agreement(&self.train.select(&own), &wanted, &self.real, labels)
        });
        Ok(Some(Score {
            name: "label agreement".into(),
            value: found.value,
            standard_error: Some(found.standard_error),
            rows: self.fake.len(),
            reference_rows: self.real.len(),
            floor: floor.transpose()?.map(|floor| floor.value),
            good: "at the floor or above".into(),
        }))
    }
}

/// The value; none where the quantity is undefined.
fn defined(value: Result<f64>) -> Result<Option<f64>> {
    match value {
        Err(Error::Undefined { .. }) => Ok(None),
        value => value.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Draws;
    use crate::data::Space;
    use crate::metric::{energy, sample_labels};

    fn normals(len: usize, purpose: &str) -> Rows {
        Draws::new(1).purpose(purpose).normals(0..len as u64, 1)
    }

    /// Rows that lie at 0 and at 10 in turn.
    fn alternating(len: usize, purpose: &str) -> Split {
        let mut rows = normals(len, purpose);
        rows.values_mut().iter_mut().skip(1).step_by(2).for_each(|x| *x += 10.0);
        Split::new(rows, None).unwrap()
    }

    /// A row at 10 times its label, for each label.
    fn oracle(labels: Vec<u32>, purpose: &str) -> Split {
        let mut rows = normals(labels.len(), purpose);
        rows.values_mut().iter_mut().zip(&labels).for_each(|(x, label)| *x += 10.0 * *label as f32);
        Split::new(rows, Some(labels)).unwrap()
    }

    /// Five classes, one after the other.
    fn sorted(len: usize, purpose: &str) -> Split {
        oracle((0..len).map(|i| (5 * i / len) as u32).collect(), purpose)
    }

    fn five_classes(train: usize, held_out: usize) -> Dataset {
        let space = Space::vector(&["x"]).unwrap();
        let space = space.with_classes((0..5).map(|k| k.to_string()).collect());
        let (train, held_out) = (sorted(train, "train"), sorted(held_out, "held out"));
        Dataset::new("sorted", space, train, held_out).unwrap()
    }

    fn named<'a>(scores: &'a [Score], name: &str) -> &'a Score {
        scores.iter().find(|score| score.name == name).unwrap()
    }

    #[test]
    fn floors_do_not_fall_in_step_with_the_order_of_rows() {
        let space = Space::vector(&["x"]).unwrap();
        let (train, held_out) = (alternating(400, "train"), alternating(200, "held out"));
        let data = Dataset::new("alternating", space, train, held_out).unwrap();
        let scores = judge(&alternating(200, "generated"), &data, 0).unwrap();
        let sliced = named(&scores, "sliced W2");
        // Every second training row would be at 0, W₂ = 5 √2; of a random half, the share at 0 has a standard error of
        // 2.5 %, and W₂ = 4 is at a share of 66 %, over six of them away.
        assert!(sliced.floor.unwrap() < 4.0, "{sliced:?}");
        assert!(sliced.value < 1.0, "{sliced:?}");
    }

    /// Samples with the labels of the first 200 held-out rows are all of the first class, and W₂ is near 10 √6. Those
    /// with the labels of random rows, or of all, are as far as training rows.
    #[test]
    fn an_oracle_is_near_the_floor_on_data_sorted_by_class() {
        let data = five_classes(3000, 1000);
        for n in [200, 1000, 1700] {
            let labels = sample_labels(&data.held_out, n).unwrap();
            let scores = judge(&oracle(labels, "generated"), &data, 0).unwrap();
            let sliced = named(&scores, "sliced W2");
            assert_eq!((sliced.rows, sliced.reference_rows), (n, 1000));
            let floor = sliced.floor.unwrap();
            let error = sliced.standard_error.unwrap();
            assert!(sliced.value < 1.5 * floor + 2.0 * error, "{n}: {sliced:?}");
            assert!(named(&scores, "label agreement").value > 0.99);
            let memorised = named(&scores, "memorisation");
            assert!(memorised.value.abs() < 4.9 * memorised.standard_error.unwrap());
        }
        let first = data.held_out.labels().unwrap()[..200].to_vec();
        let scores = judge(&oracle(first, "generated"), &data, 0).unwrap();
        assert!(named(&scores, "sliced W2").value > 20.0);
    }

    #[test]
    fn every_score_has_its_numbers_of_rows() {
        let data = five_classes(500, 80);
        let generated = oracle(sample_labels(&data.held_out, 600).unwrap(), "generated");
        let scores = judge(&generated, &data, 0).unwrap();
        let numbers: Vec<_> = scores
            .iter()
            .map(|s| (&*s.name, s.rows, s.reference_rows, s.floor.is_some()))
            .collect();
        assert_eq!(
            numbers,
            [
                ("sliced W2", 500, 80, true),
                ("W2", 80, 80, true),
                ("energy distance", 600, 80, true),
                ("MMD²", 600, 80, true),
                ("1-NN accuracy, real", 80, 80, true),
                ("1-NN accuracy, generated", 80, 80, true),
                ("Fréchet distance", 500, 80, true),
                ("kernel distance", 600, 80, true),
                ("precision", 80, 80, true),
                ("recall", 80, 80, true),
                ("nearer to training", 600, 580, false),
                ("memorisation", 600, 580, false),
                ("nearest training row", 600, 500, true),
                ("label agreement", 600, 80, true),
            ]
        );
        let encode = |split: &Split| data.space.encode(split.rows()).unwrap();
        let (fake, train, real) = (encode(&generated), encode(&data.train), encode(&data.held_out));
        let found = energy::distance(&fake, &real).unwrap();
        let score = named(&scores, "energy distance");
        assert_eq!(
            (score.value, score.standard_error.unwrap()),
            (found.unbiased, found.standard_error)
        );
        assert_eq!(score.floor, Some(energy::distance(&train, &real).unwrap().unbiased));
        let bandwidth = mmd::median_bandwidth(&train, &real).unwrap();
        let found = mmd::gaussian(&fake, &real, &[bandwidth]).unwrap();
        assert_eq!(named(&scores, "MMD²").value, found.unbiased);
        let found = memorisation(&fake, &train, &real).unwrap();
        let (share, rescaled) =
            (named(&scores, "nearer to training"), named(&scores, "memorisation"));
        assert_eq!((share.value, rescaled.value), (found.share, found.rescaled));
        assert_eq!(share.good, "near 0.8621, chance");
    }

    #[test]
    fn copies_of_training_rows_are_memorised_and_one_row_has_no_scores() {
        let data = five_classes(900, 300);
        let copies = data.train.select(&evaluation_rows(900, 250));
        let scores = judge(&copies, &data, 0).unwrap();
        assert_eq!(named(&scores, "memorisation").value, 1.0);
        assert_eq!(judge(&copies.select(&[0]), &data, 0).unwrap(), []);
    }
}
