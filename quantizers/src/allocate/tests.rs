//! Allocations against all choices there are, and at the size of large models.

use super::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Instant;

fn candidate(bits: u64, score: f64) -> Candidate {
    Candidate { bits, score }
}

/// Least score within the budget over every choice.
fn brute_force(groups: &[Vec<Candidate>], budget: u64) -> Option<f64> {
    let Some((first, rest)) = groups.split_first() else {
        return Some(0.0);
    };
    let fitting = first.iter().filter(|one| one.bits <= budget);
    let scores = fitting.filter_map(|one| Some(one.score + brute_force(rest, budget - one.bits)?));
    scores.min_by(f64::total_cmp)
}

/// Groups of random candidates; in some of them many have equal bits or scores.
fn instance(random: &mut ChaCha8Rng) -> Vec<Vec<Candidate>> {
    let groups = random.random_range(1..=6);
    let coarse = random.random::<bool>();
    (0..groups)
        .map(|_| {
            let count = random.random_range(1..=4);
            let one = |_| {
                if coarse {
                    candidate(
                        random.random_range(0..6),
                        f64::from(random.random_range(0..5_u8)),
                    )
                } else {
                    candidate(random.random_range(0..2000), random.random::<f64>())
                }
            };
            (0..count).map(one).collect()
        })
        .collect()
}

fn sums(groups: &[Vec<Candidate>], found: &Allocation) -> Candidate {
    let chosen = groups.iter().zip(&found.chosen);
    let chosen: Vec<Candidate> = chosen.map(|(group, &at)| group[at]).collect();
    candidate(
        chosen.iter().map(|one| one.bits).sum(),
        chosen.iter().map(|one| one.score).sum(),
    )
}

#[test]
fn it_is_the_best_of_all_choices_within_every_budget() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..4000 {
        let groups = instance(&mut random);
        let least: u64 = groups
            .iter()
            .filter_map(|group| group.iter().map(|one| one.bits).min())
            .sum();
        let most: u64 = groups
            .iter()
            .filter_map(|group| group.iter().map(|one| one.bits).max())
            .sum();
        let mut before = f64::INFINITY;
        let mut budgets: Vec<u64> = (0..3)
            .map(|_| random.random_range(least..=most + 1))
            .collect();
        budgets.extend([least, most, u64::MAX]);
        budgets.sort_unstable();
        for budget in budgets {
            let found = allocate(&groups, budget).unwrap();
            let sums = sums(&groups, &found);
            assert!(found.bits <= budget && found.bits == sums.bits);
            assert!((found.score - sums.score).abs() <= 1e-12);
            let best = brute_force(&groups, budget).unwrap();
            assert!((found.score - best).abs() <= 1e-12, "{groups:?} {budget}");
            assert!(found.is_optimal && found.bound <= best + 1e-12);
            assert!(found.score <= before + 1e-12, "more bits, no worse");
            before = found.score;
        }
    }
}

#[test]
fn a_budget_below_the_least_says_what_the_least_is() {
    let groups = [
        vec![candidate(30, 1.0), candidate(20, 2.0)],
        vec![candidate(7, 0.0)],
    ];
    let error = allocate(&groups, 26).unwrap_err();
    assert_eq!(
        error,
        AllocateError::Budget {
            least: 27,
            budget: 26
        }
    );
    assert_eq!(allocate(&groups, 27).unwrap().chosen, [1, 0]);
}

#[test]
fn with_room_for_everything_each_group_takes_its_best() {
    let groups = [
        vec![candidate(10, 3.0), candidate(40, 1.0), candidate(50, 2.0)],
        vec![candidate(10, 0.5), candidate(90, 0.5)],
    ];
    let found = allocate(&groups, u64::MAX).unwrap();
    assert_eq!(found.chosen, [1, 0], "bits that do not help are not spent");
    assert_eq!((found.bits, found.is_optimal), (50, true));
    assert!(found.gap() <= 0.0);
}

#[test]
fn of_equal_candidates_the_first_is_taken_and_no_groups_are_no_error() {
    let groups = [vec![candidate(5, 1.0); 3], vec![candidate(5, 1.0); 2]];
    assert_eq!(allocate(&groups, 10).unwrap().chosen, [0, 0]);
    let none = allocate(&[], 0).unwrap();
    assert_eq!((none.bits, none.chosen.len()), (0, 0));
}

#[test]
fn groups_that_cannot_be_allocated_are_named() {
    let empty = allocate(&[vec![candidate(1, 0.0)], vec![]], 9).unwrap_err();
    assert_eq!(empty, AllocateError::Empty { group: 1 });
    let broken = allocate(&[vec![candidate(1, 0.0), candidate(2, f64::NAN)]], 9);
    assert_eq!(
        broken.unwrap_err().to_string(),
        "score of candidate 1 of group 0: expected a finite number, found NaN"
    );
}

#[test]
fn tied_layers_cost_what_they_cost_together() {
    let [one, other] = [
        [candidate(1, 0.5), candidate(2, 0.25)],
        [candidate(10, 5.0), candidate(20, 2.5)],
    ];
    assert_eq!(
        tied(&[&one, &other]),
        [candidate(11, 5.5), candidate(22, 2.75)]
    );
}

#[test]
fn the_curve_begins_at_the_least_and_ends_at_the_best() {
    let groups = [
        vec![candidate(10, 3.0), candidate(20, 1.0), candidate(30, 0.5)],
        vec![candidate(10, 1.0), candidate(20, 0.1)],
    ];
    let points = curve(&groups).unwrap();
    assert_eq!(points[0], candidate(20, 4.0));
    let bits: Vec<u64> = points.iter().map(|point| point.bits).collect();
    assert_eq!(bits, [20, 30, 40, 50]);
    assert!((points[3].score - 0.6).abs() < 1e-12);
}

/// Layers of a model of 80 blocks with 20 options each; scores fall about fourfold with every bit.
fn large_model(seed: u64) -> Vec<Vec<Candidate>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let sizes: [u64; 7] = [67, 8, 8, 67, 235, 235, 235].map(|millions| millions << 20);
    let mut layers = Vec::new();
    for _ in 0..80 {
        for weights in sizes {
            let sensitivity = 10_f64.powf(random.random_range(-3.0..0.0));
            let options = (0..20_u64).map(|option| {
                let per_weight = 2.0 + 0.3 * option as f64 + random.random_range(-0.05..0.05);
                let bits = (per_weight * weights as f64).round();
                let noise: f64 = random.random_range(0.8..1.25);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a number of bits"
                )]
                candidate(bits as u64, sensitivity * 4_f64.powf(-per_weight) * noise)
            });
            layers.push(options.collect());
        }
    }
    layers
}

#[test]
fn a_model_of_80_blocks_with_20_options_a_layer_is_allocated_in_a_moment() {
    for seed in 0..3 {
        let groups = large_model(seed);
        let weights: u64 = groups.len() as u64 / 7 * (855 << 20);
        for tenths in [25, 30, 35, 40, 60] {
            let budget = weights * tenths / 10;
            let started = Instant::now();
            let found = allocate(&groups, budget).unwrap();
            let seconds = started.elapsed().as_secs_f64();
            assert!(found.bits <= budget);
            assert!(found.gap() < 1e-3, "{}", found.gap());
            assert!(seconds < 2.0, "{seconds} s");
            assert_eq!(allocate(&groups, budget).unwrap(), found);
        }
    }
}
