//! Integer programs: operations over buffers, in order, with everything they need.
//!
//! On disk a program is `integer_program.json` beside the safetensors of the artifact. Short
//! constants are numbers in the JSON; long arrays (tables, biases, multipliers, embeddings) are
//! integer tensors that the JSON names as `{"$tensor": NAME}`. Weights of linear layers are not
//! among them: they are the artifact's quantized layers, whose codes the program reads.
//!
//! ```text
//! { "version": 1,
//!   "input":  { "tokens": { vocabulary, max_tokens } } or { "pixels": { image, factors, zero_points } },
//!   "buffers": [ { name, width, element } ],
//!   "operations": [ { "kind": NAME, "constants": { .. } } ],
//!   "output": { kind, width, factor, buffer } }
//! ```
//! A real value is `code * factor`, a factor being `multiplier / 2^shift`.

use super::bounds::{Bounds, expect};
use super::buffer::Buffer;
use super::error::{OperationError, ProgramError};
use super::interface::{ProgramInput, ProgramOutput};
use super::interval::Interval;
use super::operation::Operation;
use super::ops;
use super::tensor::{IntegerData, IntegerTensor, hoist, restore};
use super::weights::Weights;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Version written, and the only one read.
pub const VERSION: u32 = 1;
/// Prefix of the names of integer tensors.
const PREFIX: &str = "integer_program";
/// Prefix of the names of 8-bit tables that are not layers of the artifact.
pub const TABLE_PREFIX: &str = "integer_program.table.";

/// Returns rows, columns and codes of a quantized layer.
pub type LayerCodes<'a> = dyn Fn(&str) -> Result<(usize, usize, Vec<i8>), ProgramError> + 'a;

/// A compiled model: integers only.
#[derive(Debug)]
pub struct Program {
    /// What it is fed with.
    pub input: ProgramInput,
    /// The buffers its operations read and write.
    pub buffers: Vec<Buffer>,
    /// In order.
    pub operations: Vec<Box<dyn Operation>>,
    /// Codes of the linear layers, by layer name.
    pub weights: BTreeMap<String, Weights>,
    /// What comes out.
    pub output: ProgramOutput,
}

/// The document without its operations.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    input: ProgramInput,
    buffers: Vec<Buffer>,
    operations: Vec<Entry>,
    output: ProgramOutput,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kind: String,
    constants: Value,
}

impl Program {
    /// The document and the integer tensors it names.
    pub fn to_parts(&self) -> (Value, BTreeMap<String, IntegerTensor>) {
        let tables = self
            .weights
            .iter()
            .filter(|(name, _)| name.starts_with(TABLE_PREFIX));
        let mut tensors: BTreeMap<String, IntegerTensor> = tables
            .map(|(name, weights)| {
                let tensor = IntegerTensor {
                    shape: vec![weights.rows, weights.cols],
                    data: IntegerData::I8(weights.codes.to_vec()),
                };
                (name.clone(), tensor)
            })
            .collect();
        let entries = self.operations.iter().enumerate().map(|(at, operation)| {
            let place = format!("{PREFIX}.{at}.{}", operation.kind());
            let constants = hoist(operation.constants(), &place, &mut tensors);
            json!({ "kind": operation.kind(), "constants": constants })
        });
        let entries: Vec<Value> = entries.collect();
        let document = json!({
            "version": VERSION,
            "input": self.input,
            "buffers": self.buffers,
            "operations": entries,
            "output": self.output,
        });
        (document, tensors)
    }

    /// `integer_program.json`.
    pub fn to_json(&self) -> Value {
        self.to_parts().0
    }

    /// The integer tensors the document names.
    pub fn tensors(&self) -> Vec<(String, IntegerTensor)> {
        self.to_parts().1.into_iter().collect()
    }

