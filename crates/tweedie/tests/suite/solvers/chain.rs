//! Whole samplers on a chain against diffusers' DDPM and DDIM, with a model and noise that both sides compute; see
//! `bench/chain_peer.py`.

use crate::chain::{betas, chain};
use crate::oracle::{doubles, gap, gaussian, host, run};
use crate::support::{all_close, within};
use serde::Deserialize;
use std::sync::Arc;
use tweedie::data::{Condition, Rows};
use tweedie::denoise::{Denoiser, Prediction};
use tweedie::process::{AnySchedule, Betas, Level, Levels, Schedule};
use tweedie::solve::grid::{AnyGrid, Leading, Linspace, Trailing};
use tweedie::solve::{Ancestral, AnySolver, Clip, Ddim, Last, Noise, Sampler, Solver, Variance};
use tweedie::tensor::Dual;
use tweedie::{Draws, Result};

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
    grid: AnyGrid,
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

#[test]
fn the_smaller_variance_is_ddim_s_with_all_its_noise_and_the_larger_is_beta() {
    let (schedule, data) = (chain(Betas::SquaredCos, 200, false), gaussian(0.3, 0.5));
    let x = doubles(&[-1.0, 0.2, 1.5, 0.0], 1);
    for grid in [
        AnyGrid::Leading(Leading { offset: 1, open: false }),
        AnyGrid::Trailing(Trailing),
        AnyGrid::Linspace(Linspace { open: false }),
    ] {
        let levels = grid.levels(&schedule, 40).unwrap();
        let end = |solver: &dyn Solver| host(&run(solver, &data, &schedule, x.clone(), &levels));
        let small = end(&Ancestral::default());
        assert!(gap(&small, &end(&Ddim { eta: 1.0 })) < 1e-12, "{grid:?}");
        let large = Ancestral { variance: Variance::Large };
        assert!(gap(&small, &end(&large)) > 1e-3, "{grid:?}");
        // One step from x and x + noise alike: the difference is the noise's factor.
        let (t, s) = (schedule.level(100.0), schedule.level(99.0));
        let step = |solver: &dyn Solver| host(&run(solver, &data, &schedule, x.clone(), &[t, s]));
        let (small, large) = (step(&Ancestral::default()), step(&large));
        let noise = Draws::new(3).at(0).normals(0..4, 1);
        let beta = betas(&Betas::SquaredCos, 200)[100];
        for i in 0..4 {
            let factor = beta.sqrt() - (t.posterior(&s).variance).sqrt();
            within("β", large[i] - small[i], factor * f64::from(noise.row(i)[0]), 1e-9);
        }
        // To clean data neither adds noise.
        let clean = [t, Level::clean(-1.0)];
        let step = |variance: Variance| {
            host(&run(&Ancestral { variance }, &data, &schedule, x.clone(), &clean))
        };
        assert_eq!(step(Variance::Large), step(Variance::Small));
    }
}

#[test]
fn clipping_keeps_nan_and_holds_each_row() {
    let x = doubles(&[0.1, -3.0, 2.0, 0.5, f64::NAN, 0.2, 0.3, 0.1, 0.1, -0.2, 0.3, 0.0], 4);
    let held = host(&Clip::Range(1.5).apply(x.clone()));
    assert_eq!((held[1], held[2], held[3]), (-1.5, 1.5, 0.5));
    assert!(held[4].is_nan());
    // The first row's absolute values 0.1, 0.5, 2, 3 have the quantile 0.5 + 0.25 · 1.5 at 5/12; the last row's is held
    // at 1.
    let held = host(&Clip::Dynamic { ratio: 5.0 / 12.0, max: 10.0 }.apply(x));
    all_close("held", &held[..4], &[0.1, -1.0, 1.0, 0.5], 1e-12);
    assert!(held[4].is_nan());
    all_close("held", &held[8..], &[0.1, -0.2, 0.3, 0.0], 1e-12);
    let two = doubles(&[1.0, -4.0, 2.0, 3.0], 4);
    let held = host(&Clip::Dynamic { ratio: 0.5, max: 10.0 }.apply(two.clone()));
    all_close("held", &held, &[0.4, -1.0, 0.8, 1.0], 1e-12);
    let held = host(&Clip::Dynamic { ratio: 0.5, max: 2.0 }.apply(two));
    all_close("held", &held, &[0.5, -1.0, 1.0, 1.0], 1e-12);
}
