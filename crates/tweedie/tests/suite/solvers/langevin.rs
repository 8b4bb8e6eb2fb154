//! Correctors and annealed Langevin dynamics: their invariant densities, and the modes that they keep.

use crate::oracle::{
    COSINE, VP, doubles, gap, gaussian, host, normals, orders, run, three_components,
};
use crate::support::{KOLMOGOROV, cpu, kolmogorov, within};
use statrs::distribution::{ContinuousCDF, Normal};
use tweedie::burn::tensor::Tensor;
use tweedie::data::{Condition, Rows};
use tweedie::denoise::{
    Component, EnergyDenoiser, GaussianMixture, Guidance, NeuralDenoiser, Prediction,
};
use tweedie::mcmc::{Mala, RandomWalk, Transition, Ula};
use tweedie::nn::ResidualMlpConfig;
use tweedie::process::{AnySchedule, Level, Levels, Schedule, Ve};
use tweedie::solve::grid::{Grid, LogSnr};
use tweedie::solve::{
    Ancestral, AnnealedLangevin, AnySolver, Context, Corrector, EulerMaruyama, Langevin, Mcmc,
    Noise, PredictorCorrector, Solver,
};
use tweedie::{Draws, Error};

/// Row 1 + k has noise 1 from the k-th source of a solver step, the solver's own first and each Langevin step's after
/// it; row 0 has none.
struct OneEach;

impl Noise for OneEach {
    fn normals(&self, step: u64, rows: &[u64], width: usize) -> Rows {
        let source = 1 + (step >> 32);
        let value = |row: &u64| f32::from(u8::from(*row == source));
        Rows::new(rows.iter().flat_map(|row| vec![value(row); width]).collect(), width).unwrap()
    }
}

/// a, b and the sum of squares of the noise's factors of an affine map of the line, which calls `sources` noises.
fn affine(sources: usize, map: impl Fn(Tensor<2>, &[u64]) -> Tensor<2>) -> (f64, f64, f64) {
    let mut rows: Vec<u64> = (0..=sources as u64).collect();
    rows.push(0);
    let mut x = vec![0.0; rows.len()];
    x[sources + 1] = 1.0;
    let y = host(&map(doubles(&x, 1), &rows));
    let noise = y[1..=sources].iter().map(|v| (v - y[0]).powi(2)).sum();
    (y[sources + 1] - y[0], y[0], noise)
}

fn context<'a>(
    data: &'a GaussianMixture,
    schedule: &'a dyn Schedule,
    noise: &'a dyn Noise,
    rows: &'a [u64],
) -> Context<'a> {
    Context { denoiser: data, schedule, condition: &Condition::None, noise, rows, clip: None }
}

#[test]
fn langevin_steps_leave_the_density_invariant_to_the_order_of_their_step() {
    let (mean, variance) = (0.8, 0.6);
    let data = gaussian(mean, variance);
    for t in [0.05, 0.3, 0.9] {
        let level = VP.level(t);
        let v = level.alpha.powi(2) * variance + level.sigma.powi(2);
        let (mut one, mut many) = (Vec::new(), Vec::new());
        for snr in [0.2, 0.1, 0.05, 0.025] {
            let corrector = Langevin { snr, steps: 1 };
            let (a, b, noise) = affine(2, |x, rows| {
                let context = context(&data, &VP, &OneEach, rows);
                corrector.correct(x, &level.into(), 0, &context).unwrap()
            });
            // x + ε (α m − x)/v + √(2ε) z with ε = 2 r² σ².
            let eps = 2.0 * (snr * level.sigma).powi(2);
            within("a", a, 1.0 - eps / v, 1e-12);
            within("noise", noise, 2.0 * eps, 1e-7 * eps);
            within("the mean stays", a * level.alpha * mean + b, level.alpha * mean, 1e-12);
            one.push((a * a * v + noise - v).abs());
            many.push((noise / (1.0 - a * a) - v).abs());
        }
        // In r: ε² is of order 4 and ε of order 2.
        for (errors, order) in [(one, 4.0), (many, 2.0)] {
            let found = orders(&errors);
            assert!(found.iter().all(|o| (o - order).abs() < 0.15), "{errors:?}, {found:?}");
        }
    }
}

