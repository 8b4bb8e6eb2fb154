//! AdamW in one pass over memory, with the optional moving average of the parameters, and the norm for clipping.
//!
//! Loshchilov & Hutter (2019), algorithm 2, with g the gradient times a factor, at step k ≥ 1:
//!
//! > m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²,
//! >
//! > θ ← (1 − η w) θ − η/(1 − β₁ᵏ) · m/(√(v/(1 − β₂ᵏ)) + ε),  θ̄ ← d θ̄ + (1 − d) θ.
//!
//! Multiplication and addition round separately, without fused multiply-add, so that the weights equal, bit for bit,
//! the result of one tensor operation after the other.

use super::{PIECE, SERIAL, each, vectorized};
use pulp::Simd;

/// One step's constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// The factor on the gradient.
    pub factor: f64,
    /// β₁, the decay of the mean gradient.
    pub beta_1: f64,
    /// β₂, the decay of the mean squared gradient.
    pub beta_2: f64,
    /// ε, added to the root of the mean square.
    pub epsilon: f64,
    /// η, the learning rate.
    pub rate: f64,
    /// w, the decoupled weight decay.
    pub weight_decay: f64,
    /// k, the number of this step, from 1.
    pub step: u64,
}

#[derive(Clone, Copy)]
struct Constants {
    factor: f32,
    beta_1: [f32; 2],
    beta_2: [f32; 2],
    epsilon: f32,
    correction: f32,
    step: f32,
    decay: f32,
}

impl AdamW {
    fn constants(&self) -> Constants {
        let k = self.step as i32;
        Constants {
            factor: self.factor as f32,
            beta_1: [self.beta_1 as f32, (1.0 - self.beta_1) as f32],
            beta_2: [self.beta_2 as f32, (1.0 - self.beta_2) as f32],
            epsilon: self.epsilon as f32,
            correction: (1.0 - self.beta_2.powi(k)) as f32,
            step: (self.rate / (1.0 - self.beta_1.powi(k))) as f32,
            decay: (1.0 - self.rate * self.weight_decay) as f32,
        }
    }

    /// Steps the parameters and both means, the parameters in place, or from those in `before` if it is given. An
    /// average and its decay d become d · average + (1 − d) · new parameters.
    pub fn update(
        &self,
        gradient: &[f32],
        before: Option<&[f32]>,
        parameter: &mut [f32],
        [mean, square]: [&mut [f32]; 2],
        average: Option<(&mut [f32], f64)>,
    ) {
        let len = gradient.len();
        assert!([parameter.len(), mean.len(), square.len()] == [len; 3]);
        assert!(before.is_none_or(|before| before.len() == len));
        assert!(average.as_ref().is_none_or(|(average, _)| average.len() == len));
        let constants = self.constants();
        let decay = average.as_ref().map_or(1.0, |(_, decay)| *decay);
        let weights = [decay as f32, (1.0 - decay) as f32];
        let state = mean.chunks_mut(PIECE).zip(square.chunks_mut(PIECE));
        let mut before = before.map(|before| before.chunks(PIECE));
        let mut average = average.map(|(average, _)| average.chunks_mut(PIECE));
        let pieces = gradient.chunks(PIECE).zip(parameter.chunks_mut(PIECE)).zip(state);
        let tasks = pieces.map(|piece| {
            let before = before.as_mut().and_then(Iterator::next);
            (piece, before, average.as_mut().and_then(Iterator::next))
        });
        each(len >= SERIAL, tasks, |(((gradient, parameter), (mean, square)), before, average)| {
            // Piece by piece, so that data stay in the cache from one to the next.
            if let Some(before) = before {
                parameter.copy_from_slice(before);
            }
            step(constants, gradient, parameter, mean, square);
            if let Some(average) = average {
                blend(weights, parameter, average);
            }
        });
    }
}

/// A vector's parameters and means after a step.
#[inline(always)]
fn next<S: Simd>(
    simd: S,
    constants: Constants,
    g: S::f32s,
    p: S::f32s,
    m: S::f32s,
    v: S::f32s,
) -> (S::f32s, S::f32s, S::f32s) {
    let Constants { factor, beta_1, beta_2, epsilon, correction, step, decay } = constants;
    let times = |x: S::f32s, by: f32| simd.mul_f32s(x, simd.splat_f32s(by));
    let g = times(g, factor);
    let m = simd.add_f32s(times(m, beta_1[0]), times(g, beta_1[1]));
    let v = simd.add_f32s(times(v, beta_2[0]), times(simd.mul_f32s(g, g), beta_2[1]));
    let root = simd.sqrt_f32s(simd.div_f32s(v, simd.splat_f32s(correction)));
    let root = simd.add_f32s(root, simd.splat_f32s(epsilon));
    let update = times(simd.div_f32s(m, root), step);
    (simd.sub_f32s(times(p, decay), update), m, v)
}

vectorized! {
    fn step<'a>(
        simd: S, constants: Constants, gradient: &'a [f32], parameter: &'a mut [f32],
        mean: &'a mut [f32], square: &'a mut [f32],
    ) -> () {
        let (g, g_tail) = S::as_simd_f32s(gradient);
        let (p, p_tail) = S::as_mut_simd_f32s(parameter);
        let (m, m_tail) = S::as_mut_simd_f32s(mean);
        let (v, v_tail) = S::as_mut_simd_f32s(square);
        for (((g, p), m), v) in g.iter().zip(p).zip(m).zip(v) {
            (*p, *m, *v) = next(simd, constants, *g, *p, *m, *v);
        }
        if !g_tail.is_empty() {
            let [g, p] = [g_tail, &*p_tail].map(|x| simd.partial_load_f32s(x));
            let [m, v] = [&*m_tail, &*v_tail].map(|x| simd.partial_load_f32s(x));
            let (p, m, v) = next(simd, constants, g, p, m, v);
            simd.partial_store_f32s(p_tail, p);
            simd.partial_store_f32s(m_tail, m);
            simd.partial_store_f32s(v_tail, v);
        }
    }
}

vectorized! {
    fn blend<'a>(simd: S, weights: [f32; 2], parameter: &'a [f32], average: &'a mut [f32]) -> () {
        // Plain code, which the compiler vectorises.
        let _ = simd;
        for (p, a) in parameter.iter().zip(average) {
            *a = *a * weights[0] + *p * weights[1];
        }
    }
}

/// Σ x², in f64.
pub fn square_sum(x: &[f32]) -> f64 {
    let mut partial = vec![0.0; x.len().div_ceil(PIECE)];
    each(x.len() >= SERIAL, x.chunks(PIECE).zip(&mut partial), |(x, sum)| *sum = squares(x));
    partial.iter().sum()
}

vectorized! {
    fn squares<'a>(simd: S, x: &'a [f32]) -> f64 {
        // Plain code, which the compiler vectorises.
        let _ = simd;
        let mut sums = [0.0f64; 32];
        let (chunks, tail) = x.as_chunks::<32>();
        for chunk in chunks.iter().map(|chunk| chunk.as_slice()).chain([tail]) {
            for (sum, x) in sums.iter_mut().zip(chunk) {
                let x = f64::from(*x);
                *sum += x * x;
            }
        }
        sums.iter().sum()
    }
}
