//! The nearest known name to a mistyped one, by Jaro similarity; for hints of error messages.

/// Below this Jaro similarity a suggestion would mislead.
const SIMILAR: f64 = 0.7;

/// The most similar of `known`, where one is similar enough to be meant.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest_several(typed, known, 1).into_iter().next()
}

/// The `count` most similar of `known`, best first; ties keep the order of `known`.
pub fn nearest_several<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
    count: usize,
) -> Vec<String> {
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .map(|name| (strsim::jaro(typed, name), name))
        .filter(|(score, _)| *score >= SIMILAR)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    // Far behind the best is far from what was meant.
    let best = scored.first().map_or(0.0, |(score, _)| *score);
    scored.retain(|(score, _)| *score >= best - 0.05);
    scored
        .into_iter()
        .take(count)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// The hint for a name that somebody typed.
pub fn did_you_mean(nearest: &str) -> String {
    format!("did you mean `{nearest}`?")
}

/// The hint for a name that a file lacks.
pub fn closest_name(nearest: &str) -> String {
    format!("closest name is `{nearest}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_was_meant_and_nothing_far_fetched() {
        let known = ["group_size", "bits", "symmetric"];
        assert_eq!(nearest("groupsize", known), Some("group_size".to_owned()));
        assert_eq!(nearest("zzz", known), None);
    }
}
