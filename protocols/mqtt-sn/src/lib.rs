//! Motegate: MQTT-SN 1.2, a no_std wire half and the gateway endpoint.
