//! Integer tensors of a program, and moving long arrays out of its JSON into them.

use super::error::ProgramError;
use serde_json::{Map, Number, Value, json};
use std::collections::BTreeMap;

/// Arrays up to this length stay in the JSON.
const INLINE: usize = 16;
/// Key of an object that stands for an array kept as a tensor.
const REFERENCE: &str = "$tensor";

/// Values of an integer tensor in the narrowest type that holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntegerData {
    /// 8 bits with sign.
    I8(Vec<i8>),
    /// 8 bits.
    U8(Vec<u8>),
    /// 16 bits with sign.
    I16(Vec<i16>),
    /// 32 bits with sign.
    I32(Vec<i32>),
    /// 64 bits with sign.
    I64(Vec<i64>),
}

/// A named block of integers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegerTensor {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub data: IntegerData,
}

impl IntegerTensor {
    /// A vector in the narrowest type.
    pub fn narrowest(values: &[i64]) -> Self {
        let low = values.iter().copied().min().unwrap_or(0);
        let high = values.iter().copied().max().unwrap_or(0);
        let fits = |min: i64, max: i64| low >= min && high <= max;
        let data = if fits(i64::from(i8::MIN), i64::from(i8::MAX)) {
            IntegerData::I8(cast(values))
        } else if fits(0, i64::from(u8::MAX)) {
            IntegerData::U8(cast(values))
        } else if fits(i64::from(i16::MIN), i64::from(i16::MAX)) {
            IntegerData::I16(cast(values))
        } else if fits(i64::from(i32::MIN), i64::from(i32::MAX)) {
            IntegerData::I32(cast(values))
        } else {
            IntegerData::I64(values.to_vec())
        };
        Self {
            shape: vec![values.len()],
            data,
        }
    }

    /// The values, widened.
    pub fn values(&self) -> Vec<i64> {
        match &self.data {
            IntegerData::I8(values) => values.iter().map(|&v| i64::from(v)).collect(),
            IntegerData::U8(values) => values.iter().map(|&v| i64::from(v)).collect(),
            IntegerData::I16(values) => values.iter().map(|&v| i64::from(v)).collect(),
            IntegerData::I32(values) => values.iter().map(|&v| i64::from(v)).collect(),
            IntegerData::I64(values) => values.clone(),
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn cast<T: TryFrom<i64>>(values: &[i64]) -> Vec<T> {
    values
        .iter()
        .filter_map(|&value| T::try_from(value).ok())
        .collect()
}

/// Replaces every long array of integers in `value` by `{"$tensor": NAME}` and adds it to
/// `tensors`. Names follow the place in the document: `PREFIX.key.key`.
pub fn hoist(value: Value, prefix: &str, tensors: &mut BTreeMap<String, IntegerTensor>) -> Value {
    match value {
        Value::Object(fields) => {
            let moved = fields.into_iter().map(|(key, inner)| {
                let place = format!("{prefix}.{key}");
                (key, hoist(inner, &place, tensors))
            });
            Value::Object(moved.collect::<Map<_, _>>())
        }
        Value::Array(items) => {
            let integers: Option<Vec<i64>> = items.iter().map(Value::as_i64).collect();
            match integers {
                Some(integers) if integers.len() > INLINE => {
                    tensors.insert(prefix.to_owned(), IntegerTensor::narrowest(&integers));
                    json!({ REFERENCE: prefix })
                }
                Some(_) => Value::Array(items),
                None => Value::Array(
                    items
                        .into_iter()
                        .enumerate()
                        .map(|(at, item)| hoist(item, &format!("{prefix}.{at}"), tensors))
                        .collect(),
                ),
            }
        }
        other => other,
    }
}

/// Puts the arrays back that [`hoist`] took out.
///
/// # Errors
/// A tensor that cannot be read.
pub fn restore(
    value: Value,
    tensor: &dyn Fn(&str) -> Result<IntegerTensor, ProgramError>,
) -> Result<Value, ProgramError> {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(name)) = fields.get(REFERENCE) {
                let values = tensor(name)?.values();
                let numbers = values.into_iter().map(|v| Value::Number(Number::from(v)));
                return Ok(Value::Array(numbers.collect()));
            }
            let inner = fields
                .into_iter()
                .map(|(key, inner)| Ok((key, restore(inner, tensor)?)));
            Ok(Value::Object(
                inner.collect::<Result<Map<_, _>, ProgramError>>()?,
            ))
        }
        Value::Array(items) => {
            let items = items.into_iter().map(|item| restore(item, tensor));
            Ok(Value::Array(items.collect::<Result<_, _>>()?))
        }
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_arrays_move_out_and_back() {
        let long: Vec<i64> = (0..40).map(|i| i * 1000 - 7).collect();
        let document =
            json!({ "a": { "b": long, "c": [1, 2] }, "d": [{ "e": vec![3; 20] }], "f": "x" });
        let mut tensors = BTreeMap::new();
        let short = hoist(document.clone(), "p", &mut tensors);
        assert_eq!(short["a"]["b"], json!({ "$tensor": "p.a.b" }));
        assert_eq!(tensors.len(), 2);
        assert!(matches!(tensors["p.a.b"].data, IntegerData::I32(_)));
        assert!(matches!(tensors["p.d.0.e"].data, IntegerData::I8(_)));
        let back = restore(short, &|name| Ok(tensors[name].clone())).unwrap();
        assert_eq!(back, document);
    }

    #[test]
    fn the_narrowest_type_is_taken() {
        let kind = |values: &[i64]| IntegerTensor::narrowest(values).data;
        assert!(matches!(kind(&[-128, 127]), IntegerData::I8(_)));
        assert!(matches!(kind(&[0, 255]), IntegerData::U8(_)));
        assert!(matches!(kind(&[-1, 255]), IntegerData::I16(_)));
        assert!(matches!(kind(&[0, 1 << 31]), IntegerData::I64(_)));
    }
}
