//! The family of Markov chains.

use super::*;
use crate::support::{host, within};
use tweedie::data::{LogDensity, Toy};
use tweedie::denoise::{Component, Denoiser, GaussianMixture, Guidance};
use tweedie::family::chains::{AnyTarget, ChainsModel, ChainsRecipe};
use tweedie::family::diffusion::DiffusionModel;
use tweedie::family::mixture::{MixtureModel, MixtureRecipe};
use tweedie::mcmc::{AtLevel, bulk_ess, r_hat};
use tweedie::process::{Level, Schedule};
use tweedie::run::{Recipe, Run};

/// The mean of values and how many errors it is from what it should be, the error being that of as many independent
/// draws as bulk ESS counts.
fn errors_off(chains: &[Vec<f64>], mean: f64, variance: f64) -> f64 {
    let values = chains.concat();
    let found = values.iter().sum::<f64>() / values.len() as f64;
    (found - mean).abs() / (variance / bulk_ess(chains).expect("chains")).sqrt()
}

#[test]
fn chains_on_the_funnel_converge_to_its_moments() {
    for kernel in ["mala, warm_up = 1000", "random-walk, warm_up = 1000"] {
        let text = format!(
            "target = 'funnel, width = 3, scale = 1.0'\n[chains]\nrows = 32\nkeep = 2000\n\
             kernel = '{kernel}'"
        );
        let recipe: ChainsRecipe = recipe(&text);
        let bed = Bed::without_data(&recipe, 7000, nothing()).expect("a space");
        let (recipe, mut learner) = bed.learner(&recipe).expect("a learner");
        (0..7000).for_each(|step| drop(learner.step(step).expect("a step")));
        let values = learner.held_out().expect("values");
        assert_eq!(values[0].0, "chains/r_hat");
        assert!((0.99..1.02).contains(&values[0].1), "{kernel}: {values:?}");
        let model = bed.model(&recipe, &*learner).expect("a model");
        let chains = model.any().downcast_ref::<ChainsModel>().expect("chains").chains(0);
        assert!(chains.len() == 32 && (1000..=2000).contains(&chains[0].len()));
        assert_eq!(r_hat(&chains).expect("chains").max(1.0).floor(), 1.0);
        let squares: Vec<Vec<f64>> =
            chains.iter().map(|chain| chain.iter().map(|x| x * x).collect()).collect();
        let (mean, square) = (errors_off(&chains, 0.0, 1.0), errors_off(&squares, 1.0, 2.0));
        assert!(mean < 4.9 && square < 4.9, "{kernel}: {mean} {square}");
    }
}

#[test]
fn samples_are_the_draws_kept_each_at_most_once() {
    let recipe: ChainsRecipe =
        recipe("target = 'banana'\n[chains]\nrows = 6\nkeep = 8\nstart = 'exact'\ndiscard = 5");
    let bed = Bed::without_data(&recipe, 25, nothing()).expect("a space");
    let model = bed.trained(&recipe).expect("a model");
    let kept = model.any().downcast_ref::<ChainsModel>().expect("chains").chains(0);
    // Of 20 draws every fourth.
    assert_eq!((kept.len(), kept[0].len()), (6, 5));
    let sort = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values
    };
    let sample = host(&rows(&*model, 0..30, &Condition::None).expect("rows"));
    let singles = kept.concat().iter().map(|v| f64::from(*v as f32)).collect();
    assert_eq!(sort(sample.into_iter().step_by(2).collect()), sort(singles));
    let device = cpu();
    let generator = model.generator(&Table::new(), &setting(&device)).expect("a generator");
    assert_eq!(generator.most_rows(), Some(30));
    let error = rows(&*model, 20..31, &Condition::None).expect_err("refused").to_string();
    assert!(error.starts_with("chains.keep: 31 samples; expected at most 30"), "{error}");
}

#[test]
fn every_toy_is_a_target_by_its_name() {
    for toy in Toy::ALL {
        let target = AnyTarget::parse(toy.name()).expect("a target");
        let density = target.density(&nothing()).expect("a density");
        let device = cpu();
        let x = target.exact(4, &Draws::new(1), &nothing(), &device).expect("draws");
        let log_p = density.log_density(x.clone().into(), &Condition::None).expect("log p");
        let found = host(&log_p.value);
        for (row, log_p) in host(&x).chunks(2).zip(found) {
            assert_eq!(log_p, toy.log_density([row[0], row[1]]), "{}", toy.name());
        }
    }
}

#[test]
fn a_target_needs_no_data_and_refuses_them() {
    let recipe: ChainsRecipe = recipe("target = 'moons'");
    let error = Bed::with_data(toy("moons", 50, None), 5).learner(&recipe).err();
    assert!(error.expect("refused").to_string().starts_with("data: given"));
    let error = super::recipe::<MixtureRecipe>("").space(&nothing()).expect_err("refused");
    assert!(error.to_string().starts_with("data: absent"), "{error}");
}

