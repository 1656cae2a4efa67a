//! `motegate reload`: a running gateway reads its configuration again.

use std::collections::{HashMap, HashSet};

use clap::Args;

use super::Exit;
use super::message::Output;
use super::running::{Running, count, help, plain, print, print_json, table};
use crate::control::api::reload::{Reloaded, Touched};

/// Clients that are named for a change; the rest is counted.
const MAX_NAMED: usize = 5;

/// Have a running gateway read its configuration again
///
/// Rules, limits and listeners change, nobody is disconnected who need not be, no message is lost. A configuration with a mistake changes nothing: its mistakes are shown and the exit code is 3. So it is with tests that fail: 7.
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
fn touches(told: &Reloaded) -> String {
    let clients = count(touched(told), "client");
    match changes(told).len() {
        0 => "no client is touched".into(),
        1 => format!("1 change touches {clients}"),
        changes => format!("{changes} changes touch {clients}"),
    }
}

/// How many clients are touched, however often. Those without an identity share a name, and differ
/// in their addresses.
pub(super) fn touched(told: &Reloaded) -> u64 {
    let mut clients: Vec<(&str, &str, Option<&str>)> = told
        .touched
        .iter()
        .map(|t| (t.protocol.as_str(), t.client.as_str(), t.peer.as_deref()))
        .collect();
    clients.sort_unstable();
    clients.dedup();
    clients.len() as u64
}

/// Each change once, with everybody whom it touches.
pub(super) fn changes(told: &Reloaded) -> Vec<(&str, Vec<&Touched>)> {
    let mut places = HashMap::new();
    let mut changes: Vec<(&str, Vec<&Touched>)> = Vec::new();
    for touched in &told.touched {
        let place = *places.entry(touched.change.as_str()).or_insert(changes.len());
        match changes.get_mut(place) {
            Some((_, clients)) => clients.push(touched),
            None => changes.push((&touched.change, vec![touched])),
        }
    }
    changes
}

/// The names that several of the touched have, each from another address.
fn shared(told: &Reloaded) -> HashSet<(&str, &str)> {
    let mut first: HashMap<(&str, &str), Option<&str>> = HashMap::new();
    let mut shared = HashSet::new();
    for Touched { protocol, client, peer, .. } in &told.touched {
        let (name, peer) = ((protocol.as_str(), client.as_str()), peer.as_deref());
        if *first.entry(name).or_insert(peer) != peer {
            shared.insert(name);
        }
    }
    shared
}

/// A line for each change: what clients see, what becomes of listeners, keys that count later.
pub(super) fn lines(told: &Reloaded) -> String {
    let shared = shared(told);
    let name = |touched: &&Touched| match &touched.peer {
        Some(peer) if shared.contains(&(touched.protocol.as_str(), touched.client.as_str())) => {
            format!("{} ({peer})", touched.client)
        }
        _ => touched.client.clone(),
    };
    let rows = changes(told).into_iter().map(|(change, clients)| {
        let mut names = clients.iter().take(MAX_NAMED).map(name).collect::<Vec<_>>().join(", ");
        if clients.len() > MAX_NAMED {
            names.push_str(&format!(" and {} more", clients.len() - MAX_NAMED));
        }
        vec![format!("  {}", plain(&names)), plain(change)]
    });
    let mut text = table(&rows.collect::<Vec<_>>());
    for change in &told.listeners {
        text.push_str(&format!("  {}\n", plain(change)));
    }
    for key in &told.at_next_start {
        text.push_str(&format!("  {key} counts from the next start\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_line_for_all_whom_it_touches() {
        let touched = |client: &str, change: &str| Touched {
            protocol: "mqtt-sn".into(),
            client: client.into(),
            peer: None,
            change: change.into(),
        };
        let told = Reloaded {
            dry_run: true,
            summary: "config ok: 2 rules, 1 listener.".into(),
            touched: vec![
                touched("env-3", "id 10: a → b"),
                touched("env-3", "id 11: c → d"),
                touched("env-9", "id 10: a → b"),
            ],
            listeners: vec!["listener lan is called site now".into()],
            at_next_start: vec!["log".into()],
        };
        assert_eq!(
            text(&told),
            "config ok: 2 rules, 1 listener.   If reloaded now: 2 changes touch 2 clients\n  \
             env-3, env-9  id 10: a → b\n  \
             env-3         id 11: c → d\n  \
             listener lan is called site now\n  \
             log counts from the next start\n"
        );
        let many = (0..7).map(|n| touched(&format!("c{n}"), "x")).collect();
        let told =
            Reloaded { touched: many, listeners: Vec::new(), at_next_start: Vec::new(), ..told };
        assert_eq!(lines(&told), "  c0, c1, c2, c3, c4 and 2 more  x\n");
        let from = |peer: &str, change: &str| Touched {
            peer: Some(peer.into()),
            ..touched("anon-127.0.0.1", change)
        };
        let all = [("127.0.0.1:1", "x"), ("127.0.0.1:2", "x"), ("127.0.0.1:1", "y")];
        let touched = all.map(|(peer, change)| from(peer, change)).to_vec();
        let told = Reloaded { touched, ..told };
        assert!(text(&told).contains("2 changes touch 2 clients"));
        assert_eq!(
            lines(&told),
            "  anon-127.0.0.1 (127.0.0.1:1), anon-127.0.0.1 (127.0.0.1:2)  x\n  \
             anon-127.0.0.1 (127.0.0.1:1)                                y\n"
        );
    }
}
