//! An integer program in an artifact, and the way back.
//!
//! An integer-only artifact is a folder of the format `quench` (`quench.rs`) with more in it:
//!
//! | what | where |
//! |---|---|
//! | `"integer_program": "integer_program.json"` | `quantization_config` of `config.json` |
//! | `"replaced_tensors": { name: shape }` | there, too: the checkpoint's tensors that are not in the folder because the program does what they did |
//! | operations, buffers, input and output | `integer_program.json`, described in [`crate::integer::program`] |
//! | tables, biases, multipliers, embeddings | safetensors entries `integer_program.*` of type I8, U8, I16, I32 or I64 |
//! | codes and scales of linear layers | as in every artifact: `NAME.weight_packed`, `NAME.weight_scale`, ... |
//!
//! The scales of the layers are the only floats, and nothing that runs reads them: they say what the
//! codes meant before the program was compiled. A layer may differ from the checkpoint's by a factor
//! per input (equalisation); the program accounts for it.
//!
//! A reader: take the codes of every layer, put the tensors that the JSON names (`{"$tensor": NAME}`)
//! in its place, run the operations in order. A real input is turned into codes by the program's
//! `input`, a code of the result into a real number by the factor of its `output`.

use super::layer_files::type_error;
use super::tensor_folder::PROGRAM_FILE;
use super::{ArtifactReader, ArtifactWriter, Dtype, FormatError};
use crate::integer::{IntegerData, IntegerTensor, Program, ProgramError};
use crate::tensor::Encoding;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Its key in `quantization_config`.
const PROGRAM_KEY: &str = "integer_program";
/// Key of the shapes of tensors the program replaces.
const REPLACED_KEY: &str = "replaced_tensors";
/// Largest program that is read; long arrays are tensors, so real ones are far smaller.
const PROGRAM_LIMIT: u64 = 256 << 20;

/// What `quantization_config` says of a program that replaces tensors of these shapes.
pub(super) fn configuration(replaced: &BTreeMap<String, Vec<usize>>) -> Map<String, Value> {
    [
        (PROGRAM_KEY.to_owned(), json!(PROGRAM_FILE)),
        (REPLACED_KEY.to_owned(), json!(replaced)),
    ]
    .into_iter()
    .collect()
}

impl ArtifactWriter {
    /// Writes `program` and its integer tensors; the layers it reads are written by
    /// [`ArtifactWriter::layer`]. `replaced` are the checkpoint's tensors that are left out.
    ///
    /// # Errors
    /// A format without integer programs, a name written before, a full disk.
    pub fn integer_program(
        &mut self,
        program: &Program,
        replaced: &BTreeMap<String, Vec<usize>>,
    ) -> Result<(), FormatError> {
        self.require_integer_programs()?;
        let (document, tensors) = program.to_parts();
        for (name, tensor) in &tensors {
            let (dtype, bytes) = stored(&tensor.data);
            self.passthrough(name, dtype, &tensor.shape, bytes)?;
        }
        self.file(PROGRAM_FILE, format!("{document:#}\n").as_bytes())?;
        self.configure_with(configuration(replaced));
        Ok(())
    }
}

impl ArtifactReader {
    /// Whether the folder holds an integer program instead of float tensors.
    pub fn is_integer_only(&self) -> bool {
        self.quantization(PROGRAM_KEY).is_some()
    }

