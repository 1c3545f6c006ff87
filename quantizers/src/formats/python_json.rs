//! JSON as Python writes and reads it: `NaN`, `Infinity` and `-Infinity` are numbers there and in no standard.
//!
//! Such a number becomes a text that says what it was. Where nobody asks for it nothing is lost: it is written
//! back as it came. Where somebody does, the text is no number, and the message shows it.

use serde_json::Value;

/// The tokens, longest first, and the texts that stand for them.
const NUMBERS: [(&str, &str); 3] = [
    ("-Infinity", "-Infinity, which JSON has no number for"),
    ("Infinity", "Infinity, which JSON has no number for"),
    ("NaN", "NaN, which JSON has no number for"),
];

/// Parses a JSON text.
///
/// # Errors
/// No JSON, with line and column.
pub fn parse(text: &[u8]) -> Result<Value, serde_json::Error> {
    let standard = serde_json::from_slice(text);
    let Err(error) = standard else {
        return standard;
    };
    match std::str::from_utf8(text).map(standardized) {
        Ok(Some(text)) => serde_json::from_str(&text),
        _ => Err(error),
    }
}

/// A JSON value as text, indented, with the numbers [`parse`] put aside as they were.
pub fn to_text(value: &Value) -> String {
    let mut text = format!("{value:#}");
    for (token, stands) in NUMBERS {
        text = text.replace(&format!("\"{stands}\""), token);
    }
    text
}

/// `text` with those numbers as strings; nothing where it has none.
fn standardized(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut found = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            let end = string_end(rest);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        if let Some((token, stands)) = NUMBERS.iter().find(|(token, _)| rest.starts_with(token)) {
            out.push('"');
            out.push_str(stands);
            out.push('"');
            found = true;
            rest = &rest[token.len()..];
            continue;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    found.then_some(out)
}

/// Where the string that `text` begins with ends.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_python_come_through_and_texts_that_look_like_them_stay_texts() {
        let text = "{\n  \"limit\": [\n    0.0,\n    Infinity,\n    -Infinity\n  ],\n  \"x\": NaN,\n  \
                    \"name\": \"NaN, \\\"Infinity\\\"\"\n}";
        let value = parse(text.as_bytes()).unwrap();
        assert_eq!(value["name"], "NaN, \"Infinity\"");
        assert!(value["x"].as_str().unwrap().starts_with("NaN"));
        assert_eq!(to_text(&value), text);
    }

    #[test]
    fn a_mistake_keeps_its_line() {
        let error = parse(b"{\n\"a\": Infinity,\n\"b\": oops}").unwrap_err();
        assert_eq!(error.line(), 3);
        assert_eq!(parse(b"{\"a\": 1,\n}").unwrap_err().line(), 2);
        assert!(parse(b"{\"a\": \"open").is_err());
    }
}
