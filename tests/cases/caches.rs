//! What ways of keeping keys and values cost: said for each, the same each time, refused before the weights are read.

use crate::workbench::Workbench;
use serde_json::{Value, json};

pub(crate) const QUICK: &[&str] = &[
    "cache",
    "demo",
    "--samples",
    "2",
    "--fitting-samples",
    "1",
    "--sequence-length",
    "64",
    "--json",
];

pub(crate) fn methods(found: &Value) -> Vec<Value> {
    found["methods"].as_array().cloned().unwrap_or_default()
}

#[test]
fn every_method_is_tried_and_fewer_bits_cost_more() {
    let bench = Workbench::new();
    let ended = bench.quench(&[QUICK, &["-o", "costs", "--memory", "1GiB"]].concat());
    assert_eq!(ended.code, 0, "{}", ended.shown());
    let found = ended.json();
    let written = fs_err::read_to_string(bench.at("costs/cache.json")).unwrap();
    let written: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written, found, "the file is what is printed");
    let all = methods(&found);
    let of = |label: &str| {
        let one = all.iter().find(|one| one["label"] == label);
        one.unwrap_or_else(|| panic!("`{label}` was not tried"))
            .clone()
    };
    let divergence = |label: &str| of(label)["strict"]["divergence"].as_f64().unwrap();
    assert!(divergence("none").abs() < 1e-12, "nothing changes");
    assert!(divergence("int8-token-head") < divergence("int4-token-head"));
    assert!(divergence("kvquant") < divergence("kvquant bits=2"));
    for one in &all {
        assert!(one["strict"]["perplexity"].as_f64().unwrap() > 1.0, "{one}");
        if one["method"] == "none" {
            // It keeps f32 bits, twice what engines keep.
            continue;
        }
        if let Some(size) = one["size"].as_object() {
            let [packed, plain] =
                ["bytes_per_token", "plain_bytes_per_token"].map(|key| size[key].as_f64().unwrap());
            assert!(packed <= plain, "{one}");
        }
    }
    let again = bench.quench(&[QUICK, &["--method", "kvquant", "--threads", "1"]].concat());
    let again = methods(&again.json());
    assert_eq!(
        again[0]["blocks"],
        of("kvquant")["blocks"],
        "on one thread as on all"
    );
}

#[test]
fn a_method_that_is_not_known_is_named_with_its_nearest() {
    let bench = Workbench::new();
    bench
        .quench(&["cache", "demo", "--method", "kvqant bits=3"])
        .says(3, &["unknown cache or attention `kvqant`", "`kvquant`"]);
    bench
        .quench(&["cache", "demo", "--method", "kvquant bits"])
        .says(
            3,
            &[
                "expected KEY=VALUE",
                "found `bits`",
                "`kivi bits=2 group=32`",
            ],
        );
    bench
        .quench(&["cache", "demo", "--method", "kvquant bit=3"])
        .says(3, &["`bit`", "`bits`"]);
}

#[test]
fn a_model_without_such_a_cache_is_refused_with_the_reason() {
    let bench = Workbench::new();
    bench.model("bert-masked", "encoder");
    bench
        .quench(&["cache", "encoder", "--method", "fp8"])
        .says(3, &["sees tokens on both sides"]);
    bench.model("deepseek-v2", "latent");
    bench
        .quench(&["cache", "latent", "--method", "fp8"])
        .says(3, &["latent attention", "one vector a token"]);
}

