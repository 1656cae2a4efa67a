//! Motegate: CoAP (RFC 7252, RFC 7641), message layer and endpoint.
