//! What statistics are called, their neutral values, and what is refused of them.

use super::*;

#[test]
fn names_are_unique_and_find_their_statistic() {
    for (index, statistic) in STATISTICS.iter().enumerate() {
        assert_eq!(Statistic::find(statistic.name), Some(*statistic));
        assert!(
            STATISTICS[..index]
                .iter()
                .all(|other| other.name != statistic.name)
        );
        assert!(!statistic.summary.is_empty());
    }
}

#[test]
fn neutral_values_prefer_nothing() {
    let identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    assert_eq!(HESSIAN.neutral(2, 3).unwrap(), identity);
    assert_eq!(FISHER.neutral(2, 3).unwrap(), [0.0; 6]);
    let guided = guided_hessian(2).unwrap();
    assert_eq!(guided.neutral(5, 3).unwrap(), identity.repeat(2));
    assert!(MIN_MAX.neutral(2, 3).is_none());
}

#[test]
fn a_statistic_of_another_size_or_with_a_negative_weight_is_an_error() {
    let squares = [1.0, -2.0, 3.0];
    let stats = LayerStats::default().with(&INPUT_MEAN_SQUARE, &squares);
    let message = |result: Result<&[f32], QuantizeError>| result.err().unwrap().to_string();
    assert!(message(stats.require(&INPUT_MEAN_SQUARE, 2, 4)).contains("expected 4 values"));
    assert!(message(stats.require_weights(&INPUT_MEAN_SQUARE, 2, 3)).contains("column 1"));
    assert!(message(stats.require(&FISHER, 2, 3)).contains("`fisher`"));
}
