//! A search of a small space: it stops where it is told to, goes on later, and ends with a recipe.

use crate::{fails, quench};
use serde_json::Value;

const SPACE: &str = "name = 'grids'\nrecipe = 'w3'\n[[dimension]]\nname = 'bits'\nkey = 'rules.bits'\nvalues = [3, 4]\n[[dimension]]\nname = 'clip'\nkey = 'rules.clip'\nvalues = ['none', 'mse']\n";

#[test]
fn a_search_goes_on_where_it_was_left_and_writes_the_best_recipe() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("space.toml"), SPACE).unwrap();
    let search = |evaluations: &str| -> Value {
        let words = [
            "search",
            "demo",
            "--space",
            "space.toml",
            "--evaluations",
            evaluations,
            "-o",
            "found",
            "--json",
        ];
        serde_json::from_str(&quench(folder.path(), &words)).unwrap()
    };
    let begun = search("2");
    let measured = begun["measured"].as_array().unwrap().clone();
    assert_eq!(measured.len(), 2);
    assert_eq!(measured[0]["choices"], "bits 3, clip none");
    assert_eq!(begun["comparison"], Value::Null);
    let whole = search("100");
    assert_eq!(whole["measured"].as_array().unwrap()[..2], measured[..]);
    assert_eq!(whole["measured"].as_array().unwrap().len(), 4);
    // Four bits lose less than three, and the order by figure says so.
    let ranking = whole["ranking"].as_array().unwrap();
    assert!(ranking[0]["choices"].as_str().unwrap().contains("bits 4"));
    assert!(ranking[0]["value"].as_f64() < ranking[3]["value"].as_f64());
    assert!(whole["original"].as_f64() < ranking[0]["value"].as_f64());
    assert_eq!(whole["comparison"]["configurations"], 4);
    // What was measured is gone, the recipe of the best is there and says what was searched.
    assert!(!folder.path().join("found/measured").exists());
    let recipe = std::fs::read_to_string(folder.path().join("found/recipe.toml")).unwrap();
    assert!(recipe.contains("bits = 4"), "{recipe}");
    let again = [
        "quantize",
        "demo",
        "-r",
        "found/recipe.toml",
        "-o",
        "best",
        "--json",
    ];
    let report: Value = serde_json::from_str(&quench(folder.path(), &again)).unwrap();
    let scores = report["scores"].as_array().unwrap();
    let perplexity = scores.iter().find(|score| score["metric"] == "perplexity");
    assert_eq!(perplexity.unwrap()["quantized"], ranking[0]["value"]);

    // The folder belongs to this space; another one does not go on there.
    std::fs::write(
        folder.path().join("other.toml"),
        SPACE.replace("[3, 4]", "[3, 5]"),
    )
    .unwrap();
    let refused = fails(
        folder.path(),
        &["search", "demo", "--space", "other.toml", "-o", "found"],
    );
    assert!(refused.contains("holds another search"), "{refused}");
    let refused = fails(
        folder.path(),
        &["search", "demo", "--gate", "perplexity_ratio<=1.1"],
    );
    assert!(refused.contains("a search has no gates"), "{refused}");
    let refused = fails(folder.path(), &["search", "demo", "--space", "w5-decoders"]);
    assert!(refused.contains("did you mean `q4-decoders`?"), "{refused}");
}
