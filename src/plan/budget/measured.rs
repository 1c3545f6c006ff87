//! The file that `quench measure` writes: every option of every layer with its exact size and its scores. It serves any
//! budget of the same model and options.

use crate::plan::PlannedTransform;
use calib::sampling::{Selection, Template, TextMode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the keys below; a reader refuses others.
pub const MEASURED_VERSION: u32 = 1;

/// Scores of the options of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// [`MEASURED_VERSION`]; names the kind of file too.
    pub quench_measured: u32,
    /// Version of the program.
    pub program: String,
    /// The model.
    pub model: MeasuredModel,
    /// What was measured on; absent where nothing had to be.
    pub calibration: Option<MeasuredCalibration>,
    /// Seed of everything random.
    pub seed: u64,
    /// How blocks were rewritten first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<PlannedTransform>,
    /// Registry name of the format that sizes are of.
    pub format: String,
    /// Kinds of the scores.
    pub sensitivities: Vec<String>,
    /// Every option of some layer.
    pub options: Vec<MeasuredOption>,
    /// In execution order.
    pub layers: Vec<MeasuredLayer>,
    /// How the kinds of scores rank the options, where KL divergences were measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub correlations: Vec<Correlation>,
}

/// Scores at hand.
#[derive(Debug, Clone)]
pub struct Scores {
    /// What was measured.
    pub measured: Measured,
    /// Where it was read from or written to.
    pub file: String,
    /// Of the model it is to be used for.
    pub fingerprint: String,
}

/// Which model was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredModel {
    /// `org/name`, the folder, or `demo`.
    pub name: String,
    /// Hash of its configuration, its tensors' names, types and shapes, and samples of their bytes.
    pub fingerprint: String,
}

/// What was measured on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredCalibration {
    /// A path, `hub:...` or `synthetic`.
    pub data: String,
    /// Sequences or images wanted.
    pub samples: usize,
    /// Tokens of one sequence; 0 for images.
    pub sequence_length: usize,
    /// How text becomes sequences.
    pub mode: TextMode,
    /// Which of them are taken.
    pub selection: Selection,
    /// What conversations become.
    pub template: Template,
}

/// A method and its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredOption {
    /// Registry name of the method.
    pub method: String,
    /// Its parameters.
    pub parameters: toml::Table,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredLayer {
    /// Module name.
    pub name: String,
    /// `[out, in]`.
    pub shape: [usize; 2],
    /// What it can become.
    pub options: Vec<OptionScore>,
}

/// One option of one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptionScore {
    /// Position in [`Measured::options`].
    pub option: usize,
    /// Everything a file holds for it.
    pub bits: u64,
    /// Values in its sparse part.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub outliers: usize,
    /// Interquartile-range factor that its sparse part was found with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier_factor: Option<f64>,
    /// Weight SQNR; absent where nothing was lost.
    pub sqnr_db: Option<f64>,
    /// By kind.
    pub scores: BTreeMap<String, f64>,
}

/// How one kind of scores ranks the options against measured KL divergences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correlation {
    /// The kind.
    pub sensitivity: String,
    /// Spearman rank correlation over all options of all layers; absent where either side is constant.
    pub spearman: Option<f64>,
    /// The same over the layers, for each option on its own, averaged over options.
    pub spearman_of_layers: Option<f64>,
    /// Options of layers compared.
    pub pairs: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Measured {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// Text that is no file of this version.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        match value
            .get("quench_measured")
            .and_then(serde_json::Value::as_u64)
        {
            Some(version) if version == u64::from(MEASURED_VERSION) => {}
            Some(version) => {
                return Err(format!(
                    "expected version {MEASURED_VERSION} of the file, found {version}"
                ));
            }
            None => return Err("expected a file that `quench measure` wrote".to_owned()),
        }
        let measured: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let count = measured.options.len();
        for layer in &measured.layers {
            let unknown = layer.options.iter().find(|score| score.option >= count);
            if let Some(score) = unknown {
                return Err(format!(
                    "`{}` has option {}, and there are {count}",
                    layer.name, score.option
                ));
            }
        }
        Ok(measured)
    }

    /// The scores of the layer `name` with an option.
    pub fn find(&self, name: &str, method: &str, parameters: &toml::Table) -> Option<&OptionScore> {
        let layer = self.layers.iter().find(|layer| layer.name == name)?;
        layer.options.iter().find(|score| {
            let option = &self.options[score.option];
            option.method == method && option.parameters == *parameters
        })
    }
}

impl MeasuredCalibration {
    /// Whether both are the same data in the same form, wherever it lies.
    pub fn is_as(&self, other: &Self) -> bool {
        let file = |data: &str| data.rsplit(['/', '\\']).next().map(str::to_owned);
        let without = |calibration: &Self| Self {
            data: String::new(),
            ..calibration.clone()
        };
        file(&self.data) == file(&other.data) && without(self) == without(other)
    }
}
