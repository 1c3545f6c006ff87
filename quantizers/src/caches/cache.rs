//! The traits of a cache quantizer: as recipes name it, configured, and fitted to one layer.

use super::artifact::CacheTensor;
use super::error::CacheError;
use super::samples::CacheSamples;
use super::shape::{CacheShape, Part};
use crate::methods::ParamError;

/// A way of storing keys and values, as recipes name it.
pub trait Cache: Sync {
    /// Name in recipes.
    fn name(&self) -> &'static str;
    /// One line for `quench list caches`.
    fn summary(&self) -> &'static str;
    /// Parameter names accepted by [`Cache::configure`], with one line of help each.
    fn parameters(&self) -> &'static [(&'static str, &'static str)];
    /// The flag of a serving engine that stores the cache this way, e.g. `vllm --kv-cache-dtype fp8`.
    fn engines(&self) -> Option<&'static str>;
    /// Turns the `[cache]` table of a recipe (without `method`) into a quantizer.
    ///
    /// # Errors
    /// An unknown key, a value of the wrong type or out of range.
    fn configure(&self, table: &toml::Table) -> Result<Box<dyn CacheQuantizer>, ParamError>;
}

/// A configured [`Cache`].
pub trait CacheQuantizer: Send + Sync {
    /// What the cache of a layer will look like and cost: all the planner ever asks. Checks that the shape suits
    /// the method.
    ///
    /// # Errors
    /// A shape the method cannot store, e.g. a head dimension that its blocks do not divide.
    fn plan(&self, shape: CacheShape) -> Result<CachePlan, CacheError>;
    /// Fits the method to one layer. Methods that need no samples take empty ones; one that learns nothing of them keeps
    /// no tensors either.
    ///
    /// # Errors
    /// As [`Self::plan`]; samples that are missing, of another shape, or not finite.
    fn fit(
        &self,
        shape: CacheShape,
        samples: &CacheSamples<'_>,
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        samples.check(shape)?;
        self.restore(shape, &[])
    }
    /// The codec whose [`CacheCodec::tensors`] were written to an artifact, in any order.
    ///
    /// # Errors
    /// As [`Self::plan`]; a tensor that is missing, unknown, of another shape or type, or with values that cannot be
    /// (a table that is not sorted, a range whose ends are not in order, a scale that is not positive, NaN).
    fn restore(
        &self,
        shape: CacheShape,
        tensors: &[CacheTensor],
    ) -> Result<Box<dyn CacheCodec>, CacheError>;
    /// The `kv_cache_scheme` of compressed-tensors, where engines can keep the cache with the tensors of
    /// [`CacheCodec::tensors`] beside the projections.
    fn engine_scheme(&self) -> Option<serde_json::Value> {
        None
    }
}

/// Where keys are taken from and given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHook {
    /// After `k_proj` (and `k_norm`, where there is one), before the rotary embedding.
    BeforeRotary,
    /// After the rotary embedding: what engines cache.
    AfterRotary,
}

impl KeyHook {
    /// Name in recipes and artifacts.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeRotary => "before",
            Self::AfterRotary => "after",
        }
    }
}

/// What will be done to the cache of one layer.
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
#[derive(Debug, Clone, PartialEq)]
pub struct CachePlan {
    /// Where keys are taken from.
    pub hook: KeyHook,
    /// Bits per element of the keys as the number of tokens grows: codes, scales, norms, indices and pointers.
    pub key_bits: f64,
    /// Bits per element of the values, likewise.
    pub value_bits: f64,
    /// Whether the number of stored outliers depends on the data: the bits above are then what the calibration data
    /// costs, and [`Encoded::bytes`] what other data does. Otherwise bits and bytes agree exactly.
    pub is_estimate: bool,
    /// Tokens at the start of a sequence that stay 16 bit (attention sinks).
    pub first: usize,
    /// Newest tokens whose keys stay 16 bit at run time.
    pub recent_keys: usize,
    /// Newest tokens whose values stay 16 bit at run time.
    pub recent_values: usize,
    /// Tokens whose keys are quantized together; up to one fewer wait as 16 bit. 1 where every token stands alone.
    pub chunk: usize,
    /// Tokens whose values are quantized together.
    pub value_chunk: usize,
    /// Whether [`CacheQuantizer::fit`] needs keys and values of calibration data.
    pub needs_samples: bool,
    /// Whether it makes use of their gradients, if there are any.
    pub wants_gradients: bool,
    /// Whether the result depends on a seed.
    pub randomised: bool,
    /// What a report should say beside the figures.
    pub notes: Vec<String>,
}

impl CachePlan {
    /// A plan of exact `key_bits` and `value_bits` for keys as engines cache them, every token alone, no samples.
    pub fn new(key_bits: f64, value_bits: f64) -> Self {
        Self {
            hook: KeyHook::AfterRotary,
            key_bits,
            value_bits,
            is_estimate: false,
            first: 0,
            recent_keys: 0,
            recent_values: 0,
            chunk: 1,
            value_chunk: 1,
            needs_samples: false,
            wants_gradients: false,
            randomised: false,
            notes: Vec::new(),
        }
    }

    /// Bits per element of `part`.
    pub fn bits(&self, part: Part) -> f64 {
        match part {
            Part::Keys => self.key_bits,
            Part::Values => self.value_bits,
        }
    }

    /// Bytes per token of a layer of `shape`: `sum over K and V of kv_heads dim bits / 8`.
    pub fn bytes_per_token(&self, shape: CacheShape) -> f64 {
        let bits = |part| shape.channels(part) as f64 * self.bits(part);
        (bits(Part::Keys) + bits(Part::Values)) / 8.0
    }
}

/// A method fitted to one layer: packs tokens into bytes and reads them back.
///
/// Tokens that the plan keeps as 16 bit never come here. Results for a token depend on no other token than those of
/// its chunk.
pub trait CacheCodec: Send + Sync {
    /// Packs consecutive tokens, `[tokens, kv_heads dim]` with the heads of a token side by side. Any number of
    /// tokens will do; what the last chunk lacks makes its shared scales dearer.
    ///
    /// # Panics
    /// When rows are not as long as the shape says.
    fn encode(&self, part: Part, tokens: crate::MatrixRef<'_>) -> Encoded;
    /// Reads back what [`Self::encode`] wrote, into `[tokens, kv_heads dim]`.
    ///
    /// # Panics
    /// When `out` or the bytes have another length than `encoded.tokens` tokens take.
    fn decode(&self, part: Part, encoded: &Encoded, out: &mut [f32]);
    /// What an artifact keeps of this layer, names without a prefix for the layer; empty where settings are all.
    fn tensors(&self) -> Vec<CacheTensor>;
    /// What was decided for this layer, for `kv_quant.json`.
    fn settings(&self) -> serde_json::Value;
}

/// Packed tokens of one part of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Number of tokens.
    pub tokens: usize,
    /// All that is stored of them: codes, scales, and outliers with their indices.
    pub bytes: Vec<u8>,
}

impl Encoded {
    /// Bits stored per element of `channels` per token; 0 without elements.
    pub fn bits_per_element(&self, channels: usize) -> f64 {
        let elements = self.tokens * channels;
        if elements == 0 {
            return 0.0;
        }
        8.0 * self.bytes.len() as f64 / elements as f64
    }
}
