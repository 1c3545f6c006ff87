//! The arithmetic an operation is written over: as the machine does it, or checked.
//!
//! Every operation of the executor is generic over [`Arithmetic`]. Release runs use [`Wrapping`];
//! tests run the same code with [`Checked`], which notes the first overflow, out-of-range shift,
//! division by zero or value wider than declared, and must find none.

#![expect(
    clippy::inline_always,
    reason = "loops vectorise only when the arithmetic is inlined"
)]

use std::cell::Cell;
use thiserror::Error;

/// What went wrong in checked arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ArithmeticError {
    /// The result does not fit 64 bits.
    #[error("{operation} overflows 64 bits")]
    Overflow {
        /// Which operation.
        operation: &'static str,
    },
    /// A shift by more than the width.
    #[error("shift by {bits} bits")]
    Shift {
        /// How far.
        bits: u32,
    },
    /// A division by zero.
    #[error("division by zero")]
    Division,
    /// A value wider than the operation declares.
    #[error("value {value}, expected at most {bits} bits with sign")]
    Width {
        /// The value.
        value: i64,
        /// Declared width.
        bits: u32,
    },
}

/// Integer arithmetic on 64 bits.
pub trait Arithmetic {
    /// `a + b`.
    fn add(&self, a: i64, b: i64) -> i64;
    /// `a - b`.
    fn sub(&self, a: i64, b: i64) -> i64;
    /// `a * b`.
    fn mul(&self, a: i64, b: i64) -> i64;
    /// `a * 2^bits`.
    fn shl(&self, a: i64, bits: u32) -> i64;
    /// `floor(a / 2^bits)`.
    fn shr(&self, a: i64, bits: u32) -> i64;
    /// `floor(a / b)`, `b` positive or negative.
    fn div_floor(&self, a: i64, b: i64) -> i64;
    /// `value`, which is declared to need no more than `bits` bits, sign included.
    fn declared(&self, value: i64, bits: u32) -> i64;
    /// `a * b` where more than 64 bits are declared: the only operation that is allowed to.
    fn mul_wide(&self, a: i64, b: i64) -> i128 {
        i128::from(a) * i128::from(b)
    }
    /// A 128-bit intermediate back to 64 bits.
    fn narrow(&self, value: i128) -> i64;
}

/// Two's complement wrap-around: what the processor does, without a branch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wrapping;

impl Arithmetic for Wrapping {
    #[inline(always)]
    fn add(&self, a: i64, b: i64) -> i64 {
        a.wrapping_add(b)
    }

    #[inline(always)]
    fn sub(&self, a: i64, b: i64) -> i64 {
        a.wrapping_sub(b)
    }

    #[inline(always)]
    fn mul(&self, a: i64, b: i64) -> i64 {
        a.wrapping_mul(b)
    }

    #[inline(always)]
    fn shl(&self, a: i64, bits: u32) -> i64 {
        a.wrapping_shl(bits)
    }

    #[inline(always)]
    fn shr(&self, a: i64, bits: u32) -> i64 {
        a.wrapping_shr(bits)
    }

    #[inline(always)]
    fn div_floor(&self, a: i64, b: i64) -> i64 {
        // Zero divisors are excluded by every caller; the checked run proves it.
        if b == 0 {
            return 0;
        }
        let quotient = a.wrapping_div(b);
        let rest = a.wrapping_rem(b);
        quotient.wrapping_sub(i64::from(rest != 0 && (rest < 0) != (b < 0)))
    }

    #[inline(always)]
    fn declared(&self, value: i64, _bits: u32) -> i64 {
        value
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "wraps on purpose")]
    fn narrow(&self, value: i128) -> i64 {
        value as i64
    }
}

/// Keeps the first [`ArithmeticError`] and goes on with the wrapped result.
#[derive(Debug, Default)]
pub struct Checked {
    fault: Cell<Option<ArithmeticError>>,
}

impl Checked {
    /// The first fault since this was made.
    ///
    /// # Errors
    /// That fault.
    pub fn outcome(&self) -> Result<(), ArithmeticError> {
        self.fault.get().map_or(Ok(()), Err)
    }

