//! Every example loads; every bad example is refused with file, line, cause and fix.
#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use motegate_config::{Code, Config, Diagnostic, Layers, Resolved, Show};

fn folder(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        all.filter(|p| p.is_dir() || p.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    files
}

#[test]
fn every_example_loads_and_is_laid_out() {
    let files: Vec<PathBuf> = folder("examples").into_iter().filter(|p| p.is_file()).collect();
    assert!(files.len() >= 6, "{files:?}");
    for path in files {
        let resolved = Config::load(&path).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(resolved.core.listeners.len(), resolved.listeners.len());
        // The reference's own example lets in whom a later version can know.
        let printed = path.ends_with("plant.yaml");
        let closed = path.ends_with("empty.yaml") || printed;
        assert_eq!(resolved.warnings.is_empty(), !closed, "{path:?}: {:?}", resolved.warnings);
        let text = std::fs::read_to_string(&path).unwrap();
        if printed {
            continue; // as it is printed
        }
        assert_eq!(motegate_config::format("f", &text).unwrap(), text, "{path:?}");
    }
}

/// Every example, and the file that README adds to the one of `motegate init`.
fn texts() -> Vec<(String, String)> {
    let files = folder("examples").into_iter().filter(|p| p.is_file());
    let read = |path: PathBuf| (path.display().to_string(), std::fs::read_to_string(path).unwrap());
    let mut texts: Vec<(String, String)> = files.map(read).collect();
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, rest) = readme.split_once("conf.d/env.yaml <<'END'\n").unwrap();
    let (added, _) = rest.split_once("\nEND\n").unwrap();
    let listener = "listeners: [{name: mqttsn, protocol: mqttsn}]\n";
    texts.push(("README.md".to_owned(), format!("{listener}{added}")));
    texts
}

#[test]
fn what_is_shown_of_an_example_means_the_same() {
    let mut frames = 0;
    for (name, text) in texts() {
        frames += text.matches("scale:").count();
        for effective in [false, true] {
            let show = Show { effective, origin: false };
            let layers = Layers::new().text("given", text.clone());
            let shown = layers.show(show).unwrap();
            let again = Layers::new().text("shown", shown.clone());
            let read = again.load().unwrap_or_else(|e| panic!("{name}\n{shown}\n{e}"));
            assert_eq!(meaning(&read), meaning(&layers.load().unwrap()), "{name}\n{shown}");
            // A map of defaults stands on one line, one that was written does not.
            assert!(effective || again.show(show).unwrap() == shown, "{name}\n{shown}");
            let json = layers.show_json(effective).unwrap();
            let as_yaml = Layers::new().text("json", json.to_string());
            let read = as_yaml.load().unwrap_or_else(|e| panic!("{name}\n{json}\n{e}"));
            assert_eq!(meaning(&read), meaning(&layers.load().unwrap()), "{name}\n{json}");
        }
    }
    assert!(frames >= 2, "an example has a frame with a scale");
}

/// All that it says, in words; maps have no order.
fn meaning(resolved: &Resolved) -> Vec<String> {
    let Resolved { core, table, listeners, rules, max_connections, data_dir, .. } = resolved;
    let rest = (listeners, rules, max_connections, data_dir, resolved.durability, resolved.log);
    let all = format!("{core:?} {table:?} {rest:?} {:?}", resolved.tests);
    let words = all.split(|c: char| c.is_whitespace() || "{},".contains(c));
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    words.sort_unstable();
    words
}

