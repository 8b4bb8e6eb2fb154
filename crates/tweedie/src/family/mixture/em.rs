//! Mixtures of Gaussians by expectation–maximisation, for one or several numbers of components.

use super::fits::STATE;
use super::{AsArrays, Fit, Fitter};
use crate::density::fit::{Covariance, Em, EmConfig, EmState, Mixture, Points, Regularisation};
use crate::error::count;
use crate::family::arrays::{put_doubles, take_doubles, take_shaped};
use crate::train::{State, count as counter, take_count};
use crate::{Draws, Error, Result};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt::Formatter;
use std::path::Path;
use std::sync::Arc;

/// The most components of a mixture.
const MOST: u64 = 1 << 20;

/// The number of components, or several among which the Bayesian information criterion chooses: `8`, or `[1, 2, 4, 8]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Components(pub Vec<usize>);

impl Serialize for Components {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0[..] {
            [one] => one.serialize(to),
            _ => self.0.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Components {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct OneOrMore;

        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Components;

            fn expecting(&self, out: &mut Formatter) -> std::fmt::Result {
                out.write_str("a number of components, or an array of numbers to choose from")
            }

            fn visit_u64<E: de::Error>(self, one: u64) -> std::result::Result<Components, E> {
                Ok(Components(vec![one as usize]))
            }

            fn visit_i64<E: de::Error>(self, one: i64) -> std::result::Result<Components, E> {
                match u64::try_from(one) {
                    Ok(one) => self.visit_u64(one),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(one), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                several: A,
            ) -> std::result::Result<Components, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(several)).map(Components)
            }
        }

        from.deserialize_any(OneOrMore)
    }
}

/// Options of a mixture of Gaussians fitted by EM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmFit {
    /// The number of components. Among several, the mixture of least BIC on the training rows is chosen, the first
    /// among equals.
    pub components: Components,
    /// The kind of covariance of the components.
    pub covariance: Covariance,
    /// The number added to the diagonal of the covariances.
    pub regularisation: Regularisation,
    /// The change of the mean log-likelihood, in nats per row, below which EM has converged; 0 for never.
    pub tolerance: f64,
    /// The number of starts by k-means++, which advance side by side; the start of greatest likelihood counts.
    pub restarts: usize,
}

impl Default for EmFit {
    fn default() -> Self {
        let EmConfig { covariance, regularisation, tolerance, restarts, .. } = EmConfig::default();
        let components = Components(vec![8]);
        Self { components, covariance, regularisation, tolerance, restarts }
    }
}

impl EmFit {
    /// The options of EM with a number of components.
    pub(super) fn config(&self, components: usize) -> EmConfig {
        EmConfig {
            components,
            covariance: self.covariance,
            regularisation: self.regularisation,
            tolerance: self.tolerance,
            restarts: self.restarts,
        }
    }
}

impl Fit for EmFit {
    fn check(&self) -> Result<()> {
        let Components(candidates) = &self.components;
        candidates.iter().try_for_each(|k| count("components", *k as u64, MOST))?;
        if candidates.is_empty() || !candidates.is_sorted_by(|a, b| a < b) {
            let expected = "a number, or several that grow";
            return Err(Error::config("components", format!("{candidates:?}"), expected));
        }
        count("restarts", self.restarts as u64, 1 << 10)?;
        let share = match self.regularisation {
            Regularisation::Relative(share) | Regularisation::Absolute(share) => share,
        };
        for (key, value) in [("tolerance", self.tolerance), ("regularisation", share)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::config(key, value.to_string(), "a number of at least 0"));
            }
        }
        Ok(())
    }

    fn begin(&self, points: Arc<Points>, draws: &Draws) -> Result<Box<dyn Fitter>> {
        let start = |components: &usize| Em::new(points.clone(), &self.config(*components), draws);
        Ok(Box::new(Candidates(self.components.0.iter().map(start).collect::<Result<_>>()?)))
    }

    fn take(
        &self,
        width: usize,
        prefix: &str,
        from: &mut State,
        origin: &Path,
    ) -> Result<Arc<dyn AsArrays>> {
        Ok(Arc::new(take_mixture(self.covariance, width, prefix, from, origin)?))
    }
}

