//! Motegate: which CoAP path or MQTT-SN topic id is which MQTT topic.
