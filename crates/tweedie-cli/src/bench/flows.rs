//! Training steps of flows, by the layers of their recipes, on rows of ten columns.

use super::measure::timed;
use super::networks::draws;
use super::train::{WARM_UP, finished};
use super::{Benchmark, Workload};
use tweedie::burn::module::Module;
use tweedie::burn::tensor::{Device, Tensor};
use tweedie::data::{Condition, LogDensity};
use tweedie::family::flow;
use tweedie::nn::flow::{Flow, FlowConfig};
use tweedie::nn::param_count;
use tweedie::run::{Recipe, shipped};
use tweedie::train::{AdamW, AdamWConfig};
use tweedie::{Error, Result};

/// The recipes.
const RECIPES: [&str; 2] = ["maf", "spline"];
/// Rows of a step, and their columns.
const ROWS: u64 = 512;
const COLUMNS: usize = 10;

/// A training step of each flow.
pub fn benchmarks() -> Vec<Benchmark> {
    let of = |recipe: &'static str| Benchmark {
        name: format!("{recipe}.{COLUMNS}.{ROWS}.train"),
        make: Box::new(move |device| training(recipe, device)),
        export: None,
    };
    RECIPES.map(of).into()
}

/// The layers of a shipped recipe, for rows of ten columns.
fn layers(recipe: &str) -> Result<FlowConfig> {
    let (_, text) = shipped::find(recipe)?;
    let recipe = Recipe::parse(&text, &[])?;
    let flow = recipe.plan.any().downcast_ref::<flow::Flow>();
    let flow = flow.ok_or_else(|| Error::config("family", recipe.plan.family(), "flow"))?;
    Ok(FlowConfig { width: COLUMNS, ..flow.flow.clone() })
}

/// A flow being trained on one batch of normal numbers.
struct Trainer {
    flow: Flow,
    x: Tensor<2>,
    adamw: AdamW,
}

impl Trainer {
    /// −log p, backward, AdamW; returns the loss in nats a row.
    fn step(&mut self) -> Result<f64> {
        let log_p = self.flow.log_density(self.x.clone().into(), &Condition::None)?.value;
        let loss = log_p.mean().neg();
        let backward = loss.backward();
        let gradients = AdamW::gradients(&self.flow, &backward);
        drop(backward);
        let (flow, _) = self.adamw.step(self.flow.clone(), &gradients, 1.0, 1e-3, None)?;
        self.flow = flow;
        Ok(f64::from(loss.into_scalar::<f32>()))
    }
}

fn training(recipe: &str, device: &Device) -> Result<Workload> {
    let flow = layers(recipe)?.init(&draws(recipe), device)?;
    let parameters = param_count(&flow) as f64;
    let x = draws("x").normals(0..ROWS, COLUMNS).to_tensor(device).autodiff();
    let adamw = AdamW::new(AdamWConfig { clip: 0.0, ..AdamWConfig::default() });
    let mut trainer = Trainer { flow: flow.train(), x, adamw };
    let losses = (0..WARM_UP).map(|_| trainer.step()).collect::<Result<Vec<f64>>>()?;
    let device = device.clone();
    Ok(Workload {
        work: Box::new(move || timed(|| trainer.step().and_then(|_| finished(&device)))),
        flops: None,
        facts: vec![
            ("parameters", parameters),
            ("first_loss", losses[0]),
            ("last_warm_up_loss", losses[WARM_UP - 1]),
        ],
    })
}
