//! Tables and labels fitted to Hessians, on a real decoder, against tables fitted to the Fisher alone and against
//! compensated uniform grids.

#![expect(clippy::print_stdout, reason = "figures for a reader of the test log")]

use crate::reference::{WIKI, found, reference};

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn guided_hessians_lose_far_less_than_the_fisher_alone_at_the_same_size() {
    let home = tempfile::tempdir().unwrap();
    for bits in [4, 3, 2] {
        let lost = |guided: usize| {
            let rule = format!(
                "[[layers]]\nmatch = '*'\nmethod = 'lnq'\nbits = {bits}\nguided = {guided}\n"
            );
            found(home.path(), &WIKI, 128, &rule)
        };
        let (guided, plain) = (lost(1), lost(0));
        let fisher = reference(&WIKI, &format!("squeezellm-{bits}bit-dense"));
        println!("{bits} bits: guided {guided:?}, plain {plain:?}, SqueezeLLM {fisher:?}");
        assert!(guided.bits <= fisher.bits * 1.002);
        assert!(guided.divergence < plain.divergence);
        assert!(guided.divergence < 0.6 * fisher.divergence);
        assert!(guided.perplexity < fisher.perplexity);
    }
}

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn float_zero_points_lose_at_most_a_twentieth_more_than_the_reference() {
    let home = tempfile::tempdir().unwrap();
    for bits in [4, 3] {
        let rule = format!(
            "[[layers]]\nmatch = '*'\nmethod = 'hqq'\nbits = {bits}\ngroup_size = 32\n\
             group_size_fallback = 'shorter_last_group'\n"
        );
        let found = found(home.path(), &WIKI, 1, &rule);
        let expected = reference(&WIKI, &format!("hqq-int{bits}-g32"));
        println!("{bits} bits: {expected:?}, found {found:?}");
        assert!(found.bits <= expected.bits * 1.002);
        assert!(found.divergence <= 1.05 * expected.divergence);
    }
}
