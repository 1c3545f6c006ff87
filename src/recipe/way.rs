//! `[cache]` and `[attention]`: how keys and values are kept when the model runs, and which of them are attended to.

use super::document::Section;
use super::{RecipeError, line_of, resolve_data};
use eval::attention::candidate::Way;
use quantizers::ParamError;
use quantizers::attentions::ATTENTIONS;
use quantizers::caches::CACHES;
use quantizers::nearest::nearest;
use std::path::Path;

/// The method of a cache whose blocks choose within a budget.
const AUTO: &str = "auto";
/// Most bits a value of a cache can have.
const MOST_BITS: f64 = 32.0;

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

/// What the blocks of a cache with `method = "auto"` choose from, and within what.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheBudget {
    /// Bits of one value, keys and values of all blocks together.
    pub bits_per_value: f64,
    /// The figures of `quench cache`.
    pub measured: String,
}

impl CacheBudget {
    /// Reads what stands beside `method = "auto"`; `folder` is what paths are relative to.
    fn read(mut section: Section, folder: Option<&Path>) -> Result<Self, RecipeError> {
        let (line, name) = (section.line(), "`[cache]`");
        let missing = |key| RecipeError::MissingKey {
            line,
            section: name.to_owned(),
            key,
        };
        let bits = section.take(
            "bits_per_value",
            "a number above 0 and at most 32",
            |value| {
                let whole = || value.as_integer().map(|whole| whole as f64);
                let number = value.as_float().or_else(whole);
                number.filter(|&bits| bits > 0.0 && bits <= MOST_BITS)
            },
        )?;
        let measured = section.take_string("measured")?;
        section.finish()?;
        let measured = measured.ok_or_else(|| missing("measured"))?;
        Ok(Self {
            bits_per_value: bits.ok_or_else(|| missing("bits_per_value"))?,
            measured: resolve_data(&measured, folder),
        })
    }
}

/// One of the tables.
#[derive(Debug, Clone)]
pub struct WayRule {
    /// Which.
    pub kind: WayKind,
    /// First line of the table.
    pub line: usize,
    /// Registry name, or `auto` where there is a budget.
    pub method: String,
    /// What blocks choose within.
    pub budget: Option<CacheBudget>,
    /// Parameters of the method, as typed.
    pub parameters: toml::Table,
    /// Blocks that stay as they are.
    pub kept: Vec<usize>,
    /// The line of each key.
    lines: Vec<(String, usize)>,
}

impl WayRule {
    /// Reads the table and checks its parameters.
    pub(super) fn read(
        kind: WayKind,
        mut section: Section,
        folder: Option<&Path>,
    ) -> Result<Self, RecipeError> {
        let line = section.line();
        let method_line = section.line_of("method");
        let method = section.require_string("method")?;
        let kept = section.take("skip_layers", "a list of numbers of blocks", |value| {
            let numbers = value.as_array()?.iter();
            numbers
                .map(|number| usize::try_from(number.as_integer()?).ok())
                .collect()
        })?;
        if kind == WayKind::Cache && method == AUTO {
            return Ok(Self {
                kind,
                line,
                method,
                budget: Some(CacheBudget::read(section, folder)?),
                parameters: toml::Table::new(),
                kept: kept.unwrap_or_default(),
                lines: Vec::new(),
            });
        }
        let (parameters, mut lines) = section.rest();
        lines.push(("method".to_owned(), method_line));
        let rule = Self {
            kind,
            line,
            method,
            budget: None,
            parameters,
            kept: kept.unwrap_or_default(),
            lines,
        };
        rule.configured()?;
        Ok(rule)
    }

    /// The same with what its budget came to.
    pub(crate) fn chosen(&self, method: &str, parameters: toml::Table) -> Self {
        Self {
            method: method.to_owned(),
            budget: None,
            parameters,
            ..self.clone()
        }
    }

    /// The configured method.
    ///
    /// # Errors
    /// A choice that is left to a budget, an unknown method, or a parameter it cannot take.
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
