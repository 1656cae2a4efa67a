//! `motegate config`: what the configuration says.

use clap::{Args, Subcommand};
use motegate_config::Show;

use super::layers::From;
use super::pages::write;
use super::test::Format;
use super::{Exit, fail, refuse};

/// Look at the configuration
#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    Show(ShowConfig),
}

/// Print the configuration as one file, secrets masked
///
/// What several files, the environment and `--set` add up to.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate config show
  motegate config show --effective --origin
  motegate config show --effective -o json
  motegate config show -c base.yaml -c site.yaml --origin")]
struct ShowConfig {
    #[command(flatten)]
    from: From,
    /// Every key with the value that holds, defaults too
    #[arg(long)]
    effective: bool,
    /// Where each value comes from, as a comment
    #[arg(long)]
    origin: bool,
    /// Format: text (YAML) or json
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    #[arg(hide_possible_values = true)]
    output: Format,
}

impl Config {
    pub(super) fn run(self) -> Exit {
        let ConfigCommand::Show(show) = self.command;
        show.run().unwrap_or_else(|exit| exit)
    }
}

impl ShowConfig {
    fn run(&self) -> Result<Exit, Exit> {
        let how = Show { effective: self.effective, origin: self.origin };
        if self.output == Format::Json && self.origin {
            return Err(fail(Exit::Usage, &"--origin writes comments, and JSON has none"));
        }
        let layers = self.from.layers_or_stdin()?;
        let text = match self.output {
            Format::Text => layers.show(how),
            Format::Json => layers.show_json(self.effective).map(|shown| format!("{shown:#}\n")),
        };
        Ok(write(text.map_err(|findings| refuse(&findings))?.as_bytes()))
    }
}
