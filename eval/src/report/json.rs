//! `report.json`: the report for programs.

use super::{Report, ReportError, SCHEMA};
use std::path::Path;

/// The report as indented JSON with a final newline; numbers that are not finite become `null`.
pub fn to_json(report: &Report) -> String {
    // Strings, numbers and maps with string keys: nothing here can fail to serialize.
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}

/// Reads a report back.
///
/// # Errors
/// A file that cannot be read, is no report, or is one of another schema.
pub fn read(path: &Path) -> Result<Report, ReportError> {
    let bytes = fs_err::read(path)?;
    let json = |source| ReportError::Json {
        path: path.to_owned(),
        source,
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(json)?;
    // The schema first: a newer report may lack what this one needs.
    if let Some(found) = value.get("schema").and_then(serde_json::Value::as_u64)
        && found != u64::from(SCHEMA)
    {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        return Err(ReportError::Schema {
            path: path.to_owned(),
            found,
        });
    }
    serde_json::from_value(value).map_err(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn the_keys_are_the_published_ones() {
        let value: serde_json::Value = serde_json::from_str(&to_json(&sample::report())).unwrap();
        let keys = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        let published = |value: &serde_json::Value, names: &[&str]| {
            let found = keys(value);
            assert_eq!(found[..names.len()], *names, "{found:?}");
        };
        published(
            &value,
            &[
                "schema", "model", "recipe", "scores", "size", "layers", "run", "warnings",
            ],
        );
        published(
            &value["model"],
            &["name", "revision", "architecture", "parameters"],
        );
        published(&value["recipe"], &["name", "sha256"]);
        published(
            &value["scores"][0],
            &[
                "task",
                "data",
                "metric",
                "original",
                "quantized",
                "delta",
                "ci95",
                "samples",
            ],
        );
        published(
            &value["size"],
            &[
                "original_bytes",
                "artifact_bytes",
                "bits_per_weight_linear",
                "bits_per_weight_file",
                "ratio",
            ],
        );
        published(
            &value["layers"][0],
            &[
                "name",
                "shape",
                "method",
                "bits",
                "bits_per_weight",
                "sqnr_db",
                "output_sqnr_db",
                "weighted_error",
                "outlier_fraction",
                "seconds",
                "because",
                "notes",
            ],
        );
        published(
            &value["run"],
            &[
                "version",
                "seed",
                "device",
                "threads",
                "seconds",
                "peak_memory_bytes",
                "stages",
                "command",
            ],
        );
    }

    #[test]
    fn other_schemas_and_other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        fs_err::write(&path, r#"{"schema": 2}"#).unwrap();
        assert!(matches!(
            read(&path),
            Err(ReportError::Schema { found: 2, .. })
        ));
        fs_err::write(&path, r#"{"schema": 1}"#).unwrap();
        assert!(matches!(read(&path), Err(ReportError::Json { .. })));
        fs_err::write(&path, "[").unwrap();
        assert!(matches!(read(&path), Err(ReportError::Json { .. })));
        assert!(matches!(
            read(folder.path().join("no").as_path()),
            Err(ReportError::File(_))
        ));
    }
}
