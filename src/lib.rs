//! mesher: a service-mesh sidecar and API gateway.

pub mod codec;
