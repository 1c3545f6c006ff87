//! Texts at which generation ends.

/// Looks for stop strings in text that comes piece by piece, and holds back what may become one.
#[derive(Debug, Clone, Default)]
pub struct StopStrings {
    stops: Vec<String>,
    /// Came, and was not let go.
    held: String,
}

impl StopStrings {
    /// Ends at the first of `stops`, none of which is empty, that the text holds.
    pub fn new(stops: Vec<String>) -> Self {
        Self {
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            held: String::new(),
        }
    }

    /// Takes `piece` in; returns what can be shown, and whether a stop has been reached, which is not shown.
    pub fn take(&mut self, piece: &str) -> (String, bool) {
        self.held.push_str(piece);
        let first = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()));
        if let Some(at) = first.min() {
            let shown = self.held[..at].to_owned();
            self.held.clear();
            return (shown, true);
        }
        let may_become = |from: &usize| {
            let end = &self.held[*from..];
            self.stops.iter().any(|stop| stop.starts_with(end))
        };
        let mut places = self.held.char_indices().map(|(at, _)| at);
        let from = places.find(may_become).unwrap_or(self.held.len());
        let rest = self.held.split_off(from);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What was held back, once nothing more comes.
    pub fn rest(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_become_a_stop_waits() {
        let mut stops = StopStrings::new(vec!["\n\nQ:".to_owned()]);
        assert_eq!(stops.take("4.\n"), ("4.".to_owned(), false));
        assert_eq!(stops.take("\nA"), ("\n\nA".to_owned(), false));
        assert_eq!(stops.take("\n\n"), (String::new(), false));
        assert_eq!(stops.take("Q: 5"), (String::new(), true));
    }

    #[test]
    fn the_earliest_stop_counts_and_the_end_releases_the_rest() {
        let mut stops = StopStrings::new(vec!["cd".to_owned(), "b".to_owned()]);
        assert_eq!(stops.take("abcd"), ("a".to_owned(), true));
        let mut stops = StopStrings::new(vec!["end".to_owned()]);
        assert_eq!(stops.take("über en"), ("über ".to_owned(), false));
        assert_eq!(stops.rest(), "en");
    }
}
