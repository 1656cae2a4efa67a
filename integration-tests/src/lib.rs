//! Motegate: simulation, fuzzing, interoperability with independent peers, benchmarks.
