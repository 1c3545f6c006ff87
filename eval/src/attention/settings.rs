//! Ways of keeping keys and values, and of attending to them, with their parameters, as a person writes them on one line.

use super::candidate::{Candidate, Way};
use quantizers::attentions::ATTENTIONS;
use quantizers::caches::CACHES;
use quantizers::methods::ParamError;
use quantizers::nearest::{did_you_mean, nearest};
use thiserror::Error;

/// Usual settings beside the defaults of every method.
const MORE: &[&str] = &[
    "kvquant bits=3",
    "kvquant bits=2",
    "kivi bits=4",
    "turbo bits=3",
];

/// The parameter of methods that draw.
const SEED: &str = "seed";

/// A line that names no way of keeping keys and values.
#[derive(Debug, Error)]
pub enum SettingError {
    /// No method of this name.
    #[error("unknown cache or attention `{found}`")]
    Unknown {
        /// As written.
        found: String,
        /// The nearest known one.
        nearest: Option<String>,
    },
    /// A word that is no parameter.
    #[error("`{line}`: expected KEY=VALUE after the name, found `{found}`")]
    Word {
        /// The line.
        line: String,
        /// The word.
        found: String,
    },
    /// A parameter the method does not take.
    #[error("`{line}`")]
    Parameter {
        /// The line.
        line: String,
        /// Why not.
        source: ParamError,
    },
}

impl SettingError {
    /// What the user could do about it, in one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { nearest, .. } => match nearest {
                Some(nearest) => Some(did_you_mean(nearest)),
                None => {
                    Some("`quench list caches` and `quench list attentions` show them".to_owned())
                }
            },
            Self::Word { .. } => Some("such as `kivi bits=2 group=32`".to_owned()),
            Self::Parameter { source, .. } => source.hint(),
        }
    }
}

/// The lines of every method with its usual settings, those of attention with a quarter of the keys of a text of `tokens`:
/// their defaults are made for texts of tens of thousands.
pub fn usual(tokens: usize) -> Vec<String> {
    // Methods that need to be told something are tried where a person tells them.
    let caches = CACHES.iter().map(|cache| cache.name().to_owned());
    let attentions = ATTENTIONS.iter().map(|entry| {
        let line = format!("{} {}", entry.name(), entry.usual(tokens));
        line.trim_end().to_owned()
    });
    let known = caches.chain(attentions);
    let mut lines: Vec<String> = known.filter(|line| candidate(line, &[]).is_ok()).collect();
    for line in MORE {
        let name = line.split(' ').next().unwrap_or_default();
        let after = lines
            .iter()
            .rposition(|known| known.split(' ').next() == Some(name));
        let at = after.map_or(lines.len(), |at| at + 1);
        lines.insert(at, (*line).to_owned());
    }
    lines
}

/// Configures what `line` says; blocks in `kept` keep their cache as it is.
///
/// # Errors
/// A name or parameter that is not known.
pub fn candidate(line: &str, kept: &[usize]) -> Result<Candidate, SettingError> {
    let (name, table) = parameters(line)?;
    let wrong = |source| SettingError::Parameter {
        line: line.to_owned(),
        source,
    };
    let label = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let kept = kept.to_vec();
    if let Some(cache) = CACHES.iter().find(|cache| cache.name() == name) {
        return Ok(Candidate {
            method: cache.name(),
            label,
            engines: cache.engines(),
            way: Way::Cache(cache.configure(&table).map_err(wrong)?),
            kept,
        });
    }
    if let Some(attention) = ATTENTIONS.iter().find(|entry| entry.name() == name) {
        return Ok(Candidate {
            method: attention.name(),
            label,
            engines: None,
            way: Way::Attention(attention.configure(&table).map_err(wrong)?.into()),
            kept,
        });
    }
    Err(SettingError::Unknown {
        found: name.to_owned(),
        nearest: nearest(name, names()),
    })
}

/// The name that `line` begins with, and the parameters behind it, unchecked.
///
/// # Errors
/// A word that is no parameter.
pub fn parameters(line: &str) -> Result<(&str, toml::Table), SettingError> {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default();
    let mut table = toml::Table::new();
    for word in words {
        let wrong = || SettingError::Word {
            line: line.to_owned(),
            found: word.to_owned(),
        };
        let (key, value) = word.split_once('=').ok_or_else(wrong)?;
        // Words need no quotes here.
        let value = value
            .parse::<toml::Value>()
            .unwrap_or_else(|_| toml::Value::String(value.to_owned()));
        table.insert(key.to_owned(), value);
    }
    Ok((name, table))
}

/// `line` once for each of `seeds` seeds, where its method draws and it names no seed itself.
pub fn with_seeds(line: &str, seeds: usize) -> Vec<String> {
    let name = line.split_whitespace().next().unwrap_or_default();
    let caches = CACHES
        .iter()
        .map(|cache| (cache.name(), cache.parameters()));
    let attentions = ATTENTIONS
        .iter()
        .map(|entry| (entry.name(), entry.parameters()));
    let parameters = caches.chain(attentions).find(|(found, _)| *found == name);
    let draws = parameters.is_some_and(|(_, keys)| keys.iter().any(|(key, _)| *key == SEED));
    if seeds < 2 || !draws || line.contains(&format!(" {SEED}=")) {
        return vec![line.to_owned()];
    }
    (0..seeds)
        .map(|seed| format!("{line} {SEED}={seed}"))
        .collect()
}

/// What `label` is called without its seed.
pub fn without_seed(label: &str) -> &str {
    label
        .rsplit_once(&format!(" {SEED}="))
        .map_or(label, |(line, _)| line)
}

fn names() -> impl Iterator<Item = &'static str> {
    let caches = CACHES.iter().map(|cache| cache.name());
    caches.chain(ATTENTIONS.iter().map(|attention| attention.name()))
}
