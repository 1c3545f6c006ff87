//! JSON lines of `--progress json`: one object per event, always with `event`.

use super::{FinishedLayer, memory};
use serde_json::json;

/// `started`, `progress` and `finished` of something counted.
pub(super) fn track(event: &str, name: &str, done: u64, total: u64, seconds: f64) -> String {
    json!({
        "event": event,
        "name": name,
        "done": done,
        "total": total,
        "seconds": seconds,
        "memory_bytes": memory::resident_bytes(),
    })
    .to_string()
}

/// `layer`: a finished layer.
pub(super) fn layer(layer: &FinishedLayer) -> String {
    json!({
        "event": "layer",
        "index": layer.index,
        "count": layer.count,
        "name": layer.name,
        "method": layer.method,
        "bits": layer.bits,
        "outlier_fraction": layer.outlier_fraction,
        "original_bytes": layer.original_bytes,
        "bytes": layer.bytes,
        "sqnr_db": layer.sqnr_db,
        "seconds": layer.seconds,
        "memory_bytes": memory::resident_bytes(),
    })
    .to_string()
}

/// `note`, `detail` and `warning`.
pub(super) fn text(kind: &str, text: &str) -> String {
    json!({ "event": kind, "text": text }).to_string()
}
