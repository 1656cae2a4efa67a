//! rumqttc as a peer of the matrix: commands on standard input, events on standard output, a JSON
//! object a line.
//!
//! The language is that of `src/matrix/peer.rs`. rumqttc speaks 3.1.1 ([`v4`]) and 5.0 ([`v5`]). A
//! client is an event loop on one task; it connects again by itself only if the command says so.
//! What rumqttc cannot be made to say (3.1, codes and properties of DISCONNECT) fails.

mod tell;
mod v4;
mod v5;

use std::collections::HashMap;
use std::io::BufRead;

use rumqttc::{TlsConfiguration, Transport};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::tell::{tell, text};

/// Requests that wait for the event loop; the most that a test has under way, and more.
const REQUESTS: usize = 10_000;

/// Largest packet, in bytes: rumqttc takes 10 KiB if it is not told.
const MOST: u32 = 1 << 20;

/// One connection, or the will to have one.
struct Client {
    handle: Handle,
    task: JoinHandle<()>,
}

enum Handle {
    V4(rumqttc::AsyncClient),
    V5(rumqttc::v5::AsyncClient),
}

fn main() {
    let provider = rustls::crypto::ring::default_provider();
    provider.install_default().expect("nobody installed another before");
    let (sender, mut commands) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime can be made");
    tell("", "ready", json!({}));
    runtime.block_on(async {
        let mut clients = HashMap::new();
        while let Some(line) = commands.recv().await {
            let command: Value = serde_json::from_str(&line).expect("the test writes JSON");
            let name = text(&command, "client").to_owned();
            if let Err(error) = carry_out(&mut clients, &name, &command).await {
                tell(&name, "failed", json!({ "text": error }));
            }
        }
    });
}

async fn carry_out(
    clients: &mut HashMap<String, Client>,
    name: &str,
    command: &Value,
) -> Result<(), String> {
    let what = text(command, "do");
    if what == "connect" {
        let (handle, task) = match text(command, "version") {
            "3.1.1" => v4::connect(name, command),
            "5" => v5::connect(name, command),
            other => return Err(format!("rumqttc does not speak {other}")),
        };
        clients.insert(name.to_owned(), Client { handle, task });
        return Ok(());
    }
    let client = clients.get(name).ok_or("no such client")?;
    if what == "kill" {
        client.task.abort();
        // Its socket is closed when the task is gone.
        while !client.task.is_finished() {
            tokio::task::yield_now().await;
        }
        tell(name, "closed", json!({ "code": 0 }));
        return Ok(());
    }
    match &client.handle {
        Handle::V4(handle) => v4::request(handle, what, command).await,
        Handle::V5(handle) => v5::request(handle, what, command).await,
    }
}

/// Address, port and transport as rumqttc wants them.
fn transport(command: &Value) -> (String, u16, Transport) {
    let transport = &command["transport"];
    let host = text(transport, "host");
    let port = transport["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(1);
    let tls = || {
        let ca = std::fs::read(text(transport, "ca")).expect("the test wrote the certificate");
        TlsConfiguration::Simple { ca, alpn: None, client_auth: None }
    };
    match text(transport, "kind") {
        "tls" => (host.to_owned(), port, Transport::Tls(tls())),
        // A WebSocket's address is a URL.
        "ws" => (format!("ws://{host}:{port}/mqtt"), port, Transport::Ws),
        "wss" => (format!("wss://{host}:{port}/mqtt"), port, Transport::Wss(tls())),
        "unix" => (text(transport, "path").to_owned(), port, Transport::Unix),
        _ => (host.to_owned(), port, Transport::Tcp),
    }
}
