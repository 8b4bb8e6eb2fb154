//! Values of SciPy, POT, scikit-learn, torch-fidelity and SDMetrics on small fixed inputs: `bench/metrics_peer.py`,
//! `bench/image_metrics_peer.py` and `bench/tables_peer.py` write the files read here.

use crate::data::Rows;
use serde_json::Value;

/// Inputs and reference values of peers' metrics.
pub(crate) struct Peer(Value);

impl Peer {
    pub(crate) fn read() -> Self {
        Self::parse(include_str!("../../tests/fixtures/metrics.json"))
    }

    /// The inputs and numbers of metrics of pictures.
    pub(crate) fn of_images() -> Self {
        Self::parse(include_str!("../../tests/fixtures/image_metrics.json"))
    }

    /// Two tables, and the metrics of their columns.
    pub(crate) fn of_tables() -> Self {
        Self::parse(include_str!("../../tests/fixtures/tables.json"))
    }

    fn parse(text: &str) -> Self {
        Self(serde_json::from_str(text).expect("the fixture is JSON"))
    }

    /// The batch under `name`.
    pub(crate) fn rows(&self, name: &str) -> Rows {
        let rows: Vec<Vec<f32>> = self.get(&format!("/{name}"));
        Rows::new(rows.concat(), rows[0].len()).expect("the rows are equally wide")
    }

    /// The value at a JSON pointer such as `/energy/biased`.
    pub(crate) fn get<T: serde::de::DeserializeOwned>(&self, pointer: &str) -> T {
        let value = self.0.pointer(pointer).expect(pointer);
        serde_json::from_value(value.clone()).expect(pointer)
    }

    /// Asserts that `ours` is the number at `pointer` to 10 digits.
    pub(crate) fn agrees(&self, pointer: &str, ours: f64) {
        self.agrees_to(1e-10, pointer, ours);
    }

    /// Asserts that `ours` is the number at `pointer` to a relative `tolerance`.
    pub(crate) fn agrees_to(&self, tolerance: f64, pointer: &str, ours: f64) {
        let theirs: f64 = self.get(pointer);
        let near = (ours - theirs).abs() <= tolerance * theirs.abs();
        assert!(near, "{pointer}: ours {ours}, theirs {theirs}");
    }
}

/// The first coordinate of every row.
pub(crate) fn first_coordinate(x: &Rows) -> Rows {
    Rows::new(x.iter().map(|row| row[0]).collect(), 1).expect("one value a row")
}
