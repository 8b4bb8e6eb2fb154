//! Normalising flows: the contract of bijections, the density of a flow, and the family.

mod contract;
mod family;

use crate::double::moved;
use crate::dual::randomised;
use crate::support::cpu;
use tweedie::Draws;
use tweedie::data::Condition;
use tweedie::nn::flow::{AnyBijectionConfig, Flow, FlowConfig};

/// What the rows of a flow are conditioned on.
#[derive(Debug, Clone, Copy)]
enum Given {
    Nothing,
    Class,
    Vector,
}

const CLASSES: usize = 3;
const VECTOR: usize = 2;

impl Given {
    const ALL: [Given; 3] = [Given::Nothing, Given::Class, Given::Vector];

    /// Conditions that differ from row to row, in double precision.
    fn condition(self, rows: usize) -> Condition {
        match self {
            Given::Nothing => Condition::None,
            Given::Class => {
                Condition::Class((0..rows).map(|i| Some((i % CLASSES) as u32)).collect())
            }
            Given::Vector => {
                let values = crate::dual::normal("vectors", [rows, VECTOR]);
                Condition::Vector { values, present: vec![true; rows] }
            }
        }
    }

    fn config(self, width: usize) -> FlowConfig {
        let (classes, vector) = match self {
            Given::Nothing => (0, 0),
            Given::Class => (CLASSES, 0),
            Given::Vector => (0, VECTOR),
        };
        FlowConfig::new(width).with_classes(classes).with_vector(vector).with_depth(4)
    }
}

/// The default configuration of a bijection by its name.
fn named(name: &str) -> AnyBijectionConfig {
    let json = match name {
        "coupling" => serde_json::json!({ "name": name, "hidden": [16, 16] }),
        name => serde_json::json!({ "name": name }),
    };
    serde_json::from_value(json).expect("a bijection of this name")
}

/// Flows of every kind of bijection alone and of couplings with permutations, with random weights.
fn flows(width: usize, given: Given, sd: f32) -> Vec<(String, Flow)> {
    let alone = AnyBijectionConfig::NAMES.iter().map(|(name, _)| vec![*name]);
    let all = alone.chain([vec!["coupling", "permutation"]]);
    let flow = |names: Vec<&str>| {
        let layers = names.iter().map(|name| named(name)).collect();
        let flow = given.config(width).with_layers(layers).init(&Draws::new(3), &cpu()).unwrap();
        (format!("{names:?} of {width} columns given {given:?}"), randomised(flow, sd))
    };
    all.map(flow).collect()
}

/// The last of [`flows`].
fn mixing(width: usize, given: Given, sd: f32) -> Flow {
    flows(width, given, sd).pop().expect("a flow").1
}

/// The same in double precision.
fn double(flow: &Flow) -> Flow {
    moved(flow, 0.0)
}
