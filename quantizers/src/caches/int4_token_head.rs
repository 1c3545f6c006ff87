//! `int4-token-head`: 4-bit integers over a scale for each head of each token.

use super::artifact::CacheTensor;
use super::cache::{Cache, CacheCodec, CachePlan, CacheQuantizer};
use super::error::CacheError;
use super::shape::CacheShape;
use super::token_head::TokenHead;
use crate::methods::ParamError;
use crate::methods::parameters::Parameters;

/// The registry entry.
pub(super) struct Int4TokenHead;

const PARAMETERS: [(&str, &str); 1] = [(
    "symmetric",
    "`true` (default): codes from -7 to 7 over an f32 scale; `false`: 0 to 15 over the f16 scale and minimum of the head",
)];

/// A configured [`Int4TokenHead`].
struct Int4TokenHeadQuantizer(TokenHead);

impl Cache for Int4TokenHead {
    fn name(&self) -> &'static str {
        "int4-token-head"
    }

    fn summary(&self) -> &'static str {
        "4-bit integers over a scale for each head of each token, without calibration"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn engines(&self) -> Option<&'static str> {
        Some("vllm --kv-cache-dtype int4_per_token_head")
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        let parameters = Parameters::new(self.name(), &PARAMETERS, table)?;
        let symmetric = parameters.boolean("symmetric")?.unwrap_or(true);
        Ok(Box::new(Int4TokenHeadQuantizer(TokenHead {
            bits: 4,
            symmetric,
        })))
    }
}

impl CacheQuantizer for Int4TokenHeadQuantizer {
    fn plan(&self, shape: CacheShape) -> Result<CachePlan, CacheError> {
        let mut plan = self.0.plan(shape);
        plan.notes.push(
            "vLLM may rotate heads before it rounds them to 4 bits; here they are rounded as they are"
                .to_owned(),
        );
        Ok(plan)
    }

    fn restore(
        &self,
        shape: CacheShape,
        tensors: &[CacheTensor],
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        self.0.restore(shape, tensors)
    }
}
