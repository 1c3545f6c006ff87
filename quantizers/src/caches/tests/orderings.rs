//! How ways of coding keys compare on normal keys: 2048 of them, 128 coordinates, logits of deviation 2.

use super::attention::Head;
use super::data::{fitted, normal, round_trip, shape};
use crate::caches::Part;

const DIM: usize = 128;
const TOKENS: usize = 2048;

fn head() -> Head {
    let deviation = 2.0 / (DIM as f32).sqrt();
    Head {
        dim: DIM,
        keys: normal(TOKENS * DIM, 100),
        values: normal(TOKENS * DIM, 101),
        queries: normal(128 * DIM, 102)
            .iter()
            .map(|x| x * deviation)
            .collect(),
    }
}

fn compare(head: &Head, name: &str, rule: &str) -> (f64, f64) {
    let (_, codec) = fitted(name, rule, shape(1, DIM), &head.keys).unwrap();
    head.compare(&round_trip(codec.as_ref(), Part::Keys, &head.keys, DIM))
}

#[test]
fn signs_of_the_rest_lose_to_plain_codes_and_orthogonal_ones_lose_less() {
    let head = head();
    let table = [
        ("bits = 3", 0.066, 0.31),
        ("bits = 3\nnorm_correction = false", 0.070, 0.33),
        ("bits = 3\nkeys = \"prod\"", 0.134, 0.48),
        ("bits = 2\nnorm_correction = false", 0.235, 0.56),
        (
            "bits = 3\nkeys = \"prod\"\nsketch = \"gaussian\"",
            0.359,
            0.78,
        ),
    ];
    let found = table.map(|(rule, _, _)| compare(&head, "turbo", rule));
    let divergences: Vec<f64> = found.iter().map(|found| found.0).collect();
    assert!(divergences.is_sorted(), "{divergences:?}");
    let errors: Vec<f64> = found.iter().map(|found| found.1).collect();
    assert!(errors.is_sorted(), "{errors:?}");
    for ((rule, divergence, error), found) in table.iter().zip(&found) {
        assert!(
            (found.0 / divergence - 1.0).abs() < 0.15,
            "{rule}: {found:?}"
        );
        assert!((found.1 / error - 1.0).abs() < 0.15, "{rule}: {found:?}");
    }
}

// Four channels are 12 off. A mean that is the same for all keys changes no attention weight, so it can go first.
#[test]
fn offset_channels_cost_rotated_codes_dearly_unless_their_mean_is_taken_away() {
    let mut head = head();
    for key in head.keys.chunks_mut(DIM) {
        for channel in [5, 40, 77, 120] {
            key[channel] += 12.0;
        }
    }
    let uniform =
        "bits = 3\ndatatype = \"uniform\"\noutlier_fraction = 0\nhook = \"after\"\nsinks = 0";
    let (centred, _) = compare(&head, "turbo", "bits = 3\ncentre_keys = true");
    let (per_channel, _) = compare(&head, "kvquant", uniform);
    let (rotated, _) = compare(&head, "turbo", "bits = 3");
    for (found, expected) in [(centred, 0.064), (per_channel, 0.155), (rotated, 0.331)] {
        assert!((found / expected - 1.0).abs() < 0.15, "{found} {expected}");
    }
}
