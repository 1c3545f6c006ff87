//! Which layers a rule means: a glob, or `re:` and a regular expression.

use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;

/// A compiled `match` of a rule.
///
/// The whole name must match, and `*` crosses dots. Layers outside the blocks (head, pooler,
/// embeddings) must be named: a pattern that begins with a wildcard never reaches them.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    matcher: Matcher,
    names_outsiders: bool,
}

#[derive(Debug, Clone)]
enum Matcher {
    Glob(GlobMatcher),
    Regex(Regex),
}

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// What the glob or regular expression parser says.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (matcher, start) = if let Some(expression) = text.strip_prefix("re:") {
            let regex = Regex::new(&format!("^(?:{expression})$")).map_err(|error| {
                let message = error.to_string();
                message.lines().last().unwrap_or_default().trim().to_owned()
            })?;
            (Matcher::Regex(regex), expression.trim_start_matches('^'))
        } else {
            let glob = GlobBuilder::new(text)
                .literal_separator(false)
                .build()
                .map_err(|error| error.kind().to_string())?;
            (Matcher::Glob(glob.compile_matcher()), text)
        };
        let names_outsiders = start.starts_with(|first: char| first.is_alphanumeric());
        Ok(Self {
            text: text.to_owned(),
            matcher,
            names_outsiders,
        })
    }

    /// As the recipe writes it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a layer is meant.
    pub fn matches(&self, name: &str, in_block: bool) -> bool {
        if !in_block && !self.names_outsiders {
            return false;
        }
        match &self.matcher {
            Matcher::Glob(glob) => glob.is_match(name),
            Matcher::Regex(regex) => regex.is_match(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_cross_dots_and_expressions_match_whole_names() {
        let glob = Pattern::parse("*.{q,k}_proj").unwrap();
        assert!(glob.matches("model.layers.3.self_attn.q_proj", true));
        assert!(!glob.matches("model.layers.3.self_attn.v_proj", true));
        let regex = Pattern::parse(r"re:.*\.[0-2]\..*").unwrap();
        assert!(regex.matches("model.layers.2.mlp.up_proj", true));
        assert!(!regex.matches("model.layers.3.mlp.up_proj", true));
    }

    #[test]
    fn a_leading_wildcard_does_not_reach_the_head() {
        assert!(!Pattern::parse("*").unwrap().matches("lm_head", false));
        assert!(!Pattern::parse("re:.*").unwrap().matches("lm_head", false));
        assert!(Pattern::parse("lm_head").unwrap().matches("lm_head", false));
        assert!(
            Pattern::parse("re:^lm_.*")
                .unwrap()
                .matches("lm_head", false)
        );
    }

    #[test]
    fn a_broken_pattern_says_why() {
        assert!(
            Pattern::parse("re:(")
                .unwrap_err()
                .contains("unclosed group")
        );
        assert!(Pattern::parse("{a").is_err());
    }
}