#[test]
fn skipped_blocks_keep_their_cache() {
    let bench = Workbench::new();
    let ended = bench.quench(
        &[
            QUICK,
            &["--method", "int4-token-head", "--skip-layers", "0"],
        ]
        .concat(),
    );
    let one = methods(&ended.json()).remove(0);
    let blocks: Vec<_> = one["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|block| block["block"].clone())
        .collect();
    assert!(
        !blocks.contains(&json!(0)) && blocks.contains(&json!(1)),
        "{blocks:?}"
    );
    bench
        .quench(&[QUICK, &["--method", "fp8", "--skip-layers", "0,99"]].concat())
        .says(2, &["--skip-layers", "found 99"]);
    let bits = one["size"]["key_bits"].as_f64().unwrap();
    assert!(bits > 4.5 && bits < 16.0, "{bits}");
}

#[test]
fn blocks_choose_their_cache_within_a_budget_and_the_artifact_runs_with_it() {
    let bench = Workbench::new();
    let tried = [
        QUICK,
        &[
            "--method",
            "q8_0",
            "--method",
            "kvquant bits=2",
            "-o",
            "costs",
        ],
    ];
    let tried = bench.quench(&tried.concat());
    assert_eq!(tried.code, 0, "{}", tried.shown());
    let costs = methods(&tried.json());
    let error = |at: usize, block: usize| {
        let error = costs[at]["blocks"][block]["output_error"].as_f64();
        error.unwrap()
    };
    let blocks = costs[0]["blocks"].as_array().unwrap().len();
    // Halfway between the two: the blocks that gain most have the larger cache.
    let bits = |at: usize| costs[at]["size"]["bytes_per_token"].as_f64().unwrap() * 8.0;
    let plain = costs[0]["size"]["plain_bytes_per_token"].as_f64().unwrap() / 2.0;
    let budget = f64::midpoint(bits(0), bits(1)) / plain;
    let cache = |bits: f64| {
        format!(
            "[cache]\nmethod = \"auto\"\nbits_per_value = {bits}\nmeasured = \"costs/cache.json\"\n"
        )
    };
    let made = quantized(&bench, "mixed", &cache(budget));
    assert!(divergence(&made) > 0.0);
    let header = fs_err::read_to_string(bench.at("mixed/kv_quant.json")).unwrap();
    let header: Value = serde_json::from_str(&header).unwrap();
    assert_eq!(header["method"], "mixed");
    let choices = header["parameters"]["choices"].as_array().unwrap();
    let of = |method: &str| -> Vec<usize> {
        let own = choices.iter().filter(|one| one["method"] == method);
        let layers = own.flat_map(|one| one["layers"].as_array().unwrap());
        layers
            .map(|layer| usize::try_from(layer.as_u64().unwrap()).unwrap())
            .collect()
    };
    let (large, small) = (of("q8_0"), of("kvquant"));
    assert_eq!(large.len() + small.len(), blocks, "{choices:?}");
    assert!(!large.is_empty() && !small.is_empty(), "{choices:?}");
    let gain = |block: &usize| error(1, *block).powi(2) - error(0, *block).powi(2);
    let most = small.iter().map(gain).fold(0.0, f64::max);
    assert!(
        large.iter().map(gain).all(|gain| gain >= most),
        "{choices:?}"
    );
    // Opened again, it is judged with the cache it names.
    let recipe = |cache: &str| bench.write("recipe.toml", format!("{RECIPE}{cache}"));
    recipe(&cache(1.0));
    let plan = ["plan", "demo", "-r", "recipe.toml"];
    bench.quench(&plan).says(
        3,
        &["line 15", "expected at least", "bits a value", "found 1"],
    );
    recipe(&cache(budget).replace("costs/", "nowhere/"));
    bench.quench(&plan).says(
        3,
        &[
            "nowhere/cache.json",
            "expected the figures of `quench cache`",
            "--output",
        ],
    );
    recipe(&cache(budget).replace("measured", "mesured"));
    bench
        .quench(&plan)
        .says(3, &["unknown key `mesured`", "`measured`"]);
    recipe("[cache]\nmethod = \"auto\"\nbits_per_value = 4\n");
    bench.quench(&plan).says(3, &["measured"]);
    recipe("[cache]\nmethod = \"mixed\"\nchoices = [{ method = \"fp8\", layers = [99] }]\n");
    bench
        .quench(&plan)
        .says(3, &["`layers`: expected blocks 0 to", "found 99"]);
}

pub(crate) const RECIPE: &str = "name = \"cached\"\n[calibration]\ndata = \"text.txt\"\nsamples = 4\nsequence_length = 64\n\
    [[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 8\n\
    [[evaluate]]\ntask = \"perplexity\"\ndata = \"text.txt\"\nsequence_length = 64\nlimit = 4\n";

pub(crate) fn quantized(bench: &Workbench, name: &str, cache: &str) -> Value {
    bench.text("text.txt");
    bench.write("recipe.toml", format!("{RECIPE}{cache}"));
    let ended = bench.quench(&[
        "quantize",
        "demo",
        "-r",
        "recipe.toml",
        "-o",
        name,
        "--json",
    ]);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    ended.json()
}

pub(crate) fn divergence(report: &Value) -> f64 {
    let scores = report["scores"].as_array().unwrap();
    let found = scores
        .iter()
        .find(|score| score["metric"] == "kl_divergence");
    found.unwrap()["quantized"].as_f64().unwrap()
}

#[test]
fn a_recipe_keeps_the_cache_in_fewer_bits_and_the_artifact_runs_with_it() {
    let bench = Workbench::new();
    let plain = quantized(&bench, "plain", "");
    let cached = quantized(
        &bench,
        "cached",
        "[cache]\nmethod = \"kvquant\"\nbits = 2\nskip_layers = [1]\n",
    );
    assert!(
        divergence(&cached) > 2.0 * divergence(&plain),
        "the evaluation runs with the cache: {} {}",
        divergence(&cached),
        divergence(&plain)
    );
    let header = fs_err::read_to_string(bench.at("cached/kv_quant.json")).unwrap();
    let header: Value = serde_json::from_str(&header).unwrap();
    assert_eq!(header["method"], "kvquant");
    assert_eq!(header["hook"], "pre_rope");
    assert_eq!(header["layers"][1]["kept"], true);
    assert_eq!(header["calib"]["samples"], 4);
    // Opened again, it is judged with the cache it names.
    let again = bench.quench(&[
        "eval",
        "cached",
        "--baseline",
        "demo",
        "-r",
        "recipe.toml",
        "--json",
    ]);
    assert_eq!(again.code, 0, "{}", again.shown());
    assert!((divergence(&again.json()) - divergence(&cached)).abs() < 1e-12);
    let text = |model: &str| {
        let words = [
            "generate",
            model,
            "-p",
            "The city of",
            "-n",
            "30",
            "--temperature",
            "0",
        ];
        let ended = bench.quench(&words);
        assert_eq!(ended.code, 0, "{}", ended.shown());
        ended.stdout
    };
    assert!(!text("cached").is_empty());
    assert_eq!(text("cached"), text("cached"));
}

#[test]
fn scales_for_engines_stand_beside_the_projections() {
    let bench = Workbench::new();
    quantized(
        &bench,
        "scaled",
        "[cache]\nmethod = \"fp8\"\n[output]\nformat = \"compressed-tensors\"\n",
    );
    let config = fs_err::read_to_string(bench.at("scaled/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let scheme = &config["quantization_config"]["kv_cache_scheme"];
    assert_eq!(scheme["num_bits"], 8);
    assert_eq!(scheme["type"], "float");
    assert_eq!(scheme["strategy"], "tensor");
    let shown = bench.quench(&["inspect", "scaled", "model.layers.0.self_attn.k_scale"]);
    assert!(shown.stdout.contains("k_scale [1]"), "{}", shown.shown());
    bench
        .quench(&["eval", "scaled", "--baseline", "demo", "-r", "recipe.toml"])
        .says(0, &[]);
}

#[test]
fn files_of_a_cache_that_are_not_its_own_are_refused() {
    let bench = Workbench::new();
    quantized(
        &bench,
        "cached",
        "[cache]\nmethod = \"kvquant\"\nbits = 3\n",
    );
    let eval = ["eval", "cached", "--baseline", "demo", "-r", "recipe.toml"];
    let path = bench.at("cached/kv_quant.json");
    let text = fs_err::read_to_string(&path).unwrap();
    for (from, to, said) in [
        ("\"kvquant\"", "\"kvqant\"", "`kvqant`"),
        (
            "\"kv_quant_version\": 1",
            "\"kv_quant_version\": 2",
            "expected 1, found 2",
        ),
        ("\"bits_k\"", "\"bits_q\"", "unknown field `bits_q`"),
        ("\"pre_rope\"", "\"mid_rope\"", "`mid_rope`"),
    ] {
        assert!(text.contains(from), "{text}");
        fs_err::write(&path, text.replacen(from, to, 1)).unwrap();
        bench.quench(&eval).says(3, &["cache of `cached`", said]);
    }
    fs_err::write(&path, &text).unwrap();
    fs_err::remove_file(bench.at("cached/kv_quant.safetensors")).unwrap();
    bench.quench(&eval).says(3, &["has no tensor"]);
}

#[test]
fn a_cache_that_cannot_be_kept_is_refused_by_the_plan() {
    let bench = Workbench::new();
    bench.text("text.txt");
    let plan = |cache: &str| {
        bench.write("recipe.toml", format!("{RECIPE}{cache}"));
        bench.quench(&["plan", "demo", "-r", "recipe.toml"])
    };
    plan("[cache]\nmethod = \"kvqant\"\n")
        .says(3, &["unknown cache `kvqant`", "`kvquant`", "line 16"]);
    plan("[cache]\nmethod = \"kvquant\"\nbit = 3\n").says(3, &["`bit`", "`bits`", "line 17"]);
    plan("[cache]\nmethod = \"fp8\"\nskip_layers = [99]\n").says(3, &["skip_layers", "found 99"]);
    let shown = plan("[cache]\nmethod = \"kvquant\"\n");
    assert!(
        shown
            .stdout
            .contains("for keys, values and their gradients: 4 samples"),
        "{}",
        shown.shown()
    );
    let shown = plan("[cache]\nmethod = \"int8-token-head\"\n");
    assert!(
        shown.stdout.contains("cache        int8-token-head"),
        "{}",
        shown.shown()
    );
}
