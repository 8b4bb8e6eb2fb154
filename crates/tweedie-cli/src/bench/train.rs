//! Training steps, forward passes and sampling of the networks.

use super::measure::timed;
use super::networks::{Mlp, Model, PlainUNet, Problem, draws};
use super::{Benchmark, Workload, attention};
use std::path::Path;
use std::sync::Arc;
use tweedie::burn::tensor::{Device, Tensor, TensorData};
use tweedie::data::Condition;
use tweedie::denoise::{Clock, NeuralDenoiser, Prediction};
use tweedie::nn::{Params, collect_params, param_count, save_safetensors};
use tweedie::process::VpLinear;
use tweedie::solve::{AnySolver, Ddim, Sampler};
use tweedie::train::{AdamW, AdamWConfig, Ema};
use tweedie::{Error, Result};

/// Executions of the warm-up.
pub const WARM_UP: usize = 3;

/// Samples and steps of `unet.sample`.
const SAMPLES: usize = 64;
const STEPS: usize = 10;

/// The benchmarks of each network.
pub fn benchmarks() -> Vec<Benchmark> {
    let mut all = Vec::new();
    for hidden in [128, 256] {
        for rows in [256, 1024] {
            let problem = move |device: &Device| Ok(Mlp::problem(hidden, rows, device));
            all.extend(steps(&format!("mlp.3-{hidden}x4-2.{rows}"), true, problem));
        }
    }
    all.extend(steps("unet", true, |device| Ok(PlainUNet::problem(64, device))));
    all.push(sampling());
    all.extend(steps("unet-attention", false, |device| attention::unet(32, device)));
    all.extend(steps("transformer", false, |device| attention::transformer(64, device)));
    all
}

/// A training step, with an average of the weights if `ema`, and a forward pass.
fn steps<M: Model>(
    name: &str,
    ema: bool,
    problem: impl Fn(&Device) -> Result<Problem<M>> + Clone + 'static,
) -> Vec<Benchmark> {
    let train = |name: String, ema: bool| {
        let (made, exported) = (problem.clone(), problem.clone());
        Benchmark {
            name,
            make: Box::new(move |device| training(made(device)?, ema, device)),
            export: Some(Box::new(move |device, path| export(&exported(device)?, path))),
        }
    };
    let forward = problem.clone();
    let mut all = vec![train(format!("{name}.train"), false)];
    if ema {
        all.push(Benchmark { export: None, ..train(format!("{name}.train-ema"), true) });
    }
    all.push(Benchmark {
        name: format!("{name}.forward"),
        make: Box::new(move |device| inference(forward(device)?, device)),
        export: None,
    });
    all
}

/// A network being trained.
struct Trainer<M> {
    model: M,
    x: Tensor<2>,
    features: Tensor<2>,
    y: Tensor<2>,
    adamw: AdamW,
    ema: Option<Ema>,
}

impl<M: Model> Trainer<M> {
    fn new(problem: Problem<M>, ema: bool) -> Self {
        let Problem { model, x, features, y, .. } = problem;
        let ema = ema.then(|| Ema::new(&model, 0.999));
        // The gradient's norm is computed all the same; without clipping, weights and losses equal those of Adam.
        let adamw = AdamW::new(AdamWConfig { clip: 0.0, ..AdamWConfig::default() });
        let (x, features, y) = (x.autodiff(), features.autodiff(), y.autodiff());
        Self { model: model.train(), x, features, y, adamw, ema }
    }

    /// Forward, mean squared loss, backward, AdamW.
    fn step(&mut self) -> Result<f64> {
        let output = self.model.output(self.x.clone().into(), self.features.clone().into())?;
        let loss = (output.value - self.y.clone()).square().mean();
        let backward = loss.backward();
        let gradients = AdamW::gradients(&self.model, &backward);
        drop(backward);
        let (model, _) =
            self.adamw.step(self.model.clone(), &gradients, 1.0, 1e-3, self.ema.as_mut())?;
        self.model = model;
        Ok(f64::from(loss.into_scalar::<f32>()))
    }
}

/// A training step of a tiny network.
pub fn first_use(device: &Device) -> Result<()> {
    Trainer::new(Mlp::problem(1, 1, device), false).step().map(drop)
}

