//! What `mesher demo` shows mesher with. No part of a sidecar.

pub mod hello;
