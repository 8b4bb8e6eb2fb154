//! Whole samplers on a chain against diffusers' DDPM and DDIM, with a model and noise that both sides compute; see
//! `bench/chain_peer.py`.

use crate::oracle::{doubles, gap, host};
use serde::Deserialize;
use std::sync::Arc;
use tweedie::Result;
use tweedie::data::Rows;
use tweedie::denoise::{Condition, Denoiser, Prediction};
use tweedie::nn::Dual;
use tweedie::process::{AnySchedule, Levels};
use tweedie::solve::{AnySolver, Clip, Grid, Last, Noise, Sampler};

#[derive(Deserialize)]
struct Fixture {
    starts: Vec<[f64; 6]>,
    a: [f64; 6],
    b: [f64; 6],
    ends: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    schedule: AnySchedule,
    grid: Grid,
    clip: Option<Clip>,
    prediction: Prediction,
    solver: AnySolver,
    steps: usize,
    last: Last,
    ends: Vec<[f64; 6]>,
}

/// tanh(a x + b t/1000), read as some prediction.
struct Analytic {
    a: [f64; 6],
    b: [f64; 6],
    prediction: Prediction,
    schedule: AnySchedule,
}

impl Denoiser for Analytic {
    fn denoise(&self, x: Dual<2>, levels: &Levels, _: &Condition) -> Result<Dual<2>> {
        let t = levels.t(&x.value)?.mul_scalar(1e-3);
        let output = (x.value.clone() * doubles(&self.a, 6) + t * doubles(&self.b, 6)).tanh();
        self.prediction.convert_batch(
            Prediction::Data,
            output.into(),
            x,
            levels,
            &self.schedule,
            1.0,
        )
    }
    fn width(&self) -> usize {
        6
    }
    fn evaluations(&self) -> u64 {
        0
    }
}

/// Uniform numbers of unit variance from a linear congruential generator.
struct Congruential;

impl Noise for Congruential {
    fn normals(&self, step: u64, rows: &[u64], width: usize) -> Rows {
        let at = |row: u64, column: u64| {
            let mut state = 1000 * step + 100 * row + column + 1;
            (0..3).for_each(|_| state = (1_103_515_245 * state + 12_345) % (1 << 31));
            3f64.sqrt() * (2.0 * (state as f64 + 0.5) / f64::from(1u32 << 31) - 1.0)
        };
        let values = rows.iter().flat_map(|&row| (0..width as u64).map(move |j| at(row, j) as f32));
        Rows::new(values.collect(), width).unwrap()
    }
}

#[test]
fn samplers_end_where_diffusers_do() {
    let fixture: Fixture = serde_json::from_str(include_str!("../../fixtures/chain.json")).unwrap();
    let (start, rows) = (doubles(&fixture.starts.concat(), 6), [0, 1]);
    let (a, b) = (fixture.a, fixture.b);
    assert!(fixture.ends.len() > 100);
    for case in fixture.ends {
        let what = format!(
            "{:?} {:?} {:?} {:?} {:?} {} steps, {:?}",
            case.solver,
            case.schedule,
            case.grid,
            case.clip,
            case.prediction,
            case.steps,
            case.last
        );
        let schedule = case.schedule.clone();
        let model = Analytic { a, b, prediction: case.prediction, schedule: schedule.clone() };
        let sampler = Sampler::new(Arc::new(model), Arc::new(schedule))
            .with_solver(case.solver)
            .with_grid(case.grid)
            .with_steps(case.steps)
            .with_last(case.last)
            .with_clip(case.clip);
        let end =
            sampler.generate_with(start.clone(), &rows, &Condition::None, &Congruential, |_| {});
        let (end, expected) = (host(&end.unwrap()), case.ends.concat());
        let size = expected.iter().fold(1.0f64, |size, v| size.max(v.abs()));
        let error = gap(&end, &expected) / size;
        println!("{error:e} {what}");
        assert!(error < 1e-9, "{what}: {error:e}");
    }
}
