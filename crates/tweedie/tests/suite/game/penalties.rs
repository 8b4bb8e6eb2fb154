//! Penalties of slopes, and limits of weights.

use super::*;
use crate::double::along_parameters;
use crate::dual::normal;
use burn::module::Module;
use burn::tensor::DType;
use faer::Mat;
use std::path::Path;
use tweedie::data::Condition;
use tweedie::game::{AdversaryConfig, AnyGameLoss, AnyRegulariser, GradientPenalty, Round, Slopes};
use tweedie::nn::game::Play;
use tweedie::nn::{collect_params, map_params};
use tweedie::objective::Loss;
use tweedie::tensor::{Dual, gradient};
use tweedie::train::{AdamWConfig, Optimiser};

/// The space of 6 × 6 pictures with two channels.
fn pictures() -> Space {
    Space::image(2, 6, 6, 17).expect("pictures")
}

/// Rows of both samples.
fn round(width: usize, condition: &Condition, step: u64) -> Round<'_> {
    let [p, q] = ["p", "q"].map(|name| normal::<2>(name, [5, width]));
    Round { p, q, condition, draws: Draws::new(8), step }
}

/// A penalty of a network with the potential of a loss.
fn penalty(of: &str, loss: &AnyGameLoss, network: &Player, round: &Round) -> Option<Loss> {
    let on = |network: &Player, x: Dual<2>| network.forward(x, round.condition);
    let frozen = network.valid();
    let outputs = |network: &Player| {
        [&round.p, &round.q].map(|x| on(network, x.clone().into()).expect("numbers").value)
    };
    let ([live_p, live_q], [p, q]) = (outputs(network), outputs(&frozen));
    let slopes = Slopes {
        frozen: &|x| Ok(loss.potential(on(&frozen, x)?, &p, &q)),
        live: &|x| Ok(loss.potential(on(network, x)?, &live_p, &live_q)),
    };
    AnyRegulariser::parse(of).expect(of).penalty(&slopes, round).expect(of)
}

#[test]
fn derivatives_of_penalties_by_weights_are_differences() {
    let scalar = AnyGameLoss::default();
    let kernel = AnyGameLoss::parse("mmd, features = 3").expect("a loss");
    let small = "mlp, hidden = [7, 5]";
    let networks = [
        (small, plain(3), 1, &scalar),
        ("mlp, hidden = [6], activation = \"tanh\"", plain(3), 3, &kernel),
        ("convolutional, channels = 2, levels = 1", pictures(), 1, &scalar),
        ("convolutional, channels = 2, levels = 1", pictures(), 3, &kernel),
    ];
    let given = Condition::None;
    for (config, space, features, loss) in networks {
        for norm in [None, Some(1.3)] {
            let network = player(config, Role::Critic { features, norm }, &space);
            let round = round(space.width(), &given, 0);
            for of in ["r1", "r2, weight = 0.3", "gradient-penalty, weight = 2.0", "r1, every = 4"]
            {
                let mean = |network: &Player, part: fn(Loss) -> Tensor<2>| {
                    part(penalty(of, loss, network, &round).expect(of)).mean()
                };
                let (found, right) = along_parameters(
                    &network,
                    |network| mean(network, |loss| loss.surrogate),
                    |network| host(&mean(network, |loss| loss.value))[0],
                );
                // A spectral norm is bounded through the square of a matrix, whose differences are rougher.
                close(format!("{of} of {config}, norm {norm:?}"), found, right, 1e-5);
                assert!(right.abs() > 1e-6, "{of} of {config}: {right}");
            }
        }
    }
}

/// D(x) = ⟨w, x⟩ of a length for rows of `width` values.
fn linear(width: usize, length: f64) -> Player {
    let network = critic("mlp, hidden = []", &plain(width));
    let mut params = collect_params(&network).expect("weights");
    let weights = vec![length / (width as f64).sqrt(); width];
    let weight = params.get_mut("network.linears.0.weight").expect("a matrix");
    weight.as_mut_slice::<f64>().expect("doubles").copy_from_slice(&weights);
    map_params(network, &params, Path::new("here")).expect("weights")
}

