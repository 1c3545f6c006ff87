//! Tokens per second, beside a copy to f16 and back. Run with `--ignored --nocapture` on an idle machine.

use super::data::{fitted, normal, shape};
use crate::MatrixRef;
use crate::caches::Part;
use std::time::Instant;

const TOKENS: usize = 512;
const HEADS: usize = 8;
const DIM: usize = 128;

/// Seconds of the fastest of several runs.
fn seconds(mut run: impl FnMut()) -> f64 {
    (0..15)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

#[test]
#[ignore = "prints timings"]
#[expect(clippy::print_stdout, reason = "what it is for")]
fn tokens_per_second_of_every_method_by_hand() {
    use half::slice::HalfFloatSliceExt;
    let width = HEADS * DIM;
    let data = normal(TOKENS * width, 1);
    let tokens = MatrixRef::new(&data, TOKENS, width).unwrap();
    let mut halves = vec![half::f16::ZERO; data.len()];
    let mut back = vec![0.0; data.len()];
    let to = seconds(|| halves.convert_from_f32_slice(&data));
    let from = seconds(|| halves.convert_to_f32_slice(&mut back));
    let line = |name: &str, part: &str, to_bytes: f64, from_bytes: f64| {
        println!(
            "{name:40} {part:6} encode {:>9.0} tokens/s ({:>6.2} x f16)  decode {:>9.0} tokens/s ({:>6.2} x f16)  both {:>6.2} x",
            TOKENS as f64 / to_bytes,
            to_bytes / to,
            TOKENS as f64 / from_bytes,
            from_bytes / from,
            (to_bytes + from_bytes) / (to + from),
        );
    };
    line("f16 copy", "", to, from);
    let rules = [
        ("fp8", ""),
        ("int8-token-head", ""),
        ("int4-token-head", ""),
        ("q8_0", ""),
        ("q4_0", ""),
        ("kivi", "bits = 4"),
        ("kivi", "bits = 2"),
        ("kvquant", "bits = 4"),
        ("kvquant", "bits = 3"),
        ("kvquant", "bits = 4\noutlier_fraction = 0"),
        ("turbo", "bits = 4\nvalues = \"mse\""),
        ("turbo", "bits = 3"),
        ("turbo", "bits = 4\nkeys = \"prod\""),
        ("polar", ""),
        ("qjl", ""),
    ];
    for (name, rule) in rules {
        let (_, codec) = fitted(name, rule, shape(HEADS, DIM), &data).unwrap();
        for part in Part::ALL {
            let encoded = codec.encode(part, tokens);
            let to_bytes = seconds(|| drop(codec.encode(part, tokens)));
            let from_bytes = seconds(|| codec.decode(part, &encoded, &mut back));
            let label = format!("{name} {}", rule.replace('\n', ", "));
            line(&label, part.name(), to_bytes, from_bytes);
        }
    }
}
