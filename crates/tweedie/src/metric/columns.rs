//! Columns of tables one by one and in pairs: shapes and trends, as the library SDMetrics defines them.
//!
//! Of a column, with F the distribution functions of real and synthetic numbers and p the frequencies of categories,
//! the shape is
//!
//! > 1 − max |F_r − F_s|    or    1 − ½ Σ |p_r − p_s|.
//!
//! Of a pair of columns, with ρ the correlation of Pearson of two columns of numbers and p the frequencies of pairs of
//! categories, the trend is
//!
//! > 1 − ½ |ρ_r − ρ_s|    or    1 − ½ Σ |p_r − p_s|;
//!
//! beside a category, numbers are categories too: ten bins of equal widths over the range of their own table. (Bins of
//! a common range would compare better; these are the ones that published figures use.) Missing values are left out,
//! and in a pair with a category they lie in the last bin. Scores of several columns or pairs are means, 1 at best; of
//! pairs those count that are related among the real rows, by |ρ_r| > 0.5, or with categories by Cramér's V > 0.3,
//!
//! > V² = χ²/(n (min(rows, columns) − 1)).

use crate::data::{Kind, Space, Split};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// The bins of numbers beside a category.
const BINS: usize = 10;
/// The least correlation of two columns of numbers, and the least association with a category, of a pair that counts.
const CORRELATED: f64 = 0.5;
const ASSOCIATED: f64 = 0.3;

/// The columns of a table, with its labels as the last one.
///
/// ```
/// use tweedie::data::shipped;
/// use tweedie::metric::Columns;
/// let wine = shipped::wine()?;
/// let (train, held_out) = (Columns::of(&wine.space, &wine.train), Columns::of(&wine.space, &wine.held_out));
/// assert_eq!(train.shapes(&train)?, 1.0);
/// assert!(train.shapes(&held_out)? > 0.7 && train.trends(&held_out)? > 0.7);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Columns(Vec<Values>);

#[derive(Debug, Clone, PartialEq)]
enum Values {
    /// Numbers, NaN where they are missing.
    Numbers(Vec<f64>),
    Categories(Vec<usize>),
}

impl Columns {
    /// The columns of rows in raw units; identifiers are left out.
    pub fn of(space: &Space, rows: &Split) -> Self {
        let column = |j: usize| {
            let raw = (0..rows.len()).map(move |i| rows.rows().exact(i, j));
            let coordinate = space.coordinate(j);
            match coordinate.kind {
                Kind::Identifier { .. } => None,
                Kind::Category { .. } => {
                    Some(Values::Categories(raw.map(|v| v as usize).collect()))
                }
                _ => Some(Values::Numbers(raw.map(|v| coordinate.value(v)).collect())),
            }
        };
        let labels =
            rows.labels().map(|all| Values::Categories(all.iter().map(|&k| k as usize).collect()));
        Self((0..space.width()).filter_map(column).chain(labels).collect())
    }

    /// The mean shape of all columns, these being the real ones; from 0 to 1.
    ///
    /// # Errors
    /// [`Error::Shape`] if the tables have other columns; [`Error::Undefined`] if no column has values in both.
    pub fn shapes(&self, synthetic: &Self) -> Result<f64> {
        self.check(synthetic)?;
        let pairs = self.0.iter().zip(&synthetic.0);
        mean(
            "shapes of columns",
            pairs.filter_map(|(real, fake)| match (real, fake) {
                (Values::Numbers(real), Values::Numbers(fake)) => kolmogorov_smirnov(real, fake),
                (Values::Categories(real), Values::Categories(fake)) => {
                    overlap(real.iter(), fake.iter())
                }
                _ => None,
            }),
        )
    }

