//! [`Link`]: an MQTT connection that never blocks.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::sim::mqtt_wire::{self as wire, Connect, Packet};

/// A socket and what of it is not read or written yet.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    pub(crate) v5: bool,
    input: Vec<u8>,
    pub(crate) output: Vec<u8>,
}

impl Link {
    /// Connects, and has the CONNECT ready to be flushed.
    pub(crate) fn open(
        gateway: SocketAddr,
        v5: bool,
        id: &str,
        clean: bool,
    ) -> std::io::Result<Link> {
        let expiry = if clean { 0 } else { 600 };
        Link::open_with(gateway, &Connect { v5, id, clean, expiry, ..Connect::default() })
    }

    /// The same with any CONNECT.
    pub(crate) fn open_with(gateway: SocketAddr, connect: &Connect<'_>) -> std::io::Result<Link> {
        let stream = TcpStream::connect(gateway)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let output = wire::connect(connect);
        Ok(Link { stream, v5: connect.v5, input: Vec::new(), output })
    }

    /// Every packet that has come, and why the connection is over, if it is.
    pub(crate) fn read(&mut self) -> (Vec<Packet>, Option<String>) {
        let mut buffer = [0; 16 * 1024];
        let mut over = None;
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => over = Some("the gateway closed".into()),
                Ok(length) => {
                    self.input.extend_from_slice(&buffer[..length]);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => over = Some(error.to_string()),
            }
            break;
        }
        let mut packets = Vec::new();
        loop {
            match wire::decode(self.v5, &mut self.input) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => return (packets, over),
                Err(error) => return (packets, Some(format!("nonsense: {error}"))),
            }
        }
    }

    /// Writes what can be written.
    pub(crate) fn flush(&mut self) -> Result<(), String> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(length) => drop(self.output.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }
}
