//! The classes of a classifier: what config.json calls them, and which number a label of the data means.
//!
//! A number is never guessed from the order of names. A label means a class by `label2id`, else by `id2label`, else
//! because it is the number itself; anything else is an error that shows both lists.

use crate::Model;
use crate::data::DataError;
use quantizers::graph::{Projection, StageNode};
use quantizers::nearest::nearest;
use serde_json::Value;
use std::collections::BTreeMap;

/// Names shown in a message.
const SHOWN: usize = 12;

/// Class names of one model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassNames {
    /// Number of each name.
    numbers: BTreeMap<String, usize>,
    /// Names that `id2label` gives to two classes.
    twice: BTreeMap<String, [usize; 2]>,
    /// Names with one number in `label2id` and another in `id2label`.
    disagreeing: Vec<String>,
    /// `problem_type` of config.json.
    problem: Option<String>,
}

/// Number of classes `model` tells apart; nothing where its last layer is not known to the graph.
pub fn classes(model: &dyn Model) -> Option<usize> {
    match model.graph().stages.last()? {
        StageNode::Head(head) => match head.projection.as_ref()? {
            Projection::Layer(layer) => Some(layer.rows),
            Projection::Averaged(layers) => layers.first().map(|layer| layer.rows),
            Projection::Tied { .. } => None,
        },
        _ => None,
    }
}

impl ClassNames {
    /// Reads `label2id`, `id2label` and `problem_type` of a config.json. Where both maps name a class, `label2id`
    /// counts.
    pub fn from_config(config: &Value) -> Self {
        let mut names = Self {
            problem: config["problem_type"].as_str().map(str::to_owned),
            ..Self::default()
        };
        for (name, number) in config["label2id"].as_object().into_iter().flatten() {
            names
                .numbers
                .extend(whole(number).map(|number| (name.clone(), number)));
        }
        for (number, name) in numbered(&config["id2label"]) {
            match names.numbers.get(&name) {
                None => {
                    names.numbers.insert(name, number);
                }
                Some(&other) if other == number => {}
                Some(_) if config["label2id"][&name] != Value::Null => names.disagreeing.push(name),
                Some(&other) => {
                    names.twice.insert(name, [other, number]);
                }
            }
        }
        names
    }

    /// Whether the configuration names no class, or calls them `LABEL_0`, `LABEL_1` and so on, as transformers does
    /// where nobody named them.
    pub fn is_unnamed(&self) -> bool {
        let made_up = |(name, number): (&String, &usize)| *name == format!("LABEL_{number}");
        self.numbers.iter().all(made_up)
    }

    /// What is odd about the configuration, for a note.
    pub fn disagreement(&self) -> Option<String> {
        let first = self.disagreeing.first()?;
        Some(format!(
            "`label2id` and `id2label` of config.json number the class `{first}` differently: `label2id` counts"
        ))
    }

    /// Why accuracy means nothing for this model, where `problem_type` says that it does not choose one class.
    pub fn no_single_class(&self) -> Option<&str> {
        let problem = self.problem.as_deref()?;
        (problem != "single_label_classification").then_some(problem)
    }

    /// The number of the class that `label` means, of `classes`: by name, else as a number.
    ///
    /// # Errors
    /// What would do instead.
    pub fn number(&self, label: &str, classes: usize) -> Result<usize, String> {
        if let Some([one, other]) = self.twice.get(label) {
            return Err(format!(
                "a name of one class: config.json calls both {one} and {other} so"
            ));
        }
        let number = self.numbers.get(label).copied();
        let number = number.or_else(|| label.parse().ok());
        number
            .filter(|&number| number < classes)
            .ok_or_else(|| self.expected(classes))
    }

    /// The numbers of the classes that the folders of `origin` are named after, in their order.
    ///
    /// Folders named by numbers are taken at their word where the order of the numbers is that of the names. Where
    /// it is another (`10` comes before `2`), class 2 of a model is either: much training code counts the folders
    /// in the order of their names.
    ///
    /// # Errors
    /// A folder that is no class of the model; numbers in two orders.
    pub fn of_folders(
        &self,
        folders: &[String],
        classes: usize,
        origin: &str,
    ) -> Result<Vec<usize>, DataError> {
        let by_name = |folder: &String| self.numbers.contains_key(folder);
        let named = folders.iter().filter(|folder| by_name(folder)).count();
        let refused = |found: Option<&String>, expected: String| DataError::Classes {
            origin: origin.to_owned(),
            found: listed(folders.iter().map(String::as_str)),
            expected,
            nearest: found.and_then(|name| nearest(name, self.numbers.keys().map(String::as_str))),
            unnamed: self.is_unnamed(),
        };
        let whole_number = |folder: &String| folder.parse::<usize>().is_ok();
        if named == 0 && folders.iter().all(whole_number) {
            let numbers: Vec<usize> = folders.iter().flat_map(|folder| folder.parse()).collect();
            if let Some(at) = numbers.windows(2).position(|pair| pair[0] >= pair[1]) {
                return Err(DataError::NumberedFolders {
                    origin: origin.to_owned(),
                    folder: folders[at + 1].clone(),
                    number: numbers[at + 1],
                    place: at + 1,
                });
            }
            if let Some(at) = numbers.iter().position(|&number| number >= classes) {
                return Err(refused(Some(&folders[at]), self.expected(classes)));
            }
            return Ok(numbers);
        }
        if let Some(unknown) = folders.iter().find(|folder| !by_name(folder)) {
            return Err(refused(Some(unknown), self.expected(classes)));
        }
        folders
            .iter()
            .map(|folder| {
                let number = self.number(folder, classes);
                number.map_err(|expected| refused(None, expected))
            })
            .collect()
    }