    fn note(&self, fault: ArithmeticError) {
        if self.fault.get().is_none() {
            self.fault.set(Some(fault));
        }
    }

    fn noted(&self, found: Option<i64>, wrapped: i64, operation: &'static str) -> i64 {
        if found.is_none() {
            self.note(ArithmeticError::Overflow { operation });
        }
        wrapped
    }
}

impl Arithmetic for Checked {
    fn add(&self, a: i64, b: i64) -> i64 {
        self.noted(a.checked_add(b), Wrapping.add(a, b), "addition")
    }

    fn sub(&self, a: i64, b: i64) -> i64 {
        self.noted(a.checked_sub(b), Wrapping.sub(a, b), "subtraction")
    }

    fn mul(&self, a: i64, b: i64) -> i64 {
        self.noted(a.checked_mul(b), Wrapping.mul(a, b), "multiplication")
    }

    fn shl(&self, a: i64, bits: u32) -> i64 {
        let wrapped = Wrapping.shl(a, bits);
        if bits >= 64 {
            self.note(ArithmeticError::Shift { bits });
        } else if wrapped >> bits != a {
            self.note(ArithmeticError::Overflow {
                operation: "left shift",
            });
        }
        wrapped
    }

    fn shr(&self, a: i64, bits: u32) -> i64 {
        if bits >= 64 {
            self.note(ArithmeticError::Shift { bits });
        }
        Wrapping.shr(a, bits)
    }

    fn div_floor(&self, a: i64, b: i64) -> i64 {
        if b == 0 {
            self.note(ArithmeticError::Division);
        } else if a.checked_div(b).is_none() {
            self.note(ArithmeticError::Overflow {
                operation: "division",
            });
        }
        Wrapping.div_floor(a, b)
    }

    fn declared(&self, value: i64, bits: u32) -> i64 {
        let used = 65 - if value < 0 { !value } else { value }.leading_zeros();
        if used > bits {
            self.note(ArithmeticError::Width { value, bits });
        }
        value
    }

    fn narrow(&self, value: i128) -> i64 {
        if i64::try_from(value).is_err() {
            self.note(ArithmeticError::Overflow {
                operation: "narrowing",
            });
        }
        Wrapping.narrow(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_and_shift_round_towards_minus_infinity() {
        let cases = [
            (7, 2, 3),
            (-7, 2, -4),
            (7, -2, -4),
            (-7, -2, 3),
            (-8, 2, -4),
        ];
        for (a, b, expected) in cases {
            assert_eq!(Wrapping.div_floor(a, b), expected);
        }
        assert_eq!(Wrapping.shr(-7, 1), -4);
    }

    #[test]
    fn checked_keeps_the_first_fault_and_wrapping_results() {
        let checked = Checked::default();
        assert_eq!(checked.add(i64::MAX, 1), i64::MIN);
        checked.div_floor(1, 0);
        let operation = "addition";
        assert_eq!(
            checked.outcome(),
            Err(ArithmeticError::Overflow { operation })
        );
        let fine = Checked::default();
        fine.shl(fine.mul(1 << 20, -3), 40);
        assert_eq!(fine.outcome(), Ok(()));
    }

    #[test]
    fn declared_widths_count_the_sign() {
        for (value, bits) in [(127, 8), (-128, 8), (0, 1), (-1, 1), (128, 9)] {
            let checked = Checked::default();
            checked.declared(value, bits);
            assert_eq!(checked.outcome(), Ok(()), "{value}");
            checked.declared(value, bits - 1);
            assert!(checked.outcome().is_err(), "{value}");
        }
    }

    #[test]
    fn shifts_out_of_range_or_over_the_top_are_faults() {
        for (value, bits) in [(1, 63), (1, 64), (-5, 62)] {
            let checked = Checked::default();
            checked.shl(value, bits);
            assert!(checked.outcome().is_err(), "{value} {bits}");
        }
    }
}
