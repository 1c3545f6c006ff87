//! The cache of keys and values that an artifact says is to be kept.

use super::OpenModel;
use crate::Error;
use calib::attention_policy::AttentionPolicy;
use calib::cache_policy::Protocol;
use eval::attention::candidate::{BlockPlan, Candidate, Way, shapes};
use eval::attention::fit::policy;
use quantizers::caches::{CACHES, CacheCodec};
use quantizers::formats::kv_quant::KvQuant;
use std::sync::Arc;

impl OpenModel {
    /// Attention over the cache that the folder says is kept; nothing where it says nothing.
    ///
    /// # Errors
    /// Files that do not say how, a method that is not known, tensors that are none of its.
    pub(crate) fn cache_policy(
        &self,
        protocol: Protocol,
    ) -> Result<Option<Arc<dyn AttentionPolicy>>, Error> {
        let message = || format!("cannot use the cache of `{}`", self.name);
        let blocks = self.model.graph().blocks().count();
        let found = KvQuant::read(&self.folder, blocks);
        let Some(found) = found.map_err(|error| Error::mismatch(message(), error))? else {
            return Ok(None);
        };
        let header = &found.header;
        let unknown = |what: &str| Error::Mismatch {
            message: format!("{}: kv_quant.json: {what}", message()),
            source: None,
            hint: None,
        };
        let cache = CACHES.iter().find(|cache| cache.name() == header.method);
        let cache = cache.ok_or_else(|| {
            unknown(&format!(
                "expected a method that `quench list caches` shows, found `{}`",
                header.method
            ))
        })?;
        let parameters = toml::Table::try_from(&header.parameters)
            .map_err(|error| Error::mismatch(message(), error))?;
        let quantizer = cache
            .configure(&parameters)
            .map_err(|error| Error::mismatch(message(), error))?;
        let kept = header.layers.iter().filter(|layer| layer.kept);
        let candidate = Candidate {
            method: cache.name(),
            label: header.method.clone(),
            engines: None,
            way: Way::Cache(quantizer),
            kept: kept.map(|layer| layer.layer).collect(),
        };
        let shapes =
            shapes(self.model.as_ref(), 1).map_err(|error| Error::mismatch(message(), error))?;
        let plans = candidate
            .plans(&shapes)
            .map_err(|error| Error::mismatch(message(), error))?;
        let Way::Cache(quantizer) = &candidate.way else {
            unreachable!("it was made one above");
        };
        let restored = shapes.iter().zip(&plans).map(|(shape, plan)| {
            let BlockPlan::Cache(_) = plan else {
                return Ok(None);
            };
            let none = Vec::new();
            let tensors = found.tensors.get(&shape.cache.layer).unwrap_or(&none);
            quantizer.restore(shape.cache, tensors).map(Some)
        });
        let restored: Vec<Option<Box<dyn CacheCodec>>> = restored
            .collect::<Result<_, _>>()
            .map_err(|error| Error::mismatch(message(), error))?;
        Ok(Some(Arc::new(policy(restored, &plans, protocol))))
    }
}
