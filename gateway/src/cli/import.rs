//! `motegate import`: another broker's configuration as a motegate.yaml.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use motegate_config::import::{Dialect, Imported, RemarkKind, Source, import};
use motegate_config::{Config, Layers};

use super::{Exit, fail, refuse};

/// Most bytes of a file that are read; the import refuses fewer.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Make a motegate.yaml of another broker's configuration
///
/// The result passes `motegate check`, by itself; a `conf.d` beside it is read with it, and the last
/// line says if the two do not fit. What is not as it was there (lossy, without
/// counterpart, or with a place in a later version) is listed on stderr with file and line,
/// and stands in the YAML as a comment `# import: …` at its place. Passwords are not copied.
/// Where clients were kept out by means that cannot be carried over yet, nobody may connect.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate import --from mosquitto /etc/mosquitto/mosquitto.conf \\
      /etc/mosquitto/conf.d/*.conf -o motegate.yaml
  motegate import --from paho gateway.conf predefinedTopic.conf clients.conf
  motegate import --from emqx emqx.conf -o motegate.yaml --force
  motegate import --from nanomq nanomq.conf 2>remarks.txt >motegate.yaml

Exit codes: 0 ok, 1 the output cannot be written or is there already, 2 usage,
3 a file cannot be read or is not what it should be.")]
pub(super) struct Import {
    /// Whose configuration it is
    #[arg(long, value_enum, value_name = "BROKER")]
    from: From,
    /// Its files, read as one; those that a file includes are not followed
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Where to write [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write even if the output is there already
    #[arg(long, requires = "output")]
    force: bool,
    /// Do not list on stderr what is not as it was
    #[arg(short, long)]
    quiet: bool,
}

/// The names of [`Dialect`]s.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum From {
    Mosquitto,
    Emqx,
    Paho,
    Nanomq,
}

impl Import {
    pub(super) fn run(self) -> Exit {
        // Said before any work: the answer would be the same after it.
        if let Some(output) = self.output.as_ref().filter(|path| path.exists() && !self.force) {
            return fail(Exit::Failed, &exists(output));
        }
        let mut texts = Vec::new();
        for file in &self.files {
            match read(file) {
                Ok(text) => texts.push((file.display().to_string(), text)),
                Err(cause) => return refuse(&format!("motegate: {cause}")),
            }
        }
        let sources: Vec<Source<'_>> =
            texts.iter().map(|(name, text)| Source { name, text }).collect();
        let dialect = match self.from {
            From::Mosquitto => Dialect::Mosquitto,
            From::Emqx => Dialect::Emqx,
            From::Paho => Dialect::Paho,
            From::Nanomq => Dialect::Nanomq,
        };
        let imported = match import(dialect, &sources) {
            Ok(imported) => imported,
            Err(error) => return refuse(&format!("motegate: {error}")),
        };
        if !self.quiet {
            imported.remarks.iter().for_each(|remark| eprintln!("{remark}"));
        }
        let written = match &self.output {
            Some(path) => write(path, &imported.yaml, self.force),
            None => io::stdout().write_all(imported.yaml.as_bytes()).map_err(|e| e.to_string()),
        };
        if let Err(cause) = written {
            return fail(Exit::Failed, &cause);
        }
        if !self.quiet {
            eprintln!("{}", self.summary(&imported));
        }
        Exit::Ok
    }

    /// `motegate.yaml: config ok: …; 5 remarks: 2 changed, 3 later`
    fn summary(&self, imported: &Imported) -> String {
        let output =
            self.output.as_ref().map_or("stdout".into(), |path| path.display().to_string());
        // It was parsed before it was given out; what stands beside the file was not.
        let verdict = match Config::parse("motegate.yaml", &imported.yaml) {
            Ok(resolved) => self.together().unwrap_or_else(|| resolved.summary()),
            Err(findings) => findings.to_string(),
        };
        let kinds =
            [RemarkKind::Changed, RemarkKind::Later, RemarkKind::Unsupported, RemarkKind::Unknown];
        let counts: Vec<String> = kinds
            .into_iter()
            .map(|kind| (kind, imported.remarks.iter().filter(|r| r.kind == kind).count()))
            .filter(|(_, count)| *count > 0)
            .map(|(kind, count)| format!("{count} {}", kind.as_str()))
            .collect();
        let remarks = match counts.as_slice() {
            [] => "all of it was carried over".to_owned(),
            counts => format!("not as it was: {}", counts.join(", ")),
        };
        format!("{output}: {verdict}; {remarks}")
    }
}

impl Import {
    /// What the file is together with a `conf.d` beside it, if that is not good.
    fn together(&self) -> Option<String> {
        let file = self.output.as_ref()?;
        let folder = file.parent().unwrap_or(Path::new("")).join("conf.d");
        let fault = Layers::new().file(file).load().err()?;
        let faults = fault.diagnostics.len();
        let (faults, s) = (faults, if faults == 1 { "" } else { "s" });
        let (file, folder) = (file.display(), folder.display());
        Some(format!(
            "good by itself, but with {folder} beside it `motegate check {file}` finds {faults} \
             mistake{s}"
        ))
    }
}

/// A file's text.
fn read(path: &Path) -> Result<String, String> {
    let name = path.display();
    let wrong = |e: io::Error| format!("{name} cannot be read: {e}");
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(wrong)?;
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(wrong)?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(good).filter(|b| **b == b'\n').count() + 1;
        format!("{name}:{line}: this is not UTF-8 text\n  fix: save it as UTF-8")
    })
}

fn exists(path: &Path) -> String {
    format!("{} is there already; --force overwrites it", path.display())
}

/// Writes a file whole or not at all.
fn write(path: &Path, text: &str, force: bool) -> Result<(), String> {
    let wrong = |e: io::Error| match e.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => format!("{} cannot be written: {e}", path.display()),
    };
    if !force {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(wrong)?;
        return file.write_all(text.as_bytes()).map_err(|error| {
            let _ = fs::remove_file(path);
            wrong(error)
        });
    }
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".new-{}", std::process::id()));
    let new = PathBuf::from(new);
    fs::write(&new, text).and_then(|()| fs::rename(&new, path)).map_err(|error| {
        let _ = fs::remove_file(&new);
        wrong(error)
    })
}