#[test]
fn a_critic_of_slope_one_has_no_penalty_over_all_of_a_row_s_values() {
    let (loss, given) = (AnyGameLoss::default(), Condition::None);
    for width in [1, 4, 9] {
        let round = round(width, &given, 0);
        let value = |of: &str, length: f64| {
            host(&penalty(of, &loss, &linear(width, length), &round).expect(of).value)
        };
        for (length, right) in [(1.0, 0.0), (2.0, 10.0), (0.0, 10.0)] {
            let found = value("gradient-penalty", length);
            assert_eq!(found.len(), 5, "one number for each row");
            found.iter().for_each(|v| within("penalty", *v, right, 1e-4));
        }
        value("r1", 2.0).iter().for_each(|v| within("R1", *v, 2.0, 1e-9));
        // No root at 0: the derivative of a flat critic is a number.
        let flat = linear(width, 0.0).train();
        let surrogate = penalty("gradient-penalty", &loss, &flat, &round).expect("one").surrogate;
        let gradients = tweedie::train::AdamW::gradients(&flat, &surrogate.mean().backward());
        assert!(gradients.values().all(|g| host(g).iter().all(|v| v.is_finite())));
    }
}

#[test]
fn points_between_samples_have_one_share_for_each_row() {
    let given = Condition::None;
    let round = round(6, &given, 0);
    let (p, q) = (host(&round.p), host(&round.q));
    let shares: Vec<f64> = host(&GradientPenalty::between(&round))
        .iter()
        .zip(p.iter().zip(&q))
        .map(|(x, (p, q))| (x - p) / (q - p))
        .collect();
    for row in shares.chunks(6) {
        row.iter().for_each(|share| within("share", *share, row[0], 1e-9));
        assert!((0.0..=1.0).contains(&row[0]));
    }
    assert!((shares[0] - shares[6]).abs() > 1e-3);
}

#[test]
fn lazy_penalties_have_the_mean_of_those_at_every_step() {
    let (loss, given) = (AnyGameLoss::default(), Condition::None);
    let network = critic("mlp, hidden = [5]", &plain(2));
    for name in ["r1", "r2", "gradient-penalty"] {
        let mean = |of: &str, step: u64| {
            let found = penalty(of, &loss, &network, &round(2, &given, step));
            found.map(|found| found.mean().expect("a number").0)
        };
        let lazy: Vec<Option<f64>> =
            (0..32).map(|step| mean(&format!("{name}, every = 16"), step)).collect();
        assert_eq!(lazy.iter().flatten().count(), 2, "{name}");
        let total = lazy.iter().flatten().sum::<f64>() / 32.0;
        close(name, total, mean(name, 3).expect("a penalty"), 1e-9);
    }
}

/// The largest singular value of the rows of a matrix.
fn largest(rows: &[Vec<f64>]) -> f64 {
    let matrix = Mat::from_fn(rows.len(), rows[0].len(), |i, j| rows[i][j]);
    let all = matrix.singular_values().expect("singular values");
    all.into_iter().fold(0.0, f64::max)
}

/// The Jacobian of a critic at each of some rows.
fn jacobians(network: &Player, x: &Tensor<2>) -> Vec<Vec<Vec<f64>>> {
    let [n, d] = x.dims();
    let out = network.forward(x.clone().into(), &Condition::None).expect("numbers").value.dims()[1];
    let of = |k: usize| {
        let one = |x: Dual<2>| {
            network.forward(x, &Condition::None).map(|y| y.linear(|y| y.narrow(1, k, 1)))
        };
        host(&gradient(one, x.clone().into()).expect("slopes").value)
    };
    let all: Vec<Vec<f64>> = (0..out).map(of).collect();
    (0..n).map(|i| all.iter().map(|g| g[i * d..(i + 1) * d].to_vec()).collect()).collect()
}

