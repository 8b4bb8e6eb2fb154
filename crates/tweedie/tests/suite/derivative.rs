//! Products with Jacobians and Hessians, divergences and penalties on gradients, against closed forms and differences.

use crate::double::{along_parameters, moved};
use crate::dual::{draws, normal, randomised};
use crate::support::*;
use burn::module::Module;
use burn::tensor::{DType, Tensor};
use tweedie::Result;
use tweedie::data::Condition;
use tweedie::nn::*;
use tweedie::objective::grad_norm_penalty;
use tweedie::tensor::{Divergence, Dual, Probe, divergence, gradient, hessian_vector};

/// E(x) = ¼ ‖x‖⁴ + a·x with its derivatives in closed form.
fn quartic(x: Dual<2>, a: &Tensor<2>) -> Result<Dual<2>> {
    let square = x.clone().square().sum_dim(1);
    Ok(square.square().mul_scalar(0.25) + (x * a.clone()).sum_dim(1))
}

#[test]
fn gradients_and_hessians_of_a_quartic_are_its_closed_forms() {
    let (n, d) = (4, 3);
    let [x, v, w]: [Tensor<2>; 3] = ["x", "v", "w"].map(|name| normal(name, [n, d]));
    let a = normal("a", [1, d]);
    let energy = |x| quartic(x, &a);
    let path = Dual { value: x.clone(), tangent: Some(v.clone()), second: Some(w.clone()) };
    let found = gradient(energy, path).unwrap();
    let scalar = |a: &Tensor<2>, b: &Tensor<2>| (a.clone() * b.clone()).sum_dim(1);
    // ∇E = ‖x‖² x + a, ∇²E v = ‖x‖² v + 2 (x·v) x, D³E[v, v] = 4 (x·v) v + 2 ‖v‖² x.
    let hessian =
        |v: &Tensor<2>| scalar(&x, &x) * v.clone() + scalar(&x, v).mul_scalar(2.0) * x.clone();
    let third = scalar(&x, &v).mul_scalar(4.0) * v.clone() + scalar(&v, &v) * x.clone() * 2.0;
    let check = |what, found: &Tensor<2>, right: Tensor<2>| {
        all_close(what, &host(found), &host(&right), 1e-12);
    };
    check("∇E", &found.value, scalar(&x, &x) * x.clone() + a.clone());
    check("∇²E v", &found.tangent.unwrap(), hessian(&v));
    check("D³E[v, v] + ∇²E w", &found.second.unwrap(), third + hessian(&w));
    check("hessian_vector", &hessian_vector(energy, x.clone(), v.clone()).unwrap(), hessian(&v));
    // Along a line the tangent is v·∇E and the second vᵀ ∇²E v.
    let line = energy(Dual::line(x.clone(), v.clone())).unwrap();
    check("v·∇E", &line.tangent.unwrap(), scalar(&v, &found.value));
    check("vᵀ ∇²E v", &line.second.unwrap(), scalar(&v, &hessian(&v)));
    // What does not depend on x has no gradient.
    let nothing = gradient(|_: Dual<2>| Ok(Dual::from(a.clone())), x.clone().into()).unwrap();
    check("of a constant", &nothing.value, x.zeros_like());
}

#[test]
fn divergences_are_traces_and_random_ones_have_their_known_variance() {
    // f(x) = A x with a symmetric A: trace 0.7; Rademacher's variance is 2 Σ_{i≠j} A², Gaussian's 2 ‖A‖².
    let a = doubles(&[0.9, 0.4, -0.2, 0.4, -0.5, 0.3, -0.2, 0.3, 0.3], 3);
    let n = 100_000;
    let x = Tensor::<2>::zeros([n, 3], (&cpu(), DType::F64));
    let rows: Vec<u64> = (0..n as u64).collect();
    let f = |x: Dual<2>| Ok(x.linear(|x| x.matmul(a.clone())));
    let estimates = |kind: Divergence| {
        let probes = kind.probes(&draws("probes"), &rows, &x).unwrap();
        host(&divergence(f, &x, &probes).unwrap().1)
    };
    assert!(estimates(Divergence::Exact).iter().all(|trace| (trace - 0.7).abs() < 1e-12));
    let off: f64 = 4.0 * (0.16 + 0.04 + 0.09);
    let all: f64 = off + 2.0 * (0.81 + 0.25 + 0.09);
    for (law, right) in [(Probe::Rademacher, off), (Probe::Gaussian, all)] {
        let (mean, variance) = moments(&estimates(Divergence::Hutchinson { probes: 1, law }));
        within(format!("mean by {law:?}"), mean, 0.7, SIX_SIGMA * (right / n as f64).sqrt());
        // The estimates' kurtosis is below 15, so that their variance is known to 1.2%; six of it.
        close(format!("variance by {law:?}"), variance, right, 0.07);
    }
    let none = Divergence::hutchinson(0).probes(&draws("probes"), &rows, &x);
    assert!(none.is_err());
}

#[test]
fn penalties_on_gradients_have_the_gradient_of_their_value() {
    let net = ResidualMlpConfig::new(3).with_hidden(12).with_blocks(1);
    let net = randomised(net.init(&draws("critic"), &cpu()), 0.4);
    let (x, level) = (normal("x", [6, 3]), doubles(&[0.3], 1));
    let critic = |net: &ResidualMlp, x: Dual<2>| {
        Ok(net.forward(x, level.clone().into(), &Condition::None)?.sum_dim(1))
    };
    let penalty = |net: &ResidualMlp| {
        let frozen = net.valid();
        grad_norm_penalty(|x| critic(&frozen, x), |x| critic(net, x), x.clone(), 1.0).unwrap()
    };
    let value = |net: &ResidualMlp| host(&penalty(net).value).iter().sum::<f64>();
    let (reverse, right) = along_parameters(&net, |net| penalty(net).surrogate.sum(), value);
    close("the penalty's gradient", reverse, right, 1e-6);
    // The value by differences of the critic itself.
    let double = moved(&net, 0.0);
    let found = host(&penalty(&double).value);
    for (i, found) in found.into_iter().enumerate() {
        let slope = |j: usize| {
            let at = |h: f64| {
                let mut moved = host(&x);
                moved[3 * i + j] += h;
                let all = host(&critic(&double, doubles(&moved, 3).into()).unwrap().value);
                all[i]
            };
            difference(at, 0.0, 1e-2)
        };
        let norm = (0..3).map(|j| slope(j).powi(2)).sum::<f64>().sqrt();
        close(format!("penalty of row {i}"), found, (norm - 1.0).powi(2), 1e-7);
    }
}
