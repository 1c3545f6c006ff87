//! `none`: keys and values as they are, the control that everything else is compared with.

use super::artifact::{CacheTensor, Reader};
use super::cache::{Cache, CacheCodec, CachePlan, CacheQuantizer, Encoded};
use super::error::CacheError;
use super::shape::{CacheShape, Part};
use crate::methods::ParamError;
use crate::methods::parameters::Parameters;
use crate::{FloatType, MatrixRef};
use half::{bf16, f16};

/// The registry entry.
pub(super) struct Unquantized;

const PARAMETERS: [(&str, &str); 1] = [(
    "type",
    "what values are stored as: `f32` (default), which changes no bit; `f16` or `bf16`, as engines do",
)];

/// A configured [`Unquantized`].
struct UnquantizedSettings {
    stored: FloatType,
}

impl Cache for Unquantized {
    fn name(&self) -> &'static str {
        "none"
    }

    fn summary(&self) -> &'static str {
        "no quantization: 32 or 16 bits for each element"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn engines(&self) -> Option<&'static str> {
        Some("vllm --kv-cache-dtype auto, llama.cpp -ctk f16 -ctv f16")
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        let parameters = Parameters::new(self.name(), &PARAMETERS, table)?;
        let choices = [
            ("f32", FloatType::F32),
            ("f16", FloatType::F16),
            ("bf16", FloatType::Bf16),
        ];
        let stored = parameters.choice("type", &choices)?;
        Ok(Box::new(UnquantizedSettings {
            stored: stored.unwrap_or(FloatType::F32),
        }))
    }
}

impl CacheQuantizer for UnquantizedSettings {
    fn plan(&self, _shape: CacheShape) -> Result<CachePlan, CacheError> {
        let bits = match self.stored {
            FloatType::F32 => 32.0,
            FloatType::F16 | FloatType::Bf16 => 16.0,
        };
        Ok(CachePlan::new(bits, bits))
    }

    fn restore(
        &self,
        shape: CacheShape,
        tensors: &[CacheTensor],
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        Reader::new(tensors).finish()?;
        Ok(Box::new(UnquantizedCodec {
            shape,
            stored: self.stored,
        }))
    }
}

struct UnquantizedCodec {
    shape: CacheShape,
    stored: FloatType,
}

impl CacheCodec for UnquantizedCodec {
    fn encode(&self, part: Part, tokens: MatrixRef<'_>) -> Encoded {
        assert_eq!(
            tokens.cols(),
            self.shape.channels(part),
            "channels of {}",
            part.name()
        );
        let values = tokens.data().iter().copied();
        let bytes = match self.stored {
            FloatType::F32 => values.flat_map(f32::to_le_bytes).collect(),
            FloatType::F16 => values
                .flat_map(|x| f16::from_f32(x).to_le_bytes())
                .collect(),
            FloatType::Bf16 => values
                .flat_map(|x| bf16::from_f32(x).to_le_bytes())
                .collect(),
        };
        Encoded {
            tokens: tokens.rows(),
            bytes,
        }
    }

    fn decode(&self, part: Part, encoded: &Encoded, out: &mut [f32]) {
        assert_eq!(out.len(), encoded.tokens * self.shape.channels(part));
        let (halves, _) = encoded.bytes.as_chunks::<2>();
        match self.stored {
            FloatType::F32 => {
                let (words, _) = encoded.bytes.as_chunks::<4>();
                assert_eq!(words.len(), out.len());
                for (value, bytes) in out.iter_mut().zip(words) {
                    *value = f32::from_le_bytes(*bytes);
                }
            }
            FloatType::F16 => {
                assert_eq!(halves.len(), out.len());
                for (value, bytes) in out.iter_mut().zip(halves) {
                    *value = f16::from_le_bytes(*bytes).to_f32();
                }
            }
            FloatType::Bf16 => {
                assert_eq!(halves.len(), out.len());
                for (value, bytes) in out.iter_mut().zip(halves) {
                    *value = bf16::from_le_bytes(*bytes).to_f32();
                }
            }
        }
    }

    fn tensors(&self) -> Vec<CacheTensor> {
        Vec::new()
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({ "type": self.stored })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caches::samples::CacheSamples;

    #[test]
    fn every_bit_of_an_f32_comes_back() {
        let shape = CacheShape {
            layer: 0,
            layers: 1,
            kv_heads: 2,
            key_dim: 3,
            value_dim: 3,
        };
        let quantizer = Unquantized.configure(&toml::Table::new()).unwrap();
        let codec = quantizer.fit(shape, &CacheSamples::default()).unwrap();
        let odd = f32::from_bits(0x7fc0_1234);
        let values = [
            -0.0,
            f32::MIN_POSITIVE / 8.0,
            odd,
            f32::INFINITY,
            1.1,
            -3e38,
        ];
        let tokens = MatrixRef::new(&values, 1, 6).unwrap();
        let encoded = codec.encode(Part::Keys, tokens);
        let mut back = [7.0; 6];
        codec.decode(Part::Keys, &encoded, &mut back);
        assert_eq!(back.map(f32::to_bits), values.map(f32::to_bits));
    }
}
