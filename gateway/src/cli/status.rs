//! `motegate status`: how a running gateway does.

use clap::Args;

use super::Exit;
use super::message::Output;
use super::running::{Running, count, help, plain, print, print_json, span, table};
use crate::control::api::model::{Limit, Registration, Status as Told, Store};

/// Reasons that nobody has to look at: somebody wanted it so.
const ORDINARY: [&str; 4] = ["client_disconnect", "config_reload", "session_expired", "shutdown"];

/// Show how a running gateway does: clients, drops, limits
///
/// Listeners, clients by protocol and state, why things were refused, closed or dropped, and
/// every limit that is in use or has acted.
#[derive(Debug, Args)]
#[command(after_help = help("\
  motegate status
  motegate status -c motegate.yaml -o json
  motegate status --limits"))]
pub(super) struct Status {
    #[command(flatten)]
    gateway: Running,
    /// Show every limit
    #[arg(long, help_heading = "Output")]
    limits: bool,
}

impl Status {
    pub(super) fn run(self) -> Exit {
        self.gateway.ask(async |connection| {
            let told: Told = connection.get("/status", &[]).await?;
            match self.gateway.output {
                Output::Text => print(&text(&told, self.limits)),
                output => print_json(&told, output),
            }
            Ok(())
        })
    }
}

fn text(told: &Told, all_limits: bool) -> String {
    let Told { version, name, pid, uptime_ms, .. } = told;
    let mut text = format!("motegate {version}, {name}, process {pid}, up {}\n", span(*uptime_ms));
    let listeners = told.listeners.iter().map(|listener| {
        vec![format!("  {}", listener.protocol), listener.address.clone(), listener.name.clone()]
    });
    text.push_str(&table(&listeners.collect::<Vec<_>>()));
    if let Some(last) = told.last_reload.as_ref().filter(|last| !last.successful) {
        text.push_str(&format!(
            "THE LAST RELOAD FAILED: {}\n",
            plain(last.text.lines().next().unwrap_or_default())
        ));
    }
    let connections = &told.connections;
    let rows = [
        ("clients", clients(told)),
        ("sessions", format!("{}, {}", told.sessions, count(told.subscriptions, "subscription"))),
        (
            "connections",
            format!(
                "{} open, {} accepted, {} refused",
                connections.open, connections.accepted, connections.refused
            ),
        ),
        (
            "messages",
            format!(
                "{} retained ({}), {} queued",
                told.retained.messages,
                count(told.retained.bytes, "byte"),
                count(told.queued_bytes, "byte")
            ),
        ),
    ];
    let mut rows: Vec<Vec<String>> =
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    rows.extend(told.store.as_ref().map_or(Vec::new(), store));
    rows.extend(told.resource_directory.as_ref().map(registration));
    text.push_str(&table(&rows));
    if let Some(store) = &told.store {
        text.push_str(&troubles(store));
    }
    let (ordinary, others): (Vec<_>, Vec<_>) =
        told.reasons.iter().partition(|(why, _)| ORDINARY.contains(&why.as_str()));
    for (head, reasons) in
        [("refused, closed or dropped:", others), ("ended in good order:", ordinary)]
    {
        if !reasons.is_empty() {
            let rows = reasons.iter().map(|(why, n)| vec![format!("  {why}"), n.to_string()]);
            text.push_str(&format!("{head}\n{}", table(&rows.collect::<Vec<_>>())));
        }
    }
    let shown: Vec<&Limit> =
        told.limits.iter().filter(|limit| all_limits || is_of_interest(limit)).collect();
    if !shown.is_empty() {
        text.push_str("limits:\n");
        let rows: Vec<Vec<String>> = shown.into_iter().map(limit).collect();
        text.push_str(&table(&rows));
    }
    text
}

/// `registered  4 links as gw-7 at coap://rd/reg/1/, base coap://192.0.2.7`.
fn registration(told: &Registration) -> Vec<String> {
    let endpoint = plain(&told.endpoint);
    let value = match (told.state.as_str(), &told.location, &told.base) {
        ("registered", Some(location), Some(base)) => {
            let links = count(told.links, "link");
            format!("{links} as {endpoint} at {}, base {}", plain(location), plain(base))
        }
        ("failing", ..) => {
            let why = told.last_failure.as_deref().unwrap_or_default();
            format!("NOT as {endpoint} at {}: {}", plain(&told.uri), plain(why))
        }
        _ => format!("not yet as {endpoint} at {}", plain(&told.uri)),
    };
    vec!["registered".to_owned(), value]
}

/// What is on disk.
fn store(store: &Store) -> Vec<Vec<String>> {
    let syncs = match (store.sync_p50_us, store.sync_p99_us) {
        (Some(half), Some(most)) => {
            format!(", a sync takes {} ms, 99 % below {} ms", millis(half), millis(most))
        }
        _ => String::new(),
    };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    vec![
        row("durability", format!("{}, in {}", store.durability, plain(&store.data_dir))),
        row(
            "disk",
            format!(
                "{} bytes{}",
                store.disk_bytes,
                store.free_bytes.map_or(String::new(), |free| format!(", {free} free")),
            ),
        ),
        row(
            "stored",
            format!(
                "{} in {}, {}{syncs}",
                count(store.batches, "batch").replace("batchs", "batches"),
                count(store.groups, "commit"),
                count(store.records, "record"),
            ),
        ),
    ]
}

/// What somebody has to look at.
fn troubles(store: &Store) -> String {
    let mut text = String::new();
    if store.failing {
        text.push_str(
            "THE STORE CANNOT BE WRITTEN: its log says why; nothing acknowledged is lost\n",
        );
    }
    if store.lost_batches > 0 {
        text.push_str(&format!(
            "LOST: {} acknowledged batches were missing at the start\n",
            store.lost_batches
        ));
    }
    if store.damaged_records > 0 {
        text.push_str(&format!(
            "DAMAGED: {} records could not be read: `motegate store check` says which\n",
            store.damaged_records
        ));
    }
    text
}

/// Microseconds as milliseconds.
fn millis(micros: u32) -> String {
    format!("{:.1}", f64::from(micros) / 1000.0)
}

/// `mqtt 1 active; mqtt-sn 3 asleep, 1 lost`.
fn clients(told: &Told) -> String {
    let mut text = String::new();
    let mut last = "";
    for found in &told.clients {
        if last == found.protocol {
            text.push_str(", ");
        } else {
            text.push_str(if last.is_empty() { "" } else { "; " });
            text.push_str(&format!("{} ", found.protocol));
            last = &found.protocol;
        }
        text.push_str(&format!("{} {}", found.count, found.state));
    }
    if text.is_empty() { "none".into() } else { text }
}

fn is_of_interest(limit: &Limit) -> bool {
    limit.used.is_some_and(|used| used > 0) || limit.acted.is_some_and(|acted| acted > 0)
}

fn limit(limit: &Limit) -> Vec<String> {
    let max = match limit.unit.as_str() {
        "bytes" => count(limit.max, "byte"),
        // Timeouts are never zero; what is bounded only where somebody says so is.
        "ms" | "per_second" if limit.max == 0 => "no bound".into(),
        "ms" => span(limit.max),
        "per_second" => format!("{}/s", limit.max),
        _ => limit.max.to_string(),
    };
    let used = match limit.used {
        Some(used) => format!("{used} of {max}"),
        None => max,
    };
    let acted = match limit.acted {
        Some(0) | None => String::new(),
        Some(acted) => format!("acted {}", count(acted, "time")),
    };
    vec![format!("  {}", limit.key), used, acted]
}
