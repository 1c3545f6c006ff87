//! Finding out, for every quantized module of a folder, which scheme it was stored with.

use super::arguments::Arguments;
use super::presets;
use crate::formats::entry::{WEIGHT, WEIGHT_G_IDX, WEIGHT_PACKED, WEIGHT_SCALE};
use crate::formats::layer_files::{LayerFiles, believable};
use crate::formats::{
    Dtype, FormatError, StoredLayer, TensorFolder, TensorInfo, Unsupported, uniform,
};
use crate::tensor::{Encoding, QuantizedTensor, Scheme, SchemeKind};
use fancy_regex::Regex;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What the method of a layer is called when the files don't tell.
const UNKNOWN_METHOD: &str = "compressed-tensors";

#[derive(Deserialize)]
struct GroupJson {
    targets: Vec<String>,
    weights: Option<Arguments>,
    input_activations: Option<Arguments>,
}

/// What a group's targets are stored as.
struct Group {
    name: String,
    weights: Arguments,
    inputs: Option<Arguments>,
}

/// The targets of all groups.
struct Targets {
    file: PathBuf,
    groups: Vec<Group>,
    exact: BTreeMap<String, usize>,
    /// Tried in the order of the pattern text, as the library does.
    patterns: BTreeMap<String, (Regex, usize)>,
}

/// The quantized layers of a folder.
pub(super) fn layers(
    file: &Path,
    config: &Value,
    folder: &TensorFolder,
) -> Result<BTreeMap<String, StoredLayer>, FormatError> {
    let targets = Targets::parse(file, config)?;
    let mut names = BTreeSet::new();
    for name in folder.names() {
        let packed = name.strip_suffix(&format!(".{WEIGHT_PACKED}"));
        let scaled = name
            .strip_suffix(&format!(".{WEIGHT_SCALE}"))
            .filter(|layer| folder.info(&format!("{layer}.{WEIGHT}")).is_some());
        names.extend(packed.or(scaled));
    }
    let stored = names.into_iter().map(|layer| {
        let files = LayerFiles { folder, layer };
        Ok((layer.to_owned(), targets.stored_layer(files)?))
    });
    stored.collect()
}

/// Reads one layer, packed or plain.
pub(super) fn decode(
    folder: &TensorFolder,
    layer: &str,
    stored: &StoredLayer,
) -> Result<QuantizedTensor, FormatError> {
    let files = LayerFiles { folder, layer };
    let (scheme, rows, cols) = (&stored.scheme, stored.rows, stored.cols);
    let grid = if files.info(WEIGHT_PACKED).is_some() {
        uniform::decode(files, scheme, rows, cols)?
    } else {
        let codes = files.signed_bytes(WEIGHT, &[rows, cols])?;
        uniform::finish(files, scheme, rows, cols, codes)?
    };
    files.checked(QuantizedTensor {
        rows,
        cols,
        encoding: Encoding::Uniform(grid),
        outliers: None,
    })
}

impl Targets {
    fn parse(file: &Path, config: &Value) -> Result<Self, FormatError> {
        let mut targets = Self {
            file: file.to_path_buf(),
            groups: Vec::new(),
            exact: BTreeMap::new(),
            patterns: BTreeMap::new(),
        };
        let groups = config.get("config_groups").and_then(Value::as_object);
        let groups = groups.ok_or_else(|| {
            let found = config.get("config_groups").unwrap_or(&Value::Null);
            targets.refuse("config_groups", "a table of groups", found)
        })?;
        for (name, group) in groups {
            targets.add(name, group)?;
        }
        Ok(targets)
    }

    fn add(&mut self, name: &str, group: &Value) -> Result<(), FormatError> {
        let place = || format!("config_groups.{name}");
        let json = |source| FormatError::Json {
            file: self.file.clone(),
            source,
        };
        let (names, weights, inputs) = if group.is_array() {
            if name.eq_ignore_ascii_case("UNQUANTIZED") {
                return Ok(());
            }
            let names = Vec::<String>::deserialize(group).map_err(json)?;
            let (weights, inputs) = presets::weights(name)
                .ok_or_else(|| self.refuse(&place(), "a preset of integer weights", group))?;
            (names, Some(weights), inputs)
        } else {
            let group = GroupJson::deserialize(group).map_err(json)?;
            (group.targets, group.weights, group.input_activations)
        };
        // A group without weights quantizes activations only.
        let Some(weights) = weights else {
            return Ok(());
        };
        let index = self.groups.len();
        for target in names {
            if let Some(pattern) = target.strip_prefix("re:") {
                let regex = Regex::new(&format!("^(?:{pattern})")).map_err(|error| {
                    let found = Value::from(format!("{target} ({error})"));
                    self.refuse(
                        &format!("{}.targets", place()),
                        "a regular expression",
                        &found,
                    )
                })?;
                self.patterns.entry(target).or_insert((regex, index));
            } else {
                self.exact.entry(target).or_insert(index);
            }
        }
        self.groups.push(Group {
            name: name.to_owned(),
            weights,
            inputs,
        });
        Ok(())
    }

