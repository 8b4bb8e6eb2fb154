//! The contract of every family.

use super::*;
use crate::support::host;
use tweedie::family::chains::ChainsRecipe;
use tweedie::family::mixture::MixtureRecipe;
use tweedie::train::{load_checkpoint, save_checkpoint};

const KINDS: [&str; 6] = [
    "name = 'gaussian-mixture'\ncomponents = [1, 3]\ncovariance = 'tied'",
    "name = 'gaussian-mixture'\ncomponents = 4\nrestarts = 2",
    "name = 'kde'\nbandwidth = 'loo'",
    "name = 'gaussian'",
    "name = 'laplace'",
    "name = 'student-t'",
];

/// The recipe of a mixture from its table.
fn mixture(table: &str) -> MixtureRecipe {
    recipe(&format!("[mixture]\n{table}"))
}

/// Chains on easy targets.
fn chains() -> [ChainsRecipe; 3] {
    [
        recipe(
            "target = 'funnel, width = 3'\n[chains]\nrows = 5\nkeep = 4\nkernel = 'mala, warm_up = 3'",
        ),
        recipe("target = '8gaussians'\n[chains]\nrows = 20\nkeep = 4\nkernel = 'random-walk'"),
        recipe("target = 'banana'\n[chains]\nrows = 4\nstart = 'exact'\nkernel = 'ula'"),
    ]
}

/// Twelve steps at once and after a stop in a checkpoint: equal states, weights and values.
pub(super) fn resumes<F: Family>(bed: &Bed, recipe: &F) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("checkpoint.safetensors");
    let fresh = || bed.learner(recipe).expect("a learner");
    let (mut whole, mut first, mut rest) = (fresh().1, fresh().1, fresh().1);
    for step in 0..12 {
        let values = whole.step(step).expect("a step");
        if step < 5 {
            assert_eq!(values, first.step(step).expect("a step"));
            continue;
        }
        if step == 5 {
            save_checkpoint(first.save().expect("a state"), step, &path).expect("a file");
            let (state, at) = load_checkpoint(&path).expect("a checkpoint");
            rest.load(state, &path).expect("a state");
            assert_eq!(at, step);
        }
        assert_eq!(values, rest.step(step).expect("a step"), "{recipe:?} {step}");
    }
    assert_eq!(whole.save().expect("a state"), rest.save().expect("a state"), "{recipe:?}");
    assert_eq!(whole.weights().expect("weights"), rest.weights().expect("weights"), "{recipe:?}");
    assert_eq!(whole.held_out().expect("values"), rest.held_out().expect("values"));
}

#[test]
fn a_run_that_is_stopped_and_resumed_ends_in_the_same_bytes() {
    for label in [None, Some("class")] {
        let bed = Bed::with_data(toy("moons", 240, label), 12);
        KINDS.iter().for_each(|table| resumes(&bed, &mixture(table)));
    }
    for recipe in chains() {
        resumes(&Bed::without_data(&recipe, 12, nothing()).expect("a space"), &recipe);
    }
}

#[test]
fn a_state_of_another_fit_is_refused_by_its_file() {
    let bed = Bed::with_data(toy("moons", 240, None), 12);
    let learner = |table: &str| bed.learner(&mixture(table)).expect("a learner").1;
    let state = learner(KINDS[1]).save().expect("a state");
    let others =
        ["name = 'gaussian-mixture'\ncomponents = 5", "name = 'gaussian-mixture'\ncomponents = 4"];
    for other in [KINDS[0], KINDS[2], others[0], others[1]] {
        let error = learner(other).load(state.clone(), Path::new("the file")).err();
        assert!(error.expect(other).to_string().starts_with("the file: "), "{other}");
    }
}

#[test]
fn a_row_of_a_sample_depends_on_its_number_alone() {
    fn check<F: Family>(bed: &Bed, recipe: &F, condition: &dyn Fn(usize) -> Condition) {
        let model = bed.trained(recipe).expect("a model");
        let sample = |range: std::ops::Range<u64>| {
            let n = (range.end - range.start) as usize;
            host(&rows(&*model, range, &condition(n)).expect("rows"))
        };
        let (all, part, width) = (sample(0..8), sample(3..7), model.space().model_width());
        assert_eq!(part, all[3 * width..7 * width], "{recipe:?}");
        assert!(all.iter().all(|x| x.is_finite()));
        let distinct = |k: usize| all[..width] != all[k * width..(k + 1) * width];
        assert!((1..8).all(distinct), "{recipe:?}");
    }
    let bed = Bed::with_data(toy("moons", 240, Some("class")), 12);
    for table in KINDS {
        check(&bed, &mixture(table), &|_| Condition::None);
        check(&bed, &mixture(table), &|n| Condition::class(1, n));
    }
    for recipe in chains() {
        let bed = Bed::without_data(&recipe, 12, nothing()).expect("a space");
        check(&bed, &recipe, &|_| Condition::None);
    }
}

