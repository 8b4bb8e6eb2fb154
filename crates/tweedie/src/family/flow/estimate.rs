//! log p of a flow whose log-determinants are estimated by random vectors.

use crate::data::{Condition, LogDensity};
use crate::density::{Density, Kind, LogProb, Measure, check_batch};
use crate::nn::flow::Flow;
use crate::tensor::{host_column, mean_and_error};
use crate::{Draws, Result};
use burn::tensor::Tensor;

/// Unbiased estimates of a flow's log p: the mean over `probes` random vectors of each row, with its standard error.
pub(super) struct FlowEstimate<'a> {
    /// The flow, in model units.
    pub flow: &'a Flow,
    /// The number of random vectors of a row.
    pub probes: usize,
    /// The random vectors' source.
    pub draws: Draws,
}

impl Density for FlowEstimate<'_> {
    fn log_prob(&self, x: Tensor<2>, condition: &Condition) -> Result<LogProb> {
        check_batch(self.flow.width(), &x, condition)?;
        let found = self.flow.log_p_estimates(x, condition, self.probes, &self.draws)?;
        let all = host_column(&found.reshape([-1, 1]))?;
        let (value, errors) = all.chunks(self.probes).map(mean_and_error).unzip();
        Ok(LogProb {
            value,
            kind: Kind::Estimate,
            standard_error: (self.probes > 1).then_some(errors),
            measure: Measure::Standardised,
        })
    }
}
