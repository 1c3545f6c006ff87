//! Typed access to config.json; every refusal names the key.

use crate::ModelError;
use quantizers::graph::Activation;
use serde_json::Value;

/// Largest count believed; products of two stay far from overflow.
const LARGEST_COUNT: u64 = 1 << 28;

/// One JSON object of a configuration.
#[derive(Debug, Clone, Copy)]
pub struct Config<'a> {
    value: &'a Value,
    /// Key of this object within config.json, empty for the whole file.
    parent: &'a str,
}

impl<'a> Config<'a> {
    /// The whole file.
    pub fn new(value: &'a Value) -> Self {
        Self { value, parent: "" }
    }

    /// An object that stands under `parent` in config.json.
    pub fn under(parent: &'a str, value: &'a Value) -> Self {
        Self { value, parent }
    }

    /// The value of `key`, whose dots lead into objects; null counts as absent.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.entry(key).filter(|value| !value.is_null())
    }

    /// Whether `key` is there at all, null included.
    pub fn mentions(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    fn entry(&self, key: &str) -> Option<&'a Value> {
        let mut keys = key.split('.');
        keys.try_fold(self.value, |value, key| value.get(key))
    }

    /// The object under `key`.
    ///
    /// # Errors
    /// Something other than an object.
    pub fn object(&self, key: &'a str) -> Result<Option<Config<'a>>, ModelError> {
        match self.get(key) {
            None => Ok(None),
            Some(value @ Value::Object(_)) => Ok(Some(Config { value, parent: key })),
            Some(other) => Err(self.refuse(key, "an object", other)),
        }
    }

    /// A positive integer.
    ///
    /// # Errors
    /// Absent, or another value.
    pub fn count(&self, key: &str) -> Result<usize, ModelError> {
        self.optional_count(key)?
            .ok_or_else(|| self.absent(key, "a positive integer"))
    }

    /// A positive integer, or `default` where it is absent.
    ///
    /// # Errors
    /// Another value.
    pub fn count_or(&self, key: &str, default: usize) -> Result<usize, ModelError> {
        Ok(self.optional_count(key)?.unwrap_or(default))
    }

    /// A positive integer, if present.
    ///
    /// # Errors
    /// Another value.
    pub fn optional_count(&self, key: &str) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        count(value)
            .map(Some)
            .ok_or_else(|| self.refuse(key, "a positive integer", value))
    }

    /// A list of positive integers.
    ///
    /// # Errors
    /// Absent, empty, or another value.
    pub fn counts(&self, key: &str) -> Result<Vec<usize>, ModelError> {
        let expected = "a list of positive integers";
        let value = self.get(key).ok_or_else(|| self.absent(key, expected))?;
        let counts = value.as_array().and_then(|counts| {
            let counts = counts.iter().map(count);
            counts.collect::<Option<Vec<usize>>>()
        });
        counts
            .filter(|counts| !counts.is_empty())
            .ok_or_else(|| self.refuse(key, expected, value))
    }

    /// `width` times the number under `key`, or `default` where it is absent, without the fraction.
    ///
    /// # Errors
    /// A number that is not positive, or a product that is less than one or too large.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the largest count"
    )]
    pub fn ratio_of(&self, key: &str, default: f64, width: usize) -> Result<usize, ModelError> {
        let ratio = self.positive_or(key, default)?;
        let product = ratio * width as f64;
        if (1.0..=LARGEST_COUNT as f64).contains(&product) {
            return Ok(product as usize);
        }
        let expected = format!("a number that makes a width of {width} times it");
        Err(self.error(key, &expected, &ratio.to_string()))
    }

    /// An integer from zero up, or `default` where it is absent.
    ///
    /// # Errors
    /// Another value.
    pub fn whole_or(&self, key: &str, default: usize) -> Result<usize, ModelError> {
        match self.get(key) {
            Some(value) if value.as_u64() == Some(0) => Ok(0),
            _ => self.count_or(key, default),
        }
    }

    /// A positive number, or `default` where it is absent.
    ///
    /// # Errors
    /// Another value.
    pub fn positive_or(&self, key: &str, default: f64) -> Result<f64, ModelError> {
        Ok(self.optional_positive(key)?.unwrap_or(default))
    }

    /// A positive number.
    ///
    /// # Errors
    /// Absent, or another value.
    pub fn positive(&self, key: &str) -> Result<f64, ModelError> {
        self.optional_positive(key)?
            .ok_or_else(|| self.absent(key, "a positive number"))
    }

    /// A positive number, if present.
    ///
    /// # Errors
    /// Another value.
    pub fn optional_positive(&self, key: &str) -> Result<Option<f64>, ModelError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_f64()
            .filter(|number| number.is_finite() && *number > 0.0)
            .map(Some)
            .ok_or_else(|| self.refuse(key, "a positive number", value))
    }

    /// A boolean, or `default` where it is absent.
    ///
    /// # Errors
    /// Another value.
    pub fn flag_or(&self, key: &str, default: bool) -> Result<bool, ModelError> {
        self.get(key).map_or(Ok(default), |value| {
            value
                .as_bool()
                .ok_or_else(|| self.refuse(key, "true or false", value))
        })
    }

    /// A string, or `default` where it is absent.
    ///
    /// # Errors
    /// Another value.
    pub fn text_or(&self, key: &str, default: &'a str) -> Result<&'a str, ModelError> {
        self.get(key).map_or(Ok(default), |value| {
            value
                .as_str()
                .ok_or_else(|| self.refuse(key, "a string", value))
        })
    }

    /// Refuses any value of `key` but `neutral`, the one that leaves the mathematics as implemented.
    ///
    /// # Errors
    /// Another value.
    pub fn only(&self, key: &str, neutral: &Value) -> Result<(), ModelError> {
        match self.get(key) {
            Some(value) if !same(value, neutral) => {
                Err(self.refuse(key, &format!("{neutral}"), value))
            }
            _ => Ok(()),
        }
    }

    /// Refuses keys other than `known`, whose meaning would be lost.
    ///
    /// # Errors
    /// Another key.
    pub fn only_keys(&self, known: &[&str]) -> Result<(), ModelError> {
        let keys = self.value.as_object().into_iter().flatten();
        match keys
            .into_iter()
            .find(|(key, _)| !known.contains(&key.as_str()))
        {
            Some((key, value)) => {
                Err(self.refuse(key, &format!("only {}", alternatives(known)), value))
            }
            None => Ok(()),
        }
    }

    /// The activation named by `key`.
    ///
    /// # Errors
    /// An unknown name.
    pub fn activation(&self, key: &str, default: &'a str) -> Result<Activation, ModelError> {
        let name = self.text_or(key, default)?;
        Activation::from_name(name).ok_or_else(|| {
            let known: Vec<_> = Activation::names()
                .map(|name| format!("`{name}`"))
                .collect();
            self.error(
                key,
                &format!("one of {}", known.join(", ")),
                &format!("`{name}`"),
            )
        })
    }

    /// The first entry of `architectures` that is one of `known`; `None` where the key is absent.
    ///
    /// # Errors
    /// Only classes that are not known.
    pub fn class(&self, known: &[&'static str]) -> Result<Option<&'static str>, ModelError> {
        let Some(value) = self.get("architectures") else {
            return Ok(None);
        };
        let names = value.as_array().map_or(&[][..], Vec::as_slice);
        let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
        if names.is_empty() {
            return Ok(None);
        }
        match known.iter().find(|class| names.contains(*class)) {
            Some(class) => Ok(Some(class)),
            None => Err(self.refuse("architectures", &alternatives(known), value)),
        }
    }

    /// Whether a classifier may have `count` classes: one of the keys that number them says so, or none is there.
    ///
    /// # Errors
    /// Values of another kind.
    pub fn may_have_classes(&self, count: usize) -> Result<bool, ModelError> {
        let mut is_said = false;
        for key in ["id2label", "label2id"] {
            if let Some(labels) = self.object(key)? {
                let found = labels.value.as_object().map_or(0, serde_json::Map::len);
                is_said = true;
                if found == count {
                    return Ok(true);
                }
            }
        }
        Ok(match self.optional_count("num_labels")? {
            Some(found) => found == count,
            None => !is_said,
        })
    }

    /// Number of classes of a classifier: `id2label`, else `num_labels`, else `label2id`, else 2.
    ///
    /// # Errors
    /// Values of another kind.
    pub fn classes(&self) -> Result<usize, ModelError> {
        let named = |key| -> Result<Option<usize>, ModelError> {
            let labels = self.object(key)?;
            let labels = labels.and_then(|labels| labels.value.as_object());
            Ok(labels.map(serde_json::Map::len).filter(|&count| count > 0))
        };
        match named("id2label")? {
            Some(count) => Ok(count),
            None => self.count_or("num_labels", named("label2id")?.unwrap_or(2)),
        }
    }

    /// The error for `key` with a `value` that cannot be taken.
    pub fn refuse(&self, key: &str, expected: &str, value: &Value) -> ModelError {
        self.error(key, expected, &value.to_string())
    }

    /// The error for `key`, in words.
    pub fn error(&self, key: &str, expected: &str, found: &str) -> ModelError {
        let key = match self.parent {
            "" => key.to_owned(),
            parent => format!("{parent}.{key}"),
        };
        ModelError::Config {
            key,
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }

    fn absent(&self, key: &str, expected: &str) -> ModelError {
        self.error(key, expected, "nothing")
    }
}

/// A positive integer that is believed.
fn count(value: &Value) -> Option<usize> {
    value
        .as_u64()
        .filter(|count| (1..=LARGEST_COUNT).contains(count))
        .and_then(|count| usize::try_from(count).ok())
}

/// "`a`, `b` or `c`".
fn alternatives(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// JSON equality, except that 1 and 1.0 are the same number.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn refusals_name_the_key_and_say_expected_before_found() {
        let value = json!({"hidden_size": -3, "rope": {"factor": "x"}, "hidden_act": "gelu_10"});
        let config = Config::new(&value);
        let message = |result: Result<usize, ModelError>| result.unwrap_err().to_string();
        assert_eq!(
            message(config.count("hidden_size")),
            "config.json: `hidden_size`: expected a positive integer, found -3"
        );
        assert_eq!(
            message(config.count("vocab_size")),
            "config.json: `vocab_size`: expected a positive integer, found nothing"
        );
        let rope = config.object("rope").unwrap().unwrap();
        assert_eq!(
            rope.positive("factor").unwrap_err().to_string(),
            "config.json: `rope.factor`: expected a positive number, found \"x\""
        );
        assert!(config.activation("hidden_act", "silu").is_err());
    }

    #[test]
    fn neutral_values_pass_whatever_their_spelling() {
        let value = json!({"a": 1, "b": null, "c": {}, "d": 0.5});
        let config = Config::new(&value);
        config.only("a", &json!(1.0)).unwrap();
        config.only("b", &json!(false)).unwrap();
        config.only("c", &json!({})).unwrap();
        config.only("absent", &json!(1)).unwrap();
        assert!(config.only("d", &json!(1.0)).is_err());
    }

    #[test]
    fn classes_come_from_labels_first() {
        let value = json!({"id2label": {"0": "a", "1": "b", "2": "c"}, "num_labels": 7});
        assert_eq!(Config::new(&value).classes().unwrap(), 3);
        assert_eq!(Config::new(&json!({"num_labels": 7})).classes().unwrap(), 7);
        let names = json!({"label2id": {"a": 0, "b": 1, "c": 2}});
        assert_eq!(Config::new(&names).classes().unwrap(), 3);
        assert_eq!(Config::new(&json!({})).classes().unwrap(), 2);
    }
}
