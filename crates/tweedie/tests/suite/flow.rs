//! Normalising flows: the contract of bijections, the density of a flow, and the family.

mod contract;
mod family;
mod layers;

use crate::double::moved;
use crate::dual::randomised;
use crate::support::cpu;
use serde_json::json;
use tweedie::Draws;
use tweedie::data::Condition;
use tweedie::nn::flow::{AnyBijectionConfig, AnyScalarMap, Flow, FlowConfig};

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

/// The layers of the flows under test, with names: every bijection, every pair of a network and a map, and mixtures.
fn stacks() -> Vec<(String, Vec<AnyBijectionConfig>)> {
    let layer = |json: serde_json::Value| serde_json::from_value(json).expect("a bijection");
    let mut stacks: Vec<(String, Vec<AnyBijectionConfig>)> = Vec::new();
    for (name, _) in AnyBijectionConfig::NAMES {
        if !["coupling", "masked"].contains(name) {
            stacks.push((name.to_string(), vec![layer(json!({ "name": name }))]));
            continue;
        }
        for (map, _) in AnyScalarMap::NAMES {
            let json = json!({ "name": name, "hidden": [16, 16], "map": { "name": map } });
            stacks.push((format!("{name} and {map}"), vec![layer(json)]));
        }
    }
    let hidden = [16, 16];
    let inverse = json!({ "name": "masked", "hidden": hidden, "inverse": true, "residual": true });
    stacks.push(("inverse masked".into(), vec![layer(inverse)]));
    for name in ["planar", "radial"] {
        let json = json!({ "name": name, "inverse": true });
        stacks.push((format!("inverse {name}"), vec![layer(json)]));
    }
    let periodic = json!({ "name": "spline", "bins": 3, "bound": 2.0, "periodic": true });
    let periodic = json!({ "name": "masked", "hidden": hidden, "map": periodic });
    stacks.push(("periodic spline".into(), vec![layer(periodic)]));
    let coupling = json!({ "name": "coupling", "hidden": hidden });
    let mixing = vec![layer(coupling), layer(json!({ "name": "permutation" }))];
    stacks.push(("coupling, permutation".into(), mixing));
    stacks
}

/// Flows of all [`stacks`] with random weights.
fn flows(width: usize, given: Given, sd: f32) -> Vec<(String, Flow)> {
    let flow = |(name, layers): (String, Vec<AnyBijectionConfig>)| {
        let flow = given.config(width).with_layers(layers).init(&Draws::new(3), &cpu()).unwrap();
        (format!("{name} of {width} columns given {given:?}"), randomised(flow, sd))
    };
    stacks().into_iter().map(flow).collect()
}

/// The last of [`flows`].
fn mixing(width: usize, given: Given, sd: f32) -> Flow {
    flows(width, given, sd).pop().expect("a flow").1
}

/// The same in double precision.
fn double(flow: &Flow) -> Flow {
    moved(flow, 0.0)
}