fn two_on_the_line() -> GaussianMixture {
    let component = |w, m, v| Component::isotropic(w, vec![m], v);
    GaussianMixture::new(vec![component(0.7, -0.8, 0.1), component(0.3, 1.0, 0.05)]).unwrap()
}

/// √n times the Kolmogorov–Smirnov distance of a batch from the noised mixture on the line.
fn off(x: &Tensor<2>, data: &GaussianMixture, level: &Level, variances: [f64; 2]) -> f64 {
    let values = host(x);
    let cdf = |x: f64| {
        let each = data.components().iter().zip(variances).map(|(c, v)| {
            let sd = (level.alpha.powi(2) * v + level.sigma.powi(2)).sqrt();
            c.weight * Normal::new(level.alpha * c.mean[0], sd).unwrap().cdf(x)
        });
        each.sum()
    };
    kolmogorov(&values, cdf) * (values.len() as f64).sqrt()
}

fn mala(step_size: f64) -> Mala {
    Mala { step_size, ..Mala::default() }
}

#[test]
fn metropolised_steps_leave_the_density_exactly_invariant() {
    let n = 30_000;
    let data = two_on_the_line();
    let level = COSINE.level(COSINE.time(2.5));
    let x0 = host(&data.sample(n, &Draws::new(1), &cpu()));
    let z = host(&normals(n, 1, level.sigma, 2));
    let x: Vec<f64> = x0.iter().zip(z).map(|(x, z)| level.alpha * x + z).collect();
    let x = doubles(&x, 1);
    let rows: Vec<u64> = (0..n as u64).collect();
    let draws = Draws::new(3);
    let context = context(&data, &COSINE, &draws, &rows);
    // Steps as long as the density is wide.
    let langevin = Langevin { snr: 0.8, steps: 10 };
    let exact = |steps| Mcmc { kernel: mala(2.0 * langevin.snr * langevin.snr), steps };
    let levels = Levels::from(level);
    let after = exact(10).correct(x.clone(), &levels, 0, &context).unwrap();
    let unadjusted = langevin.correct(x.clone(), &levels, 0, &context).unwrap();
    let (start, kept, lost) = (
        off(&x, &data, &level, [0.1, 0.05]),
        off(&after, &data, &level, [0.1, 0.05]),
        off(&unadjusted, &data, &level, [0.1, 0.05]),
    );
    assert!(start < KOLMOGOROV && kept < KOLMOGOROV, "{start}, {kept}");
    assert!(lost > 1.5 * KOLMOGOROV, "{lost}");
    // Some proposals are refused and some accepted.
    let moved = host(&exact(1).correct(x.clone(), &levels, 0, &context).unwrap());
    let moved = moved.iter().zip(host(&x)).filter(|(a, b)| (*a - b).abs() > 1e-12).count();
    let moved = moved as f64 / n as f64;
    assert!((0.3..0.95).contains(&moved), "{moved} of the proposals are accepted");
    // From a wrong density it goes to the right one.
    let far = normals(n, 1, 0.3, 4);
    let there =
        off(&exact(200).correct(far, &levels, 0, &context).unwrap(), &data, &level, [0.1, 0.05]);
    assert!(there < KOLMOGOROV, "{there}");
}

