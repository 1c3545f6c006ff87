//! The fields of a request: each is taken once, and what is left at the end is not known.

use super::failure::Failure;
use quantizers::nearest::{did_you_mean, nearest};
use serde_json::{Map, Value};

/// Fields not yet taken.
pub(super) struct Fields {
    left: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    /// Reads a body.
    pub(super) fn of_body(body: &[u8]) -> Result<Self, Failure> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| Failure::body(format!("the body is no JSON: {error}")))?;
        Self::of(value, "the body")
    }

    /// The fields of `value`, which is called `name`.
    pub(super) fn of(value: Value, name: &str) -> Result<Self, Failure> {
        match value {
            Value::Object(left) => Ok(Self {
                left,
                known: Vec::new(),
            }),
            other => Err(Failure::body(format!(
                "{name}: expected an object, found {}",
                kind(&other)
            ))),
        }
    }

    /// The value of `key`; null is as good as none.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.left.shift_remove(key).filter(|value| !value.is_null())
    }

    /// A number that is `expected`, which `holds` says.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        expected: &str,
        holds: fn(f64) -> bool,
    ) -> Result<Option<f64>, Failure> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        match value.as_f64().filter(|number| holds(*number)) {
            Some(number) => Ok(Some(number)),
            None => Err(wrong(key, expected, &value)),
        }
    }

    /// A whole number of at most `most`.
    pub(super) fn count(
        &mut self,
        key: &'static str,
        most: usize,
    ) -> Result<Option<usize>, Failure> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let count = value
            .as_u64()
            .and_then(|count| usize::try_from(count).ok())
            .filter(|count| *count <= most);
        match count {
            Some(count) => Ok(Some(count)),
            None => Err(wrong(
                key,
                &format!("a whole number from 0 to {most}"),
                &value,
            )),
        }
    }

    /// Yes or no; no where it is absent.
    pub(super) fn flag(&mut self, key: &'static str) -> Result<bool, Failure> {
        match self.take(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(wrong(key, "`true` or `false`", &other)),
        }
    }

    /// A text.
    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, Failure> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(key, "a string", &other)),
        }
    }

    /// A list.
    pub(super) fn list(&mut self, key: &'static str) -> Result<Option<Vec<Value>>, Failure> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(wrong(key, "a list", &other)),
        }
    }

    /// Fields of which this server can honour one value only: the usual.
    pub(super) fn only(&mut self, allowed: &[(&'static str, &[Value])]) -> Result<(), Failure> {
        for (key, values) in allowed {
            if let Some(found) = self.take(key)
                && !values.contains(&found)
            {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                let expected = if values.is_empty() {
                    "nothing".to_owned()
                } else {
                    values.join(" or ")
                };
                return Err(Failure::unknown_field(
                    key,
                    format!("`{key}`: this server can honour {expected} only, found {found}"),
                ));
            }
        }
        Ok(())
    }

    /// Refuses what is left.
    pub(super) fn end(self) -> Result<(), Failure> {
        let Some(found) = self.left.keys().next() else {
            return Ok(());
        };
        // A single letter is near everything.
        let known = self.known.iter().filter(|name| name.len() > 1);
        let near = nearest(found, known.copied());
        let hint = near.map_or_else(String::new, |name| format!("; {}", did_you_mean(&name)));
        Err(Failure::unknown_field(
            found,
            format!("`{found}` is not a parameter of this request{hint}"),
        ))
    }
}

/// A value of `key` that is not what was expected.
pub(super) fn wrong(key: &str, expected: &str, found: &Value) -> Failure {
    let shown = match found {
        Value::Array(_) | Value::Object(_) => kind(found).to_owned(),
        other => {
            let text = other.to_string();
            let short: String = text.chars().take(40).collect();
            if short.len() < text.len() {
                format!("{short}..")
            } else {
                short
            }
        }
    };
    Failure::field(key, format!("`{key}`: expected {expected}, found {shown}"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        Fields::of(value, "the body").unwrap_or_else(|failure| panic!("{failure:?}"))
    }

    fn message(failure: &Failure) -> String {
        failure.to_json()["error"]["message"].to_string()
    }

    #[test]
    fn what_is_not_known_is_named_with_the_nearest_name() {
        let mut all = fields(json!({"max_token": 3, "echo": null}));
        assert!(!all.flag("echo").unwrap());
        assert!(all.count("max_tokens", 9).unwrap().is_none());
        let failure = all.end().unwrap_err();
        assert!(message(&failure).contains("`max_token` is not a parameter"));
        assert!(message(&failure).contains("`max_tokens`"));
        assert_eq!(failure.to_json()["error"]["param"], "max_token");
    }

    #[test]
    fn values_of_another_kind_are_told_with_what_was_expected() {
        let mut all = fields(json!({"a": "x", "b": -1, "c": 1.5, "d": [1], "n": 2}));
        let number = all.number("a", "a number of at least 0", |value| value >= 0.0);
        assert!(message(&number.unwrap_err()).contains("expected a number of at least 0"));
        assert!(all.count("b", 5).is_err());
        assert!(all.count("c", 5).is_err());
        assert!(message(&all.text("d").unwrap_err()).contains("found a list"));
        assert!(all.only(&[("n", &[json!(1)])]).is_err());
    }
}