    /// Reads a document; `tensor` and `layer` find what the names in it stand for.
    ///
    /// # Errors
    /// A document of another version or shape, an operation this version does not know, a tensor or
    /// layer that cannot be read, constants that do not fit together, a value that could overflow.
    pub fn read(
        document: &Value,
        tensor: &dyn Fn(&str) -> Result<IntegerTensor, ProgramError>,
        layer: &LayerCodes<'_>,
    ) -> Result<Self, ProgramError> {
        let version = document.get("version").unwrap_or(&Value::Null);
        if version.as_u64() != Some(u64::from(VERSION)) {
            return Err(ProgramError::Place {
                place: "version".to_owned(),
                expected: VERSION.to_string(),
                found: version.to_string(),
            });
        }
        let json = |place: &str| {
            let place = place.to_owned();
            move |source| ProgramError::Json { place, source }
        };
        let document = Document::deserialize(document).map_err(json("program"))?;
        let mut operations = Vec::with_capacity(document.operations.len());
        let mut weights = BTreeMap::new();
        for (at, entry) in document.operations.into_iter().enumerate() {
            let place = format!("operations.{at}");
            let constants = restore(entry.constants, tensor)?;
            let kind = ops::find(&entry.kind).ok_or_else(|| ProgramError::Place {
                place: format!("{place}.kind"),
                expected: ops::names(),
                found: format!("`{}`", entry.kind),
            })?;
            let operation = (kind.read)(constants).map_err(json(&place))?;
            for name in operation.layers() {
                if !weights.contains_key(name) {
                    let read = if name.starts_with(TABLE_PREFIX) {
                        table(name, tensor(name)?)?
                    } else {
                        let (rows, cols, codes) = layer(name)?;
                        Weights::new(rows, cols, codes)
                    };
                    weights.insert(name.to_owned(), read);
                }
            }
            operations.push(operation);
        }
        let program = Self {
            input: document.input,
            buffers: document.buffers,
            operations,
            weights,
            output: document.output,
        };
        program.check()?;
        Ok(program)
    }

    /// Proves that operations, buffers and weights fit together and that no value can overflow.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(&self) -> Result<(), ProgramError> {
        self.intervals().map(drop)
    }

    /// Intervals of all buffers after each operation.
    ///
    /// # Errors
    /// The first operation that does not fit or could overflow.
    pub fn intervals(&self) -> Result<Vec<Vec<Option<Interval>>>, ProgramError> {
        let mut bounds = Bounds::new(&self.buffers, &self.weights, &self.input);
        let mut after = Vec::with_capacity(self.operations.len());
        for (at, operation) in self.operations.iter().enumerate() {
            // Outputs are taken out of the frame while inputs are read.
            let inputs = operation.inputs();
            if let Some(buffer) = operation.outputs().iter().find(|out| inputs.contains(out)) {
                return Err(ProgramError::Place {
                    place: format!("operations.{at} ({})", operation.kind()),
                    expected: "outputs apart from inputs".to_owned(),
                    found: format!("buffer {buffer} in both"),
                });
            }
            operation
                .bounds(&mut bounds)
                .map_err(|error| at_operation(error, at, operation.kind()))?;
            after.push(bounds.intervals().to_vec());
        }
        let output = self.output.buffer;
        let written = bounds.interval(output).and_then(|_| {
            let width = bounds.buffer(output)?.width;
            expect("width of the output", width, self.output.width)
        });
        written.map_err(|error| ProgramError::Place {
            place: "output".to_owned(),
            expected: "a buffer that is written".to_owned(),
            found: error.to_string(),
        })?;
        Ok(after)
    }

    /// What it is fed with.
    pub fn input(&self) -> &ProgramInput {
        &self.input
    }

    /// What comes out.
    pub fn output(&self) -> &ProgramOutput {
        &self.output
    }
}

/// The error of operation `at` as one of its program.
fn at_operation(error: OperationError, at: usize, kind: &'static str) -> ProgramError {
    match error {
        OperationError::Width(source) => ProgramError::Width { at, kind, source },
        OperationError::Shape {
            what,
            expected,
            found,
        } => ProgramError::Place {
            place: format!("operations.{at} ({kind}): {what}"),
            expected,
            found,
        },
    }
}

/// A table as weights.
fn table(name: &str, tensor: IntegerTensor) -> Result<Weights, ProgramError> {
    match (tensor.shape.as_slice(), tensor.data) {
        (&[rows, cols], IntegerData::I8(codes)) if codes.len() == rows * cols => {
            Ok(Weights::new(rows, cols, codes))
        }
        (shape, _) => Err(ProgramError::Place {
            place: name.to_owned(),
            expected: "an I8 matrix".to_owned(),
            found: format!("shape {shape:?}"),
        }),
    }
}