/// A kernel on x/σ with step size ε is the same kernel on x with ε σ², or σ of a random walk, on the noised mixture.
#[test]
fn kernels_at_a_level_walk_on_the_noised_density() {
    fn compare<T: Transition>(of: impl Fn(f64) -> T, unit: fn(f64) -> f64) {
        let (data, draws, rows, steps) = (three_components(), Draws::new(3), [7, 0, 4], 12);
        let levels = [0.2, 0.5, 0.8].map(|t| COSINE.level(t));
        let context = context(&data, &COSINE, &draws, &rows);
        let x = normals(3, 2, 0.8, 6);
        let together = Mcmc { kernel: of(0.6), steps };
        let together = together.correct(x.clone(), &Levels::Rows(levels.to_vec()), 5, &context);
        let together = host(&together.unwrap());
        let draws = draws.purpose("corrector").at(5);
        for (i, level) in levels.into_iter().enumerate() {
            let (noised, kernel) = (data.noised(&level).unwrap(), of(0.6 * unit(level.sigma)));
            let start = kernel.init(x.clone().narrow(0, i, 1), &noised).unwrap();
            let mut chain = start.with_rows(vec![rows[i]]).unwrap();
            for _ in 0..steps {
                chain = kernel.step(chain, &noised, &draws).unwrap().0;
            }
            let far = gap(chain.values(), &together[2 * i..2 * i + 2]);
            assert!(far < 1e-9, "{kernel:?} at {level:?}: {far}");
            assert!(gap(chain.values(), &host(&x)[2 * i..2 * i + 2]) > 0.1);
        }
    }
    compare(mala, |sigma| sigma * sigma);
    compare(|step_size| Ula { step_size }, |sigma| sigma * sigma);
    compare(|step_size| RandomWalk { step_size, ..RandomWalk::default() }, |sigma| sigma);
}

/// An untrained energy is N(0, σ_d² I) at level 0, so N(0, α² σ_d² + σ²) at any.
#[test]
fn metropolised_steps_leave_the_density_of_an_energy_invariant() {
    let (sigma_data, n) = (0.7, 10_000);
    let network = ResidualMlpConfig::new(1).with_hidden(8).init(&Draws::new(0), &cpu());
    let model = NeuralDenoiser::new(network, Prediction::Edm, VP).with_sigma_data(sigma_data);
    let (model, level) = (EnergyDenoiser::new(model), VP.level(0.3));
    let (rows, draws): (Vec<u64>, _) = ((0..n as u64).collect(), Draws::new(8));
    let context = Context {
        denoiser: &model,
        schedule: &VP,
        condition: &Condition::None,
        noise: &draws,
        rows: &rows,
        clip: None,
    };
    let law = Normal::new(0.0, level.sd(sigma_data)).unwrap();
    for (sd, steps) in [(level.sd(sigma_data), 8), (0.05, 60)] {
        let corrector = Mcmc { kernel: mala(2.0), steps };
        let x = corrector.correct(normals(n, 1, sd, 9), &level.into(), 0, &context).unwrap();
        let far = kolmogorov(&host(&x), |x| law.cdf(x)) * (n as f64).sqrt();
        assert!(far < KOLMOGOROV, "from a standard deviation of {sd}: {far}");
    }
}

#[test]
fn kernels_that_cannot_correct_say_why() {
    let (data, x, rows) = (three_components(), normals(2, 2, 1.0, 5), [0, 1]);
    let (draws, level) = (Draws::new(1), Levels::from(VP.level(0.5)));
    let corrector = Mcmc { kernel: mala(0.5), steps: 2 };
    let guided = Guidance::new(&data, 2.0).unwrap();
    let by_score = Context { denoiser: &guided, ..context(&data, &VP, &draws, &rows) };
    let error = corrector.correct(x.clone(), &level, 0, &by_score).unwrap_err();
    assert!(error.to_string().contains("of mala does not exist"), "{error}");
    let ula = Mcmc { kernel: Ula { step_size: 0.1 }, steps: 2 };
    assert!(ula.correct(x.clone(), &level, 0, &by_score).is_ok());
    let given = context(&data, &VP, &OneEach, &rows);
    let error = corrector.correct(x, &level, 0, &given).unwrap_err();
    assert!(matches!(error, Error::Undefined { .. }), "{error}");
    for (bad, key) in [
        (Mcmc { kernel: mala(0.0), steps: 1 }, "kernel.step_size"),
        (Mcmc { kernel: mala(0.5), steps: 0 }, "solver.corrector.steps"),
        (
            Mcmc { kernel: Mala { warm_up: 5, ..mala(0.5) }, steps: 1 },
            "solver.corrector.kernel.warm_up",
        ),
    ] {
        let error = Corrector::check(&bad).unwrap_err();
        assert!(matches!(&error, Error::Config { key: found, .. } if found == key), "{error}");
    }
}

