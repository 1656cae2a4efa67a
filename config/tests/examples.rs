//! Every example loads; every bad example is refused with file, line, cause and fix.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use motegate_config::{Config, check_text};

fn folder(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_example_loads() {
    let files = folder("examples");
    assert!(files.len() >= 6, "{files:?}");
    for path in files {
        let resolved = Config::load(&path).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(resolved.core.listeners.len(), resolved.listeners.len());
        let empty = path.ends_with("empty.yaml");
        assert_eq!(resolved.warnings.is_empty(), !empty, "{path:?}: {:?}", resolved.warnings);
    }
}

#[test]
fn every_bad_example_says_where_why_and_what_to_do() {
    let files = folder("examples/bad");
    assert!(files.len() >= 20, "{files:?}");
    for path in files {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let name = format!("{stem}.yaml");
        let source = std::fs::read_to_string(&path).unwrap();
        let report = check_text(&name, &source);
        assert_eq!(report.ok, stem == "warnings", "{report}");
        if let Err(findings) = Config::parse(&name, &source) {
            for diagnostic in &findings.diagnostics {
                let at = diagnostic.position(&findings.sources).expect("has a place");
                let drawn = diagnostic.render(&findings.sources);
                let at = format!("{}:{}:{}", at.name, at.line, at.column);
                assert!(drawn.contains(&at), "{at} is missing in\n{drawn}");
                assert!(drawn.contains("help: ") && !diagnostic.fix.is_empty(), "{drawn}");
            }
        }
        insta::with_settings!({
            snapshot_path => "../examples/bad",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(stem, report.text);
        });
    }
}
