//! What holds for every method.

use super::super::measure::{Loss, compare, loss};
use super::super::{ATTENTIONS, Attended, AttentionError, Seen, find};
use super::made::{Made, SPARSE, SPARSE_ENCODERS, method};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[test]
fn names_are_unique_and_every_parameter_has_help() {
    for (at, attention) in ATTENTIONS.iter().enumerate() {
        assert!(
            ATTENTIONS[..at]
                .iter()
                .all(|other| other.name() != attention.name())
        );
        assert!(!attention.summary().is_empty());
        for (name, help) in attention.parameters() {
            assert!(!help.is_empty(), "`{name}` of `{}`", attention.name());
        }
    }
}

#[test]
fn every_method_has_defaults_and_refuses_keys_it_does_not_know() {
    for attention in ATTENTIONS {
        let configured = attention.configure(&toml::Table::new());
        if attention.name() == "sea" {
            let error = configured.err().unwrap().to_string();
            assert!(
                error.contains("a predictor trained for this model"),
                "{error}"
            );
        } else {
            assert!(configured.is_ok(), "{}", attention.name());
        }
        let error = attention
            .configure(&"windw = 3".parse().unwrap())
            .err()
            .unwrap();
        assert!(error.to_string().contains("unknown key `windw`"), "{error}");
    }
    let hint = find("sink-window")
        .unwrap()
        .configure(&"windw = 3".parse().unwrap());
    assert_eq!(
        hint.err().unwrap().hint().unwrap(),
        "did you mean `window`?"
    );
}

#[test]
fn keys_of_the_other_variant_are_errors() {
    for (name, rule, expected) in [
        (
            "delta",
            "k = 8",
            "`k` of method `delta`: expected no such key, as `base` is the other attention, found `8`",
        ),
        (
            "subgen",
            "keep = 0.5",
            "`keep` of method `subgen`: expected no such key, as `variant` is the other one, found `0.5`",
        ),
        (
            "hyper",
            "variant = \"shipped\"\nsampling = \"uniform\"",
            "`sampling` of method `hyper`: expected no such key, as `variant` is `shipped`, found `\"uniform\"`",
        ),
        (
            "cascade",
            "window = 2\ncascades = 3",
            "`cascades` of method `cascade`: expected at most 60, and at most `window`, found `3`",
        ),
    ] {
        let error = find(name)
            .unwrap()
            .configure(&rule.parse().unwrap())
            .err()
            .unwrap();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_later_key_changes_no_earlier_output() {
    let made = Made::noise(96, 2, (8, 4), 4);
    for changed in [33, 70, 95] {
        let mut other = made.clone();
        other.keys[changed * 8..(changed + 1) * 8].fill(3.0);
        other.values[changed * 4..(changed + 1) * 4].fill(-7.0);
        for (name, rule) in SPARSE {
            let [before, after] = [&made, &other].map(|made| made.attend(name, rule));
            for (before, after) in before.outputs.iter().zip(&after.outputs) {
                for token in 0..changed {
                    assert_eq!(
                        before.row(token),
                        after.row(token),
                        "{name} {token}\n{rule}"
                    );
                }
                // The query of the changed token sees it, unless the method samples.
                if !method(name, rule).randomised() {
                    assert_ne!(before.row(changed), after.row(changed), "{name}\n{rule}");
                }
            }
        }
    }
}

#[test]
fn sparse_settings_do_drop_keys() {
    let made = Made::noise(96, 1, (8, 4), 5);
    made.with(|group| {
        for (name, rule) in SPARSE.iter().filter(|(name, _)| *name != "exact") {
            let last = compare(group, method(name, rule).as_ref(), 20, 10).unwrap();
            assert!(last.mass.mean < 0.999, "{name} {last:?}\n{rule}");
            assert!(last.relative_l2.mean > 1e-3, "{name} {last:?}\n{rule}");
            assert!(
                last.mass.worst > 0.0 && last.mass.mean <= 1.0 + 1e-6,
                "{name}\n{rule}"
            );
        }
    });
}

#[test]
fn what_the_last_queries_lose_does_not_depend_on_whether_the_others_are_computed() {
    let made = Made::noise(97, 2, (8, 4), 6);
    made.with(|group| {
        for (name, rule) in SPARSE {
            let method = method(name, rule);
            let all = compare(group, method.as_ref(), 20, 10).unwrap();
            let expected = Loss {
                recall: all.recall.mean,
                mass: all.mass.mean,
                relative_l2: all.relative_l2.mean,
                cosine: all.cosine.mean,
            };
            let found = loss(group, method.as_ref(), 20, 10).unwrap();
            assert_eq!(found, expected, "{name}\n{rule}");
        }
    });
}

/// The outputs of the query heads of `made`, each in a group of its own.
fn apart(made: &Made, name: &str, rule: &str) -> Vec<Attended> {
    let of = |queries: &Vec<f32>| Made {
        queries: vec![queries.clone()],
        ..made.clone()
    };
    made.queries
        .iter()
        .map(|queries| of(queries).attend(name, rule))
        .collect()
}

#[test]
fn query_heads_of_a_group_share_keys_and_what_is_chosen_from_them() {
    let made = Made::noise(96, 3, (8, 4), 6);
    let mut alike = made.clone();
    alike.queries = vec![made.queries[0].clone(); 3];
    for (name, rule) in SPARSE {
        // Three times the same head is that head, three times.
        let (three, one) = (alike.attend(name, rule), &apart(&alike, name, rule)[0]);
        for outputs in &three.outputs {
            assert_eq!(*outputs, one.outputs[0], "{name}\n{rule}");
        }
        assert_eq!(three.kept_keys_max, one.kept_keys_max, "{name}\n{rule}");
        // These two let the heads of a group choose together.
        if !["cascade", "infinite-hip"].contains(name) {
            let together = made.attend(name, rule);
            for (together, apart) in together.outputs.iter().zip(apart(&made, name, rule)) {
                assert_eq!(*together, apart.outputs[0], "{name}\n{rule}");
            }
        }
    }
}

/// Adds up what a method tells: values of `made` by their shares.
struct AddedUp<'a> {
    made: &'a Made,
    /// Of query head and token.
    outputs: BTreeMap<(usize, usize), Vec<f32>>,
}

impl Seen for AddedUp<'_> {
    fn wants(&self, token: usize) -> bool {
        token.is_multiple_of(3)
    }

    fn saw(&mut self, head: usize, token: usize, positions: &[u32], shares: &[f32]) {
        assert_eq!(positions.len(), shares.len());
        let dim = self.made.value_dim;
        let mut output = vec![0.0; dim];
        for (position, share) in positions.iter().zip(shares) {
            let value = &self.made.values[*position as usize * dim..][..dim];
            for (output, value) in output.iter_mut().zip(value) {
                *output += share * value;
            }
        }
        self.outputs.insert((head, token), output);
    }
}