/// The variance after all steps by recursion, relative to the right one.
fn variance_error(solver: &dyn Solver, sources: usize, levels: &[Level], data: f64) -> f64 {
    let oracle = gaussian(0.8, data);
    let of = |l: &Level| l.alpha.powi(2) * data + l.sigma.powi(2);
    let end = levels.windows(2).fold(of(&levels[0]), |variance, pair| {
        let (a, _, noise) = affine(sources, |x, rows| {
            let context = context(&oracle, &VP, &OneEach, rows);
            solver.step(solver.init(x), &pair[0].into(), &pair[1].into(), &context).unwrap().x
        });
        a * a * variance + noise
    });
    let right = of(&levels[levels.len() - 1]);
    (end - right).abs() / right
}

#[test]
fn a_corrector_mends_its_predictor() {
    let levels = LogSnr.levels(&VP, 24).unwrap();
    let plain = variance_error(&EulerMaruyama::default(), 1, &levels, 1e-4);
    let mended = |steps: usize| {
        let corrector = Langevin { snr: 0.16, steps };
        let solver = PredictorCorrector { predictor: EulerMaruyama::default(), corrector };
        variance_error(&solver, steps + 1, &levels, 1e-4)
    };
    assert!(
        mended(1) < 0.9 * plain && mended(8) < 0.5 * plain,
        "{plain}, {}, {}",
        mended(1),
        mended(8)
    );
    // It is the predictor, then the corrector at the level reached.
    let data = three_components();
    let rows: Vec<u64> = (0..16).collect();
    let draws = Draws::new(3);
    let context = context(&data, &VP, &draws, &rows);
    let corrector = Langevin { snr: 0.3, steps: 2 };
    let solver = PredictorCorrector { predictor: Ancestral::default(), corrector };
    let start = normals(16, 2, 1.0, 5);
    let whole = host(&run(&solver, &data, &VP, start.clone(), &levels));
    let mut state = Ancestral::default().init(start);
    for (k, pair) in levels.windows(2).enumerate() {
        let (from, to) = (Levels::from(pair[0]), Levels::from(pair[1]));
        state = Ancestral::default().step(state, &from, &to, &context).unwrap();
        state.x = corrector.correct(state.x, &to, k as u64, &context).unwrap();
    }
    assert_eq!(whole, host(&state.x));
}

#[test]
fn step_lengths_are_those_published_for_ncsnv2() {
    // Song & Ermon 2020, table 4: σ from 50 to 0.01 in 232 levels, T = 5, ε = 6.2e-6; from 90 in 500, ε = 3.3e-6.
    for (sigma, levels, epsilon) in [(50.0f64, 232, 6.2e-6), (90.0, 500, 3.3e-6)] {
        let ratio = (sigma / 0.01).powf(1.0 / (levels - 1) as f64);
        let ours = 0.5 * AnnealedLangevin::step_for(ratio, 5);
        within("ε/σ²", ours, epsilon / 1e-4, 5e-4);
    }
}

/// Four modes far apart, of unequal weights and spreads.
fn four_modes() -> GaussianMixture {
    let component = |w, x, y, v| Component::isotropic(w, vec![x, y], v);
    GaussianMixture::new(vec![
        component(0.4, -1.5, -1.0, 0.02),
        component(0.3, 1.2, 1.4, 0.03),
        component(0.2, 1.5, -1.2, 0.02),
        component(0.1, -1.0, 1.6, 0.01),
    ])
    .unwrap()
}

/// The share of a batch nearest to each mode, and of those within four standard deviations of it.
fn shares(x: &Tensor<2>, data: &GaussianMixture) -> ([f64; 4], f64) {
    let x = host(x);
    let n = x.len() as f64 / 2.0;
    let (mut counts, mut inside) = ([0.0; 4], 0.0);
    for row in x.chunks(2) {
        let square = |k: usize| {
            let m = &data.components()[k].mean;
            (row[0] - m[0]).powi(2) + (row[1] - m[1]).powi(2)
        };
        let k = (0..4).min_by(|a, b| square(*a).total_cmp(&square(*b))).unwrap();
        counts[k] += 1.0 / n;
        inside += f64::from(u8::from(square(k) < 16.0 * [0.02, 0.03, 0.02, 0.01][k])) / n;
    }
    (counts, inside)
}

