//! `motegate backup`, `restore` and `store check`: what is kept on disk, of a running gateway and of
//! one that is stopped.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use motegate_config::Layers;

use super::message::Output;
use super::running::{ask_at, count, plain, print, print_json, table};
use super::{Exit, fail, refuse};
use crate::control::api::store::Backup as Written;
use crate::control::socket::in_directory;
use crate::setup::DEFAULT_FILE;
use crate::store::{self, Checked, Contents, Directory, RebuildError, StoreError};

/// Whose store.
#[derive(Debug, Args)]
struct Place {
    /// The data directory of this configuration
    #[arg(short, long = "config", value_name = "FILE", help_heading = "Store")]
    config: Vec<PathBuf>,
    /// This data directory
    #[arg(long, value_name = "DIR", conflicts_with = "config", help_heading = "Store")]
    data_dir: Option<PathBuf>,
}

impl Place {
    fn directory(&self) -> Result<PathBuf, Exit> {
        if let Some(directory) = &self.data_dir {
            return Ok(directory.clone());
        }
        let mut files = self.config.clone();
        if files.is_empty() && Path::new(DEFAULT_FILE).exists() {
            files.push(DEFAULT_FILE.into());
        }
        if files.is_empty() {
            return Ok("./motegate-data".into());
        }
        let layers = Layers::new().files(files).environment(std::env::vars_os());
        Ok(layers.load().map_err(|findings| refuse(&findings))?.data_dir)
    }
}

/// Who has the store.
enum Holder {
    /// A running gateway, at this socket.
    Gateway(PathBuf),
    /// This command, until it drops this.
    Us(Directory),
}

/// Whether a gateway runs in the directory; otherwise it is ours.
fn holder(directory: &Path) -> Result<Holder, Exit> {
    match Directory::take_existing(directory) {
        Ok(taken) => Ok(Holder::Us(taken)),
        Err(StoreError::InUse { .. }) => Ok(Holder::Gateway(in_directory(directory))),
        Err(error) => {
            let exit = fail(Exit::Failed, &error);
            eprintln!("  try: the directory that holds the store, with --data-dir or -c FILE");
            Err(exit)
        }
    }
}

/// Write everything that is kept into one file
///
/// Of a running gateway, which goes on, or of a stopped one. The file is a snapshot of one moment
/// and ends with a checksum; it appears when it is whole. `motegate restore` reads it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate backup /var/backups/motegate-monday
  motegate backup -c site.yaml monday.backup
  motegate backup --data-dir /var/lib/motegate monday.backup")]
pub(super) struct Backup {
    /// The file to write; it must not be there yet
    #[arg(value_name = "FILE")]
    target: PathBuf,
    #[command(flatten)]
    place: Place,
}

impl Backup {
    pub(super) fn run(&self) -> Exit {
        self.write().unwrap_or_else(|exit| exit)
    }

    fn write(&self) -> Result<Exit, Exit> {
        let target = std::path::absolute(&self.target).unwrap_or_else(|_| self.target.clone());
        let contents = match holder(&self.place.directory()?)? {
            Holder::Gateway(socket) => {
                let Some(text) = target.to_str() else {
                    return Err(fail(Exit::Usage, &"the file's name is no text"));
                };
                let ask = ask_at(&socket, async |connection| {
                    connection.be_patient();
                    connection.post::<Written>("/backup", &[("target", text)]).await
                });
                let Written { bytes, records, applied, .. } = ask.map_err(|f| f.said())?;
                Contents { applied, records, bytes }
            }
            Holder::Us(directory) => {
                store::backup_stopped(&directory, &target).map_err(|e| fail(Exit::Failed, &e))?
            }
        };
        print(&format!("{}: {}\n", target.display(), described(contents)));
        Ok(Exit::Ok)
    }
}

fn described(Contents { applied, records, bytes }: Contents) -> String {
    format!("{}, {bytes} bytes, up to batch {applied}", count(records, "record"))
}

/// Make the store of a stopped gateway from a backup
///
/// The backup is verified first. A store that is there already is left alone, or moved aside with
/// --force.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate restore monday.backup
  motegate restore --force -c site.yaml monday.backup")]
pub(super) struct Restore {
    /// What `motegate backup` wrote
    #[arg(value_name = "FILE")]
    source: PathBuf,
    /// Move a store that is there aside
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: Place,
}

