//! The experts of a block as graph nodes.

use super::expert_columns::{Experts, Scores, Shared, Sparse, Storage};
use super::flavour::Flavour;
use super::shape::Shape;
use crate::ModelError;
use quantizers::graph::{
    ExpertGroups, ExpertsNode, FeedForwardNode, Gate, LinearNode, RouterScores, Routing, TensorSpec,
};

impl Flavour {
    /// Ends of the names of modules that hold all experts.
    pub(crate) fn stacked_modules(&self) -> &'static [&'static str] {
        match self.experts {
            Some(Experts {
                storage: Storage::Stacked { modules, .. },
                ..
            }) => modules.as_slice(),
            _ => &[],
        }
    }
}

impl Shape<'_> {
    /// The experts of block `index`, where it has some.
    pub(super) fn experts_of(
        &self,
        block: &str,
        index: usize,
    ) -> Result<Option<ExpertsNode>, ModelError> {
        match self.flavour.experts {
            Some(experts) if experts.sparse.has(index, self)? => {
                self.experts(experts, block).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn experts(&self, experts: &Experts, block: &str) -> Result<ExpertsNode, ModelError> {
        let config = &self.config;
        let count = experts.count.read(config)?;
        let top_k = experts.chosen.read(config)?;
        if top_k > count {
            let key = experts.chosen.0.first().copied().unwrap_or_default();
            let expected = format!("at most the {count} experts");
            return Err(config.error(key, &expected, &top_k.to_string()));
        }
        let inner = match experts.inner {
            "" => self.inner,
            key => config.count(key)?,
        };
        let name = format!("{block}.{}", experts.router);
        let correction = (!experts.correction.is_empty())
            .then(|| TensorSpec::new(format!("{name}.{}", experts.correction), [count]));
        let routing = Routing {
            scores: match experts.scores {
                Scores::Softmax => RouterScores::Softmax,
                Scores::SoftmaxOfChosen => RouterScores::SoftmaxOfChosen,
                Scores::Sigmoid => RouterScores::Sigmoid,
                Scores::SparseMixer(key, default) => RouterScores::SparseMixer {
                    jitter: config.positive_or(key, default)?,
                },
            },
            top_k,
            normalised: experts.normalised.holds(config)?,
            scale: self.factor(experts.scale, 0)?,
            correction,
            groups: self.groups(experts, count)?,
        };
        let router = LinearNode::outside(name, count, self.width).with_bias(experts.router_bias);
        let expert = |index| self.expert(experts, block, index, inner);
        let (shared, shared_gate) = match experts.shared {
            Some(shared) => self.shared(&shared, block, inner)?,
            None => (None, None),
        };
        Ok(ExpertsNode {
            router,
            routing,
            experts: (0..count).map(expert).collect::<Result<_, _>>()?,
            shared,
            shared_gate,
        })
    }

    fn groups(&self, experts: &Experts, count: usize) -> Result<Option<ExpertGroups>, ModelError> {
        let config = &self.config;
        if experts.group_best == 0 || !experts.grouped.holds(config)? {
            return Ok(None);
        }
        let groups = config.count_or("n_group", 1)?;
        crate::architectures::divided(config, "n_group", groups, count, "n_routed_experts")?;
        Ok(Some(ExpertGroups {
            count: groups,
            chosen: config.count_or("topk_group", groups)?,
            best: experts.group_best,
        }))
    }

    fn expert(
        &self,
        experts: &Experts,
        block: &str,
        index: usize,
        inner: usize,
    ) -> Result<FeedForwardNode, ModelError> {
        let width = self.width;
        // Each expert sees its own tokens: its points are its own.
        let layer = |name: String, size: [usize; 2], point: &str, bias: bool| {
            let point = format!("{block}.experts.{index}.{point}");
            LinearNode::in_block(format!("{block}.{name}"), size[0], size[1], point).with_bias(bias)
        };
        Ok(match experts.storage {
            Storage::OneByOne(list, [gate, up, down]) => FeedForwardNode::gated(
                layer(
                    format!("{list}.{index}.{gate}"),
                    [inner, width],
                    "mlp_in",
                    false,
                ),
                layer(
                    format!("{list}.{index}.{up}"),
                    [inner, width],
                    "mlp_in",
                    false,
                ),
                layer(
                    format!("{list}.{index}.{down}"),
                    [width, inner],
                    "down_in",
                    false,
                ),
                self.activation,
            ),
            Storage::Stacked {
                modules: [up, down],
                transposed,
                bias,
                alternating,
            } => {
                let stored = |layer: LinearNode| if transposed { layer.conv1d() } else { layer };
                let up = layer(format!("{up}.{index}"), [2 * inner, width], "mlp_in", bias);
                let down = layer(format!("{down}.{index}"), [width, inner], "down_in", bias);
                let gate = if alternating {
                    Gate::Alternating {
                        alpha: self.config.positive_or("swiglu_alpha", 1.702)?,
                        limit: self.config.positive_or("swiglu_limit", 7.0)?,
                    }
                } else {
                    Gate::FirstHalf
                };
                FeedForwardNode {
                    gate,
                    up: stored(up),
                    down: stored(down),
                    activation: self.activation,
                }
            }
        })
    }

    fn shared(
        &self,
        shared: &Shared,
        block: &str,
        expert: usize,
    ) -> Result<(Option<FeedForwardNode>, Option<LinearNode>), ModelError> {
        let (key, is_count) = shared.inner;
        let inner = match self.config.whole_or(key, 0)? {
            0 => return Ok((None, None)),
            count if is_count => count * expert,
            width => width,
        };
        let layer = |name: &str, rows, cols, point: &str| {
            let name = format!("{block}.{}.{name}", shared.name);
            LinearNode::in_block(name, rows, cols, format!("{block}.shared.{point}"))
        };
        let node = FeedForwardNode::gated(
            layer("gate_proj", inner, self.width, "mlp_in"),
            layer("up_proj", inner, self.width, "mlp_in"),
            layer("down_proj", self.width, inner, "down_in"),
            self.activation,
        );
        let gate = (!shared.gate.is_empty())
            .then(|| LinearNode::outside(format!("{block}.{}", shared.gate), 1, self.width));
        Ok((Some(node), gate))
    }
}

impl Sparse {
    fn has(self, index: usize, shape: &Shape<'_>) -> Result<bool, ModelError> {
        let config = &shape.config;
        Ok(match self {
            Self::All => true,
            Self::From(key, default) => index >= config.whole_or(key, default)?,
            Self::Stepped => {
                let step = config.count_or("decoder_sparse_step", 1)?;
                let dense = config.get("mlp_only_layers");
                let dense = dense.and_then(serde_json::Value::as_array);
                let is_dense = dense.is_some_and(|blocks| {
                    blocks
                        .iter()
                        .any(|block| block.as_u64() == Some(index as u64))
                });
                !is_dense && (index + 1).is_multiple_of(step)
            }
        })
    }
}
