//! README.md keeps its word: every shell block is run, in order, and what it promises to print is
//! compared.
//!
//! The word behind `sh` says how: `serve` starts the gateway (and stops the one before), `listen`
//! stays in the background, `tests` is the command that runs this test, anything else runs to its
//! end. A `text` block is the output of the block before; of `text like` the lines are in it, in
//! order, but for their numbers; `text heard` is what each listener prints. A `yaml FILE` block is a part of that file.
//!
//! The lines use the usual ports, so they run in a network namespace of their own where the system
//! lets us make one: whatever else listens on this machine does not matter there.

use std::process::Command;
use std::time::Duration;

use motegate_tests::peer::repository;
use motegate_tests::process::Process;
use motegate_tests::readme::{Block, blocks};

/// A block may build what it runs.
const BUILD: Duration = Duration::from_secs(1_200);

#[test]
fn every_block_does_what_it_says() {
    let readme = read("README.md");
    let blocks = blocks(&readme);
    let place = Place::new();
    let mut server: Option<Process> = None;
    let mut listeners: Vec<Process> = Vec::new();
    let mut output: Vec<String> = Vec::new();
    let mut run = 0;
    for block in &blocks {
        eprintln!("README.md:{}: {}", block.line, block.language); // shown only when the test fails
        match block.language.as_str() {
            "sh serve" => {
                listeners.clear();
                if let Some(old) = server.take() {
                    old.signal("TERM");
                    old.finish();
                }
                server = Some(serve(&place, block));
            }
            "sh listen" => listeners.push(listen(&place, block)),
            "sh tests" => assert_eq!(block.text, "./integration-tests/run\n"),
            "sh" => output = place.shell(&block.text).patient(BUILD).succeed(),
            "text" => assert_eq!(output, lines(block), "README.md:{}", block.line),
            "text like" => contains_in_order(&output, block),
            "text heard" => {
                for listener in &mut listeners {
                    for line in lines(block) {
                        listener.wait_for(&format!("line {line:?}"), |got| got.trim() == line);
                    }
                }
            }
            other => match other.strip_prefix("yaml ") {
                Some(file) => {
                    assert!(read(file).contains(&block.text), "README.md:{}", block.line);
                }
                None => panic!("README.md:{}: what is a block of {other:?}?", block.line),
            },
        }
        run += usize::from(block.language.starts_with("sh"));
    }
    assert!(run >= 8, "only {run} shell blocks");
}

#[test]
fn there_are_two_commands_to_set_up() {
    let readme = read("README.md");
    let blocks = blocks(&readme);
    assert_eq!(blocks[0].text, "cargo run --release\n");
    let tests: Vec<&Block> = blocks.iter().filter(|block| block.language == "sh tests").collect();
    assert_eq!(tests.len(), 1);
    let checked =
        Command::new("bash").arg("-n").arg(repository().join("integration-tests/run")).status();
    assert!(checked.is_ok_and(|status| status.success()), "the script does not parse");
}

/// The gateway of a block, ready; it has nothing but the block's own lines.
fn serve(place: &Place, block: &Block) -> Process {
    let mut server = place.shell(&format!("exec {}", block.text)).patient(BUILD);
    server.wait_for("ready line", |line| {
        line.starts_with("ready in ") || line.contains(r#""message":"ready""#)
    });
    server
}

/// A listener that has printed the value which is there already, and so is subscribed.
fn listen(place: &Place, block: &Block) -> Process {
    let mut listener = place.shell(&format!("exec {}", block.text));
    listener.wait_for("first value", |line| !line.trim().is_empty());
    listener.rewind();
    listener
}

/// Numbers are whatever they are in this run, and so are the gaps that align them.
fn contains_in_order(output: &[String], block: &Block) {
    let shape = |line: &str| {
        let digit = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',');
        let word = |word: &str| word.split(digit).filter(|part| !part.is_empty()).collect();
        line.split_whitespace().map(word).collect::<Vec<String>>().join(" ")
    };
    let mut rest = output.iter().map(|line| shape(line));
    for line in lines(block) {
        let wanted = shape(&line);
        assert!(
            rest.any(|got| got == wanted),
            "README.md:{}: no {line:?} in, or not in this order:\n{}",
            block.line,
            output.join("\n"),
        );
    }
}

/// Where the lines run.
struct Place {
    /// Holds a network namespace with nothing but loopback; its end is the namespace's.
    holder: Option<Process>,
}

impl Place {
    fn new() -> Place {
        let script = "ip link set lo up && echo up && exec cat";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", "bash", "-c", script]);
        let allowed = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "true"])
            .output()
            .is_ok_and(|output| output.status.success());
        let holder = allowed.then(|| {
            let mut holder = Process::start(command);
            holder.wait_for_text("up");
            holder
        });
        Place { holder }
    }

    fn shell(&self, script: &str) -> Process {
        let lines = ["stdbuf", "-oL", "-eL", "bash", "-euo", "pipefail", "-c", script];
        let mut command = match &self.holder {
            Some(holder) => {
                let mut inside = Command::new("nsenter");
                inside.args(["--preserve-credentials", "--user", "--net", "--target"]);
                inside.arg(holder.id().to_string()).args(lines);
                inside
            }
            None => {
                let mut here = Command::new(lines[0]);
                here.args(&lines[1..]);
                here
            }
        };
        command.current_dir(repository()).env("PYTHONUNBUFFERED", "1");
        Process::start(command)
    }
}

fn lines(block: &Block) -> Vec<String> {
    block.text.lines().map(str::to_owned).collect()
}

fn read(file: &str) -> String {
    let path = repository().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
