//! A toy cache: the sign of each element, and the mean magnitude of each head of each token.

use quantizers::MatrixRef;
use quantizers::caches::{
    Cache, CacheCodec, CacheError, CachePlan, CacheQuantizer, CacheSamples, CacheShape,
    CacheTensor, Encoded, Part,
};
use quantizers::methods::ParamError;

struct Sign;

impl Cache for Sign {
    fn name(&self) -> &'static str {
        "sign"
    }

    fn summary(&self) -> &'static str {
        "one bit: the sign of an element times the mean magnitude of its head"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn engines(&self) -> Option<&'static str> {
        None
    }

    fn configure(&self, _table: &toml::Table) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        Ok(Box::new(Self))
    }
}

impl CacheQuantizer for Sign {
    fn plan(&self, shape: CacheShape) -> Result<CachePlan, CacheError> {
        let bits =
            |part| (32 + shape.dim(part).next_multiple_of(8)) as f64 / shape.dim(part) as f64;
        Ok(CachePlan::new(bits(Part::Keys), bits(Part::Values)))
    }

    fn fit(
        &self,
        shape: CacheShape,
        samples: &CacheSamples<'_>,
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        samples.check(shape)?;
        self.restore(shape, &[])
    }

    fn restore(
        &self,
        shape: CacheShape,
        _tensors: &[CacheTensor],
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        Ok(Box::new(SignCodec(shape)))
    }
}

struct SignCodec(CacheShape);

impl CacheCodec for SignCodec {
    fn encode(&self, part: Part, tokens: MatrixRef<'_>) -> Encoded {
        let dim = self.0.dim(part);
        let mut bytes = Vec::new();
        for head in tokens.data().chunks(dim) {
            let mean = head.iter().map(|x| x.abs()).sum::<f32>() / dim as f32;
            bytes.extend(mean.to_le_bytes());
            bytes.extend(head.chunks(8).map(|eight| {
                let signs = eight.iter().enumerate();
                signs.fold(0, |byte, (at, x)| byte | u8::from(*x > 0.0) << at)
            }));
        }
        Encoded {
            tokens: tokens.rows(),
            bytes,
        }
    }

    fn decode(&self, part: Part, encoded: &Encoded, out: &mut [f32]) {
        let dim = self.0.dim(part);
        let heads = encoded.bytes.chunks(4 + dim.div_ceil(8));
        for (head, bytes) in out.chunks_mut(dim).zip(heads) {
            let mean = f32::from_le_bytes(bytes[..4].try_into().unwrap());
            for (at, value) in head.iter_mut().enumerate() {
                let is_positive = bytes[4 + at / 8] >> (at % 8) & 1 == 1;
                *value = if is_positive { mean } else { -mean };
            }
        }
    }

    fn tensors(&self) -> Vec<CacheTensor> {
        Vec::new()
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({})
    }
}

#[test]
fn a_cache_is_one_file() {
    let shape = CacheShape {
        layer: 0,
        layers: 1,
        kv_heads: 2,
        key_dim: 4,
        value_dim: 4,
    };
    let quantizer = Sign.configure(&toml::Table::new()).unwrap();
    let codec = quantizer.fit(shape, &CacheSamples::default()).unwrap();
    let token = [1.0, -3.0, 2.0, -2.0, 0.5, 0.5, 0.5, -0.5];
    let tokens = MatrixRef::new(&token, 1, 8).unwrap();
    let encoded = codec.encode(Part::Keys, tokens);
    let claimed = quantizer.plan(shape).unwrap().key_bits;
    assert!((encoded.bits_per_element(8) - claimed).abs() < 1e-12);
    let mut back = vec![0.0; 8];
    codec.decode(Part::Keys, &encoded, &mut back);
    assert_eq!(back, [2.0, -2.0, 2.0, -2.0, 0.5, 0.5, 0.5, -0.5]);
}
