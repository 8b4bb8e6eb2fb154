//! The picture of the errors of deterministic solvers against network evaluations.

use super::Pictures;
use crate::data::{Layout, Rows};
use crate::draw::{Work, error_by_work, label_of};
use crate::solve::{AnyGrid, AnySolver, DormandPrince, Sampler, Tolerance};
use crate::tensor::median;
use crate::{Draws, Result};
use image::RgbImage;

/// The solvers, each with its evaluations per step.
const SOLVERS: [(&str, usize); 5] =
    [("ddim", 1), ("heun", 2), ("dpm++2m", 1), ("deis", 1), ("unipc", 1)];
/// The numbers of evaluations for each solver.
const WORK: [usize; 6] = [4, 8, 16, 32, 64, 128];
/// The number of samples: of images, and of other rows.
const IMAGES: u64 = 12;
const ROWS: u64 = 128;
/// The tolerance of the exact path.
const EXACT: f64 = 1e-6;

impl Pictures<'_> {
    pub(super) fn solvers(&self) -> Result<RgbImage> {
        let image = matches!(self.model.space.layout(), Layout::Image { .. });
        let rows = if image { IMAGES } else { ROWS };
        // The grid of a discrete chain would start at another level for each number of steps.
        let sampler = match self.model.recipe.sampling.grid {
            grid if grid.is_of_chain() => self.sampler.clone().with_grid(AnyGrid::default()),
            _ => self.sampler.clone(),
        };
        let tolerance = Tolerance { atol: EXACT, rtol: EXACT };
        let exact = AnySolver::DormandPrince(DormandPrince { tolerance });
        let (exact, _) = self.ends(&sampler.clone().with_solver(exact), rows)?;
        let mut lines: Vec<Work> = Vec::new();
        for (name, each) in SOLVERS {
            let solver = AnySolver::parse(name)?;
            let mut points = Vec::new();
            for work in WORK {
                let steps = (work / each).max(2);
                let sampler = sampler.clone().with_solver(solver).with_steps(steps);
                let (ends, evaluations) = self.ends(&sampler, rows)?;
                points.push((evaluations, median_distance(&ends, &exact)));
            }
            lines.push((name.to_string(), points));
        }
        error_by_work(&lines, rows as usize)
    }

    /// The ends of `rows` samples' paths in model units, and the evaluations per row.
    fn ends(&self, sampler: &Sampler, rows: u64) -> Result<(Rows, f64)> {
        let space = &self.model.space;
        let condition = space.condition((0..rows).map(|row| label_of(space, row)).collect())?;
        let draws = Draws::new(self.at.seed).purpose("sample");
        let before = sampler.evaluations();
        let x = sampler.generate_observed(0..rows, &condition, &draws, self.at.device, |_| {})?;
        let evaluations = (sampler.evaluations() - before) as f64 / rows as f64;
        Ok((Rows::from_tensor(&x)?, evaluations))
    }
}

/// The median over rows of the root mean square difference between `a` and `b`.
fn median_distance(a: &Rows, b: &Rows) -> f64 {
    let distance = |(a, b): (&[f32], &[f32])| {
        let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        (sum / a.len() as f64).sqrt()
    };
    median(a.iter().zip(b.iter()).map(distance).collect())
}
