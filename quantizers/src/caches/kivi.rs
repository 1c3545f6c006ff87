//! `kivi`: keys per channel over groups of tokens, values per token over groups of channels, both asymmetric.
//!
//! Source: "KIVI: A Tuning-Free Asymmetric 2bit Quantization for KV Cache" (Liu et al., ICML 2024). `residual` tokens
//! of keys are quantized at a time, those left over stay 16 bit; of the values the newest `residual` do.

use super::artifact::{CacheTensor, Reader};
use super::cache::{Cache, CacheCodec, CachePlan, CacheQuantizer, Encoded};
use super::error::CacheError;
use super::groups;
use super::shape::{CacheShape, Part};
use crate::MatrixRef;
use crate::methods::ParamError;
use crate::methods::parameters::Parameters;
use crate::pack::transpose;

/// The registry entry.
pub(super) struct Kivi;

const PARAMETERS: [(&str, &str); 3] = [
    ("bits", "width of a code: 2, 3 or 4 (default 2)"),
    (
        "group",
        "tokens of a channel of the keys, and channels of a token of the values, that share a scale and a minimum (default 32)",
    ),
    (
        "residual",
        "keys quantized at a time, and newest values kept as 16 bit; a multiple of `group` (default 128)",
    ),
];

/// A configured [`Kivi`].
#[derive(Debug, Clone, Copy)]
struct KiviQuantizer {
    bits: u8,
    group: usize,
    residual: usize,
}

impl Cache for Kivi {
    fn name(&self) -> &'static str {
        "kivi"
    }

    fn summary(&self) -> &'static str {
        "keys per channel and values per token in small groups, asymmetric, newest tokens as they are"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn engines(&self) -> Option<&'static str> {
        Some(
            "transformers QuantizedCache (quanto, hqq), whose keys are per token unless its axis is set",
        )
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        let parameters = Parameters::new(self.name(), &PARAMETERS, table)?;
        let size = |key, default: usize| -> Result<usize, ParamError> {
            let found = parameters.integer(key, 1..=65536)?;
            Ok(found
                .and_then(|size| usize::try_from(size).ok())
                .unwrap_or(default))
        };
        let bits = parameters.integer("bits", 2..=4)?.unwrap_or(2);
        let group = size("group", 32)?;
        let residual = size("residual", group.max(128).next_multiple_of(group))?;
        if !residual.is_multiple_of(group) {
            return Err(parameters.refuse("residual", &format!("a multiple of the group {group}")));
        }
        Ok(Box::new(KiviQuantizer {
            bits: u8::try_from(bits).unwrap_or(2),
            group,
            residual,
        }))
    }
}

impl CacheQuantizer for KiviQuantizer {
    fn plan(&self, shape: CacheShape) -> Result<CachePlan, CacheError> {
        let found = shape.value_dim;
        if found == 0 || !found.is_multiple_of(self.group) {
            return Err(CacheError::Block {
                method: Kivi.name(),
                part: Part::Values,
                block: self.group,
                found,
            });
        }
        let bits = (8 * groups::bytes(self.group, self.bits)) as f64 / self.group as f64;
        Ok(CachePlan {
            recent_values: self.residual,
            chunk: self.residual,
            ..CachePlan::new(bits, bits)
        })
    }

    fn restore(
        &self,
        shape: CacheShape,
        tensors: &[CacheTensor],
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        self.plan(shape)?;
        Reader::new(tensors).finish()?;
        Ok(Box::new(KiviCodec {
            shape,
            settings: *self,
        }))
    }
}

struct KiviCodec {
    shape: CacheShape,
    settings: KiviQuantizer,
}

impl KiviCodec {
    /// Tokens of each group of keys.
    fn lengths(&self, tokens: usize) -> impl Iterator<Item = usize> + use<> {
        let group = self.settings.group;
        (0..tokens)
            .step_by(group)
            .map(move |from| group.min(tokens - from))
    }

    fn bytes(&self, part: Part, tokens: usize) -> usize {
        let KiviQuantizer { bits, group, .. } = self.settings;
        let channels = self.shape.channels(part);
        match part {
            Part::Keys => {
                let lengths = self.lengths(tokens);
                channels
                    * lengths
                        .map(|length| groups::bytes(length, bits))
                        .sum::<usize>()
            }
            Part::Values => tokens * channels / group * groups::bytes(group, bits),
        }
    }
}

impl CacheCodec for KiviCodec {
    fn encode(&self, part: Part, tokens: MatrixRef<'_>) -> Encoded {
        let channels = self.shape.channels(part);
        assert_eq!(tokens.cols(), channels, "channels of {}", part.name());
        let KiviQuantizer { bits, group, .. } = self.settings;
        let mut bytes = vec![0; self.bytes(part, tokens.rows())];
        match part {
            Part::Values => groups::encode(tokens.data(), group, bits, &mut bytes),
            Part::Keys => {
                let mut out = &mut bytes[..];
                for rows in tokens.data().chunks(group * channels) {
                    let length = rows.len() / channels;
                    let columns = transpose(rows, length, channels);
                    let (own, rest) = out.split_at_mut(channels * groups::bytes(length, bits));
                    groups::encode(&columns, length, bits, own);
                    out = rest;
                }
            }
        }
        Encoded {
            tokens: tokens.rows(),
            bytes,
        }
    }

    fn decode(&self, part: Part, encoded: &Encoded, out: &mut [f32]) {
        let channels = self.shape.channels(part);
        assert_eq!(out.len(), encoded.tokens * channels);
        assert_eq!(encoded.bytes.len(), self.bytes(part, encoded.tokens));
        let KiviQuantizer { bits, group, .. } = self.settings;
        match part {
            Part::Values => groups::decode(&encoded.bytes, group, bits, out),
            Part::Keys => {
                let mut columns = vec![0.0; group * channels];
                let mut bytes = &encoded.bytes[..];
                for rows in out.chunks_mut(group * channels) {
                    let length = rows.len() / channels;
                    let (own, rest) = bytes.split_at(channels * groups::bytes(length, bits));
                    let columns = &mut columns[..rows.len()];
                    groups::decode(own, length, bits, columns);
                    rows.copy_from_slice(&transpose(columns, channels, length));
                    bytes = rest;
                }
            }
        }
    }

    fn tensors(&self) -> Vec<CacheTensor> {
        Vec::new()
    }

    fn settings(&self) -> serde_json::Value {
        let KiviQuantizer {
            bits,
            group,
            residual,
        } = self.settings;
        serde_json::json!({ "bits": bits, "group": group, "residual": residual })
    }
}
