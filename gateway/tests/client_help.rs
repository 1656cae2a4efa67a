//! Help, completions and man pages of the client commands, from one set of definitions.

mod common;

use common::client::said;
use common::motegate;

const COMMANDS: [&str; 10] =
    ["pub", "sub", "rr", "get", "put", "post", "delete", "observe", "discover", "ping"];

#[test]
fn every_command_has_a_help_of_80_columns_with_examples() {
    for command in COMMANDS {
        for line in [format!("{command} --help"), format!("help {command}")] {
            let text = said(&line).good();
            assert!(text.contains(&format!("Usage: motegate {command}")), "{text}");
            // `-h` is the host where mosquitto has it, and the help elsewhere.
            let broker = ["pub", "sub", "rr"].contains(&command);
            assert_eq!(text.contains("-h, --host <HOST>"), broker, "{text}");
            assert_eq!(text.contains("-h, --help"), !broker, "{text}");
            let example = text.lines().filter(|l| l.starts_with(&format!("  motegate {command}")));
            assert!(example.count() > 0, "{text}");
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{command}: {line}");
            }
        }
        assert!(said("--help").good().contains(&format!("\n  {command} ")), "{command}");
    }
}

/// The options of TLS are the same everywhere, and no others stand among them.
#[test]
fn the_options_of_tls_stand_together() {
    let tls = |command: &str| -> Vec<String> {
        let text = said(&format!("{command} --help")).good();
        let (_, behind) = text.split_once("\nTLS:\n").expect("there is TLS");
        let part = behind.split("\n\n").next().unwrap_or_default();
        let options = part.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        options.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    };
    for command in COMMANDS.into_iter().chain(["bench conn"]) {
        assert_eq!(tls(command), ["--cafile", "--cert", "--key", "--insecure"], "{command}");
    }
}

#[test]
fn a_command_that_takes_a_url_has_h_for_help() {
    for command in ["get", "put", "post", "delete", "observe", "discover", "ping"] {
        let text = said(&format!("{command} -h")).good();
        assert!(text.contains(&format!("Usage: motegate {command}")), "{text}");
    }
    for (command, there) in [("pub", true), ("sub", false), ("rr", false)] {
        let text = said(&format!("{command} --help")).good();
        assert_eq!(text.contains("-1 for MQTT-SN"), there, "{text}");
        assert_eq!(text.contains("mappings.mqttsn.qos_minus_one"), there, "{text}");
    }
    let text = said("put --help").good();
    assert!(text.contains("clears the value"), "{text}");
}

#[test]
fn help_names_what_is_not_mosquittos() {
    for (command, words) in [
        (
            "pub",
            &["--topic-id", "--short", "--sleep", "-1 for MQTT-SN", "-A, --bind", "-M, --max"][..],
        ),
        (
            "sub",
            &[
                "--unix <PATH>",
                "--cafile <FILE>",
                "--insecure",
                "--remove-retained",
                "%-10t",
                "-T, --filter-out <FILTER|ID>",
                "%t topic",
                "ndjson",
            ],
        ),
        ("rr", &["--response-topic", "correlation"]),
        ("observe", &["--count", "--duration"]),
    ] {
        let text = said(&format!("{command} --help")).good();
        for word in words {
            assert!(text.contains(word), "`{word}` is not in\n{text}");
        }
    }
}

#[test]
fn completions_know_commands_and_options() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let text = said(&format!("completions {shell}")).good();
        for word in ["observe", "completions", "will-topic"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
    said("completions csh").bad(2, &["csh"]);
}

#[test]
fn man_pages_are_roff() {
    let text = said("man").good();
    assert!(text.contains(".TH motegate 1") && text.contains("SUBCOMMANDS"), "{text}");
    for command in COMMANDS {
        let text = said(&format!("man {command}")).good();
        assert!(text.contains(&format!(".TH motegate-{command} 1")), "{text}");
        assert!(text.contains(&format!("motegate {command}")), "{text}");
    }
    said("man nothing").bad(2, &["nothing"]);
}

#[test]
fn color_is_for_those_who_want_it() {
    let failing = |color: &str| {
        let line = format!("--color {color} get coap://127.0.0.1:1/a");
        let mut command = motegate(&line.split(' ').collect::<Vec<_>>());
        String::from_utf8(command.env_remove("NO_COLOR").output().unwrap().stderr).unwrap()
    };
    assert!(failing("always").starts_with("\x1b[1;31mmotegate:\x1b[0m nothing listens"));
    for plain in ["never", "auto"] {
        assert!(failing(plain).starts_with("motegate: nothing listens"), "a pipe is no terminal");
    }
}
