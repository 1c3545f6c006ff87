//! What follows a matrix product, done while its sums are in the first-level cache.
//!
//! Each form is the specification of [`Linear`] on vectors, bit for bit; layers of another form (a
//! kernel that reads accumulators, wider residuals) take the general way.

use super::layer::{Linear, Residual};
use crate::integer::buffer::Storage;
use crate::integer::kernels::exact::ChannelTables;
use crate::integer::matmul::epilogue::{
    AddResidual, Branch, ByteTable, Code, Requantize, Residual as Sum, Scales, Store, StoreLookup,
    StoreMapped, StoreTables,
};
use crate::integer::matmul::{Left, PackedMatrix, fastest, multiply};
use crate::integer::operation::Kernel;
use crate::integer::requantize::Requantization;

/// A product with its epilogue.
pub(super) enum Fused {
    /// To 8-bit codes.
    Bytes(Requantize<u8>),
    /// To 8-bit codes with sign.
    Signed(Requantize<i8>),
    /// To 16 bits.
    Words(Requantize<i16>),
    /// To 32 bits.
    Wide(Requantize<i32>),
    /// To 8-bit codes, then through a table.
    Mapped(Requantize<u8>, Box<ByteTable>),
    /// To places in a longer table of 8-bit codes.
    Lookup(Requantize<i16>, Vec<u8>),
    /// To places in the table of each channel.
    Tables {
        requantize: Requantize<i16>,
        tables: Vec<u8>,
        starts: Vec<u32>,
    },
    /// Plus a residual of 16 bits.
    Sum(Sum<i16>),
}

impl Fused {
    /// The fused form of `linear`, if it has one.
    pub(super) fn of(linear: &Linear) -> Option<Self> {
        let requantize = linear.requantize.as_ref()?;
        let channels = linear.bias.len();
        let expanded = Expanded::of(requantize, channels);
        let scales = expanded.scales(&linear.bias);
        let zero_point = requantize.zero_point;
        let range = (requantize.low, requantize.high);
        match (&linear.residual, &linear.kernel) {
            (Some(residual), None) => sum(scales, residual, zero_point, range),
            (None, Some(kernel)) => table(scales, kernel, zero_point, range),
            (None, None) => {
                let (low, high) = range;
                if low >= 0 && high <= 255 {
                    Requantize::new(scales, zero_point, range)
                        .ok()
                        .map(Self::Bytes)
                } else if low >= -128 && high <= 127 {
                    Requantize::new(scales, zero_point, range)
                        .ok()
                        .map(Self::Signed)
                } else if low >= -32768 && high <= 32767 {
                    Requantize::new(scales, zero_point, range)
                        .ok()
                        .map(Self::Words)
                } else {
                    Requantize::new(scales, zero_point, range)
                        .ok()
                        .map(Self::Wide)
                }
            }
            (Some(_), Some(_)) => None,
        }
    }

    /// Multiplies `left` with `right` into `output`; false if a buffer has another type than this
    /// form is for.
    pub(super) fn run(
        &self,
        left: Left<'_>,
        right: &PackedMatrix,
        residual: Option<&Storage>,
        output: &mut Storage,
    ) -> bool {
        let kernel = fastest();
        let stride = right.rows();
        match (self, output) {
            (Self::Bytes(requantize), Storage::U8(out)) => store(left, right, requantize, out),
            (Self::Signed(requantize), Storage::I8(out)) => store(left, right, requantize, out),
            (Self::Words(requantize), Storage::I16(out)) => store(left, right, requantize, out),
            (Self::Wide(requantize), Storage::I32(out)) => store(left, right, requantize, out),
            (Self::Mapped(requantize, table), Storage::U8(out)) => {
                let mut epilogue = StoreMapped {
                    requantize,
                    table,
                    out,
                    stride,
                };
                multiply(kernel, left, right, &mut epilogue);
            }
            (Self::Lookup(requantize, table), Storage::U8(out)) => {
                let mut epilogue = StoreLookup {
                    requantize,
                    table,
                    out,
                    stride,
                };
                multiply(kernel, left, right, &mut epilogue);
            }
            (
                Self::Tables {
                    requantize,
                    tables,
                    starts,
                },
                Storage::U8(out),
            ) => {
                let mut epilogue = StoreTables {
                    requantize,
                    tables,
                    starts,
                    out,
                    stride,
                };
                multiply(kernel, left, right, &mut epilogue);
            }
            (Self::Sum(scales), Storage::I16(out)) => {
                let Some(Storage::I16(residual)) = residual else {
                    return false;
                };
                let mut epilogue = AddResidual {
                    scales,
                    residual,
                    residual_stride: stride,
                    out,
                    stride,
                };
                multiply(kernel, left, right, &mut epilogue);
            }
            _ => return false,
        }
        true
    }
}

