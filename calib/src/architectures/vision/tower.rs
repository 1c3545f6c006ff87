//! A tower as config.json and a row of the table describe it, and its stages.

use super::super::{Config, StageSpec, block_count, divided, prefix};
use super::flavour::{Ending, Flavour, Inner, Input, Offsets, Patches, Positions, Scales};
use crate::{ModelError, WeightSource};
use quantizers::graph::{
    Activation, AttentionNode, BlockNode, DistanceNode, FeedForwardNode, Gate, LinearNode, MlpNode,
    NormNode, NormPlacement, PatchInputNode, Pattern, PositionBiasNode, QkvNode, TensorSpec,
    TokenInputNode,
};

/// Longest side of an image that is believed.
const LONGEST_SIDE: usize = 1 << 16;

/// A tower with its sizes.
pub(super) struct Tower<'a> {
    pub(super) flavour: &'a Flavour,
    pub(super) ending: &'a Ending,
    /// Of the tower itself.
    pub(super) config: Config<'a>,
    /// Of the model: where the last layer is described.
    pub(super) outside: Config<'a>,
    pub(super) prefix: &'a str,
    pub(super) width: usize,
    pub(super) heads: usize,
    pub(super) inner: usize,
    /// The feed-forward half is gated.
    gated: bool,
    pub(super) epsilon: f64,
    pub(super) activation: Activation,
    blocks: usize,
    offsets: Option<PositionBias<'a>>,
    /// Rows in front of patches, and patches.
    pub(super) leading: usize,
    grid: [usize; 2],
}

