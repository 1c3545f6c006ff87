//! Parameters of `turbo`, and what they cost.

use crate::caches::cache::CachePlan;
use crate::caches::error::CacheError;
use crate::caches::rotation::{ROTATION, RotationKind, SEED};
use crate::caches::shape::{CacheShape, Part};
use crate::caches::sketch::{SKETCH, SketchKind};
use crate::caches::unit_vectors::UnitKind;
use crate::caches::{codes, groups};
use crate::methods::ParamError;
use crate::methods::parameters::Parameters;

/// Name in recipes.
pub(super) const NAME: &str = "turbo";

/// Fewest coordinates that are coded on their own.
const LEAST: usize = 4;

pub(super) const PARAMETERS: [(&str, &str); 10] = [
    (
        "bits",
        "bits of a coordinate, 1 to 8, in steps of a quarter (default 4)",
    ),
    ("key_bits", "the same for keys alone"),
    ("value_bits", "the same for values alone"),
    (
        "keys",
        "`mse` (default): codes of all bits; `prod`: one bit less, and the signs of projections of the rest; `fp8`: E4M3 with scale 1",
    ),
    (
        "values",
        "`uniform` (default): equal steps from minimum to maximum of each head; `mse`; `prod`",
    ),
    (
        "norm_correction",
        "`true` (default): what `mse` reads back is given its length again; `false`: it is as short as its codes say",
    ),
    (
        "centre_keys",
        "`true`: the mean of each channel of the keys, from calibration, is taken away first; `false` (default)",
    ),
    ROTATION,
    SKETCH,
    SEED,
];

/// How a part is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Fp8,
    Uniform,
    Unit(UnitKind),
}

impl Code {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fp8 => "fp8",
            Self::Uniform => "uniform",
            Self::Unit(UnitKind::Mse { .. }) => "mse",
            Self::Unit(UnitKind::Prod(_)) => "prod",
        }
    }
}

/// One part of a configured `turbo`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PartSettings {
    pub(super) code: Code,
    /// Whole bits.
    pub(super) bits: u8,
    /// Quarters of the channels that have one more.
    pub(super) quarters: usize,
}

/// A configured `turbo`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Settings {
    pub(super) keys: PartSettings,
    pub(super) values: PartSettings,
    pub(super) centres_keys: bool,
    pub(super) rotation: RotationKind,
    pub(super) seed: u64,
}

impl PartSettings {
    /// Channels of a head with one bit more.
    pub(super) fn wide(&self, dim: usize) -> usize {
        dim * self.quarters / 4
    }

    /// Bits of a coordinate.
    pub(super) fn exact_bits(&self) -> f64 {
        f64::from(self.bits) + 0.25 * self.quarters as f64
    }

    /// Bytes of a head.
    pub(super) fn bytes(&self, dim: usize) -> usize {
        let unit = |dim: usize, bits: u8, kind| match kind {
            UnitKind::Mse { .. } => 2 + codes::bytes(dim, bits),
            UnitKind::Prod(_) => 4 + (dim * usize::from(bits - 1)).div_ceil(8) + dim.div_ceil(8),
        };
        let wide = self.wide(dim);
        match self.code {
            Code::Fp8 => dim,
            Code::Uniform => groups::bytes(dim, self.bits),
            Code::Unit(kind) if wide > 0 => {
                unit(wide, self.bits + 1, kind) + unit(dim - wide, self.bits, kind)
            }
            Code::Unit(kind) => unit(dim, self.bits, kind),
        }
    }

    fn check(&self, dim: usize, part: Part) -> Result<(), CacheError> {
        if self.quarters > 0 && !dim.is_multiple_of(4) {
            return Err(CacheError::Block {
                method: NAME,
                part,
                block: 4,
                found: dim,
            });
        }
        let wide = self.wide(dim);
        let least = if wide > 0 { wide.min(dim - wide) } else { dim };
        if least < LEAST || dim > 1 << 16 {
            return Err(CacheError::HeadDim {
                method: NAME,
                part,
                low: if wide > 0 { 4 * LEAST } else { LEAST },
                high: 1 << 16,
                found: dim,
            });
        }
        Ok(())
    }
}

impl Settings {
    pub(super) fn read(table: &toml::Table) -> Result<Self, ParamError> {
        let parameters = Parameters::new(NAME, &PARAMETERS, table)?;
        let sketch = parameters
            .choice("sketch", &SketchKind::CHOICES)?
            .unwrap_or(SketchKind::Orthogonal);
        let is_normed = parameters.boolean("norm_correction")?.unwrap_or(true);
        let mse = Code::Unit(UnitKind::Mse { is_normed });
        let prod = Code::Unit(UnitKind::Prod(sketch));
        let keys =
            parameters.choice("keys", &[("mse", mse), ("prod", prod), ("fp8", Code::Fp8)])?;
        let values = parameters.choice(
            "values",
            &[("uniform", Code::Uniform), ("mse", mse), ("prod", prod)],
        )?;
        let both = parameters.number("bits", 1.0..=8.0)?.unwrap_or(4.0);
        let part = |key, code: Option<Code>, default| {
            let code = code.unwrap_or(default);
            let own = parameters.number(key, 1.0..=8.0)?;
            let named = if own.is_some() { key } else { "bits" };
            let bits = own.unwrap_or(both);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "from 4 to 32"
            )]
            let quarters = (4.0 * bits).round() as usize;
            if (4.0 * bits - quarters as f64).abs() > 1e-9 {
                return Err(parameters.refuse(named, "a multiple of 0.25"));
            }
            let whole = u8::try_from(quarters / 4).unwrap_or(8);
            if code == Code::Uniform && (!quarters.is_multiple_of(4) || whole < 2) {
                return Err(parameters.refuse(
                    named,
                    "a whole number of at least 2 beside `values = \"uniform\"`",
                ));
            }
            let is_fp8 = code == Code::Fp8;
            Ok(PartSettings {
                code,
                bits: if is_fp8 { 8 } else { whole },
                quarters: if is_fp8 { 0 } else { quarters % 4 },
            })
        };
        let settings = Self {
            keys: part("key_bits", keys, mse)?,
            values: part("value_bits", values, Code::Uniform)?,
            centres_keys: parameters.boolean("centre_keys")?.unwrap_or(false),
            rotation: parameters
                .choice("rotation", &RotationKind::CHOICES)?
                .unwrap_or(RotationKind::Hadamard),
            seed: parameters
                .integer("seed", 0..=i64::MAX)?
                .map_or(42, i64::unsigned_abs),
        };
        Ok(settings)
    }

    pub(super) fn of(&self, part: Part) -> &PartSettings {
        match part {
            Part::Keys => &self.keys,
            Part::Values => &self.values,
        }
    }

    pub(super) fn plan(&self, shape: CacheShape) -> Result<CachePlan, CacheError> {
        let bits = |part| {
            let dim = shape.dim(part);
            self.of(part).check(dim, part)?;
            Ok((8 * self.of(part).bytes(dim)) as f64 / dim as f64)
        };
        let parts = [self.keys, self.values];
        let splits = parts.iter().any(|part| part.quarters > 0);
        let randomised = parts.iter().any(|part| matches!(part.code, Code::Unit(_)));
        Ok(CachePlan {
            needs_samples: self.centres_keys || splits,
            randomised,
            notes: vec![
                "vLLM leaves the first and last 2 layers as they are; skip them to see its accuracy and its cost"
                    .to_owned(),
            ],
            ..CachePlan::new(bits(Part::Keys)?, bits(Part::Values)?)
        })
    }
}
