//! A masked network on rows whose columns come one after the other.

use super::{Arranged, Units};
use crate::nn::layers::project;
use crate::tensor::Dual;
use burn::tensor::Tensor;

/// A masked network on rows whose columns come one after the other: every unit is computed once.
#[derive(Debug)]
pub struct Sequence<'a> {
    of: Arranged<'a>,
    /// Features of the first layer, in the order of the masks.
    features: Option<Dual<2>>,
    /// The layers as one operation, while nothing is recorded or has a tangent.
    fused: Option<tweedie_ops::Sequence>,
    /// Without that, the known columns, then the known units of each hidden layer, in parts by degree.
    layers: Vec<Vec<Dual<2>>>,
    known: usize,
    rows: usize,
}

/// The known parts of a layer side by side; none before the first.
fn whole(parts: &mut Vec<Dual<2>>) -> Option<Dual<2>> {
    if parts.len() > 1 {
        let all = Dual::cat(std::mem::take(parts), 1);
        parts.push(all);
    }
    parts.first().cloned()
}

impl<'a> Sequence<'a> {
    pub(super) fn new(of: Arranged<'a>, features: Option<Dual<2>>, rows: usize) -> Self {
        let features = features.map(|features| of.masks.features(features));
        let layers = vec![Vec::new(); of.layers.len()];
        let fused = match &features {
            Some(features) if features.tangent.is_some() => None,
            _ => {
                let layers = of.layers.iter().map(|of| (of.weight.clone(), of.bias.clone()));
                let direct = of.direct.as_ref().map(|direct| direct.weight.clone());
                let features = features.as_ref().map(|features| features.value.clone());
                tweedie_ops::Sequence::new(rows, layers.collect(), direct, features)
            }
        };
        Self { of, features, fused, layers, known: 0, rows }
    }

    /// Adds the next column, `[n, its number of values]`.
    pub fn push(&mut self, column: Dual<2>) {
        self.known += 1;
        if let Some(fused) = &mut self.fused {
            if column.tangent.is_none() && fused.push(column.value.clone()) {
                return;
            }
            for (k, parts) in self.layers.iter_mut().enumerate() {
                let known = fused.known(k);
                if known.dims()[1] > 0 {
                    parts.push(known.into());
                }
            }
            self.fused = None;
        }
        self.layers[0].push(column);
    }

    /// The outputs whose limit is the number of known columns, `[n, their number]`, in their order.
    pub fn outputs(&mut self) -> Dual<2> {
        let (last, masks) = (self.of.layers.len() - 1, self.of.masks);
        for k in 0..last {
            let degrees = &masks.degrees[k];
            let from = degrees.partition_point(|degree| *degree < self.known);
            let units = from..degrees.partition_point(|degree| *degree <= self.known);
            if units.is_empty() {
                continue;
            }
            let adds = self.of.adds(k);
            if let Some(fused) = &mut self.fused {
                let units: Vec<usize> = units.collect();
                fused.hidden(k, &units, self.of.activation.fused(), adds);
                continue;
            }
            // The part of the same units in the layer before, which came in this pass.
            let before = adds.then(|| self.layers[k].last().cloned()).flatten();
            let h = self.units(k, Units::Range(units));
            let h = self.of.activation.forward(h);
            let h = if let Some(before) = before { h + before } else { h };
            self.layers[k + 1].push(h);
        }
        let outputs = &masks.degrees[last];
        let wanted: Vec<usize> = (0..outputs.len()).filter(|o| outputs[*o] == self.known).collect();
        if let Some(fused) = &self.fused {
            return fused.outputs(&wanted).into();
        }
        let units = Units::of(wanted);
        let y = self.units(last, units.clone());
        match (&self.of.direct, whole(&mut self.layers[0])) {
            (Some(direct), Some(columns)) => {
                let weight = units.rows(&direct.weight);
                let reach = columns.dims()[1];
                y + project(columns, weight.narrow(1, 0, reach), None)
            }
            _ => y,
        }
    }

    /// Units of layer `k` before their activation, from what is known of the layer before.
    fn units(&mut self, k: usize, units: Units) -> Dual<2> {
        let linear = &self.of.layers[k];
        let bias = linear.bias.as_ref();
        let bias = bias.map(|b| units.rows(&b.clone().unsqueeze_dim::<2>(1)).squeeze_dim::<1>(1));
        let weight = units.rows(&linear.weight);
        let count = weight.dims()[0];
        let z = match (whole(&mut self.layers[k]), bias) {
            (Some(input), bias) => {
                let reach = input.dims()[1];
                project(input, weight.narrow(1, 0, reach), bias)
            }
            (None, Some(bias)) => bias.unsqueeze_dim::<2>(0).expand([self.rows, count]).into(),
            (None, None) => {
                let kind = (&weight.device(), weight.dtype());
                Tensor::<2>::zeros([self.rows, count], kind).into()
            }
        };
        match self.features.as_ref().filter(|_| k == 0) {
            Some(features) => z + units.columns(features),
            None => z,
        }
    }
}