#[test]
fn values_by_the_shares_a_method_tells_are_its_output() {
    let decoder = Made::noise(96, 2, (8, 4), 10);
    let mut encoder = decoder.clone();
    encoder.causal = false;
    // Delta adds a difference that is nobody's share.
    let causal = SPARSE.iter().filter(|(name, _)| *name != "delta");
    let all = causal.map(|rule| (&decoder, rule));
    for (made, (name, rule)) in all.chain(SPARSE_ENCODERS.iter().map(|rule| (&encoder, rule))) {
        let mut told = AddedUp {
            made,
            outputs: BTreeMap::new(),
        };
        let attended = made.with(|group| {
            let method = method(name, rule);
            method.attend(group, Some(&mut told)).unwrap()
        });
        assert_eq!(told.outputs.len(), 2 * 32, "{name}\n{rule}");
        for ((head, token), told) in told.outputs {
            for (told, output) in told.iter().zip(attended.outputs[head].row(token)) {
                // Estimates may cancel: shares of the sampled numerator sum to more than 1.
                assert!(
                    (told - output).abs() < 1e-4,
                    "{name} {told} {output}\n{rule}"
                );
            }
        }
    }
}

#[test]
fn a_seed_gives_one_result_and_another_seed_another() {
    let mut encoder = Made::noise(96, 1, (8, 4), 7);
    encoder.causal = false;
    let decoder = Made::noise(96, 1, (8, 4), 7);
    let all = SPARSE.iter().map(|rule| (&decoder, rule));
    for (made, (name, rule)) in all.chain(SPARSE_ENCODERS.iter().map(|rule| (&encoder, rule))) {
        let first = made.attend(name, rule);
        assert_eq!(first, made.attend(name, rule), "{name}\n{rule}");
        if method(name, rule).randomised() {
            let other = made.attend(name, &format!("{rule}\nseed = 1"));
            assert_ne!(first.outputs, other.outputs, "{name}\n{rule}");
        }
    }
}

