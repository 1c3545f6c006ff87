//! `int8`: signed bytes from -127 to 127 over a fixed scale.

use super::artifact::CacheTensor;
use super::cache::{Cache, CacheCodec, CachePlan, CacheQuantizer};
use super::error::CacheError;
use super::samples::CacheSamples;
use super::shape::CacheShape;
use super::static_scale::{self, ByteNumber, GRANULARITY, Granularity, StaticScaleCodec};
use crate::methods::ParamError;
use crate::methods::parameters::Parameters;

/// The registry entry.
pub(super) struct Int8;

const PARAMETERS: [(&str, &str); 1] = [GRANULARITY];

/// A configured [`Int8`].
struct Int8Quantizer {
    granularity: Granularity,
}

impl Cache for Int8 {
    fn name(&self) -> &'static str {
        "int8"
    }

    fn summary(&self) -> &'static str {
        "signed 8-bit integers over fixed scales of the tensor or of each head, written into the checkpoint"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn engines(&self) -> Option<&'static str> {
        None
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        let parameters = Parameters::new(self.name(), &PARAMETERS, table)?;
        let granularity = parameters.choice("granularity", &Granularity::CHOICES)?;
        Ok(Box::new(Int8Quantizer {
            granularity: granularity.unwrap_or(Granularity::Tensor),
        }))
    }
}

impl CacheQuantizer for Int8Quantizer {
    fn plan(&self, _shape: CacheShape) -> Result<CachePlan, CacheError> {
        Ok(static_scale::plan())
    }

    fn fit(
        &self,
        shape: CacheShape,
        samples: &CacheSamples<'_>,
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        let codec = StaticScaleCodec::fit(shape, samples, self.granularity, &INT8)?;
        Ok(Box::new(codec))
    }

    fn restore(
        &self,
        shape: CacheShape,
        tensors: &[CacheTensor],
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        let codec = StaticScaleCodec::restore(shape, tensors, self.granularity, &INT8)?;
        Ok(Box::new(codec))
    }
}

static INT8: ByteNumber = ByteNumber {
    largest: 127.0,
    encode: nearest,
    decode: |byte| f32::from(byte.cast_signed()),
};

/// The nearest integer, ties to even, saturating.
fn nearest(value: f32) -> u8 {
    #[expect(clippy::cast_possible_truncation, reason = "clamped to a signed byte")]
    let code = value.round_ties_even().clamp(-127.0, 127.0) as i8;
    code.cast_unsigned()
}