/// Reads and removes the mixture that [`AsArrays::put`] wrote.
pub(super) fn take_mixture(
    kind: Covariance,
    width: usize,
    prefix: &str,
    from: &mut State,
    origin: &Path,
) -> Result<Mixture> {
    let (_, weights) = take_doubles(from, &format!("{prefix}weights"), origin)?;
    let k = weights.len();
    let means = take_shaped(from, &format!("{prefix}means"), &[k, width], origin)?;
    let (name, shape) = (format!("{prefix}covariances"), kind.shape(k, width));
    let covariances = take_shaped(from, &name, &shape, origin)?;
    Mixture::new(kind, weights, means, covariances, width)
        .map_err(|error| Error::file(origin, prefix, error.to_string(), "a mixture of Gaussians"))
}

impl AsArrays for Mixture {
    fn put(&self, prefix: &str, into: &mut State) {
        let (k, width) = (self.components(), self.means().len() / self.components());
        let mut put = |name: &str, values: &[f64], shape| {
            put_doubles(into, format!("{prefix}{name}"), values.to_vec(), shape);
        };
        put("weights", self.weights(), vec![k]);
        put("means", self.means(), vec![k, width]);
        put("covariances", self.covariances(), self.kind().shape(k, width));
    }

    fn mixture(&self) -> Option<&Mixture> {
        Some(self)
    }
}

/// EM with each number of components, on the same rows.
struct Candidates(Vec<Em>);

/// The candidate of least `value`, the first among equals.
fn least(candidates: &[Em], value: impl Fn(&Em) -> f64) -> &Em {
    let best = candidates.iter().min_by(|a, b| value(a).total_cmp(&value(b)));
    // There is at least one.
    best.unwrap_or(&candidates[0])
}

impl Fitter for Candidates {
    fn step(&mut self) -> Result<f64> {
        self.0.iter_mut().filter(|em| !em.converged()).try_for_each(|em| em.step().map(|_| ()))?;
        // The criterion uses the likelihood before the step, which is at hand.
        let likelihood = |em: &Em| em.likelihood().unwrap_or(f64::MIN);
        let bic = |em: &Em| {
            let n = em.points().len() as f64;
            em.mixture().parameters() as f64 * n.ln() - 2.0 * n * likelihood(em)
        };
        Ok(likelihood(least(&self.0, bic)))
    }

    fn converged(&self) -> bool {
        self.0.iter().all(Em::converged)
    }

    fn found(&self) -> Option<&dyn AsArrays> {
        Some(match &self.0[..] {
            [one] => one.mixture(),
            all => least(all, |em| em.mixture().bic(em.points())).mixture(),
        })
    }

