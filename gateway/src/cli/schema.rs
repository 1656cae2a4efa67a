//! `motegate schema`: every key, for editors and for people.

use clap::Args;

use super::Exit;
use super::pages::write;

/// Print the JSON Schema of the configuration, for editors
///
/// Editors with a YAML language server complete and check with it once the file's first line is
/// `# yaml-language-server: $schema=motegate.schema.json`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate schema > motegate.schema.json
  motegate schema --reference | less")]
pub(super) struct Schema {
    /// Print the reference page instead, as Markdown
    #[arg(long)]
    reference: bool,
}

impl Schema {
    pub(super) fn run(&self) -> Exit {
        let text = if self.reference {
            motegate_config::reference()
        } else {
            format!("{:#}\n", motegate_config::Config::schema())
        };
        write(text.as_bytes())
    }
}
