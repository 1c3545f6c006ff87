//! `mixed`: each block of a model has a cache of its own choice.

use super::artifact::CacheTensor;
use super::cache::{Cache, CacheCodec, CachePlan, CacheQuantizer};
use super::error::CacheError;
use super::samples::CacheSamples;
use super::shape::CacheShape;
use crate::methods::ParamError;
use crate::methods::parameters::Parameters;
use crate::nearest::nearest;
use std::collections::BTreeMap;

/// Key of the list of choices.
const CHOICES: &str = "choices";
/// Key of the blocks of a choice.
const LAYERS: &str = "layers";
/// What a choice says its method with.
const METHOD: &str = "method";
/// What blocks have that are in no choice: what engines keep where nobody says anything.
const REST: (&str, &str) = ("none", "f16");

const PARAMETERS: [(&str, &str); 1] = [(
    CHOICES,
    "tables of `method`, its parameters, and `layers`: the blocks whose cache is kept that way; blocks in none of them keep 16-bit floats",
)];

/// The registry entry; it chooses from a registry, which may be the one it stands in.
pub(super) struct Mixed(pub(super) &'static &'static [&'static dyn Cache]);

/// A configured [`Mixed`].
struct MixedSettings {
    choices: Vec<Box<dyn CacheQuantizer>>,
    /// Which of them each block takes.
    by_layer: BTreeMap<usize, usize>,
    rest: Box<dyn CacheQuantizer>,
}

impl Cache for Mixed {
    fn name(&self) -> &'static str {
        "mixed"
    }

    fn summary(&self) -> &'static str {
        "another cache in each block, by choice or within a budget"
    }

    fn parameters(&self) -> &'static [(&'static str, &'static str)] {
        &PARAMETERS
    }

    fn engines(&self) -> Option<&'static str> {
        None
    }

    fn configure(&self, table: &toml::Table) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        let parameters = Parameters::new(self.name(), &PARAMETERS, table)?;
        let wrong = |expected: &str| parameters.refuse(CHOICES, expected);
        let form = "tables with `method` and `layers`, such as `[{ method = \"kivi\", bits = 4, layers = [0, 1] }]`";
        let listed = table.get(CHOICES).and_then(toml::Value::as_array);
        let listed = listed.ok_or_else(|| wrong(form))?;
        let mut settings = MixedSettings {
            choices: Vec::new(),
            by_layer: BTreeMap::new(),
            rest: self.rest()?,
        };
        for choice in listed {
            let mut own = choice.as_table().cloned().ok_or_else(|| wrong(form))?;
            let method = own.remove(METHOD);
            let method = method.as_ref().and_then(toml::Value::as_str);
            let method = method.ok_or_else(|| wrong(form))?;
            let layers = own.remove(LAYERS);
            let layers = layers.as_ref().and_then(toml::Value::as_array);
            let layers = layers.ok_or_else(|| wrong(form))?;
            for layer in layers {
                let layer = layer.as_integer();
                let layer = layer.and_then(|layer| usize::try_from(layer).ok());
                let layer = layer.ok_or_else(|| wrong("`layers` with numbers of blocks"))?;
                let at = settings.choices.len();
                if settings.by_layer.insert(layer, at).is_some() {
                    return Err(wrong(&format!("block {layer} in one choice")));
                }
            }
            settings.choices.push(self.one(method, &own)?);
        }
        Ok(Box::new(settings))
    }
}

impl Mixed {
    /// The cache `name` with its own parameters.
    fn one(&self, name: &str, table: &toml::Table) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        let mut others = self.0.iter().filter(|cache| cache.name() != self.name());
        if let Some(cache) = others.clone().find(|cache| cache.name() == name) {
            return cache.configure(table);
        }
        let near = nearest(name, others.by_ref().map(|cache| cache.name()));
        let near = near.map_or_else(String::new, |near| format!(", such as `{near}`"));
        Err(ParamError::BadValue {
            method: self.name(),
            key: CHOICES.to_owned(),
            expected: format!("the name of another cache{near}"),
            found: format!("`{name}`"),
        })
    }

    fn rest(&self) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        let (name, stored) = REST;
        let mut table = toml::Table::new();
        table.insert("type".to_owned(), stored.into());
        self.one(name, &table)
    }
}

