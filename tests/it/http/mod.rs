//! HTTP/1.1 through the calling sidecar, on both I/O drivers.

mod bodies; // framing, streaming, back-pressure
mod connections; // keep-alive, pipelining, pools, versions, ends
mod failures; // what mesher answers itself
mod faulty_origins; // upstreams that break the protocol or off
mod heads; // what is forwarded of heads, to the byte
