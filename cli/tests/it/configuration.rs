//! `sarsen config`, and settings of a file.

use std::process::{Command, Output};

fn sarsen(file: &std::path::Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sarsen"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SARSEN_")) {
        command.env_remove(name);
    }
    command.arg("--config").arg(file).args(arguments);
    command.env("SARSEN_DRAIN_SECONDS", "7").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_flag_comes_before_the_environment_the_file_and_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sarsen.toml");
    let lines = "slots = 3\ndrain-seconds = 1\nextern-allow = [\"/a\", \"/b\"]\n[worker]\nslots = 8\nspill-quota = \"1G\"\n";
    std::fs::write(&file, lines).unwrap();
    let printed = sarsen(&file, &["config", "print", "worker", "--spill-quota", "2G"]);
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    let printed = text(&printed.stdout);
    let source = |setting: &str| {
        let line = printed
            .lines()
            .find(|line| line.starts_with(setting))
            .unwrap_or_default();
        let (value, source) = line.split_once(" # ").unwrap_or_default();
        (
            value.trim_end().to_owned(),
            source.split(' ').next().unwrap_or_default().to_owned(),
        )
    };
    let expected = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    assert_eq!(source("spill-quota"), expected("spill-quota = \"2G\"", "flag"));
    assert_eq!(
        source("drain-seconds"),
        expected("drain-seconds = 7", "environment")
    );
    assert_eq!(source("slots"), expected("slots = 8", "file"));
    assert_eq!(
        source("extern-allow"),
        expected("extern-allow = [\"/a\", \"/b\"]", "file")
    );
    assert_eq!(
        source("grpc-addr"),
        expected("grpc-addr = \"127.0.0.1:8091\"", "default")
    );
    // What is printed can be a file again.
    std::fs::write(&file, &printed).unwrap();
    let again = text(&sarsen(&file, &["config", "print", "worker"]).stdout);
    assert!(again.contains("spill-quota = \"2G\""), "{again}");
}

#[test]
fn unknown_settings_are_refused_with_the_nearest_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sarsen.toml");
    for (lines, expected) in [
        (
            "slotz = 3",
            "`slotz` is not a setting of any role; did you mean `slots`?",
        ),
        (
            "[wroker]\nslots = 1",
            "`[wroker]` is not a setting of any role; did you mean `worker`?",
        ),
        (
            "[gateway]\nslots = 1",
            "`slots` in `[gateway]` is not a setting of `sarsen gateway`",
        ),
        ("slots = [[1]]", "`slots` has a value of type array"),
        ("slots = ", "sarsen.toml: TOML parse error at line 1"),
        ("slots = \"many\"", "`slots` is set in the configuration file"),
    ] {
        std::fs::write(&file, lines).unwrap();
        let refused = sarsen(&file, &["worker"]);
        assert!(!refused.status.success(), "{lines}");
        let told = text(&refused.stderr);
        assert!(told.contains(expected), "{lines}: {told}");
    }
}

#[test]
fn the_documentation_lists_every_setting() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let nothing = tempfile::NamedTempFile::new().unwrap();
    let printed = text(&sarsen(nothing.path(), &["config", "docs"]).stdout);
    if std::env::var_os("SARSEN_UPDATE_DOCS").is_some() {
        std::fs::write(path, &printed).unwrap();
    }
    let documented = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(documented, printed, "run with SARSEN_UPDATE_DOCS=1");
}
