//! Motegate: the gateway as one pure state machine.
