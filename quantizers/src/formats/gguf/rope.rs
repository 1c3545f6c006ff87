//! Rotary settings: in the metadata, or only in tensors of factors.

use super::families::Family;
use super::header::Header;
use super::values::shortest;
use serde_json::{Map, Value, json};
use std::f64::consts::TAU;

/// Base of the frequencies where the file does not say.
const BASE: f64 = 10_000.0;
/// What all models of the Llama 3 kind have in common; only the factor differs.
const LOW_FREQUENCY: f64 = 1.0;
const HIGH_FREQUENCY: f64 = 4.0;
const LLAMA3_POSITIONS: f64 = 8192.0;

/// Adds `rope_theta` and `rope_scaling` to `config`.
///
/// # Errors
/// A kind of scaling, or a tensor of factors, that no known rule gives.
pub(super) fn configure(
    header: &Header<'_>,
    bytes: &[u8],
    family: &Family,
    config: &mut Map<String, Value>,
) -> Result<(), String> {
    let key = |name: &str| format!("{}.rope.{name}", family.architecture);
    let float = |name: &str| header.float(&key(name)).map(shortest);
    let base = float("freq_base").unwrap_or(BASE);
    config.insert("rope_theta".to_owned(), json!(base));
    let original = header.number(&key("scaling.original_context_length"));
    let factor = float("scaling.factor").or_else(|| float("scale_linear"));
    let kind = header.text(&key("scaling.type"));
    let scaling = match kind.as_deref() {
        None | Some("none" | "longrope") => match factor {
            // Before there was a type, a factor meant this.
            Some(factor) if kind.is_none() && (factor - 1.0).abs() > 1e-6 => {
                Some(json!({ "rope_type": "linear", "factor": factor }))
            }
            _ => None,
        },
        Some("linear") => Some(json!({ "rope_type": "linear", "factor": factor.unwrap_or(1.0) })),
        Some("yarn") => Some(json!({
            "rope_type": "yarn",
            "factor": factor.unwrap_or(1.0),
            "original_max_position_embeddings": original,
        })),
        Some(other) => {
            return Err(format!(
                "`{}`: expected `none`, `linear`, `yarn` or `longrope`, found `{other}`",
                key("scaling.type")
            ));
        }
    };
    let factors = |name: &str| factors(header, bytes, name);
    let scaling = match (
        factors("rope_freqs.weight"),
        factors("rope_factors_long.weight"),
        factors("rope_factors_short.weight"),
    ) {
        (Some(stored), _, _) => Some(llama3(&stored, base)?),
        (None, Some(long), Some(short)) => {
            if let Some(original) = original {
                config.insert(
                    "original_max_position_embeddings".to_owned(),
                    json!(original),
                );
            }
            Some(json!({ "rope_type": "longrope", "long_factor": long, "short_factor": short }))
        }
        _ => scaling,
    };
    if let Some(scaling) = scaling {
        config.insert("rope_scaling".to_owned(), scaling);
    }
    Ok(())
}

/// The values of a vector of f32.
fn factors(header: &Header<'_>, bytes: &[u8], name: &str) -> Option<Vec<f64>> {
    let tensor = header
        .tensors
        .get(name)
        .filter(|tensor| tensor.type_id == 0)?;
    let words = bytes.get(tensor.range.clone())?.as_chunks::<4>().0.iter();
    Some(
        words
            .map(|word| shortest(f32::from_le_bytes(*word).into()))
            .collect(),
    )
}

/// The settings of Llama 3 that give `stored` factors: long waves are divided by the factor, short ones kept, those
/// between blended (`modeling_rope_utils.py` of transformers).
fn llama3(stored: &[f64], base: f64) -> Result<Value, String> {
    let factor = stored.iter().copied().fold(1.0, f64::max);
    let width = 2.0 * stored.len() as f64;
    let explained = stored.iter().enumerate().all(|(pair, found)| {
        let wave = TAU * base.powf(2.0 * pair as f64 / width);
        let turns = LLAMA3_POSITIONS / wave;
        let smooth = (turns - LOW_FREQUENCY) / (HIGH_FREQUENCY - LOW_FREQUENCY);
        let expected = 1.0 / ((1.0 - smooth.clamp(0.0, 1.0)) / factor + smooth.clamp(0.0, 1.0));
        (found - expected).abs() <= 1e-3 * expected
    });
    if !explained {
        return Err(
            "`rope_freqs.weight`: its factors are not those of Llama 3, and no other rule is known"
                .to_owned(),
        );
    }
    Ok(json!({
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": LOW_FREQUENCY,
        "high_freq_factor": HIGH_FREQUENCY,
        "original_max_position_embeddings": 8192,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_of_llama_3_are_recognised_and_others_refused() {
        let stored: Vec<f64> = (0..64)
            .map(|pair| {
                let wave = TAU * 500_000_f64.powf(f64::from(pair) / 64.0);
                let smooth = ((8192.0 / wave - 1.0) / 3.0).clamp(0.0, 1.0);
                1.0 / ((1.0 - smooth) / 32.0 + smooth)
            })
            .collect();
        assert_eq!(llama3(&stored, 500_000.0).unwrap()["factor"], 32.0);
        assert!(llama3(&stored, 10_000.0).is_err());
    }
}