    /// The group of a module: by exact name, else by the first pattern, else by class.
    fn group_of(&self, layer: &str) -> Result<&Group, FormatError> {
        let mut found = self.exact.get(layer).copied();
        for (target, (pattern, group)) in &self.patterns {
            if found.is_some() {
                break;
            }
            let matches = pattern.is_match(layer).map_err(|error| {
                let text = Value::from(format!("{target} ({error})"));
                self.refuse(
                    "targets",
                    "a regular expression that ends on module names",
                    &text,
                )
            })?;
            found = matches.then_some(*group);
        }
        // The files do not say which class a module is of; quantized ones are linear layers unless
        // the only class named is another one.
        let class = || {
            let is_class = |target: &&String| target.starts_with(char::is_uppercase);
            let mut classes = self.exact.keys().filter(is_class);
            let first = classes.next()?;
            self.exact
                .get("Linear")
                .or_else(|| self.exact.get(first))
                .copied()
        };
        let one_sided = || FormatError::OneSided {
            layer: layer.to_owned(),
            present: "the weight files",
            absent: "the targets of `quantization_config`",
        };
        found
            .or_else(class)
            .map(|group| &self.groups[group])
            .ok_or_else(one_sided)
    }

    fn stored_layer(&self, files: LayerFiles<'_>) -> Result<StoredLayer, FormatError> {
        let group = self.group_of(files.layer)?;
        let unsupported = |what: String| FormatError::Unsupported {
            layer: files.layer.to_owned(),
            source: Unsupported {
                format: "compressed-tensors",
                what,
                stores: "integer grids per tensor, channel or group, and inputs as integers per token or by one stored scale, as far as they are read here",
            },
        };
        let weights = &group.weights;
        if weights.kind != "int" {
            return Err(unsupported(format!(
                "{}-bit {} weights",
                weights.num_bits, weights.kind
            )));
        }
        let granularity = weights
            .granularity()
            .map_err(|what| unsupported(format!("{what} in group `{}`", group.name)))?;
        let (rows, cols) = if files.info(WEIGHT_PACKED).is_some() {
            let (rows, cols) = files.matrix_shape()?;
            self.check_packing(files, weights.num_bits, cols)?;
            (rows, cols)
        } else {
            plain_shape(files)?
        };
        let scheme = Scheme {
            method: UNKNOWN_METHOD.to_owned(),
            kind: SchemeKind::Uniform,
            bits: weights.num_bits,
            granularity,
            symmetric: weights.symmetric,
            column_groups: has_column_groups(files, cols)?,
            outliers: false,
            transposed: false,
            inputs: match &group.inputs {
                Some(inputs) => Some(inputs.input_grid().map_err(unsupported)?),
                None => None,
            },
        };
        Ok(StoredLayer { scheme, rows, cols })
    }

    /// Until 0.17 a word held whole values only; say so instead of complaining about a shape.
    fn check_packing(
        &self,
        files: LayerFiles<'_>,
        bits: u8,
        cols: usize,
    ) -> Result<(), FormatError> {
        let Some(TensorInfo { shape, .. }) = files.info(WEIGHT_PACKED) else {
            return Ok(());
        };
        let (Some(&width), 1..=8) = (shape.last(), bits) else {
            return Ok(());
        };
        let whole_values = cols.div_ceil(usize::from(32 / bits));
        if width == crate::pack::words(cols, bits) || width != whole_values {
            return Ok(());
        }
        Err(FormatError::Config {
            file: self.file.clone(),
            place: format!("layer `{}`", files.layer),
            expected: "the dense packing of compressed-tensors 0.18 or later".into(),
            found: format!("{} values in each word", 32 / bits),
        })
    }

    fn refuse(&self, place: &str, expected: &str, found: &Value) -> FormatError {
        FormatError::Config {
            file: self.file.clone(),
            place: place.to_owned(),
            expected: expected.to_owned(),
            found: format!("`{found}`"),
        }
    }
}

/// Whether the groups of a layer are listed column by column; the library marks a list that is not
/// used with -1.
fn has_column_groups(files: LayerFiles<'_>, cols: usize) -> Result<bool, FormatError> {
    if files.info(WEIGHT_G_IDX).is_none() {
        return Ok(false);
    }
    Ok(!files.words(WEIGHT_G_IDX, &[cols])?.contains(&u32::MAX))
}

/// `[out, in]` of a plain int8 weight.
fn plain_shape(files: LayerFiles<'_>) -> Result<(usize, usize), FormatError> {
    let name = files.name(WEIGHT);
    let info = files.folder.require(&name)?;
    match info.shape[..] {
        _ if info.dtype != Dtype::I8 => Err(FormatError::TensorType {
            name,
            expected: "I8",
            found: info.dtype,
        }),
        [rows, cols] if believable(rows, cols) => Ok((rows, cols)),
        _ => Err(FormatError::BadMatrix {
            name,
            shape: info.shape.clone(),
        }),
    }
}