#[test]
fn densities_in_closed_form_integrate_to_one() {
    for label in [None, Some("class")] {
        let bed = Bed::with_data(toy("moons", 240, label), 12);
        for table in KINDS {
            let model = bed.trained(&mixture(table)).expect("a model");
            let whole = integral(&*model, (-14.0, 17.0), 620);
            assert!((whole - 1.0).abs() < 1e-3, "{table} {label:?}: {whole}");
        }
    }
    let recipe: ChainsRecipe =
        recipe("target = 'pinwheel'\nchains = { rows = 4, start = 'exact' }");
    let bed = Bed::without_data(&recipe, 12, nothing()).expect("a space");
    let whole = integral(&*bed.trained(&recipe).expect("a model"), (-5.0, 5.0), 400);
    assert!((whole - 1.0).abs() < 1e-3, "{whole}");
}

#[test]
fn a_wrong_key_is_named_where_it_stands() {
    let mixtures = [
        ("mixture = 'gausian'", "mixture: gausian; expected `gaussian` perhaps"),
        ("[mixture]\ncomponent = 3", "mixture.name: missing"),
        ("[mixture]\nname = 'gaussian-mixture'\ncomponent = 3", "mixture.component: unknown key"),
        ("[mixture]\nname = 'gaussian-mixture'\ncomponents = 0", "mixture.components: 0"),
        ("[mixture]\nname = 'gaussian-mixture'\ncomponents = -2", "mixture.components: "),
        ("[mixture]\nname = 'gaussian-mixture'\ncomponents = [4, 2]", "mixture.components: [4, 2]"),
        ("mixture = 'gaussian-mixture, restarts = 0'", "mixture.restarts: 0"),
        ("mixture = 'gaussian-mixture, tolerance = -1.0'", "mixture.tolerance: -1"),
        ("mixture = 'kde, bandwidth = -1.0'", "mixture.bandwidth: -1"),
        ("mixture = 'kde, bandwidth = \"wide\"'", "mixture.bandwidth"),
        ("mixture = 'laplace, scale = 1.0'", "mixture.scale: unknown key"),
        ("sampling = { steps = 3 }", "sampling: unknown key"),
    ];
    for (text, expected) in mixtures {
        let found = refusal::<MixtureRecipe>(text);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
    let chains = [
        ("target = 'funel'", "target: funel; expected `funnel` perhaps"),
        ("target = 'funnel, width = 1'", "target.width: 1"),
        ("target = 'banana, scale = -1.0'", "target.scale: -1"),
        ("target = 'moons, scale = 1.0'", "target.scale: unknown key"),
        ("target = 'run'", "target.path: missing"),
        ("target = { name = 'run', path = '' }", "target.path: empty"),
        ("chains = { kernel = 'mala, step_size = 0.0' }", "chains.kernel.step_size: 0"),
        ("chains = { kernel = 'ula, warm_up = 3' }", "chains.kernel.warm_up: unknown key"),
        ("chains = { rows = 0 }", "chains.rows: 0"),
        ("chains = { keep = 2 }", "chains.keep: 2"),
        ("chains = { start = 'normal, scale = -1.0' }", "chains.start.scale: -1"),
        ("chains = { starts = 'exact' }", "chains.starts: unknown key"),
    ];
    for (text, expected) in chains {
        let found = refusal::<ChainsRecipe>(text);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
}

#[test]
fn an_option_that_sampling_or_a_density_lacks_is_an_unknown_key() {
    let bed = Bed::with_data(toy("moons", 240, None), 3);
    let mixture = bed.trained(&mixture("name = 'gaussian'")).expect("a model");
    let recipe = &chains()[0];
    let bed = Bed::without_data(recipe, 3, nothing()).expect("a space");
    let chains = bed.trained(recipe).expect("a model");
    let (device, table) = (cpu(), "steps = 3".parse::<Table>().expect("TOML"));
    for model in [&mixture, &chains] {
        let at = setting(&device);
        let error = model.generator(&table, &at).err().expect("refused").to_string();
        assert!(error.starts_with("steps: unknown key"), "{error}");
        let name = model.densities()[0].name;
        let error = model.density(name, &table, Integers::None, &at).err().expect("refused");
        assert!(error.to_string().starts_with("steps: unknown key"), "{error}");
        let none = Table::new();
        let error = model.density("ode", &none, Integers::None, &at).err().expect("refused");
        assert!(error.to_string().starts_with("density: ode"), "{error}");
    }
}
