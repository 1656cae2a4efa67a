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

/// Asks the questions, each until its answer can be used.
fn answers(input: &mut impl BufRead, output: &mut impl std::io::Write) -> std::io::Result<Starter> {
    let mut starter = Starter::default();
    let mut asking = Asking { input, output };
    let network = "Listen on the network, not on this machine only? (y/n)";
    starter.network = asking.ask(network, "n", yes_or_no)?;
    starter.protocols = asking.ask("Which protocols?", "mqtt mqttsn coap", protocols)?;
    starter.anonymous =
        asking.ask("Let clients in that give no identity? (y/n)", "y", yes_or_no)?;
    let name = starter.name.clone();
    starter.name = asking.ask("Name of the gateway?", &name, |answer| {
        passes(&Starter { name: answer.to_owned(), ..Starter::default() }).map(|()| answer.into())
    })?;
    let data_dir = starter.data_dir.clone();
    starter.data_dir = asking.ask("Where to keep state?", &data_dir, |answer| {
        let tried = Starter { data_dir: answer.to_owned(), ..Starter::default() };
        passes(&tried).map(|()| answer.into())
    })?;
    Ok(starter)
}

struct Asking<'a, R, W> {
    input: &'a mut R,
    output: &'a mut W,
}

impl<R: BufRead, W: std::io::Write> Asking<'_, R, W> {
    /// Asks again, with the reason, until `read` takes the answer.
    fn ask<T>(
        &mut self,
        question: &str,
        default: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> std::io::Result<T> {
        loop {
            write!(self.output, "{question} [{default}] ")?;
            self.output.flush()?;
            let mut line = String::new();
            if self.input.read_line(&mut line)? == 0 {
                let text = "the answers ended early; `motegate init --yes` asks nothing";
                return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, text));
            }
            let line = line.trim();
            match read(if line.is_empty() { default } else { line }) {
                Ok(answer) => return Ok(answer),
                Err(why) => writeln!(self.output, "  {why}")?,
            }
        }
    }
}

fn yes_or_no(answer: &str) -> Result<bool, String> {
    match answer.to_lowercase().as_str() {
        "y" | "yes" => Ok(true),
        "n" | "no" => Ok(false),
        _ => Err(format!("`{answer}` is neither y nor n")),
    }
}

fn protocols(answer: &str) -> Result<Vec<String>, String> {
    const KNOWN: [&str; 3] = ["mqtt", "mqttsn", "coap"];
    let asked: Vec<&str> = answer.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    if let Some(other) = asked.iter().find(|word| !KNOWN.contains(word)) {
        return Err(format!("`{other}` is no protocol; there are mqtt, mqttsn and coap"));
    }
    let chosen = KNOWN.into_iter().filter(|word| asked.contains(word));
    let chosen: Vec<String> = chosen.map(str::to_owned).collect();
    if chosen.is_empty() {
        Err("name at least one of mqtt, mqttsn and coap".into())
    } else {
        Ok(chosen)
    }
}

/// Whether `motegate check` would take the file.
fn passes(starter: &Starter) -> Result<(), String> {
    let read = motegate_config::Config::parse(DEFAULT_FILE, &starter.text());
    let why = |findings: motegate_config::Findings| {
        findings
            .list()
            .into_iter()
            .next()
            .map_or_else(String::new, |first| format!("{}: {}", first.text, first.fix))
    };
    read.map(|_| ()).map_err(why)
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
        assert!(answers(&mut "y\n".as_bytes(), &mut Vec::new()).is_err());
    }

    #[test]
    fn an_answer_that_cannot_be_used_is_asked_for_again() {
        let typed = "bla\nYes\nmqttt\n,\nmqtt\nnope\nno\na/b\nplant\n${env:NOTHING_SET}\n./data\n";
        let mut said = Vec::new();
        let starter = answers(&mut typed.as_bytes(), &mut said).unwrap();
        let expected = Starter {
            network: true,
            anonymous: false,
            protocols: vec!["mqtt".into()],
            name: "plant".into(),
            data_dir: "./data".into(),
        };
        assert_eq!(starter, expected);
        let said = String::from_utf8(said).unwrap();
        for why in [
            "`bla` is neither",
            "`mqttt` is no protocol",
            "at least one",
            "`nope` is",
            "gateway name",
            "is not set",
        ] {
            assert_eq!(said.matches(why).count(), 1, "{why} in {said}");
        }
    }
}