    /// The mean trend of all pairs of columns that are related, these being the real ones; from 0 to 1.
    ///
    /// # Errors
    /// [`Error::Shape`] if the tables have other columns; [`Error::Undefined`] if no pair is related.
    pub fn trends(&self, synthetic: &Self) -> Result<f64> {
        self.check(synthetic)?;
        let (real, fake) = (self.binned(), synthetic.binned());
        let trend = |(a, b): (usize, usize)| match [
            &self.0[a],
            &self.0[b],
            &synthetic.0[a],
            &synthetic.0[b],
        ] {
            [
                Values::Numbers(ra),
                Values::Numbers(rb),
                Values::Numbers(fa),
                Values::Numbers(fb),
            ] => {
                let real = correlation(ra, rb).filter(|real| real.abs() > CORRELATED)?;
                Some(1.0 - 0.5 * (real - correlation(fa, fb)?).abs())
            }
            _ if association(&real[a], &real[b])? <= ASSOCIATED => None,
            _ => overlap(real[a].iter().zip(&real[b]), fake[a].iter().zip(&fake[b])),
        };
        let pairs = (0..self.0.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
        mean("trends of columns", pairs.filter_map(trend))
    }

    fn check(&self, other: &Self) -> Result<()> {
        let kinds = |columns: &Self| {
            let kind = |values: &Values| matches!(values, Values::Numbers(_));
            columns.0.iter().map(kind).collect::<Vec<bool>>()
        };
        match kinds(self) == kinds(other) {
            true => Ok(()),
            false => Err(Error::shape("columns", other.0.len(), "the kinds of the real columns")),
        }
    }

    /// The columns as categories: numbers by their bins.
    fn binned(&self) -> Vec<Vec<usize>> {
        let bins = |values: &Values| match values {
            Values::Numbers(values) => bins(values),
            Values::Categories(values) => values.clone(),
        };
        self.0.iter().map(bins).collect()
    }
}

fn mean(what: &str, values: impl Iterator<Item = f64>) -> Result<f64> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    match count {
        0 => Err(Error::undefined(what, "no column has values that can be compared")),
        count => Ok(sum / f64::from(count)),
    }
}

/// 1 − max |F_r − F_s|; none without numbers.
fn kolmogorov_smirnov(real: &[f64], fake: &[f64]) -> Option<f64> {
    let sorted = |values: &[f64]| {
        let mut all: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let (real, fake) = (sorted(real), sorted(fake));
    if real.is_empty() || fake.is_empty() {
        return None;
    }
    let share =
        |all: &[f64], value: f64| all.partition_point(|v| *v <= value) as f64 / all.len() as f64;
    let gap = |value: &f64| (share(&real, *value) - share(&fake, *value)).abs();
    Some(1.0 - real.iter().chain(&fake).map(gap).fold(0.0, f64::max))
}

/// 1 − ½ Σ |p_r − p_s|; none without values.
fn overlap<T: Ord>(
    real: impl ExactSizeIterator<Item = T>,
    fake: impl ExactSizeIterator<Item = T>,
) -> Option<f64> {
    let (n, m) = (real.len() as f64, fake.len() as f64);
    let mut counts: BTreeMap<T, (f64, f64)> = BTreeMap::new();
    real.for_each(|value| counts.entry(value).or_default().0 += 1.0);
    fake.for_each(|value| counts.entry(value).or_default().1 += 1.0);
    let distance: f64 = counts.values().map(|(a, b)| (a / n - b / m).abs()).sum();
    (n > 0.0 && m > 0.0).then_some(1.0 - 0.5 * distance)
}

/// Pearson's correlation of the rows where neither number is NaN; none for a constant.
pub(crate) fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let there = || a.iter().zip(b).filter(|(a, b)| !a.is_nan() && !b.is_nan());
    let n = there().count() as f64;
    let (ma, mb) = there().fold((0.0, 0.0), |(ma, mb), (a, b)| (ma + a / n, mb + b / n));
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for (a, b) in there() {
        let (a, b) = (a - ma, b - mb);
        (aa, bb, ab) = (aa + a * a, bb + b * b, ab + a * b);
    }
    let constant = |values: &[f64]| {
        let mut there = values.iter().filter(|value| !value.is_nan());
        let first = there.next();
        there.all(|value| Some(value) == first)
    };
    (n > 1.0 && !constant(a) && !constant(b)).then(|| (ab / aa.sqrt() / bb.sqrt()).clamp(-1.0, 1.0))
}

