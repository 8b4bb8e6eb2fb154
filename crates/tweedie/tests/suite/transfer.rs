//! Denoisers moved between schedules: one path on one grid of log-SNRs, whichever schedule it runs on.

use crate::dual::randomised;
use crate::oracle::{COSINE, EDM, OU, VP, gap, host, normals, run, three_components};
use crate::support::{cpu, schedule};
use std::sync::Arc;
use tweedie::data::{Condition, Generate};
use tweedie::denoise::{Denoiser, GaussianMixture, NeuralDenoiser, Prediction, Transfer};
use tweedie::nn::ResidualMlpConfig;
use tweedie::process::{AnySchedule, Cosine, Edm, Level, Levels, Schedule};
use tweedie::solve::{AnySolver, Sampler};
use tweedie::tensor::Dual;
use tweedie::{Draws, Error};

/// The oracle as a model that knows one schedule only: it takes a level's time, and α and σ from its own schedule.
struct Trained {
    data: GaussianMixture,
    schedule: AnySchedule,
}

impl Denoiser for Trained {
    fn denoise(
        &self,
        x: Dual<2>,
        levels: &Levels,
        condition: &Condition,
    ) -> tweedie::Result<Dual<2>> {
        let own = match levels {
            Levels::All(level) => Levels::All(self.schedule.level(level.t)),
            Levels::Rows(rows) => {
                Levels::Rows(rows.iter().map(|level| self.schedule.level(level.t)).collect())
            }
            Levels::Tracked { .. } => return Err(Error::undefined("this", "of a test")),
        };
        self.data.denoise(x, &own, condition)
    }
    fn width(&self) -> usize {
        self.data.width()
    }
    fn evaluations(&self) -> u64 {
        self.data.evaluations()
    }
}

/// Levels of a schedule at given log-SNRs.
fn at(schedule: &dyn Schedule, log_snrs: &[f64]) -> Vec<Level> {
    log_snrs.iter().map(|lambda| schedule.level(schedule.time(*lambda))).collect()
}

#[test]
fn solvers_take_one_path_under_all_schedules() {
    let log_snrs: Vec<f64> = (0..=20).map(|k| -7.0 + 0.7 * f64::from(k)).collect();
    let home = at(&VP, &log_snrs);
    let start = normals(64, 2, home[0].sigma, 5);
    let trained = || Trained { data: three_components(), schedule: VP };
    for name in ["ddim", "dpm++2m"] {
        let solver = AnySolver::parse(name).unwrap();
        let end = host(&run(&*solver, &trained(), &VP, start.clone(), &home));
        let plain = run(&*solver, &three_components(), &VP, start.clone(), &home);
        assert!(gap(&end, &host(&plain)) < 1e-12);
        for other in [COSINE, EDM, OU, schedule("ve"), schedule("sub-vp"), schedule("straight")] {
            let away = at(&other, &log_snrs);
            let moved = Transfer::new(trained(), Arc::new(VP));
            let scaled = start.clone().mul_scalar(away[0].alpha / home[0].alpha);
            let x = run(&*solver, &moved, &other, scaled.clone(), &away);
            let back = home[20].alpha / away[20].alpha;
            let far = gap(&host(&x.mul_scalar(back)), &end);
            assert!(far < 1e-10, "{name} on {other:?}: {far:e}");
            // Unmoved, the model mistakes both time and scale.
            let lost = run(&*solver, &trained(), &other, scaled, &away).mul_scalar(back);
            let lost = gap(&host(&lost), &end);
            assert!(lost.is_nan() || lost > 1e-2, "{name} on {other:?}: {lost:e} without the move");
        }
    }
}

/// At ends of one log-SNR the priors of two schedules are multiples of each other too, so whole samplers agree.
#[test]
fn samplers_give_the_same_samples_under_both_schedules() {
    let ends = [VP.range().1, VP.range().0].map(|t| VP.level(t));
    let [sigma_max, sigma_min] = ends.map(|level| level.sigma / level.alpha);
    let edm = Edm { sigma_min, sigma_max };
    let trained = || Trained { data: three_components(), schedule: VP };
    let sampler = |denoiser: Arc<dyn Denoiser>, schedule: Arc<dyn Schedule>| {
        let sampler = Sampler::new(denoiser, schedule).with_steps(20);
        host(&sampler.generate(0..50, &Condition::None, &Draws::new(4), &cpu()).unwrap())
    };
    let home = sampler(Arc::new(trained()), Arc::new(VP));
    let away = sampler(Arc::new(Transfer::new(trained(), Arc::new(VP))), Arc::new(edm));
    let far = gap(&home, &away);
    assert!(far < 1e-4, "{far:e}"); // in single precision, after noise of σ = 150
}

#[test]
fn each_row_is_moved_by_its_own_level() {
    let moved = Transfer::new(Trained { data: three_components(), schedule: VP }, Arc::new(VP));
    let levels = at(&EDM, &[-6.0, 0.3, 5.0]);
    let x = normals(3, 2, 2.0, 8);
    let all = moved.denoise(x.clone().into(), &Levels::Rows(levels.clone()), &Condition::None);
    let all = host(&all.unwrap().value);
    for (i, level) in levels.iter().enumerate() {
        let row = x.clone().narrow(0, i, 1);
        let alone = moved.denoise(row.clone().into(), &(*level).into(), &Condition::None).unwrap();
        assert!(gap(&host(&alone.value), &all[2 * i..2 * i + 2]) < 1e-14);
        // The oracle itself needs no move.
        let oracle = three_components().denoise(row.into(), &(*level).into(), &Condition::None);
        assert!(gap(&host(&oracle.unwrap().value), &all[2 * i..2 * i + 2]) < 1e-11);
    }
    // Beyond the log-SNRs of its training a model says nothing.
    let beyond = moved.denoise(x.into(), &EDM.level(1e4).into(), &Condition::None);
    assert!(matches!(beyond, Err(Error::Config { .. })));
}

/// Networks see x over its standard deviation and the log-SNR, so those of noise, data or F need no move, and agree
/// with the moved one; one of v or of the score is a statement about its own schedule's α and σ.
#[test]
fn networks_move_as_their_predictions_say() {
    let vp = Cosine { lambda_min: -10.0, lambda_max: 10.0, side: 64.0 };
    let level = EDM.level(0.7);
    let x = normals(5, 2, 1.3, 9).cast(tweedie::burn::tensor::DType::F32);
    for (prediction, same) in [
        (Prediction::Noise, true),
        (Prediction::Data, true),
        (Prediction::Edm, true),
        (Prediction::V, false),
        (Prediction::Score, false),
    ] {
        let config = ResidualMlpConfig::new(2).with_hidden(16);
        let network = randomised(config.init(&Draws::new(2), &cpu()), 0.4);
        let model = NeuralDenoiser::new(network, prediction, vp);
        let direct = model.denoise(x.clone().into(), &level.into(), &Condition::None).unwrap();
        let moved = Transfer::new(model, Arc::new(vp));
        let moved = moved.denoise(x.clone().into(), &level.into(), &Condition::None).unwrap();
        let far = gap(&host(&direct.value), &host(&moved.value));
        assert_eq!(far < 1e-5, same, "{prediction:?}: {far}");
    }
}
