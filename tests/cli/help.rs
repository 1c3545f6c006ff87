//! Help of every subcommand.

use crate::quench;

#[test]
fn help_lists_every_command_and_exit_code() {
    insta::assert_snapshot!("help", quench(&["--help"]).shown());
}

#[test]
fn help_of_each_command() {
    for command in [
        "quantize",
        "plan",
        "measure",
        "search",
        "eval",
        "export",
        "inspect",
        "report",
        "list",
        #[cfg(feature = "serve")]
        "serve",
    ] {
        insta::assert_snapshot!(
            format!("help-{command}"),
            quench(&[command, "--help"]).shown()
        );
    }
}