    /// The BIC of each number of components, where there are several, and how many empty components were moved.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.0.len() > 1 {
            let bic = |em: &Em| em.mixture().bic(em.points());
            let each =
                self.0.iter().map(|em| format!("{}: {:.1}", em.mixture().components(), bic(em)));
            let (all, k) = (each.collect::<Vec<_>>(), least(&self.0, bic).mixture().components());
            let all = all.join(", ");
            notes
                .push(format!("BIC by number of components: {all}; {k} components have the least"));
        }
        for em in self.0.iter().filter(|em| em.reseeded() > 0) {
            let (k, moved) = (em.mixture().components(), em.reseeded());
            let what = if moved == 1 { "empty component was" } else { "empty components were" };
            notes.push(format!(
                "EM with {k} components: {moved} {what} moved to rows of least density"
            ));
        }
        notes
    }

    fn save(&self, prefix: &str, into: &mut State) {
        for em in &self.0 {
            let (k, width) = (em.mixture().components(), em.points().width());
            let EmState { steps, weights, means, covariances, likelihoods, changes } = em.state();
            let starts = likelihoods.len();
            let name = |name: &str| format!("{prefix}{STATE}{k}.{name}");
            let shape = [vec![starts], em.mixture().kind().shape(k, width)].concat();
            into.insert(name("steps"), counter(steps));
            put_doubles(into, name("weights"), weights, vec![starts, k]);
            put_doubles(into, name("means"), means, vec![starts, k, width]);
            put_doubles(into, name("covariances"), covariances, shape);
            put_doubles(into, name("likelihoods"), likelihoods, vec![starts]);
            put_doubles(into, name("changes"), changes, vec![starts]);
        }
    }

    fn load(&mut self, prefix: &str, from: &mut State, origin: &Path) -> Result<()> {
        for em in &mut self.0 {
            let k = em.mixture().components();
            let name = |name: &str| format!("{prefix}{STATE}{k}.{name}");
            let mut take =
                |of: &str| take_doubles(from, &name(of), origin).map(|(_, values)| values);
            let state = EmState {
                weights: take("weights")?,
                means: take("means")?,
                covariances: take("covariances")?,
                likelihoods: take("likelihoods")?,
                changes: take("changes")?,
                steps: take_count(from, &name("steps"), origin)?,
            };
            let place = name("*");
            em.restore(&state).map_err(|error| {
                Error::file(origin, place, error.to_string(), "the state of the same fit")
            })?;
        }
        // The parameters are computed anew from the state.
        ["weights", "means", "covariances"]
            .iter()
            .try_for_each(|name| take_doubles(from, &format!("{prefix}{name}"), origin).map(|_| ()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two groups of rows, one of them a single row 40 times, under three components, one of them far from all rows.
    #[test]
    fn planted_empty_and_singular_components_are_survived_and_reported() {
        let noise = Draws::new(5);
        let mut values: Vec<f64> = (0..120).map(|i| noise.normal_f64(i, 0)).collect();
        values.extend([9.0; 80]);
        let points = Arc::new(Points::new(values, 2).unwrap());
        let means = vec![0.0, 0.0, 9.0, 9.0, 1e4, -1e4];
        let start =
            Mixture::new(Covariance::Full, vec![1.0; 3], means, [1.0, 0.0, 0.0, 1.0].repeat(3), 2);
        let em = Em::from_mixture(points.clone(), &EmFit::default().config(3), start.unwrap());
        let mut fit = Candidates(vec![em.unwrap()]);
        assert_eq!(fit.notes(), Vec::<String>::new());
        for _ in 0..60 {
            assert!(fit.step().unwrap().is_finite());
        }
        let notes = fit.notes();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains("3 components: 1 empty component was moved"), "{notes:?}");
        // The component on the single row is as narrow as the floor, and its density is finite.
        let mixture = fit.0[0].mixture();
        let narrow = (0..3).map(|k| mixture.covariance(k)[0]).fold(f64::INFINITY, f64::min);
        assert!(narrow > 0.0 && narrow < 1e-3, "{narrow}");
        assert!(mixture.mean_log_density(&points).is_finite());
    }

    #[test]
    fn the_criterion_of_each_number_of_components_is_reported() {
        let noise = Draws::new(6);
        let value = |i: u64| noise.normal_f64(i, 0) + 12.0 * (i % 2) as f64;
        let points = Arc::new(Points::new((0..200).map(value).collect(), 1).unwrap());
        let fit = EmFit { components: Components(vec![1, 2, 3]), ..EmFit::default() };
        let mut fitter = fit.begin(points, &Draws::new(1)).unwrap();
        for _ in 0..50 {
            fitter.step().unwrap();
        }
        let notes = fitter.notes();
        assert!(notes[0].starts_with("BIC by number of components: 1: "), "{notes:?}");
        assert!(notes[0].ends_with("; 2 components have the least"), "{notes:?}");
    }
}
