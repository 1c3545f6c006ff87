//! Environment: tokens are trimmed and never shown, folders in variables are expanded, and a cache that cannot be
//! written does not stop a run.

use crate::fake_hub::{COMMIT, FakeHub};
use crate::workbench::{Ended, Workbench};

const MODEL: &str = "models/owner/tiny";

/// A Hub with the small decoder.
fn hub(bench: &Workbench) -> FakeHub {
    let hub = FakeHub::start();
    let model = bench.decoder("source");
    for entry in fs_err::read_dir(&model).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        hub.add(MODEL, &name, fs_err::read(path).unwrap());
    }
    hub
}

fn inspect(bench: &Workbench, hub: &FakeHub, variables: &[(&str, &str)]) -> Ended {
    let endpoint = hub.endpoint();
    let mut all = vec![
        ("HF_ENDPOINT", endpoint.as_str()),
        ("HF_HUB_OFFLINE", "0"),
        ("NO_PROXY", "*"),
    ];
    all.extend(variables);
    bench.quench_with(&["inspect", "owner/tiny"], &all)
}

#[test]
fn a_token_is_sent_without_the_line_end_of_its_file() {
    let bench = Workbench::new();
    let hub = hub(&bench);
    hub.state().token = Some("hf_abc".to_owned());
    for (index, token) in ["hf_abc", "hf_abc\n", "  hf_abc\r\n", "\thf_abc "]
        .iter()
        .enumerate()
    {
        let home = bench.at(&format!("home{index}"));
        let home = home.to_str().unwrap();
        let ended = inspect(&bench, &hub, &[("HF_TOKEN", token), ("HF_HOME", home)]);
        assert_eq!(ended.code, 0, "{}", ended.shown());
    }
    let home = bench.write("with-file/token", "hf_abc\n");
    let home = home.parent().unwrap().to_str().unwrap().to_owned();
    let ended = inspect(&bench, &hub, &[("HF_HOME", &home)]);
    assert_eq!(ended.code, 0, "{}", ended.shown());
}

#[test]
fn a_wrong_or_malformed_token_is_named_as_such_and_never_shown() {
    let bench = Workbench::new();
    let hub = hub(&bench);
    hub.state().token = Some("hf_abc".to_owned());
    let wrong = inspect(&bench, &hub, &[("HF_TOKEN", "hf_secret_wrong")]);
    wrong.says(4, &["denied", "check that the token is valid"]);
    let malformed = inspect(&bench, &hub, &[("HF_TOKEN", "hf_secret with blank")]);
    malformed.says(4, &["malformed", "without quotes or blanks"]);
    for ended in [wrong, malformed] {
        assert!(!ended.shown().contains("secret"), "{}", ended.shown());
    }
}

#[test]
fn a_tilde_in_a_variable_is_the_home_folder() {
    let bench = Workbench::new();
    let hub = hub(&bench);
    let home = bench.at("home");
    fs_err::create_dir_all(&home).unwrap();
    let home = home.to_str().unwrap();
    for (variable, value, place) in [
        ("HF_HOME", "~/hf", "home/hf/hub"),
        ("HF_HUB_CACHE", "~/hub", "home/hub"),
        ("HF_HOME", "$HOME/other", "home/other/hub"),
    ] {
        let ended = inspect(&bench, &hub, &[("HOME", home), (variable, value)]);
        assert_eq!(ended.code, 0, "{}", ended.shown());
        assert!(
            bench.at(place).join("models--owner--tiny").is_dir(),
            "{place}"
        );
    }
    assert!(!bench.at("~").exists());
    let words = [
        "quantize",
        "source",
        "-r",
        "squeeze-3",
        "--samples",
        "2",
        "--no-eval",
        "-q",
    ];
    let ended = bench.quench_with(&words, &[("HOME", home), ("QUENCH_CACHE", "~/quench")]);
    assert_eq!(ended.code, 0, "{}", ended.shown());
    assert!(bench.at("home/quench/statistics").is_dir());
}

#[test]
fn a_statistics_cache_that_cannot_be_written_gives_way_to_a_temporary_folder() {
    let bench = Workbench::new();
    bench.decoder("source");
    bench.write("file", "not a folder");
    fs_err::create_dir_all(bench.at("tmp")).unwrap();
    let temporary = bench.at("tmp");
    let words = [
        "quantize",
        "source",
        "-r",
        "squeeze-3",
        "--samples",
        "2",
        "--no-eval",
    ];
    let variables = [
        ("QUENCH_CACHE", "file"),
        ("TMPDIR", temporary.to_str().unwrap()),
    ];
    let ended = bench.quench_with(&words, &variables);
    ended.says(
        0,
        &["note: the cache folder `file/statistics` cannot be written"],
    );
    assert_eq!(
        ended.stderr.matches("cannot be written").count(),
        1,
        "said once"
    );
}

/// A read-only view of `folder`; nothing where the system does not let us.
#[cfg(target_os = "linux")]
struct ReadOnly<'a>(&'a std::path::Path);

#[cfg(target_os = "linux")]
impl<'a> ReadOnly<'a> {
    fn mount(folder: &'a std::path::Path) -> Option<Self> {
        let mount = |words: &[&str]| {
            let status = std::process::Command::new("mount")
                .args(words)
                .arg(folder)
                .stderr(std::process::Stdio::null())
                .status();
            status.is_ok_and(|status| status.success())
        };
        let text = folder.to_str().unwrap();
        if !mount(&["--bind", text]) {
            return None;
        }
        let mounted = Self(folder);
        mount(&["-o", "remount,ro,bind"]).then_some(mounted)
    }
}

#[cfg(target_os = "linux")]
impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0).status();
    }
}

/// Needs the right to mount; without it nothing is tried, which is said.
#[cfg(target_os = "linux")]
#[test]
fn a_complete_cache_on_a_read_only_file_system_is_used_and_another_is_left() {
    let bench = Workbench::new();
    let hub = hub(&bench);
    let home = bench.at("home");
    let text = home.to_str().unwrap().to_owned();
    let first = inspect(&bench, &hub, &[("HF_HOME", &text)]);
    assert_eq!(first.code, 0, "{}", first.shown());
    fs_err::remove_dir_all(home.join("hub/models--owner--tiny/refs")).unwrap();
    let temporary = bench.at("tmp");
    fs_err::create_dir_all(&temporary).unwrap();
    let Some(_mounted) = ReadOnly::mount(&home) else {
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            b"skipped: no right to mount a read-only file system\n",
        );
        return;
    };
    let served = hub.state().served.len();
    let again = inspect(&bench, &hub, &[("HF_HOME", &text)]);
    assert_eq!(again.code, 0, "{}", again.shown());
    assert_eq!(hub.state().served.len(), served, "nothing is fetched again");
    assert!(
        home.join(format!("hub/models--owner--tiny/snapshots/{COMMIT}"))
            .is_dir()
    );

    // Something else has to be fetched, and does not fit there.
    let files: Vec<_> = {
        let state = hub.state();
        state.repositories[MODEL].clone().into_iter().collect()
    };
    for (name, content) in files {
        hub.add("models/owner/other", &name, content);
    }
    let endpoint = hub.endpoint();
    let ended = bench.quench_with(
        &["inspect", "owner/other"],
        &[
            ("HF_ENDPOINT", endpoint.as_str()),
            ("HF_HUB_OFFLINE", "0"),
            ("NO_PROXY", "*"),
            ("HF_HOME", &text),
            ("TMPDIR", temporary.to_str().unwrap()),
        ],
    );
    ended.says(
        0,
        &["note: cannot write to the cache", "Read-only file system"],
    );
}
