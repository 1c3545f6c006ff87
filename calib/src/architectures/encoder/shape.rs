//! What config.json says, read by the columns of a row.

use super::distance_settings::Distances;
use super::flavour::{Flavour, Function, Offsets, Positions, TableWidth};
use crate::architectures::decoder::rotation::encoder_rotation;
use crate::architectures::{Config, block_count, divided, prefix};
use crate::{ModelError, WeightSource};
use quantizers::graph::{
    Activation, LinearNode, NormNode, NormParameters, Pattern, RopeNode, TensorSpec, TokenInputNode,
};
use serde_json::json;

/// Everything that decides the mathematics of one model.
pub(super) struct Shape<'a> {
    pub(super) flavour: &'a Flavour,
    pub(super) config: Config<'a>,
    pub(super) prefix: &'static str,
    pub(super) width: usize,
    pub(super) table_width: usize,
    pub(super) inner: usize,
    pub(super) heads: usize,
    pub(super) head_dim: usize,
    pub(super) vocabulary: usize,
    pub(super) max_positions: usize,
    pub(super) epsilon: f64,
    pub(super) activation: Activation,
    pub(super) blocks: Vec<BlockShape>,
    pub(super) distances: Option<Distances>,
    first_position: usize,
    has_table: bool,
    /// Norm parameters are named as by TensorFlow (`bert-base-uncased` still has them).
    greek: bool,
}

/// What differs from block to block.
pub(super) struct BlockShape {
    /// Module name, without the prefix.
    pub(super) name: String,
    /// An earlier block has the same weights.
    pub(super) repeated: bool,
    pub(super) pattern: Pattern,
    pub(super) rope: Option<RopeNode>,
}

impl<'a> Shape<'a> {
    pub(super) fn read(
        flavour: &'a Flavour,
        config: Config<'a>,
        weights: &dyn WeightSource,
    ) -> Result<Self, ModelError> {
        config.only("position_embedding_type", &json!("absolute"))?;
        config.only("is_decoder", &json!(false))?;
        config.only("add_cross_attention", &json!(false))?;
        config.only("pruned_heads", &json!({}))?;
        let (keys, names) = (&flavour.keys, &flavour.names);
        let width = config.count(keys.width)?;
        let heads = config.count(keys.heads)?;
        let head_dim = divided(&config, keys.heads, heads, width, keys.width)?;
        let rows = config.count_or("max_position_embeddings", keys.positions)?;
        let first_position = match flavour.positions {
            Positions::Table(first) | Positions::TableAndBias(first) => first,
            Positions::AfterPadding => config.whole_or("pad_token_id", 1)? + 1,
            _ => 0,
        };
        if first_position >= rows {
            let expected = format!("more than {first_position}, the rows before the first token's");
            return Err(config.error("max_position_embeddings", &expected, &rows.to_string()));
        }
        let (activation, default) = keys.activation;
        let prefix = prefix(names.prefix, &format!("{}.weight", names.tokens), weights);
        let mut shape = Self {
            flavour,
            config,
            prefix,
            width,
            table_width: match flavour.table_width {
                TableWidth::OfBlocks => width,
                TableWidth::Key(key, default, _) | TableWidth::Projected(key, default, _) => {
                    config.count_or(key, default)?
                }
            },
            inner: config.count(keys.inner)?,
            heads,
            head_dim,
            vocabulary: config.count("vocab_size")?,
            max_positions: rows - first_position,
            epsilon: match keys.epsilon {
                ("", epsilon) => epsilon,
                (key, epsilon) => config.positive_or(key, epsilon)?,
            },
            activation: config.activation(activation, default)?,
            blocks: Vec::new(),
            distances: Distances::read(flavour.positions, &config)?,
            first_position,
            has_table: match flavour.positions {
                Positions::Rope(..) | Positions::LocalRope(_) => false,
                Positions::Disentangled => config.flag_or("position_biased_input", true)?,
                _ => true,
            },
            greek: weights.contains(&format!("{prefix}{}.gamma", names.embedding_norm)),
        };
        let count = block_count(&config, keys.blocks, None, weights)?;
        shape.blocks = shape.block_shapes(count)?;
        Ok(shape)
    }

