//! Values of the command line: names from the registries, counts, budgets, gates.

use crate::recipe::{is_budget, parse_bytes};
use calib::plain_cache::CacheFloats;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use eval::gate::{Gate, GateError};
use quantizers::formats::{FORMATS, Format};
use quantizers::kernels::{COMPUTES, ComputeEntry};
use quantizers::sensitivity::{SENSITIVITIES, Sensitivity};
use quantizers::{METHODS, Method};

pub(super) fn methods() -> PossibleValuesParser {
    let named = |method: &&dyn Method| PossibleValue::new(method.name()).help(method.summary());
    PossibleValuesParser::new(METHODS.iter().map(named))
}

pub(super) fn sensitivities() -> PossibleValuesParser {
    let named = |kind: &Sensitivity| PossibleValue::new(kind.name).help(kind.summary);
    PossibleValuesParser::new(SENSITIVITIES.iter().map(named))
}

/// Floats keys and values are kept as, by name.
pub(super) fn cache_floats() -> impl TypedValueParser<Value = CacheFloats> {
    let names = CacheFloats::ALL.map(CacheFloats::name);
    PossibleValuesParser::new(names).try_map(|name| {
        // The parser before this one lets no other name through.
        CacheFloats::named(&name).ok_or("no such floats")
    })
}

pub(super) fn computes() -> PossibleValuesParser {
    let named = |entry: &ComputeEntry| PossibleValue::new(entry.name).help(entry.summary);
    PossibleValuesParser::new(COMPUTES.iter().map(named))
}

pub(super) fn formats() -> PossibleValuesParser {
    PossibleValuesParser::new(FORMATS.iter().map(format_value))
}

pub(super) fn formats_or_auto() -> PossibleValuesParser {
    PossibleValuesParser::new(
        std::iter::once(PossibleValue::new("auto")).chain(FORMATS.iter().map(format_value)),
    )
}

fn format_value(format: &&'static dyn Format) -> PossibleValue {
    PossibleValue::new(format.name()).help(format.summary())
}

pub(super) fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!(
            "expected a whole number of at least 1, found `{text}`"
        )),
        Ok(count) => Ok(count),
    }
}

pub(super) fn parse_memory(text: &str) -> Result<u64, String> {
    parse_bytes(text).ok_or_else(|| format!("expected a size such as 24GiB, found `{text}`"))
}

pub(super) fn parse_budget(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(bits) if is_budget(bits) => Ok(bits),
        _ => Err(format!(
            "expected a number above 0 and at most 32, found `{text}`"
        )),
    }
}

pub(super) fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("expected a number from 0 to 1, found `{text}`")),
    }
}

pub(super) fn parse_gate(text: &str) -> Result<Gate, String> {
    text.parse().map_err(|error: GateError| match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}
