//! Fits of distributions as learners: a training step is a step of every class's fit.

use super::by_class::{SHARES, prefix};
use super::{AsArrays, Fit, Fitter, TABLE};
use crate::data::{Space, Split};
use crate::density::fit::Points;
use crate::draw::spread;
use crate::error::inside;
use crate::family::Start;
use crate::family::arrays::{none_left, put_doubles, take_shaped};
use crate::tensor::mean_and_error;
use crate::train::{Learner, State, Values};
use crate::{Draws, Error, Result};
use rayon::prelude::*;
use std::path::Path;
use std::sync::Arc;

/// A fit for each class.
pub(super) struct MixtureLearner {
    /// The frequency of each class with its fit; none for a class without rows.
    classes: Vec<(f64, Option<Box<dyn Fitter>>)>,
    /// The names of the classes.
    names: Vec<String>,
    /// The held-out rows and their labels.
    held_out: Option<(Points, Vec<u32>)>,
    /// log p in model units less log p in raw units, in the mean over the training rows and over the held-out rows.
    log_volumes: [f64; 2],
}

impl MixtureLearner {
    /// The learner before the first step of its fits.
    pub fn new(fit: &dyn Fit, at: &Start) -> Result<Self> {
        let (data, draws) = (at.data()?, Draws::new(at.seed));
        let (noise, _) = row_draws(at.seed, 0);
        let (points, labels, volume) = encoded(&data.fit_rows(), at.space, &noise)?;
        let names = at.space.classes();
        let begin = |class: usize| {
            let own: Vec<usize> =
                (0..labels.len()).filter(|&i| labels[i] as usize == class).collect();
            if own.is_empty() {
                return Ok((0.0, None));
            }
            let rows = own.iter().flat_map(|&i| points.row(i)).copied().collect();
            let rows = Arc::new(Points::new(rows, points.width())?);
            let share = own.len() as f64 / labels.len() as f64;
            let fitter = fit.begin(rows, &row_draws(at.seed, class as u64).1);
            Ok((share, Some(fitter.map_err(|error| of_class(error, names.get(class)))?)))
        };
        let classes: Vec<(f64, Option<Box<dyn Fitter>>)> =
            (0..names.len().max(1)).map(begin).collect::<Result<_>>()?;
        // A class without training rows has no density.
        let validation = data.validation();
        let known = |i: &usize| {
            validation.labels().is_none_or(|labels| {
                classes.get(labels[*i] as usize).is_none_or(|(share, _)| *share > 0.0)
            })
        };
        let judged = spread(validation.len(), at.training.held_out_rows);
        let judged: Vec<usize> = judged.into_iter().filter(known).collect();
        let held_out = validation.select(&judged);
        let noise = draws.purpose("held out dequantise");
        let held_out = match held_out.is_empty() {
            true => None,
            false => Some(encoded(&held_out, at.space, &noise)?),
        };
        let log_volumes = [volume, held_out.as_ref().map_or(0.0, |(_, _, volume)| *volume)];
        let held_out = held_out.map(|(points, labels, _)| (points, labels));
        Ok(Self { classes, names: names.to_vec(), held_out, log_volumes })
    }

    /// The name of a class in notes; empty for data without classes.
    fn named(&self, class: usize) -> String {
        self.names.get(class).map_or(String::new(), |name| format!("class '{name}': "))
    }

    /// The classes that have a fit, with it.
    fn fits(&self) -> impl Iterator<Item = (usize, &dyn Fitter)> {
        let all = self.classes.iter().enumerate();
        all.filter_map(|(class, (_, fitter))| Some((class, fitter.as_deref()?)))
    }
}

/// Two sources of random numbers: of the dequantisation noise of training rows, and of the starts of EM for a class.
pub(super) fn row_draws(seed: u64, class: u64) -> (Draws, Draws) {
    let draws = Draws::new(seed);
    (draws.purpose("dequantise"), draws.purpose("fit").at(class))
}

