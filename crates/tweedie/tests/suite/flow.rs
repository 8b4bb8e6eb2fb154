//! Normalising flows: the contract of bijections, the density of a flow, and the family.

mod continuous;
pub mod contract;
mod family;
mod layers;
mod oracle;
mod pictures;
mod points;
mod residual;

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
/// The tolerance of the solver of continuous flows.
const TOLERANCE: f64 = 1e-8;

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
    let of_rows = |name: &str| name != "convolutional-coupling";
    for name in AnyBijectionConfig::NAMES.iter().map(|entry| entry.0).filter(|name| of_rows(name)) {
        if name == "continuous" {
            let json = json!({ "name": name, "hidden": [8], "tolerance": TOLERANCE });
            stacks.push((name.to_string(), vec![layer(json)]));
            continue;
        }
        if !["coupling", "masked"].contains(&name) {
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

/// A bar of rounding, or that of a solver with [`TOLERANCE`] in each of four layers.
fn bar(what: &str, rounding: f64) -> f64 {
    if what.contains("continuous") { rounding.max(100.0 * TOLERANCE) } else { rounding }
}

/// Flows of all [`stacks`] with random weights.
fn flows(width: usize, given: Given, sd: f32) -> Vec<(String, Flow)> {
    let flow = |(name, layers): (String, Vec<AnyBijectionConfig>)| {
        let flow = given.config(width).with_layers(layers).init(&Draws::new(3), &cpu()).unwrap();
        (format!("{name} of {width} columns given {given:?}"), randomised(flow, sd))
    };
    stacks().into_iter().map(flow).collect()
}

/// Flows on pictures with random weights, with the number of values of a picture.
fn picture_flows(given: Given, sd: f32) -> Vec<(String, Flow, usize)> {
    let coupling = |mask: &str, map: &str| {
        json!({
            "name": "convolutional-coupling", "mask": mask, "features": 4, "blocks": 1, "map": { "name": map },
        })
    };
    let flow = |what: String, picture: [usize; 3], keys: serde_json::Value| {
        let width = picture.iter().product();
        let (classes, vector) = (given.config(width).classes, given.config(width).vector);
        let mut config: FlowConfig = serde_json::from_value(keys).expect("a flow");
        (config.width, config.classes, config.vector) = (width, classes, vector);
        let flow = config.with_picture(picture).init(&Draws::new(3), &cpu()).unwrap();
        (format!("{what} of {picture:?} given {given:?}"), randomised(flow, sd), width)
    };
    let mut flows = Vec::new();
    for (map, _) in AnyScalarMap::NAMES {
        for (mask, picture) in [("channels", [3, 1, 2]), ("checkerboard", [2, 2, 3])] {
            let layers = [coupling(mask, map)];
            let what = format!("{mask} and {map}");
            flows.push(flow(what, picture, json!({ "depth": 2, "layers": layers })));
        }
    }
    for name in ["linear", "activation-norm"] {
        let layers = [json!({ "name": name, "channels": true })];
        let what = format!("{name} of channels");
        flows.push(flow(what, [3, 2, 2], json!({ "depth": 2, "layers": layers })));
    }
    for (map, _) in AnyScalarMap::NAMES {
        let network = json!({ "width": 8, "layers": 1, "heads": 2 });
        let layer = json!({ "name": "transformer", "patch": 2, "network": network, "map": map });
        let what = format!("transformer of patches and {map}");
        flows.push(flow(what, [2, 2, 4], json!({ "depth": 2, "layers": [layer] })));
    }
    let layers = [
        json!({ "name": "activation-norm", "channels": true }),
        json!({ "name": "linear", "channels": true }),
        coupling("channels", "affine"),
    ];
    let keys = json!({ "levels": 2, "depth": 2, "first": [{ "name": "logit" }], "layers": layers });
    flows.push(flow("Glow".into(), [1, 4, 8], keys));
    let layers = [coupling("checkerboard", "affine"), coupling("channels", "affine")];
    flows.push(flow(
        "RealNVP".into(),
        [1, 4, 8],
        json!({ "levels": 2, "depth": 1, "layers": layers }),
    ));
    flows
}

/// All flows under test of two and five columns, and of pictures.
fn all_flows(given: Given, sd: f32) -> Vec<(String, Flow, usize)> {
    let rows =
        |width| flows(width, given, sd).into_iter().map(move |(what, flow)| (what, flow, width));
    [2, 5].into_iter().flat_map(rows).chain(picture_flows(given, sd)).collect()
}

/// The last of [`flows`].
fn mixing(width: usize, given: Given, sd: f32) -> Flow {
    flows(width, given, sd).pop().expect("a flow").1
}

/// The same in double precision.
fn double(flow: &Flow) -> Flow {
    moved(flow, 0.0)
}