#[test]
fn masks_and_embeddings_a_method_is_not_defined_for_are_errors() {
    let mut made = Made::noise(8, 1, (4, 4), 8);
    let plan = |made: &Made, name: &str, rotary: bool| {
        made.with(|group| {
            let mut shape = group.shape();
            shape.rotary = rotary;
            method(name, "").plan(&shape).err()
        })
    };
    assert_eq!(
        plan(&made, "kdeformer", true),
        Some(AttentionError::BidirectionalOnly("kdeformer"))
    );
    assert_eq!(
        plan(&made, "cascade", false),
        Some(AttentionError::NeedsRotary("cascade"))
    );
    assert_eq!(plan(&made, "cascade", true), None);
    made.causal = false;
    for name in [
        "uniform",
        "balance-kv",
        "subgen",
        "hip",
        "infinite-hip",
        "delta",
        "cascade",
    ] {
        let Some(AttentionError::CausalOnly(refused)) = plan(&made, name, true) else {
            panic!("{name}")
        };
        assert_eq!(refused, name);
        let refused = made.with(|group| method(name, "").attend(group, None).unwrap_err());
        assert!(refused.hint().unwrap().contains("`kdeformer`"));
    }
}

#[test]
fn values_that_are_not_finite_and_shapes_that_do_not_fit_are_errors() {
    let mut made = Made::noise(8, 1, (4, 4), 9);
    made.keys[13] = f32::NAN;
    for attention in ATTENTIONS
        .iter()
        .filter(|attention| attention.name() != "sea")
    {
        made.causal = attention.name() != "kdeformer";
        let error = made.with(|group| {
            method(attention.name(), "")
                .attend(group, None)
                .unwrap_err()
        });
        assert_eq!(
            error.to_string(),
            "keys: value at token 3, channel 1 is NaN, expected a finite number"
        );
    }
    let made = Made::noise(8, 1, (4, 4), 9);
    let error = made.with(|group| {
        let mut group = *group;
        let short = group.values;
        group.values = crate::MatrixRef::new(&short.data()[..28], 7, 4).unwrap();
        method("exact", "").attend(&group, None).unwrap_err()
    });
    assert_eq!(
        error.to_string(),
        "values: expected [8, value_dim], found [7, 4]"
    );
}

#[test]
fn no_tokens_give_no_outputs() {
    let mut made = Made::noise(0, 2, (4, 3), 1);
    for (rules, causal) in [(SPARSE, true), (SPARSE_ENCODERS, false)] {
        made.causal = causal;
        for (name, rule) in rules {
            let attended = made.attend(name, rule);
            assert_eq!(attended.score_evaluations, 0, "{name}\n{rule}");
            assert_eq!(attended.outputs.len(), 2);
            assert!(attended.outputs[1].view().data().is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_sizes_give_finite_outputs_and_the_first_token_sees_itself(
        tokens in 1_usize..70,
        heads in 1_usize..4,
        dims in (1_usize..20, 1_usize..6),
        seed in 0_u64..1000,
    ) {
        let mut made = Made::noise(tokens, heads, dims, seed);
        for (name, rule) in SPARSE {
            let attended = made.attend(name, rule);
            prop_assert_eq!(attended.outputs.len(), heads);
            prop_assert!(attended.kept_keys_max >= 1);
            for outputs in &attended.outputs {
                prop_assert_eq!((outputs.view().rows(), outputs.view().cols()), (tokens, dims.1));
                prop_assert!(outputs.view().first_not_finite().is_none(), "{}", name);
                for (output, value) in outputs.row(0).iter().zip(&made.values) {
                    prop_assert!((output - value).abs() <= 1e-5 * value.abs().max(1.0), "{}", name);
                }
            }
        }
        made.causal = false;
        for (name, rule) in SPARSE_ENCODERS {
            let attended = made.attend(name, rule);
            let largest = made.values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            for output in attended.outputs.iter().flat_map(|outputs| outputs.view().data()) {
                // Each is an average of values.
                prop_assert!(output.abs() <= largest * 1.00001, "{}", name);
            }
        }
    }
}
