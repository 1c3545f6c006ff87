//! Tensors of a fitted layer: what an artifact keeps, and what is checked when it is read back.

use super::error::CacheError;
use half::f16;

/// A tensor of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheTensor {
    /// Name without a prefix for the layer, e.g. `k_lut`.
    pub name: String,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: CacheValues,
}

/// Values of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum CacheValues {
    /// 16-bit floats.
    F16(Vec<f16>),
    /// 32-bit floats.
    F32(Vec<f32>),
}

impl CacheValues {
    fn len(&self) -> usize {
        match self {
            Self::F16(values) => values.len(),
            Self::F32(values) => values.len(),
        }
    }
}

impl CacheTensor {
    /// A tensor of 32-bit floats.
    pub fn f32(name: impl Into<String>, shape: Vec<usize>, values: Vec<f32>) -> Self {
        Self {
            name: name.into(),
            shape,
            values: CacheValues::F32(values),
        }
    }

    /// A tensor of 16-bit floats.
    pub fn f16(name: impl Into<String>, shape: Vec<usize>, values: Vec<f16>) -> Self {
        Self {
            name: name.into(),
            shape,
            values: CacheValues::F16(values),
        }
    }

    fn form(&self) -> String {
        let kind = match self.values {
            CacheValues::F16(_) => "F16",
            CacheValues::F32(_) => "F32",
        };
        format!("{kind} {:?} with {} values", self.shape, self.values.len())
    }
}

/// The tensors of a layer, each of which has to be asked for.
#[derive(Debug)]
pub(super) struct Reader<'t> {
    tensors: Vec<&'t CacheTensor>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(tensors: &'t [CacheTensor]) -> Self {
        Self {
            tensors: tensors.iter().collect(),
        }
    }

    fn take(&mut self, name: &str) -> Result<&'t CacheTensor, CacheError> {
        match self.tensors.iter().position(|tensor| tensor.name == name) {
            Some(at) => Ok(self.tensors.swap_remove(at)),
            None => Err(CacheError::MissingTensor(name.to_owned())),
        }
    }

    /// Finite 32-bit floats of `shape`.
    pub(super) fn f32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CacheError> {
        let tensor = self.take(name)?;
        match &tensor.values {
            CacheValues::F32(values) if is_shaped(tensor, shape) => {
                require(name, values, "a finite number", f32::is_finite)?;
                Ok(values.clone())
            }
            _ => Err(form_error(tensor, "F32", shape)),
        }
    }

    /// Finite 16-bit floats of `shape`.
    pub(super) fn f16(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f16>, CacheError> {
        let tensor = self.take(name)?;
        match &tensor.values {
            CacheValues::F16(values) if is_shaped(tensor, shape) => {
                let wide: Vec<f32> = values.iter().map(|value| value.to_f32()).collect();
                require(name, &wide, "a finite number", f32::is_finite)?;
                Ok(values.clone())
            }
            _ => Err(form_error(tensor, "F16", shape)),
        }
    }

    /// Positive 32-bit floats of `shape`.
    pub(super) fn scales(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CacheError> {
        let values = self.f32(name, shape)?;
        require(name, &values, "a number above 0", |value| value > 0.0)?;
        Ok(values)
    }

    /// An ascending table of 32-bit floats.
    pub(super) fn table(&mut self, name: &str, entries: usize) -> Result<Vec<f32>, CacheError> {
        let values = self.f32(name, &[entries])?;
        match values.windows(2).position(|pair| pair[0] > pair[1]) {
            None => Ok(values),
            Some(at) => Err(CacheError::TensorValue {
                name: name.to_owned(),
                at: at + 1,
                expected: "no less than the value before",
                found: values[at + 1],
            }),
        }
    }

    /// Refuses tensors that nobody asked for.
    pub(super) fn finish(self) -> Result<(), CacheError> {
        match self.tensors.first() {
            None => Ok(()),
            Some(tensor) => Err(CacheError::UnknownTensor(tensor.name.clone())),
        }
    }
}

fn is_shaped(tensor: &CacheTensor, shape: &[usize]) -> bool {
    tensor.shape == shape && tensor.values.len() == shape.iter().product::<usize>()
}

fn form_error(tensor: &CacheTensor, kind: &str, shape: &[usize]) -> CacheError {
    CacheError::TensorForm {
        name: tensor.name.clone(),
        expected: format!("{kind} {shape:?}"),
        found: tensor.form(),
    }
}

fn require(
    name: &str,
    values: &[f32],
    expected: &'static str,
    holds: impl Fn(f32) -> bool,
) -> Result<(), CacheError> {
    match values.iter().position(|value| !holds(*value)) {
        None => Ok(()),
        Some(at) => Err(CacheError::TensorValue {
            name: name.to_owned(),
            at,
            expected,
            found: values[at],
        }),
    }
}
