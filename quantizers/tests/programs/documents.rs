//! Programs as JSON and integer tensors, and back.

use super::tiny;
use quantizers::integer::compile::Compilation;
use quantizers::integer::{Executor, IntegerTensor, Program, ProgramError};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn missing(name: &str) -> ProgramError {
    ProgramError::Tensor {
        name: name.to_owned(),
        source: "absent".into(),
    }
}

fn read_back(
    compilation: &Compilation,
    document: &Value,
    tensors: &BTreeMap<String, IntegerTensor>,
) -> Result<Program, ProgramError> {
    Program::read(
        document,
        &|name| tensors.get(name).cloned().ok_or_else(|| missing(name)),
        &|name| {
            let layer = compilation.layers.iter().find(|(layer, _)| layer == name);
            layer
                .map(|(_, tensor)| tiny::codes(tensor))
                .ok_or_else(|| missing(name))
        },
    )
}

fn parts(compilation: &Compilation) -> (Value, BTreeMap<String, IntegerTensor>) {
    let (document, tensors) = compilation.program.to_parts();
    // As it would come from a file.
    let text = document.to_string();
    (serde_json::from_str(&text).unwrap(), tensors)
}

#[test]
fn a_program_read_back_gives_the_same_integers() {
    for family in ["exact", "i-bert", "i-vit", "fq-vit"] {
        let compilation = tiny::compiled(&tiny::text(), family, 8, 15);
        let (document, tensors) = parts(&compilation);
        let read = read_back(&compilation, &document, &tensors).unwrap();
        assert_eq!(read.to_parts(), (document, tensors));
        let (first, second) = (Executor::new(compilation.program), Executor::new(read));
        let ids = [1, 7, 30, 42, 9];
        assert_eq!(
            first.run_tokens(&ids, None).unwrap(),
            second.run_tokens(&ids, None).unwrap()
        );
    }
}

/// Whether any number of a document is not whole.
fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_i64() && !number.is_u64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(fields) => fields.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

#[test]
fn documents_hold_integers_only() {
    for graph in [tiny::text(), tiny::embedding(), tiny::image()] {
        let (document, _) = parts(&tiny::compiled(&graph, "auto", 8, 15));
        assert!(!has_fraction(&document));
    }
}

#[test]
fn damaged_documents_are_refused_with_the_place() {
    let compilation = tiny::compiled(&tiny::text(), "exact", 8, 15);
    let (document, tensors) = parts(&compilation);
    let refused = |change: &dyn Fn(&mut Value, &mut BTreeMap<String, IntegerTensor>)| {
        let (mut document, mut tensors) = (document.clone(), tensors.clone());
        change(&mut document, &mut tensors);
        read_back(&compilation, &document, &tensors)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(&|document, _| document["version"] = json!(2)),
        "integer_program.json: `version`: expected 1, found 2"
    );
    let unknown = refused(&|document, _| document["operations"][0]["kind"] = json!("convolution"));
    assert!(
        unknown.contains("`operations.0.kind`: expected `tokens`"),
        "{unknown}"
    );
    let lost = refused(&|_, tensors| drop(tensors.pop_first()));
    assert!(
        lost.starts_with("cannot read integer tensor `integer_program."),
        "{lost}"
    );
    let place = refused(&|document, _| {
        document["operations"][1]["constants"]["input"] = json!(99);
    });
    assert!(place.contains("operations.1"), "{place}");
    let shift = refused(&|document, _| {
        document["operations"][0]["constants"]["requantize"]["shifts"] = json!([0]);
    });
    assert!(
        shift.contains("expected one factor or one a channel, shifts of 1 to 62"),
        "{shift}"
    );
    let written = |document: &mut Value, at: usize, key: &str, buffer: &Value| {
        document["operations"][at]["constants"][key] = buffer.clone();
    };
    // Operation 2 is the first linear layer: it may not write what it reads.
    let input = document["operations"][2]["constants"]["input"].clone();
    let aliased = refused(&|document, _| written(document, 2, "output", &input));
    assert!(
        aliased.contains("expected outputs apart from inputs"),
        "{aliased}"
    );
    // Codes in a buffer of another type than the vector code reads.
    let at = usize::try_from(input.as_u64().unwrap()).unwrap();
    let wider = refused(&|document, _| document["buffers"][at]["element"] = json!("i16"));
    assert!(wider.contains("expected U8, found I16"), "{wider}");
}
