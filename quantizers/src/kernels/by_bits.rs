//! Kernels that are compiled for every width of codes.

/// `$body` with the constant `$bits` being `$row.bits`.
macro_rules! with_bits {
    ($row:expr, $bits:ident => $body:expr) => {
        match $row.bits {
            1 => with_bits!(1, $bits, $body),
            2 => with_bits!(2, $bits, $body),
            3 => with_bits!(3, $bits, $body),
            4 => with_bits!(4, $bits, $body),
            5 => with_bits!(5, $bits, $body),
            6 => with_bits!(6, $bits, $body),
            7 => with_bits!(7, $bits, $body),
            8 => with_bits!(8, $bits, $body),
            bits => unreachable!("codes of {bits} bits"),
        }
    };
    ($value:literal, $bits:ident, $body:expr) => {{
        const $bits: usize = $value;
        $body
    }};
}
pub(super) use with_bits;
