//! mesher: a service-mesh sidecar and API gateway.
//!
//! This crate is the data plane and the wiring; the control plane is `mesher-actors`. Rooms, lowest first; each may
//! use those before it and none after it (a test holds this):
//!
//! | room | what it is |
//! |---|---|
//! | `balance` | choosing an endpoint; pure |
//! | `handler` | the chain that decides what becomes of a request; pure |

pub mod balance;
pub mod handler;
