//! The recipe in force: an override changes the name and the hash, the artifact holds the recipe, and the language
//! can be looked up.

use crate::workbench::Workbench;

fn planned_name(bench: &Workbench, words: &[&str]) -> (String, String) {
    let all = [&["plan", "m", "--json"][..], words].concat();
    let plan = bench.quench(&all);
    assert_eq!(plan.code, 0, "{}", plan.shown());
    let recipe = plan.json()["recipe"].clone();
    let text = |key: &str| recipe[key].as_str().unwrap().to_owned();
    (text("name"), text("sha256"))
}

#[test]
fn an_override_that_changes_something_changes_name_and_hash() {
    let bench = Workbench::new();
    bench.decoder("m");
    bench.text("t.txt");
    let (_, plain) = planned_name(&bench, &["-r", "w4"]);
    for (words, name) in [
        (&["--bits", "3"][..], "w4-bits3"),
        (&["--method", "rtn"], "w4-rtn"),
        (&["--samples", "7"], "w4-samples7"),
        (&["--seed", "1", "--format", "quench"], "w4-quench-seed1"),
        (&["--calib", "t.txt"], "w4-calib-t"),
        (&["--sequence-length", "64"], "w4-length64"),
    ] {
        let (found, hash) = planned_name(&bench, &[&["-r", "w4"], words].concat());
        assert_eq!(found, name);
        assert_ne!(hash, plain, "{words:?}");
    }
    // One that says what the recipe says already changes nothing.
    let same = planned_name(&bench, &["-r", "w4", "--bits", "4", "--seed", "0"]);
    assert_eq!(same, ("w4".to_owned(), plain));
}

#[test]
fn two_overrides_do_not_meet_in_one_folder() {
    let bench = Workbench::new();
    bench.model("llama-plain-v4", "m");
    for bits in ["3", "4", "8"] {
        let words = [
            "quantize",
            "m",
            "-r",
            "w8",
            "--bits",
            bits,
            "--no-eval",
            "-q",
        ];
        let ended = bench.quench(&words);
        assert_eq!(ended.code, 0, "{}", ended.shown());
    }
    for name in ["m-w8-bits3", "m-w8-bits4", "m-w8"] {
        let folder = bench.at("quench-out").join(name);
        let title = fs_err::read_to_string(folder.join("report.md")).unwrap();
        let recipe = name.trim_start_matches("m-");
        assert!(title.contains(&format!("\u{b7} {recipe}\n")), "{name}");
    }
}

#[test]
fn the_recipe_in_the_artifact_is_the_one_that_is_hashed_and_makes_the_same_again() {
    use sha2::{Digest, Sha256};
    let bench = Workbench::new();
    bench.decoder("m");
    bench.text("t.txt");
    let words = [
        "quantize",
        "m",
        "-r",
        "squeeze-3-sparse",
        "--bits",
        "4",
        "--samples",
        "3",
        "--calib",
        "t.txt",
        "--no-eval",
        "-q",
        "-o",
    ];
    assert_eq!(bench.quench(&[&words[..], &["one"]].concat()).code, 0);
    let text = fs_err::read_to_string(bench.at("one/recipe.toml")).unwrap();
    let report = fs_err::read_to_string(bench.at("one/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let digest = Sha256::digest(text.as_bytes());
    let hash = digest
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    assert_eq!(report["recipe"]["sha256"], hash.as_str());
    assert!(text.contains("bits = 4"), "{text}");

    let ended = bench.quench(&[
        "quantize",
        "m",
        "-r",
        "one/recipe.toml",
        "--no-eval",
        "-q",
        "-o",
        "two",
    ]);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    for file in ["model.safetensors", "recipe.toml", "config.json"] {
        let read = |folder: &str| fs_err::read(bench.at(folder).join(file)).unwrap();
        assert!(read("one") == read("two"), "{file}");
    }
}

#[test]
fn every_built_in_recipe_reads_back_from_what_an_artifact_keeps() {
    for builtin in quench::recipe::BUILTIN {
        let recipe = builtin.recipe().unwrap();
        let text = recipe.to_toml();
        let file = quench::recipe::Origin::File("x.toml".into());
        let again = quench::recipe::Recipe::parse(&text, file, None).unwrap();
        assert_eq!(again.to_toml(), text, "{}", builtin.name);
    }
}

#[test]
fn recipes_and_their_language_can_be_printed() {
    let bench = Workbench::new();
    let ended = bench.quench(&["list", "recipes", "w4"]);
    assert!(
        ended.stdout.contains("method = \"gptq\""),
        "{}",
        ended.shown()
    );
    bench
        .quench(&["list", "recipes", "w44"])
        .says(3, &["did you mean `w4`?"]);
    let page = bench.quench(&["list", "recipe"]).stdout;
    for part in [
        "`keep`",
        "`group_size`",
        "`perplexity_ratio`",
        "[[transform]]",
        "`attention_bits`",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn who_tries_none_or_skip_finds_keep() {
    let bench = Workbench::new();
    bench.decoder("m");
    for word in ["none", "skip", "fp16", "Ignore"] {
        let rule = format!("[[layers]]\nmatch = \"*\"\nmethod = \"{word}\"\n");
        bench.write("r.toml", rule);
        bench.quench(&["plan", "m", "-r", "r.toml"]).says(
            3,
            &[
                "line 3",
                &format!("unknown method `{word}`"),
                "`method = \"keep\"`",
            ],
        );
    }
}

#[test]
fn how_to_load_is_there_without_an_evaluation_and_names_class_and_versions() {
    let bench = Workbench::new();
    for (fixture, class) in [
        ("llama-plain-v4", "AutoModelForCausalLM"),
        ("bert-classifier-relu", "AutoModelForSequenceClassification"),
        ("vit-model", "AutoModel"),
    ] {
        bench.model(fixture, fixture);
        let out = format!("{fixture}-out");
        let words = [
            "quantize",
            fixture,
            "-r",
            "w8",
            "--no-eval",
            "-q",
            "-o",
            &out,
        ];
        let ended = bench.quench(&words);
        assert_eq!(ended.code, 0, "{}", ended.shown());
        let page = fs_err::read_to_string(bench.at(&out).join("report.md")).unwrap();
        assert!(page.contains("## How to load it"), "{page}");
        assert!(page.contains(&format!("import {class}\n")), "{page}");
        assert!(page.contains("transformers 4.46 or later"), "{page}");
        let served = page.contains("vLLM 0.5.1 or later");
        assert_eq!(served, class == "AutoModelForCausalLM", "{page}");
    }
}
