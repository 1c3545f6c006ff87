//! `turbo`: heads as their length and codes of their rotated coordinates, without calibration.
//!
//! Source: "`TurboQuant`" (Zandieh et al., ICLR 2026), see [`super::unit_vectors`], and the types of that name in vLLM,
//! which code keys so and values by the minimum and maximum of each head, and leave the first and last two layers as
//! they are. Its presets are
//!
//! | vLLM | parameters |
//! |---|---|
//! | `turboquant_k8v4` | `keys = "fp8"`, `value_bits = 4` |
//! | `turboquant_4bit_nc` | `bits = 4` |
//! | `turboquant_k3v4_nc` | `key_bits = 3`, `value_bits = 4` |
//! | `turboquant_3bit_nc` | `bits = 3` |
//!
//! The paper itself uses `values = "mse"`. A fraction of a bit goes to as large a share of the channels of a head,
//! those of the largest mean square: `bits = 2.25` is 32 channels of 128 in 3 bits and the others in 2, which the
//! paper calls 2.5 bits, and which with two lengths for each head it is.

mod codec;
mod settings;
mod split;
#[cfg(test)]
mod tests;

use super::artifact::{CacheTensor, Reader};
use super::cache::{Cache, CacheCodec, CachePlan, CacheQuantizer};
use super::error::CacheError;
use super::samples::CacheSamples;
use super::shape::{CacheShape, Part};
use crate::methods::ParamError;
use codec::{PartCodec, TurboCodec};
use settings::{PARAMETERS, Settings};

/// The registry entry.
pub(super) struct Turbo;

/// A configured [`Turbo`].
struct TurboQuantizer(Settings);

impl Cache for Turbo {
    fn name(&self) -> &'static str {
        settings::NAME
    }

    fn summary(&self) -> &'static str {
        "length and rotated direction of each head, coordinate by coordinate over a table known beforehand"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn engines(&self) -> Option<&'static str> {
        Some(
            "vllm --kv-cache-dtype turboquant_4bit_nc, turboquant_3bit_nc, turboquant_k3v4_nc or turboquant_k8v4",
        )
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        Ok(Box::new(TurboQuantizer(Settings::read(table)?)))
    }
}

impl CacheQuantizer for TurboQuantizer {
    fn plan(&self, shape: CacheShape) -> Result<CachePlan, CacheError> {
        self.0.plan(shape)
    }

    fn fit(
        &self,
        shape: CacheShape,
        samples: &CacheSamples<'_>,
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        if self.0.plan(shape)?.needs_samples {
            samples.require(shape, 0)?;
        } else {
            samples.check(shape)?;
        }
        let part = |part| PartCodec::fit(&self.0, shape, part, samples);
        Ok(Box::new(TurboCodec {
            settings: self.0,
            keys: part(Part::Keys)?,
            values: part(Part::Values)?,
        }))
    }

    fn restore(
        &self,
        shape: CacheShape,
        tensors: &[CacheTensor],
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        self.0.plan(shape)?;
        let mut reader = Reader::new(tensors);
        let keys = PartCodec::restore(&self.0, shape, Part::Keys, &mut reader)?;
        let values = PartCodec::restore(&self.0, shape, Part::Values, &mut reader)?;
        reader.finish()?;
        Ok(Box::new(TurboCodec {
            settings: self.0,
            keys,
            values,
        }))
    }
}