/// What chains are told that walk on a run at a level.
fn on_run(kernel: &str, level: Option<f64>, open: &Opener) -> Result<Box<dyn Model>> {
    let level = level.map_or(String::new(), |level| format!(", level = {level:?}"));
    let text = format!(
        "target = {{ name = 'run', path = 'runs/other'{level} }}\n[chains]\nrows = 8\nkeep = 20\nkernel = '{kernel}'"
    );
    let recipe: ChainsRecipe = recipe(&text);
    Bed::without_data(&recipe, 40, open.clone())?.trained(&recipe)
}

/// A trained mixture as the run of any path.
fn mixture_run(table: &str, label: Option<&str>) -> Opener {
    let bed = Bed::with_data(toy("moons", 300, label), 20);
    let (recipe, mut learner) = bed.learner(&recipe::<MixtureRecipe>(table)).expect("a learner");
    (0..20).for_each(|step| drop(learner.step(step).expect("a step")));
    let (weights, space) = (learner.weights().expect("weights"), bed.space.clone());
    Arc::new(move |path: &Path| {
        let data = || Err(Error::config("data", "read", "no need of them"));
        let (space, data, open) = (space.clone(), Arc::new(data), nothing());
        let opening = Opening { space, classes: Vec::new(), data, device: cpu(), open };
        recipe.model(&opening, &weights, path)
    })
}

#[test]
fn a_mixture_run_is_a_target_with_its_density() {
    let open = mixture_run("mixture = 'gaussian-mixture, components = 3'", Some("class"));
    let run = open(Path::new("runs/other")).expect("a run");
    for kernel in ["random-walk", "ula", "mala"] {
        let model = on_run(kernel, None, &open).expect("a model");
        assert_eq!(model.densities()[0].name, "target");
        // In raw units, and over all classes.
        assert!(model.space().classes().is_empty());
        let raw = Rows::new(vec![0.5, 1.0, 3.0, -2.0], 2).expect("rows");
        let right = log_p(&*run, &raw, &Condition::None).value;
        for (found, right) in log_p(&*model, &raw, &Condition::None).value.iter().zip(right) {
            within(kernel, *found, right, 1e-12);
        }
        let noised = on_run(kernel, Some(1.5), &open).expect("a model");
        let oracle = run.any().downcast_ref::<MixtureModel>().expect("a mixture").oracle();
        let oracle = oracle.expect("a mixture");
        let level = Level::variance_preserving(0.0, 1.5);
        let x = crate::support::doubles(&[0.3, -0.8], 2);
        let target = noised.target(&Table::new()).expect("a target");
        let found = target.log_density(x.clone().into(), &Condition::None).expect("log p").value;
        let right = GaussianMixture::log_density(&oracle, x, &level.into()).expect("log p");
        within(kernel, host(&found)[0], host(&right)[0], 1e-12);
    }
    let kde = mixture_run("mixture = 'kde'", None);
    on_run("mala", None, &kde).expect("a model");
    let error = on_run("mala", Some(1.0), &kde).err().expect("refused").to_string();
    assert!(error.contains("no mixture of Gaussians"), "{error}");
}

/// A model that has a denoiser alone.
struct ByScore(Space);

impl Model for ByScore {
    fn space(&self) -> &Space {
        &self.0
    }

    fn generator(&self, _: &Table, _: &Setting) -> Result<Box<dyn tweedie::data::Generate + '_>> {
        Err(Error::undefined("a sample", "it is not needed"))
    }

    fn target(&self, options: &Table) -> Result<Arc<dyn LogDensity>> {
        let level = options.get("level").and_then(Value::as_float).expect("a level");
        let unit = GaussianMixture::new(vec![Component::isotropic(1.0, vec![0.0], 1.0)])?;
        let level = Level::variance_preserving(0.0, level);
        Ok(Arc::new(AtLevel::new(Arc::new(Guidance::new(unit, 1.0)?), level)?))
    }

    fn any(&self) -> &dyn std::any::Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any> {
        self
    }
}

#[test]
fn ula_walks_on_a_score_and_kernels_that_compare_densities_refuse_it_by_their_name() {
    let open: Opener = Arc::new(|_: &Path| Ok(Box::new(ByScore(Space::vector(&["x"])?))));
    let model = on_run("ula", Some(0.5), &open).expect("a model");
    assert!(model.densities().is_empty());
    for kernel in ["mala", "random-walk"] {
        let error = on_run(kernel, Some(0.5), &open).err().expect("refused").to_string();
        let expected = format!("the acceptance probability of {kernel} does not exist");
        assert!(error.starts_with(&expected) && error.contains("ula"), "{error}");
    }
}

