//! `[[transform]]`: how the checkpoint or its blocks are rewritten before layers are quantized, in this order.

use super::document::Section;
use super::{RecipeError, line_of};
use quantizers::nearest::nearest;
use quantizers::transforms::{ConfiguredTransform, TRANSFORMS, find};

/// One `[[transform]]` table.
#[derive(Debug, Clone)]
pub struct TransformRule {
    /// First line of the table.
    pub line: usize,
    /// Registry name.
    pub method: String,
    /// Parameters of the transform, as typed.
    pub parameters: toml::Table,
    /// The line of each key.
    lines: Vec<(String, usize)>,
}

impl TransformRule {
    /// Reads a table and checks its parameters.
    pub(super) fn read(mut section: Section) -> Result<Self, RecipeError> {
        let line = section.line();
        let method_line = section.line_of("method");
        let method = section.require_string("method")?;
        let (parameters, mut lines) = section.rest();
        lines.push(("method".to_owned(), method_line));
        let rule = Self {
            line,
            method,
            parameters,
            lines,
        };
        rule.configured()?;
        Ok(rule)
    }

    /// The configured transform.
    ///
    /// # Errors
    /// An unknown transform, or a parameter it cannot take.
    pub fn configured(&self) -> Result<Box<dyn ConfiguredTransform>, RecipeError> {
        let Some(transform) = find(&self.method) else {
            return Err(RecipeError::UnknownName {
                line: line_of(&self.lines, "method", self.line),
                what: "transform",
                name: self.method.clone(),
                nearest: nearest(
                    &self.method,
                    TRANSFORMS.iter().map(|transform| transform.name()),
                ),
            });
        };
        transform
            .configure(&self.parameters)
            .map_err(|error| RecipeError::Parameter {
                line: line_of(&self.lines, error.key(), self.line),
                error: Box::new(error),
            })
    }
}
