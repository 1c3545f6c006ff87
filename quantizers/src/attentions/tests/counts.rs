//! Score evaluations against closed formulas, and how they grow.

use super::made::Made;

const HEADS: u64 = 2;

/// Score evaluations of `name` on `tokens` tokens.
fn count(tokens: usize, name: &str, rule: &str) -> u64 {
    let made = Made::noise(tokens, 2, (4, 2), 1);
    made.attend(name, rule).score_evaluations
}

/// `1 + 2 + .. + count`.
fn triangle(count: u64) -> u64 {
    count * (count + 1) / 2
}

#[test]
fn exact_and_windows() {
    assert_eq!(count(50, "exact", ""), HEADS * triangle(50));
    let window: u64 = (0..50).map(|token| 10.min(token + 1)).sum();
    assert_eq!(
        count(50, "sink-window", "sink = 3\nwindow = 7"),
        HEADS * window
    );
    let made = Made::noise(50, 2, (4, 2), 1);
    assert_eq!(
        made.attend("sink-window", "sink = 3\nwindow = 7")
            .kept_keys_max,
        10
    );
    assert_eq!(made.attend("exact", "").kept_keys_max, 50);
}

#[test]
fn compressed_caches() {
    // After each batch of 32 that has left the window, 8 of it stay.
    let held = |token: u64| {
        let batches = (token + 1).saturating_sub(3 + 5) / 32;
        token + 1 - batches * (32 - 8)
    };
    let queries: u64 = (0..200).map(held).sum();
    let rule = "sink = 3\nwindow = 5\nbatch = 32";
    assert_eq!(count(200, "uniform", rule), HEADS * queries);
    // 6 batches, each two blocks of 16 and then one.
    let kernels = 6 * 3 * (16 * 15 / 2);
    let balance = format!("{rule}\nblock_size = 16");
    assert_eq!(
        count(200, "balance-kv", &balance),
        HEADS * queries + kernels
    );
    // Each centre is compared with every key of its batch.
    let centres = format!("{rule}\nvariant = \"centres\"");
    assert_eq!(count(200, "subgen", &centres), HEADS * queries + 6 * 32 * 8);
    let made = Made::noise(200, 2, (4, 2), 1);
    let largest = (0..200).map(held).max();
    let kept = made.attend("balance-kv", &balance).kept_keys_max;
    assert_eq!(Some(kept as u64), largest);
    // With all but the last 40 as the prompt: exact, then 3 + 5 kept, 152 made 38, and what is generated.
    let prompt = "sink = 3\nwindow = 5\nprotocol = \"prompt\"\ngenerated = 40";
    let generated: u64 = (1..=40).map(|new| 3 + 5 + 38 + new).sum();
    assert_eq!(
        count(200, "uniform", prompt),
        HEADS * (triangle(160) + generated)
    );
}

#[test]
fn streams() {
    // One cluster: every token but the first is compared with its centre, for all heads together.
    let rule = "radius = 1e6\nslots = 20\nsamples = 6";
    assert_eq!(count(90, "subgen", rule), HEADS * 90 * 26 + 89);
    let made = Made::noise(90, 2, (4, 2), 1);
    assert_eq!(made.attend("subgen", rule).kept_keys_max, 20 + 7);
    // Read one by one, a query sees the cache and itself.
    let cached: u64 = (0..90).map(|token| 15.min(token) + 1).sum();
    let rule = "sink = 3\nwindow = 12\ncascades = 3\nstride = 1";
    assert_eq!(count(90, "cascade", rule), HEADS * cached);
    assert_eq!(made.attend("cascade", rule).kept_keys_max, 16);
}

