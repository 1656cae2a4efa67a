//! Motegate: the protocol-free publish/subscribe core.
