//! The number of a class is never guessed: label2id, else id2label, else the number it is named by, else a refusal.

use crate::datasets::{
    configure, figure, image_classifier, image_folders, picture, sentences, text_classifier,
};
use crate::workbench::{Ended, Workbench, as_f16, edit_tensors, floats};
use serde_json::{Value, json};

const NAMES: [&str; 5] = ["ant", "bee", "cow", "dog", "eel"];
/// Class of each of [`NAMES`].
const ORDER: [usize; 5] = [3, 1, 4, 0, 2];

fn eval(bench: &Workbench, model: &str, data: &str) -> Ended {
    bench.quench(&[
        "eval",
        model,
        "--eval-data",
        data,
        "--json",
        "-q",
        "--threads",
        "1",
    ])
}

/// `{name: number}` and `{number: name}`.
fn maps() -> (Value, Value) {
    let pairs = || NAMES.iter().zip(ORDER);
    let numbers: serde_json::Map<String, Value> = pairs()
        .map(|(name, number)| ((*name).to_owned(), json!(number)))
        .collect();
    let names: serde_json::Map<String, Value> = pairs()
        .map(|(name, number)| (number.to_string(), json!(name)))
        .collect();
    (Value::Object(numbers), Value::Object(names))
}

#[test]
fn one_map_says_the_same_as_both() {
    let bench = Workbench::new();
    let model = image_classifier(&bench, "m");
    image_folders(&bench, "im", &NAMES);
    let (numbers, names) = maps();
    let mut found = Vec::new();
    for keys in [
        json!({ "label2id": numbers, "id2label": names }),
        json!({ "label2id": null, "id2label": names }),
        json!({ "label2id": numbers, "id2label": null }),
        json!({ "label2id": { "LABEL_0": 0, "LABEL_1": 1 }, "id2label": names }),
    ] {
        configure(&model, &keys);
        let ended = eval(&bench, "m", "im");
        assert_eq!(ended.code, 0, "{}", ended.shown());
        found.push(figure(&ended.json(), "cross_entropy").to_bits());
    }
    assert!(found.iter().all(|figure| *figure == found[0]), "{found:?}");
    // In the order of the names it would be another figure.
    configure(
        &model,
        &json!({ "label2id": null, "id2label": { "0": "ant", "1": "bee", "2": "cow", "3": "dog", "4": "eel" } }),
    );
    let sorted = eval(&bench, "m", "im").json();
    assert_ne!(figure(&sorted, "cross_entropy").to_bits(), found[0]);
}

#[test]
fn maps_that_disagree_are_told() {
    let bench = Workbench::new();
    let model = text_classifier(&bench, "m");
    bench.write("d.tsv", sentences(9, &["good", "bad", "so"]));
    configure(
        &model,
        &json!({ "label2id": { "good": 2, "bad": 0, "so": 1 },
                 "id2label": { "0": "good", "1": "so", "2": "bad" } }),
    );
    let ended = eval(&bench, "m", "d.tsv");
    assert_eq!(ended.code, 0, "{}", ended.shown());
    let warnings = ended.json()["warnings"].to_string();
    assert!(warnings.contains("`label2id` counts"), "{warnings}");
}

#[test]
fn names_the_model_does_not_know_show_both_lists() {
    let bench = Workbench::new();
    let model = image_classifier(&bench, "m");
    image_folders(&bench, "im", &["ant", "bee"]);
    let both = &["are `ant`, `bee`, expected", "`LABEL_0`"];
    eval(&bench, "m", "im").says(3, both);
    configure(
        &model,
        &json!({ "label2id": null, "id2label": null, "num_labels": 5 }),
    );
    let numbers =
        &["are `ant`, `bee`, expected a number from 0 to 4 (config.json names no classes)"];
    eval(&bench, "m", "im").says(3, numbers);
    let (_, names) = maps();
    configure(&model, &json!({ "id2label": names }));
    image_folders(&bench, "typo", &["ant", "beee"]);
    eval(&bench, "m", "typo").says(3, &["`beee`", "hint: did you mean `bee`?"]);
}

