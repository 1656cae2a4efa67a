//! `motegate import` as a user meets it: help, success, and what goes wrong most often.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use common::finished;

/// A folder that goes when the test does.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("motegate-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Exit code, stdout and stderr.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = finished(arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

const MOSQUITTO: &str = "listener 1883 127.0.0.1\nallow_anonymous true\nmax_packet_size 4096\n\
                         password_file /etc/mosquitto/passwd\n";

#[test]
fn help_has_examples_and_fits_80_columns() {
    let (code, text, _) = run(&["import", "--help"]);
    assert_eq!(code, 0);
    for word in ["--from", "mosquitto, emqx, paho, nanomq", "--force", "Examples:", "Exit codes"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn the_yaml_goes_to_stdout_and_what_is_lost_to_stderr() {
    let folder = Folder::new("import-out");
    let file = folder.file("mosquitto.conf", MOSQUITTO);
    let (code, yaml, said) = run(&["import", "--from", "mosquitto", &file]);
    assert_eq!(code, 0, "{said}");
    assert!(yaml.contains("max_packet_size: 4096"), "{yaml}");
    let remark = format!(
        "{file}:4: changed: password_file /etc/mosquitto/passwd: its hashes cannot be used: `motegate \
         passwd NAME` writes each user anew"
    );
    assert!(said.lines().any(|line| line == remark), "{said}");
    assert!(yaml.contains(&format!("# import: {remark}")), "{yaml}");
    assert!(said.contains("stdout: config ok: 0 rules, 1 listener; not as it was: "), "{said}");
    let (code, again, said) = run(&["import", "--from", "mosquitto", "-q", &file]);
    assert_eq!((code, again, said), (0, yaml, String::new()));
}

#[test]
fn a_file_is_written_once_and_passes_check() {
    let folder = Folder::new("import-file");
    let topics = folder.file("predefinedTopic.conf", "*,time,1\nenv-1,dev/env-1/t,10\n");
    let gateway = folder.file("gateway.conf", "GatewayID=2\nGatewayPortNo=10000\n");
    let yaml = folder.path("motegate.yaml");
    let line = ["import", "--from", "paho", &gateway, &topics, "-o", &yaml];
    let (code, out, said) = run(&line);
    assert_eq!((code, out.as_str()), (0, ""), "{said}");
    let (code, verdict, said) = run(&["check", &yaml]);
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(verdict, "config ok: 0 rules, 1 listener\n");
    let first = std::fs::read_to_string(&yaml).unwrap();

    std::fs::write(&yaml, "mine").unwrap();
    let (code, out, said) = run(&line);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(said.contains("motegate.yaml is there already") && said.contains("--force"), "{said}");
    assert_eq!(std::fs::read_to_string(&yaml).unwrap(), "mine", "it is as it was");
    let (code, ..) = run(&[&line[..], &["--force"]].concat());
    assert_eq!(code, 0);
    assert_eq!(std::fs::read_to_string(&yaml).unwrap(), first);
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 3, "nothing is left beside it");
}

/// `conf.d` is read with the file: the last line promises nothing that `check` does not keep.
#[test]
fn a_folder_beside_the_file_is_not_overlooked() {
    let folder = Folder::new("import-beside");
    let conf = folder.file("mosquitto.conf", "listener 1883\nallow_anonymous true\n");
    std::fs::create_dir(folder.0.join("conf.d")).unwrap();
    let yaml = folder.path("motegate.yaml");
    let line = ["import", "--from", "mosquitto", &conf, "-o", &yaml, "--force"];
    for (beside, good) in [("nonsense: 1\n", false), ("mqtt: {max_qos: 1}\n", true)] {
        folder.file("conf.d/x.yaml", beside);
        let (code, _, said) = run(&line);
        assert_eq!(code, 0, "{said}");
        let last = said.lines().last().unwrap();
        assert_eq!(last.contains("config ok: "), good, "{last}");
        assert_eq!(last.contains("conf.d beside it `motegate check"), !good, "{last}");
        assert_eq!(run(&["check", &yaml]).0 == 0, good);
    }
}

#[test]
fn wrong_files_are_exit_3_with_line_and_remedy() {
    let folder = Folder::new("import-wrong");
    let yaml = folder.path("motegate.yaml");
    let refused = |from: &str, file: &str, expected: &str| {
        let (code, out, said) = run(&["import", "--from", from, file, "-o", &yaml]);
        assert_eq!((code, out.as_str()), (3, ""), "{said}");
        assert!(said.contains(expected), "{expected} is not in\n{said}");
        assert!(!Path::new(&yaml).exists());
    };
    refused("mosquitto", &folder.path("none.conf"), "none.conf cannot be read");
    let emqx = folder.file("emqx.conf", "mqtt {\n  max_packet_size = 1MB\n");
    refused("emqx", &emqx, "emqx.conf:3: the brace of line 1 is not closed\n  fix: ");
    refused("mosquitto", &emqx, "emqx.conf:1: there is no option of mosquitto in this file");
    let latin = folder.file("latin.conf", b"user x\n# caf\xe9\n");
    refused("mosquitto", &latin, "latin.conf:2: this is not UTF-8 text");
}

#[test]
fn a_wrong_command_line_is_exit_2() {
    for arguments in [
        &["import", "mosquitto.conf"][..],
        &["import", "--from", "hivemq", "x"],
        &["import", "--from", "paho"],
        &["import", "--from", "paho", "x", "--force"],
    ] {
        let (code, out, said) = run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{said}");
    }
}
