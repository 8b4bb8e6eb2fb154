//! The distributions of all columns of a space, each by parameters of its own.

use super::{AnyConditional, ColumnDistribution, Random};
use crate::data::{Kind, Rows, Space};
use crate::error::rows_of;
use crate::tensor::Dual;
use crate::{Error, Result};
use burn::tensor::{DType, Int, Tensor, TensorData};
use std::ops::Range;

/// Neighbouring columns of an order with the same distribution.
#[derive(Debug, Clone)]
struct Group {
    of: ColumnDistribution,
    /// The number of columns.
    columns: usize,
    /// Their values, in the order.
    values: Range<usize>,
    /// Their parameters.
    parameters: Range<usize>,
}

/// The distributions of the columns of a space in some order: the log-probability of each column of a row by the
/// parameters of all, side by side in that order. Identifiers are left out.
#[derive(Debug, Clone)]
pub struct Product {
    /// The place in a row in model units of each value, in the order.
    places: Vec<usize>,
    groups: Vec<Group>,
    /// Whether every column has probabilities.
    discrete: bool,
}

/// A column of a [`Product`].
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    of: &'a ColumnDistribution,
    /// The places of its values in a row in model units.
    pub places: &'a [usize],
}

impl Column<'_> {
    /// The number of parameters.
    pub fn parameters(&self) -> usize {
        self.of.parameters()
    }

    /// Draws a value by its parameters into `out`, which is as long as `places`.
    pub fn draw(&self, parameters: &[f32], random: Random, out: &mut [f32]) {
        self.of.draw(parameters, random, out);
    }

    /// The values `x`, `[n, values]`, as a network reads them.
    pub fn seen(&self, x: Dual<2>) -> Dual<2> {
        let [n, width] = x.dims();
        self.of.seen(x.reshape([n, 1, width])).reshape([n, width])
    }
}

/// Columns of `x` in another order.
fn select(x: Dual<2>, columns: &[usize]) -> Dual<2> {
    if columns.iter().copied().eq(0..x.dims()[1]) {
        return x;
    }
    let numbers: Vec<i32> = columns.iter().map(|j| *j as i32).collect();
    let numbers = TensorData::new(numbers, [columns.len()]);
    let numbers = Tensor::<1, Int>::from_data(numbers, (&x.value.device(), DType::I32));
    x.linear(|x| x.select(1, numbers.clone()))
}

/// The entries `range` of each row of `of`, `[n, all]`, split evenly among `columns` columns: `[n, columns, width]`.
fn part(of: &Dual<2>, range: &Range<usize>, columns: usize) -> Dual<3> {
    let n = of.dims()[0];
    let part = of.clone().linear(|of: Tensor<2>| of.narrow(1, range.start, range.len()));
    part.reshape([n, columns, range.len() / columns])
}

/// Parts side by side, of which there is at least one.
fn side_by_side(mut parts: Vec<Dual<2>>) -> Dual<2> {
    if parts.len() == 1 { parts.remove(0) } else { Dual::cat(parts, 1) }
}

impl Product {
    /// The number of columns of `space` that have distributions.
    pub fn count(space: &Space) -> usize {
        Self::columns_of(space).len()
    }

    /// The columns of a space that have distributions, each with its place in model units.
    fn columns_of(space: &Space) -> Vec<(usize, Range<usize>)> {
        let mut at = 0;
        let place = |j: usize| {
            let from = at;
            at += space.coordinate(j).model_width();
            (j, from..at)
        };
        let all = (0..space.width()).map(place);
        all.filter(|(j, _)| !matches!(space.coordinate(*j).kind, Kind::Identifier { .. })).collect()
    }

    /// The distributions of the columns of `space` in an order, a permutation of the numbers below
    /// [`count`](Self::count): `numbers` of real numbers, `integers` of integers, and categorical ones of names.
    ///
    /// # Errors
    /// [`Error::Config`] if a distribution is of other values, or there is no column.
    pub fn new(
        space: &Space,
        order: &[usize],
        numbers: &AnyConditional,
        integers: &AnyConditional,
    ) -> Result<Self> {
        let columns = Self::columns_of(space);
        let (mut places, mut groups): (Vec<usize>, Vec<Group>) = (Vec::new(), Vec::new());
        for j in order {
            let (column, place) = columns[*j].clone();
            let of = ColumnDistribution::new(space.coordinate(column), numbers, integers)?;
            let (values, parameters) = (of.width(), of.parameters());
            let from = places.len();
            places.extend(place);
            match groups.last_mut().filter(|group| group.of == of) {
                Some(group) => {
                    group.columns += 1;
                    group.values.end += values;
                    group.parameters.end += parameters;
                }
                None => {
                    let first = groups.last().map_or(0, |group| group.parameters.end);
                    let parameters = first..first + parameters;
                    groups.push(Group { of, columns: 1, values: from..from + values, parameters });
                }
            }
        }
        let discrete = (0..space.width()).all(|j| space.coordinate(j).is_discrete());
        match places.is_empty() {
            true => Err(Error::config("data", "no columns", "at least one")),
            false => Ok(Self { places, groups, discrete }),
        }
    }