/// Rectifiers do not lengthen, so that no Jacobian does; a single matrix has the norm itself.
#[test]
fn spectral_norms_are_of_the_operators_and_stay_at_one() {
    let role = Role::Critic { features: 3, norm: Some(1.0) };
    let matrix = moved(&player("mlp, hidden = []", role, &plain(5)), 0.0);
    let found = largest(&jacobians(&matrix, &normal("x", [1, 5]))[0]);
    assert!((0.99..=1.0 + 1e-9).contains(&found), "{found}");
    let convolutional = "convolutional, channels = 3, levels = 1, activation = \"relu\"";
    let wide = "mlp, hidden = [40, 40], activation = \"relu\"";
    for (config, space) in [(wide, plain(5)), (convolutional, pictures())] {
        let network = moved(&player(config, role, &space), 0.0);
        let x = normal::<2>("rows", [6, space.width()]).mul_scalar(3.0);
        let all: Vec<f64> = jacobians(&network, &x).iter().map(|rows| largest(rows)).collect();
        assert!(all.iter().all(|s| *s <= 1.0 + 1e-9), "{config}: {all:?}");
        assert!(all.iter().any(|s| *s > 1e-3), "{config}: {all:?}");
        // Without limits, convolutions of this size do lengthen once their weights are larger.
        let free = player(config, Role::Critic { features: 3, norm: None }, &space);
        let mut params = collect_params(&free).expect("weights");
        params.values_mut().for_each(|data| {
            data.as_mut_slice::<f32>().expect("numbers").iter_mut().for_each(|w| *w *= 9.0);
        });
        let large = moved(&map_params(free, &params, Path::new("here")).expect("weights"), 0.0);
        assert!(jacobians(&large, &x).iter().any(|rows| largest(rows) > 2.0));
    }
}

/// Steps leave the norm at its limit, and values change nothing: there is no state beside the weights.
#[test]
fn limits_hold_after_every_step() -> tweedie::Result<()> {
    let (space, given) = (plain(2), Condition::None);
    let adamw = AdamWConfig::default();
    let optimiser = Optimiser { learning_rate: 1e-2, adamw, ema: None, powers: Vec::new() };
    let config = |of: &str| {
        Ok::<_, tweedie::Error>(AdversaryConfig {
            loss: AnyGameLoss::parse("wasserstein")?,
            regularisers: vec![AnyRegulariser::parse(of)?],
            network: AnyPlayerConfig::parse("mlp, hidden = [16], activation = \"relu\"")?,
            ..AdversaryConfig::default()
        })
    };
    for of in ["spectral-norm", "clipping, limit = 0.02"] {
        let config = config(of)?;
        config.check()?;
        let mut adversary = config.init(&space, optimiser.clone(), &Draws::new(1), &cpu())?;
        for step in 0..30 {
            let (p, q) = (normals(64, [3.0, 0.0], step), normals(64, [0.0; 2], 100 + step));
            adversary.learn(&Round { p, q, condition: &given, draws: Draws::new(2), step }, 1.0)?;
        }
        let network = adversary.critic().expect("a critic");
        let x = normals(40, [0.0; 2], 5);
        if of == "spectral-norm" {
            let slopes = jacobians(&network, &x);
            let most = slopes.iter().map(|rows| largest(rows)).fold(0.0, f64::max);
            assert!(most <= 1.0 + 1e-5 && most > 0.3, "{most}");
        } else {
            let params = collect_params(&network)?;
            let all = params.values().flat_map(|data| data.as_slice::<f32>().expect("numbers"));
            let most = all.fold(0.0f32, |most, w| most.max(w.abs()));
            within("the largest weight", f64::from(most), 0.02, 1e-7);
        }
        let value =
            |network: &Player| network.forward(x.clone().into(), &given).map(|y| host(&y.value));
        assert_eq!(value(&network)?, value(&network)?);
        assert_eq!(value(&network)?, value(&adversary.critic().expect("a critic"))?);
        assert_eq!(x.dtype(), DType::F32);
    }
    Ok(())
}
