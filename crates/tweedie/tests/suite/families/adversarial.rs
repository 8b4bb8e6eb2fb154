//! Games of a generator and a critic as a family of models.

use super::contract::resumes;
use super::*;
use crate::support::host;
use tweedie::data::{Coordinate, Dataset, Kind, Layout, Split};
use tweedie::family::adversarial::AdversarialRecipe;
use tweedie::train::{Loop, train};

/// Small networks, and the rest of a recipe.
fn game(rest: &str) -> AdversarialRecipe {
    let small = "network = 'mlp, hidden = [8, 8]'";
    recipe(&format!(
        "[generator]\nlatent = 3\n{small}\n[training]\nbatch = 16\n[critic]\n{small}\n{rest}"
    ))
}

const CRITICS: [&str; 7] = [
    "",
    "loss = 'relativistic'\nregularisers = ['r1', { name = 'r2', every = 4 }]",
    "loss = 'wasserstein'\nsteps = 3\nregularisers = ['gradient-penalty']\nlearning_rate = 2e-3",
    "loss = 'wasserstein'\nsteps = 2\nregularisers = ['clipping']",
    "loss = 'hinge'\nregularisers = ['spectral-norm']",
    "loss = 'mmd, features = 4'\nregularisers = [{ name = 'gradient-penalty', every = 3 }]",
    "loss = 'mmd, features = 0'\nregularisers = []",
];

#[test]
fn a_game_that_is_stopped_and_resumed_ends_in_the_same_bytes() {
    for label in [None, Some("class")] {
        let bed = Bed::with_data(toy("moons", 240, label), 12);
        CRITICS.iter().for_each(|critic| resumes(&bed, &game(critic)));
    }
}

/// Pictures of 8 × 8 pixels of three levels in two classes: bright above or below.
fn pictures() -> Dataset {
    let n = 60;
    let pixel = |i: usize, y: usize| 2.0 * f32::from((y < 4) == i.is_multiple_of(2));
    let values = (0..n).flat_map(|i| (0..64).map(move |j| pixel(i, j / 8))).collect();
    let labels = (0..n).map(|i| (i % 2) as u32).collect();
    let split = Split::new(Rows::new(values, 64).expect("rows"), Some(labels)).expect("a split");
    let space = Space::image(1, 8, 8, 3).expect("pictures");
    let space = space.with_classes(vec!["above".into(), "below".into()]);
    Dataset::new("halves", space, split.clone(), split).expect("data")
}

#[test]
fn convolutional_games_learn_pictures_by_class() -> Result<()> {
    let network = "network = 'convolutional, channels = 4'";
    let of = |rest: &str| -> AdversarialRecipe {
        recipe(&format!(
            "[generator]\nlatent = 4\n{network}\n[critic]\n{network}\n{rest}\n\
             [training]\nbatch = 24\nema = 0.9\nlearning_rate = 2e-3\nflip = true"
        ))
    };
    let bed = Bed::with_data(pictures(), 12);
    resumes(&bed, &of("loss = 'wasserstein'\nregularisers = ['gradient-penalty']"));
    let bed = Bed::with_data(pictures(), 150);
    let model = bed.trained(&of("regularisers = [{ name = 'r1', weight = 0.1 }]"))?;
    for (label, sign) in [(0, 1.0), (1, -1.0)] {
        let x = host(&rows(&*model, 0..20, &Condition::class(label, 20))?);
        let right = |picture: &[f64]| {
            let sum = |half: &[f64]| half.iter().sum::<f64>();
            sign * (sum(&picture[..32]) - sum(&picture[32..])) > 0.0
        };
        assert!(x.chunks(64).filter(|picture| right(picture)).count() >= 19, "class {label}");
        // Pixels of three levels lie between the limits of their bins.
        assert!(x.iter().all(|v| (-1.0..=1.0).contains(v)));
    }
    Ok(())
}

