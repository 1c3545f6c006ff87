//! Attention to fewer keys: in an artifact, and in texts that hide something.

use crate::caches::{QUICK, RECIPE, divergence, methods, quantized};
use crate::workbench::Workbench;
use serde_json::Value;

const WINDOW: &str = "[attention]\nmethod = \"sink-window\"\nsink = 2\nwindow = 16\n";

#[test]
fn a_recipe_names_the_keys_that_are_attended_to_and_the_artifact_runs_with_it() {
    let bench = Workbench::new();
    let plain = quantized(&bench, "plain", "");
    let sparse = quantized(&bench, "sparse", WINDOW);
    assert!(
        divergence(&sparse) > 1.5 * divergence(&plain),
        "the evaluation runs with it: {} {}",
        divergence(&sparse),
        divergence(&plain)
    );
    let kept = quantized(
        &bench,
        "kept",
        &format!("{WINDOW}skip_layers = [0, 1, 2, 3, 4, 5]\n"),
    );
    assert!((divergence(&kept) - divergence(&plain)).abs() < 1e-12);
    let header = fs_err::read_to_string(bench.at("sparse/attention.json")).unwrap();
    let header: Value = serde_json::from_str(&header).unwrap();
    assert_eq!(header["method"], "sink-window");
    assert_eq!(header["parameters"]["window"], 16);
    // Opened again, it is judged with the attention it names.
    let eval = [
        "eval",
        "sparse",
        "--baseline",
        "demo",
        "-r",
        "recipe.toml",
        "--json",
    ];
    let again = bench.quench(&eval);
    assert_eq!(again.code, 0, "{}", again.shown());
    assert!((divergence(&again.json()) - divergence(&sparse)).abs() < 1e-12);
    bench
        .quench(&["generate", "sparse", "-p", "The city of", "-n", "3"])
        .says(3, &["over whole texts"]);
    let path = bench.at("sparse/attention.json");
    let text = fs_err::read_to_string(&path).unwrap();
    fs_err::write(&path, text.replace("sink-window", "sunk-window")).unwrap();
    bench
        .quench(&eval)
        .says(3, &["attention of `sparse`", "`sunk-window`"]);
}

#[test]
fn an_attention_that_cannot_be_is_refused_by_the_plan() {
    let bench = Workbench::new();
    bench.text("text.txt");
    let plan = |table: &str| {
        bench.write("recipe.toml", format!("{RECIPE}{table}"));
        bench.quench(&["plan", "demo", "-r", "recipe.toml"])
    };
    plan("[attention]\nmethod = \"sink-windw\"\n").says(
        3,
        &["unknown attention `sink-windw`", "`sink-window`", "line 16"],
    );
    plan("[cache]\nmethod = \"fp8\"\n[attention]\nmethod = \"hip\"\n").says(
        3,
        &["line 17", "expected one of `[cache]` and `[attention]`"],
    );
    let shown = plan(WINDOW);
    assert!(
        shown.stdout.contains("attention    sink-window sink = 2"),
        "{}",
        shown.shown()
    );
}

#[test]
fn what_is_hidden_in_a_text_is_asked_for_at_its_end() {
    let bench = Workbench::new();
    let words = [
        "cache",
        "demo",
        "--samples",
        "1",
        "--fitting-samples",
        "1",
        "--method",
        "none",
        "--method",
        "sink-window sink=1 window=8",
        "--retrieval",
        "passkey",
        "--retrieval-samples",
        "1",
        "-o",
        "costs",
        "--json",
    ];
    let ended = bench.quench(&words);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    for one in methods(&ended.json()) {
        let cells = one["retrieval"].as_array().unwrap();
        assert_eq!(cells.len(), 10, "two lengths, five depths");
        for cell in cells {
            assert_eq!(cell["task"], "passkey");
            assert_eq!(cell["samples"], 1);
            if one["method"] == "none" {
                assert_eq!(cell["found"], cell["original"], "nothing changes");
            }
        }
    }
    let page = fs_err::read_to_string(bench.at("costs/cache.html")).unwrap();
    assert!(page.contains("Found: passkey"));
    bench
        .quench(&[QUICK, &["--retrieval", "passkey"]].concat())
        .says(3, &["`passkey` in 32 tokens", "--sequence-length"]);
    bench
        .quench(&[QUICK, &["--retrieval", "paskey"]].concat())
        .says(2, &["found `paskey`", "`passkey`"]);
}
