//! Motegate: a multi-protocol IoT gateway (MQTT-SN, CoAP, MQTT) with an embedded broker.

fn main() -> std::process::ExitCode {
    motegate::cli::main()
}
