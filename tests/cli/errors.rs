//! Errors: what failed, why, what to do, and the documented exit code.

use crate::{quench, quench_in};

/// Plans the demo model with a recipe of this text.
fn with_recipe(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("mine.toml"), text).unwrap();
    let ended = quench_in(folder.path(), &["plan", "demo", "-r", "mine.toml"]);
    assert_eq!(ended.code, 3, "{}", ended.shown());
    ended.shown()
}

const RULE: &str = "[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 4\n";

#[test]
fn recipe_mistakes() {
    let cases = [
        ("unknown-key", format!("{RULE}groupsize = 64\n")),
        (
            "decoder-integer-only",
            format!("{RULE}[nonlinear]\ngelu = \"exact\"\n"),
        ),
        (
            "approximation",
            format!("{RULE}[nonlinear]\ngelu = \"i-brt\"\n"),
        ),
        (
            "no-approximation",
            format!("{RULE}[nonlinear]\ngelu = \"fq-vit\"\n"),
        ),
        ("activations", format!("{RULE}[activations]\nbits = 3\n")),
        ("syntax", "[[layers]]\nmatch = \n".to_owned()),
        ("budget", format!("{RULE}[budget]\nbits_per_weight = 3.5\n")),
        ("no-match", RULE.replace("\"*\"", "\"*.mlp.down_pro\"")),
        ("group-size", format!("{RULE}group_size = 100\n")),
        (
            "format",
            format!(
                "{}[output]\nformat = \"compressed-tensors\"\n",
                RULE.replace("rtn", "kmeans")
            ),
        ),
        ("bits", RULE.replace('4', "11")),
        ("gate", format!("{RULE}[gate]\nperplexity_rate = 1.03\n")),
        (
            "task",
            format!("{RULE}[[evaluate]]\ntask = \"classification\"\ndata = \"demo\"\n"),
        ),
    ];
    for (name, text) in cases {
        insta::assert_snapshot!(format!("error-recipe-{name}"), with_recipe(&text));
    }
}

#[test]
fn data_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{RULE}[[evaluate]]\ntask = \"perplexity\"\ndata = \"missing.txt\"\n");
    fs_err::write(folder.path().join("mine.toml"), text).unwrap();
    let ended = quench_in(folder.path(), &["plan", "demo", "-r", "mine.toml"]);
    assert_eq!(ended.code, 4);
    insta::assert_snapshot!("error-data", ended.shown());
}

#[test]
fn command_line_mistakes() {
    let cases: [(&str, i32, &[&str]); 10] = [
        ("unknown-recipe", 3, &["plan", "demo", "-r", "squeze-3"]),
        ("unknown-method", 2, &["plan", "demo", "--method", "rtm"]),
        ("unknown-format", 2, &["plan", "demo", "--format", "gguf"]),
        ("no-model", 4, &["plan", "./nothing/here"]),
        ("hub-offline", 4, &["plan", "nobody/nothing", "--offline"]),
        ("revision", 2, &["plan", "demo", "--revision", "v1"]),
        (
            "bits-method",
            3,
            &["plan", "demo", "-r", "w4", "--bits", "1"],
        ),
        ("bits-range", 2, &["plan", "demo", "--bits", "9"]),
        (
            "bad-gate",
            2,
            &["quantize", "demo", "--gate", "perplexity_rate<=1"],
        ),
        ("no-report", 4, &["report", "nothing"]),
    ];
    for (name, code, words) in cases {
        let ended = quench(words);
        assert_eq!(ended.code, code, "{}", ended.shown());
        insta::assert_snapshot!(format!("error-{name}"), ended.shown());
    }
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_gpu_in_a_build_without_one() {
    let ended = quench(&["quantize", "demo", "--device", "cuda"]);
    assert_eq!(ended.code, 2);
    insta::assert_snapshot!("error-cuda", ended.shown());
}

#[test]
fn an_existing_output_folder_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fs_err::create_dir(&out).unwrap();
    fs_err::write(out.join("precious.txt"), "mine").unwrap();
    let ended = quench_in(folder.path(), &["quantize", "demo", "-o", "out"]);
    assert_eq!(ended.code, 2);
    insta::assert_snapshot!("error-output-exists", ended.shown());
    assert_eq!(
        fs_err::read_to_string(out.join("precious.txt")).unwrap(),
        "mine"
    );
}

#[test]
fn a_folder_without_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir(folder.path().join("empty")).unwrap();
    let ended = quench_in(folder.path(), &["plan", "empty"]);
    assert_eq!(ended.code, 4);
    insta::assert_snapshot!("error-empty-folder", ended.shown());
}
