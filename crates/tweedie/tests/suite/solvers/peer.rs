//! End points of diffusers' schedulers on the same exact denoiser; see `bench/solvers_peer.py`.

use super::known::Known;
use crate::oracle::{VP, doubles, gap, host, run};
use serde::Deserialize;
use tweedie::Draws;
use tweedie::data::Condition;
use tweedie::denoise::GaussianMixture;
use tweedie::process::Level;
use tweedie::solve::{Context, Ddim, DpmSolverPp2M, Solver};

#[derive(Deserialize)]
struct Fixture {
    #[serde(flatten)]
    known: Known,
    dpm_linear: Path,
    dpm_karras: Path,
    dpm_lu: Path,
    ddim: Path,
}

#[derive(Deserialize)]
struct Path {
    levels: Vec<[f64; 2]>,
    ends: Vec<[f64; 2]>,
    #[serde(default)]
    half_eta: Vec<Stochastic>,
}

#[derive(Deserialize)]
struct Stochastic {
    mean: Vec<[f64; 2]>,
    sd: f64,
}

impl Path {
    fn levels(&self) -> Vec<Level> {
        self.levels.iter().map(|&[alpha, sigma]| Level::new(0.0, alpha, sigma)).collect()
    }
}

fn fixture() -> (Fixture, GaussianMixture) {
    let fixture: Fixture =
        serde_json::from_str(include_str!("../../fixtures/solvers.json")).unwrap();
    let mixture = fixture.known.mixture();
    (fixture, mixture)
}

#[test]
fn ends_agree_with_diffusers() {
    let (fixture, mixture) = fixture();
    let start = doubles(&fixture.known.starts.concat(), 2);
    let cases: [(&str, &dyn Solver, &Path); 4] = [
        ("linear", &DpmSolverPp2M::default(), &fixture.dpm_linear),
        ("karras", &DpmSolverPp2M::default(), &fixture.dpm_karras),
        ("lu", &DpmSolverPp2M::default(), &fixture.dpm_lu),
        ("ddim", &Ddim { eta: 0.0 }, &fixture.ddim),
    ];
    for (name, solver, path) in cases {
        // The schedule does not matter: both solvers know levels only.
        let end = host(&run(solver, &mixture, &VP, start.clone(), &path.levels()));
        // They step in single precision; agreement is to 1e-6.
        assert!(gap(&end, &path.ends.concat()) < 1e-5, "{name}");
    }
}

#[test]
fn stochastic_ddim_steps_agree_with_diffusers() {
    let (fixture, mixture) = fixture();
    let start = doubles(&fixture.known.starts.concat(), 2);
    let (draws, rows) = (Draws::new(4), [0, 1, 2, 3, 4, 5]);
    let condition = &Condition::None;
    let context = Context {
        denoiser: &mixture,
        schedule: &VP,
        condition,
        noise: &draws,
        rows: &rows,
        clip: None,
    };
    let noise = host(&context.noise(0, &start));
    let solver = Ddim { eta: 0.5 };
    for (pair, right) in fixture.ddim.levels().windows(2).zip(&fixture.ddim.half_eta) {
        let state = solver.init(start.clone());
        let end = host(&solver.step(state, &pair[0].into(), &pair[1].into(), &context).unwrap().x);
        let moved = right.mean.concat();
        let right: Vec<f64> = moved.iter().zip(&noise).map(|(m, z)| m + right.sd * z).collect();
        assert!(gap(&end, &right) < 1e-5 * (1.0 + pair[1].sigma / pair[0].alpha), "{pair:?}");
    }
}
