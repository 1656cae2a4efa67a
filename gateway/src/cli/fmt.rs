//! `motegate fmt`: one layout for all configuration files.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use motegate_config::{FormatError, format, read_file};

use super::pages::write;
use super::{Exit, fail};
use crate::setup::DEFAULT_FILE;

/// Lay out configuration files
///
/// Indentation, spaces, quotes and blank lines; comments stay and keys keep their order. A file whose meaning
/// would change is left as it is. Files are written in place; `-` is stdin to stdout.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate fmt
  motegate fmt --check conf.d/*.yaml     in CI: exit code 1 if one would change
  motegate fmt - < in.yaml > out.yaml")]
pub(super) struct Fmt {
    /// Files
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    files: Vec<PathBuf>,
    /// Name the files that would change, and change none
    #[arg(long)]
    check: bool,
}

impl Fmt {
    pub(super) fn run(self) -> Exit {
        let mut worst = Exit::Ok;
        for file in &self.files {
            let exit = if file.as_os_str() == "-" { self.stdin() } else { self.file(file) };
            worst = if (exit as u8) > (worst as u8) { exit } else { worst };
        }
        worst
    }

    fn stdin(&self) -> Exit {
        let mut text = String::new();
        if let Err(error) = std::io::stdin().lock().read_to_string(&mut text) {
            return fail(Exit::Failed, &format!("stdin: {error}"));
        }
        match format("stdin", &text) {
            Ok(out) if self.check && out != text => fail(Exit::Failed, &"stdin would change"),
            Ok(_) if self.check => Exit::Ok,
            Ok(out) => write(out.as_bytes()),
            Err(error) => refuse("stdin", &error),
        }
    }

    fn file(&self, path: &Path) -> Exit {
        let name = path.display().to_string();
        let text = match read_file(path) {
            Ok(text) => text,
            Err(error) => return fail(Exit::Config, &format!("{name}: {error}")),
        };
        match format(&name, &text) {
            Ok(out) if out == text => Exit::Ok,
            Ok(_) if self.check => {
                println!("{name}");
                Exit::Failed
            }
            Ok(out) => match replace(path, &out) {
                Ok(()) => {
                    eprintln!("motegate: {name} is laid out anew");
                    Exit::Ok
                }
                Err(error) => fail(Exit::Failed, &format!("{name}: {error}")),
            },
            Err(error) => refuse(&name, &error),
        }
    }
}

fn refuse(name: &str, error: &FormatError) -> Exit {
    match error {
        FormatError::Findings(findings) => super::refuse(findings),
        FormatError::Unsafe { cause } => fail(Exit::Config, &format!("{name}: {cause}")),
    }
}

/// Writes beside the file and renames, so that a full disk leaves the old one.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    // Through a link to the file itself.
    let path = path.canonicalize()?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let written = std::fs::write(&new, text)
        .and_then(|()| std::fs::set_permissions(&new, std::fs::metadata(&path)?.permissions()))
        .and_then(|()| std::fs::rename(&new, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}
