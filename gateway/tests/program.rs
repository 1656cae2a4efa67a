//! What a user sees of the program before it serves: help, versions, faults, exit codes.

mod common;

use common::finished;

#[test]
fn help_is_on_stdout_fits_80_columns_and_ends_well() {
    for arguments in [
        &["--help"][..],
        &["-h"],
        &["help"],
        &["help", "dev"],
        &["dev", "--help"],
        &["run", "--help"],
        &["check", "--help"],
        &["config", "show", "--help"],
        &["schema", "--help"],
        &["fmt", "--help"],
        &["init", "--help"],
        &["help", "help"],
    ] {
        let output = finished(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("Usage: motegate"), "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{arguments:?}: {line}");
        }
    }
    let text = String::from_utf8(finished(&["--help"]).stdout).unwrap();
    for word in ["dev", "run", "check", "version", "motegate sub", "Exit codes", "MOTEGATE_LOG"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
}

#[test]
fn the_version_is_one_line() {
    let expected = format!("motegate {}\n", env!("CARGO_PKG_VERSION"));
    for arguments in [["version"], ["--version"]] {
        let output = finished(&arguments);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }
}

#[test]
fn a_wrong_command_line_is_exit_2_and_says_what_was_meant() {
    for (arguments, hint) in [
        (&["chekc"][..], "check"),
        (&["--nonsense"], "--nonsense"),
        (&["dev", "--mqtt", "nowhere"], "--mqtt"),
        (&["dev", "--mqtt", "1884"], "127.0.0.1:1884"),
        (&["dev", "--exposed"], "--expose"),
        (&["run", "-c"], "--config"),
    ] {
        let output = finished(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(hint), "{hint} is not in\n{text}");
    }
}

#[test]
fn a_file_that_is_not_there_is_exit_3_and_named() {
    for arguments in
        [&["check", "no/such.yaml"][..], &["run", "-c", "no/such.yaml"], &["run", "--check-only"]]
    {
        let output = finished(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {text}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let name = if arguments.contains(&"--check-only") { "motegate.yaml" } else { "such.yaml" };
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn a_configuration_is_judged_with_line_and_remedy() {
    let folder = std::env::temp_dir().join(format!("motegate-program-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (good, bad) = (folder.join("good.yaml"), folder.join("bad.yaml"));
    let listener = "listeners:\n  - {protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true}\n";
    std::fs::write(&good, format!("version: 1\n{listener}")).unwrap();
    std::fs::write(&bad, "version: 1\nlistenrs: []\n").unwrap();
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());

    for arguments in [&["check", good][..], &["run", "-c", good, "--check-only"]] {
        let output = finished(arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(text.starts_with("config ok: ") && text.lines().count() == 1, "{text}");
    }
    for arguments in
        [&["check", bad][..], &["check", good, bad], &["run", "-c", bad], &["run", bad]]
    {
        let output = finished(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        assert!(text.contains("bad.yaml:2") && text.contains("listeners"), "{text}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
