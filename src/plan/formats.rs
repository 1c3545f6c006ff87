//! Which format the output is written in, asked before anything is quantized.

use super::{PlanError, PlannedLayer};
use quantizers::formats::{FORMATS, Format};

/// A format and why it was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FormatChoice {
    pub(super) name: String,
    pub(super) because: String,
}

/// The named format if it holds every layer; for `auto` the first of the registry that does.
pub(super) fn choose(asked: &str, layers: &[PlannedLayer]) -> Result<FormatChoice, PlanError> {
    if asked != "auto" {
        let Some(format) = FORMATS.iter().find(|format| format.name() == asked) else {
            return Err(PlanError::Format {
                format: asked.to_owned(),
                layer: "any layer".to_owned(),
                reason: "no such format".to_owned(),
                others: Vec::new(),
            });
        };
        return match refusal(*format, layers) {
            None => Ok(FormatChoice { name: asked.to_owned(), because: "asked for".to_owned() }),
            Some((layer, reason)) => Err(PlanError::Format {
                format: asked.to_owned(),
                layer,
                reason,
                others: FORMATS
                    .iter()
                    .filter(|other| refusal(**other, layers).is_none())
                    .map(|other| other.name().to_owned())
                    .collect(),
            }),
        };
    }
    let mut refused: Option<(&str, String)> = None;
    for name in PREFERRED {
        let Some(format) = FORMATS.iter().find(|format| format.name() == *name) else { continue };
        match refusal(*format, layers) {
            None => {
                let because = match refused {
                    None => "auto: every layer fits".to_owned(),
                    Some((other, layer)) => format!("auto: `{other}` cannot hold `{layer}`"),
                };
                return Ok(FormatChoice { name: (*name).to_owned(), because });
            }
            Some((layer, _)) => refused = refused.or(Some((name, layer))),
        }
    }
    let (format, layer) = refused.unwrap_or(("auto", String::new()));
    Err(PlanError::Format {
        format: format.to_owned(),
        layer,
        reason: "no format can".to_owned(),
        others: Vec::new(),
    })
}

/// What `auto` tries, in order.
const PREFERRED: &[&str] = &["compressed-tensors", "quench"];

/// The first layer a format cannot hold, and why.
fn refusal(format: &dyn Format, layers: &[PlannedLayer]) -> Option<(String, String)> {
    layers.iter().find_map(|layer| {
        let [rows, cols] = layer.shape;
        format
            .accepts(&layer.scheme, rows, cols)
            .err()
            .map(|reason| (layer.name.clone(), reason.to_string()))
    })
}
