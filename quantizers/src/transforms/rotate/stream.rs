//! What writes into the residual stream of a model and what reads it, or why the stream cannot be rotated.

use crate::graph::{
    BlockNode, DistanceNode, FeedForwardNode, Graph, HeadNode, LinearNode, MlpNode, NormKind,
    NormNode, NormParameters, NormPlacement, Projection, StageNode, TensorSpec, TokenInputNode,
};

/// Everything that touches the stream.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    /// Channels.
    pub(super) width: usize,
    /// Tables whose rows are added to it.
    pub(super) tables: Vec<&'a TensorSpec>,
    /// Layers whose outputs are added to it.
    pub(super) writers: Vec<&'a LinearNode>,
    /// Layers that read it, behind their norm where there is one.
    pub(super) readers: Vec<(Option<&'a NormNode>, &'a LinearNode)>,
    /// The head, where it is a table that something else reads too.
    pub(super) tied: Option<TiedHead<'a>>,
    /// The head reads it with a layer of its own.
    pub(super) has_own_head: bool,
    /// Every norm between the stream and a reader.
    pub(super) norms: Vec<&'a NormNode>,
}

/// A head that reads the stream with a table it shares.
#[derive(Debug)]
pub(super) struct TiedHead<'a> {
    pub(super) norm: Option<&'a NormNode>,
    pub(super) table: &'a TensorSpec,
    /// Module name it has with a table of its own.
    pub(super) layer: &'a str,
}

impl<'a> Stream<'a> {
    /// The stream of `graph`.
    ///
    /// # Errors
    /// What is in the way.
    pub(super) fn of(graph: &'a Graph) -> Result<Self, String> {
        let mut stages = graph.stages.iter();
        let input = match stages.next() {
            Some(StageNode::Tokens(input)) => input,
            Some(stage) => return Err(other_kind(stage)),
            None => return Err("it has no stages".to_owned()),
        };
        let mut stream = Self {
            width: input.width(),
            tables: Vec::new(),
            writers: Vec::new(),
            readers: Vec::new(),
            tied: None,
            has_own_head: false,
            norms: Vec::new(),
        };
        stream.input(input)?;
        let mut has_head = false;
        for stage in stages {
            match stage {
                StageNode::Block(block) => stream.block(block)?,
                StageNode::Head(head) if !has_head => {
                    has_head = true;
                    stream.head(head)?;
                }
                other => return Err(other_kind(other)),
            }
        }
        if !has_head {
            return Err("it returns its hidden states, which would be rotated".to_owned());
        }
        Ok(stream)
    }

    fn input(&mut self, input: &'a TokenInputNode) -> Result<(), String> {
        if let Some(layer) = &input.projection {
            self.writers.push(layer);
            return Ok(());
        }
        if let Some(norm) = &input.norm {
            return Err(format!(
                "`{}` normalises the token vectors before they enter the residual stream, and no layer stands between",
                norm.name
            ));
        }
        match &input.word_projection {
            Some(layer) => self.writers.push(layer),
            None => self.tables.push(&input.tokens),
        }
        self.tables.extend(&input.positions);
        self.tables.extend(&input.token_types);
        Ok(())
    }

    fn block(&mut self, block: &'a BlockNode) -> Result<(), String> {
        if block.placement == NormPlacement::AfterResidual {
            return Err("its norms stand in the residual stream, behind each half".to_owned());
        }
        let behind = [&block.attention_output_norm, &block.mlp_output_norm];
        if let Some(norm) = behind.into_iter().flatten().next() {
            return Err(format!(
                "`{}` normalises what a half adds to the residual stream: its factors cannot move behind a rotation",
                norm.name
            ));
        }
        let scales = [&block.attention_scale, &block.mlp_scale];
        if let Some(scale) = scales.into_iter().flatten().next() {
            return Err(format!(
                "`{}` gives every channel that a half adds to the residual stream its own factor",
                scale.name
            ));
        }
        let attention = &block.attention;
        if let Some(DistanceNode::Disentangled(node)) = &attention.distance {
            return Err(format!(
                "`{}` meets queries and keys outside the residual stream",
                node.table.name
            ));
        }
        let norm = self.norm(block.attention_norm.as_ref())?;
        for layer in attention.projections() {
            self.readers.push((norm, layer));
        }
        self.writers.push(&attention.output);
        let shares = block.parallel && block.mlp_norm.is_none();
        let norm = match &block.mlp_norm {
            None if shares => norm,
            own => self.norm(own.as_ref())?,
        };
        let networks: Vec<&FeedForwardNode> = match &block.mlp {
            MlpNode::Dense(network) => vec![network],
            MlpNode::Experts(node) => {
                let routers = node.routers().map(|layer| (norm, layer));
                self.readers.extend(routers);
                node.experts.iter().chain(&node.shared).collect()
            }
        };
        for network in networks {
            let layers = network.projections().into_iter();
            self.readers.extend(layers.map(|layer| (norm, layer)));
            self.writers.push(&network.down);
        }
        Ok(())
    }

    fn head(&mut self, head: &'a HeadNode) -> Result<(), String> {
        if head.pooling.is_some() {
            return Err("its head pools positions".to_owned());
        }
        let norm = self.norm(head.norm.as_ref())?;
        if let Some(transform) = &head.transform {
            self.readers.push((norm, &transform.layer));
            return match &head.projection {
                Some(Projection::Tied { table, .. }) if self.tables.contains(&table) => {
                    Err(format!(
                        "`{}` is part of the residual stream and also read behind a layer of the head",
                        table.name
                    ))
                }
                _ => Ok(()),
            };
        }
        match &head.projection {
            Some(Projection::Layer(layer)) => {
                self.has_own_head = true;
                self.readers.push((norm, layer));
            }
            Some(Projection::Averaged(layers)) => {
                self.readers
                    .extend(layers.iter().map(|layer| (norm, layer)));
            }
            Some(Projection::Tied { table, layer, .. }) => {
                self.tied = Some(TiedHead { norm, table, layer });
            }
            None => {
                return Err("it returns its hidden states, which would be rotated".to_owned());
            }
        }
        Ok(())
    }

    /// A norm that reads the stream, if it is one that a rotation passes.
    fn norm(&mut self, norm: Option<&'a NormNode>) -> Result<Option<&'a NormNode>, String> {
        let Some(norm) = norm else { return Ok(None) };
        if norm.kind == NormKind::Layer {
            return Err(format!(
                "`{}` is a LayerNorm, which takes the mean of the channels away, and a rotated mean is none: its \
                 subtraction would have to be folded into the layers before",
                norm.name
            ));
        }
        if norm.parameters == NormParameters::WeightAndBias {
            return Err(format!("`{}` adds offsets behind its factors", norm.name));
        }
        if !self.norms.contains(&norm) {
            self.norms.push(norm);
        }
        Ok(Some(norm))
    }
}

fn other_kind(stage: &StageNode) -> String {
    match stage {
        StageNode::Patches(_) => "it begins with patches of an image".to_owned(),
        StageNode::Opaque { name, .. } => format!("stage `{name}` is of a kind of its own"),
        other => format!("expected one decoder, found another `{}`", other.name()),
    }
}