/// Rows in double precision and model units, with their labels, 0 where data have no labels, and the mean of log p in
/// model units less log p in raw units.
pub(super) fn encoded(
    split: &Split,
    space: &Space,
    draws: &Draws,
) -> Result<(Points, Vec<u32>, f64)> {
    let ids: Vec<u64> = (0..split.len() as u64).collect();
    let rows = space.encode_dequantised(split.rows(), draws, &ids)?;
    let volume = mean_and_error(&space.log_volumes(&rows)?).0;
    let points = Points::try_from(&rows)?;
    let labels = split.labels().filter(|_| !space.classes().is_empty());
    Ok((points, labels.map_or_else(|| vec![0; split.len()], <[u32]>::to_vec), volume))
}

/// The error of a class's fit, with the key inside the table and the class.
fn of_class(error: Error, class: Option<&String>) -> Error {
    let of = class.map_or(String::new(), |class| format!(" in class '{class}'"));
    match inside(TABLE, error) {
        Error::Config { key, problem, expected } => {
            Error::config(key, format!("{problem}{of}"), expected)
        }
        Error::Undefined { what, why } => Error::undefined(format!("{what}{of}"), why),
        other => other,
    }
}

impl Learner for MixtureLearner {
    fn step(&mut self, _: u64) -> Result<Values> {
        let (mut log_p, mut converged) = (-self.log_volumes[0], true);
        for (share, fitter) in &mut self.classes {
            if let Some(fitter) = fitter {
                log_p += *share * fitter.step()?;
                converged &= fitter.converged();
            }
        }
        let converged = f64::from(u8::from(converged));
        let named =
            [("train/loss", -log_p), ("train/log_p", log_p), ("train/converged", converged)];
        Ok(named.into())
    }

    fn held_out(&mut self) -> Result<Values> {
        let Some((points, labels)) = &self.held_out else { return Ok(Values::default()) };
        let mut found: Vec<Option<&dyn AsArrays>> = vec![None; self.classes.len()];
        self.fits().for_each(|(class, fitter)| found[class] = fitter.found());
        let rows = points.values().par_chunks_exact(points.width()).zip(labels);
        let log_p = |(x, label): (&[f64], &u32)| Some(found[*label as usize]?.log_density(x));
        let logs: Vec<f64> = rows.filter_map(log_p).collect();
        let log_p = logs.iter().sum::<f64>() / logs.len() as f64 - self.log_volumes[1];
        Ok([("held_out/loss", -log_p), ("held_out/log_p", log_p)].into())
    }

    /// The weights, and the state of the fits beside them.
    fn save(&self) -> Result<State> {
        let mut state = self.weights()?;
        self.fits().for_each(|(class, fitter)| fitter.save(&prefix(class), &mut state));
        Ok(state)
    }

    fn load(&mut self, mut state: State, origin: &Path) -> Result<()> {
        take_shaped(&mut state, SHARES, &[self.classes.len()], origin)?;
        for (class, (_, fitter)) in self.classes.iter_mut().enumerate() {
            if let Some(fitter) = fitter {
                fitter.load(&prefix(class), &mut state, origin)?;
            }
        }
        none_left(&state, origin)
    }

    fn notes(&self) -> Vec<String> {
        let of = |(class, fitter): (usize, &dyn Fitter)| {
            let notes = fitter.notes().into_iter();
            notes.map(|note| format!("{}{note}", self.named(class))).collect::<Vec<_>>()
        };
        self.fits().flat_map(of).collect()
    }

    fn weights(&self) -> Result<State> {
        let mut weights = State::new();
        let shares: Vec<f64> = self.classes.iter().map(|(share, _)| *share).collect();
        let count = shares.len();
        put_doubles(&mut weights, SHARES, shares, vec![count]);
        for (class, fitter) in self.fits() {
            if let Some(found) = fitter.found() {
                found.put(&prefix(class), &mut weights);
            }
        }
        Ok(weights)
    }
}
