//! HTTP/2 frame by frame: what no well-behaved client sends, and suites of cases that others wrote.
//!
//! `frame` and `hpack` are the bytes, `line` carries them, `client` keeps to the rules, `attacker` does not; `rogue` is a
//! service of the same kind, and `goodbyes` are those that end at the wrong moment; `siege` says
//! what an attack may cost, `attacks` are those known from the field, `honest` are clients that only look like some of
//! them, and `malformed` what must never get through to an HTTP/1 service.
//! `suite` runs `h2spec` and `httpwg`, which others wrote, against the sidecars of `suited`.

mod attacker;
mod attacks;
pub(crate) mod client;
pub(crate) mod frame;
mod goodbyes;
mod h2spec;
mod honest;
pub(crate) mod hpack;
mod httpwg;
pub(crate) mod line;
mod malformed;
mod rogue;
mod service;
mod siege;
mod small_messages; // many frames, for a reason
mod suite;
mod suited;
