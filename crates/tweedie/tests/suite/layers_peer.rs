//! Layers: values and gradients against PyTorch's (`bench/layers_peer.py` writes the file read here).

use crate::layers::draws;
use crate::support::*;
use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use serde_json::Value;
use std::path::Path;
use tweedie::nn::*;
use tweedie::tensor::Dual;

struct Peer(Value);

impl Peer {
    fn read() -> Self {
        let text = include_str!("../fixtures/layers.json");
        Self(serde_json::from_str(text).expect("the fixture is JSON"))
    }

    fn values(&self, pointer: &str) -> Vec<f64> {
        let value = self.0.pointer(&format!("{pointer}/values")).expect(pointer);
        serde_json::from_value(value.clone()).expect(pointer)
    }

    fn tensor<const D: usize>(&self, pointer: &str) -> Tensor<D> {
        let shape = self.0.pointer(&format!("{pointer}/shape")).expect(pointer);
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).expect(pointer);
        let values = self.values(pointer).iter().map(|v| *v as f32).collect();
        singles(values, shape.try_into().expect("the rank asked for"))
    }

    fn param<const D: usize>(&self, pointer: &str) -> Param<Tensor<D>> {
        Param::from_tensor(self.tensor::<D>(pointer).autodiff().require_grad())
    }

    /// A layer's output and its gradients by x, weight and bias, each to 1e-5 of the largest value.
    fn layer<const D: usize, const W: usize>(
        &self,
        name: &str,
        weight: Tensor<W>,
        bias: Tensor<1>,
        forward: impl Fn(Dual<D>) -> Dual<D>,
    ) {
        let x = self.tensor::<D>(&format!("/{name}/x")).autodiff().require_grad();
        let y = forward(x.clone().into()).value;
        all_close(format!("{name}: y"), &host(&y), &self.values(&format!("/{name}/y")), 1e-5);
        let gradients = (y * self.tensor(&format!("/{name}/upstream"))).sum().backward();
        let check = |what: &str, found: Vec<f64>| {
            let expected = self.values(&format!("/{name}/{what}"));
            all_close(format!("{name}: {what}"), &found, &expected, 1e-5);
        };
        check("dx", host(&x.grad(&gradients).unwrap()));
        check("dweight", host(&weight.grad(&gradients).unwrap()));
        check("dbias", host(&bias.grad(&gradients).unwrap()));
    }
}

#[test]
fn linear_is_pytorch_s() {
    let peer = Peer::read();
    let layer =
        Linear { weight: peer.param("/linear/weight"), bias: Some(peer.param("/linear/bias")) };
    let bias = layer.bias.as_ref().unwrap().val();
    peer.layer("linear", layer.weight.val(), bias, |x| layer.forward(x));
}

#[test]
fn convolutions_are_pytorch_s() {
    let peer = Peer::read();
    let cases = [("conv2d", 1), ("conv2d_stride_2", 2), ("conv2d_wide", 1), ("conv2d_point", 1)];
    for (name, stride) in cases {
        let bias: Param<Tensor<1>> = peer.param(&format!("/{name}/bias"));
        let weight: Param<Tensor<4>> = peer.param(&format!("/{name}/weight"));
        let half = weight.dims()[2] / 2;
        let layer =
            Conv2d { weight, bias: Some(bias), stride, padding: [(half, half as isize); 2] };
        let bias = layer.bias.as_ref().unwrap().val();
        peer.layer(name, layer.weight.val(), bias, |x| as_pytorch(x, |x| layer.forward(x)));
    }
}

/// A layer of channels-last pictures on PyTorch's.
fn as_pytorch(x: Dual<4>, layer: impl Fn(Dual<4>) -> Dual<4>) -> Dual<4> {
    layer(x.linear(|x| x.permute([0, 2, 3, 1]))).linear(|y| y.permute([0, 3, 1, 2]))
}

#[test]
fn group_norm_is_pytorch_s() {
    let peer = Peer::read();
    let of = |name: &str, groups: usize| GroupNorm {
        weight: peer.param(&format!("/{name}/weight")),
        bias: peer.param(&format!("/{name}/bias")),
        ..GroupNormConfig::new(groups, groups).init(&cpu())
    };
    let images = of("group_norm", 2);
    let (weight, bias) = (images.weight.val(), images.bias.val());
    peer.layer("group_norm", weight, bias, |x: Dual<4>| as_pytorch(x, |x| images.forward(x)));
    let rows = of("group_norm_rows", 1);
    let (weight, bias) = (rows.weight.val(), rows.bias.val());
    peer.layer("group_norm_rows", weight, bias, |x: Dual<2>| rows.forward(x));
}

