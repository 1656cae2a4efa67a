//! The commands about configurations: what they take, print and exit with.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;
use std::process::Output;

use common::client::said_with_stdin;
use common::motegate;
use serde_json::Value;

/// A folder of its own, which goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("motegate-configuration-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(path.join("conf.d")).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }

    /// Runs a command line in it; `NAME=VALUE` words before the command are the environment.
    fn run(&self, line: &str) -> (Option<i32>, String, String) {
        let mut words = line.split(' ').peekable();
        let mut environment = Vec::new();
        while let Some(word) = words.next_if(|word| word.starts_with("MOTEGATE__")) {
            environment.push(word.split_once('=').unwrap());
        }
        let arguments: Vec<&str> = words.collect();
        let mut command = motegate(&arguments);
        let output: Output = command.current_dir(&self.0).envs(environment).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const LISTENER: &str =
    "listeners:\n  - {name: lan, protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true}\n";

#[test]
fn files_are_named_either_way_and_merged() {
    let folder = Folder::new("files");
    folder.write("a.yaml", LISTENER);
    folder.write("b.yaml", "listeners:\n  - {name: edge, protocol: coap, anonymous: true}\n");
    for line in [
        "check a.yaml b.yaml",
        "check -c a.yaml -c b.yaml",
        "check -c a.yaml b.yaml",
        "run --check-only a.yaml b.yaml",
        "run -c a.yaml -c b.yaml --check-only",
    ] {
        let (code, out, err) = folder.run(line);
        assert_eq!(
            (code, out.as_str()),
            (Some(0), "config ok: 0 rules, 2 listeners\n"),
            "{line}: {err}"
        );
    }
    folder.write("b.yaml", LISTENER);
    let (code, _, err) = folder.run("check a.yaml b.yaml");
    assert_eq!(code, Some(3));
    assert!(err.contains("b.yaml:2:12") && err.contains("a.yaml:2:12"), "both places: {err}");
}

#[test]
fn conf_d_the_environment_and_settings_go_over_the_file() {
    let folder = Folder::new("layers");
    folder.write("motegate.yaml", &format!("{LISTENER}mqtt: {{max_qos: 0, max_inflight: 7}}\n"));
    folder.write("conf.d/10-a.yaml", "mqtt: {max_qos: 1}\nlog: {level: warn}\n");
    folder.write("conf.d/20-b.yaml", "log: {level: error}\n");
    folder.write("conf.d/.hidden.yaml", "nonsense: 1\n");
    folder.write("conf.d/readme.txt", "not ours\n");
    let (code, out, err) = folder.run(
        "MOTEGATE__LOG__FORMAT=json MOTEGATE__MQTT__MAX_INFLIGHT=8 config show --origin --set \
         mqtt.max_inflight=9",
    );
    assert_eq!(code, Some(0), "{err}");
    let line = |key: &str| {
        let found = out.lines().find(|line| line.trim_start().starts_with(&format!("{key}:")));
        found
            .unwrap_or_else(|| panic!("{key} is not in\n{out}"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("max_qos"), "max_qos: 1 # conf.d/10-a.yaml:1, instead of motegate.yaml:3");
    let nine = "max_inflight: 9 # --set mqtt.max_inflight, instead of MOTEGATE__MQTT__MAX_INFLIGHT";
    assert_eq!(line("max_inflight"), nine);
    assert_eq!(line("level"), "level: error # conf.d/20-b.yaml:1, instead of conf.d/10-a.yaml:2");
    assert_eq!(line("format"), "format: json # MOTEGATE__LOG__FORMAT");
    assert!(!out.contains("retry_timeout"), "only what was written: {out}");

    let (_, out, _) = folder.run("config show --effective --origin");
    let found = out.lines().find(|line| line.contains("retry_timeout: 10s"));
    assert!(found.is_some_and(|line| line.ends_with("# default")), "{out}");
    folder.write("again.yaml", &out);
    let alone = Folder::new("alone");
    alone.write("motegate.yaml", &out);
    let (code, _, err) = alone.run("check");
    assert_eq!(code, Some(0), "what is shown can be loaded: {err}");
}

#[test]
fn a_wrong_variable_is_refused_with_its_name() {
    let folder = Folder::new("variable");
    folder.write("motegate.yaml", LISTENER);
    let (code, _, err) = folder.run("MOTEGATE__MQTT__MAXQOS=1 check");
    assert_eq!(code, Some(3));
    for text in ["E0106", "MOTEGATE__MQTT__MAXQOS=1", "did you mean `max_qos`?"] {
        assert!(err.contains(text), "{text} is not in\n{err}");
    }
    let (code, _, err) = folder.run("run --set mqtt.max_qos=7");
    assert_eq!(code, Some(3));
    assert!(err.contains("--set:1:14") && err.contains("at most 2"), "{err}");
}

#[test]
fn secrets_from_files_are_not_shown() {
    let folder = Folder::new("secrets");
    folder.write("place", "very-secret\n");
    folder.write("motegate.yaml", &format!("{LISTENER}data_dir: \"./${{file:place}}\"\n"));
    let (code, out, err) = folder.run("config show --origin");
    assert_eq!(code, Some(0), "{err}");
    assert!(!out.contains("very-secret") && out.contains("data_dir: \"***\""), "{out}");
    assert!(out.contains("motegate.yaml:3 ./${file:place}"), "{out}");
}

#[test]
fn warnings_can_be_denied() {
    let folder = Folder::new("warnings");
    folder.write("motegate.yaml", "listeners:\n  - {protocol: mqtt}\n");
    let (code, out, err) = folder.run("check");
    assert!(code == Some(0) && out.starts_with("config ok") && err.contains("W0201"), "{err}");
    let (code, out, err) = folder.run("check --deny warnings");
    assert!(code == Some(3) && out.is_empty() && err.contains("W0201"), "{out}{err}");
    folder.write("motegate.yaml", LISTENER);
    assert_eq!(folder.run("check --deny warnings").0, Some(0));
}

#[test]
fn a_configuration_comes_from_stdin_too() {
    let folder = Folder::new("stdin");
    folder.write("b.yaml", "mqtt: {max_qos: 1}\n");
    folder.write("conf.d/x.yaml", "of another file\n");
    let over = folder.0.join("b.yaml").display().to_string();
    let text = said_with_stdin("check -", LISTENER).good();
    assert_eq!(text, "config ok: 0 rules, 1 listener\n");
    let text = said_with_stdin("config show - -c -", LISTENER);
    text.bad(2, &["first file"]);
    let text = said_with_stdin(&format!("config show - {over}"), LISTENER).good();
    assert!(text.contains("name: lan") && text.contains("max_qos: 1"), "{text}");
    said_with_stdin("check -", "listeners: 3\n").bad(3, &["--> stdin:1:12"]);
    said_with_stdin(&format!("check {over} -"), LISTENER).bad(2, &["first file"]);
}

#[test]
fn check_and_show_speak_json() {
    let folder = Folder::new("json");
    let json = |line: &str, code: i32| {
        let (came, out, err) = folder.run(line);
        assert_eq!(came, Some(code), "{out}{err}");
        serde_json::from_str::<Value>(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"))
    };
    let test =
        "tests:\n  - {name: t, coap: {method: PUT, path: /mqtt/a, text: x}, expect: {topic: a}}\n";
    let coap = LISTENER.replace("mqtt,", "coap,");
    folder.write("motegate.yaml", &format!("{coap}{test}"));
    let told = json("check -o json", 0);
    assert_eq!(
        (&told["ok"], &told["rules"], &told["listeners"]),
        (&true.into(), &0.into(), &1.into())
    );
    assert_eq!(told["summary"], "config ok: 0 rules, 1 test passed.");
    assert_eq!(told["tests"], serde_json::json!({"run": 1, "failed": []}));
    assert_eq!(told["findings"], serde_json::json!([]));

    folder.write("motegate.yaml", &format!("{coap}{}", test.replace("topic: a", "topic: b")));
    let told = json("check -o json", 7);
    assert_eq!((&told["ok"], &told["tests"]["failed"][0]["name"]), (&false.into(), &"t".into()));
    assert!(json("check -o json --no-tests", 0)["tests"].is_null());

    folder.write("motegate.yaml", "listeners:\n  - {name: lan, protocol: mqtt}\n");
    let warned = json("check -o json", 0);
    let finding = &warned["findings"][0];
    assert_eq!((&finding["severity"], &finding["line"]), (&"warning".into(), &2.into()));
    assert_eq!(json("check -o json --deny warnings", 3)["ok"], false);

    folder.write("motegate.yaml", "mqtt:\n  max_qs: 1\n");
    let told = json("check -o json", 3);
    let finding = &told["findings"][0];
    assert_eq!(
        (&told["ok"], &told["summary"], &told["tests"]),
        (&false.into(), &Value::Null, &Value::Null)
    );
    assert_eq!((&finding["code"], &finding["severity"]), (&"E0106".into(), &"error".into()));
    assert_eq!(finding["file"], "motegate.yaml");
    assert_eq!((&finding["line"], &finding["column"]), (&2.into(), &3.into()));
    assert!(finding["fix"].as_str().unwrap().contains("max_qos"), "{finding}");

    folder.write("motegate.yaml", LISTENER);
    let shown = json("config show -o json", 0);
    assert_eq!(shown["listeners"][0]["anonymous"], true);
    assert!(shown["mqtt"].is_null());
    let effective = json("config show --effective -o json --set mqtt.max_qos=1", 0);
    assert_eq!(
        (&effective["mqtt"]["max_qos"], &effective["durability"]),
        (&1.into(), &"power_loss".into())
    );
    assert_eq!(folder.run("config show --origin -o json").0, Some(2));
}

#[test]
fn durability_has_its_help_in_words() {
    let folder = Folder::new("help-durability");
    let (code, text, _) = folder.run("help durability");
    assert_eq!(code, Some(0));
    for word in ["power_loss", "process_crash", "none", "in `data_dir`, which one gateway has at a"]
    {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn every_code_has_its_help() {
    let folder = Folder::new("help");
    let (code, out, _) = folder.run("help E0312");
    assert!(code == Some(0) && out.starts_with("E0312: two rules"), "{out}");
    assert!(out.contains("\nwrong:\n    mappings:") && out.contains("\nright:\n"), "{out}");
    assert!(!out.contains("```"), "{out}");
    assert_eq!(folder.run("help e0312").1, out);
    let (code, _, err) = folder.run("help E9999");
    assert!(code == Some(2) && err.contains("no code E9999"), "{err}");
    let (code, _, err) = folder.run("help nothing");
    assert!(code == Some(2) && err.contains("`nothing`"), "{err}");
    assert!(folder.run("help config show").1.contains("Usage: motegate config show"));
}

#[test]
fn the_schema_and_the_reference_are_printed() {
    let folder = Folder::new("schema");
    let (code, out, _) = folder.run("schema");
    assert_eq!(code, Some(0));
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(schema["properties"]["mqtt"]["properties"]["max_qos"]["maximum"], 2);
    let (_, out, _) = folder.run("schema --reference");
    assert!(out.contains("| `max_qos` | A whole number; 0 to 2 | `2` |"), "{out}");
}

#[test]
fn fmt_writes_in_place_and_check_only_names() {
    let folder = Folder::new("fmt");
    let (before, after) =
        ("mqtt:\n    max_qos:   1  # one\n\n\n", "mqtt:\n  max_qos: 1    # one\n");
    folder.write("motegate.yaml", before);
    let (code, out, _) = folder.run("fmt --check");
    assert_eq!((code, out.as_str()), (Some(1), "motegate.yaml\n"));
    assert_eq!(folder.read("motegate.yaml"), before);
    let (code, out, _) = folder.run("fmt");
    assert!(code == Some(0) && out.is_empty(), "{out}");
    assert_eq!(folder.read("motegate.yaml"), after);
    assert_eq!(folder.run("fmt --check").0, Some(0));
    folder.write("bad.yaml", "a: [1\n");
    let (code, _, err) = folder.run("fmt bad.yaml motegate.yaml");
    assert!(code == Some(3) && err.contains("bad.yaml:1"), "{err}");
    assert_eq!(folder.read("bad.yaml"), "a: [1\n");
    assert_eq!(folder.run("fmt none.yaml").0, Some(3));
    let (code, _, err) = folder.run("fmt /dev/zero");
    assert!(code == Some(3) && err.contains("it is a device, not a file"), "{err}");
    let left = std::fs::read_dir(&folder.0).unwrap().count();
    assert_eq!(left, 3, "nothing is left beside the two files and conf.d");
}

#[test]
fn init_writes_a_file_that_passes_and_never_over_another() {
    let folder = Folder::new("init");
    let (code, out, err) = folder.run("init --yes");
    assert!(code == Some(0) && out.is_empty(), "{err}");
    let (code, out, err) = folder.run("check --deny warnings");
    assert_eq!((code, out.as_str()), (Some(0), "config ok: 1 rule, 1 test passed.\n"), "{err}");
    assert_eq!(folder.run("fmt --check").0, Some(0));
    folder.write("motegate.yaml", "mine: 1\n");
    let (code, _, err) = folder.run("init --yes");
    assert!(code == Some(1) && err.contains("--force"), "{err}");
    assert_eq!(folder.read("motegate.yaml"), "mine: 1\n");
    // No terminal, no questions.
    assert_eq!(folder.run("init --force").0, Some(0));
    assert!(folder.read("motegate.yaml").contains("listeners:"));
}
