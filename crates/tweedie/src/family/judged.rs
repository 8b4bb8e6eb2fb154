//! Densities in model units as densities of raw rows.

use super::{DensityEntry, Integers, Judge, Setting};
use crate::data::{Condition, Kind, Rows, Space};
use crate::density::{Density, Dequantise, InSpace, Judged, LogProb, Uniform};
use crate::error::one_of;
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use toml::Table;

/// How many rows are in memory at once.
pub(super) fn chunk(space: &Space) -> usize {
    ((1 << 17) / space.model_width()).clamp(64, 4096)
}

/// A density of raw rows, with noise added to integers.
pub(super) struct Spread<'a> {
    density: Box<dyn Density + 'a>,
    space: &'a Space,
    dequantise: Box<dyn Dequantise>,
    draws: Draws,
    device: Device,
}

impl<'a> Spread<'a> {
    pub fn new(
        density: Box<dyn Density + 'a>,
        space: &'a Space,
        dequantise: Box<dyn Dequantise>,
        draws: Draws,
        device: &Device,
    ) -> Self {
        Self { density, space, dequantise, draws, device: device.clone() }
    }
}

impl Judged for Spread<'_> {
    fn log_prob(
        &self,
        raw: &Rows,
        condition: &Condition,
        observe: &mut dyn FnMut(usize),
    ) -> Result<LogProb> {
        let judged = InSpace {
            density: &*self.density,
            space: self.space,
            dequantise: &*self.dequantise,
            draws: self.draws,
            device: &self.device,
            chunk: chunk(self.space),
        };
        judged.log_prob(raw, condition, observe)
    }
}

/// The only density of a model that knows its own exactly; none where a column is a category, which has no density.
pub(super) fn exact(space: &Space, name: &'static str, about: &'static str) -> Vec<DensityEntry> {
    let coordinates = || (0..space.width()).map(|j| space.coordinate(j));
    if coordinates().any(|c| matches!(c.kind, Kind::Category { .. })) {
        return Vec::new();
    }
    let quantised = coordinates().any(|c| c.is_quantised());
    let integers = vec![if quantised { Integers::Uniform } else { Integers::None }];
    vec![DensityEntry { name, about, integers }]
}

/// The judge of that density, if `name` and `options` are its own: it has no option.
pub(super) fn judge_exact<'a>(
    entries: &[DensityEntry],
    (name, options): (&str, &Table),
    density: Box<dyn Density + 'a>,
    space: &'a Space,
    at: &Setting,
) -> Result<Judge<'a>> {
    let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
    if !names.contains(&name) {
        return Err(Error::config("density", name, one_of(name, &names)));
    }
    no_keys(options, "no option: this density is exact")?;
    let draws = Draws::new(at.seed).purpose("log p");
    let judged = Box::new(Spread::new(density, space, Box::new(Uniform), draws, at.device));
    Ok(Judge { judged, how: "in closed form".into(), evaluations: 1.0 })
}

/// Fails, naming the first key, unless a table is empty.
pub(super) fn no_keys(table: &Table, expected: &str) -> Result<()> {
    match table.keys().next() {
        None => Ok(()),
        Some(key) => Err(Error::config(key, "unknown key", expected)),
    }
}
