//! Independent clients against the real gateway over real sockets, one behaviour a module.
//!
//! Which, and what they showed: mosquitto with its three clients, paho-mqtt in two generations,
//! MQTT.js, rumqttc, libcoap's coap-client, server and
//! resource directory, aiocoap with its own, node-coap, mqtt-sn-12 (PyPI), and
//! Wireshark as the reader of what was sent. `commands_*` are our own clients at other servers, the rest other
//! clients at our gateway.

mod aiocoap;
mod between_protocols;
mod coap_emqx;
mod coap_matrix;
mod coap_methods;
mod coap_observe;
mod coap_pubsub;
mod coap_secure;
mod commands_coap;
mod commands_coap_blocks;
mod commands_coap_connected;
mod commands_coap_observe;
mod commands_mqtt_killed;
mod commands_mqtt_properties;
mod commands_mqtt_qos;
mod commands_mqtt_reconnect;
mod commands_mqtt_retain;
mod commands_mqtt_session;
mod commands_sn;
mod matrix;
mod mosquitto_bridge;
mod mosquitto_qos;
mod mosquitto_retain;
mod mosquitto_session;
mod mosquitto_sys;
mod mosquitto_will;
mod paho;
mod resource_directory;
mod sn_pub_sub;
mod sn_sleep;
mod wireshark;
mod wireshark_coap;
mod wireshark_sn;
