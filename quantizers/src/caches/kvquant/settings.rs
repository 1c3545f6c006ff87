//! Parameters of `kvquant`, and what they cost.

use crate::caches::cache::{CachePlan, KeyHook};
use crate::caches::codes;
use crate::caches::error::CacheError;
use crate::caches::shape::{CacheShape, Part};
use crate::methods::ParamError;
use crate::methods::parameters::Parameters;

/// Name in recipes.
pub(super) const NAME: &str = "kvquant";

pub(super) const PARAMETERS: [(&str, &str); 9] = [
    ("bits", "width of a code: 2, 3 or 4 (default 4)"),
    (
        "datatype",
        "`nuq` (default): one table per layer for keys and one for values, fitted to calibration data; `uniform`: equal steps",
    ),
    (
        "outlier_fraction",
        "share of the elements kept as f16, half of it in each tail, below 0.5 (default 0.01; 0: none)",
    ),
    (
        "cap_outliers",
        "`true`: no token has more outliers among its keys than the fraction, rounded up in each tail; `false` (default): as calibrated channels have them",
    ),
    (
        "sinks",
        "first tokens of a sequence kept as 16 bit (default 1)",
    ),
    (
        "weights",
        "what squared errors of the table count by: `fisher-range` (default), Fisher times squared range, as in the paper; `fisher`, as in the released code; `range`, also used without gradients; `none`",
    ),
    (
        "q_norm",
        "correct mean and deviation of what is read back (default: `true` at 2 bits, else `false`)",
    ),
    (
        "hook",
        "`before` (default): keys before the rotary embedding; `after`: as engines cache them",
    ),
    (
        "keys",
        "`channel` (default): keys have a calibrated range for each channel; `token`: one for each token, as values do",
    ),
];

/// What squared errors of a table count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorWeights {
    FisherRange,
    Fisher,
    Range,
    Equal,
}

impl ErrorWeights {
    const CHOICES: [(&'static str, Self); 4] = [
        ("fisher-range", Self::FisherRange),
        ("fisher", Self::Fisher),
        ("range", Self::Range),
        ("none", Self::Equal),
    ];

    /// What is done without gradients.
    pub(super) fn without_gradients(self) -> Self {
        match self {
            Self::FisherRange | Self::Fisher => Self::Range,
            other => other,
        }
    }

    pub(super) fn name(self) -> &'static str {
        let found = Self::CHOICES.iter().find(|(_, choice)| *choice == self);
        found.map_or("none", |(name, _)| *name)
    }
}

/// A configured `kvquant`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "parameters that do not depend on each other"
)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Settings {
    pub(super) bits: u8,
    pub(super) is_uniform: bool,
    pub(super) outlier_fraction: f64,
    pub(super) caps: bool,
    pub(super) sinks: usize,
    pub(super) weights: ErrorWeights,
    pub(super) q_norm: bool,
    pub(super) hook: KeyHook,
    pub(super) keys_per_channel: bool,
}

impl Settings {
    pub(super) fn read(table: &toml::Table) -> Result<Self, ParamError> {
        let parameters = Parameters::new(NAME, &PARAMETERS, table)?;
        let bits = parameters.integer("bits", 2..=4)?.unwrap_or(4);
        let sinks = parameters.integer("sinks", 0..=4096)?.unwrap_or(1);
        let fraction = parameters.number("outlier_fraction", 0.0..=0.5)?;
        let datatype = parameters.choice("datatype", &[("nuq", false), ("uniform", true)])?;
        let hooks = [
            ("before", KeyHook::BeforeRotary),
            ("after", KeyHook::AfterRotary),
        ];
        let settings = Self {
            bits: u8::try_from(bits).unwrap_or(4),
            is_uniform: datatype.unwrap_or(false),
            outlier_fraction: fraction.unwrap_or(0.01),
            caps: parameters.boolean("cap_outliers")?.unwrap_or(false),
            sinks: usize::try_from(sinks).unwrap_or(1),
            weights: parameters
                .choice("weights", &ErrorWeights::CHOICES)?
                .unwrap_or(ErrorWeights::FisherRange),
            q_norm: parameters.boolean("q_norm")?.unwrap_or(bits == 2),
            hook: parameters
                .choice("hook", &hooks)?
                .unwrap_or(KeyHook::BeforeRotary),
            keys_per_channel: parameters
                .choice("keys", &[("channel", true), ("token", false)])?
                .unwrap_or(true),
        };
        if settings.is_uniform && settings.q_norm && parameters.boolean("q_norm")?.is_some() {
            return Err(parameters.refuse("q_norm", "`false` beside `datatype = \"uniform\"`"));
        }
        Ok(Self {
            q_norm: settings.q_norm && !settings.is_uniform,
            ..settings
        })
    }

    /// Outliers of one tail of a token: the smallest whole number of at least half the fraction.
    pub(super) fn per_tail(&self, channels: usize) -> usize {
        let exact = 0.5 * self.outlier_fraction * channels as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most a quarter of the channels; a product a rounding above a whole number is that number"
        )]
        let count = (exact - 1e-9).ceil().max(0.0) as usize;
        count
    }

    /// Whether each token of `part` has a range of its own.
    pub(super) fn is_per_token(&self, part: Part) -> bool {
        part == Part::Values || !self.keys_per_channel
    }

    /// Bytes of a token of `channels`, without its outliers.
    pub(super) fn bytes_per_token(&self, part: Part, channels: usize) -> usize {
        let pointer = if self.outlier_fraction > 0.0 { 4 } else { 0 };
        let range = if self.is_per_token(part) { 4 } else { 0 };
        codes::bytes(channels, self.bits) + pointer + range
    }

    pub(super) fn plan(&self, shape: CacheShape) -> Result<CachePlan, CacheError> {
        let bits = |part| {
            let channels = shape.channels(part);
            let outliers = if self.is_per_token(part) {
                (2 * self.per_tail(channels)) as f64
            } else {
                self.outlier_fraction * channels as f64
            };
            let bytes = self.bytes_per_token(part, channels) as f64 + 4.0 * outliers;
            8.0 * bytes / channels as f64
        };
        for part in Part::ALL {
            let found = shape.channels(part);
            if self.outlier_fraction > 0.0 && found > 1 << 16 {
                return Err(CacheError::TooManyChannels { part, found });
            }
            // A token needs its ends besides its outliers.
            if found < 2 * self.per_tail(found) + 1 {
                return Err(CacheError::HeadDim {
                    method: NAME,
                    part,
                    low: 3,
                    high: 1 << 16,
                    found: shape.dim(part),
                });
            }
        }
        let mut notes = Vec::new();
        if self.hook == KeyHook::BeforeRotary {
            notes.push(
                "the rotary embedding is applied to keys after they are read back".to_owned(),
            );
        }
        Ok(CachePlan {
            hook: self.hook,
            is_estimate: self.keys_per_channel && self.outlier_fraction > 0.0,
            first: self.sinks,
            needs_samples: self.keys_per_channel || !self.is_uniform,
            wants_gradients: !self.is_uniform && self.weights != self.weights.without_gradients(),
            notes,
            ..CachePlan::new(bits(Part::Keys), bits(Part::Values))
        })
    }
}
