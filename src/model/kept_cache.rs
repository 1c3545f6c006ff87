//! The cache of keys and values, or the attention, that an artifact says a model is to be run with.

use super::OpenModel;
use crate::Error;
use crate::recipe::WayKind;
use calib::attention_policy::{AttentionPolicy, ByBlock};
use calib::cache_policy::Protocol;
use eval::attention::candidate::{BlockPlan, Candidate, Way, shapes};
use eval::attention::fit::policy;
use eval::attention::walk::sparse;
use quantizers::caches::{CACHES, CacheCodec};
use quantizers::formats::kv_quant::KvQuant;
use quantizers::formats::sparse_attention::AttentionHeader;
use std::sync::Arc;

impl OpenModel {
    /// Attention as the folder says; nothing where it says nothing.
    ///
    /// # Errors
    /// Files that do not say how, a method that is not known, tensors that are none of its.
    pub(crate) fn attention_policy(
        &self,
        protocol: Protocol,
    ) -> Result<Option<Arc<dyn AttentionPolicy>>, Error> {
        match self.sparse_policy()? {
            Some(policy) => Ok(Some(policy)),
            None => self.cache_policy(protocol),
        }
    }

    /// Attention to the keys that `attention.json` says.
    fn sparse_policy(&self) -> Result<Option<Arc<dyn AttentionPolicy>>, Error> {
        let message = || format!("cannot use the attention of `{}`", self.name);
        let blocks = self.model.graph().blocks().count();
        let found = AttentionHeader::read(&self.folder, blocks);
        let Some(header) = found.map_err(|error| Error::mismatch(message(), error))? else {
            return Ok(None);
        };
        let parameters = toml::Table::try_from(&header.parameters)
            .map_err(|error| Error::mismatch(message(), error))?;
        let way = WayKind::Attention.configured(&header.method, &parameters);
        let way = way.ok_or_else(|| Error::Mismatch {
            message: format!(
                "{}: attention.json: expected a method that `quench list attentions` shows, found `{}`",
                message(),
                header.method
            ),
            source: None,
            hint: None,
        })?;
        let candidate = Candidate {
            method: "attention",
            label: header.method.clone(),
            engines: None,
            way: way.map_err(|error| Error::mismatch(message(), error))?,
            kept: header.kept_layers.clone(),
        };
        let tokens = self.model.max_positions().unwrap_or(1);
        let shapes = shapes(self.model.as_ref(), tokens)
            .map_err(|error| Error::mismatch(message(), error))?;
        let plans = candidate
            .plans(&shapes)
            .map_err(|error| Error::mismatch(message(), error))?;
        let Way::Attention(method) = &candidate.way else {
            unreachable!("it was made one above");
        };
        let policies = shapes.iter().zip(&plans).map(|(shape, plan)| match plan {
            BlockPlan::Attention { .. } => {
                let policy: Arc<dyn AttentionPolicy> = Arc::new(sparse(method, shape));
                Some(policy)
            }
            BlockPlan::Kept | BlockPlan::Cache(_) => None,
        });
        Ok(Some(Arc::new(ByBlock(policies.collect()))))
    }

    /// Attention over the cache that `kv_quant.json` says is kept.
    fn cache_policy(&self, protocol: Protocol) -> Result<Option<Arc<dyn AttentionPolicy>>, Error> {
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
