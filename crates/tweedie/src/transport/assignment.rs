//! The exact linear assignment problem: n rows, m ≥ n columns, a cost for every pair; assign each row its own column at
//! the least total cost. With uniform weights and n = m this is optimal transport between two samples, since the
//! extreme points of the doubly stochastic matrices are the permutations.
//!
//! The linear programme and its dual:
//!
//! min Σᵢ c(i, π(i)) over injective π  =  max Σᵢ uᵢ + Σⱼ vⱼ subject to uᵢ + vⱼ ≤ c(i, j), and vⱼ ≤ 0 if n < m.
//!
//! A partial assignment π and prices v are kept such that every assigned row finds its own column the cheapest in
//! c(i, j) − vⱼ, and free columns have vⱼ = 0 if n < m. Once all rows are assigned, both sides are equal: π is
//! optimal.
//!
//! 1. Row reduction: a free row takes its cheapest column and lowers the price of it until the second cheapest is
//!    as cheap; the row it displaces is free again.
//! 2. If many rows are still free (and n = m): cooling. Row reduction from the start with an allowance ε that shrinks
//!    from stage to stage, which is Bertsekas's auction with ε-scaling. Of its result only the prices are kept, which
//!    make the searches below short. Then column reduction: vⱼ = minᵢ c(i, j) − uᵢ, a column going to the row that
//!    attains the minimum if that row is free; then 1 again.
//! 3. Augmentation: Dijkstra's algorithm over the columns, in reduced costs, from each row still free.
//!
//! 1, column reduction and 3: R. Jonker and A. Volgenant, "A shortest augmenting path algorithm for dense and sparse
//! linear assignment problems", Computing 38 (1987) 325–340; the rectangular case after D. F. Crouse, "On implementing
//! 2D rectangular assignment algorithms", IEEE Trans. Aerosp. Electron. Syst. 52 (2016) 1679–1696. Cooling: D. P.
//! Bertsekas, "The auction algorithm: a distributed relaxation method for the assignment problem", Ann. Oper. Res. 14
//! (1988) 105–123.

use crate::{Error, Result};

/// No row, or no column, in the tables of owners.
const FREE: usize = usize::MAX;

/// The number of displacements per row that one row reduction may make. It bounds the work for any ties and rounding;
/// rows still free go to the next step.
const DISPLACEMENTS: usize = 20;

/// Cooling begins if more than one row in `FEW` is free after the first row reduction.
const FEW: usize = 8;

/// The ratio of the spread of the costs to the allowance of the first cooling stage.
const WARMEST: f64 = 8.0;

/// The ratio per row of the spread of the costs to the smallest allowance of the last cooling stage.
const COLDEST: f64 = 32.0;

/// The factor by which the allowance falls from stage to stage.
const COOLING: f64 = 5.0;

/// The largest magnitude of a cost; larger ones could overflow when summed along a path.
const LARGEST: f64 = 1e290;

/// An assignment of least cost, with the dual prices that prove it.
///
/// ```
/// use tweedie::transport::assignment::assign;
/// let best = assign(&[4.0, 1.0, 3.0, 2.0, 0.0, 5.0, 3.0, 2.0, 2.0], 3, 3)?;
/// assert_eq!(best.columns, [1, 0, 2]);
/// assert_eq!(best.cost, 5.0);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// The column given to each row; no two are equal.
    pub columns: Vec<usize>,
    /// The total cost, summed in the order of the rows.
    pub cost: f64,
    /// The dual variable uᵢ of each row, in the units of the cost.
    pub row_prices: Vec<f64>,
    /// The dual variable vⱼ of each column: uᵢ + vⱼ ≤ c(i, j) up to rounding, with equality on the assignment.
    pub column_prices: Vec<f64>,
}

