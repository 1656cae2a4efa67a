//! Every example loads; every bad example is refused with file, line, cause and fix.
#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use motegate_config::{Code, Config, Diagnostic, Layers};

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
