//! Roots of rising functions, element by element.

use burn::tensor::{DType, Tensor};

/// The most steps.
const MOST: usize = 300;
/// The magnitude below which a change counts as much as at this magnitude.
const SMALL: f64 = 1e-3;

/// x with f(x) = `y` for each element, where f rises and the root lies between `low` and `high`, from `start`. `f`
/// gives values and slopes. Without derivatives.
///
/// Steps are Newton's while they stay in the bracket and are at most half as long as the step before; others halve the
/// bracket. So no plateau of f holds a step back. An element stays as it is once it moves by no more than its rounding,
/// and thus depends on no other.
pub(super) fn root(
    y: &Tensor<2>,
    [mut low, mut high]: [Tensor<2>; 2],
    start: Tensor<2>,
    f: impl Fn(Tensor<2>) -> (Tensor<2>, Tensor<2>),
) -> Tensor<2> {
    let epsilon = if y.dtype() == DType::F64 { f64::EPSILON } else { f32::EPSILON.into() };
    let mut last = high.clone() - low.clone();
    let (mut x, mut done) = (start, y.clone().is_nan());
    for _ in 0..MOST {
        let (value, slope) = f(x.clone());
        let over = value - y.clone();
        let above = over.clone().greater_elem(0.0);
        high = high.mask_where(above.clone(), x.clone());
        low = low.mask_where(above.bool_not(), x.clone());
        let newton = x.clone() - over / slope;
        let long = (newton.clone() - x.clone()).abs().greater(last.clone().mul_scalar(0.5));
        let outside =
            newton.clone().lower(low.clone()).bool_or(newton.clone().greater(high.clone()));
        let halve = long.bool_or(outside).bool_or(newton.clone().is_nan());
        let middle = (low.clone() + high.clone()).mul_scalar(0.5);
        let next = newton.mask_where(halve, middle).mask_where(done.clone(), x.clone());
        last = (next.clone() - x).abs();
        x = next;
        let rounding = x.clone().abs().add_scalar(SMALL).mul_scalar(epsilon);
        done = done.bool_or(last.clone().lower_equal(rounding));
        if done.clone().all().into_scalar::<bool>() {
            break;
        }
    }
    x
}
