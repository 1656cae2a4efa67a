//! The Paho MQTT-SN gateway: `gateway.conf`, `predefinedTopic.conf`, `clients.conf`.
//!
//! Each file is known by its content. As that gateway reads them: the first of two equal keys
//! holds; in a list of topics all white space is skipped, `*` is every client, and the first line
//! of a topic and the first line of an id hold. A client's own ids come before those of all.

mod clients;
mod gateway;
mod topics;

use super::draft::{Draft, Spot};
use super::{ImportError, Source};

use clients::Clients;
use gateway::Settings;
use topics::Topics;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Settings,
    Topics,
    Clients,
    /// Only comments.
    Nothing,
}

/// A line that says something.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    spot: Spot<'a>,
    text: &'a str,
}

fn lines(source: Source<'_>) -> impl Iterator<Item = Line<'_>> {
    let lines = source.text.lines().zip(1..);
    lines.filter_map(move |(text, line)| {
        let said = !text.starts_with('#') && !text.trim().is_empty();
        said.then_some(Line { spot: Spot { source, line }, text })
    })
}

pub(crate) fn read(sources: &[Source<'_>]) -> Result<Draft, ImportError> {
    let mut draft = Draft::default();
    let (mut settings, mut topics) = (Settings::default(), Topics::default());
    let mut clients = Clients::default();
    let mut nothing = true;
    for source in sources {
        match content(*source)? {
            Content::Settings => settings.read(*source, &mut draft),
            Content::Topics => topics.read(*source, &mut draft),
            Content::Clients => clients.read(*source, &mut draft),
            Content::Nothing => continue,
        }
        nothing = false;
    }
    if let (Some(source), true) = (sources.first(), nothing) {
        let fix = "give gateway.conf, predefinedTopic.conf or clients.conf";
        return Err(ImportError::new(*source, 1, "the file says nothing", fix));
    }
    let spot = sources.first().map(|source| Spot { source: *source, line: 1 });
    settings.write(&clients, spot, &mut draft);
    topics.write(&settings, &clients, &mut draft);
    clients.write(&settings, &mut draft);
    Ok(draft)
}

fn content(source: Source<'_>) -> Result<Content, ImportError> {
    let Some(first) = lines(source).next() else { return Ok(Content::Nothing) };
    let fields: Vec<&str> = first.text.split(',').map(str::trim).collect();
    match fields.as_slice() {
        [one] if one.contains('=') => Ok(Content::Settings),
        [one, ..] if one.contains('=') && one.starts_with(|c: char| c.is_ascii_uppercase()) => {
            Ok(Content::Settings)
        }
        [_, _, id] if id.starts_with(|c: char| c.is_ascii_digit()) => Ok(Content::Topics),
        [_, _, ..] => Ok(Content::Clients),
        _ => {
            let text = "this is no file of the Paho MQTT-SN gateway";
            let fix = "it reads `Key=value`, `client,topic,id` and `client,address:port` lines";
            Err(ImportError::new(source, first.spot.line, text, fix))
        }
    }
}
