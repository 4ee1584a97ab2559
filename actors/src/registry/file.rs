//! The file registry.
