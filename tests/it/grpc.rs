//! gRPC through sidecars, as its libraries see it.
//!
//! One service, EchoService (`tests/peers/echo.proto`), is served and called by tonic here, and by grpcio and grpc-js in
//! scripts. Each case is played straight against the server first, so that what fails through sidecars only is theirs.

mod calls; // what a client asks and what it gets
mod client;
mod ends; // time, cancellation, connections that end
mod failures; // what mesher answers itself
mod messages;
mod peers; // the libraries of other languages
mod server;
mod way;
mod wire; // what stands on the wire
