//! What a server says to those who ask well.

use crate::server::Server;
use crate::workbench::{Workbench, edit_json, sentences, word_tokenizer};
use serde_json::{Value, json};

const PROMPT: &str = "The city of London is the";
const TEMPLATE: &str = "{% for tool in tools or [] %}[{{ tool.name }}]{% endfor %}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}{{ who or 'assistant' }}:{% endif %}";

fn close(one: &Value, other: &Value) -> bool {
    let distance = one.as_f64().unwrap() - other.as_f64().unwrap();
    distance.abs() < 1e-4 * (1.0 + one.as_f64().unwrap().abs())
}

#[test]
fn completions_are_what_generate_writes() {
    let bench = Workbench::new();
    let quantize = ["quantize", "demo", "-r", "squeeze-3", "--samples", "8"];
    let words = [&quantize[..], &["--no-eval", "-o", "small"]].concat();
    bench.quench(&words).says(0, &[]);
    let server = Server::start(&bench, "small", &[]);
    let models = server.get("/v1/models").good();
    assert_eq!(models["data"][0]["id"], "small");
    assert_eq!(server.get("/v1/models/small").good()["max_model_len"], 256);
    for more in [
        &["--temperature", "0"][..],
        &["--top-p", "0.9", "--seed", "7"],
    ] {
        let words = ["generate", "small", "-p", PROMPT, "-n", "24", "--json"];
        let expected = bench.quench(&[&words[..], more].concat()).json();
        let mut body = json!({"model": "small", "prompt": PROMPT, "max_tokens": 24, "logprobs": 0});
        if more.len() == 2 {
            body["temperature"] = json!(0);
        } else {
            body["top_p"] = json!(0.9);
            body["seed"] = json!(7);
        }
        let found = server.post("/v1/completions", &body).good();
        let choice = &found["choices"][0];
        assert_eq!(choice["text"], expected["text"]);
        assert_eq!(choice["finish_reason"], expected["finish_reason"]);
        assert_eq!(found["usage"]["prompt_tokens"], expected["prompt_tokens"]);
        let logs = expected["log_probabilities"].as_array().unwrap();
        let served = choice["logprobs"]["token_logprobs"].as_array().unwrap();
        assert_eq!(served.len(), logs.len());
        for (one, other) in served.iter().zip(logs) {
            let difference = one.as_f64().unwrap() - other.as_f64().unwrap();
            assert!(difference.abs() < 1e-6, "{one} {other}");
        }
    }
}

#[test]
fn prompts_are_scored_as_the_texts_they_continue() {
    let bench = Workbench::new();
    // What is kept in 16 bits moves what comes after it; prompts that are scored read nothing that is kept.
    let server = Server::start(&bench, "demo", &["--cache-type", "f32"]);
    let ask = |body: Value| server.post("/v1/completions", &body).good();
    let numbered = json!({"prompt": PROMPT, "max_tokens": 12, "temperature": 0, "logprobs": 3,
        "echo": true, "return_tokens_as_token_ids": true});
    let made = ask(numbered);
    let logs = &made["choices"][0]["logprobs"];
    let ids: Vec<u32> = logs["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap()["token_id:".len()..].parse().unwrap())
        .collect();
    assert!(ids.len() > 12);
    // As tokens, with one more and with none, and beside another.
    let scored = json!({"prompt": [ids, ids[..5]], "max_tokens": 1, "temperature": 0, "logprobs": 1,
        "echo": true, "seed": 1234});
    let scored = ask(scored);
    let none = ask(json!({"prompt": ids, "max_tokens": 0, "logprobs": 1, "echo": true}));
    let of = |answer: &Value, choice: usize, key: &str| -> Vec<Value> {
        let list = &answer["choices"][choice]["logprobs"][key];
        list.as_array().unwrap().clone()
    };
    assert_eq!(scored["choices"][1]["index"], 1);
    for key in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(of(&scored, 0, key).len(), ids.len() + 1, "{key}");
        assert_eq!(of(&scored, 1, key).len(), 6, "{key}");
        assert_eq!(of(&none, 0, key).len(), ids.len(), "{key}");
    }
    assert_eq!(none["usage"]["completion_tokens"], 0);
    let together = of(&scored, 0, "token_logprobs");
    assert!(together[0].is_null() && of(&scored, 0, "top_logprobs")[0].is_null());
    let one_by_one = logs["token_logprobs"].as_array().unwrap();
    for (at, (a, b)) in together.iter().zip(one_by_one).enumerate().skip(1) {
        assert!(close(a, b), "token {at}: {a} {b}");
    }
    assert_eq!(of(&none, 0, "token_logprobs")[1..], together[1..ids.len()]);
    // What was generated was the likeliest.
    for (log, top) in together
        .iter()
        .zip(of(&scored, 0, "top_logprobs"))
        .skip(ids.len() - 11)
    {
        let most = top.as_object().unwrap().values().next().unwrap();
        assert_eq!(log, most);
    }
    let names: String = of(&none, 0, "tokens")
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    assert_eq!(none["choices"][0]["text"], names);
    assert_eq!(made["choices"][0]["text"], names);
}

