//! Text from a decoder: the same each time, cut where it was asked to end, and refused before the weights are read.

use crate::workbench::{Workbench, edit_json};
use serde_json::json;

const PROMPT: &str = "The city of London is the";

#[test]
fn a_text_is_continued_alike_from_an_artifact_and_from_its_export() {
    let bench = Workbench::new();
    for words in [
        &[
            "quantize",
            "demo",
            "-r",
            "squeeze-3",
            "--samples",
            "8",
            "--no-eval",
            "-o",
            "small",
        ][..],
        &["export", "small", "--format", "dense", "-o", "plain"],
    ] {
        bench.quench(words).says(0, &[]);
    }
    let text = |model: &str| {
        let words = [
            "generate",
            model,
            "-p",
            PROMPT,
            "-n",
            "60",
            "--temperature",
            "0",
        ];
        let ended = bench.quench(&words);
        assert_eq!(ended.code, 0, "{}", ended.shown());
        ended.stdout
    };
    assert_eq!(text("small"), text("plain"));
    assert!(text("small").len() > 60);
}

#[test]
fn draws_are_fixed_by_the_seed_and_end_at_a_stop() {
    let bench = Workbench::new();
    let drawn = |more: &[&str]| {
        let words = [
            "generate", "demo", "-p", PROMPT, "-n", "40", "--top-p", "0.9", "--json",
        ];
        let ended = bench.quench(&[&words[..], more].concat());
        assert_eq!(ended.code, 0, "{}", ended.shown());
        ended.json()
    };
    let one = drawn(&["--seed", "5"]);
    let again = drawn(&["--seed", "5", "--threads", "1"]);
    assert_eq!(one["text"], again["text"]);
    assert_ne!(one["text"], drawn(&["--seed", "6"])["text"]);
    assert_eq!(one["finish_reason"], "length");
    // Systems that do not tell it are not held to it.
    if let Some(peak) = one["peak_memory_bytes"].as_u64() {
        let weights = fs_err::metadata(bench.decoder("m").join("model.safetensors"));
        let cache = one["cache_bytes"].as_u64().unwrap();
        let most = weights.unwrap().len() + cache + (64 << 20);
        assert!(peak <= most, "{peak} of {most}");
    }
    let (tokens, logs) = (one["tokens"].as_array().unwrap(), &one["log_probabilities"]);
    assert_eq!((tokens.len(), logs.as_array().unwrap().len()), (40, 40));
    let text = one["text"].as_str().unwrap();
    let middle: String = text.chars().skip(30).take(4).collect();
    let stopped = drawn(&["--seed", "5", "--stop", &middle]);
    let at = text.find(&middle).unwrap();
    assert_eq!(stopped["text"], text[..at]);
    assert_eq!(stopped["finish_reason"], "stop");
}

#[test]
fn a_conversation_is_rendered_by_the_template_of_the_model() {
    let bench = Workbench::new();
    let model = bench.decoder("m");
    let words = ["generate", "m", "--chat", "-n", "5", "--json"];
    bench.quench(&words).says(
        3,
        &[
            "cannot generate with `m`: it has no chat template",
            "`--prompt`",
        ],
    );
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}";
    edit_json(&model.join("tokenizer_config.json"), |config| {
        config["chat_template"] = json!(template);
    });
    let talk = |lines: &str| {
        let words = [
            "generate", "m", "--chat", "--system", "Be kind.", "-n", "5", "--json",
        ];
        let ended = bench.quench_reading(&words, &[], lines);
        assert_eq!(ended.code, 0, "{}", ended.shown());
        let lines = ended
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<serde_json::Value>>()
    };
    let found = talk("Hello there.\n\nAnd now?\n");
    assert_eq!(found.len(), 2);
    // The second prompt holds the first answer.
    assert_eq!(found[0]["text"], talk("Hello there.\n")[0]["text"]);
    let tokens = |at: usize| found[at]["prompt_tokens"].as_u64().unwrap();
    assert!(tokens(1) > tokens(0) + 5);
}

#[test]
fn speeds_are_measured_and_what_cannot_be_generated_is_said_at_once() {
    let bench = Workbench::new();
    bench
        .quench(&["generate", "demo"])
        .says(2, &["nothing to continue", "`--prompt TEXT`"]);
    bench.model("bert-masked", "encoder");
    bench
        .quench(&["generate", "encoder", "-p", "x"])
        .says(3, &["cannot generate with `encoder`"]);
    bench
        .quench(&[
            "generate",
            "demo",
            "-p",
            "x",
            "--temperature",
            "0",
            "--top-k",
            "4",
        ])
        .says(2, &["mean nothing at temperature 0"]);
    bench
        .quench(&["generate", "demo", "-p", "x", "--top-p", "1.5"])
        .says(2, &["expected a number from 0 to 1, found `1.5`"]);
    let speed = [
        "generate", "demo", "--bench", "pp8,tg4", "-r", "2", "--json",
    ];
    let found = bench.quench(&speed).json();
    assert_eq!(
        (found[0]["n_prompt"].as_u64(), found[1]["n_gen"].as_u64()),
        (Some(8), Some(4))
    );
    assert_eq!(found[1]["samples_ns"].as_array().unwrap().len(), 2);
    bench.quench(&["generate", "demo", "--bench", "tg0"]).says(
        2,
        &["expected `pp` or `tg` and a number of tokens, as in `pp512`, found `tg0`"],
    );
    let long = "word ".repeat(4000);
    bench
        .quench(&["generate", "demo", "-p", &long])
        .says(2, &["expected a prompt of at most"]);
}

#[test]
fn a_kernel_that_this_machine_lacks_is_said_before_the_weights_are_read() {
    let bench = Workbench::new();
    let words = ["generate", "demo", "-p", PROMPT, "-n", "5"];
    let run = |name| bench.quench_with(&words, &[("QUENCH_KERNEL", name)]);
    run("avx1024").says(2, &["QUENCH_KERNEL", "`avx1024`", "scalar"]);
    run("scalar").says(0, &[]);
}
