//! Motegate: the YAML configuration file.
