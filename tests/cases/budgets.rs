//! Budgets: scores are measured once, serve any budget and no other model, and what is written keeps within.

use crate::plans::repeat_blocks;
use crate::workbench::Workbench;
use quantizers::formats::TensorFolder;
use serde_json::Value;

const RECIPE: &str = "name = \"b\"\n[calibration]\ndata = \"t.txt\"\nsamples = 2\nsequence_length = 32\n\
    [[layers]]\nmatch = \"*\"\nmethod = \"kmeans\"\nbits = \"auto\"\n\
    [budget]\nbits_per_weight = 3.6\nchoices = [2, 3, 4]\n\
    [[budget.option]]\nmethod = \"rtn\"\nbits = 4\ngroup_size = 32\n\
    [[budget.option]]\nmethod = \"squeezellm\"\nbits = 3\noutlier_fraction = 0.004\nsensitive_fraction = 0.0005\n";

/// The bits of the layers of an artifact over their weights, from its files.
fn stored(bench: &Workbench, folder: &str, report: &Value) -> f64 {
    let files = TensorFolder::open(bench.at(folder)).unwrap();
    let (mut bits, mut weights) = (0, 0);
    for layer in report["layers"].as_array().unwrap() {
        let prefix = format!("{}.weight", layer["name"].as_str().unwrap());
        let parts = files
            .names_from(&prefix)
            .filter_map(|name| files.info(name));
        bits += parts.map(|info| 8 * info.bytes).sum::<usize>();
        let side = |at: usize| usize::try_from(layer["shape"][at].as_u64().unwrap()).unwrap();
        weights += side(0) * side(1);
    }
    bits as f64 / weights as f64
}

#[test]
fn scores_serve_any_budget_and_what_is_written_keeps_within() {
    let bench = Workbench::new();
    bench.decoder("m");
    bench.text("t.txt");
    bench.write("b.toml", RECIPE);
    let kinds = "fisher,guided,hawq,local,kl";
    let words = [
        "measure",
        "m",
        "-r",
        "b.toml",
        "-o",
        "s.json",
        "--sensitivity",
        kinds,
    ];
    let ended = bench.quench(&words);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    assert!(
        ended.stdout.contains("rank correlation of `fisher`"),
        "{}",
        ended.shown()
    );
    let again = bench.quench(&words);
    assert_eq!(again.code, 2, "{}", again.shown());
    let scores: Value = serde_json::from_slice(&fs_err::read(bench.at("s.json")).unwrap()).unwrap();
    assert_eq!(scores["layers"].as_array().unwrap().len(), 42);
    for layer in scores["layers"].as_array().unwrap() {
        for option in layer["options"].as_array().unwrap() {
            let of = |kind: &str| option["scores"][kind].as_f64().unwrap();
            assert!(kinds.split(',').all(|kind| of(kind) >= 0.0), "{option}");
        }
    }
    for (budget, scope) in [("2.9", "layers"), ("3.6", "layers"), ("6.5", "file")] {
        let recipe = RECIPE.replace("[budget]", &format!("[budget]\nscope = \"{scope}\""));
        bench.write("b.toml", recipe);
        let flags = ["-r", "b.toml", "--budget", budget, "--measured", "s.json"];
        let plan = bench.quench(&[&["plan", "m", "--json"], &flags[..]].concat());
        assert_eq!(plan.code, 0, "{}", plan.shown());
        let plan = plan.json();
        let words = [
            &[
                "quantize",
                "m",
                "--json",
                "--no-eval",
                "--force",
                "-o",
                "out",
            ],
            &flags[..],
        ];
        let ended = bench.quench(&words.concat());
        assert_eq!(ended.code, 0, "{}", ended.shown());
        let report = ended.json();
        let asked: f64 = budget.parse().unwrap();
        let (linear, file) = (
            report["size"]["bits_per_weight_linear"].as_f64().unwrap(),
            report["budget"]["taken"].as_f64().unwrap(),
        );
        assert!(file <= asked && file > 0.9 * asked, "{file} of {asked}");
        if scope == "layers" {
            assert!((linear - stored(&bench, "out", &report)).abs() < 1e-9);
            assert!(
                (linear - file).abs() < 1e-9,
                "what was planned is what is stored"
            );
        }
        for (layer, planned) in report["layers"]
            .as_array()
            .unwrap()
            .iter()
            .zip(plan["layers"].as_array().unwrap())
        {
            assert_eq!(layer["because"], planned["because"]);
            let because = layer["because"].as_str().unwrap();
            assert!(because.contains(&format!("budget {budget}: ")), "{because}");
        }
        // The layers of a block that read the same take the same.
        let of = |name: &str| {
            let layers = plan["layers"].as_array().unwrap().iter();
            let layer = layers.clone().find(|layer| layer["name"] == name).unwrap();
            (layer["method"].clone(), layer["parameters"].clone())
        };
        let attention = "model.layers.0.self_attn";
        assert_eq!(
            of(&format!("{attention}.q_proj")),
            of(&format!("{attention}.v_proj"))
        );
        assert_eq!(
            of("model.layers.0.mlp.gate_proj"),
            of("model.layers.0.mlp.up_proj")
        );
        let page = fs_err::read_to_string(bench.at("out/report.html")).unwrap();
        assert!(page.contains("Predicted loss by budget"));
        let kept = fs_err::read_to_string(bench.at("out/recipe.toml")).unwrap();
        assert!(
            kept.contains("[budget]") && kept.contains("bits = \"auto\""),
            "{kept}"
        );
    }
}

