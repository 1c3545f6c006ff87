//! Whether statistics are kept, shared or measured on the way changes nothing in what is written.

use crate::quench;
use std::path::Path;

const CALIBRATION: &str =
    "[calibration]\ndata = \"synthetic\"\nsamples = 8\nsequence_length = 64\n";
const GRADIENTS: &str = "method = \"squeezellm\"\nbits = 3\n";
const GUIDED: &str = "method = \"lnq\"\nbits = 2\nguided = 2\n";
const INPUTS: &str = "method = \"rtn\"\nbits = 3\nclip = \"input_mse\"\n";

/// Quantizes the embedded model by `recipe` and returns the weights file.
fn weights(folder: &Path, recipe: &str, flags: &[&str]) -> Vec<u8> {
    std::fs::write(folder.join("recipe.toml"), format!("{CALIBRATION}{recipe}")).unwrap();
    let mut words = vec![
        "quantize",
        "demo",
        "-r",
        "recipe.toml",
        "-o",
        "out",
        "--force",
        "--no-eval",
    ];
    words.extend(flags);
    quench(folder, &words);
    std::fs::read(folder.join("out/model.safetensors")).unwrap()
}

fn rule(pattern: &str, method: &str) -> String {
    format!("[[layers]]\nmatch = \"{pattern}\"\n{method}")
}

#[test]
fn layers_that_read_gradients_beside_layers_that_read_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let mixed = rule("*.down_proj", INPUTS) + &rule("*", GRADIENTS);
    let walked = weights(folder.path(), &mixed, &[]);
    let kept = weights(folder.path(), &mixed, &["--keep-statistics"]);
    assert!(walked == kept, "keeping the statistics changed the weights");
    let found = weights(folder.path(), &mixed, &["--keep-statistics"]);
    assert!(
        kept == found,
        "statistics of the run before changed the weights"
    );
}

#[test]
fn gradients_measured_block_by_block_are_those_that_are_kept() {
    for method in [GRADIENTS, GUIDED] {
        let folder = tempfile::tempdir().unwrap();
        let walked = weights(folder.path(), &rule("*", method), &[]);
        let kept = weights(folder.path(), &rule("*", method), &["--keep-statistics"]);
        assert!(walked == kept, "{method}");
    }
}

#[test]
fn statistics_of_rewritten_blocks_are_of_the_rewritten_weights() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = format!(
        "[[transform]]\nmethod = \"smoothquant\"\n{}",
        rule("*", INPUTS)
    );
    let walked = weights(folder.path(), &recipe, &[]);
    let kept = weights(folder.path(), &recipe, &["--keep-statistics"]);
    assert!(
        walked == kept,
        "statistics of the original weights were read"
    );
}
