//! The float types matrices are computed in.

use std::ops::{Add, Div, Mul, Sub};

/// f32 or f64, as far as products and factors need to know.
pub trait Scalar:
    Copy
    + Send
    + Sync
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + 'static
{
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// Minus one.
    const MINUS_ONE: Self;
    /// What rounding leaves of a value that is zero, relative to what it was taken from: four units.
    const NEGLIGIBLE: Self;
    /// The square root.
    #[must_use]
    fn root(self) -> Self;
    /// Neither infinite nor NaN.
    fn finite(self) -> bool;
}

impl Scalar for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const MINUS_ONE: Self = -1.0;
    const NEGLIGIBLE: Self = 4.0 * Self::EPSILON;

    fn root(self) -> Self {
        self.sqrt()
    }

    fn finite(self) -> bool {
        self.is_finite()
    }
}

impl Scalar for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const MINUS_ONE: Self = -1.0;
    const NEGLIGIBLE: Self = 4.0 * Self::EPSILON;

    fn root(self) -> Self {
        self.sqrt()
    }

    fn finite(self) -> bool {
        self.is_finite()
    }
}