#[test]
fn a_data_directory_lies_beside_the_file_that_says_so() {
    let place = |layers: Layers| layers.load().unwrap().data_dir;
    let text = |name: &str, text: &str| Layers::new().text(name, text);
    for (name, data, expected) in [
        ("motegate.yaml", "data_dir: ./data", "./data"),
        ("./motegate.yaml", "data_dir: data", "data"),
        ("/etc/gate/motegate.yaml", "data_dir: ./data", "/etc/gate/data"),
        ("../gate/motegate.yaml", "data_dir: ../data", "../gate/../data"),
        ("gate/motegate.yaml", "data_dir: /var/lib/gate", "/var/lib/gate"),
        ("gate/motegate.yaml", "", "gate/motegate-data"),
        ("motegate.yaml", "", "./motegate-data"),
    ] {
        assert_eq!(place(text(name, data)).to_str(), Some(expected), "{name}: {data}");
    }
    // What is typed where the program starts is relative to that.
    let file = || text("gate/motegate.yaml", "data_dir: ./data");
    assert_eq!(place(file().set(["data_dir=./here"])).to_str(), Some("./here"));
    let variable = [(OsString::from("MOTEGATE__DATA_DIR"), OsString::from("there"))];
    assert_eq!(place(file().environment(variable)).to_str(), Some("there"));
    let shown = file().show(Show { effective: false, origin: true }).unwrap();
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(words, ["data_dir:", "gate/data", "#", "gate/motegate.yaml:1", "./data"]);
}

/// A file, or a folder with `motegate.yaml`, `conf.d` and lines of the `environment`.
fn layers(path: &Path) -> Layers {
    if path.is_file() {
        let name = path.file_name().unwrap().to_str().unwrap();
        return Layers::new().text(name, std::fs::read_to_string(path).unwrap());
    }
    let environment = std::fs::read_to_string(path.join("environment")).unwrap_or_default();
    let variables = environment.lines().map(|line| {
        let (name, value) = line.split_once('=').unwrap();
        (OsString::from(name), OsString::from(value))
    });
    Layers::new().file(path.join("motegate.yaml")).environment(variables)
}

#[test]
fn every_bad_example_says_where_why_and_what_to_do() {
    let files = folder("examples/bad");
    assert!(files.len() >= 50, "{}", files.len());
    let mut mistakes = std::collections::BTreeSet::new();
    for path in files {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let stem = if path.is_dir() { path.file_name().unwrap().to_str().unwrap() } else { stem };
        let prefix = format!("{}/", path.display());
        let text = match layers(&path).load() {
            Ok(resolved) => {
                let only = [
                    "warnings",
                    "conf.d-yml",
                    "conf.d-endings",
                    "conf.d-file",
                    "environment-nearly",
                ];
                assert!(only.contains(&stem), "{path:?} is good");
                assert!(!resolved.warnings.is_empty());
                resolved.warnings.join("\n\n")
            }
            Err(findings) => {
                assert!(!findings.diagnostics.is_empty(), "{path:?} is refused without a word");
                for diagnostic in &findings.diagnostics {
                    let at = diagnostic.position(&findings.sources).expect("has a place");
                    let drawn = diagnostic.render(&findings.sources);
                    let at = format!("{}:{}:{}", at.name, at.line, at.column);
                    assert!(drawn.contains(&at), "{at} is missing in\n{drawn}");
                    assert!(drawn.contains("help: ") && !diagnostic.fix.is_empty(), "{drawn}");
                    mistakes.insert((diagnostic.code, cause(diagnostic)));
                }
                findings.to_string()
            }
        };
        insta::with_settings!({
            snapshot_path => "../examples/bad",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(stem, text.replace(&prefix, ""));
        });
    }
    assert!(mistakes.len() >= 80, "{} different mistakes: {mistakes:#?}", mistakes.len());
    let codes: Vec<Code> = mistakes.iter().map(|(code, _)| *code).collect();
    let errors = Code::ALL.iter().filter(|code| code.as_str().starts_with('E'));
    let without: Vec<&Code> = errors.filter(|code| !codes.contains(code)).collect();
    assert_eq!(without, [&Code::Unreadable], "codes that no bad example gives");
}

/// What is wrong, without the words of the file.
fn cause(diagnostic: &Diagnostic) -> String {
    let mut quoted = false;
    let outside = |c: &char| {
        quoted ^= *c == '"';
        !quoted && !c.is_ascii_digit()
    };
    diagnostic.text.chars().filter(outside).collect()
}