/// Assigns each of `rows` rows to its own column of the `rows × columns` matrix `cost` (row-major) at the least
/// total cost. Among equally cheap assignments the one returned depends on the matrix alone.
///
/// # Errors
/// [`Error::Shape`] if `cost` does not hold `rows × columns` values, or there are more rows than columns (transpose
/// the matrix then); [`Error::Config`] naming the row and column of a cost that is not finite or is beyond ±1e290.
pub fn assign(cost: &[f64], rows: usize, columns: usize) -> Result<Assignment> {
    check(cost, rows, columns)?;
    let mut search = Search {
        cost,
        columns,
        column_of: vec![FREE; rows],
        row_of: vec![FREE; columns],
        price: vec![0.0; columns],
    };
    search.reduce_rows(0.0);
    // Cooling leaves a price on columns that may stay free, which n < m does not allow.
    if rows == columns && search.free_rows().len() > rows / FEW {
        search.cool();
        search.reduce_columns();
        search.reduce_rows(0.0);
    }
    search.augment();
    Ok(search.finish())
}

fn check(cost: &[f64], rows: usize, columns: usize) -> Result<()> {
    let what = "assignment costs";
    if rows.checked_mul(columns) != Some(cost.len()) {
        return Err(Error::shape(what, cost.len(), format!("{rows} × {columns}")));
    }
    if rows > columns {
        let found = format!("{rows} rows and {columns} columns");
        return Err(Error::shape(what, found, "at most as many rows as columns"));
    }
    match cost.iter().position(|c| c.is_nan() || c.abs() > LARGEST) {
        None => Ok(()),
        Some(at) => {
            let (row, column) = (at / columns, at % columns);
            let problem = format!("{} at row {row}, column {column}", cost[at]);
            Err(Error::config(what, problem, format!("values within ±{LARGEST:e}")))
        }
    }
}

/// A partial assignment and its column prices.
struct Search<'a> {
    cost: &'a [f64],
    columns: usize,
    /// The column of each row, or [`FREE`].
    column_of: Vec<usize>,
    /// The row of each column, or [`FREE`].
    row_of: Vec<usize>,
    /// The prices v.
    price: Vec<f64>,
}

