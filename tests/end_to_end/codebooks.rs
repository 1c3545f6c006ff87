//! Tables with local scales and error compensation on a real decoder, against the best row of the reference at each
//! size: an independent run of GPTQ on uniform grids in Python.

#![expect(clippy::print_stdout, reason = "figures for a reader of the test log")]

use crate::reference::{WIKI, found, reference};

#[test]
#[ignore = "needs QUENCH_ASSETS"]
fn compensated_codebooks_halve_the_divergence_of_uniform_grids_on_wiki_llama() {
    let home = tempfile::tempdir().unwrap();
    for bits in [2, 3, 4] {
        let rules = format!(
            "[[layers]]\nmatch = '*'\nmethod = 'gptq'\ngrid = 'codebook'\nbits = {bits}\ngroup_size = 16\n\
             scale_bits = 6\nact_order = true\npasses = 6\n"
        );
        let found = found(home.path(), &WIKI, 128, &rules);
        let expected = reference(&WIKI, &format!("gptq-int{bits}-g32"));
        println!("{bits} bits: {expected:?}, found {found:?}");
        // The bits of `weight_shape` are not in the reference.
        assert!(found.bits <= expected.bits, "{found:?} {expected:?}");
        assert!(
            found.divergence <= 0.5 * expected.divergence,
            "{found:?} {expected:?}"
        );
        assert!(
            found.perplexity < expected.perplexity,
            "{found:?} {expected:?}"
        );
    }
}
