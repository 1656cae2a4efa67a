//! `motegate help`: of a command, of the code of a diagnostic, or of a key of the configuration.

use clap::{Args, CommandFactory as _};
use motegate_config::{Code, KeyHelp, help_of_key};
use motegate_message::Reason;

use super::pages::write;
use super::{Cli, Exit, fail};

/// Words of the configuration that take more than a line.
const PAGES: [(&str, &str); 1] = [("durability", DURABILITY)];

const DURABILITY: &str = "\
durability: what an acknowledged message, subscription or session survives.

  power_loss      the default. The machine loses its power, and nothing of what
                  was acknowledged is lost: it is on the disk before a client is
                  told. Costs a flush of the disk, which all share
                  that wait for it.
  process_crash   the gateway crashes or is killed, and nothing is lost: the
                  system has it. If the machine loses its power, what was
                  acknowledged in the last second or so may be lost.
  none            a restart begins with nothing. Clients connect anew, retained
                  values are gone. For tests, and where every value comes again.

What is kept: sessions that outlive their connection, their subscriptions,
queues and wills, messages on their way at QoS 1 and 2, retained messages,
MQTT-SN topic ids and sleep states. The will of a session that ends with its
connection is published when the gateway is stopped, and lost when it is killed.
All lies in `data_dir`, which one gateway has at a time. Where the disk is full
or fails, what would have to be stored is refused until it can be; all else goes
on. `motegate status` shows it. `motegate dev` keeps nothing.
";

/// Explain a command, the code of a diagnostic, or a key of the configuration
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate help run
  motegate help config show
  motegate help E0312
  motegate help coap.block_size
  motegate help durability
  motegate help reasons")]
pub(super) struct Help {
    /// A command, a code such as E0312, a key of the configuration or its last word, or `reasons`
    #[arg(value_name = "TOPIC")]
    topic: Vec<String>,
}

impl Help {
    pub(super) fn run(&self) -> Exit {
        if let [word] = self.topic.as_slice() {
            if let Some(code) = Code::parse(word) {
                return write(page(code.explanation()).as_bytes());
            }
            if word == "reasons" {
                return write(reasons().as_bytes());
            }
            if let Some((_, page)) = PAGES.iter().find(|(name, _)| name == word) {
                return write(page.as_bytes());
            }
            if looks_like_a_code(word) {
                return fail(Exit::Usage, &format!("there is no code {word}"));
            }
        }
        let mut command = Cli::command();
        command.build();
        let mut found = &mut command;
        for word in &self.topic {
            let Some(sub) = found.find_subcommand_mut(word) else { return self.of_key() };
            found = sub;
        }
        write(found.render_long_help().to_string().as_bytes())
    }

    fn of_key(&self) -> Exit {
        let word = self.topic.join(".");
        let keys = help_of_key(&word);
        if keys.is_empty() {
            let text = format!(
                "there is no help for `{word}`: name a command, a code such as E0312, a key of the \
                 configuration such as coap.prefix, or `reasons`"
            );
            return fail(Exit::Usage, &text);
        }
        let shown: Vec<String> = keys.iter().map(shown).collect();
        write(shown.join("\n").as_bytes())
    }
}

/// A key, what can stand there, what holds without it, and what it is for.
fn shown(key: &KeyHelp) -> String {
    let mut out = format!("{}: {}", key.path, key.kind.to_lowercase());
    match (key.default.as_str(), key.required) {
        ("", true) => out.push_str("; must be there"),
        ("", false) => {}
        (default, _) => out.push_str(&format!("; default {}", default.trim_matches('`'))),
    }
    for text in [&key.text, &listed(&key.keys)] {
        let mut column = 0;
        for word in text.split_whitespace() {
            let width = word.chars().count() + 1;
            let fits = column > 0 && column + width <= 80;
            column = if fits { column + width } else { width + 1 };
            out.push_str(if fits { " " } else { "\n  " });
            out.push_str(word);
        }
    }
    out.push('\n');
    out
}

fn listed(keys: &[String]) -> String {
    if keys.is_empty() { String::new() } else { format!("Keys: {}.", keys.join(", ")) }
}

/// The one list of why something was refused, closed or dropped, as the log and `motegate status`
/// name it.
fn reasons() -> String {
    let mut out = String::from(
        "reasons: why something was refused, closed or dropped, in the log and in\n\
         `motegate status`. Where a bound of `limits` acted the log names it as `limit`.\n\n",
    );
    for reason in Reason::ALL {
        out.push_str(&format!("  {}\n      {}\n", reason.as_str(), reason.meaning()));
    }
    out
}

fn looks_like_a_code(word: &str) -> bool {
    let digits = word.strip_prefix(['E', 'W', 'e', 'w']);
    digits.is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
}

/// Markdown for a terminal: the title bare, examples indented under what they are.
fn page(markdown: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for line in markdown.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            inside = !inside;
            if inside {
                let mut words = fence.split(' ').skip(1);
                let which = words.next().unwrap_or_default();
                let file = words.next().map(|file| format!(", {file}")).unwrap_or_default();
                out.push_str(&format!("{which}{file}:\n"));
            }
            continue;
        }
        let line = line.strip_prefix("# ").unwrap_or(line);
        let indent = if inside { "    " } else { "" };
        out.push_str(format!("{indent}{line}").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_explained() {
        let all: Vec<String> = help_of_key("block_size").iter().map(shown).collect();
        let expected = "coap.block_size: a whole number; 16 to 1024; default 1024\n  \
            Largest payload of one message to a client: what is longer leaves in blocks of\n  \
            the largest size within it (16, 32, 64 … 1024), and requests are asked to come\n  \
            in such blocks.\n";
        assert_eq!(all, [expected]);
        assert_eq!(help_of_key("listeners.bind").len(), 1);
        assert_eq!(help_of_key("listeners[].bind"), help_of_key("listeners.bind"));
        assert!(help_of_key("").is_empty() && help_of_key("ize").is_empty());
        assert!(shown(&help_of_key("coap")[0]).contains("Keys: prefix, "));
    }

    #[test]
    fn a_page_is_the_explanation_without_its_marks() {
        let text = page(
            "# E1: a\n\nText.\n\n```yaml wrong\na: b\n```\n```yaml right conf.d/x.yaml\nc:\n  d\n```\n",
        );
        let expected =
            "E1: a\n\nText.\n\nwrong:\n    a: b\nright, conf.d/x.yaml:\n    c:\n      d\n";
        assert_eq!(text, expected);
        assert!(looks_like_a_code("e9999") && !looks_like_a_code("e") && !looks_like_a_code("run"));
    }
}