#[test]
fn a_stream_adds_up_to_the_answer() {
    let bench = Workbench::new();
    let server = Server::start(&bench, "demo", &[]);
    let mut body = json!({"prompt": [PROMPT, "In the year"], "max_tokens": 20, "seed": 3,
        "temperature": 0.9, "frequency_penalty": 0.5, "stop": [" of"], "logprobs": 1});
    let whole = server.post("/v1/completions", &body).good();
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let events = server.post("/v1/completions", &body).events();
    let (last, pieces) = events.split_last().unwrap();
    assert_eq!(last["usage"], whole["usage"]);
    assert_eq!(last["choices"], json!([]));
    for index in 0..2 {
        let mine = pieces
            .iter()
            .filter(|piece| piece["choices"][0]["index"] == index);
        let choice = &whole["choices"][index];
        let (mut text, mut logs) = (String::new(), Vec::new());
        let mut finish = Value::Null;
        for piece in mine {
            assert!(finish.is_null(), "nothing comes after the end");
            let piece = &piece["choices"][0];
            text.push_str(piece["text"].as_str().unwrap());
            logs.extend(
                piece["logprobs"]["token_logprobs"]
                    .as_array()
                    .unwrap()
                    .clone(),
            );
            finish = piece["finish_reason"].clone();
        }
        assert_eq!(choice["text"], text);
        assert_eq!(choice["finish_reason"], finish);
        assert_eq!(choice["logprobs"]["token_logprobs"], Value::from(logs));
        assert!(!text.contains(" of"));
    }
}

#[test]
fn a_conversation_is_what_its_template_makes_of_it() {
    let bench = Workbench::new();
    let model = bench.decoder("m");
    edit_json(&model.join("tokenizer_config.json"), |config| {
        config["chat_template"] = json!(TEMPLATE);
    });
    let server = Server::start(&bench, "m", &["--max-tokens", "30", "--name", "talker"]);
    let parts = json!([{"type": "text", "text": "Hello"}, {"type": "text", "text": " there."}]);
    let mut body = json!({"model": "talker", "temperature": 0, "max_completion_tokens": 10,
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": parts}],
        "tools": [{"name": "clock"}], "chat_template_kwargs": {"who": "model"},
        "logprobs": true, "top_logprobs": 2});
    let found = server.post("/v1/chat/completions", &body).good();
    let choice = &found["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    let rendered = "[clock]system: Be kind.\nuser: Hello there.\nmodel:";
    let expected =
        server.completed(&json!({"prompt": rendered, "temperature": 0, "max_tokens": 10}));
    assert_eq!(choice["message"]["content"], expected);
    let scored = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(scored.len(), 10);
    for entry in scored {
        assert_eq!(entry["logprob"], entry["top_logprobs"][0]["logprob"]);
        assert_eq!(entry["top_logprobs"].as_array().unwrap().len(), 2);
        let name = entry["token"].as_str().unwrap();
        assert!(entry["bytes"].is_null() || entry["bytes"] == json!(name.as_bytes()));
    }
    body["stream"] = json!(true);
    let events = server.post("/v1/chat/completions", &body).events();
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let said = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    assert_eq!(said.collect::<String>(), expected);
    let last = &events.last().unwrap()["choices"][0];
    assert_eq!(
        (&last["delta"], &last["finish_reason"]),
        (&json!({}), &json!("length"))
    );
    // Without a limit of its own an answer gets the server's.
    let talk = json!({"messages": [{"role": "user", "content": "x"}], "temperature": 0});
    let usage = server.post("/v1/chat/completions", &talk).good()["usage"].clone();
    assert_eq!(usage["completion_tokens"], 30);
    let page = server.get("/");
    assert!(page.headers.contains("content-security-policy") && page.body.contains("<textarea"));
}

#[test]
fn encoders_embed_texts_as_floats_and_as_integers() {
    let bench = Workbench::new();
    let model = bench.model("bert-prefixed-greek", "encoder");
    word_tokenizer(&model);
    bench.write("calib.tsv", sentences(16));
    let words = [
        "quantize",
        "encoder",
        "-r",
        "int8-integer-only",
        "--calib",
        "calib.tsv#sentence",
    ];
    let words = [
        &words[..],
        &["--samples", "16", "--no-eval", "-o", "integers"],
    ]
    .concat();
    bench.quench(&words).says(0, &[]);
    let mut all = Vec::new();
    for model in ["encoder", "integers"] {
        let server = Server::start(&bench, model, &[]);
        let input = json!({"model": model, "input": ["w5 w9 w11", "w30 w31"]});
        let found = server.post("/v1/embeddings", &input).good();
        let vector = |at: usize| -> Vec<f64> {
            let vector = found["data"][at]["embedding"].as_array().unwrap();
            vector.iter().map(|x| x.as_f64().unwrap()).collect()
        };
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (one, other) = (vector(0), vector(1));
        assert!((product(&one, &one) - 1.0).abs() < 1e-5);
        assert!(product(&one, &other) < 0.999);
        assert!(found["usage"]["prompt_tokens"].as_u64().unwrap() >= 5);
        let packed = json!({"input": "w5 w9 w11", "encoding_format": "base64"});
        let packed = server.post("/v1/embeddings", &packed).good();
        let text = packed["data"][0]["embedding"].as_str().unwrap();
        assert_eq!(
            text.trim_end_matches('=').len(),
            (one.len() * 4 * 8).div_ceil(6)
        );
        let refused = server.post("/v1/completions", &json!({"prompt": "w5"}));
        assert_eq!(refused.status, 400);
        assert!(refused.body.contains("continues none"), "{}", refused.body);
        assert_eq!(
            server.post("/v1/embeddings", &json!({"input": []})).status,
            400
        );
        all.push(one);
    }
    let cosine: f64 = all[0].iter().zip(&all[1]).map(|(a, b)| a * b).sum();
    assert!(cosine > 0.9, "{cosine}");
}
