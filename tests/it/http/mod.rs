//! HTTP/1.1 through the calling sidecar, on both I/O drivers.

mod backpressure; // no faster than it is taken
mod bodies; // framing, streaming
mod connections; // keep-alive, pipelining, pools, versions, ends
mod failures; // what mesher answers itself
mod heads; // what is forwarded of heads, to the byte
