//! Trellis codes on a real decoder, against the best rows of independent programs at no less true bits.

#![expect(clippy::print_stdout, reason = "figures for a reader of the test log")]

use crate::reference::{WIKI, found, reference};

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn trellis_on_wiki_llama_loses_less_than_half_of_the_best_rows_of_its_size() {
    let home = tempfile::tempdir().unwrap();
    for (bits, row) in [(2, "gptq-int2-g32"), (3, "gptq-int3-g32")] {
        let rules = format!(
            "[[layers]]\nmatch = '*'\nmethod = 'trellis'\nbits = {bits}\nstate_bits = 12\n"
        );
        let found = found(home.path(), &WIKI, 128, &rules);
        let expected = reference(&WIKI, row);
        println!("{row}: {expected:?}, trellis of {bits} bits {found:?}");
        assert!(found.bits < expected.bits, "{row}");
        assert!(found.divergence < 0.5 * expected.divergence, "{row}");
        assert!(found.perplexity < expected.perplexity, "{row}");
    }
}
