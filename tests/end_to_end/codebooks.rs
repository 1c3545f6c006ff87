//! Tables with local scales and error compensation on a real decoder, against the best row of the reference at each
//! size: an independent run of GPTQ on uniform grids in Python.

#![expect(clippy::print_stdout, reason = "figures for a reader of the test log")]

use crate::quench;
use crate::reference::{WIKI, found, reference};
use serde_json::Value;
use std::path::Path;

/// The report of the embedded model, quantized with tables of 3 bits and `keys`.
fn demo(home: &Path, keys: &str) -> Value {
    let recipe = format!(
        "name = 'tables'\n[calibration]\nsamples = 6\nsequence_length = 48\n\
         [[layers]]\nmatch = '*'\nmethod = 'gptq'\ngrid = 'codebook'\nbits = 3\ngroup_size = 32\n\
         scale_bits = 8\n{keys}[output]\nformat = 'quench'\n"
    );
    std::fs::write(home.join("recipe.toml"), recipe).unwrap();
    let arguments = ["--recipe", "recipe.toml", "--force", "--json", "-o", "out"];
    let arguments = [&["quantize", "demo"], &arguments[..]].concat();
    serde_json::from_str(&quench(home, &arguments)).unwrap()
}

#[test]
fn a_hessian_for_each_group_of_rows_gives_another_matrix() {
    let home = tempfile::tempdir().unwrap();
    let divergence = |keys: &str| -> f64 {
        let report = demo(home.path(), keys);
        let scores = report["scores"].as_array().unwrap();
        let score = |score: &&Value| score["metric"] == "kl_divergence";
        scores.iter().find(score).unwrap()["quantized"]
            .as_f64()
            .unwrap()
    };
    let plain = divergence("sequential = false\n");
    let mut found = vec![plain];
    for guided in [1, 4] {
        let divergence = divergence(&format!("sequential = false\nguided = {guided}\n"));
        // So few samples say little of gradients, but they do say something.
        assert!(divergence < 1.5 * plain, "{guided}: {divergence} {plain}");
        assert!(!found.contains(&divergence), "{guided}: {found:?}");
        found.push(divergence);
    }
}

#[test]
fn gradients_hessians_and_outliers_meet_in_one_layer() {
    let home = tempfile::tempdir().unwrap();
    let report = demo(
        home.path(),
        "weights = 'fisher'\noutlier_fraction = 0.004\nsensitive_fraction = 0.0005\n",
    );
    for layer in report["layers"].as_array().unwrap() {
        // Both statistics were there, and the result was measured with both.
        assert!(layer["weighted_error"].is_number(), "{layer}");
        assert!(layer["output_sqnr_db"].is_number(), "{layer}");
    }
    let bits = report["size"]["bits_per_weight_linear"].as_f64().unwrap();
    assert!((3.3..4.6).contains(&bits), "{bits}");
}

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
