//! A gateway inside another program.

mod common;

use std::net::{Ipv4Addr, TcpListener};

use motegate::{Gateway, Protocol, StartError};

#[test]
fn it_starts_serves_and_gives_its_ports_back() {
    let free = (Ipv4Addr::LOCALHOST, 0).into();
    let builder = Gateway::builder()
        .bind(Protocol::Mqtt, free)
        .bind(Protocol::MqttSn, free)
        .bind(Protocol::Coap, free);
    let gateway = builder.clone().spawn().unwrap();
    assert_eq!(gateway.listeners().len(), 5);
    let mqtt = gateway.address(Protocol::Mqtt).unwrap();
    assert_ne!(mqtt.port(), 0);
    let client = common::connect(mqtt, 4, "inside");

    let second = builder.bind(Protocol::Mqtt, mqtt).spawn();
    let StartError::Bind { bind, .. } = second.unwrap_err() else { panic!("another fault") };
    assert_eq!((bind.protocol, bind.addr.ip()), (Protocol::Mqtt, Some(mqtt)));

    drop(client);
    gateway.stop();
    TcpListener::bind(mqtt).expect("the port is free again");
}

#[test]
fn a_dropped_handle_ends_it() {
    let free = (Ipv4Addr::LOCALHOST, 0).into();
    let gateway = Gateway::builder()
        .bind(Protocol::Mqtt, free)
        .bind(Protocol::MqttSn, free)
        .bind(Protocol::Coap, free)
        .spawn()
        .unwrap();
    let mut client = common::connect(gateway.address(Protocol::Mqtt).unwrap(), 4, "left");
    drop(gateway);
    assert_eq!(common::read_packet(&mut client), None);
}