#[test]
fn embedding_is_pytorch_s() {
    let peer = Peer::read();
    let table = Embedding { weight: peer.param("/embedding/weight") };
    let indices: Vec<u32> =
        peer.values("/embedding/x").into_iter().map(|index| index as u32).collect();
    let y = table.forward(&indices).value;
    assert_eq!(host(&y), host(&peer.tensor::<2>("/embedding/y")));
    let gradients = (y * peer.tensor("/embedding/upstream")).sum().backward();
    let found = host(&table.weight.val().grad(&gradients).unwrap());
    all_close("embedding: dweight", &found, &peer.values("/embedding/dweight"), 1e-5);
}

#[test]
fn activations_are_pytorch_s() {
    let peer = Peer::read();
    for (name, activation) in [
        ("silu", Activation::Silu),
        ("gelu", Activation::Gelu),
        ("relu", Activation::Relu),
        ("tanh", Activation::Tanh),
        ("softplus", Activation::Softplus),
    ] {
        let x = peer.tensor::<1>(&format!("/{name}/x"));
        let tracked = x.clone().autodiff().require_grad();
        let value = activation.forward(tracked.clone().into()).value;
        let gradient = tracked.grad(&value.clone().sum().backward()).unwrap();
        let one = Dual::new(x.clone(), x.ones_like());
        let tangent = activation.forward(one).tangent.unwrap();
        let (y, dx) = (peer.values(&format!("/{name}/y")), peer.values(&format!("/{name}/dx")));
        for (i, x) in host(&x).into_iter().enumerate() {
            let at = |what| format!("{what} of {name} at {x}");
            within(at("value"), host(&value)[i], y[i], 1e-5 * y[i].abs().max(0.1));
            within(at("gradient"), host(&gradient)[i], dx[i], 1e-5);
            within(at("tangent"), host(&tangent)[i], dx[i], 1e-5);
        }
    }
}

#[test]
fn parameters_are_named_and_shaped_as_pytorch_s() {
    let network =
        ResidualMlpConfig::new(2).with_hidden(8).with_blocks(2).init(&draws("mlp"), &cpu());
    let params = collect_params(&network).unwrap();
    let shape = |path: &str| params[path].shape().as_slice().to_vec();
    assert_eq!(shape("input.weight"), [8, 2]);
    assert_eq!(shape("blocks.1.linear_1.bias"), [8]);
    assert_eq!(shape("time.linear_1.weight"), [8, 32]);
    assert_eq!(params.values().map(TensorData::num_elements).sum::<usize>(), param_count(&network));
    // Initial values are uniform in ±1/√in, depend on the seed and on the path, and on nothing else.
    let bound = 1.0 / 2f32.sqrt();
    assert!(params["input.weight"].iter::<f32>().all(|v| v.abs() <= bound));
    let wider = ResidualMlpConfig::new(2).with_hidden(8).with_blocks(3).init(&draws("mlp"), &cpu());
    assert_eq!(
        collect_params(&wider).unwrap()["blocks.1.linear_1.weight"],
        params["blocks.1.linear_1.weight"]
    );
    assert_ne!(params["blocks.0.linear_1.weight"], params["blocks.1.linear_1.weight"]);
    // A missing, a superfluous and a misshapen parameter are errors that name it.
    let replace = |change: &dyn Fn(&mut Params)| {
        let mut changed = params.clone();
        change(&mut changed);
        map_params(network.clone(), &changed, Path::new("file")).map(drop).unwrap_err().to_string()
    };
    let missing = replace(&|p| drop(p.remove("norm.weight")));
    assert!(missing.contains("norm.weight") && missing.contains("missing"), "{missing}");
    let extra = replace(&|p| drop(p.insert("more".into(), TensorData::new(vec![0.0f32], [1]))));
    assert!(extra.contains("more") && extra.contains("unknown"), "{extra}");
    let shape =
        replace(&|p| drop(p.insert("norm.bias".into(), TensorData::new(vec![0.0f32; 4], [4]))));
    assert!(shape.contains("norm.bias") && shape.contains("[8]"), "{shape}");
}