#[test]
fn without_scores_a_plan_says_how_to_get_them_and_a_quantization_gets_them_once() {
    let bench = Workbench::new();
    bench.decoder("m");
    bench.text("t.txt");
    let flags = [
        "--method",
        "kmeans",
        "--calib",
        "t.txt",
        "--samples",
        "2",
        "--sequence-length",
        "32",
    ];
    let plan =
        |budget: &str| bench.quench(&[&["plan", "m", "--budget", budget], &flags[..]].concat());
    let quantize = |budget: &str| {
        let words = [
            "quantize",
            "m",
            "--no-eval",
            "--force",
            "-o",
            "out",
            "--budget",
            budget,
        ];
        bench.quench(&[&words, &flags[..]].concat())
    };
    let ended = plan("3.5");
    assert_eq!(ended.code, 3, "{}", ended.shown());
    assert!(
        ended.stderr.contains("have not been measured"),
        "{}",
        ended.shown()
    );
    assert!(
        ended.stderr.contains("hint: `quench measure"),
        "{}",
        ended.shown()
    );
    let first = quantize("3.5");
    assert_eq!(first.code, 0, "{}", first.shown());
    assert!(
        first
            .stderr
            .contains("scores of `fisher` are measured first"),
        "{}",
        first.shown()
    );
    // They serve the next budget, and a plan.
    let second = quantize("4.5");
    assert_eq!(second.code, 0, "{}", second.shown());
    assert!(
        !second.stderr.contains("measured first"),
        "{}",
        second.shown()
    );
    let ended = plan("5");
    assert_eq!(ended.code, 0, "{}", ended.shown());
    assert!(
        ended.stdout.contains("note: budget 5: "),
        "{}",
        ended.shown()
    );
    let low = plan("1.5");
    assert_eq!(low.code, 3, "{}", low.shown());
    assert!(
        low.stderr.contains("the smallest options together"),
        "{}",
        low.shown()
    );
}

#[test]
fn scores_of_another_model_are_refused() {
    let bench = Workbench::new();
    bench.model("llama-plain-v4", "m");
    bench.model("llama-untied-biases", "n");
    let measured = [
        "measure",
        "m",
        "--method",
        "rtn",
        "-o",
        "s.json",
        "--sensitivity",
        "local",
    ];
    let ended = bench.quench(
        &[
            &measured[..],
            &["--samples", "2", "--sequence-length", "16"],
        ]
        .concat(),
    );
    assert_eq!(ended.code, 0, "{}", ended.shown());
    let flags = [
        "--method",
        "rtn",
        "--budget",
        "5",
        "--sensitivity",
        "local",
        "--measured",
        "s.json",
    ];
    let ended = bench.quench(&[&["plan", "n"], &flags[..]].concat());
    assert_eq!(ended.code, 3, "{}", ended.shown());
    assert!(
        ended.stderr.contains("those of another model"),
        "{}",
        ended.shown()
    );
    let ended = bench.quench(&[&["plan", "m"], &flags[..]].concat());
    assert_eq!(ended.code, 0, "{}", ended.shown());
    let broken = bench.write("broken.json", "{}");
    let flags = [
        "--method",
        "rtn",
        "--budget",
        "5",
        "--measured",
        broken.to_str().unwrap(),
    ];
    let ended = bench.quench(&[&["plan", "m"], &flags[..]].concat());
    assert!(
        ended
            .stderr
            .contains("expected a file that `quench measure` wrote"),
        "{}",
        ended.shown()
    );
}

#[test]
fn a_plan_within_a_budget_takes_a_moment_for_80_blocks() {
    let bench = Workbench::new();
    let model = bench.model("llama-plain-v4", "m");
    repeat_blocks(&model, 80);
    bench.write(
        "b.toml",
        "[calibration]\nsamples = 2\nsequence_length = 16\n\
         [[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = \"auto\"\n\
         [budget]\nbits_per_weight = 5.2\ntie = false\nsensitivity = \"local\"\nmeasured = \"s.json\"\n",
    );
    let ended = bench.quench(&["measure", "m", "-r", "b.toml", "-o", "s.json", "-q"]);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    let started = std::time::Instant::now();
    let ended = bench.quench(&["plan", "m", "-r", "b.toml", "--json"]);
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(ended.code, 0, "{}", ended.shown());
    // A tenth of a second; the rest is for a machine that does something else.
    assert!(seconds < 5.0, "{seconds} s");
    let plan = ended.json();
    assert_eq!(plan["layers"].as_array().unwrap().len(), 560);
    assert!(
        plan["budget"]["gap"].as_f64().unwrap() < 0.005,
        "{}",
        plan["budget"]
    );
}