impl<'a> Search<'a> {
    fn row(&self, i: usize) -> &'a [f64] {
        &self.cost[i * self.columns..(i + 1) * self.columns]
    }

    fn free_rows(&self) -> Vec<usize> {
        (0..self.column_of.len()).filter(|&i| self.column_of[i] == FREE).collect()
    }

    fn give(&mut self, row: usize, column: usize) {
        self.column_of[row] = column;
        self.row_of[column] = row;
    }

    /// Frees every row and column; the prices stay.
    fn free_all(&mut self) {
        self.column_of.fill(FREE);
        self.row_of.fill(FREE);
    }

    /// Sets prices by auctions with a shrinking allowance; all rows and columns are free afterwards.
    fn cool(&mut self) {
        let most = self.cost.iter().fold(f64::NEG_INFINITY, |a, &b| if a < b { b } else { a });
        let least = smallest(self.cost);
        let mut allowance = (most - least) / WARMEST;
        self.free_all();
        while allowance * COLDEST * self.columns as f64 > most - least {
            self.reduce_rows(allowance);
            self.free_all();
            allowance /= COOLING;
        }
    }

    /// Column reduction: raises each price to the most at which no row prefers the column to its cheapest one.
    fn reduce_columns(&mut self) {
        let rows = self.cost.chunks_exact(self.columns);
        let row_prices: Vec<f64> =
            rows.clone().map(|row| two_cheapest(row, &self.price).1).collect();
        let mut cheapest = vec![0; self.columns];
        self.price.fill(f64::INFINITY);
        for ((i, row), row_price) in rows.enumerate().zip(row_prices) {
            for ((price, at), c) in self.price.iter_mut().zip(&mut cheapest).zip(row) {
                let reduced = c - row_price;
                *at = if reduced < *price { i } else { *at };
                *price = smaller(reduced, *price);
            }
        }
        for (column, &row) in cheapest.iter().enumerate() {
            if self.column_of[row] == FREE {
                self.give(row, column);
            }
        }
    }

    /// Row reduction. With a positive `allowance` each bid lowers a price by `allowance` more than needed, so that rows
    /// may end up to `allowance` above their cheapest column.
    fn reduce_rows(&mut self, allowance: f64) {
        let mut budget = DISPLACEMENTS * self.column_of.len();
        let mut waiting = self.free_rows();
        while let Some(row) = waiting.pop() {
            let (cheapest, least, second) = two_cheapest(self.row(row), &self.price);
            let lowered = self.price[cheapest] - (second - least) - allowance;
            let owner = self.row_of[cheapest];
            if owner != FREE {
                // A tie, or a gap lost in rounding, displaces no row: the two rows could swap for ever.
                if lowered >= self.price[cheapest] {
                    if let Some(column) = self.free_column(row, least) {
                        self.give(row, column);
                    }
                    continue;
                }
                if budget == 0 {
                    continue;
                }
                budget -= 1;
                self.column_of[owner] = FREE;
                waiting.push(owner);
            }
            // The only column of a one-column matrix has no second cheapest column.
            if lowered.is_finite() {
                self.price[cheapest] = smaller(lowered, self.price[cheapest]);
            }
            self.give(row, cheapest);
        }
    }

    /// A column without an owner whose reduced cost to `row` is `least`.
    fn free_column(&self, row: usize, least: f64) -> Option<usize> {
        let reduced = |j: usize| self.row(row)[j] - self.price[j];
        (0..self.columns).find(|&j| self.row_of[j] == FREE && reduced(j) == least)
    }

    /// Gives each row still free a column by a shortest alternating path.
    fn augment(&mut self) {
        let mut paths = Paths::new(self.columns);
        for row in self.free_rows() {
            let mut column = self.shortest_path(row, &mut paths);
            while column != FREE {
                let owner = paths.from[column];
                let next = self.column_of[owner];
                self.give(owner, column);
                column = next;
            }
        }
    }

    /// Searches the cheapest alternating path from the free `row`, lowers the prices so that each row on it finds
    /// its next column the cheapest, and returns the free column at its end.
    fn shortest_path(&mut self, row: usize, paths: &mut Paths) -> usize {
        paths.distance.fill(f64::INFINITY);
        paths.closed.clear();
        let (mut from, mut offset) = (row, 0.0);
        loop {
            let least = paths.relax(self.row(from), &self.price, from, offset);
            let column = paths.nearest(least, &self.row_of);
            if self.row_of[column] == FREE {
                for &(closed, distance, price) in &paths.closed {
                    self.price[closed] = price + (distance - least);
                }
                return column;
            }
            from = self.row_of[column];
            offset = least - (self.row(from)[column] - self.price[column]);
            paths.closed.push((column, least, self.price[column]));
            paths.distance[column] = f64::INFINITY;
            // An infinite reduced cost: no later row reaches this column again.
            self.price[column] = f64::NEG_INFINITY;
        }
    }

    fn finish(self) -> Assignment {
        let paid = |i: usize| self.row(i)[self.column_of[i]];
        let rows = 0..self.column_of.len();
        Assignment {
            cost: rows.clone().map(paid).sum(),
            row_prices: rows.map(|i| paid(i) - self.price[self.column_of[i]]).collect(),
            columns: self.column_of,
            column_prices: self.price,
        }
    }
}

/// The number of columns compared side by side, in vector registers.
const LANES: usize = 8;

/// The number of columns that share one entry of [`Paths::least`], so that the search for a minimum visits few places.
const BLOCK: usize = 64;

/// The state of a search for a shortest path, allocated once for all searches.
struct Paths {
    /// The length of the cheapest path found to each column; infinite once the column is closed.
    distance: Vec<f64>,
    /// The last row on the cheapest path.
    from: Vec<usize>,
    /// The closed columns: column, length of the path to it, price before the search.
    closed: Vec<(usize, f64, f64)>,
    /// The least distance in each block of columns.
    least: Vec<f64>,
}

impl Paths {
    fn new(columns: usize) -> Self {
        Self {
            distance: vec![0.0; columns],
            from: vec![0; columns],
            closed: Vec::new(),
            least: vec![0.0; columns.div_ceil(BLOCK)],
        }
    }