    /// Shapes of the checkpoint's tensors that are not here, as the program replaces them.
    pub fn replaced_tensors(&self) -> BTreeMap<String, Vec<usize>> {
        let shapes = self.quantization(REPLACED_KEY).and_then(Value::as_object);
        let shape = |value: &Value| -> Option<Vec<usize>> {
            let sides = value.as_array()?.iter();
            sides
                .map(|side| side.as_u64().and_then(|side| usize::try_from(side).ok()))
                .collect()
        };
        shapes
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), shape(value)?)))
            .collect()
    }

    /// The integer program, with the codes of its layers; nothing where there is none.
    ///
    /// # Errors
    /// A program that is missing, damaged, of another version, or that does not fit its tensors.
    pub fn integer_program(&self) -> Result<Option<Program>, FormatError> {
        let Some(name) = self.quantization(PROGRAM_KEY) else {
            return Ok(None);
        };
        let file = self.folder().origin().join(PROGRAM_FILE);
        // The name of another file could point anywhere.
        if name.as_str() != Some(PROGRAM_FILE) {
            return Err(FormatError::Config {
                file: self.folder().origin().join("config.json"),
                place: PROGRAM_KEY.to_owned(),
                expected: format!("`{PROGRAM_FILE}`"),
                found: name.to_string(),
            });
        }
        let io = |source| FormatError::io("read", &file, source);
        if fs_err::metadata(&file).map_err(io)?.len() > PROGRAM_LIMIT {
            return Err(io(std::io::ErrorKind::FileTooLarge.into()));
        }
        let text = fs_err::read(&file).map_err(io)?;
        let document = serde_json::from_slice(&text).map_err(|source| FormatError::Json {
            file: file.clone(),
            source,
        })?;
        let tensor = |name: &str| {
            self.integer_tensor(name)
                .map_err(|source| unreadable(name, source))
        };
        let layer = |name: &str| self.codes(name).map_err(|source| unreadable(name, source));
        Program::read(&document, &tensor, &layer)
            .map(Some)
            .map_err(|source| FormatError::Program {
                file,
                source: Box::new(source),
            })
    }

    /// A tensor of integers.
    ///
    /// # Errors
    /// No such tensor, or one of floats.
    pub fn integer_tensor(&self, name: &str) -> Result<IntegerTensor, FormatError> {
        let (dtype, shape, bytes) = self.raw(name)?;
        let data = read(dtype, &bytes)
            .ok_or_else(|| type_error(name.to_owned(), "I8, U8, I16, I32 or I64", dtype))?;
        Ok(IntegerTensor {
            shape: shape.to_vec(),
            data,
        })
    }

    /// Rows, columns and codes of a quantized layer.
    fn codes(&self, layer: &str) -> Result<(usize, usize, Vec<i8>), FormatError> {
        let tensor = self.layer(layer)?;
        match tensor.encoding {
            Encoding::Uniform(grid)
                if grid.zero_points.is_none()
                    && grid.float_zero_points.is_none()
                    && tensor.outliers.is_none() =>
            {
                Ok((tensor.rows, tensor.cols, grid.codes))
            }
            _ => Err(FormatError::Scheme {
                layer: layer.to_owned(),
            }),
        }
    }

    fn quantization(&self, key: &str) -> Option<&Value> {
        self.config()
            .get("quantization_config")?
            .get(key)
            .filter(|value| !value.is_null())
    }
}

fn unreadable(name: &str, source: FormatError) -> ProgramError {
    ProgramError::Tensor {
        name: name.to_owned(),
        source: Box::new(source),
    }
}

/// Type and bytes as a file holds them.
fn stored(data: &IntegerData) -> (Dtype, &[u8]) {
    match data {
        IntegerData::I8(values) => (Dtype::I8, bytemuck::cast_slice(values)),
        IntegerData::U8(values) => (Dtype::U8, values),
        IntegerData::I16(values) => (Dtype::I16, bytemuck::cast_slice(values)),
        IntegerData::I32(values) => (Dtype::I32, bytemuck::cast_slice(values)),
        IntegerData::I64(values) => (Dtype::I64, bytemuck::cast_slice(values)),
    }
}

/// Values of `dtype` from a file; nothing for types that are no integers of these.
fn read(dtype: Dtype, bytes: &[u8]) -> Option<IntegerData> {
    Some(match dtype {
        Dtype::I8 => IntegerData::I8(bytes.iter().map(|byte| byte.cast_signed()).collect()),
        Dtype::U8 => IntegerData::U8(bytes.to_vec()),
        Dtype::I16 => {
            let words = bytes.as_chunks::<2>().0.iter();
            IntegerData::I16(words.map(|word| i16::from_le_bytes(*word)).collect())
        }
        Dtype::I32 => {
            let words = bytes.as_chunks::<4>().0.iter();
            IntegerData::I32(words.map(|word| i32::from_le_bytes(*word)).collect())
        }
        Dtype::I64 => {
            let words = bytes.as_chunks::<8>().0.iter();
            IntegerData::I64(words.map(|word| i64::from_le_bytes(*word)).collect())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
