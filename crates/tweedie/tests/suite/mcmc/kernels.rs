//! Kernels against the moments that they must preserve and converge to.

use super::*;
use burn::tensor::DType;
use tweedie::Result;
use tweedie::data::Toy;
use tweedie::mcmc::{Funnel, Hmc, Mala, RandomWalk, Ula};

/// A kernel that stays where it is: it keeps every density and finds none.
#[derive(Debug)]
struct Stay(RandomWalk);

impl Transition for Stay {
    fn init(&self, x: Tensor<2>, target: &dyn LogDensity) -> Result<Chains> {
        self.0.init(x, target)
    }

    fn step(&self, chains: Chains, _: &dyn LogDensity, _: &Draws) -> Result<(Chains, Info)> {
        let n = chains.len();
        Ok((chains, Info { accepted: vec![false; n], log_ratio: vec![0.0; n] }))
    }
}

const WALK: RandomWalk = RandomWalk { step_size: 0.9, warm_up: 0, acceptance: 0.234 };
const MALA: Mala = Mala { step_size: 0.35, warm_up: 0, acceptance: 0.574 };
const HMC: Hmc = Hmc { step_size: 0.35, jitter: 0.3, leapfrog: 4, warm_up: 0, acceptance: 0.8 };

/// How far the moments of a Gaussian are from right after `steps` steps from exact draws or from a point far off.
fn deviation(kernel: &dyn Transition, exactly: bool, steps: u64) -> f64 {
    let (target, n) = (gaussian(), 8000);
    let start = match exactly {
        true => exact(&target, n, 1),
        false => doubles(&[4.0, 4.0], 2).expand([n as usize, 2]),
    };
    let chains = kernel.init(start, &target).expect("a start");
    let (chains, _) = walk(kernel, chains, &target, steps, &Draws::new(2));
    gaussian_deviation(chains.values())
}

#[test]
fn metropolis_kernels_keep_the_moments_of_a_gaussian_exactly() {
    for kernel in [&WALK as &dyn Transition, &MALA, &HMC] {
        let found = deviation(kernel, true, 40);
        assert!(found < BAR, "{kernel:?}: {found} standard errors");
    }
    // The same step without the test of Metropolis does not, and the same bar sees it.
    let found = deviation(&Ula { step_size: MALA.step_size }, true, 40);
    assert!(found > 2.0 * BAR, "ULA: {found} standard errors");
}

#[test]
fn metropolis_kernels_find_the_moments_of_a_gaussian_from_a_wrong_start() {
    for (kernel, steps) in [(&WALK as &dyn Transition, 250), (&MALA, 150), (&HMC, 50)] {
        let found = deviation(kernel, false, steps);
        assert!(found < BAR, "{kernel:?}: {found} standard errors");
    }
    // A kernel that does nothing keeps moments but finds none.
    assert!(deviation(&Stay(WALK), true, 5) < BAR);
    assert!(deviation(&Stay(WALK), false, 5) > 100.0 * BAR);
}

#[test]
fn metropolis_kernels_keep_the_funnel_s_first_coordinate() {
    let (target, n) = (Funnel::default(), 20_000);
    let walk_of = RandomWalk { step_size: 0.7, ..WALK };
    let (mala, hmc) = (Mala { step_size: 0.2, ..MALA }, Hmc { step_size: 0.4, ..HMC });
    for kernel in [&walk_of as &dyn Transition, &mala, &hmc] {
        let start = kernel.init(exact(&target, n, 3), &target).expect("a start");
        let before: Vec<f64> = start.values().chunks(10).map(|x| x[0]).collect();
        let (chains, infos) = walk(kernel, start, &target, 30, &Draws::new(4));
        let first: Vec<f64> = chains.values().chunks(10).map(|x| x[0]).collect();
        let mean = first.iter().sum::<f64>() / n as f64;
        let square = first.iter().map(|x| x * x).sum::<f64>() / n as f64;
        within(format!("{kernel:?}: mean"), mean, 0.0, BAR * (9.0 / n as f64).sqrt());
        within(format!("{kernel:?}: square"), square, 9.0, BAR * 9.0 * (2.0 / n as f64).sqrt());
        // It moved.
        let moved = first.iter().zip(&before).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / n as f64;
        let acceptance = infos.iter().map(Info::acceptance).sum::<f64>() / 30.0;
        assert!(moved > 0.5 && (0.2..0.95).contains(&acceptance), "{moved}, {acceptance}");
    }
}

