//! SqueezeLLM on real decoders, against independent runs of it in Python.

#![expect(clippy::print_stdout, reason = "figures for a reader of the test log")]

use crate::reference::{Damage, Decoder, STORIES, WIKI, found, reference};

const SPARSE: &str = "outlier_fraction = 0.004\nsensitive_fraction = 0.0005\n";

/// At 4 and 3 bits no worse than SqueezeLLM with its own k-means; at 2 bits, where the diagonal
/// objective stops predicting the divergence, both are shown.
fn against_reference(decoder: &Decoder, samples: usize) {
    let home = tempfile::tempdir().unwrap();
    for bits in [4, 3, 2] {
        for (is_sparse, kind) in [(false, "dense"), (true, "0.45pct")] {
            let sparse = if is_sparse { SPARSE } else { "" };
            let rule =
                format!("[[layers]]\nmatch = '*'\nmethod = 'squeezellm'\nbits = {bits}\n{sparse}");
            let found = found(home.path(), decoder, samples, &rule);
            let row = format!("squeezellm-{bits}bit-{kind}");
            let expected = reference(decoder, &row);
            println!("{} {row}: {expected:?}, found {found:?}", decoder.name);
            if bits > 2 {
                assert!(found.perplexity <= expected.perplexity, "{row}");
                assert!(found.divergence <= expected.divergence, "{row}");
            }
            if !is_sparse && bits < 4 {
                against_optimum(decoder, bits, found);
            }
        }
    }
}

/// The optimum of the same objective, computed by dynamic programming in Python. What differs is the step
/// after it: they place weights by exact centroids and round those to f16 then, we place them by the rounded
/// ones, which loses less. On wiki-llama at 3 bits that moves two weights of 1.2 million; one of them lies exactly
/// half-way between two f16 entries and is worth 2.3e-6 of the perplexity, the KL divergence being lower.
fn against_optimum(decoder: &Decoder, bits: u8, found: Damage) {
    let row = format!("exactdp-{bits}bit-dense");
    let expected = reference(decoder, &row);
    println!("{} {row}: {expected:?}, found {found:?}", decoder.name);
    let within = |found: f64, expected: f64, share: f64| found <= expected * (1.0 + share);
    assert!(within(found.perplexity, expected.perplexity, 1e-5), "{row}");
    assert!(within(found.divergence, expected.divergence, 1e-4), "{row}");
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn wiki_llama_is_no_worse_than_the_reference() {
    against_reference(&WIKI, 100);
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn stories_are_no_worse_than_the_reference() {
    against_reference(&STORIES, 64);
}
