//! Entries of every registry have a name of their own and say what they are.

use calib::ARCHITECTURES;
use calib::data::SOURCES;
use eval::retrieval::RETRIEVALS;
use eval::tasks::TASKS;
use quantizers::METHODS;
use quantizers::attentions::ATTENTIONS;
use quantizers::caches::CACHES;
use quantizers::formats::{self, FORMATS};
use quantizers::nonlinear::{APPROXIMATIONS, Nonlinearity};
use quench::recipe::{BUILTIN, BuiltinRecipe};

fn check(registry: &str, entries: &[(&str, &str)]) {
    assert!(!entries.is_empty(), "{registry} is empty");
    for (index, (name, summary)) in entries.iter().enumerate() {
        assert!(
            !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || "0123456789-_.".contains(c)),
            "{registry}: `{name}`"
        );
        assert!(
            !summary.is_empty() && !summary.contains('\n'),
            "{registry}: `{name}`"
        );
        assert!(
            !summary.ends_with('.'),
            "{registry}: `{name}`: one line without a period"
        );
        assert!(
            entries[..index].iter().all(|(other, _)| other != name),
            "{registry}: two `{name}`"
        );
    }
}

#[test]
fn names_are_unique_and_summaries_say_something() {
    check(
        "methods",
        &METHODS
            .iter()
            .map(|m| (m.name(), m.summary()))
            .collect::<Vec<_>>(),
    );
    check(
        "caches",
        &CACHES
            .iter()
            .map(|c| (c.name(), c.summary()))
            .collect::<Vec<_>>(),
    );
    check(
        "attentions",
        &ATTENTIONS
            .iter()
            .map(|a| (a.name(), a.summary()))
            .collect::<Vec<_>>(),
    );
    check(
        "texts that hide something",
        &RETRIEVALS
            .iter()
            .map(|r| (r.name(), r.summary()))
            .collect::<Vec<_>>(),
    );
    check(
        "formats",
        &FORMATS
            .iter()
            .map(|f| (f.name(), f.summary()))
            .collect::<Vec<_>>(),
    );
    check(
        "forms that are read",
        &formats::SOURCES
            .iter()
            .map(|s| (s.quant_method(), s.summary()))
            .collect::<Vec<_>>(),
    );
    check(
        "tasks",
        &TASKS
            .iter()
            .map(|t| (t.name(), t.summary()))
            .collect::<Vec<_>>(),
    );
    check(
        "data",
        &SOURCES
            .iter()
            .map(|s| (s.name(), s.summary()))
            .collect::<Vec<_>>(),
    );
    let families: Vec<_> = ARCHITECTURES
        .iter()
        .map(|a| (a.name(), a.summary()))
        .collect();
    check("architectures", &families);
    let summaries: Vec<_> = BUILTIN.iter().map(BuiltinRecipe::summary).collect();
    let recipes: Vec<_> = BUILTIN
        .iter()
        .zip(&summaries)
        .map(|(recipe, summary)| (recipe.name, summary.trim_end_matches('.')))
        .collect();
    check("recipes", &recipes);
}

#[test]
fn approximations_have_a_name_for_each_function_and_a_formula() {
    let functions = [
        Nonlinearity::Gelu,
        Nonlinearity::GeluTanh,
        Nonlinearity::Relu,
        Nonlinearity::Silu,
        Nonlinearity::Tanh,
        Nonlinearity::Softmax,
        Nonlinearity::LayerNorm,
        Nonlinearity::RmsNorm,
    ];
    for function in functions {
        let entries: Vec<_> = APPROXIMATIONS
            .iter()
            .filter(|entry| entry.replaces() == function)
            .map(|entry| (entry.name(), entry.summary()))
            .collect();
        check(function.name(), &entries);
    }
}

#[test]
fn every_method_parameter_is_explained() {
    for method in METHODS {
        for (name, help) in method.parameters() {
            assert!(!name.is_empty() && !help.is_empty(), "{}", method.name());
        }
    }
}

#[test]
fn the_recipe_reference_is_what_the_program_prints() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = fs_err::read_to_string(root.join("recipes/reference.md")).unwrap();
    assert!(
        file == quench::recipe::reference::page(),
        "run `cargo run --release -- list recipe > recipes/reference.md`"
    );
}

#[test]
fn every_model_type_has_one_family() {
    let mut types: Vec<&str> = ARCHITECTURES
        .iter()
        .flat_map(|family| family.model_types())
        .copied()
        .collect();
    let count = types.len();
    types.sort_unstable();
    types.dedup();
    assert_eq!(types.len(), count);
}
