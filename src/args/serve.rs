//! `quench serve`.

use super::values::{cache_floats, computes, parse_count};
use super::{MachineArgs, SourceArgs};
use calib::plain_cache::CacheFloats;
use clap::Args;
use clap::builder::TypedValueParser;
use quantizers::kernels::Compute;
use std::net::IpAddr;

/// `quench serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Decoders answer /v1/completions and /v1/chat/completions, encoders /v1/embeddings; all answer
/v1/models, /health and /metrics, and / is a page to chat on. Texts under way share each pass over the
weights, and each reads as it would alone. Parameters that are not known are refused, not ignored.
Ctrl-C lets texts under way finish, for ten seconds; a second one ends at once.")]
pub struct ServeArgs {
    /// A checkpoint (folder, `org/name[@revision]`, `demo`) or a quantized folder
    pub model: String,
    /// Address to listen on; others than the loopback one let other machines in
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// Port to listen on; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub port: u16,
    /// Key that everything but /health asks for [default: the variable `QUENCH_API_KEY`, else none]
    #[arg(long, value_name = "KEY")]
    pub api_key: Option<String>,
    /// Name of the model in requests [default: that of its folder, or `org/name`]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Texts that are continued together
    #[arg(long, value_name = "N", value_parser = parse_count, default_value_t = 8)]
    pub parallel: usize,
    /// Texts that may wait; more are refused
    #[arg(long, value_name = "N", value_parser = parse_count, default_value_t = 64)]
    pub max_queue: usize,
    /// Most tokens of an answer, which a conversation gets unless it asks for fewer
    #[arg(long, value_name = "N", value_parser = parse_count, default_value_t = 4096)]
    pub max_tokens: usize,
    /// How packed weights are multiplied with one token, or a few
    #[arg(long, value_name = "HOW", default_value_t, value_parser = computes().try_map(|name| name.parse::<Compute>()))]
    pub compute: Compute,
    /// Floats keys and values are kept as, where the model does not say how they are packed
    #[arg(long, value_name = "FLOATS", default_value_t, value_parser = cache_floats())]
    pub cache_type: CacheFloats,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub source: SourceArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become help text")]
    pub machine: MachineArgs,
}
