//! Recipes as people write them, right and wrong.

use super::{BUILTIN, Origin, Overrides, Recipe, RecipeError};
use calib::running::expert_calibration::ExpertTokens;
use calib::sampling::{Selection, TextMode};
use std::path::Path;

fn parse(text: &str) -> Result<Recipe, RecipeError> {
    Recipe::parse(
        text,
        Origin::File("recipes/mine.toml".into()),
        Some(Path::new("recipes")),
    )
}

fn error_of(text: &str) -> (String, Option<String>) {
    let error = parse(text).unwrap_err();
    (error.to_string(), error.hint())
}

const RULE: &str = "[[layers]]\nmatch = \"*\"\nmethod = \"rtn\"\nbits = 4\n";

#[test]
fn the_documented_example_is_understood() {
    let recipe = parse(
        r#"
name = "squeeze-3"
seed = 7
[calibration]
data = "wikitext2/valid.txt"
samples = 100
sequence_length = 512
mode = "documents"
selection = "random"
keep_statistics = true
[[layers]]
match = "*.mlp.down_proj"
method = "squeezellm"
bits = 4
outlier_fraction = 0.004
sensitive_fraction = 0.0005
[[layers]]
match = "*"
method = "squeezellm"
bits = 3
[[transform]]
method = "awq"
[output]
format = "auto"
shard_size = "5GB"
[report]
output_sqnr = false
[[evaluate]]
task = "perplexity"
data = "wikitext2/test.txt"
mode = "windows"
sequence_length = 2048
[[evaluate]]
task = "sentence_similarity"
data = "/stsb/stsb-dev.tsv"
columns = { left = "sentence1", right = "sentence2", score = "score" }
max_length = 128
[gate]
perplexity_ratio = 1.03
"#,
    )
    .unwrap();
    assert_eq!((recipe.name.as_str(), recipe.seed), ("squeeze-3", 7));
    assert_eq!(recipe.calibration.data, "recipes/wikitext2/valid.txt");
    assert_eq!(recipe.calibration.selection, Selection::Random);
    assert_eq!(
        recipe.calibration.mode,
        TextMode::Documents {
            separator: "<|endoftext|>".into()
        }
    );
    assert_eq!(recipe.rules.len(), 2);
    assert!(recipe.calibration.keep_statistics);
    assert_eq!(recipe.report.output_sqnr, Some(false));
    assert_eq!(recipe.rules[1].line, 17);
    assert_eq!(recipe.rules[1].line_of("method"), 19);
    assert_eq!(recipe.transforms[0].method, "awq");
    assert_eq!(recipe.output.shard_bytes, 5_000_000_000);
    assert_eq!(
        recipe.evaluations[0].spec.data,
        "recipes/wikitext2/test.txt"
    );
    assert_eq!(recipe.evaluations[1].spec.data, "/stsb/stsb-dev.tsv");
    assert_eq!(recipe.gates[0].to_string(), "perplexity_ratio<=1.03");
}

#[test]
fn every_builtin_recipe_reads_and_says_what_it_is_for() {
    for builtin in BUILTIN {
        let recipe = builtin.recipe().unwrap();
        assert_eq!(recipe.name, builtin.name);
        assert!(
            builtin.text.starts_with('#') && builtin.summary().len() > 20,
            "{}",
            builtin.name
        );
        assert_eq!(recipe.sha256.len(), 64);
    }
}

#[test]
fn unknown_keys_name_their_line_and_the_nearest_one() {
    let cases = [
        (
            format!("sead = 1\n{RULE}"),
            "line 1: unknown key `sead` in the recipe",
            Some("did you mean `seed`?"),
        ),
        (
            format!("{RULE}groupsize = 64\n"),
            "line 5: unknown key `groupsize` for method `rtn`",
            Some("did you mean `group_size`?"),
        ),
        (
            format!("[calibration]\nsample = 3\n{RULE}"),
            "line 2: unknown key `sample` in `[calibration]`",
            Some("did you mean `samples`?"),
        ),
        (
            format!("{RULE}[[evaluate]]\ntask = \"perplexity\"\ndata = \"a\"\nstrid = 2\n"),
            "line 8: unknown key `strid` in `[[evaluate]]` of task `perplexity`",
            Some("did you mean `stride`?"),
        ),
        (
            "[[layers]]\nmatch = \"*\"\nmethod = \"rtm\"\nbits = 4\n".to_owned(),
            "line 3: unknown method `rtm`",
            Some("did you mean `rtn`?"),
        ),
        (
            format!("{RULE}[[transform]]\nmethod = \"awk\"\n"),
            "line 6: unknown transform `awk`",
            Some("did you mean `awq`?"),
        ),
        (
            format!("{RULE}[transforms]\n"),
            "line 5: unknown key `transforms` in the recipe",
            Some("did you mean `transform`?"),
        ),
        (
            format!("{RULE}[output]\nformat = \"quensh\"\n"),
            "line 6: unknown format `quensh`",
            Some("did you mean `quench`?"),
        ),
        (
            format!("{RULE}[[evaluate]]\ntask = \"perplexty\"\ndata = \"a\"\n"),
            "line 6: unknown task `perplexty`",
            Some("did you mean `perplexity`?"),
        ),
        (
            format!("{RULE}[gate]\nperplexity_rate = 1.0\n"),
            "line 6: gate: unknown figure `perplexity_rate`",
            Some("did you mean `perplexity_ratio`?"),
        ),
    ];
    for (text, message, hint) in cases {
        assert_eq!(
            error_of(&text),
            (message.to_owned(), hint.map(str::to_owned)),
            "{text}"
        );
    }
}

