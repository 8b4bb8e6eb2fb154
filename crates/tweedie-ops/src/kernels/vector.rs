//! Vectors of f32 with the operators of arithmetic, for kernels with long formulas.

use pulp::Simd;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A vector.
#[derive(Clone, Copy)]
pub struct Vector<S: Simd> {
    simd: S,
    /// Its lanes.
    pub lanes: S::f32s,
}

impl<S: Simd> Vector<S> {
    /// A vector of these lanes.
    #[inline(always)]
    pub fn new(simd: S, lanes: S::f32s) -> Self {
        Self { simd, lanes }
    }

    /// The instructions that it is made with.
    #[inline(always)]
    pub fn simd(self) -> S {
        self.simd
    }

    /// A vector with this value in all lanes.
    #[inline(always)]
    pub fn splat(simd: S, value: f32) -> Self {
        Self { simd, lanes: simd.splat_f32s(value) }
    }

    /// |x|.
    #[inline(always)]
    pub fn abs(self) -> Self {
        Self { lanes: self.simd.abs_f32s(self.lanes), ..self }
    }

    /// √x.
    #[inline(always)]
    pub fn sqrt(self) -> Self {
        Self { lanes: self.simd.sqrt_f32s(self.lanes), ..self }
    }

    /// Where x < y.
    #[inline(always)]
    pub fn less(self, other: Self) -> S::m32s {
        self.simd.less_than_f32s(self.lanes, other.lanes)
    }

    /// Where x ≤ y.
    #[inline(always)]
    pub fn at_most(self, other: Self) -> S::m32s {
        self.simd.less_than_or_equal_f32s(self.lanes, other.lanes)
    }

    /// Where x = y.
    #[inline(always)]
    pub fn equals(self, other: Self) -> S::m32s {
        self.simd.equal_f32s(self.lanes, other.lanes)
    }

    /// x where the mask is set, and y elsewhere.
    #[inline(always)]
    pub fn or(self, mask: S::m32s, other: Self) -> Self {
        Self { lanes: self.simd.select_f32s(mask, self.lanes, other.lanes), ..self }
    }
}

macro_rules! operator {
    ($trait:ident, $name:ident, $of:ident) => {
        impl<S: Simd> $trait for Vector<S> {
            type Output = Self;
            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                Self { lanes: self.simd.$of(self.lanes, other.lanes), ..self }
            }
        }

        impl<S: Simd> $trait<f32> for Vector<S> {
            type Output = Self;
            #[inline(always)]
            fn $name(self, other: f32) -> Self {
                self.$name(Self::splat(self.simd, other))
            }
        }
    };
}

operator!(Add, add, add_f32s);
operator!(Sub, sub, sub_f32s);
operator!(Mul, mul, mul_f32s);
operator!(Div, div, div_f32s);

impl<S: Simd> Neg for Vector<S> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self { lanes: self.simd.neg_f32s(self.lanes), ..self }
    }
}
