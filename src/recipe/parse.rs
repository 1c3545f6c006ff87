//! From TOML text to a [`Recipe`].

use super::document::Section;
use super::{
    Budget, Calibration, Evaluation, Integer, Origin, Output, Recipe, RecipeError, ReportOptions,
    Rule, TransformRule, WayKind, WayRule, parse_bytes, resolve_data,
};
use calib::running::expert_calibration::{ExpertCalibration, ExpertTokens};
use calib::sampling::{Selection, Template, TextMode};
use eval::gate::Gate;
use quantizers::formats::FORMATS;
use quantizers::nearest::nearest;
use sha2::{Digest, Sha256};
use std::path::Path;

/// Sequences calibrated on unless the recipe says otherwise.
const DEFAULT_SAMPLES: usize = 128;
/// Most bytes of one weight file unless the recipe says otherwise.
const DEFAULT_SHARD_BYTES: u64 = 5_000_000_000;

impl Recipe {
    /// Reads a recipe; `folder` is what its paths are relative to.
    ///
    /// # Errors
    /// The first thing in it that quench cannot do, with its line.
    pub fn parse(text: &str, origin: Origin, folder: Option<&Path>) -> Result<Self, RecipeError> {
        let mut top = Section::parse(text)?;
        let name = match (top.take_string("name")?, &origin) {
            (Some(name), _) => name,
            (None, Origin::File(path)) => path
                .file_stem()
                .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
            (None, _) => "unnamed".to_owned(),
        };
        let seed = top.take("seed", "a whole number of at least 0", |value| {
            value.as_integer().and_then(|seed| u64::try_from(seed).ok())
        })?;
        let budget = top.take_table("budget")?;
        let budget = budget
            .map(|section| Budget::read(section, folder))
            .transpose()?;
        let calibration = calibration(top.take_table("calibration")?, folder)?;
        let rules: Vec<Rule> = top
            .take_tables("layers")?
            .into_iter()
            .map(|section| Rule::read(section, None))
            .collect::<Result<_, _>>()?;
        let transforms = top
            .take_tables("transform")?
            .into_iter()
            .map(TransformRule::read)
            .collect::<Result<_, _>>()?;
        let mut way = |kind: WayKind| {
            let section = top.take_table(kind.name())?;
            section
                .map(|section| WayRule::read(kind, section, folder))
                .transpose()
        };
        let (cache, attention) = (way(WayKind::Cache)?, way(WayKind::Attention)?);
        if let (Some(_), Some(attention)) = (&cache, &attention) {
            return Err(RecipeError::BadValue {
                line: attention.line,
                section: "the recipe".to_owned(),
                key: "attention".to_owned(),
                expected: "one of `[cache]` and `[attention]`".to_owned(),
                found: "both".to_owned(),
            });
        }
        let integer = Integer::read(top.take_table("nonlinear")?, top.take_table("activations")?)?;
        let output = output(top.take_table("output")?)?;
        let report = report(top.take_table("report")?)?;
        let evaluations = top
            .take_tables("evaluate")?
            .into_iter()
            .map(|section| Evaluation::read(section, folder))
            .collect::<Result<Vec<_>, _>>()?;
        let gates = gates(top.take_table("gate")?)?;
        top.finish()?;
        // Tables `[[evaluate]]` alone are a recipe for `quench eval`.
        if rules.is_empty() && integer.is_none() && evaluations.is_empty() {
            return Err(RecipeError::NoRules);
        }
        let recipe = Self {
            name,
            origin,
            sha256: sha256(text),
            seed: seed.unwrap_or(0),
            calibration,
            transforms,
            cache,
            attention,
            rules,
            budget,
            integer,
            output,
            report,
            evaluations,
            evaluate: true,
            eval_data: None,
            gates,
        };
        recipe.check_rules()?;
        Ok(recipe)
    }
}

/// SHA-256 of `text`, hexadecimal.
pub(super) fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            use std::fmt::Write as _;
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

