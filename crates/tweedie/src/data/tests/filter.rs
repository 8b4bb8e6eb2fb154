use crate::data::table::{TableOptions, parse};
use crate::data::{Filter, Kind, Rows, Space, Split};
use std::path::Path;

/// A table with numbers of all kinds, a category, a label and missing numbers.
const TABLE: &str = "length [mm],price,born,count,colour,code,kind\n\
    1.5,\"$1,200.00\",2020-01-31,3,red,007,4\n\
    2.1,\"$950.00\",2021-02-28,,dark blue,008,10\n\
    0.1,\"$7.25\",2019-12-24,5,,008,4\n\
    -3,\"$1,200.50\",2020-02-01,4,red,009,5\n";

fn table() -> (Space, Split) {
    let options = TableOptions { label: Some("kind".into()), ..TableOptions::default() };
    let table = parse(TABLE.as_bytes(), Path::new("t.csv"), &options).unwrap();
    (table.space, table.rows)
}

#[test]
fn values_compare_as_the_table_writes_them() {
    let (space, rows) = table();
    let kept = |text: &str| Filter::parse(text, &space, "kind").unwrap().kept(&rows);
    for (text, expected) in [
        ("length = 0.1", vec![2]),
        ("length [mm] <= 0.1", vec![2, 3]),
        ("length > 0.15", vec![0, 1]),
        ("length >= 1.50, length != 2.1", vec![0]),
        ("price = 950", vec![1]),
        ("price > '$1,200.00'", vec![3]),
        ("price < \"1,200.01\"", vec![0, 1, 2]),
        ("born >= 2020-01-31, born < 2021-01-01", vec![0, 3]),
        ("born = 2019-12-24", vec![2]),
        ("count = ", vec![1]),
        ("count != ''", vec![0, 2, 3]),
        ("count != 3", vec![1, 2, 3]),
        ("count < 5", vec![0, 3]),
        ("count == 5", vec![2]),
        ("colour = dark blue", vec![1]),
        ("'colour' != red", vec![1, 2]),
        ("colour =", vec![2]),
        ("code != 008", vec![0, 3]),
        ("kind > 4", vec![1, 3]),
        ("kind = 4.0, colour = red", vec![0]),
        ("kind != 4, count >= 0", vec![3]),
    ] {
        assert_eq!(kept(text), expected, "{text}");
    }
}

#[test]
fn a_fixed_label_and_fixed_conditions_are_found() {
    let (space, _) = table();
    let filter = Filter::parse("length > 1, kind = 10", &space, "kind").unwrap();
    assert_eq!((filter.class(), filter.tests_label()), (Some(2), true));
    assert_eq!(Filter::parse("kind != 10", &space, "kind").unwrap().class(), None);
    let side = ["left", "right"].map(String::from).to_vec();
    let mut given = Space::vector(&["s", "side"]).unwrap();
    given.map_coordinates(&Rows::new(vec![], 2).unwrap(), |coordinate, _| {
        match coordinate.name.as_str() {
            "side" => crate::data::Coordinate {
                kind: Kind::Category { names: side.clone() },
                ..coordinate
            },
            _ => coordinate,
        }
    });
    let space = Space::vector(&["x"]).unwrap().with_given(given);
    let filter = Filter::parse("side = right, x < 3, s = 1.5", &space, "label").unwrap();
    assert_eq!(filter.given(2), Some(vec![1.5, 1.0]));
    let some = Filter::parse("side = left, s > 0", &space, "label").unwrap();
    assert_eq!((some.given(2), some.tests_given(), some.tests_label()), (None, true, false));
    let values = Rows::new(vec![1.0, 0.0, -1.0, 0.0, 2.0, 1.0], 2).unwrap();
    assert_eq!(some.kept_given(&values), [0]);
}

#[test]
fn conditions_that_no_row_can_be_compared_with_are_refused() {
    let (space, _) = table();
    for (text, expected) in [
        ("lenght > 3", "no column 'lenght'; expected `length` perhaps; one of length, price"),
        ("length", "column = value, with one of ="),
        ("length > 3 < 4", "column = value"),
        ("length = 3,", "column = value"),
        ("length = long", "column 'length': 'long'; expected a value in the form of the column"),
        ("length =", "none of its values is missing"),
        ("length = 1.55", "no row has 1.55, since its values are rounded"),
        ("count = 3.5", "no row has 3.5"),
        ("count < ''", "a missing value has no order"),
        ("born > yesterday", "'yesterday'; expected a value in the form of the column, such as 20"),
        ("colour = rad", "no 'rad'; expected `red` perhaps"),
        ("colour < red", "names, which have no order for <; expected = or !="),
        ("kind = 6", "no row has 6; expected one of 4, 5, 10"),
    ] {
        let error = Filter::parse(text, &space, "kind").unwrap_err().to_string();
        assert!(error.starts_with("where: ") && error.contains(expected), "{text}: {error}");
    }
}
