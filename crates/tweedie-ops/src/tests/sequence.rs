//! Layers on columns that come one after the other, against the same layers on all columns at once.

use super::common::*;
use crate::kernels::activation::Activation;
use crate::{LinearLayer, Sequence};
use burn::tensor::{DType, Device, Tensor, TensorData};
use proptest::prelude::*;

fn tensor<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    let data = TensorData::new(numbers(shape.iter().product(), seed), shape);
    Tensor::from_data(data, (device, DType::F32))
}

fn values(x: Tensor<2>) -> Vec<f32> {
    x.to_data().try_into_vec().unwrap()
}

/// The degrees of `units` units: unit u of degree u columns / units, so that a layer's reaches are prefixes.
fn degrees(units: usize, columns: usize) -> Vec<usize> {
    (0..units).map(|u| u * columns / units).collect()
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn columns_in_turn_give_what_all_at_once_give(
        rows in prop_oneof![1usize..20, 50usize..70, 100usize..300],
        columns in 1usize..7, hidden in 1usize..40, outputs in 1usize..4,
        direct: bool, features: bool, add: bool, seed in 0u64..1000,
    ) {
        let device = Device::flex();
        let x = tensor([rows, columns], seed, &device);
        let of = |out: usize, input: usize, k: u64| {
            let weight = tensor::<2>([out, input], seed + k, &device) / input as f64;
            (weight, Some(tensor::<1>([out], seed + k + 1, &device)))
        };
        let all = outputs * columns;
        let layers = vec![of(hidden, columns, 10), of(hidden, hidden, 20), of(all, hidden, 30)];
        let direct = direct.then(|| of(all, columns, 40).0);
        let features = features.then(|| tensor::<2>([rows, hidden], seed + 50, &device));
        // A unit of degree m reads m columns, an output of column j reads j.
        let degrees = degrees(hidden, columns);
        let reach = |m: usize| degrees.partition_point(|degree| *degree <= m);
        let reaches = [
            degrees.clone(),
            degrees.iter().map(|m| reach(*m)).collect(),
            (0..all).map(|o| reach(o % columns)).collect(),
        ];
        let layer = |k: usize, activation| LinearLayer {
            weight: layers[k].0.clone(),
            bias: layers[k].1.clone(),
            activation,
            reach: Some(reaches[k].clone().into()),
        };
        let (silu, none) = (Activation::Silu, Activation::None);
        let first = crate::mlp(x.clone(), vec![layer(0, none)], features.clone());
        let first = crate::activate(first, silu);
        let second = crate::mlp(first.clone(), vec![layer(1, silu)], add.then_some(first));
        let mut exact = crate::mlp(second, vec![layer(2, none)], None);
        if let Some(direct) = &direct {
            let reach = Some((0..all).map(|o| o % columns).collect());
            let layer = LinearLayer { weight: direct.clone(), bias: None, activation: none, reach };
            exact = exact + crate::mlp(x.clone(), vec![layer], None);
        }
        let run = || {
            let (layers, features) = (layers.clone(), features.clone());
            let mut sequence = Sequence::new(rows, layers, direct.clone(), features).unwrap();
            let mut found = Vec::new();
            for j in 0..columns {
                let new = |degree: &usize| *degree == j;
                let units: Vec<usize> = (0..hidden).filter(|u| new(&degrees[*u])).collect();
                sequence.hidden(0, &units, silu, false);
                sequence.hidden(1, &units, silu, add);
                let outputs: Vec<usize> = (0..all).filter(|o| o % columns == j).collect();
                found.push(values(sequence.outputs(&outputs)));
                assert!(sequence.push(x.clone().narrow(1, j, 1)));
            }
            found.push(values(sequence.known(0)));
            found
        };
        let found = on_any_threads(run);
        let exact = wide(&values(exact));
        for (j, found) in found[..columns].iter().enumerate() {
            let wanted = exact.chunks(columns).map(|row| row[j]);
            assert_close(&format!("column {j}"), found, &wanted.collect::<Vec<_>>(), 3e-6);
        }
        assert_same("columns", &found[columns], &values(x));
    }
}

/// A row among others has the bits that it has alone, and what is recorded is refused.
#[test]
fn a_row_does_not_depend_on_others() {
    let device = Device::flex();
    let weight = tensor::<2>([9, 5], 1, &device);
    let x = tensor::<2>([70, 5], 2, &device);
    let outputs = |rows: Tensor<2>| {
        let layers = vec![(weight.clone(), None)];
        let mut sequence = Sequence::new(rows.dims()[0], layers, None, None).unwrap();
        assert!(sequence.push(rows));
        values(sequence.outputs(&[0, 3, 4, 8, 2, 1, 7]))
    };
    let all = outputs(x.clone());
    for row in [0, 15, 63, 64, 69] {
        assert_same("a row", &outputs(x.clone().narrow(0, row, 1)), &all[7 * row..][..7]);
    }
    let recorded = weight.clone().autodiff().require_grad();
    assert!(Sequence::new(3, vec![(recorded.clone(), None)], None, None).is_none());
    let mut sequence = Sequence::new(9, vec![(weight, None)], None, None).unwrap();
    assert!(!sequence.push(recorded.narrow(1, 0, 1)));
}
