//! Budgets as people write them, right and wrong.

use crate::recipe::{Origin, Overrides, Recipe, RecipeError, Scope, Tie};

const OPEN: &str = "[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = \"auto\"\n";
const FIXED: &str = "[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 4\n";

fn parse(text: &str) -> Result<Recipe, RecipeError> {
    Recipe::parse(text, Origin::CommandLine, None)
}

fn widths(recipe: &Recipe, rule: usize) -> Vec<i64> {
    let options = recipe.options_of(&recipe.rules[rule]).unwrap();
    let bits = options
        .iter()
        .map(|option| option.parameters["bits"].as_integer());
    bits.map(Option::unwrap).collect()
}

#[test]
fn an_open_rule_chooses_among_the_widths_and_the_options() {
    let recipe = parse(&format!(
        "{OPEN}[budget]\nbits_per_weight = 3.5\nscope = \"file\"\nchoices = [2, 3]\ntie = false\n\
         sensitivity = \"kl\"\nmeasured = \"/scores.json\"\n\
         [[budget.option]]\nmethod = \"kmeans\"\nbits = 4\n\
         [[budget.option]]\nmatch = \"*.q_proj\"\nmethod = \"squeezellm\"\nbits = 5\n"
    ))
    .unwrap();
    let budget = recipe.budget.as_ref().unwrap();
    assert_eq!(
        (budget.bits_per_weight, budget.scope),
        (Some(3.5), Scope::File)
    );
    assert!(matches!(budget.tie, Tie::Nothing));
    assert_eq!((budget.line, budget.sensitivity.name), (5, "kl"));
    assert!(recipe.is_open());
    assert_eq!(widths(&recipe, 0), [2, 3, 4, 5]);
    // It reads back from what an artifact keeps.
    let again = parse(&recipe.to_toml()).unwrap();
    assert_eq!(again.to_toml(), recipe.to_toml());
    assert_eq!(widths(&again, 0), [2, 3, 4, 5]);
    assert_eq!(again.options_text(), recipe.options_text());
}

#[test]
fn without_choices_the_widths_are_those_the_method_has() {
    let recipe = parse(&format!("{OPEN}[budget]\nbits_per_weight = 3\n")).unwrap();
    assert_eq!(widths(&recipe, 0), [2, 3, 4, 5, 6, 7, 8]);
    let everything = parse(
        "[[layers]]\nmatch = \"*\"\nmethod = \"auto\"\n[budget]\nbits_per_weight = 3\n\
         [[budget.option]]\nmethod = \"rtn\"\nbits = 4\n",
    )
    .unwrap();
    assert_eq!(widths(&everything, 0), [4]);
}

#[test]
fn the_command_line_leaves_the_width_of_every_rule_open() {
    let budget = |bits| Overrides {
        budget: Some(bits),
        ..Overrides::default()
    };
    let recipe = parse(&format!("name = \"a\"\n{FIXED}")).unwrap();
    let open = recipe.with(&budget(3.5)).unwrap();
    assert_eq!(open.name, "a-budget3.5");
    assert!(open.is_open());
    assert_eq!(open.rules[0].overridden, ["bits left to --budget 3.5"]);
    // Where the recipe leaves something open, only the number changes.
    let text = format!(
        "{FIXED}[[layers]]\nmatch = \"a\"\nmethod = \"kmeans\"\nbits = \"auto\"\n[budget]\nbits_per_weight = 3\n"
    );
    let changed = parse(&text).unwrap().with(&budget(2.5)).unwrap();
    assert!(!changed.rules[0].is_open() && changed.rules[1].is_open());
    assert_eq!(changed.budget.unwrap().bits_per_weight, Some(2.5));
}

#[test]
fn budgets_that_decide_nothing_or_are_missing_are_errors() {
    let with = |text: &str| {
        parse(text)
            .unwrap()
            .with(&Overrides::default())
            .unwrap_err()
    };
    let cases = [
        (
            OPEN.to_owned(),
            "line 1: the rule leaves its layers to the budget, and there is none",
        ),
        (
            format!("{FIXED}[budget]\nbits_per_weight = 3\n"),
            "line 5: `[budget]` decides nothing: expected a rule with `bits = \"auto\"`, found none",
        ),
        (
            format!("{OPEN}[budget]\n"),
            "line 5: `[budget]` has no `bits_per_weight`",
        ),
    ];
    for (text, message) in cases {
        let error = with(&text);
        assert_eq!(error.to_string(), message);
        assert!(error.hint().unwrap().contains("--budget"), "{error}");
    }
}

#[test]
fn values_that_cannot_be_name_their_line() {
    let cases = [
        (
            format!("{OPEN}[budget]\nbits = 3\n"),
            "line 6: unknown key `bits` in `[budget]`",
        ),
        (
            format!("{OPEN}[budget]\nbits_per_weight = 0\n"),
            "line 6: `bits_per_weight` in `[budget]`: expected a number above 0 and at most 32, found `0`",
        ),
        (
            format!("{OPEN}[budget]\nchoices = []\n"),
            "line 6: `choices` in `[budget]`: expected an array of whole numbers from 1 to 16, found an array",
        ),
        (
            format!("{OPEN}[budget]\nchoices = [4, 9]\n"),
            "line 4: `bits` of method `rtn`: expected a whole number from 2 to 8, found `9`",
        ),
        (
            format!("{OPEN}[budget]\nsensitivity = \"fischer\"\n"),
            "line 6: unknown sensitivity `fischer`",
        ),
        (
            format!("{OPEN}[budget]\n[[budget.option]]\nmethod = \"keep\"\n"),
            "line 6: `method` in `[[budget.option]]`: expected the name of a method that quantizes, found `\"keep\"`",
        ),
        (
            format!("{OPEN}[budget]\n[[budget.option]]\nbits = 3\n"),
            "line 6: `[[budget.option]]` has no `method`",
        ),
        (
            "[[layers]]\nmatch = \"*\"\nmethod = \"auto\"\nbits = 3\n".to_owned(),
            "line 4: unknown key `bits` in `[[layers]]`",
        ),
        (
            "[[layers]]\nmatch = \"*\"\nmethod = \"auto\"\n[budget]\n".to_owned(),
            "line 3: nothing to choose from: expected tables `[[budget.option]]` or `choices` that the method has, found none",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(parse(&text).unwrap_err().to_string(), message, "{text}");
    }
}
