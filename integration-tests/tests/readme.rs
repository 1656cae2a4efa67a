//! README.md and `config/examples` keep their word: every shell block is run, in order, and what it
//! promises to print is compared.
//!
//! The word behind `sh` says how: `serve` starts the gateway (and stops the one before), `listen`
//! stays in the background, `fails` ends with an error, `tests` is the command that runs this test,
//! anything else runs to its end. A `text` block is the output of the block before (of one that
//! fails, its errors); of `text like` the lines are in it, in order, but for their numbers; `text heard`
//! is what each listener prints. A `yaml FILE` block is a part of that file. In a YAML file it is
//! the comments that begin with `$`.
//!
//! All blocks of a text are typed in one terminal: the folder and the PATH of one are those of the
//! next. The lines use the usual ports, so they run in a network namespace of their own where the
//! system lets us make one: whatever else listens on this machine does not matter there.

#![allow(clippy::disallowed_types, reason = "the tests of this file take turns")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use motegate_tests::gateway::{binary, scratch};
use motegate_tests::peer::repository;
use motegate_tests::process::Process;
use motegate_tests::readme::{Block, blocks, typed};

/// A block may build what it runs.
const BUILD: Duration = Duration::from_secs(1_200);

#[test]
fn every_block_does_what_it_says() {
    let before = listing();
    let mut walk = Walk::new("README.md", &repository());
    let ran = walk.all(&blocks(&read("README.md")));
    assert!(ran >= 20, "only {ran} shell blocks");
    drop(walk);
    assert_eq!(listing(), before, "the README leaves something behind");
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

#[test]
fn the_examples_do_what_their_readme_says() {
    let folder = Examples::copied();
    let readme = read("config/examples/README.md");
    let mut walk = Walk::installed("config/examples/README.md", &folder.0);
    let ran = walk.all(&blocks(&readme));
    assert!(ran >= 3, "only {ran} shell blocks");
    for name in folder.names() {
        assert!(readme.contains(&format!("({name})")), "{name} is not in the table");
    }
}

#[test]
fn every_example_passes_check_and_does_what_its_comments_say() {
    let folder = Examples::copied();
    let mut silent = Vec::new();
    for name in folder.names() {
        let mut walk = Walk::installed(&format!("config/examples/{name}"), &folder.0);
        let printed = walk.place.shell(&format!("motegate check {name}")).succeed();
        assert!(printed.concat().starts_with("config ok: "), "{name}: {printed:?}");
        if walk.all(&typed(&read(&format!("config/examples/{name}")))) == 0 {
            silent.push(name);
        }
    }
    // The reference's own example, as it is printed there.
    assert_eq!(silent, ["plant.yaml"], "these do not say how they are tried");
}

/// One text, walked from its first block to its last.
struct Walk {
    name: String,
    place: Place,
    server: Option<Process>,
    listeners: Vec<Process>,
    output: Vec<String>,
}

impl Walk {
    fn new(name: &str, folder: &Path) -> Walk {
        let place = Place::new(folder);
        Walk { name: name.into(), place, server: None, listeners: Vec::new(), output: Vec::new() }
    }

    /// In a terminal that finds `motegate`.
    fn installed(name: &str, folder: &Path) -> Walk {
        let walk = Walk::new(name, folder);
        let built = binary();
        let programs = built.parent().expect("a program lies in a folder").display();
        walk.place.shell(&format!("PATH={programs}:$PATH")).succeed();
        walk
    }

    /// Does what the blocks say; how many were run.
    fn all(&mut self, blocks: &[Block]) -> usize {
        for block in blocks {
            eprintln!("{}: {}", self.at(block), block.language); // shown only when the test fails
            self.one(block);
        }
        blocks.iter().filter(|block| block.language.starts_with("sh")).count()
    }

    fn one(&mut self, block: &Block) {
        match block.language.as_str() {
            "sh serve" => self.serve(block),
            "sh listen" => self.listen(block),
            "sh tests" => assert_eq!(block.text, "./integration-tests/run\n"),
            "sh" => self.output = self.place.shell(&block.text).succeed(),
            "sh fails" => {
                let finished = self.place.shell(&block.text).finish();
                assert!(!finished.status.success(), "{} does not fail", self.at(block));
                self.output = finished.stderr;
            }
            "text" => assert_eq!(self.output, lines(block), "{}", self.at(block)),
            "text like" => self.contains_in_order(block),
            "text heard" => {
                for listener in &mut self.listeners {
                    for line in lines(block) {
                        listener.wait_for(&format!("line {line:?}"), |got| got.trim() == line);
                    }
                }
            }
            other => match other.strip_prefix("yaml ") {
                Some(file) => assert!(read(file).contains(&block.text), "{}", self.at(block)),
                None => panic!("{}: what is a block of {other:?}?", self.at(block)),
            },
        }
    }

    /// The gateway of a block, ready; it has nothing but the block's own lines.
    fn serve(&mut self, block: &Block) {
        self.listeners.clear();
        if let Some(old) = self.server.take() {
            old.signal("TERM");
            old.finish();
        }
        let mut server = self.place.shell(&format!("exec {}", block.text));
        server.wait_for("ready line", |line| {
            line.starts_with("ready in ") || line.contains(r#""message":"ready""#)
        });
        self.server = Some(server);
    }

    /// A listener that has printed the value which is there already, and so is subscribed.
    fn listen(&mut self, block: &Block) {
        let mut listener = self.place.shell(&format!("exec {}", block.text));
        listener.wait_for("first value", |line| !line.trim().is_empty());
        listener.rewind();
        self.listeners.push(listener);
    }

    /// Numbers are whatever they are in this run, and so are the gaps that align them.
    fn contains_in_order(&self, block: &Block) {
        let shape = |line: &str| {
            let digit = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',');
            let word = |word: &str| word.split(digit).filter(|part| !part.is_empty()).collect();
            line.split_whitespace().map(word).collect::<Vec<String>>().join(" ")
        };
        let mut rest = self.output.iter().map(|line| shape(line));
        for line in lines(block) {
            let wanted = shape(&line);
            assert!(
                rest.any(|got| got == wanted),
                "{}: no {line:?} in, or not in this order:\n{}",
                self.at(block),
                self.output.join("\n"),
            );
        }
    }

    fn at(&self, block: &Block) -> String {
        format!("{}:{}", self.name, block.line)
    }
}

/// Where the lines run: one terminal.
struct Place {
    /// Holds a network namespace with nothing but loopback; its end is the namespace's.
    holder: Option<Process>,
    /// For temporary files; goes with the value.
    scratch: PathBuf,
    /// Two gateways would want the same ports where there is no namespace.
    _alone: MutexGuard<'static, ()>,
}

impl Place {
    fn new(folder: &Path) -> Place {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
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
        let place = Place { holder, scratch: scratch("readme"), _alone: alone };
        let terminal = format!("cd {folder:?}\n");
        std::fs::write(place.terminal(), terminal).expect("the scratch folder takes a file");
        place
    }

    /// Remembers folder and PATH from one block to the next.
    fn terminal(&self) -> PathBuf {
        self.scratch.join("terminal")
    }

    fn shell(&self, script: &str) -> Process {
        let terminal = self.terminal();
        let terminal = terminal.display();
        let script = format!(
            "source {terminal}\n\
             trap 'printf \"cd %q\\nPATH=%q\\nOLDPWD=%q\\n\" \
             \"$PWD\" \"$PATH\" \"${{OLDPWD-}}\" >{terminal}' EXIT\n{script}"
        );
        let lines = ["stdbuf", "-oL", "-eL", "bash", "-euo", "pipefail", "-c", &script];
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
        command.env("PYTHONUNBUFFERED", "1").env("TMPDIR", &self.scratch);
        for ours in ["MOTEGATE_LOG", "MOTEGATE_CONTROL", "XDG_RUNTIME_DIR"] {
            command.env_remove(ours);
        }
        let process = Process::start(command);
        if script.contains("cargo ") { process.patient(BUILD) } else { process }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

/// A copy of `config/examples`, in which a gateway may leave what it leaves.
struct Examples(PathBuf);

impl Examples {
    fn copied() -> Examples {
        let copy = scratch("examples");
        let from = repository().join("config/examples/.");
        let copied = Command::new("cp").arg("-r").args([&from, &copy]).status();
        assert!(copied.is_ok_and(|status| status.success()), "cp {from:?}");
        Examples(copy)
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(&self.0).expect("the copy can be read");
        let names =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(".yaml")).collect()
    }
}

impl Drop for Examples {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn lines(block: &Block) -> Vec<String> {
    block.text.lines().map(str::to_owned).collect()
}

fn read(file: &str) -> String {
    let path = repository().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What lies where the lines of a text may leave something.
fn listing() -> BTreeSet<PathBuf> {
    let folders = [repository(), repository().join("config/examples")];
    let entries = folders.iter().flat_map(|folder| {
        std::fs::read_dir(folder).expect("a folder of the repository can be read")
    });
    entries.map(|entry| entry.expect("an entry can be read").path()).collect()
}
