//! Parameters of `qjl`, and what they cost.

use crate::caches::cache::CachePlan;
use crate::caches::error::CacheError;
use crate::caches::groups;
use crate::caches::rotation::SEED;
use crate::caches::shape::{CacheShape, Part};
use crate::caches::sketch::{SKETCH, SketchKind};
use crate::methods::ParamError;
use crate::methods::parameters::Parameters;

/// Name in recipes.
pub(super) const NAME: &str = "qjl";

pub(super) const PARAMETERS: [(&str, &str); 12] = [
    (
        "rows",
        "projections of a key; a multiple of 8 (default 256)",
    ),
    (
        "outlier_rows",
        "projections of its outlier channels; a multiple of 8, at most `rows` (default 256, or `rows` if that is less)",
    ),
    (
        "initial_layers",
        "first layers that have settings of their own (default 15)",
    ),
    ("initial_rows", "`rows` of these (default: twice `rows`)"),
    (
        "initial_outlier_rows",
        "`outlier_rows` of these (default: half of `outlier_rows`)",
    ),
    (
        "outlier_count",
        "channels of a head that are projected apart (default 8; 0: none)",
    ),
    ("group", "tokens that share outlier channels (default 32)"),
    (
        "value_bits",
        "width of a code of the values, 2 to 8 (default 2)",
    ),
    (
        "value_group",
        "channels of a token of the values that share a scale and a minimum (default 32)",
    ),
    (
        "buffer",
        "keys quantized at a time, and newest values kept as 16 bit; a multiple of `group` (default 128)",
    ),
    SKETCH,
    SEED,
];

/// A configured `qjl`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Settings {
    pub(super) general: Rows,
    pub(super) initial: Rows,
    pub(super) initial_layers: usize,
    pub(super) outlier_count: usize,
    pub(super) group: usize,
    pub(super) value_bits: u8,
    pub(super) value_group: usize,
    pub(super) buffer: usize,
    pub(super) sketch: SketchKind,
    pub(super) seed: u64,
}

/// Projections of the keys of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rows {
    /// Of all channels but the outliers.
    pub(super) inner: usize,
    /// Of the outlier channels; not there without any.
    pub(super) outer: usize,
}

impl Settings {
    pub(super) fn read(table: &toml::Table) -> Result<Self, ParamError> {
        let parameters = Parameters::new(NAME, &PARAMETERS, table)?;
        let size = |key, least: i64, default: usize| -> Result<usize, ParamError> {
            let found = parameters.integer(key, least..=65536)?;
            Ok(found
                .and_then(|size| usize::try_from(size).ok())
                .unwrap_or(default))
        };
        let outlier_count = size("outlier_count", 0, 8)?;
        let rows = |inner_key, inner, outer_key, outer: &dyn Fn(usize) -> usize| {
            let inner = size(inner_key, 8, inner)?;
            let outer = size(outer_key, 8, outer(inner))?;
            for (key, value) in [(inner_key, inner), (outer_key, outer)] {
                if !value.is_multiple_of(8) {
                    return Err(parameters.refuse(key, "a multiple of 8"));
                }
            }
            if outer > inner {
                return Err(parameters.refuse(outer_key, &format!("at most {inner} rows")));
            }
            Ok(Rows { inner, outer })
        };
        let general = rows("rows", 256, "outlier_rows", &|inner| inner.min(256))?;
        let half = (general.outer / 2).next_multiple_of(8);
        let initial = rows(
            "initial_rows",
            2 * general.inner,
            "initial_outlier_rows",
            &|inner| inner.min(half),
        )?;
        let group = size("group", 1, 32)?;
        let buffer = size("buffer", 1, group.max(128).next_multiple_of(group))?;
        if !buffer.is_multiple_of(group) {
            return Err(parameters.refuse("buffer", &format!("a multiple of the group {group}")));
        }
        Ok(Self {
            general,
            initial,
            initial_layers: size("initial_layers", 0, 15)?,
            outlier_count,
            group,
            value_bits: u8::try_from(parameters.integer("value_bits", 2..=8)?.unwrap_or(2))
                .unwrap_or(2),
            value_group: size("value_group", 1, 32)?,
            buffer,
            sketch: parameters
                .choice("sketch", &SketchKind::CHOICES)?
                .unwrap_or(SketchKind::Orthogonal),
            seed: parameters
                .integer("seed", 0..=i64::MAX)?
                .map_or(42, i64::unsigned_abs),
        })
    }

    /// Projections in the layer of `shape`.
    pub(super) fn rows(&self, shape: CacheShape) -> Rows {
        if shape.layer < self.initial_layers {
            self.initial
        } else {
            self.general
        }
    }

    /// Bytes of the key of a head, without the outlier channels of its group.
    pub(super) fn key_bytes(&self, rows: Rows) -> usize {
        let outliers = if self.outlier_count > 0 {
            2 + rows.outer / 8
        } else {
            0
        };
        2 + rows.inner / 8 + outliers
    }

    pub(super) fn plan(&self, shape: CacheShape) -> Result<CachePlan, CacheError> {
        let dim = shape.key_dim;
        if dim < 2.max(self.outlier_count + 1) || dim > 256 {
            return Err(CacheError::HeadDim {
                method: NAME,
                part: Part::Keys,
                low: 2.max(self.outlier_count + 1),
                high: 256,
                found: dim,
            });
        }
        let found = shape.value_dim;
        if found == 0 || !found.is_multiple_of(self.value_group) {
            return Err(CacheError::Block {
                method: NAME,
                part: Part::Values,
                block: self.value_group,
                found,
            });
        }
        let per_group = self.outlier_count as f64 / self.group as f64;
        let key_bytes = self.key_bytes(self.rows(shape)) as f64 + per_group;
        let value_bytes = groups::bytes(self.value_group, self.value_bits) as f64;
        Ok(CachePlan {
            recent_values: self.buffer,
            chunk: self.buffer,
            randomised: true,
            notes: vec![
                "keys are read back as the vectors that give every query the estimated inner product".to_owned(),
            ],
            ..CachePlan::new(
                8.0 * key_bytes / dim as f64,
                8.0 * value_bytes / self.value_group as f64,
            )
        })
    }
}
