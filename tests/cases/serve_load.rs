//! Many clients at once, and bodies of every shape.

use crate::server::{Answer, Server};
use crate::workbench::{Workbench, edit_json};
use serde_json::{Value, json};
use std::io::Read;
use std::time::{Duration, Instant};

const PROMPTS: [&str; 4] = [
    "The city of London is the",
    "In the year",
    "He was born in the town of",
    "=",
];

/// Numbers that look random.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % most
    }
}

/// One of the requests whose answer is known.
fn request(kind: usize) -> Value {
    let mut body = json!({"prompt": PROMPTS[kind % 4], "max_tokens": 4 + kind, "seed": kind});
    if kind < 4 {
        body["temperature"] = json!(0);
    } else {
        body["temperature"] = json!(0.9);
        body["top_k"] = json!(40);
    }
    body
}

#[test]
fn eight_clients_that_come_and_go_get_the_texts_they_would_get_alone() {
    let bench = Workbench::new();
    let words = [
        "quantize",
        "demo",
        "-r",
        "squeeze-3",
        "--samples",
        "8",
        "--no-eval",
    ];
    bench
        .quench(&[&words[..], &["-o", "small"]].concat())
        .says(0, &[]);
    let server = Server::start(&bench, "small", &["--max-queue", "100"]);
    let alone: Vec<String> = (0..8)
        .map(|kind| server.completed(&request(kind)))
        .collect();
    let clients: Vec<usize> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8_u64)
            .map(|client| {
                let (server, alone) = (&server, &alone);
                scope.spawn(move || answered(server, alone, client))
            })
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    assert!(clients.iter().all(|answers| *answers > 20), "{clients:?}");
    // Nothing is left behind, and texts were continued together.
    let until = Instant::now() + Duration::from_secs(10);
    while server.figure("quench_running ") > 0.0 {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(5));
    }
    let tokens = server.figure("quench_generated_tokens_total ");
    assert!(tokens > 1.5 * server.figure("quench_steps_total "));
}

/// Asks fifty times, reads most answers and checks them; how many they were.
fn answered(server: &Server, alone: &[String], client: u64) -> usize {
    let mut dice = Dice(client + 1);
    let mut answers = 0;
    for _ in 0..50 {
        let kind = dice.below(8);
        let mut body = request(kind);
        let is_stream = dice.below(2) == 0;
        if is_stream {
            body["stream"] = json!(true);
        }
        let body = body.to_string();
        let mut sent = server
            .send("POST", "/v1/completions", body.as_bytes())
            .unwrap();
        match dice.below(6) {
            0 => continue,
            1 => {
                let _ = sent.read(&mut [0; 200]).unwrap();
                continue;
            }
            _ => {}
        }
        let answer = Answer::read(sent);
        let text = if is_stream {
            let events = answer.events();
            let pieces = events
                .iter()
                .map(|event| event["choices"][0]["text"].as_str().unwrap());
            pieces.collect::<String>()
        } else {
            answer.good()["choices"][0]["text"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(text, alone[kind], "client {client}");
        answers += 1;
    }
    answers
}

#[test]
fn two_thousand_damaged_bodies_are_answered_and_break_nothing() {
    let bench = Workbench::new();
    let model = bench.decoder("talker");
    edit_json(&model.join("tokenizer_config.json"), |config| {
        config["chat_template"] = json!("{% for m in messages %}{{ m.content }} {% endfor %}");
    });
    let server = Server::start(
        &bench,
        "talker",
        &["--max-tokens", "4", "--max-queue", "1000"],
    );
    let valid = [
        (
            "/v1/completions",
            json!({"model": "talker", "prompt": "In the year", "max_tokens": 2,
            "temperature": 0.5, "top_p": 0.9, "logprobs": 2, "echo": true, "stop": ["x"], "seed": 4}),
        ),
        (
            "/v1/completions",
            json!({"prompt": [[1, 2, 3], [4, 5]], "max_tokens": 1, "stream": true,
            "stream_options": {"include_usage": true}, "n": 1}),
        ),
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": [{"type": "text",
            "text": "x"}]}], "tools": [{"type": "function"}], "logprobs": true, "top_logprobs": 1}),
        ),
        (
            "/v1/embeddings",
            json!({"input": ["a", [1, 2]], "encoding_format": "base64"}),
        ),
    ];
    let mut dice = Dice(7);
    let mut statuses = [0; 6];
    for round in 0..2000 {
        let (path, body) = &valid[round % valid.len()];
        let mut body = body.clone();
        let body = if dice.below(2) == 0 {
            exchange(&mut body, &mut dice);
            body.to_string().into_bytes()
        } else {
            damaged(body.to_string().into_bytes(), &mut dice)
        };
        let answer = server.ask("POST", path, &body);
        let shown = String::from_utf8_lossy(&body);
        assert!(
            answer.status < 500,
            "{} of {shown}: {}",
            answer.status,
            answer.body
        );
        if answer.status >= 400 {
            assert!(answer.json()["error"]["message"].is_string(), "{shown}");
        }
        statuses[usize::from(answer.status / 100)] += 1;
    }
    assert!(statuses[4] > 1000 && statuses[2] > 100, "{statuses:?}");
    assert_eq!(server.get("/health").status, 200);
    server.completed(&json!({"prompt": "x"}));
}

/// Puts another value in place of one, somewhere in `body`.
fn exchange(body: &mut Value, dice: &mut Dice) {
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(0.5),
        json!(1e300),
        json!("x"),
        json!(""),
        json!([]),
        json!([3]),
        json!({}),
        json!(["a", 2]),
        json!({"type": "text", "text": "y"}),
        json!(u64::MAX),
    ];
    let mut at = body;
    loop {
        let count = at
            .as_object()
            .map(serde_json::Map::len)
            .or(at.as_array().map(Vec::len));
        let Some(count) = count.filter(|count| *count > 0) else {
            break;
        };
        let chosen = dice.below(count);
        at = match at {
            Value::Object(map) => map.values_mut().nth(chosen).unwrap(),
            Value::Array(list) => &mut list[chosen],
            _ => return,
        };
        if dice.below(3) == 0 {
            break;
        }
    }
    *at = values[dice.below(values.len())].clone();
}

/// `body` with a few bytes cut, doubled, changed or exchanged.
fn damaged(mut body: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    let pieces: [&[u8]; 10] = [
        b"\"",
        b"{",
        b"]",
        b"-",
        b"1e999",
        b"null",
        b"\\u0000",
        b"\xff",
        b"[[[[",
        b"99999999999",
    ];
    for _ in 0..=dice.below(3) {
        if body.is_empty() {
            break;
        }
        let at = dice.below(body.len());
        let to = (at + 1 + dice.below(12)).min(body.len());
        match dice.below(5) {
            0 => {
                body.drain(at..to);
            }
            1 => {
                let again = body[at..to].to_vec();
                body.splice(at..at, again);
            }
            2 => body[at] ^= 1 << dice.below(7),
            3 => {
                let piece = pieces[dice.below(pieces.len())];
                body.splice(at..to, piece.iter().copied());
            }
            _ => body.truncate(at),
        }
    }
    body
}
