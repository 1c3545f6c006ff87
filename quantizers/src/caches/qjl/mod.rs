//! `qjl`: keys as signs of random projections and a length, values per token in groups of channels.
//!
//! Source: "QJL: 1-Bit Quantized JL Transform for KV Cache Quantization with Zero Overhead" (Zandieh, Daliri, Han,
//! AAAI 2025) and its released code, whose settings are the defaults here. See [`super::sketch`] for the estimate.
//! The channels of a head whose values are largest over a group of tokens are projected apart from the others, on the
//! first rows of the same matrix. Queries are not quantized.

mod codec;
mod settings;
#[cfg(test)]
mod tests;

use super::artifact::{CacheTensor, Reader};
use super::cache::{Cache, CacheCodec, CachePlan, CacheQuantizer};
use super::error::CacheError;
use super::shape::CacheShape;
use crate::methods::ParamError;
use codec::QjlCodec;
use settings::{PARAMETERS, Settings};

/// The registry entry.
pub(super) struct Qjl;

/// A configured [`Qjl`].
struct QjlQuantizer(Settings);

impl Cache for Qjl {
    fn name(&self) -> &'static str {
        settings::NAME
    }

    fn summary(&self) -> &'static str {
        "keys as signs of random projections, which estimate inner products without bias; values in small groups"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn engines(&self) -> Option<&'static str> {
        None
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        Ok(Box::new(QjlQuantizer(Settings::read(table)?)))
    }
}

impl CacheQuantizer for QjlQuantizer {
    fn plan(&self, shape: CacheShape) -> Result<CachePlan, CacheError> {
        self.0.plan(shape)
    }

    fn restore(
        &self,
        shape: CacheShape,
        tensors: &[CacheTensor],
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        self.0.plan(shape)?;
        Reader::new(tensors).finish()?;
        Ok(Box::new(QjlCodec::new(shape, self.0)))
    }
}
