//! The quantization arguments of a configuration.

use crate::tensor::{Granularity, InputGrid};
use serde::Deserialize;
use serde_json::Value;

/// The quantization arguments of weights or inputs. Keys that do not change how weights are stored
/// are not read.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::formats) struct Arguments {
    #[serde(default = "eight")]
    pub(in crate::formats) num_bits: u8,
    #[serde(rename = "type", default = "int")]
    pub(super) kind: String,
    #[serde(default = "yes")]
    pub(super) symmetric: bool,
    #[serde(default)]
    pub(super) group_size: Option<i64>,
    #[serde(default)]
    pub(super) strategy: Option<String>,
    /// `[32, 32]` or `"32x32"`: sides of the tiles that share a scale.
    #[serde(default)]
    pub(in crate::formats) block_structure: Value,
    /// `true`, `false` or `"local"`.
    #[serde(default)]
    pub(super) dynamic: Value,
}

fn eight() -> u8 {
    8
}

fn int() -> String {
    "int".into()
}

fn yes() -> bool {
    true
}

impl Arguments {
    pub(super) fn int(num_bits: u8) -> Self {
        Self {
            num_bits,
            kind: int(),
            symmetric: true,
            group_size: None,
            strategy: None,
            block_structure: Value::Null,
            dynamic: Value::Bool(false),
        }
    }

    /// Whether the codes are small floats.
    pub(in crate::formats) fn is_float(&self) -> bool {
        self.kind == "float"
    }

    /// How inputs are rounded; an error text for what no evaluation here could reproduce, because ignoring
    /// it would give the score of another model.
    pub(super) fn input_grid(&self) -> Result<InputGrid, String> {
        let dynamic = self.dynamic == Value::Bool(true);
        let strategy = self.strategy.as_deref().unwrap_or("tensor");
        let grid = InputGrid {
            bits: self.num_bits,
            symmetric: self.symmetric,
            dynamic,
        };
        match (self.kind.as_str(), strategy, dynamic) {
            ("int", _, _) if !(1..=8).contains(&self.num_bits) => {
                Err(format!("inputs of {} bits", self.num_bits))
            }
            ("int", "token", true) | ("int", "tensor", false) => Ok(grid),
            (kind, _, _) => Err(format!(
                "inputs as {}-bit {kind}, strategy `{strategy}`, dynamic {}",
                self.num_bits, self.dynamic
            )),
        }
    }

    /// Scale granularity; an error text for strategies that are not of integer weights.
    pub(super) fn granularity(&self) -> Result<Granularity, String> {
        let strategy = match (self.strategy.as_deref(), self.group_size) {
            (Some(strategy), _) => strategy,
            (None, None) => "tensor",
            (None, Some(-1)) => "channel",
            (None, Some(_)) => "group",
        };
        match (strategy.to_ascii_lowercase().as_str(), self.group_size) {
            ("tensor", _) => Ok(Granularity::Tensor),
            ("channel", _) | ("group", Some(-1)) => Ok(Granularity::Channel),
            ("group", Some(size)) if size > 0 => usize::try_from(size)
                .map(Granularity::Group)
                .map_err(|error| error.to_string()),
            (other, size) => Err(format!("strategy `{other}` with group_size {size:?}")),
        }
    }
}
