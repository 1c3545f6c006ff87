//! The name somebody probably meant.

/// The candidate most like `name` (Jaro-Winkler, at least 0.7), the first of equals.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let score = strsim::jaro_winkler(name, candidate);
        if score >= 0.7 && best.is_none_or(|(top, _)| score > top) {
            best = Some((score, candidate));
        }
    }
    best.map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_a_typo_and_nothing_far() {
        assert_eq!(
            nearest("sentense", ["label", "sentence"]).as_deref(),
            Some("sentence")
        );
        assert_eq!(nearest("xyzzy", ["label", "sentence"]), None);
    }
}
