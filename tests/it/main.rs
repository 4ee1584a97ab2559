//! Tests of the whole: one binary, a file a theme; `support` holds what the themes share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod admin; // the admin interface tells what is so
mod capacity; // the pure parts of the capacity bench
mod certificates; // files of TLS: checked, watched, told of
mod cli; // flags, variables, subcommands, exit codes
mod codec_vectors; // public cases against the codec
mod conf; // configuration files as they lie on users' disks: the ones we ship, and the ones Mesher shipped
mod demo; // what a new user tries first
mod drain; // the orderly end: deregistered, announced, nothing lost
mod faulty_origins; // what clients see of origins that break the rules
mod fixtures; // the fake service-center behaves as the real one did
mod grpc; // gRPC through sidecars, with the libraries people use
mod h2_bridge; // HTTP/2 on either side: bodies, cancellation, repetition, tunnels, shutdown
mod http; // HTTP/1.1 through the calling sidecar
mod http2; // HTTP/2, frame by frame
mod layers; // which room may name which
mod memory; // short of memory: load is shed, and taken on again
mod pair; // sidecars that call each other, instances that come and go
mod probes; // public cases against the whole
mod provider; // what other sidecars send to the local service
mod readme; // the README is true
mod registry_file; // the registry in a file, and its changes
mod reload; // SIGHUP: the configuration read again
mod servicecenter; // found and registered through service-center, in good times and bad
mod shutdown; // the orderly end, for what the local service sends
mod support;
mod tidy; // rules of the repository
mod tls; // TLS on both sides, certificates, attacks
mod tunnels; // upgrades and CONNECT
mod upgrade; // SIGUSR2: another process takes over
