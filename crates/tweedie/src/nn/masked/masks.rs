//! The masks of a masked network, for an order of its columns and a placement of its degrees.
//!
//! Masks of other orders are those of the first with columns, units and outputs in other places: weights are shared,
//! and in their new places what a unit reads is a prefix again (Germain, Gregor, Murray & Larochelle 2015, *MADE:
//! masked autoencoder for distribution estimation*, secs. 4.2–4.3; Uria, Murray & Larochelle 2014, *A deep and
//! tractable density estimator*).

use super::{MaskedMlpConfig, Units};
use crate::Draws;
use crate::tensor::Dual;
use burn::tensor::Tensor;
use std::sync::Arc;

/// What the units of a network read, layer by layer, each layer in the order of its degrees.
#[derive(Debug, Clone)]
pub(super) struct Masks {
    /// The columns in their order.
    pub columns: Vec<usize>,
    /// The reach of each unit, layer by layer.
    pub reaches: Vec<Arc<[usize]>>,
    /// The degree of each unit, layer by layer; of the outputs, their limits.
    pub degrees: Vec<Vec<usize>>,
    /// The number of first values that each output reads directly.
    pub direct_reach: Arc<[usize]>,
    /// The places of values, units and outputs, if they are others than those in the weights.
    places: Option<Places>,
}

/// The numbers of values, units and outputs in the order of a network's masks.
#[derive(Debug, Clone)]
struct Places {
    columns: Units,
    values: Units,
    /// Layer by layer; last the outputs.
    units: Vec<Units>,
    /// The place of each output.
    outputs: Units,
}

/// The numbers by which a permutation is undone.
fn inverse(of: &[usize]) -> Vec<usize> {
    let mut back = vec![0; of.len()];
    of.iter().enumerate().for_each(|(place, number)| back[*number] = place);
    back
}

impl Masks {
    /// The masks of member `k` of a network: of order k / masks and placement k mod masks, of which the first are those
    /// of the weights.
    pub fn new(config: &MaskedMlpConfig, k: usize) -> Self {
        let (order, placement) = (k / config.masks, k % config.masks);
        let draws = Draws::new(0);
        let columns: Vec<usize> = match order {
            0 => (0..config.columns.len()).collect(),
            _ => draws.purpose("orders").at(order as u64).permutation(config.columns.len()),
        };
        // An output that reads the columns before column l reads those before its place.
        let mut place = inverse(&columns);
        place.push(columns.len());
        let limits: Vec<usize> = config.limits.iter().map(|limit| place[*limit]).collect();
        if k == 0 {
            return Self::in_places(config, columns, limits, None);
        }
        let mut outputs: Vec<usize> = (0..limits.len()).collect();
        outputs.sort_by_key(|output| limits[*output]);
        let sorted = outputs.iter().map(|output| limits[*output]).collect();
        let starts: Vec<usize> =
            (0..columns.len()).map(|j| config.columns[..j].iter().sum()).collect();
        let values = columns.iter().flat_map(|j| starts[*j]..starts[*j] + config.columns[*j]);
        let mut units = Self::units(config, placement, &draws);
        units.push(outputs.clone());
        let places = Places {
            columns: Units::of(columns.clone()),
            values: Units::of(values.collect()),
            units: units.into_iter().map(Units::of).collect(),
            outputs: Units::of(inverse(&outputs)),
        };
        Self::in_places(config, columns, sorted, Some(places))
    }

    /// The numbers of the units of each hidden layer in the order of their degrees.
    fn units(config: &MaskedMlpConfig, placement: usize, draws: &Draws) -> Vec<Vec<usize>> {
        let draws = draws.purpose("masks").at(placement as u64);
        let mut all: Vec<Vec<usize>> = Vec::new();
        for (k, units) in config.hidden.iter().enumerate() {
            // A layer that is added to the next one has the degrees of that.
            let before = all.last().filter(|before| config.residual && before.len() == *units);
            all.push(match (placement, before) {
                (0, _) => (0..*units).collect(),
                (_, Some(before)) => before.clone(),
                _ => draws.at(k as u64).permutation(*units),
            });
        }
        all
    }

    fn in_places(
        config: &MaskedMlpConfig,
        columns: Vec<usize>,
        limits: Vec<usize>,
        places: Option<Places>,
    ) -> Self {
        let (least, count) = config.degrees();
        let hidden = |units: &usize| (0..*units).map(|i| least + i * count / units).collect();
        let mut degrees: Vec<Vec<usize>> = config.hidden.iter().map(hidden).collect();
        let widths = columns.iter().map(|j| config.columns[*j]).enumerate();
        let values: Vec<usize> = widths.flat_map(|(j, width)| vec![j + 1; width]).collect();
        let reach = |of: &[usize], before: &[usize]| -> Arc<[usize]> {
            of.iter().map(|degree| before.partition_point(|of| of <= degree)).collect()
        };
        let direct_reach = reach(&limits, &values);
        degrees.push(limits);
        let mut before = &values;
        let mut reaches = Vec::new();
        for degrees in &degrees {
            reaches.push(reach(degrees, before));
            before = degrees;
        }
        Self { columns, reaches, degrees, direct_reach, places }
    }

    /// The weight of layer `k`, `[units, inputs]`, in the order of the masks.
    pub fn weight(&self, k: usize, weight: Tensor<2>) -> Tensor<2> {
        let Some(places) = &self.places else { return weight };
        let inputs = if k == 0 { &places.values } else { &places.units[k - 1] };
        inputs.select(&places.units[k].select(&weight, 0), 1)
    }

    /// The bias of layer `k`, `[units]`.
    pub fn bias(&self, k: usize, bias: Tensor<1>) -> Tensor<1> {
        let Some(places) = &self.places else { return bias };
        places.units[k].select(&bias.unsqueeze_dim::<2>(1), 0).squeeze_dim::<1>(1)
    }

    /// The weight that leads from values to outputs, `[outputs, values]`.
    pub fn direct(&self, weight: Tensor<2>) -> Tensor<2> {
        let Some(places) = &self.places else { return weight };
        places.values.select(&self.outputs_of(places).select(&weight, 0), 1)
    }

    /// The weight that leads from columns to the first layer, `[units, columns]`.
    pub fn known(&self, weight: Tensor<2>) -> Tensor<2> {
        let Some(places) = &self.places else { return weight };
        places.columns.select(&places.units[0].select(&weight, 0), 1)
    }

    /// Rows of values, `[n, values]`.
    pub fn values(&self, x: Dual<2>) -> Dual<2> {
        let Some(places) = &self.places else { return x };
        places.values.columns(&x)
    }

    /// Features of the first layer, `[n, units]`.
    pub fn features(&self, x: Dual<2>) -> Dual<2> {
        let Some(places) = &self.places else { return x };
        places.units[0].columns(&x)
    }

    /// Outputs, `[n, outputs]`, from the order of the masks in their own order.
    pub fn outputs(&self, y: Dual<2>) -> Dual<2> {
        let Some(places) = &self.places else { return y };
        places.outputs.columns(&y)
    }

    fn outputs_of<'a>(&self, places: &'a Places) -> &'a Units {
        &places.units[self.degrees.len() - 1]
    }
}
