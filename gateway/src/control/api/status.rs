//! How the gateway does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use motegate_core::Protocol;
use motegate_core::admin::{self, Answer, ClientState, Cursor, Query};

use super::model::{
    Amount, ClientCount, Connections, Datagrams, LastReload, Limit, Listener, Registration, Status,
    Store,
};
use super::{Gateway, Problem, protocol, unexpected};
use crate::control::ask::Shell;
use crate::directory;
use crate::net::causes::Cause;
use crate::store::Stored;

/// How the gateway does: listeners, clients by state, reasons of drops, every limit and its use
#[utoipa::path(
    get, path = "/status", tag = "status",
    responses(
        (status = OK, description = "Now", body = Status),
        (status = SERVICE_UNAVAILABLE, description = "It is stopping, or busy", body = Problem,
            content_type = "application/problem+json")
    )
)]
pub(super) async fn status(State(gateway): State<Gateway>) -> Result<Json<Status>, Problem> {
    let clients = tally(&gateway).await?;
    let reply = gateway.ask(Query::Status).await?;
    let Answer::Status(core) = reply.answer else { return Err(unexpected(reply.answer)) };
    let identity = gateway.identity();
    let standing = identity.standing.borrow().clone();
    let listener = |bind: &crate::setup::Bind| Listener {
        name: bind.name.to_string(),
        protocol: bind.word().into(),
        address: bind.addr.to_string(),
    };
    let (retained_messages, retained_bytes) = core.retained;
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        name: identity.name.to_string(),
        last_reload: standing.last_reload.map(|last| LastReload {
            successful: last.result.is_ok(),
            at_ms: last.at.as_millis(),
            text: last.result.unwrap_or_else(|text| text),
        }),
        pid: std::process::id(),
        started_ms: gateway.0.started.as_millis(),
        uptime_ms: identity.clock.now().as_micros() / 1_000,
        listeners: standing.listeners.iter().map(listener).collect(),
        clients,
        connections: connections(&reply.shell),
        datagrams: datagrams(&reply.shell),
        sessions: core.sessions as u64,
        subscriptions: core.subscriptions as u64,
        retained: Amount { messages: retained_messages as u64, bytes: retained_bytes as u64 },
        queued_bytes: core.queued_bytes,
        store: identity.stored.as_ref().map(store),
        resource_directory: identity.directory.borrow().as_ref().map(registration),
        reasons: core.reasons.iter().map(|(r, n)| (r.as_str().to_owned(), *n)).collect(),
        limits: limits(standing.max_connections, &reply.shell, &core.limits),
    }))
}

fn registration(status: &directory::Status) -> Registration {
    let directory::Status { registered, last_failure, counts, .. } = status;
    Registration {
        uri: status.uri.clone(),
        endpoint: status.endpoint.clone(),
        sector: status.sector.clone(),
        listener: status.listener.clone(),
        state: status.state.as_str().into(),
        since_ms: status.since.as_millis(),
        location: status.location(),
        base: registered.as_ref().map(|registered| registered.base.clone()),
        links: registered.as_ref().map_or(0, |registered| registered.links as u64),
        left_out: status.left_out as u64,
        confirmed_ms: status.confirmed.map(|at| at.as_millis()),
        registrations: counts.registrations,
        updates: counts.updates,
        failures: counts.failures,
        last_failure: last_failure.as_ref().map(|(_, why)| why.clone()),
        last_failure_ms: last_failure.as_ref().map(|(at, _)| at.as_millis()),
    }
}

fn store(stored: &Stored) -> Store {
    let counters = stored.counters();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let times = counters.sync_micros();
    Store {
        durability: stored.sync.as_str().into(),
        data_dir: stored.directory.display().to_string(),
        disk_bytes: stored.disk_bytes(),
        free_bytes: stored.free_bytes(),
        failing: counters.failing.load(Ordering::Relaxed),
        failures: count(&counters.failures),
        applied: count(&counters.applied),
        batches: count(&counters.batches),
        groups: count(&counters.groups),
        records: count(&counters.records),
        bytes: count(&counters.bytes),
        fetches: count(&counters.fetches),
        sync_p50_us: times.map(|(half, _)| half),
        sync_p99_us: times.map(|(_, most)| most),
        lost_batches: count(&counters.lost),
        damaged_records: count(&counters.damaged),
    }
}

/// Counts clients page by page.
async fn tally(gateway: &Gateway) -> Result<Vec<ClientCount>, Problem> {
    let mut counts: BTreeMap<(&str, usize), u64> = BTreeMap::new();
    let mut from = Some(Cursor::default());
    while let Some(at) = from {
        let answer = gateway.ask(Query::Tally { from: at }).await?.answer;
        let Answer::Tally(page) = answer else { return Err(unexpected(answer)) };
        for (spoken, state, count) in page.counts {
            *counts.entry((protocol(spoken), order(state))).or_default() += count;
        }
        from = page.next;
    }
    let count = |((protocol, state), count): ((&str, usize), u64)| ClientCount {
        protocol: protocol.to_owned(),
        state: ClientState::ALL.get(state).map_or("", |state| state.as_str()).to_owned(),
        count,
    };
    Ok(counts.into_iter().map(count).collect())
}

/// Its place in the published list.
fn order(state: ClientState) -> usize {
    ClientState::ALL.iter().position(|known| *known == state).unwrap_or_default()
}

fn connections(shell: &Shell) -> Connections {
    let failed = shell.counters.causes.iter();
    Connections {
        open: shell.connections as u64,
        accepted: shell.counters.accepted,
        refused: shell.counters.refused,
        accept_errors: shell.counters.accept_errors,
        handshakes: shell.counters.handshakes,
        failed: failed.map(|(cause, count)| (cause.word().to_owned(), count)).collect(),
    }
}

fn datagrams(shell: &Shell) -> Datagrams {
    Datagrams {
        truncated: shell.counters.truncated,
        send_errors: shell.counters.send_errors,
        send_dropped: shell.counters.send_dropped,
    }
}

fn limits(max_connections: usize, shell: &Shell, core: &[admin::Limit]) -> Vec<Limit> {
    let own = Limit {
        key: "max_connections".into(),
        unit: admin::Unit::Count.as_str().into(),
        max: max_connections as u64,
        used: Some(shell.connections as u64),
        acted: Some(shell.counters.refused),
    };
    let limit = |limit: &admin::Limit| {
        // Connections that the core does not know yet count with those that it does.
        let (open, acted) = match limit.key {
            "max_half_open" => (shell.half_open as u64, shell.counters.causes.of(Cause::HalfOpen)),
            "connect_timeout" => (0, shell.counters.causes.of(Cause::Timeout)),
            _ => (0, 0),
        };
        Limit {
            key: limit.key.into(),
            unit: limit.unit.as_str().into(),
            max: limit.max,
            used: limit.used.map(|used| used + open),
            acted: limit.acted.map(|count| count + acted),
        }
    };
    std::iter::once(own).chain(core.iter().map(limit)).collect()
}

/// Milliseconds of the interface.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The protocol of this word.
pub(super) fn spoken(word: &str) -> Result<Protocol, Problem> {
    let all = [Protocol::Mqtt, Protocol::MqttSn, Protocol::Coap];
    let found = all.into_iter().find(|known| protocol(*known) == word);
    found.ok_or_else(|| {
        Problem::bad_parameter(format!("protocol `{word}`: write mqtt, mqtt-sn or coap"))
    })
}