/// Which table of position biases a block reads.
#[derive(Clone, Copy)]
enum PositionBias<'a> {
    Own(&'a str),
    Shared(&'a str),
}

/// A count under `key`, or what the row says where it is absent.
fn sized(config: &Config<'_>, key: &str, default: Option<usize>) -> Result<usize, ModelError> {
    match default {
        Some(default) => config.count_or(key, default),
        None => config.count(key),
    }
}

impl<'a> Tower<'a> {
    pub(super) fn read(
        flavour: &'a Flavour,
        ending: &'a Ending,
        config: Config<'a>,
        outside: Config<'a>,
        weights: &dyn WeightSource,
    ) -> Result<Self, ModelError> {
        let sizes = &flavour.sizes;
        let width = sized(&config, "hidden_size", sizes.width)?;
        let (inner, gated) = inner(flavour, &config, width)?;
        let probe = match (flavour.positions, &flavour.input) {
            (Positions::Stacked(name) | Positions::Table(name), _) => name.to_owned(),
            (Positions::StackedIf(..), Input::Patches(patches)) => {
                format!("{}.weight", patches.projection)
            }
            (Positions::StackedIf(..), Input::Tokens) => TOKENS.to_owned(),
        };
        let mut tower = Self {
            flavour,
            ending,
            config,
            outside,
            prefix: prefix(flavour.prefix, &probe, weights),
            width,
            heads: sized(&config, "num_attention_heads", sizes.heads)?,
            inner,
            gated,
            epsilon: config.positive_or("layer_norm_eps", flavour.epsilon)?,
            activation: config.activation("hidden_act", flavour.activation)?,
            blocks: block_count(&config, "num_hidden_layers", sizes.blocks, weights)?,
            offsets: flavour
                .offsets
                .map(|offsets| position_bias(offsets, &config))
                .transpose()?
                .flatten(),
            leading: 0,
            grid: [0, 0],
        };
        if let Input::Patches(names) = &flavour.input {
            let input = tower.patches(names)?;
            (tower.leading, tower.grid) = (input.leading(), input.grid());
        }
        Ok(tower)
    }

    /// The first stage and the blocks.
    pub(super) fn body(&self) -> Result<Vec<Box<dyn StageSpec>>, ModelError> {
        let mut stages: Vec<Box<dyn StageSpec>> = vec![match &self.flavour.input {
            Input::Patches(names) => Box::new(self.patches(names)?),
            Input::Tokens => Box::new(self.tokens()?),
        }];
        for index in 0..self.blocks {
            stages.push(Box::new(self.block(index)?));
        }
        Ok(stages)
    }

    /// Vocabulary and longest text of a tower of texts.
    pub(super) fn text(&self) -> Result<Option<(usize, usize)>, ModelError> {
        let sizes = &self.flavour.sizes;
        if matches!(self.flavour.input, Input::Patches(_)) {
            return Ok(None);
        }
        let vocabulary = sized(&self.config, "vocab_size", sizes.vocabulary)?;
        let positions = sized(&self.config, "max_position_embeddings", sizes.positions)?;
        Ok(Some((vocabulary, positions)))
    }

    pub(super) fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn tokens(&self) -> Result<TokenInputNode, ModelError> {
        let (vocabulary, positions) = self.text()?.unwrap_or_default();
        let table = |name: &str, rows| TensorSpec::new(self.named(name), [rows, self.width]);
        let name = match self.flavour.positions {
            Positions::Stacked(name) | Positions::Table(name) | Positions::StackedIf(_, name) => {
                name
            }
        };
        Ok(TokenInputNode {
            positions: Some(table(name, positions)),
            ..TokenInputNode::new(table(TOKENS, vocabulary))
        })
    }

    fn patches(&self, names: &Patches) -> Result<PatchInputNode, ModelError> {
        let (config, width) = (&self.config, self.width);
        let image = image(config)?;
        let patch = config.count_or("patch_size", names.side)?;
        divided(config, "patch_size", patch, image[1], "image_size")?;
        let projection = self.named(names.projection);
        let weight = TensorSpec::new(
            format!("{projection}.weight"),
            [width, image[0], patch, patch],
        );
        let bias = TensorSpec::new(format!("{projection}.bias"), [width]);
        let mut input = PatchInputNode::new(weight, bias, image);
        if !names.bias {
            input.bias = None;
        }
        let shape = if names.flat_tokens {
            vec![width]
        } else {
            vec![1, 1, width]
        };
        let tokens = names.tokens.iter();
        input.tokens = tokens
            .map(|name| TensorSpec::new(self.named(name), shape.clone()))
            .collect();
        let rows = input.rows();
        input.positions = match self.flavour.positions {
            Positions::StackedIf(key, _) if !config.flag_or(key, false)? => None,
            Positions::Stacked(name) | Positions::StackedIf(_, name) => {
                Some(TensorSpec::new(self.named(name), [1, rows, width]))
            }
            Positions::Table(name) => Some(TensorSpec::new(self.named(name), [rows, width])),
        };
        if !names.registers.is_empty() {
            // Zero registers are stored as an empty tensor, which adds nothing.
            let count = config.whole_or("num_register_tokens", 4)?;
            input.registers = (count > 0)
                .then(|| TensorSpec::new(self.named(names.registers), [1, count, width]));
        }
        if !names.norm.is_empty() {
            input.norm = Some(self.norm(self.named(names.norm)));
        }
        Ok(input)
    }

    pub(super) fn norm(&self, name: String) -> NormNode {
        NormNode::layer(name, self.width, self.epsilon)
    }

    fn block(&self, index: usize) -> Result<BlockNode, ModelError> {
        let (flavour, config) = (self.flavour, &self.config);
        let (names, width) = (&flavour.block, self.width);
        let head_dim = divided(
            config,
            "num_attention_heads",
            self.heads,
            width,
            "hidden_size",
        )?;
        let bias = !flavour.qkv_bias || config.flag_or("qkv_bias", true)?;
        let block = self.named(&format!("{}.{index}", flavour.blocks));
        let linear = |name: &str, rows, cols, point: &str, bias| {
            let (name, point) = (format!("{block}.{name}"), format!("{block}.{point}"));
            LinearNode::in_block(name, rows, cols, point).with_bias(bias)
        };
        let input = |name, bias| linear(name, width, width, "attn_in", bias);
        let qkv = QkvNode::Separate {
            query: input(names.query, bias),
            key: input(names.key, bias && flavour.key_bias),
            value: input(names.value, bias),
        };
        let output = linear(names.output, width, width, "o_in", true);
        let pattern = if flavour.causal {
            Pattern::Causal
        } else {
            Pattern::Full
        };
        let [up, down] = match flavour.inner {
            Inner::Ratio(gated) if self.gated => gated,
            Inner::Ratio(_) | Inner::Key => [names.up, names.down],
        };
        let rows = if self.gated {
            2 * self.inner
        } else {
            self.inner
        };
        let mut mlp = FeedForwardNode::plain(
            linear(up, rows, width, "mlp_in", true),
            linear(down, width, self.inner, "down_in", true),
            self.activation,
        );
        if self.gated {
            (mlp.gate, mlp.activation) = (Gate::FirstHalf, Activation::Silu);
        }
        let [first, second] = names.norms.map(|name| self.norm(format!("{block}.{name}")));
        let [attention_scale, mlp_scale] = self.scales(&block)?;
        Ok(BlockNode {
            attention_scale,
            mlp_scale,
            ..BlockNode::new(
                index,
                first,
                AttentionNode {
                    distance: self.position_bias(&block).map(DistanceNode::Offsets),
                    ..AttentionNode::new(qkv, output, self.heads, head_dim, pattern)
                },
                second,
                MlpNode::Dense(mlp),
                NormPlacement::Before,
            )
        })
    }

    fn scales(&self, block: &str) -> Result<[Option<TensorSpec>; 2], ModelError> {
        let names = match self.flavour.scales {
            Scales::None => return Ok([None, None]),
            Scales::Always(names) => names,
            Scales::IfAbove(key, default, names) => {
                let value = match self.config.get(key) {
                    Some(value) => value
                        .as_f64()
                        .ok_or_else(|| self.config.refuse(key, "a number", value))?,
                    None => default,
                };
                if value <= 0.0 {
                    return Ok([None, None]);
                }
                names
            }
        };
        Ok(names.map(|name| Some(TensorSpec::new(format!("{block}.{name}"), [self.width]))))
    }

    fn position_bias(&self, block: &str) -> Option<PositionBiasNode> {
        let name = match self.offsets? {
            PositionBias::Own(name) => format!("{block}.{name}"),
            PositionBias::Shared(name) => self.named(name),
        };
        let offsets = PositionBiasNode::offsets(self.grid, true);
        Some(PositionBiasNode {
            table: TensorSpec::new(name, [offsets, self.heads]),
            grid: self.grid,
            class_token: true,
        })
    }
}

/// The token table of a tower of texts.
const TOKENS: &str = "embeddings.token_embedding.weight";

/// `[channels, side, side]` of an image.
pub(super) fn image(config: &Config<'_>) -> Result<[usize; 3], ModelError> {
    let channels = config.count_or("num_channels", 3)?;
    let side = config.count_or("image_size", 224)?;
    if side > LONGEST_SIDE {
        let expected = format!("at most {LONGEST_SIDE}");
        return Err(config.error("image_size", &expected, &side.to_string()));
    }
    Ok([channels, side, side])
}

/// Width of the feed-forward half, and whether it is gated.
fn inner(
    flavour: &Flavour,
    config: &Config<'_>,
    width: usize,
) -> Result<(usize, bool), ModelError> {
    match flavour.inner {
        Inner::Key => {
            let inner = sized(config, "intermediate_size", flavour.sizes.inner)?;
            Ok((inner, false))
        }
        Inner::Ratio(_) => {
            let inner = config.ratio_of("mlp_ratio", 4.0, width)?;
            let gated = config.flag_or("use_swiglu_ffn", false)?;
            let inner = if gated {
                (inner * 2 / 3).next_multiple_of(8)
            } else {
                inner
            };
            Ok((inner, gated))
        }
    }
}

fn position_bias(
    offsets: Offsets,
    config: &Config<'_>,
) -> Result<Option<PositionBias<'static>>, ModelError> {
    let ((own_key, own), (shared_key, shared)) = (offsets.own, offsets.shared);
    match [
        config.flag_or(own_key, false)?,
        config.flag_or(shared_key, false)?,
    ] {
        [false, false] => Ok(None),
        [true, false] => Ok(Some(PositionBias::Own(own))),
        [false, true] => Ok(Some(PositionBias::Shared(shared))),
        [true, true] => {
            let expected = format!("false, as `{own_key}` is true");
            Err(config.error(shared_key, &expected, "true"))
        }
    }
}
