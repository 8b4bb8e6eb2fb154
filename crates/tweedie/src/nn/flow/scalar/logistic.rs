//! Mixtures of logistic distribution functions, seen through a logit.
//!
//! > z = logit F(x),  F(x) = Σ_k π_k σ((x − μ_k) e^(−s_k))
//!
//! (Ho et al. 2019, *Flow++*, eqs. 13–16). It is the deep sigmoidal layer of Huang et al. 2018, *Neural autoregressive
//! flows*, eq. 8, with slopes e^(−s) and offsets −μ e^(−s). With f the density of F,
//!
//! > log ∂z/∂x = log f − log F − log(1 − F),
//!
//! all three as log-sum-exp over components, so that far tails stay exact: there z is affine in x.

use super::mixture::{Mixture, MixtureMap};
use crate::tensor::Dual;
use serde::{Deserialize, Serialize};

/// The logit of a mixture of logistic distribution functions; see the module's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogisticMixture {
    /// The number of components, 1 to 256.
    pub components: usize,
}

impl Default for LogisticMixture {
    fn default() -> Self {
        Self { components: 8 }
    }
}

impl MixtureMap for LogisticMixture {
    fn components(&self) -> usize {
        self.components
    }

    fn forward(of: &Mixture, x: Dual<2>) -> (Dual<2>, Dual<2>) {
        let [n, m] = x.dims();
        let u = of.standardised(x);
        let (below, above) = (u.clone().log_sigmoid(), (-u).log_sigmoid());
        let density = below.clone() + above.clone() - of.log_scale.clone();
        let all = |part: Dual<3>| (part + of.log_weight.clone()).log_sum_exp(2).reshape([n, m]);
        let (below, above, density) = (all(below), all(above), all(density));
        (below.clone() - above.clone(), density - below - above)
    }
}
