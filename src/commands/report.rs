//! `quench report`: renders report.md and report.html again from report.json.

use super::{print, print_json};
use crate::Error;
use crate::args::ReportArgs;
use eval::report::Report;

/// Name of the machine-readable report in a quantized folder.
const REPORT_FILE: &str = "report.json";

/// Reads report.json, writes the other two beside it and prints the report.
///
/// # Errors
/// A folder without a readable report, or one that cannot be written.
pub fn run(args: &ReportArgs, json: bool) -> Result<(), Error> {
    let path = args.out.join(REPORT_FILE);
    if !path.is_file() {
        return Err(Error::NotFound {
            what: "report",
            path,
            hint: Some("`quench quantize` and `quench eval` write one".to_owned()),
        });
    }
    let report = Report::read(&path).map_err(|error| {
        Error::io(format!("cannot read report `{}`", path.display()), error)
    })?;
    report.write(&args.out).map_err(|error| {
        Error::io(format!("cannot write the report to `{}`", args.out.display()), error)
    })?;
    if json { print_json(&report) } else { print(&eval::report::markdown::render(&report)) }
}
