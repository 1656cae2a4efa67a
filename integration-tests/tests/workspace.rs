//! The shape of the workspace, held by a test: who may import whom, who may know tokio and YAML,
//! how long a file may be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use motegate_tests::peer::repository;

/// Every edge that the architecture draws, by package name. `motegate-message` and
/// `motegate-timers` may be imported by every crate; `motegate-tests` may import all.
const EDGES: [(&str, &[&str]); 10] = [
    // The protocols for their client halves: `gateway/src/client` drives them.
    (
        "motegate",
        &[
            "motegate-config",
            "motegate-core",
            "motegate-mapping",
            "motegate-mqtt",
            "motegate-mqtt-sn",
            "motegate-coap",
        ],
    ),
    ("motegate-config", &["motegate-core", "motegate-mapping"]),
    (
        "motegate-core",
        &[
            "motegate-mqtt-sn",
            "motegate-coap",
            "motegate-mqtt",
            "motegate-broker",
            "motegate-mapping",
        ],
    ),
    ("motegate-mqtt-sn", &[]),
    ("motegate-coap", &[]),
    ("motegate-mqtt", &[]),
    ("motegate-broker", &[]),
    ("motegate-mapping", &[]),
    ("motegate-message", &[]),
    ("motegate-timers", &[]),
];

/// Vocabulary of every crate.
const COMMON: [&str; 2] = ["motegate-message", "motegate-timers"];

/// Crates that may do anything to anybody.
const TESTS: &str = "motegate-tests";

/// Outside crates that only one of ours may know, or two.
const RESERVED: [(&str, &[&str]); 32] = [
    ("tokio", &["motegate"]),
    ("mio", &["motegate"]),
    ("socket2", &["motegate"]),
    ("ringbuf", &["motegate"]),
    ("tracing", &["motegate"]),
    ("tracing-subscriber", &["motegate"]),
    ("nix", &["motegate"]),
    ("clap", &["motegate"]),
    // HTTP is the control interface's.
    ("axum", &["motegate"]),
    ("http-body-util", &["motegate"]),
    ("hyper", &["motegate"]),
    ("hyper-util", &["motegate"]),
    ("utoipa", &["motegate"]),
    ("utoipa-axum", &["motegate"]),
    // Transports are the shell's; the configuration reads what they serve with.
    ("rustls", &["motegate", "motegate-config"]),
    ("tungstenite", &["motegate"]),
    ("httparse", &["motegate"]),
    ("x509-parser", &["motegate", "motegate-config"]),
    // YAML, its schema and its diagnostics are the configuration's.
    ("yaml_serde", &["motegate-config"]),
    ("serde_yaml", &["motegate-config"]),
    ("serde-saphyr", &["motegate-config"]),
    ("saphyr", &["motegate-config"]),
    ("saphyr-parser", &["motegate-config"]),
    ("annotate-snippets", &["motegate-config"]),
    ("schemars", &["motegate-config"]),
    ("serde", &["motegate", "motegate-config"]),
    ("serde_json", &["motegate", "motegate-config"]),
    // Payloads and patterns are the mapping's, topic properties CoAP's.
    ("minicbor", &["motegate-coap", "motegate-mapping"]),
    ("json-event-parser", &["motegate-mapping"]),
    ("data-encoding", &["motegate", "motegate-core", "motegate-mapping"]),
    ("regex", &["motegate-mapping"]),
    ("coap-lite", &["motegate-coap"]),
];

#[test]
fn crates_import_only_what_the_architecture_draws() {
    let edges: BTreeMap<&str, &[&str]> = EDGES.into_iter().collect();
    let mut wrong = Vec::new();
    for package in packages(&metadata()) {
        if package.name.as_str() == TESTS {
            continue;
        }
        let Some(drawn) = edges.get(package.name.as_str()) else {
            wrong.push(format!("{} is not in the architecture", package.name));
            continue;
        };
        for dependency in normal_dependencies(package) {
            let ours = dependency == "motegate" || dependency.starts_with("motegate-");
            let common =
                COMMON.contains(&dependency.as_str()) && package.name.as_str() != "motegate-timers";
            if ours && !common && !drawn.contains(&dependency.as_str()) {
                wrong.push(format!("{} → {dependency}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "edges that the architecture does not draw: {wrong:#?}");
}

#[test]
fn only_its_owners_know_a_reserved_library() {
    let mut wrong = Vec::new();
    for package in packages(&metadata()) {
        for dependency in normal_dependencies(package) {
            let owners = RESERVED.iter().find(|(name, _)| *name == dependency);
            let name = package.name.as_str();
            if name != TESTS && owners.is_some_and(|(_, owners)| !owners.contains(&name)) {
                wrong.push(format!("{name} → {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "libraries that belong to another crate: {wrong:#?}");
}

#[test]
fn the_gateway_is_what_cargo_run_means() {
    let metadata = metadata();
    let defaults: Vec<_> =
        metadata.workspace_default_packages().iter().map(|one| one.name.clone()).collect();
    assert_eq!(defaults.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["motegate"]);
}

#[test]
fn every_crate_follows_the_lint_table() {
    for package in packages(&metadata()) {
        let manifest =
            std::fs::read_to_string(&package.manifest_path).expect("a package has a manifest");
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{} has lints of its own",
            package.name
        );
    }
}

#[test]
fn source_files_are_short() {
    const USUAL: usize = 600;
    const MOST: usize = 900;
    let root = repository();
    let codemap = std::fs::read_to_string(root.join("gateway/ARCHITECTURE.md")).unwrap_or_default();
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    assert!(files.len() > 40, "only {} files found under {}", files.len(), root.display());
    let mut wrong = Vec::new();
    for file in files {
        let lines = std::fs::read_to_string(&file).expect("a source file is text").lines().count();
        let name =
            file.strip_prefix(&root).expect("found under the root").to_string_lossy().into_owned();
        let explained = codemap.contains(&name);
        if lines > MOST || (lines > USUAL && !explained) {
            wrong.push(format!("{name}: {lines} lines"));
        }
    }
    assert!(
        wrong.is_empty(),
        "over {USUAL} lines without a reason in gateway/ARCHITECTURE.md, or over {MOST}: {wrong:#?}"
    );
}

fn metadata() -> Metadata {
    let manifest = repository().join("Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).exec().expect("cargo reads its own workspace")
}

fn packages(metadata: &Metadata) -> Vec<&Package> {
    let packages = metadata.workspace_packages();
    assert_eq!(packages.len(), EDGES.len() + 1, "a crate came or went: draw it in EDGES");
    packages
}

/// Names as the registry knows them, whatever they are called in the manifest.
fn normal_dependencies(package: &Package) -> BTreeSet<String> {
    let normal = package.dependencies.iter().filter(|one| one.kind == DependencyKind::Normal);
    normal.map(|one| one.name.clone()).collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the repository can be read") {
        let path = entry.expect("an entry can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            let outside = name.starts_with('.') || name == "target";
            if !outside {
                rust_files(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}
