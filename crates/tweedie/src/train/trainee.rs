//! A module in training, with optimiser, average and gradients.

use super::{AdamW, AdamWConfig, Ema, Gradients};
use crate::nn::{State, array, collect_params, map_params};
use crate::{Error, Result};
use burn::module::Module;
use std::path::Path;

/// Options of the optimiser of a module.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimiser {
    /// The peak learning rate.
    pub learning_rate: f64,
    /// Options of AdamW.
    pub adamw: AdamWConfig,
    /// The decay of the averaged weights; no average if absent.
    pub ema: Option<f64>,
    /// The relative lengths of further, power-law averages; see [`Ema::power`].
    pub powers: Vec<f64>,
}

/// A module with its optimiser, the average of its parameters, and the gradients of the current step.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::Draws;
/// use tweedie::nn::{Linear, LinearConfig};
/// use tweedie::train::{AdamWConfig, Optimiser, Trainee};
/// let device = Device::flex();
/// let line = LinearConfig::new(1, 1).init(&Draws::new(0), &device);
/// let adamw = AdamWConfig::default();
/// let config = Optimiser { learning_rate: 0.1, adamw, ema: Some(0.9), powers: vec![] };
/// let mut line = Trainee::new(line, &config);
/// let x = Tensor::<2>::from_data([[0.0], [1.0], [2.0]], &device.autodiff());
/// let loss = |line: &Trainee<Linear>| {
///     (line.module.forward(x.clone().into()).value - x.clone().mul_scalar(3.0) - 1.0).square().mean()
/// };
/// for _ in 0..300 {
///     line.take_in(&loss(&line).backward());
///     line.step(1.0)?;
/// }
/// assert!(loss(&line).into_scalar::<f32>() < 1e-3);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Trainee<M> {
    /// The module, with automatic differentiation.
    pub module: M,
    /// The beginning of names of its parameters in a checkpoint.
    parameters: &'static str,
    adamw: AdamW,
    ema: Option<Ema>,
    powers: Vec<Ema>,
    gradients: Gradients,
    /// The number of backward passes in the sum of gradients.
    passes: usize,
    rate: f64,
}

impl<M: Module> Trainee<M> {
    /// A module before its first step; the average starts at its parameters.
    pub fn new(module: M, config: &Optimiser) -> Self {
        Self {
            ema: config.ema.map(|decay| Ema::new(&module, decay)),
            powers: config.powers.iter().map(|sigma| Ema::power(&module, *sigma)).collect(),
            module: module.train(),
            parameters: "network.",
            adamw: AdamW::new(config.adamw),
            gradients: Gradients::new(),
            passes: 0,
            rate: config.learning_rate,
        }
    }

    /// Names parameters in a checkpoint by their paths alone, without `network.` before them.
    pub(super) fn with_bare_names(mut self) -> Self {
        self.parameters = "";
        self
    }

    /// Adds the gradients of the mean of a loss; a step follows the mean of all gradients since the last step.
    pub fn take_in(&mut self, backward: &burn::tensor::Gradients) {
        self.take_in_sum(AdamW::gradients(&self.module, backward));
    }

    /// Adds the gradients of the mean of a loss by parameter path, as [`Trainee::take_in`] does.
    pub fn take_in_sum(&mut self, gradients: Gradients) {
        AdamW::accumulate(&mut self.gradients, gradients);
        self.passes += 1;
    }

    /// Takes a step at `factor` times the peak learning rate; returns the global norm of the gradient before clipping.
    ///
    /// # Errors
    /// [`Error::Diverged`] if the norm is not finite; module and optimiser then stay as they were.
    pub fn step(&mut self, factor: f64) -> Result<f64> {
        let gradients = std::mem::take(&mut self.gradients);
        let scale = 1.0 / std::mem::take(&mut self.passes).max(1) as f64;
        let (module, rate, ema) = (self.module.clone(), self.rate * factor, self.ema.as_mut());
        let step = self.adamw.steps();
        let (module, norm) = self.adamw.step(module, &gradients, scale, rate, ema)?;
        self.module = module;
        self.powers.iter_mut().for_each(|power| power.update(&self.module, step));
        Ok(norm)
    }

    /// The module with averaged parameters, or with its own without an average; without automatic differentiation.
    pub fn averaged(&self) -> M {
        let plain = self.module.valid();
        match &self.ema {
            Some(ema) => ema.apply(plain),
            None => plain,
        }
    }

    /// The module with each of its averages as parameters: that of [`Trainee::averaged`], then the power-law ones.
    pub fn averages(&self) -> Vec<M> {
        let powers = self.powers.iter().map(|power| power.apply(self.module.valid()));
        std::iter::once(self.averaged()).chain(powers).collect()
    }

    /// Adds the whole state but for gradients, under names that begin with `prefix`.
    ///
    /// # Errors
    /// [`Error::Device`] if a tensor cannot be read.
    pub fn save(&self, prefix: &str, into: &mut State) -> Result<()> {
        let named = |(path, data)| (format!("{prefix}{}{path}", self.parameters), data);
        into.extend(collect_params(&self.module)?.into_iter().map(named));
        self.adamw.save(prefix, into)?;
        self.ema.iter().try_for_each(|ema| ema.save(prefix, into))?;
        let mut named = self.powers.iter().enumerate();
        named.try_for_each(|(k, power)| power.save(&format!("{prefix}power.{k}."), into))
    }

    /// Restores the arrays of [`Trainee::save`], and removes them from `from`; `origin` names their file, for errors.
    ///
    /// # Errors
    /// [`Error::File`] naming the array that is missing or does not fit.
    pub fn load(&mut self, prefix: &str, from: &mut State, origin: &Path) -> Result<()> {
        self.adamw.load(prefix, from, &self.module, origin)?;
        if let Some(ema) = &mut self.ema {
            ema.load(prefix, from, &self.module, origin)?;
        }
        for (k, power) in self.powers.iter_mut().enumerate() {
            power.load(&format!("{prefix}power.{k}."), from, &self.module, origin)?;
        }
        let prefix = format!("{prefix}{}", self.parameters);
        let own = take(from, &prefix);
        self.module =
            map_params(self.module.clone(), &own, origin).map_err(|error| match error {
                Error::File { path, place, problem, expected } => {
                    Error::file(path, prefix + &place, problem, expected)
                }
                other => other,
            })?;
        Ok(())
    }
}

/// The averaged parameters, in the parameters' shapes, out of the arrays of [`Trainee::save`] without a prefix.
///
/// # Errors
/// [`Error::File`] if an average does not fit its parameter.
pub fn averages(checkpoint: &State) -> Result<State> {
    let origin = Path::new("checkpoint.safetensors");
    let mut weights = State::new();
    for (key, own) in checkpoint {
        let Some(name) = key.strip_prefix("network.") else { continue };
        // The average is kept flat.
        if let Some(average) = checkpoint.get(&format!("ema.{name}")) {
            let (bytes, _, kind) = average.clone().into_parts();
            let data = array(bytes.to_vec(), own.shape().to_vec(), kind, (origin, name))?;
            weights.insert(name.to_string(), data);
        }
    }
    Ok(weights)
}

/// Removes the arrays whose names begin with `prefix`, under the rest of their names.
fn take(from: &mut State, prefix: &str) -> State {
    let (own, rest) =
        std::mem::take(from).into_iter().partition(|(name, _)| name.starts_with(prefix));
    *from = rest;
    let own: State = own;
    own.into_iter().map(|(name, data)| (name[prefix.len()..].to_string(), data)).collect()
}
