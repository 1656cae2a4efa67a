//! `motegate clients`: who a running gateway knows.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Exit;
use super::message::Output;
use super::running::{Running, count, help, plain, print, print_json, span, table};
use crate::control::api::model::{Client, ClientDetail, ClientDetails, Clients as Page};
use crate::control::client::{AskError, Connection, encoded};

/// Most clients of one page.
const PAGE: usize = 500;

/// Show the clients of a running gateway
#[derive(Debug, Args)]
pub(super) struct Clients {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(List),
    Show(Show),
}

/// List clients: connected, asleep, observing, or with a session that is kept
#[derive(Debug, Args)]
#[command(after_help = help("\
  motegate clients list
  motegate clients list --state asleep
  motegate clients list --protocol coap -o ndjson"))]
struct List {
    #[command(flatten)]
    gateway: Running,
    /// Only those that speak it: mqtt, mqtt-sn or coap
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Option<String>,
    /// Only those that are active, asleep, awake, lost, observing or offline
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Most clients to list
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// Show one client, its subscriptions and its queue
#[derive(Debug, Args)]
#[command(after_help = help("\
  motegate clients show env-3
  motegate clients show anon-10.0.0.7 -o json"))]
struct Show {
    /// Client id
    #[arg(value_name = "ID")]
    client_id: String,
    #[command(flatten)]
    gateway: Running,
}

impl Clients {
    pub(super) fn run(self) -> Exit {
        match self.what {
            What::List(list) => list.gateway.ask(async |connection| list.run(connection).await),
            What::Show(show) => show.gateway.ask(async |connection| show.run(connection).await),
        }
    }
}

impl List {
    /// Pages are printed as they come, but for the one document of `-o json`.
    async fn run(&self, connection: &mut Connection) -> Result<(), AskError> {
        let mut left = usize::try_from(self.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let mut cursor: Option<String> = None;
        let mut all = Vec::new();
        let mut found = 0;
        loop {
            let limit = left.min(PAGE).to_string();
            let mut asked = vec![("limit", limit.as_str())];
            asked.extend(self.protocol.as_deref().map(|protocol| ("protocol", protocol)));
            asked.extend(self.state.as_deref().map(|state| ("state", state)));
            asked.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page: Page = connection.get("/clients", &asked).await?;
            left -= page.clients.len().min(left);
            found += page.clients.len();
            match self.gateway.output {
                Output::Text => print(&lines(&page.clients)),
                Output::Ndjson => {
                    page.clients.iter().for_each(|client| print_json(client, Output::Ndjson));
                }
                Output::Json => all.extend(page.clients),
            }
            cursor = page.next.filter(|_| left > 0);
            if cursor.is_none() {
                break;
            }
        }
        if self.gateway.output == Output::Json {
            print_json(&json!({ "clients": all }), Output::Json);
        }
        if found == 0 && self.gateway.output == Output::Text {
            let chosen = self.protocol.is_some() || self.state.is_some();
            let nobody = if chosen { "no such client is there" } else { "no client is connected" };
            eprintln!("motegate: {nobody}");
        }
        Ok(())
    }
}

impl Show {
    async fn run(&self, connection: &mut Connection) -> Result<(), AskError> {
        let path = format!("/clients/{}", encoded(&self.client_id));
        let told: ClientDetails = connection.get(&path, &[]).await?;
        match self.gateway.output {
            Output::Text => {
                let texts: Vec<String> = told.clients.iter().map(detail).collect();
                print(&texts.join("\n"));
            }
            Output::Ndjson => told.clients.iter().for_each(|c| print_json(c, Output::Ndjson)),
            Output::Json => print_json(&told, Output::Json),
        }
        Ok(())
    }
}

fn lines(clients: &[Client]) -> String {
    let row = |client: &Client| {
        vec![
            plain(&client.client_id),
            speaks(client),
            state(client),
            client.peer.clone().unwrap_or_default(),
            count(client.subscriptions, "sub"),
            match client.queued_messages {
                0 => String::new(),
                queued => format!("{queued} queued"),
            },
        ]
    };
    table(&clients.iter().map(row).collect::<Vec<_>>())
}

fn speaks(client: &Client) -> String {
    match &client.version {
        Some(version) => format!("{} {version}", client.protocol),
        None => client.protocol.clone(),
    }
}

/// `asleep, wakes in 42 s`.
fn state(client: &Client) -> String {
    match (client.state.as_str(), client.wakes_in_ms, client.ends_in_ms) {
        ("asleep", Some(0), _) => "asleep, overdue".into(),
        ("asleep", Some(millis), _) => format!("asleep, wakes in {}", span(millis)),
        (state, _, Some(millis)) => format!("{state}, kept for {}", span(millis)),
        (state, ..) => state.to_owned(),
    }
}

fn detail(told: &ClientDetail) -> String {
    let client = &told.client;
    let mut rows = vec![
        ("client", plain(&client.client_id)),
        ("realm", client.realm.clone()),
        ("protocol", speaks(client)),
        ("state", state(client)),
    ];
    rows.extend(client.listener.clone().map(|listener| ("listener", listener)));
    rows.extend(client.peer.clone().map(|peer| ("peer", peer)));
    rows.extend(client.lost_in_ms.map(|millis| ("lost in", span(millis))));
    let kept = if client.kept { "outlives its connection" } else { "ends with its connection" };
    rows.push(("session", kept.into()));
    rows.push((
        "queue",
        format!(
            "{} of {} messages, {} of {} bytes, {} in flight",
            client.queued_messages,
            told.max_queued_messages,
            client.queued_bytes,
            told.max_queued_bytes,
            client.in_flight
        ),
    ));
    rows.push(("will", if told.has_will { "yes" } else { "no" }.into()));
    let subscribed = told.subscribed.iter();
    rows.extend(subscribed.map(|s| ("subscribed", format!("{}  qos {}", plain(&s.filter), s.qos))));
    let more = client.subscriptions.saturating_sub(told.subscribed.len() as u64);
    if !told.subscribed.is_empty() && more > 0 {
        rows.push(("", format!("and {more} more")));
    }
    let observed = told.observed.iter();
    rows.extend(
        observed.map(|o| ("observes", format!("{}  topic {}", plain(&o.path), plain(&o.topic)))),
    );
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    table(&rows.collect::<Vec<_>>())
}
