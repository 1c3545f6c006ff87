use super::*;
use crate::recipe::{Origin, Recipe};

const RULE: &str = "[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 8\n";

fn parse(text: &str) -> Result<Recipe, RecipeError> {
    Recipe::parse(text, Origin::Builtin, None)
}

fn integer(text: &str) -> Integer {
    parse(text).unwrap().integer.unwrap()
}

fn error_of(text: &str) -> (String, String) {
    let error = parse(text).unwrap_err();
    (error.to_string(), error.hint().unwrap_or_default())
}

fn named(family: &str) -> Families {
    Families::Named(family.to_owned())
}

#[test]
fn either_table_makes_a_recipe_integer_only_and_neither_does_not() {
    assert!(parse(RULE).unwrap().integer.is_none());
    let read = integer(&format!("{RULE}[activations]\n"));
    assert_eq!((read.line, read.activations), (5, Activations::default()));
    assert_eq!(read.nonlinear.gelu, named("exact"));
    let read = integer("[nonlinear]\n");
    assert_eq!(read.line, 1, "no rule is needed: every layer is quantized");
    assert_eq!(read.nonlinear.layernorm, named("exact"));
}

#[test]
fn families_are_named_listed_or_left_to_the_slots() {
    let read = integer(
        "[nonlinear]\ngelu = \"auto\"\nsoftmax = [\"i-vit\", \"fq-vit\"]\nlayernorm = [\"i-bert\"]\n",
    );
    let all = ["exact", "i-bert", "i-vit"].map(str::to_owned).to_vec();
    assert_eq!(read.nonlinear.gelu, Families::Auto(all));
    let two = ["i-vit", "fq-vit"].map(str::to_owned).to_vec();
    assert_eq!(read.nonlinear.softmax, Families::Auto(two));
    assert_eq!(read.nonlinear.layernorm, named("i-bert"));
    assert_eq!(read.nonlinear.softmax.to_string(), "auto (i-vit, fq-vit)");
}

#[test]
fn activations_reach_the_compile_step() {
    let read = integer(
        "[activations]\nbits = 6\nobserver = \"percentile\"\nsymmetric = true\nequalize = false\n\
         bias_correction = false\nattention_bits = 15\n",
    );
    let made = options(&read.nonlinear, &read.activations);
    let expected = Options {
        activation_bits: 6,
        range: RangeRule::Percentile,
        asymmetric: false,
        equalize: false,
        bias_correction: false,
        attention_bits: 15,
        ..Options::default()
    };
    assert_eq!(made, expected);
    let read = integer("[activations]\n");
    let made = options(&read.nonlinear, &read.activations);
    assert_eq!(
        made,
        Options::default(),
        "defaults are those of the compile step"
    );
}

#[test]
fn mistakes_name_their_line_and_what_would_do() {
    let cases = [
        (
            "[nonlinear]\ngelu = \"i-brt\"\n",
            "line 2: unknown approximation `i-brt`",
            "did you mean `i-bert`?",
        ),
        (
            "[nonlinear]\nsoftmax = [\"exact\",\n\"exakt\"]\n",
            "line 2: unknown approximation `exakt`",
            "did you mean `exact`?",
        ),
        (
            "[nonlinear]\n\ngelu = \"fq-vit\"\n",
            "line 3: `fq-vit` has no approximation of gelu: expected one of `exact`, `i-bert`, `i-vit`",
            "",
        ),
        (
            "[nonlinear]\ngelu = 3\n",
            "line 2: `gelu` in `[nonlinear]`: expected the name of an approximation, `\"auto\"`, or an array \
             of different names, found `3`",
            "",
        ),
        (
            "[nonlinear]\ngelu = [\"exact\", \"exact\"]\n",
            "line 2: `gelu` in `[nonlinear]`: expected the name of an approximation, `\"auto\"`, or an array \
             of different names, found an array",
            "",
        ),
        (
            "[nonlinear]\nsoftmx = \"auto\"\n",
            "line 2: unknown key `softmx` in `[nonlinear]`",
            "did you mean `softmax`?",
        ),
        (
            "[activations]\nbits = 9\n",
            "line 2: `bits` in `[activations]`: expected a whole number from 4 to 8, found `9`",
            "",
        ),
        (
            "[activations]\nobserver = \"max\"\n",
            "line 2: `observer` in `[activations]`: expected one of `\"min_max\"`, `\"moving_average\"`, \
             `\"percentile\"`, `\"mse\"`, found `\"max\"`",
            "",
        ),
        (
            "[activations]\nattention_bits = 16\n",
            "line 2: `attention_bits` in `[activations]`: expected `8` or `15`, found `16`",
            "",
        ),
        (
            "[activations]\nequalise = true\n",
            "line 2: unknown key `equalise` in `[activations]`",
            "did you mean `equalize`?",
        ),
    ];
    for (text, message, hint) in cases {
        assert_eq!(
            error_of(text),
            (message.to_owned(), hint.to_owned()),
            "{text}"
        );
    }
}
