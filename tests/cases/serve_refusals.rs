//! What a server says to those who ask badly, too much, or without the key; and how it stops.

use crate::server::{Answer, Server};
use crate::workbench::{Workbench, edit_json};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn without_the_key_nothing_but_health_is_answered() {
    let bench = Workbench::new();
    let open = Server::start(&bench, "demo", &["--api-key", "secret"]);
    let routes = [
        ("GET", "/"),
        ("GET", "/metrics"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/demo"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/embeddings"),
        ("GET", "/v1/completions"),
        ("GET", "/nowhere"),
        ("OPTIONS", "/"),
        ("GET", "/health/"),
        ("GET", "//health"),
    ];
    let body = json!({"prompt": "x", "max_tokens": 1}).to_string();
    for key in [None, Some("secre"), Some("")] {
        let server = match key {
            Some(key) => Server::start(&bench, "demo", &["--api-key", "secret"]).with_key(key),
            None => Server::start(&bench, "demo", &["--api-key", "secret"]),
        };
        for (method, path) in routes {
            let answer = server.ask(method, path, body.as_bytes());
            assert_eq!(answer.status, 401, "{method} {path}: {}", answer.body);
            assert_eq!(answer.json()["error"]["code"], "invalid_api_key");
            assert!(answer.headers.contains("www-authenticate: basic"));
        }
        assert_eq!(server.get("/health").good()["status"], "ok");
    }
    let open = open.with_key("secret");
    assert_eq!(
        open.ask("POST", "/v1/completions", body.as_bytes()).status,
        200
    );
    assert_eq!(open.get("/").status, 200);
    bench
        .quench(&["serve", "demo", "--api-key", ""])
        .says(2, &["the key is empty"]);
}

/// Path, body, status, field and a part of the message.
const REFUSED: &str = r#"
completions | [1] | 400 | | expected an object
completions | {} | 400 | prompt | is missing
completions | {"prompt": "x", "model": "other"} | 404 | model | expected the model `demo`
completions | {"prompt": "x", "max_token": 3} | 400 | max_token | did you mean `max_tokens`?
completions | {"prompt": "x", "n": 2} | 400 | n | can honour 1 only
completions | {"prompt": "x", "best_of": 2} | 400 | best_of | can honour 1 only
completions | {"prompt": "x", "suffix": "y"} | 400 | suffix | only, found
completions | {"prompt": "x", "logit_bias": {"5": 1}} | 400 | logit_bias | can honour {} only
completions | {"prompt": "x", "max_tokens": 51} | 400 | max_tokens | from 0 to 50
completions | {"prompt": "x", "max_tokens": -1} | 400 | max_tokens | found -1
completions | {"prompt": "x", "temperature": "hot"} | 400 | temperature | found "hot"
completions | {"prompt": "x", "top_p": 1.5} | 400 | top_p | from 0 to 1
completions | {"prompt": "x", "stop": [""]} | 400 | stop | not empty
completions | {"prompt": "x", "stream": 1} | 400 | stream | `true` or `false`
completions | {"prompt": "x", "stream_options": {}} | 400 | stream_options | with `stream` only
completions | {"prompt": [1, 99999]} | 400 | prompt | below
completions | {"prompt": [1, -1]} | 400 | prompt | token ids
completions | {"prompt": []} | 400 | prompt | a string, a list
completions | {"prompt": [[]]} | 400 | prompt | at least one token
completions | {"prompt": ["a", "b", "c", "d"]} | 400 | prompt | 3 texts at a time
chat/completions | {"messages": []} | 400 | messages | a list of some
chat/completions | {"messages": [{"role": "user", "content": "x"}]} | 400 | model | no chat template
chat/completions | {"messages": [{"role": "user", "content": 5}]} | 400 | messages | that is text
embeddings | {"input": "x"} | 400 | model | embeds none
"#;

#[test]
fn what_cannot_be_honoured_is_named() {
    let bench = Workbench::new();
    let server = Server::start(&bench, "demo", &["--max-tokens", "50", "--max-queue", "3"]);
    for line in REFUSED.trim().lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [path, body, status, field, part] = cells[..] else {
            panic!("five cells: {line}");
        };
        let answer = server.ask("POST", &format!("/v1/{path}"), body.as_bytes());
        assert_eq!(answer.status.to_string(), status, "{line}: {}", answer.body);
        let error = &answer.json()["error"];
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(part), "{line}: {error}");
        let found = error["param"].as_str().unwrap_or_default();
        assert_eq!(found, field, "{line}: {error}");
    }
    let completions = "/v1/completions";
    let long = "word ".repeat(3000);
    let too_long = server.post(completions, &json!({"prompt": long}));
    assert_eq!(too_long.json()["error"]["code"], "context_length_exceeded");
    assert_eq!(server.get("/nowhere").status, 404);
    assert_eq!(server.get(completions).status, 405);
    // A body that is announced as too long is not waited for.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST {completions} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        (8 << 20) + 1
    );
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(Answer::read(stream).status, 413);
    bench
        .quench(&["serve", "demo", "--port", "0", "--parallel", "0"])
        .says(2, &["at least 1"]);
    bench.model("vit-model", "pictures");
    bench
        .quench(&["serve", "pictures", "--port", "0"])
        .says(3, &["cannot serve `pictures`"]);
}

