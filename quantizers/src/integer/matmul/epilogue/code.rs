//! The integer types that codes are stored in.

use std::fmt::Debug;

mod sealed {
    pub trait Sealed {}
}

/// `u8`, `i8`, `i16` or `i32`.
pub trait Code: sealed::Sealed + Copy + Default + Debug + PartialEq {
    /// Smallest code.
    const MIN: i32;
    /// Largest code.
    const MAX: i32;

    /// The code of `value`, which is between [`MIN`](Self::MIN) and [`MAX`](Self::MAX); 0 if it
    /// is not.
    fn of(value: i32) -> Self;
}

macro_rules! narrow {
    ($($code:ty),*) => {$(
        impl sealed::Sealed for $code {}
        impl Code for $code {
            const MIN: i32 = <$code>::MIN as i32;
            const MAX: i32 = <$code>::MAX as i32;

            fn of(value: i32) -> Self {
                Self::try_from(value).unwrap_or_default()
            }
        }
    )*};
}
narrow!(u8, i8, i16);

impl sealed::Sealed for i32 {}
impl Code for i32 {
    const MIN: i32 = Self::MIN;
    const MAX: i32 = Self::MAX;

    fn of(value: i32) -> Self {
        value
    }
}
