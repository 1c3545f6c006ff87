//! `[cache]` and `[attention]`: how keys and values are kept when the model runs, and which of them are attended to.

use super::document::Section;
use super::{RecipeError, line_of};
use eval::attention::candidate::Way;
use quantizers::ParamError;
use quantizers::attentions::ATTENTIONS;
use quantizers::caches::CACHES;
use quantizers::nearest::nearest;

/// Which of the two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayKind {
    /// `[cache]`.
    Cache,
    /// `[attention]`.
    Attention,
}

impl WayKind {
    /// The name of the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Attention => "attention",
        }
    }

    fn names(self) -> Vec<&'static str> {
        match self {
            Self::Cache => CACHES.iter().map(|cache| cache.name()).collect(),
            Self::Attention => ATTENTIONS.iter().map(|entry| entry.name()).collect(),
        }
    }

    /// The method `name` with its parameters; nothing where there is no such method.
    ///
    /// # Errors
    /// A parameter it cannot take.
    pub fn configured(
        self,
        name: &str,
        parameters: &toml::Table,
    ) -> Option<Result<Way, ParamError>> {
        match self {
            Self::Cache => {
                let cache = CACHES.iter().find(|cache| cache.name() == name)?;
                Some(cache.configure(parameters).map(Way::Cache))
            }
            Self::Attention => {
                let entry = ATTENTIONS.iter().find(|entry| entry.name() == name)?;
                let configured = entry.configure(parameters);
                Some(configured.map(|attention| Way::Attention(attention.into())))
            }
        }
    }
}

/// One of the tables.
#[derive(Debug, Clone)]
pub struct WayRule {
    /// Which.
    pub kind: WayKind,
    /// First line of the table.
    pub line: usize,
    /// Registry name.
    pub method: String,
    /// Parameters of the method, as typed.
    pub parameters: toml::Table,
    /// Blocks that stay as they are.
    pub kept: Vec<usize>,
    /// The line of each key.
    lines: Vec<(String, usize)>,
}

impl WayRule {
    /// Reads the table and checks its parameters.
    pub(super) fn read(kind: WayKind, mut section: Section) -> Result<Self, RecipeError> {
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
            kind,
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
    pub fn configured(&self) -> Result<Way, RecipeError> {
        let Some(configured) = self.kind.configured(&self.method, &self.parameters) else {
            return Err(RecipeError::UnknownName {
                line: line_of(&self.lines, "method", self.line),
                what: self.kind.name(),
                name: self.method.clone(),
                nearest: nearest(&self.method, self.kind.names()),
            });
        };
        configured.map_err(|error| RecipeError::Parameter {
            line: line_of(&self.lines, error.key(), self.line),
            error: Box::new(error),
        })
    }
}
