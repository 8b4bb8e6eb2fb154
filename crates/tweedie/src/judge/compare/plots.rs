//! The plots of a comparison: each metric against network evaluations, or another swept key.

use super::tables::score;
use super::{ComparisonResult, Point, STEPS};
use crate::draw::Plot;
use toml::Value;

/// A metric whose values differ by more than this factor is plotted on a logarithmic axis.
const WIDE: f64 = 10.0;

/// The ratio of places of runs that stand side by side.
const APART: f64 = 1.12;

impl ComparisonResult {
    /// The points of each run, in the order of the runs.
    pub fn by_run(&self) -> Vec<&[Point]> {
        self.points.chunk_by(|a, b| a.run == b.run).collect()
    }

    /// The plots of each metric against evaluations, with a line for each run and for the floors; empty if samples need
    /// no evaluations.
    pub fn plots(&self) -> Vec<(&'static str, Plot)> {
        if self.points.iter().all(|point| point.evaluations <= 1.0) {
            return Vec::new();
        }
        self.shown().into_iter().map(|name| (name, self.plot(name))).collect()
    }

    /// The position of a point of the run number `run` on the horizontal axis: its evaluations, or its value of the
    /// swept key if that is not `steps`. Runs that need one evaluation or none stand side by side at the left.
    fn place(&self, run: usize, point: &Point) -> Option<f64> {
        match &point.value {
            _ if self.key == STEPS && point.evaluations > 1.0 => Some(point.evaluations),
            _ if self.key == STEPS => Some(APART.powi(run as i32 - self.runs.len() as i32)),
            Some(Value::Integer(value)) => Some(*value as f64),
            Some(Value::Float(value)) => Some(*value),
            _ => None,
        }
    }

    fn plot(&self, name: &str) -> Plot {
        let by_steps = self.key == STEPS;
        let what = if by_steps { "network evaluations a sample" } else { &self.key };
        let mut plot = Plot::new(name).x_name(what).y_name(name);
        if by_steps {
            plot = plot.log_x();
        }
        let values = self.points.iter().filter_map(|p| score(p, name)).map(|score| score.value);
        let (least, most) = values.fold((f64::INFINITY, 0.0f64), |(l, m), v| (l.min(v), m.max(v)));
        if least > 0.0 && most > WIDE * least {
            plot = plot.log_y();
        }
        let runs = self.by_run();
        let places = runs.iter().enumerate().flat_map(|(run, points)| {
            points.iter().filter_map(move |point| self.place(run, point))
        });
        let (low, high) = places.fold((f64::INFINITY, 0.0f64), |(l, h), e| (l.min(e), h.max(e)));
        // The floor has the colour of the data in the pictures of samples.
        let floor = self.points.first().and_then(|p| score(p, name)?.floor);
        plot = match floor.filter(|_| low < high) {
            Some(floor) => plot.line(&self.floor, &[(low, floor), (high, floor)]),
            None => plot.line("", &[]),
        };
        for (run, points) in runs.into_iter().enumerate() {
            let marked = points.iter().filter_map(|p| {
                let (score, place) = (score(p, name)?, self.place(run, p)?);
                Some((place, score.value, 2.0 * score.standard_error.unwrap_or(0.0)))
            });
            let label = points.first().map_or("", |p| self.label(&p.run));
            plot = plot.line_with_errors(label, &marked.collect::<Vec<_>>());
        }
        plot
    }
}