#[test]
fn searches() {
    // The second block of 64 queries halves 16 segments of 4 keys twice, and sees 16 of them.
    let rule = "k = 16\nblock_size_q = 64\nblock_size_k = 1\ndense_layers = 0";
    let search = 2 * (2 * 16) * 64;
    assert_eq!(
        count(128, "hip", rule),
        HEADS * (2 * triangle(64) + search + 64 * 16)
    );
    // From key 256 on: 8 chunks of 32 by 5 halvings for every fourth query, 4 chunks of 8 by 3 for each; before them, from
    // key 512 on, 2 chunks of 256 by 8.
    let rule = "second_k = 256\nthird_k = 32\nk = 8\nblock_size_q = 256\nsink = 0\nwindow = 0\ndense_below = 0\ndense_layers = 0";
    let later = 8 * 2 * 5 * 64 + 4 * 2 * 3 * 256;
    let first = 2 * 2 * 8 * 64;
    assert_eq!(
        count(768, "infinite-hip", rule),
        HEADS * (3 * triangle(256) + 2 * (later + 256 * 8) + first)
    );
}

#[test]
fn blocks_and_corrections() {
    // 4 parts of 64 tokens, one of 128 by 128 and two of 64 by 64 without a mask.
    let rule = "variant = \"shipped\"\nmin_seq_len = 64\nblock_size = 16\nsample_size = 8";
    assert_eq!(
        count(256, "hyper", rule),
        HEADS * (4 * triangle(64) + (128 + 2 * 64) * (16 + 8))
    );
    let mut made = Made::noise(256, 2, (4, 2), 1);
    made.causal = false;
    let blocks = made
        .attend("kdeformer", "block_size = 16\nsample_size = 0")
        .score_evaluations;
    assert_eq!(blocks, HEADS * 256 * 16);
    // At most the sample is added, and what is in the block is not.
    let sampled = made
        .attend("kdeformer", "block_size = 16\nsample_size = 32")
        .score_evaluations;
    assert!(
        sampled > HEADS * 256 * (16 + 24) && sampled < HEADS * 256 * (16 + 32),
        "{sampled}"
    );
    let window: u64 = (0..100).map(|token| 10.min(token + 1)).sum();
    let anchors: u64 = (0..80).step_by(5).map(|token| token + 1).sum();
    let tail = triangle(100) - triangle(80);
    let rule = "sink = 3\nwindow = 7\ngamma = 5\ntail = 20";
    assert_eq!(count(100, "delta", rule), HEADS * (window + anchors + tail));
}

#[test]
fn doubling_the_tokens_doubles_the_work_of_methods_that_are_not_quadratic() {
    // What a query costs may grow as a logarithm: here from log2(16) to log2(32), or 1.25 times.
    for (name, rule, causal) in [
        ("sink-window", "sink = 16\nwindow = 128", true),
        ("cascade", "sink = 16\nwindow = 128\nstride = 64", true),
        ("subgen", "radius = 1e6\nslots = 64", true),
        ("hip", "k = 128\ndense_layers = 0", true),
        (
            "hyper",
            "block_size = 64\nsample_size = 64\nmin_seq_len = 128",
            true,
        ),
        (
            "hyper",
            "block_size = 64\nsample_size = 64\nmin_seq_len = 128",
            false,
        ),
        ("kdeformer", "sample_size = 128", false),
    ] {
        let counts = [2048, 4096, 8192].map(|tokens| {
            let mut made = Made::noise(tokens, 1, (4, 2), 1);
            made.causal = causal;
            made.attend(name, rule).score_evaluations as f64
        });
        for pair in counts.windows(2) {
            let growth = pair[1] / pair[0];
            assert!((1.9..2.7).contains(&growth), "{name}: {growth}");
        }
    }
    // The first stage of InfiniteHiP looks at a fraction of all keys, for a fraction of all queries.
    let rule = "k = 64\nthird_k = 256\nsecond_k = 1024\nsink = 16\nwindow = 64\ndense_below = 0\ndense_layers = 0";
    let infinite = count(8192, "infinite-hip", rule);
    assert!(infinite < HEADS * triangle(8192) / 5, "{infinite}");
}
