//! `motegate reload`: a running gateway reads its configuration again.

use clap::Args;

use super::Exit;
use super::message::Output;
use super::running::{Running, count, help, plain, print, print_json, table};
use crate::control::api::reload::{Reloaded, Touched};

/// Have a running gateway read its configuration again
///
/// Rules, limits and listeners change, nobody is disconnected who need not be, no message is lost. A configuration with a mistake changes nothing: its mistakes are shown and the exit code is 3.
#[derive(Debug, Args)]
#[command(after_help = help("\
  motegate reload --dry-run              what would change, and for whom
  motegate reload
  kill -HUP PID                          the same, without an answer"))]
pub(super) struct Reload {
    #[command(flatten)]
    gateway: Running,
    /// Change nothing, only show what would change
    #[arg(long)]
    dry_run: bool,
}

impl Reload {
    pub(super) fn run(self) -> Exit {
        let dry_run = if self.dry_run { "true" } else { "false" };
        self.gateway.ask(async |connection| {
            let told: Reloaded = connection.post("/reload", &[("dry_run", dry_run)]).await?;
            match self.gateway.output {
                Output::Text => print(&text(&told)),
                output => print_json(&told, output),
            }
            Ok(())
        })
    }
}

fn text(told: &Reloaded) -> String {
    let (verb, rest) =
        if told.dry_run { ("config ok", "If reloaded now: ") } else { ("reloaded", "") };
    let summary = told.summary.trim_end_matches('.');
    let summary = summary.strip_prefix("config ok: ").unwrap_or(summary);
    format!("{verb}: {summary}.   {rest}{}\n{}", touches(told), lines(told))
}

/// `2 changes touch 3 clients`.
pub(super) fn touches(told: &Reloaded) -> String {
    let mut clients: Vec<(&str, &str)> =
        told.touched.iter().map(|t| (t.protocol.as_str(), t.client.as_str())).collect();
    clients.sort_unstable();
    clients.dedup();
    let changes = told.touched.len() as u64;
    match changes {
        0 => "no client is touched".into(),
        1 => format!("1 change touches {}", count(clients.len() as u64, "client")),
        _ => format!("{changes} changes touch {}", count(clients.len() as u64, "client")),
    }
}

/// Client and change under each other; keys that count later.
pub(super) fn lines(told: &Reloaded) -> String {
    let rows = told
        .touched
        .iter()
        .map(|Touched { client, change, .. }| vec![format!("  {}", plain(client)), plain(change)]);
    let mut text = table(&rows.collect::<Vec<_>>());
    for key in &told.at_next_start {
        text.push_str(&format!("  {key} counts from the next start\n"));
    }
    text
}
