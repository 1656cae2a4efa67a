//! Motegate: a multi-protocol IoT gateway (MQTT-SN, CoAP, MQTT) with an embedded broker.
