//! Models of an architecture nobody here knows: their matrices are quantized all the same.

use crate::workbench::{Workbench, edit_json, tensors};

#[test]
fn methods_that_read_weights_alone_give_the_same_files() {
    for method in [
        &["--method", "rtn", "--bits", "4"][..],
        &["--method", "kmeans", "--bits", "3"],
    ] {
        let bench = Workbench::new();
        bench.decoder("known");
        let unknown = bench.decoder("unknown");
        edit_json(&unknown.join("config.json"), |config| {
            config["model_type"] = "wholly-new".into();
            config["architectures"] = serde_json::json!(["WhollyNewForCausalLM"]);
        });
        let words = ["--no-eval", "--output"];
        let run = |model: &str| {
            let output = format!("out-{model}");
            let all = [&["quantize", model], method, &words[..], &[&output]].concat();
            bench.quench(&all)
        };
        run("known").says(0, &[]);
        run("unknown").says(0, &[]);
        assert_eq!(
            tensors(&bench.at("out-known/model.safetensors")),
            tensors(&bench.at("out-unknown/model.safetensors"))
        );
    }
}

#[test]
fn plans_say_beforehand_what_is_missing() {
    let bench = Workbench::new();
    let model = bench.decoder("m");
    for found in ["llama4", "bertt", "mamba"] {
        edit_json(&model.join("config.json"), |config| {
            config["model_type"] = found.into();
        });
        let plan = bench.quench(&["plan", "m"]);
        plan.says(0, &[]);
        let said = format!("{}{}", plan.stdout, plan.stderr);
        assert!(said.contains("the architecture is unknown"), "{said}");
        assert!(!said.contains("did you mean"), "{said}");
        // What reads statistics is refused before anything is written, and so is an evaluation.
        let hint = "`quench list architectures`";
        for method in ["gptq", "squeezellm"] {
            let words = ["quantize", "m", "--method", method, "--output", "out"];
            bench
                .quench(&words)
                .says(3, &["the architecture is unknown", hint]);
            assert!(!bench.at("out").exists());
        }
        bench
            .quench(&["eval", "m", "--eval-data", "demo"])
            .says(3, &["its architecture is unknown", hint]);
    }
}
