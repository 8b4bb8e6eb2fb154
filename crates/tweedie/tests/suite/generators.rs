//! The contract of every generator of rows: row i depends on the draws and on i, not on the range.

use crate::oracle::{COSINE, eight_gaussians};
use crate::support::{cpu, host};
use std::path::Path;
use std::sync::Arc;
use tweedie::Draws;
use tweedie::data::{Condition, Generate, Space, Toy};
use tweedie::latent::LatentConfig;
use tweedie::mcmc::{Banana, Funnel};
use tweedie::nn::autoregressive::AutoregressiveConfig;
use tweedie::nn::flow::FlowConfig;
use tweedie::solve::Sampler;

/// Generators by the names of their types.
fn generators() -> Vec<(&'static str, Box<dyn Generate>)> {
    let flow = FlowConfig::new(3).with_depth(2).init(&Draws::new(0), &cpu()).expect("a flow");
    let space = Space::image(1, 3, 3, 5).expect("a space");
    let columns = AutoregressiveConfig::default().init(&space, &Draws::new(0), &cpu());
    let columns = columns.expect("an autoregressive model");
    let latent = LatentConfig::default().init(&space, &Draws::new(0), &cpu());
    let latent = latent.expect("a latent-variable model");
    let sampler = Sampler::new(Arc::new(eight_gaussians()), Arc::new(COSINE)).with_steps(8);
    let mut all: Vec<(&'static str, Box<dyn Generate>)> = vec![
        ("Banana", Box::new(Banana::default())),
        ("Funnel", Box::new(Funnel::default())),
        ("GaussianMixture", Box::new(eight_gaussians())),
        ("Flow", Box::new(flow)),
        ("Autoregressive", Box::new(columns)),
        ("LatentVariable", Box::new(latent)),
        ("Sampler", Box::new(sampler)),
    ];
    all.extend(Toy::ALL.map(|toy| ("Toy", Box::new(toy) as Box<dyn Generate>)));
    all
}

/// Generators that only a family's model has, which the test of every family runs.
const OF_FAMILIES: [&str; 7] =
    ["ByClass", "ChainEnds", "Generator", "Player", "RowCounter", "ShuffledDraws", "TemperedFlow"];

/// The types that the library's sources make generators.
fn implementors(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(implementors(&path));
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("text");
        let lines = text.lines().filter(|line| line.starts_with("impl"));
        let names = lines.filter_map(|line| Some(line.split_once(" Generate for ")?.1));
        let name = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric()).collect();
        found.extend(names.map(name));
    }
    found
}

#[test]
fn rows_of_every_generator_are_addressed() {
    let all = generators();
    for (name, generator) in &all {
        let rows = |range: std::ops::Range<u64>| {
            let draws = Draws::new(4).purpose("rows");
            host(&generator.generate(range, &Condition::None, &draws, &cpu()).expect("rows"))
        };
        let (batch, part, alone) = (rows(0..16), rows(3..7), rows(6..7));
        let width = alone.len();
        assert_eq!(batch.len(), 16 * width, "{name}");
        assert_eq!(part, batch[3 * width..7 * width], "{name}");
        assert_eq!(alone, batch[6 * width..7 * width], "{name}");
        assert!(batch[..width] != batch[width..2 * width], "{name}: the rows are all alike");
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let known = |name: &String| {
        OF_FAMILIES.contains(&name.as_str()) || all.iter().any(|(own, _)| own == name)
    };
    let found = implementors(&source);
    assert!(found.len() >= all.len() - Toy::ALL.len() + OF_FAMILIES.len());
    let unknown: Vec<_> = found.iter().filter(|name| !known(name)).collect();
    assert!(unknown.is_empty(), "generators that no test runs: {unknown:?}");
}
