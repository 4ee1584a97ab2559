//! TLS: from the keys `ssl.*` and the files that they name to configurations of rustls, and to new ones when a file
//! changes.
//!
//! ```text
//!   keys ── tags ──> settings (one a tag) ──┐
//!   files ─ material ─ pem, private_key ────┼─ credentials ──> server | client ──> part ──> Tls ──> snapshot::Tls
//!                                           │                    sni     verify                └──> admin, registry
//!   keeper: watches the files, makes new parts, hands on a new Tls; the last good part of a broken file stays
//! ```
//!
//! What a connection began with it keeps to its end. Nothing here knows a socket: who accepts and connects takes the
//! configurations from the snapshot.
//!
//! A tag is TLS as soon as one of its keys is set, its own or one that it inherits, as with Mesher. What Mesher does
//! not have: `ssl.<tag>.mode`, with Istio's words. `strict`, which is the default, refuses plain connections;
//! `permissive` serves them beside TLS on the same port, for a change from one to the other without an interruption;
//! `disable` is plain whatever else is set.

mod all;
mod cipher;
mod client;
mod credentials;
mod expiry;
mod facts;
mod fault;
pub mod fuzzing;
mod keeper;
mod legacy;
mod material;
mod part;
mod pbes1;
mod pem;
mod private_key;
mod server;
mod settings;
mod shared;
mod sni;
mod suites;
mod tags;
mod verify;

#[cfg(test)]
pub(crate) mod bench;
#[cfg(test)]
mod tests;

pub use all::Tls;
pub use cipher::{Cipher, CipherError, Ciphers};
pub use expiry::Expiry;
pub use fault::Fault;
pub use keeper::Keeper;
pub use pem::{PemFault, load_certificates};
pub use private_key::{KeyFault, load_key};
pub use shared::{SharedClient, unverified};
