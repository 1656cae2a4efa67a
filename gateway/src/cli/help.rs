//! `motegate help`: of a command, or of the code of a diagnostic.

use clap::{Args, CommandFactory as _};
use motegate_config::Code;

use super::pages::write;
use super::{Cli, Exit, fail};

/// Explain a command, or the code of a diagnostic
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate help run
  motegate help config show
  motegate help E0312")]
pub(super) struct Help {
    /// A command, or a code such as E0312
    #[arg(value_name = "TOPIC")]
    topic: Vec<String>,
}

impl Help {
    pub(super) fn run(&self) -> Exit {
        if let [word] = self.topic.as_slice() {
            if let Some(code) = Code::parse(word) {
                return write(page(code.explanation()).as_bytes());
            }
            if looks_like_a_code(word) {
                return fail(Exit::Usage, &format!("there is no code {word}"));
            }
        }
        let mut command = Cli::command();
        command.build();
        let mut command = &mut command;
        for word in &self.topic {
            let Some(sub) = command.find_subcommand_mut(word) else {
                let text = format!("there is no help for `{word}`: name a command, or a code");
                return fail(Exit::Usage, &text);
            };
            command = sub;
        }
        write(command.render_long_help().to_string().as_bytes())
    }
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
