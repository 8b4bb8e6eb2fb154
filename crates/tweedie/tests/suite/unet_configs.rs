//! Configurations of UNets: every one that passes its check is a network that runs.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use tweedie::Draws;
use tweedie::burn::tensor::{Device, Tensor};
use tweedie::data::Condition;
use tweedie::nn::{
    DownBlock, Network, Resampling, TimeEmbeddingType, TimeScaleShift, UNetConfig, UpBlock,
};

/// Small configurations, most of which make sense.
fn configs() -> impl Strategy<Value = UNetConfig> {
    let level = || {
        (
            select(vec![DownBlock::Plain, DownBlock::Resnet, DownBlock::Attention]),
            select(vec![UpBlock::Plain, UpBlock::Resnet, UpBlock::Attention]),
            select(vec![2usize, 4, 6, 8, 12]),
        )
    };
    let resampling = || select(vec![Resampling::Conv, Resampling::Resnet]);
    let embedding = select(vec![
        TimeEmbeddingType::Positional,
        TimeEmbeddingType::Fourier,
        TimeEmbeddingType::Learned,
    ]);
    let sizes = (
        prop::collection::vec(level(), 1..4),
        [1usize..9, 1usize..9],
        1usize..4,
        1usize..3,
        0usize..4,
        prop::option::of(1usize..9),
        select(vec![1usize, 2, 4]),
        prop::option::of(1usize..5),
    );
    let features = prop::collection::vec(0u32..9, 0..3);
    let kinds = (resampling(), resampling(), embedding, any::<bool>(), any::<bool>(), features);
    (sizes, kinds).prop_map(|(sizes, kinds)| {
        let (levels, [height, width], channels, layers, padding, head, groups, middle) = sizes;
        let (down, up, embedding, scale_shift, attention, fourier_features) = kinds;
        UNetConfig {
            down_block_types: levels.iter().map(|level| level.0).collect(),
            up_block_types: levels.iter().map(|level| level.1).collect(),
            block_out_channels: levels.iter().map(|level| level.2).collect(),
            layers_per_block: layers,
            downsample_padding: padding,
            downsample_type: down,
            upsample_type: up,
            attention_head_dim: head,
            norm_num_groups: groups,
            attn_norm_num_groups: middle,
            time_embedding_type: embedding,
            num_train_timesteps: Some(10),
            resnet_time_scale_shift: if scale_shift {
                TimeScaleShift::ScaleShift
            } else {
                TimeScaleShift::Default
            },
            add_attention: attention,
            fourier_features,
            ..UNetConfig::small([channels, height, width])
        }
    })
}

#[test]
fn every_configuration_that_passes_the_check_runs() {
    let config = ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    };
    let ran = std::sync::atomic::AtomicU64::new(0);
    proptest!(config, |(config in configs())| {
        let Ok(network) = config.init(&Draws::new(0), &Device::flex()) else { return Ok(()) };
        let width = network.width();
        let x: Tensor<2> = Draws::new(1).normals(0..2, width).to_tensor(&Device::flex());
        let noise = Tensor::<2>::from_floats([[1.0], [7.0]], &Device::flex());
        let y = network.forward(x.into(), noise.into(), &Condition::None).unwrap().value;
        prop_assert_eq!(y.dims(), [2, width]);
        let sum = y.abs().sum().into_scalar::<f32>();
        prop_assert!(sum.is_finite());
        ran.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let ran = ran.into_inner();
    assert!(ran > 100, "only {ran} configurations pass");
}