#[test]
fn labels_of_a_table_are_names_or_numbers_of_the_model() {
    let bench = Workbench::new();
    let model = text_classifier(&bench, "m");
    let names = json!({ "0": "good", "1": "bad", "2": "so" });
    configure(&model, &json!({ "label2id": null, "id2label": names }));
    bench.write("names.tsv", sentences(9, &["bad", "so", "good"]));
    bench.write("numbers.tsv", sentences(9, &["1", "2", "0"]));
    let figures = ["names.tsv", "numbers.tsv"].map(|data| {
        let ended = eval(&bench, "m", data);
        assert_eq!(ended.code, 0, "{}", ended.shown());
        figure(&ended.json(), "cross_entropy").to_bits()
    });
    assert_eq!(figures[0], figures[1]);
    bench.write("other.tsv", sentences(9, &["bad", "poor"]));
    eval(&bench, "m", "other.tsv").says(
        3,
        &["`other.tsv` line 3", "`good`, `bad`, `so`", "found `poor`"],
    );
    bench.write("hidden.tsv", sentences(9, &["-1"]));
    eval(&bench, "m", "hidden.tsv").says(3, &["line 2", "found `-1`"]);
}

#[test]
fn folders_of_numbers_are_those_numbers_or_none() {
    let bench = Workbench::new();
    let model = image_classifier(&bench, "m");
    let none = json!({ "label2id": null, "id2label": null, "num_labels": 5 });
    configure(&model, &none);
    image_folders(&bench, "some", &["1", "3", "4"]);
    let (_, names) = maps();
    let some = figure(&eval(&bench, "m", "some").json(), "cross_entropy");
    configure(&model, &json!({ "id2label": names }));
    image_folders(&bench, "named", &["bee", "ant", "cow"]);
    // The same pictures: `bee` is class 1, `ant` 3 and `cow` 4, but folders are read in the order of names.
    for (from, to) in [("bee", "1"), ("ant", "3"), ("cow", "4")] {
        let target = bench.at("named").join(from);
        fs_err::remove_dir_all(&target).unwrap();
        fs_err::rename(bench.at("some").join(to), &target).unwrap();
    }
    let named = figure(&eval(&bench, "m", "named").json(), "cross_entropy");
    assert!((some - named).abs() < 1e-6, "{some} {named}");
}

#[test]
fn numbers_that_sort_otherwise_as_names_are_refused() {
    let bench = Workbench::new();
    let model = image_classifier(&bench, "m");
    configure(
        &model,
        &json!({ "label2id": null, "id2label": null, "num_labels": 12 }),
    );
    edit_tensors(&model, |tensors| {
        let names: Vec<String> = tensors
            .keys()
            .filter(|name| name.starts_with("classifier."))
            .cloned()
            .collect();
        for name in names {
            let (_, shape, _) = tensors[&name].clone();
            let mut values = floats(&tensors[&name]);
            let mut wide = shape.clone();
            wide[0] = 12;
            values.resize(wide.iter().product(), -1.0);
            tensors.insert(name, as_f16(&wide, &values));
        }
    });
    let numbers: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    let folders: Vec<&str> = numbers.iter().map(String::as_str).collect();
    image_folders(&bench, "im", &folders);
    eval(&bench, "m", "im").says(
        3,
        &["numbers in two orders", "`2` is class 2 by its number"],
    );
    // With zeros in front both orders are one.
    let numbers: Vec<String> = (0..12).map(|number| format!("{number:02}")).collect();
    let folders: Vec<&str> = numbers.iter().map(String::as_str).collect();
    image_folders(&bench, "padded", &folders);
    assert_eq!(eval(&bench, "m", "padded").code, 0);
    // So are they where the configuration says which is meant.
    let own: serde_json::Map<String, Value> =
        (0..12).map(|n: usize| (n.to_string(), json!(n))).collect();
    configure(&model, &json!({ "label2id": own }));
    assert_eq!(eval(&bench, "m", "im").code, 0);
}

