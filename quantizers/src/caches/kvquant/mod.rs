//! `kvquant`: keys per channel before the rotary embedding, values per token, both over one table of a layer, and
//! outliers apart.
//!
//! Source: "`KVQuant`: Towards 10 Million Context Length LLM Inference with KV Cache Quantization" (Hooper et al.,
//! `NeurIPS` 2024). A vector (a channel of the keys, a token of the values) is brought to -1..1 by its zero
//! `z = (high + low) / 2` and range `r = (high - low) / 2`; `x = (a - z) / r` takes the nearest entry of the table,
//! and `a` beyond the ends is an outlier that is kept as f16 with a 16-bit index.

mod codec;
mod found;
mod extremes;
mod fit;
mod ranges;
mod settings;
#[cfg(test)]
mod tests;

use super::artifact::{CacheTensor, Reader};
use super::cache::{Cache, CacheCodec, CachePlan, CacheQuantizer};
use super::error::CacheError;
use super::samples::CacheSamples;
use super::shape::{CacheShape, Part};
use crate::methods::ParamError;
use codec::{KvQuantCodec, PartCodec};
use settings::{PARAMETERS, Settings};

/// The registry entry.
pub(super) struct KvQuant;

/// A configured [`KvQuant`].
struct KvQuantQuantizer(Settings);

impl Cache for KvQuant {
    fn name(&self) -> &'static str {
        settings::NAME
    }

    fn summary(&self) -> &'static str {
        "non-uniform tables from calibration, keys per channel before the rotary embedding, outliers apart"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn engines(&self) -> Option<&'static str> {
        None
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        Ok(Box::new(KvQuantQuantizer(Settings::read(table)?)))
    }
}

impl CacheQuantizer for KvQuantQuantizer {
    fn plan(&self, shape: CacheShape) -> Result<CachePlan, CacheError> {
        self.0.plan(shape)
    }

    fn fit(
        &self,
        shape: CacheShape,
        samples: &CacheSamples<'_>,
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        if self.0.plan(shape)?.needs_samples {
            samples.require(shape, self.0.sinks)?;
        } else {
            samples.check(shape)?;
        }
        let part = |part| fit::fit(&self.0, shape, part, samples);
        Ok(Box::new(KvQuantCodec {
            shape,
            settings: self.0,
            keys: part(Part::Keys),
            values: part(Part::Values),
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
        Ok(Box::new(KvQuantCodec {
            shape,
            settings: self.0,
            keys,
            values,
        }))
    }
}
