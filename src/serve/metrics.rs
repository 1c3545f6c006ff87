//! Counts of what the server has done, in the text form of Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What is counted since the start.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// Requests answered, by the first digit of their status.
    answers: [AtomicU64; 6],
    /// Requests refused because too many waited.
    pub(super) refused: Count,
    /// Texts whose clients went away.
    pub(super) cancelled: Count,
    /// Texts that ended.
    pub(super) finished: Count,
    /// Texts embedded.
    pub(super) embedded: Count,
    /// Tokens of prompts that were run.
    pub(super) prompt_tokens: Count,
    /// Tokens that were generated.
    pub(super) new_tokens: Count,
    /// Passes over the weights that generate.
    pub(super) steps: Count,
    /// Time spent on prompts, in microseconds.
    prompt_micros: Count,
    /// Time spent on generating, in microseconds.
    step_micros: Count,
    /// Texts that are being generated.
    running: AtomicU64,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// Adds `more`.
    pub(super) fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    fn add_micros(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.fetch_add(micros, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn seconds(&self) -> f64 {
        self.value() as f64 / 1e6
    }
}

impl Metrics {
    /// A request was answered with `status`.
    pub(super) fn answered(&self, status: u16) {
        if let Some(count) = self.answers.get(usize::from(status / 100)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A prompt of so many tokens took so long.
    pub(super) fn prompt(&self, tokens: usize, time: Duration) {
        self.prompt_tokens.add(tokens);
        self.prompt_micros.add_micros(time);
    }

    /// A step that continued so many texts took so long.
    pub(super) fn step(&self, time: Duration) {
        self.steps.add(1);
        self.step_micros.add_micros(time);
    }

    /// So many texts are being generated.
    pub(super) fn set_running(&self, texts: usize) {
        self.running.store(texts as u64, Ordering::Relaxed);
    }

    /// All of it; `waiting` texts wait.
    pub(super) fn text(&self, waiting: usize) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, value: &str| {
            let _ = write!(
                text,
                "# HELP quench_{name} {help}\n# TYPE quench_{name} {kind}\nquench_{name} {value}\n"
            );
        };
        let counters: [(&str, &str, &Count); 7] = [
            (
                "refused_total",
                "Requests refused because too many waited.",
                &self.refused,
            ),
            (
                "cancelled_total",
                "Texts whose clients went away.",
                &self.cancelled,
            ),
            ("finished_total", "Texts that ended.", &self.finished),
            ("embedded_total", "Texts embedded.", &self.embedded),
            (
                "prompt_tokens_total",
                "Tokens of prompts that were run.",
                &self.prompt_tokens,
            ),
            (
                "generated_tokens_total",
                "Tokens that were generated.",
                &self.new_tokens,
            ),
            (
                "steps_total",
                "Passes over the weights that generate.",
                &self.steps,
            ),
        ];
        for (name, help, count) in counters {
            family(name, "counter", help, &count.value().to_string());
        }
        let times = [
            (
                "prompt_seconds_total",
                "Time spent on prompts.",
                &self.prompt_micros,
            ),
            (
                "step_seconds_total",
                "Time spent on generating.",
                &self.step_micros,
            ),
        ];
        for (name, help, time) in times {
            family(name, "counter", help, &time.seconds().to_string());
        }
        let running = self.running.load(Ordering::Relaxed).to_string();
        family(
            "running",
            "gauge",
            "Texts that are being generated.",
            &running,
        );
        family("waiting", "gauge", "Texts that wait.", &waiting.to_string());
        text.push_str("# HELP quench_answers_total Requests answered, by kind of status.\n");
        text.push_str("# TYPE quench_answers_total counter\n");
        for (digit, count) in self.answers.iter().enumerate().skip(1) {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(text, "quench_answers_total{{status=\"{digit}xx\"}} {count}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_follows_its_help_and_type() {
        let metrics = Metrics::default();
        metrics.answered(404);
        metrics.prompt(12, Duration::from_millis(1500));
        let text = metrics.text(3);
        for line in [
            "quench_answers_total{status=\"4xx\"} 1",
            "quench_prompt_tokens_total 12",
            "quench_prompt_seconds_total 1.5",
            "quench_waiting 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        let of = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(of("# HELP"), of("# TYPE"));
    }
}
