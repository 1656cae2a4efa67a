//! `motegate init`: the first configuration file.

use std::io::{BufRead, IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::Args;
use motegate_config::Starter;

use super::{Exit, fail};
use crate::setup::DEFAULT_FILE;

/// Write a first configuration file, with comments
///
/// Asks five questions on a terminal; Enter takes what is in brackets. What it writes passes
/// `motegate check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate init
  motegate init --yes && motegate check && motegate run")]
pub(super) struct Init {
    /// Where to
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    file: PathBuf,
    /// Ask nothing and take the defaults
    #[arg(short, long)]
    yes: bool,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

impl Init {
    pub(super) fn run(self) -> Exit {
        let name = self.file.display();
        if self.file.exists() && !self.force {
            return fail(Exit::Failed, &format!("{name} is there already; --force writes over it"));
        }
        let ask = !self.yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        let starter = if ask {
            match answers(&mut std::io::stdin().lock(), &mut std::io::stderr().lock()) {
                Ok(starter) => starter,
                Err(error) => return fail(Exit::Failed, &error),
            }
        } else {
            Starter::default()
        };
        // With --force it replaces; without, a file made meanwhile stays.
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).create_new(!self.force);
        let written =
            options.open(&self.file).and_then(|mut f| f.write_all(starter.text().as_bytes()));
        match written {
            Ok(()) => {
                eprintln!("motegate: {name} is written. Next: motegate check, then motegate run");
                Exit::Ok
            }
            Err(error) => fail(Exit::Failed, &format!("{name}: {error}")),
        }
    }
}

/// Asks the questions.
fn answers(input: &mut impl BufRead, output: &mut impl std::io::Write) -> std::io::Result<Starter> {
    let mut starter = Starter::default();
    let mut ask = |question: &str, default: &str| -> std::io::Result<String> {
        write!(output, "{question} [{default}] ")?;
        output.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            let text = "the answers ended early; `motegate init --yes` asks nothing";
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, text));
        }
        let line = line.trim();
        Ok(if line.is_empty() { default.to_owned() } else { line.to_owned() })
    };
    starter.network = is_yes(&ask("Listen on the network, not on this machine only? (y/n)", "n")?);
    let protocols = ask("Which protocols?", "mqtt mqttsn coap")?;
    let known = ["mqtt", "mqttsn", "coap"];
    let asked: Vec<&str> = protocols.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    if let Some(other) = asked.iter().find(|word| !known.contains(word)) {
        let text = format!("{other} is no protocol; there are mqtt, mqttsn and coap");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, text));
    }
    let chosen = known.into_iter().filter(|word| asked.contains(word));
    starter.protocols = chosen.map(str::to_owned).collect();
    starter.anonymous = is_yes(&ask("Let clients in that give no identity? (y/n)", "y")?);
    starter.name = ask("Name of the gateway?", &starter.name)?;
    starter.data_dir = ask("Where to keep state?", &starter.data_dir)?;
    Ok(starter)
}

fn is_yes(answer: &str) -> bool {
    answer.to_lowercase().starts_with('y')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_and_enter_takes_the_default() {
        let mut asked = Vec::new();
        let starter = answers(&mut "y\nmqtt, coap\n\nhall\n\n".as_bytes(), &mut asked).unwrap();
        let expected = Starter {
            network: true,
            protocols: vec!["mqtt".into(), "coap".into()],
            name: "hall".into(),
            ..Starter::default()
        };
        assert_eq!(starter, expected);
        assert_eq!(String::from_utf8(asked).unwrap().matches('?').count(), 5);
        let enter = answers(&mut "\n\n\n\n\n".as_bytes(), &mut Vec::new()).unwrap();
        assert_eq!(enter, Starter::default());
        assert!(answers(&mut "y\nmqttt\n".as_bytes(), &mut Vec::new()).is_err());
        assert!(answers(&mut "y\n".as_bytes(), &mut Vec::new()).is_err());
    }
}
