//! What the papers claim, where it can be seen on made sequences of up to 8192 tokens. Figures are printed with
//! `--nocapture`.

use super::super::Seen;
use super::super::measure::{Comparison, QUERIES, compare};
use super::made::{Made, method};

fn measured(made: &Made, name: &str, rule: &str, top: usize) -> Comparison {
    let found =
        made.with(|group| compare(group, method(name, rule).as_ref(), QUERIES, top).unwrap());
    print(&format!("{name} {}", rule.replace('\n', ", ")), &found);
    found
}

#[expect(
    clippy::print_stdout,
    reason = "figures for whoever runs a test by hand"
)]
fn print_line(line: &str) {
    println!("{line}");
}

fn print(what: &str, found: &Comparison) {
    print_line(&format!(
        "{what}: recall {:.3} mass {:.3} error {:.4} (p95 {:.4}, worst {:.4}) cosine {:.4} cost {:.4} keys {}",
        found.recall.mean,
        found.mass.mean,
        found.relative_l2.mean,
        found.relative_l2.p95,
        found.relative_l2.worst,
        found.cosine.mean,
        found.cost(),
        found.kept_keys_max
    ));
}

#[test]
fn delta_lowers_the_error_of_a_window_for_less_than_two_percent_of_exact_attention() {
    for seed in [1, 2, 3] {
        let made = Made::zipf(8192, 1.0, seed);
        let window = measured(&made, "sink-window", "sink = 64\nwindow = 512", 64);
        let rule = "sink = 64\nwindow = 512\ntail = 0";
        let delta = measured(&made, "delta", rule, 64);
        let recompute = format!("{rule}\nmode = \"recompute\"");
        let recompute = measured(&made, "delta", &recompute, 64);
        assert!(delta.cost() - window.cost() < 0.02);
        assert!(delta.relative_l2.mean < 0.6 * window.relative_l2.mean);
        // It is the correction that helps, not that two of 128 queries are exact.
        assert_eq!(recompute.score_evaluations, delta.score_evaluations);
        assert!(recompute.relative_l2.mean > 0.9 * window.relative_l2.mean);
    }
}

#[test]
fn delta_lowers_the_mean_error_of_hip() {
    let made = Made::zipf(8192, 1.0, 2);
    let hip = measured(&made, "hip", "k = 256\ndense_layers = 0", 64);
    let rule = "base = \"hip\"\nk = 256\ntail = 0";
    let delta = measured(&made, "delta", rule, 64);
    assert!(delta.cost() - hip.cost() < 0.02);
    assert!(delta.relative_l2.mean < hip.relative_l2.mean);
    // Blocks of queries choose anew: a difference holds best for the block it was measured in.
    let aligned = format!("{rule}\nblock_size_q = 64");
    let aligned = measured(&made, "delta", &aligned, 64);
    assert!(aligned.relative_l2.mean < 0.8 * hip.relative_l2.mean);
}

#[test]
fn hip_finds_the_keys_queries_look_back_to_where_neighbours_are_alike() {
    let made = Made::topics(8192, 0.98, 3000, 3);
    let window = measured(&made, "sink-window", "sink = 64\nwindow = 480", 64);
    let hip = measured(&made, "hip", "k = 512\ndense_layers = 0", 64);
    assert!(hip.recall.mean > 0.95 && hip.mass.mean > 0.85);
    assert!(window.recall.mean < 0.2);
    // As many keys as it keeps cannot all be found: those far down the ranking stand alone.
    let all = measured(&made, "hip", "k = 512\ndense_layers = 0", 512);
    assert!(all.recall.mean > 0.5);
    assert!(hip.cost() < 0.5);
    let infinite = "k = 512\nthird_k = 1024\nsecond_k = 2048\nsink = 16\nwindow = 16\ndense_below = 0\ndense_layers = 0";
    let infinite = measured(&made, "infinite-hip", infinite, 64);
    assert!(infinite.recall.mean > 0.95 && infinite.cost() < 0.5);
    // Representatives say nothing of their neighbours in noise: the search is not much better than chance.
    let noise = Made::topics(8192, 0.0, 3000, 3);
    let lost = measured(&noise, "hip", "k = 512\ndense_layers = 0", 64);
    assert!(lost.recall.mean < 0.5);
}

/// The last query of `head` 0 that looked at `key`.
struct LastLook {
    key: u32,
    last: usize,
}

impl Seen for LastLook {
    fn wants(&self, _token: usize) -> bool {
        true
    }

    fn saw(&mut self, _head: usize, token: usize, positions: &[u32], _shares: &[f32]) {
        if positions.contains(&self.key) {
            self.last = self.last.max(token);
        }
    }
}