/// An untrained diffusion run on two moons.
fn diffusion(more: &[&str]) -> Box<dyn Model> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut overrides = vec!["data.n=60".to_string(), "network.hidden=16".into()];
    overrides.extend(more.iter().map(|item| item.to_string()));
    let text =
        "[data]\nsource = 'moons'\n[network]\nname = 'mlp'\nblocks = 1\n[training]\nsteps = 1";
    let recipe = Recipe::parse(text, &overrides).expect("a recipe");
    let data = recipe.load_data().expect("data");
    let run = Run::create(folder.path(), recipe, &data).expect("a run");
    let weights = run.learner(&data, &cpu()).expect("a learner").weights().expect("weights");
    run.model_with(&weights, folder.path(), &cpu()).expect("a model")
}

#[test]
fn a_diffusion_run_is_a_target_at_a_level_by_its_score() {
    let model = diffusion(&[]);
    let level = |text: &str| text.parse::<Table>().expect("TOML");
    let target = model.target(&level("level = 0.7")).expect("a target");
    let x = crate::support::singles(vec![0.3, -0.4, 1.0, 2.0], [2, 2]);
    let score = host(&target.score(x.clone(), &Condition::None).expect("a score"));
    let own = model.any().downcast_ref::<DiffusionModel>().expect("diffusion");
    let at = own.schedule.level(own.schedule.time(0.7));
    within("log-SNR", at.lambda, 0.7, 1e-9);
    let mean = own.denoiser.denoise(x.clone().into(), &at.into(), &Condition::None);
    let mean = host(&mean.expect("a mean").value);
    for ((score, mean), x) in score.iter().zip(mean).zip(host(&x)) {
        within(
            "score",
            *score,
            (at.alpha * mean - x) / at.sigma.powi(2),
            1e-4 * (1.0 + score.abs()),
        );
    }
    for (table, expected) in
        [("", "level: absent"), ("level = 90.0", "level: 90"), ("lvl = 1", "lvl: unknown")]
    {
        let error = model.target(&level(table)).err().expect("refused").to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let open: Opener = Arc::new(|_: &Path| Ok(diffusion(&[])));
    on_run("ula, step_size = 0.1", Some(0.0), &open).expect("a model");
    let error = on_run("mala", Some(0.0), &open).err().expect("refused").to_string();
    assert!(error.starts_with("the acceptance probability of mala"), "{error}");
    let open: Opener = Arc::new(|_: &Path| Ok(diffusion(&["model.energy=true"])));
    on_run("mala", Some(0.0), &open).expect("a model");
}

/// The scores of each column are the diagnostics of its draws, and exact draws come by the seed alone.
#[test]
fn a_model_of_chains_has_their_diagnostics_and_exact_draws_of_its_target() {
    let recipe: ChainsRecipe = recipe(
        "target = 'funnel, width = 3'\n[chains]\nrows = 6\nkeep = 40\nstart = 'exact'\nkernel = 'mala'",
    );
    let bed = Bed::without_data(&recipe, 100, nothing()).expect("a space");
    let (recipe, mut learner) = bed.learner(&recipe).expect("a learner");
    let mut acceptance = 0.0;
    for step in 0..100 {
        let values = learner.step(step).expect("a step");
        acceptance +=
            values.iter().find(|(name, _)| *name == "chains/acceptance").unwrap().1 / 100.0;
    }
    let model = bed.model(&recipe, &*learner).expect("a model");
    let own = model.any().downcast_ref::<ChainsModel>().expect("chains");
    let scores = model.diagnostics().expect("scores");
    let named: Vec<&str> = scores.iter().map(|score| &*score.name).collect();
    let of = |what: &str| ["x1", "x2", "x3"].map(|name| format!("{what} of {name}"));
    let all = [&of("R-hat")[..], &of("bulk ESS"), &["acceptance".to_string()]].concat();
    assert_eq!(named, all);
    for j in 0..3 {
        let column = own.chains(j);
        assert_eq!(scores[j].value, r_hat(&column).expect("chains"));
        assert_eq!(scores[3 + j].value, bulk_ess(&column).expect("chains"));
        assert_eq!(scores[j].rows, 6 * column[0].len());
    }
    within("acceptance", scores[6].value, acceptance, 1e-12);
    let device = cpu();
    let exact = |n| model.reference(n, &setting(&device)).expect("draws").expect("exact draws");
    let (few, again) = (exact(50), exact(50));
    assert_eq!(few, again);
    assert_eq!((few.train.len(), few.held_out.len(), &few.space), (50, 50, model.space()));
    assert_ne!(few.train, few.held_out);
    let noised = on_run(
        "ula",
        Some(0.5),
        &mixture_run("mixture = 'gaussian-mixture, components = 1'", None),
    );
    let noised = noised.expect("a model");
    assert!(noised.reference(50, &setting(&device)).expect("no error").is_none());
    // ULA tests no proposal.
    assert!(noised.diagnostics().expect("scores").iter().all(|score| score.name != "acceptance"));
}
