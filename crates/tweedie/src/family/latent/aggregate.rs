//! Metrics of the aggregate posterior, and pictures of it and of what is decoded in its holes.

use super::LatentModel;
use crate::data::{Condition, Dataset, Encoding, Feed, Layout, Rows};
use crate::draw::{Grid, Plot, panels};
use crate::latent::Aggregate;
use crate::metric::judge::Score;
use crate::metric::neighbours::two_sample;
use crate::{Draws, Error, Result};
use burn::tensor::Tensor;
use image::RgbImage;

/// The number of rows of a batch.
const BATCH: usize = 1024;
/// The number of cells of a picture in either direction, and half of its side.
const CELLS: usize = 120;
const SIDE: f64 = 4.0;
/// The number of pictures beside each other.
const COLUMNS: usize = 12;

impl LatentModel {
    /// The aggregate posterior of the training rows.
    fn aggregate(&self, data: &Dataset) -> Result<Aggregate> {
        let feed = Feed::new(data.train.clone(), self.space.clone(), Encoding::Centres, BATCH, 0)?;
        let draws = Draws::new(0).purpose("aggregate");
        let batches = feed.all(&draws, &self.device);
        Aggregate::new(&self.network, batches, &draws)
    }

    /// Metrics of the aggregate posterior of the training rows; none where it has no density.
    pub(super) fn of_aggregate(&self) -> Result<Vec<Score>> {
        if !self.network.is_mean_field() {
            return Ok(Vec::new());
        }
        // Without the data there is no aggregate posterior.
        let Ok(data) = (self.data)() else { return Ok(Vec::new()) };
        let aggregate = self.aggregate(&data)?;
        let draws = Draws::new(0).purpose("prior");
        let found = aggregate.scores(&self.network, &draws)?;
        let rows = found.draws;
        let score = |name: &'static str, value, standard_error, good: &'static str| Score {
            name: name.into(),
            value,
            standard_error,
            rows,
            reference_rows: data.train.len(),
            floor: None,
            good: good.into(),
        };
        let ((information, error), (marginal, of_marginal)) = (found.information, found.marginal);
        let mut all = vec![
            score("information I(x; z)", information, Some(error), "nats"),
            score("KL(q(z) ‖ p(z))", marginal, Some(of_marginal), "near 0 nats"),
            score("prior draws in holes", found.holes, None, "near 0.01"),
        ];
        let prior = aggregate.prior_draws(&self.network, &draws)?;
        // A draw of a row once: a second one of a narrow posterior lies beside the first.
        let once = rows.min(data.train.len());
        let of = |z: Tensor<2>| Rows::from_tensor(&z.narrow(0, 0, once));
        let [real, fake] = [aggregate.draws(), prior].map(of);
        if once > 1 {
            let found = two_sample(&real?, &fake?)?.accuracy;
            let error = Some(found.standard_error);
            let found = score("1-NN accuracy, latent", found.value, error, "near 0.5");
            all.push(Score { rows: once, ..found });
        }
        Ok(all)
    }

    /// The aggregate posterior beside the prior, for two latent dimensions.
    pub(super) fn plane_of_latents(&self, data: &Dataset) -> Result<RgbImage> {
        let what = "a picture of the latent plane";
        if self.network.layers() != [2] {
            return Err(Error::undefined(what, "there are only those of two latent dimensions"));
        }
        let aggregate = self.aggregate(data)?;
        let middle = |cell: usize| SIDE * ((2 * cell + 1) as f64 / CELLS as f64 - 1.0);
        let cells = (0..CELLS * CELLS).flat_map(|at| [middle(at % CELLS), middle(at / CELLS)]);
        let z = Rows::new(cells.map(|v| v as f32).collect(), 2)?.to_tensor(&self.device);
        let of_posterior = aggregate.log_prob(&z)?;
        let of_prior = self.network.log_prior(z)?;
        let plot = |title: &str, log_p: Vec<f64>| {
            let p: Vec<f64> = log_p.iter().map(|log_p| log_p.exp()).collect();
            let plot = Plot::new(title).size(640, 560).x_name("z₁").y_name("z₂").equal_units();
            plot.heat("p", &p, CELLS, (-SIDE, SIDE), (-SIDE, SIDE))
        };
        let left = plot("Posteriors of all training rows", of_posterior)?;
        panels(&[left, plot("Prior", of_prior)?], 2)
    }

    /// Pictures decoded from draws of the prior, those deepest in holes first, and from the aggregate posterior.
    pub(super) fn holes(&self, data: &Dataset, draws: &Draws) -> Result<RgbImage> {
        let what = "a picture of holes";
        let Layout::Image { channels, height, width } = self.space.layout() else {
            return Err(Error::undefined(what, "there are only those of pictures"));
        };
        if !self.classes.is_empty() || self.space.given().is_some() {
            return Err(Error::undefined(what, "each row depends on a condition of its own"));
        }
        let aggregate = self.aggregate(data)?;
        let prior = aggregate.prior_draws(&self.network, &draws.purpose("prior"))?;
        let log_q = aggregate.log_prob(&prior)?;
        let mut order: Vec<usize> = (0..log_q.len()).collect();
        order.sort_by(|a, b| log_q[*a].total_cmp(&log_q[*b]));
        let count = COLUMNS.min(order.len());
        let rows = |numbers: &[usize], of: &Tensor<2>| -> Result<Rows> {
            let z = Rows::from_tensor(of)?.select(numbers).to_tensor(&self.device);
            let numbers: Vec<u64> = (0..numbers.len() as u64).collect();
            let x = self.network.decode(vec![z], &Condition::None, draws, &numbers)?;
            self.space.decode(&Rows::from_tensor(&x)?)
        };
        let mut all = rows(&order[..count], &prior)?;
        let middle = (order.len() - count) / 2;
        all.extend(&rows(&order[middle..middle + count], &prior)?)?;
        let first: Vec<usize> = (0..count).collect();
        all.extend(&rows(&first, &aggregate.draws())?)?;
        let names = ["prior, deepest in holes", "prior, typical", "posteriors of rows"];
        let highest = super::picture::highest(&self.space);
        let grid = Grid::new(&all, [channels, height, width], highest)?.columns(count);
        grid.row_names(&names.map(String::from)).draw()
    }
}
