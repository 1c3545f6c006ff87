//! Inputs as kernels read them.

use super::kernel::Order;
use super::packed::PackedMatrix;
use crate::scratch::{Reusable, Scratch};
use smallvec::SmallVec;

/// Inputs that share a scale where they are rounded.
pub(super) const ROUNDED_TOGETHER: usize = 32;

/// Whole numbers that inputs are rounded to.
pub(super) trait Integer: Reusable + Into<i32> {
    /// The largest; as far below zero lies the smallest.
    const MOST: f32;
    /// The number whose lowest bits are those of `bits`.
    fn of_lowest(bits: u32) -> Self;

    /// The nearest to `x`, the even one of two, if it is one of these.
    fn nearest(x: f32) -> Self {
        /// Beside this, the last bit of an f32 counts ones.
        const ONES: f32 = 12_582_912.0;
        Self::of_lowest((x + ONES).to_bits())
    }
}

/// One for each of a few inputs.
pub(super) type Each<T> = SmallVec<[T; PackedMatrix::MOST_ALIKE]>;

/// Inputs of one product, `[cols]` each.
pub(super) enum Inputs<'a> {
    /// In the order of the kernel, and sums of the inputs of each group.
    Floats {
        each: Each<Ordered<'a>>,
        group_sums: Each<Scratch<f32>>,
    },
    /// For weights that are whole numbers of 16 bits.
    Int16(Each<RoundedInput<'a, i16>>),
    /// For weights that are whole numbers of 8 bits.
    Int8(Each<RoundedInput<'a, i8>>),
}

/// An input in the order of a kernel.
pub(super) enum Ordered<'a> {
    /// The one it came in.
    AsItCame(&'a [f32]),
    Moved(Scratch<f32>),
}

impl AsRef<[f32]> for Ordered<'_> {
    fn as_ref(&self) -> &[f32] {
        match self {
            Self::AsItCame(input) => input,
            Self::Moved(input) => input,
        }
    }
}

/// An input as whole numbers: `x ≈ scale of its block · value`, in blocks of [`ROUNDED_TOGETHER`].
///
/// The error is at most 2⁻¹⁶ of the largest of a block at 16 bits, and 2⁻⁸ at 8: some 90 and 42 dB below the inputs.
#[derive(Debug, Clone)]
pub(super) struct RoundedInput<'a, T: Reusable> {
    /// Whole blocks, each in the order of the kernel.
    pub(super) values: Scratch<T>,
    /// By block.
    pub(super) scales: Scratch<f32>,
    /// Sums of what the inputs of each group are rounded to.
    pub(super) group_sums: Scratch<f32>,
    /// As it came: what is left over after whole blocks is multiplied as f32.
    pub(super) input: &'a [f32],
}

impl<'a> Inputs<'a> {
    /// `each` in `order`, with the sums of groups of `group_size` inputs if these are wanted.
    pub(super) fn floats(
        each: &[&'a [f32]],
        order: Order,
        group_size: usize,
        sums_are_wanted: bool,
    ) -> Self {
        let group_sums = |input: &&[f32]| {
            let groups = input.chunks(group_size);
            if sums_are_wanted {
                Scratch::collected(groups.map(|group| group.iter().sum()))
            } else {
                Scratch::zeros(groups.len())
            }
        };
        Self::Floats {
            each: each.iter().map(|input| in_order(input, order)).collect(),
            group_sums: each.iter().map(group_sums).collect(),
        }
    }
}

fn in_order(input: &[f32], order: Order) -> Ordered<'_> {
    if order.is_empty() {
        return Ordered::AsItCame(input);
    }
    let mut ordered = Scratch::with_capacity(input.len());
    let mut left = input;
    for places in order {
        let mut blocks = left.chunks_exact(places.len());
        for block in &mut blocks {
            ordered.extend(places.iter().map(|at| block[*at]));
        }
        left = blocks.remainder();
    }
    ordered.extend_from_slice(left);
    Ordered::Moved(ordered)
}

impl<'a, T: Integer> RoundedInput<'a, T> {
    /// `each` in `order`, with the sums of groups of `group_size` inputs.
    pub(super) fn each(
        each: &[&'a [f32]],
        order: Option<&[usize; ROUNDED_TOGETHER]>,
        group_size: usize,
    ) -> Each<Self> {
        let rounded = each.iter().map(|input| Self::of(input, group_size, order));
        rounded.collect()
    }

    fn of(input: &'a [f32], group_size: usize, order: Option<&[usize; ROUNDED_TOGETHER]>) -> Self {
        let (blocks, rest) = input.as_chunks::<ROUNDED_TOGETHER>();
        let mut values = Scratch::with_capacity(blocks.len() * ROUNDED_TOGETHER);
        let mut scales = Scratch::with_capacity(blocks.len());
        let mut group_sums = Scratch::zeros(input.len().div_ceil(group_size));
        for (at, block) in blocks.iter().enumerate() {
            let largest = largest(block);
            let (scale, inverse) = if largest == 0.0 {
                (0.0, 0.0)
            } else {
                (largest / T::MOST, T::MOST / largest)
            };
            let rounded = block.map(|x| T::nearest(x * inverse));
            match order {
                Some(order) => values.extend(order.map(|at| rounded[at])),
                None => values.extend(rounded),
            }
            scales.push(scale);
            let sum: i32 = rounded.iter().map(|value| (*value).into()).sum();
            #[expect(clippy::cast_precision_loss, reason = "one rounding")]
            let sum = sum as f32;
            group_sums[at * ROUNDED_TOGETHER / group_size] += scale * sum;
        }
        if let Some(last) = group_sums.last_mut() {
            *last += rest.iter().sum::<f32>();
        }
        Self {
            values,
            scales,
            group_sums,
            input,
        }
    }
}

/// The largest absolute value; what is no number is larger than any.
fn largest(block: &[f32; ROUNDED_TOGETHER]) -> f32 {
    const LANES: usize = 8;
    let mut most = [0; LANES];
    for eight in block.as_chunks::<LANES>().0 {
        for (most, x) in most.iter_mut().zip(eight) {
            // Absolute values are ordered as their bits are.
            *most = x.abs().to_bits().cast_signed().max(*most);
        }
    }
    f32::from_bits(most.into_iter().max().unwrap_or(0).cast_unsigned())
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest bits are meant")]
impl Integer for i16 {
    const MOST: f32 = 32767.0;

    fn of_lowest(bits: u32) -> Self {
        bits as Self
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest bits are meant")]
impl Integer for i8 {
    const MOST: f32 = 127.0;

    fn of_lowest(bits: u32) -> Self {
        bits as Self
    }
}
