//! What the numbers of a comparison can and cannot say, in plain words.

use super::ComparisonResult;
use crate::density::{Kind, Measure};

impl ComparisonResult {
    /// Paragraphs, each with its heading, on the numbers that this comparison has.
    pub fn words(&self) -> Vec<(&'static str, &'static str)> {
        let mut all = Vec::new();
        all.extend(self.of_log_p());
        let has = |names: &[&str]| self.shown().iter().any(|name| names.contains(name));
        if has(&["Fréchet distance", "kernel distance"]) {
            all.push((
                "Fréchet and kernel distance",
                "The Fréchet distance compares means and covariances alone: samples of one Gaussian with the right \
                 moments reach its floor, however wrong their shape. It is biased upwards by the number of rows, so \
                 that only the floor, of as many rows, says what small is. The kernel distance compares moments up to \
                 the third and is unbiased: near zero, on either side of it, is as good as can be told.",
            ));
        }
        if has(&["precision"]) {
            all.push((
                "Precision and recall",
                "Precision is the share of samples that lie among the real rows, recall the share of real rows that \
                 lie among the samples. A model that repeats a few good rows has precision without recall; one that is \
                 too wide has recall without precision. Neither is 1 for a perfect model: the floor is.",
            ));
        }
        if has(&["1-NN accuracy, real", "W2", "energy distance", "MMD²"]) {
            all.push((
                "Two-sample accuracy, W₂, energy distance, MMD²",
                "The accuracy is that of telling samples from real rows by their nearest neighbour: 0.5 is \
                 indistinguishable, above it they are told apart, and below it they lie nearer to real rows than real \
                 rows do, as copies would. W₂ is the distance that mass has to move, and is never 0 between finite \
                 samples: compare it with its floor. Energy distance and MMD² are unbiased: near 0 is good, and below \
                 0 is noise.",
            ));
        }
        all.push((
            "log p and looks can disagree",
            "log p punishes a model for every real row that it thinks impossible, and hardly notices if a few in a \
             hundred of its samples are wrong. Metrics of samples are the other way round. A model may win by one and \
             lose by the other, and neither is wrong.",
        ));
        all.push((
            "Costs",
            "Seconds and samples a second are of the machine that measured them, as busy as it was. Evaluations of \
             the network are not, but one of a large network costs more than one of a small one. Memory is the peak \
             of the process that trained, with the data in it. The parameters of a kernel estimate are its training \
             rows. One training run of each model is compared: another seed moves every number.",
        ));
        all
    }

    /// The paragraphs on log p; none unless some run has it.
    fn of_log_p(&self) -> Vec<(&'static str, &'static str)> {
        let found: Vec<_> = self.runs.iter().filter_map(|run| run.log_p.as_ref()).collect();
        let Some(first) = found.first() else { return Vec::new() };
        let mut all = vec![match first.measure {
            Measure::Counting => (
                "log p of integers",
                "A row of integers has a probability, and log p is its logarithm; bits per dimension are −log p over \
                 the number of columns and ln 2. A model of real numbers has a density, not a probability: noise is \
                 added to the integers, and what it finds then is a lower bound of their log-probability, looser the \
                 less the noise fits the model.",
            ),
            Measure::Raw | Measure::Standardised => (
                "A density is not a probability",
                "log p is the logarithm of a density in the units of the data: it may be above 0, and another unit of \
                 a column adds a constant to all. Only differences between models of the same rows in the same units \
                 mean something; they are in nats a row.",
            ),
        }];
        if !self.differences.is_empty() {
            all.push((
                "Paired differences",
                "The error beside each log p is mostly the spread of the rows, which all models share. The difference \
                 of two models row by row has a far smaller one, and is what ranks them: beyond three of its errors, \
                 chance in the choice of rows does not explain it.",
            ));
        }
        if found.iter().any(|p| p.kind != Kind::Exact) {
            all.push((
                "Exact values, bounds and estimates",
                "An exact value is the model's log p. A lower bound may lie below the model's log p by a gap that is \
                 not known: a model whose bound is above another's exact value is better on these rows, but one whose \
                 bound is below may be better all the same. Two bounds do not rank models by less than their gaps. An \
                 estimate may lie on either side.",
            ));
        }
        if found.iter().any(|p| p.divergence.is_some()) {
            all.push((
                "KL(data ‖ model)",
                "The true density is known here. The mean difference of its log p and the model's is the \
                 Kullback–Leibler divergence: at least 0 in expectation, and 0 for the right model alone.",
            ));
        }
        all
    }
}
