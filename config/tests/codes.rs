//! Every code is explained, every wrong example in an explanation gives that code, and every right
//! one loads.
#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use motegate_config::{Code, Config, Diagnostic, Findings, Layers};

/// The blocks of an explanation that are wrong, or right.
#[derive(Default)]
struct Example {
    /// Name and text.
    files: Vec<(String, String)>,
    /// What follows `motegate check`.
    arguments: Vec<String>,
    /// Variables.
    environment: Vec<(OsString, OsString)>,
}

/// A fenced block: what its fence says, and its text.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let fenced = text.split("\n```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').unwrap()).collect()
}

fn example(code: Code, which: &str) -> Example {
    let mut example = Example::default();
    for (head, text) in blocks(code.explanation()) {
        let mut words = head.split(' ');
        let kind = words.next().unwrap();
        if words.next() != Some(which) {
            continue;
        }
        match kind {
            "yaml" => {
                let name = words.next().unwrap_or("motegate.yaml");
                example.files.push((name.to_owned(), format!("{text}\n")));
            }
            "sh" => {
                let line = text.strip_prefix("motegate check").unwrap();
                example.arguments = line.split_whitespace().map(str::to_owned).collect();
            }
            "env" => {
                let lines = text.lines().map(|line| line.split_once('=').unwrap());
                example.environment =
                    lines.map(|(name, value)| (name.into(), value.into())).collect();
            }
            other => panic!("{code}: what is a block of {other}?"),
        }
    }
    example
}

/// Everything that is found in an example, and the warnings of a good one.
fn check(example: &Example, folder: &Path) -> (Result<(), Findings>, Vec<String>) {
    for (name, text) in &example.files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    // The files that explanations speak of as if everybody had them.
    let certs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certs");
    for file in std::fs::read_dir(certs).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let mut layers = Layers::new().environment(example.environment.iter().cloned());
    let mut arguments = example.arguments.iter();
    let mut named = false;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--set" => layers = layers.set([arguments.next().unwrap()]),
            file => {
                layers = layers.file(folder.join(file));
                named = true;
            }
        }
    }
    let main = folder.join("motegate.yaml");
    if !named && main.exists() {
        layers = layers.file(main);
    }
    match layers.load() {
        Ok(resolved) => (Ok(()), resolved.warnings),
        Err(findings) => (Err(findings), Vec::new()),
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("motegate-codes-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn every_code_is_explained_with_wrong_and_right() {
    for code in Code::ALL.iter().copied() {
        let text = code.explanation();
        let title = format!("# {code}: ");
        assert!(text.starts_with(&title), "{code}: its title is not {title:?}");
        assert!(text.len() > 250, "{code} is explained too briefly");
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{code} has long lines");
        assert_eq!(Code::parse(&code.as_str().to_lowercase()), Some(code));
        if code == Code::InlineSecret {
            // No key holds a secret yet. The first that does needs an example here.
            assert!(!Config::schema().to_string().contains("writeOnly"));
            continue;
        }
        let place = folder(code.as_str());
        let (wrong, warnings) = check(&example(code, "wrong"), &place);
        std::fs::remove_dir_all(&place).unwrap();
        let found: Vec<&Diagnostic> =
            wrong.as_ref().err().into_iter().flat_map(|f| &f.diagnostics).collect();
        let told = found.iter().any(|d| d.code == code)
            || warnings.iter().any(|text| text.contains(&format!("[{code}]")));
        assert!(told, "{code}: the wrong example gives {found:?} {warnings:?}");
        // One mistake, one diagnostic: an example shows nothing else.
        assert!(found.iter().all(|d| d.code == code), "{code}: {found:?}");

        let place = folder(code.as_str());
        let (right, warnings) = check(&example(code, "right"), &place);
        std::fs::remove_dir_all(&place).unwrap();
        assert!(right.is_ok(), "{code}: {}", right.unwrap_err());
        let again = warnings.iter().any(|text| text.contains(&format!("[{code}]")));
        assert!(!again, "{code}: {warnings:?}");
    }
}

#[test]
fn no_explanation_is_left_over() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("codes");
    let count = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(count, Code::ALL.len());
}
