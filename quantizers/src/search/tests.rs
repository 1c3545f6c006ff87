use super::*;

/// Three, two, four, two and two choices: the published space.
fn space() -> Choices {
    Choices::new(vec![2, 3, 4, 2, 2])
}

/// A loss to which every dimension adds its part and two of them something together, as calibration settings do.
fn loss(at: usize, strength: f64) -> f64 {
    let of = space().of(at);
    let alone = [
        [0.0, 0.35, 0.0, 0.0],
        [0.9, 0.1, 0.0, 0.0],
        [0.3, 0.0, 0.05, 1.4],
        [0.5, 0.0, 0.0, 0.0],
        [0.7, 0.0, 0.0, 0.0],
    ];
    let sum: f64 = of.iter().zip(alone).map(|(choice, of)| of[*choice]).sum();
    let together = if of[2] == 3 && of[3] == 0 { -0.4 } else { 0.0 };
    // Something no model explains.
    let noise = f64::from(u32::try_from(at * 2_654_435_761 % 1000).unwrap_or(0)) / 1e5;
    1.0 + strength * (sum + together) + noise
}

fn best(strength: f64) -> f64 {
    (0..96)
        .map(|at| loss(at, strength))
        .fold(f64::INFINITY, f64::min)
}

/// Measurements until one is within 0.1 % of the best.
fn needed(mut explorer: Explorer, strength: f64) -> usize {
    for count in 1.. {
        let at = explorer
            .suggest()
            .expect("the best is found before all are measured");
        let found = loss(at, strength);
        if found <= best(strength) * 1.001 {
            return count;
        }
        explorer.add(at, Some(found));
    }
    0
}

fn median(mut counts: Vec<usize>) -> usize {
    counts.sort_unstable();
    counts[counts.len() / 2]
}

#[test]
fn configurations_are_numbered_like_digits() {
    let space = space();
    assert_eq!(space.count(), Some(96));
    assert_eq!(space.of(0), [0; 5]);
    assert_eq!(space.of(95), [1, 2, 3, 1, 1]);
    assert_eq!(space.of(5), [0, 0, 1, 0, 1]);
    assert_eq!(space.distance(0, 95), 5);
    let features = space.features(95);
    assert_eq!(features.len(), 13);
    assert_eq!(features.iter().filter(|taken| **taken).count(), 5);
    assert_eq!(Choices::new(vec![usize::MAX, 2]).count(), None);
}

#[test]
fn trees_fit_what_one_question_explains_and_what_two_explain() {
    let rows: Vec<Vec<bool>> = (0..4).map(|at| vec![at / 2 == 1, at % 2 == 1]).collect();
    let trees = Boosting::default().fit(&rows, &[1.0, 1.0, 5.0, 5.0]);
    for (row, expected) in rows.iter().zip([1.0, 1.0, 5.0, 5.0]) {
        // Splits end where they gain less than `least_gain`.
        assert!((trees.predict(row) - expected).abs() < 1e-3);
    }
    // Almost one of two and not both, which takes two questions.
    let uneven = Boosting::default().fit(&rows, &[0.0, 1.0, 1.0, 0.1]);
    for (row, expected) in rows.iter().zip([0.0, 1.0, 1.0, 0.1]) {
        assert!((uneven.predict(row) - expected).abs() < 1e-3);
    }
    assert!(Boosting::default().fit(&[], &[]).predict(&[true]).abs() < 1e-12);
}

#[test]
fn trees_need_fewer_measurements_than_chance_and_fewer_still_when_taught() {
    let random = |seed: u64| {
        let order = shuffled(96, seed);
        let found = order
            .iter()
            .position(|at| loss(*at, 1.0) <= best(1.0) * 1.001);
        found.map_or(96, |at| at + 1)
    };
    let random = median((0..20).map(random).collect());
    let trees = median(
        (0..20)
            .map(|seed| needed(Explorer::new(space(), 0, &[], seed), 1.0))
            .collect(),
    );
    assert!(10 * trees <= 6 * random, "{trees} against {random}");
    // Another model has been searched, on which everything matters twice as much.
    let earlier: Earlier = (0..96).map(|at| (at, loss(at, 2.0))).collect();
    let transferred = median(
        (0..20)
            .map(|seed| {
                needed(
                    Explorer::new(space(), 0, std::slice::from_ref(&earlier), seed),
                    1.0,
                )
            })
            .collect(),
    );
    assert!(4 * transferred <= random, "{transferred} against {random}");
}

#[test]
fn a_model_on_which_other_choices_are_good_does_not_mislead_for_long() {
    let seeds = || 0..20;
    let alone = |seed| needed(Explorer::new(space(), 0, &[], seed), 1.0);
    // What is good here is bad there.
    let contrary: Earlier = (0..96).map(|at| (at, -loss(at, 1.0))).collect();
    let misled = |seed| {
        let earlier = std::slice::from_ref(&contrary);
        needed(Explorer::new(space(), 0, earlier, seed), 1.0)
    };
    let (alone, misled) = (
        median(seeds().map(alone).collect()),
        median(seeds().map(misled).collect()),
    );
    assert!(misled <= alone + 6, "{misled} against {alone}");
    // Beside a model that says the same as this one, it changes little.
    let same: Earlier = (0..96).map(|at| (at, loss(at, 2.0))).collect();
    let both = [contrary.clone(), same];
    let taught = |seed| needed(Explorer::new(space(), 0, &both, seed), 1.0);
    let taught = median(seeds().map(taught).collect());
    assert!(taught <= alone, "{taught} against {alone}");
}

#[test]
fn every_configuration_is_measured_once_and_failures_are_left_behind() {
    let space = Choices::new(vec![3, 2]);
    let mut explorer = Explorer::new(space, 4, &[], 7);
    let mut seen = Vec::new();
    while let Some(at) = explorer.suggest() {
        assert!(!seen.contains(&at));
        seen.push(at);
        explorer.add(at, (at != 4).then_some(1.0));
    }
    assert_eq!(seen.len(), 6);
    assert_eq!(seen[0], 4);
}
