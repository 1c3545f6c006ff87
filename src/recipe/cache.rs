//! `[cache]`: how the cache of keys and values is kept when the model runs.

use super::document::Section;
use super::{RecipeError, line_of};
use quantizers::caches::{CACHES, CacheQuantizer};
use quantizers::nearest::nearest;

/// The `[cache]` table.
#[derive(Debug, Clone)]
pub struct CacheRule {
    /// First line of the table.
    pub line: usize,
    /// Registry name.
    pub method: String,
    /// Parameters of the method, as typed.
    pub parameters: toml::Table,
    /// Blocks whose cache stays as it is.
    pub kept: Vec<usize>,
    /// The line of each key.
    lines: Vec<(String, usize)>,
}

impl CacheRule {
    /// Reads the table and checks its parameters.
    pub(super) fn read(mut section: Section) -> Result<Self, RecipeError> {
        let line = section.line();
        let method_line = section.line_of("method");
        let method = section.require_string("method")?;
        let kept = section.take("skip_layers", "a list of numbers of blocks", |value| {
            let numbers = value.as_array()?.iter();
            numbers
                .map(|number| usize::try_from(number.as_integer()?).ok())
                .collect()
        })?;
        let (parameters, mut lines) = section.rest();
        lines.push(("method".to_owned(), method_line));
        let rule = Self {
            line,
            method,
            parameters,
            kept: kept.unwrap_or_default(),
            lines,
        };
        rule.configured()?;
        Ok(rule)
    }

    /// The configured method.
    ///
    /// # Errors
    /// An unknown method, or a parameter it cannot take.
    pub fn configured(&self) -> Result<Box<dyn CacheQuantizer>, RecipeError> {
        let Some(cache) = CACHES.iter().find(|cache| cache.name() == self.method) else {
            return Err(RecipeError::UnknownName {
                line: line_of(&self.lines, "method", self.line),
                what: "cache",
                name: self.method.clone(),
                nearest: nearest(&self.method, CACHES.iter().map(|cache| cache.name())),
            });
        };
        cache
            .configure(&self.parameters)
            .map_err(|error| RecipeError::Parameter {
                line: line_of(&self.lines, error.key(), self.line),
                error: Box::new(error),
            })
    }
}