/// A density with jumps: chains stay inside and each square keeps its share.
#[test]
fn chains_never_leave_the_support() {
    let (toy, n) = (Toy::Checkerboard, 8000);
    for kernel in [&WALK as &dyn Transition, &MALA, &HMC] {
        let start = kernel.init(exact(&toy, n, 5), &toy).expect("a start");
        let (chains, _) = walk(kernel, start, &toy, 30, &Draws::new(6));
        let mut counts = [0.0; 16];
        for x in chains.values().chunks(2) {
            assert!(toy.log_density([x[0], x[1]]).is_finite());
            let [a, b] = [x[0], x[1]].map(|x| (x / 2.0 + 2.0).floor() as usize);
            counts[4 * a + b] += 1.0 / n as f64;
        }
        for share in counts.into_iter().filter(|share| *share > 0.0) {
            within("a square's share", share, 0.125, BAR * (0.125f64 * 0.875 / n as f64).sqrt());
        }
    }
    let outside = WALK.init(doubles(&[1.0, 30.0], 2), &toy);
    assert!(outside.unwrap_err().to_string().contains("row 0"));
}

#[test]
fn an_acceptance_ratio_is_that_of_densities_and_proposals() {
    let target = gaussian();
    let start = MALA.init(exact(&target, 50, 7), &target).expect("a start");
    let log_p = |x: &[f64]| -> Vec<f64> {
        let log = LogDensity::log_density(&target, doubles(x, 2).into(), &Condition::None);
        host(&log.unwrap().value)
    };
    let score =
        |x: &[f64]| host(&LogDensity::score(&target, doubles(x, 2), &Condition::None).unwrap());
    let (next, info) = MALA.step(start.clone(), &target, &Draws::new(8)).unwrap();
    let (x, y) = (start.values(), next.values());
    let (s, t, before, after) = (score(x), score(y), log_p(x), log_p(y));
    let eps = MALA.step_size;
    let moved = info.accepted.iter().enumerate().filter(|(_, accepted)| **accepted);
    let mut count = 0;
    for (i, _) in moved {
        let log_q = |to: &[f64], from: &[f64], score: &[f64]| -> f64 {
            let log = |j: usize| -(to[j] - from[j] - eps * score[j]).powi(2) / (4.0 * eps);
            log(2 * i) + log(2 * i + 1)
        };
        let expected = after[i] - before[i] + log_q(x, y, &t) - log_q(y, x, &s);
        within("ln ratio", info.log_ratio[i], expected, 1e-12);
        count += 1;
    }
    assert!(count > 25);
    let kept = next.log_density().expect("MALA keeps it");
    all_close("what is kept", kept, &after, 1e-14);
    all_close("what is kept", next.score().expect("MALA keeps it"), &t, 1e-14);
}

/// A leapfrog step of ε from fresh momenta is a Langevin step of ε²/2, with the same noise and the same test.
#[test]
fn one_leapfrog_step_is_a_metropolised_langevin_step() {
    let target = Funnel { width: 3, scale: 0.7 };
    let hmc = Hmc { step_size: 0.6, jitter: 0.0, leapfrog: 1, ..HMC };
    let mala = Mala { step_size: 0.18, ..MALA };
    let run = |kernel: &dyn Transition| {
        let start = exact(&target, 100, 12).cast(DType::F64);
        let start = kernel.init(start, &target).expect("a start");
        walk(kernel, start, &target, 20, &Draws::new(13))
    };
    let ((a, by_hmc), (b, by_mala)) = (run(&hmc), run(&mala));
    all_close("rows", a.values(), b.values(), 1e-10);
    for (a, b) in by_hmc.iter().zip(&by_mala) {
        assert_eq!(a.accepted, b.accepted);
        all_close("ln ratios", &a.log_ratio, &b.log_ratio, 1e-9);
    }
}

