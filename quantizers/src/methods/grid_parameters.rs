//! The keys that every method with a uniform grid shares.

use super::parameters::{Parameters, joined};
use super::{ParamError, QuantizeError};
use crate::grid::Grid;
use crate::tensor::{InputGrid, SchemeKind};
use crate::{FloatType, Granularity, LayerPlan, Scheme};

/// Help lines of the keys [`GridParameters::read`] takes.
pub const GRID_PARAMETERS: &[(&str, &str)] = &[
    ("bits", "width of one code, 2 to 8"),
    (
        "group_size",
        "consecutive inputs that share a scale; absent: one scale per output channel",
    ),
    (
        "granularity",
        "`channel` (default without group_size) or `tensor`: one scale for the matrix",
    ),
    ("symmetric", "`true` (default): zero point fixed at 0"),
    (
        "group_size_fallback",
        "where group_size does not divide the inputs: `error` (default), `smaller` (the largest power of two from 16 that divides them, else the largest divisor), `shorter_last_group` or `channel`",
    ),
    (
        "scale_type",
        "how scales are stored: `f32`, `f16` or `bf16`; absent: as the checkpoint's weights",
    ),
    (
        "arithmetic",
        "`model` (default): each step rounded to the checkpoint's type, as compressed-tensors does; `f32`: exact division",
    ),
    (
        "activation_bits",
        "width of the codes that a layer's inputs are rounded to when the model runs, 4 to 8, symmetric with a scale for each token; absent: inputs stay floats",
    ),
];

/// Smallest group that [`GroupFallback::Smaller`] takes: its scales cost a bit per weight.
const SMALLEST_GROUP: usize = 16;

/// The keys of every grid and those of a method beside them.
///
/// # Panics
/// When `ALL` is not their number.
pub const fn beside_grid<const ALL: usize>(
    own: &[(&'static str, &'static str)],
) -> [(&'static str, &'static str); ALL] {
    joined(GRID_PARAMETERS, own)
}

/// What to do where `group_size` does not divide the inputs of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupFallback {
    /// Refuse the layer while planning.
    Error,
    /// The largest power of two below `group_size`, from 16 on, that divides the inputs; without one, the
    /// largest divisor from 16 on; refused where there is none.
    Smaller,
    /// The last group of each row holds what is left.
    ShorterLastGroup,
    /// One scale per output channel for that layer.
    Channel,
}

impl GroupFallback {
    /// Values of the key `group_size_fallback`.
    pub const CHOICES: [(&'static str, Self); 4] = [
        ("error", Self::Error),
        ("smaller", Self::Smaller),
        ("shorter_last_group", Self::ShorterLastGroup),
        ("channel", Self::Channel),
    ];
}

/// Type each step of the grid arithmetic is rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// The checkpoint's float type, as the compressed-tensors library computes.
    Model,
    /// f32; only scales are rounded.
    F32,
}

/// A uniform grid as a recipe rule describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridParameters {
    /// Width of one code.
    pub bits: u8,
    /// Who shares a scale.
    pub granularity: Granularity,
    /// Zero point fixed at 0.
    pub symmetric: bool,
    /// Where the group size does not divide.
    pub fallback: GroupFallback,
    /// Stored type of scales; nothing means the checkpoint's.
    pub scale_type: Option<FloatType>,
    /// Type of the steps.
    pub arithmetic: Arithmetic,
    /// Width of the codes of inputs, where they are quantized too.
    pub activation_bits: Option<u8>,
}

impl GridParameters {
    /// Reads the keys of [`GRID_PARAMETERS`].
    ///
    /// # Errors
    /// A missing `bits`, a value of the wrong type or out of range, keys that exclude each other.
    pub fn read(parameters: &Parameters<'_>) -> Result<Self, ParamError> {
        const BITS: &str = "a whole number from 2 to 8";
        let bits = parameters.integer("bits", 2..=8)?;
        let bits = bits.ok_or_else(|| parameters.refuse("bits", BITS))?;
        let group_size = parameters.integer("group_size", 1..=i64::from(u32::MAX))?;
        let granularity = parameters.choice(
            "granularity",
            &[
                ("channel", Granularity::Channel),
                ("tensor", Granularity::Tensor),
            ],
        )?;
        if group_size.is_some() && granularity.is_some() {
            return Err(parameters.refuse("granularity", "no `granularity` beside `group_size`"));
        }
        let fallback = parameters.choice("group_size_fallback", &GroupFallback::CHOICES)?;
        if fallback.is_some() && group_size.is_none() {
            return Err(parameters.refuse("group_size_fallback", "a `group_size` beside it"));
        }
        let group = group_size
            .and_then(|size| usize::try_from(size).ok())
            .map(Granularity::Group);
        Ok(Self {
            bits: u8::try_from(bits).map_err(|_| parameters.refuse("bits", BITS))?,
            granularity: group.or(granularity).unwrap_or(Granularity::Channel),
            symmetric: parameters.boolean("symmetric")?.unwrap_or(true),
            fallback: fallback.unwrap_or(GroupFallback::Error),
            scale_type: parameters.choice(
                "scale_type",
                &[
                    ("f32", FloatType::F32),
                    ("f16", FloatType::F16),
                    ("bf16", FloatType::Bf16),
                ],
            )?,
            arithmetic: parameters
                .choice(
                    "arithmetic",
                    &[("model", Arithmetic::Model), ("f32", Arithmetic::F32)],
                )?
                .unwrap_or(Arithmetic::Model),
            activation_bits: match parameters.integer("activation_bits", 4..=8)? {
                Some(bits) => Some(u8::try_from(bits).map_err(|_| {
                    parameters.refuse("activation_bits", "a whole number from 4 to 8")
                })?),
                None => None,
            },
        })
    }

