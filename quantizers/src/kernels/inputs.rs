//! Inputs as kernels read them.

use super::order::Order;
use crate::scratch::{Reusable, Scratch};
use half::bf16;
use smallvec::SmallVec;

/// Inputs that are multiplied together, and come out bit by bit as each does alone.
pub(super) const FEW: usize = 8;

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
pub(super) type Each<T> = SmallVec<[T; FEW]>;

/// Inputs of one product, `[cols]` each.
pub(super) enum Inputs<'a> {
    /// In the order of the kernel, and sums of the inputs of each group.
    Floats {
        each: Each<Ordered<'a>>,
        group_sums: Each<Scratch<f32>>,
    },
    /// As bf16, in the order of the kernel.
    Bf16(Each<Bf16Input>),
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

/// An input rounded to bf16: the error of each is at most 2⁻⁹ of it.
#[derive(Debug, Clone)]
pub(super) struct Bf16Input {
    /// Bits, in the order of the kernel.
    pub(super) values: Scratch<u16>,
    /// Sums of what the inputs of each group are rounded to.
    pub(super) group_sums: Scratch<f32>,
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

/// Consecutive inputs that share a scale of the weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Groups {
    /// Inputs of each.
    pub(super) size: usize,
    /// Whether the sums of their inputs are wanted; else they are zeros.
    pub(super) sums_are_wanted: bool,
}

impl Groups {
    /// The sum of each group of `input`, each value as `value` says.
    fn sums(self, input: &[f32], value: impl Fn(f32) -> f32) -> Scratch<f32> {
        let groups = input.chunks(self.size);
        if !self.sums_are_wanted {
            return Scratch::zeros(groups.len());
        }
        Scratch::collected(groups.map(|group| group.iter().map(|x| value(*x)).sum()))
    }
}

impl<'a> Inputs<'a> {
    /// `each` in `order`.
    pub(super) fn floats(each: &[&'a [f32]], order: Order, groups: Groups) -> Self {
        let sums = |input: &&[f32]| groups.sums(input, |x| x);
        Self::Floats {
            each: each.iter().map(|input| in_order(input, order)).collect(),
            group_sums: each.iter().map(sums).collect(),
        }
    }

    /// The same of `each` as bf16 holds them, for kernels that multiply f32 alone.
    pub(super) fn floats_of_bf16(each: &[&[f32]], order: Order, groups: Groups) -> Self {
        let rounded = |input: &&[f32]| Ordered::Moved(order.of(input, to_bf16));
        let sums = |input: &&[f32]| groups.sums(input, to_bf16);
        Self::Floats {
            each: each.iter().map(rounded).collect(),
            group_sums: each.iter().map(sums).collect(),
        }
    }
}

fn in_order(input: &[f32], order: Order) -> Ordered<'_> {
    if order == Order::AS_THEY_COME {
        return Ordered::AsItCame(input);
    }
    Ordered::Moved(order.of(input, |x| x))
}

impl Bf16Input {
    /// `each` in `order`.
    pub(super) fn each(each: &[&[f32]], order: Order, groups: Groups) -> Each<Self> {
        let rounded = each.iter().map(|input| Self {
            values: order.of(input, |x| bf16::from_f32(x).to_bits()),
            group_sums: groups.sums(input, to_bf16),
        });
        rounded.collect()
    }
}

/// `x` as bf16 holds it.
fn to_bf16(x: f32) -> f32 {
    bf16::from_f32(x).to_f32()
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