    /// Extends the paths by the row `from`, reached at `offset`, to every open column; returns the least distance.
    fn relax(&mut self, cost: &[f64], price: &[f64], from: usize, offset: f64) -> f64 {
        let columns = self.distance.chunks_mut(BLOCK).zip(self.from.chunks_mut(BLOCK));
        let inputs = cost.chunks(BLOCK).zip(price.chunks(BLOCK));
        for (((distance, last), (cost, price)), least) in columns.zip(inputs).zip(&mut self.least) {
            let inputs = cost.iter().zip(price);
            for ((distance, last), (c, v)) in distance.iter_mut().zip(last).zip(inputs) {
                let reached = c - v + offset;
                *last = if reached < *distance { from } else { *last };
                *distance = smaller(reached, *distance);
            }
            *least = smallest(distance);
        }
        smallest(&self.least)
    }

    /// The first column at the distance `least`, preferably one without an owner.
    fn nearest(&self, least: f64, row_of: &[usize]) -> usize {
        let mut ties = (0..self.least.len())
            .filter(|&b| self.least[b] == least)
            .flat_map(|b| b * BLOCK..self.distance.len().min((b + 1) * BLOCK))
            .filter(|&j| self.distance[j] == least);
        let first = ties.next().unwrap_or(0);
        let free = std::iter::once(first).chain(ties).find(|&j| row_of[j] == FREE);
        free.unwrap_or(first)
    }
}

/// The cheapest and the second cheapest column in each of [`LANES`] interleaved sets of columns.
struct Cheapest {
    first: [f64; LANES],
    second: [f64; LANES],
    /// The chunk of columns that contains the cheapest.
    at: [usize; LANES],
}

impl Cheapest {
    #[inline(always)]
    fn compare(&mut self, chunk: usize, cost: &[f64; LANES], price: &[f64; LANES]) {
        let Self { first, second, at } = self;
        for l in 0..LANES {
            let reduced = cost[l] - price[l];
            let larger = if reduced < first[l] { first[l] } else { reduced };
            second[l] = smaller(larger, second[l]);
            at[l] = if reduced < first[l] { chunk } else { at[l] };
            first[l] = smaller(reduced, first[l]);
        }
    }
}

/// The first cheapest column of a row, its reduced cost, and the least reduced cost among the other columns.
fn two_cheapest(cost: &[f64], price: &[f64]) -> (usize, f64, f64) {
    let mut found =
        Cheapest { first: [f64::INFINITY; LANES], second: [f64::INFINITY; LANES], at: [0; LANES] };
    let (costs, cost_rest) = cost.as_chunks();
    let (prices, price_rest) = price.as_chunks();
    for (chunk, (cost, price)) in costs.iter().zip(prices).enumerate() {
        found.compare(chunk, cost, price);
    }
    let (mut last_cost, mut last_price) = ([f64::INFINITY; LANES], [0.0; LANES]);
    last_cost[..cost_rest.len()].copy_from_slice(cost_rest);
    last_price[..price_rest.len()].copy_from_slice(price_rest);
    found.compare(costs.len(), &last_cost, &last_price);

    let Cheapest { first, second, at } = found;
    let best = (1..LANES)
        .fold(0, |best, l| if (first[l], at[l]) < (first[best], at[best]) { l } else { best });
    let others = (0..LANES).filter(|&l| l != best).map(|l| first[l]);
    let runner_up = others.fold(smallest(&second), smaller);
    (at[best] * LANES + best, first[best], runner_up)
}

/// The minimum of `values`, none of which may be NaN; infinite for an empty slice.
fn smallest(values: &[f64]) -> f64 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f64::INFINITY; LANES];
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = smaller(value, *lane);
        }
    }
    lanes.iter().chain(rest).copied().fold(f64::INFINITY, smaller)
}

/// The minimum of two numbers, neither of which may be NaN: one instruction.
fn smaller(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

#[cfg(test)]
mod tests;
