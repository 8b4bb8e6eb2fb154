//! The order of columns: what a conditional reads, and what it must not.

use super::*;

/// Every network of columns in every layout that it fits, and an ensemble of orders and masks.
#[test]
fn networks_read_all_earlier_columns_and_no_later_one() -> Result<()> {
    let names = AnyColumnNetworkConfig::NAMES.iter().map(|(name, _)| json!({ "name": name }));
    let ensemble =
        json!({ "name": "masked", "hidden": [40, 40], "residual": true, "orders": 2, "masks": 2 });
    let networks: Vec<_> = names.chain([ensemble]).collect();
    let mut tried = 0;
    for (layout, values) in [
        (Layout::Vector { width: 5 }, vec![1, 3, 1, 1, 2]),
        (Layout::Image { channels: 1, height: 7, width: 6 }, vec![1; 42]),
        (Layout::Image { channels: 3, height: 5, width: 4 }, vec![1; 60]),
    ] {
        for (name, classes) in networks.iter().flat_map(|name| [0, CLASSES].map(|c| (name, c))) {
            let config: AnyColumnNetworkConfig =
                serde_json::from_value(name.clone()).expect("a network");
            let order = config.natural_order(layout);
            let order = order.unwrap_or_else(|| (0..values.len()).collect());
            let outline = outline(layout, &values, order, classes);
            if config.fits(&outline).is_err() {
                continue;
            }
            let network = randomised(config.init(&outline, &Draws::new(4), &cpu())?, 0.15);
            assert_eq!(config.parameters(&outline), param_count(&network) as u128, "{name}");
            for member in 0..network.members() {
                tried += 1;
                let what = format!("{name} {layout:?} member {member}");
                reads_all_earlier_columns(&what, &network, member, &outline)?;
            }
        }
    }
    assert!(tried >= 30, "{tried} members of networks in a layout");
    Ok(())
}

/// A pass, and column after column, in double precision; later values change no bit of the parameters of earlier
/// columns in single precision; every earlier value is read.
fn reads_all_earlier_columns(
    what: &str,
    single: &AnyColumnNetwork,
    member: usize,
    outline: &Outline,
) -> Result<()> {
    let (n, columns) = (3, outline.values.len());
    let width = outline.values.iter().sum::<usize>();
    let condition = if outline.classes > 0 { Condition::class(1, n) } else { Condition::None };
    let order = single.order(member).map_or_else(|| (0..columns).collect(), <[usize]>::to_vec);
    let starts: Vec<usize> = (0..columns).map(|j| outline.values[..j].iter().sum()).collect();
    let x: Tensor<2> = normal("columns", [n, width]);
    let double = moved(single, 0.0);
    let whole = double.forward_by(member, x.clone().into(), &condition)?.value;
    let mut one_by_one = double.columns_by(member, &condition, n, &cpu())?;
    for j in &order {
        let right = host(&whole.clone().narrow(1, 2 * j, 2));
        for (found, right) in host(&one_by_one.next().value).iter().zip(&right) {
            within(format!("{what}: column {j}"), *found, *right, 1e-9 * right.abs().max(1.0));
        }
        one_by_one.push(x.clone().narrow(1, starts[*j], outline.values[*j]).into());
    }
    // One column changed.
    let changed = |j: usize| {
        let mut values_of = host(&x);
        values_of.chunks_mut(width).for_each(|row| row[starts[j]] += 1.0);
        doubles(&values_of, width)
    };
    let plain = x.clone().cast(DType::F32);
    let right = host(&single.forward_by(member, plain.into(), &condition)?.value);
    for (step, j) in order.iter().enumerate() {
        let other = changed(*j).cast(DType::F32);
        let found = host(&single.forward_by(member, other.into(), &condition)?.value);
        let differs = |i: usize| {
            let at = |all: &[f64], row: usize| all[row * 2 * columns + 2 * i..][..2].to_vec();
            (0..n).any(|row| at(&found, row) != at(&right, row))
        };
        for i in &order[..=step] {
            assert!(!differs(*i), "{what}: column {i} reads column {j}");
        }
        if let Some(next) = order.get(step + 1) {
            assert!(differs(*next), "{what}: column {next} is blind to {j}");
        }
    }
    // The last column reads the first.
    let last = |all: Tensor<2>| host(&all.narrow(1, 2 * order[columns - 1], 2));
    let found = last(double.forward_by(member, changed(order[0]).into(), &condition)?.value);
    assert!(found != last(whole), "{what}: the last column is blind to the first");
    Ok(())
}