/// Names come out as names, and integers as integers between their limits.
#[test]
fn tables_of_integers_and_names_are_generated() -> Result<()> {
    let names = vec!["a".into(), "b".into(), "c".into()];
    let name = Coordinate { kind: Kind::Category { names }, ..Coordinate::real("name") };
    let count = Kind::Quantised { low: Some(0), high: Some(4) };
    let columns = vec![name, Coordinate { kind: count, ..Coordinate::real("count") }];
    let values = (0..200).flat_map(|i| [(i % 3) as f32, ((i % 3) * 2) as f32]).collect();
    let split = Split::new(Rows::new(values, 2)?, None)?;
    let space = Space::new(Layout::Vector { width: 2 }, columns)?.fitted(split.rows())?;
    let data = Dataset::new("table", space.clone(), split.clone(), split)?;
    let bed = Bed::with_data(data, 30);
    let model = bed.trained(&game(""))?;
    let x = rows(&*model, 0..50, &Condition::None)?;
    let raw = space.decode(&Rows::from_tensor(&x)?)?;
    for row in raw.iter() {
        assert!([0.0, 1.0, 2.0].contains(&row[0]), "{row:?}");
        assert!(row[1].fract() == 0.0 && (0.0..=4.0).contains(&row[1]), "{row:?}");
    }
    assert!(model.densities().is_empty());
    Ok(())
}

