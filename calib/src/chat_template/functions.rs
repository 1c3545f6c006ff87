//! What templates may call besides the built-in functions and filters.

use super::python_text;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};

/// Day, month and year that `strftime_now` tells, at midnight: the same conversations are the same tokens on any day.
/// It was a Friday, and day 208 of the year.
const TODAY: &[(&str, &str)] = &[
    ("%a", "Fri"),
    ("%A", "Friday"),
    ("%b", "Jul"),
    ("%B", "July"),
    ("%d", "26"),
    ("%-d", "26"),
    ("%e", "26"),
    ("%f", "000000"),
    ("%F", "2024-07-26"),
    ("%H", "00"),
    ("%-H", "0"),
    ("%I", "12"),
    ("%j", "208"),
    ("%m", "07"),
    ("%-m", "7"),
    ("%M", "00"),
    ("%p", "AM"),
    ("%S", "00"),
    ("%T", "00:00:00"),
    ("%w", "5"),
    ("%y", "24"),
    ("%Y", "2024"),
    ("%Z", ""),
    ("%z", ""),
    ("%%", "%"),
];

/// Adds them all.
pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_filter("tojson", to_json);
}

fn raise_exception(message: &str) -> Result<Value, Error> {
    Err(refused(format!(
        "the template refuses the conversation: {message}"
    )))
}

fn strftime_now(format: &str) -> Result<String, Error> {
    let mut told = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        told.push_str(&rest[..at]);
        let known = TODAY.iter().find(|(code, _)| rest[at..].starts_with(code));
        let (code, text) = known.ok_or_else(|| {
            refused(format!(
                "strftime_now: no code like that of `{}`",
                &rest[at..]
            ))
        })?;
        told.push_str(text);
        rest = &rest[at + code.len()..];
    }
    told.push_str(rest);
    Ok(told)
}

/// `json.dumps` without escaping: templates are not HTML.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a filter takes its options by value"
)]
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<Value> = options.get("indent")?;
    let indent = match indent {
        Some(value) if value.kind() == ValueKind::Number => Some(usize::try_from(value)?),
        _ => None,
    };
    let separators: Option<Value> = options.get("separators")?;
    let between = |at: usize| {
        let found = separators.as_ref()?.get_item_by_index(at).ok()?;
        found.as_str().map(str::to_owned)
    };
    let style = python_text::Style {
        indent,
        item: between(0),
        key: between(1),
        ascii: options
            .get::<Option<bool>>("ensure_ascii")?
            .unwrap_or(false),
        sorted: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    let value = serde_json::to_value(value).map_err(|error| refused(error.to_string()))?;
    Ok(style.write(&value))
}

fn refused(what: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

#[cfg(test)]
mod tests {
    use super::strftime_now;

    #[test]
    fn the_date_stands_still_and_unknown_codes_are_errors() {
        assert_eq!(
            strftime_now("%d %b %Y, 100%%").unwrap(),
            "26 Jul 2024, 100%"
        );
        assert!(strftime_now("%Q").is_err());
    }
}