#[test]
fn values_of_the_wrong_kind_say_what_would_do() {
    let cases = [
        (
            format!("[calibration]\nsamples = 0\n{RULE}"),
            "line 2: `samples` in `[calibration]`: expected a whole number of at least 1, found `0`",
        ),
        (
            format!("seed = -1\n{RULE}"),
            "line 1: `seed` in the recipe: expected a whole number of at least 0, found `-1`",
        ),
        (
            format!("{RULE}[output]\nshard_size = \"big\"\n"),
            "line 6: `shard_size` in `[output]`: expected a size such as `\"5GB\"` or `\"512MiB\"`, found `\"big\"`",
        ),
        (
            format!("{RULE}[gate]\nperplexity_ratio = \"low\"\n"),
            "line 6: `perplexity_ratio` in `[gate]`: expected a number, found `\"low\"`",
        ),
        (
            "[[layers]]\nmethod = \"rtn\"\n".to_owned(),
            "line 1: `[[layers]]` has no `match`",
        ),
        (
            "layers = 3\n".to_owned(),
            "line 1: `layers` in the recipe: expected tables `[[layers]]`, found `3`",
        ),
        (
            format!("output = 3\n{RULE}"),
            "line 1: `output` in the recipe: expected a table `[output]`, found `3`",
        ),
        (
            "[[layers]]\nmatch = \"{a\"\nmethod = \"rtn\"\n".to_owned(),
            "line 2: pattern `{a`: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)",
        ),
        (
            format!("[calibration]\nmode = \"windows\"\nseparator = \"x\"\n{RULE}"),
            "line 3: unknown key `separator` in `[calibration]`",
        ),
        (
            String::new(),
            "no `[[layers]]` rule: nothing would be quantized",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(error_of(&text).0, message, "{text}");
    }
    assert!(matches!(
        parse("[[layers]\n"),
        Err(RecipeError::Syntax { line: 1, .. })
    ));
    assert!(matches!(
        parse("a = 1\nb = \n"),
        Err(RecipeError::Syntax { line: 2, .. })
    ));
}

#[test]
fn the_command_line_changes_every_rule_and_says_so() {
    let recipe = parse(&format!(
        "{RULE}symmetric = true\n[[layers]]\nmatch = \"lm_head\"\nmethod = \"keep\"\n"
    ))
    .unwrap();
    let overrides = Overrides {
        bits: Some(3),
        method: Some("kmeans".into()),
        samples: Some(5),
        seed: Some(9),
        ..Overrides::default()
    };
    let changed = recipe.with(&overrides).unwrap();
    assert_eq!(changed.rules[0].method.as_deref(), Some("kmeans"));
    assert_eq!(changed.rules[0].parameters["bits"].as_integer(), Some(3));
    assert!(!changed.rules[0].parameters.contains_key("symmetric"));
    assert_eq!(
        changed.rules[0].overridden,
        [
            "method = `kmeans` from --method",
            "`symmetric` dropped, `kmeans` has no such parameter",
            "bits = 3 from --bits"
        ]
    );
    assert_eq!(changed.rules[1].method, None);
    assert_eq!((changed.calibration.samples, changed.seed), (5, 9));
}

#[test]
fn a_recipe_that_only_evaluates_quantizes_nothing() {
    let recipe = parse("[[evaluate]]\ntask = \"perplexity\"\ndata = \"a.txt\"\n").unwrap();
    assert_eq!(recipe.evaluations.len(), 1);
    let error = recipe.with(&Overrides::default()).unwrap_err();
    assert_eq!(error, RecipeError::NoRules);
}

#[test]
fn a_method_alone_is_a_recipe_of_one_rule() {
    let recipe = Recipe::of_method("rtn", 5).unwrap();
    assert_eq!((recipe.name.as_str(), recipe.rules.len()), ("rtn-5", 1));
    assert!(Recipe::of_method("nothing", 4).is_err());
}

#[test]
fn what_experts_are_measured_on_reads_back_from_the_recipe_in_force() {
    for (keys, tokens) in [
        ("min_tokens = 7", ExpertTokens::Routed),
        ("too_few = \"data-free\"", ExpertTokens::Routed),
        (
            "too_few = \"all-tokens\"\nmemory = \"1MiB\"",
            ExpertTokens::AllWhereFew,
        ),
        ("calibrate_all_experts = true", ExpertTokens::All),
        (
            "calibrate_all_experts = false\ntoo_few = \"all-tokens\"",
            ExpertTokens::AllWhereFew,
        ),
    ] {
        let recipe = parse(&format!("[calibration.experts]\n{keys}\n{RULE}")).unwrap();
        assert_eq!(recipe.calibration.experts.tokens, tokens, "{keys}");
        let again = parse(&recipe.to_toml()).unwrap();
        assert_eq!(again.calibration.experts, recipe.calibration.experts);
    }
    let experts = parse(RULE).unwrap().calibration.experts;
    assert_eq!((experts.min_tokens, experts.memory_bytes), (128, 4 << 30));
}
