//! What differs from block to block: the window, and whether and how queries and keys are rotated.

use super::flavour::{Flavour, Positions, Rope, RopeBlocks, Windows};
use super::rotation::{Rotation, rotation};
use crate::ModelError;
use crate::architectures::Config;
use quantizers::graph::{Pattern, RopeNode};
use serde_json::Value;

/// One block.
#[derive(Debug, Clone)]
pub(super) struct BlockShape {
    pub(super) pattern: Pattern,
    pub(super) rope: Option<RopeNode>,
}

/// Every block of a model.
pub(super) fn blocks(
    flavour: &Flavour,
    config: &Config<'_>,
    count: usize,
    head_dim: usize,
    max_positions: usize,
) -> Result<Vec<BlockShape>, ModelError> {
    let rope = match flavour.positions {
        Positions::Rope(rope) => Some(rope),
        Positions::SlopesIf(flag, _, rope) => (!flag.holds(config)?).then_some(rope),
        Positions::Table(_) | Positions::Slopes(_) => None,
    };
    let rotated = match rope {
        Some(Rope {
            blocks: RopeBlocks::Listed,
            ..
        }) => listed(config, count)?,
        _ => vec![true; count],
    };
    let patterns = patterns(flavour.windows, config, &rotated)?;
    let rotation = match rope {
        Some(rope) => Some((rope, rotation(config, &rope, head_dim, max_positions)?)),
        None => None,
    };
    let windowed = |pattern: &Pattern| matches!(pattern, Pattern::Sliding { .. });
    let any = patterns.iter().any(windowed);
    let block = |(index, pattern): (usize, Pattern)| {
        let local = windowed(&pattern);
        let rope = rotation.as_ref().and_then(|(rope, rotation)| {
            let Rotation { full, local: own } = rotation;
            let rotates = match rope.blocks {
                RopeBlocks::All => true,
                RopeBlocks::Windowed => local,
                RopeBlocks::WindowedIfAny => local || !any,
                RopeBlocks::Listed => rotated[index],
            };
            let node = own.as_ref().filter(|_| local).unwrap_or(full);
            rotates.then(|| node.clone())
        });
        BlockShape { pattern, rope }
    };
    Ok(patterns.into_iter().enumerate().map(block).collect())
}

/// Which blocks rotate, by `no_rope_layers` or every n-th not.
fn listed(config: &Config<'_>, count: usize) -> Result<Vec<bool>, ModelError> {
    let key = "no_rope_layers";
    let Some(list) = config.get(key) else {
        let interval = config.count_or("no_rope_layer_interval", 4)?;
        return Ok((1..=count).map(|block| block % interval != 0).collect());
    };
    let values = list.as_array().map_or(&[][..], Vec::as_slice);
    let rotates = |value: &Value| match value.as_u64() {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        _ => Err(config.refuse(key, "0 or 1", value)),
    };
    if values.len() != count {
        return Err(config.refuse(key, &format!("a list of {count} numbers"), list));
    }
    values.iter().map(rotates).collect()
}

/// Who sees whom, block by block; `rotated` says which of them rotate.
fn patterns(
    windows: Windows,
    config: &Config<'_>,
    rotated: &[bool],
) -> Result<Vec<Pattern>, ModelError> {
    let count = rotated.len();
    // The window of a class whose file does not mention it; null is none.
    let window = |default: Option<usize>| match config.mentions("sliding_window") {
        // Zero is how some files say none.
        true if config
            .get("sliding_window")
            .is_some_and(|value| value.as_u64() == Some(0)) =>
        {
            Ok(None)
        }
        true => config.optional_count("sliding_window"),
        false => Ok(default),
    };
    let sliding = |window: Option<usize>| {
        window.map_or(Pattern::Causal, |window| Pattern::Sliding { window })
    };
    let by_types = |window: Option<usize>, windowed: &dyn Fn(usize) -> bool| {
        if let Some(types) = config.get("layer_types") {
            return layer_types(config, types, count, window);
        }
        let pattern = |index| {
            if windowed(index) {
                sliding(window)
            } else {
                Pattern::Causal
            }
        };
        Ok((0..count).map(pattern).collect())
    };
    let in_use = |window: Option<usize>| -> Result<Option<usize>, ModelError> {
        let used = config.flag_or("use_sliding_window", false)?;
        Ok(window.filter(|_| used))
    };
    match windows {
        Windows::None => Ok(vec![Pattern::Causal; count]),
        Windows::All(default) => Ok(vec![sliding(window(default)?); count]),
        Windows::AllIf(key, size) => {
            let used = config.flag_or(key, false)?;
            let window = window(Some(size))?.filter(|_| used);
            Ok(vec![sliding(window); count])
        }
        Windows::Qwen => {
            let window = in_use(window(Some(4096))?)?;
            let full = config.whole_or("max_window_layers", 28)?;
            by_types(window, &|index| index >= full)
        }
        Windows::Period(key, default, size) => {
            let period = config.count_or(key, default)?;
            by_types(window(Some(size))?, &|index| {
                !(index + 1).is_multiple_of(period)
            })
        }
        Windows::Types(size) => by_types(window(Some(size))?, &|_| true),
        Windows::Unrotated => by_types(in_use(window(None)?)?, &|index| !rotated[index]),
    }
}

fn layer_types(
    config: &Config<'_>,
    types: &Value,
    blocks: usize,
    window: Option<usize>,
) -> Result<Vec<Pattern>, ModelError> {
    let names = types.as_array().map_or(&[][..], Vec::as_slice);
    if names.len() != blocks {
        return Err(config.refuse("layer_types", &format!("a list of {blocks} names"), types));
    }
    names
        .iter()
        .map(|name| match (name.as_str(), window) {
            (Some("full_attention"), _) => Ok(Pattern::Causal),
            (Some("sliding_attention"), Some(window)) => Ok(Pattern::Sliding { window }),
            (Some("sliding_attention"), None) => Err(config.refuse(
                "layer_types",
                "`full_attention` while no `sliding_window` is in use",
                name,
            )),
            _ => Err(config.refuse(
                "layer_types",
                "`full_attention` or `sliding_attention`",
                name,
            )),
        })
        .collect()
}
