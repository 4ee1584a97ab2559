//! Keeps a registry source running.
