//! `fp8`: E4M3 over a fixed scale, as vLLM caches it with the scales of a checkpoint.

use super::artifact::CacheTensor;
use super::cache::{Cache, CacheCodec, CachePlan, CacheQuantizer};
use super::e4m3::E4M3;
use super::error::CacheError;
use super::samples::CacheSamples;
use super::shape::CacheShape;
use super::static_scale::{self, GRANULARITY, Granularity, StaticScaleCodec};
use crate::methods::ParamError;
use crate::methods::parameters::Parameters;
use serde_json::{Value, json};

/// The registry entry.
pub(super) struct Fp8;

const PARAMETERS: [(&str, &str); 1] = [GRANULARITY];

/// A configured [`Fp8`].
struct Fp8Quantizer {
    granularity: Granularity,
}

impl Cache for Fp8 {
    fn name(&self) -> &'static str {
        "fp8"
    }

    fn summary(&self) -> &'static str {
        "8-bit floats (E4M3) over fixed scales of the tensor or of each head, written into the checkpoint"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn engines(&self) -> Option<&'static str> {
        Some("vllm --kv-cache-dtype fp8")
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        let parameters = Parameters::new(self.name(), &PARAMETERS, table)?;
        let granularity = parameters.choice("granularity", &Granularity::CHOICES)?;
        Ok(Box::new(Fp8Quantizer {
            granularity: granularity.unwrap_or(Granularity::Tensor),
        }))
    }
}

impl CacheQuantizer for Fp8Quantizer {
    fn plan(&self, _shape: CacheShape) -> Result<CachePlan, CacheError> {
        Ok(static_scale::plan())
    }

    fn fit(
        &self,
        shape: CacheShape,
        samples: &CacheSamples<'_>,
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        let codec = StaticScaleCodec::fit(shape, samples, self.granularity, &E4M3)?;
        Ok(Box::new(codec))
    }

    fn restore(
        &self,
        shape: CacheShape,
        tensors: &[CacheTensor],
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        let codec = StaticScaleCodec::restore(shape, tensors, self.granularity, &E4M3)?;
        Ok(Box::new(codec))
    }

    fn engine_scheme(&self) -> Option<Value> {
        Some(json!({
            "num_bits": 8,
            "type": "float",
            "symmetric": true,
            "strategy": self.granularity.strategy(),
            "dynamic": false,
            "group_size": null,
        }))
    }
}
