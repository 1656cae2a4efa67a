//! Motegate's integration tests: a real gateway process, real sockets, independent peers.
//!
//! [`gateway`] starts the `motegate` binary on free ports and stops it; [`process`] runs any child
//! under a deadline and waits on its lines, never on time; [`peer`] finds the independent clients
//! and says how to install a missing one; [`wire`] writes MQTT bytes that no client library can be
//! made to write; [`relay`] records the datagrams that pass; [`tcp_relay`] breaks connections
//! and [`tcp_capture`] shows them to Wireshark;
//! [`certificates`] are made for TLS; [`commands`] are our own clients, [`mosquitto`] and [`server`] are the other side for them;
//! [`readme`] cuts README.md into its blocks. The tests themselves are under `tests/`.

pub mod certificates;
pub mod coap_matrix;
pub mod commands;
pub mod durability;
pub mod fuzz;
pub mod gateway;
pub mod hostile;
pub mod kill;
pub mod load;
pub mod matrix;
pub mod mosquitto;
pub mod observers;
pub mod peer;
pub mod process;
pub mod readme;
pub mod relay;
pub mod reload_load;
pub mod server;
pub mod sim;
pub mod sleepers;
pub mod soak;
pub mod stream;
pub mod tcp_capture;
pub mod tcp_relay;
pub mod wire;