#[test]
fn one_output_has_no_accuracy() {
    let bench = Workbench::new();
    let model = text_classifier(&bench, "m");
    let only = json!({ "id2label": { "0": "LABEL_0" }, "label2id": { "LABEL_0": 0 } });
    configure(&model, &only);
    edit_tensors(&model, |tensors| {
        for name in ["classifier.weight", "classifier.bias"] {
            let (_, mut shape, _) = tensors[name].clone();
            let each = shape[1..].iter().product::<usize>();
            shape[0] = 1;
            let values = floats(&tensors[name])[..each].to_vec();
            tensors.insert(name.to_owned(), as_f16(&shape, &values));
        }
    });
    bench.write("d.tsv", sentences(6, &["0"]));
    let told = &["no task judges a text model with one output, a regression"];
    eval(&bench, "m", "d.tsv").says(3, told);
    for command in ["plan", "quantize"] {
        bench
            .quench(&[command, "m", "--eval-data", "d.tsv"])
            .says(3, told);
    }
    assert!(!bench.at("quench-out").exists());
}

#[test]
fn a_model_that_chooses_no_single_class_has_no_accuracy() {
    let bench = Workbench::new();
    let model = text_classifier(&bench, "m");
    bench.write("d.tsv", sentences(6, &["0"]));
    for problem in ["regression", "multi_label_classification"] {
        configure(&model, &json!({ "problem_type": problem }));
        eval(&bench, "m", "d.tsv").says(3, &[problem, "accuracy means nothing"]);
    }
    configure(
        &model,
        &json!({ "problem_type": "single_label_classification" }),
    );
    assert_eq!(eval(&bench, "m", "d.tsv").code, 0);
}

#[test]
fn what_systems_and_editors_leave_is_neither_class_nor_image() {
    let bench = Workbench::new();
    image_classifier(&bench, "m");
    image_folders(&bench, "im", &["0", "1"]);
    let clean = eval(&bench, "m", "im").json();
    for name in [
        ".cache/x.png",
        "__MACOSX/x.png",
        "0/._000.png",
        "0/000.png~",
        "1/.DS_Store",
    ] {
        let path = bench.at("im").join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        picture(7)
            .save_with_format(path, image::ImageFormat::Png)
            .unwrap();
    }
    bench.write("im/1/empty.jpg", "");
    let ended = bench.quench(&[
        "eval",
        "m",
        "--eval-data",
        "im",
        "--json",
        "-v",
        "--threads",
        "1",
    ]);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    assert_eq!(ended.json()["scores"], clean["scores"]);
    let told = "skipped 5 hidden or left by an editor, 1 images of no bytes";
    assert_eq!(ended.stderr.matches(told).count(), 1, "{}", ended.shown());
    assert_eq!(eval(&bench, "m", "im").stderr, "");
}

#[test]
fn a_model_without_names_has_as_many_classes_as_outputs() {
    let bench = Workbench::new();
    let model = text_classifier(&bench, "m");
    let none = json!({ "label2id": null, "id2label": null, "num_labels": 4 });
    configure(&model, &none);
    edit_tensors(&model, |tensors| {
        for name in ["classifier.weight", "classifier.bias"] {
            let (_, mut shape, _) = tensors[name].clone();
            let mut values = floats(&tensors[name]);
            shape[0] = 4;
            values.resize(shape.iter().product(), 0.0);
            tensors.insert(name.to_owned(), as_f16(&shape, &values));
        }
    });
    bench.write("d.tsv", sentences(8, &["0", "3"]));
    assert_eq!(
        bench
            .quench(&["eval", "m", "--eval-data", "d.tsv", "-q"])
            .code,
        0
    );
    bench.write("e.tsv", sentences(8, &["0", "4"]));
    bench
        .quench(&["eval", "m", "--eval-data", "e.tsv", "-q"])
        .says(3, &["a number from 0 to 3", "found `4`"]);
}
