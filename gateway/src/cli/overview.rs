//! The commands as `motegate --help` lists them: in groups, in the order in which one meets them.
//!
//! clap has no groups of commands, so the list is a template, written from clap's own definitions.

use clap::Subcommand as _;
use clap::builder::StyledStr;
use clap::builder::styling::Styles;

use super::Command;

/// Every command, in the order of [`Command`].
const GROUPS: [(&str, &[&str]); 8] = [
    ("Serve", &["dev", "run"]),
    (
        "Configure",
        &["init", "check", "test", "explain", "fmt", "schema", "config", "import", "passwd"],
    ),
    ("Ask a running gateway", &["reload", "status", "clients", "topics"]),
    ("Look after what is kept", &["backup", "restore", "store"]),
    ("Speak MQTT and MQTT-SN", &["pub", "sub", "rr"]),
    ("Speak CoAP", &["get", "put", "post", "delete", "observe", "discover", "ping"]),
    ("Try and measure", &["demo", "bench"]),
    ("Read on", &["completions", "man", "help", "version"]),
];

/// Columns of a line.
const WIDTH: usize = 80;
/// Columns of a command's name with what stands around it.
const NAME: usize = 15;

/// Of the program's help.
pub(super) fn template() -> StyledStr {
    let commands = Command::augment_subcommands(clap::Command::new("motegate"));
    let styles = Styles::styled();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let mut list = String::new();
    for (group, names) in GROUPS {
        list.push_str(&format!("{header}{group}:{header:#}\n"));
        for name in names {
            let command = commands.find_subcommand(name);
            let about = command.and_then(clap::Command::get_about).map(ToString::to_string);
            let room = NAME - 2;
            list.push_str(&format!("  {literal}{name:<room$}{literal:#}"));
            list.push_str(&hanging(&about.unwrap_or_default()));
        }
        list.push('\n');
    }
    format!(
        "{{before-help}}{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{list}\
         {header}Options:{header:#}\n{{options}}{{after-help}}"
    )
    .into()
}

/// `text` behind a name, broken between words; every line ended.
fn hanging(text: &str) -> String {
    let mut out = String::new();
    let mut column = NAME;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > NAME && column + 1 + length > WIDTH {
            out.push_str(&format!("\n{:NAME$}", ""));
            column = NAME;
        }
        if column > NAME {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_one_group_in_the_order_of_the_definitions() {
        let commands = Command::augment_subcommands(clap::Command::new("motegate"));
        let defined: Vec<&str> = commands.get_subcommands().map(clap::Command::get_name).collect();
        let listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        assert_eq!(listed, defined);
    }

    #[test]
    fn long_texts_go_on_below_their_beginning() {
        let text = "word ".repeat(20);
        let lines = hanging(&text);
        let mut lines = lines.lines();
        let first = lines.next().unwrap();
        assert_eq!(first.len(), 13 * 5 - 1); // 15 columns of name and 64 of text
        assert_eq!(
            lines.next(),
            Some(format!("{:15}{}", "", "word ".repeat(7).trim_end()).as_str())
        );
        assert_eq!(lines.next(), None);
        assert_eq!(hanging("short"), "short\n");
    }
}
