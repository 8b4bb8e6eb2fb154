//! Rows that go through a model, or a step of training, in blocks on any number of threads.

use crate::dual::randomised;
use crate::support::{all_close, cpu, host};
use serde_json::json;
use std::ops::Range;
use tweedie::burn::module::Module;
use tweedie::burn::tensor::Tensor;
use tweedie::data::{Batch, Condition, Coordinate, Generate, Kind, Layout, LogDensity, Space};
use tweedie::nn::autoregressive::{Autoregressive, AutoregressiveConfig};
use tweedie::nn::flow::{Flow, FlowConfig};
use tweedie::train::{AdamW, gradients_in_blocks};
use tweedie::{Draws, Error, Result};

const CLASSES: usize = 3;
const WIDTH: usize = 5;
/// More than the blocks of three threads hold.
const ROWS: u64 = 300;

fn labels(rows: Range<u64>) -> Condition {
    Condition::Class(rows.map(|i| Some((i % CLASSES as u64) as u32)).collect())
}

fn flow() -> Result<Flow> {
    let layers = json!([
        { "name": "masked", "hidden": [24], "map": "affine" },
        { "name": "permutation" },
        { "name": "coupling", "map": "spline" },
    ]);
    let config = FlowConfig::new(WIDTH).with_classes(CLASSES).with_depth(2);
    let layers = serde_json::from_value(layers).expect("layers");
    Ok(randomised(FlowConfig { layers, ..config }.init(&Draws::new(1), &cpu())?, 0.1))
}

fn pictures() -> Result<Autoregressive> {
    let kind = Kind::Quantised { low: Some(0), high: Some(3) };
    let pixel = |i| Coordinate { kind: kind.clone(), ..Coordinate::real(format!("{i}")) };
    let layout = Layout::Image { channels: 1, height: 3, width: 3 };
    let space = Space::new(layout, (0..9).map(pixel).collect())?;
    let space = space.with_classes((0..CLASSES).map(|k| k.to_string()).collect());
    let network = json!({ "name": "pixelcnn", "channels": 8, "layers": 2, "hidden": 8 });
    let config = json!({ "network": network });
    let config: AutoregressiveConfig = serde_json::from_value(config).expect("a configuration");
    Ok(randomised(config.init(&space, &Draws::new(1), &cpu())?, 0.1))
}

fn on_threads<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

/// A sample of rows, and log p of other rows.
fn results<M: Generate + LogDensity + Sync>(model: &M, x: &Tensor<2>) -> Result<Vec<f64>> {
    let draws = Draws::new(2);
    let sample = model.generate(0..ROWS, &labels(0..ROWS), &draws, &cpu())?;
    let log_p = model.log_density(x.clone().into(), &labels(0..ROWS))?.value;
    Ok([host(&sample), host(&log_p)].concat())
}

fn same_on_any_threads<M: Generate + LogDensity + Sync>(model: &M, x: &Tensor<2>) -> Result<()> {
    let one = on_threads(1, || results(model, x))?;
    assert!(one.iter().all(|v| v.is_finite()));
    for threads in [2, 3] {
        assert_eq!(on_threads(threads, || results(model, x))?, one, "{threads} threads");
    }
    Ok(())
}

#[test]
fn results_do_not_depend_on_blocks() -> Result<()> {
    let x = Draws::new(3).normals(0..ROWS, WIDTH).to_tensor(&cpu());
    same_on_any_threads(&flow()?, &x)?;
    same_on_any_threads(&pictures()?, &Draws::new(3).normals(0..ROWS, 9).to_tensor(&cpu()).sign())
}

#[test]
fn a_condition_of_another_number_of_rows_is_refused() -> Result<()> {
    let refused = |found: Result<()>| assert!(matches!(found, Err(Error::Shape { .. })));
    let (flow, pictures, draws) = (flow()?, pictures()?, Draws::new(2));
    let few = labels(0..ROWS - 1);
    let x = Draws::new(3).normals(0..ROWS, WIDTH).to_tensor(&cpu());
    on_threads(2, || {
        refused(flow.log_density(x.into(), &few).map(drop));
        refused(flow.generate(0..ROWS, &few, &draws, &cpu()).map(drop));
        refused(pictures.generate(0..ROWS, &few, &draws, &cpu()).map(drop));
    });
    Ok(())
}

/// The gradients of a batch in blocks are those of the batch at once, and the same bytes on any number of threads.
#[test]
fn gradients_of_blocks_add_up() -> Result<()> {
    const BATCH: u64 = 700;
    let flow = flow()?.train();
    let x = Draws::new(3).normals(0..BATCH, WIDTH).to_tensor(&cpu()).autodiff();
    let batch = Batch { x: x.clone(), condition: labels(0..BATCH) };
    let in_blocks = || {
        gradients_in_blocks(&flow, batch.clone(), |flow, block, take| {
            let Batch { x, condition } = block.batch;
            let rows = x.dims()[0];
            let mean = flow.log_density(x.into(), &condition)?.value.mean();
            take(&mean.mul_scalar(-1.0).backward(), block.share);
            Ok((block.number, rows, block.share))
        })
    };
    let (one, blocks) = on_threads(1, in_blocks)?;
    assert_eq!(blocks, [(0, 350, 0.5), (1, 350, 0.5)]);
    let whole = flow.log_density(x.into(), &batch.condition)?.value.mean().neg().backward();
    let whole = AdamW::gradients(&flow, &whole);
    assert!(one.len() > 10 && one.keys().eq(whole.keys()));
    for (path, gradient) in &whole {
        all_close(path, &host(&one[path]), &host(gradient), 1e-5);
    }
    for threads in [2, 3] {
        let (found, _) = on_threads(threads, in_blocks)?;
        assert!(found.iter().all(|(path, gradient)| host(gradient) == host(&one[path])));
    }
    // The error of the first block that has one.
    let failing = gradients_in_blocks(&flow, batch, |_, block, _| match block.number {
        0 => Ok(()),
        _ => Err(Error::Diverged { what: "this one".into(), step: block.number }),
    });
    assert!(matches!(failing, Err(Error::Diverged { step: 1, .. })));
    Ok(())
}
