//! `int8-token-head`: signed bytes over a scale for each head of each token.

use super::artifact::CacheTensor;
use super::cache::{Cache, CacheCodec, CachePlan, CacheQuantizer};
use super::error::CacheError;
use super::shape::CacheShape;
use super::token_head::TokenHead;
use crate::methods::ParamError;
use crate::methods::parameters::Parameters;

/// The registry entry.
pub(super) struct Int8TokenHead;

const SETTINGS: TokenHead = TokenHead {
    bits: 8,
    symmetric: true,
};

/// A configured [`Int8TokenHead`].
struct Int8TokenHeadQuantizer;

impl Cache for Int8TokenHead {
    fn name(&self) -> &'static str {
        "int8-token-head"
    }

    fn summary(&self) -> &'static str {
        "signed 8-bit integers over a scale for each head of each token, without calibration"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn engines(&self) -> Option<&'static str> {
        Some("vllm --kv-cache-dtype int8_per_token_head")
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        Parameters::new(self.name(), &[], table)?;
        Ok(Box::new(Int8TokenHeadQuantizer))
    }
}

impl CacheQuantizer for Int8TokenHeadQuantizer {
    fn plan(&self, shape: CacheShape) -> Result<CachePlan, CacheError> {
        Ok(SETTINGS.plan(shape))
    }

    fn restore(
        &self,
        shape: CacheShape,
        tensors: &[CacheTensor],
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        SETTINGS.restore(shape, tensors)
    }
}
