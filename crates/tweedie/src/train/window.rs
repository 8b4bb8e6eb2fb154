//! The means of reported values since the last point of the curves.

use super::{State, Values};
use crate::{Error, Result};
use burn::tensor::TensorData;
use std::borrow::Cow;
use std::path::Path;

/// The beginning of names of a window's arrays in a checkpoint.
const PREFIX: &str = "window.";

/// Sums of reported values. A checkpoint inside of a window holds them, so that a resumed run logs the same means.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Window {
    count: u64,
    sums: Vec<(Cow<'static, str>, f64)>,
}

impl Window {
    /// Adds the values of a step.
    pub fn add(&mut self, values: &Values) {
        self.count += 1;
        for (name, value) in values.iter() {
            match self.sums.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += value,
                None => self.sums.push((Cow::Borrowed(name), *value)),
            }
        }
    }

    /// The means, in the order of the first report.
    pub fn means(&self) -> Vec<(&str, f64)> {
        let count = self.count as f64;
        self.sums.iter().map(|(name, sum)| (&**name, sum / count)).collect()
    }

    /// Adds the sums to a state, each as an array of the count and of the sum's bits; nothing if no step was added.
    pub fn save(&self, into: &mut State) {
        let named = self.sums.iter().enumerate().map(|(place, (name, sum))| {
            let data = TensorData::new(vec![self.count, sum.to_bits()], [2]);
            (format!("{PREFIX}{place:04}.{name}"), data)
        });
        into.extend(named);
    }

    /// Removes the arrays of [`Window::save`] from a state; `origin` names its file, for errors.
    ///
    /// # Errors
    /// [`Error::File`] naming an array that is none of them.
    pub fn take(from: &mut State, origin: &Path) -> Result<Self> {
        let names: Vec<String> =
            from.range(PREFIX.to_string()..).map(|(name, _)| name.clone()).collect();
        let mut window = Self::default();
        for name in names.into_iter().take_while(|name| name.starts_with(PREFIX)) {
            let data = from.remove(&name);
            let numbers = data.as_ref().and_then(|data| data.as_slice::<u64>().ok());
            let (Some(&[count, sum]), Some((_, own))) =
                (numbers, name[PREFIX.len()..].split_once('.'))
            else {
                return Err(Error::file(origin, name, "no sum", "a checkpoint written by tweedie"));
            };
            window.count = count;
            window.sums.push((Cow::Owned(own.to_string()), f64::from_bits(sum)));
        }
        Ok(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_comes_back_from_a_state_to_the_last_bit_and_in_its_order() {
        let mut window = Window::default();
        for k in 0..7 {
            window.add(&Values::from([("z/loss", 0.1 * f64::from(k)), ("a", -1e-300)]));
        }
        let own = State::from([("weight".to_string(), TensorData::new(vec![1.0f32], [1]))]);
        let mut state = own.clone();
        window.save(&mut state);
        assert_eq!(state.len(), 3);
        let found = Window::take(&mut state, Path::new("checkpoint")).unwrap();
        assert_eq!((found, state), (window, own.clone()));
        let mut empty = own.clone();
        Window::default().save(&mut empty);
        assert_eq!(empty, own);
    }
}
