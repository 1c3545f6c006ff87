//! Settings with which a method drops nothing: the same bits as exact attention where it takes the same sums.

use super::super::Attended;
use super::made::Made;

/// Largest difference of two outputs, of the largest exact one.
fn difference(found: &Attended, exact: &Attended) -> f32 {
    let mut largest = (0.0_f32, 0.0_f32);
    for (found, exact) in found.outputs.iter().zip(&exact.outputs) {
        for (x, y) in found.view().data().iter().zip(exact.view().data()) {
            largest = (largest.0.max((x - y).abs()), largest.1.max(y.abs()));
        }
    }
    largest.0 / largest.1
}

#[test]
fn budgets_of_everything_give_the_bits_of_exact_attention() {
    let rules = [
        ("sink-window", "sink = 0\nwindow = 70"),
        ("sink-window", "sink = 69\nwindow = 1"),
        ("uniform", "keep = 1.0\nsink = 2\nwindow = 3\nbatch = 8"),
        (
            "uniform",
            "keep = 1\nsink = 2\nwindow = 3\nprotocol = \"prompt\"\ngenerated = 9",
        ),
        (
            "balance-kv",
            "iterations = 0\nsink = 2\nwindow = 3\nbatch = 8",
        ),
        ("balance-kv", "sink = 0\nwindow = 70"),
        (
            "subgen",
            "variant = \"centres\"\nkeep = 1.0\nsink = 2\nwindow = 3\nbatch = 8",
        ),
        ("subgen", "window = 70"),
        ("hyper", "min_seq_len = 70"),
        ("hip", "k = 70\nblock_size_q = 8\ndense_layers = 0"),
        ("hip", "k = 2\ndense_layers = 6"),
        (
            "infinite-hip",
            "k = 70\nblock_size_q = 8\nsink = 2\nwindow = 4\ndense_below = 0\ndense_layers = 0",
        ),
        (
            "infinite-hip",
            "k = 1\nsink = 2\nwindow = 70\ndense_below = 0\ndense_layers = 0",
        ),
        ("delta", "gamma = 1\ntail = 0\nsink = 2\nwindow = 3"),
        ("delta", "gamma = 1\ntail = 0\nbase = \"hip\"\nk = 2"),
        (
            "delta",
            "gamma = 1\nmode = \"recompute\"\ntail = 0\nsink = 2\nwindow = 3",
        ),
        ("delta", "sink = 2\nwindow = 3\ntail = 70"),
        ("delta", "gamma = 7\ntail = 0\nsink = 0\nwindow = 70"),
        (
            "cascade",
            "sink = 6\nwindow = 64\ncascades = 4\nstride = 9\npositions = \"original\"",
        ),
        // No key moves, so none is rotated.
        ("cascade", "sink = 6\nwindow = 64\ncascades = 4\nstride = 9"),
    ];
    for heads in [1, 3] {
        let made = Made::noise(70, heads, (19, 6), 1);
        let exact = made.attend("exact", "");
        for (name, rule) in rules {
            assert_eq!(
                made.attend(name, rule).outputs,
                exact.outputs,
                "{name}\n{rule}"
            );
        }
    }
}

#[test]
fn one_block_without_a_sample_gives_the_bits_of_exact_attention_of_an_encoder() {
    let mut made = Made::noise(70, 3, (19, 6), 1);
    made.causal = false;
    let exact = made.attend("exact", "");
    for (name, rule) in [
        ("sink-window", "window = 70"),
        ("hyper", "sample_size = 0\nblock_size = 70\nmin_seq_len = 1"),
        ("kdeformer", "sample_size = 0\nblock_size = 70"),
        // Nothing is outside of the block.
        ("kdeformer", "sample_size = 9\nblock_size = 70"),
    ] {
        assert_eq!(
            made.attend(name, rule).outputs,
            exact.outputs,
            "{name}\n{rule}"
        );
    }
}

#[test]
fn parts_merged_by_log_sum_exp_are_exact_attention_up_to_rounding() {
    // The recursion sums halves apart: equal up to the rounding of f32 sums.
    let made = Made::noise(200, 2, (16, 16), 2);
    let exact = made.attend("exact", "");
    let found = made.attend(
        "hyper",
        "sample_size = 0\nblock_size = 200\nmin_seq_len = 3",
    );
    let off = difference(&found, &exact);
    assert!(off > 0.0 && off < 1e-6, "{off}");
}

#[test]
fn a_key_that_is_moved_scores_as_the_distance_says() {
    let made = Made::noise(90, 2, (16, 4), 3);
    let rule = "k = 8\nthird_k = 8\nsecond_k = 8\nsink = 0\nwindow = 6\nblock_size_q = 4\ndense_below = 0\ndense_layers = 0";
    let original = made.attend("infinite-hip", rule);
    let moved = made.attend(
        "infinite-hip",
        &format!("{rule}\npositions = \"consecutive\""),
    );
    // Up to 8 keys and 6 of the window nothing is dropped, so nothing moves.
    for token in 0..14 {
        assert_eq!(moved.outputs[0].row(token), original.outputs[0].row(token));
    }
    assert!(difference(&moved, &original) > 1e-3);
    // A cache that is a window moves queries and keys by the same distance: only rounding differs.
    let rule = "sink = 0\nwindow = 8\ncascades = 1\nstride = 1";
    let moved = made.attend("cascade", rule);
    let original = made.attend("cascade", &format!("{rule}\npositions = \"original\""));
    let off = difference(&moved, &original);
    assert!(off < 2e-5, "{off}");
}
