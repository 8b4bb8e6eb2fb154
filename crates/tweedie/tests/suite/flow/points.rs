//! Every bijection on ten thousand points of the plane: at zero, at the edges of bins and intervals, and far outside.

use super::contract::{came_back, jacobians};
use super::*;
use crate::support::*;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Gradients, Tensor};
use tweedie::Result;
use tweedie::data::LogDensity;
use tweedie::nn::flow::Bijection;
use tweedie::nn::param_count;

const SIDE: usize = 100;
/// The bound of splines, and their number of bins.
const BOUND: f64 = 5.0;
const BINS: usize = 8;

/// Values of one column: all that is special, and others between.
fn values() -> Vec<f64> {
    let edges = (0..=BINS).map(|k| BOUND * (2.0 * k as f64 / BINS as f64 - 1.0));
    let far = [10.0, 100.0, 1e6].map(|times| times * BOUND);
    let far = far.iter().flat_map(|v| [*v, -*v]);
    // Neighbours of the bound on either side in single precision, and the reach of networks.
    let near = [BOUND - 4e-7, BOUND + 5e-7, 10.0].into_iter().flat_map(|v| [v, -v]);
    let mut values: Vec<f64> = edges.chain(far).chain(near).chain([1e-30, -1e-30]).collect();
    let rest = SIDE - values.len();
    values.extend((0..rest).map(|k| 1.3 * BOUND * (2.0 * (k as f64 + 0.5) / rest as f64 - 1.0)));
    values
}

/// All pairs of the values of two columns, `[SIDE², 2]`.
fn plane() -> Tensor<2> {
    let values = values();
    let pairs = values.iter().flat_map(|a| values.iter().flat_map(move |b| [*a, *b]));
    doubles(&pairs.collect::<Vec<f64>>(), 2)
}

/// The names of parameters with gradients that are not finite, and the number of parameters with gradients.
struct Faults<'a> {
    gradients: &'a Gradients,
    faults: usize,
    seen: usize,
}

impl ModuleVisitor for Faults<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            let values = gradient.reshape([1, -1]);
            self.seen += 1;
            self.faults += usize::from(!host::<2>(&values).iter().all(|v| v.is_finite()));
        }
    }
}

/// Round trips, and finite gradients of log p by the rows and by the weights, with the flow's initial weights, whose
/// bins are equal, and with random ones.
#[test]
fn ten_thousand_points_come_back_with_finite_gradients() -> Result<()> {
    let exact = plane();
    for sd in [0.0, 0.3] {
        for (what, flow) in flows(2, Given::Nothing, sd) {
            let wide = double(&flow);
            let none = Condition::None;
            let (z, log_det) = wide.to_noise(exact.clone().into(), &none)?;
            let (back, opposite) = wide.to_data(z.value.clone().into(), &none)?;
            let (right, conditions) = jacobians(|x| Ok(wide.to_noise(x, &none)?.0), &exact)?;
            let rounding = bar(&what, 1e-11);
            came_back(&what, [&exact, &z.value, &back.value], &conditions, rounding);
            let both = host(&log_det.value).into_iter().zip(host(&opposite.value));
            for (i, ((found, opposite), right)) in both.zip(right).enumerate() {
                within(format!("{what}, log-determinant {i}"), found, right, bar(&what, 1e-9));
                within(format!("{what}, both ways {i}"), found, -opposite, bar(&what, 1e-9));
            }
            let x = exact.clone().cast(DType::F32);
            let (z, _) = flow.to_noise(x.clone().into(), &none)?;
            let (back, _) = flow.to_data(z.value.clone().into(), &none)?;
            came_back(&what, [&x, &z.value, &back.value], &conditions, bar(&what, 1e-5));
            let (log_p, score) = flow.with_score(x.clone(), &none)?;
            assert!(host(&log_p).iter().chain(&host(&score)).all(|v| v.is_finite()), "{what}");
            if param_count(&flow) == 0 {
                continue;
            }
            let tracked = flow.train();
            let gradients = tracked.log_density(x.autodiff().into(), &none)?.value.sum().backward();
            let mut faults = Faults { gradients: &gradients, faults: 0, seen: 0 };
            tracked.visit(&mut faults);
            assert!(faults.faults == 0 && faults.seen > 0, "{what}: by the weights");
        }
    }
    Ok(())
}