    /// What a label may be, for messages.
    fn expected(&self, classes: usize) -> String {
        // Where the model does not tell how many classes it has, any number may be one.
        let last = match classes {
            usize::MAX => "the last class".to_owned(),
            count => count.saturating_sub(1).to_string(),
        };
        if self.numbers.is_empty() {
            return format!("a number from 0 to {last} (config.json names no classes)");
        }
        let mut names: Vec<(&usize, &str)> = self
            .numbers
            .iter()
            .map(|(name, number)| (number, name.as_str()))
            .collect();
        names.sort_unstable();
        let names = listed(names.into_iter().map(|(_, name)| name));
        format!("a number from 0 to {last}, or one of {names}")
    }
}

/// `(number, name)` of `id2label`.
fn numbered(labels: &Value) -> Vec<(usize, String)> {
    let labels = labels.as_object().into_iter().flatten();
    labels
        .filter_map(|(number, name)| Some((number.trim().parse().ok()?, name.as_str()?.to_owned())))
        .collect()
}

/// A whole number, written as one or as text.
fn whole(value: &Value) -> Option<usize> {
    let number = value.as_u64().and_then(|n| usize::try_from(n).ok());
    number.or_else(|| value.as_str()?.trim().parse().ok())
}

/// The first of `names`, quoted, and how many more there are.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names.len().min(SHOWN);
    let quoted: Vec<String> = names[..shown]
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    let text = quoted.join(", ");
    match names.len() - shown {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(config: &Value) -> ClassNames {
        ClassNames::from_config(config)
    }

    fn folders(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn either_map_gives_the_numbers() {
        let one = names(&json!({ "label2id": { "dog": 0, "cat": "1" } }));
        let other = names(&json!({ "id2label": { "0": "dog", "1": "cat" } }));
        let both = names(
            &json!({ "id2label": { "0": "dog", "1": "cat" }, "label2id": { "LABEL_0": 0, "LABEL_1": 1 } }),
        );
        for names in [one, other, both] {
            let found = names.of_folders(&folders(&["cat", "dog"]), 2, "x");
            assert_eq!(found.unwrap(), [1, 0]);
            assert_eq!(names.number("0", 2), Ok(0));
            assert!(!names.is_unnamed());
        }
    }

    #[test]
    fn label2id_counts_where_the_maps_disagree() {
        let names = names(
            &json!({ "label2id": { "dog": 0, "cat": 1 }, "id2label": { "0": "cat", "1": "dog" } }),
        );
        assert_eq!(names.number("dog", 2), Ok(0));
        assert!(names.disagreement().unwrap().contains("`cat`"));
    }

    #[test]
    fn a_name_of_two_classes_is_an_error_where_it_is_used() {
        let names = names(&json!({ "id2label": { "0": "dog", "1": "cat", "2": "dog" } }));
        assert_eq!(names.number("cat", 3), Ok(1));
        assert!(names.number("dog", 3).unwrap_err().contains("0 and 2"));
    }

    #[test]
    fn folders_of_numbers_are_those_numbers_where_both_orders_agree() {
        let none = ClassNames::default();
        let found = none.of_folders(&folders(&["0", "2", "7"]), 8, "x");
        assert_eq!(found.unwrap(), [0, 2, 7]);
        let padded = none.of_folders(&folders(&["00", "02", "10"]), 11, "x");
        assert_eq!(padded.unwrap(), [0, 2, 10]);
        let error = none.of_folders(&folders(&["0", "10", "2"]), 11, "x");
        assert!(matches!(
            error,
            Err(DataError::NumberedFolders {
                number: 2,
                place: 2,
                ..
            })
        ));
        assert!(none.of_folders(&folders(&["0", "8"]), 8, "x").is_err());
    }

    #[test]
    fn folders_that_are_no_classes_show_both_lists() {
        let unnamed = names(&json!({ "id2label": { "0": "LABEL_0", "1": "LABEL_1" } }));
        let error = unnamed.of_folders(&folders(&["cat", "dog"]), 2, "im");
        assert_eq!(
            error.unwrap_err().to_string(),
            "the class folders of `im` are `cat`, `dog`, expected a number from 0 to 1, or one of `LABEL_0`, `LABEL_1`"
        );
        let named = names(&json!({ "label2id": { "cat": 0, "dog": 1 } }));
        let error = named.of_folders(&folders(&["cat", "dogs"]), 2, "im");
        assert_eq!(error.unwrap_err().hint().unwrap(), "did you mean `dog`?");
    }
}
