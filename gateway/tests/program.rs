//! What a user sees of the program before it serves: help, versions, faults, exit codes.

mod common;

use common::finished;

/// Standard output of a line that succeeds without a word on stderr.
fn printed(words: &[&str]) -> String {
    let output = finished(words);
    assert_eq!(output.status.code(), Some(0), "{words:?}");
    assert!(output.stderr.is_empty(), "{words:?}");
    String::from_utf8(output.stdout).expect("a help is text")
}

/// Every command with its words, those below others too: whatever the man pages, which come from
/// the definitions, name as a page of its own.
fn commands() -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = vec![Vec::new()];
    let mut next = 0;
    while let Some(command) = found.get(next).cloned() {
        next += 1;
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let page = printed(&[&["man"], &words[..]].concat());
        let prefix =
            format!("motegate-{}", words.iter().map(|w| format!("{w}-")).collect::<String>());
        for line in page.lines() {
            let line = line.replace("\\-", "-");
            let name = line.strip_suffix("(1)").and_then(|line| line.strip_prefix(&prefix));
            found.extend(name.map(|name| [&command[..], &[name.to_owned()]].concat()));
        }
    }
    found
}

#[test]
fn every_command_has_a_help_on_stdout_of_80_columns() {
    let commands = commands();
    for known in [&["pub"][..], &["help"], &["config", "show"], &["explain", "topic"]] {
        assert!(commands.iter().any(|command| command == known), "{known:?} of {commands:?}");
    }
    for command in &commands {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let usage = [&["Usage:", "motegate"], &words[..]].concat().join(" ");
        for line in [[&words[..], &["--help"]].concat(), [&["help"], &words[..]].concat()] {
            let text = printed(&line);
            assert!(text.contains(&usage), "{text}");
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{command:?}: {line}");
            }
            // What it shows as an example stands indented.
            let mut examples = text.lines().skip_while(|line| *line != "Examples:").skip(1);
            assert!(examples.next().is_none_or(|line| line.starts_with("  ")), "{text}");
        }
    }
}

#[test]
fn the_overview_lists_every_command_once_under_a_heading() {
    let text = printed(&["--help"]);
    let list: Vec<&str> = text
        .lines()
        .skip_while(|line| *line != "Serve:")
        .take_while(|l| *l != "Options:")
        .collect();
    for command in commands().iter().filter(|command| command.len() == 1) {
        let lines = list.iter().filter(|line| {
            line.strip_prefix("  ").and_then(|l| l.split(' ').next()) == Some(command[0].as_str())
        });
        assert_eq!(lines.count(), 1, "{command:?} in\n{text}");
    }
    for word in ["motegate sub", "Exit codes", "MOTEGATE_LOG", "\nConfigure:\n", "--color"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    // Short and long help have the same list.
    let short = printed(&["-h"]);
    assert!(list.iter().all(|line| short.contains(line)), "{short}");
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let text = printed(&["completions", shell]);
        for name in commands().iter().flatten() {
            assert!(text.contains(name.as_str()), "{shell}: {name}");
        }
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
