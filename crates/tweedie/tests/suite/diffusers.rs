//! Networks, samples and files of diffusers (`bench/diffusers_peer.py` writes the folders read here).

use crate::support::*;
use burn::tensor::Tensor;
use std::path::{Path, PathBuf};
use tweedie::denoise::Condition;
use tweedie::diffusers;
use tweedie::nn::*;

/// Every configuration, with the number of its chain's steps.
const NAMES: [(&str, usize); 7] = [
    ("ddpm", 1000),
    ("cosine", 1000),
    ("resnet-resampling", 1000),
    ("attention-resampling", 1000),
    ("fourier", 1000),
    ("learned", 100),
    ("three-levels", 1000),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/diffusers").join(name)
}

/// The peer's unit-variance numbers.
fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (3f64.sqrt() * (2.0 * ((state >> 11) as f64 / (1u64 << 53) as f64) - 1.0)) as f32
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn expected(name: &str, key: &str) -> Vec<f64> {
    let params = load_safetensors(&fixture(name).join("expected.safetensors")).unwrap();
    params[key].1.iter().map(|v| f64::from(*v)).collect()
}

/// The condition that the peer gave to both rows.
fn condition(config: &UNetConfig) -> Condition {
    match (config.class_embed_type, config.num_class_embeds) {
        (Some(ClassEmbedType::Identity), _) => {
            let width = config.time_width();
            let values = singles(numbers(7, 2 * width), [2, width]);
            Condition::Vector { values, present: vec![true; 2] }
        }
        (None, None) => Condition::None,
        _ => Condition::Class(vec![Some(3), Some(1)]),
    }
}

#[test]
fn networks_give_what_diffusers_gives() {
    for (name, steps) in NAMES {
        let network = diffusers::load_unet(&fixture(name).join("unet"), &cpu()).unwrap();
        let width = network.width();
        let x = singles(numbers(1, 2 * width), [2, width]);
        let times = Tensor::from_floats([[(steps / 3) as f32], [(steps - 7) as f32]], &cpu());
        let condition = condition(network.config());
        let found = network.forward(x.into(), times.into(), &condition).unwrap();
        all_close(name, &host(&found.value), &expected(name, "output"), 1e-4);
    }
}

#[test]
fn parameters_are_counted_before_they_are_made() {
    for (name, _) in NAMES {
        let network = diffusers::load_unet(&fixture(name).join("unet"), &cpu()).unwrap();
        assert_eq!(network.config().parameters(), param_count(&network) as u128, "{name}");
    }
}
