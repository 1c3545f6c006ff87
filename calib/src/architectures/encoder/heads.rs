//! Heads of encoders: which one a checkpoint has, and its layers.

use super::flavour::{MaskedHead, Offsets, Pooler};
use super::shape::Shape;
use crate::{ModelError, ModelOutput, WeightSource};
use quantizers::graph::{
    HeadNode, HeadTransform, LinearNode, NormNode, Pooling, Positions, Projection, TensorSpec,
};
use serde_json::Value;

/// What a class does with the last hidden states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Masked,
    Tokens,
    Sequence,
    Bare,
}

/// The positions a classifier reads, and what becomes of them.
type Pooled = (Positions, Option<Pooling>);

impl Shape<'_> {
    /// What the model returns, and its last stage, where it has one.
    pub(super) fn head(
        &self,
        weights: &dyn WeightSource,
    ) -> Result<(ModelOutput, Option<HeadNode>), ModelError> {
        Ok(match self.purpose(weights)? {
            Purpose::Masked => (ModelOutput::MaskedTokenLogits, Some(self.masked(weights)?)),
            Purpose::Tokens => (
                ModelOutput::TokenClassLogits,
                Some(self.classifier("classifier", (Positions::All, None), weights)?),
            ),
            Purpose::Sequence => {
                let positions = self.pooling()?;
                let name = self.flavour.classifier;
                (
                    ModelOutput::ClassLogits,
                    Some(self.classifier(name, positions, weights)?),
                )
            }
            Purpose::Bare => {
                let norm = self.last_norm()?;
                let head = norm.map(|norm| HeadNode::new(Some(norm), None));
                (ModelOutput::HiddenStates, head)
            }
        })
    }

    fn purpose(&self, weights: &dyn WeightSource) -> Result<Purpose, ModelError> {
        let flavour = self.flavour;
        let masked = flavour.masked.iter().map(|end| (*end, Purpose::Masked));
        let bare = flavour.bare.iter().map(|end| (*end, Purpose::Bare));
        let others = [
            ("ForTokenClassification", Purpose::Tokens),
            ("ForSequenceClassification", Purpose::Sequence),
        ];
        let known: Vec<(&str, Purpose)> = masked.chain(others).chain(bare).collect();
        let classes = self.config.get("architectures");
        let names = classes.and_then(Value::as_array).into_iter().flatten();
        let ends: Vec<&str> = names
            .filter_map(Value::as_str)
            .filter_map(|name| name.strip_prefix(flavour.stem))
            .collect();
        let found = known.iter().find(|(end, _)| ends.contains(end));
        let has = |name: &str| weights.contains(&format!("{name}.weight"));
        match (found, classes) {
            // A pretraining checkpoint of which the encoder alone was kept.
            (Some((_, Purpose::Masked)), _) if !has(self.masked_layers(weights)?.dense) => {
                Ok(Purpose::Bare)
            }
            (Some((_, purpose)), _) => Ok(*purpose),
            // A class of this family that does something else.
            (None, Some(classes)) if !ends.is_empty() => {
                let names = known
                    .iter()
                    .map(|(end, _)| format!("`{}{end}`", flavour.stem));
                let names: Vec<String> = names.collect();
                let expected = format!("one of {}", names.join(", "));
                Err(self.config.refuse("architectures", &expected, classes))
            }
            _ if has(self.pooler_name().as_str()) && has(flavour.classifier) => {
                Ok(Purpose::Sequence)
            }
            _ if has("classifier") => Ok(Purpose::Tokens),
            _ if has(self.masked_layers(weights)?.dense) => Ok(Purpose::Masked),
            _ => Ok(Purpose::Bare),
        }
    }

    fn last_norm(&self) -> Result<Option<NormNode>, ModelError> {
        let name = self.flavour.names.last_norm;
        if name.is_empty() {
            return Ok(None);
        }
        self.norm(self.named(name), self.width).map(Some)
    }

    fn pooling(&self) -> Result<Pooled, ModelError> {
        let Some(key) = self.flavour.pooling else {
            return Ok((Positions::First, None));
        };
        match self.config.text_or(key, "cls")? {
            "cls" => Ok((Positions::First, None)),
            "mean" => Ok((Positions::All, Some(Pooling::MeanFrom(0)))),
            other => Err(self
                .config
                .error(key, "`cls` or `mean`", &format!("`{other}`"))),
        }
    }

    fn pooler_name(&self) -> String {
        let Pooler { dense, .. } = self.flavour.pooler;
        if self.flavour.pooler_has_prefix {
            self.named(dense)
        } else {
            dense.to_owned()
        }
    }

    fn transform(
        &self,
        dense: String,
        rows: usize,
        function: super::flavour::Function,
        norm: &str,
        offsets: Offsets,
    ) -> Result<HeadTransform, ModelError> {
        let layer = LinearNode::outside(dense, rows, self.width);
        let norm = match norm {
            "" => None,
            name => Some(self.norm(name.to_owned(), rows)?),
        };
        Ok(HeadTransform {
            layer: layer.with_bias(self.has(offsets)?),
            activation: Some(self.function(function)?),
            norm,
        })
    }

    fn classifier(
        &self,
        name: &str,
        (positions, pooling): Pooled,
        weights: &dyn WeightSource,
    ) -> Result<HeadNode, ModelError> {
        let stored = weights.shape(&format!("{name}.weight"));
        let classes = match stored.as_deref() {
            // What config.json does not say, or says in two ways, the weight does.
            Some([rows, _]) if self.config.may_have_classes(*rows)? => *rows,
            _ => self.config.classes()?,
        };
        let layer = LinearNode::outside(name, classes, self.width).with_bias(true);
        let Pooler { function, norm, .. } = self.flavour.pooler;
        let by_token = positions == Positions::All && pooling.is_none();
        let has_pooler = !by_token || self.flavour.pooler_for_tokens;
        Ok(HeadNode {
            positions,
            pooling,
            transform: if has_pooler {
                Some(self.transform(
                    self.pooler_name(),
                    self.width,
                    function,
                    norm,
                    self.flavour.head_offsets,
                )?)
            } else {
                None
            },
            ..HeadNode::new(self.last_norm()?, Some(Projection::Layer(layer)))
        })
    }

    /// The newer head where `legacy` is off, or where it is the one that is stored.
    fn masked_layers(&self, weights: &dyn WeightSource) -> Result<MaskedHead, ModelError> {
        let older = self.flavour.masked_head;
        let Some(newer) = self.flavour.newer_masked_head else {
            return Ok(older);
        };
        let has = |head: &MaskedHead| weights.contains(&format!("{}.weight", head.dense));
        let is_newer = !self.config.flag_or("legacy", true)? || (has(&newer) && !has(&older));
        Ok(if is_newer { newer } else { older })
    }

    fn masked(&self, weights: &dyn WeightSource) -> Result<HeadNode, ModelError> {
        let head = self.masked_layers(weights)?;
        let has_bias = match head.bias_flag {
            Some(key) => self.config.flag_or(key, true)?,
            None => true,
        };
        let stored = head.bias.iter().find(|name| weights.contains(name));
        let bias = stored.or(head.bias.first()).filter(|_| has_bias);
        let decoder = format!("{}.weight", head.decoder);
        let is_stored = weights.contains(&decoder);
        let beside = weights.contains(&format!("{}.bias", head.decoder));
        let tied = self.config.flag_or("tie_word_embeddings", true)?;
        // With both tables in the checkpoint the head is its own, as transformers decides it; older files store
        // the tied one twice, with its bias elsewhere.
        let projection = if is_stored && beside == has_bias {
            let layer = LinearNode::outside(head.decoder, self.vocabulary, self.table_width);
            Projection::Layer(layer.with_bias(has_bias))
        } else {
            Projection::Tied {
                table: if tied || head.decoder.is_empty() {
                    self.token_table()
                } else {
                    TensorSpec::new(decoder, [self.vocabulary, self.table_width])
                },
                bias: bias.map(|name| TensorSpec::new(*name, [self.vocabulary])),
                layer: head.decoder.to_owned(),
            }
        };
        Ok(HeadNode {
            transform: Some(self.transform(
                head.dense.to_owned(),
                self.table_width,
                head.function,
                head.norm,
                self.flavour.head_offsets,
            )?),
            ..HeadNode::new(self.last_norm()?, Some(projection))
        })
    }
}
