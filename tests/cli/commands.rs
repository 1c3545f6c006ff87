//! Commands that need no device: list, plan, inspect.

use crate::{quench, quench_in};

#[test]
fn list_shows_the_registries() {
    for what in [
        "methods",
        "transforms",
        "approximations",
        "architectures",
        "formats",
        "tasks",
        "data",
        "recipes",
    ] {
        let ended = quench(&["list", what]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        insta::assert_snapshot!(format!("list-{what}"), ended.shown());
    }
}

#[test]
fn list_as_json_has_every_registry() {
    let ended = quench(&["list", "--json"]);
    let all: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    for what in [
        "methods",
        "transforms",
        "approximations",
        "architectures",
        "formats",
        "tasks",
        "data",
        "recipes",
    ] {
        assert!(!all[what].as_array().unwrap().is_empty(), "{what}");
    }
}

#[test]
fn plan_of_the_demo_model() {
    insta::assert_snapshot!("plan-demo", quench(&["plan", "--threads", "2"]).shown());
    insta::assert_snapshot!(
        "plan-demo-w4",
        quench(&["plan", "demo", "-r", "w4", "--threads", "2"]).shown()
    );
}

#[test]
fn plan_as_json_says_why_for_every_layer() {
    let ended = quench(&["plan", "demo", "-r", "w8", "--bits", "6", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let layers = plan["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 6 * 7);
    for layer in layers {
        assert_eq!(layer["parameters"]["bits"], 6);
        assert!(
            layer["because"]
                .as_str()
                .unwrap()
                .ends_with("bits = 6 from --bits")
        );
    }
}

#[test]
fn a_recipe_file_is_read_relative_to_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let recipes = folder.path().join("recipes");
    fs_err::create_dir(&recipes).unwrap();
    fs_err::write(recipes.join("text.txt"), "some words").unwrap();
    fs_err::write(
        recipes.join("mine.toml"),
        "[calibration]\ndata = \"text.txt\"\nsamples = 2\n\
         [[layers]]\nmatch = \"*.down_proj\"\nmethod = \"keep\"\n\
         [[layers]]\nmatch = \"*\"\nmethod = \"squeezellm\"\nbits = 4\n\
         [[evaluate]]\ntask = \"perplexity\"\ndata = \"text.txt\"\n",
    )
    .unwrap();
    let ended = quench_in(
        folder.path(),
        &["plan", "demo", "-r", "recipes/mine.toml", "--threads", "1"],
    );
    insta::assert_snapshot!("plan-recipe-file", ended.shown());
}

#[test]
fn inspect_lists_tensors_and_looks_closely() {
    let all = quench(&["inspect", "demo"]);
    assert_eq!(all.code, 0, "{}", all.stderr);
    assert!(
        all.stdout.contains("model.layers.5.mlp.down_proj.weight"),
        "{}",
        all.stdout
    );
    assert!(
        all.stdout
            .contains("not quantized; 42 linear layers in blocks"),
        "{}",
        all.stdout
    );
    insta::assert_snapshot!(
        "inspect-tensor",
        quench(&["inspect", "demo", "model.layers.0.self_attn.q_proj"]).shown()
    );
}
