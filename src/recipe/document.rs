//! TOML tables that remember their lines and report every key that was not read.
//!
//! Not serde with `deny_unknown_fields`: it stops at the first unknown key with a list of all known
//! ones instead of the nearest, names neither the key nor the table of a value of the wrong type, says
//! what it found before what it expected, and cannot leave the parameters of a method to that method
//! (`flatten` excludes `deny_unknown_fields` and loses the lines).

use super::RecipeError;
use quantizers::nearest::nearest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One key of a [`Section`].
#[derive(Debug)]
struct Entry {
    key: String,
    line: usize,
    value: toml::Value,
    lines: Vec<TableLines>,
}

/// Lines of a table and of its keys (for tables inside a value).
#[derive(Debug, Clone, Default)]
struct TableLines {
    line: usize,
    keys: Vec<(String, usize)>,
    /// Of the tables inside the values, by key.
    inner: Vec<(String, Vec<TableLines>)>,
}

/// A TOML table being read: keys are taken out of it, and whatever is left is an error.
#[derive(Debug)]
pub(super) struct Section {
    name: String,
    line: usize,
    entries: Vec<Entry>,
    known: Vec<&'static str>,
}

impl Section {
    /// Parses a whole document.
    pub(super) fn parse(text: &str) -> Result<Self, RecipeError> {
        let lines = LineIndex::new(text);
        let table = DeTable::parse(text).map_err(|error| RecipeError::Syntax {
            line: error.span().map_or(1, |span| lines.line(span.start)),
            message: error.message().trim().replace('\n', ", "),
        })?;
        Ok(Self::from_spans(
            "the recipe".to_owned(),
            1,
            table.get_ref(),
            &lines,
        ))
    }

    fn from_spans(name: String, line: usize, table: &DeTable<'_>, lines: &LineIndex) -> Self {
        let entries = table
            .iter()
            .map(|(key, value)| Entry {
                key: key.get_ref().to_string(),
                line: lines.line(key.span().start),
                value: plain(value.get_ref()),
                lines: nested_lines(value, lines),
            })
            .collect();
        Self {
            name,
            line,
            entries,
            known: Vec::new(),
        }
    }

    /// First line of the table.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The line of `key`, or of the table where the key is absent.
    pub(super) fn line_of(&self, key: &str) -> usize {
        self.entries
            .iter()
            .find(|entry| entry.key == key)
            .map_or(self.line, |entry| entry.line)
    }

    fn take_entry(&mut self, key: &'static str) -> Option<Entry> {
        self.known.push(key);
        #[cfg(test)]
        record(&self.name, key);
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index))
    }

    /// Takes a value that `read` understands; `expected` says what that is.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&toml::Value) -> Option<T>,
    ) -> Result<Option<T>, RecipeError> {
        let Some(entry) = self.take_entry(key) else {
            return Ok(None);
        };
        match read(&entry.value) {
            Some(value) => Ok(Some(value)),
            None => Err(RecipeError::BadValue {
                line: entry.line,
                section: self.name.clone(),
                key: key.to_owned(),
                expected: expected.to_owned(),
                found: shown(&entry.value),
            }),
        }
    }

    /// Takes a string.
    pub(super) fn take_string(&mut self, key: &'static str) -> Result<Option<String>, RecipeError> {
        self.take(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// Takes a count of at least one.
    pub(super) fn take_count(&mut self, key: &'static str) -> Result<Option<usize>, RecipeError> {
        self.take(key, "a whole number of at least 1", |value| {
            value
                .as_integer()
                .and_then(|n| usize::try_from(n).ok())
                .filter(|&n| n > 0)
        })
    }

    /// Takes a flag.
    pub(super) fn take_flag(&mut self, key: &'static str) -> Result<Option<bool>, RecipeError> {
        self.take(key, "`true` or `false`", toml::Value::as_bool)
    }

    /// Takes a string that must be there.
    pub(super) fn require_string(&mut self, key: &'static str) -> Result<String, RecipeError> {
        self.take_string(key)?.ok_or(RecipeError::MissingKey {
            line: self.line,
            section: self.name.clone(),
            key,
        })
    }

    /// Name of the table `key` in this one.
    fn inner(&self, key: &str) -> String {
        let outer = self.name.strip_prefix("`[");
        match outer.and_then(|name| name.strip_suffix("]`")) {
            Some(outer) => format!("{outer}.{key}"),
            None => key.to_owned(),
        }
    }

    /// Takes the table `[key]`.
    pub(super) fn take_table(&mut self, key: &'static str) -> Result<Option<Self>, RecipeError> {
        let Some(entry) = self.take_entry(key) else {
            return Ok(None);
        };
        let name = format!("`[{}]`", self.inner(key));
        match entry.value {
            toml::Value::Table(table) => {
                let lines = entry.lines.into_iter().next().unwrap_or_default();
                Ok(Some(Self::from_table(name, entry.line, table, &lines)))
            }
            other => Err(RecipeError::BadValue {
                line: entry.line,
                section: self.name.clone(),
                key: key.to_owned(),
                expected: format!("a table {name}"),
                found: shown(&other),
            }),
        }
    }

    /// Takes the tables `[[key]]`, in order.
    pub(super) fn take_tables(&mut self, key: &'static str) -> Result<Vec<Self>, RecipeError> {
        let Some(entry) = self.take_entry(key) else {
            return Ok(Vec::new());
        };
        let name = format!("`[[{}]]`", self.inner(key));
        let bad = |found: &toml::Value| RecipeError::BadValue {
            line: entry.line,
            section: self.name.clone(),
            key: key.to_owned(),
            expected: format!("tables {name}"),
            found: shown(found),
        };
        let toml::Value::Array(items) = &entry.value else {
            return Err(bad(&entry.value));
        };
        items
            .iter()
            .enumerate()
            .map(|(index, item)| match item {
                toml::Value::Table(table) => {
                    let lines = entry.lines.get(index).cloned().unwrap_or_default();
                    Ok(Self::from_table(
                        name.clone(),
                        lines.line,
                        table.clone(),
                        &lines,
                    ))
                }
                other => Err(bad(other)),
            })
            .collect()
    }

    fn from_table(name: String, line: usize, table: toml::Table, lines: &TableLines) -> Self {
        let entries = table
            .into_iter()
            .map(|(key, value)| {
                let at = lines.keys.iter().find(|(name, _)| *name == key);
                let inner = lines.inner.iter().find(|(name, _)| *name == key);
                Entry {
                    line: at.map_or(line, |(_, at)| *at),
                    lines: inner.map_or_else(Vec::new, |(_, lines)| lines.clone()),
                    key,
                    value,
                }
            })
            .collect();
        Self {
            name,
            line,
            entries,
            known: Vec::new(),
        }
    }

    /// Everything not taken yet, for the caller to check.
    pub(super) fn rest(self) -> (toml::Table, Vec<(String, usize)>) {
        let lines = self
            .entries
            .iter()
            .map(|entry| (entry.key.clone(), entry.line))
            .collect();
        (
            self.entries
                .into_iter()
                .map(|entry| (entry.key, entry.value))
                .collect(),
            lines,
        )
    }

    /// An error for the first key that was not taken.
    pub(super) fn finish(self) -> Result<(), RecipeError> {
        match self.entries.into_iter().next() {
            None => Ok(()),
            Some(entry) => Err(RecipeError::UnknownKey {
                line: entry.line,
                section: self.name,
                nearest: nearest(&entry.key, self.known.iter().copied()),
                key: entry.key,
            }),
        }
    }
}

#[cfg(test)]
thread_local! {
    static KNOWN: std::cell::RefCell<std::collections::BTreeMap<String, std::collections::BTreeSet<&'static str>>> =
        std::cell::RefCell::default();
}

#[cfg(test)]
fn record(section: &str, key: &'static str) {
    KNOWN.with_borrow_mut(|known| known.entry(section.to_owned()).or_default().insert(key));
}

/// The keys this thread's parsers asked each section for.
#[cfg(test)]
pub(super) fn known_keys()
-> std::collections::BTreeMap<String, std::collections::BTreeSet<&'static str>> {
    KNOWN.with_borrow(Clone::clone)
}