impl Restore {
    pub(super) fn run(&self) -> Exit {
        let directory = match self.place.directory() {
            Ok(directory) => directory,
            Err(exit) => return exit,
        };
        match store::restore(&self.source, &directory, self.force) {
            Ok((contents, old)) => {
                let mut text = format!("{}: {}\n", directory.display(), described(contents));
                moved(&mut text, old.as_deref());
                print(&text);
                Exit::Ok
            }
            Err(error) => {
                let is_running = matches!(error, RebuildError::Store(StoreError::InUse { .. }));
                let exit = fail(Exit::Failed, &error);
                if is_running {
                    eprintln!("  try: stop that gateway, then restore");
                }
                exit
            }
        }
    }
}

fn moved(text: &mut String, old: Option<&Path>) {
    if let Some(old) = old {
        let _ = writeln!(text, "the store that was there is now {}", old.display());
    }
}

/// Look after what is kept on disk
#[derive(Debug, Args)]
pub(super) struct Store {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    Check(Check),
}

impl Store {
    pub(super) fn run(&self) -> Exit {
        let StoreCommand::Check(check) = &self.command;
        check.run()
    }
}

/// Read everything that is kept, count it, and find damage
///
/// Of a running gateway from a snapshot, while it goes on; of a stopped one directly. The exit code
/// is 1 where something is damaged. --repair makes a new store of what can be read, says what is
/// lost, and keeps the old one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate store check
  motegate store check --data-dir /var/lib/motegate -o json
  motegate store check --repair          with the gateway stopped")]
struct Check {
    /// Make a new store of what can be read (with the gateway stopped)
    #[arg(long)]
    repair: bool,
    /// Format: text, json or ndjson
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        hide_possible_values = true,
        help_heading = "Output"
    )]
    output: Output,
    #[command(flatten)]
    place: Place,
}

impl Check {
    fn run(&self) -> Exit {
        self.check().unwrap_or_else(|exit| exit)
    }

    fn check(&self) -> Result<Exit, Exit> {
        let directory = self.place.directory()?;
        let failed = |error| fail(Exit::Failed, &error);
        let checked = match holder(&directory)? {
            Holder::Gateway(_) if self.repair => {
                let text = "a running gateway's store cannot be repaired: stop it first";
                return Err(fail(Exit::Failed, &text));
            }
            Holder::Gateway(socket) => {
                let ask = ask_at(&socket, async |connection| {
                    connection.be_patient();
                    connection.get::<Checked>("/store/check", &[]).await
                });
                ask.map_err(|failure| failure.said())?
            }
            Holder::Us(directory) => {
                let checked = store::check_stopped(&directory).map_err(failed)?;
                if self.repair && !checked.is_sound() {
                    self.tell(&checked);
                    let old = store::repair(&directory).map_err(failed)?;
                    let mut text = "repaired: what is said above is left out\n".to_owned();
                    moved(&mut text, old.as_deref());
                    eprint!("{text}");
                    return Ok(Exit::Ok);
                }
                checked
            }
        };
        self.tell(&checked);
        Ok(if checked.is_sound() { Exit::Ok } else { Exit::Failed })
    }

    fn tell(&self, checked: &Checked) {
        match self.output {
            Output::Text => print(&text(checked)),
            output => print_json(checked, output),
        }
    }
}

fn text(checked: &Checked) -> String {
    let mut text = format!("up to batch {}\n", checked.applied);
    let rows = checked.counts.iter().map(|(kind, n)| vec![format!("  {kind}"), n.to_string()]);
    text.push_str(&table(&rows.collect::<Vec<_>>()));
    for what in &checked.damage {
        let _ = writeln!(text, "DAMAGED: {}", plain(what));
    }
    let more = checked.damaged.saturating_sub(checked.damage.len() as u64);
    for (n, what) in [
        (more, "more damaged places"),
        (checked.entries_without_content, "queued messages have lost their content"),
        (checked.orphaned_contents, "contents belong to no queued message"),
        (checked.wrong_counts, "contents are counted wrong"),
    ] {
        if n > 0 {
            let _ = writeln!(text, "DAMAGED: {n} {what}");
        }
    }
    if checked.is_sound() {
        text.push_str("nothing is damaged\n");
    } else {
        text.push_str("try: a backup (`motegate restore`), or `motegate store check --repair`\n");
    }
    text
}
