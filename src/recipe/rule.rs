//! One rule: which layers, by which method, with which parameters; or an option that others may take.

use super::document::Section;
use super::{KEEP, Pattern, RecipeError, Rule};

/// What a rule says where the budget is to decide: in place of `bits`, or of the method.
pub(super) const AUTO: &str = "auto";

impl Rule {
    /// Reads a table; `everywhere` is the pattern of one that may leave `match` out.
    pub(super) fn read(
        mut section: Section,
        everywhere: Option<&'static str>,
    ) -> Result<Self, RecipeError> {
        let line = section.line();
        let pattern_line = section.line_of("match");
        let method_line = section.line_of("method");
        let text = match everywhere {
            Some(everywhere) => {
                let found = section.take_string("match")?;
                found.unwrap_or_else(|| everywhere.to_owned())
            }
            None => section.require_string("match")?,
        };
        let pattern = Pattern::parse(&text).map_err(|message| RecipeError::Pattern {
            line: pattern_line,
            pattern: text,
            message,
        })?;
        let method = section.require_string("method")?;
        let rule = |method: Option<String>, parameters, mut lines: Vec<(String, usize)>| {
            lines.push(("match".to_owned(), pattern_line));
            // A rule that keeps its layers is to blame as a whole.
            lines.extend(method.iter().map(|_| ("method".to_owned(), method_line)));
            Self {
                pattern,
                line,
                method,
                parameters,
                lines,
                overridden: Vec::new(),
            }
        };
        if method == KEEP || method == AUTO {
            section.finish()?;
            let method = (method == AUTO).then_some(method);
            return Ok(rule(method, toml::Table::new(), Vec::new()));
        }
        let (parameters, lines) = section.rest();
        Ok(rule(Some(method), parameters, lines))
    }

    /// Whether the budget decides how its layers are stored.
    pub fn is_open(&self) -> bool {
        let bits = self.parameters.get("bits");
        self.leaves_method() || bits.and_then(toml::Value::as_str) == Some(AUTO)
    }

    /// Whether the budget decides the method too.
    pub(super) fn leaves_method(&self) -> bool {
        self.method.as_deref() == Some(AUTO)
    }
}