#[test]
fn a_cascade_keeps_a_needle_longer_than_a_window_of_the_same_size() {
    let mut made = Made::noise(2500, 1, (32, 8), 4);
    let needle = 300;
    for token in 0..made.tokens {
        made.queries[0][token * 32] = 6.0;
        made.keys[token * 32] = 0.0;
    }
    // A logit of 6 among logits with a deviation of 1.
    made.keys[needle * 32] = 32.0_f32.sqrt();
    let last = |name: &str, rule: &str| {
        let mut look = LastLook { key: 300, last: 0 };
        let kept = made.with(|group| {
            let attended = method(name, rule).attend(group, Some(&mut look)).unwrap();
            attended.kept_keys_max
        });
        (look.last - needle, kept)
    };
    let (window, window_keys) = last("sink-window", "sink = 16\nwindow = 264");
    let rule = "sink = 16\nwindow = 256\ncascades = 4\nstride = 8\npositions = \"original\"";
    let (cascade, cascade_keys) = last("cascade", rule);
    print_line(&format!(
        "tokens a needle is kept: window {window}, cascade {cascade}"
    ));
    assert_eq!((window, window_keys, cascade_keys), (263, 280, 280));
    assert!(cascade > 3 * window, "{cascade}");
}

/// Mean and largest minus smallest of the errors with three seeds.
fn over_seeds(made: &Made, name: &str, rule: &str) -> (f64, f64) {
    let error = |seed: u64| {
        let rule = format!("{rule}\nseed = {seed}");
        measured(made, name, &rule, 64).relative_l2.mean
    };
    let errors = [0, 1, 2].map(error);
    let spread = errors.iter().copied().fold(f64::NEG_INFINITY, f64::max)
        - errors.iter().copied().fold(f64::INFINITY, f64::min);
    (errors.iter().sum::<f64>() / 3.0, spread)
}

#[test]
fn balance_kv_is_no_worse_than_a_uniform_sample_of_the_same_size() {
    for made in [
        Made::topics(2048, 0.9, 600, 5),
        Made::zipf(2048, 0.5, 5),
        Made::noise(2048, 1, (32, 32), 5),
    ] {
        let (uniform, of_uniform) = over_seeds(&made, "uniform", "keep = 0.25");
        let (balance, of_balance) = over_seeds(&made, "balance-kv", "iterations = 2");
        let errors =
            format!("{balance:.4} (spread {of_balance:.4}), {uniform:.4} (spread {of_uniform:.4})");
        print_line(&format!("balance-kv and uniform: {errors}"));
        assert!(balance < uniform, "{errors}");
    }
}

#[test]
fn hashed_blocks_find_more_of_the_top_keys_than_as_many_random_ones() {
    let mut made = Made::topics(2048, 0.9, 0, 6);
    made.causal = false;
    let rule = "block_size = 128\nsample_size = 0";
    for (name, rule) in [
        ("hyper", format!("{rule}\nmin_seq_len = 1")),
        ("kdeformer", rule.to_owned()),
    ] {
        let found = measured(&made, name, &rule, 32);
        // A sixteenth of the keys.
        assert!(
            found.recall.mean > 3.0 / 16.0 && found.mass.mean > 5.0 / 16.0,
            "{name}"
        );
    }
}

#[test]
fn larger_samples_lower_the_errors_of_methods_that_sample() {
    let decoder = Made::noise(1024, 1, (16, 16), 7);
    let mut encoder = decoder.clone();
    encoder.causal = false;
    for (made, name, few, many) in [
        (
            &decoder,
            "subgen",
            "slots = 16\nsamples = 16\nradius = 1e6",
            "slots = 512\nsamples = 512\nradius = 1e6",
        ),
        (
            &decoder,
            "hyper",
            "min_seq_len = 64\nsample_size = 16\nblock_size = 32",
            "min_seq_len = 64\nsample_size = 512\nblock_size = 32",
        ),
        (
            &encoder,
            "kdeformer",
            "sample_size = 16\nblock_size = 32",
            "sample_size = 512\nblock_size = 32",
        ),
        (&decoder, "uniform", "keep = 0.03", "keep = 0.5"),
    ] {
        let [few, many] = [few, many].map(|rule| measured(made, name, rule, 64).relative_l2.mean);
        assert!(many < 0.5 * few, "{name}: {few} {many}");
    }
}

#[test]
fn weighted_samples_are_right_on_average_and_fixed_keys_of_weight_one_are_not() {
    let made = Made::zipf(512, 0.5, 8);
    let exact = made.attend("exact", "").outputs.remove(0);
    let rule = "min_seq_len = 32\nblock_size = 16\nsample_size = 128";
    // Errors of the mean of the outputs with several seeds, which also draw other hashes.
    let error = |rule: &str| {
        let seeds = 24_u8;
        let mut mean = vec![0.0_f32; exact.view().data().len()];
        for seed in 0..seeds {
            let outputs = made
                .attend("hyper", &format!("{rule}\nseed = {seed}"))
                .outputs;
            for (mean, value) in mean.iter_mut().zip(outputs[0].view().data()) {
                *mean += value / f32::from(seeds);
            }
        }
        let of = exact.view().data();
        let square = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>();
        let error = square(&mut mean.iter().zip(of).map(|(mean, exact)| mean - exact));
        (error / square(&mut of.iter().copied())).sqrt()
    };
    let theory = error(rule);
    let shipped = error(&format!("{rule}\nvariant = \"shipped\""));
    assert!(theory < 0.6 * shipped, "{theory} {shipped}");
}
