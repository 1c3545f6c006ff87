//! `quench generate`.

use super::values::{cache_floats, computes, parse_count};
use super::{MachineArgs, SourceArgs};
use calib::plain_cache::CacheFloats;
use clap::Args;
use clap::builder::TypedValueParser;
use quantizers::kernels::Compute;

/// `quench generate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Any decoder that can be evaluated can generate, from a checkpoint or from what quench wrote. Weights
are multiplied as they are stored, codes as codes, in f32 arithmetic unless --compute says otherwise;
trellis codes are decoded when the model is read. Without sampling flags the model's generation_config.json decides, and where there
is none the likeliest token is taken. The same seed gives the same text.")]
pub struct GenerateArgs {
    /// A checkpoint (folder, `org/name[@revision]`, `demo`) or a quantized folder
    pub model: String,
    /// The text to continue; `-` reads it from stdin
    #[arg(short, long, value_name = "TEXT", conflicts_with = "chat")]
    pub prompt: Option<String>,
    /// Measure the speed instead: `pp512` runs a prompt of 512 tokens, `tg128` generates 128 one by one
    #[arg(long, value_name = "TESTS", value_delimiter = ',', value_parser = speed_test, conflicts_with_all = ["prompt", "chat"])]
    pub bench: Vec<SpeedTest>,
    /// Runs of each test of `--bench`, after one that does not count
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = parse_count, requires = "bench")]
    pub repetitions: usize,
    /// Talk to the model through its chat template: a line of stdin is a message; in a terminal arrow keys go back to earlier ones
    #[arg(long)]
    pub chat: bool,
    /// What the conversation begins with
    #[arg(long, value_name = "TEXT", requires = "chat")]
    pub system: Option<String>,
    /// Most tokens of an answer
    #[arg(short = 'n', long, value_parser = parse_count, value_name = "N", default_value_t = 256)]
    pub max_tokens: usize,
    /// Text at which an answer ends; repeatable
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// How packed weights are multiplied with one token, or a few
    #[arg(long, value_name = "HOW", default_value_t, value_parser = computes().try_map(|name| name.parse::<Compute>()))]
    pub compute: Compute,
    /// Floats keys and values are kept as, where the model does not say how they are packed
    #[arg(long, value_name = "FLOATS", default_value_t, value_parser = cache_floats())]
    pub cache_type: CacheFloats,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub source: SourceArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub machine: MachineArgs,
}

/// What `--bench` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeedTest {
    /// Prompt processing: so many tokens at once.
    Prompt(usize),
    /// Token generation: so many one by one.
    Generation(usize),
}

fn speed_test(text: &str) -> Result<SpeedTest, String> {
    let count = |digits: &str| digits.parse().ok().filter(|count| *count > 0);
    let prompt = text.strip_prefix("pp").and_then(count);
    let generation = text.strip_prefix("tg").and_then(count);
    let test = prompt.map(SpeedTest::Prompt);
    test.or(generation.map(SpeedTest::Generation))
        .ok_or_else(|| {
            format!("expected `pp` or `tg` and a number of tokens, as in `pp512`, found `{text}`")
        })
}

/// How tokens are drawn.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingArgs {
    /// Divides the logits; 0 takes the likeliest token
    #[arg(long, value_name = "T", value_parser = at_least_zero)]
    pub temperature: Option<f64>,
    /// Draw from so many of the likeliest tokens; 0: from all
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Draw from the likeliest tokens that together have this probability
    #[arg(long, value_name = "P", value_parser = share)]
    pub top_p: Option<f64>,
    /// Draw from tokens at least so likely as this share of the likeliest
    #[arg(long, value_name = "P", value_parser = share)]
    pub min_p: Option<f64>,
    /// Makes tokens that were there before less likely; 1: no
    #[arg(long, value_name = "X", value_parser = above_zero)]
    pub repetition_penalty: Option<f64>,
    /// Seed of the draws
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

fn number(text: &str, expected: &str, holds: fn(f64) -> bool) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if holds(value) => Ok(value),
        _ => Err(format!("expected {expected}, found `{text}`")),
    }
}

fn at_least_zero(text: &str) -> Result<f64, String> {
    number(text, "a number of at least 0", |value| {
        value.is_finite() && value >= 0.0
    })
}

fn above_zero(text: &str) -> Result<f64, String> {
    number(text, "a number above 0", |value| {
        value.is_finite() && value > 0.0
    })
}

fn share(text: &str) -> Result<f64, String> {
    number(text, "a number from 0 to 1", |value| {
        (0.0..=1.0).contains(&value)
    })
}
