//! Conversations: rows with a list of messages, in the forms that data sets of chats have.

use super::DataError;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Keys of lists of messages, looked for in this order.
const KEYS: [&str; 2] = ["messages", "conversations"];
/// Who speaks, in the words of `ShareGPT`, and the role that templates know.
const SPEAKERS: [(&str, &str); 12] = [
    ("human", "user"),
    ("user", "user"),
    ("gpt", "assistant"),
    ("chatgpt", "assistant"),
    ("bing", "assistant"),
    ("bard", "assistant"),
    ("model", "assistant"),
    ("assistant", "assistant"),
    ("function_call", "assistant"),
    ("system", "system"),
    ("tool", "tool"),
    ("observation", "tool"),
];

/// Conversations in file order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chats {
    origin: String,
    rows: Vec<Chat>,
}

/// One conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// Line of the file, or number of the row.
    pub line: usize,
    /// Objects with `role` and `content`, and whatever else a message has. A content in parts of text is one text.
    pub messages: Vec<Value>,
}

impl Chats {
    /// The key of the messages where rows like `row` are conversations: the one named, or a well known one that
    /// holds a list.
    pub(super) fn key<'k>(row: &Map<String, Value>, named: Option<&'k str>) -> Option<&'k str> {
        let holds = |key: &str| row.get(key).is_some_and(Value::is_array);
        match named {
            Some(key) => Some(key).filter(|key| holds(key)),
            None => KEYS.into_iter().find(|key| holds(key)),
        }
    }

    /// Reads `rows`, each with its line, as conversations under `key`.
    ///
    /// # Errors
    /// A row that is none.
    pub(super) fn read(
        path: &Path,
        rows: Vec<(usize, Map<String, Value>)>,
        key: &str,
    ) -> Result<Self, DataError> {
        let origin = path.display().to_string();
        let read = |(line, mut row): (usize, Map<String, Value>)| {
            let refused = |found: String| DataError::Line {
                path: PathBuf::from(&origin),
                line,
                expected: format!(
                    "`{key}`, a list of messages with `role` and `content` or `from` and `value`"
                ),
                found,
            };
            let messages = match row.remove(key) {
                Some(Value::Array(messages)) if !messages.is_empty() => messages,
                Some(Value::Array(_)) => return Err(refused("an empty list".to_owned())),
                Some(other) => return Err(refused(kind(&other).to_owned())),
                None => return Err(refused("no such key".to_owned())),
            };
            let messages = messages.into_iter().enumerate().map(|(at, value)| {
                message(value).map_err(|found| refused(format!("{found} in message {}", at + 1)))
            });
            let messages = messages.collect::<Result<_, _>>()?;
            Ok(Chat { line, messages })
        };
        let rows = rows.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { origin, rows })
    }

    /// Where they were read.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The conversations.
    pub fn rows(&self) -> &[Chat] {
        &self.rows
    }
}

impl Chat {
    /// What was said, a message a line, without who said it.
    pub fn plain(&self) -> String {
        let contents = self.messages.iter();
        let texts: Vec<&str> = contents
            .filter_map(|message| message["content"].as_str())
            .collect();
        texts.join("\n")
    }

    /// Whether the model has the last word.
    pub fn is_answered(&self) -> bool {
        self.messages
            .last()
            .is_some_and(|message| message["role"] == "assistant")
    }
}

/// A message with `role` and `content`; what it has instead where it is none.
fn message(value: Value) -> Result<Value, String> {
    let Value::Object(mut message) = value else {
        return Err(kind(&value).to_owned());
    };
    if !message.contains_key("role") {
        let (from, value) = (message.remove("from"), message.remove("value"));
        let (Some(from), Some(value)) = (from, value) else {
            let keys: Vec<String> = message.keys().map(|key| format!("`{key}`")).collect();
            return Err(format!("only the keys {}", keys.join(", ")));
        };
        let role = SPEAKERS.iter().find(|(speaker, _)| from == *speaker);
        let (_, role) = role.ok_or_else(|| format!("`from` {from}"))?;
        message.insert("role".to_owned(), json!(role));
        message.insert("content".to_owned(), value);
    }
    if !message["role"].is_string() {
        return Err(format!("{} as `role`", kind(&message["role"])));
    }
    let content = message.remove("content").unwrap_or(Value::Null);
    let content = match content {
        Value::String(_) => content,
        // A message may only call a tool.
        Value::Null if message.get("tool_calls").is_some_and(Value::is_array) => content,
        Value::Array(parts) => Value::from(joined(&parts)?),
        other => return Err(format!("{} as `content`", kind(&other))),
    };
    message.insert("content".to_owned(), content);
    // Data sets in columns give every message every key.
    message.retain(|key, value| key == "content" || !value.is_null());
    Ok(Value::Object(message))
}

/// The texts of the parts of a content.
fn joined(parts: &[Value]) -> Result<String, String> {
    let text = |part: &Value| match (part["type"].as_str(), part["text"].as_str()) {
        (Some("text"), Some(text)) => Ok(text.to_owned()),
        (Some(other), _) => Err(format!("a part of type `{other}`")),
        (None, _) => Err("a part without `type`".to_owned()),
    };
    parts.iter().map(text).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a flag",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chats(rows: &[Value]) -> Result<Chats, DataError> {
        let rows: Vec<_> = rows
            .iter()
            .enumerate()
            .map(|(at, row)| (at + 1, row.as_object().unwrap().clone()))
            .collect();
        let key = Chats::key(&rows[0].1, None).unwrap();
        Chats::read(Path::new("c.jsonl"), rows, key)
    }

    #[test]
    fn parts_of_text_are_joined_and_sharegpt_has_roles() {
        let parts = json!([{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }]);
        let messages = json!([{ "role": "user", "content": parts }, { "role": "assistant", "content": "c", "tool_calls": null }]);
        let found = chats(&[json!({ "id": 1, "messages": messages })]).unwrap();
        assert_eq!(found.rows()[0].plain(), "ab\nc");
        assert!(found.rows()[0].is_answered());
        assert_eq!(
            found.rows()[0].messages[1],
            json!({ "role": "assistant", "content": "c" })
        );
        let turns = json!([{ "from": "human", "value": "q" }, { "from": "gpt", "value": "a" }]);
        let found = chats(&[json!({ "conversations": turns })]).unwrap();
        assert_eq!(
            found.rows()[0].messages[0],
            json!({ "role": "user", "content": "q" })
        );
    }

    #[test]
    fn a_row_that_is_no_conversation_is_named_with_its_line() {
        let good = json!({ "messages": [{ "role": "user", "content": "a" }] });
        let told = |bad: Value| chats(&[good.clone(), bad]).unwrap_err().to_string();
        let expected = "`c.jsonl` line 2: expected `messages`, a list of messages with `role` and `content` or `from` and `value`, found ";
        let found = |bad: Value| told(bad).strip_prefix(expected).unwrap().to_owned();
        assert_eq!(found(json!({ "text": "a" })), "no such key");
        assert_eq!(found(json!({ "messages": [] })), "an empty list");
        assert_eq!(
            found(json!({ "messages": [{ "role": "user", "content": 1 }] })),
            "a number as `content` in message 1"
        );
        let image = json!([{ "role": "user", "content": [{ "type": "image" }] }]);
        assert_eq!(
            found(json!({ "messages": image })),
            "a part of type `image` in message 1"
        );
        let speaker = json!([{ "from": "narrator", "value": "" }]);
        assert_eq!(
            found(json!({ "messages": speaker })),
            "`from` \"narrator\" in message 1"
        );
    }
}