impl MixedSettings {
    /// The choice for the block of `shape`.
    fn of(&self, shape: CacheShape) -> Result<&dyn CacheQuantizer, CacheError> {
        if let Some((far, _)) = self.by_layer.range(shape.layers..).next() {
            return Err(CacheError::Layer {
                layers: shape.layers,
                found: *far,
            });
        }
        let chosen = self.by_layer.get(&shape.layer);
        Ok(match chosen {
            Some(at) => self.choices[*at].as_ref(),
            None => self.rest.as_ref(),
        })
    }
}

impl CacheQuantizer for MixedSettings {
    fn plan(&self, shape: CacheShape) -> Result<CachePlan, CacheError> {
        self.of(shape)?.plan(shape)
    }

    fn fit(
        &self,
        shape: CacheShape,
        samples: &CacheSamples<'_>,
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        self.of(shape)?.fit(shape, samples)
    }

    fn restore(
        &self,
        shape: CacheShape,
        tensors: &[CacheTensor],
    ) -> Result<Box<dyn CacheCodec>, CacheError> {
        self.of(shape)?.restore(shape, tensors)
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "bits of plans are exact")]
mod tests {
    use super::super::{CACHES, find};
    use super::*;

    fn configured(choices: &str) -> Result<Box<dyn CacheQuantizer>, ParamError> {
        let table = format!("choices = {choices}").parse().unwrap();
        find("mixed").unwrap().configure(&table)
    }

    fn shape(layer: usize) -> CacheShape {
        CacheShape {
            layer,
            layers: 3,
            kv_heads: 2,
            key_dim: 64,
            value_dim: 64,
        }
    }

    #[test]
    fn each_block_is_planned_as_its_own_choice() {
        let mixed = configured(
            "[{ method = \"q8_0\", layers = [0] }, { method = \"kivi\", bits = 4, layers = [2] }]",
        );
        let mixed = mixed.unwrap();
        let bits = |layer| mixed.plan(shape(layer)).unwrap().key_bits;
        assert_eq!([0, 1, 2].map(bits), [8.5, 16.0, 5.0]);
        let kivi = find("kivi")
            .unwrap()
            .configure(&"bits = 4".parse().unwrap());
        assert_eq!(mixed.plan(shape(2)), kivi.unwrap().plan(shape(2)));
    }

    #[test]
    fn choices_that_cannot_be_say_why() {
        let says = |choices: &str, expected: &str| {
            let error = configured(choices).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        };
        says("3", "tables with `method` and `layers`");
        says("[{ layers = [0] }]", "tables with `method` and `layers`");
        says(
            "[{ method = \"q8_0\" }]",
            "tables with `method` and `layers`",
        );
        says(
            "[{ method = \"q8_0\", layers = [-1] }]",
            "`layers` with numbers of blocks",
        );
        says(
            "[{ method = \"q8_0\", layers = [0] }, { method = \"fp8\", layers = [0] }]",
            "expected block 0 in one choice",
        );
        says(
            "[{ method = \"q8\", layers = [0] }]",
            "expected the name of another cache, such as `q8_0`, found `q8`",
        );
        says("[{ method = \"mixed\", layers = [0] }]", "another cache");
        says(
            "[{ method = \"kivi\", bit = 4, layers = [0] }]",
            "unknown key `bit` for method `kivi`",
        );
        let far = configured("[{ method = \"q8_0\", layers = [3] }]").unwrap();
        assert_eq!(
            far.plan(shape(0)).unwrap_err().to_string(),
            "`layers`: expected blocks 0 to 2, found 3"
        );
        assert!(CACHES.iter().any(|cache| cache.name() == REST.0));
    }
}