/// A value as messages show it.
fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::Table(_) => "a table".to_owned(),
        toml::Value::Array(_) => "an array".to_owned(),
        other => format!("`{other}`"),
    }
}

/// Byte offsets of line starts.
struct LineIndex(Vec<usize>);

impl LineIndex {
    fn new(text: &str) -> Self {
        Self(
            std::iter::once(0)
                .chain(text.match_indices('\n').map(|(at, _)| at + 1))
                .collect(),
        )
    }

    /// 1-based line of a byte offset.
    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|&start| start <= offset)
    }
}

/// Lines of the tables directly inside `value`.
fn nested_lines(value: &Spanned<DeValue<'_>>, lines: &LineIndex) -> Vec<TableLines> {
    let of_table = |span_start: usize, table: &DeTable<'_>| {
        let keys: Vec<(String, usize)> = table
            .keys()
            .map(|key| (key.get_ref().to_string(), lines.line(key.span().start)))
            .collect();
        let inner = table.iter().map(|(key, value)| {
            let key = key.get_ref().to_string();
            (key, nested_lines(value, lines))
        });
        TableLines {
            line: lines.line(span_start),
            keys,
            inner: inner.collect(),
        }
    };
    match value.get_ref() {
        DeValue::Table(table) => vec![of_table(value.span().start, table)],
        DeValue::Array(items) => items
            .iter()
            .filter_map(|item| match item.get_ref() {
                DeValue::Table(table) => Some(of_table(item.span().start, table)),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The value without its spans.
fn plain(value: &DeValue<'_>) -> toml::Value {
    match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        DeValue::Integer(number) => {
            match i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()) {
                Ok(number) => toml::Value::Integer(number),
                Err(_) => toml::Value::String(number.as_str().to_owned()),
            }
        }
        DeValue::Float(number) => match number.as_str().replace('_', "").parse() {
            Ok(number) => toml::Value::Float(number),
            Err(_) => toml::Value::String(number.as_str().to_owned()),
        },
        DeValue::Boolean(flag) => toml::Value::Boolean(*flag),
        DeValue::Datetime(date) => toml::Value::Datetime(*date),
        DeValue::Array(items) => {
            toml::Value::Array(items.iter().map(|item| plain(item.get_ref())).collect())
        }
        DeValue::Table(table) => toml::Value::Table(
            table
                .iter()
                .map(|(key, value)| (key.get_ref().to_string(), plain(value.get_ref())))
                .collect(),
        ),
    }
}