/// Writes the codes of a product.
fn store<T: Code>(left: Left<'_>, right: &PackedMatrix, requantize: &Requantize<T>, out: &mut [T]) {
    let stride = right.rows();
    let mut epilogue = Store {
        requantize,
        out,
        stride,
    };
    multiply(fastest(), left, right, &mut epilogue);
}

/// A factor for every channel.
struct Expanded {
    multipliers: Vec<i32>,
    shifts: Vec<u8>,
}

impl Expanded {
    fn of(requantize: &Requantization, channels: usize) -> Self {
        let all = |len: usize, at: usize| if len == 1 { 0 } else { at };
        let each = 0..channels;
        Self {
            multipliers: each
                .clone()
                .map(|at| requantize.multipliers[all(requantize.multipliers.len(), at)])
                .collect(),
            shifts: each
                .map(|at| requantize.shifts[all(requantize.shifts.len(), at)])
                .collect(),
        }
    }

    fn scales<'a>(&'a self, bias: &'a [i32]) -> Scales<'a> {
        Scales {
            bias,
            multipliers: &self.multipliers,
            shifts: &self.shifts,
        }
    }
}

fn sum(
    scales: Scales<'_>,
    residual: &Residual,
    zero_point: i32,
    range: (i32, i32),
) -> Option<Fused> {
    let factors: Option<Vec<(i32, u8)>> = residual
        .factors
        .iter()
        .map(|factor| {
            let multiplier = i32::try_from(factor.multiplier).ok()?;
            Some((multiplier, u8::try_from(factor.shift).ok()?))
        })
        .collect();
    let branch = Branch {
        factors: &factors?,
        zero_point: i16::try_from(residual.zero_point).ok()?,
    };
    Sum::new(scales, branch, zero_point, range)
        .ok()
        .map(Fused::Sum)
}

/// A kernel that is a table of 8-bit codes over every code it can be given.
fn table(
    scales: Scales<'_>,
    kernel: &Kernel,
    zero_point: i32,
    (low, high): (i32, i32),
) -> Option<Fused> {
    if let Some(kernel) = kernel.as_any().downcast_ref::<ChannelTables>() {
        return channel_tables(scales, kernel, zero_point, (low, high));
    }
    let (start, values) = kernel.table()?;
    let first = usize::try_from(low.checked_sub(start)?).ok()?;
    let count = usize::try_from(high.checked_sub(low)?).ok()? + 1;
    let values = values.get(first..first + count)?;
    let codes: Option<Vec<u8>> = values.iter().map(|&code| u8::try_from(code).ok()).collect();
    let codes = codes?;
    // Places in the table count from the smallest code.
    let (zero_point, range) = (zero_point - low, (0, high - low));
    if codes.len() <= 256 {
        let mut all = [0; 256];
        all[..codes.len()].copy_from_slice(&codes);
        let requantize = Requantize::new(scales, zero_point, range).ok()?;
        return Some(Fused::Mapped(requantize, Box::new(ByteTable::new(all))));
    }
    let requantize = Requantize::new(scales, zero_point, range).ok()?;
    Some(Fused::Lookup(requantize, codes))
}

/// The same of tables that differ by channel, each for exactly the codes there are.
fn channel_tables(
    scales: Scales<'_>,
    kernel: &ChannelTables,
    zero_point: i32,
    (low, high): (i32, i32),
) -> Option<Fused> {
    let length = usize::try_from(high.checked_sub(low)?).ok()? + 1;
    if kernel.first != low || kernel.length != length {
        return None;
    }
    let codes = kernel.codes.iter().map(|&code| u8::try_from(code).ok());
    let starts = kernel
        .table_of
        .iter()
        .map(|&table| u32::try_from(usize::from(table) * length).ok());
    Some(Fused::Tables {
        requantize: Requantize::new(scales, zero_point - low, (0, high - low)).ok()?,
        tables: codes.collect::<Option<_>>()?,
        starts: starts.collect::<Option<_>>()?,
    })
}
