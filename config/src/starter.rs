//! [`Starter`]: the first configuration file, which `motegate init` writes.

use crate::show::plain_or_quoted;

/// What is asked before the file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Starter {
    /// Listen on every address of the machine, not on this machine only.
    pub network: bool,
    /// Let clients in that give no identity.
    pub anonymous: bool,
    /// Protocols: `mqtt`, `mqttsn`, `coap`.
    pub protocols: Vec<String>,
    /// `{gateway}` in templates.
    pub name: String,
    /// Where state is kept.
    pub data_dir: String,
}

impl Default for Starter {
    fn default() -> Self {
        Starter {
            network: false,
            anonymous: true,
            protocols: ["mqtt", "mqttsn", "coap"].map(str::to_owned).to_vec(),
            name: "motegate".to_owned(),
            data_dir: "./motegate-data".to_owned(),
        }
    }
}

const RULES: &str = "
mappings:
  coap:
    # PUT coap://HOST/s/kitchen/temp publishes site/kitchen/temp, retained; GET reads it,
    # and observing it subscribes. `{x}` takes one segment, `{x:a|b}` one of these.
    - name: sensors
      path: \"/s/{room}/{kind:temp|hum}\"
      topic: \"site/{room}/{kind}\"
";

const TESTS: &str = "
# Run by `motegate check`.
tests:
  - name: PUT becomes the retained state of a room
    coap: {listener: coap, client: node-7, method: PUT, path: /s/kitchen/temp, text: \"21.5\"}
    expect: {code: \"2.01\", topic: site/kitchen/temp, retain: true, text: \"21.5\"}
";

const IDS: &str = "    # Topic ids that devices know without asking. `{client}` is the name that they connect with.
    topic_ids:
      all:
        1: \"dev/{client}/up\"
        2: \"dev/{client}/cmd\"
";

impl Starter {
    /// The file. It passes `check`; where nobody may connect, with a warning.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# yaml-language-server: $schema=motegate.schema.json\n\
             # The line above is for editors; `motegate schema > motegate.schema.json` writes the file.\n\
             # `motegate check` checks this one, `motegate run` serves it, and\n\
             # `motegate config show --effective` lists every key with what holds.\n\
             version: 1\n",
        );
        text.push_str(&format!(
            "gateway:\n  name: {}\n  sn_gateway_id: 1 # unique among the MQTT-SN gateways that devices can hear\n\
             data_dir: {}\n",
            plain_or_quoted(&self.name, false),
            plain_or_quoted(&self.data_dir, false),
        ));
        self.listeners(&mut text);
        let has = |protocol: &str| self.protocols.iter().any(|p| p == protocol);
        if has("coap") {
            text.push_str(RULES);
        }
        if has("mqttsn") {
            text.push_str(if has("coap") { "" } else { "\nmappings:\n" });
            text.push_str("  mqttsn:\n");
            text.push_str(IDS);
        }
        if has("coap") {
            text.push_str(TESTS);
        }
        text
    }

    fn listeners(&self, text: &mut String) {
        let host = if self.network { "[::]" } else { "127.0.0.1" };
        text.push('\n');
        text.push_str(if self.network {
            "# Every address of this machine, IPv4 too.\n"
        } else {
            "# This machine only; \"[::]:PORT\" is every address.\n"
        });
        if self.anonymous {
            text.push_str("# `anonymous: true` lets clients in that give no identity.\n");
        }
        text.push_str(if self.protocols.is_empty() { "listeners: []\n" } else { "listeners:\n" });
        for protocol in &self.protocols {
            // CoAP as `motegate dev` serves it: over TCP, too, for networks that keep UDP out.
            let listeners: &[(&str, &str, u16)] = match protocol.as_str() {
                "mqttsn" => &[("mqttsn", "mqttsn", 1885)],
                "coap" => &[("coap", "coap", 5683), ("coap-tcp", "coap+tcp", 5683)],
                _ => &[("mqtt", "mqtt", 1883)],
            };
            for (name, protocol, port) in listeners {
                text.push_str(&format!(
                    "  - name: {name}\n    protocol: {protocol}\n    bind: \"{host}:{port}\"\n    \
                     anonymous: {}\n",
                    self.anonymous
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn every_answer_gives_a_file_that_passes_and_is_laid_out() {
        let all = ["mqtt", "mqttsn", "coap"];
        for bits in 0..32_usize {
            let chosen = all.iter().enumerate().filter(|(i, _)| bits & (1 << i) != 0);
            let starter = Starter {
                network: bits & 8 != 0,
                anonymous: bits & 16 != 0,
                protocols: chosen.map(|(_, p)| (*p).to_owned()).collect(),
                name: "a: \"b\"".to_owned(),
                data_dir: "C:\\data, really".to_owned(),
            };
            let text = starter.text();
            let resolved =
                Config::parse("motegate.yaml", &text).unwrap_or_else(|e| panic!("{text}\n{e}"));
            let over_tcp = usize::from(starter.protocols.iter().any(|p| p == "coap"));
            assert_eq!(resolved.listeners.len(), starter.protocols.len() + over_tcp);
            let open = starter.anonymous && !starter.protocols.is_empty();
            assert_eq!(resolved.warnings.is_empty(), open, "{text}");
            assert_eq!(resolved.data_dir.to_str(), Some("C:\\data, really"));
            assert_eq!(&*resolved.core.gateway_name, "a: \"b\"");
            assert_eq!(crate::format("f", &text).unwrap(), text);
            assert!(!text.contains("\n# Topic ids"), "a comment stands where its block does");
        }
    }
}
