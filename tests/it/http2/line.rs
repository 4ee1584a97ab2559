//! A connection to mesher, in the clear or inside TLS. One may write while another reads.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::super::support::tls::{Authority, trusting};
use super::super::support::wait::PATIENCE;

/// Bytes that are received in one call.
const RECEIVED_BYTES: usize = 16 * 1024;

/// Where connections go, and how.
#[derive(Clone)]
pub(crate) struct Door {
    address: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// The service to connect to, through there.
    tunnel: Option<&'static str>,
}

/// One connection, or another handle of it.
pub(crate) struct Line {
    pub(crate) socket: TcpStream,
    tls: Option<Arc<Mutex<ClientConnection>>>,
    /// Records that came and were not read.
    unread: Vec<u8>,
}

impl From<SocketAddr> for Door {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None, tunnel: None }
    }
}

impl Door {
    /// Through TLS, where `h2` is agreed on.
    pub(crate) fn inside_tls(address: SocketAddr, authority: &Authority, name: &'static str) -> Self {
        let mut config = trusting(&authority.pem, None);
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { address, tls: Some((Arc::new(config), ServerName::try_from(name).unwrap())), tunnel: None }
    }

    /// Through a tunnel to a service, itself inside TLS, where HTTP/1.1 is agreed on.
    pub(crate) fn inside_tunnel(
        address: SocketAddr,
        authority: &Authority,
        name: &'static str,
        service: &'static str,
    ) -> Self {
        let mut config = trusting(&authority.pem, None);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = Some((Arc::new(config), ServerName::try_from(name).unwrap()));
        Self { address, tls, tunnel: Some(service) }
    }

    /// Connects, and does its part of the handshake.
    #[track_caller]
    pub(crate) fn open(&self) -> Line {
        let address = self.address;
        let mut socket = TcpStream::connect_timeout(&address, PATIENCE)
            .unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"));
        socket.set_nodelay(true).expect("not a TCP connection");
        let tls = self.tls.clone().map(|(config, name)| {
            let mut tls = ClientConnection::new(config, name).unwrap();
            tls.set_buffer_limit(None);
            while tls.is_handshaking() {
                tls.complete_io(&mut socket).unwrap_or_else(|e| panic!("no TLS with {address}: {e}"));
            }
            let wanted = if self.tunnel.is_some() { &b"http/1.1"[..] } else { b"h2" };
            assert_eq!(tls.alpn_protocol(), Some(wanted));
            Arc::new(Mutex::new(tls))
        });
        let mut line = Line { socket, tls, unread: Vec::new() };
        if let Some(service) = self.tunnel {
            line.enter(service);
        }
        line
    }
}

impl Line {
    /// A connection in the clear.
    pub(crate) fn plain(socket: TcpStream) -> Self {
        Self { socket, tls: None, unread: Vec::new() }
    }

    /// Becomes a tunnel to a service.
    #[track_caller]
    fn enter(&mut self, service: &str) {
        let connect = format!("CONNECT {service} HTTP/1.1\r\nHost: {service}\r\n\r\n");
        (&*self).write_all(connect.as_bytes()).expect("mesher is gone");
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            self.read_exact(&mut byte).expect("no answer to CONNECT");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", head.escape_ascii());
    }

    /// Another handle. Only one of them may read.
    pub(crate) fn another(&self) -> Self {
        let socket = self.socket.try_clone().expect("a second handle");
        Self { socket, tls: self.tls.clone(), unread: Vec::new() }
    }
}

impl Read for Line {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return self.socket.read(buf) };
        loop {
            match tls.lock().unwrap().reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            if self.unread.is_empty() {
                // Not under the lock: another thread writes.
                self.unread.resize(RECEIVED_BYTES, 0);
                let received = self.socket.read(&mut self.unread);
                self.unread.truncate(*received.as_ref().unwrap_or(&0));
                received?;
            }
            let mut tls = tls.lock().unwrap();
            let taken = tls.read_tls(&mut &self.unread[..])?;
            self.unread.drain(..taken);
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl Write for &Line {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return (&self.socket).write(buf) };
        let mut records = Vec::new();
        {
            let mut tls = tls.lock().unwrap();
            tls.writer().write_all(buf)?;
            while tls.wants_write() {
                tls.write_tls(&mut records)?;
            }
        }
        (&self.socket).write_all(&records)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