fn calibration(
    section: Option<Section>,
    folder: Option<&Path>,
) -> Result<Calibration, RecipeError> {
    let mut calibration = Calibration {
        data: "synthetic".to_owned(),
        samples: DEFAULT_SAMPLES,
        sequence_length: None,
        mode: TextMode::default(),
        selection: Selection::default(),
        template: Template::default(),
        experts: ExpertCalibration::default(),
        keep_statistics: false,
    };
    let Some(mut section) = section else {
        return Ok(calibration);
    };
    if let Some(data) = section.take_string("data")? {
        calibration.data = resolve_data(&data, folder);
    }
    if let Some(samples) = section.take_count("samples")? {
        calibration.samples = samples;
    }
    calibration.sequence_length = section.take_count("sequence_length")?;
    let selection = section.take(
        "selection",
        "`\"first\"` or `\"random\"`",
        |value| match value.as_str()? {
            "first" => Some(Selection::First),
            "random" => Some(Selection::Random),
            _ => None,
        },
    )?;
    calibration.selection = selection.unwrap_or_default();
    let template = section.take("template", "`\"chat\"` or `\"none\"`", |value| match value
        .as_str()?
    {
        "chat" => Some(Template::Chat),
        "none" => Some(Template::None),
        _ => None,
    })?;
    calibration.template = template.unwrap_or_default();
    let documents = section.take(
        "mode",
        "`\"windows\"` or `\"documents\"`",
        |value| match value.as_str()? {
            "windows" => Some(false),
            "documents" => Some(true),
            _ => None,
        },
    )?;
    // The key of the other mode stays in the section, where it is an unknown key.
    calibration.mode = if documents == Some(true) {
        let separator = section.take_string("separator")?;
        TextMode::Documents {
            separator: separator.unwrap_or_else(|| "<|endoftext|>".to_owned()),
        }
    } else {
        TextMode::Windows {
            stride: section.take_count("stride")?,
        }
    };
    if let Some(table) = section.take_table("experts")? {
        calibration.experts = experts(table)?;
    }
    let keep = section.take_flag("keep_statistics")?;
    calibration.keep_statistics = keep.unwrap_or(false);
    section.finish()?;
    Ok(calibration)
}

/// A size above zero.
fn bytes(
    section: &mut Section,
    key: &'static str,
    expected: &'static str,
) -> Result<Option<u64>, RecipeError> {
    section.take(key, expected, |value| {
        let bytes = value.as_str().and_then(parse_bytes);
        bytes.filter(|&bytes| bytes > 0)
    })
}

fn experts(mut section: Section) -> Result<ExpertCalibration, RecipeError> {
    let mut experts = ExpertCalibration::default();
    if let Some(tokens) = section.take_count("min_tokens")? {
        experts.min_tokens = tokens;
    }
    let expected = "a size such as `\"4GiB\"` or `\"512MiB\"`";
    if let Some(bytes) = bytes(&mut section, "memory", expected)? {
        experts.memory_bytes = bytes;
    }
    // Where all experts see all tokens, `too_few` has nothing to say and is an unknown key.
    if section.take_flag("calibrate_all_experts")? == Some(true) {
        experts.tokens = ExpertTokens::All;
    } else if let Some(tokens) = section.take(
        "too_few",
        "`\"data-free\"` or `\"all-tokens\"`",
        |value| match value.as_str()? {
            "data-free" => Some(ExpertTokens::Routed),
            "all-tokens" => Some(ExpertTokens::AllWhereFew),
            _ => None,
        },
    )? {
        experts.tokens = tokens;
    }
    section.finish()?;
    Ok(experts)
}

fn output(section: Option<Section>) -> Result<Output, RecipeError> {
    let mut output = Output {
        format: "auto".to_owned(),
        shard_bytes: DEFAULT_SHARD_BYTES,
    };
    let Some(mut section) = section else {
        return Ok(output);
    };
    let line = section.line_of("format");
    if let Some(format) = section.take_string("format")? {
        check_format(&format, line)?;
        output.format = format;
    }
    let expected = "a size such as `\"5GB\"` or `\"512MiB\"`";
    if let Some(bytes) = bytes(&mut section, "shard_size", expected)? {
        output.shard_bytes = bytes;
    }
    section.finish()?;
    Ok(output)
}

fn report(section: Option<Section>) -> Result<ReportOptions, RecipeError> {
    let mut report = ReportOptions::default();
    if let Some(mut section) = section {
        report.output_sqnr = section.take_flag("output_sqnr")?;
        section.finish()?;
    }
    Ok(report)
}

/// `auto`, or a format of the registry that quantized layers can be written in.
pub(super) fn check_format(name: &str, line: usize) -> Result<(), RecipeError> {
    let known: Vec<&str> = FORMATS
        .iter()
        .map(|format| format.name())
        .chain(["auto"])
        .collect();
    if known.contains(&name) {
        return Ok(());
    }
    Err(RecipeError::UnknownName {
        line,
        what: "format",
        name: name.to_owned(),
        nearest: nearest(name, known.iter().copied()),
    })
}

fn gates(section: Option<Section>) -> Result<Vec<Gate>, RecipeError> {
    let Some(section) = section else {
        return Ok(Vec::new());
    };
    let (table, lines) = section.rest();
    table
        .into_iter()
        .zip(lines)
        .map(|((figure, value), (_, line))| {
            let bound = value
                .as_float()
                .or_else(|| value.as_integer().map(|whole| whole as f64))
                .filter(|bound| bound.is_finite());
            match bound {
                Some(bound) => {
                    Gate::new(&figure, bound).map_err(|error| RecipeError::Gate { line, error })
                }
                None => Err(RecipeError::BadValue {
                    line,
                    section: "`[gate]`".to_owned(),
                    key: figure,
                    expected: "a number".to_owned(),
                    found: format!("`{value}`"),
                }),
            }
        })
        .collect()
}