#[test]
fn a_wrong_key_of_a_game_is_named_where_it_stands() {
    let cases = [
        ("critic = { loss = 'hing' }", "critic.loss: hing; expected `hinge` perhaps"),
        ("critic = { steps = 0 }", "critic.steps: 0"),
        ("critic = { learning_rate = 0.0 }", "critic.learning_rate: 0"),
        ("critic = { regularisers = ['r3'] }", "critic.regularisers"),
        ("critic = { regularisers = ['r1, weight = -1.0'] }", "critic.regularisers[0].weight: -1"),
        ("critic = { regularisers = ['r1', 'r2, every = 0'] }", "critic.regularisers[1].every: 0"),
        ("critic = { regularisers = ['r1', 'r1'] }", "critic.regularisers: two of `r1`"),
        ("critic = { regularisers = ['clipping, limit = 0.0'] }", "critic.regularisers[0].limit"),
        ("critic = { loss = 'mmd, features = 0' }", "critic.regularisers: `r1` without a critic"),
        (
            "critic = { loss = { name = 'mmd', kernel = 'gaussian, bandwidths = []' } }",
            "critic.loss.kernel.bandwidths: 0 numbers",
        ),
        (
            "critic = { loss = 'f-divergence, divergence = \"kll\"' }",
            "critic.loss.divergence: kll; expected `kl` perhaps",
        ),
        ("critic = { network = 'mlp, hidden = [0]' }", "critic.network.hidden: 0"),
        ("critic = { network = 'mlp, norm = \"batch\"' }", "critic.network.norm: unknown key"),
        ("generator = { latent = 0 }", "generator.latent: 0"),
        (
            "generator = { network = 'convolutional, kernel = 4' }",
            "generator.network.kernel: 4; expected an odd number",
        ),
        ("training = { accumulate = 2 }", "training.accumulate: 2"),
        ("training = { selection = 'best' }", "training.selection: given"),
        ("training = { averages = [0.1] }", "training.averages: given"),
        ("training = { augmentation = {} }", "training.augmentation: given"),
        ("sampling = { steps = 3 }", "sampling: unknown key"),
    ];
    for (text, expected) in cases {
        let found = refusal::<AdversarialRecipe>(text);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
    let unfit = [
        ("generator = { network = 'convolutional' }", "generator.network.name: convolutional"),
        ("critic = { network = 'convolutional' }", "critic.network.name: convolutional"),
        ("training = { dequantise = false }", "training.dequantise: false"),
        ("training = { flip = true }", "training.flip: true"),
        ("generator = { network = 'mlp, hidden = [60000, 60000]' }", "generator.network: "),
    ];
    let bed = Bed::with_data(toy("moons", 240, None), 12);
    for (text, expected) in unfit {
        let found = match bed.learner(&recipe::<AdversarialRecipe>(text)) {
            Err(error) => error.to_string(),
            Ok(_) => "accepted".into(),
        };
        assert!(found.starts_with(expected), "{text}: {found}");
    }
}

/// A loss that is not finite ends a run by its step, with the checkpoint before it.
#[test]
fn a_game_that_diverges_stops_and_keeps_its_checkpoint() -> Result<()> {
    let bed = Bed::with_data(toy("moons", 240, None), 400);
    // Of the KL an exponential of the critic's output is averaged.
    let wild = "loss = 'f-divergence'\nregularisers = []\nlearning_rate = 1.0\nsteps = 1";
    let (_, mut learner) = bed.learner(&game(wild))?;
    let folder = tempfile::tempdir().expect("a folder");
    let options =
        Loop { log_every: 1, checkpoint_after: Default::default(), ..bed.training.config() };
    let error = train(&mut *learner, folder.path(), &options, |_| Ok(())).expect_err("it diverges");
    let Error::Diverged { what, step } = &error else { panic!("{error}") };
    assert!(what.contains("became") && *step > 1, "{error}");
    let (state, at) =
        tweedie::train::load_checkpoint(&folder.path().join("checkpoint.safetensors"))?;
    assert!(at < *step && at + 2 >= *step, "{at} {step}");
    let (_, mut again) = bed.learner(&game(wild))?;
    again.load(state, folder.path())?;
    assert!(again.save()?.values().all(|data| {
        data.as_slice::<f32>().map_or(true, |values| values.iter().all(|v| v.is_finite()))
    }));
    Ok(())
}

const R1_AND_R2: &str = "'r1, weight = 0.01', 'r2, weight = 0.01'";

/// Eight Gaussians of standard deviation 0.1 on a circle of radius 2, after a short game: every one has a
/// twentieth of the samples within three standard deviations, and all together more than four fifths of them.
#[test]
fn a_game_with_penalties_finds_all_of_eight_gaussians() -> Result<()> {
    let draws = tweedie::Draws::new(5);
    let centre = |k: u64| {
        let angle = std::f64::consts::TAU * k as f64 / 8.0;
        [2.0 * angle.cos(), 2.0 * angle.sin()]
    };
    let point = |i: u64| [0, 1].map(|j| centre(i % 8)[j] + 0.1 * draws.normal_f64(i, j as u64));
    let values = (0..8000).flat_map(|i| point(i).map(|v| v as f32)).collect();
    let split = Split::new(Rows::new(values, 2)?, None)?;
    let space = Space::standardised(&["x", "y"], split.rows())?;
    let data = Dataset::new("ring", space.clone(), split.clone(), split)?;
    let network = "network = { name = 'mlp', activation = 'relu' }";
    let game: AdversarialRecipe = recipe(&format!(
        "generator = {{ latent = 2, {network} }}\n\
         training = {{ batch = 256, ema = 0.99, learning_rate = 2e-3, adamw = {{ beta_1 = 0.0, beta_2 = 0.99 }} }}\n\
         critic = {{ {network}, loss = 'relativistic', regularisers = [{R1_AND_R2}] }}"
    ));
    let model = Bed::with_data(data, 2000).trained(&game)?;
    let raw = space.decode(&Rows::from_tensor(&rows(&*model, 0..4000, &Condition::None)?)?)?;
    let mut shares = [0.0; 8];
    for row in raw.iter() {
        for k in 0..8 {
            let [x, y] = centre(k);
            let apart = (f64::from(row[0]) - x).hypot(f64::from(row[1]) - y);
            shares[k as usize] += f64::from(u8::from(apart < 0.3)) / 4000.0;
        }
    }
    println!("{shares:.3?}, {:.3}", shares.iter().sum::<f64>());
    // An even ring would have 0.048 at each, and 0.38 in all.
    assert!(shares.iter().all(|share| *share > 0.05), "{shares:?}");
    assert!(shares.iter().sum::<f64>() > 0.8, "{shares:?}");
    Ok(())
}