    /// The granularity for rows of `cols` inputs, after the fallback.
    ///
    /// # Errors
    /// A group size that does not divide, and no fallback.
    pub fn granularity(&self, cols: usize) -> Result<Granularity, QuantizeError> {
        match (self.granularity, self.fallback) {
            (Granularity::Group(size), fallback) if !cols.is_multiple_of(size) => match fallback {
                GroupFallback::Error => Err(QuantizeError::GroupSize {
                    group_size: size,
                    cols,
                }),
                GroupFallback::Smaller => {
                    let smaller = smaller_group(size, cols).map(Granularity::Group);
                    smaller.ok_or(QuantizeError::GroupSize {
                        group_size: size,
                        cols,
                    })
                }
                GroupFallback::ShorterLastGroup if size < cols => Ok(Granularity::Group(size)),
                GroupFallback::ShorterLastGroup | GroupFallback::Channel => {
                    Ok(Granularity::Channel)
                }
            },
            (granularity, _) => Ok(granularity),
        }
    }

    /// The grid for a checkpoint of `model_type`.
    pub fn grid(&self, model_type: FloatType) -> Grid {
        Grid {
            bits: self.bits,
            symmetric: self.symmetric,
            scale_type: self.scale_type.unwrap_or(model_type),
            arithmetic: match self.arithmetic {
                Arithmetic::Model => model_type,
                Arithmetic::F32 => FloatType::F32,
            },
        }
    }

    /// What `method` does to a layer `[rows, cols]` stored as `stored`, `weights_per_second` being what one
    /// thread gets through.
    ///
    /// # Errors
    /// As [`Self::granularity`].
    pub fn plan(
        &self,
        method: &str,
        (rows, cols): (usize, usize),
        stored: FloatType,
        weights_per_second: f64,
    ) -> Result<LayerPlan, QuantizeError> {
        let granularity = self.granularity(cols)?;
        let scheme = Scheme {
            granularity,
            symmetric: self.symmetric,
            inputs: self.activation_bits.map(|bits| InputGrid {
                bits,
                symmetric: true,
                dynamic: true,
            }),
            ..Scheme::new(method, SchemeKind::Uniform, self.bits)
        };
        Ok(LayerPlan {
            scale_type: self.grid(stored).scale_type,
            notes: self.fallback_note(granularity, cols).into_iter().collect(),
            ..LayerPlan::new(scheme, stored, rows * cols, weights_per_second)
        })
    }

    /// What became of a group size that does not divide the inputs.
    fn fallback_note(&self, found: Granularity, cols: usize) -> Option<String> {
        let Granularity::Group(size) = self.granularity else {
            return None;
        };
        if cols.is_multiple_of(size) {
            return None;
        }
        let instead = match found {
            Granularity::Channel => "one scale per channel".to_owned(),
            Granularity::Tensor => "one scale for the matrix".to_owned(),
            Granularity::Group(found) if found == size => "a shorter last group".to_owned(),
            Granularity::Group(found) => format!("groups of {found}"),
        };
        Some(format!(
            "{instead}, as group_size {size} does not divide {cols} inputs"
        ))
    }
}

/// The group that takes the place of one of `size` in rows of `cols` inputs.
fn smaller_group(size: usize, cols: usize) -> Option<usize> {
    let smaller = || {
        (SMALLEST_GROUP..size)
            .rev()
            .filter(|group| cols.is_multiple_of(*group))
    };
    smaller()
        .find(|group| group.is_power_of_two())
        .or(smaller().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_group_is_a_power_of_two_where_one_divides() {
        assert_eq!(smaller_group(128, 576), Some(64));
        assert_eq!(smaller_group(128, 96), Some(32));
        assert_eq!(smaller_group(128, 64), Some(64));
        // 172 = 4 * 43; groups of 4 would double the size.
        assert_eq!(smaller_group(128, 172), Some(86));
        assert_eq!(smaller_group(128, 131), None);
    }
}