    fn block_shapes(&self, count: usize) -> Result<Vec<BlockShape>, ModelError> {
        let blocks = self.flavour.names.blocks;
        let plain = |name: String, repeated: bool| BlockShape {
            name,
            repeated,
            pattern: Pattern::Full,
            rope: None,
        };
        if self.flavour.shared {
            let groups = self.config.count_or("num_hidden_groups", 1)?;
            let inner = self.config.count_or("inner_group_num", 1)?;
            if groups > count {
                let expected = format!("at most the {count} layers");
                return Err(self
                    .config
                    .error("num_hidden_groups", &expected, &groups.to_string()));
            }
            let group = |layer: usize| layer * groups / count;
            let layers = (0..count).flat_map(|layer| (0..inner).map(move |at| (layer, at)));
            let named = layers.map(|(layer, at)| {
                let repeated = layer > 0 && group(layer) == group(layer - 1);
                let name = format!("{blocks}.{}.albert_layers.{at}", group(layer));
                plain(name, repeated)
            });
            return Ok(named.collect());
        }
        let mut shapes: Vec<BlockShape> = (0..count)
            .map(|index| plain(format!("{blocks}.{index}"), false))
            .collect();
        match self.flavour.positions {
            Positions::Rope(key, theta) => {
                let [full, _] = self.rotation((key, theta), None)?;
                for shape in &mut shapes {
                    shape.rope = Some(full.clone());
                }
            }
            Positions::LocalRope([full, local]) => {
                let [full, local] = self.rotation(full, Some(local))?;
                let reach = self.config.count_or("local_attention", 128)? / 2;
                for (shape, is_local) in shapes.iter_mut().zip(self.local_blocks(count)?) {
                    if is_local {
                        shape.pattern = Pattern::Local { reach };
                    }
                    shape.rope = Some(if is_local { &local } else { &full }.clone());
                }
            }
            _ => {}
        }
        Ok(shapes)
    }

    fn rotation(
        &self,
        full: (&'static str, f64),
        local: Option<(&'static str, f64)>,
    ) -> Result<[RopeNode; 2], ModelError> {
        encoder_rotation(&self.config, full, local, self.head_dim, self.max_positions)
    }

    /// Which blocks see neighbours only: `layer_types`, else all but every n-th.
    fn local_blocks(&self, count: usize) -> Result<Vec<bool>, ModelError> {
        let key = "layer_types";
        let Some(types) = self.config.get(key) else {
            let period = self.config.count_or("global_attn_every_n_layers", 3)?;
            let local = |index: usize| !index.is_multiple_of(period);
            return Ok((0..count).map(local).collect());
        };
        let names = types.as_array().map_or(&[][..], Vec::as_slice);
        if names.len() != count {
            let expected = format!("a list of {count} names");
            return Err(self.config.refuse(key, &expected, types));
        }
        let known = "`full_attention` or `sliding_attention`";
        let local = names.iter().map(|name| match name.as_str() {
            Some("full_attention") => Ok(false),
            Some("sliding_attention") => Ok(true),
            _ => Err(self.config.refuse(key, known, name)),
        });
        local.collect()
    }

    /// The module `name` outside the blocks.
    pub(super) fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A norm.
    pub(super) fn norm(&self, name: String, width: usize) -> Result<NormNode, ModelError> {
        let parameters = if self.has(self.flavour.norm_offsets)? {
            NormParameters::WeightAndBias
        } else {
            NormParameters::Weight
        };
        let norm = NormNode::layer(name, width, self.epsilon).greek(self.greek);
        Ok(NormNode { parameters, ..norm })
    }

    /// Whether there are offsets.
    pub(super) fn has(&self, offsets: Offsets) -> Result<bool, ModelError> {
        match offsets {
            Offsets::All => Ok(true),
            Offsets::None => Ok(false),
            Offsets::Key(key) => self.config.flag_or(key, false),
        }
    }

    /// An activation.
    pub(super) fn function(&self, function: Function) -> Result<Activation, ModelError> {
        match function {
            Function::OfBlocks => Ok(self.activation),
            Function::Fixed(name) => self.config.activation("", name),
            Function::Key(key, default) => self.config.activation(key, default),
        }
    }

    /// The token table.
    pub(super) fn token_table(&self) -> TensorSpec {
        self.table(self.flavour.names.tokens, self.vocabulary)
    }

    fn table(&self, name: &str, rows: usize) -> TensorSpec {
        let name = self.named(name);
        TensorSpec::new(format!("{name}.weight"), [rows, self.table_width])
    }

    /// The first stage.
    pub(super) fn input(&self) -> Result<TokenInputNode, ModelError> {
        let names = &self.flavour.names;
        let types = match names.types {
            "" => 0,
            _ => self
                .config
                .whole_or("type_vocab_size", self.flavour.keys.types)?,
        };
        let rows = self.max_positions + self.first_position;
        let norm = self.norm(self.named(names.embedding_norm), self.table_width)?;
        Ok(TokenInputNode {
            positions: self.has_table.then(|| self.table(names.positions, rows)),
            first_position: self.first_position,
            token_types: (types > 0).then(|| self.table(names.types, types)),
            norm: Some(norm),
            projection: match self.flavour.table_width {
                TableWidth::Key(_, _, name) if self.table_width != self.width => Some(name),
                TableWidth::Projected(_, _, name) => Some(name),
                _ => None,
            }
            .map(|name| {
                let layer = LinearNode::outside(self.named(name), self.width, self.table_width);
                layer.with_bias(true)
            }),
            ..TokenInputNode::new(self.token_table())
        })
    }
}
