//! The transformer against PyTorch's (`bench/transformer_peer.py` writes the file read here), and its properties by
//! construction.

use crate::layers::derivative;
use crate::support::*;
use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use serde_json::Value;
use std::path::Path;
use tweedie::nn::*;
use tweedie::train::AdamW;
use tweedie::{Draws, Error};

fn peer() -> Value {
    let text = include_str!("../fixtures/transformer.json");
    serde_json::from_str(text).expect("the fixture is JSON")
}

fn array(value: &Value) -> (Vec<usize>, Vec<f32>) {
    let part = |key: &str| value[key].clone();
    let shape = serde_json::from_value(part("shape")).expect("a shape");
    (shape, serde_json::from_value(part("values")).expect("values"))
}

fn tokens(value: &Value) -> Tensor<3> {
    let (shape, values) = array(value);
    singles(values, shape.try_into().expect("samples, tokens, width"))
}

fn doubled(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

/// The fixture's network, from its state dict as it is.
fn network(peer: &Value) -> Transformer {
    let weights = peer["weights"].as_object().expect("weights");
    let data = |value| {
        let (shape, values) = array(value);
        TensorData::new(values, shape)
    };
    let params: Params = weights.iter().map(|(key, value)| (key.clone(), data(value))).collect();
    let config = TransformerConfig::new(4, 2, 2).with_hidden(6);
    let network = config.init(&Draws::new(1), &cpu()).unwrap();
    map_params(network, &params, Path::new("transformer.json")).unwrap()
}

#[test]
fn output_and_gradients_are_pytorch_s() {
    let peer = peer();
    let network = network(&peer).train();
    let x = tokens(&peer["x"]).autodiff().require_grad();
    let y = network.forward(x.clone().into()).value;
    all_close("y", &host(&y), &host(&tokens(&peer["y"])), 1e-5);
    let gradients = (y * tokens(&peer["upstream"]).autodiff()).sum().backward();
    all_close("dx", &host(&x.grad(&gradients).unwrap()), &host(&tokens(&peer["dx"])), 1e-5);
    let found = AdamW::gradients(&network, &gradients);
    let expected = peer["gradients"].as_object().unwrap();
    assert_eq!(found.len(), expected.len());
    // A bias of keys shifts all scores of a query alike, so that its gradient is rounding; it is small beside the rest.
    for (name, expected) in expected {
        all_close(name, &host(&found[name]), &doubled(&array(expected).1), 1e-5);
    }
}

#[test]
fn directional_derivatives_of_the_transformer() {
    let peer = peer();
    let network = network(&peer);
    derivative("transformer", tokens(&peer["x"]), 3e-3, |x| network.forward(x));
    derivative("layer norm", tokens(&peer["y"]), 3e-3, |x| network.norm.forward(x));
}

/// Attention without positions sees a set: permuted tokens give permuted outputs, and samples do not see each other.
#[test]
fn tokens_are_a_set_and_samples_are_alone() {
    let peer = peer();
    let network = network(&peer);
    let x = tokens(&peer["x"]);
    let y = network.forward(x.clone().into()).value;
    let turn = |x: &Tensor<3>| {
        let part = |from, len| x.clone().narrow(1, from, len);
        Tensor::cat(vec![part(1, 2), part(0, 1)], 1)
    };
    let turned = network.forward(turn(&x).into()).value;
    all_close("turned", &host(&turned), &host(&turn(&y)), 1e-5);
    let second = network.forward(x.narrow(0, 1, 1).into()).value;
    all_close("alone", &host(&second), &host(&y.narrow(0, 1, 1)), 1e-6);
}

#[test]
fn sizes_that_make_no_network_are_errors() {
    let init = |config: TransformerConfig| config.init(&Draws::new(1), &cpu()).map(drop);
    assert!(init(TransformerConfig::new(6, 3, 1)).is_ok());
    for config in [
        TransformerConfig::new(6, 4, 1),
        TransformerConfig::new(6, 0, 1),
        TransformerConfig::new(0, 1, 1),
        TransformerConfig::new(6, 3, 1).with_hidden(0),
    ] {
        assert!(matches!(init(config), Err(Error::Config { .. })));
    }
}