/// At the size of whole pictures, where other kernels compute convolutions and products, too: a value that comes later
/// changes no bit, and the next column reads it.
#[test]
fn whole_pictures_keep_the_order_of_their_columns() -> Result<()> {
    let mut tried = 0;
    for (channels, side) in [(1, 28), (3, 16)] {
        let layout = Layout::Image { channels, height: side, width: side };
        let columns = layout.width();
        for (name, _) in AnyColumnNetworkConfig::NAMES {
            let config: AnyColumnNetworkConfig =
                serde_json::from_value(json!({ "name": name })).expect("a network");
            let order = config.natural_order(layout);
            let order: Vec<usize> = order.unwrap_or_else(|| (0..columns).collect());
            let outline = outline(layout, &vec![1; columns], order, 0);
            if config.fits(&outline).is_err() {
                continue;
            }
            tried += 1;
            let network = randomised(config.init(&outline, &Draws::new(4), &cpu())?, 0.1);
            let x = normal::<2>("pictures", [2, columns]).cast(DType::F32);
            let pass = |x: Tensor<2>| {
                Ok::<_, tweedie::Error>(host(&network.forward(x.into(), &Condition::None)?.value))
            };
            let right = pass(x.clone())?;
            for step in [0, 1, side * channels, columns / 2 + 1, columns - 2] {
                let mut changed = host(&x);
                changed.chunks_mut(columns).for_each(|row| row[step] += 1.0);
                let found = pass(doubles(&changed, columns).cast(DType::F32))?;
                let differs = |column: usize| {
                    let places = [0, 1].map(|row| 2 * (row * columns + column));
                    places.iter().any(|at| found[*at..at + 2] != right[*at..at + 2])
                };
                let late = (0..=step).find(|column| differs(*column));
                assert_eq!(late, None, "{name} {layout:?} reads column {step}");
                assert!(differs(step + 1), "{name} {layout:?} is blind to {step}");
            }
        }
    }
    assert!(tried >= 8, "{tried} networks of a layout");
    Ok(())
}

/// Whatever comes later, the conditional of an earlier column has the same bits.
#[test]
fn later_columns_change_no_earlier_conditional() -> Result<()> {
    let space = mixed(0);
    for order in ORDERS {
        let order: serde_json::Value = serde_json::from_str(order).expect("JSON");
        let model = model(&space, json!({ "order": order }), 0.7)?;
        let of: AutoregressiveConfig =
            serde_json::from_value(json!({ "order": order })).expect("an order");
        let columns = of.order.of(space.width())?;
        let raw = states(&space)?;
        let pick: Vec<usize> = (0..200).map(|k| k * 20).collect();
        let (some, others) =
            (raw.select(&pick), raw.select(&pick.iter().map(|k| 4095 - k).collect::<Vec<_>>()));
        let each = |rows: &Rows| -> Result<Vec<f64>> {
            let x = space.encode(rows)?.to_tensor(&cpu());
            Ok(host(&model.log_conditionals(0, x.into(), &Condition::None)?.value))
        };
        let right = each(&some)?;
        for known in 0..columns.len() {
            let mut changed = some.clone();
            let width = space.width();
            for (row, other) in changed.values_mut().chunks_mut(width).zip(others.iter()) {
                columns[known..].iter().for_each(|j| row[*j] = other[*j]);
            }
            let found = each(&changed)?;
            let first = |all: &[f64]| -> Vec<f64> {
                all.chunks(width).flat_map(|row| row[..known].to_vec()).collect()
            };
            assert_eq!(first(&found), first(&right), "{order}: {known} columns known");
        }
    }
    Ok(())
}