fn training<M: Model>(problem: Problem<M>, ema: bool, device: &Device) -> Result<Workload> {
    let (parameters, flops) = (param_count(&problem.model), 3.0 * problem.flops);
    let mut trainer = Trainer::new(problem, ema);
    let losses = (0..WARM_UP).map(|_| trainer.step()).collect::<Result<Vec<f64>>>()?;
    let device = device.clone();
    Ok(Workload {
        work: Box::new(move || timed(|| trainer.step().and_then(|_| finished(&device)))),
        flops: Some(flops),
        facts: vec![
            ("parameters", parameters as f64),
            ("first_loss", losses[0]),
            ("last_warm_up_loss", losses[WARM_UP - 1]),
        ],
    })
}

fn inference<M: Model>(problem: Problem<M>, device: &Device) -> Result<Workload> {
    let Problem { model, x, features, flops, .. } = problem;
    let device = device.clone();
    let work = move || {
        timed(|| {
            model.output(x.clone().into(), features.clone().into())?;
            finished(&device)
        })
    };
    for _ in 0..WARM_UP {
        work()?;
    }
    Ok(Workload { work: Box::new(work), flops: Some(flops), facts: Vec::new() })
}

/// Waits for a device that computes asynchronously.
pub fn finished(device: &Device) -> Result<()> {
    device.sync().map_err(|e| Error::Device { device: "in use".into(), why: e.to_string() })
}

/// DDIM by the UNet.
struct Sampling {
    sampler: Sampler,
    network: Params,
    start: Tensor<2>,
    flops: f64,
}

impl Sampling {
    fn new(device: &Device) -> Result<Self> {
        let Problem { model, x, flops, .. } = PlainUNet::problem(SAMPLES, device);
        let network = collect_params(&model)?;
        let denoiser = NeuralDenoiser::new(model, Prediction::Noise, VpLinear::default())
            .with_clock(Clock::Index);
        let sampler = Sampler::new(Arc::new(denoiser), Arc::new(VpLinear::default()))
            .with_solver(AnySolver::Ddim(Ddim::default()))
            .with_steps(STEPS);
        Ok(Self { sampler, network, start: x, flops: flops * STEPS as f64 })
    }

    fn run(&self) -> Result<Tensor<2>> {
        let rows: Vec<u64> = (0..SAMPLES as u64).collect();
        let draws = draws("sample");
        self.sampler.generate_from(self.start.clone(), &rows, &Condition::None, &draws, |_| {})
    }
}

fn sampling() -> Benchmark {
    Benchmark {
        name: "unet.sample".into(),
        make: Box::new(|device| {
            let sampling = Sampling::new(device)?;
            let flops = Some(sampling.flops);
            let device = device.clone();
            let work = move || timed(|| sampling.run().and_then(|_| finished(&device)));
            work()?;
            Ok(Workload { work: Box::new(work), flops, facts: Vec::new() })
        }),
        export: Some(Box::new(|device, path| {
            let sampling = Sampling::new(device)?;
            let y = sampling.run()?;
            let schedule = VpLinear::default();
            let levels = sampling.sampler.levels()?;
            let levels: Vec<f32> = levels
                .iter()
                .flat_map(|l| [l.alpha, l.sigma, Clock::Index.read(l.lambda, &schedule)])
                .map(|v| v as f32)
                .collect();
            let mut params = prefixed(sampling.network);
            let shape = [levels.len() / 3, 3];
            params.insert("levels".into(), TensorData::new(levels, shape));
            put(&mut params, "x", &sampling.start);
            put(&mut params, "y", &y);
            save_safetensors(&params, path)
        })),
    }
}

/// Writes the weights and the batch, for a peer.
fn export<M: Model>(problem: &Problem<M>, path: &Path) -> Result<()> {
    let mut params = prefixed(collect_params(&problem.model)?);
    put(&mut params, "x", &problem.x);
    put(&mut params, "features", &problem.features);
    put(&mut params, "y", &problem.y);
    save_safetensors(&params, path)
}

fn prefixed(network: Params) -> Params {
    network.into_iter().map(|(name, array)| (format!("network.{name}"), array)).collect()
}

fn put(params: &mut Params, name: &str, x: &Tensor<2>) {
    params.insert(name.into(), x.to_data());
}