    /// The place in a row in model units of each value, in the order.
    pub fn places(&self) -> &[usize] {
        &self.places
    }

    /// Whether every column is an integer or a name, so that rows have probabilities.
    pub fn is_discrete(&self) -> bool {
        self.discrete
    }

    /// The columns in the order.
    pub fn columns(&self) -> Vec<Column<'_>> {
        let mut all = Vec::new();
        for group in &self.groups {
            let places = self.places[group.values.clone()].chunks_exact(group.of.width());
            all.extend(places.map(|places| Column { of: &group.of, places }));
        }
        all
    }

    /// The number of values of each column.
    pub fn values(&self) -> Vec<usize> {
        self.columns().iter().map(|column| column.places.len()).collect()
    }

    /// The number of parameters of each column.
    pub fn parameters(&self) -> Vec<usize> {
        self.columns().iter().map(Column::parameters).collect()
    }

    /// The places, among all parameters, of logarithms of scales.
    pub fn scales(&self) -> Vec<usize> {
        let (mut from, mut all) = (0, Vec::new());
        for column in self.columns() {
            all.extend(column.of.scales().map(|k| from + k));
            from += column.parameters();
        }
        all
    }

    /// The parameters of the distribution that each column has by itself in `rows`, in model units, each with its place
    /// among all parameters; columns whose distribution has no such parameters are left out.
    pub fn marginals(&self, rows: &Rows) -> Vec<(usize, f32)> {
        let (mut from, mut all) = (0, Vec::new());
        for column in self.columns() {
            let value = |row: &[f32]| column.places.iter().map(|place| row[*place]).collect();
            let own = match column.of.indicators {
                0 => column.of.value.marginal(&mut rows.iter().map(value)),
                _ => None,
            };
            all.extend((from..).zip(own.into_iter().flatten()));
            from += column.parameters();
        }
        all
    }

    /// The greatest factor that a distribution wants on the initial weights that compute its parameters.
    pub fn initial_gain(&self) -> f64 {
        self.groups.iter().map(|group| group.of.initial_gain()).fold(0.0, f64::max)
    }

    /// Rows in model units, `[n, width]`, with their values in the order.
    ///
    /// # Errors
    /// [`Error::Shape`] if rows have another width.
    pub fn ordered(&self, x: Dual<2>) -> Result<Dual<2>> {
        rows_of(x.dims(), self.places.len())?;
        Ok(select(x, &self.places))
    }

    /// Values in the order, `[n, width]`, as a network reads them.
    pub fn seen(&self, x: &Dual<2>) -> Dual<2> {
        let n = x.dims()[0];
        let each = self.groups.iter().map(|group| {
            let values = part(x, &group.values, group.columns);
            group.of.seen(values).reshape([n, group.values.len()])
        });
        side_by_side(each.collect())
    }

    /// log p of each column, `[n, columns]`, for values in the order, `[n, width]`, and all parameters,
    /// `[n, parameters]`.
    pub fn log_prob(&self, x: &Dual<2>, parameters: &Dual<2>) -> Dual<2> {
        let each = self.groups.iter().map(|group| {
            let values = part(x, &group.values, group.columns);
            group.of.log_prob(values, part(parameters, &group.parameters, group.columns))
        });
        side_by_side(each.collect())
    }

    /// log p of whole rows, `[n · draws, 1]`, for values in the order, `[n, width]`, and parameters of several draws
    /// for each row, those of a row below each other, `[n · draws, parameters]`.
    pub fn log_prob_by_draws(&self, x: Tensor<2>, parameters: Tensor<2>) -> Tensor<2> {
        if let [group] = &self.groups[..]
            && group.of.indicators == 0
            && let Some(sum) = group.of.value.log_prob_by_draws(&x, &parameters)
        {
            return sum;
        }
        let ([n, width], [all, _]) = (x.dims(), parameters.dims());
        let draws = all / n.max(1);
        let x = match draws {
            1 => x,
            _ => x.reshape([n, 1, width]).expand([n, draws, width]).reshape([all, width]),
        };
        self.log_prob(&x.into(), &parameters.into()).value.sum_dim(1)
    }

    /// Draws a row in model units into `row` by all parameters; `random` gives the random numbers of a column.
    pub fn draw(&self, parameters: &[f32], random: impl Fn(usize) -> Random, row: &mut [f32]) {
        let (mut from, mut values) = (0, Vec::new());
        for (j, column) in self.columns().into_iter().enumerate() {
            let count = column.parameters();
            values.clear();
            values.resize(column.places.len(), 0.0);
            column.draw(&parameters[from..from + count], random(j), &mut values);
            column.places.iter().zip(&values).for_each(|(place, value)| row[*place] = *value);
            from += count;
        }
    }
}
