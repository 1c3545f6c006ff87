//! JSON as Python's `json.dumps` writes it: a space after commas and colons, letters as they are.

use serde_json::Value;
use std::fmt::Write;

/// How it is written.
#[derive(Debug, Clone, Default)]
pub(super) struct Style {
    /// Spaces of each level, one item a line; none for one line.
    pub(super) indent: Option<usize>,
    /// Between items, where not the usual.
    pub(super) item: Option<String>,
    /// Between a key and its value, where not `: `.
    pub(super) key: Option<String>,
    /// Letters past ASCII as escapes.
    pub(super) ascii: bool,
    /// Keys in order.
    pub(super) sorted: bool,
}

impl Style {
    /// Writes `value`.
    pub(super) fn write(&self, value: &Value) -> String {
        let mut text = String::new();
        self.append(value, 0, &mut text);
        text
    }

    fn append(&self, value: &Value, level: usize, text: &mut String) {
        match value {
            Value::Array(items) if !items.is_empty() => {
                let write = |item: &&Value, text: &mut String| self.append(item, level + 1, text);
                self.list(('[', ']'), items.iter(), level, text, write);
            }
            Value::Array(_) => text.push_str("[]"),
            Value::Object(map) if !map.is_empty() => {
                let mut entries: Vec<_> = map.iter().collect();
                if self.sorted {
                    entries.sort_by_key(|(key, _)| *key);
                }
                let write = |(key, value): &(&String, &Value), text: &mut String| {
                    self.string(key, text);
                    text.push_str(self.key.as_deref().unwrap_or(": "));
                    self.append(value, level + 1, text);
                };
                self.list(('{', '}'), entries.into_iter(), level, text, write);
            }
            Value::Object(_) => text.push_str("{}"),
            Value::String(string) => self.string(string, text),
            Value::Null | Value::Bool(_) | Value::Number(_) => text.push_str(&value.to_string()),
        }
    }

    fn list<T>(
        &self,
        (open, close): (char, char),
        items: impl Iterator<Item = T>,
        level: usize,
        text: &mut String,
        write: impl Fn(&T, &mut String),
    ) {
        let usual = if self.indent.is_some() { "," } else { ", " };
        let between = self.item.as_deref().unwrap_or(usual);
        let new_line = |level: usize, text: &mut String| {
            if let Some(width) = self.indent {
                text.push('\n');
                text.extend(std::iter::repeat_n(' ', width * level));
            }
        };
        text.push(open);
        for (at, item) in items.enumerate() {
            if at > 0 {
                text.push_str(between);
            }
            new_line(level + 1, text);
            write(&item, text);
        }
        new_line(level, text);
        text.push(close);
    }

    fn string(&self, string: &str, text: &mut String) {
        let quoted = Value::from(string).to_string();
        if !self.ascii {
            text.push_str(&quoted);
            return;
        }
        let mut units = [0; 2];
        for letter in quoted.chars() {
            if letter.is_ascii() {
                text.push(letter);
            } else {
                for unit in letter.encode_utf16(&mut units) {
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Style;
    use serde_json::json;

    #[test]
    fn separators_levels_and_escapes_are_those_of_python() {
        let value = json!({ "b": [1, "é😀"], "a": {} });
        let plain = Style::default();
        assert_eq!(plain.write(&value), "{\"b\": [1, \"é😀\"], \"a\": {}}");
        let styled = Style {
            indent: Some(1),
            ascii: true,
            sorted: true,
            ..Style::default()
        };
        let expected = "{\n \"a\": {},\n \"b\": [\n  1,\n  \"\\u00e9\\ud83d\\ude00\"\n ]\n}";
        assert_eq!(styled.write(&value), expected);
    }
}
