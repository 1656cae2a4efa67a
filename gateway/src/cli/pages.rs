//! `motegate completions` and `motegate man`: from the same definitions as the help.

use std::io::{self, Write as _};

use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Exit, fail};

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate completions bash > ~/.local/share/bash-completion/completions/motegate
  motegate completions zsh > ~/.zfunc/_motegate
  motegate completions fish > ~/.config/fish/completions/motegate.fish")]
pub(super) struct Completions {
    /// bash, zsh, fish, powershell or elvish
    #[arg(value_enum, hide_possible_values = true)]
    shell: Shell,
}

/// Print the man page of motegate, or of one command
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate man | man -l -
  motegate man pub > motegate-pub.1
  motegate man config show | man -l -")]
pub(super) struct Man {
    /// Which
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

impl Completions {
    pub(super) fn run(&self) -> Exit {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "motegate", &mut text);
        write(&text)
    }
}

impl Man {
    pub(super) fn run(&self) -> Exit {
        let mut root = Cli::command().disable_help_subcommand(true);
        root.build();
        let Some(command) = page_of(root, &self.command) else {
            let name = self.command.join(" ");
            return fail(Exit::Usage, &format!("there is no command `{name}`"));
        };
        let mut text = Vec::new();
        match clap_mangen::Man::new(command).render(&mut text) {
            Ok(()) => write(&text),
            Err(error) => fail(Exit::Failed, &error),
        }
    }
}

/// The command under the name that its own page has.
fn page_of(root: Command, names: &[String]) -> Option<Command> {
    let mut command = &root;
    for name in names {
        command = command.find_subcommand(name)?;
    }
    if names.is_empty() {
        return Some(root);
    }
    let whole: &'static str = format!("motegate-{}", names.join("-")).leak(); // once a run
    Some(command.clone().name(whole).version(env!("CARGO_PKG_VERSION")))
}

/// Writes to stdout; a reader that has seen enough is no failure.
pub(super) fn write(text: &[u8]) -> Exit {
    match io::stdout().lock().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(Exit::Failed, &error),
        _ => Exit::Ok,
    }
}