/// Annealing keeps every mode at its weight, within three standard errors of 1,000 samples; 4,000 are drawn, of which
/// these are six (a false alarm in 1e8). One level of the same number of steps leaves each sample in the mode that it
/// started under, or on its way.
#[test]
fn annealing_keeps_the_modes_that_one_level_loses() {
    let data = four_modes();
    let ve = AnySchedule::Ve(Ve { sigma_min: 0.05, sigma_max: 10.0 });
    let start = normals(4000, 2, 10.0, 9);
    let levels = LogSnr.levels(&ve, 40).unwrap();
    for (name, solver, annealed) in [
        ("NCSN", AnnealedLangevin { step: Some(0.2), steps: 20 }, true),
        ("NCSNv2", AnnealedLangevin { step: None, steps: 20 }, true),
        ("one level", AnnealedLangevin { step: Some(0.2), steps: 20 }, false),
    ] {
        let (grid, start) = match annealed {
            true => (levels.clone(), start.clone()),
            // From the data's own range, which is generous.
            false => (vec![levels[40]; 41], start.clone().mul_scalar(0.15)),
        };
        let x = run(&solver, &data, &ve, start, &grid);
        let (counts, inside) = shares(&x, &data);
        let three = |w: f64| 3.0 * (w * (1.0 - w) / 1000.0).sqrt();
        let off = |k: usize| (counts[k] - data.components()[k].weight).abs();
        let fits = (0..4).all(|k| off(k) <= three(data.components()[k].weight));
        assert_eq!(fits, annealed, "{name}: {counts:?}");
        if annealed {
            assert!(inside > 0.99, "{name}: {inside}");
        }
    }
}

#[test]
fn levels_may_differ_between_rows() {
    let data = three_components();
    let levels = LogSnr.levels(&VP, 8).unwrap();
    let draws = Draws::new(3);
    let x = normals(2, 2, 1.0, 5);
    let both = |i: usize| Levels::Rows(vec![levels[i], levels[i + 2]]);
    let solvers: [&dyn Solver; 2] =
        [&AnnealedLangevin::default(), &PredictorCorrector::<Ancestral, Langevin>::default()];
    for solver in solvers {
        let together = context(&data, &VP, &draws, &[0, 1]);
        let y = solver.step(solver.init(x.clone()), &both(0), &both(1), &together).unwrap();
        for row in 0..2 {
            let rows = [row as u64];
            let alone = context(&data, &VP, &draws, &rows);
            let at = |i: usize| Levels::from(levels[i + 2 * row]);
            let own = x.clone().narrow(0, row, 1);
            let own = solver.step(solver.init(own), &at(0), &at(1), &alone).unwrap();
            assert!(gap(&host(&own.x), &host(&y.x.clone().narrow(0, row, 1))) < 1e-12);
        }
    }
}

#[test]
fn options_are_read_and_checked() {
    let read = |text: &str| toml::from_str::<AnySolver>(text);
    let solver =
        read("name = \"predictor-corrector\"\npredictor = \"ddim\"\ncorrector = { snr = 0.2 }");
    assert!(matches!(solver, Ok(AnySolver::PredictorCorrector(s)) if s.corrector.steps == 1));
    assert!(read("name = \"predictor-corrector\"\npredictor = \"dpm++2m\"").is_err());
    for (bad, key) in [
        ("name = \"predictor-corrector\"\ncorrector = { snr = 0.0 }", "solver.corrector.snr"),
        ("name = \"predictor-corrector\"\ncorrector = { steps = 0 }", "solver.corrector.steps"),
        ("name = \"annealed-langevin\"\nstep = 2.0", "solver.step"),
        ("name = \"annealed-langevin\"\nsteps = 0", "solver.steps"),
        ("name = \"euler-maruyama\"\nchurn = 1.5", "solver.churn"),
    ] {
        let error = read(bad).unwrap().check().unwrap_err();
        assert!(matches!(&error, Error::Config { key: found, .. } if found == key), "{error}");
    }
}
