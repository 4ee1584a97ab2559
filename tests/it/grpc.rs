//! gRPC through sidecars, as its libraries see it.
//!
//! One service, EchoService (`tests/peers/echo.proto`), is served and called by tonic here, and by grpcio and grpc-js in
//! scripts. Each case is played straight against the server first, so that what fails through sidecars only is theirs.

mod calls; // what a client asks and what it gets
mod cases; // which of it is played where
mod client;
mod deadlines; // as they stand on the wire
mod ends; // time, cancellation, connections that end
mod failures; // what mesher answers itself
mod library; // grpcio and grpc-js
mod mesh;
mod messages;
mod party;
mod peers; // each library with each
mod server;
mod way;
mod wire; // what stands on the wire
