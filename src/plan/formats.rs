//! Which format the output is written in, asked before anything is quantized.

use super::{PlanError, PlannedLayer};
use quantizers::formats::{self, FORMATS, Format};

/// A format and why it was chosen.
pub(super) struct FormatChoice {
    pub(super) format: &'static dyn Format,
    pub(super) because: String,
}

/// The named format if it holds every layer; `auto` chooses one that does.
pub(super) fn choose(asked: &str, layers: &[PlannedLayer]) -> Result<FormatChoice, PlanError> {
    let Some(format) = formats::find(asked) else {
        let format = formats::auto(
            layers
                .iter()
                .map(|layer| (&layer.plan.scheme, layer.shape[0], layer.shape[1])),
        );
        let preferred = formats::find("compressed-tensors");
        let because = match preferred.and_then(|preferred| refusal(preferred, layers)) {
            Some((layer, reason)) => {
                format!("auto: compressed-tensors has no room for `{layer}`: {reason}")
            }
            None => "auto: every layer fits".to_owned(),
        };
        return Ok(FormatChoice { format, because });
    };
    let Some((layer, reason)) = refusal(format, layers) else {
        return Ok(FormatChoice {
            format,
            because: "asked for".to_owned(),
        });
    };
    let others = FORMATS
        .iter()
        .filter(|other| other.decoder().is_some() && refusal(**other, layers).is_none())
        .map(|other| other.name().to_owned())
        .collect();
    Err(PlanError::Format {
        format: asked.to_owned(),
        layer,
        reason,
        others,
    })
}

/// The format of integer programs, if it holds every layer.
pub(super) fn for_integers(layers: &[PlannedLayer]) -> Result<FormatChoice, PlanError> {
    let holds = FORMATS
        .iter()
        .find(|format| format.holds_integer_programs());
    let asked = holds.map_or("quench", |format| format.name());
    let chosen = choose(asked, layers)?;
    Ok(FormatChoice {
        because: "holds integer programs".to_owned(),
        ..chosen
    })
}

/// The first layer a format cannot hold, and why.
fn refusal(format: &dyn Format, layers: &[PlannedLayer]) -> Option<(String, String)> {
    layers.iter().find_map(|layer| {
        let [rows, cols] = layer.shape;
        let refused = format.accepts(&layer.plan.scheme, rows, cols).err()?;
        let reason = format!("{}, and it stores {}", refused.what, refused.stores);
        Some((layer.name.clone(), reason))
    })
}
