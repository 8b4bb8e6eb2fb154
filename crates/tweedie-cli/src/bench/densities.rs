//! Models with an exact density: flows on rows of ten columns, autoregressive models on pictures of zeros and ones.

use super::measure::timed;
use super::networks::draws;
use super::train::{WARM_UP, finished};
use super::{Benchmark, Workload};
use tweedie::burn::module::Module;
use tweedie::burn::tensor::{Device, Tensor};
use tweedie::data::{Batch, Condition, Coordinate, Generate, Kind, Layout, LogDensity, Space};
use tweedie::family::flow;
use tweedie::nn::autoregressive::{
    AnyColumnNetworkConfig, Autoregressive, AutoregressiveConfig, MaskedNetworkConfig,
    PixelCnnConfig,
};
use tweedie::nn::flow::{Flow, FlowConfig, Take};
use tweedie::nn::param_count;
use tweedie::run::{Recipe, shipped};
use tweedie::train::{AdamW, AdamWConfig, gradients_in_blocks};
use tweedie::{Error, Result};

/// Flows by their recipes, with the number of layers of each kind in a benchmark.
const FLOWS: [(&str, usize); 3] = [("maf", 5), ("spline", 5), ("cnf", 1)];
/// The columns of a flow's data, the batch size of a training step, and the rows of a log-density or a sample.
const COLUMNS: usize = 10;
const BATCH: u64 = 512;
const ROWS: u64 = 2000;
/// The height and the width of a picture.
const SIDE: usize = 28;

/// A training step, the density and a sample of each model.
pub fn benchmarks() -> Vec<Benchmark> {
    let mut all = Vec::new();
    for (recipe, depth) in FLOWS {
        let name = format!("{recipe}.{COLUMNS}");
        all.extend(of(&name, [BATCH, ROWS], normals, move |device| flow(recipe, depth, device)));
    }
    let made = || MaskedNetworkConfig { hidden: vec![8000], direct: false, ..Default::default() };
    all.extend(of("made-8000", [64, 16], binary, move |device| pictures(made().into(), device)));
    let pixelcnn = PixelCnnConfig::default;
    all.extend(of("pixelcnn", [32, 16], binary, move |device| pictures(pixelcnn().into(), device)));
    all
}

/// Rows of normal numbers.
fn normals(n: u64, device: &Device) -> Tensor<2> {
    draws("x").normals(0..n, COLUMNS).to_tensor(device)
}

/// Pictures of zeros and ones in model units, each pixel with probability ½.
pub fn binary(n: u64, device: &Device) -> Tensor<2> {
    draws("x").normals(0..n, SIDE * SIDE).to_tensor(device).sign()
}

/// The flow of a shipped recipe with `depth` layers of each kind, for rows of ten columns.
fn flow(recipe: &str, depth: usize, device: &Device) -> Result<Flow> {
    let (_, text) = shipped::find(recipe)?;
    let parsed = Recipe::parse(&text, &[])?;
    let flow = parsed.plan.any().downcast_ref::<flow::Flow>();
    let flow = flow.ok_or_else(|| Error::config("family", parsed.plan.family(), "flow"))?;
    FlowConfig { width: COLUMNS, depth, ..flow.flow.clone() }.init(&draws(recipe), device)
}

/// An autoregressive model of pictures of zeros and ones.
fn pictures(network: AnyColumnNetworkConfig, device: &Device) -> Result<Autoregressive> {
    let config = AutoregressiveConfig { network, ..AutoregressiveConfig::default() };
    config.init(&binary_space()?, &draws("network"), device)
}

/// The space of pictures of zeros and ones.
pub fn binary_space() -> Result<Space> {
    let kind = Kind::Quantised { low: Some(0), high: Some(1) };
    let pixel = |i| Coordinate {
        kind: kind.clone(),
        shift: 0.5,
        scale: 0.5,
        ..Coordinate::real(format!("pixel {i}"))
    };
    let layout = Layout::Image { channels: 1, height: SIDE, width: SIDE };
    Space::new(layout, (0..SIDE * SIDE).map(pixel).collect())
}

/// A model that can be trained on one batch.
pub trait Trained: Module + Sync + 'static {
    /// The gradients of `share` times the mean of −log p over a batch, or of its bound, and that mean in nats.
    fn loss(&self, x: Tensor<2>, share: f64, take: Take) -> Result<f64>;
}

impl Trained for Flow {
    fn loss(&self, x: Tensor<2>, share: f64, take: Take) -> Result<f64> {
        Ok(-self.descend(x, &Condition::None, share, &draws("probes"), take)?.0)
    }
}

impl Trained for Autoregressive {
    fn loss(&self, x: Tensor<2>, share: f64, take: Take) -> Result<f64> {
        let loss = self.log_density(x.into(), &Condition::None)?.value.mean().neg();
        take(&loss.clone().mul_scalar(share).backward(), 1.0);
        Ok(f64::from(loss.into_scalar::<f32>()))
    }
}

/// A model being trained.
struct Trainer<M> {
    model: M,
    x: Tensor<2>,
    adamw: AdamW,
}

impl<M: Trained> Trainer<M> {
    /// −log p, backward, AdamW; returns the loss in nats a row.
    fn step(&mut self) -> Result<f64> {
        let batch = Batch { x: self.x.clone(), condition: Condition::None };
        let (gradients, losses) = gradients_in_blocks(&self.model, batch, |model, block, take| {
            Ok(block.share * model.loss(block.batch.x, block.share, take)?)
        })?;
        self.model = self.adamw.step(self.model.clone(), &gradients, 1.0, 1e-3, None)?.0;
        Ok(losses.iter().sum())
    }
}

/// A training step on as many rows as the first of `rows`, and the density and a sample of as many as the second.
fn of<M: Trained + LogDensity + Generate>(
    name: &str,
    [batch, rows]: [u64; 2],
    x: fn(u64, &Device) -> Tensor<2>,
    model: impl Fn(&Device) -> Result<M> + Clone + 'static,
) -> Vec<Benchmark> {
    let (trained, given, drawn) = (model.clone(), model.clone(), model);
    let benchmark = |kind: &str, n: u64, make| {
        let name = format!("{name}.{n}.{kind}");
        Benchmark { name, make, export: None }
    };
    let density = move |device: &Device| {
        let (model, x) = (given(device)?, x(rows, device));
        plain(device, move || model.log_density(x.clone().into(), &Condition::None).map(drop))
    };
    let sample = move |device: &Device| {
        let (model, on) = (drawn(device)?, device.clone());
        plain(device, move || {
            model.generate(0..rows, &Condition::None, &draws("sample"), &on).map(drop)
        })
    };
    vec![
        benchmark(
            "train",
            batch,
            Box::new(move |device| training(trained(device)?, x(batch, device), device)),
        ),
        benchmark("log-p", rows, Box::new(density)),
        benchmark("sample", rows, Box::new(sample)),
    ]
}

/// Training steps of a model on one batch.
pub fn training<M: Trained>(model: M, x: Tensor<2>, device: &Device) -> Result<Workload> {
    let parameters = param_count(&model) as f64;
    let adamw = AdamW::new(AdamWConfig { clip: 0.0, ..AdamWConfig::default() });
    let mut trainer = Trainer { model: model.train(), x: x.autodiff(), adamw };
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

/// Work that is done as it is, after a first time.
pub fn plain(device: &Device, mut work: impl FnMut() -> Result<()> + 'static) -> Result<Workload> {
    work()?;
    let device = device.clone();
    let work = move || timed(|| work().and_then(|()| finished(&device)));
    Ok(Workload { work: Box::new(work), flops: None, facts: Vec::new() })
}
