//! What of a graph has no integer-only form, in words.

use crate::graph::{
    BlockNode, DistanceNode, HeadNode, LinearNode, NormKind, NormNode, NormParameters,
    PatchInputNode, Pooling, Positions,
};

/// The layer in the way and what it does, as a predicate of its stage.
pub(super) type Obstacle<'a> = (&'a str, &'static str);

/// Patches with learned vectors in front and a position for every row.
pub(super) fn plain_patches(node: &PatchInputNode) -> Result<(), Obstacle<'_>> {
    let projection = node.projection.name.as_str();
    if let Some(norm) = node.patch_norm.as_ref().or(node.norm.as_ref()) {
        return Err((&norm.name, "normalises patches before the first block"));
    }
    if let Some(registers) = &node.registers {
        return Err((&registers.name, "has register tokens"));
    }
    if node.bias.is_none() {
        return Err((projection, "projects patches without a bias"));
    }
    if node.positions.is_none() {
        return Err((projection, "adds no positions to patches"));
    }
    Ok(())
}

/// What a block does that plain ones do not.
pub(super) fn unusual(node: &BlockNode) -> Option<Obstacle<'_>> {
    let attention = &node.attention;
    let output = attention.output.name.as_str();
    let norms = [&node.attention_output_norm, &node.mlp_output_norm];
    if let Some(norm) = norms.into_iter().flatten().next() {
        return Some((&norm.name, "normalises what its halves add"));
    }
    let scales = [&node.attention_scale, &node.mlp_scale];
    if let Some(scale) = scales.into_iter().flatten().next() {
        return Some((&scale.name, "scales each channel of what its halves add"));
    }
    if let Some(DistanceNode::Offsets(bias)) = &attention.distance {
        return Some((&bias.table.name, "adds position biases to attention scores"));
    }
    let found = [
        (node.repeated, "repeats the weights of an earlier block"),
        (attention.distance.is_some(), "adds scores of distances"),
        (attention.windows.is_some(), "attends within windows"),
        (node.parallel, "runs its halves side by side"),
        (
            node.residual_scale.to_bits() != 1.0_f64.to_bits(),
            "multiplies what its halves add",
        ),
        (attention.clip.is_some(), "clamps queries, keys and values"),
        (attention.softcap.is_some(), "caps attention scores"),
        (attention.slopes.is_some(), "lowers scores by distance"),
        (attention.sinks.is_some(), "has attention sinks"),
    ];
    let found = found.into_iter().find(|(present, _)| *present);
    found.map(|(_, reason)| (output, reason))
}

/// A norm whose factors are stored as they are used.
pub(super) fn affine(norm: &NormNode) -> Result<&NormNode, Obstacle<'_>> {
    let full = match norm.kind {
        NormKind::Rms => norm.parameters == NormParameters::Weight,
        NormKind::Layer => norm.parameters == NormParameters::WeightAndBias,
    };
    if full && !norm.one_plus {
        Ok(norm)
    } else {
        Err((&norm.name, "has a norm without its usual parameters"))
    }
}

/// A head that reads every position, or the first.
pub(super) fn one_row_or_all(node: &HeadNode) -> Result<(), Obstacle<'_>> {
    let norm_name = node.norm.as_ref().map_or("", |norm| norm.name.as_str());
    match (node.positions, &node.pooling) {
        (Positions::All | Positions::First, None) => Ok(()),
        (_, Some(Pooling::Attention(node))) => Err((&node.output.name, "pools by attention")),
        (Positions::Last, _) => Err((norm_name, "reads the last position")),
        (_, Some(Pooling::FirstAndMeanFrom(_))) => {
            Err((norm_name, "joins the first position and the mean of others"))
        }
        (Positions::MeanFrom(_), _) | (_, Some(Pooling::MeanFrom(_))) => {
            Err((norm_name, "averages positions"))
        }
    }
}

/// A layer whose weights are stored `[out, in]`.
pub(super) fn stored_by_row(layer: &LinearNode) -> Result<&LinearNode, Obstacle<'_>> {
    if layer.transposed {
        return Err((&layer.name, "stores weights as `[in, out]`"));
    }
    Ok(layer)
}