/// Cramér's V of two columns of categories; none if one is constant.
fn association(a: &[usize], b: &[usize]) -> Option<f64> {
    let count = |values: &mut dyn Iterator<Item = (usize, usize)>| {
        let mut counts: BTreeMap<(usize, usize), f64> = BTreeMap::new();
        values.for_each(|value| *counts.entry(value).or_default() += 1.0);
        counts
    };
    let of_a = count(&mut a.iter().map(|&a| (a, 0)));
    let of_b = count(&mut b.iter().map(|&b| (0, b)));
    let pairs = count(&mut a.iter().copied().zip(b.iter().copied()));
    let least = of_a.len().min(of_b.len());
    // χ² = n (Σ n_ab²/(n_a n_b) − 1).
    let sum: f64 = pairs.iter().map(|(&(a, b), n)| n * n / (of_a[&(a, 0)] * of_b[&(0, b)])).sum();
    (least > 1).then(|| ((sum - 1.0).max(0.0) / (least - 1) as f64).sqrt())
}

/// The bin of each number, of ten over the range: 1 to 10, and 11 for the greatest and for missing ones.
fn bins(values: &[f64]) -> Vec<usize> {
    let there = || values.iter().copied().filter(|value| !value.is_nan());
    let (mut low, mut high) =
        there().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low == high {
        (low, high) = (low - 0.5, high + 0.5);
    }
    let edge =
        |k: usize| if k == BINS { high } else { low + k as f64 * ((high - low) / BINS as f64) };
    let edges: Vec<f64> = (0..=BINS).map(edge).collect();
    let bin = |value: &f64| {
        if value.is_nan() { BINS + 1 } else { edges.partition_point(|edge| edge <= value) }
    };
    values.iter().map(bin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::table::{TableOptions, parse};
    use crate::metric::peer::Peer;
    use std::path::Path;

    /// A table with numbers, some missing, dates, a constant, categories and labels.
    fn table(text: &str, columns: Option<&[&str]>, label: bool) -> Columns {
        let columns = columns.map(|names| names.iter().map(ToString::to_string).collect());
        let label = label.then(|| "kind".into());
        let options = TableOptions { columns, label, ..TableOptions::default() };
        let table = parse(text.as_bytes(), Path::new("t.csv"), &options).unwrap();
        Columns::of(&table.space, &table.rows)
    }

    #[test]
    fn shapes_and_trends_are_those_of_sdmetrics() {
        let peer = Peer::of_tables();
        let texts: [String; 2] = ["/real", "/synthetic"].map(|at| peer.get(at));
        let [real, fake] = [0, 1].map(|k| table(&texts[k], None, true));
        peer.agrees("/shapes", real.shapes(&fake).unwrap());
        peer.agrees("/trends", real.trends(&fake).unwrap());
        for name in ["x", "y", "count", "income", "version", "day", "colour", "kind"] {
            let [real, fake] = [0, 1].map(|k| table(&texts[k], Some(&[name]), false));
            peer.agrees(&format!("/shape_of/{name}"), real.shapes(&fake).unwrap());
        }
        for (k, (a, b, _)) in
            peer.get::<Vec<(String, String, Option<f64>)>>("/trend_of").iter().enumerate()
        {
            let [real, fake] = [0, 1].map(|k| table(&texts[k], Some(&[a, b]), false));
            match (real.trends(&fake), peer.get::<Option<f64>>(&format!("/trend_of/{k}/2"))) {
                (Ok(_), None) => panic!("{a} and {b} are not related"),
                (Ok(ours), Some(_)) => peer.agrees(&format!("/trend_of/{k}/2"), ours),
                (ours, theirs) => {
                    assert!(ours.is_err() && theirs.is_none(), "{a}, {b}: {theirs:?}")
                }
            }
        }
    }

    #[test]
    fn a_table_is_as_near_to_itself_as_can_be() {
        let text = "a,b,c\n1,1.5,x\n2,3.5,x\n3,5.0,y\n4,7.5,y\n";
        let own = table(text, None, false);
        assert_eq!((own.shapes(&own).unwrap(), own.trends(&own).unwrap()), (1.0, 1.0));
        let other = table("a,b\n1,2.5\n2,3.5\n", None, false);
        assert!(matches!(own.shapes(&other), Err(Error::Shape { .. })));
    }
}
