//! Packets as text: hexadecimal with quoted strings, and the few that every test needs.

/// Bytes from hexadecimal, spaces ignored; text between quotes stands for itself.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, part) in text.split('"').enumerate() {
        if i % 2 == 1 {
            out.extend_from_slice(part.as_bytes());
            continue;
        }
        let digits: Vec<u8> = part.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        for pair in digits.chunks(2) {
            let pair = std::str::from_utf8(pair).unwrap();
            out.push(u8::from_str_radix(pair, 16).unwrap());
        }
    }
    out
}

/// The reverse, printable runs in quotes: for failures that can be read.
pub(crate) fn show(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

fn var_int(mut value: usize) -> String {
    let mut out = String::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        out += &format!("{:02x}", if value > 0 { byte | 0x80 } else { byte });
        if value == 0 {
            return out;
        }
    }
}

/// A packet from its first byte and its body in hexadecimal.
pub(crate) fn packet(first: u8, body: &str) -> String {
    format!("{first:02x} {} {}", var_int(hex(body).len()), body)
}

/// A string with its length.
pub(crate) fn field(text: &str) -> String {
    format!("{:04x} \"{text}\" ", text.len())
}

/// A CONNECT without a will.
pub(crate) fn connect_bytes(
    level: u8,
    flags: u8,
    keep_alive: u16,
    properties: &str,
    id: &str,
) -> String {
    let name = if level & 0x7f == 3 { "MQIsdp" } else { "MQTT" };
    let properties = if level == 5 {
        format!("{} {properties}", var_int(hex(properties).len()))
    } else {
        String::new()
    };
    let body =
        format!("{}{level:02x}{flags:02x}{keep_alive:04x}{properties} {}", field(name), field(id));
    packet(0x10, &body)
}

/// A CONNECT with a will at QoS 0.
pub(crate) fn connect_with_will(level: u8, properties: &str, id: &str, topic: &str) -> String {
    let (properties, will_properties) = if level == 5 {
        (format!("{} {properties}", var_int(hex(properties).len())), "00")
    } else {
        (String::new(), "")
    };
    let body = format!(
        "{}{level:02x} 06 003c {properties} {} {will_properties} {} {}",
        field("MQTT"),
        field(id),
        field(topic),
        field("gone")
    );
    packet(0x10, &body)
}