#[test]
fn pages_of_other_sites_are_not_answered() {
    let bench = Workbench::new();
    let server = Server::start(&bench, "demo", &[]);
    let asked = |origin: &str| {
        let address = server.address();
        let mut stream = TcpStream::connect(address).unwrap();
        let origin = origin.replace("HERE", address);
        let head = format!(
            "GET /v1/models HTTP/1.1\r\nHost: {address}\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        Answer::read(stream).status
    };
    assert_eq!(asked("http://HERE"), 200);
    assert_eq!(asked("http://evil.example"), 403);
    assert_eq!(asked("null"), 403);
}

/// The first bytes of an answer, so that it is known to be under way.
fn begun(mut stream: TcpStream) -> TcpStream {
    let mut byte = [0; 1];
    stream.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"H");
    stream
}

/// A model that goes on for long.
fn endless(bench: &Workbench) {
    let model = bench.decoder("endless");
    edit_json(&model.join("config.json"), |config| {
        config["max_position_embeddings"] = json!(100_000);
        config["eos_token_id"] = json!(null);
    });
}

fn long_stream() -> Value {
    json!({"prompt": "In the year", "max_tokens": 4000, "stream": true, "seed": 1,
        "temperature": 1.0})
}

#[test]
fn a_full_queue_refuses_and_clients_that_go_away_make_room() {
    let bench = Workbench::new();
    endless(&bench);
    let words = ["--parallel", "1", "--max-queue", "1"];
    let server = Server::start(&bench, "endless", &words);
    let body = long_stream().to_string();
    let send = || {
        server
            .send("POST", "/v1/completions", body.as_bytes())
            .unwrap()
    };
    // Answered by its first token: it has left the queue.
    let mut running = begun(send());
    while server.figure("quench_running ") < 1.0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let waiting = begun(send());
    while server.figure("quench_waiting ") < 1.0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let refused = server.ask("POST", "/v1/completions", body.as_bytes());
    assert_eq!(refused.status, 429, "{}", refused.body);
    assert_eq!(refused.json()["error"]["code"], "queue_full");
    assert!(refused.headers.contains("retry-after"));
    // One that waited is given up, and another takes its place.
    drop(waiting);
    let short = json!({"prompt": "In the year", "max_tokens": 3, "temperature": 0});
    let mut bytes = [0; 64];
    assert!(running.read(&mut bytes).unwrap() > 0);
    drop(running);
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while server.post("/v1/completions", &short).status != 200 {
        assert!(std::time::Instant::now() < until, "room is made");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(server.figure("quench_cancelled_total ") >= 1.0);
    assert!(server.figure("quench_refused_total ") >= 1.0);
}

#[test]
fn an_interruption_lets_texts_under_way_finish_and_tells_the_others() {
    let bench = Workbench::new();
    endless(&bench);
    let mut server = Server::start(&bench, "endless", &["--parallel", "1"]);
    let finishing = json!({"prompt": "In the year", "max_tokens": 300, "stream": true,
        "temperature": 0});
    let expected = json!({"prompt": "In the year", "max_tokens": 300, "temperature": 0});
    let expected = server.completed(&expected);
    let send = |body: &Value| {
        let body = body.to_string();
        server
            .send("POST", "/v1/completions", body.as_bytes())
            .unwrap()
    };
    let running = begun(send(&finishing));
    while server.figure("quench_running ") < 1.0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    let waiting = send(&expected_body());
    while server.figure("quench_waiting ") < 1.0 && server.figure("quench_running ") > 0.0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    server.interrupt();
    let waiting = Answer::read(waiting);
    assert!([200, 503].contains(&waiting.status), "{}", waiting.body);
    let mut rest = String::new();
    let mut running = running;
    running.read_to_string(&mut rest).unwrap();
    let said = rest.matches("\"text\":").count();
    assert!(
        rest.contains("[DONE]") && !rest.contains("\"error\""),
        "{rest}"
    );
    assert!(said > 1 && !expected.is_empty());
    assert_eq!(server.ended(Duration::from_secs(15)), Some(0));
    assert!(
        server.send("GET", "/health", b"").is_err(),
        "nobody listens"
    );
}

fn expected_body() -> Value {
    json!({"prompt": "In the year", "max_tokens": 3, "temperature": 0})
}