/// Errors of leapfrog steps are of second order: at a fourth of the step an ln ratio is a sixteenth.
#[test]
fn leapfrog_steps_keep_the_energy_to_second_order() {
    let target = Funnel { width: 3, scale: 0.7 };
    let spread = |step_size: f64, leapfrog: usize| {
        let kernel = Hmc { step_size, jitter: 0.0, leapfrog, ..HMC };
        let start = kernel.init(exact(&target, 400, 14), &target).expect("a start");
        let (_, info) = kernel.step(start, &target, &Draws::new(15)).expect("a step");
        let mut all: Vec<f64> = info.log_ratio.iter().map(|ratio| ratio.abs()).collect();
        all.sort_by(f64::total_cmp);
        all[200]
    };
    let ratio = spread(0.08, 10) / spread(0.02, 40);
    assert!((14.0..18.0).contains(&ratio), "{ratio}");
}

/// At half a turn a chain of fixed length only changes sides; with lengths of their own chains forget their start.
#[test]
fn lengths_of_their_own_break_the_resonance() {
    let one = Component::isotropic(1.0, vec![0.0], 1.0);
    let target = GaussianMixture::new(vec![one]).expect("a mixture");
    let mean_after = |jitter: f64| {
        let leapfrog = 40;
        let kernel = Hmc { step_size: std::f64::consts::PI / 40.0, jitter, leapfrog, ..HMC };
        let start = doubles(&[3.0], 1).expand([2000, 1]);
        let start = kernel.init(start, &target).expect("a start");
        let (chains, _) = walk(&kernel, start, &target, 30, &Draws::new(16));
        chains.values().iter().sum::<f64>() / 2000.0
    };
    let (fixed, own) = (mean_after(0.0), mean_after(0.5));
    assert!(fixed > 2.5, "{fixed}");
    within("with lengths of their own", own, 0.0, BAR / 2000f64.sqrt());
}

#[test]
fn warm_up_finds_the_acceptance_and_then_leaves_the_step_alone() {
    let target = Funnel { width: 20, scale: 0.5 };
    let kernels: [(&dyn Transition, f64); 4] = [
        (&RandomWalk { step_size: 30.0, warm_up: 500, acceptance: 0.234 }, 0.234),
        (&Mala { step_size: 1e-4, warm_up: 500, acceptance: 0.574 }, 0.574),
        (&Mala { step_size: 10.0, warm_up: 500, acceptance: 0.8 }, 0.8),
        (&Hmc { step_size: 3.0, leapfrog: 5, warm_up: 500, acceptance: 0.7, ..HMC }, 0.7),
    ];
    for (kernel, acceptance) in kernels {
        let start = kernel.init(exact(&target, 40, 9), &target).expect("a start");
        let (warm, _) = walk(kernel, start, &target, 500, &Draws::new(10));
        let (cool, infos) = walk(kernel, warm.clone(), &target, 200, &Draws::new(10));
        assert_eq!(warm.step_size(), cool.step_size());
        let found = infos.iter().map(Info::acceptance).sum::<f64>() / 200.0;
        within(format!("{kernel:?}"), found, acceptance, 0.05);
    }
    let fixed = MALA.init(exact(&target, 4, 9), &target).expect("a start");
    let (fixed, _) = walk(&MALA, fixed, &target, 5, &Draws::new(11));
    assert_eq!(fixed.step_size(), [MALA.step_size; 4]);
}
