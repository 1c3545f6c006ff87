//! The three files of a report, and the report that the tests of this folder show.

pub(super) mod sample;

use super::*;

#[test]
fn what_was_written_reads_back_and_renders_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let report = sample::report();
    write(&report, folder.path()).unwrap();
    let mut names: Vec<String> = fs_err::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [HTML_FILE, JSON_FILE, MARKDOWN_FILE],
        "nothing partial is left"
    );

    let again = read(&folder.path().join(JSON_FILE)).unwrap();
    assert_eq!(markdown(&again).unwrap(), markdown(&report).unwrap());
    assert_eq!(html(&again).unwrap(), html(&report).unwrap());
    // JSON numbers are read to one unit in the last place.
    for (again, report) in again.scores.iter().zip(&report.scores) {
        let pairs = again.quantized.into_iter().zip(report.quantized);
        assert!(
            pairs
                .into_iter()
                .all(|(a, b)| (a - b).abs() <= b.abs() * f64::EPSILON)
        );
    }
    assert_eq!((again.layers.len(), again.histograms.len()), (24, 3));
}

#[test]
fn a_bare_evaluation_renders_without_layers_and_size() {
    let mut report = sample::report();
    report.recipe = None;
    report.size = None;
    report.artifact = None;
    report.layers.clear();
    report.histograms.clear();
    report.nonlinear.clear();
    report.calibration = None;
    report.gates.clear();
    report.warnings.clear();
    for score in &mut report.scores {
        (score.quantized, score.delta, score.ci95) = (None, None, None);
    }
    let text = markdown(&report).unwrap();
    assert!(
        !text.contains("## Size")
            && !text.contains("## Layers")
            && !text.contains("## Nonlinear slots")
            && !text.contains("## Synthetic data"),
        "{text}"
    );
    assert!(!html(&report).unwrap().contains("<svg"));
}
