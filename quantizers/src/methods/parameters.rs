//! Reading a recipe rule: typed access to its keys, with errors that say what was expected.

use super::ParamError;
use crate::nearest::nearest;
use std::ops::RangeInclusive;

/// The help lines of two lists in one.
///
/// # Panics
/// When `ALL` is not their number.
pub(super) const fn joined<const ALL: usize>(
    first: &[(&'static str, &'static str)],
    second: &[(&'static str, &'static str)],
) -> [(&'static str, &'static str); ALL] {
    assert!(ALL == first.len() + second.len());
    let mut all = [("", ""); ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = if at < first.len() {
            first[at]
        } else {
            second[at - first.len()]
        };
        at += 1;
    }
    all
}

/// The keys of one rule, checked against the names a method knows.
#[derive(Debug)]
pub struct Parameters<'t> {
    method: &'static str,
    table: &'t toml::Table,
}

impl<'t> Parameters<'t> {
    /// Refuses keys that are not in `known` (a method's `parameters()`).
    ///
    /// # Errors
    /// A key that is not known, with the nearest that is.
    pub fn new(
        method: &'static str,
        known: &[(&'static str, &'static str)],
        table: &'t toml::Table,
    ) -> Result<Self, ParamError> {
        for key in table.keys() {
            if !known.iter().any(|(name, _)| name == key) {
                return Err(ParamError::UnknownKey {
                    method,
                    key: key.clone(),
                    nearest: nearest(key, known.iter().map(|(name, _)| *name)),
                });
            }
        }
        Ok(Self { method, table })
    }

    /// A whole number in `range`.
    ///
    /// # Errors
    /// Another type or value.
    pub fn integer(
        &self,
        key: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, ParamError> {
        self.read(
            key,
            &format!("a whole number from {} to {}", range.start(), range.end()),
            |v| v.as_integer().filter(|number| range.contains(number)),
        )
    }

    /// A number in `range`; a whole number will do.
    ///
    /// # Errors
    /// Another type or value.
    pub fn number(&self, key: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, ParamError> {
        self.read(
            key,
            &format!("a number from {} to {}", range.start(), range.end()),
            |value| {
                let number = value
                    .as_float()
                    .or_else(|| value.as_integer().map(|n| n as f64));
                number.filter(|number| range.contains(number))
            },
        )
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// Another type or value.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, ParamError> {
        self.read(key, "`true` or `false`", toml::Value::as_bool)
    }

    /// A whole number, or else a text.
    ///
    /// # Errors
    /// Another type; `expected` says what would do.
    pub fn integer_or_text(
        &self,
        key: &str,
        expected: &str,
    ) -> Result<Option<Result<i64, &'t str>>, ParamError> {
        match self.table.get(key) {
            None => Ok(None),
            Some(toml::Value::Integer(number)) => Ok(Some(Ok(*number))),
            Some(toml::Value::String(text)) => Ok(Some(Err(text))),
            Some(_) => Err(self.refuse(key, expected)),
        }
    }

    /// One of `choices`, by name.
    ///
    /// # Errors
    /// Another type or value.
    pub fn choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, ParamError> {
        let names: Vec<String> = choices
            .iter()
            .map(|(name, _)| format!("`\"{name}\"`"))
            .collect();
        self.read(key, &names.join(" or "), |value| {
            let text = value.as_str()?;
            choices
                .iter()
                .find(|(name, _)| *name == text)
                .map(|(_, choice)| *choice)
        })
    }

    /// The error for a `key` whose value does not go with the others.
    pub fn refuse(&self, key: &str, expected: &str) -> ParamError {
        let found = self
            .table
            .get(key)
            .map_or_else(|| "nothing".to_owned(), ToString::to_string);
        ParamError::BadValue {
            method: self.method,
            key: key.to_owned(),
            expected: expected.to_owned(),
            found: format!("`{found}`"),
        }
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl Fn(&toml::Value) -> Option<T>,
    ) -> Result<Option<T>, ParamError> {
        match self.table.get(key) {
            None => Ok(None),
            Some(value) => match convert(value) {
                Some(converted) => Ok(Some(converted)),
                None => Err(self.refuse(key, expected)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[(&str, &str)] = &[("bits", ""), ("share", ""), ("kind", ""), ("fast", "")];

    fn error<T: std::fmt::Debug>(
        text: &str,
        read: impl Fn(&Parameters) -> Result<T, ParamError>,
    ) -> String {
        let table: toml::Table = text.parse().unwrap();
        match Parameters::new("rtn", KNOWN, &table) {
            Ok(parameters) => read(&parameters).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn values_are_typed_and_in_range() {
        let table: toml::Table = "bits = 4\nshare = 1\nkind = \"b\"\nfast = true"
            .parse()
            .unwrap();
        let parameters = Parameters::new("rtn", KNOWN, &table).unwrap();
        assert_eq!(parameters.integer("bits", 1..=8), Ok(Some(4)));
        assert_eq!(parameters.number("share", 0.0..=1.0), Ok(Some(1.0)));
        assert_eq!(
            parameters.choice("kind", &[("a", 1), ("b", 2)]),
            Ok(Some(2))
        );
        assert_eq!(parameters.boolean("fast"), Ok(Some(true)));
        let empty = toml::Table::new();
        assert_eq!(
            Parameters::new("rtn", KNOWN, &empty)
                .unwrap()
                .boolean("fast"),
            Ok(None)
        );
    }

    #[test]
    fn errors_say_what_was_expected() {
        assert_eq!(
            error("bits = 9", |p| p.integer("bits", 1..=8)),
            "`bits` of method `rtn`: expected a whole number from 1 to 8, found `9`"
        );
        assert_eq!(
            error("kind = \"c\"", |p| p.choice("kind", &[("a", 1), ("b", 2)])),
            "`kind` of method `rtn`: expected `\"a\"` or `\"b\"`, found `\"c\"`"
        );
        assert_eq!(
            error("fast = 1", |p| p.boolean("fast")),
            "`fast` of method `rtn`: expected `true` or `false`, found `1`"
        );
        assert_eq!(
            error("bit = 3", |p| p.boolean("fast")),
            "unknown key `bit` for method `rtn`"
        );
        let table: toml::Table = "bit = 3".parse().unwrap();
        let hint = Parameters::new("rtn", KNOWN, &table).err().unwrap().hint();
        assert_eq!(hint.unwrap(), "did you mean `bits`?");
    }
}
