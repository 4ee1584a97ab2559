//! Every socket mesher listens on, bound before anything else starts: all of them, or none.
//!
//! One listening socket an address, shared by all shards (each polls a duplicate of it), and never with
//! `SO_REUSEPORT`: a second mesher on the same port fails, and no connection waits in the queue of a shard that has
//! died. A process that takes over from another is given sockets that are bound already.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use mesher_actors::snapshot::Protocol;
use mesher_actors::snapshot::stats::Direction;

use super::settings::{Mode, Settings};
use crate::net;
use crate::proxy::Presents;
use crate::shard::ListenerSpec;

/// All listening sockets.
#[derive(Debug)]
pub struct Sockets {
    /// Those of the shards.
    pub traffic: Vec<ListenerSpec>,
    /// That of the admin.
    pub admin: Option<TcpListener>,
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({key}): {source}{}", hint(.source))]
pub struct BindError {
    address: SocketAddr,
    key: &'static str,
    source: io::Error,
}

const HTTP_KEY: &str = "servicecomb.protocols.http.listenAddress";
const GRPC_KEY: &str = "servicecomb.protocols.grpc.listenAddress";
const ADMIN_KEY: &str = "servicecomb.protocols.rest-admin.listenAddress";

impl Sockets {
    /// Takes those of `given` that are wanted, closes the others and binds what is missing.
    ///
    /// # Errors
    /// Which address cannot be had, the key it comes from, and why.
    pub fn bind(settings: &Settings, mut given: Vec<TcpListener>) -> Result<Self, BindError> {
        let mut bind = |address, key| match take(&mut given, address) {
            Some(socket) => Ok(socket),
            None => net::bind(address, false).map_err(|source| BindError { address, key, source }),
        };
        let mode = settings.mode;
        let mut traffic = Vec::new();
        for (address, direction) in listeners(mode, settings.listen) {
            let (socket, presents) = (bind(address, HTTP_KEY)?, presents(mode, direction, Protocol::Rest));
            traffic.push(ListenerSpec { socket, direction, presents, protocol: Protocol::Rest });
        }
        for (address, direction) in settings.listen_grpc.iter().flat_map(|at| listeners(mode, *at)) {
            let (socket, presents) = (bind(address, GRPC_KEY)?, presents(mode, direction, Protocol::Grpc));
            traffic.push(ListenerSpec { socket, direction, presents, protocol: Protocol::Grpc });
        }
        let admin = settings.admin.map(|address| bind(address, ADMIN_KEY)).transpose()?;
        Ok(Self { traffic, admin })
    }

    /// Duplicates of all of them, for another process.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub(super) fn duplicates(&self) -> io::Result<Vec<OwnedFd>> {
        let all = self.traffic.iter().map(|traffic| &traffic.socket).chain(&self.admin);
        all.map(|socket| socket.try_clone().map(OwnedFd::from)).collect()
    }

    /// Listeners for one more shard.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub fn for_shard(&self) -> io::Result<Vec<ListenerSpec>> {
        self.traffic.iter().map(ListenerSpec::try_clone).collect()
    }
}

/// The socket that is bound to `address`, if there is one.
fn take(given: &mut Vec<TcpListener>, address: SocketAddr) -> Option<TcpListener> {
    let at = given.iter().position(|socket| socket.local_addr().is_ok_and(|bound| bound == address))?;
    Some(given.swap_remove(at))
}

/// Mesher's rule: beside a service the loopback address takes what the service sends, and the configured address, if
/// it is another, what is sent to the service. A gateway only has the configured address.
fn listeners(mode: Mode, configured: SocketAddr) -> Vec<(SocketAddr, Direction)> {
    let loopback = match configured.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    if mode == Mode::Edge || configured.ip() == loopback {
        return vec![(configured, Direction::Outgoing)];
    }
    vec![
        (SocketAddr::new(loopback, configured.port()), Direction::Outgoing),
        (configured, Direction::Incoming),
    ]
}

/// Mesher's rule: the loopback address and a gateway's listener for gRPC present what is for this machine, the address for
/// others and a gateway what is for others.
fn presents(mode: Mode, direction: Direction, protocol: Protocol) -> Presents {
    match (mode, direction, protocol) {
        (Mode::Sidecar, Direction::Outgoing, _) | (Mode::Edge, _, Protocol::Grpc) => Presents::Local,
        (Mode::Edge, _, Protocol::Rest) | (_, Direction::Incoming, _) => Presents::External,
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; is another mesher running? choose another port",
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(mode: Mode, configured: &str) -> Vec<String> {
        let name = |(address, direction): (SocketAddr, Direction)| format!("{} {address}", direction.label());
        listeners(mode, configured.parse().unwrap()).into_iter().map(name).collect()
    }

    #[test]
    fn a_sidecar_listens_for_both_directions_on_the_same_port() {
        assert_eq!(
            addresses(Mode::Sidecar, "10.0.0.5:30101"),
            ["outgoing 127.0.0.1:30101", "incoming 10.0.0.5:30101"]
        );
        assert_eq!(addresses(Mode::Sidecar, "[fd00::5]:1"), ["outgoing [::1]:1", "incoming [fd00::5]:1"]);
    }

    #[test]
    fn a_sidecar_on_the_loopback_address_is_a_caller_only() {
        assert_eq!(addresses(Mode::Sidecar, "127.0.0.1:30101"), ["outgoing 127.0.0.1:30101"]);
    }

    #[test]
    fn a_gateways_listener_for_grpc_presents_what_is_for_this_machine() {
        let of = |mode, direction| [Protocol::Rest, Protocol::Grpc].map(|p| presents(mode, direction, p));
        assert_eq!(of(Mode::Sidecar, Direction::Outgoing), [Presents::Local; 2]);
        assert_eq!(of(Mode::Sidecar, Direction::Incoming), [Presents::External; 2]);
        assert_eq!(of(Mode::Edge, Direction::Outgoing), [Presents::External, Presents::Local]);
    }

    #[test]
    fn a_given_socket_is_taken_for_its_address_and_no_other() {
        let any = || TcpListener::bind("127.0.0.1:0").unwrap();
        let mut given = vec![any(), any()];
        let address = given[1].local_addr().unwrap();
        assert!(take(&mut given, "127.0.0.2:1".parse().unwrap()).is_none());
        assert_eq!(take(&mut given, address).unwrap().local_addr().unwrap(), address);
        assert_eq!((given.len(), take(&mut given, address).is_none()), (1, true));
    }

    #[test]
    fn a_gateway_has_its_own_address_only() {
        assert_eq!(addresses(Mode::Edge, "10.0.0.5:30101"), ["outgoing 10.0.0.5:30101"]);
    }
}
